//! The table.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use futures::future::join_all;
use hookgate_aws::{
    clients::Patience,
    destinations::Parked,
    outbox::Due,
    schema::{self, FRAME, FRAME_BYTES_MAX, LIST_SHARDS, OUTBOX_SHARDS, PK, SK, StatusKey, TTL},
    store::{Entry, Lease, Leased, Store, StoreError},
};
use hookgate_core::{
    codec,
    effect::{CountEffect, RecordEffect},
    event::Event,
    ids::shard,
    lifecycle::{Attempt, AttemptOutcome, LEASE_BELIEVED_MS, LEASE_LEFT_MS, LEASE_MS, Put, Status},
    time::EpochMillis,
};
use hookgate_embedded::How;
use serde_json::{Value, json};

use crate::harness::{
    Answer, DAY_MS, FAILURES, IMPATIENT, MARKER, PATIENT, RETENTION_DAYS, SLACK, START, Server, TABLE, World,
    clients, frame, id, json_event, name, noise, order, order_at, raw_event, s,
};

async fn put(store: &Store, event: &Event) -> Put {
    store.put_event(event, &frame(event), RETENTION_DAYS).await.unwrap()
}

/// Another delivery of the same event.
async fn put_again(store: &Store, event: &Event, delivery: u32) -> Put {
    let frame = codec::encode(event, delivery).unwrap();
    store.put_event(event, &frame, RETENTION_DAYS).await.unwrap()
}

async fn read(store: &Store, event: &Event) -> Event {
    store.event(&event.source, &event.id).await.unwrap().unwrap()
}

fn key(event: &Event) -> StatusKey {
    StatusKey { source: event.source.clone(), id: event.id.clone(), received_at: event.request.received_at }
}

async fn take(store: &Store, event: &Event, owner: u64, now: EpochMillis) -> Leased {
    store.lease(event, owner, RETENTION_DAYS, now).await.unwrap()
}

async fn take_ours(store: &Store, event: &Event, owner: u64, now: EpochMillis) -> Lease {
    match take(store, event, owner, now).await {
        Leased::Ours(lease) => lease,
        other => panic!("{other:?}"),
    }
}

async fn entry(store: &Store, event: &Event) -> Entry {
    store.entry(&key(event)).await.unwrap().unwrap()
}

fn attempt(action: &str, outcome: AttemptOutcome, at: EpochMillis) -> Attempt {
    Attempt { action: name(action), outcome, at, detail: "crm.example answered 503 \"busy\"".into() }
}

fn record_of(key: &str, at: EpochMillis, fields: Value) -> RecordEffect {
    let Value::Object(fields) = fields else { panic!("no object") };
    RecordEffect { collection: "orders".into(), key: key.into(), at, fields, keep_days: None }
}

fn count_of(label: &str) -> CountEffect {
    CountEffect { counter: "events".into(), day: START.day(), label: label.into() }
}

fn due(event_id: &str, at: EpochMillis) -> Due {
    Due { at, source: name("shop"), id: id(event_id) }
}

/// What is due in all shards.
async fn all_due(store: &Store, now: EpochMillis) -> Vec<Due> {
    let mut all = Vec::new();
    for shard in 0..OUTBOX_SHARDS {
        all.extend(store.outbox_due(shard, now, 100).await.unwrap());
    }
    all.sort_by_key(|due| (due.at, due.id.clone()));
    all
}

fn is_damaged<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged { .. }))
}

// ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn an_event_is_stored_once_and_then_a_duplicate() {
    let world = World::start().await;
    let event = order("o1");
    assert!(world.store.event(&event.source, &event.id).await.unwrap().is_none());
    assert_eq!(put(&world.store, &event).await, Put::Stored);
    assert_eq!(put_again(&world.store, &event, 1).await, Put::Duplicate);
    // The same id from another source is another event, and so is another id.
    let mut other = event.clone();
    other.source = name("shop2");
    assert_eq!(put(&world.store, &other).await, Put::Stored);
    assert_eq!(put(&world.store, &order("o2")).await, Put::Stored);
    assert_eq!(world.scan().await.len(), 3);
}

#[tokio::test]
async fn a_delivery_that_is_there_already_is_no_duplicate_of_itself() {
    // As one item, and in parts.
    for event in [order("o1"), raw_event("o2", &noise(3 * FRAME_BYTES_MAX, 5))] {
        let world = World::start().await;
        // A worker that had its message sooner has stored it.
        assert_eq!(put(&world.store, &event).await, Put::Stored);
        assert_eq!(put(&world.store, &event).await, Put::Stored);
        assert_eq!(put_again(&world.store, &event, 1).await, Put::Duplicate);
        assert_eq!(read(&world.store, &event).await.request.body, event.request.body);
    }
}

#[tokio::test]
async fn of_a_hundred_at_once_exactly_one_is_stored() {
    let world = World::start().await;
    let event = order("o1");
    let puts = join_all((0..100).map(|delivery| put_again(&world.store, &event, delivery))).await;
    assert_eq!(puts.iter().filter(|put| **put == Put::Stored).count(), 1);
    assert_eq!(puts.iter().filter(|put| **put == Put::Duplicate).count(), 99);
    assert_eq!(world.scan().await.len(), 1);
}

#[tokio::test]
async fn what_is_read_back_is_byte_for_byte_what_was_put() {
    let world = World::start().await;
    let json = format!("{{\"a\" : \"{}\"}}\n", "text, 1.50 ".repeat(180));
    let zeros = vec![0; 10 * 1024 * 1024];
    for (id, body, items) in [
        ("empty", Vec::new(), 1),
        ("one", vec![0xff], 1),
        ("json", json.into_bytes(), 1),
        ("one item just holds it", noise(379 * 1024, 1), 1),
        ("one item no longer holds it", noise(381 * 1024, 2), 3),
        ("1 MB", noise(1024 * 1024, 3), 4),
        ("6 MB", noise(6 * 1024 * 1024, 4), 18),
        ("packs well", zeros, 1),
    ] {
        let event = raw_event(id, &body);
        assert_eq!(put(&world.store, &event).await, Put::Stored, "{id}");
        let back = read(&world.store, &event).await;
        assert!(back.request.body == body, "{id}");
        assert_eq!(back.request.headers, event.request.headers, "{id}");
        assert_eq!(back.request.query, event.request.query, "{id}");
        assert_eq!(back.request.received_at, START, "{id}");
        assert_eq!((&back.source, &back.id), (&event.source, &event.id), "{id}");
        assert_eq!((&back.event_type, back.occurred_at), (&event.event_type, event.occurred_at), "{id}");
        let pk = schema::event_pk(&event.source, &event.id);
        let stored = world.scan().await.iter().filter(|item| item[PK] == s(&pk)).count();
        assert_eq!(stored, items, "{id}");
    }
}

