//! SQS as hookgate uses it: a standard queue with delays, and a FIFO queue; both with a visibility timeout, a retention
//! and a dead-letter queue, with the settings that `template.yaml` gives them.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use crate::site::Function;

mod embedded;

pub use embedded::Engine;

/// For how long a message that was received is out of sight (`VisibilityTimeout`).
pub const VISIBILITY_MS: i64 = 360_000;

/// For how long a message is kept (`MessageRetentionPeriod`, 14 days). It goes without a trace then.
pub const RETENTION_MS: i64 = 14 * 24 * 60 * 60_000;

/// How often a message is received before it is a dead letter (`maxReceiveCount`).
pub const RECEIVES_MAX: u32 = 5;

/// The same for the FIFO queue.
pub const ORDERED_RECEIVES_MAX: u32 = 100;

/// For how long the FIFO queue drops what is sent again under one id, in milliseconds.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html>
/// (read 2026-11-21).
pub const SAME_MS: i64 = 5 * 60_000;

/// Most messages of one batch (`BatchSize`).
pub const BATCH: usize = 10;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its own id. A copy that SQS made has the same.
    pub number: u64,
    /// Its text.
    pub body: String,
    /// When it was sent.
    pub sent_ms: i64,
    /// When it can be received.
    pub visible_ms: i64,
    /// How often it was.
    pub receives: u32,
    /// Its group. In a standard queue it has no say in what is received when, but for whom many others wait.
    pub group: Option<String>,
    /// X-Ray's header.
    pub trace: Option<String>,
    /// Which function has sent it.
    pub from: Function,
}

/// The queue and its dead letters.
#[derive(Debug, Default)]
pub struct Queue {
    is_fifo: bool,
    /// By a number that copies of one message have not in common.
    messages: BTreeMap<u64, Message>,
    sent: u64,
    /// What was sent to a FIFO queue, by group and id: when, and the message's own id.
    known: BTreeMap<(String, String), (i64, u64)>,
    /// What was received too often. It stays until somebody has it sent again: SQS drops dead letters as it does messages,
    /// but there is an alarm, and whoever comes at the end of a history stands for one who comes in time.
    pub dead: Vec<Message>,
    /// What was kept for too long.
    pub expired: Vec<Message>,
    /// What carries each request out as well, and answers it.
    engine: Option<Engine>,
}

/// The most that a message is delayed (`DelaySeconds`), in seconds.
const DELAY_SECONDS_MAX: i64 = 900;

/// How SQS is asked to take a message in, and by what a FIFO queue is asked to know it.
fn asked(message: &Message, id: Option<&str>) -> Value {
    let mut request = Map::from_iter([("MessageBody".to_owned(), json!(message.body))]);
    let queue = if id.is_some() { "hookgate.fifo" } else { "hookgate" };
    request.insert("QueueUrl".to_owned(), json!(queue));
    if let Some(group) = &message.group {
        request.insert("MessageGroupId".to_owned(), json!(group));
    }
    match id {
        Some(id) => request.insert("MessageDeduplicationId".to_owned(), json!(id)),
        None => {
            let seconds = (message.visible_ms - message.sent_ms) / 1_000;
            request.insert("DelaySeconds".to_owned(), json!(seconds.clamp(0, DELAY_SECONDS_MAX)))
        }
    };
    if let Some(trace) = &message.trace {
        let trace = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": trace } });
        request.insert("MessageSystemAttributes".to_owned(), trace);
    }
    Value::Object(request)
}

impl Queue {
    /// An empty FIFO queue.
    pub fn fifo() -> Self {
        Self { is_fifo: true, ..Self::default() }
    }

