//! The clock and the dice. Only the wiring of a program makes a real one; tests make one that they can move.

use std::{fmt, sync::Arc};

use hookgate_core::time::EpochMillis;

/// What a program would otherwise ask the operating system for.
#[derive(Clone)]
pub struct Ambient {
    now: Arc<dyn Fn() -> EpochMillis + Send + Sync>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Ambient {
    /// The operating system's clock and entropy.
    pub fn system() -> Self {
        Self::new(system_now, || getrandom::u64().unwrap_or_default())
    }

    /// A clock and dice of one's own.
    pub fn new(
        now: impl Fn() -> EpochMillis + Send + Sync + 'static,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), random: Arc::new(random) }
    }

    /// The present.
    pub fn now(&self) -> EpochMillis {
        (self.now)()
    }

    /// Sixty-four random bits.
    pub fn random(&self) -> u64 {
        (self.random)()
    }

    /// A number from 0 up to 1.
    pub fn chance(&self) -> f64 {
        // 32 bits fit a double exactly.
        let bits = u32::try_from(self.random() >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The operating system's present.
pub(crate) fn system_now() -> EpochMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    EpochMillis::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
