//! The simulation's table is asked the same as the embedded engine, by the product's own calls, and has to answer the
//! same and hold the same in the end. So are its queues; and the FIFO queue does what the documentation says.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use data_encoding::BASE64;
use fastrand::Rng;
use hookgate_aws::{
    clients::{Clients, Patience},
    destinations::Parked,
    lanes::End,
    outbox::Due,
    schema::{self, StatusKey},
    store::{Lease, Leased, Store, StoreError},
};
use hookgate_core::{
    destination::{Rate, Standing},
    effect::{CountEffect, RecordEffect},
    event::Event,
    ids::{EventId, Name},
    lifecycle::{Attempt, AttemptOutcome, Status},
    order::{Lane, Turn},
    quarantine::Quarantined,
    request::Request,
    source::RETENTION_DAYS,
    time::EpochMillis,
};
use hookgate_embedded::{Clock, Engines, Options};
use hookgate_simulation::{
    START_MS,
    queue::{self, Message, Queue, SAME_MS, VISIBILITY_MS},
    site::Function,
    table::{Refusal, Table},
};
use serde_json::{Value, json};

const TABLE: &str = "hookgate";

/// Sequences of calls, each on tables of their own.
const SEQUENCES: u64 = 40;

/// Calls in one sequence.
const CALLS: usize = 140;

/// Sequences of calls on a standard queue and a FIFO queue of their own.
const QUEUE_SEQUENCES: u64 = 40;

/// Calls in one of them.
const QUEUE_CALLS: usize = 250;

/// The model behind the SDK, without anything in between.
#[derive(Clone, Debug, Default)]
struct Model(Arc<Mutex<Table>>);

impl HttpClient for Model {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Model {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap().rsplit_once('.').unwrap().1.to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let (status, body) = match self.0.lock().unwrap().request(&operation, &body, START_MS) {
            Ok(answer) => (200, answer),
            Err(Refusal::Error { code, more }) => {
                let mut body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}") });
                body.as_object_mut().unwrap().extend(more);
                (400, body)
            }
            Err(Refusal::Unknown(unknown)) => panic!("the model does not know {}", unknown.0),
        };
        let response = http::Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .body(SdkBody::from(body.to_string()))
            .unwrap();
        let response = response.try_into().map_err(|_| ConnectorError::other("unreadable".into(), None));
        HttpConnectorFuture::ready(response)
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn event(number: u8, received_ms: i64) -> Event {
    let request = Request {
        method: http::Method::POST,
        url: String::new(),
        query: String::new(),
        headers: http::HeaderMap::new(),
        body: format!(r#"{{"id":"e{number}"}}"#).into_bytes(),
        path_type: None,
        sender: None,
        received_at: EpochMillis::from_millis(received_ms),
    };
    Event {
        source: name("shop"),
        id: EventId::from_stored(format!("e{number}")),
        event_type: "order.paid".to_owned(),
        occurred_at: number.is_multiple_of(2).then(|| EpochMillis::from_millis(START_MS)),
        unverified: None,
        order_key: Some("case".to_owned()),
        request,
    }
}

/// What a call returned, without the words of an error, which are the engine's own.
fn said<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(StoreError::Call { operation, permanent, .. }) => {
            format!("{operation} failed, permanent: {permanent}")
        }
        Err(error) => error.to_string(),
    }
}

