//! worker: runs the actions of stored events, queues what is due, finds what was stored and never queued.
//!
//! One function with three triggers: the queue ([`Worker::batch`]) and the FIFO queue beside it, a schedule ([`Worker::sweep`]) and the table's
//! stream ([`Worker::stream`]). What they do about failures is decided in `hookgate_core::lifecycle`.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc};

use anyhow::Context;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, future::join_all};
use hookgate_aws::{
    ambient::Ambient,
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::{Cause, Functions, Performer},
    egress::Egress,
    env::Settings,
    metrics::one,
    outbox::Due,
    performed::Performed,
    queue::Queue,
    secrets::SecretStore,
    store::{Lease, Leased, Store, StoreError},
    trace,
};
use hookgate_core::{
    action::About,
    codec::{self, CodecError, Message},
    config::{Config, ConfiguredAction},
    event::{Event, view_for},
    ids::Name,
    lifecycle::{Attempt, AttemptOutcome, LEASE_MS, Put, ROUTING, Status, Step, Wake, retry_at, wake},
    order::Lane,
    routing,
    secret::Secrets,
    source::{RETENTION_DAYS, Source},
    time::EpochMillis,
};

mod destinations;
mod lanes;
mod line;
mod room;
pub mod run;
mod stream;
mod sweep;
pub mod trigger;

pub use destinations::Destinations;
use destinations::{Bearer, Gate};
use lanes::{Turned, grouped, is_fifo};
use line::Worked;
use room::Room;
pub use sweep::Swept;

/// The worker.
#[derive(Debug)]
pub struct Worker {
    /// Its configuration.
    pub config: Arc<Config>,
    /// The table.
    pub store: Store,
    /// The queue.
    pub queue: Queue,
    /// The secrets.
    pub secrets: Arc<SecretStore>,
    /// What performs effects.
    pub performer: Performer,
    /// What is known of destinations.
    pub destinations: Destinations,
    /// Clock and dice.
    pub ambient: Ambient,
}

/// Where an event stands after a worker had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stand {
    status: Status,
    /// When it has to be brought back.
    next_at: Option<EpochMillis>,
    /// When a message that was sent already brings it back.
    comes_at: Option<EpochMillis>,
}

impl Stand {
    const fn at(status: Status, next_at: Option<EpochMillis>) -> Self {
        Self { status, next_at, comes_at: None }
    }
}

/// How a message that was looked at is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    /// It has done its work and is deleted.
    Finished,
    /// It comes back.
    ComesBack,
}

