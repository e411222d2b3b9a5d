//! Replaying: a person asks for another run of what gave up.

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::ReturnValuesOnConditionCheckFailure};
use hookgate_core::{codec::Message, ids::Name, lifecycle::Status, time::EpochMillis};
use serde_json::Value;

use crate::{
    outbox::Due,
    queue::Queue,
    schema::{FENCE, JOB, PK, REPLAYS_PK, SK, STATUS, StatusKey, TTL},
    store::{Store, StoreError, call, entry, expiry, n, number, s, text},
};

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who.
    pub by: &'a str,
    /// Under which name this replay is continued.
    pub job: &'a str,
    /// Whether what is done is done again.
    pub again: bool,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is on its way.
    Queued,
    /// This replay has asked for it before.
    Before,
    /// There is nothing to run again.
    Nothing(Status),
    /// A worker has it, or has just had it; ask again.
    Busy,
    /// It is no longer kept.
    Unknown,
}

/// After how long the sweeper brings an event whose message was not sent, in milliseconds.
const SAFETY_MS: i64 = 60_000;

/// Days for which a replay can be continued.
const JOB_DAYS: i64 = 30;

/// Asks for another run of an event.
///
/// A crash at any point leaves either nothing changed, or an outbox record that brings the event back: it is put down
/// before the event's status says that there is something to do, and taken out when its message was sent.
///
/// # Errors
/// [`StoreError`]; asking again is harmless.
pub async fn replay(
    store: &Store,
    queue: &Queue,
    key: &StatusKey,
    ask: Ask<'_>,
    now: EpochMillis,
) -> Result<Replayed, StoreError> {
    let answer = store
        .client
        .get_item()
        .table_name(&store.table)
        .key(PK, s(key.pk()))
        .key(SK, s(key.sk()))
        .consistent_read(true)
        .send()
        .await
        .map_err(call("GetItem"))?;
    let Some(item) = answer.item else { return Ok(Replayed::Unknown) };
    let known = entry(&item)?;
    if known.status == Status::Working {
        return Ok(Replayed::Busy);
    }
    let mut attempts = known.attempts;
    if attempts.was_replayed_by(ask.job) {
        return Ok(Replayed::Before);
    }
    if !attempts.replay(known.status, ask.by, ask.job, ask.again, now) {
        return Ok(Replayed::Nothing(known.status));
    }
    let due = Due { at: now.plus_millis(SAFETY_MS), source: key.source.clone(), id: key.id.clone() };
    store.outbox_put(&due).await?;
    let fence = number(&item, FENCE);
    let mut request = store
        .client
        .update_item()
        .table_name(&store.table)
        .key(PK, s(key.pk()))
        .key(SK, s(key.sk()))
        .update_expression(match known.status.is_final() {
            // One that has an order has left its lane, and gets another turn.
            true => "SET #status = :retrying, attempts = :attempts, fence = :next REMOVE next_at, lease_until, lease_owner, turn",
            false => "SET #status = :retrying, attempts = :attempts, fence = :next REMOVE next_at, lease_until, lease_owner",
        })
        .condition_expression(match fence {
            Some(_) => "#status = :was AND fence = :fence",
            None => "#status = :was AND attribute_not_exists(fence)",
        })
        .expression_attribute_names("#status", STATUS)
        .expression_attribute_values(":retrying", s(Status::Retrying.word()))
        .expression_attribute_values(":was", s(known.status.word()))
        .expression_attribute_values(":attempts", s(serde_json::to_string(&attempts).unwrap_or_default()))
        .expression_attribute_values(":next", n(fence.unwrap_or_default() + 1));
    if let Some(fence) = fence {
        request = request.expression_attribute_values(":fence", n(fence));
    }
    let request =
        request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    if let Err(error) = request.send().await {
        let Some(UpdateItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(call("UpdateItem")(error));
        };
        // A first try whose answer was lost changed it: the SDK's second try finds our own replay.
        let now_there = refused.item.as_ref().and_then(|item| entry(item).ok());
        if !now_there.is_some_and(|entry| entry.attempts.was_replayed_by(ask.job)) {
            store.outbox_delete(&due).await?;
            return Ok(Replayed::Busy);
        }
    }
    match queue.send(&Message::pointing(&key.source, &key.id), 0, None).await {
        Ok(()) => store.outbox_delete(&due).await?,
        Err(error) => {
            tracing::warn!(source = %key.source, event.id = %key.id, error = %error, "the event comes with the next sweep");
        }
    }
    Ok(Replayed::Queued)
}

impl Store {
    /// Keeps what a replay was asked for, so that it can be continued, from wherever.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn replay_put(&self, job: &Name, asked: &Value, now: EpochMillis) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(REPLAYS_PK))
            .item(SK, s(job.as_str()))
            .item(JOB, s(asked.to_string()))
            .item(TTL, expiry(now, JOB_DAYS))
            .send()
            .await
            .map(|_| ())
            .map_err(call("PutItem"))
    }

    /// What a replay was asked for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replay_get(&self, job: &Name) -> Result<Option<Value>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, s(REPLAYS_PK))
            .key(SK, s(job.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(call("GetItem"))?;
        let damaged = || StoreError::Damaged { what: "the replay", key: job.to_string(), source: None };
        answer
            .item
            .map(|item| {
                let asked = text(&item, JOB).ok_or_else(damaged)?;
                serde_json::from_str(asked).map_err(|_| damaged())
            })
            .transpose()
    }
}
