//! What actions keep in the table: the latest state of something, and counters.

use aws_sdk_dynamodb::{
    operation::{transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::{AttributeValue, Put as PutRequest, TransactWriteItem, Update},
};
use hookgate_core::{
    effect::{CountEffect, RecordEffect},
    event::Event,
    ids::{Name, shard},
    time::EpochMillis,
};
use serde_json::Value;

use crate::{
    schema::{
        COUNT, COUNTER_SHARDS, PK, SK, SOURCE, TTL, counter_pk, counter_sk, event_pk, mark_sk,
        parse_counter_sk, record_pk,
    },
    store::{STATUS_DAYS_MORE, Store, StoreError, call, expiry, n, s, text},
};

/// Days for which a counter is kept.
const COUNTER_DAYS: i64 = 400;

/// Levels of lists and objects in a recorded field: DynamoDB has 32, and the field itself is the first.
const NESTING_MAX: u32 = 31;

/// How often something was counted on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The day in UTC, as `2026-11-21`.
    pub day: String,
    /// What was counted.
    pub label: String,
    /// How often.
    pub count: u64,
}

/// Most rows of a counter read at once.
const COUNTER_ROWS_MAX: usize = 10_000;

impl Store {
    /// Upserts a record; `false` when what is there is newer and stays.
    ///
    /// # Errors
    /// [`StoreError::Call`]. Doing it again is harmless.
    pub async fn record(
        &self,
        event: &Event,
        effect: &RecordEffect,
        now: EpochMillis,
    ) -> Result<bool, StoreError> {
        let mut set = "SET event_at = :at, updated_at = :now, event_id = :id, #source = :source".to_owned();
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(record_pk(&effect.collection)))
            .key(SK, s(&effect.key))
            .condition_expression("attribute_not_exists(event_at) OR event_at <= :at")
            .expression_attribute_names("#source", SOURCE)
            .expression_attribute_values(":at", n(effect.at.as_millis()))
            .expression_attribute_values(":now", n(now.as_millis()))
            .expression_attribute_values(":id", s(event.id.as_str()))
            .expression_attribute_values(":source", s(event.source.as_str()));
        for (number, (name, value)) in effect.fields.iter().enumerate() {
            set.push_str(&format!(", #f{number} = :f{number}"));
            request = request
                .expression_attribute_names(format!("#f{number}"), name)
                .expression_attribute_values(format!(":f{number}"), attribute(value, NESTING_MAX));
        }
        if let Some(days) = effect.keep_days {
            set.push_str(", #ttl = :ttl");
            request = request
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":ttl", expiry(now, i64::from(days)));
        }
        match request.update_expression(set).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(call("UpdateItem")(error)),
            },
        }
    }

    /// The records of a collection by key, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn records(&self, collection: &str, limit: i32) -> Result<Vec<(String, Value)>, StoreError> {
        self.rows(record_pk(collection), limit).await
    }

    /// The values of a counter, the newest day first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn counts(&self, counter: &str, limit: usize) -> Result<Vec<Counted>, StoreError> {
        let rows = limit.saturating_mul(usize::from(COUNTER_SHARDS)).min(COUNTER_ROWS_MAX);
        let rows = self.rows(counter_pk(counter), i32::try_from(rows).unwrap_or(i32::MAX)).await?;
        let mut counts: Vec<Counted> = Vec::new();
        for (key, value) in rows {
            let Some((day, label)) = parse_counter_sk(&key) else { continue };
            let count = value.get(COUNT).and_then(Value::as_u64).unwrap_or_default();
            match counts.iter_mut().rev().find(|known| known.day == day && known.label == label) {
                Some(known) => known.count += count,
                None => counts.push(Counted { day: day.to_owned(), label: label.to_owned(), count }),
            }
        }
        counts.truncate(limit);
        Ok(counts)
    }

    async fn rows(&self, pk: String, limit: i32) -> Result<Vec<(String, Value)>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s(pk))
            .scan_index_forward(false)
            .limit(limit)
            .send()
            .await
            .map_err(call("Query"))?;
        let rows = answer.items.unwrap_or_default().into_iter().filter_map(|mut item| {
            let key = text(&item, SK)?.to_owned();
            for name in [PK, SK, TTL] {
                item.remove(name);
            }
            let mut fields: Vec<_> = item.into_iter().map(|(name, value)| (name, json(&value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Some((key, Value::Object(fields.into_iter().collect())))
        });
        Ok(rows.collect())
    }

    /// Counts an event for an action, once: the count and the mark that it was made are one transaction.
    /// `false` when it had been counted before.
    ///
    /// # Errors
    /// [`StoreError::Call`]. Doing it again is harmless.
    pub async fn count(
        &self,
        event: &Event,
        action: &Name,
        effect: &CountEffect,
        retention_days: u32,
        now: EpochMillis,
    ) -> Result<bool, StoreError> {
        let broken =
            |reason: String| StoreError::Call { operation: "TransactWriteItems", reason, permanent: false };
        let mark = PutRequest::builder()
            .table_name(&self.table)
            .item(PK, s(event_pk(&event.source, &event.id)))
            .item(SK, s(mark_sk(action)))
            .item(TTL, expiry(now, i64::from(retention_days) + STATUS_DAYS_MORE))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(|e| broken(e.to_string()))?;
        let counter = Update::builder()
            .table_name(&self.table)
            .key(PK, s(counter_pk(&effect.counter)))
            .key(
                SK,
                s(counter_sk(&effect.day, &effect.label, shard(&event.source, &event.id, COUNTER_SHARDS))),
            )
            .update_expression("ADD #n :one SET #ttl = if_not_exists(#ttl, :ttl)")
            .expression_attribute_names("#n", COUNT)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":ttl", expiry(now, COUNTER_DAYS))
            .build()
            .map_err(|e| broken(e.to_string()))?;
        let result = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(mark).build())
            .transact_items(TransactWriteItem::builder().update(counter).build())
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) => {
                if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
                    error.as_service_error()
                    && canceled.cancellation_reasons().first().and_then(|r| r.code())
                        == Some("ConditionalCheckFailed")
                {
                    return Ok(false);
                }
                Err(call("TransactWriteItems")(error))
            }
        }
    }
}

/// A JSON value as DynamoDB keeps it, with at most so many levels of lists and objects. What DynamoDB can't hold is
/// kept as text: a number of more than 38 digits or beyond 1e125, an object with an empty name, further levels.
fn attribute(value: &Value, levels: u32) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => {
            let fits = number.as_f64().is_none_or(|f| f == 0.0 || (1e-120..1e120).contains(&f.abs()));
            if fits { AttributeValue::N(number.to_string()) } else { s(number.to_string()) }
        }
        Value::String(text) => s(text),
        Value::Array(values) if levels > 0 => {
            AttributeValue::L(values.iter().map(|value| attribute(value, levels - 1)).collect())
        }
        Value::Object(fields) if levels > 0 && !fields.contains_key("") => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), attribute(value, levels - 1)));
            AttributeValue::M(fields.collect())
        }
        Value::Array(_) | Value::Object(_) => s(value.to_string()),
    }
}

/// The other way round, for listings.
fn json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => {
            number.parse::<serde_json::Number>().map_or_else(|_| Value::String(number.clone()), Value::Number)
        }
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::L(values) => Value::Array(values.iter().map(json).collect()),
        AttributeValue::M(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
        _ => Value::Null,
    }
}
