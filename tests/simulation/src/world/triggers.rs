//! What invokes the worker: the queues, the schedule and the stream.

use std::collections::{BTreeMap, BTreeSet};

use hookgate_aws::schema::{EVENT_SK, PK, SK};
use serde_json::{Value, json};
use worker::trigger::SWEEP;

use super::{SWEEP_EVERY_MS, World, task::Job};
use crate::{
    queue::{BATCH, Message},
    script::Via,
    site::Function,
    state::{Due, Release, State},
    table::number,
};
/// How long the stream keeps a record, in milliseconds: 24 hours.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html> (read 2026-11-21).
const STREAM_KEEPS_MS: i64 = 24 * 60 * 60_000;

/// Sweeps in a row that may change nothing before they are not waited for any more.
const IDLE_SWEEPS_MAX: u32 = 4;

/// How often the time between such sweeps is doubled.
const IDLE_DOUBLINGS_MAX: u32 = 5;

/// How long something may be due before no other sweep is waited for: two of the longest times between two.
const OVERDUE_MS: i64 = 2 * (SWEEP_EVERY_MS << IDLE_DOUBLINGS_MAX);

impl World {
    pub(super) fn poll_queue(&mut self, is_ordered: bool) {
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

    pub(super) fn delete(&mut self, handles: &[(u64, u64)], is_ordered: bool, answer: &Value) {
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

    /// Has the schedule invoke the sweeper when that would find something. In truth it does so every minute; a sweep
    /// that finds nothing changes nothing, and days have many minutes.
    pub(super) fn plan_sweep(&mut self) {
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

    pub(super) fn sweep(&mut self) {
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

    pub(super) fn swept(&mut self) {
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

    pub(super) fn read_stream(&mut self) {
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
    pub(super) fn stream_again(&mut self, records: Vec<(i64, String)>) {
        let state = &mut *self.shared.lock();
        let is_planned = state.agenda().any(|(_, due)| due == Due::Stream);
        state.stream.splice(0..0, records);
        if !is_planned {
            self.stream_failures += 1;
            let wait = state.dice.i64(1_000..30_000) << self.stream_failures.min(6);
            state.after(wait, Due::Stream);
        }
    }
}

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
