//! Ordering: the events of one source that have one key are worked on one after the other, in the order in which they
//! were accepted. A source that says nothing of `order` never gets here.
//!
//! They form a lane. Whoever comes out of the FIFO queue gets a turn at the end of its lane, and only the event that has
//! the first turn may be worked on; when it has ended, its turn is taken away, and whoever is first then goes on. As
//! turns are only ever added at the end, nobody gets before an event that has begun.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    destination::parked_ms_max,
    event::Event,
    ids::{EventId, Name},
    lifecycle::{Attempt, AttemptOutcome, Attempts, Next, Status},
    time::EpochMillis,
};

/// The events of one source that have one ordering key.
///
/// It is the name of a message group too, so it has at most 128 letters, digits and signs, whatever is in the key (SQS
/// API reference, `SendMessage`, `MessageGroupId`, read 2026-11-21).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(String);

impl Lane {
    /// The lane of an event; `None` for one that has no order.
    pub fn of(event: &Event) -> Option<Self> {
        event.order_key.as_deref().map(|key| Self::new(&event.source, key))
    }

    /// The lane of a key.
    pub fn new(source: &Name, key: &str) -> Self {
        Self(format!("{source}#{}", EventId::from_hash(&[key.as_bytes()])))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An event's turn in its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place. Greater than that of every turn that was there when it was given.
    pub at: EpochMillis,
    /// The event.
    pub id: EventId,
    /// When the event was received.
    pub received_at: EpochMillis,
}

/// The place behind the last one. It is the time, so that a place is not given twice when a lane was empty in between.
pub fn place_behind(last: Option<&Turn>, now: EpochMillis) -> EpochMillis {
    last.map_or(now, |last| now.max(last.at.plus_millis(1)))
}

/// Where an event stands that a worker has just got the lease of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// First: it may go.
    First,
    /// First with a turn of before it was replayed. Others may count on that turn being taken away, so it is.
    Former,
    /// It waits; whoever leaves before it calls it.
    Waits,
    /// It has no turn: no FIFO queue has brought it yet, or it was replayed after its end.
    Outside,
}

/// Finds an event's position by the place that its status has and by the first turn of its lane.
pub fn position(id: &EventId, place: Option<EpochMillis>, first: Option<&Turn>) -> Position {
    match (place, first) {
        (place, Some(first)) if first.id == *id => match place == Some(first.at) {
            true => Position::First,
            false => Position::Former,
        },
        (Some(_), _) => Position::Waits,
        (None, _) => Position::Outside,
    }
}

/// What ingest does next about an event that has an order: [`decide`](crate::lifecycle::decide), but without the outbox.
///
/// A place in the order is the queue's to give. Were an event acknowledged that the queue has not taken, one that is
/// acknowledged later could get before it.
pub const fn in_order(next: Next) -> Next {
    match next {
        Next::Outbox { .. } => Next::Unavailable,
        next => next,
    }
}

/// Whether nobody has run anything for an event since its turn was given: whoever should have called it may not have.
/// What only a later release knows may be anything, so it is no sign that somebody has.
pub fn is_untouched(status: Status, attempts: &Attempts) -> bool {
    let is_known = |attempt: &&Attempt| !matches!(attempt.outcome, AttemptOutcome::Unknown(_));
    let last = attempts.0.iter().rev().find(is_known);
    let since = last.is_none_or(|last| matches!(last.outcome, AttemptOutcome::Replayed { .. }));
    since && matches!(status, Status::Received | Status::Retrying)
}

/// What stands in place of an action where an event was given up before its turn came.
pub const TURN: &str = "turn";

