//! A stack that ends in the middle of its work, and is started again on the same folder.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use hookgate_aws::clients::Patience;
use hookgate_core::lifecycle::Status;
use hookgate_embedded::{Clock, Counts, Fault, How};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::harness::{Destination, Reply, SHOP_SECRET, START_MS, World, every, hurried, until};

/// A stack on threads of its own, so that all of it can end at once.
struct Process {
    world: World,
    threads: Runtime,
}

/// What outlives a process.
struct Machine {
    folder: Arc<TempDir>,
    clock: Clock,
    config: String,
    destination: Destination,
}

impl Machine {
    async fn new() -> Self {
        let destination = Destination::start().await;
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let secrets = json!({"shop": [SHOP_SECRET]}).to_string();
        std::fs::write(folder.path().join("secrets.json"), secrets).unwrap();
        let config = hurried().replace("DEST", &destination.place);
        Self { folder, clock: Clock::manual(START_MS), config, destination }
    }

    async fn start(&self) -> Process {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let open = World::open(self.folder.clone(), self.clock.clone(), self.config.clone(), false);
        let world = threads.spawn(open).await.unwrap();
        Process { world, threads }
    }
}

impl Process {
    /// Ends at once: nothing finishes, nothing is tidied up.
    async fn kill(self) {
        let Self { world, threads } = self;
        tokio::task::spawn_blocking(move || threads.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
        drop(world);
    }

    /// Ends as Ctrl-C does.
    async fn stop(self) {
        let Self { world, threads } = self;
        threads.spawn(world.stack.stop()).await.unwrap();
        tokio::task::spawn_blocking(move || threads.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    }
}

/// Events that wait in each of the ways there are.
const WAITING: [&str; 6] = ["done", "outbox", "unsent", "short", "work-1", "work-2"];

async fn bring_into_every_state(machine: &Machine, world: &World) {
    let destination = &machine.destination;
    world.order("done").await;
    world.wait_for("shop", "done", Status::Done).await;
    // Waits for half an hour, in the outbox.
    destination.next("/post", [Reply::Status(500), Reply::Status(500), Reply::Status(500)]);
    world.order("outbox").await;
    world.wait_for("shop", "outbox", Status::Retrying).await;
    world.next_try("shop", "outbox").await;
    world.next_try("shop", "outbox").await;
    // Accepted while nothing could be queued.
    let fault = world.break_queue(every("SendMessage", How::Drop));
    assert_eq!(world.order("unsent").await.status, 200);
    world.stack.engines.sqs().traffic().heal_one(fault);
    assert_eq!((world.items("D#").await, world.queue()), (2, Counts::default()));
    // Waits for some seconds, as a delayed message.
    destination.next("/post", [Reply::Status(500)]);
    world.order("short").await;
    world.wait_for("shop", "short", Status::Retrying).await;
    world.quiet().await;
    assert_eq!(world.queue().delayed, 1);
    // In work.
    destination.always("/post", Reply::Never);
    for id in ["work-1", "work-2"] {
        assert_eq!(world.order(id).await.status, 200);
        until("its worker posts", async || destination.hits("/post").iter().any(|hit| hit.id() == id)).await;
    }
}

async fn assert_all_done_once(machine: &Machine, world: &World) {
    machine.destination.always("/post", Reply::Status(200));
    world.drain().await;
    for id in WAITING {
        assert_eq!(world.status("shop", id).await, Some(Status::Done), "{id}");
        assert_eq!(machine.destination.taken("/post", id), 1, "{id}");
        assert_eq!(world.counts("orders").await[id], 1, "{id}");
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_after_a_kill_every_event_goes_on_where_it_was() {
    let machine = Machine::new().await;
    let process = machine.start().await;
    bring_into_every_state(&machine, &process.world).await;
    process.kill().await;

    let process = machine.start().await;

    assert_all_done_once(&machine, &process.world).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_after_a_stop_every_event_goes_on_where_it_was() {
    let machine = Machine::new().await;
    let process = machine.start().await;
    bring_into_every_state(&machine, &process.world).await;
    process.stop().await;

    let process = machine.start().await;

    assert_all_done_once(&machine, &process.world).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_what_was_answered_survives_kill_after_kill() {
    let machine = Machine::new().await;
    let mut answered = Vec::new();
    for round in 0..4 {
        let process = machine.start().await;
        let ids: Vec<String> = (0..10).map(|number| format!("o{round}-{number}")).collect();
        let answers = join_all(ids.iter().map(|id| process.world.order(id))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        answered.extend(ids);
        process.kill().await;
    }

    let process = machine.start().await;
    process.world.drain().await;

    let counts = process.world.counts("orders").await;
    for id in &answered {
        assert_eq!(process.world.status("shop", id).await, Some(Status::Done), "{id}");
        // A kill may fall between the post and its record; the count and its mark are one write.
        assert!(machine.destination.taken("/post", id) >= 1, "{id}");
        assert_eq!(counts[id], 1, "{id}");
    }
    assert_eq!(counts.len(), answered.len());
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_only_the_queue_has_survives_a_kill() {
    let machine = Machine::new().await;
    let process = machine.start().await;
    process.world.break_table(Fault::new(How::Drop));
    assert_eq!(process.world.order("o1").await.status, 200);
    process.kill().await;

    let process = machine.start().await;
    process.world.drain().await;

    assert_eq!(process.world.status("shop", "o1").await, Some(Status::Done));
    assert_eq!(machine.destination.taken("/post", "o1"), 1);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_an_event_that_only_the_table_has_survives_a_kill() {
    let machine = Machine::new().await;
    let process = machine.start().await;
    process.world.break_queue(Fault::new(How::Drop));
    process.world.break_table(Fault { matching: Some("\"D#".into()), ..every("PutItem", How::Drop) });
    assert_eq!(process.world.order("o1").await.status, 503);
    process.kill().await;

    let process = machine.start().await;
    process.world.drive_to("shop", "o1", Status::Done).await;

    assert_eq!(machine.destination.taken("/post", "o1"), 1);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_two_stacks_never_share_a_folder() {
    let machine = Machine::new().await;
    let process = machine.start().await;
    let options = hookgate::dev::Options {
        config: hookgate_core::config::Config::parse(&machine.config).unwrap(),
        port: 0,
        folder: hookgate::local::Folder::new(machine.folder.path()),
        ephemeral: false,
        clock: machine.clock.clone(),
        patience: [Patience::INGEST, Patience::WORKER],
    };
    let error = hookgate::dev::Stack::start(options).await.err().unwrap();
    assert!(format!("{error:#}").contains("in use by another process"), "{error:#}");
    assert_eq!(process.world.order("o1").await.status, 200);
    process.stop().await;
}
