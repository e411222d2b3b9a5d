//! `teams`: a message through a webhook of a Microsoft Teams workflow.
//!
//! Keys: `url`, which is a secret and so usually `{ secret = "NAME" }` (default: the secret with the action's own
//! name); `text`, a template (default: source, type and id of the event).
//! Effect: one [`Effect::Http`] with an Adaptive Card, which is what the workflows «Send webhook alerts to a channel»
//! take. The connectors of Office 365, which took other cards, are retired. A card names whom it calls in a list of its
//! own, which ours has not, so a text calls nobody. A text block knows a little Markdown.
//! Source: <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>,
//! read 2026-11-21.
//!
//! ```toml
//! [actions.tell-support]
//! kind = "teams"
//! url = { secret = "support-workflow" }
//! text = "**{{ event.ticket.subject }}** from {{ event.ticket.customer }}"
//! ```

use serde::Deserialize;
use serde_json::json;

use crate::{
    action::{About, Action, Kind, PlanError},
    chat::{Webhook, chat_message, headline},
    effect::Effect,
    ids::Name,
    template::Template,
};

pub(super) const KIND: Kind = Kind::new::<Teams>("teams", "posts a message to a Microsoft Teams channel");

/// A message may have about 28 KB; this many characters have at most 24 of it, at six bytes for one that JSON escapes.
const TEXT_CHARS_MAX: usize = 4_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Teams {
    #[serde(default)]
    url: Webhook,
    text: Option<Template>,
}

impl Action for Teams {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let text = match &self.text {
            Some(template) => template.render(about.context)?,
            None => headline(about.event),
        };
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.2",
            "body": [{ "type": "TextBlock", "text": text, "wrap": true }],
        });
        let message = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": card,
            }],
        });
        Ok(chat_message(self.url.to_text(about.action), &message))
    }

    fn secrets<'a>(&'a self, own: &'a Name) -> Vec<&'a str> {
        self.url.secret(own).into_iter().collect()
    }

    fn address_secret<'a>(&'a self, own: &'a Name) -> Option<&'a str> {
        self.url.secret(own)
    }

    fn describe(&self) -> String {
        self.url.describe()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        effect::{Effect, Text},
        testing::plan,
    };

    #[test]
    fn posts_a_card_with_its_text() {
        let action = "kind = \"teams\"\nurl = { secret = \"flow\" }\ntext = \"paid {{ event.n }}\"";
        let Ok(Effect::Http(effect)) = plan(action, r#"{"n": 5}"#) else { panic!("no http effect") };
        assert_eq!(effect.url, Text::Secret("flow".into()));
        insta::assert_snapshot!(String::from_utf8(effect.body).unwrap(), @r#"{"attachments":[{"content":{"$schema":"http://adaptivecards.io/schemas/adaptive-card.json","body":[{"text":"paid 5","type":"TextBlock","wrap":true}],"type":"AdaptiveCard","version":"1.2"},"contentType":"application/vnd.microsoft.card.adaptive","contentUrl":null}],"type":"message"}"#);
    }

    #[test]
    fn a_card_is_never_larger_than_teams_takes() {
        for text in ["\u{1}", "🦀", "\"", "a"] {
            let event = serde_json::json!({ "t": text.repeat(10_000) }).to_string();
            let Ok(Effect::Http(effect)) = plan("kind = \"teams\"\ntext = \"{{ event.t }}\"", &event) else {
                panic!("no http effect")
            };
            assert!(effect.body.len() < 28_000, "{text:?}: {}", effect.body.len());
        }
    }
}
