//! DynamoDB and SQS inside one process, on loopback: for the local program and for tests.
//!
//! DynamoDB is `dynoxide`; SQS is the wire protocol of `winterbaume-sqs` over a store of our own, which keeps
//! its messages and follows a clock that can be moved. Both keep their data in SQLite, in a folder or in memory.
//! Nothing here knows what hookgate stores in them, and none of it is ever part of a Lambda function.
//!
//! # Layout
//!
//! - [`Clock`] (`clock.rs`): the time, and a way to move it.
//! - [`Traffic`] (`traffic.rs`): what was asked for, and the faults put in its way.
//! - `front.rs`: the HTTP server in front of each engine, where faults happen.
//! - [`DynamoDb`] (`dynamodb.rs`): the table engine, its streams, and what writes cost.
//! - [`Sqs`] (`sqs/`): the queue engine; `store.rs` is what a queue does, `protocol.rs` and `backend.rs` put it
//!   on the wire.
//! - `in_process.rs`: both without a server.

mod clock;
mod dynamodb;
mod front;
mod in_process;
mod sqs;
mod traffic;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

pub use crate::clock::Clock;
pub use crate::dynamodb::{DynamoDb, StreamPage, StreamPosition};
pub use crate::sqs::{Attribute, Counts, Message, MessageState, QueueError, Sqs};
pub use crate::traffic::{Fault, FaultId, How, Request, Traffic};

/// How long DynamoDB's own server may take to stop once its front has.
const UPSTREAM_GRACE: Duration = Duration::from_secs(1);

/// No wait is longer than this, which keeps its end within what the clocks can say.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How to start the engines.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder for `dynamodb.sqlite` and `sqs.sqlite`, created if absent; `None` keeps all in memory.
    pub data: Option<PathBuf>,
    /// The time by which queues delay, hide and forget messages.
    pub clock: Clock,
    /// The port on 127.0.0.1 for DynamoDB; 0 is any free one.
    pub dynamodb_port: u16,
    /// The port on 127.0.0.1 for SQS; 0 is any free one.
    pub sqs_port: u16,
}

impl Options {
    /// In memory, on any free ports.
    pub fn memory(clock: Clock) -> Options {
        Options { data: None, clock, dynamodb_port: 0, sqs_port: 0 }
    }
}

/// The running engines. Dropping them stops both at once; [`Engines::stop`] lets requests finish.
pub struct Engines {
    dynamodb: DynamoDb,
    sqs: Sqs,
    fronts: [front::Front; 2],
    upstream: dynamodb::Upstream,
    stop: watch::Sender<bool>,
    /// Held as long as the engines run.
    lock: Option<File>,
}

impl Engines {
    /// Starts both engines on loopback, within the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// If a port is taken, the folder cannot be written or is in use by another process, or a file in it is not
    /// what it should be.
    pub async fn start(options: Options) -> anyhow::Result<Engines> {
        let Options { data, clock, dynamodb_port, sqs_port } = options;
        let lock = data.as_deref().map(lock).transpose()?;
        let (stop, stopping) = watch::channel(false);

        let (dynamodb_listener, address) = front::bind(dynamodb_port).await.context("starting DynamoDB")?;
        let dynamodb = DynamoDb::open(data.as_deref(), &clock, address, stopping.clone())?;
        let (listener, upstream_address) = front::bind(0).await.context("starting DynamoDB")?;
        let upstream = dynamodb::Upstream::serve(listener, &dynamodb);

        let (sqs_listener, address) = front::bind(sqs_port).await.context("starting SQS")?;
        let sqs = Sqs::open(data.as_deref(), &clock, address, stopping.clone())?;

        let forward = dynamodb::Forward::new(dynamodb.clone(), upstream_address);
        let traffic = dynamodb.traffic().clone();
        let fronts = [
            front::Front::serve(dynamodb_listener, forward, traffic, stopping.clone()),
            front::Front::serve(sqs_listener, sqs.protocol(), sqs.traffic().clone(), stopping),
        ];
        Ok(Engines { dynamodb, sqs, fronts, upstream, stop, lock })
    }

    /// The table engine.
    pub fn dynamodb(&self) -> &DynamoDb {
        &self.dynamodb
    }

    /// The queue engine.
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// Stops both engines: no new connections, a moment for the requests in flight, and an end to every wait.
    pub async fn stop(self) {
        let Engines { fronts: [dynamodb_front, sqs_front], upstream, stop, lock, .. } = self;
        stop.send_replace(true);
        dynamodb_front.stopped().await;
        sqs_front.stopped().await;
        upstream.stopped(UPSTREAM_GRACE).await;
        drop(lock);
    }
}

/// Takes the folder for this process, so that no message is handled by two.
fn lock(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.try_lock().with_context(|| format!("{} is in use by another process", folder.display()))?;
    Ok(file)
}
