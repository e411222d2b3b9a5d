//! `hookgate quarantine`: what sources in that mode refused, and letting it in once a secret was mended.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use data_encoding::BASE64;
use hookgate_aws::{ambient::Ambient, quarantine::release, sender_keys::SenderKeys};
use hookgate_core::{
    config::Config,
    event::Event,
    gate::{Admission, Reason, admit},
    quarantine::{DAYS, Quarantined},
    secret::Secrets,
    source::{Mode, Source},
    time::EpochMillis,
    verify::VerifyError,
};
use serde_json::{Value, json};

use super::{ConfigArgs, PlaceArgs};
use crate::{
    access::{Access, Place},
    local, show,
};

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// What is in quarantine, the newest first
    List(List),
    /// One delivery, whole
    Show(Show),
    /// Verify deliveries again, as of when they came, and let in those that are genuine
    Release(Release),
}

impl Quarantine {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Release(release) => release.run().await,
        }
    }
}

#[derive(Debug, Args)]
struct Common {
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Common {
    fn sources(&self, config: &Config) -> anyhow::Result<Vec<hookgate_core::ids::Name>> {
        match &self.source {
            Some(name) => Ok(vec![local::source(config, name)?.name.clone()]),
            None => Ok(config.sources.keys().cloned().collect()),
        }
    }

    /// What there is, the newest first.
    async fn find(&self, access: &Access, config: &Config, limit: usize) -> anyhow::Result<Vec<Quarantined>> {
        let mut found = Vec::new();
        for source in self.sources(config)? {
            found.extend(access.store.quarantined(&source, limit).await?);
        }
        found.sort_by_key(|delivery| std::cmp::Reverse(delivery.request.received_at));
        found.truncate(limit);
        Ok(found)
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.common.config.config.as_deref())?;
        let access = Access::open(&self.common.place.place()).await?;
        let found = self.common.find(&access, &config, self.limit).await?;
        if self.common.json {
            for delivery in &found {
                show::line(&summary(delivery).to_string());
            }
        } else if found.is_empty() {
            show::line(
                "nothing is in quarantine; a source with `mode = \"quarantine\"` keeps there what it refuses",
            );
        } else {
            let rows: Vec<Vec<String>> = found
                .iter()
                .map(|delivery| {
                    vec![
                        show::short_time(delivery.request.received_at),
                        delivery.source.to_string(),
                        delivery.request.body.len().to_string(),
                        delivery.id.to_string(),
                        delivery.reason.clone(),
                    ]
                })
                .collect();
            show::table(&["RECEIVED", "SOURCE", "BYTES", "ID", "REASON"], &rows);
            show::line(&format!(
                "\nkept for {DAYS} days; mend the secret, then:  cargo run -q -- quarantine release --all"
            ));
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn summary(delivery: &Quarantined) -> Value {
    json!({
        "id": delivery.id, "source": delivery.source, "received_at": delivery.request.received_at.to_string(),
        "bytes": delivery.request.body.len(), "reason": delivery.reason,
    })
}

/// Most deliveries that are looked through.
const LOOK_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its id
    id: String,
    #[command(flatten)]
    common: Common,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.common.config.config.as_deref())?;
        let access = Access::open(&self.common.place.place()).await?;
        let found = self.common.find(&access, &config, LOOK_MAX).await?;
        access.close().await;
        let delivery = found
            .iter()
            .find(|delivery| delivery.id.as_str() == self.id)
            .ok_or_else(|| anyhow!("nothing in quarantine is called {}", self.id))?;
        let text = String::from_utf8(delivery.request.body.clone());
        let (body, encoding) = match &text {
            Ok(text) => (text.clone(), "utf8"),
            Err(error) => (BASE64.encode(error.as_bytes()), "base64"),
        };
        let headers: serde_json::Map<String, Value> = delivery
            .request
            .headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
            })
            .collect();
        // The shape that `hookgate verify` reads.
        let document = json!({
            "source": delivery.source, "reason": delivery.reason, "method": delivery.request.method.as_str(),
            "url": delivery.request.url, "headers": headers, "body": body, "body_encoding": encoding,
            "now": delivery.request.received_at.as_seconds(),
        });
        show::line(&if self.common.json { document.to_string() } else { format!("{document:#}") });
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// Ids of `quarantine list`
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// All of them (with --source, all of one source)
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only say what would be let in
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

impl Release {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.common.config.config.as_deref())?;
        let place = self.common.place.place();
        let access = Access::open(&place).await?;
        let secrets = access.secrets.current(Ambient::system().now()).await?;
        let found = self.common.find(&access, &config, LOOK_MAX).await?;
        let chosen =
            found.iter().filter(|delivery| self.all || self.ids.iter().any(|id| delivery.id.as_str() == id));
        let keys = match place {
            Place::Local(_) => SenderKeys::for_tests(),
            Place::Deployed(_) => SenderKeys::default(),
        };
        let (mut released, mut kept) = (0, 0);
        for delivery in chosen {
            let Some(source) = config.sources.get(&delivery.source) else { continue };
            match again(source, &secrets, &keys, delivery).await {
                Ok(event) => {
                    if !self.dry_run {
                        release(&access.store, &access.queue, source, &event, delivery).await?;
                    }
                    released += 1;
                    self.say(delivery, if self.dry_run { "genuine" } else { "released" }, event.id.as_str());
                }
                Err(reason) => {
                    kept += 1;
                    self.say(delivery, "kept", &reason);
                }
            }
        }
        access.close().await;
        if !self.common.json {
            let word = if self.dry_run { "would be released" } else { "released" };
            show::line(&format!("{released} {word}, {kept} kept"));
        }
        Ok(if kept == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn say(&self, delivery: &Quarantined, outcome: &str, detail: &str) {
        if self.common.json {
            let document = json!({
                "id": delivery.id, "source": delivery.source, "outcome": outcome, "detail": detail,
            });
            show::line(&document.to_string());
        } else {
            show::line(&format!("{outcome:<9} {}/{}  {detail}", delivery.source, delivery.id));
        }
    }
}

/// The event that a delivery is, if it verifies now, as of when it came.
async fn again(
    source: &Source,
    secrets: &Secrets,
    keys: &SenderKeys,
    delivery: &Quarantined,
) -> Result<Event, String> {
    let at = delivery.request.received_at;
    let active = secrets.active(&source.secret);
    let mut known = keys.known(&source.verifier, &delivery.request, &active, at).await;
    for _ in 0..2 {
        match admit(source, Mode::Enforce, secrets, &known, &delivery.request, at) {
            Admission::Event(event) => return Ok(*event),
            Admission::Refused(Reason::Verify(VerifyError::KeyNeeded { url })) => {
                let now = EpochMillis::from_millis(Ambient::system().now().as_millis());
                known = keys.fetch(&url, now).await.map_err(|error| error.to_string())?;
            }
            Admission::Refused(reason) => return Err(reason.to_string()),
            Admission::Answer(_) | Admission::Visit { .. } | Admission::Quarantine { .. } => {
                return Err("it is no event, but a request that sets a webhook up".to_owned());
            }
        }
    }
    Err("the sender's key could not be used".to_owned())
}
