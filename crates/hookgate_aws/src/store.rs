//! The table: events, and where they stand. Each function is one or two calls; what follows from their results is decided in
//! `hookgate_core::lifecycle`, and the keys stand in [`crate::schema`].

use std::{cmp::Reverse, collections::HashMap};

use aws_sdk_dynamodb::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    primitives::Blob,
    types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use futures::future::try_join_all;
use hookgate_core::{
    codec::{self, CodecError},
    event::Event,
    ids::{EventId, Name},
    lifecycle::{Attempts, LEASE_BELIEVED_MS, LEASE_LEFT_MS, LEASE_MS, Put, Status},
    time::EpochMillis,
};
use thiserror::Error;

use crate::schema::{
    ATTEMPTS, EVENT_SK, EVENT_TYPE, FENCE, FRAME, FRAME_BYTES_MAX, HASH, LEASE_OWNER, LEASE_UNTIL,
    LIST_SHARDS, NEXT_AT, OCCURRED_AT, PARTS, PK, RECEIVED_AT, SK, STATUS, STEP, StatusKey, TTL, TURN,
    event_pk, list_pk, parse_event_pk, part_sk, sortable,
};

type Item = HashMap<String, AttributeValue>;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Days for which a status item outlives its event, so that a late repetition still finds what became of it.
pub(crate) const STATUS_DAYS_MORE: i64 = 1;

/// The table of an installation.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// Why a call on the table failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// DynamoDB refused it, did not answer, or its answer was lost. It may have taken effect.
    #[error("DynamoDB {operation}: {reason}")]
    Call {
        /// Such as `PutItem`.
        operation: &'static str,
        /// What the SDK says.
        reason: String,
        /// Whether the request itself is at fault, so that it fails however often it is sent.
        permanent: bool,
    },
    /// Another worker has the event by now; nothing was written.
    #[error("the lease was lost to another worker")]
    LeaseLost,
    /// What is stored can't be read.
    #[error("{what} of {key} can't be read")]
    Damaged {
        /// Which part.
        what: &'static str,
        /// Of which item.
        key: String,
        /// Why, where the frame itself is the reason.
        source: Option<CodecError>,
    },
}

impl StoreError {
    /// Whether sending it again can't help.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Call { permanent: true, .. })
    }
}

pub(crate) fn call<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| {
        // Only what goes into a request can make it invalid: a key of more than 1,024 bytes, a record of 400 KB.
        let permanent = error.code() == Some("ValidationException");
        StoreError::Call { operation, reason: reason(&error), permanent }
    }
}

/// One line of what the SDK says, without the response that it would print as well: that may be a secret's.
pub(crate) fn reason<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if let Some(code) = error.code() {
        let message = error.message().unwrap_or("no message").replace(['\r', '\n'], " ");
        return format!("{code}: {message}");
    }
    match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "no answer in time".to_owned(),
        SdkError::DispatchFailure(_) => "could not be reached".to_owned(),
        // An error without a code is none of the service's own: something in between has answered.
        SdkError::ResponseError(_) | SdkError::ServiceError(_) => {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            format!("the answer could not be read (status {status})")
        }
        other => DisplayErrorContext(other).to_string(),
    }
}

/// A lease on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is on.
    pub key: StatusKey,
    fence: i64,
    /// Its place in its lane, if it has one.
    pub turn: Option<EpochMillis>,
    /// Writes that were made under it.
    step: i64,
    /// When it ends unless it is renewed.
    until: EpochMillis,
    /// Everything that was tried before.
    pub attempts: Attempts,
}

impl Lease {
    /// Whether enough of it is left for another action to begin.
    pub fn suffices(&self, now: EpochMillis) -> bool {
        self.until.millis_since(now) >= LEASE_LEFT_MS
    }

    /// Whether it was taken or renewed within the last [`LEASE_BELIEVED_MS`]. Not where the clock went back since.
    pub fn is_fresh(&self, now: EpochMillis) -> bool {
        (0..=LEASE_BELIEVED_MS).contains(&(LEASE_MS - self.until.millis_since(now)))
    }
}

