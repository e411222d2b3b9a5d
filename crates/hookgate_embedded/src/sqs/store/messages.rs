//! Messages: in, out, hidden, forgotten.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use rusqlite::{OptionalExtension as _, Row, Transaction, named_params};

use super::super::settings::Settings;
use super::super::{Attribute, Counts, Message, MessageState, QueueError, arn, random_hex};
use super::queues::{find, load};
use super::{Result, Store, random_id, to_json};

/// How long a FIFO queue remembers a deduplication id.
const DEDUPLICATION_MS: i64 = 5 * 60 * 1000;

/// The most a message may be hidden.
const VISIBILITY_S_MAX: i64 = 43_200;

/// A message on its way in.
pub(crate) struct Outgoing {
    pub(crate) body: String,
    /// `None` is the queue's own delay.
    pub(crate) delay_s: Option<i64>,
    pub(crate) attributes: BTreeMap<String, Attribute>,
    pub(crate) group_id: Option<String>,
    pub(crate) deduplication_id: Option<String>,
    pub(crate) trace_header: Option<String>,
}

/// A message that came in.
pub(crate) struct Sent {
    pub(crate) message_id: String,
    pub(crate) md5_of_body: String,
    pub(crate) sequence_number: Option<String>,
}

impl Store {
    /// Takes a message in. A FIFO queue which has seen its deduplication id gives the first one's answer.
    pub(crate) fn send(&self, queue: &str, message: Outgoing) -> Result<Sent> {
        self.change(|transaction| {
            let settings = Settings::read(&load(transaction, queue)?.attributes);
            check_message(&message, &settings)?;
            let now_ms = self.clock.now_ms();
            let md5_of_body = hex(&Md5::digest(message.body.as_bytes()));
            // AWS takes the SHA-256 of the body; nothing depends on which hash it is.
            let content_id = settings.deduplicates_content.then(|| md5_of_body.clone());
            let deduplication_id = message.deduplication_id.or(content_id).filter(|_| settings.fifo);
            let dedup_key = match (&deduplication_id, &message.group_id) {
                (Some(id), Some(group)) if settings.deduplicates_per_group => Some(format!("{group}\0{id}")),
                (Some(id), _) => Some(format!("\0{id}")),
                (None, _) if settings.fifo => {
                    return Err(QueueError::invalid(
                        "the queue should either have ContentBasedDeduplication enabled or \
                         MessageDeduplicationId provided explicitly"
                            .to_owned(),
                    ));
                }
                (None, _) => None,
            };
            let sequence = |seq: i64| settings.fifo.then(|| format!("{seq:020}"));
            if let Some(key) = &dedup_key {
                transaction.execute("DELETE FROM sends WHERE until_ms <= ?1", [now_ms])?;
                let before = transaction
                    .prepare_cached("SELECT id, seq FROM sends WHERE queue = ?1 AND dedup_key = ?2")?
                    .query_row((queue, key), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                if let Some((message_id, seq)) = before {
                    return Ok(Sent { message_id, md5_of_body, sequence_number: sequence(seq) });
                }
            }
            let message_id = random_id()?;
            let delay_s = message.delay_s.unwrap_or(settings.delay_s);
            transaction
                .prepare_cached(
                    "INSERT INTO messages (queue, id, body, md5, attributes, group_id, dedup_id, trace_header,
                     sent_ms, visible_ms)
                     VALUES (:queue, :id, :body, :md5, :attributes, :group_id, :dedup_id, :trace_header,
                     :sent_ms, :visible_ms)",
                )?
                .execute(named_params! {
                    ":queue": queue,
                    ":id": message_id,
                    ":body": message.body,
                    ":md5": md5_of_body,
                    ":attributes": to_json(&message.attributes)?,
                    ":group_id": message.group_id,
                    ":dedup_id": deduplication_id,
                    ":trace_header": message.trace_header,
                    ":sent_ms": now_ms,
                    ":visible_ms": now_ms + delay_s * 1000,
                })?;
            let seq = transaction.last_insert_rowid();
            if let Some(key) = &dedup_key {
                transaction.execute(
                    "INSERT INTO sends (queue, dedup_key, id, seq, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                    (queue, key, &message_id, seq, now_ms + DEDUPLICATION_MS),
                )?;
            }
            Ok(Sent { message_id, md5_of_body, sequence_number: sequence(seq) })
        })
    }

