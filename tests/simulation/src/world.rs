//! One history: functions that are invoked, polled, frozen and killed, until nothing moves any more.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use aws_smithy_async::rt::sleep::AsyncSleep as _;
use fastrand::Rng;
use hookgate_aws::{
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::{Functions, Performer, RUN_MS_MAX, RunError, RunResult},
    egress::{Egress, Transport},
    env::SecretsFrom,
    quarantine::release,
    queue::Queue as QueueClient,
    schema::{EVENT_SK, PK, SK, quarantine_count_sk, quarantine_pk},
    secrets::SecretStore,
    sender_keys::SenderKeys,
    store::Store,
};
use hookgate_core::{
    Fetched,
    config::Config,
    event::Event,
    gate::{Admission, admit},
    ids::Name,
    lifecycle::Status,
    quarantine::PER_DAY_MAX,
    source::Mode,
    time::EpochMillis,
};
use ingest::Ingest;
use serde_json::{Value, json};
use worker::{Destinations as Known, Worker, trigger::SWEEP};

use crate::{
    aws,
    check::{self, attempts},
    destinations::Destinations,
    engines::Engines,
    faults::{Climate, Shot, Window},
    keyring::{Keyring, PUBLISHED},
    queue::{BATCH, Message, Queue},
    senders::{Delivery, ORDERED},
    site::{Function, Service, Site},
    state::{Due, Injected, Release, Running, START_MS, STREAM_WINDOW_MS, Shared, State},
    table::number,
    vault::QUARANTINED,
    wire::{self, ClockOf, Wire},
};

/// Sources, routes and actions of every kind that can fail in a way of its own.
const CONFIG: &str = r#"
[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[sources.pay]
provider = "stripe"

[sources.desk]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }
order = "json:/case"

