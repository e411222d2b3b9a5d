//! Destinations as a worker meets them: whether an action may run now, what its result says about where it went, and
//! letting parked events go. The decisions stand in `hookgate_core::destination`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use futures::future::join_all;
use hookgate_aws::{destinations::Parked, performed::Performed, store::StoreError};
use hookgate_core::{
    codec::Message,
    config::ConfiguredAction,
    destination::{Entry, Health, Policy, Slot, Standing, drain, parked_ms_max},
    event::Event,
    ids::Name,
    lifecycle::LEASE_MS,
    source::RETENTION_DAYS,
    time::EpochMillis,
};

use crate::Worker;

/// For how long a worker believes what it read of a destination, in milliseconds. That many seconds of events may still
/// go to one that another worker has found to be down.
const BELIEVED_MS: i64 = 5_000;

/// What this worker has read of destinations, and when.
#[derive(Debug, Default)]
pub struct Destinations(Mutex<BTreeMap<Name, (Health, EpochMillis)>>);

impl Destinations {
    fn known(&self, name: &Name, now: EpochMillis) -> Option<Health> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (health, at) = known.get(name)?;
        (0..BELIEVED_MS).contains(&now.millis_since(*at)).then(|| health.clone())
    }

    fn keep(&self, name: &Name, health: Health, now: EpochMillis) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), (health, now));
    }

    fn forget(&self, name: &Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Whether an action may run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open(Pass),
    /// Its time is reserved, and a message comes then.
    Later(EpochMillis),
    /// It waits for its destination, and is parked.
    Parked {
        /// Why, in a sentence.
        detail: String,
    },
    /// It has waited for too long.
    Expired {
        /// In a sentence.
        detail: String,
    },
}

/// With what an action runs, to be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How its destination stood.
    health: Health,
    /// Whether it finds out if its destination is back.
    pub(crate) is_probe: bool,
    /// Its place, and for whom it was taken.
    place: Option<(u8, u64)>,
}

/// What letting go of parked events came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Events queued.
    pub(crate) queued: usize,
    /// Destinations that are paused.
    pub(crate) paused: usize,
    /// Destinations that are disabled.
    pub(crate) disabled: usize,
}

/// An event that an action runs for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer<'a> {
    pub(crate) event: &'a Event,
    pub(crate) retention_days: u32,
    /// Since when it waits for the destination, if it does.
    pub(crate) parked_since: Option<EpochMillis>,
    /// The action for which a time was reserved.
    pub(crate) reserved: Option<&'a Name>,
    /// Its trace, for messages about it.
    pub(crate) trace: Option<&'a str>,
}

impl Bearer<'_> {
    fn parked(&self) -> Parked {
        Parked {
            received_at: self.event.request.received_at,
            source: self.event.source.clone(),
            id: self.event.id.clone(),
            parked_at: None,
        }
    }
}

impl Worker {
    async fn health(&self, name: &Name, now: EpochMillis) -> Result<Health, StoreError> {
        if let Some(health) = self.destinations.known(name, now) {
            return Ok(health);
        }
        let health = self.store.destination(name).await?;
        self.destinations.keep(name, health.clone(), now);
        Ok(health)
    }

