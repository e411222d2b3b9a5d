//! How a command gets at an installation: the local stack, running or not, or one that is deployed.

use std::fmt;

use anyhow::bail;
use hookgate_aws::{
    clients::{Clients, Patience},
    dead_letters::DeadLetters,
    env::SecretsFrom,
    queue::Queue,
    schema,
    secrets::SecretStore,
    store::Store,
};
use hookgate_embedded::{Clock, Engines, Options};

use crate::{
    deployed::{self, Deployed},
    local::{DEAD_LETTERS, Folder, ORDERED, ORDERED_DEAD_LETTERS, Ordered, QUEUE, TABLE},
};

/// Which installation.
#[derive(Clone, Debug)]
pub enum Place {
    /// The local stack of a folder.
    Local(Folder),
    /// A stack on AWS.
    Deployed(deployed::Wanted),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(folder) => write!(f, "the local stack in {}", folder.path().display()),
            Self::Deployed(wanted) => write!(f, "the stack {}", wanted.name),
        }
    }
}

/// [`Access::identity`] of the local stack.
pub const LOCAL: &str = "local";

/// An installation, open.
pub struct Access {
    /// The table.
    pub store: Store,
    /// The queue.
    pub queue: Queue,
    /// The dead-letter queues.
    pub dead_letters: DeadLetters,
    /// The secrets.
    pub secrets: SecretStore,
    /// What senders' URLs begin with, such as `https://abc.execute-api.eu-west-1.amazonaws.com`; `None` for a local
    /// stack that does not run.
    pub gateway: Option<String>,
    /// Whether it runs. A deployed one always does.
    pub running: bool,
    /// What tells it from every other: the ARN of its secret, which outlives the stack; `local` for the local one.
    pub identity: String,
    /// Held while the data of a local stack that does not run is open.
    engines: Option<Engines>,
}

impl Access {
    /// Opens an installation. The data of a local stack that does not run are opened from their files.
    ///
    /// # Errors
    /// When there is none, when it may not be looked at, or when another process has the files.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        match place {
            Place::Local(folder) => Self::local(folder).await,
            Place::Deployed(wanted) => Ok(Self::deployed(wanted.find().await?)),
        }
    }

    /// Opens an installation that runs.
    ///
    /// # Errors
    /// As for [`Self::open`], and when the local stack does not run.
    pub async fn running(place: &Place) -> anyhow::Result<Self> {
        if let Place::Local(folder) = place
            && folder.endpoints().is_none()
        {
            bail!("{place} does not run; `cargo run` starts one");
        }
        Self::open(place).await
    }

    async fn local(folder: &Folder) -> anyhow::Result<Self> {
        let from = SecretsFrom::File(folder.secrets());
        if let Some(endpoints) = folder.endpoints() {
            let ordered = endpoints.ordered();
            let clients = Clients::local(endpoints.dynamodb, endpoints.sqs, Patience::WORKER);
            let (queue, dead_letters) =
                queues(&clients, &endpoints.queue_url, &endpoints.dead_letter_queue_url, ordered);
            return Ok(Self {
                store: Store::new(clients.dynamodb, TABLE),
                queue,
                dead_letters,
                secrets: SecretStore::new(&from, &clients.secrets_manager),
                gateway: Some(endpoints.gateway),
                running: true,
                identity: LOCAL.to_owned(),
                engines: None,
            });
        }
        if !folder.path().join("dynamodb.sqlite").exists() {
            bail!("there is no local stack in {}; `cargo run` starts one", folder.path().display());
        }
        let data = Some(folder.path().to_owned());
        let engines =
            Engines::start(Options { data, clock: Clock::system(), dynamodb_port: 0, sqs_port: 0 }).await?;
        engines.dynamodb().create_table(schema::definition(TABLE))?;
        let clients =
            Clients::local(engines.dynamodb().endpoint(), engines.sqs().endpoint(), Patience::WORKER);
        // A stack that was killed before it had made its queues has none.
        let url = |name| engines.sqs().queue_url(name).unwrap_or_default();
        let ordered = Ordered::of(&url(ORDERED), &url(ORDERED_DEAD_LETTERS));
        let (queue, dead_letters) = queues(&clients, &url(QUEUE), &url(DEAD_LETTERS), ordered);
        Ok(Self {
            store: Store::new(clients.dynamodb, TABLE),
            queue,
            dead_letters,
            secrets: SecretStore::new(&from, &clients.secrets_manager),
            gateway: None,
            running: false,
            identity: LOCAL.to_owned(),
            engines: Some(engines),
        })
    }

    fn deployed(found: Deployed) -> Self {
        let Deployed { clients, table, queue_url, dead_letter_queue_url, ordered, secret_arn, gateway } =
            found;
        let (queue, dead_letters) = queues(&clients, &queue_url, &dead_letter_queue_url, ordered);
        Self {
            store: Store::new(clients.dynamodb, table),
            queue,
            dead_letters,
            secrets: SecretStore::new(&SecretsFrom::Manager(secret_arn.clone()), &clients.secrets_manager),
            gateway: Some(gateway),
            running: true,
            identity: secret_arn,
            engines: None,
        }
    }

    /// Closes it.
    pub async fn close(self) {
        if let Some(engines) = self.engines {
            engines.stop().await;
        }
    }
}

fn queues(
    clients: &Clients,
    queue_url: &str,
    dead_letter_queue_url: &str,
    ordered: Option<Ordered>,
) -> (Queue, DeadLetters) {
    let sqs = clients.sqs.clone();
    let urls = ordered.clone().map(|ordered| (ordered.dead_letter_queue_url, ordered.queue_url));
    (
        Queue::new(sqs.clone(), queue_url).with_ordered(ordered.map(|ordered| ordered.queue_url)),
        DeadLetters::new(sqs, dead_letter_queue_url, queue_url).with_ordered(urls),
    )
}
