//! What gave up is run again when a person asks for it: once more, by whoever asked, and nothing else.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeMap, process::Stdio};

use hookgate_aws::{
    effects::Functions,
    replay::{Ask, Replayed, replay},
};
use hookgate_core::{
    lifecycle::{AttemptOutcome, Status},
    time::EpochMillis,
};
use hookgate_embedded::{Fault, How};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    harness::{Bench, Destination, Reply, SHOP, SHOP_SECRET, World, every, name, until},
    runtime_api::binary,
};

const ASK: Ask<'_> = Ask { by: "ann", job: "r-1", again: false };

fn hookgate(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("hookgate"));
    let data = world.secrets_file();
    command.args(arguments).arg("--data").arg(data.parent().unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(hookgate(world, arguments).spawn().unwrap()).await
}

/// How often each event was posted.
fn posts(destination: &Destination) -> BTreeMap<String, usize> {
    let mut posts = BTreeMap::new();
    for hit in destination.hits("/post") {
        *posts.entry(hit.id().to_owned()).or_default() += 1;
    }
    posts
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_person_replays_those_of_one_source_and_type_stops_and_goes_on_and_each_runs_once_more() {
    let config = format!(
        "{SHOP}\n[sources.kiosk]\nprovider = \"generic\"\nverify = \"none\"\nevent = {{ id = \"json:/id\", type = \"json:/type\" }}\n[[routes]]\nsource = \"kiosk\"\nactions = [\"post\"]\n"
    );
    let secrets = json!({"shop": [SHOP_SECRET]}).to_string();
    let (world, destination) = World::with_destination(&config, &secrets).await;
    destination.always("/post", Reply::Status(400));
    for number in 0..1_000 {
        let (path, id, event_type) = match number % 4 {
            0 => ("kiosk", format!("k{number}"), "order.paid"),
            1 => ("shop", format!("l{number}"), "order.lost"),
            _ => ("shop", format!("p{number}"), "order.paid"),
        };
        let body = json!({"id": id, "type": event_type, "at": "2026-05-28T20:26:38Z"}).to_string();
        match path {
            "shop" => assert_eq!(world.shop_body(body.as_bytes()).await.status, 200),
            _ => assert_eq!(
                world
                    .post("/webhooks/kiosk", &[("content-type", "application/json")], body.as_bytes())
                    .await
                    .status,
                200
            ),
        }
    }
    world.quiet().await;
    until("all are dead", async || destination.hits("/post").len() == 1_000).await;
    world.quiet().await;
    destination.always("/post", Reply::Status(200));

    let filter = ["replay", "--source", "shop", "--type", "order.paid", "--since", "2026-05-01T00:00:00Z"];
    let (code, stdout, _) = run(&world, &[&filter[..], &["--dry-run"]].concat()).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("500     shop    order.paid  dead"), "{stdout}");
    assert_eq!(destination.hits("/post").len(), 1_000, "a dry run does nothing");

    let child = hookgate(&world, &[&filter[..], &["--rate", "150", "--by", "ann"]].concat()).spawn().unwrap();
    until("some were replayed", async || destination.hits("/post").len() > 1_100).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let (code, stdout, stderr) = ended(child).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("of 500") && stderr.contains("replayed"), "progress: {stderr}");
    let job = stderr.trim().rsplit_once("--resume ").unwrap().1.to_owned();
    world.quiet().await;
    let half = destination.hits("/post").len() - 1_000;
    assert!((100..500).contains(&half), "{half}");

    let (code, stdout, stderr) = run(&world, &["replay", "--resume", &job, "--rate", "1000"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains(&format!("{} on their way again (replay {job})", 500 - half)), "{stdout}");
    world.quiet().await;
    until("all have run", async || destination.hits("/post").len() == 1_500).await;
    world.quiet().await;
    for (id, times) in posts(&destination) {
        assert_eq!(times, if id.starts_with('p') { 2 } else { 1 }, "{id}");
    }
    let entry = world.entry("shop", "p2").await.unwrap();
    let outcomes: Vec<&str> = entry
        .attempts
        .0
        .iter()
        .filter(|attempt| attempt.action == name("post"))
        .map(|attempt| attempt.outcome.word())
        .collect();
    assert_eq!((entry.status, outcomes), (Status::Done, vec!["dead", "replayed", "done"]));
    assert!(entry.attempts.0.iter().any(|attempt| attempt.detail == "replayed by ann"));
    assert_eq!(world.counts("orders").await["p2"], 1, "what is done is not repeated");
    let (code, stdout, _) = run(&world, &["replay", "--resume", &job]).await;
    assert_eq!((code, stdout.trim()), (Some(0), "nothing is left of it"));
    let (code, _, stderr) = run(&world, &["replay", "shop/p2"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    let (code, stdout, _) = run(&world, &["replay", "shop/p2", "--again", "--json"]).await;
    assert_eq!(code, Some(0));
    let line: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(line["queued"], 1);
    until("it ran again", async || posts(&destination)["p2"] == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_replay_that_dies_at_any_call_leaves_nothing_half_done() {
    for (operation, how) in [
        ("PutItem", How::Status500),
        ("PutItem", How::ApplyThenDrop),
        ("UpdateItem", How::Status500),
        ("UpdateItem", How::ApplyThenDrop),
        ("DeleteItem", How::Drop),
    ] {
        let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
        destination.next("/post", [Reply::Status(400)]);
        bench.order("o1").await;
        bench.work_off().await;
        let key = bench.entry("o1").await.key;
        let now = || EpochMillis::from_millis(bench.clock.now_ms());
        bench.engines.dynamodb().traffic().break_with(every(operation, how));
        let first = replay(&bench.worker.store, &bench.worker.queue, &key, ASK, now()).await;
        assert!(first.is_err(), "{operation} {how:?}: {first:?}");
        bench.engines.dynamodb().traffic().heal();
        // The person asks again, or does not: it runs at most once more either way.
        bench.pass(3).await;
        let again = replay(&bench.worker.store, &bench.worker.queue, &key, ASK, now()).await.unwrap();
        assert!(matches!(again, Replayed::Queued | Replayed::Before), "{operation} {how:?}: {again:?}");
        bench.pass(3).await;
        assert_eq!(bench.entry("o1").await.status, Status::Done, "{operation} {how:?}");
        assert_eq!(destination.hits("/post").len(), 2, "{operation} {how:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_replay_whose_message_is_not_sent_comes_with_a_sweep() {
    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    destination.next("/post", [Reply::Status(400)]);
    bench.order("o1").await;
    bench.work_off().await;
    let key = bench.entry("o1").await.key;
    let now = EpochMillis::from_millis(bench.clock.now_ms());
    bench.engines.sqs().traffic().break_with(Fault::new(How::Drop));
    let asked = replay(&bench.worker.store, &bench.worker.queue, &key, ASK, now).await.unwrap();
    assert_eq!(asked, Replayed::Queued);
    bench.engines.sqs().traffic().heal();
    bench.pass(2).await;
    assert_eq!((bench.entry("o1").await.status, destination.hits("/post").len()), (Status::Done, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_was_not_routed_is_routed_by_a_replay_and_what_waits_need_not() {
    let unrouted =
        SHOP.replace("source = \"shop\"\nactions", "source = \"shop\"\ntype = \"nothing\"\nactions");
    let (bench, _destination) = Bench::start(&unrouted, Functions::default()).await;
    bench.order("o1").await;
    bench.work_off().await;
    let entry = bench.entry("o1").await;
    assert_eq!(entry.status, Status::Unrouted);
    let now = EpochMillis::from_millis(bench.clock.now_ms());
    let asked = replay(&bench.worker.store, &bench.worker.queue, &entry.key, ASK, now).await.unwrap();
    assert_eq!(asked, Replayed::Queued);
    bench.work_off().await;
    let entry = bench.entry("o1").await;
    assert_eq!(entry.status, Status::Unrouted, "its routes are the same");
    assert!(matches!(entry.attempts.0[0].outcome, AttemptOutcome::Replayed { .. }));

    let (bench, destination) = Bench::start(SHOP, Functions::default()).await;
    destination.next("/post", [Reply::RetryAfter(503, "7200")]);
    bench.order("o1").await;
    bench.work_off().await;
    let entry = bench.entry("o1").await;
    assert_eq!(entry.status, Status::Retrying);
    replay(&bench.worker.store, &bench.worker.queue, &entry.key, ASK, now).await.unwrap();
    bench.work_off().await;
    assert_eq!(bench.entry("o1").await.status, Status::Done);
    bench.clock.advance(std::time::Duration::from_secs(2 * 60 * 60));
    bench.pass(2).await;
    assert_eq!(destination.hits("/post").len(), 2, "the try that was due later finds it done");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_destinations_are_listed_and_switched() {
    let (world, destination) = World::shop().await;
    let config = world.secrets_file().with_file_name("hookgate.toml");
    std::fs::write(&config, SHOP.replace("DEST", &destination.place)).unwrap();
    let config = config.to_str().unwrap();
    let (code, stdout, _) =
        run(&world, &["destinations", "disable", "post", "--reason", "they move", "--config", config]).await;
    assert_eq!((code, stdout.trim()), (Some(0), "post is disabled; its events wait, for two weeks at most"));
    // The worker believes what it read for five seconds.
    world.advance(6);
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Retrying).await;
    world.quiet().await;
    let (_, stdout, _) = run(&world, &["destinations", "list", "--json", "--config", config]).await;
    let line: Value = serde_json::from_str(stdout.trim()).unwrap();
    assert_eq!(
        (&line["name"], &line["kind"], &line["standing"], &line["waiting"], &line["reason"]),
        (&json!("post"), &json!("http"), &json!("disabled"), &json!(1), &json!("they move"))
    );
    let (_, stdout, _) = run(&world, &["destinations", "list", "--config", config]).await;
    assert!(stdout.starts_with("NAME  KIND  STANDING  SINCE"), "{stdout}");
    assert!(stdout.lines().nth(1).unwrap().ends_with("they move"), "{stdout}");
    let (code, _, stderr) = run(&world, &["destinations", "enable", "tally", "--config", config]).await;
    assert!(code == Some(1) && stderr.contains("no action called `tally` reaches outward"), "{stderr}");
    let (code, stdout, _) = run(&world, &["destinations", "enable", "post", "--config", config]).await;
    assert_eq!(
        (code, stdout.trim()),
        (Some(0), "post is up; what waits for it (1) goes out from the next minute on")
    );
    assert_eq!(destination.hits("/post").len(), 0);
    world.drive_to("shop", "o1", Status::Done).await;
    assert_eq!(destination.taken("/post", "o1"), 1);
}
