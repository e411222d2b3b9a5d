//! `hookgate events`: what has happened to events.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use futures::future::try_join_all;
use hookgate_aws::{
    ambient::Ambient,
    lanes::End,
    schema::StatusKey,
    store::{Entry, Store},
};
use hookgate_core::{
    event::Event,
    ids::{EventId, Name},
    lifecycle::{AttemptOutcome, Status},
    order::Lane,
    routing::Glob,
    time::EpochMillis,
};
use serde_json::json;

use super::{
    ConfigArgs, PlaceArgs,
    follow::FollowArgs,
    since::{DAY_MS, Since, since},
    stop::Stop,
};
use crate::{access::Access, follow::Wanted, local, show};

/// How far back a list looks when nothing says otherwise: a day is 64 queries, and a list should come at once.
const DAYS_BACK: i64 = 7;

/// Entries read in one go.
const PAGE: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// The newest events
    List(List),
    /// One event with its body and every attempt
    Show(Show),
    /// Events as they come and change, until Ctrl-C
    Tail(Tail),
}

impl Events {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Tail(tail) => tail.run().await,
        }
    }
}

#[derive(Debug, Args)]
struct Filters {
    /// Only of this source (a glob)
    #[arg(long, value_parser = glob)]
    source: Option<Glob>,
    /// Only of this type (a glob)
    #[arg(long = "type", value_name = "TYPE", value_parser = glob)]
    event_type: Option<Glob>,
    /// Only with this status: received, working, retrying, done, unrouted or dead
    #[arg(long, value_parser = status)]
    status: Option<Status>,
}

pub(super) fn glob(text: &str) -> Result<Glob, String> {
    Glob::parse(text).ok_or_else(|| "only `*` and `?` are special".to_owned())
}

fn status(text: &str) -> Result<Status, String> {
    Status::parse(text)
        .ok_or_else(|| "there are received, working, retrying, done, unrouted and dead".to_owned())
}

impl Filters {
    fn keep(&self, entry: &Entry) -> bool {
        self.source.as_ref().is_none_or(|glob| glob.matches(entry.key.source.as_str()))
            && self.event_type.as_ref().is_none_or(|glob| glob.matches(&entry.event_type))
            && self.status.is_none_or(|status| status == entry.status)
    }

