//! Names and ids that a key of the table is made of. Each is checked once, where it comes in.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A source's or an action's name: `a-z`, `0-9`, `-` and `_`, at most 64 of them, a letter or digit first.
/// It stands in URLs and in table keys, so nothing in it ever needs escaping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 64;

impl Name {
    /// Checks `text`; `None` when it is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (first_ok && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("not a name (a-z, 0-9, - and _, at most 64)"))
    }
}

/// What makes an event the same event when it is sent again, unique within its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

/// Longest provider id kept as it is. A partition key may be 2,048 bytes (DynamoDB, «Naming rules and
/// limits»); a longer or unprintable id is replaced by its hash.
pub const EVENT_ID_BYTES_MAX: usize = 256;

impl EventId {
    /// From the provider's own id. Blank gives `None`; one that is too long or has control characters
    /// becomes `sha256-…` of itself.
    pub fn from_provider(id: &str) -> Option<Self> {
        let id = id.trim();
        if id.is_empty() {
            return None;
        }
        if id.len() <= EVENT_ID_BYTES_MAX && !id.chars().any(char::is_control) {
            return Some(Self(id.to_owned()));
        }
        Some(Self::from_hash(&[id.as_bytes()]))
    }

    /// From what was sent, for providers without ids: a hash over the parts, each with its length, so that
    /// moving a byte from one part to the next gives another id.
    pub fn from_hash(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        // 128 bits: nobody finds two bodies with the same half, and the key stays short.
        let half = digest.get(..16).unwrap_or(&digest);
        Self(format!("sha256-{}", HEXLOWER.encode(half)))
    }

    /// From the table or a command line, where it was made by this type before.
    pub fn from_stored(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A small number from a source and an id, the same for all time: which shard of a list an event is in.
pub fn shard(source: &Name, id: &EventId, shards: u8) -> u8 {
    // FNV-1a, 64 bits. A cryptographic hash is not needed: the worst that a chosen id can do is to share a
    // shard with others of its own choosing.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in source.as_str().bytes().chain([b'#']).chain(id.as_str().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of FNV are its weakest.
    let folded = (hash >> 32) ^ hash;
    u8::try_from(folded % u64::from(shards.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for ok in ["stripe", "a", "0-x_y", &"a".repeat(64)] {
            assert!(Name::parse(ok).is_some(), "{ok}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "a#b", "ä", &"a".repeat(65)] {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn long_and_odd_ids_become_hashes() {
        assert_eq!(EventId::from_provider(" evt_1 ").unwrap().as_str(), "evt_1");
        assert_eq!(EventId::from_provider("  "), None);
        for odd in ["a\nb".to_owned(), "x".repeat(257)] {
            let id = EventId::from_provider(&odd).unwrap();
            assert!(id.as_str().starts_with("sha256-") && id.as_str().len() == 39, "{id}");
        }
    }

    #[test]
    fn a_hash_depends_on_where_the_parts_end() {
        assert_ne!(EventId::from_hash(&[b"ab", b"c"]), EventId::from_hash(&[b"a", b"bc"]));
    }

    #[test]
    fn shards_are_even() {
        let source = Name::parse("s").unwrap();
        let mut counts = [0_u32; 64];
        for n in 0..64_000 {
            counts[usize::from(shard(&source, &EventId::from_stored(format!("evt_{n}")), 64))] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }
}
