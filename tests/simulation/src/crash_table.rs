//! The crash table: every call of every function fails in every way, one failure a history, and what was seen of it is
//! written down. `docs/crash-table.md` is this module's output, and a test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use hookgate_core::{aws::AwsService, lifecycle::Status};

use crate::{
    faults::{Blow, Broken, Fault, Mishap, Shot, Window},
    keyring::PUBLISHED,
    script::{Outcome, Script, Seen, Via},
    senders::{Delivery, MANNERS, Manners, ORDERED},
    site::{Function, Service, Site},
    state::START_MS,
    summary::Time,
    vault::QUARANTINED,
    world::run,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// For how long a failure lasts that does not end with one call: longer than every try that a function makes by itself.
const LASTING_MS: i64 = MINUTE;

/// Calls at one place at which a function is killed, the first of them.
const MOMENTS_MAX: u32 = 6;

/// What happens to an event when nothing else goes wrong, so that every call there is gets made.
struct Scene {
    name: &'static str,
    kind: (&'static str, &'static str),
    manners: Manners,
    /// Bytes beside those that every event has.
    filling: usize,
    /// What the destination answers at first.
    moods: &'static [u16],
    /// Failures that are there anyway.
    shots: Vec<Shot>,
    /// Whether failures are only played at places that no scene before it has.
    is_beside: bool,
}

const fn site(function: Function, operation: &'static str, about: &'static str) -> Site {
    Site { function, operation, about }
}

const SEND: Site = site(Function::Ingest, "SendMessage", "message");
const PUT: Site = site(Function::Ingest, "PutItem", "event");
const OUTBOX: Site = site(Function::Ingest, "PutItem", "outbox");

/// A failure that is there for as long as ingest may try.
fn anyway(site: Site) -> Shot {
    Shot { site, skip: 0, lasts_ms: 20_000, blow: Blow::Call(Fault::Denied) }
}

fn scenes() -> Vec<Scene> {
    let paid = ("shop", "order.paid");
    let [once, patient, ..] = MANNERS;
    let scene = |name, kind, manners, filling, moods, shots| Scene {
        name,
        kind,
        manners,
        filling,
        moods,
        shots,
        is_beside: false,
    };
    let beside = |name, kind| Scene { is_beside: true, ..scene(name, kind, patient, 0, &[][..], vec![]) };
    vec![
        scene("an event that goes well", paid, patient, 0, &[], vec![]),
        scene("its destination fails three times", paid, patient, 0, &[500, 500, 500], vec![]),
        scene(
            "its destination is paused, and its first probe fails",
            ("shop", "limited.paid"),
            patient,
            0,
            &[500, 200, 500, 500],
            vec![],
        ),
        scene("it could not be queued", paid, patient, 0, &[], vec![anyway(SEND)]),
        scene("it could not be stored", paid, patient, 0, &[], vec![anyway(PUT)]),
        scene(
            "it was stored and neither queued nor put into the outbox, and its sender never tries again",
            paid,
            once,
            0,
            &[],
            vec![anyway(SEND), anyway(OUTBOX)],
        ),
        scene("it is published as well", ("pay", "charge.succeeded"), patient, 0, &[], vec![]),
        scene("it has an order", ORDERED, patient, 0, &[500], vec![]),
        scene("it is too large for a message", paid, patient, 800_000, &[], vec![]),
        beside("its source has a wrong secret at first, and a quarantine", QUARANTINED),
        beside("its sender publishes its keys", PUBLISHED),
        beside("it becomes an e-mail, a notification and a message", ("shop", "invoice.sent")),
        beside("it starts functions and an execution", ("shop", "job.asked")),
    ]
}

impl Scene {
    fn play(&self, shots: &[Shot], windows: &[Window]) -> Outcome {
        let mut dice = Rng::with_seed(1);
        let (source, kind) = self.kind;
        let delivery = Delivery::new(source, kind, "e0", self.manners, self.filling, &mut dice);
        run(&Script {
            shots: Some(self.shots.iter().chain(shots).copied().collect()),
            windows: windows.to_vec(),
            deliveries: Some(vec![delivery]),
            moods: self.moods.to_vec(),
            ..Script::seed(1)
        })
    }
}

impl Scene {
    /// Plays it with each of the failures, on every processor; what came of them is in their order.
    fn play_all(&self, shots: &[Shot]) -> Vec<(Shot, Outcome)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = shots.len().div_ceil(threads).max(1);
        let play = |shot: &Shot| (*shot, self.play(&[*shot], &[]));
        std::thread::scope(|scope| {
            let parts: Vec<_> = shots
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(play).collect::<Vec<_>>()))
                .collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// How one failure at one place went, in the words of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    sender: BTreeSet<String>,
    stored: BTreeSet<&'static str>,
    healed: BTreeSet<&'static str>,
    end: BTreeSet<&'static str>,
    took: Took,
    effects: usize,
}

/// How much longer it took, rounded up to what a person would say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Took(i64);

impl Took {
    fn of(ms: i64) -> Self {
        const STEPS: [i64; 14] = [
            1_000,
            5_000,
            15_000,
            MINUTE,
            2 * MINUTE,
            3 * MINUTE,
            7 * MINUTE,
            15 * MINUTE,
            30 * MINUTE,
            HOUR,
            3 * HOUR,
            DAY,
            3 * DAY,
            14 * DAY,
        ];
        Self(STEPS.into_iter().find(|step| ms <= *step).unwrap_or(ms))
    }
}

impl Row {
    fn add(&mut self, base: &Seen, seen: &Seen, blow: Blow) {
        let answers = seen.answers.iter().map(|answer| match answer {
            0 => "nothing".to_owned(),
            status => status.to_string(),
        });
        self.sender.insert(answers.collect::<Vec<_>>().join(", then "));
        self.stored.insert(stored(seen));
        self.healed.insert(healer(base, seen, blow));
        self.end.insert(seen.end.map_or("not accepted", Status::word));
        self.took = self.took.max(Took::of(seen.took_ms - base.took_ms));
        self.effects = self.effects.max(seen.effects.values().copied().max().unwrap_or_default());
    }
}

fn stored(seen: &Seen) -> &'static str {
    let Some(stored) = seen.stored else { return "nothing" };
    match (stored.in_table, stored.in_queue, stored.in_outbox) {
        (true, _, true) => "event, outbox",
        (true, true, false) => "event, message",
        (true, false, false) => "event",
        (false, true, _) => "message with the event",
        (false, false, _) if stored.in_quarantine => "delivery in quarantine",
        (false, false, _) => "nothing",
    }
}