#[tokio::test]
async fn another_body_under_the_same_id_changes_nothing_that_is_stored() {
    let world = World::start().await;
    let small = [b"first".to_vec(), b"second".to_vec()];
    let large = [noise(900 * 1024, 5), noise(900 * 1024, 6)];
    for (id, first, second) in [
        ("small, small", &small[0], &small[1]),
        ("small, large", &small[0], &large[1]),
        ("large, small", &large[0], &small[1]),
        ("large, large", &large[0], &large[1]),
    ] {
        let event = raw_event(id, first);
        assert_eq!(put(&world.store, &event).await, Put::Stored, "{id}");
        assert_eq!(put(&world.store, &raw_event(id, second)).await, Put::Duplicate, "{id}");
        assert!(read(&world.store, &event).await.request.body == *first, "{id}");
    }
}

#[tokio::test]
async fn two_large_events_under_one_id_at_once_do_not_mix() {
    let world = World::start().await;
    let events: Vec<_> = (10..14).map(|seed| raw_event("same", &noise(800 * 1024, seed))).collect();
    let puts = join_all(events.iter().map(|event| put(&world.store, event))).await;
    let stored: Vec<_> = puts.iter().zip(&events).filter(|(put, _)| **put == Put::Stored).collect();
    assert_eq!(stored.len(), 1, "{puts:?}");
    let winner = stored[0].1;
    assert!(read(&world.store, winner).await.request.body == winner.request.body);
}

#[tokio::test]
async fn a_large_event_does_not_exist_before_all_of_its_parts() {
    let world = World::with(IMPATIENT).await;
    let event = raw_event("large", &noise(900 * 1024, 7));
    // The last part; the event itself comes after it.
    let fault = world.table().break_with(hookgate_embedded::Fault {
        operation: Some("PutItem".into()),
        matching: Some("#0002".into()),
        ..hookgate_embedded::Fault::new(How::AccessDenied)
    });
    let result = world.store.put_event(&event, &frame(&event), RETENTION_DAYS).await;
    assert!(matches!(result, Err(StoreError::Call { operation: "PutItem", .. })), "{result:?}");
    assert!(world.table().fired(fault) > 0);
    assert!(world.store.event(&event.source, &event.id).await.unwrap().is_none());
    world.table().heal();
    assert_eq!(put(&world.store, &event).await, Put::Stored);
    assert!(read(&world.store, &event).await.request.body == event.request.body);
}

