//! `slack`: a message through an incoming webhook.
//!
//! Keys: `url`, which is a secret and so usually `{ secret = "NAME" }` (default: the secret with the action's own
//! name); `text`, a template (default: source, type and id of the event).
//! Effect: one [`Effect::Http`]. Source: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{About, Action, Kind, PlanError, TextOrSecret};
use crate::{
    effect::{Effect, HttpEffect, Text},
    ids::Name,
    template::Template,
};

pub(super) const KIND: Kind = Kind::new::<Slack>("slack", "posts a message to a Slack channel");

/// Slack cuts a text off after 40,000 characters; it asks for 4,000 at most.
const TEXT_CHARS_MAX: usize = 4_000;

const TIMEOUT_MS: u64 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slack {
    url: Option<TextOrSecret>,
    text: Option<Template>,
}

impl Action for Slack {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let text = match &self.text {
            Some(template) => template.render(about.context)?,
            None => format!("{}: {} ({})", about.event.source, about.event.event_type, about.event.id),
        };
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let url = match &self.url {
            Some(url) => url.to_text(),
            None => Text::Secret(about.action.to_string()),
        };
        Ok(Effect::Http(HttpEffect {
            method: Method::POST,
            url,
            headers: vec![("content-type".into(), "application/json".into())],
            body: json!({ "text": text }).to_string().into_bytes(),
            sign: None,
            timeout_ms: TIMEOUT_MS,
            success: Vec::new(),
        }))
    }

    fn secrets<'a>(&'a self, own: &'a Name) -> Vec<&'a str> {
        match &self.url {
            Some(url) => url.secret().into_iter().collect(),
            None => vec![own.as_str()],
        }
    }

    fn address_secret<'a>(&'a self, own: &'a Name) -> Option<&'a str> {
        self.secrets(own).into_iter().next()
    }

    fn describe(&self) -> String {
        self.url
            .as_ref()
            .map_or_else(|| "the address in the secret of its name".into(), TextOrSecret::describe)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use crate::effect::{Effect, Text};

    #[test]
    fn posts_its_text_to_the_secret_of_its_own_name() {
        let Ok(Effect::Http(effect)) =
            plan("kind = \"slack\"\ntext = \"paid {{ event.n }} \\\"€\\\"\"", r#"{"n": 5}"#)
        else {
            panic!("no http effect")
        };
        assert_eq!(String::from_utf8(effect.body).unwrap(), r#"{"text":"paid 5 \"€\""}"#);
        assert_eq!(effect.url, Text::Secret("it".into()));
    }

    #[test]
    fn a_hole_in_the_text_is_an_error() {
        assert!(plan("kind = \"slack\"\ntext = \"{{ event.n }}\"", "{}").is_err());
    }
}