/// Whether an event has waited for its turn for as long as one may wait for a destination: then it is dead, and does not
/// hold up those behind it until they are forgotten.
pub fn is_too_late(
    attempts: &Attempts,
    received_at: EpochMillis,
    retention_days: u32,
    now: EpochMillis,
) -> bool {
    attempts.0.is_empty() && now.millis_since(received_at) > parked_ms_max(retention_days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        lifecycle::{Put, Sent, decide},
        testing,
    };

    fn at(ms: i64) -> EpochMillis {
        EpochMillis::from_millis(ms)
    }

    fn turn(id: &str, place: i64) -> Turn {
        Turn { at: at(place), id: EventId::from_stored(id), received_at: at(0) }
    }

    #[test]
    fn a_lane_is_a_message_group_whatever_the_key_is() {
        let source = Name::parse(&"s".repeat(64)).unwrap();
        let long = Lane::new(&source, &"ü \n".repeat(1_000));
        assert!(long.as_str().len() <= 128 && long.as_str().bytes().all(|b| b.is_ascii_graphic()), "{long}");
        let source = Name::parse("a").unwrap();
        assert_ne!(Lane::new(&source, "1"), Lane::new(&source, "2"));
        assert_ne!(Lane::new(&source, "1"), Lane::new(&Name::parse("b").unwrap(), "1"));
        assert!(Lane::new(&source, "1").as_str().starts_with("a#"), "stored, so it stays as it is");
    }

    #[test]
    fn only_an_event_with_a_key_has_a_lane() {
        let config = Config::parse("[sources.a]\nprovider = \"raw\"\nverify = \"none\"\n").unwrap();
        let (mut event, _) = testing::event(&config, "a", b"x");
        assert_eq!(Lane::of(&event), None);
        event.order_key = Some("1".into());
        assert_eq!(Lane::of(&event), Some(Lane::new(&event.source, "1")));
    }

    #[test]
    fn a_place_is_behind_every_other_even_if_the_clock_is_not() {
        assert_eq!(place_behind(None, at(5)), at(5));
        assert_eq!(place_behind(Some(&turn("a", 3)), at(5)), at(5));
        assert_eq!(place_behind(Some(&turn("a", 5)), at(5)), at(6));
        assert_eq!(place_behind(Some(&turn("a", 900)), at(5)), at(901));
    }

    #[test]
    fn the_first_goes_and_every_other_waits_or_has_to_get_a_turn() {
        let id = EventId::from_stored("a");
        for (place, first, want) in [
            (Some(7), Some(turn("a", 7)), Position::First),
            (Some(9), Some(turn("a", 7)), Position::Former),
            (None, Some(turn("a", 7)), Position::Former),
            (Some(9), Some(turn("b", 7)), Position::Waits),
            // Its turn is not written down yet; the FIFO queue still has the message.
            (Some(9), None, Position::Waits),
            (None, Some(turn("b", 7)), Position::Outside),
            (None, None, Position::Outside),
        ] {
            assert_eq!(position(&id, place.map(at), first.as_ref()), want, "{place:?} {first:?}");
        }
    }

    #[test]
    fn what_the_queue_has_not_taken_is_not_acknowledged() {
        for put in [Put::Stored, Put::Duplicate, Put::Failed] {
            for sent in [Sent::Carrying, Sent::Pointing] {
                assert_eq!(in_order(decide(put, sent)), decide(put, sent));
            }
            assert_eq!(in_order(decide(put, Sent::Failed)), Next::Unavailable);
        }
    }

    #[test]
    fn an_event_is_untouched_until_something_was_run_for_it_or_after_a_replay() {
        let attempt = |outcome| Attempt {
            action: Name::parse("a").unwrap(),
            outcome,
            at: at(0),
            detail: String::new(),
        };
        let mut attempts = Attempts::default();
        assert!(is_untouched(Status::Received, &attempts));
        assert!(!is_untouched(Status::Working, &attempts) && !is_untouched(Status::Dead, &attempts));
        attempts.add(attempt(AttemptOutcome::Retry { next_at: at(9) }));
        assert!(!is_untouched(Status::Retrying, &attempts));
        attempts.add(attempt(AttemptOutcome::Replayed { by: "ann".into(), job: "j".into() }));
        assert!(is_untouched(Status::Retrying, &attempts));
        let later = r#"[{"action":"a","outcome":"postponed","at":0,"detail":""}]"#;
        let later: Attempts = serde_json::from_str(later).unwrap();
        attempts.0.extend(later.0);
        assert!(is_untouched(Status::Retrying, &attempts));
    }

    #[test]
    fn waiting_for_a_turn_ends_before_the_event_is_forgotten() {
        const DAY: i64 = 24 * 60 * 60_000;
        let mut attempts = Attempts::default();
        assert!(!is_too_late(&attempts, at(0), 30, at(14 * DAY)));
        assert!(is_too_late(&attempts, at(0), 30, at(14 * DAY + 1)));
        assert!(is_too_late(&attempts, at(0), 3, at(2 * DAY + 1)));
        attempts.add(Attempt {
            action: Name::parse(TURN).unwrap(),
            outcome: AttemptOutcome::Replayed { by: "ann".into(), job: "j".into() },
            at: at(0),
            detail: String::new(),
        });
        assert!(!is_too_late(&attempts, at(0), 30, at(20 * DAY)), "a person wants it all the same");
    }
}
