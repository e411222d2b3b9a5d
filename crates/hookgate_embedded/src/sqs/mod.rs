//! The SQS engine: the wire protocol of `winterbaume-sqs` over a store of our own.

mod backend;
mod protocol;
mod settings;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::sqs::store::Store;
use crate::traffic::Traffic;
use crate::{WAIT_MAX, front};

/// The account all queues belong to.
const ACCOUNT: &str = "000000000000";

/// What the ARN of every queue begins with.
const ARN_PREFIX: &str = "arn:aws:sqs:us-east-1:000000000000:";

/// The embedded SQS. A clone is the same one.
///
/// The methods act on the queues in process: they pass neither the endpoint nor its [`Traffic`].
#[derive(Clone)]
pub struct Sqs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    address: SocketAddr,
    traffic: Traffic,
    stop: watch::Receiver<bool>,
}

/// A message as a queue holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A UUID. It stays the same in a dead-letter queue, and changes when the message is moved back.
    pub message_id: String,
    /// Names the latest receive; empty if there was none on this queue.
    pub receipt_handle: String,
    /// The body, exactly as sent.
    pub body: String,
    /// The MD5 of the body's UTF-8, in lower-case hex.
    pub md5_of_body: String,
    /// The message attributes, by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// The `MessageGroupId`.
    pub group_id: Option<String>,
    /// The `MessageDeduplicationId`, on a FIFO queue.
    pub deduplication_id: Option<String>,
    /// The `AWSTraceHeader`.
    pub trace_header: Option<String>,
    /// The `SequenceNumber`, on a FIFO queue.
    pub sequence_number: Option<String>,
    /// How often it was received, on the queue it was dead-lettered from included.
    pub receive_count: u32,
    /// When it was sent, in epoch milliseconds.
    pub sent_ms: i64,
    /// When it was first received, in epoch milliseconds.
    pub first_received_ms: Option<i64>,
    /// When it became or becomes visible, in epoch milliseconds.
    pub visible_ms: i64,
    /// What it is now, or was when it was received.
    pub state: MessageState,
    /// The ARN of the queue it was dead-lettered from.
    pub dead_letter_source: Option<String>,
}

/// Where a message is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// The next receive may hand it out.
    Visible,
    /// Received, neither deleted nor visible again.
    InFlight,
    /// Sent with a delay which is not over.
    Delayed,
}

/// A message attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, perhaps with a label after a dot.
    pub data_type: String,
    /// The value of a `String` or `Number`.
    pub string_value: Option<String>,
    /// The value of a `Binary`, in Base64 as on the wire.
    pub binary_value: Option<String>,
}

/// How many messages a queue holds in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those the next receive may hand out.
    pub visible: usize,
    /// Those received, neither deleted nor visible again.
    pub in_flight: usize,
    /// Those sent with a delay which is not over.
    pub delayed: usize,
}

