//! What a history is made from, and what came of it.

use std::collections::BTreeMap;

use hookgate_core::lifecycle::Status;

use crate::{
    engines::Engines,
    faults::{Shot, Window},
    senders::Delivery,
    site::{Function, Site},
    state::Injected,
};

/// What one history is made from.
#[derive(Clone, Debug)]
pub struct Script {
    /// Decides everything that is not decided here.
    pub(crate) seed: u64,
    /// What goes wrong; `None` for what the seed makes of it.
    pub(crate) shots: Option<Vec<Shot>>,
    /// What does not work for a time, beside the shots.
    pub(crate) windows: Vec<Window>,
    /// What is sent; `None` for what the seed makes of it.
    pub(crate) deliveries: Option<Vec<Delivery>>,
    /// How the destinations answer at first, in their order; 200 after that.
    pub(crate) moods: Vec<u16>,
    /// How many deliveries the source with the quarantine has had refused on the day before all this.
    pub(crate) quarantined: i64,
    /// Whether a trace is kept.
    pub(crate) is_traced: bool,
    /// What the table and the queues are.
    pub(crate) engines: Engines,
}

impl Script {
    /// The history of a seed.
    pub fn seed(seed: u64) -> Self {
        Self {
            seed,
            shots: None,
            windows: Vec::new(),
            deliveries: None,
            moods: Vec::new(),
            quarantined: 0,
            is_traced: false,
            engines: Engines::Models,
        }
    }

    /// The same, with a trace.
    #[must_use]
    pub fn traced(mut self, is_traced: bool) -> Self {
        self.is_traced = is_traced;
        self
    }

    /// The same, over these engines.
    #[must_use]
    pub fn over(mut self, engines: Engines) -> Self {
        self.engines = engines;
        self
    }
}

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The invariants that did not hold, in words.
    pub violations: Vec<String>,
    /// What went wrong, and how often.
    pub injected: BTreeMap<Injected, u64>,
    /// What senders were answered, and how often; 0 for nothing at all.
    pub answers: BTreeMap<u16, u64>,
    /// How events ended, and how often.
    pub ends: BTreeMap<&'static str, u64>,
    /// The longest time from when everything worked again to an event's end, in milliseconds.
    pub healed_ms: i64,
    /// Polls of functions.
    pub steps: u64,
    /// AWS calls and calls outward, by place.
    pub calls: BTreeMap<Site, u32>,
    /// What was seen of each event.
    pub(crate) seen: BTreeMap<String, Seen>,
    /// Every line, if a trace was asked for.
    pub trace: Vec<String>,
}

/// What was seen of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<u16>,
    /// Where it was when its sender was first answered.
    pub(crate) stored: Option<Stored>,
    pub(crate) end: Option<Status>,
    /// From the first sending to the end.
    pub(crate) took_ms: i64,
    /// Which function had sent the message that brought it to its end, how often that was received, and whether it was
    /// sent by ingest for the first delivery.
    pub(crate) by: Option<Via>,
    pub(crate) effects: BTreeMap<String, usize>,
}

/// Where an event was when its sender was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) in_table: bool,
    pub(crate) in_queue: bool,
    pub(crate) in_outbox: bool,
    pub(crate) in_quarantine: bool,
}

/// How a message came to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Via {
    pub(crate) from: Function,
    pub(crate) receives: u32,
}
