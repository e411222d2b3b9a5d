//! The event's life as pure steps. Every decision that keeps an event from being lost stands in this file.
//!
//! # The time line of every write
//!
//! ```text
//! ingest   ──┬─ Put event (if absent) ─────┐
//!            └─ Send message (with event) ─┴─ decide() ─┬─ answer 2xx
//!                                                       ├─ Put outbox record, then 2xx     (stored, not sent)
//!                                                       └─ 503                             (neither)
//! worker   ── Get event ─┬─ (absent: Put event from the message)
//!                        └─ Update status: lease, if free ── action ── Update status: attempt, if still ours ── …
//!                                                                                 │
//!             to be tried again in ≤ 15 min: Send delayed message ────────────────┤ before the last update
//!             later:                         Put outbox record ───────────────────┘
//! sweeper  ── Query outbox due ── Send message ── Delete outbox record
//! stream   ── event stored, no status item ── Send message; status `received`
//! ```
//!
//! A crash between any two of them leaves something that brings the event back: the sender's own retry (no 2xx
//! yet), the message (deleted last), the outbox record (deleted after its message was sent), or the table's
//! stream (an event without a status). Doing a step twice is harmless: puts are conditional, sends make a
//! duplicate that finds the event leased or finished, and updates name the lease that they belong to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{destination::Schedule, ids::Name, time::EpochMillis};

/// What came of storing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Stored,
    /// It was there before.
    Duplicate,
    /// It may or may not be there: refused, timed out, or the answer was lost.
    Failed,
}

/// What came of sending its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The queue has it, and it carries the event.
    Carrying,
    /// The queue has it, and it points at the stored event.
    Pointing,
    /// It may or may not be there.
    Failed,
}

/// What ingest does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The event is durable and will be processed: 2xx.
    Acknowledge {
        /// Whether it was there before.
        duplicate: bool,
    },
    /// The event is durable and nothing will bring it to a worker yet: write an outbox record, then 2xx.
    Outbox {
        /// Whether it was there before.
        duplicate: bool,
    },
    /// Nothing is certain: 503, and the sender sends it again.
    Unavailable,
}

/// The crash table of ingest, whole.
pub const fn decide(put: Put, sent: Sent) -> Next {
    match (put, sent) {
        (Put::Stored, Sent::Carrying | Sent::Pointing) => Next::Acknowledge { duplicate: false },
        (Put::Duplicate, Sent::Carrying | Sent::Pointing) => Next::Acknowledge { duplicate: true },
        // The message has the whole event; the worker stores it.
        (Put::Failed, Sent::Carrying) => Next::Acknowledge { duplicate: false },
        (Put::Stored, Sent::Failed) => Next::Outbox { duplicate: false },
        (Put::Duplicate, Sent::Failed) => Next::Outbox { duplicate: true },
        // The message points at something that may not exist.
        (Put::Failed, Sent::Pointing | Sent::Failed) => Next::Unavailable,
    }
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Stored; no worker has had it yet.
    Received,
    /// A worker has it.
    Working,
    /// Every action is done.
    Done,
    /// No route wants it.
    Unrouted,
    /// An action failed and will be tried again.
    Retrying,
    /// An action gave up; the others are done or gave up too. A person can replay it.
    Dead,
}

impl Status {
    /// Every status, in the order of an event's life.
    pub const ALL: [Self; 6] =
        [Self::Received, Self::Working, Self::Retrying, Self::Done, Self::Unrouted, Self::Dead];

    /// The word for it, in the table and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Working => "working",
            Self::Done => "done",
            Self::Unrouted => "unrouted",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }

    /// The status of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Unrouted | Self::Dead)
    }
}

