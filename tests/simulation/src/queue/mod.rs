//! SQS as hookgate uses it: a standard queue with delays, and a FIFO queue; both with a visibility timeout, a retention
//! and a dead-letter queue, with the settings that `template.yaml` gives them.

use std::collections::{BTreeMap, BTreeSet};

use crate::site::Function;

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
    /// Its group, in the FIFO queue.
    pub group: Option<String>,
    /// X-Ray's header.
    pub trace: Option<String>,
    /// Which function has sent it.
    pub from: Function,
}

/// The queue and its dead letters.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// By a number that copies of one message have not in common.
    messages: BTreeMap<u64, Message>,
    sent: u64,
    /// What was sent to a FIFO queue, by group and id, and when.
    known: BTreeMap<(String, String), i64>,
    /// What was received too often.
    pub dead: Vec<Message>,
    /// What was kept for too long.
    pub expired: Vec<Message>,
}

impl Queue {
    /// Takes a message in; returns its handle.
    pub fn send(&mut self, mut message: Message) -> u64 {
        self.sent += 1;
        message.number = self.sent;
        self.messages.insert(self.sent, message);
        self.sent
    }

    /// Takes a message into a FIFO queue, unless one with its id came shortly before.
    pub fn send_in_order(&mut self, message: Message, id: &str) -> Option<u64> {
        let known = (message.group.clone().unwrap_or_default(), id.to_owned());
        if self.known.get(&known).is_some_and(|at_ms| message.sent_ms - at_ms < SAME_MS) {
            return None;
        }
        self.known.insert(known, message.sent_ms);
        Some(self.send(message))
    }

    /// Takes in another copy of a message that is there.
    pub fn copy(&mut self, handle: u64, visible_ms: i64) -> Option<u64> {
        let copy = Message { visible_ms, ..self.messages.get(&handle)?.clone() };
        self.sent += 1;
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
        let poison: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| {
                let most = if message.group.is_some() { ORDERED_RECEIVES_MAX } else { RECEIVES_MAX };
                message.visible_ms <= now_ms && message.receives >= most
            })
            .map(|(handle, _)| *handle)
            .collect();
        self.dead.extend(poison.iter().filter_map(|handle| self.messages.remove(handle)));
    }

    /// The messages that can be received, in the order in which they were sent. A group of which one is in flight gives
    /// none.
    pub fn visible(&mut self, now_ms: i64) -> Vec<u64> {
        self.tidy(now_ms);
        let in_flight = |message: &&Message| message.visible_ms > now_ms;
        let blocked: BTreeSet<&str> =
            self.messages.values().filter(in_flight).filter_map(|message| message.group.as_deref()).collect();
        let free = |message: &Message| message.group.as_deref().is_none_or(|group| !blocked.contains(group));
        let can = |message: &Message| message.visible_ms <= now_ms && free(message);
        self.all().filter(|(_, message)| can(message)).map(|(handle, _)| handle).collect()
    }

    /// Receives a message.
    pub fn receive(&mut self, handle: u64, now_ms: i64) -> Option<Message> {
        let message = self.messages.get_mut(&handle)?;
        message.receives += 1;
        message.visible_ms = now_ms + VISIBILITY_MS;
        Some(message.clone())
    }

    /// Deletes a message.
    pub fn delete(&mut self, handle: u64) {
        self.messages.remove(&handle);
    }

    /// When the next message can be received that can't be yet.
    pub fn next_visible(&self, now_ms: i64) -> Option<i64> {
        self.messages.values().map(|message| message.visible_ms).filter(|at| *at > now_ms).min()
    }

    /// Puts the dead letters back, as a person does who has mended what killed the worker.
    pub fn redrive(&mut self, now_ms: i64) -> usize {
        let dead = std::mem::take(&mut self.dead);
        let count = dead.len();
        for letter in dead {
            self.send(Message { sent_ms: now_ms, visible_ms: now_ms, receives: 0, ..letter });
        }
        count
    }

    /// Whether nothing waits or is in flight.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
