//! What the actions have in common that post into a chat.

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    action::TextOrSecret,
    effect::{Effect, HttpEffect, Text},
    event::Event,
    ids::Name,
};

/// Where an incoming webhook of a chat is: by default in the secret with the action's own name. Whoever knows such an
/// address may post, so it is a secret as a rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Webhook(Option<TextOrSecret>);

impl Webhook {
    pub(crate) fn to_text(&self, own: &Name) -> Text {
        self.0.as_ref().map_or_else(|| Text::Secret(own.to_string()), TextOrSecret::to_text)
    }

    pub(crate) fn secret<'a>(&'a self, own: &'a Name) -> Option<&'a str> {
        self.0.as_ref().map_or(Some(own.as_str()), TextOrSecret::secret)
    }

    pub(crate) fn describe(&self) -> String {
        self.0.as_ref().map_or_else(|| "the address in the secret of its name".into(), TextOrSecret::describe)
    }
}

/// How long a chat may take to answer, in milliseconds.
const CHAT_TIMEOUT_MS: u64 = 10_000;

/// A message for an incoming webhook.
pub(crate) fn chat_message(url: Text, message: &Value) -> Effect {
    Effect::Http(HttpEffect {
        method: Method::POST,
        url,
        headers: vec![("content-type".into(), "application/json".into())],
        body: message.to_string().into_bytes(),
        sign: None,
        timeout_ms: CHAT_TIMEOUT_MS,
        success: Vec::new(),
    })
}

/// What a message says where nothing was written down: source, type and id.
pub(crate) fn headline(event: &Event) -> String {
    format!("{}: {} ({})", event.source, event.event_type, event.id)
}