[sources.bank]
provider = "generic"
verify = { scheme = "ed25519", header = "x-signature", encoding = "hex", key_url = "https://keys.example/bank.json" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[sources.lab]
provider = "generic"
mode = "quarantine"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[[routes]]
source = "lab"
actions = ["post", "tally"]

[[routes]]
source = "bank"
actions = ["post"]

[[routes]]
source = "desk"
actions = ["case-post", "keep"]

[[routes]]
source = "shop"
type = "order.*"
actions = ["post", "tally", "keep"]

[[routes]]
source = "shop"
type = "limited.*"
actions = ["limited", "tell"]

[[routes]]
source = "shop"
type = "invoice.*"
actions = ["mail", "alert", "forward"]

[[routes]]
source = "shop"
type = "job.*"
actions = ["start", "ask", "ship", "own"]

[[routes]]
source = "pay"
actions = ["pay-post", "keep", "announce"]

[actions.post]
kind = "http"
url = "https://dest.example/post"
timeout_seconds = 2

[actions.case-post]
kind = "http"
url = "https://dest.example/case-post"
timeout_seconds = 2
retry = ["5s", "2m", "20m"]

[actions.pay-post]
kind = "http"
url = "https://dest.example/pay-post"
timeout_seconds = 10
retry = ["5s", "2m", "20m", "2h"]
pause_after = 3

[actions.limited]
kind = "http"
url = "https://dest.example/limited"
timeout_seconds = 2
rate = "30/m"
concurrency = 1
pause_after = 2
retry = ["5s", "5m", "20m", "20m", "20m"]

[actions.tell]
kind = "slack"
url = "https://dest.example/tell"
text = "{{ id }}"

[actions.announce]
kind = "publish"
to = "default"
retry = ["5s", "2m", "20m", "2h"]

[actions.mail]
kind = "email"
from = "Shop <shop@example.com>"
to = "ada@example.com"
subject = "{{ id }}"
text = "Thank you."
retry = ["5s", "2m", "20m", "2h"]

[actions.alert]
kind = "publish"
to = "arn:aws:sns:us-east-1:000000000000:alerts"
retry = ["5s", "2m", "20m", "2h"]

[actions.forward]
kind = "publish"
to = "arn:aws:sqs:us-east-1:000000000000:invoices"
retry = ["5s", "2m", "20m", "2h"]

[actions.start]
kind = "invoke"
function = "make-thumbnail"
retry = ["5s", "2m", "20m", "2h"]

[actions.ask]
kind = "invoke"
function = "check"
input = '{"id": {{ id | tojson }}}'
wait = true
timeout_seconds = 5
retry = ["5s", "2m", "20m", "2h"]

[actions.ship]
kind = "invoke"
state_machine = "arn:aws:states:us-east-1:000000000000:stateMachine:ship"
retry = ["5s", "2m", "20m", "2h"]

[actions.own]
kind = "run"
function = "own"
retry = ["5s", "2m", "20m", "2h"]

[actions.tally]
kind = "count"
counter = "orders"
label = "{{ id }}"

[actions.keep]
kind = "record"
collection = "orders"
key = "json:/id"
fields = { total = "json:/total" }
"#;

/// A function as a user may write one: it asks somebody, for longer than a function may take if that takes so long.
async fn own(wire: Wire, event: Event) -> RunResult {
    let retry = |problem: &dyn fmt::Display| RunError::Retry(problem.to_string());
    let url = "https://dest.example/own".parse().map_err(|error| retry(&error))?;
    let mut request = reqwest::Request::new(http::Method::POST, url);
    *request.timeout_mut() = Some(2 * Duration::from_millis(RUN_MS_MAX));
    *request.body_mut() = Some(event.request.body.into());
    match wire.send(request).await {
        Ok(answer) if answer.status().is_success() => Ok("asked".to_owned()),
        Ok(answer) => Err(retry(&answer.status())),
        Err(error) => Err(retry(&error)),
    }
}

fn functions(wire: &Wire) -> Functions {
    let (clock, wire) = (wire.clone(), wire.clone());
    Functions::timed_by(move |time| clock.sleep(time)).with("own", move |event| own(wire.clone(), event))
}

/// How long Lambda lets a function run, in milliseconds (`Timeout`).
const INGEST_LIMIT_MS: i64 = 10_000;
const WORKER_LIMIT_MS: i64 = 60_000;

/// For how long an invocation that stands still may outlive its limit: with the limit, less than a visibility timeout.
const OVERTIME_MS: i64 = 240_000;

/// How long the stream keeps a record, in milliseconds: 24 hours.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html> (read 2026-11-21).
const STREAM_KEEPS_MS: i64 = 24 * 60 * 60_000;

/// How often the schedule invokes the sweeper, in milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;

/// Sweeps in a row that may change nothing before they are not waited for any more.
const IDLE_SWEEPS_MAX: u32 = 4;

/// How often the time between such sweeps is doubled.
const IDLE_DOUBLINGS_MAX: u32 = 5;

/// How long something may be due before no other sweep is waited for: two of the longest times between two.
const OVERDUE_MS: i64 = 2 * (SWEEP_EVERY_MS << IDLE_DOUBLINGS_MAX);

/// Steps after which a history that does not come to rest is given up: a hundred times as many as one takes.
const STEPS_MAX: u64 = 400_000;

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

/// What is made once for many histories.
struct Parts {
    config: Arc<Config>,
    ingest: Clients,
    worker: Clients,
    egress: Egress,
}

thread_local! {
    static PARTS: RefCell<Option<Arc<Parts>>> = const { RefCell::new(None) };
}

fn parts() -> Result<Arc<Parts>, String> {
    if let Some(parts) = PARTS.with_borrow(Clone::clone) {
        return Ok(parts);
    }
    let config = Config::parse(CONFIG).map_err(|problems| format!("{problems:?}"))?;
    let parts = Arc::new(Parts {
        config: Arc::new(config),
        ingest: wire::pattern(Patience::INGEST),
        worker: wire::pattern(Patience::WORKER),
        egress: Egress::new(&[]).map_err(|error| error.to_string())?,
    });
    PARTS.set(Some(parts.clone()));
    Ok(parts)
}

/// Runs one history.
pub fn run(script: &Script) -> Outcome {
    let parts = match parts() {
        Ok(parts) => parts,
        Err(problem) => return Outcome { violations: vec![problem], ..Outcome::default() },
    };
    // The SDK's jitter and its tokens come from here.
    fastrand::seed(script.seed);
    let mut world = World::new(script, parts);
    world.run();
    world.outcome()
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an invocation has returned.
enum Returned {
    Answer(u16),
    Value(Option<Value>),
}

/// What an invocation is for.
#[derive(Clone, Debug)]
enum Job {
    Request(usize),
    /// Handles and ids of the messages, and whether they are of the FIFO queue.
    Batch(Vec<(u64, u64)>, bool),
    Sweep,
    Stream(Vec<(i64, String)>),
    Operate,
}

struct Task {
    id: u64,
    function: Function,
    job: Job,
    instance: usize,
    release: Release,
    flag: Arc<Flag>,
    future: Pin<Box<dyn Future<Output = Returned>>>,
}

#[derive(Clone)]
enum Handler {
    Ingest(Arc<Ingest>),
    Worker(Arc<Worker>),
}

/// One running copy of a function.
struct Instance {
    handler: Handler,
    clock: ClockOf,
    release: Release,
    is_busy: bool,
    is_gone: bool,
    /// Whether its clock has ever jumped.
    has_jumped: bool,
}

/// One request of a sender.
#[derive(Clone, Copy, Debug)]
struct Request {
    delivery: usize,
    is_answered: bool,
    is_heard: bool,
}

struct World {
    shared: Shared,
    parts: Arc<Parts>,
    deliveries: Vec<Delivery>,
    quarantined: i64,
    requests: Vec<Request>,
    instances: Vec<Instance>,
    tasks: Vec<Task>,
    frozen: BTreeSet<u64>,
    sweep_planned: bool,
    last_sweep_ms: i64,
    idle_sweeps: u32,
    stream_failures: u32,
    rotation: u8,
    steps: u64,
    seen: BTreeMap<String, Seen>,
    via: BTreeMap<u64, BTreeMap<String, Via>>,
    /// When the last thing went wrong.
    fair_ms: i64,
}

impl World {
    fn new(script: &Script, parts: Arc<Parts>) -> Self {
        let mut dice = Rng::with_seed(script.seed);
        let climate = match script.shots {
            Some(_) => Climate::fair(START_MS).with(&script.windows),
            None => Climate::draw(&mut dice, START_MS),
        };
        let deliveries = script.deliveries.clone().unwrap_or_else(|| {
            let is_ordered = dice.u8(0..8) == 0;
            let count = match is_ordered {
                true => dice.usize(2..5),
                false => dice.choice([1, 1, 1, 1, 1, 2, 2, 3]).unwrap_or(1),
            };
            let mut deliveries: Vec<_> =
                (0..count).map(|number| Delivery::draw(number, is_ordered, &mut dice)).collect();
            if dice.u8(0..4) == 0 {
                let forged = deliveries.iter().map(Delivery::forged).next();
                deliveries.extend(forged);
            }
            deliveries
        });
        let mut state = State::new(dice, climate, script.shots.clone(), script.is_traced);
        if script.engines == Engines::Embedded
            && let Err(error) = state.over_engines()
        {
            state.check.broken(format!("the embedded engines do not open: {error:#}"));
        }
        state.destinations.moods = script.moods.iter().copied().rev().collect();
        if state.is_drawn {
            state.destinations = Destinations::draw(&mut state.dice);
        }
        state.check.clocks_are_wild = state.climate.jump > 0.0 || state.climate.skew_ms > SKEW_MS_SAFE;
        Self {
            shared: Shared::new(state),
            parts,
            deliveries,
            quarantined: script.quarantined,
            requests: Vec::new(),
            instances: Vec::new(),
            tasks: Vec::new(),
            frozen: BTreeSet::new(),
            sweep_planned: false,
            last_sweep_ms: START_MS - SWEEP_EVERY_MS,
            idle_sweeps: 0,
            stream_failures: 0,
            rotation: 0,
            steps: 0,
            seen: BTreeMap::new(),
            via: BTreeMap::new(),
            fair_ms: START_MS,
        }
    }

    fn run(&mut self) {
        self.begin();
        self.settle();
        // A person mends what only a person can, and looks after what was left lying.
        self.fair_ms = self.fair_ms.max(self.shared.lock().climate.until_ms);
        {
            let mut state = self.shared.lock();
            state.now_ms = state.now_ms.max(self.fair_ms);
            state.note(|_| "= everything works again");
        }
        self.enable_destinations();
        self.release();
        self.settle();
        {
            let state = &mut *self.shared.lock();
            state.check.at_rest(&state.table, [&state.queue, &state.ordered]);
            let now_ms = state.now_ms;
            if state.queue.redrive(now_ms) + state.ordered.redrive(now_ms) > 0 {
                state.note(|_| "= the dead letters are sent again");
                state.look_at_queue(now_ms);
                state.look_at_ordered(now_ms);
            }
        }
        self.settle();
        {
            let state = &mut *self.shared.lock();
            state.check.at_the_end(&state.table, [&state.queue, &state.ordered]);
        }
        self.repeat_everything();
        self.shared.lock().compare_engines();
    }

    /// The source with the quarantine has a wrong secret at first, and may have had a busy day.
    fn begin_quarantine(&self, state: &mut State) {
        if self.deliveries.iter().all(|delivery| delivery.source != QUARANTINED.0) {
            return;
        }
        let (wrong, mended_ms) = match state.is_drawn {
            true => {
                (state.dice.u8(0..4) > 0, state.dice.choice([30_000, 600_000, 7_200_000]).unwrap_or(30_000))
            }
            false => (true, 10 * 60_000),
        };
        if wrong {
            state.vault.mistype();
            state.check.quarantine.is_locked = true;
            let wait = if state.is_drawn { state.dice.i64(0..mended_ms) } else { mended_ms };
            state.after(wait, Due::Mend);
        }
        let known = match state.is_drawn && state.dice.u8(0..3) == 0 {
            true => PER_DAY_MAX - state.dice.i64(0..3),
            false => self.quarantined,
        };
        let Some(source) = Name::parse(QUARANTINED.0).filter(|_| known > 0) else { return };
        let sk = quarantine_count_sk(&EpochMillis::from_millis(START_MS).day());
        let count = json!({ "pk": { "S": quarantine_pk(&source) }, "sk": { "S": sk }, "n": { "N": known.to_string() } });
        let put = state.table.request("PutItem", &json!({ "TableName": TABLE, "Item": count }), START_MS);
        if put.is_err() {
            state.check.broken("a counter can't be put into the table");
        }
        state.table.changes();
        state.check.quarantine.is_full = known >= PER_DAY_MAX;
    }

    fn begin(&mut self) {
        let (mut sends, mut rotates) = (Vec::new(), None);
        {
            let state = &mut *self.shared.lock();
            for (index, delivery) in self.deliveries.iter().enumerate() {
                if !delivery.is_forged {
                    let genuine = check::Genuine {
                        source: delivery.source.to_owned(),
                        body: delivery.body.clone(),
                        accepted: false,
                    };
                    state.check.genuine.insert(delivery.id.clone(), genuine);
                } else {
                    state.check.quarantine.forged.insert(delivery.body.clone());
                }
                let at_ms = match (index, state.dice.u8(0..3)) {
                    (0, _) => 0,
                    (_, 0) => state.dice.i64(0..50),
                    (_, 1) => state.dice.i64(0..10_000),
                    _ => state.dice.i64(0..600_000),
                };
                sends.push((START_MS + at_ms, index));
                // Some senders send twice at once, of their own accord.
                if state.is_drawn && state.dice.u8(0..8) == 0 {
                    sends.push((START_MS + at_ms, index));
                }
            }
            if state.is_drawn && state.dice.u8(0..6) == 0 {
                rotates = Some(START_MS + state.dice.i64(0..60_000));
            }
            for (at_ms, index) in sends {
                state.at(at_ms, Due::Send(index));
            }
            if let Some(at_ms) = rotates {
                state.at(at_ms, Due::Rotate);
            }
            self.begin_quarantine(state);
            if self.deliveries.iter().any(|delivery| delivery.source == PUBLISHED.0) && state.is_drawn {
                state.keyring = Keyring::draw(&mut state.dice);
                // Senders try again for a day; a rotation may meet any of that.
                let wait = state.dice.choice([1_000, 60_000, 600_000, 7_200_000]).unwrap_or(1_000);
                let wait = state.dice.i64(0..wait);
                state.after(wait, Due::Rekey);
            }
            if state.is_drawn && state.dice.u8(0..5) == 0 {
                let wait = state.dice.i64(1_000..3_600_000);
                state.after(wait, Due::Operate);
            }
        }
    }

    /// Goes on until nothing is left to happen.
    fn settle(&mut self) {
        loop {
            self.poll_all();
            self.plan_sweep();
            self.steps += 1;
            let due = {
                let mut state = self.shared.lock();
                state.note_differences();
                if !state.check.violations().is_empty() {
                    return;
                }
                if self.steps > STEPS_MAX {
                    return state.check.broken(format!("no rest after {STEPS_MAX} steps"));
                }
                state.next()
            };
            match due {
                Some(due) => self.happen(due),
                None => break,
            }
        }
        if !self.tasks.is_empty() {
            let who: Vec<String> = self.tasks.iter().map(|task| task.function.to_string()).collect();
            let who = who.join(", ");
            self.shared
                .lock()
                .check
                .broken(format!("waits for something that the simulation does not know: {who}"));
        }
    }

    /// Polls what can go on, in an order of chance.
    fn poll_all(&mut self) {
        loop {
            let ready: Vec<usize> = self
                .tasks
                .iter()
                .enumerate()
                .filter(|(_, task)| task.flag.0.load(Ordering::Relaxed) && !self.frozen.contains(&task.id))
                .map(|(index, _)| index)
                .collect();
            let index = match ready.as_slice() {
                [] => return,
                [only] => *only,
                several => {
                    let which = self.shared.lock().dice.usize(0..several.len());
                    several.get(which).copied().unwrap_or_default()
                }
            };
            self.steps += 1;
            let Some(task) = self.tasks.get_mut(index) else { return };
            task.flag.0.store(false, Ordering::Relaxed);
            let running = Running { task: task.id, function: task.function, release: task.release };
            self.shared.lock().running = running;
            let waker = Waker::from(task.flag.clone());
            if let Poll::Ready(returned) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                let task = self.tasks.swap_remove(index);
                self.ended(&task, returned);
            }
            self.freeze();
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Timer(id) => {
                let waker = self.shared.lock().ring(id);
                waker.into_iter().for_each(Waker::wake);
            }
            Due::Apply(id) => self.shared.lock().apply(id),
            Due::Answer(id) => {
                let waker = self.shared.lock().answer(id);
                waker.into_iter().for_each(Waker::wake);
            }
            Due::Send(delivery) => self.send(delivery),
            Due::Arrive(request) => self.arrive(request),
            Due::GiveUp(request) => self.give_up(request),
            Due::Poll => self.poll_queue(false),
            Due::PollOrdered => self.poll_queue(true),
            Due::Sweep => self.sweep(),
            Due::Stream => self.read_stream(),
            Due::Limit(task) | Due::Kill(task) => self.kill(task, due),
            Due::Thaw(task) => self.thaw(task),
            Due::Rotate => self.rotate(),
            Due::Rekey => self.rekey(),
            Due::Mend => self.mend(),
            Due::Release => self.release(),
            Due::Operate => self.operate(),
        }
        self.freeze();
    }

    // Invocations.

    fn invoke(
        &mut self,
        function: Function,
        job: Job,
        payload: impl FnOnce(Release) -> String,
        trace: Option<String>,
    ) -> u64 {
        let instance = self.instance(function);
        let Some(Instance { handler, release, clock, .. }) =
            self.instances.get_mut(instance).map(|instance| {
                instance.is_busy = true;
                &*instance
            })
        else {
            return 0;
        };
        let (handler, release, clock) = (handler.clone(), *release, clock.clone());
        let payload = payload(release);
        let state = &mut *self.shared.lock();
        let id = state.number();
        let jump = state.climate.jump;
        if state.strikes(jump) {
            let by_ms = state.dice.i64(-JUMP_MS_MAX..JUMP_MS_MAX);
            clock.0.store(by_ms, Ordering::Relaxed);
            state.inject("clock jumps", function);
            if let Some(instance) = self.instances.get_mut(instance) {
                instance.has_jumped = true;
            }
        }
        state.note(|_| format!("> #{id} {function} {}", describe(&job, &payload)));
        let limit = if function == Function::Ingest { INGEST_LIMIT_MS } else { WORKER_LIMIT_MS };
        state.after(limit, Due::Limit(id));
        let future: Pin<Box<dyn Future<Output = Returned>>> = match handler {
            Handler::Ingest(ingest) => Box::pin(async move {
                let answer = ingest.handle(&payload, trace.as_deref()).await;
                let status = answer.ok().and_then(|answer| status_of(&serde_json::to_value(answer).ok()?));
                // What the gateway makes of a function that fails.
                Returned::Answer(status.unwrap_or(500))
            }),
            Handler::Worker(worker) => {
                Box::pin(async move { Returned::Value(worker.invoke(&payload).await.ok()) })
            }
        };
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { id, function, job, instance, release, flag, future });
        id
    }

    /// A copy of a function that is free, or another one.
    fn instance(&mut self, function: Function) -> usize {
        let is_ingest = function == Function::Ingest;
        let free = |instance: &Instance| {
            !instance.is_busy
                && !instance.is_gone
                && matches!(instance.handler, Handler::Ingest(_)) == is_ingest
        };
        // A person starts the program anew each time.
        let reused = function != Function::Operator && self.shared.lock().dice.u8(0..10) > 0;
        if reused && let Some(index) = self.instances.iter().position(free) {
            return index;
        }
        let wire = Wire::new(self.shared.clone());
        let clock = ClockOf(Arc::new(AtomicI64::new(0)));
        let release = {
            let state = &mut *self.shared.lock();
            let skew_ms = state.climate.skew_ms;
            if skew_ms > 0 {
                clock.0.store(state.dice.i64(-skew_ms / 2..=skew_ms / 2), Ordering::Relaxed);
            }
            match state.climate.releases {
                false => Release::This,
                true => {
                    state.dice.choice([Release::This, Release::Older, Release::Newer]).unwrap_or_default()
                }
            }
        };
        let ambient = wire.ambient(clock.clone());
        let config = self.parts.config.clone();
        let secrets = |clients: &Clients| {
            Arc::new(SecretStore::new(&SecretsFrom::Manager("hookgate".to_owned()), &clients.secrets_manager))
        };
        let queue = |clients: &Clients| {
            QueueClient::new(clients.sqs.clone(), QUEUE_URL).with_ordered(Some(ORDERED_QUEUE_URL.to_owned()))
        };
        let egress = self.parts.egress.clone().over(Arc::new(wire.clone()));
        let handler = if is_ingest {
            let clients = wire.clients(&self.parts.ingest);
            Handler::Ingest(Arc::new(Ingest {
                config,
                secrets: secrets(&clients),
                store: Store::new(clients.dynamodb.clone(), TABLE),
                queue: queue(&clients),
                keys: Arc::new(SenderKeys::over(Arc::new(wire.clone()))),
                connections: clients.connections,
                full: Default::default(),
                ambient,
            }))
        } else {
            let clients = wire.clients(&self.parts.worker);
            let secrets = secrets(&clients);
            let store = Store::new(clients.dynamodb.clone(), TABLE);
            Handler::Worker(Arc::new(Worker {
                config,
                queue: queue(&clients),
                secrets,
                performer: Performer {
                    aws: AwsCaller::local(egress.clone(), aws::endpoint),
                    egress,
                    store: store.clone(),
                    functions: functions(&wire),
                },
                store,
                destinations: Known::default(),
                ambient,
            }))
        };
        self.instances.push(Instance {
            handler,
            clock,
            release,
            is_busy: false,
            is_gone: false,
            has_jumped: false,
        });
        self.instances.len() - 1
    }

    /// Marks the invocations that stand still.
    fn freeze(&mut self) {
        let state = &mut *self.shared.lock();
        for task in state.frozen.drain(..) {
            self.frozen.insert(task);
        }
    }

    fn thaw(&mut self, id: u64) {
        self.frozen.remove(&id);
        if let Some(task) = self.tasks.iter().find(|task| task.id == id) {
            task.flag.0.store(true, Ordering::Relaxed);
            self.shared.lock().note(|_| format!("  #{id} goes on"));
        }
    }

    fn kill(&mut self, id: u64, why: Due) {
        let Some(index) = self.tasks.iter().position(|task| task.id == id) else { return };
        if matches!(why, Due::Limit(_)) && self.frozen.contains(&id) {
            let state = &mut *self.shared.lock();
            // The limit is not always kept for what stands still: then it goes on after its lease.
            if !state.is_drawn {
                return;
            }
            if state.dice.bool() {
                // But not for longer than its messages are kept from others.
                return state.after(OVERTIME_MS, Due::Kill(id));
            }
        }
        self.frozen.remove(&id);
        let task = self.tasks.swap_remove(index);
        {
            let mut state = self.shared.lock();
            let how = if matches!(why, Due::Limit(_)) { "is at its time limit" } else { "is killed" };
            state.note(|_| format!("x #{id} {} {how}", task.function));
            state.check.killed(id);
        }
        if let Some(instance) = self.instances.get_mut(task.instance) {
            instance.is_gone = true;
        }
        let Task { job, future, .. } = task;
        // Outside of the lock: what it waits for says so when it is dropped.
        drop(future);
        match job {
            Job::Request(request) => self.answer(request, 500, false),
            Job::Stream(records) => self.stream_again(records),
            Job::Sweep => self.swept(),
            Job::Batch(..) | Job::Operate => {}
        }
    }

    fn ended(&mut self, task: &Task, returned: Returned) {
        if let Some(instance) = self.instances.get_mut(task.instance) {
            instance.is_busy = false;
        }
        let id = task.id;
        {
            let mut state = self.shared.lock();
            state.cancel(|due| due == Due::Limit(id));
            state.note(|_| match &returned {
                Returned::Answer(status) => format!("< #{id} {} {status}", task.function),
                Returned::Value(value) => {
                    let value = value.as_ref().map_or_else(|| "failed".to_owned(), Value::to_string);
                    format!("< #{id} {} {value}", task.function)
                }
            });
        }
        match (&task.job, returned) {
            (Job::Request(request), Returned::Answer(status)) => {
                let has_jumped =
                    self.instances.get(task.instance).is_some_and(|instance| instance.has_jumped);
                self.answer(*request, status, has_jumped);
            }
            (Job::Batch(handles, is_ordered), Returned::Value(Some(value))) => {
                self.delete(handles, *is_ordered, &value);
            }
            (Job::Stream(records), Returned::Value(value)) => {
                let failed = value.is_none_or(|value| {
                    value
                        .get("batchItemFailures")
                        .and_then(Value::as_array)
                        .is_some_and(|all| !all.is_empty())
                });
                if failed {
                    self.stream_again(records.clone());
                }
            }
            (Job::Sweep, _) => self.swept(),
            _ => {}
        }
    }

    // Senders.

    fn send(&mut self, index: usize) {
        let Some(delivery) = self.deliveries.get_mut(index) else { return };
        if delivery.is_over {
            return;
        }
        delivery.tries += 1;
        let (waits_ms, id) = (delivery.manners.waits_ms, delivery.id.clone());
        self.requests.push(Request { delivery: index, is_answered: false, is_heard: false });
        let request = self.requests.len() - 1;
        let state = &mut *self.shared.lock();
        state.note(|_| format!("- {id} is sent ({})", delivery.manners.name));
        state.after(waits_ms, Due::GiveUp(request));
        let unheard = state.climate.unheard;
        if state.strikes(unheard) {
            return state.inject("request lost", "sender");
        }
        let wait = state.dice.i64(1..40);
        state.after(wait, Due::Arrive(request));
    }

    fn arrive(&mut self, request: usize) {
        let Some(delivery) = self.requests.get(request).and_then(|r| self.deliveries.get(r.delivery)) else {
            return;
        };
        let payload = {
            let state = &mut *self.shared.lock();
            if delivery.source == ORDERED.0 && !delivery.is_forged {
                state.check.arrived(&delivery.id, state.now_ms);
            }
            let secret = if delivery.is_forged { "guessed" } else { state.vault.signing(delivery.source) };
            let number = u64::try_from(request).unwrap_or_default();
            delivery.call(secret, &state.keyring, state.now_ms, number)
        };
        // It makes its way to workers with the message, and has no say in anything.
        let trace = format!("Root=1-5759e988-{request:024x};Sampled=1");
        self.invoke(Function::Ingest, Job::Request(request), |_| payload, Some(trace));
    }

    /// The gateway has an answer for a sender, from a function whose clock may have jumped.
    fn answer(&mut self, index: usize, status: u16, has_jumped: bool) {
        let Some(request) = self.requests.get_mut(index) else { return };
        request.is_answered = true;
        let Some(delivery) = self.deliveries.get_mut(request.delivery) else { return };
        let state = &mut *self.shared.lock();
        if delivery.is_forged {
            // Whoever forges is told nothing.
            let is_kept =
                status == 202 && state.check.is_quarantined(delivery.source, &delivery.body, &state.table);
            if status < 400 && !is_kept {
                state.check.broken(format!("I4: a forged {} was answered with {status}", delivery.id));
            }
        } else {
            let now_ms = state.now_ms;
            state.check.answered(&delivery.id, status, now_ms, &state.table, [&state.queue, &state.ordered]);
            let seen = self.seen.entry(delivery.id.clone()).or_default();
            seen.stored = seen.stored.or_else(|| Some(stored(state, delivery)));
            if (400..500).contains(&status)
                && !is_rotating(state, delivery.source, has_jumped)
                && !state.check.has_no_room(delivery.source, &delivery.body)
            {
                state.check.broken(format!("the genuine {} was answered with {status}", delivery.id));
            }
        }
        let unheard = state.climate.unheard;
        if state.strikes(unheard) {
            return state.inject("answer lost", "sender");
        }
        if request.is_heard {
            return;
        }
        request.is_heard = true;
        delivery.answers.push(status);
        if (200..300).contains(&status) {
            delivery.is_over = true;
        } else {
            again(state, delivery, request.delivery);
        }
    }

    fn give_up(&mut self, index: usize) {
        let Some(request) = self.requests.get_mut(index) else { return };
        if request.is_heard {
            return;
        }
        request.is_heard = true;
        let Some(delivery) = self.deliveries.get_mut(request.delivery) else { return };
        delivery.answers.push(0);
        let mut state = self.shared.lock();
        again(&mut state, delivery, request.delivery);
    }

    fn rotate(&mut self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        let more = state.vault.rotate(self.rotation, now_ms);
        state.inject("secrets rotate", "Secrets Manager");
        self.rotation += 1;
        if more {
            // Some senders are switched over before the new secret can be known everywhere.
            let wait = match self.rotation {
                1 => state.dice.choice([0, 10_000, 400_000]).unwrap_or(0),
                _ => 3 * 24 * 3_600_000,
            };
            state.after(wait, Due::Rotate);
        }
    }

    fn rekey(&mut self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        let next = state.keyring.rotate(now_ms);
        state.inject("keys rotate", Service::Keys);
        if let Some(wait) = next {
            state.after(wait, Due::Rekey);
        }
    }

    // The queues' triggers.

    fn poll_queue(&mut self, is_ordered: bool) {
        let (records, handles, via, twice) = {
            let state = &mut *self.shared.lock();
            let now_ms = state.now_ms;
            let mut waiting = state.queue_of(is_ordered).visible(now_ms);
            if waiting.is_empty() {
                return come_back(state, is_ordered);
            }
            if let Some(until_ms) = state.climate.rests_until(Function::Worker, now_ms) {
                state.inject("not invoked", Function::Worker);
                state.cancel(|due| due == poll(is_ordered));
                // What is waiting comes then, and so does what is still delayed.
                let wait = state.dice.i64(5..60);
                return state.at(until_ms + wait, poll(is_ordered));
            }
            if !is_ordered {
                state.dice.shuffle(&mut waiting);
            }
            let most = state.dice.usize(1..=BATCH);
            if waiting.len() > most {
                state.after(10, poll(is_ordered));
            }
            waiting.truncate(most);
            let mut handles = Vec::new();
            let mut records = Vec::new();
            let mut via = BTreeMap::new();
            for (handle, message) in state.queue_of(is_ordered).receive(&waiting, now_ms) {
                handles.push((handle, message.number));
                via.extend(
                    event_of(&message).map(|id| (id, Via { from: message.from, receives: message.receives })),
                );
                records.push(message);
            }
            come_back(state, is_ordered);
            let doubled = state.climate.doubled;
            // Of a FIFO queue, Lambda has one batch of a group in work at a time.
            let twice = !is_ordered && state.strikes(doubled);
            if twice {
                state.inject("invoked twice at once", Function::Worker);
            }
            (records, handles, via, twice)
        };
        for _ in 0..=u8::from(twice) {
            let payload = |release| {
                let records: Vec<Value> =
                    records.iter().map(|message| record(message, is_ordered, release)).collect();
                json!({ "Records": records }).to_string()
            };
            let id = self.invoke(Function::Worker, Job::Batch(handles.clone(), is_ordered), payload, None);
            self.via.insert(id, via.clone());
        }
    }

    fn delete(&mut self, handles: &[(u64, u64)], is_ordered: bool, answer: &Value) {
        let failures = answer.get("batchItemFailures").and_then(Value::as_array);
        let failed: Vec<&str> =
            failures.into_iter().flatten().filter_map(|f| f.get("itemIdentifier")?.as_str()).collect();
        let state = &mut *self.shared.lock();
        for (handle, number) in handles {
            let undeleted = state.climate.undeleted;
            if failed.contains(&number.to_string().as_str()) {
                continue;
            }
            if state.strikes(undeleted) {
                state.inject("message not deleted", "SQS");
                continue;
            }
            state.queue_of(is_ordered).delete(*handle);
        }
        if is_ordered {
            // The next of the group.
            let now_ms = state.now_ms;
            state.look_at_ordered(now_ms);
        }
    }

    // The schedule.

    /// Has the schedule invoke the sweeper when that would find something. In truth it does so every minute; a sweep
    /// that finds nothing changes nothing, and days have many minutes.
    fn plan_sweep(&mut self) {
        let state = &mut *self.shared.lock();
        if self.sweep_planned {
            return;
        }
        // Sweeps that come to nothing have an end in a history, but what is due later is waited for, and is not yet due to
        // a sweeper whose clock is behind.
        let due_ms = match state.sweepable {
            true => sweep_due(state),
            false => outbox_due(state).filter(|due_ms| *due_ms > state.now_ms - OVERDUE_MS),
        };
        let Some(due_ms) = due_ms else {
            state.sweepable = false;
            return;
        };
        // While nothing comes of them, ever fewer: an invocation of the schedule may fail like any other.
        let every_ms = SWEEP_EVERY_MS << self.idle_sweeps.min(IDLE_DOUBLINGS_MAX);
        let earliest = due_ms.max(self.last_sweep_ms + every_ms).max(state.now_ms);
        let minute = (earliest + SWEEP_EVERY_MS - 1).div_euclid(SWEEP_EVERY_MS) * SWEEP_EVERY_MS;
        self.sweep_planned = true;
        state.sweepable = false;
        let wait = state.dice.i64(0..2_000);
        state.at(minute + wait, Due::Sweep);
    }

    fn sweep(&mut self) {
        let twice = {
            let state = &mut *self.shared.lock();
            let now_ms = state.now_ms;
            if let Some(until_ms) = state.climate.rests_until(Function::Sweeper, now_ms) {
                state.inject("not invoked", Function::Sweeper);
                return state.at(until_ms, Due::Sweep);
            }
            self.last_sweep_ms = now_ms;
            let doubled = state.climate.doubled;
            let twice = state.strikes(doubled);
            if twice {
                state.inject("invoked twice at once", Function::Sweeper);
            }
            twice
        };
        self.idle_sweeps += 1;
        for _ in 0..=u8::from(twice) {
            self.invoke(Function::Sweeper, Job::Sweep, |_| SWEEP.to_owned(), None);
        }
    }

    fn swept(&mut self) {
        self.sweep_planned = self.tasks.iter().any(|task| matches!(task.job, Job::Sweep));
        let state = &mut *self.shared.lock();
        if state.sweepable {
            self.idle_sweeps = 0;
        }
        // What it found and could not do, it tries again; but not for ever.
        if state.now_ms < state.climate.until_ms || self.idle_sweeps < IDLE_SWEEPS_MAX {
            state.sweepable = true;
        }
    }

    // The stream's trigger.

    fn read_stream(&mut self) {
        let (records, twice) = {
            let state = &mut *self.shared.lock();
            let now_ms = state.now_ms;
            if let Some(until_ms) = state.climate.rests_until(Function::Stream, now_ms) {
                state.inject("not invoked", Function::Stream);
                return state.at(until_ms, Due::Stream);
            }
            let mut records = std::mem::take(&mut state.stream);
            records.retain(|(at_ms, _)| now_ms - at_ms < STREAM_KEEPS_MS);
            let doubled = state.climate.doubled;
            (records, state.strikes(doubled))
        };
        if records.is_empty() {
            return;
        }
        for _ in 0..=u8::from(twice) {
            self.look_at_stream(records.clone());
        }
    }

    fn look_at_stream(&mut self, records: Vec<(i64, String)>) {
        let written = records.iter().enumerate().map(|(number, (_, pk))| {
            json!({
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "dynamodb": { "SequenceNumber": number.to_string(), "Keys": { PK: { "S": pk }, SK: { "S": EVENT_SK } } },
            })
        });
        let payload = json!({ "Records": written.collect::<Vec<_>>() }).to_string();
        self.invoke(Function::Stream, Job::Stream(records), |_| payload, None);
    }

    /// The same records once more.
    fn stream_again(&mut self, records: Vec<(i64, String)>) {
        let state = &mut *self.shared.lock();
        let is_planned = state.agenda().any(|(_, due)| due == Due::Stream);
        state.stream.splice(0..0, records);
        if !is_planned {
            self.stream_failures += 1;
            let wait = state.dice.i64(1_000..30_000) << self.stream_failures.min(6);
            state.after(wait, Due::Stream);
        }
    }

    // A person.

    /// Has an event run again, in the middle of everything.
    fn operate(&mut self) {
        let keys: Vec<(String, Status)> = {
            let state = self.shared.lock();
            let items = state.table.under("L#");
            items.filter_map(|(_, sk, item)| Some((sk.to_owned(), check::status(item)?))).collect()
        };
        let Some((sk, status)) = keys.into_iter().find(|(_, status)| status.is_final()) else { return };
        let Some(key) = hookgate_aws::schema::StatusKey::parse(&sk) else { return };
        let (again, job) = {
            let state = &mut *self.shared.lock();
            state.check.run_again(key.id.as_str());
            state.inject("replayed by a person", status.word());
            (state.dice.bool(), format!("job-{}", state.number()))
        };
        self.as_operator(move |worker, now| {
            Box::pin(async move {
                let ask = hookgate_aws::replay::Ask { by: "a person", job: &job, again };
                let asked = hookgate_aws::replay::replay(&worker.store, &worker.queue, &key, ask, now).await;
                Returned::Value(asked.is_ok().then_some(Value::Null))
            })
        });
    }

    fn mend(&self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        state.vault.mend(now_ms);
        state.check.quarantine.is_locked = false;
        state.note(|_| "= the secret is mended");
        // Now and then two persons at once.
        let often = if state.is_drawn { state.dice.u8(1..4) } else { 1 };
        for _ in 0..often {
            let wait =
                if state.is_drawn { state.dice.choice([0, 60_000, 3_600_000]).unwrap_or(0) } else { 60_000 };
            state.after(wait, Due::Release);
        }
    }

    /// Has everything in quarantine verified again, and lets in what is genuine.
    fn release(&mut self) {
        let has_any = self.shared.lock().table.under(QUARANTINE).any(|(_, sk, _)| !sk.starts_with("N#"));
        if !has_any {
            return;
        }
        let task = self.as_operator(move |worker, now| {
            Box::pin(async move { Returned::Value(let_in(&worker, now).await.map(|()| Value::Null)) })
        });
        let state = &mut *self.shared.lock();
        if let Some(task) = task
            && state.is_rough()
            && state.dice.bool()
        {
            state.inject("killed at any moment", Function::Operator);
            let wait = state.dice.i64(0..120);
            state.after(wait, Due::Kill(task));
        }
    }

    fn enable_destinations(&mut self) {
        let disabled: Vec<Name> = {
            let state = self.shared.lock();
            let items = state.table.under("X");
            let disabled =
                items.filter(|(_, _, item)| crate::table::text(item, "status") == Some("disabled"));
            disabled.filter_map(|(_, sk, _)| Name::parse(sk)).collect()
        };
        for name in disabled {
            self.as_operator(move |worker, now| {
                Box::pin(async move {
                    let done = worker.store.destination_switch(&name, true, "", now).await;
                    Returned::Value(done.is_ok().then_some(Value::Null))
                })
            });
        }
    }

    fn as_operator(
        &mut self,
        what: impl FnOnce(Arc<Worker>, EpochMillis) -> Pin<Box<dyn Future<Output = Returned>>>,
    ) -> Option<u64> {
        let instance = self.instance(Function::Operator);
        let Some(Instance { handler: Handler::Worker(worker), .. }) = self.instances.get(instance) else {
            return None;
        };
        let (id, now_ms) = {
            let state = &mut *self.shared.lock();
            (state.number(), state.now_ms)
        };
        let future = what(worker.clone(), EpochMillis::from_millis(now_ms));
        self.shared.lock().note(|_| format!("> #{id} operator"));
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task {
            id,
            function: Function::Operator,
            job: Job::Operate,
            instance,
            release: Release::This,
            flag,
            future,
        });
        Some(id)
    }

    // The end.

    /// Whatever was sent is sent once more, and must change nothing.
    fn repeat_everything(&mut self) {
        let before = {
            let state = &mut *self.shared.lock();
            let is_wanted = state.check.violations().is_empty() && state.dice.u8(0..8) == 0;
            if !is_wanted || !state.is_drawn {
                return;
            }
            state.note(|_| "= everything is sent once more");
            let texts: Vec<String> = state.messages.iter().cloned().collect();
            let now_ms = state.now_ms;
            for body in texts {
                let message = Message {
                    number: 0,
                    body,
                    sent_ms: now_ms,
                    visible_ms: now_ms,
                    receives: 0,
                    group: None,
                    trace: None,
                    from: Function::Operator,
                };
                state.queue.send(message);
            }
            state.look_at_queue(now_ms);
            for (index, delivery) in self.deliveries.iter_mut().enumerate() {
                if !delivery.is_forged
                    && state.check.genuine.get(&delivery.id).is_some_and(|known| known.accepted)
                {
                    delivery.is_over = false;
                    state.after(0, Due::Send(index));
                }
            }
            let events: Vec<String> = state.table.under("E#").map(|(pk, ..)| pk.to_owned()).collect();
            state.stream.extend(events.into_iter().map(|pk| (now_ms, pk)));
            state.after(STREAM_WINDOW_MS, Due::Stream);
            state.after(SWEEP_EVERY_MS, Due::Sweep);
            self.sweep_planned = true;
            (state.check.effects(), statuses(state))
        };
        self.settle();
        let state = &mut *self.shared.lock();
        if (state.check.effects(), statuses(state)) != before {
            state.check.broken("what was sent once more has changed something");
        }
    }

    fn outcome(mut self) -> Outcome {
        let state = &mut *self.shared.lock();
        let mut outcome = Outcome {
            violations: state.check.violations().to_vec(),
            injected: std::mem::take(&mut state.injected),
            steps: self.steps,
            calls: std::mem::take(&mut state.calls_at),
            trace: state.trace(),
            ..Outcome::default()
        };
        for delivery in &self.deliveries {
            for answer in &delivery.answers {
                *outcome.answers.entry(*answer).or_default() += 1;
            }
            let seen = self.seen.entry(delivery.id.clone()).or_default();
            if !delivery.is_forged {
                seen.answers = delivery.answers.clone();
            }
        }
        for (_, sk, item) in state.table.under("L#") {
            let (Some(id), Some(status)) = (sk.splitn(3, '#').nth(2), check::status(item)) else { continue };
            *outcome.ends.entry(status.word()).or_default() += 1;
            let seen = self.seen.entry(id.to_owned()).or_default();
            seen.end = Some(status);
            seen.effects =
                state.check.effects_of(id).into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
            if let Some((at_ms, by)) = state.check.ended.get(id) {
                if at_ms - self.fair_ms > HEALED_MS_MAX {
                    let hours = (at_ms - self.fair_ms) / 3_600_000;
                    outcome.violations.push(format!("{id} took {hours} hours after everything worked again"));
                }
                seen.took_ms = at_ms - START_MS;
                seen.by = self.via.get(by).and_then(|via| via.get(id).copied());
                outcome.healed_ms = outcome.healed_ms.max(at_ms - self.fair_ms);
            }
        }
        outcome.seen = std::mem::take(&mut self.seen);
        outcome
    }
}

