//! SQS on the wire: `winterbaume-sqs` reads and writes the shapes, and answers most operations.
//!
//! Some are answered here, because its handlers cannot say what SQS says (0.2.0): they take `DelaySeconds` or
//! `VisibilityTimeout` of 0 for absent, drop binary attributes and group ids, fail a whole batch for one entry,
//! poll every 100 ms for a long poll, and know no error for a bad attribute, size or character.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use winterbaume_core::{MockRequest, MockResponse, MockService as _};
use winterbaume_sqs::{SqsService, wire};

use super::backend::Backend;
use super::store::{Outgoing, Sent};
use super::{ACCOUNT, Attribute, Message, QueueError, Sqs};
use crate::front::{Dialect, Engine, error_with};

/// The most entries of a batch, and messages of a receive.
const ENTRIES_MAX: usize = 10;

/// The most bytes of all messages of a batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The longest a client may poll.
const WAIT_S_MAX: u64 = 20;

/// The attribute that carries a trace from a sender to a receiver.
const TRACE_HEADER: &str = "AWSTraceHeader";

/// Answers at the endpoint.
pub(crate) struct Protocol {
    sqs: Sqs,
    service: SqsService,
}

type Answer = Result<MockResponse, QueueError>;

impl Engine for Protocol {
    fn dialect(&self) -> &'static Dialect {
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html, 2026-11-21; but
        // what a real queue calls a denial is in aws/serverless-application-model#3633 and aws/aws-sdk-php#188.
        &Dialect {
            failed: (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
            throttled: (StatusCode::BAD_REQUEST, "RequestThrottled"),
            denied: (StatusCode::FORBIDDEN, "AccessDenied"),
        }
    }

    async fn apply(&self, operation: &str, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let body = request.body();
        let answer = match operation {
            "AddPermission" | "RemovePermission" => Err(QueueError::refused(
                "AWS.SimpleQueueService.UnsupportedOperation",
                format!("{operation} is not supported here"),
            )),
            "ChangeMessageVisibility" => self.change_message_visibility(body),
            "ChangeMessageVisibilityBatch" => self.change_message_visibility_batch(body),
            "CreateQueue" => self.create_queue(body),
            "DeleteMessageBatch" => self.delete_message_batch(body),
            "ReceiveMessage" => self.receive_message(body).await,
            "SendMessage" => self.send_message(body),
            "SendMessageBatch" => self.send_message_batch(body),
            "SetQueueAttributes" => self.set_queue_attributes(body),
            _ => Ok(self.handle(request).await),
        };
        Ok(match answer {
            Ok(MockResponse { status, headers, body }) => {
                let mut response = Response::new(body);
                *response.status_mut() = StatusCode::from_u16(status)?;
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                let (status, code, message) = describe(error);
                error_with(status, code, &message)
            }
        })
    }
}

impl Protocol {
    pub(crate) fn new(sqs: Sqs) -> Protocol {
        let service = SqsService::with_backend(Arc::new(Backend(sqs.clone())));
        Protocol { sqs, service }
    }

    async fn handle(&self, request: Request<Bytes>) -> MockResponse {
        let (parts, body) = request.into_parts();
        let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
        self.service.handle(MockRequest { method, uri, headers: parts.headers, body }).await
    }

