//! The embedded queue engine below the model. It carries out what the model does and is what the product is answered by;
//! where the two differ, that is a sentence, which ends the history.
//!
//! It is called in this thread, without its server, and its clock is the history's. Message ids and receipt handles are
//! random in it, and are given in the model's numbers wherever somebody could see them. What chance does to a standard
//! queue is not in the engine: an order, a delay and a second delivery of the simulation's own making are put on top, by
//! what a receive sees, and by sending the copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use hookgate_embedded::{Clock, Message as Held, Sqs};
use serde_json::{Value, json};

use super::{Message, ORDERED_RECEIVES_MAX, RECEIVES_MAX, RETENTION_MS, VISIBILITY_MS, asked};
use crate::engines::{self, DIFFER};

/// The engine's queues, by the last part of their addresses, each with the queue of its dead letters.
const NAMES: [(&str, &str); 2] = [("hookgate", "hookgate-dead"), ("hookgate.fifo", "hookgate-dead.fifo")];

/// One queue of an engine, with its dead letters.
pub struct Engine {
    sqs: Sqs,
    clock: Clock,
    name: &'static str,
    dead: &'static str,
    /// What is in it, by the model's handles.
    held: BTreeMap<u64, Place>,
    /// The model's numbers of all messages that ever were, by the engine's ids.
    numbers: BTreeMap<String, u64>,
    /// The last sequence number of a FIFO queue.
    sequence: String,
    differences: Vec<String>,
}

/// A message in the engine.
#[derive(Debug)]
struct Place {
    id: String,
    /// Of the latest receive; empty before the first.
    receipt: String,
    /// Of a FIFO queue.
    group: Option<String>,
    /// Until when the simulation has it delayed, where that is longer than the engine was asked for.
    unseen_until_ms: Option<i64>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Engine {
    /// An empty standard queue and an empty FIFO queue that go by a clock, with the settings that `template.yaml` gives
    /// them.
    ///
    /// # Errors
    /// If the engine does not open.
    pub fn open(clock: &Clock) -> anyhow::Result<[Self; 2]> {
        let sqs = Sqs::in_process(clock)?;
        for ((name, dead), receives) in NAMES.into_iter().zip([RECEIVES_MAX, ORDERED_RECEIVES_MAX]) {
            let policy = json!({ "deadLetterTargetArn": sqs.queue_arn(dead), "maxReceiveCount": receives });
            let mut attributes = BTreeMap::from([
                ("MessageRetentionPeriod".to_owned(), (RETENTION_MS / 1_000).to_string()),
                ("VisibilityTimeout".to_owned(), (VISIBILITY_MS / 1_000).to_string()),
            ]);
            if name.ends_with(".fifo") {
                let fifo = [
                    ("FifoQueue", "true"),
                    ("DeduplicationScope", "messageGroup"),
                    ("FifoThroughputLimit", "perMessageGroupId"),
                ];
                attributes.extend(fifo.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            sqs.create_queue(dead, &attributes)?;
            attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
            sqs.create_queue(name, &attributes)?;
        }
        Ok(NAMES.map(|(name, dead)| Self {
            sqs: sqs.clone(),
            clock: clock.clone(),
            name,
            dead,
            held: BTreeMap::new(),
            numbers: BTreeMap::new(),
            sequence: String::new(),
            differences: Vec::new(),
        }))
    }

    pub(super) fn differences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.differences)
    }

    fn differs(&mut self, what: impl fmt::Display, modelled: impl fmt::Debug, held: impl fmt::Debug) {
        let name = self.name;
        let (modelled, held) = (format!("{modelled:?}"), format!("{held:?}"));
        self.differences.push(format!(
            "{DIFFER} {what} of {name}: the model of SQS says {modelled:.400}, the embedded one \
             {held:.400}"
        ));
    }

    fn set(&self, now_ms: i64) {
        engines::set(&self.clock, now_ms);
    }

    fn carry_out(&self, operation: &str, request: &Value) -> anyhow::Result<Value> {
        let answer = self.sqs.carry_out(operation, request).now_or_never();
        match answer.context("it waits")?? {
            (200, answer) => Ok(answer),
            (status, answer) => anyhow::bail!("{status} {answer}"),
        }
    }

    /// Sends what the model has answered like this, and put under that handle unless it was dropped. Returns the answer,
    /// with the model's number in place of an id.
    pub(super) fn send(
        &mut self,
        request: &Value,
        modelled: &Value,
        number: u64,
        place: Option<(u64, &Message)>,
        now_ms: i64,
    ) -> Value {
        self.set(now_ms);
        let mut answer = match self.carry_out("SendMessage", request) {
            Ok(answer) => answer,
            Err(error) => {
                self.differs("what is sent", modelled, error.to_string());
                return modelled.clone();
            }
        };
        let part = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, sequence) = (part("MessageId"), part("SequenceNumber"));
        if let Some((handle, message)) = place {
            if self.numbers.insert(id.clone(), number).is_some()
                || (sequence <= self.sequence && self.name.ends_with(".fifo"))
            {
                self.differs("whether a message is new", "yes", (&id, &sequence, &self.sequence.clone()));
            }
            self.sequence = sequence;
            let delay_ms = request.get("DelaySeconds").and_then(Value::as_i64).unwrap_or_default() * 1_000;
            let unseen_until_ms = Some(message.visible_ms).filter(|at_ms| *at_ms > now_ms + delay_ms);
            let group = self.group(message);
            let place = Place { id: id.clone(), receipt: String::new(), group, unseen_until_ms };
            self.held.insert(handle, place);
        }
        if let Some(fields) = answer.as_object_mut() {
            // The engine has one count for all queues, and nobody looks at it.
            fields.remove("SequenceNumber");
            if let Some(number) = self.numbers.get(&id) {
                fields.insert("MessageId".to_owned(), json!(number.to_string()));
            }
        }
        if answer != *modelled {
            self.differs("what is answered to a message", modelled, &answer);
        }
        answer
    }