    /// Hands out up to `max` visible messages of those that are seen, by id, and hides them for `visibility_s`, or as
    /// long as the queue says.
    ///
    /// A message received `maxReceiveCount` times already goes to the dead-letter queue instead: only a receive
    /// moves it, as in SQS.
    pub(crate) fn receive(
        &self,
        queue: &str,
        max: usize,
        visibility_s: Option<i64>,
        mut sees: impl FnMut(&str) -> bool,
    ) -> Result<Vec<Message>> {
        check_visibility(visibility_s)?;
        let (messages, moved) = self.transaction(|transaction| {
            let settings = Settings::read(&load(transaction, queue)?.attributes);
            let now_ms = self.clock.now_ms();
            expire(transaction, queue, &settings, now_ms)?;
            let redrive = match &settings.redrive {
                // Without its dead-letter queue a message stays where it is.
                Some(redrive) if find(transaction, &redrive.target)?.is_some() => Some(redrive),
                _ => None,
            };
            let (mut taken, mut dead) = (Vec::new(), Vec::new());
            {
                let mut select = transaction.prepare_cached(if settings.fifo { NEXT_FIFO } else { NEXT })?;
                let mut rows = select.query((queue, now_ms))?;
                while taken.len() < max
                    && let Some(row) = rows.next()?
                {
                    let (seq, receives): (i64, u32) = (row.get(0)?, row.get(1)?);
                    if redrive.is_some_and(|redrive| receives >= redrive.receives_max) {
                        dead.push(seq);
                    } else if sees(&row.get::<_, String>(2)?) {
                        taken.push(seq);
                    }
                }
            }
            for seq in &dead {
                bury(transaction, *seq, redrive.map_or("", |redrive| &redrive.target), &settings, now_ms)?;
            }
            let visible_ms = now_ms + visibility_s.unwrap_or(settings.visibility_s) * 1000;
            let mut messages = Vec::with_capacity(taken.len());
            for seq in taken {
                transaction
                    .prepare_cached(
                        "UPDATE messages SET visible_ms = ?2, receives = receives + 1, receipt = ?3,
                         first_received_ms = COALESCE(first_received_ms, ?4) WHERE seq = ?1",
                    )?
                    .execute((seq, visible_ms, random_hex()?, now_ms))?;
                let mut select = transaction.prepare_cached(&select_messages("seq = ?1"))?;
                messages.push(select.query_row([seq], |row| message(row, settings.fifo, now_ms))?);
            }
            Ok((messages, !dead.is_empty()))
        })?;
        if moved {
            self.changed.send_replace(());
        }
        Ok(messages)
    }

    /// When the next hidden message of a queue will be visible.
    pub(crate) fn next_visible_ms(&self, queue: &str) -> Result<Option<i64>> {
        let connection = self.lock();
        let mut select = connection
            .prepare_cached("SELECT MIN(visible_ms) FROM messages WHERE queue = ?1 AND visible_ms > ?2")?;
        Ok(select.query_row((queue, self.clock.now_ms()), |row| row.get(0))?)
    }

    /// Deletes a message. A handle of an earlier receive, or of a message long gone, deletes nothing and is no error.
    pub(crate) fn delete(&self, queue: &str, handle: &str) -> Result<()> {
        let (seq, receipt) = read_handle(handle)?;
        self.change(|transaction| {
            load(transaction, queue)?;
            transaction
                .prepare_cached("DELETE FROM messages WHERE seq = ?1 AND queue = ?2 AND receipt = ?3")?
                .execute((seq, queue, receipt))?;
            Ok(())
        })
    }

