//! What a sender was answered is kept, whatever fails while ingest stores and queues its event.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use hookgate_aws::schema::FRAME_BYTES_MAX;
use hookgate_core::{
    codec::{self, FRAME_IN_MESSAGE_BYTES_MAX},
    event::Event,
    lifecycle::{Put, Status},
    request::Request,
    source::RETENTION_DAYS,
};
use hookgate_embedded::{Counts, Fault, How};

use crate::harness::{Destination, SHOP_SECRET, World, every, header_map, name, noise, order, signature};

/// Every way in which a call goes wrong.
const HOWS: [How; 9] = [
    How::Status500,
    How::Throttle,
    How::AccessDenied,
    How::Drop,
    How::ApplyThenDrop,
    How::Hang,
    How::Garbage,
    How::Apply500,
    How::ApplyTwice,
];

/// An event is done, stored as it was sent, and had each of its effects once.
async fn assert_done_once(world: &World, destination: &Destination, id: &str) {
    assert_eq!(world.status("shop", id).await, Some(Status::Done), "{id}");
    assert_eq!(world.stored("shop", id).await.unwrap().request.body, order(id), "{id}");
    assert_eq!(destination.taken("/post", id), 1, "{id}");
    assert_eq!(world.counts("orders").await.get(id), Some(&1), "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_while_the_table_is_down_events_are_accepted_and_the_worker_stores_them() {
    let (world, destination) = World::shop().await;
    world.break_table(Fault::new(How::Drop));

    assert_eq!(world.order("o1").await.status, 200);
    assert_eq!(world.order("o2").await.status, 200);
    world.quiet().await;
    assert!(destination.hits("/post").is_empty(), "no action runs for what is not stored");
    world.heal();
    world.drain().await;

    assert_done_once(&world, &destination, "o1").await;
    assert_done_once(&world, &destination, "o2").await;
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_while_the_queue_is_down_events_are_accepted_and_the_sweeper_queues_them() {
    let (world, destination) = World::shop().await;
    world.break_queue(Fault::new(How::Drop));

    assert_eq!(world.order("o1").await.status, 200);
    assert_eq!((world.items("D#").await, world.queue()), (1, Counts::default()));
    assert_eq!(world.status("shop", "o1").await, None);
    // A sweep while it is still down leaves the record where it is.
    world.advance(60);
    let swept = world.stack.worker.sweep().await;
    assert_eq!((swept.queued, swept.failed), (0, 1));
    assert_eq!(world.items("D#").await, 1);
    world.heal();
    world.advance(60);
    world.drive_to("shop", "o1", Status::Done).await;

    world.drain().await;
    assert_done_once(&world, &destination, "o1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_while_table_and_queue_are_down_senders_are_told_to_come_back() {
    let (world, destination) = World::shop().await;
    world.break_table(Fault::new(How::Drop));
    world.break_queue(Fault::new(How::Drop));

    let answer = world.order("o1").await;

    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    world.heal();
    assert!(world.scan().await.is_empty());
    assert_eq!(world.order("o1").await.status, 200);
    world.drain().await;
    assert_done_once(&world, &destination, "o1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_took_effect_before_a_503_does_no_harm_when_the_sender_comes_back() {
    for (table, queue) in
        [(How::ApplyThenDrop, How::Drop), (How::Drop, How::ApplyThenDrop), (How::Apply500, How::Apply500)]
    {
        let (world, destination) = World::shop().await;
        world.break_table(Fault::new(table));
        world.break_queue(Fault::new(queue));

        assert_eq!(world.order("o1").await.status, 503, "{table:?} {queue:?}");
        world.heal();
        assert_eq!(world.order("o1").await.status, 200);
        world.drain().await;

        assert_done_once(&world, &destination, "o1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_body_too_large_for_a_message_needs_the_table() {
    let config = r#"
        [sources.raw]
        provider = "raw"
        verify = { scheme = "token", header = "x-hookgate-token" }
    "#;
    let world = World::with(config, r#"{"raw": "t0ken"}"#).await;
    let body = noise(FRAME_IN_MESSAGE_BYTES_MAX + 1, 5);
    let headers = [("x-hookgate-token", "t0ken"), ("x-event-id", "b1")];
    let fault = world.break_table(every("PutItem", How::Drop));

    let answer = world.post("/webhooks/raw", &headers, &body).await;

    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
    assert_eq!(world.stack.engines.sqs().traffic().requests(), [], "nothing points at what is not there");
    world.stack.engines.dynamodb().traffic().heal_one(fault);
    assert_eq!(world.post("/webhooks/raw", &headers, &body).await.status, 200);
    world.wait_for("raw", "b1", Status::Unrouted).await;
    assert!(world.stored("raw", "b1").await.unwrap().request.body == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_never_exists_without_its_parts() {
    let config = r#"
        [sources.raw]
        provider = "raw"
        verify = { scheme = "token", header = "x-hookgate-token" }
    "#;
    let world = World::with(config, r#"{"raw": "t0ken"}"#).await;
    let body = noise(3 * FRAME_BYTES_MAX, 6);
    let headers = [("x-hookgate-token", "t0ken"), ("x-event-id", "b1")];
    // The second of four parts fails.
    world.break_table(Fault { matching: Some("#0001\"".into()), ..every("PutItem", How::Drop) });

    assert_eq!(world.post("/webhooks/raw", &headers, &body).await.status, 503);
    assert!(world.stored("raw", "b1").await.is_none());
    world.heal();
    assert_eq!(world.post("/webhooks/raw", &headers, &body).await.status, 200);
    world.wait_for("raw", "b1", Status::Unrouted).await;
    assert!(world.stored("raw", "b1").await.unwrap().request.body == body);
}

/// Sends an order while its put and its send go wrong in these ways, as a sender does: again until it is accepted.
async fn deliver(world: &World, id: &str, put: Option<How>, send: Option<How>) -> Vec<u16> {
    let only = |operation: &str, how| Fault { matching: Some(id.to_owned()), ..every(operation, how) };
    let put = put.map(|how| world.break_table(only("PutItem", how)));
    let send = send.map(|how| world.break_queue(only("SendMessage", how)));
    let mut answers = vec![world.order(id).await.status];
    put.into_iter().for_each(|fault| world.stack.engines.dynamodb().traffic().heal_one(fault));
    send.into_iter().for_each(|fault| world.stack.engines.sqs().traffic().heal_one(fault));
    while answers.last() == Some(&503) && answers.len() < 5 {
        answers.push(world.order(id).await.status);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_every_failure_of_the_put_with_every_failure_of_the_send_ends_done_once() {
    let (world, destination) = World::hurried_shop().await;
    let hows = || [None].into_iter().chain(HOWS.into_iter().map(Some));
    let pairs: Vec<_> = hows().flat_map(|put| hows().map(move |send| (put, send))).collect();

    let answers: Vec<(String, Vec<u16>)> = stream::iter(pairs)
        .map(|(put, send)| {
            let world = &world;
            async move {
                let id = format!("put-{put:?}-send-{send:?}.").replace(['(', ')'], "-");
                let answers = deliver(world, &id, put, send).await;
                (id, answers)
            }
        })
        .buffer_unordered(12)
        .collect()
        .await;
    world.drain().await;

    assert_eq!(answers.len(), 100);
    let counts = world.counts("orders").await;
    for (id, answers) in answers {
        // Never a 4xx: it is not the sender's fault, and some drop the event on one.
        assert!(answers.iter().all(|status| matches!(status, 200 | 503)), "{id}: {answers:?}");
        assert_eq!(answers.last(), Some(&200), "{id}");
        assert_eq!(world.status("shop", &id).await, Some(Status::Done), "{id}: {answers:?}");
        assert_eq!(world.stored("shop", &id).await.unwrap().request.body, order(&id), "{id}");
        assert_eq!(destination.taken("/post", &id), 1, "{id}: {answers:?}");
        assert_eq!(counts.get(&id), Some(&1), "{id}: {answers:?}");
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_single_failure_is_not_even_seen_by_the_sender() {
    let (world, destination) = World::hurried_shop().await;
    for (number, how) in HOWS.into_iter().enumerate() {
        for (operation, on_table) in [("PutItem", true), ("SendMessage", false)] {
            let id = format!("{operation}-{number}");
            let fault = Fault { times: Some(1), ..every(operation, how) };
            let _ = if on_table { world.break_table(fault) } else { world.break_queue(fault) };
            let answer = world.order(&id).await;
            assert_eq!(answer.status, 200, "{operation} {how:?}");
            assert_eq!(
                answer.json()["status"],
                "accepted",
                "{operation} {how:?}: it is no duplicate of itself"
            );
            world.heal();
        }
    }
    world.drain().await;
    let ids: Vec<String> = HOWS
        .iter()
        .enumerate()
        .flat_map(|(n, _)| [format!("PutItem-{n}"), format!("SendMessage-{n}")])
        .collect();
    assert_eq!(
        world.counts("orders").await,
        ids.iter().map(|id| (id.clone(), 1)).collect::<BTreeMap<_, _>>()
    );
    for id in ids {
        assert_eq!(destination.taken("/post", &id), 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_senders_that_wait_three_seconds_are_answered_in_time() {
    let (world, _destination) = World::hurried_shop().await;
    world.break_table(Fault::new(How::Hang));
    world.break_queue(Fault::new(How::Hang));
    let began = std::time::Instant::now();
    let answer = world.order("o1").await;
    assert_eq!(answer.status, 503);
    // 3 s an operation, and both at the same time.
    assert!(began.elapsed().as_millis() < 4_500, "{:?}", began.elapsed());
    world.heal();
}

/// An event as ingest would store it, without queueing it.
fn event(world: &World, id: &str) -> Event {
    let body = order(id);
    let source = &world.stack.worker.config.sources[&name("shop")];
    let request = Request {
        method: reqwest::Method::POST,
        url: String::new(),
        query: String::new(),
        headers: header_map(&[
            ("content-type", "application/json"),
            ("x-signature", &signature(SHOP_SECRET, &body)),
        ]),
        body,
        path_type: None,
        sender: None,
        received_at: world.now(),
    };
    let secret = SHOP_SECRET.into();
    let verified = source.verifier.verify(&request, &[&secret], world.now()).unwrap();
    Event::new(source, &verified).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_was_stored_and_never_queued_is_found_in_the_stream() {
    let (world, destination) = World::shop().await;
    let lost = event(&world, "o1");
    let frame = codec::encode(&lost, 0).unwrap();
    let put = world.stack.ingest.store.put_event(&lost, &frame, RETENTION_DAYS).await.unwrap();
    assert_eq!(put, Put::Stored);

    // Within the grace period it may still be on its way.
    world.advance(30);
    world.quiet().await;
    assert_eq!((world.status("shop", "o1").await, world.queue()), (None, Counts::default()));
    world.drive_to("shop", "o1", Status::Done).await;

    assert!(world.now().millis_since(lost.request.received_at) >= 60_000);
    world.drain().await;
    assert_done_once(&world, &destination, "o1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_whose_outbox_record_failed_too_is_found_in_the_stream() {
    let (world, destination) = World::shop().await;
    world.break_queue(Fault::new(How::Drop));
    world.break_table(Fault { matching: Some("\"D#".into()), ..every("PutItem", How::Drop) });

    assert_eq!(world.order("o1").await.status, 503);
    world.heal();
    // The sender does not come back.
    world.drive_to("shop", "o1", Status::Done).await;

    world.drain().await;
    assert_done_once(&world, &destination, "o1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_events_that_are_in_order_are_left_alone_by_stream_and_sweeper() {
    let (world, destination) = World::shop().await;
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;
    world.reset_traffic();
    for _ in 0..5 {
        world.advance(61);
        world.quiet().await;
    }
    assert_eq!(world.stack.engines.sqs().traffic().requests(), []);
    assert_done_once(&world, &destination, "o1").await;
}
