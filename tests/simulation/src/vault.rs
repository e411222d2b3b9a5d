//! Secrets Manager: one secret, and what the senders sign with meanwhile.

use std::collections::BTreeMap;

use serde_json::json;

/// The source that keeps apart what it refuses, and an event of its.
pub(crate) const QUARANTINED: (&str, &str) = ("lab", "sample.taken");

/// Names of the sources that sign.
pub(crate) const SIGNING: [&str; 4] = ["shop", "pay", "desk", QUARANTINED.0];

/// What is in the secret, and what senders use.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    active: BTreeMap<&'static str, Vec<String>>,
    signing: BTreeMap<&'static str, String>,
    /// Since when the secret is what it is.
    pub(crate) changed_ms: i64,
}

impl Default for Vault {
    fn default() -> Self {
        let first = |source: &&'static str| (*source, format!("{source}-secret-1"));
        let signing: BTreeMap<_, _> = SIGNING.iter().map(first).collect();
        let active = signing.iter().map(|(source, secret)| (*source, vec![secret.clone()])).collect();
        Self { active, signing, changed_ms: i64::MIN / 2 }
    }
}

impl Vault {
    /// The secret's text.
    pub(crate) fn text(&self) -> String {
        json!(self.active).to_string()
    }

    /// What a sender signs with.
    pub(crate) fn signing(&self, source: &str) -> &str {
        self.signing.get(source).map_or("", String::as_str)
    }

    /// What a person entered for the source with the quarantine is not what its sender signs with.
    pub(crate) fn mistype(&mut self) {
        self.active.insert(QUARANTINED.0, vec!["mistyped".to_owned()]);
    }

    /// Nor is it any more.
    pub(crate) fn mend(&mut self, now_ms: i64) {
        self.active.insert(QUARANTINED.0, vec![self.signing(QUARANTINED.0).to_owned()]);
        self.changed_ms = now_ms;
    }

    /// A rotation, step by step: the new secret beside the old one; senders use it; the old one goes. Returns whether
    /// another step follows.
    pub(crate) fn rotate(&mut self, step: u8, now_ms: i64) -> bool {
        fn rotates<T>((source, _): &(&&'static str, T)) -> bool {
            **source != QUARANTINED.0
        }
        match step {
            0 => {
                for (source, active) in self.active.iter_mut().filter(rotates) {
                    active.insert(0, format!("{source}-secret-2"));
                }
            }
            1 => {
                for (source, signing) in self.signing.iter_mut().filter(rotates) {
                    *signing = format!("{source}-secret-2");
                }
            }
            _ => self.active.values_mut().for_each(|active| active.truncate(1)),
        }
        self.changed_ms = now_ms;
        step < 2
    }
}