/// What came of one attempt, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum AttemptOutcome {
    /// The action took effect.
    Done,
    /// It failed and is due again.
    Retry {
        /// When.
        next_at: EpochMillis,
    },
    /// It failed for good.
    Dead,
    /// It waits for its destination, which is paused, disabled or busy. A failed probe is one of these as well: it
    /// does not count as a try, or a long outage would use up the tries of whichever event is asked to find its end.
    Parked {
        /// Since when.
        since: EpochMillis,
    },
    /// A person asked for it to be run again; what was before does not count any more.
    Replayed {
        /// Who.
        by: String,
        /// Which replay, so that one that is continued finds what it has done.
        job: String,
    },
    /// Another one, which a later release has written: while releases change, both run.
    #[serde(untagged)]
    Unknown(Unknown),
}

/// An outcome that this release does not know. It is kept word for word, for the release that does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Unknown {
    word: String,
    rest: Map<String, Value>,
}

/// The member of an attempt that has the outcome's word.
const OUTCOME: &str = "outcome";

/// The words of [`AttemptOutcome`]. One of these with wrong fields is damaged, and not unknown.
const OUTCOMES: [&str; 5] = ["done", "retry", "dead", "parked", "replayed"];

impl TryFrom<Map<String, Value>> for Unknown {
    type Error = String;

    fn try_from(mut rest: Map<String, Value>) -> Result<Self, String> {
        match rest.remove(OUTCOME) {
            Some(Value::String(word)) if !OUTCOMES.contains(&word.as_str()) => Ok(Self { word, rest }),
            Some(word) => Err(format!("the outcome {word} without what belongs to it")),
            None => Err("an attempt without an outcome".to_owned()),
        }
    }
}

impl From<Unknown> for Map<String, Value> {
    fn from(unknown: Unknown) -> Self {
        let mut all = unknown.rest;
        all.insert(OUTCOME.to_owned(), Value::String(unknown.word));
        all
    }
}

impl AttemptOutcome {
    /// The word for it.
    pub fn word(&self) -> &str {
        match self {
            Self::Done => "done",
            Self::Retry { .. } => "retry",
            Self::Dead => "dead",
            Self::Parked { .. } => "parked",
            Self::Replayed { .. } => "replayed",
            Self::Unknown(unknown) => &unknown.word,
        }
    }

    /// Whether the action was run.
    pub const fn is_run(&self) -> bool {
        matches!(self, Self::Done | Self::Retry { .. } | Self::Dead)
    }
}

/// Longest detail kept of an attempt, in characters.
pub const DETAIL_CHARS_MAX: usize = 200;

/// One run of one action for one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The action.
    pub action: Name,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: AttemptOutcome,
    /// When it ended.
    pub at: EpochMillis,
    /// What happened, in a sentence.
    pub detail: String,
}

/// Everything that was tried for an event. The rest of its state follows from this and from its routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempts(pub Vec<Attempt>);

/// For how long an action whose outcome only a later release knows is left to that release: longer than a deployment
/// takes to replace every running function.
pub const LATER_RELEASE_MS: i64 = 10 * 60_000;

/// What stands in place of an action where an event could not be routed.
pub const ROUTING: &str = "routing";

/// What a worker does with an event that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run these, in this order.
    Run(Vec<Name>),
    /// Nothing is due before this time; `None` when all that is left is held.
    Wait(Option<EpochMillis>),
    /// Nothing is left to do.
    Finish(Status),
}

impl Attempts {
    /// The last attempt of an action.
    pub fn last(&self, action: &Name) -> Option<&Attempt> {
        self.0.iter().rev().find(|attempt| attempt.action == *action)
    }

    /// How often an action was tried since it was last replayed, if it was.
    pub fn tries(&self, action: &Name) -> u32 {
        let of_it = self.0.iter().rev().filter(|attempt| attempt.action == *action);
        let since = of_it.take_while(|attempt| !matches!(attempt.outcome, AttemptOutcome::Replayed { .. }));
        u32::try_from(since.filter(|attempt| attempt.outcome.is_run()).count()).unwrap_or(u32::MAX)
    }

