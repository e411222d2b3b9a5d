//! `hookgate dlq`: the messages that the queues gave up, each of which killed the worker, is none of ours, or could not be
//! given its place in an order; and sending them again once that was mended.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hookgate_aws::{
    ambient::Ambient,
    dead_letters::{DeadLetter, DeadLetters},
    schema::StatusKey,
    store::{Store, StoreError},
};
use hookgate_core::{
    codec,
    event::Event,
    ids::{EventId, Name},
    lifecycle::Status,
    routing::Glob,
    time::EpochMillis,
};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::{PlaceArgs, ask, events::glob, stop::Stop};
use crate::{access::Access, progress::Progress, show};

/// Messages sent again in a second, unless said otherwise. They have killed the worker before; should they do so once
/// more, then not all at once.
const RATE: f64 = 10.0;

/// How long messages stay out at least while they are looked at. They are given back at the end; the time is for a
/// command that is killed.
const HELD_SECONDS: i32 = 30;

/// SQS's limit.
const HELD_SECONDS_MAX: i32 = 12 * 60 * 60;

/// Most messages that `redrive` looks at: a thousand calls.
const LOOK_MAX: usize = 10_000;

/// Messages that are looked at in a second, at the least: one call has up to ten.
const LOOKS_A_SECOND: usize = 10;

/// Answers with nothing new in a row after which there is nothing more: messages that were taken out for too long come
/// again.
const BARREN_MAX: u32 = 3;

/// Messages of one group that a FIFO queue hands over at once (SQS's limit of a call).
const KEY_MAX: usize = 10;

/// Events looked up at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Subcommand)]
pub(super) enum Dlq {
    /// The messages and the events that they are about
    List(List),
    /// Send them to the queue again
    Redrive(Redrive),
}

impl Dlq {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await,
            Self::Redrive(redrive) => redrive.run().await,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What is known of the event that a message is about.
struct About {
    source: Name,
    id: EventId,
    event_type: Option<String>,
    status: Option<Status>,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let done = self.list(&access).await;
        access.close().await;
        done
    }