#[tokio::test]
async fn a_damaged_event_is_an_error_and_not_a_panic() {
    let world = World::start().await;
    let client = &world.clients.dynamodb;
    let small = raw_event("small", b"body");
    let large = raw_event("large", &noise(900 * 1024, 8));
    for event in [&small, &large] {
        assert_eq!(put(&world.store, event).await, Put::Stored);
    }
    let set = async |event: &Event, sk: &str, field: &str, value: AttributeValue| {
        client
            .update_item()
            .table_name(TABLE)
            .key(PK, s(&schema::event_pk(&event.source, &event.id)))
            .key(SK, s(sk))
            .update_expression("SET #field = :value")
            .expression_attribute_names("#field", field)
            .expression_attribute_values(":value", value)
            .send()
            .await
            .unwrap();
    };
    let bytes = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
    let whole = frame(&small);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 0xff;
    let mut version = whole.clone();
    version[0] = 9;
    for bad in [
        bytes(b""),
        bytes(b"\x01"),
        bytes(b"not a frame at all"),
        bytes(&whole[..whole.len() / 2]),
        bytes(&flipped[..flipped.len() - 1]),
        bytes(&version),
        s("text"),
        AttributeValue::Null(true),
    ] {
        set(&small, schema::EVENT_SK, FRAME, bad.clone()).await;
        let result = world.store.event(&small.source, &small.id).await;
        assert!(is_damaged(&result), "{bad:?}");
    }
    set(&small, schema::EVENT_SK, FRAME, bytes(&whole)).await;
    assert_eq!(read(&world.store, &small).await.request.body, b"body");

    let hash = codec::frame_hash(&frame(&large));
    let part = schema::part_sk(&hash, 1);
    let frame_of_large = frame(&large);
    let good = frame_of_large.chunks(FRAME_BYTES_MAX).nth(1).unwrap();
    let mut other = good.to_vec();
    other[1000] ^= 1;
    for bad in [bytes(&other), bytes(b""), bytes(&good[1..]), s("text")] {
        set(&large, &part, FRAME, bad).await;
        assert!(is_damaged(&world.store.event(&large.source, &large.id).await));
    }
    set(&large, &part, FRAME, bytes(good)).await;
    assert!(read(&world.store, &large).await.request.body == large.request.body);
    for (field, bad) in [
        (schema::PARTS, AttributeValue::N("2".into())),
        (schema::PARTS, AttributeValue::N("4".into())),
        (schema::PARTS, AttributeValue::N("-1".into())),
        (schema::PARTS, AttributeValue::N("9000000000000000000".into())),
        (schema::PARTS, s("3")),
    ] {
        set(&large, schema::EVENT_SK, field, bad.clone()).await;
        assert!(is_damaged(&world.store.event(&large.source, &large.id).await), "{bad:?}");
    }
    set(&large, schema::EVENT_SK, schema::PARTS, AttributeValue::N("3".into())).await;
    client
        .delete_item()
        .table_name(TABLE)
        .key(PK, s(&schema::event_pk(&large.source, &large.id)))
        .key(SK, s(&part))
        .send()
        .await
        .unwrap();
    assert!(is_damaged(&world.store.event(&large.source, &large.id).await));
    set(&large, schema::EVENT_SK, schema::HASH, s(&codec::frame_hash(b"another"))).await;
    assert!(is_damaged(&world.store.event(&large.source, &large.id).await));
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_has_stored_the_event() {
    for how in [How::ApplyThenDrop, How::Apply500, How::ApplyTwice] {
        let world = World::start().await;
        let event = order("o1");
        let fault = world.break_once("PutItem", how);
        // The second try finds what the first has left, and knows it for its own.
        assert_eq!(put(&world.store, &event).await, Put::Stored, "{how:?}");
        assert_eq!(world.table().fired(fault), 1);
        assert_eq!(read(&world.store, &event).await.request.body, event.request.body);
    }
}

#[tokio::test]
async fn a_usual_event_of_two_kilobytes_costs_four_write_units() {
    let world = World::start().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/stripe/payment_intent.succeeded.json");
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let headers: Vec<_> = sample["headers"].as_object().unwrap().iter().collect();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let body = sample["body"].as_str().unwrap();
    assert!((2_000..3_000).contains(&body.len()), "{}", body.len());
    let event = json_event(&headers, body.as_bytes(), START);

    world.table().reset();
    assert_eq!(put(&world.store, &event).await, Put::Stored);
    let stored = world.table().write_units();
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    lease.attempts.0.push(attempt("tell-the-crm", AttemptOutcome::Done, START));
    world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();
    let all = world.table().write_units();
    println!("{} bytes of body: {stored} units stored, {all} in all", body.len());
    assert!(stored >= 1.0 && all > stored, "{stored} {all}");
    assert!(all <= 4.0, "{all}");
    assert_eq!(world.table().requests().len(), 3);
    assert_eq!((world.table().count("PutItem"), world.table().count("UpdateItem")), (1, 2));
}

#[tokio::test]
async fn received_at_and_with_status_name_those_that_are_there() {
    let world = World::start().await;
    let events: Vec<_> =
        (0..50).map(|n| order_at(&format!("o{n:02}"), START.plus_millis(n * 1000))).collect();
    for event in events.iter().step_by(2) {
        assert_eq!(put(&world.store, event).await, Put::Stored);
    }
    let asked: Vec<_> = events.iter().map(|event| (event.source.clone(), event.id.clone())).collect();
    let mut found = world.store.received_at(&asked).await.unwrap();
    found.sort_by_key(|key| key.received_at);
    let there: Vec<_> = events.iter().step_by(2).map(key).collect();
    assert_eq!(found, there);

    assert_eq!(world.store.with_status(&there).await.unwrap(), []);
    take_ours(&world.store, &events[0], 1, START).await;
    world.store.mark_received(&events[2], RETENTION_DAYS).await.unwrap();
    let mut found = world.store.with_status(&there).await.unwrap();
    found.sort_by_key(|key| key.received_at);
    assert_eq!(found, [key(&events[0]), key(&events[2])]);
    // Another time is another delivery, which has no status.
    let later = StatusKey { received_at: START.plus_millis(1), ..key(&events[0]) };
    assert_eq!(world.store.with_status(&[later]).await.unwrap(), []);

    world.table().reset();
    assert_eq!(world.store.received_at(&[]).await.unwrap(), []);
    assert_eq!(world.store.with_status(&[]).await.unwrap(), []);
    assert_eq!(world.table().requests().len(), 0);
}

#[tokio::test]
async fn ids_with_the_separator_in_them_are_read_back() {
    let world = World::start().await;
    for text in ["a#b", "#", "1780000000000#shop#x", "ä 🦀", "E"] {
        let event = order(text);
        assert_eq!(put(&world.store, &event).await, Put::Stored, "{text}");
        assert_eq!(read(&world.store, &event).await.id, event.id);
        let asked = [(event.source.clone(), event.id.clone())];
        assert_eq!(world.store.received_at(&asked).await.unwrap(), [key(&event)]);
        take_ours(&world.store, &event, 1, START).await;
        assert_eq!(entry(&world.store, &event).await.key, key(&event));
        let due = due(text, START);
        world.store.outbox_put(&due).await.unwrap();
        assert_eq!(all_due(&world.store, START).await, std::slice::from_ref(&due));
        world.store.outbox_delete(&due).await.unwrap();
    }
}

// ── Leases ───────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_free_event_is_leased_and_then_held() {
    let world = World::start().await;
    let event = order("o1");
    let lease = take_ours(&world.store, &event, 1, START).await;
    assert_eq!(lease.key, key(&event));
    assert!(lease.attempts.0.is_empty());
    let entry = entry(&world.store, &event).await;
    assert_eq!((entry.status, entry.event_type.as_str()), (Status::Working, "order.paid"));
    assert_eq!(entry.occurred_at, Some(START.plus_millis(-1_500)));

    let until = START.plus_millis(LEASE_MS);
    for now in [START, START.plus_millis(LEASE_MS - 1)] {
        assert_eq!(take(&world.store, &event, 2, now).await, Leased::Held { until });
    }
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_and_its_first_holder_writes_nothing() {
    let world = World::start().await;
    let event = order("o1");
    let mut first = take_ours(&world.store, &event, 1, START).await;
    let later = START.plus_millis(LEASE_MS);
    let mut second = take_ours(&world.store, &event, 2, later).await;
    assert_ne!(first, second);
    let pk = key(&event).pk();
    let before = world.item(&pk, &key(&event).sk()).await.unwrap();
    assert_eq!(before["fence"], AttributeValue::N("2".into()));

    first.attempts.0.push(attempt("a", AttemptOutcome::Done, later));
    for status in [Status::Done, Status::Working, Status::Retrying, Status::Dead] {
        let result = world.store.advance(&mut first, status, Some(later), later).await;
        assert!(matches!(result, Err(StoreError::LeaseLost)), "{result:?}");
    }
    assert_eq!(world.item(&pk, &key(&event).sk()).await.unwrap(), before);
    world.store.advance(&mut second, Status::Done, None, later).await.unwrap();
    // Not after the second one has finished either.
    let result = world.store.advance(&mut first, Status::Retrying, Some(later), later).await;
    assert!(matches!(result, Err(StoreError::LeaseLost)), "{result:?}");
    assert_eq!(entry(&world.store, &event).await.status, Status::Done);
}

#[tokio::test]
async fn a_write_that_arrives_late_undoes_nothing() {
    let world = World::start().await;
    let event = order("o1");
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    // On its way for so long that it was sent again, and more after it.
    let mut late = lease.clone();
    lease.attempts.0.push(attempt("a", AttemptOutcome::Done, START));
    world.store.advance(&mut lease, Status::Working, None, START).await.unwrap();
    lease.attempts.0.push(attempt("b", AttemptOutcome::Done, START));
    world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();

    for status in [Status::Working, Status::Retrying] {
        let result = world.store.advance(&mut late, status, None, START).await;
        assert!(matches!(result, Err(StoreError::LeaseLost)), "{result:?}");
    }

    let entry = entry(&world.store, &event).await;
    assert_eq!((entry.status, entry.attempts), (Status::Done, lease.attempts));
}

#[tokio::test]
async fn a_lease_suffices_until_the_longest_action_does_not_fit_any_more() {
    let world = World::start().await;
    let mut lease = take_ours(&world.store, &order("o1"), 1, START).await;
    let last = START.plus_millis(LEASE_MS - LEASE_LEFT_MS);
    assert!(lease.suffices(START) && lease.suffices(last) && !lease.suffices(last.plus_millis(1)));
    world.store.advance(&mut lease, Status::Working, None, last).await.unwrap();
    assert!(lease.suffices(last.plus_millis(1)));
}

#[tokio::test]
async fn a_lease_is_fresh_for_a_second_by_a_clock_that_goes_forward() {
    let world = World::start().await;
    let mut lease = take_ours(&world.store, &order("o1"), 1, START).await;
    let last = START.plus_millis(LEASE_BELIEVED_MS);
    assert!(lease.is_fresh(START) && lease.is_fresh(last));
    assert!(!lease.is_fresh(last.plus_millis(1)) && !lease.is_fresh(START.plus_millis(-1)));
    world.store.advance(&mut lease, Status::Working, None, last).await.unwrap();
    assert!(lease.is_fresh(last.plus_millis(1)));
}

#[tokio::test]
async fn an_event_that_was_parked_again_meanwhile_stays_parked() {
    let world = World::start().await;
    let (store, post) = (&world.store, name("post"));
    let parked = Parked { received_at: START, source: name("shop"), id: id("o1"), parked_at: None };
    let found = async || store.parked(&post, EpochMillis::from_millis(i64::MAX), 10).await.unwrap();
    store.park(&post, &parked, START).await.unwrap();
    let before = found().await;

    // The sweeper has sent its message, and a worker has parked it again before the sweeper takes it out.
    store.park(&post, &parked, START.plus_millis(1)).await.unwrap();
    store.unpark(&post, &before[0]).await.unwrap();

    let after = found().await;
    assert_eq!(after.len(), 1);
    store.unpark(&post, &after[0]).await.unwrap();
    store.unpark(&post, &after[0]).await.unwrap();
    assert_eq!(found().await, []);
}

#[tokio::test]
async fn a_lease_is_renewed_by_an_attempt_in_between() {
    let world = World::start().await;
    let event = order("o1");
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    let later = START.plus_millis(60_000);
    lease.attempts.0.push(attempt("a", AttemptOutcome::Done, later));
    world.store.advance(&mut lease, Status::Working, None, later).await.unwrap();
    let until = later.plus_millis(LEASE_MS);
    let now = START.plus_millis(LEASE_MS + 1);
    assert_eq!(take(&world.store, &event, 2, now).await, Leased::Held { until });
    assert_eq!(entry(&world.store, &event).await.attempts, lease.attempts);
    // Who takes over after all goes on with what was done.
    assert_eq!(take_ours(&world.store, &event, 2, until).await.attempts, lease.attempts);
}

#[tokio::test]
async fn what_is_finished_is_not_leased_again() {
    let world = World::start().await;
    for status in [Status::Done, Status::Unrouted, Status::Dead] {
        let event = order(status.word());
        let mut lease = take_ours(&world.store, &event, 1, START).await;
        world.store.advance(&mut lease, status, None, START).await.unwrap();
        for (owner, now) in [(1, START), (2, START), (2, START.plus_millis(10 * LEASE_MS))] {
            assert_eq!(take(&world.store, &event, owner, now).await, Leased::Finished(status));
        }
    }
}

#[tokio::test]
async fn of_twenty_workers_at_once_one_gets_the_lease() {
    let world = World::start().await;
    let event = order("o1");
    let all = join_all((1..=20).map(|owner| take(&world.store, &event, owner, START))).await;
    let until = START.plus_millis(LEASE_MS);
    assert_eq!(all.iter().filter(|leased| matches!(leased, Leased::Ours(_))).count(), 1);
    assert_eq!(all.iter().filter(|leased| **leased == Leased::Held { until }).count(), 19);
}

#[tokio::test]
async fn a_lease_whose_answer_is_lost_is_still_ours() {
    for how in [How::ApplyThenDrop, How::Apply500, How::ApplyTwice] {
        let world = World::start().await;
        let event = order("o1");
        let fault = world.break_once("UpdateItem", how);
        let mut lease = take_ours(&world.store, &event, 0xfeed, START).await;
        assert_eq!(world.table().fired(fault), 1, "{how:?}");
        // Taken once: another try did not push the fence on.
        let item = world.item(&key(&event).pk(), &key(&event).sk()).await.unwrap();
        assert_eq!(item["fence"], AttributeValue::N("1".into()), "{how:?}");
        assert!(matches!(take(&world.store, &event, 2, START).await, Leased::Held { .. }));
        lease.attempts.0.push(attempt("a", AttemptOutcome::Done, START));
        world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();
        assert_eq!(entry(&world.store, &event).await.attempts, lease.attempts);
    }
}

#[tokio::test]
async fn an_advance_whose_answer_is_lost_has_happened() {
    for how in [How::ApplyThenDrop, How::Apply500, How::ApplyTwice] {
        let world = World::start().await;
        let event = order("o1");
        let mut lease = take_ours(&world.store, &event, 1, START).await;
        lease.attempts.0.push(attempt("a", AttemptOutcome::Dead, START));
        let fault = world.break_once("UpdateItem", how);
        world.store.advance(&mut lease, Status::Dead, None, START).await.unwrap();
        assert_eq!(world.table().fired(fault), 1, "{how:?}");
        let entry = entry(&world.store, &event).await;
        assert_eq!((entry.status, entry.attempts), (Status::Dead, lease.attempts));
    }
}

#[tokio::test]
async fn a_waiting_event_keeps_its_attempts_and_its_time_and_can_be_leased() {
    let world = World::start().await;
    let event = order("o1");
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    let next_at = START.plus_millis(5_000);
    lease.attempts.0.push(attempt("a", AttemptOutcome::Done, START));
    lease.attempts.0.push(attempt("b", AttemptOutcome::Retry { next_at }, START));
    world.store.advance(&mut lease, Status::Retrying, Some(next_at), START).await.unwrap();
    let waiting = entry(&world.store, &event).await;
    assert_eq!((waiting.status, waiting.next_at), (Status::Retrying, Some(next_at)));
    assert_eq!(waiting.attempts, lease.attempts);

    // The lease was given back: nobody has to wait for its end.
    let mut again = take_ours(&world.store, &event, 2, START).await;
    assert_eq!(again.attempts, lease.attempts);
    again.attempts.0.push(attempt("b", AttemptOutcome::Done, next_at));
    world.store.advance(&mut again, Status::Done, None, next_at).await.unwrap();
    let done = entry(&world.store, &event).await;
    assert_eq!((done.status, done.next_at), (Status::Done, None));
    assert_eq!(done.attempts, again.attempts);
    let item = world.item(&key(&event).pk(), &key(&event).sk()).await.unwrap();
    for gone in ["next_at", "lease_until", "lease_owner"] {
        assert!(!item.contains_key(gone), "{item:?}");
    }
}

#[tokio::test]
async fn a_received_event_is_listed_and_can_be_leased() {
    let world = World::start().await;
    let event = order("o1");
    assert_eq!(world.store.entry(&key(&event)).await.unwrap(), None);
    world.store.mark_received(&event, RETENTION_DAYS).await.unwrap();
    world.store.mark_received(&event, RETENTION_DAYS).await.unwrap();
    let received = entry(&world.store, &event).await;
    assert_eq!(
        received,
        Entry {
            key: key(&event),
            status: Status::Received,
            event_type: "order.paid".into(),
            occurred_at: event.occurred_at,
            attempts: Default::default(),
            next_at: None,
            lease_until: None,
        }
    );
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    lease.attempts.0.push(attempt("a", AttemptOutcome::Done, START));
    world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();
    // It comes too late now, and changes nothing.
    world.store.mark_received(&event, RETENTION_DAYS).await.unwrap();
    let done = entry(&world.store, &event).await;
    assert_eq!((done.status, done.attempts), (Status::Done, lease.attempts));
}

#[tokio::test]
async fn a_damaged_status_is_an_error_and_not_a_panic() {
    let world = World::start().await;
    for (number, (field, bad)) in [
        (schema::STATUS, s("asleep")),
        (schema::STATUS, AttributeValue::N("1".into())),
        (schema::ATTEMPTS, s("[{\"action\": 5}]")),
        (schema::ATTEMPTS, s("no json")),
    ]
    .into_iter()
    .enumerate()
    {
        let event = order(&format!("o{number}"));
        let mut lease = take_ours(&world.store, &event, 1, START).await;
        world.store.advance(&mut lease, Status::Retrying, Some(START), START).await.unwrap();
        world
            .clients
            .dynamodb
            .update_item()
            .table_name(TABLE)
            .key(PK, s(&key(&event).pk()))
            .key(SK, s(&key(&event).sk()))
            .update_expression("SET #field = :value")
            .expression_attribute_names("#field", field)
            .expression_attribute_values(":value", bad)
            .send()
            .await
            .unwrap();
        assert!(is_damaged(&world.store.entry(&key(&event)).await), "{number}");
    }
}

#[tokio::test]
async fn what_a_later_release_tried_is_kept_as_it_is() {
    let world = World::start().await;
    let event = order("o1");
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    let written = r#"[{"action":"a","outcome":"skipped","why":{"rule":7},"at":5,"detail":"by a rule"}]"#;
    lease.attempts = serde_json::from_str(written).unwrap();
    world.store.advance(&mut lease, Status::Retrying, Some(START), START).await.unwrap();

    let mut lease = take_ours(&world.store, &event, 2, START).await;
    lease.attempts.0.push(attempt("b", AttemptOutcome::Done, START));
    world.store.advance(&mut lease, Status::Retrying, Some(START), START).await.unwrap();

    let item = world.item(&key(&event).pk(), &key(&event).sk()).await.unwrap();
    let stored: Vec<Value> = serde_json::from_str(item[schema::ATTEMPTS].as_s().unwrap()).unwrap();
    let kept: Vec<Value> = serde_json::from_str(written).unwrap();
    assert_eq!((stored.len(), &stored[..1]), (2, &kept[..]));
    assert_eq!(entry(&world.store, &event).await.attempts, lease.attempts);
}

// ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn the_list_of_a_day_is_the_newest_first_over_all_shards() {
    let world = World::start().await;
    let events: Vec<_> =
        (0..150_i64).map(|n| order_at(&format!("o{n}"), START.plus_millis(n * 10))).collect();
    let shards: BTreeSet<_> =
        events.iter().map(|event| shard(&event.source, &event.id, LIST_SHARDS)).collect();
    assert!(shards.len() > 30, "{}", shards.len());
    join_all(events.iter().map(|event| world.store.mark_received(event, RETENTION_DAYS)))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    // Another day's is not in it.
    let tomorrow = order_at("tomorrow", START.plus_millis(DAY_MS));
    world.store.mark_received(&tomorrow, RETENTION_DAYS).await.unwrap();

    let day = START.day();
    let at = |n: i64| START.plus_millis(n * 10);
    let list = async |from, until, limit| -> Vec<EpochMillis> {
        let entries = world.store.list(&day, from, until, limit).await.unwrap();
        entries.into_iter().map(|entry| entry.key.received_at).collect()
    };
    let newest_first = |from: i64, until: i64| -> Vec<_> { (from..until).rev().map(at).collect() };
    let (start, end) = (EpochMillis::from_millis(0), START.plus_millis(10 * DAY_MS));
    assert_eq!(list(start, end, 1000).await, newest_first(0, 150));
    assert_eq!(list(start, end, 7).await, newest_first(143, 150));
    assert_eq!(list(start, end, 0).await, []);
    // From is within, until is not.
    assert_eq!(list(at(20), at(30), 1000).await, newest_first(20, 30));
    assert_eq!(list(at(20), at(30), 3).await, newest_first(27, 30));
    assert_eq!(list(at(20), at(20).plus_millis(1), 10).await, newest_first(20, 21));
    assert_eq!(list(at(20), at(20), 10).await, []);
    assert_eq!(list(at(30), at(20), 10).await, []);
    let next = world.store.list(&tomorrow.request.received_at.day(), start, end, 10).await.unwrap();
    assert_eq!(next.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), [key(&tomorrow)]);
    assert_eq!(world.store.list("2020-01-01", start, end, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_shard_with_more_than_one_page_is_listed_whole() {
    let world = World::start().await;
    let day = START.day();
    let items: Vec<_> = (0..1_250)
        .map(|n| {
            let sk = schema::time_sk(START.plus_millis(n), &name("shop"), &id(&format!("o{n}")));
            let put = PutRequest::builder()
                .item(PK, s(&schema::list_pk(&day, 5)))
                .item(SK, s(&sk))
                .item(schema::STATUS, s("done"));
            WriteRequest::builder().put_request(put.build().unwrap()).build()
        })
        .collect();
    for chunk in items.chunks(25) {
        world.clients.dynamodb.batch_write_item().request_items(TABLE, chunk.to_vec()).send().await.unwrap();
    }
    for (limit, want) in [(1_000, 1_000), (1_200, 1_200), (5_000, 1_250)] {
        let end = START.plus_millis(DAY_MS);
        let entries = world.store.list(&day, START, end, limit).await.unwrap();
        let times: Vec<_> = entries.iter().map(|entry| entry.key.received_at).collect();
        let newest_first: Vec<_> = (1_250 - want..1_250).rev().map(|n| START.plus_millis(n)).collect();
        assert_eq!(times, newest_first, "{limit}");
    }
}

// ── The outbox ───────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn the_outbox_gives_what_is_due_when_it_is_due() {
    let world = World::start().await;
    let [first, second, third] = [0, 1, 60_000].map(|ms| due(&format!("o{ms}"), START.plus_millis(ms)));
    for due in [&third, &first, &second] {
        world.store.outbox_put(due).await.unwrap();
        world.store.outbox_put(due).await.unwrap();
    }
    assert_eq!(all_due(&world.store, START.plus_millis(-1)).await, []);
    assert_eq!(all_due(&world.store, START).await, std::slice::from_ref(&first));
    assert_eq!(all_due(&world.store, START.plus_millis(59_999)).await, [first.clone(), second.clone()]);
    let all = [first.clone(), second.clone(), third.clone()];
    assert_eq!(all_due(&world.store, START.plus_millis(60_000)).await, all);

    world.store.outbox_delete(&second).await.unwrap();
    world.store.outbox_delete(&second).await.unwrap();
    assert_eq!(all_due(&world.store, START.plus_millis(DAY_MS)).await, [first, third]);
}

#[tokio::test]
async fn a_shard_of_the_outbox_gives_the_oldest_first() {
    let world = World::start().await;
    let in_one: Vec<_> = (0..)
        .map(|n| format!("o{n}"))
        .filter(|text| shard(&name("shop"), &id(text), OUTBOX_SHARDS) == 3)
        .take(12)
        .collect();
    // Put down in another order than that of time.
    for (n, text) in in_one.iter().enumerate() {
        let at = START.plus_millis(i64::try_from(n * 5 % 12).unwrap());
        world.store.outbox_put(&due(text, at)).await.unwrap();
    }
    let all = world.store.outbox_due(3, START.plus_millis(100), 100).await.unwrap();
    let times: Vec<_> = all.iter().map(|due| due.at.millis_since(START)).collect();
    assert_eq!(times, (0..12).collect::<Vec<_>>());
    assert_eq!(world.store.outbox_due(3, START.plus_millis(100), 5).await.unwrap(), all[..5]);
    assert_eq!(world.store.outbox_due(4, START.plus_millis(100), 100).await.unwrap(), []);
}

#[tokio::test]
async fn one_event_is_in_the_outbox_as_often_as_it_has_times() {
    let world = World::start().await;
    let (now, later) = (due("o1", START), due("o1", START.plus_millis(DAY_MS)));
    world.store.outbox_put(&now).await.unwrap();
    world.store.outbox_put(&later).await.unwrap();
    assert_eq!(all_due(&world.store, later.at).await, [now.clone(), later.clone()]);
    world.store.outbox_delete(&now).await.unwrap();
    assert_eq!(all_due(&world.store, later.at).await, [later]);
}

// ── Records and counters ─────────────────────────────────────────────────────────────────────────────────────

async fn record(world: &World, effect: &RecordEffect) -> bool {
    world.store.record(&order("o1"), effect, START).await.unwrap()
}

async fn only_record(world: &World) -> Value {
    let records = world.store.records("orders", 10).await.unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].0, "k");
    records[0].1.clone()
}