    fn create_queue(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_create_queue_request(body))?;
        let attributes = request.attributes.unwrap_or_default().into_iter().collect();
        let tags = request.tags.unwrap_or_default().into_iter().collect();
        self.sqs.store().create(&request.queue_name, &attributes, &tags)?;
        let queue_url = Some(self.sqs.url(&request.queue_name));
        Ok(wire::serialize_create_queue_response(&wire::CreateQueueResult { queue_url }))
    }

    fn set_queue_attributes(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_set_queue_attributes_request(body))?;
        let attributes = request.attributes.into_iter().collect();
        self.sqs.store().set_attributes(name(&request.queue_url), &attributes)?;
        Ok(wire::serialize_set_queue_attributes_response())
    }

    fn send_message(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_send_message_request(body))?;
        let message = Outgoing {
            body: request.message_body,
            delay_s: request.delay_seconds.map(i64::from),
            attributes: attributes(request.message_attributes),
            group_id: request.message_group_id,
            deduplication_id: request.message_deduplication_id,
            trace_header: trace_header(request.message_system_attributes)?,
        };
        let sent = self.sqs.store().send(name(&request.queue_url), message)?;
        Ok(wire::serialize_send_message_response(&wire::SendMessageResult {
            message_id: Some(sent.message_id),
            m_d5_of_message_body: Some(sent.md5_of_body),
            sequence_number: sent.sequence_number,
            ..Default::default()
        }))
    }

    fn send_message_batch(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_send_message_batch_request(body))?;
        let mut entries = Vec::new();
        for entry in request.entries {
            let message = Outgoing {
                body: entry.message_body,
                delay_s: entry.delay_seconds.map(i64::from),
                attributes: attributes(entry.message_attributes),
                group_id: entry.message_group_id,
                deduplication_id: entry.message_deduplication_id,
                trace_header: trace_header(entry.message_system_attributes)?,
            };
            entries.push((entry.id, message));
        }
        let bytes: usize = entries.iter().map(|(_, message)| message.bytes()).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(QueueError::refused(
                "AWS.SimpleQueueService.BatchRequestTooLong",
                format!("a batch has at most {BATCH_BYTES_MAX} bytes, this one has {bytes}"),
            ));
        }
        let queue = name(&request.queue_url);
        let (successful, failed) =
            self.batch(queue, entries, |message| self.sqs.store().send(queue, message))?;
        let entry = |(id, sent): (String, Sent)| wire::SendMessageBatchResultEntry {
            id: Some(id),
            message_id: Some(sent.message_id),
            m_d5_of_message_body: Some(sent.md5_of_body),
            sequence_number: sent.sequence_number,
            ..Default::default()
        };
        let successful = Some(successful.into_iter().map(entry).collect());
        Ok(wire::serialize_send_message_batch_response(&wire::SendMessageBatchResult {
            successful,
            failed: Some(failed),
        }))
    }

    async fn receive_message(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_receive_message_request(body))?;
        let queue = name(&request.queue_url);
        let settings = self.sqs.store().settings(queue)?;
        let max = request.max_number_of_messages.unwrap_or(1);
        let max = usize::try_from(max).ok().filter(|max| (1..=ENTRIES_MAX).contains(max));
        let max = max.ok_or_else(|| {
            QueueError::invalid(format!("MaxNumberOfMessages must be between 1 and {ENTRIES_MAX}"))
        })?;
        let wait_s = match request.wait_time_seconds {
            None => settings.wait_s,
            Some(wait_s) => {
                u64::try_from(wait_s).ok().filter(|wait_s| *wait_s <= WAIT_S_MAX).ok_or_else(|| {
                    QueueError::invalid(format!("WaitTimeSeconds must be between 0 and {WAIT_S_MAX}"))
                })?
            }
        };
        let visibility_s = request.visibility_timeout.map(i64::from);
        let messages = self.sqs.receive_for(queue, max, visibility_s, Duration::from_secs(wait_s)).await?;
        // `AttributeNames` is the old name of `MessageSystemAttributeNames`.
        let mut system = request.attribute_names.unwrap_or_default();
        system.extend(request.message_system_attribute_names.unwrap_or_default());
        let own = request.message_attribute_names.unwrap_or_default();
        let messages: Vec<_> = messages.into_iter().map(|message| to_wire(message, &system, &own)).collect();
        let messages = Some(messages).filter(|messages| !messages.is_empty());
        Ok(wire::serialize_receive_message_response(&wire::ReceiveMessageResult { messages }))
    }

    fn delete_message_batch(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_delete_message_batch_request(body))?;
        let queue = name(&request.queue_url);
        let entries = request.entries.into_iter().map(|entry| (entry.id, entry.receipt_handle)).collect();
        let (successful, failed) = self.batch(queue, entries, |handle| self.sqs.delete(queue, &handle))?;
        let entry = |(id, ())| wire::DeleteMessageBatchResultEntry { id: Some(id) };
        let successful = Some(successful.into_iter().map(entry).collect());
        Ok(wire::serialize_delete_message_batch_response(&wire::DeleteMessageBatchResult {
            successful,
            failed: Some(failed),
        }))
    }

    fn change_message_visibility(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_change_message_visibility_request(body))?;
        let visibility_s = i64::from(request.visibility_timeout);
        let queue = name(&request.queue_url);
        self.sqs.store().change_visibility(queue, &request.receipt_handle, visibility_s)?;
        Ok(wire::serialize_change_message_visibility_response())
    }

    fn change_message_visibility_batch(&self, body: &[u8]) -> Answer {
        let request = read(wire::deserialize_change_message_visibility_batch_request(body))?;
        let queue = name(&request.queue_url);
        let entries = request.entries.into_iter().map(|entry| {
            (entry.id, (entry.receipt_handle, i64::from(entry.visibility_timeout.unwrap_or(0))))
        });
        let (successful, failed) = self.batch(queue, entries.collect(), |(handle, visibility_s)| {
            self.sqs.store().change_visibility(queue, &handle, visibility_s)
        })?;
        let entry = |(id, ())| wire::ChangeMessageVisibilityBatchResultEntry { id: Some(id) };
        let successful = Some(successful.into_iter().map(entry).collect());
        let result = wire::ChangeMessageVisibilityBatchResult { successful, failed: Some(failed) };
        Ok(wire::serialize_change_message_visibility_batch_response(&result))
    }

    /// Carries out each entry of a batch by itself: one that fails does not touch the others.
    #[expect(clippy::type_complexity, reason = "the two halves of every batch answer")]
    fn batch<E, T>(
        &self,
        queue: &str,
        entries: Vec<(String, E)>,
        mut each: impl FnMut(E) -> Result<T, QueueError>,
    ) -> Result<(Vec<(String, T)>, Vec<wire::BatchResultErrorEntry>), QueueError> {
        self.sqs.store().settings(queue)?;
        let refused = |code, message: &str| Err(QueueError::refused(code, message.to_owned()));
        let ids: HashSet<&String> = entries.iter().map(|(id, _)| id).collect();
        if entries.is_empty() {
            return refused("AWS.SimpleQueueService.EmptyBatchRequest", "there are no entries");
        }
        if entries.len() > ENTRIES_MAX {
            let code = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
            return refused(code, "there are more than 10 entries");
        }
        if ids.len() != entries.len() {
            return refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "two entries have one id");
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (id, entry) in entries {
            match each(entry) {
                Ok(done) => successful.push((id, done)),
                Err(error) => {
                    let (status, code, message) = describe(error);
                    failed.push(wire::BatchResultErrorEntry {
                        code: Some(code.to_owned()),
                        id: Some(id),
                        message: Some(message),
                        sender_fault: Some(status.is_client_error()),
                    });
                }
            }
        }
        Ok((successful, failed))
    }
}

