//! The outbox: what is due to be queued, and when.

use hookgate_core::{
    ids::{EventId, Name, shard},
    time::EpochMillis,
};

use crate::{
    schema::{OUTBOX_SHARDS, PK, SK, TTL, outbox_pk, parse_time_sk, sortable, time_sk},
    store::{Store, StoreError, call, expiry, s, text},
};

/// Days for which its records are kept.
const OUTBOX_DAYS: i64 = 14;

/// An outbox record: an event that is due to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: EpochMillis,
    /// The event's source.
    pub source: Name,
    /// The event's id.
    pub id: EventId,
}

impl Due {
    fn pk(&self) -> String {
        outbox_pk(shard(&self.source, &self.id, OUTBOX_SHARDS))
    }

    fn sk(&self) -> String {
        time_sk(self.at, &self.source, &self.id)
    }
}

impl Store {
    /// Puts an event into the outbox.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn outbox_put(&self, due: &Due) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(due.pk()))
            .item(SK, s(due.sk()))
            .item(TTL, expiry(due.at, OUTBOX_DAYS))
            .send()
            .await
            .map(|_| ())
            .map_err(call("PutItem"))
    }

    /// What is due in one shard of the outbox, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn outbox_due(&self, shard: u8, now: EpochMillis, limit: i32) -> Result<Vec<Due>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk < :end")
            .expression_attribute_values(":pk", s(outbox_pk(shard)))
            .expression_attribute_values(":end", s(sortable(now.plus_millis(1))))
            .consistent_read(true)
            .limit(limit)
            .send()
            .await
            .map_err(call("Query"))?;
        let due = answer.items.unwrap_or_default().into_iter().filter_map(|item| {
            let (at, source, id) = parse_time_sk(text(&item, SK)?)?;
            Some(Due { at, source, id })
        });
        Ok(due.collect())
    }

    /// Takes a record out of the outbox, after its event was queued.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn outbox_delete(&self, due: &Due) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key(PK, s(due.pk()))
            .key(SK, s(due.sk()))
            .send()
            .await
            .map(|_| ())
            .map_err(call("DeleteItem"))
    }
}