/// What has brought the event to its end.
fn healer(base: &Seen, seen: &Seen, blow: Blow) -> &'static str {
    if seen.end.is_none() {
        return "nobody: it was never accepted";
    }
    if seen.answers != base.answers {
        return "the sender, who sends it again";
    }
    let late = seen.took_ms - base.took_ms > 20_000;
    match seen.by {
        by if by == base.by && !late => match blow {
            Blow::Call(_) => "the next try of the call, or nothing to heal",
            Blow::Function(_) => "nothing to heal",
        },
        Some(Via { receives: 2.., .. }) => "the queue: the message comes back",
        Some(Via { from: Function::Sweeper, .. }) => "the sweeper: an outbox or parked record",
        Some(Via { from: Function::Stream, .. }) => "the stream: an event without a status",
        Some(Via { from: Function::Worker, .. }) => "the worker: a message for later",
        Some(Via { from: Function::Ingest | Function::Operator, .. }) | None => {
            "the next try of the call, or nothing to heal"
        }
    }
}

/// Every shot at the places of one outcome.
fn shots(calls: &BTreeMap<Site, u32>) -> Vec<Shot> {
    let mut shots = Vec::new();
    for (site, count) in calls.iter().filter(|(site, _)| site.function != Function::Operator) {
        for fault in Fault::ALL {
            for lasts_ms in [0, LASTING_MS] {
                shots.push(Shot { site: *site, skip: 0, lasts_ms, blow: Blow::Call(fault) });
            }
        }
        for mishap in [Mishap::KilledBefore, Mishap::KilledAfter, Mishap::Frozen] {
            for skip in 0..(*count).min(MOMENTS_MAX) {
                shots.push(Shot { site: *site, skip, lasts_ms: 0, blow: Blow::Function(mishap) });
            }
        }
    }
    shots
}