    /// Whether an action may run for an event now. What may not is parked, or comes back by a message, before this
    /// returns.
    pub(crate) async fn gate(
        &self,
        name: &Name,
        configured: &ConfiguredAction,
        bearer: Bearer<'_>,
        now: EpochMillis,
    ) -> anyhow::Result<Gate> {
        if !configured.has_destination() {
            return Ok(Gate::Open(Pass::default()));
        }
        let mut health = self.health(name, now).await?;
        let mut is_probe = false;
        match health.entry(now) {
            Entry::Go => {}
            Entry::Park => return self.park(name, &health, bearer, now).await,
            Entry::Probe { probe_at } => {
                is_probe = self.store.destination_probe(name, probe_at, now).await?;
                self.destinations.forget(name);
                if !is_probe {
                    health = self.health(name, now).await?;
                    if health.entry(now) != Entry::Go {
                        return self.park(name, &health, bearer, now).await;
                    }
                }
            }
        }
        let policy = &configured.policy;
        if let Some(rate) = policy.rate
            && bearer.reserved != Some(name)
        {
            match self.store.reserve(name, rate, now).await? {
                Slot::Now => {}
                Slot::At(at) => {
                    let mut message = Message::pointing(&bearer.event.source, &bearer.event.id);
                    message.reserved = Some(name.clone());
                    let wait = at.millis_since(now).max(0);
                    let seconds = i32::try_from(wait.div_euclid(1_000) + 1).unwrap_or(i32::MAX);
                    self.queue.send(&message, seconds.min(MESSAGE_DELAY_SECONDS_MAX), bearer.trace).await?;
                    return Ok(Gate::Later(at));
                }
                Slot::Full => {
                    return self
                        .park_for(name, bearer, &format!("{rate} is as much as {name} gets"), now)
                        .await;
                }
            }
        }
        let mut place = None;
        if let Some(places) = policy.concurrency {
            let owner = self.ambient.random();
            let until = now.plus_millis(LEASE_MS);
            match self.store.take_place(name, places, owner, now, until).await? {
                Some(number) => place = Some((number, owner)),
                None => {
                    return self
                        .park_for(name, bearer, &format!("{name} serves {places} at once"), now)
                        .await;
                }
            }
        }
        Ok(Gate::Open(Pass { health, is_probe, place }))
    }

    async fn park(
        &self,
        name: &Name,
        health: &Health,
        bearer: Bearer<'_>,
        now: EpochMillis,
    ) -> anyhow::Result<Gate> {
        let how = match health.standing {
            Standing::Up => "up",
            Standing::Paused { .. } => "paused",
            Standing::Disabled => "disabled",
        };
        self.park_for(name, bearer, &format!("{name} is {how}: {}", health.reason), now).await
    }

    async fn park_for(
        &self,
        name: &Name,
        bearer: Bearer<'_>,
        detail: &str,
        now: EpochMillis,
    ) -> anyhow::Result<Gate> {
        let waited = bearer.parked_since.map_or(0, |since| now.millis_since(since));
        if waited > parked_ms_max(bearer.retention_days) {
            let days = waited / (24 * 60 * 60 * 1_000);
            return Ok(Gate::Expired { detail: format!("waited {days} days; {detail}") });
        }
        self.put_aside(name, bearer, now).await?;
        Ok(Gate::Parked { detail: detail.to_owned() })
    }

    /// Parks an event. The record is there before anything says that the event waits.
    async fn put_aside(&self, name: &Name, bearer: Bearer<'_>, now: EpochMillis) -> Result<(), StoreError> {
        self.store.park(name, &bearer.parked(), now).await?;
        // Once a minute is enough for a sweeper that looks for a day.
        let noted = self
            .destinations
            .known(name, now)
            .and_then(|health| health.parked_at)
            .is_some_and(|at| now.millis_since(at) < 60_000);
        if !noted {
            self.store.note_parked(name, now).await?;
            if let Some(mut health) = self.destinations.known(name, now) {
                health.parked_at = Some(now);
                self.destinations.keep(name, health, now);
            }
        }
        Ok(())
    }

