//! The real `ingest` and `worker` processes, killed with SIGKILL again and again while `hookgate send` sends: at a number
//! of requests and of microseconds that chance says, while starting too. Every event that was answered 2xx is stored and
//! done at the end, and nothing else is.
//!
//! `HOOKGATE_KILL_EVENTS` says how many events there are, `HOOKGATE_KILL_SEED` which chance it is. A long run, on two busy
//! cores (2026-11-21, seed 723392): 3,000 events and 300 forgeries, 515 kills within 188 s; 957 messages were left behind
//! by killed workers, nothing was lost, nothing was counted twice, and 40 posts were repeated.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
};
use hookgate::local::{QUEUE, TABLE};
use hookgate_aws::{
    ambient::Ambient,
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::{Functions, Performer},
    egress::Egress,
    env,
    queue::Queue,
    schema::{self, EVENT_SK},
    secrets::SecretStore,
    store::Store,
};
use hookgate_core::{config::Config, lifecycle::Status, secret::Secrets, time::EpochMillis};
use hookgate_embedded::{Clock, Counts, Engines, Message, Options};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use worker::{Destinations, Worker};

use crate::{
    harness::{Destination, SHOP, SHOP_SECRET, event_id, name, noise},
    program::Place,
    runtime_api::{Function, variables_of},
};

/// Events of a test run.
const EVENTS: usize = 200;

/// Programs that send events, each its part. The last sends all of its own twice.
const SENDERS: usize = 3;

/// Processes at once, as Lambda runs them: each works on one request, or on one batch.
const INGESTS: usize = 2;
const WORKERS: usize = 2;

/// Most requests that a process lives to see.
const LIFE_REQUESTS_MAX: usize = 30;
const LIFE_BATCHES_MAX: usize = 6;

/// Longest time between what a process is given and the kill that falls into it, in microseconds: what a request and a
/// batch take in a build for tests.
const INTO_REQUEST_US_MAX: u64 = 25_000;
const INTO_BATCH_US_MAX: u64 = 150_000;

/// How long a worker waits for a batch before it looks whether all are sent.
const LOOK: Duration = Duration::from_millis(100);

/// After the visibility timeout and any lease.
const LATER: Duration = Duration::from_secs(400);

/// Rounds of a minute in which everything has to come to its end.
const ROUNDS_MAX: usize = 60;

/// When a run is given up.
const GIVE_UP: Duration = Duration::from_secs(1_800);

/// A sequence of numbers that a seed decides.
#[derive(Clone)]
struct Dice(Arc<Mutex<VecDeque<u64>>>, u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::default(), seed)
    }

    fn roll(&mut self, below: u64) -> u64 {
        let mut rolls = self.0.lock().unwrap();
        if rolls.is_empty() {
            self.1 = self.1.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let fresh = noise(1_024, self.1);
            rolls.extend(fresh.chunks(8).map(|eight| u64::from_be_bytes(eight.try_into().unwrap())));
        }
        (rolls.pop_front().unwrap() >> 16) % below
    }
}

/// What a process does before it is killed.
struct Life {
    /// Requests that it answers.
    requests: usize,
    /// Time that it has for the one after these.
    last: Duration,
}

impl Life {
    fn roll(dice: &mut Dice, requests_max: usize, into_work_us_max: u64) -> Self {
        let requests = match dice.roll(8) {
            // It dies while it starts.
            0 => 0,
            _ => usize::try_from(dice.roll(u64::try_from(requests_max).unwrap())).unwrap() + 1,
        };
        Self { requests, last: Duration::from_micros(dice.roll(into_work_us_max)) }
    }
}

/// A request of a sender, that waits for an answer.
struct Job {
    /// As the gateway hands it over, but for what is of this moment.
    event: Value,
    body: Bytes,
    answer: oneshot::Sender<Value>,
}

impl Job {
    /// What comes again comes at another time.
    fn event(&mut self) -> String {
        self.event["requestContext"]["timeEpoch"] = json!(Ambient::system().now().as_millis());
        self.event.to_string()
    }
}

/// The gateway's half of a request: it is answered when some process has answered it. `hookgate send` tries nothing
/// again, so what a provider would send again is given to another process here.
async fn front(
    State(jobs): State<mpsc::UnboundedSender<Job>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let headers: Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), json!(value.to_str().unwrap())))
        .collect();
    let event = json!({
        "version": "2.0", "rawPath": uri.path(), "rawQueryString": uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {"http": {"method": method.as_str()}, "requestId": "r"},
        "body": std::str::from_utf8(&body).unwrap(),
    });
    let (answer, answered) = oneshot::channel();
    jobs.send(Job { event, body, answer }).unwrap();
    let answer = answered.await.unwrap();
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
    (StatusCode::from_u16(status).unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
}