    async fn list(&self, access: &Access) -> anyhow::Result<ExitCode> {
        let depth = access.dead_letters.depth().await?;
        let letters = look(&access.dead_letters, self.limit).await?;
        let abouts: Vec<Option<About>> = stream::iter(&letters)
            .map(|letter| about(&access.store, letter))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let now = Ambient::system().now();
        let rows = letters.iter().zip(&abouts);
        if self.json {
            for (letter, about) in rows {
                show::line(&document(letter, about.as_ref(), now).to_string());
            }
            return Ok(ExitCode::SUCCESS);
        }
        if letters.is_empty() {
            show::line("there are no dead letters");
        } else {
            let rows: Vec<Vec<String>> =
                rows.map(|(letter, about)| row(letter, about.as_ref(), now)).collect();
            show::table(&["AGE", "RECEIVES", "SOURCE", "TYPE", "STATUS", "ID", "MESSAGE"], &rows);
        }
        let (shown, about) =
            (u64::try_from(letters.len()).unwrap_or(u64::MAX), depth.visible + depth.in_flight);
        if about > shown {
            show::note(&format!(
                "{shown} of about {about}; --limit shows more, what somebody else has taken out comes back by itself, and of one \
                 ordering key only the first {KEY_MAX} can be seen"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// For how long a message has been there, in milliseconds: from when it was first sent.
fn age_ms(letter: &DeadLetter, now: EpochMillis) -> Option<i64> {
    letter.sent_at.map(|at| now.millis_since(at).max(0))
}

fn document(letter: &DeadLetter, about: Option<&About>, now: EpochMillis) -> Value {
    json!({
        "message_id": letter.message_id,
        "sent_at": letter.sent_at.map(|at| at.to_string()),
        "age_seconds": age_ms(letter, now).map(|ms| ms / 1_000),
        "receives": letter.receive_count,
        "ours": about.is_some(),
        "ordered": letter.is_ordered(),
        "source": about.map(|about| &about.source),
        "id": about.map(|about| &about.id),
        "type": about.and_then(|about| about.event_type.as_deref()),
        "status": about.and_then(|about| about.status).map(Status::word),
    })
}

fn row(letter: &DeadLetter, about: Option<&About>, now: EpochMillis) -> Vec<String> {
    let nothing = || "-".to_owned();
    let known = match about {
        None => [nothing(), "not a message of hookgate's".to_owned(), nothing(), nothing()],
        Some(about) => [
            about.source.to_string(),
            about.event_type.as_deref().map_or_else(nothing, show::plain),
            about.status.map_or("not stored", Status::word).to_owned(),
            show::plain(about.id.as_str()),
        ],
    };
    let age = age_ms(letter, now).map_or_else(nothing, show::duration);
    let start = [age, letter.receive_count.to_string()];
    start.into_iter().chain(known).chain([letter.message_id.clone()]).collect()
}

/// How long messages are taken out for, when so many are looked at.
fn held_seconds(count: usize) -> i32 {
    let seconds = i32::try_from(count / LOOKS_A_SECOND).unwrap_or(HELD_SECONDS_MAX);
    HELD_SECONDS.saturating_add(seconds).min(HELD_SECONDS_MAX)
}

/// Looks at up to so many messages, the oldest first, and gives them back.
async fn look(dead_letters: &DeadLetters, limit: usize) -> anyhow::Result<Vec<DeadLetter>> {
    // As they came: of those sent in one millisecond, the FIFO queue knows the order.
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut barren = 0;
    let looked = loop {
        if letters.len() >= limit || barren >= BARREN_MAX {
            break Ok(());
        }
        match dead_letters.take(held_seconds(limit)).await {
            Ok(batch) if batch.is_empty() => break Ok(()),
            Ok(batch) => {
                let before = letters.len();
                for letter in batch {
                    match places.get(&letter.message_id).and_then(|place| letters.get_mut(*place)) {
                        // Only the newest receipt is good for giving it back.
                        Some(known) => *known = letter,
                        None => {
                            places.insert(letter.message_id.clone(), letters.len());
                            letters.push(letter);
                        }
                    }
                }
                barren = if letters.len() == before { barren + 1 } else { 0 };
            }
            Err(error) => break Err(error),
        }
    };
    give_back(dead_letters, &letters, held_seconds(limit)).await;
    looked?;
    letters.sort_by_key(|letter| letter.sent_at);
    letters.truncate(limit);
    Ok(letters)
}

/// Puts messages back. A failure is told, and no more: they come back by themselves.
async fn give_back(dead_letters: &DeadLetters, letters: &[DeadLetter], seconds: i32) {
    if let Err(error) = dead_letters.give_back(letters).await {
        show::note(&format!(
            "the messages come back in up to {seconds} s, as they could not be put back: {error}"
        ));
    }
}

/// The event that a message is about; `None` when the message is none of ours.
async fn about(store: &Store, letter: &DeadLetter) -> anyhow::Result<Option<About>> {
    let Ok(message) = letter.message() else { return Ok(None) };
    let (source, id) = (message.source.clone(), message.id.clone());
    let carried = || -> Option<Event> {
        let frame = message.frame().ok().flatten()?;
        codec::decode(source.clone(), id.clone(), &frame).ok()
    };
    let (stored, damaged) = match store.event(&source, &id).await {
        Ok(stored) => (stored, false),
        // It may be what killed the worker.
        Err(StoreError::Damaged { .. }) => (None, true),
        Err(error) => return Err(error.into()),
    };
    let status = match &stored {
        None => None,
        Some(event) => {
            let received_at = event.request.received_at;
            let key = StatusKey { source: source.clone(), id: id.clone(), received_at };
            Some(store.entry(&key).await?.map_or(Status::Received, |entry| entry.status))
        }
    };
    let event = stored.or_else(carried);
    let event_type = match (event, damaged) {
        (Some(event), _) => Some(event.event_type),
        (None, true) => Some("(damaged)".to_owned()),
        (None, false) => None,
    };
    Ok(Some(About { source, id, event_type, status }))
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Ids of `dlq list`, of messages or of events (ID or SOURCE/ID)
    ids: Vec<String>,
    /// Those of this source (a glob)
    #[arg(long, value_parser = glob)]
    source: Option<Glob>,
    /// All that are about an event. What is no message of hookgate's has to be named by its id
    #[arg(long)]
    all: bool,
}

impl Which {
    fn means(&self, letter: &DeadLetter) -> bool {
        match letter.message() {
            Err(_) => self.ids.contains(&letter.message_id),
            Ok(_) if self.all => true,
            Ok(message) => match &self.source {
                Some(glob) => glob.matches(message.source.as_str()),
                None => self.ids.iter().any(|id| names(letter, id)),
            },
        }
    }
}

/// Whether an id is that of a message or of its event.
fn names(letter: &DeadLetter, id: &str) -> bool {
    letter.message_id == id
        || letter.message().is_ok_and(|message| {
            message.id.as_str() == id
                || id.split_once('/') == Some((message.source.as_str(), message.id.as_str()))
        })
}

#[derive(Debug, Args)]
pub(super) struct Redrive {
    #[command(flatten)]
    which: Which,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = RATE, value_parser = ask::rate)]
    rate: f64,
    /// Do not ask before it begins
    #[arg(long)]
    yes: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// A redrive that goes on. Those of one ordering key can't all be looked at before the first of them are sent, so what
/// comes out behind them is asked about then.
struct Going<'l> {
    /// Those that a person was told about.
    looked: BTreeSet<&'l str>,
    /// The messages to send that were not sent yet.
    wanted: BTreeSet<&'l str>,
    /// Everything that was taken out.
    held: Vec<DeadLetter>,
    /// How long for.
    seconds: i32,
    sent: BTreeSet<String>,
    /// Those of them that could not be deleted.
    twice: u64,
}

impl Redrive {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let done = self.redrive(&access.dead_letters).await;
        access.close().await;
        done
    }

    async fn redrive(&self, dead_letters: &DeadLetters) -> anyhow::Result<ExitCode> {
        let letters = look(dead_letters, LOOK_MAX).await?;
        if let Some(id) = self.which.ids.iter().find(|id| !letters.iter().any(|letter| names(letter, id))) {
            bail!("no dead letter is called {id} or is about such an event; `dlq list` shows what there is");
        }
        let (wanted, left): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| self.which.means(letter));
        if !self.json {
            print_plan(&wanted, &left);
        }
        if wanted.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if self.dry_run {
            if self.json {
                wanted.iter().for_each(|letter| say(letter, "would be sent"));
                left.iter().for_each(|letter| say(letter, "would be left"));
            } else {
                show::line("\nnothing was done (--dry-run)");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let sure = self.yes || self.json;
        if !(sure || ask::wanted("Send them to the queue again?", wanted.len())?) {
            show::line("nothing was done");
            return Ok(ExitCode::FAILURE);
        }
        self.go(dead_letters, &wanted, &letters).await
    }

    async fn go(
        &self,
        dead_letters: &DeadLetters,
        wanted: &[&DeadLetter],
        all: &[DeadLetter],
    ) -> anyhow::Result<ExitCode> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "seconds, held to SQS's limit"
        )]
        let sending = (wanted.len() as f64 / self.rate).ceil() as i32;
        let mut going = Going {
            looked: all.iter().map(|letter| letter.message_id.as_str()).collect(),
            wanted: wanted.iter().map(|letter| letter.message_id.as_str()).collect(),
            held: Vec::new(),
            seconds: held_seconds(all.len()).saturating_add(sending).min(HELD_SECONDS_MAX),
            sent: BTreeSet::new(),
            twice: 0,
        };
        let mut stop = Stop::new()?;
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Progress::new(u64::try_from(wanted.len()).unwrap_or(u64::MAX), "sent");
        let went = self.send(dead_letters, &mut going, &mut pace, &mut stop, &mut progress).await;
        progress.end();
        going.held.retain(|letter| !going.sent.contains(&letter.message_id));
        give_back(dead_letters, &going.held, going.seconds).await;
        let (sent, rest) = (going.sent.len(), going.wanted.len());
        let wanted = sent + rest;
        self.sum_up(&going, wanted);
        let finished =
            went.with_context(|| format!("stopped after {sent} of {wanted}; run it again to go on"))?;
        if rest == 0 && finished {
            return Ok(ExitCode::SUCCESS);
        }
        show::note(&match finished {
            false => format!("stopped after {sent} of {wanted}; run it again to go on"),
            true => {
                format!("{rest} could not be had, as somebody else has taken them out; run it again soon")
            }
        });
        Ok(ExitCode::FAILURE)
    }