    /// What an action's result says about its destination. A failure to write that down is not the event's: the next
    /// result says it again.
    ///
    /// Returns whether the event has to wait for the destination from now on, and is parked.
    pub(crate) async fn learn(
        &self,
        name: &Name,
        configured: &ConfiguredAction,
        pass: Pass,
        performed: &Performed,
        bearer: Bearer<'_>,
        now: EpochMillis,
    ) -> anyhow::Result<bool> {
        if !configured.has_destination() {
            return Ok(false);
        }
        if let Some((place, owner)) = pass.place {
            if let Err(error) = self.store.leave_place(name, place, owner).await {
                tracing::warn!(action = %name, error = %error, "a place was not given back; it is free again in a minute and a half");
            }
            // How it stands by now: what is parked may have come while this one ran.
            if self.health(name, now).await.is_ok_and(|health| health.may_have_parked(now)) {
                self.release(name, 1, 0).await;
            }
        }
        let waits = match performed {
            Performed::Gone { .. } => true,
            Performed::Failed { .. } => pass.is_probe,
            Performed::Done { .. } | Performed::Impossible { .. } => false,
        };
        if waits {
            self.put_aside(name, bearer, now).await?;
        }
        if let Err(error) = self.note(name, &configured.policy, &pass, performed, now).await {
            tracing::warn!(action = %name, error = %error, "how {name} stands was not written down");
        }
        Ok(waits)
    }

    async fn note(
        &self,
        name: &Name,
        policy: &Policy,
        pass: &Pass,
        performed: &Performed,
        now: EpochMillis,
    ) -> Result<(), StoreError> {
        let standing = pass.health.standing;
        match performed {
            Performed::Gone { detail } => {
                tracing::error!(action = %name, outcome = "disabled", detail, disabled = 1, "{name} is disabled, as {detail}; mend it, then: hookgate destinations enable {name}");
                self.store.destination_switch(name, false, detail, now).await?;
            }
            Performed::Failed { detail, .. } => match standing {
                Standing::Paused { pauses, .. } if pass.is_probe => {
                    tracing::warn!(action = %name, "{name} is still down: {detail}");
                    self.store.destination_probe_failed(name, pauses, detail, now).await?;
                }
                _ if policy.pause_after > 0 => {
                    let health = self.store.destination_failed(name).await?;
                    let pauses = health.is_to_be_paused(policy);
                    self.destinations.keep(name, health, now);
                    if !pauses || !self.store.destination_pause(name, detail, now).await? {
                        return Ok(());
                    }
                    tracing::error!(action = %name, outcome = "paused", detail, paused = 1, "{name} is paused after {} failures in a row, the last: {detail}; its events wait, and one a few minutes tries it", policy.pause_after);
                }
                _ => return Ok(()),
            },
            // It answers, whatever it thinks of this event.
            Performed::Done { .. } | Performed::Impossible { .. } => {
                let recovered = pass.is_probe;
                if !recovered
                    && (pass.health.failures == 0 || matches!(performed, Performed::Impossible { .. }))
                {
                    return Ok(());
                }
                if recovered {
                    tracing::info!(action = %name, outcome = "recovered", "{name} is back; what waits for it goes out");
                }
                self.store.destination_works(name, standing, now).await?;
            }
        }
        self.destinations.forget(name);
        Ok(())
    }

