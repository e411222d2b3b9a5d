//! `hookgate stats`: how it goes, by source, and what waits.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use hookgate_aws::{
    ambient::Ambient,
    queue::Depth,
    schema::OUTBOX_SHARDS,
    store::{Entry, Store},
};
use hookgate_core::{
    config::Config,
    destination::{Health, Standing},
    ids::Name,
    lifecycle::{AttemptOutcome, Status},
    time::EpochMillis,
};
use serde_json::{Value, json};

use super::{
    ConfigArgs, PlaceArgs,
    since::{DAY_MS, Since, since},
};
use crate::{access::Access, local, show};

/// How far back it looks, unless said otherwise.
const SINCE: &str = "1h";

/// Most records of one shard of the outbox that are counted.
const OUTBOX_MAX: i32 = 1_000;

/// Sources whose quarantine is counted at once.
const AT_ONCE: usize = 16;

/// Events are read in stretches of time. The first one, and the shortest.
const STRETCH_MS: i64 = 60 * 60_000;
const STRETCH_MS_MIN: i64 = 60_000;

/// Events in a stretch from which on the next one is half as long, so that they fit into memory; it is twice as long
/// after fewer.
const STRETCH_EVENTS: usize = 20_000;

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Of the events received since then: a time (2026-11-21T10:00:00Z) or an age (90s, 15m, 6h)
    #[arg(long, value_parser = since, default_value = SINCE)]
    since: Since,
    /// By type as well as by source
    #[arg(long)]
    types: bool,
    /// One JSON object a line: one for each source, then one for what waits
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What is counted together: a source, or a type of it.
type Group = (Name, Option<String>);

/// The events of one group.
#[derive(Default)]
struct Tally {
    received: u64,
    by_status: BTreeMap<&'static str, u64>,
    /// Those of `retrying` that wait for a destination.
    waiting: u64,
    /// When the oldest one was received that is not at its end.
    oldest: Option<EpochMillis>,
    /// From received to done, in milliseconds.
    took: Vec<i64>,
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.received += 1;
        *self.by_status.entry(entry.status.word()).or_default() += 1;
        self.waiting += u64::from(!show::waits_for(entry).is_empty());
        if !entry.status.is_final() {
            self.oldest = self.oldest.into_iter().chain([entry.key.received_at]).min();
        }
        self.took.extend(took(entry));
    }

    fn count(&self, status: Status) -> u64 {
        self.by_status.get(status.word()).copied().unwrap_or_default()
    }

    /// Those that no worker has finished with and that do not wait for another try.
    fn in_work(&self) -> u64 {
        self.count(Status::Received) + self.count(Status::Working)
    }

    fn unfinished(&self) -> u64 {
        self.in_work() + self.count(Status::Retrying)
    }

    /// The least time in which so many in a hundred were done.
    fn percentile(&mut self, percent: usize) -> Option<i64> {
        self.took.sort_unstable();
        let rank = (self.took.len() * percent).div_ceil(100).saturating_sub(1);
        self.took.get(rank).copied()
    }
}

/// From received to done, in milliseconds. One that a person had run again says nothing about that.
fn took(entry: &Entry) -> Option<i64> {
    let attempts = &entry.attempts.0;
    let again = attempts.iter().any(|attempt| matches!(attempt.outcome, AttemptOutcome::Replayed { .. }));
    let done = attempts.iter().map(|attempt| attempt.at).max()?;
    (entry.status == Status::Done && !again).then(|| done.millis_since(entry.key.received_at).max(0))
}

/// Counts the events of a time, a stretch after the other.
async fn tallies(
    store: &Store,
    from: EpochMillis,
    now: EpochMillis,
    types: bool,
) -> anyhow::Result<BTreeMap<Group, Tally>> {
    let mut tallies: BTreeMap<Group, Tally> = BTreeMap::new();
    // The future too: a sender's gateway may be a little ahead of this clock.
    let mut until = now.plus_millis(DAY_MS);
    let mut stretch = STRETCH_MS;
    while until > from {
        // A list is of one day.
        let day = until.plus_millis(-1).day();
        let start_of_day = EpochMillis::parse(&format!("{day}T00:00:00Z")).unwrap_or(from);
        let start = until.plus_millis(-stretch).max(start_of_day).max(from);
        let entries = store.list(&day, start, until, usize::MAX).await?;
        for entry in &entries {
            let group = (entry.key.source.clone(), types.then(|| entry.event_type.clone()));
            tallies.entry(group).or_default().add(entry);
        }
        stretch = match entries.len() {
            STRETCH_EVENTS.. => (stretch / 2).max(STRETCH_MS_MIN),
            _ => (stretch * 2).min(DAY_MS),
        };
        until = start;
    }
    Ok(tallies)
}

/// What is in the outbox.
struct Outbox {
    due: usize,
    /// Those whose time is still to come.
    later: usize,
    /// Whether there may be more.
    or_more: bool,
    /// For how long the oldest has been due.
    oldest_ms: Option<i64>,
}

