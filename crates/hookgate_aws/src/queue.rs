//! The queue: sending messages, and how many there are. Receiving is the event source mapping's work.

use aws_sdk_sqs::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::send_message::builders::SendMessageFluentBuilder,
    types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName},
};
use hookgate_core::{codec::Message, ids::EventId, order::Lane};
use thiserror::Error;

use crate::{store::reason, trace};

/// The queue of an installation.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
    /// The FIFO queue, where the installation has one.
    ordered_url: Option<String>,
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
        Self { client, url: url.into(), ordered_url: None }
    }

    /// The same with a FIFO queue beside it, for events that have an order.
    #[must_use]
    pub fn with_ordered(self, url: Option<String>) -> Self {
        Self { ordered_url: url, ..self }
    }

    /// Whether it has a FIFO queue beside it.
    pub fn is_ordered(&self) -> bool {
        self.ordered_url.is_some()
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
        Self::finish(request, trace).await
    }

    /// Sends an event to the FIFO queue, where it gets behind all others of its lane.
    ///
    /// For five minutes the queue drops what is sent again under the same id (SQS developer guide, «Exactly-once
    /// processing», read 2026-11-21). That is right for deliveries of one event, as the first of them is in the queue or has been
    /// worked on. An event that has to get another turn is sent with a number of chance as `again`; two turns of one
    /// event do no harm.
    ///
    /// # Errors
    /// [`QueueError`], also when there is no FIFO queue.
    pub async fn send_in_order(
        &self,
        message: &Message,
        lane: &Lane,
        again: Option<u64>,
        trace: Option<&str>,
    ) -> Result<(), QueueError> {
        let Some(url) = &self.ordered_url else {
            return Err(QueueError { operation: "SendMessage", reason: "there is no FIFO queue".to_owned() });
        };
        let again = again.map(u64::to_be_bytes);
        let identity = EventId::from_hash(&[
            message.source.as_str().as_bytes(),
            message.id.as_str().as_bytes(),
            again.as_ref().map_or(&[], <[u8; 8]>::as_slice),
        ]);
        let request = self
            .client
            .send_message()
            .queue_url(url)
            .message_group_id(lane.as_str())
            .message_deduplication_id(identity.as_str())
            .message_body(message.to_text());
        Self::finish(request, trace).await
    }

    /// Sends what can't be read on to the queue that has no order, where it ends as a dead letter: in the FIFO queue it would hold up
    /// those behind it until then.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn pass_on(&self, text: &str) -> Result<(), QueueError> {
        Self::finish(self.client.send_message().queue_url(&self.url).message_body(text), None).await
    }

    async fn finish(mut request: SendMessageFluentBuilder, trace: Option<&str>) -> Result<(), QueueError> {
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

    /// How many messages it has, those of the FIFO queue aside.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Depth::of(&self.client, &self.url).await
    }

    /// How many messages the FIFO queue has; `None` where there is none.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn ordered_depth(&self) -> Result<Option<Depth>, QueueError> {
        match &self.ordered_url {
            Some(url) => Depth::of(&self.client, url).await.map(Some),
            None => Ok(None),
        }
    }
}
