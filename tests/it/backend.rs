//! A table and a queue in this process that nothing empties by itself, and a destination to post to.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
};
use hookgate::local::{QUEUE, TABLE};
use hookgate_aws::{
    EMBEDDED_CONFIG,
    ambient::Ambient,
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::Performer,
    egress::Egress,
    queue::Queue,
    schema::{self, StatusKey},
    secrets::SecretStore,
    store::{Entry, Store},
};
use hookgate_core::{aws::AwsService, config::Config, event::Event, secret::Secrets};
use hookgate_embedded::{Clock, Engines, Message, Options};
use ingest::Ingest;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use worker::Worker;

/// The root of the repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// No test waits for anything this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, ever less often: to ask is work too.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(320));
    }
}

/// The configuration that is shipped.
pub(crate) fn config() -> Config {
    Config::parse(EMBEDDED_CONFIG).unwrap()
}

/// What ingest draws.
const DRAWN: u64 = 0x0bad_cafe_0bad_cafe;

/// The table and the queue.
pub(crate) struct Backend {
    pub(crate) engines: Engines,
    pub(crate) store: Store,
    pub(crate) queue_url: String,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let engines = Engines::start(Options::memory(Clock::system())).await.unwrap();
        engines.dynamodb().create_table(schema::definition(TABLE)).unwrap();
        let queue_url = engines.sqs().create_queue(QUEUE, &BTreeMap::new()).unwrap();
        let clients =
            Clients::local(engines.dynamodb().endpoint(), engines.sqs().endpoint(), Patience::WORKER);
        Self { store: Store::new(clients.dynamodb, TABLE), queue_url, engines }
    }

    fn clients(&self, patience: Patience) -> Clients {
        Clients::local(self.engines.dynamodb().endpoint(), self.engines.sqs().endpoint(), patience)
    }

    /// What it draws is always the same, so that the messages beside the samples are.
    pub(crate) fn ingest(&self, config: Config, secrets: &Value) -> Ingest {
        let clients = self.clients(Patience::INGEST);
        let system = Ambient::system();
        Ingest {
            config: Arc::new(config),
            store: Store::new(clients.dynamodb, TABLE),
            queue: Queue::new(clients.sqs, &self.queue_url),
            secrets: Arc::new(SecretStore::fixed(Secrets::from_json(&secrets.to_string()).unwrap())),
            keys: Arc::new(hookgate_aws::sender_keys::SenderKeys::for_tests()),
            connections: clients.connections,
            full: Mutex::default(),
            ambient: Ambient::new(move || system.now(), || DRAWN),
        }
    }

    pub(crate) fn worker(&self, config: Config, secrets: &Value, destination: &Destination) -> Worker {
        let clients = self.clients(Patience::WORKER);
        let store = Store::new(clients.dynamodb, TABLE);
        let egress = Egress::new(&config.allow_hosts).unwrap();
        Worker {
            queue: Queue::new(clients.sqs, &self.queue_url),
            secrets: Arc::new(SecretStore::fixed(Secrets::from_json(&secrets.to_string()).unwrap())),
            performer: Performer {
                aws: AwsCaller::local(egress.clone(), |service| destination.aws(service)),
                egress,
                store: store.clone(),
                functions: worker::run::functions(),
            },
            store,
            config: Arc::new(config),
            destinations: worker::Destinations::default(),
            ambient: Ambient::system(),
        }
    }

    /// What waits in the queue, the oldest first.
    pub(crate) fn waiting(&self) -> Vec<Message> {
        self.engines.sqs().peek(QUEUE, usize::MAX).unwrap()
    }

    /// Empties the queue.
    pub(crate) async fn take_all(&self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let some = self.engines.sqs().receive(QUEUE, 10, Duration::ZERO).await.unwrap();
            if some.is_empty() {
                return all;
            }
            for message in &some {
                self.engines.sqs().delete(QUEUE, &message.receipt_handle).unwrap();
            }
            all.extend(some);
        }
    }

    /// Where an event stands; `None` while no worker has had it.
    pub(crate) async fn entry(&self, event: &Event) -> Option<Entry> {
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        self.store.entry(&key).await.unwrap()
    }
}

/// The samples' secrets, as `events/secrets.json` has them, with destinations of one's own.
pub(crate) fn sample_secrets(destination: Option<&Destination>) -> Value {
    let text = std::fs::read_to_string(Path::new(ROOT).join("events/secrets.json")).unwrap();
    let mut secrets: Map<String, Value> = serde_json::from_str(&text).unwrap();
    if let Some(destination) = destination {
        for name in ["crm-url", "warehouse-url", "deploy-url", "notify-team", "notify-finance"] {
            secrets.insert(name.to_owned(), json!(destination.url(name)));
        }
    }
    Value::Object(secrets)
}

/// Takes everything that actions post, and answers with one status, and with what AWS services say that took a call.
pub(crate) struct Destination {
    /// `127.0.0.1:PORT`, for `allow_hosts`.
    pub(crate) authority: String,
    received: Received,
}

/// What SES and EventBridge answer, in one.
const AWS_ANSWER: &str = r#"{"MessageId":"m-1","FailedEntryCount":0,"Entries":[{"EventId":"e-1"}]}"#;

type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A part of every address: an address may be a secret, so this is to be seen nowhere.
pub(crate) const SECRET_PATH: &str = "T00HIDDEN00";

impl Destination {
    pub(crate) async fn start(status: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let received = Received::default();
        let take = async move |State(received): State<Received>, uri: Uri, body: axum::body::Bytes| {
            let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
            received.lock().unwrap().push((name, body.to_vec()));
            (status, AWS_ANSWER)
        };
        let router = Router::new().fallback(take).with_state(received.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { authority, received }
    }

    /// The endpoint of an AWS service.
    pub(crate) fn aws(&self, service: AwsService) -> String {
        format!("http://{}/aws/{}", self.authority, service.endpoint_id())
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{SECRET_PATH}/{name}", self.authority)
    }

    /// The bodies that one name was sent, in no order.
    pub(crate) fn received(&self, name: &str) -> Vec<Vec<u8>> {
        let mut bodies: Vec<Vec<u8>> = self
            .received
            .lock()
            .unwrap()
            .iter()
            .filter(|(to, _)| to == name)
            .map(|(_, body)| body.clone())
            .collect();
        bodies.sort();
        bodies
    }
}