#[tokio::test]
async fn a_newer_event_overwrites_a_record_and_an_older_one_does_not() {
    let world = World::start().await;
    assert!(record(&world, &record_of("k", START, json!({"state": "paid", "total": 5}))).await);
    let first = only_record(&world).await;
    assert_eq!(
        first,
        json!({"state": "paid", "total": 5, "event_at": START, "updated_at": START, "event_id": "o1", "source": "shop"})
    );
    // Fields that the newer event lacks stay.
    assert!(record(&world, &record_of("k", START.plus_millis(1), json!({"state": "shipped"}))).await);
    let newer = only_record(&world).await;
    assert_eq!((&newer["state"], &newer["total"]), (&json!("shipped"), &json!(5)));
    assert_eq!(newer["event_at"], json!(START.plus_millis(1)));

    assert!(!record(&world, &record_of("k", START, json!({"state": "open", "late": true}))).await);
    assert_eq!(only_record(&world).await, newer);
    // The same time does: it is the same event once more, as often as not.
    assert!(record(&world, &record_of("k", START.plus_millis(1), json!({"state": "lost"}))).await);
    assert_eq!(only_record(&world).await["state"], json!("lost"));
}

#[tokio::test]
async fn records_are_apart_by_collection_and_key() {
    let world = World::start().await;
    let mut contact = record_of("k", START, json!({"who": "contact"}));
    contact.collection = "contacts".into();
    assert!(record(&world, &contact).await);
    for key in ["a", "b", "c"] {
        assert!(record(&world, &record_of(key, START, json!({"key": key}))).await);
    }
    let keys = async |collection, limit| -> Vec<String> {
        let records = world.store.records(collection, limit).await.unwrap();
        records.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys("orders", 10).await, ["c", "b", "a"]);
    assert_eq!(keys("orders", 2).await, ["c", "b"]);
    assert_eq!(keys("contacts", 10).await, ["k"]);
    assert!(keys("order", 10).await.is_empty());
}

