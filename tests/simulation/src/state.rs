//! Everything that is not hookgate: time, the services behind the calls, the faults in between, and what is written down
//! of it all. One lock holds it, as everything runs in one thread.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    aws::{self, Executions},
    check::Checker,
    destinations::Destinations,
    engines,
    faults::{Blow, Climate, Fault, Mishap, Shot},
    keyring::Keyring,
    queue::{self, Message, Queue},
    site::{Function, Service, Site, about, is_ordered},
    table::{self, Refusal, Table},
    vault::Vault,
};

/// When every history begins: 2026-05-28T20:26:40Z.
pub const START_MS: i64 = 1_780_000_000_000;

/// How long a call that goes well takes at most, there and back, in milliseconds.
const TRIP_MS_MAX: i64 = 12;

/// How late a request may be carried out that nobody waits for any more: AWS refuses one whose signature is older than
/// five minutes.
const LATE_MS_MAX: i64 = 5 * 60_000;

/// What is to happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A sleep ends.
    Timer(u64),
    /// A call is carried out.
    Apply(u64),
    /// Its answer arrives.
    Answer(u64),
    /// A sender sends a delivery.
    Send(usize),
    /// A request reaches the gateway.
    Arrive(usize),
    /// A sender has waited for long enough.
    GiveUp(usize),
    /// The queue is looked at.
    Poll,
    /// The FIFO queue is looked at.
    PollOrdered,
    /// The schedule invokes the sweeper.
    Sweep,
    /// The stream is read.
    Stream,
    /// An invocation is at its time limit.
    Limit(u64),
    /// One is killed.
    Kill(u64),
    /// One that stands still goes on.
    Thaw(u64),
    /// The next step of a rotation of secrets.
    Rotate,
    /// The same of the keys that a sender publishes.
    Rekey,
    /// A person enters the right secret.
    Mend,
    /// A person lets in what is genuine of what is in quarantine.
    Release,
    /// A person does something.
    Operate,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer.
    Answer { status: u16, body: String, headers: Vec<(&'static str, String)> },
    /// No connection was made.
    Refused,
    /// It broke.
    Broken,
}

impl Reply {
    pub(crate) fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, body: body.into(), headers: Vec::new() }
    }

    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Self::Answer { status: 200..300, .. })
    }

    /// The same with another header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Call {
    site: Site,
    service: Service,
    request: Value,
    /// The invocation that makes it.
    by: Running,
    /// How often it is still to be carried out, and what is answered then.
    fault: Option<Fault>,
    reply: Option<Reply>,
    arrived: bool,
    waker: Option<Waker>,
    /// Whoever made it has gone.
    left: bool,
    /// Its answer is not going to come.
    silent: bool,
}

/// What went wrong, for the summary and the trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injected {
    /// What.
    pub what: String,
    /// Where.
    pub at: String,
}

/// Which invocation of which function is being polled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) task: u64,
    pub(crate) function: Function,
    pub(crate) release: Release,
}

/// Which release a function is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Release {
    /// This one.
    #[default]
    This,
    /// One before it, which does not know every field.
    Older,
    /// One after it, which writes fields that this one does not know.
    Newer,
}

