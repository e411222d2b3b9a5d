//! What passed in front of an engine, and the faults put in its way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// [`Traffic::requests`] keeps this many: the local program may run for weeks.
const REQUESTS_KEPT: usize = 100_000;

/// Counts and breaks the requests in front of one engine. A clone is the same front.
///
/// In-process calls (`Sqs::receive`, `DynamoDb::stream`…) do not pass here: they are neither counted nor
/// broken.
#[derive(Clone, Default)]
pub struct Traffic {
    state: Arc<Mutex<State>>,
    hanging: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    rules_made: u64,
    requests: VecDeque<Request>,
    counts: BTreeMap<String, usize>,
    write_units: f64,
}

struct Rule {
    id: FaultId,
    fault: Fault,
    seen: u32,
    fired: u32,
}

/// A request as it came in, whether it was answered or broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The API operation, such as `PutItem`; empty for a request that names none.
    pub operation: String,
    /// Bytes of its body.
    pub bytes: usize,
}

/// Which requests go wrong, and how.
///
/// ```text
/// Fault { operation: Some("PutItem".into()), times: Some(1), ..Fault::new(How::ApplyThenDrop) }
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    /// The API operation it is about; `None` is every one.
    pub operation: Option<String>,
    /// Text which the request's body must contain, to hit one item.
    pub matching: Option<String>,
    /// What happens to the request.
    pub how: How,
    /// How many requests it breaks; `None` is until healed.
    pub times: Option<u32>,
    /// How many matching requests pass before it begins.
    pub skip: u32,
}

impl Fault {
    /// Every request, until healed.
    pub fn new(how: How) -> Fault {
        Fault { operation: None, matching: None, how, times: None, skip: 0 }
    }
}

/// What happens to a broken request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Not applied; answered with the engine's own internal error, status 500.
    Status500,
    /// Not applied; DynamoDB answers `ProvisionedThroughputExceededException`, SQS `RequestThrottled`.
    Throttle,
    /// Not applied; DynamoDB answers `AccessDeniedException`, SQS `AccessDenied`.
    AccessDenied,
    /// Not applied; the connection is closed without one byte of answer. On every request: an engine that is down.
    Drop,
    /// Applied; the connection is closed without one byte of answer.
    ApplyThenDrop,
    /// Not applied and never answered. Let go when the client does, or when the engines stop.
    Hang,
    /// Not applied; answered with status 200 and a body that is not JSON.
    Garbage,
    /// Applied; answered like [`How::Status500`].
    Apply500,
    /// Applied twice in a row; the second answer is returned.
    ApplyTwice,
}

/// Names a fault put in place by [`Traffic::break_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

impl Traffic {
    /// Puts a fault in place. Of several which match a request, the oldest decides.
    pub fn break_with(&self, fault: Fault) -> FaultId {
        let mut state = self.lock();
        state.rules_made += 1;
        let id = FaultId(state.rules_made);
        state.rules.push(Rule { id, fault, seen: 0, fired: 0 });
        id
    }

    /// Removes every fault. A request that already hangs goes on hanging.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// Removes one fault.
    pub fn heal_one(&self, id: FaultId) {
        self.lock().rules.retain(|rule| rule.id != id);
    }

    /// How many requests a fault has broken; 0 once it is healed.
    pub fn fired(&self, id: FaultId) -> u32 {
        self.lock().rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.fired)
    }

    /// How many requests are held by [`How::Hang`] now.
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    /// The requests since the start or the last [`Traffic::reset`], oldest first; the last 100,000 of them.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    /// How many requests of an operation there were since the start or the last [`Traffic::reset`].
    pub fn count(&self, operation: &str) -> usize {
        self.lock().counts.get(operation).copied().unwrap_or(0)
    }

    /// The write capacity which DynamoDB reported for the writes it answered, since the start or the last
    /// [`Traffic::reset`]; always 0 for SQS.
    ///
    /// One unit is a started KB written, two inside a transaction. A write refused by its condition is not in
    /// here, though AWS charges it too: the refusal does not say what it cost.
    pub fn write_units(&self) -> f64 {
        self.lock().write_units
    }

    /// Forgets the requests, counts and units. The faults stay.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.requests.clear();
        state.counts.clear();
        state.write_units = 0.0;
    }

    /// Notes a request and says what is to happen to it.
    pub(crate) fn admit(&self, operation: &str, body: &[u8]) -> Option<How> {
        let mut state = self.lock();
        if state.requests.len() == REQUESTS_KEPT {
            state.requests.pop_front();
        }
        state.requests.push_back(Request { operation: operation.to_owned(), bytes: body.len() });
        *state.counts.entry(operation.to_owned()).or_default() += 1;
        state.rules.iter_mut().find_map(|rule| rule.admit(operation, body))
    }

    pub(crate) fn add_write_units(&self, units: f64) {
        self.lock().write_units += units;
    }

    /// Counts one hanging request until the answer is dropped.
    pub(crate) fn hang(&self) -> Hanging {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        Hanging(Arc::clone(&self.hanging))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn admit(&mut self, operation: &str, body: &[u8]) -> Option<How> {
        let Fault { operation: only, matching, how, times, skip } = &self.fault;
        if only.as_deref().is_some_and(|only| only != operation)
            || matching.as_deref().is_some_and(|text| !contains(body, text.as_bytes()))
            || times.is_some_and(|times| self.fired >= times)
        {
            return None;
        }
        if self.seen < *skip {
            self.seen += 1;
            return None;
        }
        self.fired += 1;
        Some(*how)
    }
}

/// Whether `text` occurs in `body`. The empty text occurs everywhere.
pub(crate) fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// One request that hangs.
pub(crate) struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