/// What goes wrong, as the table says it.
fn words(shot: &Shot) -> String {
    match shot.lasts_ms {
        0 => shot.blow.to_string(),
        _ => format!("{} for a minute", shot.blow),
    }
}

/// The table, and what has not held in making it.
#[derive(Clone, Debug)]
pub struct CrashTable {
    /// The page.
    pub text: String,
    /// Invariants that were broken.
    pub violations: Vec<String>,
    /// Histories that it is made from.
    pub histories: usize,
}

impl CrashTable {
    /// Plays every failure there is.
    pub fn make() -> Self {
        let mut rows: BTreeMap<Site, BTreeMap<String, Row>> = BTreeMap::new();
        let mut violations = Vec::new();
        let mut histories = 0;
        for scene in scenes() {
            let base = scene.play(&[], &[]);
            histories += 1;
            violations.extend(base.violations.iter().map(|what| format!("{}: {what}", scene.name)));
            let known = base.seen.get("e0").cloned().unwrap_or_default();
            let anyway: BTreeSet<Site> = scene.shots.iter().map(|shot| shot.site).collect();
            let mut shots = shots(&base.calls);
            let known_places: BTreeSet<Site> =
                if scene.is_beside { rows.keys().copied().collect() } else { anyway };
            shots.retain(|shot| !known_places.contains(&shot.site));
            for (shot, outcome) in scene.play_all(&shots) {
                histories += 1;
                let name = format!("{}: {} at {}", scene.name, words(&shot), shot.site);
                violations.extend(outcome.violations.iter().map(|what| format!("{name}: {what}")));
                let seen = outcome.seen.get("e0").cloned().unwrap_or_default();
                rows.entry(shot.site)
                    .or_default()
                    .entry(words(&shot))
                    .or_default()
                    .add(&known, &seen, shot.blow);
            }
        }
        let (outages, failed) = outages();
        histories += outages.len();
        violations.extend(failed);
        Self { text: page(&rows, &outages), violations, histories }
    }
}

/// Times in which something does not work at all, and what is seen of an event that comes in the middle.
fn outages() -> (Vec<(String, Row)>, Vec<String>) {
    let service = |service, fault| Broken::Service(service, fault);
    let long = [
        ("the table throttles", service(Service::Table, Fault::Throttled), 30 * MINUTE),
        ("the table can't be reached", service(Service::Table, Fault::Refused), 30 * MINUTE),
        ("the table does not answer", service(Service::Table, Fault::Timeout), 30 * MINUTE),
        ("the queue throttles", service(Service::Queue, Fault::Throttled), 30 * MINUTE),
        ("the queue can't be reached", service(Service::Queue, Fault::Refused), 30 * MINUTE),
        (
            "the secrets can't be reached, and were never read",
            service(Service::Secrets, Fault::Refused),
            30 * MINUTE,
        ),
        ("the destination can't be reached", service(Service::Destination, Fault::Refused), 30 * MINUTE),
        ("the destination does not answer", service(Service::Destination, Fault::Timeout), 6 * HOUR),
        (
            "EventBridge throttles",
            service(Service::Aws(AwsService::EventBridge), Fault::Throttled),
            30 * MINUTE,
        ),
        ("the worker is not invoked", Broken::Trigger(Function::Worker), HOUR),
        ("the worker is not invoked", Broken::Trigger(Function::Worker), 13 * DAY),
        ("the sweeper is not invoked", Broken::Trigger(Function::Sweeper), HOUR),
        ("the stream is not read", Broken::Trigger(Function::Stream), HOUR),
    ];
    let (mut rows, mut violations) = (Vec::new(), Vec::new());
    for (name, what, lasts_ms) in long {
        let [_, _, days, ..] = MANNERS;
        let scene = Scene {
            name,
            kind: match what {
                Broken::Service(Service::Aws(_), _) => ("pay", "charge.succeeded"),
                _ => ("shop", "order.paid"),
            },
            manners: days,
            filling: 0,
            moods: &[],
            shots: Vec::new(),
            is_beside: false,
        };
        let base = scene.play(&[], &[]).seen.get("e0").cloned().unwrap_or_default();
        let window = Window { what, from_ms: START_MS, until_ms: START_MS + lasts_ms };
        let outcome = scene.play(&[], &[window]);
        violations.extend(outcome.violations.iter().map(|what| format!("{name}: {what}")));
        let mut row = Row::default();
        row.add(&base, &outcome.seen.get("e0").cloned().unwrap_or_default(), Blow::Call(Fault::Refused));
        rows.push((format!("{name} for {}", Time(lasts_ms)), row));
    }
    (rows, violations)
}

