//! The catalogue: how each vendor signs, and what it calls id, type and time.
//!
//! It is one file, `catalogue.toml`, with a table a provider in the form of `hookgate.toml`. Adding a provider is
//! adding a table to it. Only the table that is asked for is read, so its length costs a function nothing.

use ipnet::IpNet;
use memchr::memmem;
use serde::{Deserialize, Deserializer};

use crate::{
    handshake::Handshake,
    place::Locator,
    scheme::Scheme,
    sealed::Encryption,
    verify::{SchemeError, Verifier},
};

const TEXT: &str = include_str!("../catalogue.toml");

/// How one vendor sends webhooks. Locators (`json:/id or header:x`) are explained in [`crate::place`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What stands in `provider = "…"`.
    #[serde(skip)]
    pub slug: String,
    /// The vendor's own name.
    pub name: String,
    /// The page, or the SDK, that says how it signs; where only somebody else does ([`Proof::Reported`]), the vendor's
    /// page or that source. Empty for what is no vendor.
    #[serde(default)]
    pub docs: String,
    /// When that page was last checked, as `2026-11-21`; empty for what is no vendor.
    #[serde(default)]
    pub checked: String,
    /// What the scheme was proved by.
    pub proof: Proof,
    /// The same in a phrase: which SDK, which page, whose code.
    #[serde(default)]
    pub proved_by: String,
    /// The signature. `None` means that the source has to say it (`generic`, `raw`).
    #[serde(default)]
    pub verify: Option<Scheme>,
    /// Where an event's id, type and time are.
    #[serde(default)]
    pub event: Places,
    /// The form field in which it sends a JSON document; empty for none.
    #[serde(default)]
    pub json_field: String,
    /// How it encrypts bodies, where it does.
    #[serde(default)]
    pub encrypted: Encryption,
    /// Whether any body is taken as it is, or one has to be JSON, a form, XML or a JWS.
    #[serde(default)]
    pub any_body: bool,
    /// Whether two events may be the same to the last byte, so that a hash must not stand for a missing id: each
    /// delivery is an event of its own then, and a repeated one is another.
    #[serde(default)]
    pub identical_bodies_differ: bool,
    /// What it wants to hear.
    #[serde(default)]
    pub answer: Answering,
    /// The status by which it wants to hear that a delivery was not verified, where that is none of HTTP's own; 400 to
    /// 499.
    #[serde(default, deserialize_with = "refused")]
    pub refused: Option<u16>,
    /// A request that is no event and has to be answered in the provider's own way.
    #[serde(default)]
    pub handshake: Handshake,
    /// Ranges of addresses (CIDR) from which alone it sends; empty where it names none.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// How long it goes on sending an event again, in hours; the store remembers events for longer than that.
    #[serde(default = "three_days")]
    pub retry_hours: u32,
    /// How long it waits for an answer, in seconds; 0 when it doesn't say.
    #[serde(default)]
    pub deadline_seconds: u32,
    /// What the operator has to know or do, in a sentence; empty for nothing.
    #[serde(default)]
    pub note: String,
}

fn three_days() -> u32 {
    72
}

/// A status that is the sender's fault: with any other it would try again, or think that all is well.
///
/// # Errors
/// For every other number.
pub fn refused<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let status = u16::deserialize(deserializer)?;
    match status {
        400..500 => Ok(Some(status)),
        _ => Err(serde::de::Error::custom("`refused` has to be 400 to 499")),
    }
}

/// Where the facts of an event are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// What makes it the same event when it is sent again. Where it finds nothing, a hash of what was sent is the id.
    #[serde(default)]
    pub id: Locator,
    /// The vendor's word for what happened.
    #[serde(default, rename = "type")]
    pub event_type: Locator,
    /// The vendor's own time of it.
    #[serde(default)]
    pub time: Locator,
}

/// What the scheme of a provider was proved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The provider's own SDK or sample code.
    Sdk,
    /// The provider's documentation.
    Documentation,
    /// Somebody else's code or notes only.
    Reported,
    /// Nothing is documented, or it is no vendor; the scheme is ours.
    Own,
}

impl Proof {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::Documentation => "documentation",
            Self::Reported => "reported",
            Self::Own => "own",
        }
    }
}

/// What a sender hears when its event was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// 200 and a small JSON document with the event's id.
    #[default]
    Document,
    /// Always the same.
    Fixed {
        /// The status, 200 to 299.
        status: u16,
        /// The body's type; empty for no body.
        content_type: String,
        /// The body.
        body: String,
    },
}