struct Run {
    engines: Engines,
    clock: Clock,
    destination: Destination,
    variables: Vec<(&'static str, String)>,
    config: String,
    queue_url: String,
    /// Where requests are sent to.
    url: String,
    jobs: mpsc::UnboundedSender<Job>,
    coming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Job>>,
    /// Whether every sender has ended.
    all_sent: watch::Sender<bool>,
    /// What was answered 200, by id.
    accepted: Mutex<BTreeMap<String, Bytes>>,
    /// The ids of what was answered 401.
    refused: Mutex<BTreeSet<String>>,
    kills: AtomicUsize,
    began: Instant,
    place: Place,
}

impl Run {
    async fn start() -> Self {
        let clock = Clock::system();
        let engines = Engines::start(Options::memory(clock.clone())).await.unwrap();
        engines.dynamodb().create_table(schema::definition(TABLE)).unwrap();
        let attributes = BTreeMap::from([("VisibilityTimeout".to_owned(), "360".to_owned())]);
        let queue_url = engines.sqs().create_queue(QUEUE, &attributes).unwrap();
        let destination = Destination::start().await;
        let place = Place::new();
        let config = SHOP.replace("DEST", &destination.place);
        std::fs::write(place.path("hookgate.toml"), &config).unwrap();
        let secrets = place.path("secrets.json");
        std::fs::write(&secrets, json!({"shop": [SHOP_SECRET]}).to_string()).unwrap();
        let mut variables = variables_of(&engines, &queue_url, &secrets);
        variables.push((env::CONFIG, place.path("hookgate.toml").display().to_string()));
        let (jobs, coming) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(front).with_state(jobs.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            clock,
            destination,
            variables,
            config,
            queue_url,
            url,
            jobs,
            coming: tokio::sync::Mutex::new(coming),
            all_sent: watch::Sender::new(false),
            accepted: Mutex::default(),
            refused: Mutex::default(),
            kills: AtomicUsize::new(0),
            engines,
            began: Instant::now(),
            place,
        }
    }

    /// `hookgate send` of so many events; the answers' statuses, as it says at its end.
    async fn send(&self, events: usize, more: &[&str]) -> Value {
        let (data, config) = (self.place.path("."), self.place.path("hookgate.toml"));
        let count = events.to_string();
        let arguments = ["send", "shop", "--to", &self.url, "--count", &count, "--json"];
        let files = ["--data", data.to_str().unwrap(), "--config", config.to_str().unwrap()];
        let mut sender = self.place.command(&[&arguments[..], &files, more].concat());
        let output =
            tokio::time::timeout(GIVE_UP, sender.output()).await.expect("it takes too long").unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&said).unwrap()["statuses"].take()
    }

    /// All that is sent: each event once or twice, and a forgery for every tenth.
    async fn senders(&self, events: usize) {
        let forgeries = events / 10;
        let twice = events / SENDERS;
        let sends: Vec<_> = (0..SENDERS - 1)
            .map(|n| {
                let before = (events - twice) * n / (SENDERS - 1);
                (events - twice) * (n + 1) / (SENDERS - 1) - before
            })
            .map(|count| self.send(count, &[]))
            .collect();
        let (once, both, forged) = futures::join!(
            futures::future::join_all(sends),
            self.send(twice, &["--duplicate"]),
            self.send(forgeries, &["--bad-signature"]),
        );
        let answered: u64 = once.iter().map(|statuses| statuses["200"].as_u64().unwrap()).sum();
        assert_eq!(answered, u64::try_from(events - twice).unwrap(), "{once:?}");
        assert_eq!(both, json!({"200": 2 * twice}));
        assert_eq!(forged, json!({"401": forgeries}));
        self.all_sent.send_replace(true);
    }

    fn all_sent(&self) -> bool {
        assert!(self.began.elapsed() < GIVE_UP, "it takes too long");
        *self.all_sent.borrow()
    }

    /// The next request; `None` when there is none and won't be.
    async fn next(&self) -> Option<Job> {
        let mut coming = self.coming.lock().await;
        let mut over = self.all_sent.subscribe();
        tokio::select! {
            job = coming.recv() => job,
            _ = over.wait_for(|over| *over) => None,
        }
    }