const INTRODUCTION: &str = "\
# What happens when something fails

Every call that a function makes was made to fail in every way, at every place, one failure a history; and every function
was killed, and stopped for longer than its lease, at every call that it waits for. This is what was seen. Nobody has
written these tables: they are what the simulation (`tests/simulation`) observed of the real handlers, and a test plays
all of it again and fails if one word differs. To write them anew:

```sh
cargo run -p hookgate_simulation -- --table docs/crash-table.md
```

How to read them:

- **Failure.** *refused*: no connection. *no answer*: it hangs, and the SDK's time limit ends it. *throttled*, *500*,
  *denied*: so answered, and not carried out. *applied, …*: carried out, but whoever asked is told nothing, 500 or garbage.
  *applied late*: carried out up to five minutes after it was given up. *applied twice*: carried out two times in a row.
  A failure is of one request, of which the SDK makes up to three for a call; *for a minute* is longer than all of them.
- **Sender.** What it was answered, by a sender that tries again at once, after a minute and after five. *nothing*: its
  three seconds were over.
- **Kept.** What there was of the event when the sender was first answered.
- **Healed by.** What has brought the event to its end, where that is not what would have done so anyway.
- **Later by.** How much later than without the failure, at most.
- **Effect.** How often an action took effect at its destination, at most. More than once is where a destination had done
  its work and nobody could know: its answer was lost, or the worker ended before it had written that down. Counters and
  records in the table are exact in every case.

";

fn page(rows: &BTreeMap<Site, BTreeMap<String, Row>>, outages: &[(String, Row)]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for function in Function::ALL {
        let (title, what) = match function {
            Function::Ingest => ("Ingest", "A request is being taken in."),
            Function::Worker => ("Worker", "A message is being worked off."),
            Function::Sweeper => ("Sweeper", "The schedule queues what is due."),
            Function::Stream => ("Stream", "The table's stream shows a stored event."),
            Function::Operator => continue,
        };
        line(&mut page, format_args!("## {title}\n\n{what}\n"));
        for (site, failures) in rows.iter().filter(|(site, _)| site.function == function) {
            line(&mut page, format_args!("### {}, {}\n", site.operation, site.about));
            table(&mut page, "Failure", group(failures).iter().map(|(names, row)| (names.as_str(), *row)));
        }
    }
    line(
        &mut page,
        format_args!(
            "## Outages\n\nAn event comes when it begins, from a sender that tries again for days.\n"
        ),
    );
    table(&mut page, "Outage", outages.iter().map(|(name, row)| (name.as_str(), row)));
    page.trim_end().to_owned() + "\n"
}

/// Failures that look the same in all, in one row.
fn group(failures: &BTreeMap<String, Row>) -> Vec<(String, &Row)> {
    let mut groups: Vec<(Vec<&str>, &Row)> = Vec::new();
    for (name, row) in failures {
        match groups.iter_mut().find(|(_, known)| *known == row) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], row)),
        }
    }
    groups.into_iter().map(|(names, row)| (names.join("; "), row)).collect()
}

fn table<'r>(page: &mut String, first: &str, rows: impl Iterator<Item = (&'r str, &'r Row)>) {
    line(page, format_args!("| {first} | Sender | Kept | Healed by | Later by | Effect | End |"));
    line(page, format_args!("|---|---|---|---|---|---|---|"));
    for (name, row) in rows {
        let any = |words: &BTreeSet<&'static str>| words.iter().copied().collect::<Vec<_>>().join("; or ");
        let sender = row.sender.iter().map(String::as_str).collect::<Vec<_>>().join("; or ");
        let (stored, healed, end) = (any(&row.stored), any(&row.healed), any(&row.end));
        let took = Time(row.took.0);
        line(
            page,
            format_args!("| {name} | {sender} | {stored} | {healed} | {took} | {} | {end} |", row.effects),
        );
    }
    line(page, format_args!(""));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.push_str(&text.to_string());
    page.push('\n');
}