/// Name of the table, and address of the queue.
const TABLE: &str = "hookgate";
const QUEUE_URL: &str = "http://sqs.simulation/000000000000/hookgate";
const ORDERED_QUEUE_URL: &str = "http://sqs.simulation/000000000000/hookgate.fifo";

/// Differences of clocks that leases bear: a lease is thirty seconds longer than a function may run.
const SKEW_MS_SAFE: i64 = 30_000;

/// The longest that an event may take when everything works again: the ten tries of the default schedule with all their
/// jitter (90 hours), and one wait that a destination has asked for.
const HEALED_MS_MAX: i64 = 5 * 24 * 3_600_000;

/// For how long after a change of the secrets a genuine request may be refused: until they may be read again.
const ROTATING_MS: i64 = 6 * 60_000;

/// The furthest that a clock jumps. One that jumps back to when the secrets were read makes that reading look fresh, and
/// nothing that a function can see tells it otherwise.
const JUMP_MS_MAX: i64 = 600_000;

/// What is to happen when one of the queues is looked at.
const fn poll(is_ordered: bool) -> Due {
    if is_ordered { Due::PollOrdered } else { Due::Poll }
}

/// Has a queue looked at again when the next message can be received.
fn come_back(state: &mut State, is_ordered: bool) {
    let now_ms = state.now_ms;
    let Some(at_ms) = state.queue_of(is_ordered).next_visible(now_ms) else { return };
    if !state
        .agenda()
        .take_while(|(due_ms, _)| *due_ms <= at_ms + 60)
        .any(|(due_ms, due)| due == poll(is_ordered) && due_ms > at_ms)
    {
        let wait = state.dice.i64(5..60);
        state.at(at_ms + wait, poll(is_ordered));
    }
}

