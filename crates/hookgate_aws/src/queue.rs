//! The queue: sending messages. Receiving is the event source mapping's work.

use aws_sdk_sqs::{
    Client,
    types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue},
};
use hookgate_core::codec::Message;
use thiserror::Error;

use crate::{store::reason, trace};

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
    /// `trace` is X-Ray's header of the request that the event came with; one that has not the form is left out, as
    /// SQS would refuse the message. Said here, it counts more than the header that the SDK adds, which is about the
    /// function that sends: a retry belongs to its event, not to the batch in which it failed.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn send(
        &self,
        message: &Message,
        delay_seconds: i32,
        trace: Option<&str>,
    ) -> Result<(), QueueError> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_group_id(message.source.as_str())
            .message_body(message.to_text());
        if delay_seconds > 0 {
            request = request.delay_seconds(delay_seconds);
        }
        if let Some(header) = trace.filter(|header| trace::root(header).is_some()) {
            let value =
                MessageSystemAttributeValue::builder().data_type("String").string_value(header).build();
            let value = value.map_err(|error| QueueError { reason: error.to_string() })?;
            request =
                request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
        }
        request.send().await.map(|_| ()).map_err(|error| QueueError { reason: reason(&error) })
    }
}
