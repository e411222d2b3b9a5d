//! Room in memory: what the events of one batch may take at once.
//!
//! A batch is ten records, each worked on for itself at the same time, and one event may need most of a function's memory:
//! ten large ones together would end the process, come back together, and land in the dead-letter queue for nothing that
//! is wrong with them. So each says what it may need before it is worked on, and one for which there is no room now comes
//! again in a moment. It does not wait here: the time that the others take is not its own.

use hookgate_core::{body::memory_max, event::Event};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What a batch may take, in units of [`UNIT_BYTES`]: a function of 512 MB, less what its code and its clients take, and the
/// bodies of ten events, which are there before this is asked. An event that may need more is worked on alone.
const UNITS: u32 = 360;

const UNIT_BYTES: usize = 1024 * 1024;

/// The room of one batch.
pub(crate) struct Room(Semaphore);

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(usize::try_from(UNITS).unwrap_or_default()))
    }
}

impl Room {
    /// Room for an event, until this is dropped; `None` when there is none now.
    pub(crate) fn take(&self, event: &Event) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(memory_max(&event.request).div_ceil(UNIT_BYTES)).unwrap_or(UNITS);
        self.0.try_acquire_many(units.clamp(1, UNITS)).ok()
    }
}
