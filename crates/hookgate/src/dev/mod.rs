//! The local stack: the handlers of both functions, and around them what AWS does for them: the HTTP API, the
//! queue with its trigger, the schedule, the table's stream.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use hookgate_aws::{
    ambient::Ambient,
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::Performer,
    egress::Egress,
    env::SecretsFrom,
    queue::Queue,
    schema,
    secrets::SecretStore,
    sender_keys::SenderKeys,
    store::Store,
};
use hookgate_core::{config::Config, time::EpochMillis};
use hookgate_embedded::{Clock, Engines, Options as EngineOptions, Sqs};
use ingest::Ingest;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use worker::Worker;

use crate::local::{DEAD_LETTERS, Endpoints, Folder, ORDERED, ORDERED_DEAD_LETTERS, QUEUE, TABLE};

mod aws;
mod front;
mod inbox;
mod secrets;
mod triggers;

pub use aws::{endpoint as aws_endpoint, inbox_name};
pub use inbox::{Inbox, Received};
pub use secrets::{Generated, Wanted};

/// The queue's visibility timeout: six times the worker's time limit, as in `template.yaml`.
pub const VISIBILITY_SECONDS: u32 = 360;

/// Receives after which a message is poison, as in `template.yaml`.
pub const RECEIVES_MAX: u32 = 5;

/// The same in the FIFO queue, where what comes back would lose its place as a dead letter: ten hours of an outage.
pub const ORDERED_RECEIVES_MAX: u32 = 100;

/// Largest message, as in `template.yaml`.
const MESSAGE_BYTES_MAX: u32 = 1024 * 1024;

/// How long messages are kept, as in `template.yaml`: 14 days.
const MESSAGE_SECONDS: u32 = 14 * 24 * 60 * 60;

/// How long Ctrl-C waits for batches that are in work.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How to start the stack.
#[derive(Debug)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The gateway's port; 0 for any free one.
    pub port: u16,
    /// The data folder.
    pub folder: Folder,
    /// Keep nothing but the secrets.
    pub ephemeral: bool,
    /// The clock of the engines, the functions and the triggers.
    pub clock: Clock,
    /// How long the calls of ingest and of worker may take.
    pub patience: [Patience; 2],
}

/// A running stack.
pub struct Stack {
    /// The gateway, such as `http://127.0.0.1:9000`.
    pub url: String,
    /// Where everything is.
    pub endpoints: Endpoints,
    /// The embedded engines.
    pub engines: Engines,
    /// ingest.
    pub ingest: Arc<Ingest>,
    /// worker.
    pub worker: Arc<Worker>,
    /// What the local destinations were sent.
    pub inbox: Inbox,
    /// Secrets that were made for this start.
    pub generated: Vec<Generated>,
    folder: Folder,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stack {
    /// Starts everything on loopback.
    ///
    /// # Errors
    /// When a port is taken or the data folder can't be used; the message says what to do.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let Options { mut config, port, folder, ephemeral, clock, patience: [ingest_waits, worker_waits] } =
            options;
        folder.create()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
            format!("port {port} is taken; is hookgate running already? `--port 0` takes any free one")
        })?;
        let authority = listener.local_addr()?.to_string();
        let url = format!("http://{authority}");

        let data = (!ephemeral).then(|| folder.path().to_owned());
        let engines =
            Engines::start(EngineOptions { data, clock: clock.clone(), dynamodb_port: 0, sqs_port: 0 })
                .await?;
        engines.dynamodb().create_table(schema::definition(TABLE))?;
        engines.dynamodb().set_ttl(TABLE, schema::TTL)?;
        let (queue_url, ordered_queue_url) = create_queues(engines.sqs())?;
        release_in_flight(engines.sqs())?;

        let generated = secrets::complete(&folder.secrets(), &config, &url)?;
        config.allow_hosts.push(authority);
        config.public_url.get_or_insert_with(|| url.clone());
        let config = Arc::new(config);

        let ambient = ambient(&clock);
        let from = SecretsFrom::File(folder.secrets());
        let clients =
            |patience| Clients::local(engines.dynamodb().endpoint(), engines.sqs().endpoint(), patience);
        let for_ingest = clients(ingest_waits);
        let ingest = Arc::new(Ingest {
            config: config.clone(),
            store: Store::new(for_ingest.dynamodb, TABLE),
            queue: Queue::new(for_ingest.sqs, &queue_url).with_ordered(Some(ordered_queue_url.clone())),
            secrets: Arc::new(SecretStore::new(&from, &for_ingest.secrets_manager)),
            keys: Arc::new(SenderKeys::for_tests()),
            connections: for_ingest.connections,
            full: std::sync::Mutex::default(),
            ambient: ambient.clone(),
        });
        let for_worker = clients(worker_waits);
        let store = Store::new(for_worker.dynamodb, TABLE);
        let egress = Egress::new(&config.allow_hosts).context("making the HTTP client of the actions")?;
        let worker = Arc::new(Worker {
            queue: Queue::new(for_worker.sqs, &queue_url).with_ordered(Some(ordered_queue_url.clone())),
            secrets: Arc::new(SecretStore::new(&from, &for_worker.secrets_manager)),
            performer: Performer {
                aws: AwsCaller::local(egress.clone(), |service| aws_endpoint(&url, service)),
                egress,
                store: store.clone(),
                functions: worker::run::functions(),
            },
            store,
            config,
            destinations: worker::Destinations::default(),
            ambient,
        });

        let endpoints = Endpoints {
            gateway: url.clone(),
            dynamodb: engines.dynamodb().endpoint(),
            sqs: engines.sqs().endpoint(),
            queue_url,
            dead_letter_queue_url: engines.sqs().queue_url(DEAD_LETTERS)?,
            ordered_queue_url,
            ordered_dead_letter_queue_url: engines.sqs().queue_url(ORDERED_DEAD_LETTERS)?,
        };
        folder.write_endpoints(&endpoints)?;
        let inbox = Inbox::open((!ephemeral).then(|| folder.inbox()))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(front::serve(listener, ingest.clone(), inbox.clone(), clock.clone(), stopped.clone()));
        for queue in [QUEUE, ORDERED] {
            tasks.spawn(triggers::queue(engines.sqs().clone(), queue, worker.clone(), stopped.clone()));
        }
        tasks.spawn(triggers::schedule(clock.clone(), worker.clone(), stopped.clone()));
        let position = (!ephemeral).then(|| folder.stream_position());
        tasks.spawn(triggers::stream(engines.dynamodb().clone(), clock, worker.clone(), position, stopped));
        Ok(Self { url, endpoints, engines, ingest, worker, inbox, generated, folder, stop, tasks })
    }

    /// Lets what is in work finish, then stops everything.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
            tracing::warn!("some work was still going on; it is taken up again at the next start");
        }
        self.tasks.abort_all();
        self.folder.remove_endpoints();
        self.engines.stop().await;
    }
}

