//! The queue: sending messages, and how many there are. Receiving is the event source mapping's work.

use aws_sdk_sqs::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName},
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

/// Why a call failed. It may have taken effect.
#[derive(Debug, Error)]
#[error("SQS {operation}: {reason}")]
pub struct QueueError {
    operation: &'static str,
    reason: String,
}

pub(crate) fn call<E>(operation: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> QueueError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| QueueError { operation, reason: reason(&error) }
}

/// How many messages a queue has, about: SQS counts within a minute or so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// To be received.
    pub visible: u64,
    /// Received, and neither deleted nor given back.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
}

impl Depth {
    /// Of the queue at `url`.
    pub(crate) async fn of(client: &Client, url: &str) -> Result<Self, QueueError> {
        let answer = client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
            .send()
            .await
            .map_err(call("GetQueueAttributes"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|count| count.parse().ok()).unwrap_or_default();
        Ok(Self {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        })
    }
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
            let value =
                value.map_err(|error| QueueError { operation: "SendMessage", reason: error.to_string() })?;
            request =
                request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
        }
        request.send().await.map(|_| ()).map_err(call("SendMessage"))
    }

    /// How many messages it has.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Depth::of(&self.client, &self.url).await
    }
}