/// Makes calls that the dice choose, and returns what each of them said.
async fn play(store: &Store, seed: u64) -> Vec<String> {
    let mut dice = Rng::with_seed(seed);
    let mut now_ms = START_MS;
    let mut leases: Vec<Lease> = Vec::new();
    let mut all = Vec::new();
    for _ in 0..CALLS {
        now_ms += dice.choice([0, 1, 100, 40_000, 100_000]).unwrap();
        let now = EpochMillis::from_millis(now_ms);
        let event = event(dice.u8(0..4), START_MS + i64::from(dice.u8(0..2)));
        let place = name(dice.choice(["post", "tell"]).unwrap());
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        let due = Due {
            at: EpochMillis::from_millis(now_ms - 50_000),
            source: key.source.clone(),
            id: key.id.clone(),
        };
        let parked = Parked {
            received_at: key.received_at,
            source: key.source.clone(),
            id: key.id.clone(),
            parked_at: None,
        };
        let lane = Lane::new(&key.source, "case");
        let turn = Turn {
            at: EpochMillis::from_millis(START_MS + i64::from(dice.u8(0..3))),
            id: key.id.clone(),
            received_at: key.received_at,
        };
        let what = dice.u8(0..36);
        let text = match what {
            0 | 1 => {
                let filling = if dice.u8(0..8) == 0 { schema::FRAME_BYTES_MAX + 5 } else { 50 };
                said(&store.put_event(&event, &vec![7; filling], RETENTION_DAYS).await)
            }
            2 => said(&store.received_at(&[(key.source, key.id)]).await),
            3 => said(&store.with_status(&[key]).await),
            4..8 => {
                let leased = store.lease(&event, dice.u64(0..3), RETENTION_DAYS, now).await;
                let text = said(&leased);
                if let Ok(Leased::Ours(lease)) = leased {
                    leases.push(lease);
                }
                text
            }
            8..12 if !leases.is_empty() => {
                let index = dice.usize(0..leases.len());
                let lease = &mut leases[index];
                let outcome =
                    dice.choice([AttemptOutcome::Done, AttemptOutcome::Retry { next_at: now }]).unwrap();
                lease.attempts.0.push(Attempt { action: place, outcome, at: now, detail: "said".to_owned() });
                let status =
                    dice.choice([Status::Working, Status::Retrying, Status::Done, Status::Dead]).unwrap();
                let next_at = dice.bool().then_some(now);
                said(&store.advance(lease, status, next_at, now).await)
            }
            8..12 => said(&store.mark_received(&event, RETENTION_DAYS).await),
            12 => said(&store.entry(&key).await),
            13 => said(&store.outbox_put(&due).await),
            14 => {
                let mut found = Vec::new();
                for shard in 0..schema::OUTBOX_SHARDS {
                    found.push(said(&store.outbox_due(shard, now, 2).await));
                }
                found.concat()
            }
            15 => said(&store.outbox_delete(&due).await),
            16 => said(&store.list(&now.day(), EpochMillis::from_millis(START_MS - 5), now, 3).await),
            17 => {
                let fields =
                    json!({ "total": dice.u8(..), "who": { "name": "x", "tags": ["a", null, true] } });
                let effect = RecordEffect {
                    collection: "orders".to_owned(),
                    key: key.id.to_string(),
                    at: EpochMillis::from_millis(START_MS + i64::from(dice.u8(0..3))),
                    fields: fields.as_object().unwrap().clone(),
                    keep_days: dice.bool().then_some(3),
                };
                said(&store.record(&event, &effect, now).await)
            }
            18 => {
                let effect = CountEffect { counter: "c".to_owned(), day: now.day(), label: "l".to_owned() };
                said(&store.count(&event, &place, &effect, RETENTION_DAYS, now).await)
            }
            19 => said(&store.counts("c", 10).await),
            20 => said(&store.destination(&place).await),
            21 => said(&store.destination_failed(&place).await),
            22 => match dice.u8(0..4) {
                0 => said(&store.destination_pause(&place, "it failed", now).await),
                1 => said(&store.destination_probe_failed(&place, 1, "still", now).await),
                2 => said(&store.destination_switch(&place, dice.bool(), "by hand", now).await),
                _ => said(&store.destination_works(&place, Standing::Disabled, now).await),
            },
            23 => {
                let health = store.destination(&place).await;
                match health.as_ref().map(|health| health.standing) {
                    Ok(Standing::Paused { probe_at, .. }) => {
                        said(&store.destination_probe(&place, probe_at, now).await)
                    }
                    _ => said(&health),
                }
            }
            24 => match dice.bool() {
                true => said(&store.park(&place, &parked, now).await),
                false => said(&store.note_parked(&place, now).await),
            },
            25 => {
                let found = store.parked(&place, now, 3).await;
                let text = said(&found);
                for parked in found.unwrap_or_default().iter().take(1) {
                    store.unpark(&place, parked).await.unwrap();
                }
                text + &said(&store.parked_count(&place).await)
            }
            26 => said(&store.reserve(&place, Rate::parse("2/m").unwrap(), now).await),
            27 => {
                let until = now.plus_millis(30_000);
                let taken = store.take_place(&place, 2, dice.u64(0..3), now, until).await;
                if let (Ok(Some(number)), true) = (&taken, dice.bool()) {
                    store.leave_place(&place, *number, dice.u64(0..3)).await.unwrap();
                }
                said(&taken)
            }
            28 => {
                let delivery = Quarantined::new(name("shop"), "a reason".to_owned(), event.request.clone());
                said(&store.quarantine(&delivery, now).await)
            }
            29 => said(&store.destinations().await),
            30 => said(&store.standing(&key).await),
            31 => said(&store.note_turn(&event, turn.at, RETENTION_DAYS).await),
            32 => said(&store.turn_put(&lane, &turn, RETENTION_DAYS).await),
            33 => said(&store.has_turn(&lane, &turn).await),
            34 => said(&store.turn_delete(&lane, &turn).await),
            _ => said(&store.turn_at(&lane, dice.choice([End::First, End::Last]).unwrap()).await),
        };
        all.push(format!("{what}: {text}"));
    }
    all
}

