//! Secrets: values that can be used but not printed, and the named set of them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One active secret: a text, or named values where a provider needs more than one (a key id, a topic).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    /// The common case.
    Text(String),
    /// Named values; the signing secret itself is called `secret`.
    Named(BTreeMap<String, String>),
}

/// The name of the value that is the signing secret in [`Secret::Named`].
pub const SECRET_FIELD: &str = "secret";

/// The names of the values of a secret for basic authentication.
pub const USERNAME_FIELD: &str = "username";
/// See [`USERNAME_FIELD`].
pub const PASSWORD_FIELD: &str = "password";

impl Secret {
    /// The secret text, to be handed to a comparison or a key schedule and to nothing else. Empty when a
    /// named secret has no value called [`SECRET_FIELD`]; an empty secret never verifies anything.
    pub fn expose(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Named(values) => values.get(SECRET_FIELD).map_or("", String::as_str),
        }
    }

    /// Whether there is nothing in it that could prove anything: no text, or a value without one.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Named(values) => values.is_empty() || values.values().any(String::is_empty),
        }
    }

    /// A named value beside the secret, such as `username`.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Named(values) => values.get(name).map(String::as_str),
        }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Every secret of an installation by name: a source's name, or the name that an action asks for.
///
/// Shape (JSON): `{"stripe": ["whsec_new", "whsec_old"], "hang": "one", "adyen": [{"secret": "…"}]}`.
/// All the secrets of a name are active at once, so that rotation has no gap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    by_name: BTreeMap<String, Vec<Secret>>,
}

/// Why a secrets document was refused. Says where, never what.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SecretsError {
    /// Not JSON of the documented shape.
    #[error(
        "the secrets are not a JSON object of name to secret or list of secrets (line {line}, column {column})"
    )]
    Shape {
        /// Line of the JSON text, from 1.
        line: usize,
        /// Column of the JSON text, from 1.
        column: usize,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Secret>),
    One(Secret),
}

impl Secrets {
    /// Reads the JSON document described on [`Secrets`].
    ///
    /// # Errors
    /// [`SecretsError::Shape`] with a position only: the text around it is a secret.
    pub fn from_json(text: &str) -> Result<Self, SecretsError> {
        let by_name: BTreeMap<String, OneOrMany> = serde_json::from_str(text)
            .map_err(|e| SecretsError::Shape { line: e.line(), column: e.column() })?;
        let by_name = by_name
            .into_iter()
            .map(|(name, secrets)| match secrets {
                OneOrMany::Many(many) => (name, many),
                OneOrMany::One(one) => (name, vec![one]),
            })
            .collect();
        Ok(Self { by_name })
    }

    /// The active secrets called `name`, the newest first; empty ones are left out, as an empty key
    /// would verify what anybody can sign.
    pub fn active(&self, name: &str) -> Vec<&Secret> {
        self.by_name.get(name).into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
    }

    /// The newest active secret called `name`.
    pub fn newest(&self, name: &str) -> Option<&Secret> {
        self.active(name).into_iter().next()
    }

    /// Adds or replaces the secrets of one name.
    pub fn insert(&mut self, name: impl Into<String>, secrets: Vec<Secret>) {
        self.by_name.insert(name.into(), secrets);
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_many_and_named() {
        let secrets = Secrets::from_json(
            r#"{"a": "one", "b": ["new", "old"], "c": [{"secret": "s", "key_id": "k"}], "d": [""], "e": [],
                "f": [{"username": "u", "password": "p"}, {"username": "u", "password": ""}, {"key_id": "k"}]}"#,
        )
        .unwrap();
        let texts = |name| secrets.active(name).iter().map(|s| s.expose().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts("a"), ["one"]);
        assert_eq!(texts("b"), ["new", "old"]);
        assert_eq!(secrets.newest("c").and_then(|s| s.value("key_id")), Some("k"));
        assert_eq!(secrets.active("f").len(), 2);
        assert!(texts("d").is_empty() && texts("e").is_empty() && texts("absent").is_empty());
    }

    #[test]
    fn never_prints_a_secret() {
        let secrets = Secrets::from_json(r#"{"a": "hunter2"}"#).unwrap();
        assert!(!format!("{secrets:?} {:?}", secrets.newest("a")).contains("hunter2"));
        let error = Secrets::from_json(r#"{"a": 5, "b": "hunter2"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
