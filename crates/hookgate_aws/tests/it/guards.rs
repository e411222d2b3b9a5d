//! What keeps calls apart that do the same at once, and gives up those that nobody answers. Each of these has a row in
//! `tests/mutation`: the test fails when its condition or its time limit is taken away.

use std::time::Duration;

use futures::future::join_all;
use hookgate_aws::{
    clients::Patience,
    destinations::Parked,
    replay::{Ask, Replayed, replay},
    schema::StatusKey,
    sender_keys::{SenderKeys, SenderKeysError},
    store::{Lease, Leased, Store},
};
use hookgate_core::{
    destination::{Rate, Slot, Standing},
    effect::RecordEffect,
    event::Event,
    lifecycle::{Attempt, AttemptOutcome, Put, Status},
};
use hookgate_embedded::{Counts, How};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{
    Answer, PATIENT, QUEUE, RETENTION_DAYS, START, Server, TABLE, World, clients, frame, id, name, order,
};

/// Far longer than anything here takes on a busy machine, and far shorter than what has no limit.
const SOON: Duration = Duration::from_secs(30);

fn key(event: &Event) -> StatusKey {
    StatusKey { source: event.source.clone(), id: event.id.clone(), received_at: event.request.received_at }
}

async fn leased(store: &Store, event: &Event) -> Lease {
    match store.lease(event, 1, RETENTION_DAYS, START).await.unwrap() {
        Leased::Ours(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// An event whose only action gave up.
async fn dead(store: &Store, event_id: &str) -> Event {
    let event = order(event_id);
    let mut lease = leased(store, &event).await;
    let detail = "410".to_owned();
    lease.attempts.add(Attempt { action: name("post"), outcome: AttemptOutcome::Dead, at: START, detail });
    store.advance(&mut lease, Status::Dead, None, START).await.unwrap();
    event
}

// ── Time limits ──────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn an_attempt_that_hangs_is_given_up_and_made_again() {
    let world =
        World::with(Patience { attempt: Duration::from_secs(1), operation: Duration::from_secs(20) }).await;
    let event = order("o1");
    let fault = world.break_once("PutItem", How::Hang);
    assert_eq!(world.store.put_event(&event, &frame(&event), RETENTION_DAYS).await.unwrap(), Put::Stored);
    assert_eq!(world.table().fired(fault), 1);
}

#[tokio::test]
async fn an_answer_that_stops_half_way_is_given_up_and_asked_for_again() {
    let server = Server::start(Answer::Half).await;
    let patience = Patience { attempt: Duration::from_millis(200), operation: Duration::from_secs(600) };
    let store = Store::new(clients(server.url(""), server.url(""), patience).dynamodb, TABLE);
    let event = order("o1");
    let stored = timeout(SOON, store.put_event(&event, &frame(&event), RETENTION_DAYS)).await;
    stored.expect("it has no end").unwrap_err();
    assert_eq!(server.got().len(), 3, "each attempt has its limit");
}

#[tokio::test]
async fn a_call_that_hangs_ends_with_its_operation() {
    let patience = Patience { attempt: Duration::from_secs(600), operation: Duration::from_millis(500) };
    let world = World::with(patience).await;
    world.break_table("PutItem", How::Hang);
    let event = order("o1");
    let stored = timeout(SOON, world.store.put_event(&event, &frame(&event), RETENTION_DAYS)).await;
    stored.expect("it has no end").unwrap_err();
}

#[tokio::test]
async fn a_silent_host_of_keys_is_given_up() {
    let server = Server::start(Answer::Never).await;
    let keys = SenderKeys::allowing(std::slice::from_ref(&server.place));
    let url = server.url("/key.pem");
    let fetched = timeout(SOON, keys.fetch(&url, START)).await.expect("it has no end");
    assert!(matches!(fetched, Err(SenderKeysError::Unreachable { .. })), "{fetched:?}");
}

#[tokio::test]
async fn keys_that_are_left_unanswered_are_an_error() {
    let unprocessed = json!({"Keys": [{"pk": {"S": "E#shop#o1"}, "sk": {"S": "E"}}]});
    let answer = json!({"Responses": {TABLE: []}, "UnprocessedKeys": {TABLE: unprocessed}});
    let server = Server::start(Answer::json(200, answer.to_string())).await;
    let store = Store::new(clients(server.url(""), server.url(""), PATIENT).dynamodb, TABLE);
    let error = store.received_at(&[(name("shop"), id("o1"))]).await.unwrap_err();
    assert_eq!(error.to_string(), "DynamoDB BatchGetItem: throttled: not all keys were answered");
}

#[tokio::test]
async fn a_record_that_is_too_large_is_not_tried_again() {
    let world = World::start().await;
    let fields = json!({"note": "n".repeat(500_000)}).as_object().unwrap().clone();
    let (collection, key) = ("orders".to_owned(), "k1".to_owned());
    let effect = RecordEffect { collection, key, at: START, fields, keep_days: None };
    let error = world.store.record(&order("o1"), &effect, START).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
}

// ── Lanes ────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn an_event_that_has_ended_gets_no_turn() {
    let world = World::start().await;
    let event = order("o1");
    assert!(world.store.note_turn(&event, START, RETENTION_DAYS).await.unwrap());
    let mut lease = leased(&world.store, &event).await;
    world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();
    assert!(!world.store.note_turn(&event, START.plus_millis(5), RETENTION_DAYS).await.unwrap());
    let (_, turn) = world.store.standing(&key(&event)).await.unwrap().unwrap();
    assert_eq!(turn, Some(START));
}

// ── Destinations ─────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn only_what_is_up_is_paused() {
    let world = World::start().await;
    let crm = name("crm");
    assert!(world.store.destination_pause(&crm, "503", START).await.unwrap());
    assert!(!world.store.destination_pause(&crm, "504", START).await.unwrap(), "it is paused already");
    world.store.destination_switch(&crm, false, "410", START).await.unwrap();
    assert!(!world.store.destination_pause(&crm, "503", START).await.unwrap(), "it is disabled");
    assert_eq!(world.store.destination(&crm).await.unwrap().standing, Standing::Disabled);
}