    /// How often an action was done: more than once only where a person asked for it again.
    pub fn times_done(&self, action: &Name) -> u32 {
        let done = |attempt: &&Attempt| attempt.action == *action && attempt.outcome == AttemptOutcome::Done;
        u32::try_from(self.0.iter().filter(done).count()).unwrap_or(u32::MAX)
    }

    /// Runs of all actions.
    pub fn runs(&self) -> usize {
        self.0.iter().filter(|attempt| attempt.outcome.is_run()).count()
    }

    /// Adds an attempt. One that waits replaces the one before that waited for the same: an event that waits for days
    /// must not grow by that.
    pub fn add(&mut self, mut attempt: Attempt) {
        let began = self.parked_since(&attempt.action);
        if let (AttemptOutcome::Parked { since }, Some(began)) = (&mut attempt.outcome, began) {
            *since = began;
            let known = self.0.iter().rposition(|known| known.action == attempt.action);
            self.0.remove(known.unwrap_or_default());
        }
        self.0.push(attempt);
    }

    /// Since when an action waits for its destination.
    pub fn parked_since(&self, action: &Name) -> Option<EpochMillis> {
        match self.last(action)?.outcome {
            AttemptOutcome::Parked { since } => Some(since),
            AttemptOutcome::Done
            | AttemptOutcome::Retry { .. }
            | AttemptOutcome::Dead
            | AttemptOutcome::Replayed { .. }
            | AttemptOutcome::Unknown(_) => None,
        }
    }

    /// Until when an action is left to a later release, which knows what came of it.
    fn left_until(&self, action: &Name) -> Option<EpochMillis> {
        Some(self.last(action)?.at.plus_millis(LATER_RELEASE_MS))
    }

    /// What to do next about the actions that the event's routes lead to. `held` are those that this worker can't run
    /// now, although they are due.
    pub fn step(&self, actions: &[Name], held: &BTreeSet<Name>, now: EpochMillis) -> Step {
        if actions.is_empty() {
            return Step::Finish(Status::Unrouted);
        }
        let mut due = Vec::new();
        let mut waiting: BTreeSet<EpochMillis> = BTreeSet::new();
        let mut dead = false;
        let mut is_held = false;
        for action in actions {
            match self.last(action).map(|attempt| &attempt.outcome) {
                Some(AttemptOutcome::Done) => {}
                Some(AttemptOutcome::Dead) => dead = true,
                // It may be done, so this release must not run it. If no other comes, a person has to decide.
                Some(AttemptOutcome::Unknown(_)) => match self.left_until(action).filter(|at| *at > now) {
                    Some(at) => drop(waiting.insert(at)),
                    None => dead = true,
                },
                Some(AttemptOutcome::Retry { next_at }) if *next_at > now => {
                    waiting.insert(*next_at);
                }
                _ if held.contains(action) => is_held = true,
                None
                | Some(
                    AttemptOutcome::Retry { .. }
                    | AttemptOutcome::Parked { .. }
                    | AttemptOutcome::Replayed { .. },
                ) => due.push(action.clone()),
            }
        }
        match waiting.first() {
            _ if !due.is_empty() => Step::Run(due),
            Some(next_at) => Step::Wait(Some(*next_at)),
            None if is_held => Step::Wait(None),
            None if dead => Step::Finish(Status::Dead),
            None => Step::Finish(Status::Done),
        }
    }

