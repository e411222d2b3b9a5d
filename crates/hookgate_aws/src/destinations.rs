//! Destinations in the table: how they stand, what is parked for them, and what may go there at once. What follows
//! from it is decided in `hookgate_core::destination`.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::{
        delete_item::DeleteItemError,
        update_item::{UpdateItemError, UpdateItemOutput},
    },
    types::{AttributeValue, ReturnValue},
};
use futures::future::try_join_all;
use hookgate_core::{
    destination::{BURST_MS, Health, PROBE_MS, RESERVED_MS_MAX, Rate, Slot, Standing, probe_delay_ms},
    ids::{EventId, Name, shard},
    time::EpochMillis,
};

use crate::{
    schema::{
        DESTINATIONS_PK, FAILURES, NEXT_US, PARKED_AT, PARKED_SHARDS, PAUSES, PK, PROBE_AT, RATE_SK, REASON,
        SINCE, SK, STATUS, TTL, limits_pk, parked_pk, parse_time_sk, place_sk, sortable, time_sk,
    },
    store::{Store, StoreError, call, expiry, millis, n, number, s, text},
};

type Item = HashMap<String, AttributeValue>;

/// Days for which a parked record is kept: longer than the event waits.
const PARKED_DAYS: i64 = 30;

/// Days after which the limits of a destination that is not used are forgotten.
const LIMITS_DAYS: i64 = 2;

/// An event that is parked for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// When the event was received: the order in which they go.
    pub received_at: EpochMillis,
    /// Its source.
    pub source: Name,
    /// Its id.
    pub id: EventId,
    /// When it was last parked.
    pub parked_at: Option<EpochMillis>,
}

impl Parked {
    fn pk(&self, destination: &Name) -> String {
        parked_pk(destination, shard(&self.source, &self.id, PARKED_SHARDS))
    }

    fn sk(&self) -> String {
        time_sk(self.received_at, &self.source, &self.id)
    }
}

fn health(item: &Item) -> Health {
    let standing = match text(item, STATUS) {
        Some("paused") => Standing::Paused {
            probe_at: millis(item, PROBE_AT).unwrap_or(EpochMillis::from_millis(0)),
            pauses: number(item, PAUSES).and_then(|pauses| u32::try_from(pauses).ok()).unwrap_or(1),
        },
        Some("disabled") => Standing::Disabled,
        _ => Standing::Up,
    };
    Health {
        standing,
        failures: number(item, FAILURES).and_then(|failures| u32::try_from(failures).ok()).unwrap_or(0),
        since: millis(item, SINCE).unwrap_or(EpochMillis::from_millis(0)),
        reason: text(item, REASON).unwrap_or_default().to_owned(),
        parked_at: millis(item, PARKED_AT),
    }
}

