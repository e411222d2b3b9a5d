//! The table's stream: every event that is stored shows up here, whatever became of ingest after that. One that
//! has no status yet has reached no worker; if that stays so, its message was never sent.
//!
//! This costs reads only, and only once an event: an index of events without a status would cost a write for each.

use std::collections::BTreeSet;

use futures::future::join_all;
use hookgate_aws::{
    outbox::Due,
    schema::{EVENT_SK, PK, SK, StatusKey, parse_event_pk},
};
use hookgate_core::{
    codec::Message,
    ids::{EventId, Name},
    source::RETENTION_DAYS,
};
use serde_json::Value;

use crate::Worker;

/// Age from which an event without a status counts as never queued. Younger ones are looked at again then: their
/// message is most likely on its way.
const GRACE_MS: i64 = 60_000;

/// Keys in one read of many (`BatchGetItem`).
const KEYS_MAX: usize = 100;

impl Worker {
    /// Looks at records of the stream, as Lambda hands them over. Returns the sequence number from which the
    /// stream has to be read again, if anything failed.
    pub async fn stream(&self, records: &[Value]) -> Option<String> {
        let mut events: Vec<(Name, EventId)> = Vec::new();
        for record in records {
            let inserted = record.get("eventName").and_then(Value::as_str) == Some("INSERT");
            let key =
                |name: &str| record.pointer(&format!("/dynamodb/Keys/{name}/S")).and_then(Value::as_str);
            if inserted && key(SK) == Some(EVENT_SK) {
                events.extend(key(PK).and_then(parse_event_pk));
            }
        }
        // DynamoDB refuses a read that names a key twice, and one that was deleted and stored again may be here twice.
        events.sort();
        events.dedup();
        let batches = events.chunks(KEYS_MAX).map(|events| self.look_after(events));
        let failed = join_all(batches).await.into_iter().find_map(Result::err);
        let error = failed?;
        tracing::warn!(error = format!("{error:#}"), "the stream is read again");
        let first = records.first()?.pointer("/dynamodb/SequenceNumber")?.as_str()?;
        Some(first.to_owned())
    }

    async fn look_after(&self, events: &[(Name, EventId)]) -> anyhow::Result<()> {
        let now = self.ambient.now();
        let keys = self.store.received_at(events).await?;
        let known: BTreeSet<(String, String)> =
            self.store.with_status(&keys).await?.iter().map(|key| (key.pk(), key.sk())).collect();
        for key in keys.iter().filter(|key| !known.contains(&(key.pk(), key.sk()))) {
            let age_ms = now.millis_since(key.received_at);
            if age_ms < GRACE_MS {
                let due = Due {
                    at: key.received_at.plus_millis(GRACE_MS),
                    source: key.source.clone(),
                    id: key.id.clone(),
                };
                self.store.outbox_put(&due).await?;
            } else {
                self.rescue(key, age_ms).await?;
            }
        }
        Ok(())
    }

    async fn rescue(&self, key: &StatusKey, age_ms: i64) -> anyhow::Result<()> {
        tracing::warn!(source = %key.source, event.id = %key.id, age_ms, outcome = "rescued", rescued = 1, "an event was stored and reached no worker; it is queued now");
        self.queue.send(&Message::pointing(&key.source, &key.id), 0, None).await?;
        let Some(event) = self.store.event(&key.source, &key.id).await? else { return Ok(()) };
        let retention_days =
            self.config.sources.get(&key.source).map_or(RETENTION_DAYS, |source| source.retention_days);
        Ok(self.store.mark_received(&event, retention_days).await?)
    }
}