/// The world, as its parts share it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The world.
pub(crate) struct State {
    pub(crate) now_ms: i64,
    pub(crate) dice: Rng,
    agenda: BTreeMap<(i64, u64), Due>,
    numbered: u64,
    timers: BTreeMap<u64, (i64, Option<Waker>)>,
    calls: BTreeMap<u64, Call>,
    pub(crate) table: Table,
    pub(crate) queue: Queue,
    /// The FIFO queue.
    pub(crate) ordered: Queue,
    pub(crate) vault: Vault,
    pub(crate) keyring: Keyring,
    executions: Executions,
    pub(crate) destinations: Destinations,
    pub(crate) climate: Climate,
    pub(crate) shots: Vec<Shot>,
    /// Whether chance has a say in what happens at all.
    pub(crate) is_drawn: bool,
    /// How many calls there were at each place.
    pub(crate) calls_at: BTreeMap<Site, u32>,
    /// Since when a shot that lasts does.
    lasting: BTreeMap<usize, i64>,
    /// How many faults of chance may still come: an end to all of them is what the invariants are about.
    pub(crate) budget: u32,
    pub(crate) injected: BTreeMap<Injected, u64>,
    pub(crate) running: Running,
    pub(crate) check: Checker,
    /// Texts that were ever sent to the queue.
    pub(crate) messages: BTreeSet<String>,
    /// Events whose insertion the stream has not shown yet, with when it was.
    pub(crate) stream: Vec<(i64, String)>,
    /// Whether the outbox, the destinations or what is parked has changed.
    pub(crate) sweepable: bool,
    /// Invocations that are to stand still from now on.
    pub(crate) frozen: Vec<u64>,
    trace: Option<Vec<String>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(dice: Rng, climate: Climate, shots: Option<Vec<Shot>>, is_traced: bool) -> Self {
        Self {
            now_ms: START_MS,
            dice,
            agenda: BTreeMap::new(),
            numbered: 0,
            timers: BTreeMap::new(),
            calls: BTreeMap::new(),
            table: Table::default(),
            queue: Queue::default(),
            ordered: Queue::fifo(),
            vault: Vault::default(),
            keyring: Keyring::default(),
            executions: Executions::new(),
            destinations: Destinations::default(),
            climate,
            is_drawn: shots.is_none(),
            shots: shots.unwrap_or_default(),
            calls_at: BTreeMap::new(),
            lasting: BTreeMap::new(),
            budget: 24,
            injected: BTreeMap::new(),
            running: Running { task: 0, function: Function::Operator, release: Release::This },
            check: Checker::default(),
            messages: BTreeSet::new(),
            stream: Vec::new(),
            sweepable: false,
            frozen: Vec::new(),
            trace: is_traced.then(Vec::new),
        }
    }

    /// Has the embedded engines carry out what the models do, from the beginning of a history.
    pub(crate) fn over_engines(&mut self) -> anyhow::Result<()> {
        let clock = engines::clock();
        let [queue, ordered] = queue::Engine::open(&clock)?;
        (self.queue, self.ordered) = (Queue::default().over(queue), Queue::fifo().over(ordered));
        self.table = Table::over(table::Engine::open(clock)?);
        Ok(())
    }

    /// Holds all that the engines have against the models.
    pub(crate) fn compare_engines(&mut self) {
        let now_ms = self.now_ms;
        self.table.compare();
        self.queue.compare(now_ms);
        self.ordered.compare(now_ms);
        self.note_differences();
    }

    /// Where an engine has differed from its model, an invariant does not hold.
    pub(crate) fn note_differences(&mut self) {
        let differences = [self.table.differences(), self.queue.differences(), self.ordered.differences()];
        differences.into_iter().flatten().for_each(|what| self.check.broken(what));
    }

    /// Writes a line of the trace. What it says is only put together if somebody reads it.
    pub(crate) fn note<D: Display>(&mut self, line: impl FnOnce(&Self) -> D) {
        if self.trace.is_none() {
            return;
        }
        let text = line(self).to_string();
        let ms = self.now_ms - START_MS;
        let line = format!("{:>10}.{:03} {text}", ms.div_euclid(1_000), ms.rem_euclid(1_000));
        self.trace.iter_mut().for_each(|trace| trace.push(line.clone()));
    }

    pub(crate) fn trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    // Time.

    pub(crate) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    pub(crate) fn at(&mut self, at_ms: i64, due: Due) {
        let number = self.number();
        self.agenda.insert((at_ms.max(self.now_ms), number), due);
    }

    pub(crate) fn after(&mut self, wait_ms: i64, due: Due) {
        self.at(self.now_ms + wait_ms.max(0), due);
    }

    /// Moves on to what happens next.
    pub(crate) fn next(&mut self) -> Option<Due> {
        let ((at_ms, _), due) = self.agenda.pop_first()?;
        self.now_ms = self.now_ms.max(at_ms);
        Some(due)
    }

    /// What is still to happen, without the passing of time for its own sake.
    pub(crate) fn agenda(&self) -> impl Iterator<Item = (i64, Due)> {
        self.agenda.iter().map(|((at_ms, _), due)| (*at_ms, *due))
    }

    /// Forgets what was to happen and is not any more.
    pub(crate) fn cancel(&mut self, what: impl Fn(Due) -> bool) {
        self.agenda.retain(|_, due| !what(*due));
    }

