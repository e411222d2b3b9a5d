//! Every event ends, and each of its actions takes effect once, whatever fails while the worker has it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hookgate::local::{DEAD_LETTERS, QUEUE};
use hookgate_aws::{
    effects::{Functions, RunError},
    store::{Entry, Leased},
};
use hookgate_core::{
    codec::Message,
    destination::Schedule,
    lifecycle::{AttemptOutcome, LEASE_LEFT_MS, RETRY_AFTER_MS_MAX, Status},
    time::EpochMillis,
};
use hookgate_embedded::{Counts, Fault, How, MessageState};
use serde_json::json;

use crate::harness::{
    Bench, Destination, Reply, SHOP, SHOP_SECRET, World, event_id, every, hurried, name, order, until,
};

/// What came of each attempt of an action, in their order.
fn outcomes<'e>(entry: &'e Entry, action: &str) -> Vec<&'e str> {
    let ours = entry.attempts.0.iter().filter(|attempt| attempt.action == name(action));
    ours.map(|attempt| attempt.outcome.word()).collect()
}

fn details(entry: &Entry, action: &str) -> Vec<String> {
    let ours = entry.attempts.0.iter().filter(|attempt| attempt.action == name(action));
    ours.map(|attempt| attempt.detail.clone()).collect()
}

async fn shop_with(config: &str) -> (World, Destination) {
    World::with_destination(config, &json!({"shop": [SHOP_SECRET]}).to_string()).await
}