    /// Sends one after the other; false when it was stopped before the end.
    async fn send(
        &self,
        dead_letters: &DeadLetters,
        going: &mut Going<'_>,
        pace: &mut Interval,
        stop: &mut Stop,
        progress: &mut Progress,
    ) -> anyhow::Result<bool> {
        let mut seen = BTreeSet::new();
        let mut barren = 0;
        // Whether sending has given way to others.
        let mut more = false;
        while barren < BARREN_MAX && (more || !going.wanted.is_empty()) {
            if stop.asked().now_or_never().is_some() {
                return Ok(false);
            }
            let batch = dead_letters.take(going.seconds).await?;
            if batch.is_empty() {
                return Ok(true);
            }
            barren += 1;
            more = false;
            going.held.extend(batch.iter().cloned());
            for letter in batch {
                if seen.insert(letter.message_id.clone()) {
                    barren = 0;
                }
                if !going.wanted.contains(letter.message_id.as_str()) {
                    if !self.came_out(&letter, going) {
                        continue;
                    }
                    progress.grow();
                }
                tokio::select! {
                    biased;
                    () = stop.asked() => return Ok(false),
                    _ = pace.tick() => {}
                }
                dead_letters.send_again(&letter).await?;
                going.wanted.remove(letter.message_id.as_str());
                if let Err(error) = dead_letters.delete(&letter).await {
                    going.twice += 1;
                    show::note(&format!("{} is in both queues now: {error}", letter.message_id));
                }
                if self.json {
                    say(&letter, "sent");
                }
                more |= letter.is_ordered();
                going.sent.insert(letter.message_id);
                progress.step();
            }
        }
        Ok(true)
    }