    pub(crate) fn sleep(&mut self, wait_ms: i64) -> u64 {
        let id = self.number();
        let at_ms = self.now_ms + wait_ms;
        self.timers.insert(id, (at_ms, None));
        id
    }

    /// Whether a sleep is over; if not, who is woken then.
    pub(crate) fn is_over(&mut self, id: u64, waker: &Waker) -> bool {
        let now_ms = self.now_ms;
        let Some((at_ms, known)) = self.timers.get_mut(&id) else { return true };
        if *at_ms <= now_ms {
            return true;
        }
        let (at_ms, is_new) = (*at_ms, known.is_none());
        *known = Some(waker.clone());
        if is_new {
            self.agenda.insert((at_ms, id), Due::Timer(id));
        }
        false
    }

    pub(crate) fn forget_sleep(&mut self, id: u64) {
        if let Some((at_ms, _)) = self.timers.remove(&id) {
            self.agenda.remove(&(at_ms, id));
        }
    }

    pub(crate) fn ring(&mut self, id: u64) -> Option<Waker> {
        self.timers.get_mut(&id)?.1.take()
    }

    // Faults.

    /// Whether chance strikes.
    pub(crate) fn strikes(&mut self, often: f64) -> bool {
        often > 0.0 && self.is_rough() && self.dice.f64() < often
    }

    /// Whether anything goes wrong by chance at this time.
    pub(crate) fn is_rough(&self) -> bool {
        self.budget > 0 && self.now_ms < self.climate.until_ms
    }

    pub(crate) fn inject(&mut self, what: impl Display, at: impl Display) {
        self.budget = self.budget.saturating_sub(1);
        let injected = Injected { what: what.to_string(), at: at.to_string() };
        self.note(|_| format!("! {} at {}", injected.what, injected.at));
        *self.injected.entry(injected).or_default() += 1;
    }

    fn blow(&mut self, site: Site, number: u32) -> Option<Blow> {
        let now_ms = self.now_ms;
        for (index, shot) in self.shots.iter().enumerate() {
            if shot.site != site || number < shot.skip {
                continue;
            }
            if shot.lasts_ms == 0 {
                if number == shot.skip {
                    return Some(shot.blow);
                }
                continue;
            }
            let since = *self.lasting.entry(index).or_insert(now_ms);
            if now_ms - since < shot.lasts_ms {
                return Some(shot.blow);
            }
        }
        None
    }

    // Calls.

    /// Takes a call in. What becomes of it is decided here.
    pub(crate) fn call(&mut self, service: Service, operation: &'static str, request: Value) -> u64 {
        let Running { task, function, .. } = self.running;
        let site = Site { function, operation, about: about(service, operation, &request) };
        let count = self.calls_at.entry(site).or_default();
        let number = *count;
        *count += 1;
        let blow = self.blow(site, number);
        let fault = match blow {
            Some(Blow::Call(fault)) => Some(fault),
            Some(Blow::Function(_)) => None,
            None if function == Function::Operator => None,
            None => {
                let broken = self.climate.broken(service, self.now_ms);
                let chance = match broken {
                    None if self.is_rough() => self.climate.fault(&mut self.dice, service),
                    _ => None,
                };
                broken.or(chance)
            }
        };
        // A destination that answers 200 has taken what it was sent, whatever else it says.
        let fault = match fault {
            Some(Fault::Garbage) if service == Service::Destination => Some(Fault::GarbageAfter),
            fault => fault,
        };
        let id = self.number();
        self.note(|_| {
            let wrong = fault.map(|fault| format!(" ({fault})")).unwrap_or_default();
            format!("  #{task} {site}{wrong} {}", short(&request))
        });
        if let Some(fault) = fault {
            self.inject(fault, site);
            self.check.disturbed(task, site);
        }
        let there = self.dice.i64(1..TRIP_MS_MAX / 2);
        let back = self.dice.i64(1..TRIP_MS_MAX / 2);
        let mut silent = fault == Some(Fault::Timeout);
        match fault {
            Some(Fault::Timeout) => {}
            Some(Fault::Late) => {
                silent = true;
                // Just after the next try, or when everything is over.
                let late = match self.dice.bool() {
                    true => self.dice.i64(1_000..8_000),
                    false => self.dice.i64(8_000..LATE_MS_MAX),
                };
                self.after(late, Due::Apply(id));
            }
            Some(fault) if fault.applied() == 0 => self.after(there + back, Due::Answer(id)),
            Some(_) | None => self.after(there, Due::Apply(id)),
        }
        let call = Call {
            site,
            service,
            request,
            by: self.running,
            fault,
            reply: None,
            arrived: false,
            waker: None,
            left: false,
            silent,
        };
        self.calls.insert(id, call);
        self.mishap(blow, task, there, site, id);
        id
    }

