//! Queues: their attributes, tags and names.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::super::settings::{self, Attributes, Redrive, Settings};
use super::super::{QueueError, arn};
use super::{Result, Store, to_json};

impl Store {
    /// Creates a queue. One that exists must not differ in the attributes given.
    pub(crate) fn create(&self, queue: &str, given: &Attributes, tags: &Attributes) -> Result<()> {
        self.create_or(queue, given, tags, |_, existing| {
            let existing = settings::with_defaults(&existing.attributes);
            let differs = given.iter().any(|(name, value)| existing.get(name) != Some(value));
            if differs { Err(QueueError::QueueExists(queue.to_owned())) } else { Ok(()) }
        })
    }

    /// Creates a queue, or sets the attributes of one that exists.
    pub(crate) fn ensure(&self, queue: &str, given: &Attributes) -> Result<()> {
        self.create_or(queue, given, &Attributes::new(), |transaction, existing| {
            self.save_attributes(transaction, queue, existing.attributes, given)
        })
    }

    fn create_or(
        &self,
        queue: &str,
        given: &Attributes,
        tags: &Attributes,
        exists: impl FnOnce(&Transaction<'_>, Queue) -> Result<()>,
    ) -> Result<()> {
        settings::check(queue, given)?;
        settings::check_kind(queue, given)?;
        self.change(|transaction| {
            if let Some(existing) = find(transaction, queue)? {
                return exists(transaction, existing);
            }
            check_redrive(transaction, queue, given)?;
            transaction.execute(
                "INSERT INTO queues (name, attributes, tags, created_ms, changed_ms) VALUES (?1, ?2, ?3, ?4, ?4)",
                (queue, to_json(given)?, to_json(tags)?, self.clock.now_ms()),
            )?;
            Ok(())
        })
    }

    pub(crate) fn set_attributes(&self, queue: &str, given: &Attributes) -> Result<()> {
        settings::check(queue, given)?;
        self.change(|transaction| {
            let existing = load(transaction, queue)?;
            self.save_attributes(transaction, queue, existing.attributes, given)
        })
    }

    fn save_attributes(
        &self,
        transaction: &Transaction<'_>,
        queue: &str,
        mut attributes: Attributes,
        given: &Attributes,
    ) -> Result<()> {
        check_redrive(transaction, queue, given)?;
        settings::merge(&mut attributes, given);
        settings::check_kind(queue, &attributes)?;
        transaction.execute(
            "UPDATE queues SET attributes = ?2, changed_ms = ?3 WHERE name = ?1",
            (queue, to_json(&attributes)?, self.clock.now_ms()),
        )?;
        Ok(())
    }

    /// Deletes a queue and all in it.
    pub(crate) fn delete_queue(&self, queue: &str) -> Result<()> {
        self.change(|transaction| {
            load(transaction, queue)?;
            transaction.execute("DELETE FROM messages WHERE queue = ?1", [queue])?;
            transaction.execute("DELETE FROM sends WHERE queue = ?1", [queue])?;
            transaction.execute("DELETE FROM queues WHERE name = ?1", [queue])?;
            Ok(())
        })
    }

    /// The names of the queues, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT name FROM queues ORDER BY name")?;
        let names = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(names)
    }

    pub(crate) fn settings(&self, queue: &str) -> Result<Settings> {
        Ok(Settings::read(&load(&self.lock(), queue)?.attributes))
    }

    /// Every attribute: those which were set, the defaults, and what is counted.
    pub(crate) fn attributes(&self, queue: &str) -> Result<Attributes> {
        let counts = self.counts(queue)?;
        let found = load(&self.lock(), queue)?;
        let mut attributes = settings::with_defaults(&found.attributes);
        let computed = [
            ("QueueArn", arn(queue)),
            ("CreatedTimestamp", (found.created_ms / 1000).to_string()),
            ("LastModifiedTimestamp", (found.changed_ms / 1000).to_string()),
            ("ApproximateNumberOfMessages", counts.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ];
        attributes.extend(computed.map(|(name, value)| (name.to_owned(), value)));
        Ok(attributes)
    }

    pub(crate) fn tags(&self, queue: &str) -> Result<Attributes> {
        Ok(load(&self.lock(), queue)?.tags)
    }

    /// Changes the tags of a queue; `None` removes one.
    pub(crate) fn set_tags(
        &self,
        queue: &str,
        changes: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Result<()> {
        self.transaction(|transaction| {
            let mut tags = load(transaction, queue)?.tags;
            for (name, value) in changes {
                match value {
                    Some(value) => tags.insert(name, value),
                    None => tags.remove(&name),
                };
            }
            transaction.execute("UPDATE queues SET tags = ?2 WHERE name = ?1", (queue, to_json(&tags)?))?;
            Ok(())
        })
    }

    /// The queues whose dead letters go to this one.
    pub(crate) fn dead_letter_sources(&self, queue: &str) -> Result<Vec<String>> {
        load(&self.lock(), queue)?;
        let mut sources = self.names()?;
        let mut failed = None;
        sources.retain(|source| match self.settings(source) {
            Ok(settings) => settings.redrive.is_some_and(|redrive| redrive.target == queue),
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(sources), Err)
    }
}

/// A row of `queues`.
pub(super) struct Queue {
    pub(super) attributes: Attributes,
    tags: Attributes,
    created_ms: i64,
    changed_ms: i64,
}

pub(super) fn find(connection: &Connection, queue: &str) -> Result<Option<Queue>> {
    let row: Option<(String, String, i64, i64)> = connection
        .prepare_cached("SELECT attributes, tags, created_ms, changed_ms FROM queues WHERE name = ?1")?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((attributes, tags, created_ms, changed_ms)) = row else { return Ok(None) };
    let (attributes, tags) = (serde_json::from_str(&attributes)?, serde_json::from_str(&tags)?);
    Ok(Some(Queue { attributes, tags, created_ms, changed_ms }))
}

pub(super) fn load(connection: &Connection, queue: &str) -> Result<Queue> {
    find(connection, queue)?.ok_or_else(|| QueueError::NoQueue(queue.to_owned()))
}

/// A dead-letter queue must exist before it is named, and be of the same kind.
fn check_redrive(connection: &Connection, queue: &str, given: &Attributes) -> Result<()> {
    let Some(Redrive { target, .. }) = Settings::read(given).redrive else { return Ok(()) };
    if find(connection, &target)?.is_none() {
        return Err(QueueError::invalid(format!("the dead-letter queue {target} does not exist")));
    }
    if settings::is_fifo(queue) != settings::is_fifo(&target) {
        return Err(QueueError::invalid(format!("the dead-letter queue {target} is of another kind")));
    }
    Ok(())
}