/// Status, code and message of an error.
fn describe(error: QueueError) -> (StatusCode, &'static str, String) {
    let (status, code) = match &error {
        QueueError::NoQueue(_) => (StatusCode::BAD_REQUEST, "AWS.SimpleQueueService.NonExistentQueue"),
        QueueError::QueueExists(_) => (StatusCode::BAD_REQUEST, "QueueAlreadyExists"),
        QueueError::BadHandle => (StatusCode::BAD_REQUEST, "ReceiptHandleIsInvalid"),
        QueueError::NotInFlight => (StatusCode::BAD_REQUEST, "AWS.SimpleQueueService.MessageNotInflight"),
        QueueError::MessageGone => (StatusCode::BAD_REQUEST, "InvalidParameterValue"),
        QueueError::Refused { code, .. } => (StatusCode::BAD_REQUEST, *code),
        QueueError::Storage(_) | QueueError::Damaged(_) | QueueError::Random(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure")
        }
    };
    (status, code, format!("{:#}", anyhow::Error::from(error)))
}

fn read<T>(request: Result<T, String>) -> Result<T, QueueError> {
    request.map_err(|message| QueueError::refused("SerializationException", message))
}

/// The queue a URL names; host and account are not looked at.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

fn attributes(given: Option<HashMap<String, wire::MessageAttributeValue>>) -> BTreeMap<String, Attribute> {
    let attributes = given.unwrap_or_default().into_iter().map(|(name, value)| {
        let wire::MessageAttributeValue { data_type, string_value, binary_value, .. } = value;
        (name, Attribute { data_type, string_value, binary_value })
    });
    attributes.collect()
}

/// The only system attribute that a sender may set.
fn trace_header(
    given: Option<HashMap<String, wire::MessageSystemAttributeValue>>,
) -> Result<Option<String>, QueueError> {
    let mut header = None;
    for (name, value) in given.unwrap_or_default() {
        if name != TRACE_HEADER || value.data_type != "String" {
            return Err(QueueError::invalid(format!(
                "{name} is no system attribute to send as {}",
                value.data_type
            )));
        }
        header = value.string_value;
    }
    Ok(header)
}

/// A received message with the attributes that were asked for, as SQS does: none of them come by themselves.
fn to_wire(message: Message, system: &[String], own: &[String]) -> wire::Message {
    let known = [
        ("SenderId", Some(ACCOUNT.to_owned())),
        ("SentTimestamp", Some(message.sent_ms.to_string())),
        ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
        ("ApproximateFirstReceiveTimestamp", message.first_received_ms.map(|ms| ms.to_string())),
        ("MessageGroupId", message.group_id),
        ("MessageDeduplicationId", message.deduplication_id),
        (TRACE_HEADER, message.trace_header),
        ("SequenceNumber", message.sequence_number),
        ("DeadLetterQueueSourceArn", message.dead_letter_source),
    ];
    let asked = |name: &str| system.iter().any(|asked| asked == "All" || asked == name);
    let known = known.into_iter().filter(|(name, _)| asked(name));
    let system: HashMap<_, _> = known.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();

    let asked = |name: &str| {
        own.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => asked == "All" || asked == name,
        })
    };
    let own: HashMap<_, _> = message
        .attributes
        .into_iter()
        .filter(|(name, _)| asked(name))
        .map(|(name, Attribute { data_type, string_value, binary_value })| {
            let value =
                wire::MessageAttributeValue { data_type, string_value, binary_value, ..Default::default() };
            (name, value)
        })
        .collect();
    wire::Message {
        attributes: Some(system).filter(|attributes| !attributes.is_empty()),
        body: Some(message.body),
        m_d5_of_body: Some(message.md5_of_body),
        message_attributes: Some(own).filter(|attributes| !attributes.is_empty()),
        message_id: Some(message.message_id),
        receipt_handle: Some(message.receipt_handle),
        ..Default::default()
    }
}
