//! The sweeper: queues what is due in the outbox, and lets go what is parked for destinations that are back.

use futures::future::join_all;
use hookgate_aws::{outbox::Due, schema::OUTBOX_SHARDS};
use hookgate_core::codec::Message;

use crate::{Worker, destinations::Drained};

/// Records taken out of one shard in one go. A sweep goes on while shards are full, up to [`ROUNDS_MAX`].
const PAGE: i32 = 100;

/// Goes through all shards in one sweep: 16 × 100 × 20 events a minute, and the function's time limit is kept.
const ROUNDS_MAX: usize = 20;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Events queued.
    pub queued: usize,
    /// Events that could not be queued, and wait for the next sweep.
    pub failed: usize,
    /// For how long the oldest of them had been due, if there were any.
    pub oldest_ms: Option<i64>,
    /// Destinations that are paused.
    pub paused: usize,
    /// Destinations that are disabled.
    pub disabled: usize,
}

impl Worker {
    /// Queues every event whose time has come. A failure leaves its record for the next sweep.
    pub async fn sweep(&self) -> Swept {
        let mut swept = Swept::default();
        for _ in 0..ROUNDS_MAX {
            let now = self.ambient.now();
            let shards = (0..OUTBOX_SHARDS).map(|shard| async move {
                match self.store.outbox_due(shard, now, PAGE).await {
                    Ok(due) => due,
                    Err(error) => {
                        tracing::error!(shard, error = %error, "a part of the outbox could not be read; the next sweep tries again");
                        Vec::new()
                    }
                }
            });
            let due: Vec<Due> = join_all(shards).await.into_iter().flatten().collect();
            let full = due.len() >= usize::try_from(PAGE).unwrap_or_default();
            // The oldest come first, so the first round has it.
            let oldest_ms = due.iter().map(|due| now.millis_since(due.at)).max();
            swept.oldest_ms = swept.oldest_ms.max(oldest_ms);
            let results = join_all(due.iter().map(|due| self.requeue(due))).await;
            let queued = results.iter().filter(|queued| **queued).count();
            swept.queued += queued;
            swept.failed += results.len() - queued;
            if !full || queued == 0 {
                break;
            }
        }
        let Drained { queued, paused, disabled } = self.drain().await;
        swept.queued += queued;
        (swept.paused, swept.disabled) = (paused, disabled);
        if swept != Swept::default() {
            tracing::info!(
                outcome = "swept",
                outbox_queued = swept.queued,
                failed = swept.failed,
                outbox_oldest_ms = swept.oldest_ms,
                destinations_paused = paused,
                destinations_disabled = disabled,
                "queued {} due events",
                swept.queued
            );
        }
        swept
    }

    /// Sends first, deletes then: a crash in between sends it twice, which is harmless.
    async fn requeue(&self, due: &Due) -> bool {
        let sent = self.queue.send(&Message::pointing(&due.source, &due.id), 0, None).await;
        if let Err(error) = sent {
            tracing::warn!(source = %due.source, event.id = %due.id, error = %error, "a due event could not be queued");
            return false;
        }
        if let Err(error) = self.store.outbox_delete(due).await {
            tracing::warn!(source = %due.source, event.id = %due.id, error = %error, "an outbox record was not deleted; its event will be queued again");
        }
        true
    }
}
