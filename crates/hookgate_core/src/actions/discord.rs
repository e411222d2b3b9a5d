//! `discord`: a message through a webhook of a channel.
//!
//! Keys: `url`, which is a secret and so usually `{ secret = "NAME" }` (default: the secret with the action's own
//! name); `text`, a template (default: source, type and id of the event).
//! Effect: one [`Effect::Http`]. Source: <https://docs.discord.com/developers/resources/webhook#execute-webhook>,
//! read 2026-11-21.
//!
//! Nobody is called by a message, whatever is in it: `allowed_mentions` has an empty list, which suppresses all.
//!
//! ```toml
//! [actions.tell-players]                # the address is the secret `tell-players`
//! kind = "discord"
//! text = "**{{ event.player }}** has finished {{ event.quest }}"
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

pub(super) const KIND: Kind = Kind::new::<Discord>("discord", "posts a message to a Discord channel");

/// Longest `content`; a longer one is refused. Counted in UTF-16, which is never less than what Discord counts.
const TEXT_UNITS_MAX: usize = 2_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Discord {
    #[serde(default)]
    url: Webhook,
    text: Option<Template>,
}

impl Action for Discord {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let text = match &self.text {
            Some(template) => template.render(about.context)?,
            None => headline(about.event),
        };
        if text.trim().is_empty() {
            return Err(PlanError::Invalid { what: "the text is empty, which Discord does not take".into() });
        }
        let message = json!({ "content": cut(&text), "allowed_mentions": { "parse": [] } });
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

fn cut(text: &str) -> String {
    let mut units = 0;
    text.chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= TEXT_UNITS_MAX
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::{
        effect::{Effect, Text},
        testing::plan,
    };

    fn message(action: &str, event: &str) -> Value {
        let Ok(Effect::Http(effect)) = plan(action, event) else { panic!("no http effect") };
        assert_eq!(effect.url, Text::Secret("it".into()));
        serde_json::from_slice(&effect.body).unwrap()
    }

    #[test]
    fn posts_its_text_and_calls_nobody() {
        let message =
            message("kind = \"discord\"\ntext = \"hi {{ event.who }}\"", r#"{"who": "@everyone <@1>"}"#);
        assert_eq!(
            message,
            serde_json::json!({"content": "hi @everyone <@1>", "allowed_mentions": {"parse": []}})
        );
    }

    #[test]
    fn says_what_came_where_nothing_is_written() {
        let message = message("kind = \"discord\"", r#"{"id": "1", "type": "order.paid"}"#);
        assert_eq!(message["content"], "shop: order.paid (1)");
    }

    #[test]
    fn a_long_text_is_cut_to_what_discord_takes() {
        for (one, units) in [("a", 1), ("ä", 1), ("🦀", 2)] {
            let event = serde_json::json!({ "t": one.repeat(3_000) }).to_string();
            let message = message("kind = \"discord\"\ntext = \"{{ event.t }}\"", &event);
            assert_eq!(message["content"].as_str().unwrap().chars().count(), 2_000 / units, "{one}");
        }
    }

    #[test]
    fn an_empty_text_is_not_sent() {
        let planned = plan("kind = \"discord\"\ntext = \" {{ event.t }}\"", r#"{"t": ""}"#);
        assert!(planned.unwrap_err().to_string().contains("empty"));
    }
}
