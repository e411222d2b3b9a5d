//! What an action is: something that is planned for an event, and that plans alike at every try. `actions/` has each kind.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;
use toml::{Spanned, de::DeValue};

use crate::{
    body::View,
    effect::{Effect, Text},
    event::Event,
    ids::{EventId, Name},
    template::TemplateError,
};

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
    pub(crate) const fn new<A: Action + DeserializeOwned + 'static>(
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        fn read<A: Action + DeserializeOwned + 'static>(
            value: Spanned<DeValue<'_>>,
        ) -> Result<Box<dyn Action>, toml::de::Error> {
            A::deserialize(toml::de::ValueDeserializer::from(value))
                .map(|action| Box::new(action) as Box<dyn Action>)
        }
        Self { name, summary, reaches_outward: true, read: read::<A> }
    }

    /// One that only writes into the installation's own table.
    pub(crate) const fn inward(self) -> Self {
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
    pub(crate) fn to_text(&self) -> Text {
        match self {
            Self::Plain(text) => Text::Plain(text.clone()),
            Self::Secret { secret } => Text::Secret(secret.clone()),
        }
    }

    pub(crate) fn secret(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Secret { secret } => Some(secret),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Secret { secret } => format!("the address in secret `{secret}`"),
        }
    }
}

/// Whether what was made is no more than its receiver takes.
pub(crate) const fn fits(what: &'static str, bytes: usize, limit: usize) -> Result<(), PlanError> {
    if bytes > limit {
        return Err(PlanError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

/// Most characters of source and id in a [`once_name`].
const READABLE_CHARS_MAX: usize = 40;

/// A name for one action on one event: the same at every try, so that a service can tell a repetition, and no other's.
/// What is done and asked for again is no repetition.
///
/// At most 73 of `A-Z`, `a-z`, `0-9`, `-` and `_`: what the name of an execution and the deduplication id of a message
/// may both be. It begins with source and id, for who reads it, and ends with a hash, for who compares it.
pub(crate) fn once_name(about: &About<'_>) -> String {
    let (source, id): (&Name, &EventId) = (&about.event.source, &about.event.id);
    let hash = EventId::from_hash(&[
        source.as_str().as_bytes(),
        id.as_str().as_bytes(),
        about.action.as_str().as_bytes(),
        &about.times_done.to_be_bytes(),
    ]);
    let readable: String = format!("{source}-{id}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .take(READABLE_CHARS_MAX)
        .collect();
    format!("{readable}-{}", hash.as_str().trim_start_matches("sha256-"))
}

/// The event as JSON, for a receiver that was told nothing else: `source`, `id`, `type`, `verified`, `received_at`,
/// `occurred_at` (or null), `headers`, and the body as it came: `body` where it is text, else `body_base64`.
pub(crate) fn envelope(about: &About<'_>) -> Value {
    let event = about.event;
    let mut envelope = Map::new();
    envelope.insert("source".into(), json!(event.source));
    envelope.insert("id".into(), json!(event.id));
    envelope.insert("type".into(), json!(event.event_type));
    for same in ["verified", "received_at", "occurred_at", "headers"] {
        envelope.insert(same.into(), about.context.get(same).cloned().unwrap_or_default());
    }
    match std::str::from_utf8(&event.request.body) {
        Ok(text) => envelope.insert("body".into(), text.into()),
        Err(_) => {
            let base64 = data_encoding::BASE64.encode(&event.request.body);
            envelope.insert("body_base64".into(), base64.into())
        }
    };
    Value::Object(envelope)
}
