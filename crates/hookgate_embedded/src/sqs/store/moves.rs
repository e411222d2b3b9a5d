//! Moving messages out of a dead-letter queue.

use super::super::settings::{Settings, is_fifo};
use super::super::{QueueError, name_of, random_hex};
use super::messages::expire;
use super::queues::{find, load};
use super::{Result, Store, random_id};

/// `ListMessageMoveTasks` shows no more.
const MOVES_SHOWN: i64 = 10;

/// A task which moved messages from one queue to others.
pub(crate) struct Move {
    pub(crate) handle: String,
    pub(crate) source: String,
    pub(crate) destination: Option<String>,
    pub(crate) status: String,
    pub(crate) rate: Option<i32>,
    pub(crate) started_ms: i64,
    pub(crate) moved: i64,
    pub(crate) found: i64,
}

impl Store {
    /// Moves what is visible in `source` to `destination`, or back to where each message was dead-lettered from.
    ///
    /// All at once. A moved message is a new one: new id, sent now, never received
    /// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html>,
    /// 2026-11-21). One with nowhere to go stays, and the task counts as failed.
    pub(crate) fn start_move(
        &self,
        source: &str,
        destination: Option<&str>,
        rate: Option<i32>,
    ) -> Result<String> {
        let queue = |arn: &str| name_of(arn).map(str::to_owned).ok_or_else(|| QueueError::no_resource(arn));
        self.change(|transaction| {
            let from = queue(source)?;
            let to = destination.map(queue).transpose()?;
            for (name, arn) in [(Some(&from), Some(source)), (to.as_ref(), destination)] {
                if let (Some(name), Some(arn)) = (name, arn)
                    && find(transaction, name)?.is_none()
                {
                    return Err(QueueError::no_resource(arn));
                }
            }
            let now_ms = self.clock.now_ms();
            expire(transaction, &from, &Settings::read(&load(transaction, &from)?.attributes), now_ms)?;
            let found: Vec<(i64, Option<String>)> = transaction
                .prepare(
                    "SELECT seq, source FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY seq",
                )?
                .query_map((&from, now_ms), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut moved = 0_usize;
            for (seq, came_from) in &found {
                let Some(target) = to.as_ref().or(came_from.as_ref()) else { continue };
                if find(transaction, target)?.is_none() || is_fifo(target) != is_fifo(&from) {
                    continue;
                }
                transaction.execute(
                    "INSERT INTO messages
                         (queue, id, body, md5, attributes, group_id, dedup_id, trace_header, sent_ms, visible_ms)
                     SELECT ?2, ?3, body, md5, attributes, group_id, dedup_id, trace_header, ?4, ?4
                     FROM messages WHERE seq = ?1",
                    (seq, target, random_id()?, now_ms),
                )?;
                transaction.execute("DELETE FROM messages WHERE seq = ?1", [seq])?;
                moved += 1;
            }
            let handle = random_hex()?;
            let status = if moved == found.len() { "COMPLETED" } else { "FAILED" };
            transaction.execute(
                "INSERT INTO moves (handle, source, destination, status, rate, started_ms, moved, found)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (&handle, source, destination, status, rate, now_ms, moved, found.len()),
            )?;
            Ok(handle)
        })
    }

    /// The latest moves out of a queue, newest first.
    pub(crate) fn moves(&self, source: &str) -> Result<Vec<Move>> {
        let connection = self.lock();
        let mut select = connection.prepare(
            "SELECT handle, source, destination, status, rate, started_ms, moved, found
             FROM moves WHERE source = ?1 ORDER BY rowid DESC LIMIT ?2",
        )?;
        let moves = select.query_map((source, MOVES_SHOWN), |row| {
            Ok(Move {
                handle: row.get(0)?,
                source: row.get(1)?,
                destination: row.get(2)?,
                status: row.get(3)?,
                rate: row.get(4)?,
                started_ms: row.get(5)?,
                moved: row.get(6)?,
                found: row.get(7)?,
            })
        })?;
        Ok(moves.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether there was a move with this handle.
    pub(crate) fn moved(&self, handle: &str) -> Result<bool> {
        let connection = self.lock();
        let mut select = connection.prepare("SELECT 1 FROM moves WHERE handle = ?1")?;
        Ok(select.exists([handle])?)
    }
}