/// Whether a conditional update took effect.
fn taken(
    result: Result<UpdateItemOutput, aws_sdk_dynamodb::error::SdkError<UpdateItemError>>,
) -> Result<Option<Item>, StoreError> {
    match result {
        Ok(answer) => Ok(Some(answer.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(call("UpdateItem")(error)),
        },
    }
}

impl Store {
    /// How a destination stands. One that was never heard of is up.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destination(&self, name: &Name) -> Result<Health, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, s(DESTINATIONS_PK))
            .key(SK, s(name.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(call("GetItem"))?;
        Ok(answer.item.map(|item| health(&item)).unwrap_or_default())
    }

    /// Every destination that ever failed or was switched, by name.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destinations(&self) -> Result<Vec<(Name, Health)>, StoreError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(DESTINATIONS_PK))
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(call("Query"))?;
            let items = page.items.unwrap_or_default();
            found.extend(items.iter().filter_map(|item| Some((Name::parse(text(item, SK)?)?, health(item)))));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    fn change(
        &self,
        name: &Name,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(DESTINATIONS_PK))
            .key(SK, s(name.as_str()))
            .return_values(ReturnValue::AllNew)
    }

    /// Counts a failure, and says how the destination stands with it.
    ///
    /// # Errors
    /// [`StoreError::Call`]; it may have been counted twice, and is then paused a little early.
    pub async fn destination_failed(&self, name: &Name) -> Result<Health, StoreError> {
        let answer = self
            .change(name)
            .update_expression("ADD failures :one")
            .expression_attribute_values(":one", n(1))
            .send()
            .await
            .map_err(call("UpdateItem"))?;
        Ok(answer.attributes.map(|item| health(&item)).unwrap_or_default())
    }

    /// Pauses a destination that is up; another worker may have done so, or a person switched it off.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destination_pause(
        &self,
        name: &Name,
        reason: &str,
        now: EpochMillis,
    ) -> Result<bool, StoreError> {
        let result = self
            .change(name)
            .update_expression(
                "SET #status = :paused, pauses = :one, probe_at = :probe, since = :now, reason = :reason",
            )
            .condition_expression("attribute_not_exists(#status) OR #status = :up")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":paused", s("paused"))
            .expression_attribute_values(":up", s(Standing::Up.word()))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":probe", n(now.plus_millis(probe_delay_ms(1)).as_millis()))
            .expression_attribute_values(":now", n(now.as_millis()))
            .expression_attribute_values(":reason", s(reason))
            .send()
            .await;
        Ok(taken(result)?.is_some())
    }

    /// Claims the probe that was due at `probe_at`: one worker gets it, and nobody else for a minute.
    ///
    /// # Errors
    /// [`StoreError::Call`]; it may have been claimed, and the next probe comes a minute later.
    pub async fn destination_probe(
        &self,
        name: &Name,
        probe_at: EpochMillis,
        now: EpochMillis,
    ) -> Result<bool, StoreError> {
        let result = self
            .change(name)
            .update_expression("SET probe_at = :next")
            .condition_expression("#status = :paused AND probe_at = :seen")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":paused", s("paused"))
            .expression_attribute_values(":seen", n(probe_at.as_millis()))
            .expression_attribute_values(":next", n(now.plus_millis(PROBE_MS).as_millis()))
            .send()
            .await;
        Ok(taken(result)?.is_some())
    }

    /// A probe has failed: the next one comes later.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destination_probe_failed(
        &self,
        name: &Name,
        pauses: u32,
        reason: &str,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        let pauses = pauses.saturating_add(1);
        let result = self
            .change(name)
            .update_expression("SET pauses = :pauses, probe_at = :probe, reason = :reason")
            .condition_expression("#status = :paused")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":paused", s("paused"))
            .expression_attribute_values(":pauses", n(i64::from(pauses)))
            .expression_attribute_values(":probe", n(now.plus_millis(probe_delay_ms(pauses)).as_millis()))
            .expression_attribute_values(":reason", s(reason))
            .send()
            .await;
        taken(result).map(|_| ())
    }

    /// It works: its failures are forgotten, and a pause ends. Only a person switches on what is disabled.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destination_works(
        &self,
        name: &Name,
        was: Standing,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        let mut request = self
            .change(name)
            .condition_expression("attribute_not_exists(#status) OR #status <> :disabled")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":disabled", s(Standing::Disabled.word()))
            .expression_attribute_values(":up", s(Standing::Up.word()))
            .expression_attribute_values(":zero", n(0));
        // Since when it is up decides the pace, so a reset of the failures alone does not touch it. The sweeper looks for
        // what is parked from then on, whenever that was.
        let expression = match was {
            Standing::Up => "SET #status = :up, failures = :zero",
            Standing::Paused { .. } | Standing::Disabled => {
                request = request.expression_attribute_values(":now", n(now.as_millis()));
                "SET #status = :up, failures = :zero, since = :now, parked_at = :now REMOVE probe_at, pauses, reason"
            }
        };
        taken(request.update_expression(expression).send().await).map(|_| ())
    }

    /// Switches a destination off or on.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn destination_switch(
        &self,
        name: &Name,
        on: bool,
        reason: &str,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        let standing = if on { Standing::Up } else { Standing::Disabled };
        let mut request = self
            .change(name)
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":standing", s(standing.word()))
            .expression_attribute_values(":now", n(now.as_millis()))
            .expression_attribute_values(":reason", s(reason));
        let mut set = "SET #status = :standing, since = :now, reason = :reason".to_owned();
        if on {
            // The sweeper looks for what is parked.
            set.push_str(", failures = :zero, parked_at = :now");
            request = request.expression_attribute_values(":zero", n(0));
        }
        request
            .update_expression(set + " REMOVE probe_at, pauses")
            .send()
            .await
            .map(|_| ())
            .map_err(call("UpdateItem"))
    }

    /// Parks an event for a destination.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn park(
        &self,
        destination: &Name,
        parked: &Parked,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(parked.pk(destination)))
            .item(SK, s(parked.sk()))
            .item(PARKED_AT, n(now.as_millis()))
            .item(TTL, expiry(now, PARKED_DAYS))
            .send()
            .await
            .map_err(call("PutItem"))?;
        Ok(())
    }

    /// Notes that something is parked, for the sweeper.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn note_parked(&self, destination: &Name, now: EpochMillis) -> Result<(), StoreError> {
        self.change(destination)
            .update_expression("SET parked_at = :now")
            .expression_attribute_values(":now", n(now.as_millis()))
            .send()
            .await
            .map(|_| ())
            .map_err(call("UpdateItem"))
    }

    /// The oldest events that are parked for a destination, at most `limit`, received before `before`.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn parked(
        &self,
        destination: &Name,
        before: EpochMillis,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        let shards =
            (0..PARKED_SHARDS).map(|shard| self.parked_shard(parked_pk(destination, shard), before, limit));
        let mut found: Vec<Parked> = try_join_all(shards).await?.into_iter().flatten().collect();
        found.sort_by_cached_key(Parked::sk);
        found.truncate(limit);
        Ok(found)
    }

    async fn parked_shard(
        &self,
        pk: String,
        before: EpochMillis,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND sk < :before")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":before", s(sortable(before)))
                .consistent_read(true)
                .limit(i32::try_from(limit.clamp(1, 1_000)).unwrap_or(1_000))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(call("Query"))?;
            found.extend(page.items.unwrap_or_default().iter().filter_map(|item| {
                let (received_at, source, id) = parse_time_sk(text(item, SK)?)?;
                Some(Parked { received_at, source, id, parked_at: millis(item, PARKED_AT) })
            }));
            from = page.last_evaluated_key;
            if from.is_none() || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// How many events are parked for a destination.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn parked_count(&self, destination: &Name) -> Result<u64, StoreError> {
        let counts = (0..PARKED_SHARDS).map(|shard| async move {
            let (mut count, mut from) = (0, None);
            loop {
                let page = self
                    .client
                    .query()
                    .table_name(&self.table)
                    .key_condition_expression("pk = :pk")
                    .expression_attribute_values(":pk", s(parked_pk(destination, shard)))
                    .select(aws_sdk_dynamodb::types::Select::Count)
                    .set_exclusive_start_key(from)
                    .send()
                    .await
                    .map_err(call("Query"))?;
                count += u64::try_from(page.count).unwrap_or_default();
                from = page.last_evaluated_key;
                if from.is_none() {
                    return Ok::<u64, StoreError>(count);
                }
            }
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// Takes a parked event out, after its message was sent. One that was parked again by then stays: a worker may
    /// have had the message already, and nothing but the record brings the event back.
    ///
    /// # Errors
    /// [`StoreError::Call`]
    pub async fn unpark(&self, destination: &Name, parked: &Parked) -> Result<(), StoreError> {
        let mut request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(PK, s(parked.pk(destination)))
            .key(SK, s(parked.sk()));
        request = match parked.parked_at {
            Some(at) => request
                .condition_expression("parked_at = :at")
                .expression_attribute_values(":at", n(at.as_millis())),
            // Parked by a release that did not say when.
            None => request.condition_expression("attribute_not_exists(parked_at)"),
        };
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(call("DeleteItem")(error)),
            },
        }
    }

    /// Reserves the next time at which a run keeps the rate. Costs one write, two where runs wait.
    ///
    /// # Errors
    /// [`StoreError::Call`]; a time may have been reserved for nobody.
    pub async fn reserve(
        &self,
        destination: &Name,
        rate: Rate,
        now: EpochMillis,
    ) -> Result<Slot, StoreError> {
        let now_us = now.as_millis().saturating_mul(1_000);
        let next = || {
            self.client
                .update_item()
                .table_name(&self.table)
                .key(PK, s(limits_pk(destination)))
                .key(SK, s(RATE_SK))
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":ttl", expiry(now, LIMITS_DAYS))
                .expression_attribute_values(":now", n(now_us))
        };
        // Nobody waits: from now on.
        let free = next()
            .update_expression("SET next_us = :next, #ttl = :ttl")
            .condition_expression("attribute_not_exists(next_us) OR next_us <= :now")
            .expression_attribute_values(":next", n(now_us.saturating_add(rate.interval_us())))
            .send()
            .await;
        if taken(free)?.is_some() {
            return Ok(Slot::Now);
        }
        let horizon = now_us.saturating_add(RESERVED_MS_MAX * 1_000);
        let behind = next()
            .update_expression("SET next_us = next_us + :interval, #ttl = :ttl")
            .condition_expression("next_us BETWEEN :now AND :horizon")
            .expression_attribute_values(":interval", n(rate.interval_us()))
            .expression_attribute_values(":horizon", n(horizon))
            .return_values(ReturnValue::UpdatedOld)
            .send()
            .await;
        let Some(item) = taken(behind)? else { return Ok(Slot::Full) };
        let at = EpochMillis::from_millis(number(&item, NEXT_US).unwrap_or(now_us).div_euclid(1_000));
        Ok(if at.millis_since(now) <= BURST_MS { Slot::Now } else { Slot::At(at) })
    }

    /// Takes one of the places of a destination that serves only so many at once; `None` when all are taken.
    ///
    /// # Errors
    /// [`StoreError::Call`]; a place may have been taken, and is free again at `until`.
    pub async fn take_place(
        &self,
        destination: &Name,
        places: u8,
        owner: u64,
        now: EpochMillis,
        until: EpochMillis,
    ) -> Result<Option<u8>, StoreError> {
        let first = u8::try_from(owner % u64::from(places.max(1))).unwrap_or_default();
        let owner = format!("{owner:016x}");
        for number in (0..places).map(|number| (first + number) % places) {
            let result = self
                .client
                .update_item()
                .table_name(&self.table)
                .key(PK, s(limits_pk(destination)))
                .key(SK, s(place_sk(number)))
                .update_expression("SET lease_until = :until, lease_owner = :owner, #ttl = :ttl")
                .condition_expression(
                    "attribute_not_exists(lease_until) OR lease_until <= :now OR lease_owner = :owner",
                )
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":ttl", expiry(now, LIMITS_DAYS))
                .expression_attribute_values(":until", n(until.as_millis()))
                .expression_attribute_values(":now", n(now.as_millis()))
                .expression_attribute_values(":owner", s(&owner))
                .send()
                .await;
            if taken(result)?.is_some() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Gives a place back. One that was taken over by then stays taken.
    ///
    /// # Errors
    /// [`StoreError::Call`]; it is free when its time is over.
    pub async fn leave_place(&self, destination: &Name, place: u8, owner: u64) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(limits_pk(destination)))
            .key(SK, s(place_sk(place)))
            .update_expression("REMOVE lease_until, lease_owner")
            .condition_expression("lease_owner = :owner")
            .expression_attribute_values(":owner", s(format!("{owner:016x}")))
            .send()
            .await;
        taken(result).map(|_| ())
    }
}