    /// Asks for another run of what is dead or waits, and with `again` of what is done too; of an event that was not
    /// routed, for another look at its routes. `false` when that is nothing, or when this replay has asked before.
    pub fn replay(&mut self, status: Status, by: &str, job: &str, again: bool, now: EpochMillis) -> bool {
        if self.was_replayed_by(job) {
            return false;
        }
        let mut actions: Vec<Name> = Vec::new();
        for attempt in &self.0 {
            if !actions.contains(&attempt.action) {
                actions.push(attempt.action.clone());
            }
        }
        actions.retain(|action| match self.last(action).map(|attempt| &attempt.outcome) {
            Some(AttemptOutcome::Done) => again,
            Some(AttemptOutcome::Replayed { .. }) | None => false,
            Some(
                AttemptOutcome::Dead
                | AttemptOutcome::Retry { .. }
                | AttemptOutcome::Parked { .. }
                | AttemptOutcome::Unknown(_),
            ) => true,
        });
        if actions.is_empty() && matches!(status, Status::Unrouted | Status::Received) {
            actions.extend(Name::parse(ROUTING));
        }
        let outcome = AttemptOutcome::Replayed { by: by.to_owned(), job: job.to_owned() };
        let detail = format!("replayed by {by}");
        let asked = !actions.is_empty();
        self.0.extend(actions.into_iter().map(|action| Attempt {
            action,
            outcome: outcome.clone(),
            at: now,
            detail: detail.clone(),
        }));
        asked
    }

    /// Whether a replay has asked for this event's actions before.
    pub fn was_replayed_by(&self, job: &str) -> bool {
        self.0.iter().any(
            |attempt| matches!(&attempt.outcome, AttemptOutcome::Replayed { job: known, .. } if known == job),
        )
    }
}

/// Longest `Retry-After` that is honoured: a destination can't park an event for a month.
pub const RETRY_AFTER_MS_MAX: i64 = 24 * 60 * 60_000;

/// Reads a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date.
pub fn retry_after_ms(text: &str, now: EpochMillis) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return (seconds >= 0).then(|| seconds.saturating_mul(1000));
    }
    EpochMillis::parse_http_date(text).map(|at| at.millis_since(now).max(0))
}

/// Up to this part of a delay is added by chance, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

/// When an action that has failed `failures` times (1 or more) is tried again; `None` for never.
///
/// `retry_after_ms` is what the destination asked for; the later of the two counts. `chance` is 0 to 1.
pub fn retry_at(
    schedule: &Schedule,
    failures: u32,
    now: EpochMillis,
    retry_after_ms: Option<i64>,
    chance: f64,
) -> Option<EpochMillis> {
    let delay = schedule.delay_ms(failures)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a fifth of a week fits"
    )]
    let jitter = (delay as f64 * JITTER * chance.clamp(0.0, 1.0)) as i64;
    let asked = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MS_MAX);
    Some(now.plus_millis((delay + jitter).max(asked)))
}

/// The longest delay of a message (SQS `DelaySeconds`, 15 minutes).
pub const MESSAGE_DELAY_MS_MAX: i64 = 15 * 60_000;

/// How an event that waits comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A message with this delay in whole seconds.
    Message {
        /// 0 to 900.
        delay_seconds: i32,
    },
    /// An outbox record; waiting messages would count against the queue's limit for too long.
    Outbox,
}

/// How to bring an event back at `at`. Never early: seconds are rounded up.
pub fn wake(now: EpochMillis, at: EpochMillis) -> Wake {
    let wait = at.millis_since(now).max(0);
    if wait > MESSAGE_DELAY_MS_MAX {
        return Wake::Outbox;
    }
    let seconds = wait.div_euclid(1000) + i64::from(wait.rem_euclid(1000) > 0);
    Wake::Message { delay_seconds: i32::try_from(seconds).unwrap_or(0) }
}

/// How long a lease lasts without being renewed.
///
/// More than the longest action (30 s), less than the queue's visibility timeout (360 s), so that a message that comes back finds the lease of its dead worker expired.
pub const LEASE_MS: i64 = 90_000;

/// What has to be left of a lease when an action begins: as long as the longest action takes, and the write after it.
pub const LEASE_LEFT_MS: i64 = 45_000;