/// Why the queue engine refused.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no queue of this name.
    #[error("the specified queue does not exist: {0}")]
    NoQueue(String),
    /// There is a queue of this name with other attributes.
    #[error("a queue already exists with the same name and different attributes: {0}")]
    QueueExists(String),
    /// This is no receipt handle.
    #[error("the input receipt handle is not a valid receipt handle")]
    BadHandle,
    /// The message is visible again: its visibility timeout has passed.
    #[error("the message is not in flight")]
    NotInFlight,
    /// The message was deleted, moved, or received again.
    #[error("message does not exist or is not available for visibility timeout change")]
    MessageGone,
    /// Something else that SQS refuses; `code` is its error code.
    #[error("{message}")]
    Refused {
        /// Such as `InvalidParameterValue`.
        code: &'static str,
        /// What was wrong with it.
        message: String,
    },
    /// The database failed.
    #[error("the queue store failed")]
    Storage(#[from] rusqlite::Error),
    /// The database holds something unreadable.
    #[error("the queue store is damaged")]
    Damaged(#[from] serde_json::Error),
    /// The system gave no random bytes.
    #[error("no random bytes")]
    Random(#[from] getrandom::Error),
}

impl QueueError {
    fn refused(code: &'static str, message: String) -> QueueError {
        QueueError::Refused { code, message }
    }

    fn invalid(message: String) -> QueueError {
        QueueError::refused("InvalidParameterValue", message)
    }

    fn no_resource(arn: &str) -> QueueError {
        QueueError::refused("ResourceNotFoundException", format!("there is no queue {arn}"))
    }
}

impl Sqs {
    pub(crate) fn open(
        data: Option<&Path>,
        clock: &Clock,
        address: SocketAddr,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Sqs> {
        let path = data.map(|folder| folder.join("sqs.sqlite"));
        let store = Store::open(path.as_deref(), clock.clone()).context("opening the queues")?;
        Ok(Sqs { inner: Arc::new(Inner { store, address, traffic: Traffic::default(), stop }) })
    }

    /// What answers at the endpoint.
    pub(crate) fn protocol(&self) -> protocol::Protocol {
        protocol::Protocol::new(self.clone())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The endpoint for an SDK client, such as `http://127.0.0.1:9324`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// Counts and breaks the requests at the endpoint.
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// Creates a queue and returns its URL. On one that exists the attributes are set.
    ///
    /// # Errors
    ///
    /// If SQS would refuse the name or an attribute, or there is no queue which `RedrivePolicy` names.
    pub fn create_queue(
        &self,
        name: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<String, QueueError> {
        self.store().ensure(name, attributes)?;
        Ok(self.url(name))
    }

    /// The URL of a queue on this endpoint.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`].
    pub fn queue_url(&self, name: &str) -> Result<String, QueueError> {
        self.store().settings(name)?;
        Ok(self.url(name))
    }

    /// The ARN of a queue of this name, whether it exists or not: what a `RedrivePolicy` wants.
    pub fn queue_arn(&self, name: &str) -> String {
        arn(name)
    }

    /// Made anew each time: the port of a free one differs from start to start.
    fn url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint())
    }

    /// Receives up to `max` messages and hides them as long as the queue's `VisibilityTimeout` says.
    ///
    /// Without one it waits: until a message is sent or becomes visible, until `wait` is over by the system's time
    /// or by the clock, or until the engines stop; then the list is empty.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`], or if the store fails.
    pub async fn receive(&self, queue: &str, max: usize, wait: Duration) -> Result<Vec<Message>, QueueError> {
        self.receive_for(queue, max, None, wait).await
    }

    async fn receive_for(
        &self,
        queue: &str,
        max: usize,
        visibility_s: Option<i64>,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let (store, wait) = (self.store(), wait.min(WAIT_MAX));
        let deadline = tokio::time::Instant::now() + wait;
        let deadline_ms = store.clock().now_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let mut stop = self.inner.stop.clone();
        // Subscribed before the first look, so that no message falls between the two.
        let mut changes = store.changes();
        loop {
            let messages = store.receive(queue, max, visibility_s, |_| true)?;
            let over = tokio::time::Instant::now() >= deadline || store.clock().now_ms() >= deadline_ms;
            if !messages.is_empty() || over {
                return Ok(messages);
            }
            let next_ms =
                store.next_visible_ms(queue)?.map_or(deadline_ms, |next_ms| next_ms.min(deadline_ms));
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = store.clock().wait_until(next_ms) => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = front::stopping(&mut stop) => return Ok(Vec::new()),
            }
        }
    }

    /// Deletes a received message.
    ///
    /// A handle of an earlier receive deletes nothing and is no error; neither is one of a message that is gone.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`], [`QueueError::BadHandle`], or if the store fails.
    pub fn delete(&self, queue: &str, receipt_handle: &str) -> Result<(), QueueError> {
        self.store().delete(queue, receipt_handle)
    }

    /// Hides a message in flight for another `seconds` from now on; 0 makes it visible at once.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotInFlight`] once it is visible again, [`QueueError::MessageGone`] if it was deleted or
    /// received again, [`QueueError::NoQueue`], [`QueueError::BadHandle`], or if the store fails.
    pub fn change_visibility(
        &self,
        queue: &str,
        receipt_handle: &str,
        seconds: u32,
    ) -> Result<(), QueueError> {
        self.store().change_visibility(queue, receipt_handle, i64::from(seconds))
    }

    /// The oldest messages of a queue in the order they were sent, whatever their state. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`], or if the store fails.
    pub fn peek(&self, queue: &str, limit: usize) -> Result<Vec<Message>, QueueError> {
        self.store().peek(queue, limit)
    }

    /// How many messages a queue holds.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`], or if the store fails.
    pub fn counts(&self, queue: &str) -> Result<Counts, QueueError> {
        self.store().counts(queue)
    }
}

fn arn(name: &str) -> String {
    format!("{ARN_PREFIX}{name}")
}

/// The queue an ARN names, if it is one of ours.
fn name_of(arn: &str) -> Option<&str> {
    arn.strip_prefix(ARN_PREFIX)
}

/// 128 random bits.
pub(crate) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
