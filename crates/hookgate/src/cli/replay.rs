//! `hookgate replay`: another run of what gave up, for one event or for all that a filter finds.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args};
use futures::{StreamExt, stream};
use hookgate_aws::{
    ambient::Ambient,
    replay::{Ask, Replayed, replay},
    schema::StatusKey,
    store::{Entry, Store},
};
use hookgate_core::{
    ids::{EventId, Name},
    lifecycle::Status,
    routing::Glob,
    time::EpochMillis,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    ConfigArgs, PlaceArgs, ask,
    events::{glob, newest},
    since::{DAY_MS, Since, since},
};
use crate::{access::Access, local, progress::Progress, show};

/// Events replayed in a second, unless said otherwise: a destination that was just mended should not be knocked over.
const RATE: f64 = 20.0;

/// Events that are asked for at once.
const AT_ONCE: usize = 16;

/// Most events of one replay.
const EVENTS_MAX: usize = 1_000_000;

/// How far back a filter looks when nothing says otherwise.
const DAYS_BACK: i64 = 30;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(WHICH)))]
pub(super) struct Replay {
    /// Ids of events, or SOURCE/ID
    #[arg(conflicts_with_all = ["source", "event_type", "status", "since"])]
    ids: Vec<String>,
    /// All of this source (a glob)
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    source: Option<Glob>,
    /// All of this type (a glob)
    #[arg(long = "type", value_name = "GLOB", value_parser = glob)]
    event_type: Option<Glob>,
    /// All with this status: dead (unless said otherwise), unrouted, retrying or done
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<Status>,
    /// Only what was received since then: a time, or an age such as 6h (default 30d)
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// Run what is done again too
    #[arg(long)]
    again: bool,
    /// Only say what would be replayed
    #[arg(long)]
    dry_run: bool,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = RATE, value_parser = ask::rate)]
    rate: f64,
    /// Go on with a replay that was stopped
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ids", "source", "event_type", "status", "since", "again"])]
    resume: Option<String>,
    /// Who asks, for the events' record (default: the user of this machine)
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Do not ask before it begins
    #[arg(long)]
    yes: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What says which events are meant, one of which has to be said.
const WHICH: [&str; 6] = ["ids", "source", "event_type", "status", "since", "resume"];

fn status(text: &str) -> Result<Status, String> {
    Status::parse(text)
        .filter(|status| !matches!(status, Status::Working | Status::Received))
        .ok_or_else(|| "there are dead, unrouted, retrying and done".to_owned())
}

/// What a replay was asked for, as it is kept.
struct Asked {
    job: Name,
    by: String,
    again: bool,
    /// Only what was received by then: the replay's own beginning.
    until: EpochMillis,
    from: EpochMillis,
    source: Option<String>,
    event_type: Option<String>,
    status: Option<Status>,
    events: Vec<(Name, EventId)>,
}

impl Asked {
    fn to_json(&self) -> Value {
        json!({
            "by": self.by, "again": self.again, "until": self.until.as_millis(), "from": self.from.as_millis(),
            "source": self.source, "type": self.event_type, "status": self.status.map(Status::word),
            "events": self.events.iter().map(|(source, id)| json!([source, id])).collect::<Vec<_>>(),
        })
    }

    fn from_json(job: Name, asked: &Value) -> Option<Self> {
        let text = |name: &str| asked.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |name: &str| asked.get(name).and_then(Value::as_i64).map(EpochMillis::from_millis);
        let events = asked.get("events")?.as_array()?.iter().filter_map(|pair| {
            Some((Name::parse(pair.get(0)?.as_str()?)?, EventId::from_stored(pair.get(1)?.as_str()?)))
        });
        Some(Self {
            job,
            by: text("by")?,
            again: asked.get("again")?.as_bool()?,
            until: time("until")?,
            from: time("from")?,
            source: text("source"),
            event_type: text("type"),
            status: text("status").as_deref().and_then(Status::parse),
            events: events.collect(),
        })
    }