#[tokio::test]
async fn a_record_keeps_values_of_every_type() {
    let world = World::start().await;
    let fields = json!({
        "text": "ä\u{0}\n🦀",
        "empty": "",
        "null": null,
        "yes": true,
        "no": false,
        "zero": 0,
        "negative": -5,
        "cents": 12.5,
        "tenth": 0.1,
        "large": 12_345_678_901_234_567_890_u64,
        "smallest": i64::MIN,
        "list": [1, "two", null, [], {"three": [3]}],
        "nested": {"a": {"b": {"c": [true, {"d": ""}]}}, "none": {}},
    });
    assert!(record(&world, &record_of("k", START, fields.clone())).await);
    let back = only_record(&world).await;
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&back[name], value, "{name}");
    }
    // What DynamoDB can't hold is kept as text: empty names, more than 32 levels, some numbers.
    let unnamed = json!({"list": [{"": 1}], "object": {"": {"a": [2]}}});
    assert!(record(&world, &record_of("k", START, unnamed)).await);
    let back = only_record(&world).await;
    assert_eq!((&back["list"], &back["object"]), (&json!(["{\"\":1}"]), &json!("{\"\":{\"a\":[2]}}")));
    for (levels, kept) in [(31, 31), (32, 31), (120, 31)] {
        let mut deep = json!("core");
        for level in 0..levels {
            deep = if level % 2 == 0 { json!([deep]) } else { json!({"in": deep}) };
        }
        assert!(record(&world, &record_of("k", START, json!({"deep": deep}))).await, "{levels}");
        let back = only_record(&world).await;
        let mut value = &back["deep"];
        let mut depth = 0;
        while let Some(inner) = value.get(0).or_else(|| value.get("in")) {
            (value, depth) = (inner, depth + 1);
        }
        assert_eq!(depth, kept, "{levels}");
        assert!(value.as_str().unwrap().contains("core"), "{levels}");
    }
    let huge = json!({"huge": 1e300, "tiny": 1e-300, "negative": -1e300, "list": [1e300]});
    assert!(record(&world, &record_of("k", START, huge)).await);
    let back = only_record(&world).await;
    for (name, float) in [("huge", 1e300), ("tiny", 1e-300), ("negative", -1e300)] {
        assert_eq!(back[name].as_str().unwrap().parse::<f64>().unwrap(), float, "{name}");
    }
    assert_eq!(back["list"][0].as_str().unwrap().parse::<f64>().unwrap(), 1e300);
}

