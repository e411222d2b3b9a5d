//! The queue: sending messages. Receiving is the event source mapping's work.

use aws_sdk_sqs::Client;
use hookgate_core::codec::Message;
use thiserror::Error;

use crate::store::reason;

/// The queue of an installation.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

/// Why a message was not sent. It may have been.
#[derive(Debug, Error)]
#[error("SQS SendMessage: {reason}")]
pub struct QueueError {
    reason: String,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Sends a message, to be received after `delay_seconds` (0 to 900). Its group is its source: a standard
    /// queue then keeps one busy source from holding up the others (fair queues).
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn send(&self, message: &Message, delay_seconds: i32) -> Result<(), QueueError> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_group_id(message.source.as_str())
            .message_body(message.to_text());
        if delay_seconds > 0 {
            request = request.delay_seconds(delay_seconds);
        }
        request.send().await.map(|_| ()).map_err(|error| QueueError { reason: reason(&error) })
    }
}
