//! The one line that an event leaves in the log each time that it is worked on, with the metrics in it.

use std::fmt;

use hookgate_aws::metrics::one;
use hookgate_core::{
    event::Event,
    lifecycle::{Attempt, Status},
    time::EpochMillis,
};

/// Says where an event stands after `attempts`, those of this time, and whether it was stored only now.
pub(crate) fn worked(
    event: &Event,
    status: Status,
    attempts: &[Attempt],
    stored: bool,
    started: EpochMillis,
    now: EpochMillis,
) {
    let age_ms = now.millis_since(event.request.received_at).max(0);
    let done = status == Status::Done;
    tracing::info!(
        timestamp = now.as_millis(),
        source = event.source.as_str(),
        event.id = event.id.as_str(),
        event.r#type = event.event_type,
        outcome = status.word(),
        attempts = attempts.len(),
        actions = %Actions(attempts),
        duration_ms = now.millis_since(started),
        age_ms,
        stored = one(stored),
        done = one(done),
        unrouted = one(status == Status::Unrouted),
        end_to_end_ms = done.then_some(age_ms),
        "{} {} {}",
        status.word(),
        event.source,
        event.id
    );
}

/// Attempts in short: `tell-crm:done charge:retry`.
struct Actions<'a>(&'a [Attempt]);

impl fmt::Display for Actions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, attempt) in self.0.iter().enumerate() {
            let between = if number > 0 { " " } else { "" };
            write!(f, "{between}{}:{}", attempt.action, attempt.outcome.word())?;
        }
        Ok(())
    }
}
