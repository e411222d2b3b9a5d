//! A stack in this process with a clock that can be moved, and destinations to post to.
//!
//! Time stands still unless a test moves it, so nothing here sleeps for time to pass: [`until`] and
//! [`World::drive`] wait for work that goes on at the same time, and fail at a hard deadline.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{Router, body::Body, extract::State};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use hookgate::{
    dev::{Options, Stack, create_queues},
    local::{DEAD_LETTERS, Folder, ORDERED, QUEUE, TABLE},
    samples::{self, Ready, Sample},
};
use hookgate_aws::{
    ambient::Ambient,
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::{Functions, Performer},
    egress::Egress,
    queue::Queue,
    schema,
    secrets::SecretStore,
    store::{Entry, Store},
};
use hookgate_core::{
    config::Config,
    event::Event,
    ids::{EventId, Name},
    lifecycle::Status,
    secret::{Secret, Secrets},
    time::EpochMillis,
};
use hookgate_embedded::{
    Clock, Counts, Engines, Fault, FaultId, How, Message, MessageState, Options as EngineOptions,
};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use worker::Worker;

/// When every test begins: 2026-05-28T20:26:40Z, at which the samples were signed.
pub(crate) const START_MS: i64 = 1_780_000_000_000;

/// What the configuration of this repository is tested with.
pub(crate) const SHIPPED_SECRETS: &str = include_str!("../../events/secrets.json");

/// How long calls may take in a test that is not about that: ingest's own second is at times too little on a machine
/// that runs many tests at once.
const PATIENT: Patience = Patience { attempt: Duration::from_secs(10), operation: Duration::from_secs(60) };

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// When a condition is given up: far more than any takes on a busy machine.
const GIVE_UP: Duration = Duration::from_secs(120);

/// Looks in a row at which nothing may be in work before the clock is moved.
const QUIET_LOOKS: u32 = 4;

/// Longer than any work on a message takes in a test: one that is in flight for so long waits out its visibility
/// timeout.
const LEFT_ALONE: Duration = Duration::from_secs(4);

/// How far [`World::drive`] moves the clock: past the sweeper's minute, and less than a lease.
const STEP: Duration = Duration::from_secs(61);

/// A sender, one destination, one counter with a label for each event. `DEST` stands for the destination.
pub(crate) const SHOP: &str = r#"
allow_hosts = ["DEST"]

[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[[routes]]
source = "shop"
actions = ["post", "tally"]

[actions.post]
kind = "http"
url = "http://DEST/post"
timeout_seconds = 30

[actions.tally]
kind = "count"
counter = "orders"
label = "{{ id }}"
"#;

/// A sender of any bytes at all, and one destination, `DEST`.
const RAW: &str = r#"
allow_hosts = ["DEST"]

[sources.raw]
provider = "raw"
verify = { scheme = "token", header = "x-hookgate-token" }

[[routes]]
source = "raw"
actions = ["post"]

[actions.post]
kind = "http"
url = "http://DEST/post"
timeout_seconds = 30
"#;

/// [`SHOP`] with a destination that must answer soon.
pub(crate) fn hurried() -> String {
    SHOP.replace("timeout_seconds = 30", "timeout_seconds = 2")
}

/// The secret of the shop.
pub(crate) const SHOP_SECRET: &str = "shop-secret";

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < GIVE_UP, "this has not come true: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A stack, with what a test asks of it.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) clock: Clock,
    /// Calls of the test's own; they pass the same faults.
    pub(crate) clients: Clients,
    folder: Arc<TempDir>,
    http: reqwest::Client,
}

static DRAWN: AtomicU64 = AtomicU64::new(1);

impl World {
    /// The shipped configuration, kept in memory.
    pub(crate) async fn shipped() -> Self {
        Self::with(hookgate_aws::EMBEDDED_CONFIG, SHIPPED_SECRETS).await
    }

