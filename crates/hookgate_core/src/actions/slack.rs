//! `slack`: a message through an incoming webhook.
//!
//! Keys: `url`, which is a secret and so usually `{ secret = "NAME" }` (default: the secret with the action's own
//! name); `text`, a template (default: source, type and id of the event).
//! Effect: one [`Effect::Http`]. Source: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
//!
//! In a message, `<!channel>` calls everybody and `<https://…|text>` is a link under another name. A template may
//! have such things in it; the values that are filled in can't: they are escaped as Slack asks for it, unless they
//! say `| safe`.
//!
//! ```toml
//! [actions.tell-finance]                # the address is the secret `tell-finance`
//! kind = "slack"
//! text = "<!here> payment {{ event.payment.id }} failed"
//! ```

use serde::Deserialize;
use serde_json::json;

use crate::{
    action::{About, Action, Kind, PlanError},
    chat::{Webhook, chat_message, headline},
    effect::Effect,
    ids::Name,
    template::{Escape, Template, escape_for_slack},
};

pub(super) const KIND: Kind = Kind::new::<Slack>("slack", "posts a message to a Slack channel");

/// Slack cuts a text off after 40,000 characters; it asks for 4,000 at most.
const TEXT_CHARS_MAX: usize = 4_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slack {
    #[serde(default)]
    url: Webhook,
    text: Option<Template>,
}

impl Action for Slack {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let text = match &self.text {
            Some(template) => template.render_for(Escape::Slack, about.context)?,
            None => escape_for_slack(&headline(about.event)),
        };
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        Ok(chat_message(self.url.to_text(about.action), &json!({ "text": text })))
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

    fn body(action: &str, event: &str) -> String {
        let Ok(Effect::Http(effect)) = plan(action, event) else { panic!("no http effect") };
        String::from_utf8(effect.body).unwrap()
    }

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

    #[test]
    fn a_strangers_text_calls_nobody() {
        let event = r#"{"id": "<!channel>", "type": "<https://evil.example|bank>", "who": "<!here> & co"}"#;
        assert_eq!(
            body("kind = \"slack\"\ntext = \"<!subteam^S1> {{ event.who }}\"", event),
            r#"{"text":"<!subteam^S1> &lt;!here&gt; &amp; co"}"#
        );
        let plain = body("kind = \"slack\"", event);
        assert!(!plain.contains('<') && plain.contains("&lt;!channel&gt;"), "{plain}");
    }
}
