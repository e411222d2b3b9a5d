//! Events that have an order: of those with one key, one at a time is worked on, in the order in which they were
//! accepted, to its end.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeMap, time::Duration};

use hookgate::local::{DEAD_LETTERS, ORDERED, ORDERED_DEAD_LETTERS, QUEUE};
use hookgate_aws::{
    effects::Functions,
    lanes::End,
    replay::{Ask, Replayed, replay},
    schema::StatusKey,
};
use hookgate_core::{
    codec::Message,
    lifecycle::Status,
    order::{Lane, Turn},
    time::EpochMillis,
};
use hookgate_embedded::{Clock, Counts, Fault, How, Traffic};
use serde_json::{Value, json};

use crate::harness::{
    Bench, Destination, Reply, SHOP, SHOP_SECRET, START_MS, World, event_id, every, name, until,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn ordered() -> String {
    SHOP.replace("[[routes]]", "order = \"json:/customer\"\n\n[[routes]]")
}

/// An order of a customer. Its id says which: `a0` is the first of `a`.
fn body(customer: &str, number: usize) -> Vec<u8> {
    json!({"id": format!("{customer}{number}"), "type": "order.paid", "customer": customer})
        .to_string()
        .into()
}

/// The events that each customer's requests were about, in the order of their arrival; several in a row for one event
/// are one. If work on a later event had begun before that on an earlier one had ended, one would be here twice.
fn arrived(destination: &Destination) -> BTreeMap<String, Vec<String>> {
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for hit in destination.hits("/post") {
        let body: Value = serde_json::from_slice(&hit.body).unwrap();
        let Some(customer) = body["customer"].as_str() else { continue };
        let ids = arrived.entry(customer.to_owned()).or_default();
        if ids.last().map(String::as_str) != Some(hit.id()) {
            ids.push(hit.id().to_owned());
        }
    }
    arrived
}

fn sequence(customer: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{customer}{number}")).collect()
}

async fn bench() -> (Bench, Destination) {
    Bench::start(&ordered(), Functions::default()).await
}

impl Bench {
    /// Takes in the first orders of a customer.
    async fn orders(&self, customer: &str, count: usize) {
        for number in 0..count {
            self.take_in(&body(customer, number)).await;
            self.clock.advance(Duration::from_millis(1));
        }
    }

    /// Lets so many hours pass, twenty minutes at a time.
    async fn hours(&self, hours: u64) {
        for _ in 0..hours * 3 {
            self.clock.advance(HOUR / 3);
            self.worker.sweep().await;
            self.work_off().await;
        }
    }

    async fn statuses(&self, customer: &str, count: usize) -> Vec<Status> {
        let mut statuses = Vec::new();
        for id in sequence(customer, count) {
            statuses.push(self.entry(&id).await.status);
        }
        statuses
    }

    fn now(&self) -> EpochMillis {
        EpochMillis::from_millis(self.clock.now_ms())
    }

    async fn replay(&self, id: &str) -> Replayed {
        let ask = Ask { by: "ann", job: &format!("job-{id}"), again: false };
        let key = self.entry(id).await.key;
        replay(&self.worker.store, &self.worker.queue, &key, ask, self.now()).await.unwrap()
    }

    fn ordered_counts(&self) -> Counts {
        self.engines.sqs().counts(ORDERED).unwrap()
    }

    /// Nothing is left in either queue, in the outbox or in a lane.
    async fn assert_idle(&self, what: &str) {
        assert_eq!((self.counts(), self.ordered_counts()), (Counts::default(), Counts::default()), "{what}");
        assert_eq!((self.items("O#").await, self.items("D#").await), (0, 0), "{what}");
        for dead in [DEAD_LETTERS, ORDERED_DEAD_LETTERS] {
            assert!(self.engines.sqs().peek(dead, 10).unwrap().is_empty(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_events_of_one_key_are_done_in_their_order_and_those_of_another_do_not_wait() {
    let (world, destination) =
        World::with_destination(&ordered(), &json!({"shop": [SHOP_SECRET]}).to_string()).await;
    destination.next("/post", [Reply::Status(500)]);
    world.shop_body(&body("a", 0)).await;
    world.wait_for("shop", "a0", Status::Retrying).await;
    for number in 1..8 {
        assert_eq!(world.shop_body(&body("a", number)).await.status, 200);
        assert_eq!(world.shop_body(&body("b", number - 1)).await.status, 200);
    }
    until("the others are done", async || world.status("shop", "b6").await == Some(Status::Done)).await;
    world.quiet().await;
    assert_eq!(
        arrived(&destination),
        BTreeMap::from([("a".into(), sequence("a", 1)), ("b".into(), sequence("b", 7))])
    );
    // Those that wait are in no queue, and they are listed.
    for queue in [QUEUE, ORDERED] {
        let messages = world.stack.engines.sqs().peek(queue, 100).unwrap();
        let waits = |message: &hookgate_embedded::Message| {
            sequence("a", 8)[1..].iter().any(|id| message.body.contains(&format!("\"{id}\"")))
        };
        assert!(!messages.iter().any(waits), "{messages:?}");
    }
    assert_eq!(world.status("shop", "a7").await, Some(Status::Received));
    // Its next try fails as well.
    destination.next("/post", [Reply::Status(503)]);
    world.drive_to("shop", "a7", Status::Done).await;
    world.drain().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 8));
    for id in sequence("a", 8) {
        assert_eq!(destination.taken("/post", &id), 1, "{id}");
        assert_eq!(world.counts("orders").await[&id], 1, "{id}");
    }
    assert_eq!(world.items("O#").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_is_tried_for_hours_holds_up_its_own_key_only() {
    let (bench, destination) = bench().await;
    destination
        .next("/post", [Reply::Status(503), Reply::Status(503), Reply::Status(503), Reply::Status(503)]);
    bench.orders("a", 1).await;
    bench.work_off().await;
    bench.pass(7).await;
    bench.hours(1).await;
    assert_eq!((bench.entry("a0").await.status, destination.hits("/post").len()), (Status::Retrying, 4));
    for number in 1..4 {
        bench.take_in(&body("a", number)).await;
    }
    bench.orders("b", 3).await;
    // An event without a key has no order.
    bench
        .take_in(&json!({"id": "free", "type": "order.paid", "customer": null}).to_string().into_bytes())
        .await;
    bench.work_off().await;
    assert_eq!(
        (bench.entry("free").await.status, bench.statuses("b", 3).await),
        (Status::Done, vec![Status::Done; 3])
    );
    assert_eq!(bench.counts(), Counts::default(), "what waits for hours is in no queue");
    assert_eq!(bench.ordered_counts(), Counts::default());
    bench.hours(3).await;
    assert_eq!(bench.statuses("a", 4).await, vec![Status::Done; 4]);
    assert_eq!(arrived(&destination)["a"], sequence("a", 4));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_dead_event_lets_the_next_go_and_is_replayed_behind_those_that_came_since() {
    let (bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(400), Reply::Status(503)]);
    bench.orders("a", 3).await;
    bench.work_off().await;
    assert_eq!(
        bench.statuses("a", 3).await,
        [Status::Dead, Status::Retrying, Status::Received],
        "the second goes on at once"
    );
    // Within the five minutes for which the FIFO queue drops what it has had.
    assert_eq!(bench.replay("a0").await, Replayed::Queued);
    bench.work_off().await;
    assert_eq!(bench.entry("a0").await.status, Status::Retrying, "it waits for its turn");
    // One that waits keeps its place when it is replayed.
    assert_eq!(bench.replay("a1").await, Replayed::Queued);
    bench.work_off().await;
    bench.pass(3).await;
    assert_eq!(bench.statuses("a", 3).await, vec![Status::Done; 3]);
    assert_eq!(arrived(&destination)["a"], ["a0", "a1", "a2", "a0"]);
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_source_with_an_order_costs_three_write_units_more_and_others_nothing() {
    let (bench, _destination) =
        Bench::start(&ordered().replace(r#"["post", "tally"]"#, r#"["post"]"#), Functions::default()).await;
    let (table, queue) = (bench.engines.dynamodb().traffic(), bench.engines.sqs().traffic());
    bench.take_in(&body("a", 0)).await;
    let requests: Vec<_> = table.requests().into_iter().map(|request| request.operation).collect();
    assert_eq!(requests, ["PutItem"], "ingest does what it does for any event");
    bench.work_off().await;
    assert_eq!(bench.entry("a0").await.status, Status::Done);
    // Of less than 1 KB: the event, the lease and the end; the place, the turn, its end.
    assert!((5.5..=6.0).contains(&table.write_units()), "{}", table.write_units());
    assert_eq!(queue.count("SendMessage"), 2, "one to each queue");

    table.reset();
    queue.reset();
    bench.take_in(br#"{"id": "free", "type": "order.paid"}"#).await;
    bench.work_off().await;
    let requests: Vec<_> = table.requests().into_iter().map(|request| request.operation).collect();
    assert_eq!(requests, ["PutItem", "GetItem", "UpdateItem", "UpdateItem"]);
    assert_eq!(queue.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_deliveries_of_one_event_get_one_turn_whenever_they_come() {
    let (bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(503), Reply::Status(503)]);
    bench.orders("a", 3).await;
    bench.orders("a", 3).await;
    bench.work_off().await;
    // After the five minutes for which the FIFO queue knows them: the first is being tried again, the others wait.
    bench.clock.advance(Duration::from_secs(301));
    bench.orders("a", 3).await;
    assert_eq!(bench.ordered_counts().visible, 3);
    bench.work_off().await;
    assert_eq!(bench.items("O#").await, 3);
    bench.hours(1).await;
    // Again, when all are done.
    bench.orders("a", 3).await;
    bench.work_off().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 3));
    for id in sequence("a", 3) {
        assert_eq!(destination.taken("/post", &id), 1, "{id}");
    }
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_of_two_deliveries_with_other_keys_the_stored_one_says_where_the_event_belongs() {
    let (bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(503)]);
    bench.orders("a", 2).await;
    bench.work_off().await;
    // The same id for another customer, and then for none.
    for other in [r#"{"id": "a1", "type": "x", "customer": "b"}"#, r#"{"id": "a1", "type": "x"}"#] {
        bench.take_in(other.as_bytes()).await;
        bench.work_off().await;
    }
    assert_eq!(bench.items("O#").await, 2);
    bench.pass(3).await;
    assert_eq!(arrived(&destination), BTreeMap::from([("a".into(), sequence("a", 2))]));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_waited_too_long_for_its_turn_is_dead_and_can_be_replayed() {
    let config =
        ordered().replace("timeout_seconds = 30", "timeout_seconds = 30\nretry = [\"7d\", \"7d\", \"7d\"]");
    let (bench, destination) = Bench::start(&config, Functions::default()).await;
    destination.next("/post", [Reply::Status(503), Reply::Status(503), Reply::Status(503)]);
    bench.orders("a", 1).await;
    bench.work_off().await;
    bench.take_in(&body("a", 1)).await;
    bench.work_off().await;
    for day in 0..20 {
        if day == 13 {
            bench.take_in(&body("a", 2)).await;
        }
        bench.clock.advance(24 * HOUR);
        bench.worker.sweep().await;
        bench.work_off().await;
    }
    for _ in 0..10 {
        bench.clock.advance(24 * HOUR);
        bench.worker.sweep().await;
        bench.work_off().await;
    }
    let given_up = bench.entry("a1").await;
    assert_eq!(bench.statuses("a", 3).await, [Status::Done, Status::Dead, Status::Done]);
    assert!(given_up.attempts.0[0].detail.contains("days for its turn"), "{given_up:?}");
    assert_eq!(bench.replay("a1").await, Replayed::Queued);
    bench.work_off().await;
    assert_eq!(bench.entry("a1").await.status, Status::Done);
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_is_no_longer_kept_does_not_hold_up_those_behind_it() {
    let (bench, destination) = bench().await;
    let store = &bench.worker.store;
    bench.orders("a", 1).await;
    // Its turn is there, and the event was forgotten long ago.
    let lane = Lane::new(&name("shop"), "a");
    let forgotten = Turn {
        at: EpochMillis::from_millis(1),
        id: event_id("old"),
        received_at: EpochMillis::from_millis(1),
    };
    store.turn_put(&lane, &forgotten, 30).await.unwrap();
    bench.work_off().await;
    assert_eq!(bench.entry("a0").await.status, Status::Done);
    assert!(store.turn_at(&lane, End::First).await.unwrap().is_none());
    assert_eq!(arrived(&destination)["a"], ["a0"]);
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_was_not_called_is_found_by_the_next_of_its_key() {
    let (bench, destination) = bench().await;
    bench.orders("a", 1).await;
    assert_eq!(bench.turn_of(ORDERED).await.0.len(), 1);
    // Somebody purges the queue.
    for message in bench.receive().await {
        bench.engines.sqs().delete(QUEUE, &message.receipt_handle).unwrap();
    }
    bench.clock.advance(HOUR);
    bench.take_in(&body("a", 1)).await;
    bench.work_off().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 2));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_without_its_fifo_queue_an_installation_lets_go_what_had_an_order() {
    let (mut bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(503)]);
    bench.orders("a", 2).await;
    bench.work_off().await;
    bench.take_in(&body("a", 2)).await;
    // The last one is stored and has no turn yet when the FIFO queue is taken away.
    let worker = std::sync::Arc::get_mut(&mut bench.worker).unwrap();
    worker.queue = worker.queue.clone().with_ordered(None);
    bench.message(&Message::pointing(&name("shop"), &event_id("a2")).to_text()).await;
    while !bench.turn().await.0.is_empty() {}
    assert_eq!(bench.statuses("a", 3).await, [Status::Retrying, Status::Received, Status::Done]);
    bench.clock.advance(Duration::from_secs(10));
    while !bench.turn().await.0.is_empty() {}
    assert_eq!(bench.statuses("a", 3).await, vec![Status::Done; 3]);
    assert_eq!(bench.items("O#").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_was_asked_about_before_its_turn_is_free_when_it_comes() {
    let (bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(503)]);
    bench.orders("a", 2).await;
    bench.work_off().await;
    bench.message(&Message::pointing(&name("shop"), &event_id("a1")).to_text()).await;
    while !bench.turn().await.0.is_empty() {}
    assert_eq!(bench.statuses("a", 2).await, [Status::Retrying, Status::Received], "nobody has a lease");
    bench.clock.advance(Duration::from_secs(10));
    while !bench.turn().await.0.is_empty() {}
    assert_eq!(bench.statuses("a", 2).await, [Status::Done; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_waits_for_its_turn_survives_a_restart() {
    let destination = Destination::start().await;
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secrets.json"), json!({"shop": [SHOP_SECRET]}).to_string()).unwrap();
    let (clock, config) = (Clock::manual(START_MS), ordered().replace("DEST", &destination.place));
    let open = async || World::open(folder.clone(), clock.clone(), config.clone(), false).await;
    let world = open().await;
    destination.next("/post", [Reply::RetryAfter(503, "7200")]);
    for number in 0..4 {
        assert_eq!(world.shop_body(&body("a", number)).await.status, 200);
    }
    world.wait_for("shop", "a0", Status::Retrying).await;
    world.wait_for("shop", "a3", Status::Received).await;
    world.quiet().await;
    world.stack.stop().await;

    let world = open().await;
    world.drive_to("shop", "a3", Status::Done).await;
    world.drain().await;

    assert_eq!(arrived(&destination)["a"], sequence("a", 4));
    assert_eq!((destination.hits("/post").len(), world.items("O#").await), (5, 0));
}

// What fails.

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_is_replayed_before_it_could_leave_gets_another_turn() {
    let (bench, destination) = bench().await;
    destination.next("/post", [Reply::Status(400)]);
    bench.orders("a", 2).await;
    let fault = Fault { matching: Some("O#shop".into()), ..every("DeleteItem", How::Drop) };
    bench.engines.dynamodb().traffic().break_with(fault);
    bench.work_off().await;
    assert_eq!(bench.statuses("a", 2).await, [Status::Dead, Status::Received]);
    bench.engines.dynamodb().traffic().heal();
    assert_eq!(bench.replay("a0").await, Replayed::Queued);
    bench.work_off().await;
    assert_eq!(bench.statuses("a", 2).await, vec![Status::Done; 2]);
    assert_eq!(arrived(&destination)["a"], ["a0", "a1", "a0"]);
    // What had been put off when it could not leave finds nothing to do.
    bench.pass(3).await;
    assert_eq!(destination.hits("/post").len(), 3);
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_gets_its_turn_while_a_worker_has_it_keeps_that_turn() {
    let (bench, destination) = bench().await;
    bench.orders("a", 2).await;
    // The stream takes an event for forgotten that waits in the FIFO queue, and its message comes first.
    bench.message(&Message::pointing(&name("shop"), &event_id("a0")).to_text()).await;
    let traffic = bench.engines.dynamodb().traffic();
    let fault = Fault { matching: Some("O#shop".into()), times: Some(1), ..every("Query", How::Hang) };
    traffic.break_with(fault);
    let early = bench.receive().await;
    let worker = bench.work(&early);
    until("it has the lease, and has not seen the lane", async || traffic.hanging() == 1).await;
    bench.turn_of(ORDERED).await;
    assert!(worker.await.unwrap().is_empty());

    for message in &early {
        bench.engines.sqs().delete(QUEUE, &message.receipt_handle).unwrap();
    }
    bench.work_off().await;
    bench.pass(3).await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 2));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_the_fifo_queue_did_not_take_is_not_acknowledged_and_comes_all_the_same() {
    for how in [How::Drop, How::ApplyThenDrop] {
        let (bench, destination) = bench().await;
        let fault = bench.engines.sqs().traffic().break_with(every("SendMessage", how));
        assert_eq!(bench.offer(&body("a", 0)).await, 503, "{how:?}");
        bench.engines.sqs().traffic().heal_one(fault);
        assert_eq!(bench.offer(&body("a", 1)).await, 200);
        // The sender tries again, and is late: the order is that of the answers, unless the queue had taken it already.
        assert_eq!(bench.offer(&body("a", 0)).await, 200);
        bench.work_off().await;
        let want = if how == How::Drop { ["a1", "a0"] } else { ["a0", "a1"] };
        assert_eq!(arrived(&destination)["a"], want, "{how:?}");
        bench.assert_idle("at the end").await;
    }
    // A sender that does not try again has lost nothing: the table's stream has it.
    let (world, destination) =
        World::with_destination(&ordered(), &json!({"shop": [SHOP_SECRET]}).to_string()).await;
    world.break_queue(every("SendMessage", How::Drop));
    assert_eq!(world.shop_body(&body("a", 0)).await.status, 503);
    world.heal();
    world.drive_to("shop", "a0", Status::Done).await;
    assert_eq!(destination.taken("/post", "a0"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_every_call_may_fail_for_an_hour_and_the_order_holds() {
    for (operation, matching) in [
        ("UpdateItem", "\"L#"),
        ("UpdateItem", "turn = :turn"),
        ("GetItem", "\"E#"),
        ("GetItem", "\"L#"),
        ("PutItem", "O#shop"),
        ("Query", "O#shop"),
        ("DeleteItem", "O#shop"),
        ("SendMessage", "hookgate-events"),
        ("SendMessage", "hookgate-ordered"),
    ] {
        for how in [How::Drop, How::ApplyThenDrop] {
            let what = format!("{operation} {matching} {how:?}");
            let (bench, destination) = bench().await;
            destination.next("/post", [Reply::Status(503)]);
            bench.orders("a", 3).await;
            bench.orders("b", 1).await;
            let fault = Fault { matching: Some(matching.into()), ..every(operation, how) };
            let engines = &bench.engines;
            let traffic = match operation {
                "SendMessage" => engines.sqs().traffic(),
                _ => engines.dynamodb().traffic(),
            };
            let fault = traffic.break_with(fault);
            bench.work_off().await;
            for _ in 0..2 {
                bench.clock.advance(HOUR / 2);
                bench.work_off().await;
            }
            assert!(traffic.fired(fault) > 0 || matching == "hookgate-ordered", "{what}");
            traffic.heal();
            bench.take_in(&body("a", 3)).await;
            bench.hours(2).await;
            assert_eq!(bench.statuses("a", 4).await, vec![Status::Done; 4], "{what}");
            assert_eq!(arrived(&destination)["a"], sequence("a", 4), "{what}");
            bench.assert_idle(&what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_repeated_delivery_whose_turn_can_not_be_looked_up_comes_back() {
    for operation in ["GetItem", "Query"] {
        let (bench, destination) = bench().await;
        destination.next("/post", [Reply::RetryAfter(503, "3600")]);
        bench.orders("a", 2).await;
        bench.work_off().await;
        bench.clock.advance(Duration::from_secs(301));
        bench.orders("a", 2).await;
        let fault = Fault { matching: Some("O#shop".into()), ..every(operation, How::Drop) };
        bench.engines.dynamodb().traffic().break_with(fault);
        let (batch, failed) = bench.turn_of(ORDERED).await;
        assert_eq!((batch.len(), failed.len()), (2, 2), "{operation}");
        bench.engines.dynamodb().traffic().heal();
        bench.hours(2).await;
        assert_eq!(arrived(&destination)["a"], sequence("a", 2), "{operation}");
        assert_eq!(destination.hits("/post").len(), 3, "{operation}");
        bench.assert_idle(operation).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_is_leased_for_nobody_is_called_again() {
    // By its own message of the FIFO queue, or by that of an event behind it.
    for behind in [false, true] {
        let (bench, destination) = bench().await;
        bench.orders("a", 1).await;
        match behind {
            // It has its turn, but was not called.
            false => {
                bench.engines.sqs().traffic().break_with(every("SendMessage", How::Drop));
                let (_, failed) = bench.turn_of(ORDERED).await;
                assert_eq!(failed.len(), 1);
                bench.engines.sqs().traffic().heal();
            }
            // It was called, and the call is gone.
            true => {
                bench.turn_of(ORDERED).await;
                let calls = bench.receive().await;
                bench.engines.sqs().delete(QUEUE, &calls[0].receipt_handle).unwrap();
            }
        }
        // A lease that DynamoDB has carried out late.
        let store = &bench.worker.store;
        let event = store.event(&name("shop"), &event_id("a0")).await.unwrap().unwrap();
        store.lease(&event, 7, 30, bench.now()).await.unwrap();
        bench.clock.advance(Duration::from_secs(360));
        if behind {
            bench.take_in(&body("a", 1)).await;
        }
        bench.work_off().await;
        assert_eq!(arrived(&destination)["a"], sequence("a", if behind { 2 } else { 1 }));
        bench.assert_idle("at the end").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_turn_that_is_written_after_its_event_has_left_holds_nobody_up() {
    let (bench, destination) = bench().await;
    bench.orders("a", 1).await;
    bench.work_off().await;
    // The first try of a write that seemed to fail, carried out late.
    let store = &bench.worker.store;
    let event = store.event(&name("shop"), &event_id("a0")).await.unwrap().unwrap();
    let received_at = event.request.received_at;
    let key = StatusKey { source: name("shop"), id: event_id("a0"), received_at };
    let (_, place) = store.standing(&key).await.unwrap().unwrap();
    let turn = Turn { at: place.unwrap(), id: event_id("a0"), received_at };
    store.turn_put(&Lane::new(&name("shop"), "a"), &turn, 30).await.unwrap();

    bench.take_in(&body("a", 1)).await;
    bench.work_off().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 2));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_nine_hours_without_the_table_change_no_order_and_make_no_dead_letters() {
    let (bench, destination) = bench().await;
    bench.engines.dynamodb().traffic().break_with(Fault::new(How::Drop));
    bench.orders("a", 4).await;
    for _ in 0..90 {
        bench.work_off().await;
        bench.clock.advance(Duration::from_secs(360));
    }
    assert_eq!((bench.ordered_counts().visible, bench.counts()), (4, Counts::default()));
    bench.engines.dynamodb().traffic().heal();
    bench.orders("b", 1).await;
    bench.work_off().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 4));
    bench.assert_idle("at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_can_not_be_read_leaves_the_fifo_queue_and_those_behind_it_go_on() {
    let (bench, destination) = bench().await;
    let lane = Lane::new(&name("shop"), "a");
    let send = bench.engines.sqs().queue_url(ORDERED).unwrap();
    let poison = ["not one of ours", r#"{"v":1,"source":"shop","id":"y","event":"AQID"}"#];
    for (number, text) in poison.into_iter().enumerate() {
        bench.message_in_order(&send, lane.as_str(), &number.to_string(), text).await;
    }
    bench.orders("a", 2).await;
    // Nor does it hold them up when it can't be passed on at once.
    bench.engines.sqs().traffic().break_with(every("SendMessage", How::Drop));
    let (batch, failed) = bench.turn_of(ORDERED).await;
    assert_eq!((batch.len(), failed.len()), (4, 4), "all of the group come back, in their order");
    bench.engines.sqs().traffic().heal();
    bench.clock.advance(Duration::from_secs(360));
    bench.work_off().await;
    assert_eq!(arrived(&destination)["a"], sequence("a", 2));
    for _ in 0..5 {
        bench.clock.advance(Duration::from_secs(360));
        bench.work_off().await;
    }
    let dead = bench.engines.sqs().peek(DEAD_LETTERS, 10).unwrap();
    assert_eq!(dead.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), poison);
}

/// Works off the queues as [`Bench::work_off`] does, and has the worker die when a request hangs. Says whether it did.
async fn work_off_to_the_death(bench: &Bench, traffic: &Traffic) -> bool {
    loop {
        let mut idle = true;
        for queue in [ORDERED, QUEUE] {
            let messages = bench.receive_of(queue).await;
            if messages.is_empty() {
                continue;
            }
            idle = false;
            let working = bench.work(&messages);
            until("it is done or hangs", async || working.is_finished() || traffic.hanging() > 0).await;
            if !working.is_finished() {
                working.abort();
                assert!(working.await.unwrap_err().is_cancelled());
                return true;
            }
            let failed = working.await.unwrap();
            for message in messages.iter().filter(|message| !failed.contains(&message.message_id)) {
                bench.engines.sqs().delete(queue, &message.receipt_handle).unwrap();
            }
        }
        if idle {
            return false;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_that_dies_at_any_call_leaves_the_order_as_it_was() {
    for engine in ["table", "queue"] {
        let mut deaths = 0;
        for skip in 0.. {
            let what = format!("{engine}, after {skip} calls");
            let (bench, destination) = bench().await;
            destination.next("/post", [Reply::Status(503), Reply::Status(400)]);
            bench.orders("a", 4).await;
            let traffic = match engine {
                "table" => bench.engines.dynamodb().traffic(),
                _ => bench.engines.sqs().traffic(),
            };
            let fault = Fault { skip, times: Some(1), ..Fault::new(How::Hang) };
            traffic.break_with(fault);
            let mut died = work_off_to_the_death(&bench, traffic).await;
            if !died {
                bench.clock.advance(Duration::from_secs(10));
                died = work_off_to_the_death(&bench, traffic).await;
            }
            if !died {
                break;
            }
            deaths += 1;
            traffic.heal();
            bench.hours(1).await;
            bench.take_in(&body("a", 4)).await;
            bench.hours(1).await;
            let statuses = bench.statuses("a", 5).await;
            assert!(statuses.iter().all(|status| status.is_final()), "{what}: {statuses:?}");
            assert_eq!(arrived(&destination)["a"], sequence("a", 5), "{what}");
            bench.assert_idle(&what).await;
        }
        // Every call of four events that get a turn, are worked on, and leave.
        assert!(deaths >= if engine == "table" { 50 } else { 5 }, "{engine}: {deaths}");
    }
}

/// Numbers that look like chance, the same for one seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.throw(of.len() as u64)).unwrap()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_whatever_fails_by_chance_the_order_is_that_in_which_events_were_accepted() {
    const SEEDS: u64 = 6;
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (bench, destination) = bench().await;
        let (table, queue) = (bench.engines.dynamodb().traffic(), bench.engines.sqs().traffic());
        let mut accepted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut deaths = 0;
        for _ in 0..24 {
            let customer = dice.one_of(&["a", "b", "c"]);
            let how =
                dice.one_of(&[How::Drop, How::ApplyThenDrop, How::Throttle, How::Status500, How::Garbage]);
            let times = Some(dice.one_of(&[1, 3, 9]));
            let skip = u32::try_from(dice.throw(12)).unwrap();
            let broken = if dice.throw(3) == 0 { queue } else { table };
            if dice.throw(2) == 0 {
                broken.break_with(Fault { skip, times, ..Fault::new(how) });
            }
            // A sender that tries again until it is heard, and sends nothing else of this customer before.
            let ids = accepted.entry(customer).or_default();
            while bench.offer(&body(customer, ids.len())).await != 200 {}
            ids.push(format!("{customer}{}", ids.len()));
            if dice.throw(4) == 0 {
                let earlier = usize::try_from(dice.throw(ids.len() as u64)).unwrap();
                bench.offer(&body(customer, earlier)).await;
            }
            match dice.throw(6) {
                0 => destination.next("/post", [Reply::Status(503)]),
                1 => destination.next("/post", [Reply::Status(400)]),
                _ => {}
            }
            if dice.throw(4) == 0 && deaths < 3 {
                deaths += 1;
                broken.heal();
                broken.break_with(Fault { skip, times: Some(1), ..Fault::new(How::Hang) });
                work_off_to_the_death(&bench, broken).await;
                broken.heal();
            } else if dice.throw(3) > 0 {
                bench.work_off().await;
            }
            bench.clock.advance(Duration::from_secs(dice.one_of(&[0, 1, 30, 95, 400, 2_000])));
            if dice.throw(3) == 0 {
                bench.worker.sweep().await;
            }
        }
        table.heal();
        queue.heal();
        bench.hours(12).await;
        for (customer, ids) in &accepted {
            let statuses = bench.statuses(customer, ids.len()).await;
            assert!(statuses.iter().all(|status| status.is_final()), "seed {seed}: {customer}: {statuses:?}");
            assert_eq!(&arrived(&destination)[*customer], ids, "seed {seed}: {customer}");
        }
        bench.assert_idle(&format!("seed {seed}")).await;
    }
}