    /// Holds what can be received against the model's handles, in their order in a FIFO queue. What was received too often
    /// becomes a dead letter.
    pub(super) fn compare_visible(&mut self, modelled: &[u64], now_ms: i64) {
        self.set(now_ms);
        let mut ids = Vec::new();
        let looked = self.sqs.receive_some(self.name, usize::MAX, |id| {
            ids.push(id.to_owned());
            false
        });
        if let Err(error) = looked {
            return self.differs("what can be received", modelled, error);
        }
        let handles: BTreeMap<&str, u64> =
            self.held.iter().map(|(handle, place)| (place.id.as_str(), *handle)).collect();
        let (mut seen, mut blocked) = (Vec::new(), BTreeSet::new());
        for id in &ids {
            let handle = handles.get(id.as_str()).copied();
            let place = handle.and_then(|handle| self.held.get(&handle));
            let group = place.and_then(|place| place.group.as_deref());
            let unseen_until_ms = place.and_then(|place| place.unseen_until_ms);
            if group.is_some_and(|group| blocked.contains(group)) {
                continue;
            }
            match unseen_until_ms.is_none_or(|until_ms| until_ms <= now_ms) {
                true => seen.push(handle),
                false => blocked.extend(group),
            }
        }
        if !self.name.ends_with(".fifo") {
            seen.sort_unstable();
        }
        if !seen.iter().copied().eq(modelled.iter().copied().map(Some)) {
            self.differs("what can be received", modelled, seen);
        }
    }

    /// Receives what the model has received.
    pub(super) fn receive(&mut self, modelled: &[(u64, Message)], now_ms: i64) {
        self.set(now_ms);
        let wanted: BTreeSet<&str> =
            modelled.iter().filter_map(|(handle, _)| Some(self.held.get(handle)?.id.as_str())).collect();
        let received = self.sqs.receive_some(self.name, modelled.len(), |id| wanted.contains(id));
        let received = match received {
            Ok(received) => received,
            Err(error) => return self.differs("what is received", modelled, error),
        };
        for (handle, message) in modelled {
            let place = self.held.get_mut(handle);
            let held = place.and_then(|place| {
                let held = received.iter().find(|held| held.message_id == place.id)?;
                place.receipt.clone_from(&held.receipt_handle);
                Some(held)
            });
            if held.map(of_engine).as_ref() != Some(&of_model(message)) {
                self.differs("what is received", of_model(message), held.map(of_engine));
            }
        }
    }

    /// Deletes what was received.
    pub(super) fn delete(&mut self, handle: u64) {
        // Whoever was invoked twice deletes twice.
        let Some(place) = self.held.remove(&handle) else { return };
        let request = json!({ "QueueUrl": self.name, "ReceiptHandle": place.receipt });
        if let Err(error) = self.carry_out("DeleteMessage", &request) {
            self.differs("whether a message is deleted", "yes", error.to_string());
        }
    }

    /// What the model holds no more, as it is too old or was received too often.
    pub(super) fn forget(&mut self, handles: &[u64]) {
        for handle in handles {
            self.held.remove(handle);
        }
    }

    /// Puts the dead letters back, which the model has under these handles now. One that would be too old is sent.
    pub(super) fn redrive(&mut self, letters: &[(u64, Message)], now_ms: i64) {
        self.set(now_ms);
        let mut moved = match self.moved() {
            Ok(moved) => moved,
            Err(error) => return self.differs("what is sent again", letters, error.to_string()),
        };
        let (kept, old): (Vec<_>, Vec<_>) = letters.iter().partition(|(_, letter)| is_kept(letter, now_ms));
        for (handle, letter) in kept {
            let same = |held: &Held| held.body == letter.body && held.group_id == letter.group;
            match moved.iter().position(same) {
                Some(index) => self.place(*handle, moved.remove(index).message_id, letter),
                None => self.differs("what is sent again", of_model(letter), "nothing"),
            }
        }
        for (handle, letter) in old {
            match self.sent_again(*handle, letter) {
                Ok(id) => self.place(*handle, id, letter),
                Err(error) => self.differs("what is sent again", of_model(letter), error.to_string()),
            }
        }
        if !moved.is_empty() {
            self.differs("what is sent again", "nothing", moved);
        }
    }

