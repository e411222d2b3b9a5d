//! One history: functions that are invoked, polled, frozen and killed, until nothing moves any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use fastrand::Rng;
use hookgate_aws::schema::{quarantine_count_sk, quarantine_pk};
use hookgate_core::{ids::Name, lifecycle::Status, quarantine::PER_DAY_MAX, time::EpochMillis};
use serde_json::json;

use self::{
    installation::{Parts, TABLE, parts},
    task::{Instance, Task},
};
use crate::{
    check::{self, attempts},
    destinations::Destinations,
    engines::Engines,
    faults::Climate,
    keyring::{Keyring, PUBLISHED},
    queue::Message,
    script::{Outcome, Script, Seen, Via},
    senders::Delivery,
    site::Function,
    state::{Due, Running, START_MS, STREAM_WINDOW_MS, Shared, State},
    vault::QUARANTINED,
};

mod installation;
mod invocations;
mod people;
mod sending;
mod task;
mod triggers;
/// How often the schedule invokes the sweeper, in milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;

/// Steps after which a history that does not come to rest is given up: a hundred times as many as one takes.
const STEPS_MAX: u64 = 400_000;

/// Differences of clocks that leases bear: a lease is thirty seconds longer than a function may run.
const SKEW_MS_SAFE: i64 = 30_000;

/// The longest that an event may take when everything works again: the ten tries of the default schedule with all their
/// jitter (90 hours), and one wait that a destination has asked for.
const HEALED_MS_MAX: i64 = 5 * 24 * 3_600_000;

/// The furthest that a clock jumps. One that jumps back to when the secrets were read makes that reading look fresh, and
/// nothing that a function can see tells it otherwise.
const JUMP_MS_MAX: i64 = 600_000;

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

/// Every event's status and what was tried for it.
fn statuses(state: &State) -> Vec<(String, Option<Status>, usize)> {
    let items = state.table.under("L#");
    items
        .map(|(_, sk, item)| {
            (sk.to_owned(), check::status(item), attempts(item).map_or(0, |attempts| attempts.0.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::{Broken, Fault, Window},
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
