//! Actions: what can be done with an event. Planning is pure; effects are performed elsewhere.
//!
//! Adding an action: copy the smallest file beside this one (`count.rs`), and add its `mod` line and its line in
//! [`KINDS`]. If it needs something of the outside that no [`Effect`] asks for yet, the effect is added too, and
//! the compiler names the one place that performs it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use toml::{Spanned, de::DeValue};

use crate::{
    body::View,
    effect::{Effect, HttpEffect, Text},
    event::Event,
    ids::Name,
    template::TemplateError,
};

mod count;
mod discord;
mod email;
mod http;
mod invoke;
mod publish;
mod record;
mod run;
mod slack;
mod teams;

/// Every kind of action, by name.
pub const KINDS: &[Kind] = &[
    count::KIND,
    discord::KIND,
    email::KIND,
    http::KIND,
    invoke::KIND,
    publish::KIND,
    record::KIND,
    run::KIND,
    slack::KIND,
    teams::KIND,
];

/// A kind of action: what stands in `kind = "…"`.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Whether it reaches something outside of the installation.
    pub reaches_outward: bool,
    read: Read,
}

type Read = fn(Spanned<DeValue<'_>>) -> Result<Box<dyn Action>, toml::de::Error>;

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    const fn new<A: Action + DeserializeOwned + 'static>(name: &'static str, summary: &'static str) -> Self {
        fn read<A: Action + DeserializeOwned + 'static>(
            value: Spanned<DeValue<'_>>,
        ) -> Result<Box<dyn Action>, toml::de::Error> {
            A::deserialize(toml::de::ValueDeserializer::from(value))
                .map(|action| Box::new(action) as Box<dyn Action>)
        }
        Self { name, summary, reaches_outward: true, read: read::<A> }
    }

    /// One that only writes into the installation's own table.
    const fn inward(self) -> Self {
        Self { reaches_outward: false, ..self }
    }

    /// Reads the keys of one `[actions.NAME]` table, `kind` taken out.
    ///
    /// # Errors
    /// Unknown keys and bad values, with their place in the file.
    pub fn read(&self, table: Spanned<DeValue<'_>>) -> Result<Box<dyn Action>, toml::de::Error> {
        (self.read)(table)
    }
}

/// The kind called `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// One configured thing to do.
pub trait Action: fmt::Debug + Send + Sync {
    /// What has to be done for this event. The same event always gives the same effect, at every try.
    ///
    /// # Errors
    /// [`PlanError`]: planning again gives the same error, so the action goes to `dead` at once.
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError>;

    /// Names of the secrets that it needs; `own` is its own name.
    fn secrets<'a>(&'a self, own: &'a Name) -> Vec<&'a str> {
        let _ = own;
        Vec::new()
    }

    /// The name of the secret in which its address is, where it is one; `own` is its own name.
    fn address_secret<'a>(&'a self, own: &'a Name) -> Option<&'a str> {
        let _ = own;
        None
    }

    /// The function of the user's own that it calls, where that is not the one of its own name.
    fn function(&self) -> Option<&str> {
        None
    }

    /// What it is about, in a few words, for `hookgate check`.
    fn describe(&self) -> String;
}

/// What an action is planned from.
#[derive(Debug)]
pub struct About<'a> {
    /// The action's own name.
    pub action: &'a Name,
    /// The event.
    pub event: &'a Event,
    /// The view of its body.
    pub view: &'a View,
    /// What templates see.
    pub context: &'a Value,
    /// How often the action has been done for this event: 0, unless a person asked for it again.
    pub times_done: u32,
}

/// Why there is nothing that could be done.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A template can't be filled in.
    #[error("template: {0}")]
    Template(#[from] TemplateError),
    /// A value that the action is about is not in the event.
    #[error("the event has nothing at {place}")]
    Missing {
        /// The locator.
        place: String,
    },
    /// What was made is more than its receiver takes.
    #[error("{what} would have {bytes} bytes; {limit} is the most there")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A template made something that can't be used.
    #[error("{what}")]
    Invalid {
        /// What, and why.
        what: String,
    },
}