fn is_rotating(state: &State, source: &str, has_jumped: bool) -> bool {
    let jumps_ms = if has_jumped { 2 * JUMP_MS_MAX } else { 0 };
    let changed_ms = if source == PUBLISHED.0 { state.keyring.changed_ms } else { state.vault.changed_ms };
    state.now_ms - changed_ms < ROTATING_MS + jumps_ms
}

fn again(state: &mut State, delivery: &Delivery, index: usize) {
    if delivery.is_over || delivery.is_forged {
        return;
    }
    if let Some(wait_ms) = delivery.manners.again_ms.get(delivery.tries.saturating_sub(1)) {
        state.after(*wait_ms, Due::Send(index));
    }
}

fn stored(state: &State, delivery: &Delivery) -> Stored {
    let of_it = |body: &str| body.contains(&format!("\"{}\"", delivery.id));
    Stored {
        in_table: state.table.get(&format!("E#{}#{}", delivery.source, delivery.id), EVENT_SK).is_some(),
        in_queue: [&state.queue, &state.ordered]
            .into_iter()
            .flat_map(Queue::all)
            .any(|(_, message)| of_it(&message.body)),
        in_quarantine: state.check.is_quarantined(delivery.source, &delivery.body, &state.table),
        in_outbox: state.table.under("D#").any(|(_, sk, _)| sk.ends_with(&format!("#{}", delivery.id))),
    }
}

