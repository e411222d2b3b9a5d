//! What the table and the queues of a history are: the models alone, or the embedded engines with the models beside them.

use clap::ValueEnum;
use hookgate_embedded::Clock;

use crate::state::START_MS;

/// What carries requests out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engines {
    /// The simulation's own models of DynamoDB and SQS.
    #[default]
    Models,
    /// The engines of `hookgate_embedded`, which answer, and at every request the models, which must say the same.
    Embedded,
}

/// What a violation begins with that is only one over the embedded engines.
pub(crate) const DIFFER: &str = "the engines differ about";

/// The engines' clock, at the beginning of a history.
pub(crate) fn clock() -> Clock {
    Clock::manual(START_MS)
}

/// Has the engines' clock show the time of the history, which never goes back.
pub(crate) fn set(clock: &Clock, now_ms: i64) {
    let ahead_ms = now_ms.saturating_sub(clock.now_ms());
    clock.advance(std::time::Duration::from_millis(u64::try_from(ahead_ms).unwrap_or_default()));
}
