//! Texts that live as long as the process, so that a provider written in Rust and a scheme written in
//! `hookgate.toml` are one type.

use std::{
    collections::HashSet,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde::{Deserialize, Deserializer};

/// `text` for the rest of the process. The same text is kept once, however often a configuration is read.
pub(crate) fn intern(text: &str) -> &'static str {
    static KEPT: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let mut kept =
        KEPT.get_or_init(|| Mutex::new(HashSet::new())).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    let new: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kept.insert(new);
    new
}

/// For serde fields: an interned text.
///
/// # Errors
/// When the value is no text.
pub(crate) fn interned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    String::deserialize(deserializer).map(|text| intern(&text))
}
