//! Ordering: of the events of one source that have one key, one at a time is worked on, from its first try to its end,
//! in the order in which the FIFO queue took them. One that is tried again for hours holds up those behind it, and no
//! other. One that goes `dead` has ended, so the next goes on.
//!
//! ```text
//! FIFO queue ── enter ── Get status ── Query last turn ── Update status: turn ── Put turn ── Query first turn
//!                                                                            it is first: Send message ──┘
//! queue ── lease ── Query first turn ─┬─ its own ── work ── … ── ended ── Delete turn ── Query first turn
//!                                     │                                  another waits: Send message ──┘
//!                                     └─ another's ── give the lease back; whoever is first will call
//! ```
//!
//! The FIFO queue only gives turns: its messages are worked off within a moment, one group after the other in itself, so
//! nothing waits in it. The work itself comes from the queue that has no order, with its delays, its outbox and its five
//! receives. What can't be done in the FIFO queue comes back and holds up its group until it is.
//!
//! # Why nobody is forgotten
//! An event looks whether it is first after its turn is there, and one that leaves looks who is first after its own turn
//! is gone: of two that do so at once, one sees the other. A message is finished only after that, so a crash in between
//! brings a message about an event that has its turn already, or has ended, which looks again. An event that kills the
//! worker five times is a dead letter, and holds up its lane until it is redriven: it has not ended.
//! Should a call get lost all the same, the next event of the lane finds who was not called ([`CALLED_MS`]); one that finds
//! an event before it that has ended calls that one at once.

use aws_lambda_events::sqs::SqsMessage;
use hookgate_aws::{
    lanes::End,
    metrics::one,
    schema::StatusKey,
    store::{Lease, StoreError},
    trace,
};
use hookgate_core::{
    codec::Message,
    event::Event,
    ids::{EventId, Name},
    lifecycle::{Attempt, AttemptOutcome, Status},
    order::{Lane, Position, TURN, Turn, is_too_late, is_untouched, place_behind, position},
    source::RETENTION_DAYS,
};

use crate::{Handled, Worker};

/// Age of a turn from which an event that is first, and for which nothing was run, counts as not called, in milliseconds.
const CALLED_MS: i64 = 60_000;

/// What the URL and the ARN of a FIFO queue end with.
const FIFO: &str = ".fifo";

/// The attribute of a record with its message's group.
const GROUP: &str = "MessageGroupId";

/// Whether a record is of the FIFO queue.
pub(crate) fn is_fifo(record: &SqsMessage) -> bool {
    record.event_source_arn.as_deref().is_some_and(|arn| arn.ends_with(FIFO))
}

/// The records of a batch that have to be worked off one after the other. Those of the queue without an order stand alone.
pub(crate) fn grouped(records: Vec<SqsMessage>) -> Vec<Vec<SqsMessage>> {
    let mut groups: Vec<Vec<SqsMessage>> = Vec::new();
    for record in records {
        let of_its_group = |known: &&mut Vec<SqsMessage>| {
            is_fifo(&record)
                && known
                    .first()
                    .is_some_and(|first| first.attributes.get(GROUP) == record.attributes.get(GROUP))
        };
        match groups.iter_mut().find(of_its_group) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups
}

/// Whether an event that a worker has the lease of may be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It may.
    Goes,
    /// It waits, and the lease was given back.
    Waits,
    /// It has waited for too long, which was noted among its attempts.
    TooLate,
}

impl Worker {
    /// Deals with a message that can't be read. In the FIFO queue it would hold up those behind it for hours.
    pub(crate) async fn poison(&self, record: &SqsMessage) -> Handled {
        if !is_fifo(record) {
            return Handled::ComesBack;
        }
        match self.queue.pass_on(record.body.as_deref().unwrap_or_default()).await {
            Ok(()) => Handled::Finished,
            Err(error) => {
                let id = record.message_id.as_deref().unwrap_or_default();
                tracing::warn!(message_id = %id, error = %error, "it could not be passed on, and comes back to the FIFO queue");
                Handled::ComesBack
            }
        }
    }

