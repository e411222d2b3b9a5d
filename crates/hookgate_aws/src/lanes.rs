//! Lanes in the table: the turns of events that have an order. What follows from them is decided in
//! `hookgate_core::order`, and what a worker does with them stands in `worker::lanes`.

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};
use hookgate_core::{
    event::Event,
    lifecycle::Status,
    order::{Lane, Turn},
    time::EpochMillis,
};

use crate::{
    schema::{
        EVENT_TYPE, OCCURRED_AT, PK, RECEIVED_AT, SK, STATUS, StatusKey, TTL, TURN, lane_pk, parse_turn_sk,
        turn_sk,
    },
    store::{Entry, STATUS_DAYS_MORE, Store, StoreError, call, entry, expiry, millis, n, s, text},
};

/// Which end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the event is that may go.
    First,
    /// Where turns are added.
    Last,
}

impl Store {
    /// Where an event stands, and its place in its lane, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(
        &self,
        key: &StatusKey,
    ) -> Result<Option<(Entry, Option<EpochMillis>)>, StoreError> {
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
        answer.item.map(|item| Ok((entry(&item)?, millis(&item, TURN)))).transpose()
    }

    /// Writes an event's place into its status, and lists it if nobody has yet. `false` when the event has ended.
    ///
    /// # Errors
    /// [`StoreError::Call`]; doing it again is harmless.
    pub async fn note_turn(
        &self,
        event: &Event,
        at: EpochMillis,
        retention_days: u32,
    ) -> Result<bool, StoreError> {
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        let mut set =
            "SET turn = :turn, #type = :type, #ttl = :ttl, #status = if_not_exists(#status, :received)"
                .to_owned();
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, s(key.pk()))
            .key(SK, s(key.sk()))
            .condition_expression("attribute_not_exists(#status) OR NOT #status IN (:done, :unrouted, :dead)")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_names("#type", EVENT_TYPE)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":turn", n(at.as_millis()))
            .expression_attribute_values(":type", s(&event.event_type))
            .expression_attribute_values(":ttl", kept(key.received_at, retention_days))
            .expression_attribute_values(":received", s(Status::Received.word()))
            .expression_attribute_values(":done", s(Status::Done.word()))
            .expression_attribute_values(":unrouted", s(Status::Unrouted.word()))
            .expression_attribute_values(":dead", s(Status::Dead.word()));
        if let Some(occurred_at) = event.occurred_at {
            set.push_str(", #occurred = :occurred");
            request = request
                .expression_attribute_names("#occurred", OCCURRED_AT)
                .expression_attribute_values(":occurred", n(occurred_at.as_millis()));
        }
        match request.update_expression(set).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(call("UpdateItem")(error)),
            },
        }
    }

    /// Gives an event a turn. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn turn_put(&self, lane: &Lane, turn: &Turn, retention_days: u32) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PK, s(lane_pk(lane)))
            .item(SK, s(turn_sk(turn.at, &turn.id)))
            .item(RECEIVED_AT, n(turn.received_at.as_millis()))
            .item(TTL, kept(turn.received_at, retention_days))
            .send()
            .await
            .map(|_| ())
            .map_err(call("PutItem"))
    }

    /// Whether a turn is still there.
    ///
    /// # Errors
    /// [`StoreError::Call`].
    pub async fn has_turn(&self, lane: &Lane, turn: &Turn) -> Result<bool, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, s(lane_pk(lane)))
            .key(SK, s(turn_sk(turn.at, &turn.id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(call("GetItem"))?;
        Ok(answer.item.is_some())
    }

    /// Takes a turn away.
    ///
    /// # Errors
    /// [`StoreError::Call`]; doing it again is harmless.
    pub async fn turn_delete(&self, lane: &Lane, turn: &Turn) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key(PK, s(lane_pk(lane)))
            .key(SK, s(turn_sk(turn.at, &turn.id)))
            .send()
            .await
            .map(|_| ())
            .map_err(call("DeleteItem"))
    }

    /// The first or the last turn of a lane.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn turn_at(&self, lane: &Lane, end: End) -> Result<Option<Turn>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(lane_pk(lane)))
            .scan_index_forward(end == End::First)
            .consistent_read(true)
            .limit(1)
            .send()
            .await
            .map_err(call("Query"))?;
        let Some(item) = answer.items.unwrap_or_default().into_iter().next() else { return Ok(None) };
        let sk = text(&item, SK).unwrap_or_default();
        let turn = parse_turn_sk(sk).zip(millis(&item, RECEIVED_AT)).map(|((at, id), received_at)| Turn {
            at,
            id,
            received_at,
        });
        turn.map(Some).ok_or_else(|| StoreError::Damaged {
            what: "a turn",
            key: format!("{lane} {sk}"),
            source: None,
        })
    }
}

/// As long as the status, which outlives the event.
fn kept(received_at: EpochMillis, retention_days: u32) -> AttributeValue {
    expiry(received_at, i64::from(retention_days) + STATUS_DAYS_MORE)
}
