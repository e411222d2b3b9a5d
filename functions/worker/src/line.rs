//! The one line that an event leaves in the log each time that it is worked on, with the metrics in it.

use std::fmt;

use hookgate_aws::{metrics::one, trace};
use hookgate_core::{
    event::Event,
    lifecycle::{Attempt, Status},
    time::EpochMillis,
};

/// What was done for an event.
pub(crate) struct Worked<'a> {
    /// The event.
    pub(crate) event: &'a Event,
    /// X-Ray's header that its message came with.
    pub(crate) trace: Option<&'a str>,
    /// Whether it was stored only now.
    pub(crate) stored: bool,
    /// The attempts of this time.
    pub(crate) attempts: &'a [Attempt],
    /// Where it stands.
    pub(crate) status: Status,
    /// When the work began.
    pub(crate) started: EpochMillis,
    /// When it ended.
    pub(crate) now: EpochMillis,
}

impl Worked<'_> {
    pub(crate) fn log(&self) {
        let Self { event, status, now, .. } = *self;
        let age_ms = now.millis_since(event.request.received_at).max(0);
        let done = status == Status::Done;
        tracing::info!(
            timestamp = now.as_millis(),
            source = event.source.as_str(),
            event.id = event.id.as_str(),
            event.r#type = event.event_type,
            trace = self.trace.and_then(trace::root),
            outcome = status.word(),
            attempts = self.attempts.len(),
            actions = %Actions(self.attempts),
            duration_ms = now.millis_since(self.started),
            age_ms,
            stored = one(self.stored),
            done = one(done),
            unrouted = one(status == Status::Unrouted),
            end_to_end_ms = done.then_some(age_ms),
            "{} {} {}",
            status.word(),
            event.source,
            event.id
        );
    }
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
