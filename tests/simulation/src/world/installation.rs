//! What is deployed: a configuration with sources, routes and actions of every kind, and handlers that know it.

use std::{cell::RefCell, fmt, sync::Arc, time::Duration};

use aws_smithy_async::rt::sleep::AsyncSleep as _;
use hookgate_aws::{
    aws_call::AwsCaller,
    clients::{Clients, Patience},
    effects::{Functions, Performer, RUN_MS_MAX, RunError, RunResult},
    egress::{Egress, Transport},
    env::SecretsFrom,
    queue::Queue as QueueClient,
    secrets::SecretStore,
    sender_keys::SenderKeys,
    store::Store,
};
use hookgate_core::{config::Config, event::Event};
use ingest::Ingest;
use worker::{Destinations as Known, Worker};

use crate::{
    aws,
    wire::{self, ClockOf, Wire},
};
/// Sources, routes and actions of every kind that can fail in a way of its own.
const CONFIG: &str = r#"
[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[sources.pay]
provider = "stripe"

[sources.desk]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }
order = "json:/case"

[sources.bank]
provider = "generic"
verify = { scheme = "ed25519", header = "x-signature", encoding = "hex", key_url = "https://keys.example/bank.json" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[sources.lab]
provider = "generic"
mode = "quarantine"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[[routes]]
source = "lab"
actions = ["post", "tally"]

[[routes]]
source = "bank"
actions = ["post"]

[[routes]]
source = "desk"
actions = ["case-post", "keep"]

[[routes]]
source = "shop"
type = "order.*"
actions = ["post", "tally", "keep"]

[[routes]]
source = "shop"
type = "limited.*"
actions = ["limited", "tell"]

[[routes]]
source = "shop"
type = "invoice.*"
actions = ["mail", "alert", "forward"]

[[routes]]
source = "shop"
type = "job.*"
actions = ["start", "ask", "ship", "own"]

[[routes]]
source = "pay"
actions = ["pay-post", "keep", "announce"]

[actions.post]
kind = "http"
url = "https://dest.example/post"
timeout_seconds = 2

[actions.case-post]
kind = "http"
url = "https://dest.example/case-post"
timeout_seconds = 2
retry = ["5s", "2m", "20m"]

[actions.pay-post]
kind = "http"
url = "https://dest.example/pay-post"
timeout_seconds = 10
retry = ["5s", "2m", "20m", "2h"]
pause_after = 3

[actions.limited]
kind = "http"
url = "https://dest.example/limited"
timeout_seconds = 2
rate = "30/m"
concurrency = 1
pause_after = 2
retry = ["5s", "5m", "20m", "20m", "20m"]

[actions.tell]
kind = "slack"
url = "https://dest.example/tell"
text = "{{ id }}"

[actions.announce]
kind = "publish"
to = "default"
retry = ["5s", "2m", "20m", "2h"]

[actions.mail]
kind = "email"
from = "Shop <shop@example.com>"
to = "ada@example.com"
subject = "{{ id }}"
text = "Thank you."
retry = ["5s", "2m", "20m", "2h"]

[actions.alert]
kind = "publish"
to = "arn:aws:sns:us-east-1:000000000000:alerts"
retry = ["5s", "2m", "20m", "2h"]

[actions.forward]
kind = "publish"
to = "arn:aws:sqs:us-east-1:000000000000:invoices"
retry = ["5s", "2m", "20m", "2h"]

[actions.start]
kind = "invoke"
function = "make-thumbnail"
retry = ["5s", "2m", "20m", "2h"]

[actions.ask]
kind = "invoke"
function = "check"
input = '{"id": {{ id | tojson }}}'
wait = true
timeout_seconds = 5
retry = ["5s", "2m", "20m", "2h"]

[actions.ship]
kind = "invoke"
state_machine = "arn:aws:states:us-east-1:000000000000:stateMachine:ship"
retry = ["5s", "2m", "20m", "2h"]

[actions.own]
kind = "run"
function = "own"
retry = ["5s", "2m", "20m", "2h"]

[actions.tally]
kind = "count"
counter = "orders"
label = "{{ id }}"

[actions.keep]
kind = "record"
collection = "orders"
key = "json:/id"
fields = { total = "json:/total" }
"#;

/// A function as a user may write one: it asks somebody, for longer than a function may take if that takes so long.
async fn own(wire: Wire, event: Event) -> RunResult {
    let retry = |problem: &dyn fmt::Display| RunError::Retry(problem.to_string());
    let url = "https://dest.example/own".parse().map_err(|error| retry(&error))?;
    let mut request = reqwest::Request::new(http::Method::POST, url);
    *request.timeout_mut() = Some(2 * Duration::from_millis(RUN_MS_MAX));
    *request.body_mut() = Some(event.request.body.into());
    match wire.send(request).await {
        Ok(answer) if answer.status().is_success() => Ok("asked".to_owned()),
        Ok(answer) => Err(retry(&answer.status())),
        Err(error) => Err(retry(&error)),
    }
}

fn functions(wire: &Wire) -> Functions {
    let (clock, wire) = (wire.clone(), wire.clone());
    Functions::timed_by(move |time| clock.sleep(time)).with("own", move |event| own(wire.clone(), event))
}

/// Name of the table, and address of the queue.
pub(super) const TABLE: &str = "hookgate";

const QUEUE_URL: &str = "http://sqs.simulation/000000000000/hookgate";

const ORDERED_QUEUE_URL: &str = "http://sqs.simulation/000000000000/hookgate.fifo";

/// What is made once for many histories.
pub(super) struct Parts {
    config: Arc<Config>,
    ingest: Clients,
    worker: Clients,
    egress: Egress,
}

thread_local! {
    static PARTS: RefCell<Option<Arc<Parts>>> = const { RefCell::new(None) };
}

pub(super) fn parts() -> Result<Arc<Parts>, String> {
    if let Some(parts) = PARTS.with_borrow(Clone::clone) {
        return Ok(parts);
    }
    let config = Config::parse(CONFIG).map_err(|problems| format!("{problems:?}"))?;
    let parts = Arc::new(Parts {
        config: Arc::new(config),
        ingest: wire::pattern(Patience::INGEST),
        worker: wire::pattern(Patience::WORKER),
        egress: Egress::new(&[]).map_err(|error| error.to_string())?,
    });
    PARTS.set(Some(parts.clone()));
    Ok(parts)
}

#[derive(Clone)]
pub(super) enum Handler {
    Ingest(Arc<Ingest>),
    Worker(Arc<Worker>),
}

impl Parts {
    /// A function as it is after a cold start.
    pub(super) fn handler(&self, is_ingest: bool, wire: &Wire, clock: ClockOf) -> Handler {
        let ambient = wire.ambient(clock);
        let config = self.config.clone();
        let secrets = |clients: &Clients| {
            Arc::new(SecretStore::new(&SecretsFrom::Manager("hookgate".to_owned()), &clients.secrets_manager))
        };
        let queue = |clients: &Clients| {
            QueueClient::new(clients.sqs.clone(), QUEUE_URL).with_ordered(Some(ORDERED_QUEUE_URL.to_owned()))
        };
        let egress = self.egress.clone().over(Arc::new(wire.clone()));
        if is_ingest {
            let clients = wire.clients(&self.ingest);
            Handler::Ingest(Arc::new(Ingest {
                config,
                secrets: secrets(&clients),
                store: Store::new(clients.dynamodb.clone(), TABLE),
                queue: queue(&clients),
                keys: Arc::new(SenderKeys::over(Arc::new(wire.clone()))),
                connections: clients.connections,
                full: Default::default(),
                ambient,
            }))
        } else {
            let clients = wire.clients(&self.worker);
            let secrets = secrets(&clients);
            let store = Store::new(clients.dynamodb.clone(), TABLE);
            Handler::Worker(Arc::new(Worker {
                config,
                queue: queue(&clients),
                secrets,
                performer: Performer {
                    aws: AwsCaller::local(egress.clone(), aws::endpoint),
                    egress,
                    store: store.clone(),
                    functions: functions(wire),
                },
                store,
                destinations: Known::default(),
                ambient,
            }))
        }
    }
}