    /// One place for an `ingest`.
    async fn ingests(&self, mut dice: Dice) {
        while !self.all_sent() {
            let life = Life::roll(&mut dice, LIFE_REQUESTS_MAX, INTO_REQUEST_US_MAX);
            let function = Function::start("ingest", &self.variables).await;
            for number in 0.. {
                let Some(mut job) = self.next().await else { break };
                let answer = function.send(&job.event());
                let answer = if number < life.requests {
                    Some(answer.await.unwrap())
                } else {
                    tokio::time::timeout(life.last, answer).await.ok().map(Result::unwrap)
                };
                match answer {
                    Some(answer) => self.answer(job, answer.response()),
                    None => self.jobs.send(job).unwrap(),
                }
                if number >= life.requests {
                    break;
                }
            }
            self.kills.fetch_add(1, Ordering::SeqCst);
            function.kill().await;
        }
    }

    fn answer(&self, job: Job, answer: Value) {
        let body: Value = serde_json::from_slice(&job.body).unwrap();
        let id = body["id"].as_str().unwrap().to_owned();
        match answer["statusCode"].as_u64() {
            Some(200) => drop(self.accepted.lock().unwrap().insert(id, job.body)),
            Some(401) => drop(self.refused.lock().unwrap().insert(id)),
            _ => panic!("nothing but processes fails here: {answer}"),
        }
        job.answer.send(answer).unwrap();
    }

    /// One place for a `worker`, with what the queue's trigger does around it.
    async fn workers(&self, mut dice: Dice) {
        while !self.all_sent() || self.waiting() > 0 {
            let life = Life::roll(&mut dice, LIFE_BATCHES_MAX, INTO_BATCH_US_MAX);
            let function = Function::start("worker", &self.variables).await;
            let mut number = 0;
            while number <= life.requests {
                let messages = self.engines.sqs().receive(QUEUE, 10, LOOK).await.unwrap();
                if messages.is_empty() {
                    if self.all_sent() && self.waiting() == 0 {
                        break;
                    }
                    continue;
                }
                let answer = function.send(&batch(&messages));
                let answer = if number < life.requests {
                    Some(answer.await.unwrap())
                } else {
                    tokio::time::timeout(life.last, answer).await.ok().map(Result::unwrap)
                };
                if let Some(answer) = answer {
                    self.delete(&messages, &answer.response());
                }
                number += 1;
            }
            self.kills.fetch_add(1, Ordering::SeqCst);
            function.kill().await;
        }
    }

    fn waiting(&self) -> usize {
        self.engines.sqs().counts(QUEUE).unwrap().visible
    }

    fn delete(&self, messages: &[Message], answer: &Value) {
        let failed: Vec<&Value> =
            answer["batchItemFailures"].as_array().unwrap().iter().map(|it| &it["itemIdentifier"]).collect();
        for message in messages.iter().filter(|it| !failed.contains(&&json!(it.message_id))) {
            self.engines.sqs().delete(QUEUE, &message.receipt_handle).unwrap();
        }
    }

    /// A worker of a later time: a process can't be taken there, and leases last for a minute and a half.
    fn later(&self) -> Worker {
        let clients = Clients::local(
            self.engines.dynamodb().endpoint(),
            self.engines.sqs().endpoint(),
            Patience::WORKER,
        );
        let config = Config::parse(&self.config).unwrap();
        let store = Store::new(clients.dynamodb, TABLE);
        let (clock, system) = (self.clock.clone(), Ambient::system());
        let egress = Egress::new(&config.allow_hosts).unwrap();
        Worker {
            queue: Queue::new(clients.sqs, &self.queue_url),
            secrets: Arc::new(SecretStore::fixed(
                Secrets::from_json(&json!({"shop": [SHOP_SECRET]}).to_string()).unwrap(),
            )),
            performer: Performer {
                aws: AwsCaller::local(egress.clone(), |_| String::new()),
                egress,
                store: store.clone(),
                functions: Functions::default(),
            },
            store,
            config: Arc::new(config),
            destinations: Destinations::default(),
            ambient: Ambient::new(move || EpochMillis::from_millis(clock.now_ms()), move || system.random()),
        }
    }