/// `"text"` or `{ secret = "NAME" }`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged, expecting = "a text, or { secret = \"NAME\" } for a text that is kept with the secrets")]
pub(crate) enum TextOrSecret {
    Plain(String),
    Secret { secret: String },
}

impl TextOrSecret {
    fn to_text(&self) -> Text {
        match self {
            Self::Plain(text) => Text::Plain(text.clone()),
            Self::Secret { secret } => Text::Secret(secret.clone()),
        }
    }

    fn secret(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Secret { secret } => Some(secret),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Secret { secret } => format!("the address in secret `{secret}`"),
        }
    }
}

/// Where an incoming webhook of a chat is: by default in the secret with the action's own name. Whoever knows such an
/// address may post, so it is a secret as a rule.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(transparent)]
struct Webhook(Option<TextOrSecret>);

impl Webhook {
    fn to_text(&self, own: &Name) -> Text {
        self.0.as_ref().map_or_else(|| Text::Secret(own.to_string()), TextOrSecret::to_text)
    }

    fn secret<'a>(&'a self, own: &'a Name) -> Option<&'a str> {
        self.0.as_ref().map_or(Some(own.as_str()), TextOrSecret::secret)
    }

    fn describe(&self) -> String {
        self.0.as_ref().map_or_else(|| "the address in the secret of its name".into(), TextOrSecret::describe)
    }
}

/// How long a chat may take to answer, in milliseconds.
const CHAT_TIMEOUT_MS: u64 = 10_000;

/// A message for an incoming webhook.
fn chat_message(url: Text, message: &Value) -> Effect {
    Effect::Http(HttpEffect {
        method: ::http::Method::POST,
        url,
        headers: vec![("content-type".into(), "application/json".into())],
        body: message.to_string().into_bytes(),
        sign: None,
        timeout_ms: CHAT_TIMEOUT_MS,
        success: Vec::new(),
    })
}

/// Whether what was made is no more than its receiver takes.
const fn fits(what: &'static str, bytes: usize, limit: usize) -> Result<(), PlanError> {
    if bytes > limit {
        return Err(PlanError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

/// What a message says where nothing was written down: source, type and id.
fn headline(event: &Event) -> String {
    format!("{}: {} ({})", event.source, event.event_type, event.id)
}

/// Longest detail kept of an attempt, in characters.
pub const DETAIL_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, testing};

    /// What `action`, as it would stand in `hookgate.toml`, plans for a JSON body.
    pub(super) fn plan(action: &str, body: &str) -> Result<Effect, PlanError> {
        plan_again(action, body, 0)
    }

    /// The same, after it was done so many times.
    pub(super) fn plan_again(action: &str, body: &str, times_done: u32) -> Result<Effect, PlanError> {
        let text = format!(
            "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\nevent = {{ id = \"json:/id\", type = \"json:/type\", time = \"json:/at\" }}\n[actions.it]\n{action}"
        );
        let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (event, view) = testing::event(&config, "shop", body.as_bytes());
        let context = event.context(&view);
        let name = Name::parse("it").unwrap();
        let about = About { action: &name, event: &event, view: &view, context: &context, times_done };
        config.actions[&name].action.plan(&about)
    }

    #[test]
    fn the_list_is_sorted_and_holds_every_file() {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/actions");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "mod")
            .collect();
        files.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn the_examples_of_every_file_can_be_read() {
        for kind in KINDS {
            let file = format!("{}/src/actions/{}.rs", env!("CARGO_MANIFEST_DIR"), kind.name);
            let text = std::fs::read_to_string(file).unwrap();
            let (_, rest) = text.split_once("//! ```toml\n").unwrap_or_else(|| panic!("{kind:?} has none"));
            let (block, _) = rest.split_once("//! ```\n").unwrap();
            let example: String =
                block.lines().map(|line| format!("{}\n", line.trim_start_matches("//!"))).collect();
            let config = Config::parse(&example).unwrap_or_else(|problems| panic!("{kind:?}: {problems:?}"));
            assert!(!config.actions.is_empty(), "{kind:?}");
            assert!(config.actions.values().all(|action| action.kind.name == kind.name), "{kind:?}");
        }
    }
}
