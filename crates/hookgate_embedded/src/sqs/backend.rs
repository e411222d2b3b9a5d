//! The store as `winterbaume-sqs` wants to see it.
//!
//! Its protocol layer can say less than SQS, so `protocol.rs` answers several operations itself: what those need
//! is here as well, because the trait asks for it, but does not run.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::pin::Pin;

use winterbaume_core::StateViewError;
use winterbaume_sqs::state::SqsError;
use winterbaume_sqs::types::{Message, MessageAttribute, MessageMoveTask, Queue};
use winterbaume_sqs::{SendMessageOutput, SqsBackend, SqsStateView};

use super::store::Outgoing;
use super::{ACCOUNT, Attribute, QueueError, Sqs, arn};

/// Account and region are not looked at: there is one of each.
pub(crate) struct Backend(pub(crate) Sqs);

type Answer<T, E = SqsError> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The store never waits, so every answer is there at once.
fn answer<T: Send + 'static>(result: Result<T, QueueError>) -> Answer<T> {
    Box::pin(ready(result.map_err(error)))
}

fn unsupported<T: Send + 'static>(what: &str) -> Answer<T> {
    Box::pin(ready(Err(SqsError::InternalError(format!("{what} is not supported")))))
}

fn error(error: QueueError) -> SqsError {
    match error {
        QueueError::NoQueue(_) => SqsError::NonExistentQueue,
        QueueError::QueueExists(_) => SqsError::QueueAlreadyExists,
        QueueError::BadHandle | QueueError::NotInFlight | QueueError::MessageGone => {
            SqsError::InvalidReceiptHandle { receipt_handle: String::new() }
        }
        QueueError::Refused { code: "ResourceNotFoundException", message } => {
            SqsError::SourceArnNotFound { source_arn: message }
        }
        QueueError::Refused { message, .. } => SqsError::InternalError(message),
        QueueError::Storage(_) | QueueError::Damaged(_) | QueueError::Random(_) => {
            SqsError::InternalError(format!("{:#}", anyhow::Error::from(error)))
        }
    }
}

impl Backend {
    /// Its times are not shown by any answer, so they stay at zero.
    fn queue(&self, name: String) -> Result<Queue, QueueError> {
        let settings = self.0.store().settings(&name)?;
        let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Queue {
            url: self.0.url(&name),
            arn: arn(&name),
            name,
            region: "us-east-1".to_owned(),
            account_id: ACCOUNT.to_owned(),
            created_timestamp: Default::default(),
            last_modified_timestamp: Default::default(),
            visibility_timeout: number(settings.visibility_s),
            delay_seconds: number(settings.delay_s),
            maximum_message_size: u32::try_from(settings.bytes_max).unwrap_or(u32::MAX),
            message_retention_period: number(settings.retention_s),
            receive_wait_time_seconds: u32::try_from(settings.wait_s).unwrap_or(u32::MAX),
            fifo_queue: settings.fifo,
            content_based_deduplication: settings.deduplicates_content,
        })
    }
}

impl SqsBackend for Backend {
    fn create_queue(
        &self,
        _: String,
        _: String,
        name: String,
        attributes: HashMap<String, String>,
        tags: Option<HashMap<String, String>>,
    ) -> Answer<Queue> {
        let attributes = attributes.into_iter().collect();
        let tags = tags.unwrap_or_default().into_iter().collect();
        let created = self.0.store().create(&name, &attributes, &tags);
        answer(created.and_then(|()| self.queue(name)))
    }

    fn delete_queue(&self, _: String, _: String, queue: String) -> Answer<()> {
        answer(self.0.store().delete_queue(&queue))
    }

    fn get_queue_url(&self, _: String, _: String, queue: String) -> Answer<String> {
        answer(self.0.queue_url(&queue))
    }

    fn get_queue_attributes(&self, _: String, _: String, queue: String) -> Answer<HashMap<String, String>> {
        answer(self.0.store().attributes(&queue).map(HashMap::from_iter))
    }

    fn set_queue_attributes(
        &self,
        _: String,
        _: String,
        queue: String,
        attributes: HashMap<String, String>,
    ) -> Answer<()> {
        answer(self.0.store().set_attributes(&queue, &attributes.into_iter().collect()))
    }

    fn list_queues(&self, _: String, _: String, prefix: Option<String>) -> Answer<Vec<Queue>> {
        let prefix = prefix.unwrap_or_default();
        let names = self.0.store().names();
        let queues = names.and_then(|names| {
            names.into_iter().filter(|name| name.starts_with(&prefix)).map(|name| self.queue(name)).collect()
        });
        answer(queues)
    }

    fn send_message(
        &self,
        _: String,
        _: String,
        queue: String,
        body: String,
        delay_seconds: Option<u32>,
        attributes: HashMap<String, MessageAttribute>,
        group_id: Option<String>,
        deduplication_id: Option<String>,
    ) -> Answer<SendMessageOutput> {
        let attributes: BTreeMap<_, _> = attributes
            .into_iter()
            .map(|(name, MessageAttribute { data_type, string_value, .. })| {
                (name, Attribute { data_type, string_value, binary_value: None })
            })
            .collect();
        let delay_s = delay_seconds.map(i64::from);
        let outgoing = Outgoing { body, delay_s, attributes, group_id, deduplication_id, trace_header: None };
        let sent = self.0.store().send(&queue, outgoing);
        answer(sent.map(|sent| SendMessageOutput { message_id: sent.message_id, body_md5: sent.md5_of_body }))
    }