    /// Whether the function that makes a call comes to harm meanwhile.
    fn mishap(&mut self, blow: Option<Blow>, task: u64, there_ms: i64, site: Site, call: u64) {
        let (kill, freeze) = (self.climate.kill, self.climate.freeze);
        let mishap = match blow {
            Some(Blow::Function(mishap)) => Some(mishap),
            Some(Blow::Call(_)) => None,
            None if site.function == Function::Operator => None,
            None if self.strikes(kill) => Some(match self.dice.bool() {
                true => Mishap::KilledBefore,
                false => Mishap::KilledAfter,
            }),
            None if self.strikes(freeze) => Some(Mishap::Frozen),
            None => None,
        };
        let Some(mishap) = mishap else { return };
        self.inject(mishap, site);
        match mishap {
            Mishap::KilledBefore => {
                self.cancel(|due| matches!(due, Due::Apply(id) | Due::Answer(id) if id == call));
                self.calls.retain(|id, _| *id != call);
                self.after(0, Due::Kill(task));
            }
            Mishap::KilledAfter => self.after(there_ms, Due::Kill(task)),
            Mishap::Frozen => {
                let lasts_ms = self.freeze_ms();
                self.check.freeze(task);
                self.frozen.push(task);
                self.after(lasts_ms, Due::Thaw(task));
            }
        }
    }

    fn freeze_ms(&mut self) -> i64 {
        if self.is_drawn { self.dice.i64(1_000..200_000) } else { 100_000 }
    }

    /// A call is carried out.
    pub(crate) fn apply(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let (site, service, request, by) = (call.site, call.service, call.request.clone(), call.by);
        let (fault, silent, left) = (call.fault, call.silent, call.left);
        let times = fault.map_or(1, Fault::applied);
        let mut reply = Reply::Broken;
        for _ in 0..times {
            reply = self.carry_out(id, site, service, &request, by);
        }
        self.note(|_| {
            let what = match &reply {
                Reply::Answer { status, body, .. } => format!("{status} {body:.60}"),
                other => format!("{other:?}"),
            };
            format!("    #{} {} {}: {what}", by.task, site.operation, site.about)
        });
        if fault.is_some() || left {
            self.check.disturbed(by.task, site);
        }
        let reply = match fault {
            Some(Fault::AnswerLost) => Reply::Broken,
            Some(Fault::ErrorAfter) => internal_error(service),
            // A destination that answers 200 has taken it.
            Some(Fault::GarbageAfter) if service != Service::Destination || reply.is_good() => garbage(),
            _ => reply,
        };
        if silent || left {
            self.calls.remove(&id);
            return;
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.reply = Some(reply);
        }
        let mut back = self.dice.i64(1..TRIP_MS_MAX / 2);
        if self.is_rough() {
            back += self.destinations.slowness(service, &mut self.dice);
        }
        self.after(back, Due::Answer(id));
    }

    fn carry_out(&mut self, id: u64, site: Site, service: Service, request: &Value, by: Running) -> Reply {
        match service {
            Service::Table => self.carry_out_on_table(site, request, by),
            Service::Queue => self.carry_out_on_queue(site, request, by),
            Service::Secrets => {
                let text = self.vault.text();
                ok(&json!({ "Name": "hookgate", "SecretString": text }))
            }
            Service::Keys => self.keyring.document(),
            Service::Destination => {
                let taken = match self.is_rough() {
                    true => self.destinations.moody(&mut self.dice),
                    false => self.destinations.fair(),
                };
                if taken.is_good() {
                    self.effect(id, request, by);
                }
                taken
            }
            Service::Aws(service) => {
                if self.is_rough()
                    && let Some(refused) = aws::moody(service, request, &mut self.dice)
                {
                    return refused;
                }
                let (reply, took_effect) = aws::take(service, id, request, &mut self.executions);
                if took_effect {
                    self.effect(id, request, by);
                }
                reply
            }
        }
    }

