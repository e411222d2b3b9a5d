//! hookgate in a world of its own: the real handlers with the real SDK clients, and below them a table, a queue, senders,
//! destinations and a clock that one seed decides.
//!
//! What goes wrong in it, where and when, is in [`faults`]; what must hold whatever does, in `check`. A seed is a
//! history, always the same one.
//!
//! Absent: DynamoDB's deleting of old items, on which no rule depends.

/// A history allocates more than it does anything else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod engines;
pub mod faults;
pub mod queue;
pub mod site;
pub mod table;

mod aws;
mod check;
mod crash_table;
mod destinations;
mod keyring;
mod script;
mod senders;
mod state;
mod summary;
mod vault;
mod wire;
mod world;

pub use crash_table::CrashTable;
pub use script::{Outcome, Script};
pub use state::{Injected, START_MS};
pub use summary::Summary;
pub use world::run;