#[tokio::test]
async fn a_record_may_have_fields_of_any_name() {
    let world = World::start().await;
    let names = [
        "status",
        "name",
        "size",
        "count",
        "type",
        "value",
        "date",
        "user",
        "year",
        "n",
        "frame",
        "a.b",
        "#f0",
        ":f0",
        "with space",
        "ünïcode",
        "SET",
        "[0]",
    ];
    let fields: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!(name))).collect();
    assert!(record(&world, &record_of("k", START, Value::Object(fields))).await);
    let back = only_record(&world).await;
    for name in names {
        assert_eq!(back[name], json!(name));
    }
}

#[tokio::test]
async fn a_record_is_forgotten_after_the_days_that_it_is_kept_for() {
    let world = World::start().await;
    let kept = record_of("k", START, json!({"a": 1}));
    assert!(record(&world, &kept).await);
    let pk = schema::record_pk("orders");
    assert!(!world.item(&pk, "k").await.unwrap().contains_key(TTL));
    let later = START.plus_millis(5_000);
    let forgotten = RecordEffect { keep_days: Some(7), ..kept };
    assert!(world.store.record(&order("o1"), &forgotten, later).await.unwrap());
    let seconds = later.as_seconds() + 7 * 24 * 60 * 60;
    assert_eq!(world.item(&pk, "k").await.unwrap()[TTL], AttributeValue::N(seconds.to_string()));
}

async fn counts(world: &World) -> BTreeMap<String, u64> {
    let counts = world.store.counts("events", 1000).await.unwrap();
    counts.into_iter().map(|one| (format!("{}#{}", one.day, one.label), one.count)).collect()
}

async fn count(world: &World, event: &Event, action: &str, label: &str) -> bool {
    let effect = count_of(label);
    world.store.count(event, &name(action), &effect, RETENTION_DAYS, START).await.unwrap()
}

