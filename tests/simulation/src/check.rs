//! The invariants, watched at every write, message, effect and answer, and once more when nothing moves any more.
//!
//! I1 to I6 are those of `ARCHITECTURE.md`. What breaks one is kept as a sentence, and ends the history.

use std::collections::{BTreeMap, BTreeSet};

use hookgate_aws::schema::{FRAME_BYTES_MAX, parse_quarantine_sk};
use hookgate_core::{
    codec::{self, Message},
    ids::{EventId, Name},
    lifecycle::{Attempt, AttemptOutcome, Attempts, Status},
    quarantine::{PER_DAY_MAX, Quarantined},
};
use serde_json::Value;

use crate::{
    aws::says_so,
    queue::Queue,
    site::{Function, Service, Site},
    state::Reply,
    table::{Change, Item, Table, number, text},
    vault::QUARANTINED,
};

/// What senders have really sent, and what became of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Genuine {
    /// The source.
    pub(crate) source: String,
    /// The bytes.
    pub(crate) body: Vec<u8>,
    /// Whether it was ever answered with 2xx.
    pub(crate) accepted: bool,
}

/// One time that an action took effect.
#[derive(Clone, Debug)]
struct Effect {
    call: u64,
    by: u64,
    /// Whether the worker got to know.
    heard: bool,
}

/// What has happened to an invocation that may keep it from writing down what it did.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    killed: bool,
    frozen: bool,
    /// A write about a status of its went wrong.
    disturbed: bool,
}

/// What is watched of the quarantine.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuarantineWatch {
    /// Nobody can verify what is sent to the source, as its secret is a wrong one.
    pub(crate) is_locked: bool,
    /// Bytes that somebody has sent with a signature that is not the sender's.
    pub(crate) forged: BTreeSet<Vec<u8>>,
    /// The source has had as many on some day as it may.
    pub(crate) is_full: bool,
    added: BTreeSet<String>,
    counted: i64,
}

/// What is watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checker {
    violations: Vec<String>,
    pub(crate) genuine: BTreeMap<String, Genuine>,
    /// Which invocation holds which number of which event's lease.
    owners: BTreeMap<String, (i64, u64)>,
    effects: BTreeMap<(String, String), Vec<Effect>>,
    /// Actions that the table says are done.
    done: BTreeSet<(String, String)>,
    trouble: BTreeMap<u64, Trouble>,
    /// When each event became final, and by what the message had come that brought it there.
    pub(crate) ended: BTreeMap<String, (i64, u64)>,
    /// Whether clocks are so far apart that leases mean nothing: then an action may take effect twice.
    pub(crate) clocks_are_wild: bool,
    /// Events that a person had run again, although they were done.
    again: BTreeSet<String>,
    pub(crate) quarantine: QuarantineWatch,
    /// Events that are stored.
    stored: BTreeSet<String>,
    /// The events that have an order: when the first request came, and when the first was answered 2xx.
    lane: BTreeMap<String, (i64, Option<i64>)>,
}

