//! `count`: counters by day.
//!
//! Keys: `counter` (default `events`), `label` (a template, default `{{ source }} {{ type }}`).
//! Effect: one [`Effect::Count`], on the day on which the event was received. An event is counted once, however
//! often it is delivered or tried.
//!
//! ```toml
//! [actions.per-country]
//! kind = "count"
//! counter = "orders"
//! label = "{{ event.country | default('?') }}"
//! ```

use serde::Deserialize;

use crate::{
    action::{About, Action, Kind, PlanError},
    effect::{CountEffect, Effect},
    template::Template,
};

pub(super) const KIND: Kind = Kind::new::<Count>("count", "counts events by day").inward();

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    #[serde(default = "default_counter")]
    counter: String,
    label: Option<Template>,
}

fn default_counter() -> String {
    "events".into()
}

impl Action for Count {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let label = match &self.label {
            Some(template) => template.render(about.context)?,
            None => format!("{} {}", about.event.source, about.event.event_type),
        };
        let day = about.event.request.received_at.day();
        Ok(Effect::Count(CountEffect { counter: self.counter.clone(), day, label }))
    }

    fn describe(&self) -> String {
        format!("counter `{}`", self.counter)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::plan;

    #[test]
    fn counts_by_source_type_and_day() {
        insta::assert_debug_snapshot!(plan("kind = \"count\"", r#"{"id": "1", "type": "order.paid"}"#), @r#"
        Ok(
            Count(
                CountEffect {
                    counter: "events",
                    day: "2026-05-28",
                    label: "shop order.paid",
                },
            ),
        )
        "#);
    }

    #[test]
    fn the_label_is_a_template() {
        let effect =
            plan("kind = \"count\"\nlabel = \"{{ event.currency }}\"", r#"{"id": "1", "currency": "EUR"}"#);
        assert!(format!("{effect:?}").contains("label: \"EUR\""), "{effect:?}");
        assert!(plan("kind = \"count\"\nlabel = \"{{ event.currency }}\"", "{}").is_err());
    }
}