    /// The same over one of an engine's: the engine answers, and is held against the model at every request.
    #[must_use]
    pub fn over(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// In what the engine has differed from the model since this was last asked.
    pub fn differences(&mut self) -> Vec<String> {
        self.engine.as_mut().map(Engine::differences).unwrap_or_default()
    }

    /// Holds all that the engine has against the model.
    pub fn compare(&mut self, now_ms: i64) {
        self.tidy(now_ms);
        if let Some(mut engine) = self.engine.take() {
            engine.compare(self.all(), &self.dead, now_ms);
            self.engine = Some(engine);
        }
    }

    /// Takes a message in; returns its handle.
    pub fn send(&mut self, message: Message) -> u64 {
        self.carry_out(&asked(&message, None), message).1.unwrap_or_default()
    }

    /// Carries out a request to send what is to become this message. Returns what SQS answers, and the message's handle;
    /// none where one with its id came shortly before.
    pub(crate) fn carry_out(&mut self, request: &Value, message: Message) -> (Value, Option<u64>) {
        let now_ms = message.sent_ms;
        let hash = HEXLOWER.encode(&Md5::digest(message.body.as_bytes()));
        let id = request.get("MessageDeduplicationId").and_then(Value::as_str).unwrap_or_default();
        let group = message.group.clone().filter(|_| self.is_fifo);
        let known = group.map(|group| (group, id.to_owned()));
        let before = known.as_ref().and_then(|known| self.known.get(known));
        let (number, handle) = match before {
            // What is dropped is answered as the first one was.
            Some((at_ms, number)) if now_ms - at_ms < SAME_MS => (*number, None),
            _ => {
                let handle = self.add(message);
                (handle, Some(handle))
            }
        };
        if let (Some(known), Some(handle)) = (known, handle) {
            self.known.insert(known, (now_ms, handle));
        }
        let modelled = json!({ "MessageId": number.to_string(), "MD5OfMessageBody": hash });
        let Some(engine) = &mut self.engine else { return (modelled, handle) };
        let place = handle.and_then(|handle| Some((handle, self.messages.get(&handle)?)));
        (engine.send(request, &modelled, number, place, now_ms), handle)
    }

    fn add(&mut self, mut message: Message) -> u64 {
        self.sent += 1;
        message.number = self.sent;
        self.messages.insert(self.sent, message);
        self.sent
    }

    /// Takes a message into a FIFO queue, unless one with its id came shortly before.
    pub fn send_in_order(&mut self, message: Message, id: &str) -> Option<u64> {
        self.carry_out(&asked(&message, Some(id)), message).1
    }

    /// Takes in another copy of a message that was just sent.
    pub fn copy(&mut self, handle: u64, visible_ms: i64) -> Option<u64> {
        let copy = Message { visible_ms, ..self.messages.get(&handle)?.clone() };
        self.sent += 1;
        let (number, now_ms) = (copy.number, copy.sent_ms);
        if let Some(engine) = &mut self.engine {
            // The engine delivers nothing twice, so it is sent another one.
            let hash = HEXLOWER.encode(&Md5::digest(copy.body.as_bytes()));
            let modelled = json!({ "MessageId": number.to_string(), "MD5OfMessageBody": hash });
            engine.send(&asked(&copy, None), &modelled, number, Some((self.sent, &copy)), now_ms);
        }
        self.messages.insert(self.sent, copy);
        Some(self.sent)
    }

    /// What waits or is in flight, with its handle.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.iter().map(|(handle, message)| (*handle, message))
    }

    /// Drops what was kept for too long, and sets aside what was received too often.
    fn tidy(&mut self, now_ms: i64) {
        let old: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| message.sent_ms + RETENTION_MS <= now_ms)
            .map(|(handle, _)| *handle)
            .collect();
        self.expired.extend(old.iter().filter_map(|handle| self.messages.remove(handle)));
        let most = if self.is_fifo { ORDERED_RECEIVES_MAX } else { RECEIVES_MAX };
        let poison: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| message.visible_ms <= now_ms && message.receives >= most)
            .map(|(handle, _)| *handle)
            .collect();
        for handle in &poison {
            let Some(mut letter) = self.messages.remove(handle) else { continue };
            if self.is_fifo {
                // Its age begins anew, which it does not in a standard queue:
                // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
                // (read 2026-11-22).
                letter.sent_ms = now_ms;
            }
            self.dead.push(letter);
        }
        if let Some(engine) = &mut self.engine {
            engine.forget(&old);
            engine.forget(&poison);
        }
    }

    /// The messages that can be received, in the order in which they were sent. A group of a FIFO queue of which one is in
    /// flight gives none, and none behind one that is delayed.
    pub fn visible(&mut self, now_ms: i64) -> Vec<u64> {
        self.tidy(now_ms);
        let in_flight = |message: &&Message| message.visible_ms > now_ms && message.receives > 0;
        let group = |message: &'_ Message| message.group.clone().filter(|_| self.is_fifo);
        let mut blocked: BTreeSet<String> =
            self.messages.values().filter(in_flight).filter_map(group).collect();
        let mut visible = Vec::new();
        for (handle, message) in &self.messages {
            let group = group(message);
            if group.as_ref().is_some_and(|group| blocked.contains(group)) {
                continue;
            }
            match message.visible_ms <= now_ms {
                true => visible.push(*handle),
                false => blocked.extend(group),
            }
        }
        if let Some(engine) = &mut self.engine {
            engine.compare_visible(&visible, now_ms);
        }
        visible
    }

    /// Receives messages that are visible, all at once.
    pub fn receive(&mut self, handles: &[u64], now_ms: i64) -> Vec<(u64, Message)> {
        let mut received = Vec::new();
        for handle in handles {
            let Some(message) = self.messages.get_mut(handle) else { continue };
            message.receives += 1;
            message.visible_ms = now_ms + VISIBILITY_MS;
            received.push((*handle, message.clone()));
        }
        if let Some(engine) = &mut self.engine {
            engine.receive(&received, now_ms);
        }
        received
    }

    /// Deletes a message.
    pub fn delete(&mut self, handle: u64) {
        self.messages.remove(&handle);
        if let Some(engine) = &mut self.engine {
            engine.delete(handle);
        }
    }

    /// When the next message can be received that can't be yet.
    pub fn next_visible(&self, now_ms: i64) -> Option<i64> {
        self.messages.values().map(|message| message.visible_ms).filter(|at| *at > now_ms).min()
    }

    /// Puts the dead letters back, as a person does who has mended what killed the worker.
    pub fn redrive(&mut self, now_ms: i64) -> usize {
        let dead = std::mem::take(&mut self.dead);
        let mut again = Vec::new();
        for letter in dead {
            let message = Message { sent_ms: now_ms, visible_ms: now_ms, receives: 0, ..letter.clone() };
            again.push((self.add(message), letter));
        }
        if let Some(engine) = &mut self.engine {
            engine.redrive(&again, now_ms);
        }
        again.len()
    }

    /// Whether nothing waits or is in flight.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