/// What the keys of the quarantine begin with.
const QUARANTINE: &str = "Q#";

/// Most deliveries that a person looks through.
const LOOK_MAX: usize = 10_000;

/// What `hookgate quarantine release --all` does.
async fn let_in(worker: &Worker, now: EpochMillis) -> Option<()> {
    let secrets = worker.secrets.current(now).await.ok()?;
    let source = worker.config.sources.get(&Name::parse(QUARANTINED.0)?)?;
    for delivery in worker.store.quarantined(&source.name, LOOK_MAX).await.ok()? {
        let (request, at) = (&delivery.request, delivery.request.received_at);
        let Admission::Event(event) =
            admit(source, Mode::Enforce, &secrets, &Fetched::default(), request, at)
        else {
            continue;
        };
        release(&worker.store, &worker.queue, source, &event, &delivery).await.ok()?;
    }
    Some(())
}

/// Every event's status and what was tried for it.
fn statuses(state: &State) -> Vec<(String, Option<Status>, usize)> {
    let items = state.table.under("L#");
    items
        .map(|(_, sk, item)| {
            (sk.to_owned(), check::status(item), attempts(item).map_or(0, |attempts| attempts.0.len()))
        })
        .collect()
}

/// When a sweep would find something in the outbox; `None` while there is nothing.
fn outbox_due(state: &State) -> Option<i64> {
    state.table.under("D#").filter_map(|(_, sk, _)| sk.split('#').next()?.parse::<i64>().ok()).min()
}