impl Outbox {
    async fn of(store: &Store, now: EpochMillis) -> anyhow::Result<Self> {
        let ever = EpochMillis::from_millis(i64::MAX);
        let shards = (0..OUTBOX_SHARDS).map(|shard| store.outbox_due(shard, ever, OUTBOX_MAX));
        let shards = try_join_all(shards).await?;
        let full = usize::try_from(OUTBOX_MAX).unwrap_or(usize::MAX);
        let due = shards.iter().flatten().filter(|due| due.at <= now);
        Ok(Self {
            due: due.clone().count(),
            later: shards.iter().flatten().filter(|due| due.at > now).count(),
            or_more: shards.iter().any(|shard| shard.len() >= full),
            oldest_ms: due.map(|due| now.millis_since(due.at)).max(),
        })
    }
}

/// A destination that is not up.
struct Down {
    name: Name,
    health: Health,
    /// Events that wait for it.
    waiting: u64,
}

async fn down(store: &Store) -> anyhow::Result<Vec<Down>> {
    let mut down = Vec::new();
    for (name, health) in store.destinations().await? {
        match health.standing {
            Standing::Up => {}
            Standing::Paused { .. } | Standing::Disabled => {
                let waiting = store.parked_count(&name).await?;
                down.push(Down { name, health, waiting });
            }
        }
    }
    Ok(down)
}

/// How much of each source is in quarantine, where there is something.
async fn quarantined(store: &Store, config: &Config) -> anyhow::Result<BTreeMap<Name, u64>> {
    let counts = stream::iter(config.sources.keys())
        .map(|source| async move { anyhow::Ok((source.clone(), store.quarantined_count(source).await?)) })
        .buffered(AT_ONCE);
    Ok(counts.try_collect::<Vec<_>>().await?.into_iter().filter(|(_, count)| *count > 0).collect())
}

/// All that there is to say. What could not be read is told, and the rest all the same: this is looked at when
/// something does not work.
struct Report {
    now: EpochMillis,
    types: bool,
    tallies: anyhow::Result<BTreeMap<Group, Tally>>,
    queue: anyhow::Result<Depth>,
    /// The FIFO queue, where there is one.
    ordered_queue: anyhow::Result<Option<Depth>>,
    dead_letters: anyhow::Result<u64>,
    outbox: anyhow::Result<Outbox>,
    down: anyhow::Result<Vec<Down>>,
    quarantined: anyhow::Result<BTreeMap<Name, u64>>,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.config.config.as_deref())?;
        let access = Access::open(&self.place.place()).await?;
        let report = self.report(&access, &config).await;
        access.close().await;
        let failed = report.errors().len();
        match self.json {
            true => report.print_json(),
            false => report.print(),
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn report(&self, access: &Access, config: &Config) -> Report {
        let now = Ambient::system().now();
        let store = &access.store;
        let (tallies, queue, ordered_queue, dead_letters, outbox, down, quarantined) = tokio::join!(
            tallies(store, self.since.at(now), now, self.types),
            access.queue.depth(),
            access.queue.ordered_depth(),
            access.dead_letters.depth(),
            Outbox::of(store, now),
            down(store),
            quarantined(store, config),
        );
        Report {
            now,
            types: self.types,
            tallies,
            queue: queue.map_err(Into::into),
            ordered_queue: ordered_queue.map_err(Into::into),
            dead_letters: dead_letters.map(|depth| depth.visible + depth.in_flight).map_err(Into::into),
            outbox,
            down,
            quarantined,
        }
    }
}

impl Report {
    /// What could not be read, and why.
    fn errors(&self) -> Vec<String> {
        let parts = [
            ("events", self.tallies.as_ref().err()),
            ("queue", self.queue.as_ref().err()),
            ("FIFO queue", self.ordered_queue.as_ref().err()),
            ("dead letters", self.dead_letters.as_ref().err()),
            ("outbox", self.outbox.as_ref().err()),
            ("destinations", self.down.as_ref().err()),
            ("quarantine", self.quarantined.as_ref().err()),
        ];
        parts.iter().filter_map(|(part, error)| Some(format!("{part}: {:#}", (*error)?))).collect()
    }