    fn keeps(&self, entry: &Entry) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().and_then(Glob::parse).is_none_or(|glob| glob.matches(text))
        };
        // Those that this replay has asked for have another status by now, or the same once more.
        !entry.attempts.was_replayed_by(self.job.as_str())
            && fits(&self.source, entry.key.source.as_str())
            && fits(&self.event_type, &entry.event_type)
            && self.status.is_none_or(|status| status == entry.status)
    }
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let done = self.replay(&access).await;
        access.close().await;
        done
    }

    async fn replay(&self, access: &Access) -> anyhow::Result<ExitCode> {
        let now = Ambient::system().now();
        let asked = match &self.resume {
            Some(job) => {
                let known =
                    Name::parse(job).map(|job| async move { (access.store.replay_get(&job).await, job) });
                let Some(known) = known else { bail!("{job} is no name of a replay") };
                let (found, name) = known.await;
                let found = found?.ok_or_else(|| {
                    anyhow!("there is no replay called {job}; the one that was stopped has said its name")
                })?;
                Asked::from_json(name, &found)
                    .ok_or_else(|| anyhow!("what is kept of the replay {job} can't be read"))?
            }
            None => self.asked(&access.store, now).await?,
        };
        let entries = self.chosen(&access.store, &asked).await?;
        if entries.is_empty() {
            if !self.json {
                show::line(match self.resume {
                    Some(_) => "nothing is left of it",
                    None => "no such events; `events list --status dead` shows what gave up",
                });
            }
            return Ok(ExitCode::SUCCESS);
        }
        if !self.json {
            print_plan(&entries);
        }
        if self.dry_run {
            self.say_each(&entries);
            return Ok(ExitCode::SUCCESS);
        }
        if !self.confirmed(entries.len())? {
            show::line("nothing was done");
            return Ok(ExitCode::FAILURE);
        }
        access.store.replay_put(&asked.job, &asked.to_json(), now).await?;
        self.go(access, &asked, &entries).await
    }

    async fn asked(&self, store: &Store, now: EpochMillis) -> anyhow::Result<Asked> {
        let status = self.status.or_else(|| self.ids.is_empty().then_some(Status::Dead));
        if status == Some(Status::Done) && !self.again {
            bail!("what is done is only run again with --again");
        }
        let job = format!("r-{}-{:04x}", now.day().replace('-', ""), Ambient::system().random() & 0xffff);
        Ok(Asked {
            job: Name::parse(&job).context("making a name for the replay")?,
            by: self.by.clone().unwrap_or_else(whoever),
            again: self.again,
            until: now,
            from: self.since.unwrap_or(Since::Ago(DAYS_BACK * DAY_MS)).at(now),
            source: self.source.as_ref().map(Glob::to_string),
            event_type: self.event_type.as_ref().map(Glob::to_string),
            status,
            events: self.events(store).await?,
        })
    }

    /// The events that the ids mean.
    async fn events(&self, store: &Store) -> anyhow::Result<Vec<(Name, EventId)>> {
        let mut events = Vec::new();
        let config = match self.ids.is_empty() {
            true => return Ok(events),
            false => local::config(self.config.config.as_deref())?,
        };
        for text in &self.ids {
            let id = EventId::from_stored(text);
            let mut places: Vec<(Name, EventId)> =
                config.sources.keys().map(|source| (source.clone(), id.clone())).collect();
            if let Some((source, id)) = text.split_once('/')
                && let Some(source) = Name::parse(source)
            {
                places.push((source, EventId::from_stored(id)));
            }
            let mut found = Vec::new();
            for places in places.chunks(100) {
                found.extend(store.received_at(places).await?);
            }
            match found.as_slice() {
                [one] => events.push((one.source.clone(), one.id.clone())),
                [] => bail!("there is no event {text}; `events list` shows what there is"),
                _ => bail!("several sources have an event {text}; write SOURCE/{text}"),
            }
        }
        Ok(events)
    }

    async fn chosen(&self, store: &Store, asked: &Asked) -> anyhow::Result<Vec<Entry>> {
        if asked.events.is_empty() {
            let mut entries =
                newest(store, asked.from, asked.until, EVENTS_MAX, &|entry| asked.keeps(entry)).await?;
            // In the order in which they came.
            entries.reverse();
            return Ok(entries);
        }
        let mut entries = Vec::new();
        for events in asked.events.chunks(100) {
            for key in store.received_at(events).await? {
                let entry = store.entry(&key).await?;
                entries.extend(entry.filter(|entry| asked.keeps(entry)));
            }
        }
        Ok(entries)
    }

    fn say_each(&self, entries: &[Entry]) {
        if self.json {
            for entry in entries {
                show::line(&show::entry_json(entry).to_string());
            }
        } else {
            show::line("\nnothing was done (--dry-run)");
        }
    }

    fn confirmed(&self, count: usize) -> anyhow::Result<bool> {
        Ok(self.yes || self.json || ask::wanted("Replay them?", count)?)
    }

    async fn go(&self, access: &Access, asked: &Asked, entries: &[Entry]) -> anyhow::Result<ExitCode> {
        let total = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let mut progress = Progress::new(total, "replayed");
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let pace = &Mutex::new(pace);
        let ask = Ask { by: &asked.by, job: asked.job.as_str(), again: asked.again };
        // Ctrl-C ends the asking; what was begun is finished.
        let stop = async {
            if let Err(error) = tokio::signal::ctrl_c().await {
                show::note(&format!("Ctrl-C can't be noticed: {error}"));
                std::future::pending::<()>().await;
            }
        };
        let results = stream::iter(entries)
            .then(|entry| async move {
                pace.lock().await.tick().await;
                entry
            })
            .take_until(Box::pin(stop))
            .map(|entry| async move {
                let now = Ambient::system().now();
                (entry, replay(&access.store, &access.queue, &entry.key, ask, now).await)
            })
            .buffer_unordered(AT_ONCE);
        tokio::pin!(results);
        let (mut queued, mut left) = (0_u64, 0_u64);
        while let Some((entry, outcome)) = results.next().await {
            match outcome {
                Ok(Replayed::Queued) => queued += 1,
                Ok(other) => {
                    left += 1;
                    self.say(&entry.key, reason(other));
                }
                Err(error) => {
                    progress.end();
                    show::note(&format!("go on with:  cargo run -q -- replay --resume {}", asked.job));
                    return Err(error).context(format!("replaying {}/{}", entry.key.source, entry.key.id));
                }
            }
            progress.step();
        }
        progress.end();
        self.sum_up(asked, queued, left);
        if progress.done() < total {
            show::note(&format!(
                "stopped after {} of {total}; go on with:  cargo run -q -- replay --resume {}",
                progress.done(),
                asked.job
            ));
            return Ok(ExitCode::FAILURE);
        }
        Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn say(&self, key: &StatusKey, reason: &str) {
        if self.json {
            let line = json!({"source": key.source, "id": key.id, "outcome": "left", "detail": reason});
            show::line(&line.to_string());
        } else {
            show::line(&format!("left      {}/{}  {reason}", key.source, show::plain(key.id.as_str())));
        }
    }

    fn sum_up(&self, asked: &Asked, queued: u64, left: u64) {
        if self.json {
            let line = json!({"replay": asked.job, "by": asked.by, "queued": queued, "left": left});
            show::line(&line.to_string());
        } else {
            let left = if left == 0 { String::new() } else { format!(", {left} left alone") };
            show::line(&format!("{queued} on their way again{left} (replay {})", asked.job));
        }
    }
}

const fn reason(outcome: Replayed) -> &'static str {
    match outcome {
        Replayed::Queued => "on its way",
        Replayed::Before => "this replay has asked for it before",
        Replayed::Nothing(Status::Done) => "it is done; --again runs it once more",
        Replayed::Nothing(_) => "nothing of it can be run again",
        Replayed::Busy => "a worker has it just now; ask again",
        Replayed::Unknown => "it is no longer kept",
    }
}

/// How many of which.
fn print_plan(entries: &[Entry]) {
    let mut counts: BTreeMap<(String, String, &'static str), u64> = BTreeMap::new();
    for entry in entries {
        let key = (entry.key.source.to_string(), show::plain(&entry.event_type), entry.status.word());
        *counts.entry(key).or_default() += 1;
    }
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .map(|((source, event_type, status), count)| {
            vec![count.to_string(), source, event_type, status.to_owned()]
        })
        .collect();
    show::table(&["EVENTS", "SOURCE", "TYPE", "STATUS"], &rows);
}

/// The user of this machine.
fn whoever() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    user.ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}