impl Worker {
    /// Wires the function from its environment.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let settings = Settings::read(&lookup, Config::parse)?;
        let clients = Clients::from_env(&lookup, Patience::WORKER)?;
        let store = Store::new(clients.dynamodb, settings.table);
        let egress =
            Egress::new(&settings.config.allow_hosts).context("making the HTTP client of the actions")?;
        Ok(Self {
            queue: Queue::new(clients.sqs, settings.queue_url).with_ordered(settings.ordered_queue_url),
            secrets: Arc::new(SecretStore::new(&settings.secrets, &clients.secrets_manager)),
            performer: Performer {
                aws: AwsCaller::from_env(&lookup, egress.clone())?,
                egress,
                store: store.clone(),
                functions: run::functions(),
            },
            store,
            config: Arc::new(settings.config),
            destinations: Destinations::default(),
            ambient: Ambient::system(),
        })
    }

    /// The functions that a configuration asks for and nobody has registered.
    pub fn missing_functions(config: &Config, functions: &Functions) -> Vec<String> {
        let known = functions.names();
        let wanted = config.actions.iter().filter(|(_, action)| action.kind.name == "run");
        wanted
            .map(|(name, action)| (name, action.action.function().unwrap_or(name.as_str()).to_owned()))
            .filter(|(_, function)| !known.contains(&function.as_str()))
            .map(|(name, function)| format!("[actions.{name}]: no function is called `{function}`"))
            .collect()
    }

    /// Works off one batch of the queue, every record for itself; of the FIFO queue, every group for itself. The answer
    /// names the messages that come back.
    pub async fn batch(&self, batch: SqsEvent) -> SqsBatchResponse {
        let room = &Room::default();
        let groups = grouped(batch.records).into_iter().map(|group| async move {
            let mut handled = Vec::new();
            for message in group {
                // What is behind a record that comes back comes back with it, or it would get before.
                let how = match handled.last() {
                    Some((_, Handled::ComesBack)) => Handled::ComesBack,
                    _ => self.record(&message, room).await,
                };
                handled.push((message.message_id.unwrap_or_default(), how));
            }
            handled
        });
        let failed = join_all(groups)
            .await
            .into_iter()
            .flatten()
            .filter(|(_, handled)| *handled == Handled::ComesBack);
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failed
            // An empty identifier would make SQS return the whole batch.
            .filter(|(id, _)| !id.is_empty())
            .map(|(id, _)| {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                failure
            })
            .collect();
        response
    }

    /// A record that panics must not take the other nine with it.
    async fn record(&self, record: &SqsMessage, room: &Room) -> Handled {
        AssertUnwindSafe(self.message(record, room)).catch_unwind().await.unwrap_or_else(|_| {
            let id = record.message_id.as_deref().unwrap_or_default();
            tracing::error!(message_id = %id, outcome = "poison", "a record made the worker panic; it comes back and ends in the dead-letter queue");
            Handled::ComesBack
        })
    }

    async fn message(&self, record: &SqsMessage, room: &Room) -> Handled {
        let message = match Message::from_text(record.body.as_deref().unwrap_or_default()) {
            Ok(message) => message,
            Err(error) => {
                let id = record.message_id.as_deref().unwrap_or_default();
                tracing::error!(message_id = %id, outcome = "poison", error = %error, "a message is not one of ours; it comes back and ends in the dead-letter queue");
                return self.poison(record).await;
            }
        };
        let trace = record.attributes.get(trace::ATTRIBUTE).map(String::as_str);
        let result = match is_fifo(record) {
            false => self.deliver(&message, trace, room).await,
            true => self.enter(&message, record, trace).await,
        };
        let Err(error) = result else { return Handled::Finished };
        let damaged = matches!(error.downcast_ref(), Some(StoreError::Damaged { .. }))
            || error.downcast_ref::<CodecError>().is_some();
        if damaged {
            tracing::error!(source = %message.source, event.id = %message.id, outcome = "poison", error = format!("{error:#}"), "the event can't be read; it comes back and ends in the dead-letter queue");
            return self.poison(record).await;
        }
        if is_fifo(record) {
            // A new message would get behind the others of its key.
            tracing::warn!(source = %message.source, event.id = %message.id, trace = trace.and_then(trace::root), outcome = "deferred", deferred = 1, error = format!("{error:#}"), "the event comes back, with those behind it");
            return Handled::ComesBack;
        }
        // The table or the secrets can't be reached. To let the message come back by itself would count as
        // receiving it, and a longer outage would look like poison: a new message starts from nothing.
        tracing::warn!(source = %message.source, event.id = %message.id, trace = trace.and_then(trace::root), outcome = "deferred", deferred = 1, error = format!("{error:#}"), "the event is tried again soon");
        #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
        let delay_seconds =
            OUTAGE_DELAY_SECONDS + (self.ambient.chance() * f64::from(OUTAGE_DELAY_SECONDS)) as i32;
        match self.queue.send(&message, delay_seconds, trace).await {
            Ok(()) => Handled::Finished,
            Err(error) => {
                tracing::warn!(source = %message.source, event.id = %message.id, error = %error, "the event comes back");
                Handled::ComesBack
            }
        }
    }

    /// Brings one event as far as it goes now. An error means that the message has to come back.
    async fn deliver(&self, message: &Message, trace: Option<&str>, room: &Room) -> anyhow::Result<()> {
        let started = self.ambient.now();
        let Some((event, stored)) = self.stored(message).await? else {
            tracing::warn!(source = %message.source, event.id = %message.id, trace = trace.and_then(trace::root), outcome = "gone", "a message points at an event that is no longer kept");
            return self.leave_forgotten(message).await;
        };
        let Some(_room) = room.take(&event) else {
            #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
            let delay_seconds =
                NO_ROOM_DELAY_SECONDS + (self.ambient.chance() * f64::from(NO_ROOM_DELAY_SECONDS)) as i32;
            self.queue.send(message, delay_seconds, trace).await?;
            tracing::info!(source = %event.source, event.id = %event.id, trace = trace.and_then(trace::root), outcome = "deferred", stored = one(stored), "{} {} comes again when others of its batch have gone", event.source, event.id);
            return Ok(());
        };
        let source = self.config.sources.get(&event.source);
        let retention_days = source.map_or(RETENTION_DAYS, |source| source.retention_days);
        let leased = self.store.lease(&event, self.ambient.random(), retention_days, started).await?;
        let mut lease = match leased {
            Leased::Ours(lease) => lease,
            Leased::Finished(status) => {
                tracing::info!(source = %event.source, event.id = %event.id, trace = trace.and_then(trace::root), outcome = "repeated", status = status.word(), "repeated: it is {} already", status.word());
                return self.leave_ended(&event).await;
            }
            Leased::Held { until } => {
                // Whoever has it may die; then this brings it back. The message itself must not: it would be
                // counted as received again and again, until it looked like poison.
                self.bring_back(&event, until.plus_millis(1), started, trace).await?;
                tracing::info!(source = %event.source, event.id = %event.id, trace = trace.and_then(trace::root), outcome = "held", "{} {} is in work elsewhere", event.source, event.id);
                return Ok(());
            }
        };
        let before = lease.attempts.runs();
        let worked = match self.turn(&event, &mut lease, retention_days, trace).await {
            Ok(Turned::Waits) => return Ok(()),
            Ok(Turned::TooLate) => Ok(Stand::at(Status::Dead, None)),
            Ok(Turned::Goes) => {
                self.work(source, &event, message.reserved.as_ref(), retention_days, trace, &mut lease).await
            }
            Err(error) => Err(error),
        };
        let Stand { status, next_at, comes_at } = match worked {
            Ok(stand) => stand,
            Err(error) if lost(&event, &error) => return self.overtaken(&event, trace).await,
            Err(error) => return Err(error),
        };
        let now = self.ambient.now();
        let brought = match next_at {
            Some(next_at) => self.bring_back(&event, next_at, now, trace).await,
            None => Ok(()),
        };
        // Also where nothing brings it back: what was done must not be done again, and this message comes instead.
        match self.advance(&mut lease, status, next_at.into_iter().chain(comes_at).min()).await {
            Ok(()) => {}
            Err(error) if lost(&event, &error) => return self.overtaken(&event, trace).await,
            Err(error) => return Err(error),
        }
        brought?;
        let runs = lease.attempts.0.iter().filter(|attempt| attempt.outcome.is_run());
        let attempts = &runs.skip(before).cloned().collect::<Vec<_>>();
        Worked { event: &event, trace, stored, attempts, status, started, now }.log();
        match status.is_final() {
            true => self.leave(&event, &lease).await,
            false => Ok(()),
        }
    }

    /// Sees to it that an event comes back that another worker has taken over: that one may die, and may have come by
    /// the same message, which is deleted now.
    async fn overtaken(&self, event: &Event, trace: Option<&str>) -> anyhow::Result<()> {
        let now = self.ambient.now();
        self.bring_back(event, now.plus_millis(LEASE_MS), now, trace).await
    }

    /// Writes down where an event stands. What was not written down is done again, so this is not given up easily:
    /// every round is already three tries of the SDK.
    async fn advance(
        &self,
        lease: &mut Lease,
        status: Status,
        next_at: Option<EpochMillis>,
    ) -> anyhow::Result<()> {
        for _ in 1..ADVANCE_ROUNDS {
            match self.store.advance(lease, status, next_at, self.ambient.now()).await {
                Err(StoreError::Call { .. }) => {}
                result => return Ok(result?),
            }
        }
        Ok(self.store.advance(lease, status, next_at, self.ambient.now()).await?)
    }

    /// Makes sure of a lease before an action begins. This may have stood still, or waited for the table, and then another
    /// worker may be running it. Where that one's clock is ahead, only the table tells.
    async fn keep(&self, lease: &mut Lease) -> anyhow::Result<()> {
        if !lease.is_fresh(self.ambient.now()) {
            self.advance(lease, Status::Working, None).await?;
        }
        while !lease.suffices(self.ambient.now()) {
            self.advance(lease, Status::Working, None).await?;
        }
        Ok(())
    }

    /// The stored event that a message is about; stored now, if ingest could not. Says whether it was.
    async fn stored(&self, message: &Message) -> anyhow::Result<Option<(Event, bool)>> {
        if let Some(event) = self.store.event(&message.source, &message.id).await? {
            return Ok(Some((event, false)));
        }
        let Some(frame) = message.frame()? else { return Ok(None) };
        let event = codec::decode(message.source.clone(), message.id.clone(), &frame)?;
        let retention_days =
            self.config.sources.get(&message.source).map_or(RETENTION_DAYS, |source| source.retention_days);
        match self.store.put_event(&event, &frame, retention_days).await? {
            Put::Stored => Ok(Some((event, true))),
            // Another delivery was faster; what it stored is what counts.
            Put::Duplicate | Put::Failed => {
                Ok(self.store.event(&message.source, &message.id).await?.map(|event| (event, false)))
            }
        }
    }

    /// Runs what is due, one action after the other, each written down before the next begins. Returns where the
    /// event stands then; the last attempt is not written down yet.
    async fn work(
        &self,
        source: Option<&Source>,
        event: &Event,
        reserved: Option<&Name>,
        retention_days: u32,
        trace: Option<&str>,
        lease: &mut Lease,
    ) -> anyhow::Result<Stand> {
        let Some(source) = source else {
            // Its source was taken out of the configuration: nothing can route it, and it is kept.
            return Ok(Stand::at(Status::Unrouted, None));
        };
        let view = match view_for(source, &event.request) {
            Ok(view) => view,
            Err(error) => return Ok(Stand::at(self.hopeless(lease, &error), None)),
        };
        let context = event.context(&view);
        let actions = match routing::actions(&self.config.routes, event, &context) {
            Ok(actions) => actions,
            Err(error) => {
                return Ok(Stand::at(self.hopeless(lease, &format_args!("filter: {error}")), None));
            }
        };
        let started = self.ambient.now();
        let mut unwritten = false;
        // What can't run now, and the first time that was reserved for any of it.
        let mut held = BTreeSet::new();
        let mut comes_at: Option<EpochMillis> = None;
        loop {
            let now = self.ambient.now();
            let due = match lease.attempts.step(&actions, &held, now) {
                Step::Finish(status) => return Ok(Stand::at(status, None)),
                Step::Wait(next_at) => return Ok(Stand { status: Status::Retrying, next_at, comes_at }),
                Step::Run(due) => due,
            };
            let Some(action) = due.first() else { return Ok(Stand::at(Status::Done, None)) };
            let Some(configured) = self.config.actions.get(action) else {
                lease.attempts.add(self.ended(action, AttemptOutcome::Dead, "the action is not configured"));
                continue;
            };
            if unwritten && now.millis_since(started) > WORK_MS_MAX {
                // The rest in another invocation: one that is killed at its time limit looks like poison.
                return Ok(Stand { status: Status::Retrying, next_at: Some(now), comes_at });
            }
            if unwritten {
                self.advance(lease, Status::Working, None).await?;
                unwritten = false;
            }
            let secrets = self.secrets.current(now).await?;
            let parked_since = lease.attempts.parked_since(action);
            let bearer = Bearer { event, retention_days, parked_since, reserved, trace };
            let pass = match self.gate(action, configured, bearer, now).await? {
                Gate::Open(pass) => pass,
                Gate::Later(at) => {
                    comes_at = comes_at.into_iter().chain([at]).min();
                    held.insert(action.clone());
                    continue;
                }
                Gate::Parked { detail } => {
                    tracing::info!(source = %event.source, event.id = %event.id, action = %action, outcome = "parked", detail, parked = 1, "{} {} waits: {detail}", event.source, event.id);
                    lease.attempts.add(self.ended(action, AttemptOutcome::Parked { since: now }, detail));
                    held.insert(action.clone());
                    continue;
                }
                Gate::Expired { detail } => {
                    tracing::error!(source = %event.source, event.id = %event.id, action = %action, outcome = "dead", detail, dead = 1, "{action} is given up: {detail}");
                    lease.attempts.add(self.ended(action, AttemptOutcome::Dead, detail));
                    continue;
                }
            };
            self.keep(lease).await?;
            let cause = Cause { event, action, retention_days };
            let times_done = lease.attempts.times_done(action);
            let about = About { action, event, view: &view, context: &context, times_done };
            let performed = self.perform(cause, configured, &about, &secrets).await;
            unwritten = true;
            let now = self.ambient.now();
            let waits = match self.learn(action, configured, pass, &performed, bearer, now).await {
                Ok(waits) => waits,
                Err(error) => {
                    // It can't be parked, so it waits as it would have without a destination that is down.
                    tracing::warn!(source = %event.source, event.id = %event.id, action = %action, error = format!("{error:#}"), "the event could not be parked");
                    false
                }
            };
            if waits {
                held.insert(action.clone());
            }
            let attempt = self.judge(cause, configured, performed, waits, lease, now);
            lease.attempts.add(attempt);
        }
    }

    /// One run of one action.
    async fn perform(
        &self,
        cause: Cause<'_>,
        configured: &ConfiguredAction,
        about: &About<'_>,
        secrets: &Secrets,
    ) -> Performed {
        match configured.action.plan(about) {
            Ok(effect) => self.performer.perform(effect, cause, secrets, self.ambient.now()).await,
            Err(error) => Performed::Impossible { detail: error.to_string() },
        }
    }

    /// What follows from one run of one action.
    fn judge(
        &self,
        cause: Cause<'_>,
        configured: &ConfiguredAction,
        performed: Performed,
        waits: bool,
        lease: &Lease,
        now: EpochMillis,
    ) -> Attempt {
        let Cause { event, action, .. } = cause;
        let tries = lease.attempts.tries(action) + 1;
        let again = |detail: String, retry_after_ms| {
            let schedule = &configured.policy.retry;
            match retry_at(schedule, tries, now, retry_after_ms, self.ambient.chance()) {
                Some(next_at) => (AttemptOutcome::Retry { next_at }, detail),
                None => (AttemptOutcome::Dead, format!("{detail}; given up after {tries} tries")),
            }
        };
        let (outcome, detail) = match performed {
            Performed::Done { detail } => (AttemptOutcome::Done, detail),
            Performed::Impossible { detail } => (AttemptOutcome::Dead, detail),
            Performed::Failed { detail, .. } | Performed::Gone { detail } if waits => {
                (AttemptOutcome::Parked { since: now }, detail)
            }
            Performed::Failed { detail, retry_after_ms } => again(detail, retry_after_ms),
            Performed::Gone { detail } => again(detail, None),
        };
        let word = outcome.word();
        match &outcome {
            // In the event's own line as well, so this one is for a person who looks at a terminal.
            AttemptOutcome::Done | AttemptOutcome::Replayed { .. } | AttemptOutcome::Unknown(_) => {
                tracing::debug!(source = %event.source, event.id = %event.id, action = %action, outcome = word, detail, "{action}: {detail}")
            }
            AttemptOutcome::Retry { next_at } => {
                tracing::warn!(source = %event.source, event.id = %event.id, action = %action, outcome = word, detail, next_at = %next_at, retries = 1, "{action} failed and is tried again at {next_at}: {detail}")
            }
            AttemptOutcome::Parked { .. } => {
                tracing::warn!(source = %event.source, event.id = %event.id, action = %action, outcome = word, detail, parked = 1, "{action} failed and waits until its destination is back: {detail}")
            }
            AttemptOutcome::Dead => {
                tracing::error!(source = %event.source, event.id = %event.id, action = %action, outcome = word, detail, dead = 1, "{action} failed for good: {detail}")
            }
        }
        self.ended(action, outcome, detail)
    }

    fn ended(&self, action: &Name, outcome: AttemptOutcome, detail: impl Into<String>) -> Attempt {
        Attempt { action: action.clone(), outcome, at: self.ambient.now(), detail: detail.into() }
    }

    /// Notes why nothing can be routed at all.
    fn hopeless(&self, lease: &mut Lease, reason: &dyn std::fmt::Display) -> Status {
        tracing::error!(source = %lease.key.source, event.id = %lease.key.id, action = ROUTING, outcome = "dead", detail = %reason, dead = 1, "the event can't be routed: {reason}");
        if let Some(action) = Name::parse(ROUTING) {
            let detail = reason.to_string();
            let attempt = Attempt { action, outcome: AttemptOutcome::Dead, at: self.ambient.now(), detail };
            lease.attempts.0.push(attempt);
        }
        Status::Dead
    }

    /// Sees to it that an event comes to a worker at `at`. Done before the event's status says that it waits.
    async fn bring_back(
        &self,
        event: &Event,
        at: EpochMillis,
        now: EpochMillis,
        trace: Option<&str>,
    ) -> anyhow::Result<()> {
        match wake(now, at) {
            Wake::Message { delay_seconds } => {
                let message = Message::pointing(&event.source, &event.id).in_lane(Lane::of(event));
                self.queue.send(&message, delay_seconds, trace).await?;
            }
            Wake::Outbox => {
                let due = Due { at, source: event.source.clone(), id: event.id.clone() };
                self.store.outbox_put(&due).await?;
            }
        }
        Ok(())
    }
}

/// Whether another worker has taken the event over. It goes on from what was written down, so this one stops.
fn lost(event: &Event, error: &anyhow::Error) -> bool {
    let lost = matches!(error.downcast_ref(), Some(StoreError::LeaseLost));
    if lost {
        tracing::warn!(source = %event.source, event.id = %event.id, outcome = "lost", "another worker has taken the event over");
    }
    lost
}

/// After how long an event is tried again when the table can't be reached; up to twice that, by chance.
const OUTAGE_DELAY_SECONDS: i32 = 30;

/// When an event comes again that found no room in its batch, at the earliest; at the latest after as long again. Few are so
/// large, and others of its batch are gone in a moment.
const NO_ROOM_DELAY_SECONDS: i32 = 5;

/// How long an event may have actions begun for it in one invocation: with the longest action (30 s) that stays
/// below the function's time limit (60 s).
const WORK_MS_MAX: i64 = 25_000;

/// How often the result of an attempt is tried to be written down.
const ADVANCE_ROUNDS: usize = 3;