    fn print_json(self) {
        let errors = self.errors();
        let mut unfinished = None;
        if let Ok(tallies) = self.tallies {
            unfinished = Some(tallies.values().map(Tally::unfinished).sum::<u64>());
            for ((source, event_type), mut tally) in tallies {
                let mut line = json!({
                    "source": source, "received": tally.received, "done": tally.count(Status::Done),
                    "unrouted": tally.count(Status::Unrouted), "in_work": tally.in_work(),
                    "retrying": tally.count(Status::Retrying), "waiting": tally.waiting,
                    "dead": tally.count(Status::Dead), "median_ms": tally.percentile(50),
                    "p95_ms": tally.percentile(95), "oldest_unfinished": tally.oldest.map(|at| at.to_string()),
                });
                if let (Some(event_type), Some(line)) = (event_type, line.as_object_mut()) {
                    line.insert("type".to_owned(), event_type.into());
                }
                show::line(&line.to_string());
            }
        }
        let depth = |Depth { visible, in_flight, delayed }| json!({"visible": visible, "in_flight": in_flight, "delayed": delayed});
        let queue = self.queue.ok().map(depth);
        let ordered_queue = self.ordered_queue.ok().flatten().map(depth);
        let outbox = self.outbox.ok().map(|outbox| {
            json!({
                "due": outbox.due, "later": outbox.later, "or_more": outbox.or_more,
                "oldest_seconds": outbox.oldest_ms.map(|ms| ms / 1_000),
            })
        });
        let down = self.down.ok().map(|down| {
            let each = down.iter().map(|Down { name, health, waiting }| {
                json!({
                    "name": name, "standing": health.standing.word(), "since": health.since.to_string(),
                    "waiting": waiting, "reason": health.reason,
                })
            });
            each.collect::<Vec<Value>>()
        });
        let line = json!({
            "unfinished": unfinished, "queue": queue, "ordered_queue": ordered_queue, "dead_letters": self.dead_letters.ok(), "outbox": outbox,
            "destinations_down": down, "quarantined": self.quarantined.ok(), "errors": errors,
        });
        show::line(&line.to_string());
    }

    fn print(self) {
        for error in self.errors() {
            show::note(&format!("can't be read: {error}"));
        }
        let row = |name: &str, text: &str| show::line(&format!("{name:<13} {text}"));
        if let Ok(mut tallies) = self.tallies {
            let rows: Vec<Vec<String>> =
                tallies.iter_mut().map(|(group, tally)| cells(group, tally, self.types)).collect();
            if rows.is_empty() {
                show::line("no events since then");
            } else {
                let types = if self.types { &["TYPE"][..] } else { &[] };
                show::table(&[&["SOURCE"], types, COLUMNS].concat(), &rows);
            }
            show::line("");
            let count: u64 = tallies.values().map(Tally::unfinished).sum();
            let oldest = tallies.values().filter_map(|tally| tally.oldest).min();
            let oldest = oldest.map(|at| show::duration(self.now.millis_since(at).max(0)));
            let oldest = oldest.map_or_else(String::new, |age| format!(", the oldest received {age} ago"));
            row("unfinished", &format!("{count}{oldest}"));
        }
        if let Ok(Depth { visible, in_flight, delayed }) = self.queue {
            row("queue", &format!("{visible} to be received, {in_flight} in flight, {delayed} delayed"));
        }
        if let Ok(Some(Depth { visible, in_flight, delayed: _ })) = self.ordered_queue {
            row("FIFO queue", &format!("{visible} to be given a turn, {in_flight} in flight"));
        }
        if let Ok(outbox) = self.outbox {
            let age = outbox
                .oldest_ms
                .map_or_else(String::new, |ms| format!(", the oldest for {}", show::duration(ms)));
            let more = if outbox.or_more { ", or more" } else { "" };
            row("outbox", &format!("{} due{age}; {} later{more}", outbox.due, outbox.later));
        }
        if let Ok(dead_letters) = self.dead_letters {
            let hint = if dead_letters > 0 { "; see `dlq list`" } else { "" };
            row("dead letters", &format!("{dead_letters}{hint}"));
        }
        if let Ok(down) = self.down {
            if down.is_empty() {
                row("destinations", "all up");
            }
            for Down { name, health, waiting } in down {
                let (standing, since) = (health.standing.word(), show::short_time(health.since));
                let reason = show::plain(&health.reason);
                let text = format!("{name} is {standing} since {since}, {waiting} wait for it: {reason}");
                row("destinations", &text);
            }
        }
        if let Ok(quarantined) = self.quarantined {
            let each: Vec<String> =
                quarantined.iter().map(|(source, count)| format!("{count} of {source}")).collect();
            row("quarantine", if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }.as_str());
        }
    }
}

/// The columns after those of the group.
const COLUMNS: &[&str] =
    &["RECEIVED", "DONE", "UNROUTED", "IN WORK", "RETRYING", "WAITING", "DEAD", "MEDIAN", "P95"];

fn cells((source, event_type): &Group, tally: &mut Tally, types: bool) -> Vec<String> {
    let time = |took: Option<i64>| took.map_or_else(|| "-".to_owned(), show::duration);
    let counts = [
        tally.received,
        tally.count(Status::Done),
        tally.count(Status::Unrouted),
        tally.in_work(),
        tally.count(Status::Retrying),
        tally.waiting,
        tally.count(Status::Dead),
    ];
    let mut row = vec![source.to_string()];
    row.extend(types.then(|| show::plain(event_type.as_deref().unwrap_or_default())));
    row.extend(counts.map(|count| count.to_string()));
    row.extend([time(tally.percentile(50)), time(tally.percentile(95))]);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut tally = Tally { took: (1..=100).rev().collect(), ..Tally::default() };
        assert_eq!((tally.percentile(50), tally.percentile(95)), (Some(50), Some(95)));
        tally.took = vec![7];
        assert_eq!((tally.percentile(50), tally.percentile(95)), (Some(7), Some(7)));
        tally.took.clear();
        assert_eq!(tally.percentile(50), None);
    }
}
