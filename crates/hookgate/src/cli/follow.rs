//! Where `events tail` and `listen` begin, and how they remember where they were.

use anyhow::anyhow;
use clap::Args;
use data_encoding::HEXLOWER;
use hookgate_aws::ambient::Ambient;
use hookgate_core::{config::Config, ids::Name, time::EpochMillis};
use sha2::{Digest, Sha256};

use super::{
    ConfigArgs, PlaceArgs,
    since::{DAY_MS, Since, since},
};
use crate::{
    access::{Access, Place},
    follow::{BEGIN_BACK_MS, Follower, Position, Wanted},
    local,
};

/// Days for which the list has an event longer than the event itself is kept.
const LISTED_DAYS_MORE: i64 = 1;

#[derive(Debug, Args)]
pub(super) struct FollowArgs {
    /// Begin at a time (2026-11-21T10:00:00Z) or an age (90s, 15m, 6h), wherever it was before
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// Begin with the oldest event there is, wherever it was before
    #[arg(long, conflicts_with = "since")]
    from_start: bool,
    /// Remember the position under this name; otherwise each stack and filter has its own
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<Name>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).ok_or_else(|| "a name has a-z, 0-9, - and _".to_owned())
}

/// Somebody who follows, and whether for the first time.
pub(super) struct Started {
    pub(super) follower: Follower,
    pub(super) is_new: bool,
}

impl FollowArgs {
    /// Opens the installation and the position. `filters` is what tells one use of the command from another.
    pub(super) async fn start(
        &self,
        command: &str,
        filters: &str,
        wanted: Wanted,
        ambient: Ambient,
    ) -> anyhow::Result<Started> {
        let place = self.place.place();
        let access = Access::running(&place).await?;
        let folder = self.place.data.folder();
        folder.create()?;
        let file = folder.position(&self.file_name(command, filters, &place, &access));
        let now = ambient.now();
        let (position, is_new) = match self.begins(now)? {
            Some(from) => (Position::begin(&file, from)?, false),
            None => match Position::resume(&file)? {
                Some(position) => (position, false),
                None => (Position::begin(&file, now.plus_millis(-BEGIN_BACK_MS))?, true),
            },
        };
        Ok(Started { follower: Follower::new(place, access, position, wanted, ambient), is_new })
    }

    /// Where to begin, if that was said.
    fn begins(&self, now: EpochMillis) -> anyhow::Result<Option<EpochMillis>> {
        if !self.from_start {
            return Ok(self.since.map(|since| since.at(now)));
        }
        let config: Config = local::config(self.config.config.as_deref())?;
        let days = config.sources.values().map(|source| source.retention_days).max();
        let days = days.ok_or_else(|| anyhow!("there are no sources, so there are no events"))?;
        Ok(Some(now.plus_millis(-(i64::from(days) + LISTED_DAYS_MORE).saturating_mul(DAY_MS))))
    }

    fn file_name(&self, command: &str, filters: &str, place: &Place, access: &Access) -> String {
        if let Some(name) = &self.name {
            return format!("{command}-{name}");
        }
        let digest = Sha256::digest(format!("{}\n{filters}", access.identity).as_bytes());
        let hash = HEXLOWER.encode(digest.get(..4).unwrap_or(&digest));
        let stack = match place {
            Place::Local(_) => "local",
            // An ARN as a name has what no file name may have.
            Place::Deployed(wanted) => wanted.name.rsplit('/').next().unwrap_or_default(),
        };
        format!("{command}-{stack}-{hash}")
    }
}