    /// Hides a message in flight for another `visibility_s` from now on; 0 shows it at once.
    pub(crate) fn change_visibility(&self, queue: &str, handle: &str, visibility_s: i64) -> Result<()> {
        check_visibility(Some(visibility_s))?;
        let (seq, receipt) = read_handle(handle)?;
        self.change(|transaction| {
            load(transaction, queue)?;
            let now_ms = self.clock.now_ms();
            let visible_ms: Option<i64> = transaction
                .prepare_cached(
                    "SELECT visible_ms FROM messages WHERE seq = ?1 AND queue = ?2 AND receipt = ?3",
                )?
                .query_row((seq, queue, receipt), |row| row.get(0))
                .optional()?;
            if visible_ms.ok_or(QueueError::MessageGone)? <= now_ms {
                return Err(QueueError::NotInFlight);
            }
            transaction
                .prepare_cached("UPDATE messages SET visible_ms = ?2 WHERE seq = ?1")?
                .execute((seq, now_ms + visibility_s * 1000))?;
            Ok(())
        })
    }

    /// Deletes every message of a queue.
    pub(crate) fn purge(&self, queue: &str) -> Result<()> {
        self.change(|transaction| {
            load(transaction, queue)?;
            transaction.execute("DELETE FROM messages WHERE queue = ?1", [queue])?;
            Ok(())
        })
    }

    /// The oldest messages of a queue, whatever their state.
    pub(crate) fn peek(&self, queue: &str, limit: usize) -> Result<Vec<Message>> {
        self.transaction(|transaction| {
            let settings = Settings::read(&load(transaction, queue)?.attributes);
            let now_ms = self.clock.now_ms();
            expire(transaction, queue, &settings, now_ms)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut select =
                transaction.prepare_cached(&select_messages("queue = ?1 ORDER BY seq LIMIT ?2"))?;
            let messages = select.query_map((queue, limit), |row| message(row, settings.fifo, now_ms))?;
            Ok(messages.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub(crate) fn counts(&self, queue: &str) -> Result<Counts> {
        self.transaction(|transaction| {
            let settings = Settings::read(&load(transaction, queue)?.attributes);
            let now_ms = self.clock.now_ms();
            expire(transaction, queue, &settings, now_ms)?;
            let mut select = transaction.prepare_cached(
                "SELECT TOTAL(visible_ms <= ?2), TOTAL(visible_ms > ?2 AND receipt IS NOT NULL),
                 TOTAL(visible_ms > ?2 AND receipt IS NULL) FROM messages WHERE queue = ?1",
            )?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "TOTAL is a float")]
            let counts = select.query_row((queue, now_ms), |row| {
                let total = |index| row.get::<_, f64>(index).map(|total| total as usize);
                Ok(Counts { visible: total(0)?, in_flight: total(1)?, delayed: total(2)? })
            })?;
            Ok(counts)
        })
    }
}

/// Longest waiting first.
const NEXT: &str =
    "SELECT seq, receives, id FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, seq";

/// In order; a group one message of which is hidden waits for it.
const NEXT_FIFO: &str = "SELECT seq, receives, id FROM messages WHERE queue = ?1 AND visible_ms <= ?2
    AND group_id NOT IN (SELECT group_id FROM messages WHERE queue = ?1 AND visible_ms > ?2)
    ORDER BY seq";

/// Moves a message to the dead-letter queue. It keeps its id and, unless FIFO, its age.
fn bury(
    transaction: &Transaction<'_>,
    seq: i64,
    target: &str,
    settings: &Settings,
    now_ms: i64,
) -> Result<()> {
    transaction
        .prepare_cached(
            "UPDATE messages SET source = queue, queue = ?2, visible_ms = ?3, receipt = NULL,
             receives_before = receives_before + receives, receives = 0,
             sent_ms = CASE WHEN ?4 THEN ?3 ELSE sent_ms END WHERE seq = ?1",
        )?
        .execute((seq, target, now_ms, settings.fifo))?;
    Ok(())
}

/// Forgets what is older than the queue keeps messages.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    queue: &str,
    settings: &Settings,
    now_ms: i64,
) -> Result<()> {
    transaction
        .prepare_cached("DELETE FROM messages WHERE queue = ?1 AND sent_ms <= ?2")?
        .execute((queue, now_ms - settings.retention_s * 1000))?;
    Ok(())
}

fn check_visibility(visibility_s: Option<i64>) -> Result<()> {
    match visibility_s {
        Some(visibility_s) if !(0..=VISIBILITY_S_MAX).contains(&visibility_s) => {
            let message = format!("VisibilityTimeout {visibility_s} is not between 0 and {VISIBILITY_S_MAX}");
            Err(QueueError::invalid(message))
        }
        _ => Ok(()),
    }
}

fn check_message(message: &Outgoing, settings: &Settings) -> Result<()> {
    let bytes = message.bytes();
    let invalid = |message: &str| Err(QueueError::invalid(message.to_owned()));
    if message.body.is_empty() {
        let message = "the request must contain the parameter MessageBody";
        return Err(QueueError::refused("MissingParameter", message.to_owned()));
    }
    if !message.body.chars().all(is_allowed) {
        let message = "invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
                       #xE000 to #xFFFD | #x10000 to #x10FFFF";
        return Err(QueueError::refused("InvalidMessageContents", message.to_owned()));
    }
    if bytes > settings.bytes_max {
        return Err(QueueError::invalid(format!(
            "message must be shorter than {} bytes, it has {bytes}",
            settings.bytes_max
        )));
    }
    if message.attributes.len() > 10 {
        return invalid("a message has at most 10 attributes");
    }
    match (settings.fifo, message.delay_s) {
        (true, Some(1..)) => invalid("DelaySeconds is not for a single message of a FIFO queue"),
        (_, Some(delay_s)) if !(0..=900).contains(&delay_s) => {
            invalid("DelaySeconds must be between 0 and 900")
        }
        (true, _) if message.group_id.is_none() => {
            let message = "the request must contain the parameter MessageGroupId";
            Err(QueueError::refused("MissingParameter", message.to_owned()))
        }
        (false, _) if message.deduplication_id.is_some() => {
            invalid("MessageDeduplicationId is for FIFO queues")
        }
        _ => Ok(()),
    }
}

/// Whether SQS lets a character through, by the documentation of aws-sdk-sqs 1.119.0, `SendMessage`.
///
/// For some time it said instead that SQS replaces the others by U+FFFD: nothing should be built on either.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

impl Outgoing {
    /// What counts against the size limits: the body, and name, type and value of each attribute. The trace header
    /// does not (<https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html>, 2026-11-21).
    pub(crate) fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, attribute)| {
            let text = attribute.string_value.as_ref().map_or(0, String::len);
            // Base64 holds three bytes in four characters.
            let binary = attribute.binary_value.as_ref().map_or(0, |value| value.len() / 4 * 3);
            name.len() + attribute.data_type.len() + text + binary
        });
        self.body.len() + attributes.sum::<usize>()
    }
}