/// When a sweep would find something; `None` while there is nothing.
fn sweep_due(state: &State) -> Option<i64> {
    let outbox = outbox_due(state);
    let mut parked = None;
    let names: BTreeSet<&str> = state.table.under("W#").filter_map(|(pk, ..)| pk.split('#').nth(1)).collect();
    for name in names {
        let item = state.table.get("X", name);
        let at_ms = match item.and_then(|item| crate::table::text(item, "status")) {
            Some("disabled") => None,
            Some("paused") => item.and_then(|item| number(item, "probe_at")),
            _ => Some(state.now_ms),
        };
        parked = parked.into_iter().chain(at_ms).min();
    }
    outbox.into_iter().chain(parked).min()
}

fn event_of(message: &Message) -> Option<String> {
    let body: Value = serde_json::from_str(&message.body).ok()?;
    Some(body.get("id")?.as_str()?.to_owned())
}

/// A message as Lambda hands it over. A worker of an older release does not see every field of it.
fn record(message: &Message, is_ordered: bool, release: Release) -> Value {
    let mut body = message.body.clone();
    if release == Release::Older
        && let Ok(Value::Object(mut fields)) = serde_json::from_str(&body)
        && fields.remove("reserved").is_some()
    {
        body = Value::Object(fields).to_string();
    }
    let mut record = json!({
        "messageId": message.number.to_string(),
        "receiptHandle": message.number.to_string(),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": message.receives.to_string(),
            "SentTimestamp": message.sent_ms.to_string(),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": match is_ordered {
            false => "arn:aws:sqs:us-east-1:000000000000:hookgate",
            true => "arn:aws:sqs:us-east-1:000000000000:hookgate.fifo",
        },
        "awsRegion": "us-east-1",
    });
    if let (Some(group), Some(attributes)) =
        (&message.group, record.get_mut("attributes").and_then(Value::as_object_mut))
    {
        attributes.insert("MessageGroupId".to_owned(), json!(group));
    }
    if let (Some(header), Some(attributes)) =
        (&message.trace, record.get_mut("attributes").and_then(Value::as_object_mut))
    {
        attributes.insert(hookgate_aws::trace::ATTRIBUTE.to_owned(), json!(header));
    }
    record
}