fn json_of(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(blob) => json!({ "B": BASE64.encode(blob.as_ref()) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Null(flag) => json!({ "NULL": flag }),
        AttributeValue::L(values) => json!({ "L": values.iter().map(json_of).collect::<Vec<_>>() }),
        AttributeValue::M(fields) => {
            json!({ "M": fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<BTreeMap<_, _>>() })
        }
        other => panic!("{other:?}"),
    }
}

type Items = BTreeMap<(String, String), BTreeMap<String, Value>>;

async fn held_by_engine(clients: &Clients, table: &str) -> Items {
    let mut items = Items::new();
    let mut start = None;
    loop {
        let scan = clients.dynamodb.scan().table_name(table).consistent_read(true);
        let page = scan.set_exclusive_start_key(start).send().await.unwrap();
        for item in page.items.unwrap_or_default() {
            let key = |name: &str| item[name].as_s().unwrap().clone();
            let fields = item.iter().map(|(name, value)| (name.clone(), json_of(value))).collect();
            items.insert((key("pk"), key("sk")), fields);
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

#[tokio::test]
async fn the_model_answers_as_the_embedded_engine_does() {
    let engines = Engines::start(Options::memory(Clock::manual(START_MS))).await.unwrap();
    let clients = Clients::local(engines.dynamodb().endpoint(), engines.sqs().endpoint(), Patience::WORKER);
    for seed in 0..SEQUENCES {
        let table = format!("{TABLE}-{seed}");
        engines.dynamodb().create_table(schema::definition(&table)).unwrap();
        let engine = Store::new(clients.dynamodb.clone(), &table);
        let model = Model::default();
        let config = clients.dynamodb.config().to_builder().http_client(model.clone()).build();
        let modelled = Store::new(aws_sdk_dynamodb::Client::from_conf(config), &table);

        let (wanted, said) = (play(&engine, seed).await, play(&modelled, seed).await);

        for (number, (wanted, said)) in wanted.iter().zip(&said).enumerate() {
            assert_eq!(wanted, said, "call {number} of sequence {seed}");
        }
        let held: Items = {
            let table = model.0.lock().unwrap();
            let items = table.under("");
            items.map(|(pk, sk, item)| ((pk.to_owned(), sk.to_owned()), item.clone())).collect()
        };
        assert_eq!(held_by_engine(&clients, &table).await, held, "sequence {seed}");
    }
}

#[test]
fn the_queues_do_what_the_embedded_engine_does() {
    for seed in 0..QUEUE_SEQUENCES {
        let mut dice = Rng::with_seed(seed);
        let [standard, fifo] = queue::Engine::open(&Clock::manual(START_MS)).unwrap();
        let mut queues = [Queue::default().over(standard), Queue::fifo().over(fifo)];
        let mut now_ms = START_MS;
        for number in 0..QUEUE_CALLS {
            now_ms += dice.choice([0, 1, 100, 40_000, SAME_MS, VISIBILITY_MS]).unwrap();
            if dice.u8(0..100) == 0 {
                now_ms += dice.i64(0..queue::RETENTION_MS);
            }
            let is_fifo = dice.bool();
            let queue = &mut queues[usize::from(is_fifo)];
            let delay_ms = if is_fifo { 0 } else { dice.choice([0, 0, 7_000, 1_000_500]).unwrap() };
            let message = Message {
                number: 0,
                body: format!("message {}", dice.u8(0..9)),
                sent_ms: now_ms,
                visible_ms: now_ms + delay_ms,
                receives: 0,
                group: Some(format!("group {}", dice.u8(0..3))),
                trace: None,
                from: Function::Ingest,
            };
            let mut visible = queue.visible(now_ms);
            match dice.u8(0..10) {
                0..3 if is_fifo => drop(queue.send_in_order(message, dice.choice(["a", "b", "c"]).unwrap())),
                0..3 => {
                    let handle = queue.send(message);
                    if dice.u8(0..4) == 0 {
                        queue.copy(handle, now_ms + delay_ms + 3_000);
                    }
                }
                3..8 => {
                    if !is_fifo {
                        dice.shuffle(&mut visible);
                    }
                    visible.truncate(dice.usize(0..5));
                    queue.receive(&visible, now_ms);
                }
                8 => {
                    let in_flight = queue.all().find(|(_, message)| message.receives > 0);
                    let handle = in_flight.map(|(handle, _)| handle);
                    handle.into_iter().for_each(|handle| queue.delete(handle));
                }
                _ if dice.u8(0..8) == 0 => drop(queue.redrive(now_ms)),
                _ => queue.compare(now_ms),
            }
            assert_eq!(queue.differences(), [""; 0], "call {number} of sequence {seed}");
        }
    }
}

#[test]
fn the_fifo_queue_keeps_the_order_of_a_group_and_drops_what_comes_again() {
    let message = |group: &str, sent_ms| Message {
        number: 0,
        body: String::new(),
        sent_ms,
        visible_ms: sent_ms,
        receives: 0,
        group: Some(group.to_owned()),
        trace: None,
        from: Function::Ingest,
    };
    let mut queue = Queue::fifo();
    let first = queue.send_in_order(message("a", 0), "1").unwrap();
    let second = queue.send_in_order(message("a", 1), "2").unwrap();
    let other = queue.send_in_order(message("b", 2), "1").unwrap();
    assert_eq!(queue.send_in_order(message("a", SAME_MS - 1), "1"), None);
    assert_eq!(queue.visible(2), [first, second, other]);
    queue.receive(&[first], 2);
    assert_eq!(queue.visible(2), [other], "the group waits for the one that is in flight");
    queue.delete(first);
    assert_eq!(queue.visible(2), [second, other]);
    queue.receive(&[second], 2);
    assert_eq!(queue.visible(2 + VISIBILITY_MS), [second, other], "it comes back first");
    let again = queue.send_in_order(message("a", SAME_MS), "1").unwrap();
    assert_eq!(queue.visible(2 + VISIBILITY_MS), [second, other, again]);
    let now_ms = 3 + VISIBILITY_MS;
    let delayed = Message { visible_ms: now_ms + 5, ..message("a", now_ms) };
    let delayed = queue.send_in_order(delayed, "3").unwrap();
    let behind = queue.send_in_order(message("a", now_ms), "4").unwrap();
    assert_eq!(queue.visible(now_ms), [second, other, again], "none overtakes the one that is delayed");
    assert_eq!(queue.visible(now_ms + 5), [second, other, again, delayed, behind]);
}
