//! `record`: a projection of the latest known state of something: an order's status, a contact's opt-out.
//!
//! Keys: `collection`; `key`, a locator of which one; `fields`, a table of field = locator; `set`, a table of
//! field = fixed value; `keep_days` (default: for ever).
//! Effect: one [`Effect::Record`] with the event's time, so that an older event never overwrites a newer one.
//! Fields that the event lacks stay as they are.
//!
//! ```toml
//! [actions.order-status]
//! kind = "record"
//! collection = "orders"
//! key = "json:/order/id"
//! fields = { status = "json:/order/status" }
//! set = { seen = true }
//! keep_days = 400
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    action::{About, Action, Kind, PlanError},
    effect::{Effect, RECORD_FIELDS_RESERVED, RecordEffect},
    place::Locator,
};

pub(super) const KIND: Kind =
    Kind::new::<Record>("record", "keeps the latest state of something in the table").inward();

#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Record(Written);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    collection: String,
    key: Locator,
    #[serde(default)]
    fields: BTreeMap<String, Locator>,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    keep_days: Option<u32>,
}

impl TryFrom<Written> for Record {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut names = written.fields.keys().chain(written.set.keys());
        match names.find(|name| RECORD_FIELDS_RESERVED.contains(&name.as_str())) {
            Some(name) => Err(format!("a field can't be called `{name}`, the record has one of its own")),
            None if written.collection.is_empty() => Err("`collection` is empty".into()),
            None => Ok(Self(written)),
        }
    }
}

impl Action for Record {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let request = &about.event.request;
        let key = self
            .0
            .key
            .find(request, Some(about.view))
            .ok_or_else(|| PlanError::Missing { place: self.0.key.to_string() })?;
        let mut fields: Map<String, Value> = Map::new();
        for (name, locator) in &self.0.fields {
            if let Some(value) = locator.find_value(request, Some(about.view)) {
                fields.insert(name.clone(), value);
            }
        }
        for (name, value) in &self.0.set {
            fields.insert(name.clone(), value.clone());
        }
        Ok(Effect::Record(RecordEffect {
            collection: self.0.collection.clone(),
            key,
            at: about.event.time(),
            fields,
            keep_days: self.0.keep_days,
        }))
    }

    fn describe(&self) -> String {
        format!("{} by {}", self.0.collection, self.0.key)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::plan;

    const ACTION: &str = r#"
        kind = "record"
        collection = "orders"
        key = "json:/order/id"
        fields = { status = "json:/order/status", total = "json:/order/total", note = "json:/order/note" }
        set = { seen = true }
    "#;

    #[test]
    fn takes_fields_with_their_types_and_the_time_of_the_event() {
        let body =
            r#"{"at": "2026-05-01T00:00:00Z", "order": {"id": "o1", "status": "paid", "total": 12.5}}"#;
        insta::assert_debug_snapshot!(plan(ACTION, body), @r#"
        Ok(
            Record(
                RecordEffect {
                    collection: "orders",
                    key: "o1",
                    at: EpochMillis(
                        1777593600000,
                    ),
                    fields: {
                        "seen": Bool(true),
                        "status": String("paid"),
                        "total": Number(12.5),
                    },
                    keep_days: None,
                },
            ),
        )
        "#);
    }

    #[test]
    fn an_event_without_the_key_can_not_be_recorded() {
        assert_eq!(plan(ACTION, "{}").unwrap_err().to_string(), "the event has nothing at json:/order/id");
    }
}
