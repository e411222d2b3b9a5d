//! `hookgate destinations`: how the places that actions reach stand, and switching them off and on.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{
    config::Config,
    destination::{Health, Standing},
    ids::Name,
};
use serde_json::json;

use super::{ConfigArgs, PlaceArgs};
use crate::{access::Access, local, show};

#[derive(Debug, Subcommand)]
pub(super) enum Destinations {
    /// How they stand and what waits for them
    List(List),
    /// Switch one on: what waits for it goes out
    Enable(Switch),
    /// Switch one off: its events wait
    Disable(Switch),
}

impl Destinations {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await,
            Self::Enable(switch) => switch.run(true).await,
            Self::Disable(switch) => switch.run(false).await,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.config.config.as_deref())?;
        let access = Access::open(&self.place.place()).await?;
        let mut all: BTreeMap<Name, Health> = config
            .actions
            .iter()
            .filter(|(_, action)| action.has_destination())
            .map(|(name, _)| (name.clone(), Health::default()))
            .collect();
        all.extend(access.store.destinations().await?);
        let mut rows = Vec::new();
        for (name, health) in &all {
            let waiting = match health.parked_at {
                Some(_) => access.store.parked_count(name).await?,
                None => 0,
            };
            let kind = config.actions.get(name).map_or("-", |action| action.kind.name);
            let probe_at = match health.standing {
                Standing::Paused { probe_at, .. } => Some(probe_at),
                Standing::Up | Standing::Disabled => None,
            };
            let since = (health.since.as_millis() > 0).then_some(health.since);
            if self.json {
                let line = json!({
                    "name": name, "kind": kind, "standing": health.standing.word(), "failures": health.failures,
                    "since": since.map(|at| at.to_string()), "probe_at": probe_at.map(|at| at.to_string()),
                    "waiting": waiting, "reason": health.reason,
                });
                show::line(&line.to_string());
                continue;
            }
            let standing = match probe_at {
                Some(at) => format!("paused, next try {}", show::short_time(at)),
                None => health.standing.word().to_owned(),
            };
            rows.push(vec![
                name.to_string(),
                kind.to_owned(),
                standing,
                since.map(show::short_time).unwrap_or_default(),
                health.failures.to_string(),
                waiting.to_string(),
                show::plain(&health.reason),
            ]);
        }
        if !self.json {
            if rows.is_empty() {
                show::line("no action reaches outward");
            } else {
                show::table(&["NAME", "KIND", "STANDING", "SINCE", "FAILURES", "WAITING", "REASON"], &rows);
            }
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Switch {
    /// The action whose destination it is
    name: String,
    /// Why, for whoever looks next
    #[arg(long, value_name = "TEXT", default_value = "switched off by hand")]
    reason: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Switch {
    async fn run(self, on: bool) -> anyhow::Result<ExitCode> {
        let config = local::config(self.config.config.as_deref())?;
        let access = Access::open(&self.place.place()).await?;
        let name = self.known(&config, &access).await?;
        let waiting = access.store.parked_count(&name).await?;
        let reason = if on { "" } else { self.reason.as_str() };
        access.store.destination_switch(&name, on, reason, Ambient::system().now()).await?;
        access.close().await;
        if self.json {
            let standing = if on { Standing::Up } else { Standing::Disabled };
            let line =
                json!({ "name": name, "standing": standing.word(), "waiting": waiting, "reason": reason });
            show::line(&line.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        show::line(&match (on, waiting) {
            (true, 0) => format!("{name} is up; nothing waits for it"),
            (true, waiting) => {
                format!("{name} is up; what waits for it ({waiting}) goes out from the next minute on")
            }
            (false, _) => format!("{name} is disabled; its events wait, for two weeks at most"),
        });
        Ok(ExitCode::SUCCESS)
    }

    async fn known(&self, config: &Config, access: &Access) -> anyhow::Result<Name> {
        let unknown = || {
            anyhow!("no action called `{}` reaches outward; `destinations list` has those that do", self.name)
        };
        let name = Name::parse(&self.name).ok_or_else(unknown)?;
        let configured = config.actions.get(&name).is_some_and(|action| action.has_destination());
        // One that is configured no more may have events waiting.
        let known = configured || access.store.destinations().await?.iter().any(|(known, _)| *known == name);
        known.then_some(name).ok_or_else(unknown)
    }
}