    /// The same text for the same filters.
    fn describe(&self) -> String {
        let any = || "*".to_owned();
        let source = self.source.as_ref().map_or_else(any, Glob::to_string);
        let event_type = self.event_type.as_ref().map_or_else(any, Glob::to_string);
        format!("{source}\n{event_type}\n{}", self.status.map_or("*", Status::word))
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Only received since then: a time (2026-11-21T10:00:00Z), or an age (90s, 15m, 6h; default 7d)
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let now = Ambient::system().now();
        let from = self.since.map_or(now.plus_millis(-DAYS_BACK * DAY_MS), |since| since.at(now));
        let entries = newest(&access.store, from, now, self.limit, &|entry| self.filters.keep(entry)).await?;
        if self.json {
            for entry in &entries {
                show::line(&show::entry_json(entry).to_string());
            }
        } else if entries.is_empty() {
            match self.since {
                None => show::line(
                    "no such events within 7 days; --since 30d looks further back, `send SOURCE` sends one",
                ),
                Some(_) => show::line("no such events since then"),
            }
        } else {
            show::table(show::ENTRY_HEADINGS, &entries.iter().map(show::entry_row).collect::<Vec<_>>());
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The newest events that `keep` keeps, day by day, page by page.
pub(super) async fn newest(
    store: &Store,
    from: EpochMillis,
    now: EpochMillis,
    limit: usize,
    keep: &dyn Fn(&Entry) -> bool,
) -> anyhow::Result<Vec<Entry>> {
    let mut found: Vec<Entry> = Vec::new();
    // The future too: a sender's gateway may be a little ahead of this clock.
    let mut until = now.plus_millis(DAY_MS);
    while until > from && found.len() < limit {
        let day = until.plus_millis(-1).day();
        let start_of_day = EpochMillis::parse(&format!("{day}T00:00:00Z")).unwrap_or(from);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        loop {
            let page = store.list(&day, from.max(start_of_day), until, PAGE).await?;
            let fresh: Vec<Entry> =
                page.iter().filter(|entry| seen.insert(entry.key.sk())).cloned().collect();
            let complete = page.len() < PAGE || fresh.is_empty();
            if let Some(last) = page.last() {
                // This millisecond again: the page may have ended within it.
                until = last.key.received_at.plus_millis(1);
            }
            found.extend(fresh.into_iter().filter(|entry| keep(entry)));
            if complete || found.len() >= limit {
                break;
            }
        }
        until = start_of_day;
    }
    found.truncate(limit);
    Ok(found)
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The event's id, or SOURCE/ID
    id: String,
    /// The event's source, where several have this id
    #[arg(long)]
    source: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let config = local::config(self.config.config.as_deref())?;
        let event = self.find(&access.store, config.sources.keys().cloned().collect()).await?;
        let key = StatusKey {
            source: event.source.clone(),
            id: event.id.clone(),
            received_at: event.request.received_at,
        };
        let entry = access.store.entry(&key).await?;
        let behind = behind(&access.store, &event, entry.as_ref()).await?;
        if self.json {
            let mut document = show::event_json(&event, entry.as_ref());
            if let Some(document) = document.as_object_mut() {
                document.insert("behind".to_owned(), json!(behind));
            }
            show::line(&document.to_string());
        } else {
            print(&event, entry.as_ref(), behind.as_ref());
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }

    async fn find(&self, store: &Store, sources: Vec<Name>) -> anyhow::Result<Event> {
        let mut places: Vec<(Name, EventId)> = Vec::new();
        let id = EventId::from_stored(&self.id);
        match &self.source {
            Some(source) => {
                let source = Name::parse(source).ok_or_else(|| anyhow!("{source} is no name of a source"))?;
                places.push((source, id));
            }
            None => {
                places.extend(sources.into_iter().map(|source| (source, id.clone())));
                if let Some((source, id)) = self.id.split_once('/')
                    && let Some(source) = Name::parse(source)
                {
                    places.push((source, EventId::from_stored(id)));
                }
            }
        }
        let found = try_join_all(places.iter().map(|(source, id)| store.event(source, id))).await?;
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(event), None) => Ok(event),
            (None, _) => bail!("there is no event {}; `events list` shows what there is", self.id),
            (Some(one), Some(other)) => {
                bail!(
                    "several sources have an event {} ({}, {}); name one with --source",
                    self.id,
                    one.source,
                    other.source
                )
            }
        }
    }
}

/// The event that has to end before this one may be worked on, if it has an order.
async fn behind(store: &Store, event: &Event, entry: Option<&Entry>) -> anyhow::Result<Option<EventId>> {
    if entry.is_some_and(|entry| entry.status.is_final()) {
        return Ok(None);
    }
    let Some(lane) = Lane::of(event) else { return Ok(None) };
    let first = store.turn_at(&lane, End::First).await?;
    Ok(first.map(|first| first.id).filter(|first| *first != event.id))
}

fn print(event: &Event, entry: Option<&Entry>, behind: Option<&EventId>) {
    let row = |name: &str, value: &str| show::line(&format!("{name:<12} {}", show::plain(value)));
    row("event", event.id.as_str());
    row("source", event.source.as_str());
    row("type", &event.event_type);
    row("status", entry.map_or("received", |entry| entry.status.word()));
    row("received", &event.request.received_at.to_string());
    if let Some(reason) = &event.unverified {
        row("NOT VERIFIED", reason);
    }
    if let Some(occurred_at) = event.occurred_at {
        row("occurred", &occurred_at.to_string());
    }
    if let Some(next_at) = entry.and_then(|entry| entry.next_at) {
        row("next try", &next_at.to_string());
    }
    if let Some(behind) = behind {
        row("in order", &format!("goes when {behind} of the same key has ended"));
    }
    for (entry, action) in
        entry.into_iter().flat_map(|entry| show::waits_for(entry).into_iter().map(move |it| (entry, it)))
    {
        let since = entry.attempts.parked_since(action).map(show::short_time).unwrap_or_default();
        row("waits for", &format!("{action}, since {since}; see `destinations list`"));
    }
    let attempts = entry.map(|entry| entry.attempts.0.as_slice()).unwrap_or_default();
    if !attempts.is_empty() {
        show::line("");
        let rows: Vec<Vec<String>> = attempts
            .iter()
            .map(|attempt| {
                let outcome = match &attempt.outcome {
                    AttemptOutcome::Retry { next_at } => format!("retry at {}", show::short_time(*next_at)),
                    _ => attempt.outcome.word().to_owned(),
                };
                vec![
                    show::short_time(attempt.at),
                    attempt.action.to_string(),
                    outcome,
                    show::plain(&attempt.detail),
                ]
            })
            .collect();
        show::table(&["AT", "ACTION", "OUTCOME", "DETAIL"], &rows);
    }
    show::line("");
    for name in event.request.headers.keys() {
        row(name.as_str(), &event.request.header(name.as_str()).unwrap_or_default());
    }
    show::line("");
    match std::str::from_utf8(&event.request.body) {
        Ok(text) => show::line(
            &text
                .chars()
                .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c })
                .collect::<String>(),
        ),
        Err(_) => show::line(&format!(
            "{} bytes that are no text; --json has them in base64",
            event.request.body.len()
        )),
    }
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    filters: Filters,
    /// How many of the events before to begin with, the first time
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

impl Tail {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut stop = Stop::new()?;
        let (filters, json) = (self.filters, self.json);
        let described = filters.describe();
        let wanted = Wanted {
            keep: Box::new(move |entry| filters.keep(entry)),
            state: |entry| format!("{} {}", entry.status.word(), entry.attempts.0.len()),
        };
        let started = self.follow.start("tail", &described, wanted, Ambient::system()).await?;
        let mut follower = started.follower;
        let mut entries = match started.is_new {
            true => follower.first(self.limit).await?,
            false => Vec::new(),
        };
        loop {
            for entry in &entries {
                match json {
                    true => show::line(&show::entry_json(entry).to_string()),
                    false => show::line(&aligned(&show::entry_row(entry))),
                }
                follower.shown(entry)?;
            }
            entries = tokio::select! {
                changes = follower.next() => changes?,
                () = stop.asked() => {
                    follower.stop().await?;
                    return Ok(ExitCode::SUCCESS);
                }
            };
        }
    }
}

/// A row by itself, with widths that most fit in.
fn aligned(row: &[String]) -> String {
    const WIDTHS: [usize; 6] = [19, 10, 28, 9, 2, 0];
    let cells = row.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