/// The columns as [`message`] reads them.
fn select_messages(which: &str) -> String {
    format!(
        "SELECT seq, id, body, md5, attributes, group_id, dedup_id, sent_ms, visible_ms,
         receives + receives_before, first_received_ms, receipt, source, trace_header FROM messages WHERE {which}"
    )
}

fn message(row: &Row<'_>, fifo: bool, now_ms: i64) -> rusqlite::Result<Message> {
    let seq: i64 = row.get(0)?;
    let attributes: String = row.get(4)?;
    let visible_ms: i64 = row.get(8)?;
    let receipt: Option<String> = row.get(11)?;
    let source: Option<String> = row.get(12)?;
    let unreadable =
        |error| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error));
    Ok(Message {
        message_id: row.get(1)?,
        body: row.get(2)?,
        md5_of_body: row.get(3)?,
        attributes: serde_json::from_str(&attributes).map_err(unreadable)?,
        group_id: row.get(5)?,
        deduplication_id: row.get(6)?,
        trace_header: row.get(13)?,
        sequence_number: fifo.then(|| format!("{seq:020}")),
        sent_ms: row.get(7)?,
        visible_ms,
        receive_count: row.get(9)?,
        first_received_ms: row.get(10)?,
        state: match &receipt {
            _ if visible_ms <= now_ms => MessageState::Visible,
            Some(_) => MessageState::InFlight,
            None => MessageState::Delayed,
        },
        receipt_handle: receipt.map(|receipt| format!("{seq}-{receipt}")).unwrap_or_default(),
        dead_letter_source: source.map(|queue| arn(&queue)),
    })
}

/// A receipt handle names the message and the receive.
fn read_handle(handle: &str) -> Result<(i64, &str)> {
    let parts = handle.split_once('-').and_then(|(seq, receipt)| Some((seq.parse().ok()?, receipt)));
    parts.ok_or(QueueError::BadHandle)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
