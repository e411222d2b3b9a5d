//! An invocation that has begun: what it is for, and how far it is.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use serde_json::Value;

use super::installation::Handler;
use crate::{site::Function, state::Release, wire::ClockOf};
pub(super) struct Flag(pub(super) AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an invocation has returned.
pub(super) enum Returned {
    Answer(u16),
    Value(Option<Value>),
}

/// What an invocation is for.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Request(usize),
    /// Handles and ids of the messages, and whether they are of the FIFO queue.
    Batch(Vec<(u64, u64)>, bool),
    Sweep,
    Stream(Vec<(i64, String)>),
    Operate,
}

pub(super) struct Task {
    pub(super) id: u64,
    pub(super) function: Function,
    pub(super) job: Job,
    pub(super) instance: usize,
    pub(super) release: Release,
    pub(super) flag: Arc<Flag>,
    pub(super) future: Pin<Box<dyn Future<Output = Returned>>>,
}

/// One running copy of a function.
pub(super) struct Instance {
    pub(super) handler: Handler,
    pub(super) clock: ClockOf,
    pub(super) release: Release,
    pub(super) is_busy: bool,
    pub(super) is_gone: bool,
    /// Whether its clock has ever jumped.
    pub(super) has_jumped: bool,
}

pub(super) fn describe(job: &Job, payload: &str) -> String {
    match job {
        Job::Request(request) => format!("request {request}"),
        Job::Batch(..) => {
            let event: Value = serde_json::from_str(payload).unwrap_or_default();
            let records = event.get("Records").and_then(Value::as_array);
            let texts = records.into_iter().flatten().filter_map(|record| {
                let count = record.pointer("/attributes/ApproximateReceiveCount")?.as_str()?;
                Some(format!("{:.50} ×{count}", record.get("body")?.as_str()?))
            });
            texts.collect::<Vec<_>>().join(" | ")
        }
        Job::Sweep => "sweep".to_owned(),
        Job::Stream(records) => format!("stream of {}", records.len()),
        Job::Operate => String::new(),
    }
}