#[tokio::test]
async fn an_event_is_counted_once_for_each_action() {
    let world = World::start().await;
    assert!(count(&world, &order("o1"), "tally", "paid").await);
    assert!(!count(&world, &order("o1"), "tally", "paid").await);
    assert!(!count(&world, &order("o1"), "tally", "another label").await);
    assert_eq!(counts(&world).await, [("2026-05-28#paid".to_owned(), 1)].into());
    assert!(count(&world, &order("o2"), "tally", "paid").await);
    assert!(count(&world, &order("o1"), "tally-2", "paid").await);
    assert!(count(&world, &order("o3"), "tally", "open # free").await);
    let want = [("2026-05-28#paid", 3), ("2026-05-28#open # free", 1)];
    assert_eq!(counts(&world).await, want.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect());
    // A mark is no part of the event: it can still be stored.
    assert_eq!(put(&world.store, &order("o1")).await, Put::Stored);
    assert!(!count(&world, &order("o1"), "tally", "paid").await);
}

#[tokio::test]
async fn an_event_that_is_counted_by_many_at_once_is_counted_once() {
    let world = World::start().await;
    let (event, effect, action) = (order("o1"), count_of("paid"), name("tally"));
    let all =
        join_all((0..20).map(|_| world.store.count(&event, &action, &effect, RETENTION_DAYS, START))).await;
    assert_eq!(all.iter().filter(|result| matches!(result, Ok(true))).count(), 1, "{all:?}");
    assert_eq!(counts(&world).await["2026-05-28#paid"], 1);
}

#[tokio::test]
async fn many_events_that_are_counted_at_once_are_all_counted() {
    let world = World::start().await;
    let counted =
        join_all((0..30).map(async |n| count(&world, &order(&format!("o{n}")), "tally", "paid").await)).await;
    assert!(counted.iter().all(|new| *new));
    assert_eq!(counts(&world).await["2026-05-28#paid"], 30);
}

#[tokio::test]
async fn a_count_whose_answer_is_lost_is_counted_once() {
    for how in [How::ApplyThenDrop, How::Apply500, How::ApplyTwice] {
        let world = World::start().await;
        let fault = world.break_once("TransactWriteItems", how);
        // The SDK's second try has the token of the first, so it is told what came of that.
        assert!(count(&world, &order("o1"), "tally", "paid").await, "{how:?}");
        assert_eq!(world.table().fired(fault), 1);
        assert_eq!(counts(&world).await["2026-05-28#paid"], 1);
        assert!(!count(&world, &order("o1"), "tally", "paid").await);
    }
}

#[tokio::test]
async fn counts_are_the_newest_day_first() {
    let world = World::start().await;
    for (n, day) in ["2026-05-27", "2026-06-01", "2026-05-28"].iter().enumerate() {
        let effect = CountEffect { day: (*day).to_owned(), ..count_of("paid") };
        let event = order(&format!("o{n}"));
        world.store.count(&event, &name("tally"), &effect, RETENTION_DAYS, START).await.unwrap();
    }
    let days = world.store.counts("events", 2).await.unwrap();
    let days: Vec<_> = days.into_iter().map(|one| one.day).collect();
    assert_eq!(days, ["2026-06-01", "2026-05-28"]);
}

// ── Every item, every call ───────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn every_item_but_a_record_expires() {
    let world = World::start().await;
    let event = order("o1");
    let large = raw_event("large", &noise(900 * 1024, 9));
    assert_eq!(put(&world.store, &event).await, Put::Stored);
    assert_eq!(put(&world.store, &large).await, Put::Stored);
    let mut lease = take_ours(&world.store, &event, 1, START).await;
    world.store.advance(&mut lease, Status::Retrying, Some(START), START).await.unwrap();
    world.store.mark_received(&large, RETENTION_DAYS).await.unwrap();
    take_ours(&world.store, &order("leased only"), 1, START).await;
    world.store.outbox_put(&due("o1", START)).await.unwrap();
    assert!(count(&world, &event, "tally", "paid").await);
    assert!(record(&world, &record_of("k", START, json!({"a": 1}))).await);

    let days = |item: &BTreeMap<String, AttributeValue>| -> Option<i64> {
        let seconds: i64 = item.get(TTL)?.as_n().unwrap().parse().unwrap();
        Some((seconds - START.as_seconds()) / (24 * 60 * 60))
    };
    // By the first letters of the keys, of the sort key for what belongs to an event.
    let mut kinds: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    for item in world.scan().await {
        let first = |key: &str| item[key].as_s().unwrap().chars().next().unwrap();
        let kind = match first(PK) {
            'E' => format!("E {}", first(SK)),
            other => other.to_string(),
        };
        kinds.entry(kind).or_default().push(days(&item));
    }
    let (event_days, status_days) = (Some(30), Some(31));
    let want: BTreeMap<String, Vec<Option<i64>>> = [
        ("E E", vec![event_days; 2]),
        ("E P", vec![event_days; 3]),
        ("E A", vec![status_days]),
        ("L", vec![status_days; 3]),
        ("D", vec![Some(14)]),
        ("C", vec![Some(400)]),
        ("R", vec![None]),
    ]
    .into_iter()
    .map(|(kind, days)| (kind.to_owned(), days))
    .collect();
    assert_eq!(kinds, want);

    // And it does: the engine forgets by that attribute.
    world.clock.advance(Duration::from_secs(401 * 24 * 60 * 60));
    assert_eq!(world.engines.dynamodb().sweep_expired().unwrap(), 11);
    assert_eq!(world.scan().await.len(), 1);
}

type Calling<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

/// A method, the operation that it is made of, and a call of it that can be made again.
type Case<'a> = (&'static str, &'static str, Box<dyn Fn() -> Calling<'a> + 'a>);

struct Arguments {
    event: Event,
    frame: Vec<u8>,
    large: Event,
    large_frame: Vec<u8>,
    stored: Event,
    stored_large: Event,
    lease: Lease,
    due: Due,
    record: RecordEffect,
    count: CountEffect,
    keys: Vec<StatusKey>,
    day: String,
}

impl Arguments {
    async fn make(store: &Store) -> Self {
        // Everything has the marker in it, and none of it may be in an error.
        let event = order(&format!("{MARKER}-new"));
        let large = raw_event(&format!("{MARKER}-large"), &noise(500 * 1024, 20));
        let stored = order(&format!("{MARKER}-stored"));
        let stored_large = raw_event(&format!("{MARKER}-stored-large"), &noise(500 * 1024, 21));
        for event in [&stored, &stored_large] {
            assert_eq!(put(store, event).await, Put::Stored);
        }
        let mut lease = take_ours(store, &stored, 1, START).await;
        lease.attempts.0.push(attempt(MARKER, AttemptOutcome::Done, START));
        let mut record = record_of(MARKER, START, json!({"name": MARKER}));
        record.collection = MARKER.into();
        Self {
            frame: frame(&event),
            large_frame: frame(&large),
            keys: vec![key(&stored), key(&stored_large)],
            due: due(&format!("{MARKER}-due"), START),
            count: CountEffect { counter: MARKER.into(), ..count_of(MARKER) },
            day: START.day(),
            event,
            large,
            stored,
            stored_large,
            lease,
            record,
        }
    }