    /// In what order a message is with others.
    fn group(&self, message: &Message) -> Option<String> {
        message.group.clone().filter(|_| self.name.ends_with(".fifo"))
    }

    fn place(&mut self, handle: u64, id: String, letter: &Message) {
        self.numbers.insert(id.clone(), handle);
        let group = self.group(letter);
        self.held.insert(handle, Place { id, receipt: String::new(), group, unseen_until_ms: None });
    }

    /// Has the engine move the dead letters that it keeps. Returns what was moved.
    fn moved(&self) -> anyhow::Result<Vec<Held>> {
        self.carry_out("StartMessageMoveTask", &json!({ "SourceArn": self.sqs.queue_arn(self.dead) }))?;
        let mut moved = self.sqs.peek(self.name, usize::MAX)?;
        moved.retain(|held| !self.numbers.contains_key(&held.message_id));
        Ok(moved)
    }

    fn sent_again(&self, handle: u64, letter: &Message) -> anyhow::Result<String> {
        let id = self.name.ends_with(".fifo").then(|| format!("again-{handle}"));
        let now = Message { visible_ms: letter.sent_ms, ..letter.clone() };
        let answer = self.carry_out("SendMessage", &asked(&now, id.as_deref()))?;
        let id = answer.get("MessageId").and_then(Value::as_str);
        Ok(id.context("there is no id")?.to_owned())
    }

    /// Holds all that waits, is in flight or is a dead letter against the model.
    pub(super) fn compare<'m>(
        &mut self,
        messages: impl Iterator<Item = (u64, &'m Message)>,
        dead: &[Message],
        now_ms: i64,
    ) {
        self.set(now_ms);
        let (held, letters) =
            match (self.sqs.peek(self.name, usize::MAX), self.sqs.peek(self.dead, usize::MAX)) {
                (Ok(held), Ok(letters)) => (held, letters),
                (Err(error), _) | (_, Err(error)) => {
                    return self.differs("whether it can be read", "yes", error);
                }
            };
        let mut held: BTreeMap<&str, _> =
            held.iter().map(|message| (message.message_id.as_str(), of_engine(message))).collect();
        let mut differing = Vec::new();
        for (handle, message) in messages {
            let place = self.held.get(&handle);
            let mut found = place.and_then(|place| held.remove(place.id.as_str()));
            if let (Some(found), Some(until_ms), 0) =
                (&mut found, place.and_then(|place| place.unseen_until_ms), message.receives)
            {
                found.visible_ms = until_ms;
            }
            if found.as_ref() != Some(&of_model(message)) {
                differing.push((message.clone(), format!("{found:?}")));
            }
        }
        let left: Vec<String> = held.into_values().map(|message| format!("{message:?}")).collect();
        for (message, found) in differing {
            self.differs("what it holds", of_model(&message), found);
        }
        if !left.is_empty() {
            self.differs("what it holds", "nothing", left);
        }
        let mut letters: Vec<_> = letters.iter().map(|held| (&held.body, &held.group_id)).collect();
        let kept = dead.iter().filter(|letter| is_kept(letter, now_ms));
        let mut wanted: Vec<_> = kept.map(|letter| (&letter.body, &letter.group)).collect();
        letters.sort_unstable();
        wanted.sort_unstable();
        if letters != wanted {
            let letters = format!("{letters:?}");
            self.differs("its dead letters", wanted, letters);
        }
    }
}

/// Whether a dead letter is not yet too old for SQS.
fn is_kept(letter: &Message, now_ms: i64) -> bool {
    letter.sent_ms + RETENTION_MS > now_ms
}

/// What a message is to whoever receives it.
#[derive(Debug, PartialEq, Eq)]
struct Seen<'m> {
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    group: Option<&'m str>,
    trace: Option<&'m str>,
    body: &'m str,
}

fn of_model(message: &Message) -> Seen<'_> {
    Seen {
        body: &message.body,
        sent_ms: message.sent_ms,
        visible_ms: message.visible_ms,
        receives: message.receives,
        group: message.group.as_deref(),
        trace: message.trace.as_deref(),
    }
}

fn of_engine(held: &Held) -> Seen<'_> {
    Seen {
        body: &held.body,
        sent_ms: held.sent_ms,
        visible_ms: held.visible_ms,
        receives: held.receive_count,
        group: held.group_id.as_deref(),
        trace: held.trace_header.as_deref(),
    }
}