    /// What the killed left behind comes to its end: its messages come back, its leases end, the stream is read.
    async fn comes_to_an_end(&self, worker: &Worker) {
        let dynamodb = self.engines.dynamodb();
        let mut position = None;
        for _ in 0..ROUNDS_MAX {
            self.clock.advance(LATER);
            worker.sweep().await;
            loop {
                let page = dynamodb.stream(TABLE, position.as_ref(), 1_000, Duration::ZERO).await.unwrap();
                if page.records.is_empty() {
                    break;
                }
                let events =
                    page.records.into_iter().filter(|it| it["dynamodb"]["Keys"]["sk"]["S"] == EVENT_SK);
                assert_eq!(worker.stream(&events.collect::<Vec<_>>()).await, None);
                position = page.position;
            }
            loop {
                let messages = self.engines.sqs().receive(QUEUE, 10, Duration::ZERO).await.unwrap();
                if messages.is_empty() {
                    break;
                }
                let answer = worker.invoke(&batch(&messages)).await.unwrap();
                self.delete(&messages, &answer);
            }
            if self.engines.sqs().counts(QUEUE).unwrap() == Counts::default() {
                return;
            }
        }
        panic!("the queue does not get empty: {:?}", self.engines.sqs().counts(QUEUE));
    }
}

fn batch(messages: &[Message]) -> String {
    let records: Vec<Value> = messages
        .iter()
        .map(|it| json!({"messageId": it.message_id, "body": it.body, "eventSource": "aws:sqs"}))
        .collect();
    json!({ "Records": records }).to_string()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_processes_that_are_killed_at_random_moments_lose_nothing() {
    let events = number("HOOKGATE_KILL_EVENTS").map_or(EVENTS, |count| usize::try_from(count).unwrap());
    let seed = number("HOOKGATE_KILL_SEED").unwrap_or_else(|| Ambient::system().random() % 1_000_000);
    println!("{events} events, HOOKGATE_KILL_SEED={seed}");
    let run = Arc::new(Run::start().await);
    let mut dice = Dice::new(seed);
    let mut places = Vec::new();
    for place in 0..INGESTS + WORKERS {
        let (run, dice) = (run.clone(), Dice::new(dice.roll(u64::MAX >> 16)));
        places.push(tokio::spawn(async move {
            if place < INGESTS { run.ingests(dice).await } else { run.workers(dice).await }
        }));
    }
    let senders = run.clone();
    places.push(tokio::spawn(async move { senders.senders(events).await }));
    // Whoever fails first ends the test: the others would wait for it.
    futures::future::try_join_all(places).await.unwrap();
    let sent_in = run.began.elapsed();
    let worker = run.later();
    let left = run.engines.sqs().counts(QUEUE).unwrap();
    run.comes_to_an_end(&worker).await;

    let shop = name("shop");
    let (accepted, refused) = (
        std::mem::take(&mut *run.accepted.lock().unwrap()),
        std::mem::take(&mut *run.refused.lock().unwrap()),
    );
    assert_eq!((accepted.len(), refused.len()), (events, events / 10));
    let mut hits: BTreeMap<String, usize> = BTreeMap::new();
    for hit in run.destination.hits("/post") {
        assert_eq!(hit.body, accepted[hit.id()], "{} was passed on differently", hit.id());
        *hits.entry(hit.id().to_owned()).or_default() += 1;
    }
    let mut tally: BTreeMap<String, u64> = BTreeMap::new();
    for count in worker.store.counts("orders", usize::MAX).await.unwrap() {
        *tally.entry(count.label).or_default() += count.count;
    }
    for (id, body) in &accepted {
        let stored = worker.store.event(&shop, &event_id(id)).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{id} was answered 200, and is lost"));
        assert_eq!(stored.request.body, body.as_ref());
        let keys = worker.store.received_at(&[(shop.clone(), event_id(id))]).await.unwrap();
        let entry = worker.store.entry(&keys[0]).await.unwrap().unwrap();
        assert_eq!(entry.status, Status::Done, "{id}: {entry:?}");
        assert!(hits.contains_key(id), "{id} was never posted");
        assert_eq!(tally.get(id), Some(&1), "{id} was not counted once");
    }
    assert_eq!((tally.len(), hits.len()), (events, events));
    for id in &refused {
        let stored = worker.store.event(&shop, &event_id(id)).await.unwrap();
        assert!(stored.is_none(), "{id} is a forgery, and was believed");
    }
    let kills = run.kills.load(Ordering::SeqCst);
    let repeated: usize = hits.values().map(|times| times - 1).sum();
    println!(
        "{kills} kills in {} s; {left:?} left behind for later; {repeated} posts repeated",
        sent_in.as_secs()
    );
    assert!(kills >= 4 && repeated <= 10 * kills, "a repetition needs a kill between effect and record");
}