/// What came of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// It is ours.
    Ours(Lease),
    /// Another worker has it until then, unless it gives it back earlier.
    Held {
        /// When it ends by itself.
        until: EpochMillis,
    },
    /// Nothing is left to do.
    Finished(Status),
}

/// What is known of an event beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is found by.
    pub key: StatusKey,
    /// Where it stands.
    pub status: Status,
    /// Its type.
    pub event_type: String,
    /// The provider's time of it.
    pub occurred_at: Option<EpochMillis>,
    /// What was tried.
    pub attempts: Attempts,
    /// When it is due again, if it waits.
    pub next_at: Option<EpochMillis>,
    /// When the lease of whoever works on it ends by itself, if somebody does.
    pub lease_until: Option<EpochMillis>,
}

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(crate) fn millis(item: &Item, name: &str) -> Option<EpochMillis> {
    number(item, name).map(EpochMillis::from_millis)
}

pub(crate) fn expiry(from: EpochMillis, days: i64) -> AttributeValue {
    n(from.as_seconds().saturating_add(days.saturating_mul(DAY_SECONDS)))
}

impl Store {
    /// The table called `table`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Stores an event if it is not there. This is the only dedupe gate.
    ///
    /// What is there and has the same frame is [`Put::Stored`] too: an earlier try whose answer was lost, or a worker that
    /// had this delivery's message sooner.
    ///
    /// A frame that is too large for one item is put down in parts first, so that the event never exists
    /// without them.
    ///
    /// # Errors
    /// [`StoreError::Call`]: it may or may not be there.
    pub async fn put_event(
        &self,
        event: &Event,
        frame: &[u8],
        retention_days: u32,
    ) -> Result<Put, StoreError> {
        let pk = event_pk(&event.source, &event.id);
        let ttl = expiry(event.request.received_at, i64::from(retention_days));
        let mut request = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(&pk))
            .item(SK, s(EVENT_SK))
            .item(RECEIVED_AT, n(event.request.received_at.as_millis()))
            .item(TTL, ttl.clone())
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if frame.len() <= FRAME_BYTES_MAX {
            request = request.item(FRAME, AttributeValue::B(Blob::new(frame)));
        } else {
            let hash = codec::frame_hash(frame);
            let parts = frame.chunks(FRAME_BYTES_MAX).enumerate().map(|(number, part)| {
                self.client
                    .put_item()
                    .table_name(&self.table)
                    .item(PK, s(&pk))
                    .item(SK, s(part_sk(&hash, number)))
                    .item(FRAME, AttributeValue::B(Blob::new(part)))
                    .item(TTL, ttl.clone())
                    .send()
            });
            let parts = try_join_all(parts).await.map_err(call("PutItem"))?.len();
            request = request.item(HASH, s(hash)).item(PARTS, n(i64::try_from(parts).unwrap_or(i64::MAX)));
        }
        match request.send().await {
            Ok(_) => Ok(Put::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let is_same = failed.item().is_some_and(|known| match known.get(FRAME) {
                        Some(AttributeValue::B(blob)) => blob.as_ref() == frame,
                        _ => text(known, HASH).is_some_and(|hash| hash == codec::frame_hash(frame)),
                    });
                    Ok(if is_same { Put::Stored } else { Put::Duplicate })
                }
                _ => Err(call("PutItem")(error)),
            },
        }
    }

    /// Reads an event, its parts put together. `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn event(&self, source: &Name, id: &EventId) -> Result<Option<Event>, StoreError> {
        let pk = event_pk(source, id);
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, s(&pk))
            .key(SK, s(EVENT_SK))
            .consistent_read(true)
            .send()
            .await
            .map_err(call("GetItem"))?;
        let Some(item) = answer.item else { return Ok(None) };
        let damaged = |what, source| StoreError::Damaged { what, key: pk.clone(), source };
        let frame = match (item.get(FRAME), text(&item, HASH), number(&item, PARTS)) {
            (Some(AttributeValue::B(blob)), _, _) => blob.clone().into_inner(),
            (None, Some(hash), Some(parts)) => {
                let frame = self.parts(&pk, hash, parts).await?;
                if codec::frame_hash(&frame) != hash {
                    return Err(damaged("the parts", None));
                }
                frame
            }
            _ => return Err(damaged("the frame", None)),
        };
        codec::decode(source.clone(), id.clone(), &frame).map(Some).map_err(|e| damaged("the frame", Some(e)))
    }

    async fn parts(&self, pk: &str, hash: &str, parts: i64) -> Result<Vec<u8>, StoreError> {
        let numbers =
            0..usize::try_from(parts).unwrap_or(0).min(codec::EVENT_BYTES_MAX / FRAME_BYTES_MAX + 1);
        let gets = numbers.map(|number| {
            self.client
                .get_item()
                .table_name(&self.table)
                .key(PK, s(pk))
                .key(SK, s(part_sk(hash, number)))
                .consistent_read(true)
                .send()
        });
        let mut frame = Vec::new();
        for answer in try_join_all(gets).await.map_err(call("GetItem"))? {
            let item = answer.item.unwrap_or_default();
            match item.get(FRAME) {
                Some(AttributeValue::B(blob)) => frame.extend_from_slice(blob.as_ref()),
                _ => return Err(StoreError::Damaged { what: "a part", key: pk.to_owned(), source: None }),
            }
        }
        Ok(frame)
    }

    /// When each of these events was received; those that are not there are left out. At most 100 at a time.
    ///
    /// # Errors
    /// [`StoreError::Call`], also when DynamoDB leaves some of them unanswered.
    pub async fn received_at(&self, events: &[(Name, EventId)]) -> Result<Vec<StatusKey>, StoreError> {
        let keys = events.iter().map(|(source, id)| key(&event_pk(source, id), EVENT_SK)).collect();
        let items = self.batch_get(keys, "pk, received_at").await?;
        let found = items.iter().filter_map(|item| {
            let (source, id) = parse_event_pk(text(item, PK)?)?;
            Some(StatusKey { source, id, received_at: millis(item, RECEIVED_AT)? })
        });
        Ok(found.collect())
    }

    /// Which of these events have a status. At most 100 at a time.
    ///
    /// # Errors
    /// As for [`Self::received_at`].
    pub async fn with_status(&self, keys: &[StatusKey]) -> Result<Vec<StatusKey>, StoreError> {
        let items = self.batch_get(keys.iter().map(|k| key(&k.pk(), &k.sk())).collect(), "sk").await?;
        Ok(items.iter().filter_map(|item| StatusKey::parse(text(item, SK)?)).collect())
    }

    async fn batch_get(&self, keys: Vec<Item>, projection: &str) -> Result<Vec<Item>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let broken =
            |reason: String| StoreError::Call { operation: "BatchGetItem", reason, permanent: false };
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .projection_expression(projection)
            .consistent_read(true)
            .build()
            .map_err(|e| broken(e.to_string()))?;
        let answer = self
            .client
            .batch_get_item()
            .request_items(&self.table, request)
            .send()
            .await
            .map_err(call("BatchGetItem"))?;
        if answer.unprocessed_keys.is_some_and(|rest| !rest.is_empty()) {
            return Err(broken("throttled: not all keys were answered".to_owned()));
        }
        Ok(answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default())
    }

    /// Takes the lease on an event for [`LEASE_MS`], if nobody has it and there is something left to do.
    ///
    /// # Errors
    /// [`StoreError`]; the lease may have been taken, and then ends by itself.
    pub async fn lease(
        &self,
        event: &Event,
        owner: u64,
        retention_days: u32,
        now: EpochMillis,
    ) -> Result<Leased, StoreError> {
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        let owner = format!("{owner:016x}");
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(key.pk()))
            .key(SK, s(key.sk()))
            .update_expression(
                "SET #status = :working, fence = if_not_exists(fence, :zero) + :one, lease_until = :until, \
                 lease_owner = :owner, #type = :type, #ttl = :ttl, attempts = if_not_exists(attempts, :none) \
                 REMOVE next_at, #step",
            )
            .condition_expression(
                "attribute_not_exists(#status) OR (NOT #status IN (:done, :unrouted, :dead) \
                 AND (attribute_not_exists(lease_until) OR lease_until <= :now))",
            )
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_names("#type", EVENT_TYPE)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_names("#step", STEP)
            .expression_attribute_values(":working", s(Status::Working.word()))
            .expression_attribute_values(":done", s(Status::Done.word()))
            .expression_attribute_values(":unrouted", s(Status::Unrouted.word()))
            .expression_attribute_values(":dead", s(Status::Dead.word()))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":none", s("[]"))
            .expression_attribute_values(":until", n(now.plus_millis(LEASE_MS).as_millis()))
            .expression_attribute_values(":now", n(now.as_millis()))
            .expression_attribute_values(":owner", s(&owner))
            .expression_attribute_values(":type", s(&event.event_type))
            .expression_attribute_values(
                ":ttl",
                expiry(key.received_at, i64::from(retention_days) + STATUS_DAYS_MORE),
            )
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(occurred_at) = event.occurred_at {
            let expression = request.get_update_expression().clone().unwrap_or_default();
            request = request
                .update_expression(expression.replacen("SET ", "SET occurred_at = :occurred, ", 1))
                .expression_attribute_values(":occurred", n(occurred_at.as_millis()));
        }
        let (item, refused) = match request.send().await {
            Ok(answer) => (answer.attributes.unwrap_or_default(), false),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    (failed.item.clone().unwrap_or_default(), true)
                }
                _ => return Err(call("UpdateItem")(error)),
            },
        };
        let status = text(&item, STATUS).and_then(Status::parse).unwrap_or(Status::Working);
        // A first try whose answer was lost took it: the SDK's second try finds our own lease.
        let ours = !refused || text(&item, LEASE_OWNER) == Some(owner.as_str());
        if !ours {
            return Ok(match status.is_final() {
                true => Leased::Finished(status),
                false => Leased::Held { until: millis(&item, LEASE_UNTIL).unwrap_or(now) },
            });
        }
        Ok(Leased::Ours(Lease {
            attempts: attempts(&item, &key)?,
            key,
            fence: number(&item, FENCE).unwrap_or_default(),
            turn: millis(&item, TURN),
            step: 0,
            until: now.plus_millis(LEASE_MS),
        }))
    }

    /// Writes down what was tried, under the lease, and what the event's status is now. A status other than
    /// `working` gives the lease back; `working` renews it.
    ///
    /// Every write has a number, too. One that DynamoDB carries out late, after its answer was given up and the next
    /// write was made, would otherwise undo that: an event that is done would be in work again, for ever.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has taken over, and nothing was written.
    pub async fn advance(
        &self,
        lease: &mut Lease,
        status: Status,
        next_at: Option<EpochMillis>,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        let attempts = serde_json::to_string(&lease.attempts).unwrap_or_default();
        let step = lease.step + 1;
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(lease.key.pk()))
            .key(SK, s(lease.key.sk()))
            .condition_expression("fence = :fence AND (attribute_not_exists(#step) OR #step < :step)")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_names("#step", STEP)
            .expression_attribute_values(":step", n(step))
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":status", s(status.word()))
            .expression_attribute_values(":attempts", s(attempts))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut set = "SET #status = :status, attempts = :attempts, #step = :step".to_owned();
        let mut remove = String::new();
        if status == Status::Working {
            set.push_str(", lease_until = :until");
            request = request.expression_attribute_values(":until", n(now.plus_millis(LEASE_MS).as_millis()));
        } else {
            remove.push_str(" REMOVE lease_until, lease_owner");
        }
        if let Some(next_at) = next_at {
            set.push_str(", next_at = :next");
            request = request.expression_attribute_values(":next", n(next_at.as_millis()));
        } else if !remove.is_empty() {
            remove.push_str(", next_at");
        }
        match request.update_expression(set + &remove).send().await {
            Ok(_) => {}
            Err(error) => match error.as_service_error() {
                // A first try whose answer was lost wrote it.
                Some(UpdateItemError::ConditionalCheckFailedException(failed))
                    if failed.item.as_ref().is_some_and(|item| {
                        (number(item, FENCE), number(item, STEP)) == (Some(lease.fence), Some(step))
                    }) => {}
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    return Err(StoreError::LeaseLost);
                }
                _ => return Err(call("UpdateItem")(error)),
            },
        }
        lease.step = step;
        if status == Status::Working {
            lease.until = now.plus_millis(LEASE_MS);
        }
        Ok(())
    }

    /// Lists an event that no worker has had, unless one has by now.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn mark_received(&self, event: &Event, retention_days: u32) -> Result<(), StoreError> {
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        let mut request = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(key.pk()))
            .item(SK, s(key.sk()))
            .item(STATUS, s(Status::Received.word()))
            .item(EVENT_TYPE, s(&event.event_type))
            .item(TTL, expiry(key.received_at, i64::from(retention_days) + STATUS_DAYS_MORE))
            .condition_expression("attribute_not_exists(pk)");
        if let Some(occurred_at) = event.occurred_at {
            request = request.item(OCCURRED_AT, n(occurred_at.as_millis()));
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(call("PutItem")(error)),
            },
        }
    }

    /// Where an event stands; `None` while no worker has had it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn entry(&self, key: &StatusKey) -> Result<Option<Entry>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, s(key.pk()))
            .key(SK, s(key.sk()))
            .consistent_read(true)
            .send()
            .await
            .map_err(call("GetItem"))?;
        answer.item.map(|item| entry(&item)).transpose()
    }

    /// The newest events of one day, at most `limit`, received from `from` up to and without `until`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        day: &str,
        from: EpochMillis,
        until: EpochMillis,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        // DynamoDB refuses bounds in the wrong order.
        if from >= until {
            return Ok(Vec::new());
        }
        let shards = (0..LIST_SHARDS).map(|shard| self.list_shard(list_pk(day, shard), from, until, limit));
        let mut entries: Vec<Entry> = try_join_all(shards).await?.into_iter().flatten().collect();
        entries.sort_by_cached_key(|entry| Reverse(entry.key.sk()));
        entries.truncate(limit);
        Ok(entries)
    }

    async fn list_shard(
        &self,
        pk: String,
        from: EpochMillis,
        until: EpochMillis,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                // `sk < :until` leaves out what begins with that time and goes on with `#source`.
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :until")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":from", s(sortable(from)))
                .expression_attribute_values(":until", s(sortable(until)))
                .scan_index_forward(false)
                .limit(i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000))
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(call("Query"))?;
            for item in answer.items.unwrap_or_default() {
                entries.push(entry(&item)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() || entries.len() >= limit {
                return Ok(entries);
            }
        }
    }
}

fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([(PK.to_owned(), s(pk)), (SK.to_owned(), s(sk))])
}

fn attempts(item: &Item, key: &StatusKey) -> Result<Attempts, StoreError> {
    match text(item, ATTEMPTS) {
        None => Ok(Attempts::default()),
        Some(json) => serde_json::from_str(json).map_err(|_| StoreError::Damaged {
            what: "the attempts",
            key: key.sk(),
            source: None,
        }),
    }
}

pub(crate) fn entry(item: &Item) -> Result<Entry, StoreError> {
    let sk = text(item, SK).unwrap_or_default();
    let damaged = |what| StoreError::Damaged { what, key: sk.to_owned(), source: None };
    let key = StatusKey::parse(sk).ok_or_else(|| damaged("the key"))?;
    Ok(Entry {
        attempts: attempts(item, &key)?,
        key,
        status: text(item, STATUS).and_then(Status::parse).ok_or_else(|| damaged("the status"))?,
        event_type: text(item, EVENT_TYPE).unwrap_or_default().to_owned(),
        occurred_at: millis(item, OCCURRED_AT),
        next_at: millis(item, NEXT_AT),
        lease_until: millis(item, LEASE_UNTIL),
    })
}
