//! `events tail`: nothing is left out, whatever stops and starts in between.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::BTreeSet;

use hookgate::{
    access::{Access, Place as Where},
    follow::{BEGIN_BACK_MS, Follower, Position, Wanted},
    local::Folder,
};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{lifecycle::Status, time::EpochMillis};
use serde_json::{Value, json};

use crate::{
    backend::eventually,
    deployed::Deployed,
    harness::{SHOP_SECRET, World, order, signature},
    program::{Place, Running},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The JSON lines that a command has printed so far.
pub(crate) fn lines(command: &Running) -> Vec<Value> {
    command.stdout.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The ids of the events that a command has shown as done.
fn done(command: &Running) -> Vec<String> {
    let lines = lines(command);
    let done = lines.iter().filter(|line| line["status"] == "done");
    done.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

async fn shows(command: &Running, id: &str) {
    eventually(&format!("{id} is shown"), || {
        let shown = done(command).contains(&id.to_owned());
        async move { shown.then_some(()) }
    })
    .await;
}

/// Sends a sample; the answer is the event's id.
pub(crate) async fn send(place: &Place, source: &str) -> String {
    let sent = place.run(&["send", source, "--json"]).await.lines().remove(0);
    sent["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_tail_goes_on_where_it_was_whatever_stops() {
    let local = Place::new();
    let mut dev = local.dev(&[]).await;
    let mut deployed = Deployed::of(&local).await;
    let tail = ["events", "tail", "--json"];
    let first = send(&local, "payments").await;
    let running = deployed.spawn(&tail);
    shows(&running, &first).await;
    let clash = deployed.run(&tail).await;
    assert!(clash.code == 1 && clash.stderr.contains("--name NAME"), "{}", clash.stderr);
    assert_eq!(running.interrupt().await.0, Some(0));

    // What happens while it is away, and while the stack itself is not there.
    let away = send(&local, "comments").await;
    assert_eq!(dev.interrupt().await.0, Some(0));
    let nowhere = Place::end(local.command(&tail)).await;
    assert!(nowhere.code == 1 && nowhere.stderr.contains("`cargo run`"), "{}", nowhere.stderr);
    dev = local.dev(&[]).await;
    deployed.follow(&local);
    let second = send(&local, "payments").await;
    let running = deployed.spawn(&tail);
    for id in [&away, &second] {
        shows(&running, id).await;
    }
    assert!(!done(&running).contains(&first), "{:?}", done(&running));
    running.kill().await;

    // A kill is no other.
    let third = send(&local, "payments").await;
    let running = deployed.spawn(&tail);
    shows(&running, &third).await;
    assert_eq!(done(&running), std::slice::from_ref(&third));
    running.interrupt().await;

    // Other filters and names are other positions, and it can be told where to begin.
    let by_name = deployed.spawn(&[&tail[..], &["--name", "ops", "--since", "1h"]].concat());
    let filtered = deployed.spawn(&[&tail[..], &["--source", "comm*", "--from-start"]].concat());
    for id in [&first, &away, &second, &third] {
        shows(&by_name, id).await;
    }
    shows(&filtered, &away).await;
    assert_eq!(done(&filtered), [away]);
    by_name.interrupt().await;
    filtered.interrupt().await;
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_tail_waits_for_a_stack_that_stops_and_starts_on_other_ports() {
    let local = Place::new();
    let dev = local.dev(&[]).await;
    let tail = local.spawn(&["events", "tail", "--json"]);
    let before = send(&local, "payments").await;
    shows(&tail, &before).await;
    dev.interrupt().await;
    eventually("it says that it waits", || {
        let says = tail.stderr.text().contains("waiting for it");
        async move { says.then_some(()) }
    })
    .await;
    let dev = local.dev(&[]).await;
    let after = send(&local, "payments").await;
    shows(&tail, &after).await;
    assert!(tail.stderr.text().contains("is back"), "{}", tail.stderr.text());
    let shown = done(&tail);
    assert_eq!(shown.len(), shown.iter().collect::<BTreeSet<_>>().len(), "{shown:?}");
    tail.interrupt().await;
    dev.interrupt().await;
}

/// A follower on a stack whose clock can be moved.
async fn follower(world: &World) -> Follower {
    let folder = Folder::new(world.secrets_file().parent().unwrap());
    let file = folder.path().join("position.jsonl");
    let place = Where::Local(folder);
    let access = Access::running(&place).await.unwrap();
    let position = match Position::resume(&file).unwrap() {
        Some(position) => position,
        None => Position::begin(&file, world.now().plus_millis(-BEGIN_BACK_MS)).unwrap(),
    };
    let wanted = Wanted { keep: Box::new(|_| true), state: |entry| entry.status.word().to_owned() };
    let clock = world.clock.clone();
    let ambient = Ambient::new(move || EpochMillis::from_millis(clock.now_ms()), || 0);
    Follower::new(place, access, position, wanted, ambient)
}

/// The ids of the events that a whole look shows.
async fn look(follower: &mut Follower) -> Vec<String> {
    let mut ids = Vec::new();
    follower.begin();
    while let Some(entries) = follower.step().await.unwrap() {
        for entry in entries {
            follower.shown(&entry).unwrap();
            ids.push(entry.key.id.to_string());
        }
    }
    ids
}

/// An order that was received so many seconds ago and is listed only now.
async fn late(world: &World, id: &str, seconds: u64) {
    let body = order(id);
    let ago_ms = i64::try_from(seconds * 1_000).unwrap();
    let event = json!({
        "version": "2.0", "rawPath": "/webhooks/shop",
        "headers": {"content-type": "application/json", "x-signature": signature(SHOP_SECRET, &body)},
        "requestContext": {"http": {"method": "POST"}, "timeEpoch": world.now().plus_millis(-ago_ms).as_millis()},
        "body": String::from_utf8(body).unwrap(),
    });
    let answer =
        serde_json::to_value(world.stack.ingest.handle(&event.to_string(), None).await.unwrap()).unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    world.wait_for("shop", id, Status::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_sees_events_that_are_listed_long_after_they_were_received() {
    let (world, _destination) = World::shop().await;
    let mut tail = follower(&world).await;
    late(&world, "now", 0).await;
    assert_eq!(look(&mut tail).await, ["now"]);
    assert_eq!(look(&mut tail).await, [""; 0]);

    world.advance(30 * MINUTE);
    late(&world, "minutes", 20 * MINUTE).await;
    late(&world, "seconds", 20).await;
    // After a pause it looks back further than that, and each is shown once.
    assert_eq!(look(&mut tail).await, ["minutes", "seconds"]);
    late(&world, "again", 20 * MINUTE).await;
    assert_eq!(look(&mut tail).await, [""; 0], "the short look does not go back so far");
    world.advance(MINUTE);
    assert_eq!(look(&mut tail).await, ["again"]);

    world.advance(23 * HOUR);
    look(&mut tail).await;
    late(&world, "hours", 22 * HOUR).await;
    world.advance(MINUTE);
    assert_eq!(look(&mut tail).await, [""; 0], "nor does that of every minute");
    world.advance(HOUR);
    assert_eq!(look(&mut tail).await, ["hours"]);

    // While it is away.
    tail.stop().await.unwrap();
    world.advance(72 * HOUR);
    late(&world, "away", 40 * HOUR).await;
    late(&world, "before", 90 * HOUR).await;
    let mut tail = follower(&world).await;
    assert_eq!(look(&mut tail).await, ["before", "away"]);
    assert_eq!(look(&mut tail).await, [""; 0]);
}