    /// An action has taken effect.
    fn effect(&mut self, id: u64, request: &Value, by: Running) {
        // Whoever sent it may have given it up by now.
        let is_late = self.calls.get(&id).is_none_or(|call| call.left || call.silent);
        self.check.effect(request, id, by.task, is_late);
    }

    fn carry_out_on_table(&mut self, site: Site, request: &Value, by: Running) -> Reply {
        let result = self.table.request(site.operation, request, self.now_ms);
        if by.release == Release::Newer {
            self.table.add_what_is_unknown(self.now_ms);
        }
        for change in self.table.changes() {
            match change.pk.as_bytes().first() {
                Some(b'E') if change.sk == "E" && change.before.is_none() => {
                    self.stream.push((self.now_ms, change.pk.clone()));
                    if self.stream.len() == 1 {
                        self.after(STREAM_WINDOW_MS, Due::Stream);
                    }
                }
                Some(b'D' | b'W' | b'X') => self.sweepable = true,
                _ => {}
            }
            let now_ms = self.now_ms;
            self.check.changed(&change, site, by.task, now_ms);
        }
        match result {
            Ok(answer) => ok(&answer),
            Err(Refusal::Error { code, more }) => {
                let mut body = json!({
                    "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
                    "message": "The conditional request failed",
                });
                if let Some(body) = body.as_object_mut() {
                    body.extend(more);
                }
                Reply::answer(400, body.to_string())
            }
            Err(Refusal::Unknown(unknown)) => {
                self.check.broken(format!("the model of DynamoDB does not know {}", unknown.0));
                internal_error(Service::Table)
            }
        }
    }

