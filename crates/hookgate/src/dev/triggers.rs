//! What invokes the worker: the queue's event source mapping, the schedule, and the stream's event source mapping,
//! with the settings that `template.yaml` gives them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hookgate_aws::trace;
use hookgate_embedded::{Clock, DynamoDb, Message, Sqs, StreamPosition};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use worker::{Worker, trigger::SWEEP};

use crate::local::TABLE;

/// Messages in a batch.
const BATCH: usize = 10;

/// Batches in work at once.
const CONCURRENCY: usize = 4;

/// How long one look at an empty queue or stream lasts.
const WAIT: Duration = Duration::from_secs(20);

/// Time between two sweeps, in milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;

/// How long records of the stream are gathered before the worker looks at them, in milliseconds, and how many at
/// most.
const STREAM_WINDOW_MS: i64 = 60_000;
const STREAM_BATCH: usize = 1_000;

/// How long a trigger that failed rests.
const REST: Duration = Duration::from_secs(1);

/// Runs `work` unless the stack stops first; `None` then.
async fn unless_stopped<T>(stopped: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => None,
        result = work => Some(result),
    }
}

/// Receives batches, has them worked off, deletes what is finished. What failed comes back after its visibility
/// timeout.
pub(super) async fn queue(
    sqs: Sqs,
    queue: &'static str,
    worker: Arc<Worker>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let Some(received) = unless_stopped(&mut stopped, sqs.receive(queue, BATCH, WAIT)).await else {
            break;
        };
        match received {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                let (sqs, worker) = (sqs.clone(), worker.clone());
                tokio::spawn(async move {
                    batch(&sqs, queue, &worker, messages).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "the queue can't be read");
                tokio::time::sleep(REST).await;
            }
        }
    }
    // What is in work finishes.
    let all = u32::try_from(CONCURRENCY).unwrap_or(1);
    if places.acquire_many(all).await.is_err() {
        tracing::debug!("the trigger's places are gone");
    }
}

async fn batch(sqs: &Sqs, queue: &str, worker: &Worker, messages: Vec<Message>) {
    let records: Vec<Value> = messages.iter().map(|message| record(queue, message)).collect();
    let answer = worker.invoke(&json!({ "Records": records }).to_string()).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the worker failed; the whole batch comes back");
            return;
        }
    };
    let failed: Vec<&str> = answer
        .get("batchItemFailures")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|failure| failure.get("itemIdentifier")?.as_str())
        .collect();
    for message in messages.iter().filter(|message| !failed.contains(&message.message_id.as_str())) {
        if let Err(error) = sqs.delete(queue, &message.receipt_handle) {
            tracing::warn!(%error, "a finished message was not deleted; it will be seen again");
        }
    }
}

/// A message as Lambda hands it over.
fn record(queue: &str, message: &Message) -> Value {
    let mut record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "md5OfBody": message.md5_of_body,
        "attributes": {
            "ApproximateReceiveCount": message.receive_count.to_string(),
            "SentTimestamp": message.sent_ms.to_string(),
            "ApproximateFirstReceiveTimestamp": message.first_received_ms.unwrap_or(message.sent_ms).to_string(),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
        "awsRegion": "us-east-1",
    });
    // What a message does not have is not there: a null is none of the texts that a function expects.
    if let Some(attributes) = record.get_mut("attributes").and_then(Value::as_object_mut) {
        let more = [(trace::ATTRIBUTE, &message.trace_header), ("MessageGroupId", &message.group_id)];
        for (name, value) in more {
            attributes.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
    }
    record
}

/// Sweeps once a minute, and once at the start.
pub(super) async fn schedule(clock: Clock, worker: Arc<Worker>, mut stopped: watch::Receiver<bool>) {
    loop {
        if let Err(error) = worker.invoke(SWEEP).await {
            tracing::error!(error = format!("{error:#}"), "the sweep failed");
        }
        let next = clock.now_ms() + SWEEP_EVERY_MS;
        if unless_stopped(&mut stopped, clock.wait_until(next)).await.is_none() {
            return;
        }
    }
}

/// Hands the stream's records to the worker, from where the last stack stopped.
pub(super) async fn stream(
    dynamodb: DynamoDb,
    clock: Clock,
    worker: Arc<Worker>,
    file: Option<PathBuf>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut position = file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok())
        .and_then(|text| StreamPosition::parse(text.trim()).ok());
    loop {
        // Something is there …
        let look = dynamodb.stream(TABLE, position.as_ref(), 1, WAIT);
        match unless_stopped(&mut stopped, look).await {
            None => return,
            Some(Ok(page)) if page.records.is_empty() => continue,
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), "the stream can't be read");
                if unless_stopped(&mut stopped, tokio::time::sleep(REST)).await.is_none() {
                    return;
                }
                continue;
            }
        }
        // … and more may come within the window.
        if unless_stopped(&mut stopped, clock.wait_until(clock.now_ms() + STREAM_WINDOW_MS)).await.is_none() {
            return;
        }
        let Ok(page) = dynamodb.stream(TABLE, position.as_ref(), STREAM_BATCH, Duration::ZERO).await else {
            continue;
        };
        let records: Vec<&Value> = page.records.iter().filter(|record| is_new_event(record)).collect();
        let answer = match records.is_empty() {
            true => Ok(Value::Null),
            false => worker.invoke(&json!({ "Records": records }).to_string()).await,
        };
        let failed = match &answer {
            Ok(answer) => {
                answer.get("batchItemFailures").and_then(Value::as_array).is_some_and(|f| !f.is_empty())
            }
            Err(_) => true,
        };
        if failed {
            // The same records again.
            if unless_stopped(&mut stopped, tokio::time::sleep(REST)).await.is_none() {
                return;
            }
            continue;
        }
        position = page.position.or(position);
        if let (Some(file), Some(position)) = (&file, &position)
            && let Err(error) = std::fs::write(file, position.as_str())
        {
            tracing::warn!(%error, "the stream's position was not kept; its records are looked at again after a restart");
        }
    }
}

/// The filter of the event source mapping.
fn is_new_event(record: &Value) -> bool {
    record.get("eventName").and_then(Value::as_str) == Some("INSERT")
        && record.pointer("/dynamodb/Keys/sk/S").and_then(Value::as_str)
            == Some(hookgate_aws::schema::EVENT_SK)
}
