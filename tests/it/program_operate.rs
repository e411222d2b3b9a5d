//! `dlq` and `stats`, and what lists say of events that wait: what somebody looks at when something does not work.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeSet, process::Stdio, sync::Arc};

use hookgate::local::ORDERED_DEAD_LETTERS;
use hookgate_aws::outbox::Due;
use hookgate_core::{
    codec::{Message, encode},
    lifecycle::Status,
    order::Lane,
};
use hookgate_embedded::{Clock, Fault, How, MessageState};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    harness::{Destination, Reply, SHOP, SHOP_SECRET, World, event_id, every, name, until},
    program::{Ended, Place},
    runtime_api::binary,
};

const TWO_DAYS_MS: i64 = 2 * 24 * 60 * 60 * 1_000;

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("hookgate"));
    let folder = world.secrets_file();
    let folder = folder.parent().unwrap();
    command.args(arguments).arg("--data").arg(folder).current_dir(folder).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(world: &World, arguments: &[&str]) -> Ended {
    Place::end(command(world, arguments)).await
}

/// A dead letter.
async fn dead(world: &World, body: &str) {
    let url = &world.stack.endpoints.dead_letter_queue_url;
    world.clients.sqs.send_message().queue_url(url).message_body(body).send().await.unwrap();
}

/// A dead letter that carries an event which is not in the table.
async fn dead_event(world: &World, id: &str) {
    let event = world.stored("shop", "known").await.unwrap();
    let message = Message::carrying(&name("shop"), &event_id(id), &encode(&event, 0).unwrap()).unwrap();
    dead(world, &message.to_text()).await;
}

/// The shop with one event that is done.
async fn shop() -> (World, Destination) {
    let (world, destination) = World::shop().await;
    world.order("known").await;
    world.wait_for("shop", "known", Status::Done).await;
    world.quiet().await;
    (world, destination)
}

fn all_are_back(world: &World) -> bool {
    world.dead_letters().iter().all(|letter| letter.state == MessageState::Visible)
}

#[tokio::test(flavor = "multi_thread")]
async fn program_dlq_lists_dead_letters_and_sends_again_those_that_are_wanted() {
    let (world, destination) = shop().await;
    assert_eq!(run(&world, &["dlq", "list"]).await.ok().trim(), "there are no dead letters");
    assert_eq!(run(&world, &["dlq", "redrive", "--all"]).await.ok().trim(), "there are no dead letters");
    dead(&world, &Message::pointing(&name("shop"), &event_id("known")).to_text()).await;
    dead_event(&world, "late").await;
    dead(&world, "of somebody else").await;

    let listed = run(&world, &["dlq", "list", "--json"]).await.lines();
    let by = |id: Value| listed.iter().find(|line| line["id"] == id).unwrap();
    let (known, late, foreign) = (by(json!("known")), by(json!("late")), by(Value::Null));
    assert_eq!(listed.len(), 3);
    for (line, ours, status) in
        [(known, true, json!("done")), (late, true, Value::Null), (foreign, false, Value::Null)]
    {
        assert_eq!(
            (&line["ours"], &line["status"], &line["receives"]),
            (&json!(ours), &status, &json!(1)),
            "{line}"
        );
        assert!(line["age_seconds"].is_u64() && line["sent_at"].is_string(), "{line}");
    }
    for line in [known, late] {
        assert_eq!((&line["source"], &line["type"]), (&json!("shop"), &json!("order.paid")), "{line}");
    }
    assert!(all_are_back(&world), "looking changes nothing");
    let table = run(&world, &["dlq", "list"]).await.ok();
    assert!(table.starts_with("AGE"), "{table}");
    for part in ["not stored", "not a message of hookgate's", foreign["message_id"].as_str().unwrap()] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let few = run(&world, &["dlq", "list", "--limit", "1", "--json"]).await;
    assert_eq!((few.code, few.stdout.lines().count()), (0, 1));
    let few = run(&world, &["dlq", "list", "--limit", "1"]).await;
    assert!(few.stderr.contains("1 of about 3"), "{}", few.stderr);

    for wrong in [&[][..], &["--all", "known"], &["--source", "shop", "--all"], &["--all", "--rate", "0"]] {
        assert_eq!(run(&world, &[&["dlq", "redrive"], wrong].concat()).await.code, 2, "{wrong:?}");
    }
    let unknown = run(&world, &["dlq", "redrive", "known", "nothing"]).await;
    assert_eq!((unknown.code, unknown.stderr.contains("no dead letter is called nothing")), (1, true));

    let dry = run(&world, &["dlq", "redrive", "--all", "--dry-run"]).await.ok();
    assert!(dry.contains("2         shop            are sent again"), "{dry}");
    assert!(dry.contains("1         not hookgate's  stay") && dry.contains("nothing was done"), "{dry}");
    let dry = run(&world, &["dlq", "redrive", "--source", "s*", "--dry-run", "--json"]).await.lines();
    assert_eq!(dry.iter().filter(|line| line["outcome"] == "would be sent").count(), 2);
    assert_eq!((world.dead_letters().len(), all_are_back(&world)), (3, true));

    let sent = run(&world, &["dlq", "redrive", "shop/late", "--json"]).await.lines();
    assert_eq!((&sent[0]["id"], &sent[0]["outcome"]), (&json!("late"), &json!("sent")));
    assert_eq!(sent[1], json!({"sent": 1, "left": 0, "in_both_queues": 0}));
    world.wait_for("shop", "late", Status::Done).await;
    assert_eq!(destination.taken("/post", "late"), 1);
    assert_eq!(
        run(&world, &["dlq", "redrive", "--all"]).await.ok().lines().last(),
        Some("1 of 1 sent to the queue again")
    );
    world.quiet().await;
    assert_eq!(destination.taken("/post", "known"), 1, "what is done is not repeated");
    let left = run(&world, &["dlq", "redrive", "--all"]).await.ok();
    assert!(left.contains("stay"), "{left}");
    assert_eq!((world.dead_letters().len(), all_are_back(&world)), (1, true));

    // What is none of ours goes where it came from, if somebody wants that; the queue is a standard one.
    run(&world, &["dlq", "redrive", foreign["message_id"].as_str().unwrap()]).await.ok();
    assert!(world.dead_letters().is_empty());
    until("the worker had it", async || world.queue().in_flight == 1).await;
}