#[tokio::test]
async fn of_many_probes_at_once_one_is_made() {
    let world = World::start().await;
    let crm = name("crm");
    world.store.destination_pause(&crm, "503", START).await.unwrap();
    let Standing::Paused { probe_at, .. } = world.store.destination(&crm).await.unwrap().standing else {
        panic!("it is paused");
    };
    let probes = (0..10).map(|_| world.store.destination_probe(&crm, probe_at, probe_at));
    let made = join_all(probes).await.into_iter().filter(|made| *made.as_ref().unwrap()).count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_late_probe_changes_nothing_that_a_person_has_switched() {
    let world = World::start().await;
    let crm = name("crm");
    world.store.destination_pause(&crm, "503", START).await.unwrap();
    let paused = world.store.destination(&crm).await.unwrap().standing;
    for on in [true, false] {
        world.store.destination_switch(&crm, on, "by ann", START).await.unwrap();
        let switched = world.store.destination(&crm).await.unwrap();
        world.store.destination_probe_failed(&crm, 1, "still 503", START).await.unwrap();
        assert_eq!(world.store.destination(&crm).await.unwrap(), switched);
    }
    world.store.destination_works(&crm, paused, START).await.unwrap();
    assert_eq!(world.store.destination(&crm).await.unwrap().standing, Standing::Disabled);
}

#[tokio::test]
async fn times_are_reserved_up_to_a_horizon() {
    let world = World::start().await;
    let rate = Rate::parse("1/m").unwrap();
    let mut slots = Vec::new();
    for _ in 0..30 {
        slots.push(world.store.reserve(&name("crm"), rate, START).await.unwrap());
    }
    let reserved = slots.iter().filter(|slot| **slot != Slot::Full).count();
    // Now, and one a minute for a quarter of an hour.
    assert!((15..=17).contains(&reserved), "{slots:?}");
    assert!(slots[reserved..].iter().all(|slot| *slot == Slot::Full), "{slots:?}");
}

#[tokio::test]
async fn a_place_whose_answer_is_lost_is_ours_and_is_left_by_nobody_else() {
    let world = World::start().await;
    let crm = name("crm");
    let take = |owner| world.store.take_place(&crm, 1, owner, START, START.plus_millis(90_000));
    let fault = world.break_once("UpdateItem", How::ApplyThenDrop);
    assert_eq!(take(7).await.unwrap(), Some(0));
    assert_eq!(world.table().fired(fault), 1);
    assert_eq!(take(8).await.unwrap(), None);
    world.store.leave_place(&crm, 0, 8).await.unwrap();
    assert_eq!(take(8).await.unwrap(), None);
    world.store.leave_place(&crm, 0, 7).await.unwrap();
    assert_eq!(take(8).await.unwrap(), Some(0));
}

#[tokio::test]
async fn what_a_later_release_has_parked_again_stays_parked() {
    let world = World::start().await;
    let crm = name("crm");
    // An earlier release did not say when.
    let parked = Parked { received_at: START, source: name("shop"), id: id("o1"), parked_at: None };
    world.store.park(&crm, &parked, START).await.unwrap();
    world.store.unpark(&crm, &parked).await.unwrap();
    assert_eq!(world.store.parked_count(&crm).await.unwrap(), 1);
}

// ── Replays ──────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn of_two_replays_at_once_one_changes_the_event() {
    let world = World::start().await;
    let mut events = Vec::new();
    for n in 0..10 {
        events.push(dead(&world.store, &format!("dead-{n}")).await);
        // One that no worker has had.
        let received = order(&format!("received-{n}"));
        world.store.mark_received(&received, RETENTION_DAYS).await.unwrap();
        events.push(received);
    }
    let both = events.iter().map(async |event| {
        let key = key(event);
        let asks = ["r-1", "r-2"].map(|job| Ask { by: "ann", job, again: false });
        let [first, second] = asks.map(|ask| replay(&world.store, &world.queue, &key, ask, START));
        let (first, second) = tokio::join!(first, second);
        [first.unwrap(), second.unwrap()]
    });
    for (results, event) in join_all(both).await.iter().zip(&events) {
        let queued = results.iter().filter(|result| **result == Replayed::Queued).count();
        assert_eq!(queued, 1, "{}: {results:?}", event.id);
    }
}

#[tokio::test]
async fn a_replay_of_what_is_in_work_is_asked_for_again() {
    let world = World::start().await;
    let event = order("o1");
    let mut lease = leased(&world.store, &event).await;
    let ask = Ask { by: "ann", job: "r-1", again: true };
    let key = key(&event);
    let ask_for = || replay(&world.store, &world.queue, &key, ask, START);
    assert_eq!(ask_for().await.unwrap(), Replayed::Busy);
    world.store.advance(&mut lease, Status::Done, None, START).await.unwrap();
    assert_ne!(ask_for().await.unwrap(), Replayed::Busy);
}

#[tokio::test]
async fn a_replay_whose_answer_is_lost_is_queued_all_the_same() {
    let world = World::start().await;
    let event = dead(&world.store, "o1").await;
    let fault = world.break_once("UpdateItem", How::ApplyThenDrop);
    let ask = Ask { by: "ann", job: "r-1", again: false };
    let asked = replay(&world.store, &world.queue, &key(&event), ask, START).await.unwrap();
    assert_eq!((asked, world.table().fired(fault)), (Replayed::Queued, 1));
    let counts = world.engines.sqs().counts(QUEUE).unwrap();
    assert_eq!(counts, Counts { visible: 1, ..Counts::default() });
}