impl Checker {
    /// An invariant does not hold.
    pub(crate) fn broken(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How often actions took effect, in all.
    pub(crate) fn effects(&self) -> usize {
        self.effects.values().map(Vec::len).sum()
    }

    /// How often the actions of one event did.
    pub(crate) fn effects_of(&self, id: &str) -> BTreeMap<&str, usize> {
        let of_it = self.effects.iter().filter(|((event, _), _)| event == id);
        of_it.map(|((_, action), effects)| (action.as_str(), effects.len())).collect()
    }

    pub(crate) fn killed(&mut self, task: u64) {
        self.trouble.entry(task).or_default().killed = true;
    }

    pub(crate) fn freeze(&mut self, task: u64) {
        self.trouble.entry(task).or_default().frozen = true;
    }

    /// A call of an invocation goes wrong. Only what is about a status can keep a result from being written down.
    pub(crate) fn disturbed(&mut self, task: u64, site: Site) {
        if matches!(site.about, "lease" | "renewal" | "result" | "status" | "place" | "turn") {
            self.trouble.entry(task).or_default().disturbed = true;
        }
    }

    /// A person asks for another run of an event, done or not.
    pub(crate) fn run_again(&mut self, id: &str) {
        self.again.insert(id.to_owned());
        self.done.retain(|(event, _)| event != id);
        self.ended.remove(id);
    }

    // Outward.

    /// An action takes effect.
    pub(crate) fn effect(&mut self, request: &Value, call: u64, by: u64, is_late: bool) {
        let part = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (action, body) = (part("action"), part("body"));
        let id = event_id(&body);
        match self.genuine.get(&id) {
            None => self.broken(format!("I4: {action} was run for `{id}`, which nobody has sent")),
            Some(genuine) if !WORDED.contains(&action.as_str()) && genuine.body != body.as_bytes() => {
                self.broken(format!("I5: {action} was not given the bytes that were sent for {id}"));
            }
            Some(_) => {}
        }
        if !is_late && let Some(before) = self.unfinished_before(&id) {
            self.broken(format!("I6: {action} took effect for {id} before {before} had ended"));
        }
        let key = (id.clone(), action.clone());
        if self.done.contains(&key) && !is_late && !self.clocks_are_wild {
            self.broken(format!("I3: {action} took effect for {id} after it was written down as done"));
        }
        // Of an execution the service knows the name, whatever has gone wrong.
        if action == "ship" && self.effects.contains_key(&key) && !self.again.contains(&id) {
            self.broken(format!("I3: {action} was started for {id} under two names"));
        }
        let before = self.effects.entry(key).or_default();
        let last = before.last().cloned();
        before.push(Effect { call, by, heard: false });
        let Some(last) = last else { return };
        let trouble = self.trouble.get(&last.by).copied().unwrap_or_default();
        let excused = is_late
            || !last.heard
            || trouble.killed
            || trouble.frozen
            || trouble.disturbed
            || self.clocks_are_wild
            || self.again.contains(&id);
        if !excused {
            self.broken(format!(
                "I3: {action} took effect for {id} twice, and nothing had gone wrong between"
            ));
        }
    }

    /// A worker gets to know how a call outward went.
    pub(crate) fn heard(&mut self, call: u64, service: Service, reply: &Option<Reply>) {
        match reply {
            Some(Reply::Answer { status: 200..300, body, headers }) if says_so(service, headers, body) => {}
            _ => return,
        }
        let effects = self.effects.values_mut().flatten();
        effects.filter(|effect| effect.call == call).for_each(|effect| effect.heard = true);
    }

    /// An event that was accepted before this one came, or has begun, and has not ended. One that a person has had run
    /// again has another place since.
    fn unfinished_before(&self, id: &str) -> Option<&str> {
        let (arrived_ms, _) = self.lane.get(id)?;
        if self.again.contains(id) {
            return None;
        }
        let has_begun = |other: &str| self.effects.keys().any(|(event, _)| event == other);
        let goes_before = |(other, (_, accepted_ms)): &(&String, &(i64, Option<i64>))| {
            *other != id
                && !self.ended.contains_key(*other)
                && !self.again.contains(*other)
                && (accepted_ms.is_some_and(|at_ms| at_ms < *arrived_ms) || has_begun(other))
        };
        self.lane.iter().find(goes_before).map(|(other, _)| other.as_str())
    }

    /// A request about an event that has an order comes to the gateway.
    pub(crate) fn arrived(&mut self, id: &str, now_ms: i64) {
        self.lane.entry(id.to_owned()).or_insert((now_ms, None));
    }

    // Senders.

    /// A sender is answered.
    pub(crate) fn answered(
        &mut self,
        id: &str,
        status: u16,
        now_ms: i64,
        table: &Table,
        queues: [&Queue; 2],
    ) {
        if !(200..300).contains(&status) {
            return;
        }
        if let Some((_, accepted_ms)) = self.lane.get_mut(id) {
            accepted_ms.get_or_insert(now_ms);
        }
        let is_quarantined = self.genuine.get(id).is_some_and(|genuine| {
            status == 202 && self.is_quarantined(&genuine.source, &genuine.body, table)
        });
        let Some(genuine) = self.genuine.get_mut(id) else {
            return self.broken(format!("I4: what nobody has sent was answered with {status}: {id}"));
        };
        genuine.accepted = true;
        let stored = table.get(&format!("E#{}#{id}", genuine.source), "E").is_some();
        let carried = || {
            let in_queue = |queue: &&Queue| {
                let all = queue.all().map(|(_, message)| message.body.clone());
                all.chain(queue.dead.iter().map(|letter| letter.body.clone())).collect::<Vec<_>>()
            };
            let mut letters = queues.iter().flat_map(in_queue);
            letters.by_ref().filter_map(|body| Message::from_text(&body).ok()).any(|message| {
                message.id.as_str() == id && message.frame().is_ok_and(|frame| frame.is_some())
            })
        };
        if !stored && !is_quarantined && !carried() {
            self.broken(format!(
                "I1: {id} was answered with {status}, and is neither stored, in a message nor in quarantine"
            ));
        }
    }

    // Messages.

    /// A message is queued.
    pub(crate) fn sent(&mut self, body: &str) {
        let message = match Message::from_text(body) {
            Ok(message) => message,
            Err(error) => return self.broken(format!("a message that can't be read was sent: {error}")),
        };
        self.is_let_in(&message.source, &message.id, "queued");
        match message.frame() {
            Ok(Some(frame)) => self.frame(message.source, message.id, &frame, "queued"),
            Ok(None) if !self.genuine.contains_key(message.id.as_str()) => {
                self.broken(format!("I4: a message for {}, which nobody has sent", message.id));
            }
            Ok(None) => {}
            Err(error) => self.broken(format!("a message that can't be read was sent: {error}")),
        }
    }

    /// What is stored or queued is what was sent.
    fn frame(&mut self, source: Name, id: EventId, frame: &[u8], how: &str) {
        let event = match codec::decode(source, id, frame) {
            Ok(event) => event,
            Err(error) => return self.broken(format!("I5: what was {how} can't be read: {error}")),
        };
        match self.genuine.get(event.id.as_str()) {
            Some(genuine) if genuine.source != event.source.as_str() => {
                self.broken(format!("I4: {} was {how} under another source", event.id));
            }
            Some(genuine) if genuine.body != event.request.body => {
                self.broken(format!("I5: {} was {how} with other bytes than were sent", event.id));
            }
            Some(_) => {}
            None => self.broken(format!("I4: {} was {how}, and nobody has sent it", event.id)),
        }
    }

    // The table.

    /// An item has changed.
    pub(crate) fn changed(&mut self, change: &Change, site: Site, by: u64, now_ms: i64) {
        match (change.pk.split_once('#'), change.sk.as_str()) {
            (Some(("E", rest)), "E") => self.event_changed(rest, change),
            (Some(("L", _)), sk) => self.status_changed(sk, change, site, by, now_ms),
            (Some(("Q", source)), _) => self.quarantine_changed(source, change, site),
            _ => {}
        }
    }

    fn event_changed(&mut self, rest: &str, change: &Change) {
        let (Some(item), None) = (&change.after, &change.before) else {
            return self.broken(format!("the event {rest} was written twice or deleted"));
        };
        let Some((source, id)) = rest.split_once('#') else { return };
        let (Some(source), id) = (Name::parse(source), EventId::from_stored(id)) else { return };
        self.is_let_in(&source, &id, "stored");
        self.stored.insert(id.as_str().to_owned());
        match frame(item) {
            Some(frame) => self.frame(source, id, &frame, "stored"),
            // In parts: looked at in the end.
            None if number(item, "parts").is_some() => {}
            None => self.broken(format!("I5: the event {rest} was stored without a frame")),
        }
    }

    // The quarantine.

    /// Whether a delivery with these bytes is in quarantine.
    pub(crate) fn is_quarantined(&self, source: &str, body: &[u8], table: &Table) -> bool {
        let mut all =
            table.under("Q#").filter(|(pk, ..)| pk.split_once('#').is_some_and(|(_, name)| name == source));
        all.any(|(_, _, item)| set_apart(source, item).is_some_and(|kept| kept.request.body == body))
    }

    /// Whether the quarantine may have had no room for a delivery: it was full, or that is too large for it. Either is
    /// no excuse when the source can tell what is genuine.
    pub(crate) fn has_no_room(&self, source: &str, body: &[u8]) -> bool {
        let is_large = body.len() > FRAME_BYTES_MAX;
        source == QUARANTINED.0 && self.quarantine.is_locked && (self.quarantine.is_full || is_large)
    }

    /// Something was stored or queued as an event.
    fn is_let_in(&mut self, source: &Name, id: &EventId, how: &str) {
        if self.quarantine.is_locked && source.as_str() == QUARANTINED.0 {
            self.broken(format!("I4: {id} was {how} before anybody could tell whether it is genuine"));
        }
    }

    fn quarantine_changed(&mut self, source: &str, change: &Change, site: Site) {
        let after = change.after.as_ref();
        if change.sk.starts_with("N#") {
            let count = |item: Option<&Item>| item.and_then(|item| number(item, "n")).unwrap_or_default();
            self.quarantine.counted += count(after) - count(change.before.as_ref());
            self.quarantine.is_full |= count(after) == PER_DAY_MAX;
            if count(after) > PER_DAY_MAX {
                self.broken(format!("{} deliveries of a day are in quarantine", count(after)));
            }
            return;
        }
        // Another person has let it in before.
        if change.before.is_none() && after.is_none() {
            return;
        }
        let Some(kept) = after.or(change.before.as_ref()).and_then(|item| set_apart(source, item)) else {
            return self.broken("what is in quarantine can't be read");
        };
        let body = &kept.request.body;
        let genuine =
            self.genuine.iter().find(|(_, genuine)| genuine.body == *body).map(|(id, _)| id.clone());
        if genuine.is_none() && !self.quarantine.forged.contains(body) {
            self.broken("I5: what is in quarantine was never sent like that");
        }
        if after.is_some() {
            self.quarantine.added.insert(change.sk.clone());
            let added = i64::try_from(self.quarantine.added.len()).unwrap_or(i64::MAX);
            if added > self.quarantine.counted {
                self.broken("more is in quarantine than was counted");
            }
            return;
        }
        let is_let_in = genuine.is_some_and(|id| self.stored.contains(&id));
        if site.function != Function::Operator || !is_let_in {
            self.broken("something was taken out of quarantine that is no event yet");
        }
    }

    fn status_changed(&mut self, sk: &str, change: &Change, site: Site, by: u64, now_ms: i64) {
        let Some(after) = &change.after else {
            return self.broken(format!("the status of {sk} was deleted"));
        };
        let Some(to) = status(after) else { return self.broken(format!("the status of {sk} can't be read")) };
        let from = change.before.as_ref().and_then(status);
        let id = sk.splitn(3, '#').nth(2).unwrap_or_default().to_owned();
        if change.before.as_ref() == Some(after) {
            return;
        }
        let forward = match site.about {
            "lease" => to == Status::Working && !from.is_some_and(Status::is_final),
            "renewal" => from == Some(Status::Working) && to == Status::Working,
            // Nothing was tried under a lease that was given back because it was not the event's turn.
            "result" if to == Status::Received => {
                from == Some(Status::Working) && attempts(after).is_some_and(|attempts| attempts.0.is_empty())
            }
            "result" => from == Some(Status::Working) && to != Status::Working,
            "place" => from.map_or(to == Status::Received, |from| from == to && !from.is_final()),
            "replay" => to == Status::Retrying && from != Some(Status::Working),
            "status" => from.is_none() && to == Status::Received,
            _ => false,
        };
        if !forward {
            let from = from.map_or("nothing", Status::word);
            self.broken(format!("{id} went from {from} to {} by {site}", to.word()));
        }
        let fence = |item: &Item| number(item, "fence").unwrap_or_default();
        let (was, is) = (change.before.as_ref().map(fence).unwrap_or_default(), fence(after));
        match site.about {
            "lease" => {
                if is <= was {
                    self.broken(format!("the lease of {id} was taken without a new number"));
                }
                self.owners.insert(id.clone(), (is, by));
            }
            "renewal" | "result" if self.owners.get(&id) != Some(&(is, by)) => {
                self.broken(format!("a lease that was lost has written {} for {id}", to.word()));
            }
            _ => {}
        }
        self.attempts_changed(&id, change.before.as_ref(), after);
        if to.is_final() {
            self.ended.insert(id, (now_ms, by));
        }
    }

    /// What was tried is only ever added to, and what is done stays done.
    fn attempts_changed(&mut self, id: &str, before: Option<&Item>, after: &Item) {
        let (Some(was), Some(is)) =
            (before.map_or_else(|| Some(Attempts::default()), attempts), attempts(after))
        else {
            return self.broken(format!("the attempts of {id} can't be read"));
        };
        let unknown = |attempts: &Attempts| {
            attempts.0.iter().filter(|attempt| matches!(attempt.outcome, AttemptOutcome::Unknown(_))).count()
        };
        if unknown(&was) > unknown(&is) {
            self.broken(format!("{id} has lost what a later release tried"));
        }
        if was.runs() > is.runs() {
            self.broken(format!("{id} has lost {} of its attempts", was.runs() - is.runs()));
        }
        let tries = is.0.iter().filter(|attempt| attempt.outcome.is_run());
        for attempt in tries.skip(was.runs()) {
            if attempt.outcome == AttemptOutcome::Done {
                let key = (id.to_owned(), attempt.action.to_string());
                if !INWARD.contains(&key.1.as_str()) && !self.effects.contains_key(&key) {
                    self.broken(format!("{} is said to be done for {id}, and never took effect", key.1));
                }
                self.done.insert(key);
            }
        }
        for Attempt { action, .. } in &is.0 {
            if is.tries(action) > TRIES_MAX {
                self.broken(format!("{action} was tried {} times for {id}", is.tries(action)));
            }
        }
    }

    // The end.

    /// Nothing moves any more, and everything works again.
    pub(crate) fn at_rest(&mut self, table: &Table, queues: [&Queue; 2]) {
        for letter in queues.into_iter().flat_map(|queue| &queue.dead) {
            let Ok(message) = Message::from_text(&letter.body) else {
                self.broken("a dead letter is none of ours");
                continue;
            };
            let stored = table.get(&format!("E#{}#{}", message.source, message.id), "E").is_some();
            let carries = message.frame().is_ok_and(|frame| frame.is_some());
            if !stored && !carries {
                self.broken(format!("a dead letter is about {}, which is not stored", message.id));
            }
        }
    }

    /// The dead letters were sent again and worked off, too.
    pub(crate) fn at_the_end(&mut self, table: &Table, queues: [&Queue; 2]) {
        if queues.iter().any(|queue| !queue.dead.is_empty()) {
            self.broken("a dead letter killed nobody and became one again");
        }
        let left = |genuine: &Genuine| self.is_quarantined(&genuine.source, &genuine.body, table);
        if let Some((id, _)) = self.genuine.iter().find(|(_, genuine)| left(genuine)) {
            let left = format!("{id} is in quarantine although a person has let in what is genuine");
            self.broken(left);
        }
        let statuses: BTreeMap<&str, Status> = table
            .under("L#")
            .filter_map(|(_, sk, item)| Some((sk.splitn(3, '#').nth(2)?, status(item)?)))
            .collect();
        for (id, genuine) in self.genuine.clone() {
            let stored = table.get(&format!("E#{}#{id}", genuine.source), "E");
            if genuine.accepted && stored.is_none() {
                self.broken(format!("I1: {id} was accepted, and is not stored"));
            }
            let Some(item) = stored else { continue };
            self.whole(&id, &genuine, item, table);
            match statuses.get(id.as_str()) {
                Some(status) if status.is_final() => {}
                Some(status) => {
                    self.broken(format!("I2: {id} is {} although everything works again", status.word()));
                }
                None => self.broken(format!("I2: {id} is stored, and no worker has ever had it")),
            }
        }
        self.counted(table);
    }

    /// The stored bytes of an event, put together from its parts where it has some.
    fn whole(&mut self, id: &str, genuine: &Genuine, item: &Item, table: &Table) {
        let pk = format!("E#{}#{id}", genuine.source);
        let bytes = frame(item).or_else(|| {
            let (hash, parts) = (text(item, "hash")?, number(item, "parts")?);
            let parts = (0..parts).map(|number| frame(table.get(&pk, &format!("P#{hash}#{number:04}"))?));
            parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat())
        });
        let (Some(bytes), Some(source)) = (bytes, Name::parse(&genuine.source)) else {
            return self.broken(format!("I5: {id} is stored without all its parts"));
        };
        self.frame(source, EventId::from_stored(id), &bytes, "stored");
    }

