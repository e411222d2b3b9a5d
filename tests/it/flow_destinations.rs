//! Destinations that fail, that are gone, that take only so much: their events wait, none is lost, and each arrives
//! once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeMap, sync::Arc};

use hookgate_aws::{effects::Functions, store::Entry};
use hookgate_core::{
    destination::Standing,
    lifecycle::{AttemptOutcome, Status},
    time::EpochMillis,
};
use hookgate_embedded::{Counts, Fault, How};
use tokio::sync::Semaphore;

use crate::harness::{Bench, Destination, Reply, SHOP, every, name};

const MINUTES_A_DAY: u64 = 24 * 60;

/// [`SHOP`] with keys added to its `post` action.
fn with_policy(keys: &str) -> String {
    SHOP.replace("timeout_seconds = 30", &format!("timeout_seconds = 30\n{keys}"))
}

async fn bench(keys: &str) -> (Bench, Destination) {
    Bench::start(&with_policy(keys), Functions::default()).await
}

async fn standing(bench: &Bench) -> Standing {
    bench.worker.store.destination(&name("post")).await.unwrap().standing
}

fn now(bench: &Bench) -> EpochMillis {
    EpochMillis::from_millis(bench.clock.now_ms())
}

fn last(entry: &Entry) -> &AttemptOutcome {
    &entry.attempts.last(&name("post")).unwrap().outcome
}