    fn receive_messages(
        &self,
        _: String,
        _: String,
        queue: String,
        max: usize,
        visibility_timeout: Option<u32>,
    ) -> Answer<Vec<Message>> {
        let messages = self.0.store().receive(&queue, max, visibility_timeout.map(i64::from), |_| true);
        answer(messages.map(|messages| messages.into_iter().map(message).collect()))
    }

    fn delete_message(&self, _: String, _: String, queue: String, receipt_handle: String) -> Answer<()> {
        answer(self.0.delete(&queue, &receipt_handle))
    }

    fn purge_queue(&self, _: String, _: String, queue: String) -> Answer<()> {
        answer(self.0.store().purge(&queue))
    }

    fn change_message_visibility(
        &self,
        _: String,
        _: String,
        queue: String,
        receipt_handle: String,
        visibility_timeout: u32,
    ) -> Answer<()> {
        answer(self.0.change_visibility(&queue, &receipt_handle, visibility_timeout))
    }

    fn change_message_visibility_batch(
        &self,
        _: String,
        _: String,
        queue: String,
        entries: Vec<(String, String, u32)>,
    ) -> Answer<Vec<String>> {
        let changed = entries
            .into_iter()
            .map(|(id, handle, seconds)| self.0.change_visibility(&queue, &handle, seconds).map(|()| id));
        answer(changed.collect())
    }

    fn list_queue_tags(&self, _: String, _: String, queue: String) -> Answer<HashMap<String, String>> {
        answer(self.0.store().tags(&queue).map(HashMap::from_iter))
    }

    fn tag_queue(&self, _: String, _: String, queue: String, tags: HashMap<String, String>) -> Answer<()> {
        answer(self.0.store().set_tags(&queue, tags.into_iter().map(|(name, value)| (name, Some(value)))))
    }

    fn untag_queue(&self, _: String, _: String, queue: String, names: Vec<String>) -> Answer<()> {
        answer(self.0.store().set_tags(&queue, names.into_iter().map(|name| (name, None))))
    }

    fn add_permission(
        &self,
        _: String,
        _: String,
        _: String,
        _: String,
        _: Vec<String>,
        _: Vec<String>,
    ) -> Answer<()> {
        unsupported("AddPermission")
    }

    fn remove_permission(&self, _: String, _: String, _: String, _: String) -> Answer<()> {
        unsupported("RemovePermission")
    }

    fn list_dead_letter_source_queues(&self, _: String, _: String, queue: String) -> Answer<Vec<String>> {
        let sources = self.0.store().dead_letter_sources(&queue);
        answer(sources.map(|names| names.iter().map(|name| self.0.url(name)).collect()))
    }

    fn start_message_move_task(
        &self,
        _: String,
        _: String,
        source_arn: String,
        destination_arn: Option<String>,
        rate: Option<i32>,
    ) -> Answer<String> {
        answer(self.0.store().start_move(&source_arn, destination_arn.as_deref(), rate))
    }

    /// A move is over as soon as it began.
    fn cancel_message_move_task(&self, _: String, _: String, task_handle: String) -> Answer<i64> {
        Box::pin(ready(match self.0.store().moved(&task_handle) {
            Ok(true) => Err(SqsError::TaskNotCancellable),
            Ok(false) => Err(SqsError::InvalidTaskHandle { task_handle }),
            Err(failed) => Err(error(failed)),
        }))
    }

    fn list_message_move_tasks(
        &self,
        _: String,
        _: String,
        source_arn: String,
    ) -> Answer<Vec<MessageMoveTask>> {
        let moves = self.0.store().moves(&source_arn);
        let tasks = moves.map(|moves| {
            let task = |task: super::store::Move| MessageMoveTask {
                task_handle: task.handle,
                source_arn: task.source,
                destination_arn: task.destination,
                status: task.status,
                max_number_of_messages_per_second: task.rate,
                started_timestamp: task.started_ms,
                approximate_number_of_messages_moved: task.moved,
                approximate_number_of_messages_to_move: Some(task.found),
            };
            moves.into_iter().map(task).collect()
        });
        answer(tasks)
    }

    fn scopes_with_state(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn snapshot(&self, _: String, _: String) -> Pin<Box<dyn Future<Output = SqsStateView> + Send>> {
        Box::pin(ready(SqsStateView::default()))
    }

    fn restore(&self, _: String, _: String, _: SqsStateView) -> Answer<(), StateViewError> {
        Box::pin(ready(Err(StateViewError::Invalid("snapshots are not supported".to_owned()))))
    }

    fn merge(&self, account: String, region: String, view: SqsStateView) -> Answer<(), StateViewError> {
        self.restore(account, region, view)
    }
}

fn message(message: super::Message) -> Message {
    let attributes = message.attributes.into_iter().map(|(name, attribute)| {
        let Attribute { data_type, string_value, .. } = attribute;
        (name, MessageAttribute { data_type, string_value, binary_value: None })
    });
    Message {
        message_id: message.message_id,
        body: message.body,
        body_md5: message.md5_of_body,
        receipt_handle: Some(message.receipt_handle),
        all_receipt_handles: Vec::new(),
        sender_id: ACCOUNT.to_owned(),
        sent_timestamp: message.sent_ms,
        approximate_first_receive_timestamp: message.first_received_ms,
        approximate_receive_count: message.receive_count,
        visible_at: message.visible_ms,
        message_attributes: attributes.collect(),
    }
}
