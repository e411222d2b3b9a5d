//! The catalogue: how each vendor signs, and what it calls id, type and time.
//!
//! Adding a provider: a file beside this one with a `pub const PROVIDER`, its `mod` line, and its line in
//! [`ALL`]. A test holds the folder, the list and its order together.

use crate::{
    config::Answering,
    scheme::{Scheme, Token},
};

mod generic;
mod github;
mod hang;
mod hatch;
mod raw;
mod shopify;
mod slack;
mod standard_webhooks;
mod stripe;
mod svix;
mod twilio;

/// Every provider, by slug.
pub const ALL: &[Provider] = &[
    generic::PROVIDER,
    github::PROVIDER,
    hang::PROVIDER,
    hatch::PROVIDER,
    raw::PROVIDER,
    shopify::PROVIDER,
    slack::PROVIDER,
    standard_webhooks::PROVIDER,
    stripe::PROVIDER,
    svix::PROVIDER,
    twilio::PROVIDER,
];

/// The provider called `slug`.
pub fn find(slug: &str) -> Option<&'static Provider> {
    ALL.iter().find(|provider| provider.slug == slug)
}

/// How one vendor sends webhooks. Locators (`json:/id or header:x`) are explained in [`crate::place`].
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// What stands in `provider = "…"`.
    pub slug: &'static str,
    /// The vendor's own name.
    pub name: &'static str,
    /// The page that says how it signs.
    pub docs: &'static str,
    /// When that page was last checked, as `2026-11-21`; empty for what is no vendor.
    pub checked: &'static str,
    /// What the scheme was proved by.
    pub proof: Proof,
    /// The signature. `None` means that the source has to say it (`generic`, `raw`).
    pub verify: Option<Scheme>,
    /// Where the event's id is. Where it finds nothing, a hash of what was sent is the id.
    pub id: &'static str,
    /// Where the event's type is.
    pub event_type: &'static str,
    /// Where the provider's own time of the event is.
    pub time: &'static str,
    /// The form field in which it sends a JSON document; empty for none.
    pub json_field: &'static str,
    /// Whether any body is taken as it is, or one has to be JSON or a form.
    pub any_body: bool,
    /// What it wants to hear.
    pub answer: Answering,
    /// A request that is no event and has to be answered in the provider's own way.
    pub handshake: Handshake,
    /// How long it goes on sending an event again, in hours; the store remembers events for longer than that.
    pub retry_hours: u32,
    /// How long it waits for an answer, in seconds; 0 when it doesn't say.
    pub deadline_seconds: u32,
    /// What the operator has to know or do, in a sentence; empty for nothing.
    pub note: &'static str,
}

/// What the scheme of a provider was proved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Vectors made by the provider's own SDK.
    Sdk,
    /// The provider's documentation.
    Documentation,
    /// Nothing is documented; the scheme is ours.
    Own,
}

/// A request that sets a webhook up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The provider has none.
    None,
    /// A signed JSON POST whose text at `when` is `is`: the text at `echo` is the answer, as plain text.
    /// Answered only after its signature was verified.
    Echo {
        /// Pointer to what tells the handshake from an event.
        when: &'static str,
        /// What has to be there.
        is: &'static str,
        /// Pointer to what is sent back.
        echo: &'static str,
    },
}

impl Provider {
    /// What most providers have in common; an entry says what differs.
    pub(crate) const NEW: Self = Self {
        slug: "",
        name: "",
        docs: "",
        checked: "",
        proof: Proof::Documentation,
        verify: None,
        id: "",
        event_type: "",
        time: "",
        json_field: "",
        any_body: false,
        answer: Answering::DEFAULT,
        handshake: Handshake::None,
        retry_hours: 72,
        deadline_seconds: 0,
        note: "",
    };
}

/// For senders that sign nothing.
pub(crate) const SHARED_TOKEN: Option<Scheme> = Some(Scheme::Token(Token::SHARED));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{place::Locator, verify::Verifier};

    #[test]
    fn the_list_is_sorted_and_holds_every_file() {
        let slugs: Vec<_> = ALL.iter().map(|p| p.slug).collect();
        assert!(slugs.is_sorted_by(|a, b| a < b), "{slugs:?}");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('_', "-"))
            .filter(|name| name != "mod")
            .collect();
        files.sort();
        assert_eq!(files, slugs);
    }

    #[test]
    fn every_entry_can_be_read() {
        for provider in ALL {
            for locator in [provider.id, provider.event_type, provider.time] {
                Locator::parse(locator).unwrap_or_else(|e| panic!("{}: {e}", provider.slug));
            }
            if let Some(scheme) = provider.verify {
                Verifier::new(&scheme).unwrap_or_else(|e| panic!("{}: {e}", provider.slug));
            }
            assert!(!provider.name.is_empty() && provider.retry_hours > 0, "{}", provider.slug);
            assert!(
                provider.docs.starts_with("https://") || provider.proof == Proof::Own,
                "{}",
                provider.slug
            );
        }
    }
}