/// How often each event was taken.
fn taken(destination: &Destination) -> BTreeMap<String, usize> {
    let mut taken = BTreeMap::new();
    for hit in destination.hits("/post").iter().filter(|hit| hit.status == Some(200)) {
        *taken.entry(hit.id().to_owned()).or_default() += 1;
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_destination_that_is_down_for_two_days_gets_every_event_once_when_it_is_back() {
    let (bench, destination) = bench("").await;
    destination.always("/post", Reply::Status(503));
    let mut sent = 0;
    for _ in 0..30 {
        bench.order(&format!("o{sent}")).await;
        sent += 1;
    }
    bench.work_off().await;
    bench.pass(10).await;
    assert!(matches!(standing(&bench).await, Standing::Paused { .. }));
    let knocks = destination.hits("/post").len();

    for _ in 0..2 * MINUTES_A_DAY / 30 {
        bench.order(&format!("o{sent}")).await;
        sent += 1;
        bench.clock.advance(std::time::Duration::from_secs(30 * 60));
        bench.worker.sweep().await;
        bench.work_off().await;
        assert_eq!(bench.counts().in_flight, 0, "what waits is not in flight");
        assert!(bench.counts().delayed <= 1, "nor does it fill the queue: {:?}", bench.counts());
    }
    let probes = destination.hits("/post").len() - knocks;
    assert!(probes <= 2 * 48, "a destination that is down is not knocked at by every event: {probes}");
    let waiting = bench.worker.store.parked_count(&name("post")).await.unwrap();
    assert!(waiting >= sent - 1, "{waiting} of {sent} are parked");
    assert_eq!(taken(&destination).len(), 0);

    destination.always("/post", Reply::Status(200));
    bench.pass(30).await;
    let taken = taken(&destination);
    assert_eq!(taken.len() as u64, sent, "every event arrived");
    assert!(taken.values().all(|times| *times == 1), "once: {taken:?}");
    assert_eq!(standing(&bench).await, Standing::Up);
    for number in 0..sent {
        let entry = bench.entry(&format!("o{number}")).await;
        assert_eq!(entry.status, Status::Done);
        assert!(entry.attempts.0.len() <= 12, "an event that waits does not grow: {:?}", entry.attempts);
    }
    assert_eq!(bench.worker.store.parked_count(&name("post")).await.unwrap(), 0);
    assert_eq!(bench.counts(), Counts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_has_waited_goes_out_in_the_pace_of_its_action() {
    let (bench, destination) = bench("pause_after = 3\nrate = \"30/m\"").await;
    destination.always("/post", Reply::Status(500));
    for number in 0..100 {
        bench.order(&format!("o{number}")).await;
    }
    bench.work_off().await;
    bench.pass(5).await;
    assert!(matches!(standing(&bench).await, Standing::Paused { .. }));
    destination.always("/post", Reply::Status(200));
    let mut minutes = Vec::new();
    let mut before = 0;
    while before < 100 {
        bench.pass(1).await;
        let after = taken(&destination).len();
        minutes.push(after - before);
        before = after;
        assert!(minutes.len() < 60, "{minutes:?}");
    }
    assert!(minutes.iter().all(|count| *count <= 32), "{minutes:?}");
    assert!(minutes.len() < 25, "and it is not left idle: {minutes:?}");
    assert!(taken(&destination).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_rate_holds_for_all_events_and_none_is_lost_by_it() {
    let (bench, destination) = bench("rate = \"6/m\"").await;
    // More than the quarter of an hour that is reserved in advance.
    for number in 0..120 {
        bench.order(&format!("o{number}")).await;
    }
    bench.work_off().await;
    assert!(taken(&destination).len() <= 2);
    assert!(bench.worker.store.parked_count(&name("post")).await.unwrap() > 0, "the rest is parked");
    let entry = bench.entry("o60").await;
    assert_eq!((entry.status, entry.attempts.tries(&name("post"))), (Status::Retrying, 0));
    assert!(entry.next_at.is_some_and(|at| at > now(&bench)), "a time is reserved for it");
    let mut before = taken(&destination).len();
    for _ in 0..22 {
        bench.pass(1).await;
        let after = taken(&destination).len();
        assert!(after - before <= 7, "{before} → {after}");
        before = after;
    }
    bench.pass(10).await;
    assert_eq!(taken(&destination).len(), 120);
    assert!(taken(&destination).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_destination_serves_so_many_at_once_and_each_that_ends_fetches_the_next() {
    let (bench, destination) = bench("concurrency = 2").await;
    let permits = Arc::new(Semaphore::new(0));
    destination.always("/post", Reply::Held(permits.clone()));
    for number in 0..8 {
        bench.order(&format!("o{number}")).await;
    }
    let messages = bench.receive().await;
    assert_eq!(messages.len(), 8);
    let batch = bench.work(&messages);
    crate::harness::until("the others are parked", async || {
        bench.worker.store.parked_count(&name("post")).await.unwrap() == 6
    })
    .await;
    assert_eq!(destination.hits("/post").len(), 2, "two at once");
    permits.add_permits(2);
    assert!(batch.await.unwrap().is_empty());
    for message in &messages {
        bench.engines.sqs().delete(hookgate::local::QUEUE, &message.receipt_handle).unwrap();
    }
    // No sweep: each has fetched one.
    let next = bench.receive().await;
    assert_eq!(next.len(), 2);
    permits.add_permits(100);
    assert!(bench.work(&next).await.unwrap().is_empty());
    for message in &next {
        bench.engines.sqs().delete(hookgate::local::QUEUE, &message.receipt_handle).unwrap();
    }
    bench.pass(3).await;
    assert_eq!(taken(&destination).len(), 8);
    assert!(taken(&destination).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_place_whose_worker_died_is_free_again() {
    let (bench, destination) = bench("concurrency = 1").await;
    let store = &bench.worker.store;
    let until = now(&bench).plus_millis(90_000);
    assert_eq!(store.take_place(&name("post"), 1, 7, now(&bench), until).await.unwrap(), Some(0));
    bench.order("o1").await;
    bench.work_off().await;
    assert_eq!(taken(&destination).len(), 0);
    bench.pass(2).await;
    assert_eq!(taken(&destination).len(), 1);
    // The one that comes back to life can't take the place away from another.
    let later = now(&bench);
    assert_eq!(store.take_place(&name("post"), 1, 8, later, later.plus_millis(1)).await.unwrap(), Some(0));
    store.leave_place(&name("post"), 0, 7).await.unwrap();
    assert_eq!(store.take_place(&name("post"), 1, 9, later, later).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_410_disables_a_destination_until_a_person_enables_it() {
    let (bench, destination) = bench("").await;
    destination.next("/post", [Reply::Status(410)]);
    bench.order("o1").await;
    bench.work_off().await;
    bench.order("o2").await;
    bench.work_off().await;
    bench.pass(120).await;
    assert_eq!(destination.hits("/post").len(), 1, "nothing more is sent there, no probe either");
    let health = bench.worker.store.destination(&name("post")).await.unwrap();
    assert_eq!((health.standing, health.reason.as_str()), (Standing::Disabled, "127.0.0.1 answered 410"));
    for id in ["o1", "o2"] {
        let entry = bench.entry(id).await;
        assert_eq!(entry.status, Status::Retrying);
        assert!(matches!(last(&entry), AttemptOutcome::Parked { .. }), "{:?}", entry.attempts);
        assert_eq!(last(&entry).word(), "parked");
    }
    bench.worker.store.destination_switch(&name("post"), true, "", now(&bench)).await.unwrap();
    bench.pass(2).await;
    assert_eq!(taken(&destination), BTreeMap::from([("o1".into(), 1), ("o2".into(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_waiting_for_a_destination_ends_after_two_weeks() {
    let (bench, destination) = bench("").await;
    bench.worker.store.destination_switch(&name("post"), false, "by ann", now(&bench)).await.unwrap();
    bench.order("o1").await;
    bench.work_off().await;
    bench.clock.advance(std::time::Duration::from_secs(13 * 24 * 60 * 60));
    bench.pass(1).await;
    assert_eq!(bench.entry("o1").await.status, Status::Retrying);
    bench.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    bench.pass(2).await;
    let entry = bench.entry("o1").await;
    assert_eq!(entry.status, Status::Dead);
    let attempt = entry.attempts.last(&name("post")).unwrap();
    assert_eq!(attempt.detail, "waited 14 days; post is disabled: by ann");
    assert_eq!(destination.hits("/post").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_waits_for_an_action_that_is_no_more_ends_without_it() {
    let (bench, _destination) = bench("").await;
    let store = &bench.worker.store;
    store.destination_switch(&name("old"), false, "by ann", now(&bench)).await.unwrap();
    bench.order("o1").await;
    bench.work_off().await;
    let received_at = bench.entry("o1").await.key.received_at;
    let parked = hookgate_aws::destinations::Parked {
        received_at,
        source: name("shop"),
        id: crate::harness::event_id("o1"),
        parked_at: None,
    };
    store.park(&name("old"), &parked, now(&bench)).await.unwrap();
    bench.pass(1).await;
    assert_eq!(store.parked_count(&name("old")).await.unwrap(), 0);
    assert_eq!(bench.entry("o1").await.status, Status::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_waits_for_a_destination_is_found_although_the_sweeper_has_rested_for_hours() {
    let (bench, destination) = bench("").await;
    bench.worker.store.destination_pause(&name("post"), "it failed", now(&bench)).await.unwrap();
    for id in ["o1", "o2", "o3"] {
        bench.order(id).await;
    }
    bench.work_off().await;
    bench.clock.advance(std::time::Duration::from_secs(3 * 60 * 60));
    // The first of them finds that it is back; nothing was parked for longer than an hour then.
    bench.pass(5).await;
    for id in ["o1", "o2", "o3"] {
        assert_eq!(bench.entry(id).await.status, Status::Done, "{id}");
    }
    assert_eq!(destination.hits("/post").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_every_call_about_a_destination_may_fail_and_every_event_still_arrives() {
    let faults = [
        // Reading how it stands, and writing that down.
        Fault { matching: Some(r#""X""#.into()), ..every("GetItem", How::Status500) },
        Fault { matching: Some(r#""X""#.into()), ..every("UpdateItem", How::Throttle) },
        Fault { matching: Some(r#""X""#.into()), ..every("UpdateItem", How::ApplyThenDrop) },
        Fault { matching: Some(r#""X""#.into()), ..every("Query", How::Drop) },
        // Parking, and letting go.
        Fault { matching: Some("W#post".into()), ..every("PutItem", How::Drop) },
        Fault { matching: Some("W#post".into()), ..every("PutItem", How::ApplyThenDrop) },
        Fault { matching: Some("W#post".into()), ..every("Query", How::Garbage) },
        Fault { matching: Some("W#post".into()), ..every("DeleteItem", How::Status500) },
        Fault { matching: Some("W#post".into()), ..every("DeleteItem", How::ApplyThenDrop) },
        // Limits.
        Fault { matching: Some("Y#post".into()), ..every("UpdateItem", How::Status500) },
        Fault { matching: Some("Y#post".into()), ..every("UpdateItem", How::ApplyThenDrop) },
    ];
    for fault in faults {
        let what = format!("{fault:?}");
        let (bench, destination) = bench("pause_after = 3\nrate = \"100/s\"\nconcurrency = 5").await;
        let down = || destination.always("/post", Reply::Status(500));
        down();
        for number in 0..6 {
            bench.order(&format!("o{number}")).await;
        }
        bench.engines.dynamodb().traffic().break_with(fault);
        bench.work_off().await;
        bench.pass(4).await;
        destination.always("/post", Reply::Status(200));
        bench.pass(4).await;
        bench.engines.dynamodb().traffic().heal();
        for _ in 0..12 {
            bench.clock.advance(std::time::Duration::from_secs(10 * 60));
            bench.pass(1).await;
        }
        let taken = taken(&destination);
        assert_eq!(taken.len(), 6, "{what}: {taken:?}");
        assert!(taken.values().all(|times| *times == 1), "{what}: {taken:?}");
        for number in 0..6 {
            assert_eq!(bench.entry(&format!("o{number}")).await.status, Status::Done, "{what}");
        }
    }
}