    /// Gives the event of a message of the FIFO queue its turn. An error means that the message has to come back, with
    /// those behind it.
    pub(crate) async fn enter(
        &self,
        message: &Message,
        record: &SqsMessage,
        trace: Option<&str>,
    ) -> anyhow::Result<()> {
        let now = self.ambient.now();
        let Some((event, stored)) = self.stored(message).await? else {
            tracing::warn!(source = %message.source, event.id = %message.id, trace = trace.and_then(trace::root), outcome = "gone", "a message points at an event that is no longer kept");
            return Ok(());
        };
        // Deliveries of one id may have other keys in them, or came before the source had an order. What is stored counts.
        let Some(lane) = Lane::of(&event) else {
            return Ok(self.queue.send(&Message::pointing(&event.source, &event.id), 0, trace).await?);
        };
        if record.attributes.get(GROUP).map(String::as_str) != Some(lane.as_str()) {
            return self.enter_again(&event, &lane, trace).await;
        }
        let own = |at| Turn { at, id: event.id.clone(), received_at: event.request.received_at };
        let standing = self.store.standing(&status_key(&event)).await?;
        if let Some((entry, _)) = &standing
            && entry.status.is_final()
        {
            tracing::info!(source = %event.source, event.id = %event.id, trace = trace.and_then(trace::root), outcome = "repeated", status = entry.status.word(), "repeated: it is {} already", entry.status.word());
            return Ok(());
        }
        let is_leased = standing.as_ref().is_some_and(|(entry, _)| entry.status == Status::Working);
        let known = match standing.and_then(|(_, at)| at) {
            Some(at) => self.store.has_turn(&lane, &own(at)).await?,
            None => false,
        };
        if !known {
            let last = self.store.turn_at(&lane, End::Last).await?;
            let turn = own(place_behind(last.as_ref(), now));
            let retention_days =
                self.config.sources.get(&event.source).map_or(RETENTION_DAYS, |source| source.retention_days);
            // It may have ended since.
            if !self.store.note_turn(&event, turn.at, retention_days).await? {
                return Ok(());
            }
            self.store.turn_put(&lane, &turn, retention_days).await?;
        }
        let first = self.store.turn_at(&lane, End::First).await?;
        let is_first = first.as_ref().is_some_and(|first| first.id == event.id);
        match &first {
            // Whoever has leased it may be nobody; a worker that finds it leased comes again when that is over.
            Some(first) if is_first && (!known || is_leased) => {
                self.call(&event.source, &lane, &first.id).await?
            }
            Some(first) if is_first || now.millis_since(first.at) >= CALLED_MS => {
                self.remind(&event.source, &lane, first).await?;
            }
            // Its turn may have been written by a call that DynamoDB carried out after the event had left.
            Some(first) if self.has_ended(&event.source, first).await? => {
                self.call(&event.source, &lane, &first.id).await?;
            }
            _ => {}
        }
        let behind = if is_first { "it is its turn" } else { "others are before it" };
        tracing::info!(source = %event.source, event.id = %event.id, event.r#type = event.event_type, trace = trace.and_then(trace::root), outcome = "ordered", stored = one(stored), "{} {} has its place: {behind}", event.source, event.id);
        Ok(())
    }

    /// Sends an event to the FIFO queue once more, so that it gets a turn.
    async fn enter_again(&self, event: &Event, lane: &Lane, trace: Option<&str>) -> anyhow::Result<()> {
        let message = Message::pointing(&event.source, &event.id);
        Ok(self.queue.send_in_order(&message, lane, Some(self.ambient.random()), trace).await?)
    }

    /// Whether it is the turn of an event that this worker has the lease of.
    pub(crate) async fn turn(
        &self,
        event: &Event,
        lease: &mut Lease,
        retention_days: u32,
        trace: Option<&str>,
    ) -> anyhow::Result<Turned> {
        let Some(lane) = Lane::of(event) else { return Ok(Turned::Goes) };
        let first = self.store.turn_at(&lane, End::First).await?;
        if matches!(position(&event.id, lease.turn, first.as_ref()), Position::Former | Position::Outside) {
            // The FIFO queue may have given it its turn since the lease was taken, as another message can come before.
            lease.turn = self.store.standing(&lease.key).await?.and_then(|(_, at)| at);
        }
        match position(&event.id, lease.turn, first.as_ref()) {
            Position::First => {
                let now = self.ambient.now();
                if !is_too_late(&lease.attempts, event.request.received_at, retention_days, now) {
                    return Ok(Turned::Goes);
                }
                let days = now.millis_since(event.request.received_at) / (24 * 60 * 60 * 1_000);
                let detail = format!("it waited {days} days for its turn");
                tracing::error!(source = %event.source, event.id = %event.id, action = TURN, outcome = "dead", detail, dead = 1, "the event is given up: {detail}");
                if let Some(action) = Name::parse(TURN) {
                    lease.attempts.add(Attempt { action, outcome: AttemptOutcome::Dead, at: now, detail });
                }
                Ok(Turned::TooLate)
            }
            Position::Waits => {
                self.give_back(lease).await?;
                if let Some(first) = &first {
                    self.remind(&event.source, &lane, first).await?;
                }
                tracing::info!(source = %event.source, event.id = %event.id, trace = trace.and_then(trace::root), outcome = "ordered", "{} {} waits for its turn", event.source, event.id);
                Ok(Turned::Waits)
            }
            outside @ (Position::Former | Position::Outside) => {
                if let (Position::Former, Some(former)) = (outside, &first) {
                    self.store.turn_delete(&lane, former).await?;
                    self.call_first(&event.source, &lane).await?;
                }
                if !self.queue.is_ordered() {
                    // The installation has an order no more.
                    return Ok(Turned::Goes);
                }
                self.give_back(lease).await?;
                self.enter_again(event, &lane, trace).await?;
                Ok(Turned::Waits)
            }
        }
    }

    /// Nothing was run under this lease.
    async fn give_back(&self, lease: &mut Lease) -> Result<(), StoreError> {
        let status = if lease.attempts.0.is_empty() { Status::Received } else { Status::Retrying };
        self.store.advance(lease, status, None, self.ambient.now()).await
    }

    /// Takes the turn of an event away that has just ended, and calls the next.
    pub(crate) async fn leave(&self, event: &Event, lease: &Lease) -> anyhow::Result<()> {
        let (Some(lane), Some(at)) = (Lane::of(event), lease.turn) else { return Ok(()) };
        let own = Turn { at, id: event.id.clone(), received_at: event.request.received_at };
        self.store.turn_delete(&lane, &own).await?;
        self.call_first(&event.source, &lane).await
    }

    /// The same for an event that a worker found ended: the worker before it may have died in between.
    pub(crate) async fn leave_ended(&self, event: &Event) -> anyhow::Result<()> {
        let Some(lane) = Lane::of(event) else { return Ok(()) };
        let Some(first) = self.store.turn_at(&lane, End::First).await? else { return Ok(()) };
        if first.id != event.id {
            return self.remind(&event.source, &lane, &first).await;
        }
        // A person may have replayed it since: then its turn is one of after that.
        let ended = self
            .store
            .standing(&status_key(event))
            .await?
            .is_some_and(|(entry, at)| entry.status.is_final() && at.is_none_or(|at| at >= first.at));
        if ended {
            self.store.turn_delete(&lane, &first).await?;
            self.call_first(&event.source, &lane).await?;
        }
        Ok(())
    }

    /// The same for an event that is no longer kept.
    pub(crate) async fn leave_forgotten(&self, message: &Message) -> anyhow::Result<()> {
        let Some(lane) = &message.lane else { return Ok(()) };
        match self.store.turn_at(lane, End::First).await? {
            Some(first) if first.id == message.id => {
                self.store.turn_delete(lane, &first).await?;
                self.call_first(&message.source, lane).await
            }
            Some(first) => self.remind(&message.source, lane, &first).await,
            None => Ok(()),
        }
    }

    /// Calls whoever is first now.
    async fn call_first(&self, source: &Name, lane: &Lane) -> anyhow::Result<()> {
        match self.store.turn_at(lane, End::First).await? {
            Some(first) => self.call(source, lane, &first.id).await,
            None => Ok(()),
        }
    }

    /// Sends the message that an event waits for.
    async fn call(&self, source: &Name, lane: &Lane, id: &EventId) -> anyhow::Result<()> {
        let message = Message::pointing(source, id).in_lane(Some(lane.clone()));
        Ok(self.queue.send(&message, 0, None).await?)
    }

    async fn has_ended(&self, source: &Name, first: &Turn) -> Result<bool, StoreError> {
        let standing = self.store.standing(&key_of(source, first)).await?;
        Ok(standing.is_some_and(|(entry, _)| entry.status.is_final()))
    }

    /// Calls whoever is first, if it may not have been called, has ended and not left, or was leased for nobody, as by a
    /// write that DynamoDB carried out late. One that waits for its next try is not called: each call too many would come
    /// back with every one of its tries.
    async fn remind(&self, source: &Name, lane: &Lane, first: &Turn) -> anyhow::Result<()> {
        let now = self.ambient.now();
        let may_sleep = self.store.standing(&key_of(source, first)).await?.is_none_or(|(entry, _)| {
            let is_left =
                entry.status == Status::Working && entry.lease_until.is_none_or(|until| until <= now);
            entry.status.is_final() || is_left || is_untouched(entry.status, &entry.attempts)
        });
        if may_sleep {
            self.call(source, lane, &first.id).await?;
        }
        Ok(())
    }
}

fn key_of(source: &Name, turn: &Turn) -> StatusKey {
    StatusKey { source: source.clone(), id: turn.id.clone(), received_at: turn.received_at }
}

fn status_key(event: &Event) -> StatusKey {
    StatusKey { source: event.source.clone(), id: event.id.clone(), received_at: event.request.received_at }
}