    /// Whether a message that nobody could look at before is to be sent too.
    fn came_out(&self, letter: &DeadLetter, going: &Going<'_>) -> bool {
        letter.is_ordered()
            && !going.looked.contains(letter.message_id.as_str())
            && !going.sent.contains(&letter.message_id)
            && self.which.means(letter)
    }

    fn sum_up(&self, going: &Going<'_>, wanted: usize) {
        let (sent, twice) = (going.sent.len(), going.twice);
        if self.json {
            show::line(&json!({"sent": sent, "left": wanted - sent, "in_both_queues": twice}).to_string());
            return;
        }
        let twice = match twice {
            0 => String::new(),
            twice => format!("; {twice} are in both queues, and each of their events is worked off once"),
        };
        show::line(&format!("{sent} of {wanted} sent to the queue again{twice}"));
    }
}

fn source_of(letter: &DeadLetter) -> String {
    letter.message().map_or_else(|_| "not hookgate's".to_owned(), |message| message.source.to_string())
}

/// What is going to happen, by source.
fn print_plan(wanted: &[&DeadLetter], left: &[&DeadLetter]) {
    if wanted.is_empty() && left.is_empty() {
        show::line("there are no dead letters");
        return;
    }
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for (outcome, letters) in [("are sent again", wanted), ("stay", left)] {
        for letter in letters {
            *counts.entry((outcome, source_of(letter))).or_default() += 1;
        }
    }
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .map(|((outcome, source), count)| vec![count.to_string(), source, outcome.to_owned()])
        .collect();
    show::table(&["MESSAGES", "SOURCE", ""], &rows);
    if wanted.iter().any(|letter| letter.is_ordered()) {
        show::note(&format!(
            "of one ordering key only the first {KEY_MAX} can be seen; those of the same choice behind them are sent too"
        ));
    }
}

fn say(letter: &DeadLetter, outcome: &str) {
    let message = letter.message().ok();
    let line = json!({
        "message_id": letter.message_id, "outcome": outcome,
        "source": message.as_ref().map(|message| &message.source),
        "id": message.as_ref().map(|message| &message.id),
    });
    show::line(&line.to_string());
}