    /// A configuration of the test's own, kept in memory.
    pub(crate) async fn with(config: &str, secrets: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("secrets.json"), secrets).unwrap();
        Self::open(folder, Clock::manual(START_MS), config.to_owned(), true).await
    }

    /// [`SHOP`] with the time limits that its calls and posts have when nobody is lenient.
    pub(crate) async fn hurried_shop() -> (Self, Destination) {
        let destination = Destination::start().await;
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let secrets = json!({"shop": [SHOP_SECRET]}).to_string();
        std::fs::write(folder.path().join("secrets.json"), secrets).unwrap();
        let config = hurried().replace("DEST", &destination.place);
        let world =
            Self::start(folder, Clock::manual(START_MS), config, true, [Patience::INGEST, Patience::WORKER])
                .await;
        (world, destination)
    }

    /// [`SHOP`] and a destination.
    pub(crate) async fn shop() -> (Self, Destination) {
        Self::with_destination(SHOP, &json!({"shop": [SHOP_SECRET]}).to_string()).await
    }

    /// [`RAW`], of the token `t0ken`, and its destination.
    pub(crate) async fn raw() -> (Self, Destination) {
        Self::with_destination(RAW, r#"{"raw": "t0ken"}"#).await
    }

    /// A configuration and secrets in which `DEST` stands for a destination.
    pub(crate) async fn with_destination(config: &str, secrets: &str) -> (Self, Destination) {
        let destination = Destination::start().await;
        let (config, secrets) =
            (config.replace("DEST", &destination.place), secrets.replace("DEST", &destination.place));
        (Self::with(&config, &secrets).await, destination)
    }

    /// A stack on a folder that is there.
    pub(crate) async fn open(folder: Arc<TempDir>, clock: Clock, config: String, ephemeral: bool) -> Self {
        Self::start(folder, clock, config, ephemeral, [PATIENT; 2]).await
    }

    async fn start(
        folder: Arc<TempDir>,
        clock: Clock,
        config: String,
        ephemeral: bool,
        patience: [Patience; 2],
    ) -> Self {
        let config = Config::parse(&config).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let folder_of_stack = Folder::new(folder.path());
        let options =
            Options { config, port: 0, folder: folder_of_stack, ephemeral, clock: clock.clone(), patience };
        let stack = Stack::start(options).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let clients = Clients::local(&*stack.endpoints.dynamodb, &*stack.endpoints.sqs, Patience::WORKER);
        Self { stack, clock, clients, folder, http }
    }

    pub(crate) fn now(&self) -> EpochMillis {
        EpochMillis::from_millis(self.clock.now_ms())
    }

    pub(crate) fn secrets_file(&self) -> PathBuf {
        self.folder.path().join("secrets.json")
    }

    /// Writes other secrets, as a rotation does.
    pub(crate) fn write_secrets(&self, secrets: &Value) {
        std::fs::write(self.secrets_file(), secrets.to_string()).unwrap();
    }

    // Sending.

    /// Sends a request as it is.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Answer {
        let url = format!("{}{path}", self.stack.url);
        let request = self.http.request(method, url).headers(headers.clone()).body(body.to_vec());
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    /// Posts a request as it is.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request(Method::POST, path, &header_map(headers), body).await
    }

    /// Posts an order of the shop, signed.
    pub(crate) async fn order(&self, id: &str) -> Answer {
        self.shop_body(&order(id)).await
    }

    /// Posts any body of the shop, signed.
    pub(crate) async fn shop_body(&self, body: &[u8]) -> Answer {
        let signature = signature(SHOP_SECRET, body);
        let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
        self.post("/webhooks/shop", &headers, body).await
    }

    /// The sample of a source (of a type, if one is named) with a fresh id, signed now.
    pub(crate) fn fresh(&self, source: &str, event_type: Option<&str>) -> Ready {
        let secrets = Secrets::from_json(&std::fs::read_to_string(self.secrets_file()).unwrap()).unwrap();
        let secret = &self.stack.worker.config.sources[&name(source)].secret;
        self.fresh_by(source, event_type, secrets.newest(secret).unwrap(), self.now())
    }

    /// The same, signed by any secret at any time.
    pub(crate) fn fresh_by(
        &self,
        source: &str,
        event_type: Option<&str>,
        secret: &Secret,
        at: EpochMillis,
    ) -> Ready {
        let config = &self.stack.worker.config;
        let source = &config.sources[&name(source)];
        let sample = samples::pick(&samples::all().unwrap(), source, event_type).unwrap().unwrap();
        let draw = || DRAWN.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sample.fresh(config, source, Some(secret), &self.stack.url, at, [draw(), draw()]).unwrap()
    }

    pub(crate) async fn send(&self, ready: &Ready) -> Answer {
        self.request(ready.request.method.clone(), &ready.path, &ready.request.headers, &ready.request.body)
            .await
    }

    /// A message in the queue that ingest has not sent.
    pub(crate) async fn message(&self, body: &str, delay_seconds: i32) {
        let send = self.clients.sqs.send_message().queue_url(&self.stack.endpoints.queue_url);
        send.message_body(body).delay_seconds(delay_seconds).send().await.unwrap();
    }

    // Looking.

    /// What is known of an event beside its content; `None` also while the table can't be read.
    pub(crate) async fn entry(&self, source: &str, id: &str) -> Option<Entry> {
        let store = &self.stack.worker.store;
        let keys = store.received_at(&[(name(source), event_id(id))]).await.ok()?;
        store.entry(keys.first()?).await.ok()?
    }

    pub(crate) async fn status(&self, source: &str, id: &str) -> Option<Status> {
        self.entry(source, id).await.map(|entry| entry.status)
    }

    /// The stored event.
    pub(crate) async fn stored(&self, source: &str, id: &str) -> Option<Event> {
        self.stack.worker.store.event(&name(source), &event_id(id)).await.unwrap()
    }

    /// A counter by label, over all days.
    pub(crate) async fn counts(&self, counter: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for one in self.stack.worker.store.counts(counter, 1_000).await.unwrap() {
            *counts.entry(one.label).or_default() += one.count;
        }
        counts
    }

    /// The fields of a record.
    pub(crate) async fn record(&self, collection: &str, key: &str) -> Option<Value> {
        let records = self.stack.worker.store.records(collection, 1_000).await.unwrap();
        records.into_iter().find(|(at, _)| at == key).map(|(_, fields)| fields)
    }

    /// Every item of the table.
    pub(crate) async fn scan(&self) -> Vec<BTreeMap<String, AttributeValue>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let scan = self.clients.dynamodb.scan().table_name(TABLE).consistent_read(true);
            let page = scan.set_exclusive_start_key(start).send().await.unwrap();
            items.extend(page.items.unwrap_or_default().into_iter().map(|item| item.into_iter().collect()));
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    /// How many items have a partition key that begins like this.
    pub(crate) async fn items(&self, prefix: &str) -> usize {
        let is =
            |item: &BTreeMap<String, AttributeValue>| item[schema::PK].as_s().unwrap().starts_with(prefix);
        self.scan().await.iter().filter(|item| is(item)).count()
    }

    /// What is in the queue, and in the FIFO queue beside it.
    pub(crate) fn queue(&self) -> Counts {
        let counts = |queue| self.stack.engines.sqs().counts(queue).unwrap();
        let (queue, ordered) = (counts(QUEUE), counts(ORDERED));
        Counts {
            visible: queue.visible + ordered.visible,
            in_flight: queue.in_flight + ordered.in_flight,
            delayed: queue.delayed + ordered.delayed,
        }
    }

    pub(crate) fn dead_letters(&self) -> Vec<Message> {
        self.stack.engines.sqs().peek(DEAD_LETTERS, 1_000).unwrap()
    }

    /// What one local destination was sent.
    pub(crate) fn inbox(&self, name: &str) -> Vec<hookgate::dev::Received> {
        self.stack.inbox.entries().into_iter().filter(|entry| entry.name == name).collect()
    }

    // Breaking.

    pub(crate) fn break_table(&self, fault: Fault) -> FaultId {
        self.stack.engines.dynamodb().traffic().break_with(fault)
    }

    pub(crate) fn break_queue(&self, fault: Fault) -> FaultId {
        self.stack.engines.sqs().traffic().break_with(fault)
    }

    pub(crate) fn heal(&self) {
        self.stack.engines.dynamodb().traffic().heal();
        self.stack.engines.sqs().traffic().heal();
    }

    /// Forgets the requests that were counted.
    pub(crate) fn reset_traffic(&self) {
        self.stack.engines.dynamodb().traffic().reset();
        self.stack.engines.sqs().traffic().reset();
    }

    // Time.

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn idle(&self) -> bool {
        let Counts { visible, in_flight, .. } = self.queue();
        visible + in_flight == 0
    }

    /// Waits until no message is in work or could be.
    pub(crate) async fn quiet(&self) {
        let mut looks = 0;
        until("no message is in work", async || {
            looks = if self.idle() { looks + 1 } else { 0 };
            looks > QUIET_LOOKS
        })
        .await;
    }

    /// What is in flight, and how often it was received.
    fn in_flight(&self) -> Vec<(String, u32)> {
        let peek = |queue| self.stack.engines.sqs().peek(queue, 1_000).unwrap();
        let in_flight = [QUEUE, ORDERED]
            .into_iter()
            .flat_map(peek)
            .filter(|message| message.state == MessageState::InFlight);
        in_flight.map(|message| (message.message_id, message.receive_count)).collect()
    }

    /// Lets time pass until a condition holds: a minute at a time, and only while nothing is in work.
    pub(crate) async fn drive(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        let mut looks = 0;
        let (mut in_flight, mut since) = (Vec::new(), Instant::now());
        while !holds().await {
            assert!(
                began.elapsed() < GIVE_UP,
                "this has not come true as time passed: {what}; {:?}",
                self.queue()
            );
            looks = if self.idle() { looks + 1 } else { 0 };
            let now_in_flight = self.in_flight();
            if now_in_flight != in_flight {
                (in_flight, since) = (now_in_flight, Instant::now());
            }
            let left_alone = self.queue().visible == 0 && since.elapsed() > LEFT_ALONE;
            if looks > QUIET_LOOKS || left_alone {
                self.clock.advance(STEP);
                (looks, since) = (0, if left_alone { since } else { Instant::now() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits, without moving the clock, until an event has a status.
    pub(crate) async fn wait_for(&self, source: &str, id: &str, status: Status) {
        until(&format!("{source}/{id} is {status:?}"), async || {
            self.status(source, id).await == Some(status)
        })
        .await;
    }

    /// Lets time pass until an event has a status.
    pub(crate) async fn drive_to(&self, source: &str, id: &str, status: Status) {
        self.drive(&format!("{source}/{id} is {status:?}"), async || {
            self.status(source, id).await == Some(status)
        })
        .await;
    }

    /// Lets time pass until nothing waits any more, neither in the queue nor in the outbox.
    pub(crate) async fn drain(&self) {
        self.drive("nothing waits", async || {
            self.queue() == Counts::default() && self.items("D#").await == 0
        })
        .await;
        self.quiet().await;
    }

    /// Moves the clock to the next try of an event that waits for one, and waits until that was made.
    pub(crate) async fn next_try(&self, source: &str, id: &str) -> Entry {
        let before = self.entry(source, id).await.unwrap();
        let next_at = before.next_at.unwrap();
        let wait_ms = next_at.millis_since(self.now()).max(0).unsigned_abs();
        self.clock.advance(Duration::from_millis(wait_ms + 1_000));
        self.drive("the next try was made", async || {
            self.entry(source, id).await.is_some_and(|entry| {
                entry.attempts.0.len() > before.attempts.0.len() && entry.status != Status::Working
            })
        })
        .await;
        self.quiet().await;
        self.entry(source, id).await.unwrap()
    }
}

/// What the gateway answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An installation without triggers: a test hands each batch to the worker itself.
pub(crate) struct Bench {
    pub(crate) engines: Engines,
    pub(crate) clock: Clock,
    pub(crate) worker: Arc<Worker>,
    pub(crate) ingest: ingest::Ingest,
    queue_url: String,
    clients: Clients,
}

impl Bench {
    /// [`SHOP`] with other actions, and functions for `run`.
    pub(crate) async fn start(config: &str, functions: Functions) -> (Self, Destination) {
        let destination = Destination::start().await;
        let clock = Clock::manual(START_MS);
        let engines = Engines::start(EngineOptions::memory(clock.clone())).await.unwrap();
        engines.dynamodb().create_table(schema::definition(TABLE)).unwrap();
        let (queue_url, ordered_queue_url) = create_queues(engines.sqs()).unwrap();
        let config = Config::parse(&config.replace("DEST", &destination.place));
        let config = Arc::new(config.unwrap_or_else(|problems| panic!("{problems:#?}")));
        let clients =
            Clients::local(engines.dynamodb().endpoint(), engines.sqs().endpoint(), Patience::WORKER);
        let store = Store::new(clients.dynamodb.clone(), TABLE);
        let queue = Queue::new(clients.sqs.clone(), &queue_url).with_ordered(Some(ordered_queue_url));
        let secrets = Secrets::from_json(&json!({"shop": [SHOP_SECRET]}).to_string()).unwrap();
        let secrets = Arc::new(SecretStore::fixed(secrets));
        let ambient = {
            let clock = clock.clone();
            let system = Ambient::system();
            Ambient::new(move || EpochMillis::from_millis(clock.now_ms()), move || system.random())
        };
        let ingest = ingest::Ingest {
            config: config.clone(),
            store: store.clone(),
            queue: queue.clone(),
            secrets: secrets.clone(),
            keys: Arc::new(hookgate_aws::sender_keys::SenderKeys::for_tests()),
            connections: clients.connections.clone(),
            full: Mutex::default(),
            ambient: ambient.clone(),
        };
        let egress = Egress::new(&config.allow_hosts).unwrap();
        let worker = Worker {
            queue,
            secrets,
            performer: Performer {
                aws: AwsCaller::local(egress.clone(), |service| {
                    format!("http://{}/{}", destination.place, service.endpoint_id())
                }),
                egress,
                store: store.clone(),
                functions,
            },
            store,
            config,
            destinations: worker::Destinations::default(),
            ambient,
        };
        let bench = Self { engines, clock, worker: Arc::new(worker), ingest, queue_url, clients };
        (bench, destination)
    }

    /// An order, taken in by ingest.
    pub(crate) async fn order(&self, id: &str) {
        self.take_in(&order(id)).await;
    }

    /// Any text of the shop, taken in by ingest.
    pub(crate) async fn take_in(&self, body: &[u8]) {
        assert_eq!(self.offer(body).await, 200);
    }

    /// The same, whatever the answer: its status.
    pub(crate) async fn offer(&self, body: &[u8]) -> u64 {
        let event = json!({
            "version": "2.0", "rawPath": "/webhooks/shop",
            "headers": {"content-type": "application/json", "x-signature": signature(SHOP_SECRET, body)},
            "requestContext": {"http": {"method": "POST"}, "timeEpoch": self.clock.now_ms()},
            "body": String::from_utf8(body.to_vec()).unwrap(),
        });
        let answer =
            serde_json::to_value(self.ingest.handle(&event.to_string(), None).await.unwrap()).unwrap();
        answer["statusCode"].as_u64().unwrap()
    }

    /// A message in the queue that ingest has not sent.
    pub(crate) async fn message(&self, body: &str) {
        let send = self.clients.sqs.send_message().queue_url(&self.queue_url).message_body(body);
        send.send().await.unwrap();
    }

    /// An item in a table that nothing of the product has put there.
    pub(crate) async fn put_item(&self, table: &str, item: HashMap<String, AttributeValue>) {
        self.clients.dynamodb.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    /// The same in a FIFO queue.
    pub(crate) async fn message_in_order(&self, queue_url: &str, group: &str, id: &str, body: &str) {
        let send = self.clients.sqs.send_message().queue_url(queue_url).message_body(body);
        send.message_group_id(group).message_deduplication_id(id).send().await.unwrap();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.engines.sqs().counts(QUEUE).unwrap()
    }

    /// Receives up to ten messages.
    pub(crate) async fn receive(&self) -> Vec<Message> {
        self.receive_of(QUEUE).await
    }

    /// The same of any queue.
    pub(crate) async fn receive_of(&self, queue: &str) -> Vec<Message> {
        self.engines.sqs().receive(queue, 10, Duration::ZERO).await.unwrap()
    }

    /// How many items have a partition key that begins like this.
    pub(crate) async fn items(&self, prefix: &str) -> usize {
        let scan = self.clients.dynamodb.scan().table_name(TABLE).consistent_read(true);
        let items = scan.send().await.unwrap().items.unwrap();
        items.iter().filter(|item| item[schema::PK].as_s().unwrap().starts_with(prefix)).count()
    }

    /// Has the worker work a batch off, in a task of its own; the answer is the ids of the messages that come back.
    pub(crate) fn work(&self, messages: &[Message]) -> JoinHandle<Vec<String>> {
        let records: Vec<Value> = messages
            .iter()
            .map(|m| {
                let queue = if m.sequence_number.is_some() { ORDERED } else { QUEUE };
                json!({
                    "messageId": m.message_id, "body": m.body, "eventSource": "aws:sqs",
                    "eventSourceARN": self.engines.sqs().queue_arn(queue),
                    "attributes": {"MessageGroupId": m.group_id.as_deref().unwrap_or_default()},
                })
            })
            .collect();
        let event = json!({ "Records": records }).to_string();
        let worker = self.worker.clone();
        tokio::spawn(async move {
            let answer = worker.invoke(&event).await.unwrap();
            let failures = answer["batchItemFailures"].as_array().unwrap();
            failures.iter().map(|f| f["itemIdentifier"].as_str().unwrap().to_owned()).collect()
        })
    }

    /// One batch, with what the queue's trigger does around it: what is finished is deleted.
    pub(crate) async fn turn(&self) -> (Vec<Message>, Vec<String>) {
        self.turn_of(QUEUE).await
    }

    /// The same of any queue.
    pub(crate) async fn turn_of(&self, queue: &str) -> (Vec<Message>, Vec<String>) {
        let messages = self.receive_of(queue).await;
        if messages.is_empty() {
            return (messages, Vec::new());
        }
        let failed = self.work(&messages).await.unwrap();
        for message in messages.iter().filter(|message| !failed.contains(&message.message_id)) {
            self.engines.sqs().delete(queue, &message.receipt_handle).unwrap();
        }
        (messages, failed)
    }

    /// Works off what is in the queues, batch by batch, until nothing is due.
    pub(crate) async fn work_off(&self) {
        while !self.turn_of(ORDERED).await.0.is_empty() || !self.turn().await.0.is_empty() {}
    }

    /// Works off what comes within so many minutes, with a sweep each.
    pub(crate) async fn pass(&self, minutes: u64) {
        for _ in 0..minutes {
            self.clock.advance(Duration::from_secs(60));
            self.worker.sweep().await;
            self.work_off().await;
        }
    }

    pub(crate) async fn entry(&self, id: &str) -> Entry {
        let keys = self.worker.store.received_at(&[(name("shop"), event_id(id))]).await.unwrap();
        self.worker.store.entry(&keys[0]).await.unwrap().unwrap()
    }

    /// Lets time pass, a minute at a time, until an event has a status.
    pub(crate) async fn turn_until(&self, id: &str, status: Status) {
        for _ in 0..200 {
            self.worker.sweep().await;
            while !self.turn().await.0.is_empty() {}
            if self.entry(id).await.status == status {
                return;
            }
            self.clock.advance(STEP);
        }
        panic!("{id} has not become {status:?}: {:?}", self.entry(id).await);
    }
}

/// What a destination says.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    RetryAfter(u16, &'static str),
    /// Nothing, as long as the caller waits.
    Never,
    /// 200, once a test gives it a permit.
    Held(Arc<Semaphore>),
}

/// What a destination was sent.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// What it was answered; `None` for nothing.
    pub(crate) status: Option<u16>,
}

impl Hit {
    /// The id of the event that it is about.
    pub(crate) fn id(&self) -> &str {
        self.headers.get("x-hookgate-id").map_or("", |id| id.to_str().unwrap())
    }
}

/// A server on loopback whose answers a test chooses; 200 unless it does.
pub(crate) struct Destination {
    /// Such as `127.0.0.1:34567`.
    pub(crate) place: String,
    state: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    next: BTreeMap<String, VecDeque<Reply>>,
    always: BTreeMap<String, Reply>,
    hits: Vec<Hit>,
}

impl Destination {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(Answers::default()));
        let router = Router::new().fallback(hit).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { place, state }
    }

    /// What the next requests to a path are answered; after these it is what [`Self::always`] says.
    pub(crate) fn next(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().next.entry(path.to_owned()).or_default().extend(replies);
    }

    /// What requests to a path are answered from now on.
    pub(crate) fn always(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().always.insert(path.to_owned(), reply);
    }

    /// The requests to a path.
    pub(crate) fn hits(&self, path: &str) -> Vec<Hit> {
        let state = self.state.lock().unwrap();
        state.hits.iter().filter(|hit| hit.path == path).cloned().collect()
    }

    /// How many requests about an event it has taken, which is how often an action took effect here.
    pub(crate) fn taken(&self, path: &str, id: &str) -> usize {
        let took = |hit: &&Hit| hit.id() == id && hit.status.is_some_and(|status| status < 300);
        self.hits(path).iter().filter(took).count()
    }
}

async fn hit(
    State(state): State<Arc<Mutex<Answers>>>,
    request: axum::extract::Request,
) -> axum::http::Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let path = parts.uri.path().to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        let planned = state.next.get_mut(&path).and_then(VecDeque::pop_front);
        let reply = planned.or_else(|| state.always.get(&path).cloned()).unwrap_or(Reply::Status(200));
        let status = match &reply {
            Reply::Status(status) | Reply::RetryAfter(status, _) => Some(*status),
            Reply::Never => None,
            Reply::Held(_) => Some(200),
        };
        state.hits.push(Hit { path, headers: parts.headers, body, status });
        reply
    };
    // Lambda's answers are known by it; nobody else looks at it.
    let mut builder = axum::http::Response::builder().header("x-amzn-requestid", "r1");
    builder = match reply {
        Reply::Status(status) => builder.status(status),
        Reply::RetryAfter(status, after) => builder.status(status).header("retry-after", after),
        Reply::Never => std::future::pending().await,
        Reply::Held(permits) => {
            permits.acquire().await.unwrap().forget();
            builder
        }
    };
    builder.body(Body::empty()).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn event_id(text: &str) -> EventId {
    EventId::from_stored(text)
}

pub(crate) fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            reqwest::header::HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

/// HMAC-SHA256 in hex with the usual prefix, by other code than the product's.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// The body of an order of the shop.
pub(crate) fn order(id: &str) -> Vec<u8> {
    json!({"id": id, "type": "order.paid", "at": "2026-05-28T20:26:38Z", "total": 12_900}).to_string().into()
}

/// Every request of one operation, until healed.
pub(crate) fn every(operation: &str, how: How) -> Fault {
    Fault { operation: Some(operation.to_owned()), ..Fault::new(how) }
}

/// Bytes that nothing makes smaller, others for each seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    out.truncate(bytes);
    out
}

/// The samples of a source, by name.
pub(crate) fn sample(source: &str, sample_name: &str) -> Sample {
    let all = samples::all().unwrap();
    all.into_iter().find(|sample| sample.source == source && sample.name == sample_name).unwrap()
}
