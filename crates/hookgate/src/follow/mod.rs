//! Following the events of an installation: what is new or has changed, through sleep, restarts and breaks of the
//! connection, with nothing left out.
//!
//! Whoever follows says of each event that it was shown once it was; one that was being shown when the process was
//! killed is shown again. Events that are listed more than a day after they were received, and changes of events that
//! are older than a day, are not seen.

use std::time::Duration;

use hookgate_aws::{
    ambient::Ambient,
    store::{Entry, StoreError},
};
use hookgate_core::event::Event;

use crate::{
    access::{Access, Place},
    show,
};

mod looks;
mod position;

use looks::{HOUR_MS, Looks};
pub use position::Position;

/// Time between two looks at a local stack, at a deployed one, and at one that can't be reached, which doubles.
const LOCAL_PAUSE: Duration = Duration::from_millis(500);
const DEPLOYED_PAUSE: Duration = Duration::from_secs(2);
const BROKEN_PAUSE: Duration = Duration::from_secs(1);
const BROKEN_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How far back somebody who begins now looks, so as to know what is no news.
pub const BEGIN_BACK_MS: i64 = HOUR_MS;

/// What somebody wants to see.
pub struct Wanted {
    /// Which events.
    pub keep: Box<dyn Fn(&Entry) -> bool + Send + Sync>,
    /// What about an event is news when it changes.
    pub state: fn(&Entry) -> String,
}

/// Somebody who follows.
pub struct Follower {
    place: Place,
    access: Access,
    wanted: Wanted,
    position: Position,
    looks: Looks,
    ambient: Ambient,
    /// Looks so far, which have gone well.
    looked: u64,
    under_way: bool,
}

impl Follower {
    /// Goes on from a position.
    pub fn new(place: Place, access: Access, position: Position, wanted: Wanted, ambient: Ambient) -> Self {
        let looks = Looks::new(position.from(), position.upto());
        Self { place, access, wanted, position, looks, ambient, looked: 0, under_way: false }
    }

    /// The newest events that are wanted, the oldest of them first, for somebody who begins now; all others that there
    /// are count as shown.
    ///
    /// # Errors
    /// When the table can't be read or the position not be written.
    pub async fn first(&mut self, limit: usize) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.begin();
        while let Some(changes) = self.step().await? {
            entries.extend(changes);
            let surplus = entries.len().saturating_sub(limit);
            for entry in entries.drain(..surplus).collect::<Vec<_>>() {
                self.shown(&entry)?;
            }
        }
        Ok(entries)
    }

    /// Begins a look.
    pub fn begin(&mut self) {
        self.looks.begin(self.ambient.now(), self.looked == 0);
        self.under_way = true;
    }

    /// What has changed in the next part of the look, the oldest first; `None` at its end. Of what it gave before,
    /// everything has to be shown by now.
    ///
    /// # Errors
    /// When the table can't be read or the position not be written; the same part is then next again.
    pub async fn step(&mut self) -> anyhow::Result<Option<Vec<Entry>>> {
        self.position.looked(self.looks.upto(), self.looks.oldest())?;
        while let Some((from, until)) = self.looks.next() {
            let limit = self.looks.limit().unwrap_or(usize::MAX);
            let mut entries = self.access.store.list(&from.day(), from, until, limit).await?;
            let found = entries.len();
            if found >= limit {
                self.looks.shorten();
                continue;
            }
            entries.reverse();
            entries.retain(|entry| {
                (self.wanted.keep)(entry)
                    && self.position.is_news(&entry.key.sk(), &(self.wanted.state)(entry))
            });
            self.looks.done(self.ambient.now(), found);
            return Ok(Some(entries));
        }
        self.looked += 1;
        self.under_way = false;
        Ok(None)
    }

    /// Waits for the next changes, the oldest first. What can't be reached is waited for, and said once on standard
    /// error; only at the first look it is an error.
    ///
    /// # Errors
    /// When the first look fails, or the position can't be written.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Entry>> {
        loop {
            if !self.under_way {
                if self.looked > 0 {
                    tokio::time::sleep(self.pause()).await;
                }
                self.begin();
            }
            match self.step().await {
                Ok(Some(entries)) if !entries.is_empty() => return Ok(entries),
                Ok(_) => {}
                Err(error) if self.looked == 0 || !error.is::<StoreError>() => return Err(error),
                Err(error) => self.reach(&error).await,
            }
        }
    }

    /// Opens the installation again, as often as it takes: a local one has other ports when it comes back.
    async fn reach(&mut self, error: &anyhow::Error) {
        let mut said = format!("{error:#}");
        show::note(&format!("{} can't be looked at ({said}); waiting for it", self.place));
        let mut pause = BROKEN_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BROKEN_PAUSE_MAX);
            let now = self.ambient.now();
            let opened = match Access::running(&self.place).await {
                Ok(access) => match access.store.list(&now.day(), now.plus_millis(-1), now, 1).await {
                    Ok(_) => Ok(access),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            match opened {
                Ok(access) => {
                    self.access = access;
                    show::note(&format!("{} is back", self.place));
                    return;
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    if why != said {
                        show::note(&format!("still waiting: {why}"));
                        said = why;
                    }
                }
            }
        }
    }

    /// The whole of an event, however long it takes to be reached; `None` when it is not kept any more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub async fn event(&mut self, entry: &Entry) -> Result<Option<Event>, StoreError> {
        loop {
            match self.access.store.event(&entry.key.source, &entry.key.id).await {
                Err(error @ StoreError::Call { .. }) => self.reach(&error.into()).await,
                result => return result,
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.place {
            Place::Local(_) => LOCAL_PAUSE,
            Place::Deployed(_) => DEPLOYED_PAUSE,
        }
    }

    /// Says that an event was shown.
    ///
    /// # Errors
    /// When the position can't be written.
    pub fn shown(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.position.shown(&entry.key.sk(), &(self.wanted.state)(entry))
    }

    /// Ends it; it goes on from here another time.
    ///
    /// # Errors
    /// When the position can't be written.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.position.note()?;
        self.access.close().await;
        Ok(())
    }
}
