//! The dead-letter queues: that of the queue, and that of the FIFO queue where an installation has one.
//!
//! Their messages were received too often and never finished: each killed the worker, was none of ours, or could not be
//! given its place in an order. To look at them takes them out for a while, so whoever looks gives them back. Of a FIFO
//! queue's messages of one group, SQS hands over no more than ten until these are back or deleted.

use std::{collections::HashMap, sync::Arc};

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

/// The dead-letter queues of an installation, each with the queue that its messages came from.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    queues: Vec<Arc<Urls>>,
}

/// A dead-letter queue and the queue that its messages came from.
#[derive(Debug, PartialEq, Eq)]
struct Urls {
    dead_letters: String,
    queue: String,
}

impl Urls {
    fn new(dead_letters: impl Into<String>, queue: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { dead_letters: dead_letters.into(), queue: queue.into() })
    }

    fn is_fifo(&self) -> bool {
        self.queue.ends_with(FIFO)
    }
}

/// A message of a dead-letter queue, taken out for a while.
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
    from: Arc<Urls>,
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

    /// Whether it came from the FIFO queue: others of its group may only be had once it is gone or back.
    pub fn is_ordered(&self) -> bool {
        self.from.is_fifo()
    }
}

impl DeadLetters {
    /// The dead-letter queue at `url`, of the queue at `queue_url`.
    pub fn new(client: Client, url: impl Into<String>, queue_url: impl Into<String>) -> Self {
        Self { client, queues: vec![Urls::new(url, queue_url)] }
    }

    /// The same with that of the FIFO queue, where there is one: its own URL, and the FIFO queue's.
    #[must_use]
    pub fn with_ordered(mut self, urls: Option<(String, String)>) -> Self {
        self.queues.extend(urls.map(|(url, queue_url)| Urls::new(url, queue_url)));
        self
    }

    /// How many messages they have.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        let mut sum = Depth::default();
        for urls in &self.queues {
            let depth = Depth::of(&self.client, &urls.dead_letters).await?;
            sum.visible += depth.visible;
            sum.in_flight += depth.in_flight;
            sum.delayed += depth.delayed;
        }
        Ok(sum)
    }

    /// Takes out up to ten messages of one queue for so many seconds. None: there are none in any that can be had.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn take(&self, seconds: i32) -> Result<Vec<DeadLetter>, QueueError> {
        for urls in &self.queues {
            let letters = self.take_from(urls, seconds).await?;
            if !letters.is_empty() {
                return Ok(letters);
            }
        }
        Ok(Vec::new())
    }

    async fn take_from(&self, urls: &Arc<Urls>, seconds: i32) -> Result<Vec<DeadLetter>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&urls.dead_letters)
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
                from: urls.clone(),
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
        for urls in &self.queues {
            let letters: Vec<&DeadLetter> = letters.iter().filter(|letter| letter.from == *urls).collect();
            self.give_back_to(urls, &letters).await?;
        }
        Ok(())
    }

    async fn give_back_to(&self, urls: &Urls, letters: &[&DeadLetter]) -> Result<(), QueueError> {
        for batch in letters.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let mut request = self.client.change_message_visibility_batch().queue_url(&urls.dead_letters);
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
        let fifo = letter.is_ordered();
        self.client
            .send_message()
            .queue_url(&letter.from.queue)
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
            .queue_url(&letter.from.dead_letters)
            .receipt_handle(&letter.receipt)
            .send()
            .await
            .map(|_| ())
            .map_err(call("DeleteMessage"))
    }
}
