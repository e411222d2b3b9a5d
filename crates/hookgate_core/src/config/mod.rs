//! `hookgate.toml`: as a person writes it, and as the rest of the program has it.
//!
//! Reading is checking: a [`Config`] has no dangling name, no bad template and no unknown key in it. Every
//! [`Problem`] says in which line it is and what would be right.

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;

use crate::{
    actions::{Action, Kind},
    body::Members,
    catalogue::{Answering, Provider},
    destination::Policy,
    handshake::Handshake,
    ids::Name,
    json_schema::Schema,
    place::{Locator, Place},
    routing::RouteRule,
    verify::Verifier,
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

/// A configured sender.
#[derive(Debug)]
pub struct Source {
    /// Its name, which is the last part of its URL.
    pub name: Name,
    /// The entry of the catalogue.
    pub provider: Provider,
    /// How its requests are verified.
    pub verifier: Verifier,
    /// The name of its secrets.
    pub secret: String,
    /// Networks from which alone it is sent to; empty for any.
    pub addresses: Vec<IpNet>,
    /// What becomes of what is not verified.
    pub mode: Mode,
    /// Most bytes of a body.
    pub body_bytes_max: usize,
    /// Where the event's id is.
    pub id: Locator,
    /// Where its type is.
    pub event_type: Locator,
    /// Where its time is.
    pub time: Locator,
    /// Where the key is whose events are worked on one after the other; `None` where they have no order.
    pub order: Option<Locator>,
    /// What has to be there.
    pub required: Vec<Locator>,
    /// What the view of a body has to look like.
    pub schema: Option<Schema>,
    /// What of a JSON document the places above are in.
    pub looked_at: Members,
    /// The form field in which there is JSON.
    pub json_field: String,
    /// Whether any body will do.
    pub any_body: bool,
    /// Whether two of its events may be the same to the last byte.
    pub identical_bodies_differ: bool,
    /// What the sender hears.
    pub answer: Answering,
    /// The status with which the sender hears that a delivery was not verified; `None` for 401.
    pub refused: Option<u16>,
    /// What is no event.
    pub handshake: Handshake,
    /// Days for which its events are kept and remembered.
    pub retention_days: u32,
    /// Where its secret itself is sent, which is therefore not stored.
    pub token_places: Vec<Place>,
}

/// What becomes of a request that is not verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is accepted, and marked: for switching verification on in a live system.
    Observe,
    /// It is answered with 202 and kept apart, until a person lets it in.
    Quarantine,
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

/// Largest body: an HTTP API's own limit (10 MB; a Lambda function gets at most 6 MB of it, see the README).
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Days for which events are kept unless the source says otherwise.
pub const RETENTION_DAYS: u32 = 30;

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
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Every problem that was found, by line.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        read::read(text)
    }

    /// Reads and checks all but the routes and actions, of which there are none then: for ingest, which does without.
    /// Senders are answered while an action is wrong, and what they send is there when it is mended.
    ///
    /// # Errors
    /// Every problem that was found, by line.
    pub fn parse_sources(text: &str) -> Result<Self, Vec<Problem>> {
        read::read_sources(text)
    }

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