    /// What is counted was counted once for each event.
    fn counted(&mut self, table: &Table) {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (_, sk, item) in table.under("C#orders") {
            let label = sk.split('#').nth(1).unwrap_or_default();
            *counts.entry(label.to_owned()).or_default() += number(item, "n").unwrap_or_default();
        }
        for (id, count) in &counts {
            if *count != 1 {
                self.broken(format!("I3: {id} was counted {count} times"));
            }
        }
        let missing: Vec<String> = self
            .done
            .iter()
            .filter(|(id, action)| action == "tally" && !counts.contains_key(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in missing {
            self.broken(format!("I3: {id} is said to be counted, and was not"));
        }
    }
}

/// Actions that change nothing outside.
const INWARD: [&str; 2] = ["tally", "keep"];

/// Actions whose words are their own. The others pass on the bytes that were sent.
const WORDED: [&str; 3] = ["tell", "mail", "ask"];

/// Most tries of one action: none of the simulation's is tried more often.
const TRIES_MAX: u32 = 10;

/// The id in a body.
fn event_id(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body.get("id").or(body.get("text")).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The status of a status item.
pub(crate) fn status(item: &Item) -> Option<Status> {
    text(item, "status").and_then(Status::parse)
}

/// The attempts of a status item.
pub(crate) fn attempts(item: &Item) -> Option<Attempts> {
    match text(item, "attempts") {
        None => Some(Attempts::default()),
        Some(json) => serde_json::from_str(json).ok(),
    }
}

/// A delivery in quarantine; `None` for the counters beside it.
fn set_apart(source: &str, item: &Item) -> Option<Quarantined> {
    let (_, id) = parse_quarantine_sk(text(item, "sk")?)?;
    Quarantined::decode(Name::parse(source)?, id, String::new(), &frame(item)?).ok()
}

fn frame(item: &Item) -> Option<Vec<u8>> {
    let text = item.get("frame")?.get("B")?.as_str()?;
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}