/// For how long after it was taken or renewed a lease is believed when an action begins. Later than that, it is renewed first.
///
/// Two workers' clocks may differ by more than a lease lasts: then one takes over what by the other's clock is held, and only the table
/// can tell that one. What a worker reads between lease and action takes a fraction of this, so it costs nothing
/// but where something had to be tried again.
pub const LEASE_BELIEVED_MS: i64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn the_crash_table_of_ingest() {
        use Next::{Acknowledge, Outbox, Unavailable};
        for (put, sent, next) in [
            (Put::Stored, Sent::Carrying, Acknowledge { duplicate: false }),
            (Put::Stored, Sent::Pointing, Acknowledge { duplicate: false }),
            (Put::Stored, Sent::Failed, Outbox { duplicate: false }),
            (Put::Duplicate, Sent::Carrying, Acknowledge { duplicate: true }),
            (Put::Duplicate, Sent::Pointing, Acknowledge { duplicate: true }),
            (Put::Duplicate, Sent::Failed, Outbox { duplicate: true }),
            (Put::Failed, Sent::Carrying, Acknowledge { duplicate: false }),
            (Put::Failed, Sent::Pointing, Unavailable),
            (Put::Failed, Sent::Failed, Unavailable),
        ] {
            assert_eq!(decide(put, sent), next, "{put:?} {sent:?}");
        }
    }

    #[test]
    fn an_event_runs_what_is_due_waits_for_what_is_not_and_ends() {
        let (a, b) = (name("a"), name("b"));
        let both = [a.clone(), b.clone()];
        let at = EpochMillis::from_millis;
        let attempt = |action: &Name, outcome| Attempt {
            action: action.clone(),
            outcome,
            at: at(0),
            detail: String::new(),
        };
        let later = AttemptOutcome::Retry { next_at: at(50) };
        let none = BTreeSet::new();
        let mut attempts = Attempts::default();
        assert_eq!(attempts.step(&[], &none, at(0)), Step::Finish(Status::Unrouted));
        assert_eq!(attempts.step(&both, &none, at(0)), Step::Run(both.to_vec()));
        attempts.0.push(attempt(&a, AttemptOutcome::Done));
        assert_eq!(attempts.step(&both, &none, at(0)), Step::Run(vec![b.clone()]));
        attempts.0.push(attempt(&b, later));
        assert_eq!(attempts.step(&both, &none, at(49)), Step::Wait(Some(at(50))));
        assert_eq!(attempts.step(&both, &none, at(50)), Step::Run(vec![b.clone()]));
        attempts.0.push(attempt(&b, AttemptOutcome::Dead));
        assert_eq!(attempts.step(&both, &none, at(99)), Step::Finish(Status::Dead));
        assert_eq!(attempts.step(&[a], &none, at(99)), Step::Finish(Status::Done));
        assert_eq!((attempts.tries(&b), attempts.runs()), (2, 3));
    }

    #[test]
    fn what_waits_for_its_destination_is_held_by_one_worker_and_due_for_the_next() {
        let (a, b) = (name("a"), name("b"));
        let both = [a.clone(), b.clone()];
        let at = EpochMillis::from_millis;
        let attempt = |action: &Name, outcome, when| Attempt {
            action: action.clone(),
            outcome,
            at: at(when),
            detail: String::new(),
        };
        let held = BTreeSet::from([a.clone()]);
        let mut attempts = Attempts::default();
        for when in [1, 2, 3] {
            attempts.add(attempt(&a, AttemptOutcome::Parked { since: at(when) }, when));
        }
        assert_eq!(attempts.0.len(), 1, "an event that waits does not grow");
        assert_eq!((attempts.parked_since(&a), attempts.tries(&a)), (Some(at(1)), 0));
        assert_eq!(attempts.step(&both, &held, at(5)), Step::Run(vec![b.clone()]));
        attempts.add(attempt(&b, AttemptOutcome::Retry { next_at: at(9) }, 5));
        assert_eq!(attempts.step(&both, &held, at(5)), Step::Wait(Some(at(9))));
        attempts.add(attempt(&a, AttemptOutcome::Parked { since: at(6) }, 6));
        assert_eq!((attempts.0.len(), attempts.tries(&b)), (2, 1), "nor does it forget what another came to");
        attempts.add(attempt(&b, AttemptOutcome::Done, 9));
        assert_eq!(attempts.step(&both, &held, at(9)), Step::Wait(None));
        assert_eq!(attempts.step(&both, &BTreeSet::new(), at(9)), Step::Run(vec![a.clone()]));
        attempts.add(attempt(&a, AttemptOutcome::Done, 10));
        assert_eq!(attempts.step(&both, &held, at(10)), Step::Finish(Status::Done));
        attempts.add(attempt(&a, AttemptOutcome::Parked { since: at(11) }, 11));
        assert_eq!(attempts.parked_since(&a), Some(at(11)), "another wait has another beginning");
    }

    #[test]
    fn a_replay_runs_what_is_dead_once_more_and_only_once() {
        let (a, b) = (name("a"), name("b"));
        let both = [a.clone(), b.clone()];
        let at = EpochMillis::from_millis;
        let attempt = |action: &Name, outcome| Attempt {
            action: action.clone(),
            outcome,
            at: at(0),
            detail: String::new(),
        };
        let mut attempts = Attempts(vec![
            attempt(&a, AttemptOutcome::Done),
            attempt(&b, AttemptOutcome::Retry { next_at: at(1) }),
            attempt(&b, AttemptOutcome::Dead),
        ]);
        let none = BTreeSet::new();
        assert!(attempts.replay(Status::Dead, "ann", "j1", false, at(5)));
        assert_eq!(attempts.step(&both, &none, at(5)), Step::Run(vec![b.clone()]));
        assert_eq!((attempts.tries(&b), attempts.runs()), (0, 3));
        assert!(!attempts.replay(Status::Retrying, "ann", "j1", false, at(6)), "the same replay asks once");
        attempts.add(attempt(&b, AttemptOutcome::Done));
        assert!(!attempts.replay(Status::Done, "ann", "j2", false, at(7)), "what is done is not repeated …");
        assert!(attempts.replay(Status::Done, "ann", "j3", true, at(7)), "… unless asked for");
        assert_eq!(attempts.step(&both, &none, at(7)), Step::Run(both.to_vec()));
        let mut unrouted = Attempts::default();
        assert!(unrouted.replay(Status::Unrouted, "ann", "j1", false, at(5)));
        assert!(!unrouted.replay(Status::Unrouted, "ann", "j1", false, at(5)));
        assert_eq!(unrouted.step(&both, &none, at(5)), Step::Run(both.to_vec()));
        let json = serde_json::to_string(&attempts).unwrap();
        assert_eq!(serde_json::from_str::<Attempts>(&json).unwrap(), attempts);
    }

    #[test]
    fn what_a_later_release_wrote_is_kept_as_it_is_and_left_to_it() {
        let (a, b) = (name("a"), name("b"));
        let both = [a.clone(), b.clone()];
        let at = EpochMillis::from_millis;
        let text = concat!(
            r#"[{"action":"a","outcome":"skipped","why":{"rule":7},"at":5,"detail":"by a rule"},"#,
            r#"{"action":"b","outcome":"retry","next_at":9,"at":5,"detail":"500"}]"#
        );
        let mut attempts: Attempts = serde_json::from_str(text).unwrap();
        assert_eq!(attempts.last(&a).unwrap().outcome.word(), "skipped");
        let written = serde_json::to_value(&attempts).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
        let none = BTreeSet::new();
        let later = at(5 + LATER_RELEASE_MS);
        assert_eq!(attempts.step(&both, &none, at(9)), Step::Run(vec![b.clone()]), "the others go on");
        attempts.add(Attempt { action: b, outcome: AttemptOutcome::Done, at: at(10), detail: String::new() });
        assert_eq!(attempts.step(&both, &none, at(10)), Step::Wait(Some(later)));
        assert_eq!(attempts.step(&both, &none, later), Step::Finish(Status::Dead), "nobody knows it");
        assert_eq!((attempts.tries(&a), attempts.runs()), (0, 2));
        assert!(attempts.replay(Status::Dead, "ann", "j1", false, later));
        assert_eq!(attempts.step(&both, &none, later), Step::Run(vec![a]));
    }

    #[test]
    fn an_outcome_without_what_belongs_to_it_is_damaged_and_not_unknown() {
        for outcome in [r#""outcome":"retry""#, r#""outcome":5"#, r#""word":"done""#, r#""outcome":null"#] {
            let text = format!(r#"[{{"action":"a",{outcome},"at":5,"detail":""}}]"#);
            assert!(serde_json::from_str::<Attempts>(&text).is_err(), "{outcome}");
        }
        for outcome in [
            AttemptOutcome::Done,
            AttemptOutcome::Retry { next_at: EpochMillis::from_millis(1) },
            AttemptOutcome::Dead,
            AttemptOutcome::Parked { since: EpochMillis::from_millis(1) },
            AttemptOutcome::Replayed { by: String::new(), job: String::new() },
        ] {
            assert!(OUTCOMES.contains(&outcome.word()), "{outcome:?}");
        }
    }

    #[test]
    fn the_next_try_is_late_by_chance_and_as_late_as_the_destination_asks() {
        let now = EpochMillis::from_millis(0);
        let schedule = Schedule::default();
        let retry_at = |failures, asked, chance| retry_at(&schedule, failures, now, asked, chance);
        assert_eq!(retry_at(1, None, 0.0).unwrap().as_millis(), 5_000);
        assert_eq!(retry_at(1, None, 1.0).unwrap().as_millis(), 6_000);
        assert_eq!(retry_at(1, Some(60_000), 1.0).unwrap().as_millis(), 60_000);
        assert_eq!(retry_at(2, Some(1), 0.0).unwrap().as_millis(), 300_000);
        assert_eq!(retry_at(1, Some(i64::MAX), 0.0).unwrap().as_millis(), 86_400_000, "a day");
        assert_eq!(retry_at(10, None, 0.0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = EpochMillis::parse("1994-11-06T08:49:00Z").unwrap();
        for (text, want) in [
            ("7", Some(7_000)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after_ms(text, now), want, "{text}");
        }
    }

    #[test]
    fn short_waits_are_messages_and_long_ones_outbox_records() {
        let at = EpochMillis::from_millis;
        assert_eq!(wake(at(0), at(-5)), Wake::Message { delay_seconds: 0 });
        assert_eq!(wake(at(0), at(1)), Wake::Message { delay_seconds: 1 });
        assert_eq!(wake(at(0), at(900_000)), Wake::Message { delay_seconds: 900 });
        assert_eq!(wake(at(0), at(900_001)), Wake::Outbox);
    }

    #[test]
    fn what_is_final_is_what_nothing_more_happens_to_by_itself() {
        let is_final: Vec<Status> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(is_final, [Status::Done, Status::Unrouted, Status::Dead]);
    }

    #[test]
    fn what_was_done_is_counted_by_action() {
        let name = |text: &str| Name::parse(text).unwrap();
        let done = |action: &str, outcome| Attempt {
            action: name(action),
            outcome,
            at: EpochMillis::from_millis(0),
            detail: String::new(),
        };
        let attempts = Attempts(vec![
            done("a", AttemptOutcome::Done),
            done("a", AttemptOutcome::Dead),
            done("a", AttemptOutcome::Done),
            done("b", AttemptOutcome::Dead),
            done("c", AttemptOutcome::Done),
        ]);
        assert_eq!(["a", "b", "c", "d"].map(|action| attempts.times_done(&name(action))), [2, 0, 1, 0]);
    }

    #[test]
    fn a_later_release_has_longer_than_any_lease() {
        const { assert!(LATER_RELEASE_MS > 2 * LEASE_MS) };
    }

    #[test]
    fn every_status_has_a_word() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.word()), Some(status));
        }
    }
}