    fn cases<'a>(&'a self, store: &'a Store) -> Vec<Case<'a>> {
        macro_rules! case {
            ($name:literal, $operation:literal, $call:expr) => {
                ($name, $operation, Box::new(move || Box::pin(async move { $call.await.map(drop) })))
            };
        }
        vec![
            case!("put_event", "PutItem", store.put_event(&self.event, &self.frame, RETENTION_DAYS)),
            case!(
                "put_event, in parts",
                "PutItem",
                store.put_event(&self.large, &self.large_frame, RETENTION_DAYS)
            ),
            case!("event", "GetItem", store.event(&self.stored.source, &self.stored.id)),
            case!(
                "event, in parts",
                "GetItem",
                store.event(&self.stored_large.source, &self.stored_large.id)
            ),
            case!("received_at", "BatchGetItem", async {
                store.received_at(&[(self.stored.source.clone(), self.stored.id.clone())]).await
            }),
            case!("with_status", "BatchGetItem", store.with_status(&self.keys)),
            case!("lease", "UpdateItem", store.lease(&self.event, 1, RETENTION_DAYS, START)),
            case!(
                "advance",
                "UpdateItem",
                store.advance(&mut self.lease.clone(), Status::Working, None, START)
            ),
            case!("mark_received", "PutItem", store.mark_received(&self.stored_large, RETENTION_DAYS)),
            case!("outbox_put", "PutItem", store.outbox_put(&self.due)),
            case!("outbox_due", "Query", store.outbox_due(0, START, 10)),
            case!("outbox_delete", "DeleteItem", store.outbox_delete(&self.due)),
            case!("entry", "GetItem", store.entry(&self.keys[0])),
            case!("list", "Query", store.list(&self.day, START, START.plus_millis(1), 10)),
            case!("record", "UpdateItem", store.record(&self.stored, &self.record, START)),
            case!("records", "Query", store.records(MARKER, 10)),
            case!(
                "count",
                "TransactWriteItems",
                store.count(&self.stored, &self.stored.source, &self.count, RETENTION_DAYS, START)
            ),
            case!("counts", "Query", store.counts(MARKER, 10)),
        ]
    }
}

fn assert_tells_only_what_it_should(case: &str, operation: &str, error: &StoreError) {
    assert!(matches!(error, StoreError::Call { operation: of, .. } if *of == operation), "{case}: {error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("DynamoDB {operation}: ")), "{case}: {text}");
    assert!(!text.contains(['\n', '\r']), "{case}: {text}");
    assert!(text.chars().count() < 300, "{case}: {text}");
    assert!(!format!("{text} {error:?}").contains(MARKER), "{case}: {text}");
}

/// Every call fails with an error that says which it was, in time, and works again afterwards.
async fn every_call_fails_and_recovers(how: How) {
    let world = World::with(IMPATIENT).await;
    // What is there beforehand is put there in peace.
    let patient =
        clients(world.engines.dynamodb().endpoint(), world.engines.sqs().endpoint(), PATIENT).dynamodb;
    let arguments = Arguments::make(&Store::new(patient, TABLE)).await;
    let cases = arguments.cases(&world.store);
    let operations: BTreeSet<_> = cases.iter().map(|case| case.1).collect();
    let faults: Vec<_> = operations.iter().map(|operation| world.break_table(operation, how)).collect();
    let results = join_all(cases.iter().map(|(_, _, call)| async move {
        let began = Instant::now();
        (call().await, began.elapsed())
    }))
    .await;
    assert!(faults.into_iter().all(|fault| world.table().fired(fault) > 0));
    for ((case, operation, _), (result, took)) in cases.iter().zip(results) {
        let error = result.expect_err(case);
        assert_tells_only_what_it_should(case, operation, &error);
        assert!(took < IMPATIENT.operation + SLACK, "{case}: {took:?}");
    }
    world.table().heal();
    for (case, _, call) in &cases {
        call().await.unwrap_or_else(|error| panic!("{case}: {error}"));
    }
    // It was counted once, whatever came of the first call.
    let counts = world.store.counts(MARKER, 10).await.unwrap();
    assert_eq!(counts.iter().map(|one| one.count).collect::<Vec<_>>(), [1]);
}

/// One test for each failure, so that they run beside each other.
macro_rules! every_call_fails_and_recovers {
    ($($test:ident: $how:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                every_call_fails_and_recovers(How::$how).await;
            }
        )*

        #[test]
        fn every_failure_is_tested() {
            assert_eq!(FAILURES, [$(How::$how),*]);
        }
    };
}

every_call_fails_and_recovers! {
    every_call_survives_internal_errors: Status500,
    every_call_survives_throttling: Throttle,
    every_call_survives_denied_access: AccessDenied,
    every_call_survives_an_engine_that_is_down: Drop,
    every_call_survives_lost_answers: ApplyThenDrop,
    every_call_survives_silence: Hang,
    every_call_survives_answers_that_are_none: Garbage,
    every_call_survives_errors_about_what_was_done: Apply500,
}

#[tokio::test]
async fn a_call_that_fails_once_is_made_again_unseen() {
    let world = World::start().await;
    let arguments = Arguments::make(&world.store).await;
    let cases = arguments.cases(&world.store);
    let operations: BTreeSet<_> = cases.iter().map(|case| case.1).collect();
    for how in [How::Status500, How::Throttle, How::Drop] {
        let faults: Vec<_> = operations.iter().map(|operation| world.break_once(operation, how)).collect();
        for (result, (case, ..)) in join_all(cases.iter().map(|case| (case.2)())).await.iter().zip(&cases) {
            assert!(result.is_ok(), "{case}, {how:?}: {result:?}");
        }
        assert!(faults.into_iter().all(|fault| world.table().fired(fault) == 1), "{how:?}");
    }
}

#[tokio::test]
async fn a_sender_who_waits_for_three_seconds_does_not_wait_for_a_lost_connection() {
    let world = World::with(Patience::INGEST).await;
    let began = Instant::now();
    for n in 0..20 {
        let fault = world.break_once("PutItem", How::Drop);
        assert_eq!(put(&world.store, &order(&format!("o{n}"))).await, Put::Stored);
        assert_eq!(world.table().fired(fault), 1);
    }
    // Half a second each would be ten.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_error_of_something_in_between_is_told_in_one_line() {
    let page = format!("<html>\n<h1>{MARKER} Bad gateway</h1>\n</html>");
    let lines = json!({"__type": "com.amazon#ValidationException", "message": "one\nline\r\nof many"});
    for answer in [
        Answer::With { status: 502, headers: vec![("x-note", MARKER.into())], body: page.clone() },
        Answer::With { status: 404, headers: Vec::new(), body: page },
        Answer::With { status: 403, headers: Vec::new(), body: String::new() },
        Answer::json(400, lines.to_string()),
        Answer::json(200, "[]".into()),
        Answer::json(200, format!("{{\"Item\": {{\"pk\": \"{MARKER}\"}}}}")),
    ] {
        let server = Server::start(answer.clone()).await;
        let clients = clients(server.url(""), server.url(""), PATIENT);
        let store = Store::new(clients.dynamodb, TABLE);
        let error = store.event(&name("shop"), &id(MARKER)).await.expect_err(&format!("{answer:?}"));
        assert_tells_only_what_it_should(&format!("{answer:?}"), "GetItem", &error);
        assert!(!server.got().is_empty());
    }
}
