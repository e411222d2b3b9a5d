//! The quarantine in the table.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    primitives::Blob,
    types::{AttributeValue, Select},
};
use hookgate_core::{
    codec::{self, CodecError, Message},
    event::Event,
    ids::{EventId, Name},
    quarantine::{DAYS, PER_DAY_MAX, Quarantined},
    source::Source,
    time::EpochMillis,
};
use thiserror::Error;

use crate::{
    queue::{Queue, QueueError},
    schema::{
        COUNT, FRAME, FRAME_BYTES_MAX, PK, REASON, SK, TTL, parse_quarantine_sk, quarantine_count_sk,
        quarantine_pk, quarantine_sk,
    },
    store::{Store, StoreError, call, expiry, n, s, text},
};

/// What became of a delivery that should be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// The source has added as many today as it may.
    Full,
    /// It is larger than an item.
    TooLarge,
}

/// Why a delivery could not be let in.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// It can't be written as an event is stored.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The table.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Lets in a delivery that was found to be `event`: stores and queues it, then takes it out of quarantine. A crash in
/// between lets it in twice, which is once.
///
/// # Errors
/// [`ReleaseError`]; letting it in again is harmless.
pub async fn release(
    store: &Store,
    queue: &Queue,
    source: &Source,
    event: &Event,
    delivery: &Quarantined,
) -> Result<(), ReleaseError> {
    let frame = codec::encode(event, 0)?;
    store.put_event(event, &frame, source.retention_days).await?;
    queue.send(&Message::pointing(&event.source, &event.id), 0, None).await?;
    store.quarantine_delete(&delivery.source, delivery.request.received_at, &delivery.id).await?;
    Ok(())
}

impl Store {
    /// Keeps a delivery in quarantine, if its source has room for it today. Costs two writes, one when it is full.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn quarantine(&self, delivery: &Quarantined, now: EpochMillis) -> Result<Kept, StoreError> {
        let frame = delivery.encode().map_err(|error| StoreError::Damaged {
            what: "a delivery",
            key: quarantine_pk(&delivery.source),
            source: Some(error),
        })?;
        if frame.len() > FRAME_BYTES_MAX {
            return Ok(Kept::TooLarge);
        }
        let pk = quarantine_pk(&delivery.source);
        let counted = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(&pk))
            .key(SK, s(quarantine_count_sk(&now.day())))
            .update_expression("ADD #n :one SET #ttl = if_not_exists(#ttl, :ttl)")
            .condition_expression("attribute_not_exists(#n) OR #n < :max")
            .expression_attribute_names("#n", COUNT)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":max", n(PER_DAY_MAX))
            .expression_attribute_values(":ttl", expiry(now, DAYS))
            .send()
            .await;
        match counted {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(UpdateItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                return Ok(Kept::Full);
            }
            Err(error) => return Err(call("UpdateItem")(error)),
        }
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(&pk))
            .item(SK, s(quarantine_sk(delivery.request.received_at, &delivery.id)))
            .item(FRAME, AttributeValue::B(Blob::new(frame)))
            .item(REASON, s(&delivery.reason))
            .item(TTL, expiry(now, DAYS))
            .send()
            .await
            .map(|_| Kept::Yes)
            .map_err(call("PutItem"))
    }

    /// What a source has in quarantine, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn quarantined(&self, source: &Name, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        let mut found = Vec::new();
        let mut from = None;
        while found.len() < limit {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND sk < :end")
                .expression_attribute_values(":pk", s(quarantine_pk(source)))
                // Before the counters.
                .expression_attribute_values(":end", s("N#"))
                .scan_index_forward(false)
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(call("Query"))?;
            let items = page.items.unwrap_or_default();
            found.extend(items.iter().filter_map(|item| {
                let (_, id) = parse_quarantine_sk(text(item, SK)?)?;
                let frame = item.get(FRAME)?.as_b().ok()?;
                let reason = text(item, REASON).unwrap_or_default().to_owned();
                Quarantined::decode(source.clone(), id, reason, frame.as_ref()).ok()
            }));
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// How many deliveries a source has in quarantine.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn quarantined_count(&self, source: &Name) -> Result<u64, StoreError> {
        let (mut count, mut from) = (0, None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND sk < :end")
                .expression_attribute_values(":pk", s(quarantine_pk(source)))
                // Before the counters.
                .expression_attribute_values(":end", s("N#"))
                .select(Select::Count)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(call("Query"))?;
            count += u64::try_from(page.count).unwrap_or_default();
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    /// Takes a delivery out of quarantine, after it was let in.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn quarantine_delete(
        &self,
        source: &Name,
        received_at: EpochMillis,
        id: &EventId,
    ) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key(PK, s(quarantine_pk(source)))
            .key(SK, s(quarantine_sk(received_at, id)))
            .send()
            .await
            .map(|_| ())
            .map_err(call("DeleteItem"))
    }
}