/// The shop at this very time, with one order for all of its events.
async fn shop_in_order() -> (World, Destination) {
    let destination = Destination::start().await;
    let config = SHOP.replace("[[routes]]", "order = \"json:/type\"\n\n[[routes]]");
    let config = config.replace("DEST", &destination.place);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secrets.json"), json!({"shop": [SHOP_SECRET]}).to_string()).unwrap();
    std::fs::write(folder.path().join("hookgate.toml"), &config).unwrap();
    let now = hookgate_aws::ambient::Ambient::system().now().as_millis();
    (World::open(folder, Clock::manual(now), config, true).await, destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn program_dlq_sends_those_that_have_an_order_again_in_their_order() {
    let (world, destination) = shop_in_order().await;
    world.order("known").await;
    world.wait_for("shop", "known", Status::Done).await;
    world.quiet().await;
    // More than SQS hands over at once of one key.
    let ids: Vec<String> = (0..23).map(|number| format!("e{number}")).collect();
    let event = world.stored("shop", "known").await.unwrap();
    let lane = Lane::of(&event).unwrap();
    let url = &world.stack.endpoints.ordered_dead_letter_queue_url;
    for id in &ids {
        let message = Message::carrying(&name("shop"), &event_id(id), &encode(&event, 0).unwrap()).unwrap();
        let send = world.clients.sqs.send_message().queue_url(url).message_body(message.to_text());
        send.message_group_id(lane.as_str()).message_deduplication_id(id).send().await.unwrap();
    }
    dead(&world, "of somebody else").await;
    let waiting = || world.stack.engines.sqs().counts(ORDERED_DEAD_LETTERS).unwrap().visible;

    let stats = run(&world, &["stats", "--json"]).await.lines().pop().unwrap();
    assert_eq!(stats["dead_letters"], 24);
    assert_eq!(stats["ordered_queue"], json!({"visible": 0, "in_flight": 0, "delayed": 0}));
    assert!(run(&world, &["stats"]).await.ok().contains("FIFO queue    0 to be given a turn, 0 in flight"));
    let listed = run(&world, &["dlq", "list", "--json"]).await.lines();
    let ordered: Vec<&Value> = listed.iter().filter(|line| line["ordered"] == true).collect();
    assert_eq!((listed.len(), ordered.len()), (11, 10));
    assert!(ids.iter().zip(&ordered).all(|(id, line)| line["id"] == *id), "{ordered:?}");
    let table = run(&world, &["dlq", "list"]).await;
    assert!(
        table.stderr.contains("11 of about 24") && table.stderr.contains("the first 10"),
        "{}",
        table.stderr
    );
    assert_eq!(waiting(), 23, "looking changes nothing");

    // A queue that can't be had in the middle of it stops it, and nothing is lost. The worker receives without calls.
    world.break_queue(Fault { skip: 9, times: Some(1), ..every("ReceiveMessage", How::AccessDenied) });
    let stopped = run(&world, &["dlq", "redrive", "--source", "shop", "--rate", "1000"]).await;
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    assert!(stopped.stderr.contains("stopped after 10 of 10; run it again"), "{}", stopped.stderr);
    world.quiet().await;
    assert_eq!(waiting(), 13);
    let text = run(&world, &["dlq", "redrive", "--source", "shop", "--rate", "1000"]).await.ok();
    assert!(text.contains("13 of 13 sent to the queue again"), "{text}");
    for id in &ids {
        world.wait_for("shop", id, Status::Done).await;
    }
    world.quiet().await;
    assert_eq!(waiting(), 0);
    let hits = destination.hits("/post");
    let arrived: Vec<&str> = hits.iter().skip(1).map(|hit| hit.id()).collect();
    assert_eq!(arrived, ids);
    assert_eq!(world.dead_letters().len(), 1, "what is none of ours stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_events_say_which_event_they_wait_behind() {
    let (world, destination) = shop_in_order().await;
    destination.next("/post", [Reply::RetryAfter(503, "1800")]);
    world.order("slow").await;
    world.wait_for("shop", "slow", Status::Retrying).await;
    world.order("second").await;
    world.quiet().await;
    let shown = run(&world, &["events", "show", "second", "--json"]).await.lines().remove(0);
    assert_eq!((&shown["status"], &shown["behind"]), (&json!("received"), &json!("slow")));
    let text = run(&world, &["events", "show", "second"]).await.ok();
    assert!(text.contains("in order     goes when slow of the same key has ended"), "{text}");
    let slow = run(&world, &["events", "show", "slow", "--json"]).await.lines().remove(0);
    assert_eq!(slow["behind"], Value::Null, "nobody is before it");
    world.advance(1_800);
    world.wait_for("shop", "second", Status::Done).await;
    let shown = run(&world, &["events", "show", "second", "--json"]).await.lines().remove(0);
    assert_eq!(shown["behind"], Value::Null, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_dlq_redrive_keeps_its_rate_can_be_stopped_and_goes_on() {
    let (world, destination) = shop().await;
    let ids: BTreeSet<String> = (0..40).map(|number| format!("e{number}")).collect();
    for id in &ids {
        dead_event(&world, id).await;
    }
    let begun = std::time::Instant::now();
    let child = command(&world, &["dlq", "redrive", "--all", "--rate", "20"]).spawn().unwrap();
    until("some were sent", async || destination.hits("/post").len() > 10).await;
    assert!(begun.elapsed().as_millis() > 400, "no more than 20 a second");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("sent 2 of 40") && stderr.contains("run it again to go on"), "{stderr}");
    let left = world.dead_letters().len();
    assert!((1..40).contains(&left) && all_are_back(&world), "{left}");
    assert!(stdout.contains(&format!("{} of 40 sent to the queue again", 40 - left)), "{stdout}");

    let text = run(&world, &["dlq", "redrive", "--all", "--rate", "1000"]).await.ok();
    assert!(text.contains(&format!("{left} of {left} sent")), "{text}");
    for id in &ids {
        world.wait_for("shop", id, Status::Done).await;
        assert_eq!(destination.taken("/post", id), 1, "{id}");
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_every_call_of_dlq_may_fail_and_no_message_is_lost() {
    let list = &["dlq", "list"][..];
    let redrive = &["dlq", "redrive", "--all"][..];
    for (arguments, operation, how, code, says) in [
        (list, "GetQueueAttributes", How::AccessDenied, 1, "SQS GetQueueAttributes"),
        (list, "ReceiveMessage", How::AccessDenied, 1, "SQS ReceiveMessage"),
        (list, "ChangeMessageVisibilityBatch", How::Status500, 0, "come back in up to"),
        (list, "GetItem", How::AccessDenied, 1, "DynamoDB GetItem"),
        (redrive, "ReceiveMessage", How::Drop, 1, "SQS ReceiveMessage"),
        (redrive, "ReceiveMessage", How::ApplyThenDrop, 1, "SQS ReceiveMessage"),
        (redrive, "SendMessage", How::AccessDenied, 1, "stopped after 0 of 3"),
        (redrive, "SendMessage", How::ApplyThenDrop, 1, "stopped after 0 of 3"),
        (redrive, "DeleteMessage", How::AccessDenied, 0, "in both queues"),
        (redrive, "DeleteMessage", How::ApplyThenDrop, 0, "in both queues"),
    ] {
        let what = format!("{arguments:?} {operation} {how:?}");
        let (world, destination) = shop().await;
        for id in ["a", "b", "c"] {
            dead_event(&world, id).await;
        }
        let fault = every(operation, how);
        match operation {
            "GetItem" => world.break_table(fault),
            _ => world.break_queue(fault),
        };
        let ended = run(&world, arguments).await;
        assert_eq!(ended.code, code, "{what}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(says), "{what}: {}", ended.stderr);
        world.heal();
        // What was sent is worked off before the clock moves, or its lease would be over.
        world.quiet().await;
        // What was taken out and not given back.
        world.advance(3_600);
        let again = run(&world, redrive).await;
        assert_eq!(again.code, 0, "{what}: {}{}", again.stdout, again.stderr);
        assert!(world.dead_letters().is_empty(), "{what}");
        for id in ["a", "b", "c"] {
            world.wait_for("shop", id, Status::Done).await;
        }
        world.quiet().await;
        for id in ["a", "b", "c"] {
            assert_eq!(destination.taken("/post", id), 1, "{what}: {id}");
        }
    }
    // Between the look and the sending somebody else takes all of them out.
    let (world, _destination) = shop().await;
    dead_event(&world, "a").await;
    world.break_queue(every("ChangeMessageVisibilityBatch", How::Drop));
    let ended = run(&world, redrive).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("1 could not be had") && ended.stdout.contains("0 of 1 sent"),
        "{}",
        ended.stderr
    );
}

/// The shop at this very time, as the program asks for what was received within an hour of its own clock.
async fn shop_now() -> (World, Destination) {
    let destination = Destination::start().await;
    let config = format!("{SHOP}\n[sources.apart]\nprovider = \"linear\"\nmode = \"quarantine\"\n");
    let config = config.replace("DEST", &destination.place);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let secrets = json!({"shop": [SHOP_SECRET], "apart": ["secret"]}).to_string();
    std::fs::write(folder.path().join("secrets.json"), secrets).unwrap();
    std::fs::write(folder.path().join("hookgate.toml"), &config).unwrap();
    let now = hookgate_aws::ambient::Ambient::system().now().as_millis();
    (World::open(folder, Clock::manual(now), config, true).await, destination)
}

/// One event that is done, one that is dead, one that is tried again in half an hour, one that waits for a destination
/// that is disabled; a dead letter; one delivery in quarantine.
async fn trouble() -> (World, Destination) {
    let (world, destination) = shop_now().await;
    for (id, reply, status) in [
        ("known", Reply::Status(200), Status::Done),
        ("dead", Reply::Status(404), Status::Dead),
        ("again", Reply::RetryAfter(503, "1800"), Status::Retrying),
        ("gone", Reply::Status(410), Status::Retrying),
    ] {
        destination.next("/post", [reply]);
        world.order(id).await;
        world.wait_for("shop", id, status).await;
        world.quiet().await;
    }
    dead(&world, "of somebody else").await;
    let headers = [("content-type", "application/json"), ("linear-signature", "00")];
    assert_eq!(world.post("/webhooks/apart", &headers, br#"{"action":"create"}"#).await.status, 202);
    (world, destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn program_stats_says_how_it_goes_and_what_waits() {
    let (world, _destination) = trouble().await;
    let lines = run(&world, &["stats", "--json"]).await.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let shop = &lines[0];
    for (field, wanted) in [
        ("received", 4),
        ("done", 1),
        ("dead", 1),
        ("retrying", 2),
        ("waiting", 1),
        ("in_work", 0),
        ("unrouted", 0),
    ] {
        assert_eq!(shop[field], wanted, "{field}: {shop}");
    }
    assert!(shop["median_ms"].is_u64() && shop["oldest_unfinished"].is_string() && shop["type"].is_null());
    let waits = &lines[1];
    assert_eq!((&waits["unfinished"], &waits["dead_letters"]), (&json!(2), &json!(1)), "{waits}");
    assert_eq!(waits["queue"], json!({"visible": 0, "in_flight": 0, "delayed": 0}));
    assert_eq!((&waits["outbox"]["due"], &waits["outbox"]["later"]), (&json!(0), &json!(1)), "{waits}");
    let down = &waits["destinations_down"][0];
    assert_eq!(
        (&down["name"], &down["standing"], &down["waiting"]),
        (&json!("post"), &json!("disabled"), &json!(1)),
        "{waits}"
    );
    assert_eq!((&waits["quarantined"], &waits["errors"]), (&json!({"apart": 1}), &json!([])), "{waits}");

    let typed = run(&world, &["stats", "--types", "--json"]).await.lines();
    assert_eq!((&typed[0]["type"], &typed[0]["received"]), (&json!("order.paid"), &json!(4)));
    let text = run(&world, &["stats", "--types"]).await.ok();
    for part in [
        "SOURCE  TYPE        RECEIVED  DONE  UNROUTED  IN WORK  RETRYING  WAITING  DEAD",
        "shop    order.paid  4         1     0         0        2         1        1 ",
        "unfinished    2, the oldest received ",
        "queue         0 to be received, 0 in flight, 0 delayed",
        "outbox        0 due; 1 later",
        "dead letters  1; see `dlq list`",
        "destinations  post is disabled since 20",
        ", 1 wait for it: 127.0.0.1 answered 410",
        "quarantine    1 of apart",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let none = run(&world, &["stats", "--since", "2099-01-01T00:00:00Z"]).await.ok();
    assert!(none.starts_with("no events since then"), "{none}");
    assert_eq!(run(&world, &["stats", "--since", "yesterday"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_stats_counts_what_is_due_and_reads_long_times_in_stretches() {
    let (world, _destination) = trouble().await;
    let due = Due { at: world.now().plus_millis(-TWO_DAYS_MS), source: name("shop"), id: event_id("old") };
    world.stack.worker.store.outbox_put(&due).await.unwrap();
    let lines = run(&world, &["stats", "--since", "40d", "--json"]).await.lines();
    assert_eq!(lines[0]["received"], 4);
    let outbox = &lines[1]["outbox"];
    assert_eq!((&outbox["due"], &outbox["later"]), (&json!(1), &json!(1)));
    assert!(outbox["oldest_seconds"].as_i64().unwrap() >= TWO_DAYS_MS / 1_000, "{outbox}");
    let text = run(&world, &["stats"]).await.ok();
    assert!(text.contains("outbox        1 due, the oldest for 2 d; 1 later"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_stats_shows_what_it_can_and_says_what_it_can_not() {
    let (world, _destination) = trouble().await;
    let of = |matching: &str, operation: &str| Fault {
        matching: Some(matching.to_owned()),
        ..every(operation, How::AccessDenied)
    };
    let parts = [
        ("unfinished", "events", true, of("L#", "Query")),
        ("outbox", "outbox", true, of("D#", "Query")),
        ("destinations_down", "destinations", true, of(r#""X""#, "Query")),
        ("destinations_down", "destinations", true, of("W#", "Query")),
        ("quarantined", "quarantine", true, of("Q#", "Query")),
        ("queue", "queue", false, of("hookgate-events", "GetQueueAttributes")),
        ("dead_letters", "dead letters", false, of("hookgate-dead-letters", "GetQueueAttributes")),
    ];
    for (field, part, of_table, fault) in parts {
        match of_table {
            true => world.break_table(fault),
            false => world.break_queue(fault),
        };
        let ended = run(&world, &["stats", "--json"]).await;
        assert_eq!(ended.code, 1, "{part}: {}", ended.stderr);
        let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
        for other in ["unfinished", "outbox", "destinations_down", "quarantined", "queue", "dead_letters"] {
            assert_eq!(last[other].is_null(), other == field, "{part}: {last}");
        }
        assert!(last["errors"][0].as_str().unwrap().starts_with(&format!("{part}: ")), "{last}");
        let ended = run(&world, &["stats"]).await;
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains(&format!("can't be read: {part}: ")), "{}", ended.stderr);
        world.heal();
    }
    assert_eq!(run(&world, &["stats"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_events_say_which_destination_they_wait_for() {
    let (world, _destination) = trouble().await;
    let listed = run(&world, &["events", "list", "--json"]).await.lines();
    for line in &listed {
        let waits = if line["id"] == "gone" { json!(["post"]) } else { json!([]) };
        assert_eq!(line["waits_for"], waits, "{line}");
    }
    assert_eq!(listed.len(), 4);
    let table = run(&world, &["events", "list"]).await.ok();
    assert!(table.contains("retrying, waits for post"), "{table}");
    let shown = run(&world, &["events", "show", "shop/gone"]).await.ok();
    assert!(shown.contains("waits for    post, since 20") && shown.contains("parked"), "{shown}");
    let shown = run(&world, &["events", "show", "shop/gone", "--json"]).await.lines().remove(0);
    assert_eq!(shown["waits_for"], json!(["post"]));
    let shown = run(&world, &["events", "show", "shop/again"]).await.ok();
    assert!(shown.contains("next try     20") && !shown.contains("waits for"), "{shown}");
}