/// [`SHOP`] with these actions in place of its own.
fn with_actions(names: &str, actions: &str) -> String {
    let (sources, _) = SHOP.split_once("[actions.post]").unwrap();
    format!("{}\n{actions}", sources.replace(r#"["post", "tally"]"#, names))
}

// Actions that fail.

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_http_action_that_fails_is_tried_again_and_takes_effect_once() {
    let (world, destination) = World::shop().await;
    destination.next("/post", [Reply::Status(500), Reply::Status(503)]);

    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    // Not before it is due: the first wait is five seconds at least.
    world.advance(4);
    world.quiet().await;
    assert_eq!(destination.hits("/post").len(), 1);
    assert_eq!(world.next_try("shop", "o1").await.status, Status::Retrying);
    assert_eq!(world.next_try("shop", "o1").await.status, Status::Done);

    let entry = world.entry("shop", "o1").await.unwrap();
    assert_eq!(outcomes(&entry, "post"), ["retry", "retry", "done"]);
    assert_eq!(outcomes(&entry, "tally"), ["done"], "what is done is not repeated");
    world.drain().await;
    assert_eq!((destination.hits("/post").len(), destination.taken("/post", "o1")), (3, 1));
    assert_eq!(world.counts("orders").await["o1"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_slack_action_that_fails_is_tried_again_and_takes_effect_once() {
    let (world, destination) = shop_with(&with_actions(
        r#"["tell"]"#,
        "[actions.tell]\nkind = \"slack\"\nurl = \"http://DEST/slack\"\ntext = \"{{ id }}\"",
    ))
    .await;
    destination.next("/slack", [Reply::Status(500), Reply::Status(429)]);
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    world.next_try("shop", "o1").await;
    world.next_try("shop", "o1").await;
    world.drain().await;
    let entry = world.entry("shop", "o1").await.unwrap();
    assert_eq!((entry.status, outcomes(&entry, "tell")), (Status::Done, vec!["retry", "retry", "done"]));
    assert_eq!(destination.hits("/slack").len(), 3);
    assert!(destination.hits("/slack").iter().all(|hit| hit.body == br#"{"text":"o1"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_destination_that_is_not_there_or_says_nothing_is_tried_again() {
    let (world, destination) = World::hurried_shop().await;
    let config = format!(
        "{SHOP}\n[sources.b]\nprovider = \"raw\"\nverify = \"none\"\n[[routes]]\nsource = \"b\"\nactions = [\"gone\"]\n[actions.gone]\nkind = \"http\"\nurl = \"http://DEST/\""
    );
    destination.next("/post", [Reply::Never]);
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    let entry = world.entry("shop", "o1").await.unwrap();
    assert_eq!(details(&entry, "post"), ["127.0.0.1 gave no answer within 2000 ms"]);
    assert_eq!(world.next_try("shop", "o1").await.status, Status::Done);

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let world = World::with(&config.replace("DEST", &nobody), "{}").await;
    world.post("/webhooks/b", &[("x-event-id", "o1")], b"x").await;
    world.wait_for("b", "o1", Status::Retrying).await;
    let entry = world.entry("b", "o1").await.unwrap();
    assert_eq!(details(&entry, "gone"), ["127.0.0.1 could not be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_record_action_that_fails_is_tried_again_and_takes_effect_once() {
    for how in [How::Status500, How::Throttle, How::Drop, How::ApplyThenDrop, How::Garbage] {
        let (world, _destination) = shop_with(&with_actions(
            r#"["keep"]"#,
            "[actions.keep]\nkind = \"record\"\ncollection = \"orders\"\nkey = \"json:/id\"\nfields = { total = \"json:/total\" }",
        ))
        .await;
        world.break_table(Fault { matching: Some("R#orders".into()), ..every("UpdateItem", how) });
        world.order("o1").await;
        world.wait_for("shop", "o1", Status::Retrying).await;
        world.heal();
        let entry = world.next_try("shop", "o1").await;
        assert_eq!(
            (entry.status, outcomes(&entry, "keep")),
            (Status::Done, vec!["retry", "done"]),
            "{how:?}"
        );
        assert_eq!(world.record("orders", "o1").await.unwrap()["total"], 12_900, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_count_action_that_fails_is_tried_again_and_counts_once() {
    for how in [How::Status500, How::Throttle, How::Drop, How::ApplyThenDrop, How::Apply500, How::ApplyTwice]
    {
        let (world, destination) = World::shop().await;
        let fault = world.break_table(every("TransactWriteItems", how));
        world.order("o1").await;
        until("the count was tried", async || {
            world
                .entry("shop", "o1")
                .await
                .is_some_and(|entry| matches!(entry.status, Status::Retrying | Status::Done))
        })
        .await;
        assert!(world.stack.engines.dynamodb().traffic().fired(fault) > 0);
        world.heal();
        world.drive_to("shop", "o1", Status::Done).await;
        world.drain().await;
        assert_eq!(world.counts("orders").await["o1"], 1, "{how:?}");
        assert_eq!(destination.hits("/post").len(), 1, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_function_that_asks_for_another_try_gets_it_and_one_that_gives_up_is_dead() {
    let tries = Arc::new(AtomicUsize::new(0));
    let functions = {
        let tries = tries.clone();
        Functions::default()
            .with("flaky", move |event| {
                let number = tries.fetch_add(1, Ordering::SeqCst);
                async move {
                    match number {
                        0 | 1 => Err(RunError::Retry("not yet".into())),
                        _ => Ok(format!("{} bytes", event.request.body.len())),
                    }
                }
            })
            .with("hopeless", |_| async { Err(RunError::Dead("never".into())) })
    };
    let config = with_actions(
        r#"["flaky", "hopeless"]"#,
        "[actions.flaky]\nkind = \"run\"\n[actions.hopeless]\nkind = \"run\"",
    );
    let (bench, _destination) = Bench::start(&config, functions).await;
    bench.order("o1").await;
    bench.turn_until("o1", Status::Dead).await;
    let entry = bench.entry("o1").await;
    assert_eq!(outcomes(&entry, "flaky"), ["retry", "retry", "done"]);
    assert_eq!(details(&entry, "flaky")[2], format!("{} bytes", order("o1").len()));
    assert_eq!(details(&entry, "hopeless"), ["never"]);
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_retry_after_is_honoured_within_a_day() {
    for (status, said, seconds) in
        [(429, "120", 120), (503, "7200", 7_200), (429, "99999999", RETRY_AFTER_MS_MAX / 1000)]
    {
        let (world, destination) = World::shop().await;
        destination.next("/post", [Reply::RetryAfter(status, said)]);
        world.order("o1").await;
        world.wait_for("shop", "o1", Status::Retrying).await;
        let entry = world.entry("shop", "o1").await.unwrap();
        assert_eq!(entry.next_at.unwrap().millis_since(world.now()), seconds * 1000, "{said}");
        world.quiet().await;
        // Whether it waits in the queue or in the outbox, it does not come early.
        world.advance(u64::try_from(seconds).unwrap() - 1);
        world.quiet().await;
        assert_eq!(destination.hits("/post").len(), 1, "{said}");
        world.drive_to("shop", "o1", Status::Done).await;
        assert_eq!(destination.hits("/post").len(), 2, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_a_destination_will_never_take_is_dead_at_once_with_the_reason() {
    let (world, destination) = World::shop().await;
    for status in [301, 400, 401, 403, 404, 405, 422] {
        let id = format!("o{status}");
        destination.next("/post", [Reply::Status(status)]);
        world.order(&id).await;
        world.wait_for("shop", &id, Status::Dead).await;
        let entry = world.entry("shop", &id).await.unwrap();
        assert_eq!(details(&entry, "post"), [format!("127.0.0.1 answered {status}")]);
        assert_eq!((outcomes(&entry, "post"), outcomes(&entry, "tally")), (vec!["dead"], vec!["done"]));
        assert_eq!(entry.next_at, None);
    }
    world.drain().await;
    for _ in 0..5 {
        world.advance(24 * 60 * 60);
        world.quiet().await;
    }
    assert_eq!(destination.hits("/post").len(), 7, "nothing is tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_template_that_does_not_fit_the_event_is_dead_at_once() {
    let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    for (text, why) in [("{{ event.missing.field }}", "undefined"), (nested, "more than 1000000 steps")] {
        let action =
            format!("[actions.tell]\nkind = \"slack\"\nurl = \"http://DEST/slack\"\ntext = \"{text}\"");
        let (world, destination) = shop_with(&with_actions(r#"["tell"]"#, &action)).await;
        world.order("o1").await;
        world.wait_for("shop", "o1", Status::Dead).await;
        let entry = world.entry("shop", "o1").await.unwrap();
        assert_eq!(outcomes(&entry, "tell"), ["dead"]);
        assert!(details(&entry, "tell")[0].contains(why), "{:?}", details(&entry, "tell"));
        assert!(destination.hits("/slack").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_action_that_fails_through_the_whole_schedule_is_dead() {
    let (world, destination) = World::shop().await;
    destination.always("/post", Reply::Status(500));
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    let mut waits = Vec::new();
    let schedule = Schedule::default();
    let planned: Vec<i64> = (1..).map_while(|failures| schedule.delay_ms(failures)).collect();
    for _ in &planned {
        let entry = world.entry("shop", "o1").await.unwrap();
        assert_eq!(entry.status, Status::Retrying);
        let last = entry.attempts.last(&name("post")).unwrap();
        let AttemptOutcome::Retry { next_at } = last.outcome else { panic!("{last:?}") };
        waits.push(next_at.millis_since(last.at));
        world.next_try("shop", "o1").await;
    }
    for (wait, planned) in waits.iter().zip(planned.iter().copied()) {
        assert!((planned..=planned + planned / 5).contains(wait), "{waits:?}");
    }
    let entry = world.entry("shop", "o1").await.unwrap();
    assert_eq!(entry.status, Status::Dead);
    assert_eq!(outcomes(&entry, "post").len(), schedule.tries());
    assert_eq!(details(&entry, "post").last().unwrap(), "127.0.0.1 answered 500; given up after 10 tries");
    assert_eq!(destination.hits("/post").len(), 10);
    assert_eq!(world.counts("orders").await["o1"], 1);
    assert!(world.dead_letters().is_empty(), "dead events are no dead letters");
    world.drain().await;
    assert_eq!(destination.hits("/post").len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_long_wait_stands_in_the_outbox_and_holds_no_message() {
    let (world, destination) = World::shop().await;
    destination.next("/post", [Reply::Status(500), Reply::Status(500), Reply::Status(500)]);
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    // Short waits are delayed messages.
    world.quiet().await;
    assert_eq!(world.queue(), Counts { visible: 0, in_flight: 0, delayed: 1 });
    assert_eq!(world.items("D#").await, 0);
    world.next_try("shop", "o1").await;
    world.next_try("shop", "o1").await;

    // The third is half an hour.
    assert_eq!(world.queue(), Counts::default());
    assert_eq!(world.items("D#").await, 1);
    let entry = world.next_try("shop", "o1").await;

    assert_eq!(entry.status, Status::Done);
    world.drain().await;
    assert_eq!((world.items("D#").await, destination.taken("/post", "o1")), (0, 1));
}

// Messages that are no events.

const POISON: [&str; 4] = [
    "not one of ours",
    r#"{"v":9,"source":"shop","id":"x"}"#,
    r#"{"v":1,"source":"shop","id":"x","event":"!"}"#,
    r#"{"v":1,"source":"shop","id":"y","event":"AQID"}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn fault_one_poisonous_record_of_a_batch_comes_back_and_the_nine_are_done() {
    for poison in POISON {
        let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
        for number in 0..9 {
            bench.order(&format!("o{number}")).await;
        }
        bench.message(poison).await;

        let (batch, failed) = bench.turn().await;

        assert_eq!(batch.len(), 10);
        let poisonous = batch.iter().find(|message| message.body == poison).unwrap();
        assert_eq!(failed, std::slice::from_ref(&poisonous.message_id), "{poison}");
        for number in 0..9 {
            assert_eq!(bench.entry(&format!("o{number}")).await.status, Status::Done);
        }
        assert_eq!(destination.hits("/post").len(), 9);
        for receives in 2..=5 {
            bench.clock.advance(std::time::Duration::from_secs(360));
            let (batch, failed) = bench.turn().await;
            assert_eq!((batch.len(), failed.len(), batch[0].receive_count), (1, 1, receives), "{poison}");
        }
        bench.clock.advance(std::time::Duration::from_secs(360));
        assert!(bench.receive().await.is_empty());
        let dead = bench.engines.sqs().peek(DEAD_LETTERS, 10).unwrap();
        assert_eq!(dead.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), [poison]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_poison_lands_in_the_dead_letter_queue_after_five_receives() {
    let (world, destination) = World::shop().await;
    for poison in POISON {
        world.message(poison, 0).await;
    }
    world.order("o1").await;
    for receives in 1..=5 {
        until("every poisonous message was received", async || {
            let messages = world.stack.engines.sqs().peek(QUEUE, 10).unwrap();
            let ready = |m: &&hookgate_embedded::Message| {
                m.receive_count == receives && m.state == MessageState::InFlight
            };
            messages.iter().filter(ready).count() == POISON.len() && messages.len() == POISON.len()
        })
        .await;
        assert!(world.dead_letters().is_empty());
        world.advance(360);
    }
    until("the dead letters are there", async || world.dead_letters().len() == POISON.len()).await;
    assert_eq!(world.queue(), Counts::default());
    assert_eq!((world.status("shop", "o1").await, destination.hits("/post").len()), (Some(Status::Done), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_message_about_an_event_that_is_gone_is_finished() {
    let (bench, _destination) = Bench::start(SHOP, Functions::default()).await;
    bench.message(&Message::pointing(&name("shop"), &event_id("gone")).to_text()).await;
    bench.message(&Message::pointing(&name("nobody"), &event_id("gone")).to_text()).await;
    let (batch, failed) = bench.turn().await;
    assert_eq!((batch.len(), failed.len(), bench.counts()), (2, 0, Counts::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_function_that_panics_for_one_record_does_not_hurt_the_others() {
    let functions = Functions::default().with("touchy", |event| async move {
        assert!(event.id.as_str() != "o3", "a bug in a function of one's own");
        Ok("fine".to_owned())
    });
    let config = with_actions(r#"["touchy"]"#, "[actions.touchy]\nkind = \"run\"");
    let (bench, _destination) = Bench::start(&config, functions).await;
    for number in 0..6 {
        bench.order(&format!("o{number}")).await;
    }

    let (batch, failed) = bench.turn().await;

    assert_eq!((batch.len(), failed.len()), (6, 0));
    for number in [0, 1, 2, 4, 5] {
        assert_eq!(bench.entry(&format!("o{number}")).await.status, Status::Done);
    }
    let touchy = bench.entry("o3").await;
    assert_eq!(touchy.status, Status::Retrying);
    assert_eq!(details(&touchy, "touchy"), ["the function panicked; the log has where"]);
}

// Workers that die or lose their lease.

#[tokio::test(flavor = "multi_thread")]
async fn fault_when_the_last_result_can_not_be_written_down_what_was_is_not_repeated() {
    let (world, destination) = World::shop().await;
    // The lease and the result of `post` are written, that of `tally` is not.
    let fault = world.break_table(Fault { skip: 2, ..every("UpdateItem", How::Drop) });
    world.order("o1").await;
    until("the result was not written", async || {
        world.stack.engines.dynamodb().traffic().fired(fault) > 0 && world.queue().delayed == 1
    })
    .await;
    assert_eq!(world.status("shop", "o1").await, Some(Status::Working));
    world.heal();

    world.drive_to("shop", "o1", Status::Done).await;

    world.drain().await;
    assert_eq!(destination.hits("/post").len(), 1);
    assert_eq!(world.counts("orders").await["o1"], 1);
    let entry = world.entry("shop", "o1").await.unwrap();
    assert_eq!(details(&entry, "tally"), ["orders had counted it before"]);
}

const TWO: &str = r#"
[actions.first]
kind = "http"
url = "http://DEST/first"
[actions.second]
kind = "http"
url = "http://DEST/second"
timeout_seconds = 30
"#;

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_that_dies_between_two_actions_leaves_only_the_second_to_do() {
    let (bench, destination) =
        Bench::start(&with_actions(r#"["first", "second"]"#, TWO), Functions::default()).await;
    destination.next("/second", [Reply::Never]);
    bench.order("o1").await;
    let batch = bench.receive().await;
    let dying = bench.work(&batch);
    until("the second action has begun", async || !destination.hits("/second").is_empty()).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    assert_eq!(bench.entry("o1").await.status, Status::Working);

    // The message comes back by itself after its visibility timeout, and by then the lease is over.
    assert!(bench.turn().await.0.is_empty());
    bench.clock.advance(std::time::Duration::from_secs(360));
    let (batch, failed) = bench.turn().await;

    assert_eq!((batch.len(), failed.len()), (1, 0));
    assert_eq!(bench.entry("o1").await.status, Status::Done);
    assert_eq!((destination.hits("/first").len(), destination.taken("/second", "o1")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_only_a_crash_between_effect_and_record_repeats_an_action_and_under_the_same_id() {
    let (bench, destination) = Bench::start(&with_actions(r#"["first"]"#, TWO), Functions::default()).await;
    bench.order("o1").await;
    let batch = bench.receive().await;
    let table = bench.engines.dynamodb().traffic();
    table.break_with(Fault { skip: 1, ..every("UpdateItem", How::Hang) });
    let dying = bench.work(&batch);
    until("the result is being written down", async || table.hanging() > 0).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    table.heal();

    bench.turn_until("o1", Status::Done).await;

    let hits = destination.hits("/first");
    assert_eq!(hits.iter().map(|hit| hit.id()).collect::<Vec<_>>(), ["o1", "o1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_another_worker_holds_comes_back_and_is_finished_later() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    let store = &bench.worker.store;
    let event = store.event(&name("shop"), &event_id("o1")).await.unwrap().unwrap();
    let held = store.lease(&event, 7, 30, bench.worker.ambient.now()).await.unwrap();
    assert!(matches!(held, Leased::Ours(_)));

    // Whoever holds it may be dead. The message is not kept in flight, where it would count as received.
    let (batch, failed) = bench.turn().await;
    assert_eq!((batch.len(), failed.len()), (1, 0));
    assert_eq!(bench.counts(), Counts { visible: 0, in_flight: 0, delayed: 1 });
    assert!(destination.hits("/post").is_empty());
    bench.clock.advance(std::time::Duration::from_secs(90));
    assert!(bench.turn().await.0.is_empty());
    bench.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(bench.turn().await.0.len(), 1);

    assert_eq!(bench.entry("o1").await.status, Status::Done);
    assert_eq!((destination.hits("/post").len(), bench.counts()), (1, Counts::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_that_was_held_up_beyond_its_lease_changes_nothing_any_more() {
    let (bench, destination) = Bench::start(&hurried(), Functions::default()).await;
    destination.next("/post", [Reply::Never]);
    bench.order("o1").await;
    let batch = bench.receive().await;
    let slow = bench.work(&batch);
    until("the slow worker posts", async || !destination.hits("/post").is_empty()).await;
    bench.clock.advance(std::time::Duration::from_secs(91));
    bench.message(&Message::pointing(&name("shop"), &event_id("o1")).to_text()).await;

    let (batch, failed) = bench.turn().await;
    assert_eq!((batch.len(), failed.len()), (1, 0));
    let finished = bench.entry("o1").await;
    assert_eq!(finished.status, Status::Done);
    let failed = slow.await.unwrap();

    assert!(failed.is_empty(), "its message has nothing left to do");
    assert_eq!(bench.entry("o1").await, finished);
    assert_eq!(destination.taken("/post", "o1"), 1);
    let counts = bench.worker.store.counts("orders", 10).await.unwrap();
    assert_eq!(counts.iter().map(|row| row.count).collect::<Vec<_>>(), [1]);
}

// Dependencies that are away for long.

#[tokio::test(flavor = "multi_thread")]
async fn fault_two_hours_without_the_table_lose_nothing_and_make_no_dead_letters() {
    let (world, destination) = World::shop().await;
    world.break_table(Fault::new(How::Drop));
    let ids = ["o1", "o2", "o3", "o4", "o5"];
    for id in ids {
        assert_eq!(world.order(id).await.status, 200, "{id}");
    }
    for _ in 0..24 {
        world.quiet().await;
        assert_eq!(world.queue(), Counts { visible: 0, in_flight: 0, delayed: ids.len() });
        world.advance(300);
    }
    assert!(world.dead_letters().is_empty());
    assert!(destination.hits("/post").is_empty());
    world.heal();
    world.drain().await;
    for id in ids {
        assert_eq!(world.status("shop", id).await, Some(Status::Done), "{id}");
        assert_eq!(destination.taken("/post", id), 1, "{id}");
        assert_eq!(world.counts("orders").await[id], 1, "{id}");
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_whose_next_try_can_not_be_arranged_is_not_lost() {
    let (world, destination) = World::shop().await;
    destination.next("/post", [Reply::Status(500)]);
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    world.quiet().await;
    // GIVEN that the second try fails as well, and nothing can be sent.
    destination.next("/post", [Reply::Status(500)]);
    world.break_queue(every("SendMessage", How::Drop));
    world.advance(10);
    until("the second try was made", async || destination.hits("/post").len() == 2).await;
    until("nothing could be sent", async || world.stack.engines.sqs().traffic().count("SendMessage") >= 4)
        .await;
    world.heal();

    world.drive_to("shop", "o1", Status::Done).await;

    world.drain().await;
    assert_eq!(destination.taken("/post", "o1"), 1);
    assert_eq!(world.counts("orders").await["o1"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_secrets_that_become_unreadable_stay_in_use() {
    for broken in [None, Some(""), Some("{\"shop\": "), Some("[1, 2]")] {
        let (world, destination) = World::shop().await;
        assert_eq!(world.order("o1").await.status, 200);
        world.wait_for("shop", "o1", Status::Done).await;
        match broken {
            None => std::fs::remove_file(world.secrets_file()).unwrap(),
            Some(text) => std::fs::write(world.secrets_file(), text).unwrap(),
        }
        world.advance(60 * 60);
        assert_eq!(world.order("o2").await.status, 200, "{broken:?}");
        world.wait_for("shop", "o2", Status::Done).await;
        let forged = [("content-type", "application/json"), ("x-signature", "sha256=00")];
        // It could be signed with one of those that can not be read.
        assert_eq!(world.post("/webhooks/shop", &forged, &order("o3")).await.status, 503);
        assert_eq!(destination.hits("/post").len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_missing_secret_of_an_action_is_waited_for() {
    let config = with_actions(
        r#"["post"]"#,
        "[actions.post]\nkind = \"http\"\nurl = \"http://DEST/post\"\nsign = \"bearer\"\nsecret = \"key\"",
    );
    let secrets = json!({"shop": [SHOP_SECRET], "key": []}).to_string();
    let (world, destination) = World::with_destination(&config, &secrets).await;
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    assert!(destination.hits("/post").is_empty());
    world.write_secrets(&json!({"shop": [SHOP_SECRET], "key": ["k3y"]}));
    world.drive_to("shop", "o1", Status::Done).await;
    assert_eq!(destination.hits("/post")[0].headers["authorization"], "Bearer k3y");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_was_done_is_written_down_although_the_queue_does_not_bring_the_event_back() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    // The second action has to be tried again, and neither its message nor the deferred one can be sent.
    let table = bench.engines.dynamodb().traffic();
    let count = table.break_with(every("TransactWriteItems", How::Status500));
    let send = bench.engines.sqs().traffic().break_with(every("SendMessage", How::AccessDenied));

    let (_, failed) = bench.turn().await;

    assert_eq!(failed.len(), 1, "the message itself comes back");
    let entry = bench.entry("o1").await;
    assert_eq!((entry.status, outcomes(&entry, "post")), (Status::Retrying, vec!["done"]));
    table.heal_one(count);
    bench.engines.sqs().traffic().heal_one(send);
    bench.turn_until("o1", Status::Done).await;
    assert_eq!(destination.hits("/post").len(), 1);
}

/// A worker that has taken the lease of what is queued and stands still, as one of its requests gets no answer.
async fn stands_still(
    bench: &Bench,
    operation: &str,
    matching: &str,
) -> (Vec<hookgate_embedded::Message>, tokio::task::JoinHandle<Vec<String>>) {
    let table = bench.engines.dynamodb().traffic();
    table.break_with(Fault {
        matching: Some(matching.into()),
        times: Some(1),
        ..every(operation, How::Hang)
    });
    let messages = bench.receive().await;
    let worker = bench.work(&messages);
    until("the worker stands still", async || table.hanging() == 1).await;
    (messages, worker)
}

/// What a worker asks before it begins an action: the operation, and what is in the request.
const HOW_THE_DESTINATION_STANDS: (&str, &str) = ("GetItem", r#""S":"X""#);

/// What it writes down when all are done.
const THE_RESULT: (&str, &str) = ("UpdateItem", r#"":status":{"S":"done"}"#);

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_comes_back_although_it_was_taken_over_by_a_worker_that_died() {
    for ((operation, matching), posts) in [(HOW_THE_DESTINATION_STANDS, 0), (THE_RESULT, 1)] {
        let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
        bench.order("o1").await;
        let (messages, first) = stands_still(&bench, operation, matching).await;

        // The same message was given to another, which took the event over and got no further.
        bench.clock.advance(std::time::Duration::from_secs(100));
        let store = &bench.worker.store;
        let event = store.event(&name("shop"), &event_id("o1")).await.unwrap().unwrap();
        let now = EpochMillis::from_millis(bench.clock.now_ms());
        assert!(matches!(store.lease(&event, 7, 30, now).await.unwrap(), Leased::Ours(_)));
        assert!(first.await.unwrap().is_empty(), "its message is deleted");
        bench.engines.sqs().delete(QUEUE, &messages[0].receipt_handle).unwrap();
        assert_eq!(destination.hits("/post").len(), posts, "{operation}");

        bench.turn_until("o1", Status::Done).await;
        assert_eq!(destination.hits("/post").len(), 1, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_that_stood_still_does_not_run_what_another_has_done_meanwhile() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    let (operation, matching) = HOW_THE_DESTINATION_STANDS;
    let (messages, first) = stands_still(&bench, operation, matching).await;

    bench.clock.advance(std::time::Duration::from_secs(100));
    assert!(bench.work(&messages).await.unwrap().is_empty());
    assert_eq!(bench.entry("o1").await.status, Status::Done);
    assert!(first.await.unwrap().is_empty());

    assert_eq!(destination.hits("/post").len(), 1);
    assert_eq!(outcomes(&bench.entry("o1").await, "post"), ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_that_is_late_does_not_run_what_one_with_a_fast_clock_has_taken_over() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    bench.order("o1").await;
    let (operation, matching) = HOW_THE_DESTINATION_STANDS;
    let (_messages, first) = stands_still(&bench, operation, matching).await;

    // By the clock of another, the lease is over; by the first one's own, it has 88 s left.
    let store = &bench.worker.store;
    let event = store.event(&name("shop"), &event_id("o1")).await.unwrap().unwrap();
    let ahead = EpochMillis::from_millis(bench.clock.now_ms() + 300_000);
    assert!(matches!(store.lease(&event, 7, 30, ahead).await.unwrap(), Leased::Ours(_)));
    bench.clock.advance(std::time::Duration::from_secs(2));

    assert!(first.await.unwrap().is_empty(), "its message is deleted");
    assert!(destination.hits("/post").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_action_begins_with_a_lease_that_is_longer_than_it() {
    let (bench, destination) = Bench::start(&hurried(), Functions::default()).await;
    destination.next("/post", [Reply::Never]);
    bench.order("o1").await;
    let (operation, matching) = HOW_THE_DESTINATION_STANDS;
    let (_messages, worker) = stands_still(&bench, operation, matching).await;
    // Its renewal is late as well, so that what is renewed is almost over again.
    let table = bench.engines.dynamodb().traffic();
    let renewal = table.break_with(Fault {
        matching: Some(r#"":status":{"S":"working"}"#.into()),
        times: Some(1),
        ..every("UpdateItem", How::Hang)
    });
    bench.clock.advance(std::time::Duration::from_secs(2));
    until("its renewal stands still", async || table.fired(renewal) == 1).await;
    bench.clock.advance(std::time::Duration::from_secs(80));
    until("the worker posts", async || !destination.hits("/post").is_empty()).await;

    let left = bench.entry("o1").await.lease_until.map(|until| until.as_millis() - bench.clock.now_ms());
    assert!(left.is_some_and(|left| left >= LEASE_LEFT_MS), "{left:?}");
    worker.abort();
}