impl<'de> Deserialize<'de> for Answering {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            #[serde(default = "ok")]
            status: u16,
            #[serde(default, rename = "type")]
            content_type: String,
            #[serde(default)]
            body: String,
        }
        fn ok() -> u16 {
            200
        }
        let written = Written::deserialize(deserializer)?;
        if !(200..300).contains(&written.status) {
            return Err(serde::de::Error::custom(
                "`status` has to be 200 to 299; anything else makes the sender try again",
            ));
        }
        if written.content_type.is_empty() != written.body.is_empty() {
            return Err(serde::de::Error::custom("`type` and `body` go together"));
        }
        Ok(Self::Fixed { status: written.status, content_type: written.content_type, body: written.body })
    }
}

impl Provider {
    /// Its scheme made ready; `None` where the source has to say it.
    ///
    /// # Errors
    /// Never for the catalogue's own entries, which a test reads.
    pub fn verifier(&self) -> Result<Option<Verifier>, SchemeError> {
        let verifier = self.verify.as_ref().map(Verifier::new).transpose()?;
        Ok(verifier
            .map(|verifier| verifier.with_json_field(&self.json_field).with_encryption(self.encrypted)))
    }
}

/// The provider called `slug`.
pub fn find(slug: &str) -> Option<Provider> {
    if !is_slug(slug) {
        return None;
    }
    // Looked for in one go: walking from table to table was three quarters of reading a configuration of one source.
    let head = format!("\n[{slug}]\n");
    let at = memmem::find(TEXT.as_bytes(), head.as_bytes())?;
    let text = TEXT.get(at + head.len()..)?.split("\n[").next()?;
    read(slug, text).ok()
}

/// Whether it can be a table's name, and nothing that goes on into its text.
fn is_slug(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Every provider's slug, in order.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    sections().map(|(slug, _)| slug)
}

/// Every provider, by slug.
pub fn all() -> Vec<Provider> {
    sections().filter_map(|(slug, text)| read(slug, text).ok()).collect()
}

fn read(slug: &str, text: &str) -> Result<Provider, toml::de::Error> {
    toml::from_str(text).map(|provider| Provider { slug: slug.to_owned(), ..provider })
}

/// Slug and text of each table. No line of a table's own begins with a bracket; a test holds the file to that.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.split("\n[").skip(1).filter_map(|section| section.split_once("]\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_can_be_read_and_they_are_in_order() {
        let whole: toml::Table = toml::from_str(TEXT).unwrap();
        let slugs: Vec<&str> = slugs().collect();
        assert_eq!(
            whole.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            slugs.iter().copied().collect()
        );
        assert!(slugs.is_sorted_by(|a, b| a < b), "{slugs:?}");
        for (slug, text) in sections() {
            let provider = read(slug, text).unwrap_or_else(|e| panic!("{slug}: {e}"));
            provider.verifier().unwrap_or_else(|e| panic!("{slug}: {e}"));
            assert!(is_slug(slug), "{slug}");
            assert_eq!(find(slug), Some(provider.clone()), "{slug}");
            assert!(!provider.name.is_empty() && provider.retry_hours > 0, "{slug}");
        }
    }

    #[test]
    fn only_a_table_is_found() {
        let text = read("stripe", sections().find(|(slug, _)| *slug == "stripe").unwrap().1).unwrap();
        let name = format!("stripe]\nname = \"{}\"", text.name);
        for slug in ["", "strip", "stripes", "Stripe", "stripe]", "[stripe", "\n[stripe]\n", name.as_str()] {
            assert_eq!(find(slug), None, "{slug:?}");
        }
    }

    #[test]
    fn every_vendors_rule_has_its_page_the_day_it_was_read_and_its_proof() {
        for provider in all().iter().filter(|provider| provider.proof != Proof::Own) {
            let slug = &provider.slug;
            let page = provider.docs.strip_prefix("https://").and_then(|page| page.split('/').next());
            assert!(page.is_some_and(|host| host.contains('.')), "{slug}: docs = {:?}", provider.docs);
            let day = provider.checked.parse::<jiff::civil::Date>();
            assert!(day.is_ok_and(|day| day.year() >= 2026), "{slug}: checked = {:?}", provider.checked);
            assert!(!provider.proved_by.is_empty(), "{slug}: what was it proved by?");
        }
    }

    #[test]
    fn the_catalogue_is_as_broad_as_it_says() {
        let vendors = all().iter().filter(|provider| provider.proof != Proof::Own).count();
        assert!(vendors >= 300, "{vendors}");
    }
}
