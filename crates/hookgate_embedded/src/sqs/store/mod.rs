//! What a queue does, over SQLite. Nothing here waits, and nothing reads the system's time.
//!
//! `queues.rs` is about queues, `messages.rs` about what is in them, `moves.rs` about message move tasks.

mod messages;
mod moves;
mod queues;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction};
use tokio::sync::watch;

use super::{QueueError, random_hex};
use crate::clock::Clock;

pub(crate) use self::messages::{Outgoing, Sent};
pub(crate) use self::moves::Move;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS queues (
    name TEXT PRIMARY KEY,
    attributes TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT;
-- In flight is a message which has a receipt and is not visible; delayed, one which has none and is not visible.
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    md5 TEXT NOT NULL,
    attributes TEXT NOT NULL,
    group_id TEXT,
    dedup_id TEXT,
    sent_ms INTEGER NOT NULL,
    visible_ms INTEGER NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    receives_before INTEGER NOT NULL DEFAULT 0, -- on the queue it was dead-lettered from
    first_received_ms INTEGER,
    receipt TEXT,
    source TEXT, -- the queue it was dead-lettered from
    trace_header TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible_ms, seq);
CREATE INDEX IF NOT EXISTS messages_by_age ON messages (queue, sent_ms);
CREATE TABLE IF NOT EXISTS sends (
    queue TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, dedup_key)
) STRICT;
CREATE TABLE IF NOT EXISTS moves (
    handle TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    destination TEXT,
    status TEXT NOT NULL,
    rate INTEGER,
    started_ms INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    found INTEGER NOT NULL
) STRICT;
";

/// All queues and their messages.
pub(crate) struct Store {
    connection: Mutex<Connection>,
    clock: Clock,
    /// Notified whenever a message may have become visible.
    changed: watch::Sender<()>,
}

type Result<T> = std::result::Result<T, QueueError>;

impl Store {
    /// Opens the file, or a store in memory.
    pub(crate) fn open(path: Option<&Path>, clock: Clock) -> Result<Store> {
        let connection = match path {
            None => Connection::open_in_memory()?,
            Some(path) => Connection::open(path)?,
        };
        // A killed process loses nothing; a power cut may lose the last moments.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        // Files of before have none.
        let traced = "SELECT COUNT(*) FROM pragma_table_info('messages') WHERE name = 'trace_header'";
        if connection.query_row(traced, [], |row| row.get::<_, i64>(0))? == 0 {
            connection.execute_batch("ALTER TABLE messages ADD COLUMN trace_header TEXT")?;
        }
        Ok(Store { connection: Mutex::new(connection), clock, changed: watch::Sender::new(()) })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tells when a message may have become visible other than by time.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one transaction, which an error undoes.
    fn transaction<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        drop(connection);
        Ok(done)
    }

    /// As [`Store::transaction`], and wakes those who wait for messages.
    fn change<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let done = self.transaction(work)?;
        self.changed.send_replace(());
        Ok(done)
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// A random UUID, which is what message ids look like.
fn random_id() -> Result<String> {
    let mut hex = random_hex()?;
    for at in [8, 13, 18, 23] {
        hex.insert(at, '-');
    }
    Ok(hex)
}
