//! What ends by itself before somebody else ends it, and what is told to come again. Each of these has a row in
//! `tests/mutation`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use hookgate::local::{DEAD_LETTERS, ORDERED, TABLE};
use hookgate_aws::{
    destinations::Parked,
    effects::Functions,
    schema::{COUNT, EVENT_SK, FRAME, PK, SK, event_pk, quarantine_count_sk, quarantine_pk},
};
use hookgate_core::{
    codec::Message, lifecycle::Status, order::Lane, quarantine::PER_DAY_MAX, time::EpochMillis,
};
use hookgate_embedded::{Clock, Fault, How};
use serde_json::json;

use crate::harness::{Bench, SHOP, SHOP_SECRET, World, event_id, every, name, order};

/// How long the table is silent: so long that whoever waits for its answers does not end in time.
const IN_TIME: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_start_does_not_wait_for_a_table_that_says_nothing() {
    let (world, _destination) = World::shop().await;
    world.break_table(Fault::new(How::Hang));
    let began = Instant::now();
    world.stack.ingest.warm_up().await;
    // What opens the connections never gives up by itself.
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    world.heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_can_not_be_read_ends_in_the_dead_letter_queue() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    let (source, id) = (name("shop"), event_id("o1"));
    let damaged = [
        (PK.to_owned(), AttributeValue::S(event_pk(&source, &id))),
        (SK.to_owned(), AttributeValue::S(EVENT_SK.to_owned())),
        (FRAME.to_owned(), AttributeValue::B(Blob::new(*b"no frame"))),
    ];
    bench.put_item(TABLE, damaged.into()).await;
    bench.message(&Message::pointing(&source, &id).to_text()).await;
    for receives in 1..=5 {
        let (batch, failed) = bench.turn().await;
        assert_eq!((batch.len(), failed.len(), batch[0].receive_count), (1, 1, receives));
        bench.clock.advance(Duration::from_secs(360));
    }
    assert!(bench.receive().await.is_empty());
    assert_eq!(bench.engines.sqs().peek(DEAD_LETTERS, 10).unwrap().len(), 1);
    assert!(destination.hits("/post").is_empty());
}

