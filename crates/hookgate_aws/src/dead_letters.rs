//! The dead-letter queue.
//!
//! Its messages were received five times and never finished: each killed the worker, or was none of ours. To look at
//! them takes them out for a while, so whoever looks gives them back.

use std::collections::HashMap;

use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName},
};
use hookgate_core::{
    codec::{CodecError, Message},
    time::EpochMillis,
};

use crate::queue::{Depth, QueueError, call};

/// Most messages of one call (SQS's limit).
const BATCH: i32 = 10;

/// How long an empty answer is waited for. Without waiting SQS asks some of its servers only, and an answer may be
/// empty though there are messages; it has to be less than an attempt of the client may take.
const WAIT_SECONDS: i32 = 1;

/// What the URL of a FIFO queue ends with.
const FIFO: &str = ".fifo";

/// The dead-letter queue of an installation, and the queue that its messages came from.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    url: String,
    queue_url: String,
}

/// A message of the dead-letter queue, taken out for a while.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message's own id.
    pub message_id: String,
    /// Its text.
    pub body: String,
    /// How often it was received, by the worker and by those who looked at it here.
    pub receive_count: u32,
    /// When it was first sent.
    pub sent_at: Option<EpochMillis>,
    receipt: String,
    group: Option<String>,
    attributes: HashMap<String, MessageAttributeValue>,
}

impl DeadLetter {
    /// The message that it is.
    ///
    /// # Errors
    /// [`CodecError`] when it is none of ours.
    pub fn message(&self) -> Result<Message, CodecError> {
        Message::from_text(&self.body)
    }
}

impl DeadLetters {
    /// The dead-letter queue at `url`, of the queue at `queue_url`.
    pub fn new(client: Client, url: impl Into<String>, queue_url: impl Into<String>) -> Self {
        Self { client, url: url.into(), queue_url: queue_url.into() }
    }

    /// How many messages it has.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Depth::of(&self.client, &self.url).await
    }

    /// Takes out up to ten messages for so many seconds. None: there are none that nobody else has taken out.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn take(&self, seconds: i32) -> Result<Vec<DeadLetter>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH)
            .visibility_timeout(seconds)
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(call("ReceiveMessage"))?;
        let letters = answer.messages.unwrap_or_default().into_iter().map(|message| {
            let system = message.attributes.unwrap_or_default();
            let number = |name| system.get(&name).and_then(|text| text.parse::<i64>().ok());
            let count = number(MessageSystemAttributeName::ApproximateReceiveCount);
            DeadLetter {
                message_id: message.message_id.unwrap_or_default(),
                body: message.body.unwrap_or_default(),
                receive_count: count.and_then(|count| count.try_into().ok()).unwrap_or_default(),
                sent_at: number(MessageSystemAttributeName::SentTimestamp).map(EpochMillis::from_millis),
                receipt: message.receipt_handle.unwrap_or_default(),
                group: system.get(&MessageSystemAttributeName::MessageGroupId).cloned(),
                attributes: message.message_attributes.unwrap_or_default(),
            }
        });
        Ok(letters.collect())
    }

    /// Puts messages back that were taken out. One that can't be comes back by itself.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn give_back(&self, letters: &[DeadLetter]) -> Result<(), QueueError> {
        for batch in letters.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let mut request = self.client.change_message_visibility_batch().queue_url(&self.url);
            for (number, letter) in batch.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(&letter.receipt)
                    .visibility_timeout(0)
                    .build();
                // It fails only without an id or a handle.
                request = match entry {
                    Ok(entry) => request.entries(entry),
                    Err(_) => request,
                };
            }
            request.send().await.map_err(call("ChangeMessageVisibilityBatch"))?;
        }
        Ok(())
    }

    /// Sends a message to the queue that it came from, as it was. It stays here until [`Self::delete`]: a crash
    /// in between leaves it in both, and an event that comes twice is worked off once.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn send_again(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let fifo = self.queue_url.ends_with(FIFO);
        self.client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(&letter.body)
            .set_message_group_id(letter.group.clone())
            // Its own id: what is sent again within five minutes is dropped by a FIFO queue, as it should be.
            .set_message_deduplication_id(fifo.then(|| letter.message_id.clone()))
            .set_message_attributes(Some(letter.attributes.clone()).filter(|all| !all.is_empty()))
            .send()
            .await
            .map(|_| ())
            .map_err(call("SendMessage"))
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn delete(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        self.client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(&letter.receipt)
            .send()
            .await
            .map(|_| ())
            .map_err(call("DeleteMessage"))
    }
}
