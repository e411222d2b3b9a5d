//! `hookgate.toml`: as a person writes it, and as the rest of the program has it.
//!
//! Reading is checking: a [`Config`] has no dangling name, no bad template and no unknown key in it. Every
//! [`Problem`] says in which line it is and what would be right.

use std::{collections::BTreeMap, fmt};

use crate::{
    action::{Action, Kind},
    destination::Policy,
    ids::Name,
    routing::RouteRule,
    source::Source,
};

mod read;

/// The configuration of an installation.
#[derive(Debug)]
pub struct Config {
    /// The base of the URLs that senders were given, such as `https://hooks.example.com`; without a slash at its
    /// end. Signatures over URLs need it where the gateway is behind a domain of its own.
    pub public_url: Option<String>,
    /// Hosts (`host` or `host:port`) to which events may be posted although their addresses are private.
    pub allow_hosts: Vec<String>,
    /// By name.
    pub sources: BTreeMap<Name, Source>,
    /// In the order of the file.
    pub routes: Vec<RouteRule>,
    /// By name.
    pub actions: BTreeMap<Name, ConfiguredAction>,
}

/// An action and its kind.
#[derive(Debug)]
pub struct ConfiguredAction {
    /// The kind.
    pub kind: &'static Kind,
    /// What it does.
    pub action: Box<dyn Action>,
    /// How it is run.
    pub policy: Policy,
}

impl ConfiguredAction {
    /// Whether it reaches outward, and so has a destination that can fail, be paused and be limited.
    pub fn has_destination(&self) -> bool {
        self.kind.reaches_outward
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when it concerns the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Config {
    /// Names of the secrets that the sources and actions need, each with who needs it.
    pub fn secret_names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (name, action) in &self.actions {
            for secret in action.action.secrets(name) {
                names.entry(secret.to_owned()).or_insert_with(|| format!("action {name}"));
            }
        }
        for source in self.sources.values().filter(|source| !source.verifier.is_none()) {
            names.insert(source.secret.clone(), format!("source {}", source.name));
        }
        names
    }
}