fn status_of(answer: &Value) -> Option<u16> {
    answer.get("statusCode")?.as_u64()?.try_into().ok()
}

fn describe(job: &Job, payload: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::{Broken, Fault},
        senders::MANNERS,
        site::Service,
    };

    #[test]
    fn a_full_quarantine_does_not_refuse_for_good_while_the_secrets_cannot_be_read() {
        const MINUTE: i64 = 60_000;
        let [_, _, days, ..] = MANNERS;
        let (source, kind) = QUARANTINED;
        let outage = Window {
            what: Broken::Service(Service::Secrets, Fault::Refused),
            from_ms: START_MS + MINUTE,
            until_ms: START_MS + 60 * MINUTE,
        };
        let outcome = run(&Script {
            shots: Some(Vec::new()),
            windows: vec![outage],
            deliveries: Some(vec![Delivery::new(source, kind, "e0", days, 0, &mut Rng::with_seed(1))]),
            quarantined: PER_DAY_MAX,
            ..Script::seed(1)
        });
        // Refused while the secret was wrong; asked to come again once it may be right.
        let answers = outcome.seen.get("e0").map(|seen| seen.answers.clone());
        assert_eq!(answers, Some(vec![401, 503, 503, 200]), "{:?}", outcome.violations);
        assert_eq!(outcome.violations, Vec::<String>::new());
    }
}