    /// Lets parked events go in the pace of their destinations: what [`drain`] allows for one minute, spread over it.
    pub(crate) async fn drain(&self) -> Drained {
        let now = self.ambient.now();
        let known = match self.store.destinations().await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(error = %error, "the destinations could not be read; the next sweep tries again");
                return Drained::default();
            }
        };
        let default = Policy::default();
        let each = known.iter().filter(|(_, health)| health.may_have_parked(now)).map(|(name, health)| {
            let policy = self.config.actions.get(name).map_or(&default, |action| &action.policy);
            async move {
                // Those of an action that is configured no more go at once: they end without it.
                let allowed = match self.config.actions.contains_key(name) {
                    true => drain(health, policy, now),
                    false => DRAIN_MAX,
                };
                let count = usize::try_from(allowed).unwrap_or_default();
                let queued = self.release(name, count, SPREAD_SECONDS).await;
                let overdue = match health.standing {
                    Standing::Up => 0,
                    Standing::Paused { .. } | Standing::Disabled => self.release_overdue(name, now).await,
                };
                if queued == count && count > 0 && health.standing == Standing::Up
                    && let Err(error) = self.store.note_parked(name, now).await
                {
                    tracing::warn!(action = %name, error = %error, "that more is parked was not noted; what is parked next notes it");
                }
                queued + overdue
            }
        });
        let queued = join_all(each).await.into_iter().sum();
        // One that is configured no more is nobody's concern.
        let standing = |is: fn(Standing) -> bool| {
            let configured = known.iter().filter(|(name, _)| self.config.actions.contains_key(name));
            configured.filter(|(_, health)| is(health.standing)).count()
        };
        Drained {
            queued,
            paused: standing(|standing| matches!(standing, Standing::Paused { .. })),
            disabled: standing(|standing| standing == Standing::Disabled),
        }
    }

    /// Queues the oldest parked events of a destination, spread over so many seconds.
    async fn release(&self, name: &Name, count: usize, spread_seconds: usize) -> usize {
        if count == 0 {
            return 0;
        }
        let parked = match self.store.parked(name, EpochMillis::from_millis(i64::MAX), count).await {
            Ok(parked) => parked,
            Err(error) => {
                tracing::warn!(action = %name, error = %error, "what is parked could not be read; the next sweep tries again");
                return 0;
            }
        };
        self.send_parked(name, &parked, |number| number * spread_seconds / count.max(1)).await
    }

    /// Queues what has waited for too long, so that it ends.
    async fn release_overdue(&self, name: &Name, now: EpochMillis) -> usize {
        let retention = |source: &Name| {
            self.config.sources.get(source).map_or(RETENTION_DAYS, |source| source.retention_days)
        };
        let shortest = self.config.sources.keys().map(|source| parked_ms_max(retention(source))).min();
        let before = now.plus_millis(-shortest.unwrap_or_else(|| parked_ms_max(RETENTION_DAYS)));
        let found = match self.store.parked(name, before, OVERDUE_MAX).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(action = %name, error = %error, "what is parked could not be read; the next sweep tries again");
                return 0;
            }
        };
        let overdue: Vec<Parked> = found
            .into_iter()
            .filter(|parked| now.millis_since(parked.received_at) > parked_ms_max(retention(&parked.source)))
            .collect();
        self.send_parked(name, &overdue, |_| 0).await
    }

    /// Sends first, takes out then: a crash in between sends it twice, which is harmless.
    async fn send_parked(&self, name: &Name, parked: &[Parked], delay: impl Fn(usize) -> usize) -> usize {
        let mut queued = 0;
        for (chunk_number, chunk) in parked.chunks(AT_ONCE).enumerate() {
            let each = chunk.iter().enumerate().map(|(number, parked)| {
                let seconds = i32::try_from(delay(chunk_number * AT_ONCE + number)).unwrap_or_default();
                async move {
                    let message = Message::pointing(&parked.source, &parked.id);
                    if let Err(error) = self.queue.send(&message, seconds, None).await {
                        tracing::warn!(source = %parked.source, event.id = %parked.id, error = %error, "a parked event could not be queued");
                        return false;
                    }
                    if let Err(error) = self.store.unpark(name, parked).await {
                        tracing::warn!(source = %parked.source, event.id = %parked.id, error = %error, "a parked record was not deleted; its event will be queued again");
                    }
                    true
                }
            });
            queued += join_all(each).await.into_iter().filter(|queued| *queued).count();
        }
        queued
    }
}

/// The longest delay of a message (SQS `DelaySeconds`).
const MESSAGE_DELAY_SECONDS_MAX: i32 = 900;

/// Seconds over which a sweep spreads what it lets go: until the next sweep.
const SPREAD_SECONDS: usize = 60;

/// Events of an action that is no more, and overdue ones, let go in one sweep.
const DRAIN_MAX: u32 = 6_000;
const OVERDUE_MAX: usize = 1_000;

/// Messages sent at once.
const AT_ONCE: usize = 50;