fn ambient(clock: &Clock) -> Ambient {
    let clock = clock.clone();
    let system = Ambient::system();
    Ambient::new(move || EpochMillis::from_millis(clock.now_ms()), move || system.random())
}

/// The queue and the FIFO queue, each with its dead-letter queue, as `template.yaml` has them; their URLs.
///
/// # Errors
/// When the queues' store fails.
pub fn create_queues(sqs: &Sqs) -> anyhow::Result<(String, String)> {
    let create = |queue: &str, dead_letters: &str, receives_max: u32, more: &[(&str, &str)]| {
        let mut attributes = BTreeMap::from([
            ("MaximumMessageSize".to_owned(), MESSAGE_BYTES_MAX.to_string()),
            ("MessageRetentionPeriod".to_owned(), MESSAGE_SECONDS.to_string()),
        ]);
        attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        sqs.create_queue(dead_letters, &attributes)?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": sqs.queue_arn(dead_letters), "maxReceiveCount": receives_max,
        });
        attributes.insert("VisibilityTimeout".to_owned(), VISIBILITY_SECONDS.to_string());
        attributes.insert("RedrivePolicy".to_owned(), redrive.to_string());
        anyhow::Ok(sqs.create_queue(queue, &attributes)?)
    };
    let queue = create(QUEUE, DEAD_LETTERS, RECEIVES_MAX, &[])?;
    let fifo = [
        ("FifoQueue", "true"),
        ("DeduplicationScope", "messageGroup"),
        ("FifoThroughputLimit", "perMessageGroupId"),
    ];
    Ok((queue, create(ORDERED, ORDERED_DEAD_LETTERS, ORDERED_RECEIVES_MAX, &fifo)?))
}

/// Messages that were in work when the last stack ended: nobody has them now, so they need not wait out their
/// visibility timeout.
fn release_in_flight(sqs: &Sqs) -> anyhow::Result<()> {
    for queue in [QUEUE, ORDERED] {
        for message in sqs.peek(queue, usize::MAX)? {
            let in_flight = message.state == hookgate_embedded::MessageState::InFlight;
            if in_flight && !message.receipt_handle.is_empty() {
                sqs.change_visibility(queue, &message.receipt_handle, 0)?;
            }
        }
    }
    Ok(())
}