    fn carry_out_on_queue(&mut self, site: Site, request: &Value, by: Running) -> Reply {
        if site.operation != "SendMessage" {
            self.check.broken(format!("the model of SQS does not know {}", site.operation));
            return internal_error(Service::Queue);
        }
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        let mut body = text("MessageBody").unwrap_or_default().to_owned();
        self.check.sent(&body);
        if self.messages.len() < MESSAGES_KEPT {
            self.messages.insert(body.clone());
        }
        let mut request = Cow::Borrowed(request);
        if by.release == Release::Newer && body.ends_with('}') {
            body.insert_str(body.len() - 1, r#","later":{"is":"unknown"}"#);
            if let Some(text) = request.to_mut().get_mut("MessageBody") {
                *text = json!(body);
            }
        }
        let delay_ms = request.get("DelaySeconds").and_then(Value::as_i64).unwrap_or_default() * 1_000;
        let (delayed, copied) = (self.climate.delayed, self.climate.copied);
        let mut visible_ms = self.now_ms + delay_ms;
        let is_ordered = is_ordered(&request);
        if self.strikes(delayed) {
            visible_ms += self.dice.i64(1_000..20 * 60_000);
            self.inject("message delayed", Service::Queue);
        }
        let trace = request.pointer("/MessageSystemAttributes/AWSTraceHeader/StringValue");
        let message = Message {
            number: 0,
            body,
            sent_ms: self.now_ms,
            visible_ms,
            receives: 0,
            group: text("MessageGroupId").map(str::to_owned),
            trace: trace.and_then(Value::as_str).map(str::to_owned),
            from: site.function,
        };
        let (answer, handle) = self.queue_of(is_ordered).carry_out(&request, message);
        if is_ordered {
            if handle.is_none() {
                self.note(|_| "    dropped: the FIFO queue knows it");
            }
            self.look_at_ordered(visible_ms);
            return ok(&answer);
        }
        self.look_at_queue(visible_ms);
        if self.strikes(copied) {
            let later = visible_ms + self.dice.choice([0, 0, 3_000, 400_000]).unwrap_or(0);
            handle.and_then(|handle| self.queue.copy(handle, later));
            self.look_at_queue(later);
            self.inject("message delivered twice", Service::Queue);
        }
        ok(&answer)
    }

    /// The FIFO queue, or the other one.
    pub(crate) fn queue_of(&mut self, is_ordered: bool) -> &mut Queue {
        if is_ordered { &mut self.ordered } else { &mut self.queue }
    }

    /// Has the queue looked at when something can be received.
    pub(crate) fn look_at_queue(&mut self, at_ms: i64) {
        let wait = self.dice.i64(5..60);
        self.at(at_ms + wait, Due::Poll);
    }

    /// The same for the FIFO queue.
    pub(crate) fn look_at_ordered(&mut self, at_ms: i64) {
        let wait = self.dice.i64(5..60);
        self.at(at_ms + wait, Due::PollOrdered);
    }

    /// The answer of a call arrives. Returns who waits for it.
    pub(crate) fn answer(&mut self, id: u64) -> Option<Waker> {
        let call = self.calls.get_mut(&id)?;
        let service = call.service;
        if call.reply.is_none() {
            call.reply = Some(match call.fault {
                Some(Fault::Throttled) => throttled(service),
                Some(Fault::Denied) => denied(service),
                Some(Fault::Error) => internal_error(service),
                Some(Fault::Garbage) => garbage(),
                _ => Reply::Refused,
            });
        }
        call.arrived = true;
        call.waker.take()
    }

    /// What came of a call, if anything has yet.
    pub(crate) fn reply(&mut self, id: u64, waker: &Waker) -> Option<Reply> {
        let call = self.calls.get_mut(&id)?;
        if !call.arrived {
            call.waker = Some(waker.clone());
            return None;
        }
        let call = self.calls.remove(&id)?;
        if call.service.is_outward() {
            self.check.heard(id, call.service, &call.reply);
        }
        call.reply
    }

    /// Nobody waits for a call any more. If it is on its way it is carried out all the same.
    pub(crate) fn leave(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.left = true;
        let ends = call.reply.is_some() || call.fault.is_some_and(|fault| fault.applied() == 0);
        if ends {
            self.calls.remove(&id);
            self.agenda.retain(|_, due| *due != Due::Answer(id));
        }
    }
}

/// Texts of messages that are kept to be sent once more at the end.
const MESSAGES_KEPT: usize = 6;

/// How long the stream's records are gathered (`MaximumBatchingWindowInSeconds`).
pub(crate) const STREAM_WINDOW_MS: i64 = 60_000;

/// A request in the trace: its keys, not its values.
fn short(request: &Value) -> String {
    let pick = |path: &str| request.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let key = ["/Item", "/Key"]
        .iter()
        .map(|member| (pick(&format!("{member}/pk/S")), pick(&format!("{member}/sk/S"))));
    let (pk, sk) = key.max().unwrap_or_default();
    match (pk, pick("/MessageBody"), pick("/url")) {
        ("", "", "") => pick("/ExpressionAttributeValues/:pk/S").to_owned(),
        ("", "", url) => url.to_owned(),
        ("", body, _) => format!("{body:.60}"),
        _ => format!("{pk} {sk}"),
    }
}

fn ok(body: &Value) -> Reply {
    Reply::answer(200, body.to_string())
}

fn garbage() -> Reply {
    Reply::answer(200, "<html>it works!</html>")
}

fn error(status: u16, code: &str) -> Reply {
    Reply::answer(status, json!({ "__type": code, "message": "injected" }).to_string())
}

fn internal_error(service: Service) -> Reply {
    match service {
        Service::Table => error(500, "com.amazonaws.dynamodb.v20120810#InternalServerError"),
        Service::Queue => error(500, "com.amazonaws.sqs#InternalError"),
        Service::Secrets => error(500, "InternalServiceError"),
        Service::Aws(service) => aws::internal_error(service),
        Service::Keys | Service::Destination => Reply::answer(500, ""),
    }
}

fn throttled(service: Service) -> Reply {
    match service {
        Service::Table => {
            error(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException")
        }
        Service::Queue => error(403, "com.amazonaws.sqs#RequestThrottled"),
        Service::Secrets => error(400, "ThrottlingException"),
        Service::Aws(service) => aws::throttled(service),
        Service::Keys | Service::Destination => Reply::answer(429, "").with("retry-after", "30"),
    }
}

fn denied(service: Service) -> Reply {
    match service {
        Service::Table => error(400, "com.amazon.coral.service#AccessDeniedException"),
        Service::Queue => error(403, "com.amazonaws.sqs#AccessDenied"),
        Service::Secrets => error(400, "AccessDeniedException"),
        Service::Aws(service) => aws::denied(service),
        Service::Keys | Service::Destination => Reply::answer(403, ""),
    }
}