/// As long as most of what a worker may take for an event.
const SLOW: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_ends_before_its_time_does_and_another_goes_on() {
    let clock: Arc<Mutex<Option<Clock>>> = Arc::default();
    let slow = {
        let clock = clock.clone();
        move |_| {
            clock.lock().unwrap().as_ref().unwrap().advance(SLOW);
            async { Ok("slowly".to_owned()) }
        }
    };
    let config =
        SHOP.replace(r#"["post", "tally"]"#, r#"["slow", "tally"]"#) + "[actions.slow]\nkind = \"run\"\n";
    let (bench, _destination) = Bench::start(&config, Functions::default().with("slow", slow)).await;
    *clock.lock().unwrap() = Some(bench.clock.clone());
    bench.order("o1").await;

    bench.turn().await;
    let entry = bench.entry("o1").await;
    assert_eq!((entry.status, entry.attempts.0.len()), (Status::Retrying, 1), "the rest is another's");
    bench.work_off().await;
    let entry = bench.entry("o1").await;
    assert_eq!((entry.status, entry.attempts.0.len()), (Status::Done, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_stream_that_could_not_be_followed_is_read_again() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    let record = |number: &str| {
        let keys = json!({"pk": {"S": event_pk(&name("shop"), &event_id(number))}, "sk": {"S": EVENT_SK}});
        json!({"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": number}})
    };
    let records = [record("7"), record("8")];
    bench.engines.dynamodb().traffic().break_with(every("BatchGetItem", How::Drop));
    assert_eq!(bench.worker.stream(&records).await.as_deref(), Some("7"));
    bench.engines.dynamodb().traffic().heal();
    assert_eq!(bench.worker.stream(&records).await, None);
}

/// A list of empty objects, which take a hundred times as much memory as text.
fn large(id: &str) -> Vec<u8> {
    let list = vec![r#"{"":0}"#; 100_000].join(",");
    format!(r#"{{"id":"{id}","type":"order.paid","at":"2026-05-28T20:26:38Z","list":[{list}]}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_ten_large_events_in_one_batch_are_not_all_in_memory_at_once() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    for number in 0..10 {
        bench.take_in(&large(&format!("o{number}"))).await;
    }
    let (batch, failed) = bench.turn().await;
    assert_eq!((batch.len(), failed.len()), (10, 0));
    let posted = destination.hits("/post").len();
    assert!((1..=3).contains(&posted), "{posted} of 70 MB each, twice");
    assert_eq!(bench.counts().delayed, 10 - posted);
    for _ in 0..10 {
        bench.clock.advance(Duration::from_secs(10));
        bench.turn().await;
    }
    assert_eq!(destination.hits("/post").len(), 10);
    for number in 0..10 {
        assert_eq!(bench.entry(&format!("o{number}")).await.status, Status::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_the_fifo_queue_takes_deliveries_of_one_event_once() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    let message = Message::pointing(&name("shop"), &event_id("o1"));
    let lane = Lane::new(&name("shop"), "customer 7");
    for (again, waiting) in [(None, 1), (None, 1), (Some(1), 2), (Some(2), 3)] {
        bench.worker.queue.send_in_order(&message, &lane, again, None).await.unwrap();
        assert_eq!(bench.engines.sqs().counts(ORDERED).unwrap().visible, waiting, "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_a_stranger_sends_to_a_full_quarantine_costs_no_write() {
    let config = SHOP.replace("provider = \"generic\"", "provider = \"generic\"\nmode = \"quarantine\"");
    let (world, _destination) =
        World::with_destination(&config, &json!({"shop": [SHOP_SECRET]}).to_string()).await;
    let counter = [
        (PK.to_owned(), AttributeValue::S(quarantine_pk(&name("shop")))),
        (SK.to_owned(), AttributeValue::S(quarantine_count_sk(&world.now().day()))),
        (COUNT.to_owned(), AttributeValue::N(PER_DAY_MAX.to_string())),
    ];
    let put = world.clients.dynamodb.put_item().table_name(TABLE).set_item(Some(counter.into()));
    put.send().await.unwrap();
    for writes in [1, 0, 0] {
        world.reset_traffic();
        let headers = [("content-type", "application/json"), ("x-signature", "sha256=00")];
        let answer = world.post("/webhooks/shop", &headers, &order("o1")).await;
        let requests = world.stack.engines.dynamodb().traffic().requests();
        // The sweeper reads meanwhile.
        let written = requests.iter().filter(|request| request.operation == "UpdateItem").count();
        assert_eq!((answer.status, written), (401, writes), "{requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_is_behind_a_record_of_its_group_that_comes_back_comes_back_too() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    let lane = Lane::new(&name("shop"), "customer 7");
    for id in ["o1", "o2"] {
        let message = Message::pointing(&name("shop"), &event_id(id));
        bench.worker.queue.send_in_order(&message, &lane, None, None).await.unwrap();
    }
    let fault = Fault { matching: Some("shop#o1".into()), ..every("GetItem", How::Drop) };
    bench.engines.dynamodb().traffic().break_with(fault);
    let (batch, failed) = bench.turn_of(ORDERED).await;
    assert_eq!((batch.len(), failed.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_was_done_is_written_down_after_more_failures_than_one_call_survives() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    // The lease is taken; after that four requests fail, and a call makes three.
    let fault = Fault { skip: 1, times: Some(4), ..every("UpdateItem", How::Status500) };
    let fault = bench.engines.dynamodb().traffic().break_with(fault);
    bench.turn().await;
    assert_eq!(bench.engines.dynamodb().traffic().fired(fault), 4);
    assert_eq!(bench.entry("o1").await.status, Status::Done);
    assert_eq!(destination.hits("/post").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_was_just_stored_is_looked_at_again_in_a_minute() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    let keys = json!({"pk": {"S": event_pk(&name("shop"), &event_id("o1"))}, "sk": {"S": EVENT_SK}});
    let record = json!({"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": "7"}});
    assert_eq!(bench.worker.stream(&[record.clone(), record]).await, None);
    assert_eq!(bench.items("D#").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_parked_event_that_could_not_be_queued_stays_parked() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    let now = EpochMillis::from_millis(bench.clock.now_ms());
    let parked = Parked { received_at: now, source: name("shop"), id: event_id("o1"), parked_at: None };
    let (store, post) = (&bench.worker.store, name("post"));
    store.park(&post, &parked, now).await.unwrap();
    store.note_parked(&post, now).await.unwrap();
    bench.engines.sqs().traffic().break_with(Fault::new(How::Drop));
    bench.worker.sweep().await;
    assert_eq!(store.parked_count(&post).await.unwrap(), 1);
    bench.engines.sqs().traffic().heal();
    bench.worker.sweep().await;
    assert_eq!(store.parked_count(&post).await.unwrap(), 0);
}
