//! `hookgate reconcile`: what a provider sent and the store does not have is brought in.

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use hookgate_aws::ambient::Ambient;
use hookgate_core::{config::Config, ids::Name, routing::Glob, source::Source};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    ConfigArgs, PlaceArgs, ask,
    events::glob,
    since::{DAY_MS, Since, since},
};
use crate::{
    access::Access,
    local,
    reconcile::{
        Brought, Compared, Provider, Sent, Window, compare,
        github::{self, GitHub, Hook},
        stripe::{self, Gateway, Stripe},
    },
    show,
};

/// What was sent within this time may still be on its way.
const ON_ITS_WAY_MS: i64 = 5 * 60 * 1000;

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// A source of hookgate.toml whose provider is github or stripe
    source: String,
    /// Only what was sent since then: a time (2026-11-21T10:00:00Z), or an age (90s, 15m, 6h, 2d)
    #[arg(long, value_name = "WHEN", value_parser = since, default_value = "24h")]
    since: Since,
    /// Only what was sent before then (default 5m: what is newer may still be on its way)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    until: Option<Since>,
    /// Only events of this type, a glob; can be said several times (default: whatever this webhook is sent)
    #[arg(long = "type", value_name = "TYPE", value_parser = glob)]
    types: Vec<Glob>,
    /// GitHub's webhook: OWNER/REPO/ID, ORG/ID, or `app`; ID is in the address of its settings
    #[arg(long, value_name = "WEBHOOK", value_parser = hook)]
    hook: Option<Hook>,
    /// Only say what is missing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask before bringing in what is missing
    #[arg(long)]
    yes: bool,
    /// How many to bring in a second, at most (default: 1 for GitHub, 10 for Stripe)
    #[arg(long, value_name = "N", value_parser = ask::rate)]
    rate: Option<f64>,
    /// How many of the missing ones to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Address of the provider's API, such as `https://HOST/api/v3` of a GitHub Enterprise Server
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Address of another gateway to post Stripe's events to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// One JSON object a line: each missing event with what became of it, then the counts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

fn hook(text: &str) -> Result<Hook, String> {
    Hook::parse(text).ok_or_else(|| "write OWNER/REPO/ID, ORG/ID or app".to_owned())
}

/// What became of all of it.
#[derive(Debug, Default)]
struct Counts {
    asked: usize,
    accepted: usize,
    duplicate: usize,
    failed: usize,
}

impl Counts {
    fn add(&mut self, brought: Brought) {
        match brought {
            Brought::Asked => self.asked += 1,
            Brought::Accepted => self.accepted += 1,
            Brought::Duplicate => self.duplicate += 1,
        }
    }
}

impl Reconcile {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = local::config(self.config.config.as_deref())?;
        let source = self.take_source(&mut config)?;
        let name = source.name.clone();
        let mut window = self.window(&source)?;
        let (mut provider, rate) = match source.provider.slug.as_str() {
            "github" => (Provider::GitHub(Box::new(self.github(&source)?)), github::RATE),
            "stripe" => (Provider::Stripe(Box::new(self.stripe(&config, source).await?)), stripe::RATE),
            other => {
                bail!("{name} is of the provider {other}; only github and stripe can be asked what they sent")
            }
        };
        let rate = self.rate.unwrap_or(rate);
        if let Provider::Stripe(stripe) = &mut provider
            && window.types.is_empty()
        {
            window.types = stripe.types().await?;
        }
        let compared = self.compare(&mut provider, &name, &window).await?;
        if !self.json {
            self.print(&name, &provider, &window, &compared);
        }
        if self.dry_run || compared.missing.is_empty() {
            if self.json {
                for sent in &compared.missing {
                    show::line(&document(&name, sent, "missing", "").to_string());
                }
                show::line(&self.summary(&name, &window, &compared, &Counts::default()).to_string());
            }
            return Ok(ExitCode::SUCCESS);
        }
        if !self.is_wanted(&provider, compared.missing.len(), rate)? {
            return Ok(ExitCode::FAILURE);
        }
        let (counts, stopped) = self.bring(&mut provider, &name, &compared, rate).await?;
        if self.json {
            show::line(&self.summary(&name, &window, &compared, &counts).to_string());
        } else {
            self.print_counts(&provider, &counts);
        }
        if let Some(why) = stopped {
            let done = counts.asked + counts.accepted + counts.duplicate + counts.failed;
            bail!("stopped after {done} of {}: {why}", compared.missing.len());
        }
        Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn take_source(&self, config: &mut Config) -> anyhow::Result<Source> {
        let there: Vec<String> = config.sources.keys().map(ToString::to_string).collect();
        let name = Name::parse(&self.source);
        name.and_then(|name| config.sources.remove(&name))
            .ok_or_else(|| anyhow!("no source is called {}; there are: {}", self.source, there.join(", ")))
    }

    fn window(&self, source: &Source) -> anyhow::Result<Window> {
        let now = Ambient::system().now();
        let since = self.since.at(now);
        let until = self.until.unwrap_or(Since::Ago(ON_ITS_WAY_MS)).at(now);
        if until <= since {
            bail!("--since has to be before --until: {since} is not before {until}");
        }
        // What the store has forgotten by now would look missing, and its actions would run once more.
        let days = i64::from(source.retention_days);
        if now.millis_since(since) > days * DAY_MS {
            bail!(
                "{} keeps its events for {days} days; with --since before that, all of them would look missing",
                source.name
            );
        }
        let (keeps, who) = match source.provider.slug.as_str() {
            "github" if self.api.is_none() => (github::KEEPS_DAYS, "GitHub"),
            "stripe" => (stripe::KEEPS_DAYS, "Stripe"),
            _ => (i64::MAX / DAY_MS, ""),
        };
        if now.millis_since(since) > keeps * DAY_MS {
            show::note(&format!("{who} tells of the last {keeps} days only"));
        }
        Ok(Window { since, until, types: self.types.clone() })
    }

    fn github(&self, source: &Source) -> anyhow::Result<GitHub> {
        if self.to.is_some() {
            bail!("--to is for stripe; GitHub delivers to the address in the webhook's settings");
        }
        github::need_own_ids(source)?;
        let hook = self.hook.clone().ok_or_else(|| {
            anyhow!(
                "say which webhook: --hook OWNER/REPO/ID, --hook ORG/ID or --hook app; ID is in the address of its \
                 settings, and the header x-github-hook-id of every event"
            )
        })?;
        GitHub::new(self.api.as_deref().unwrap_or(github::API), std::env::var(github::TOKEN).ok(), hook)
    }

    async fn stripe(&self, config: &Config, source: Source) -> anyhow::Result<Stripe> {
        if self.hook.is_some() {
            bail!("--hook is for github; Stripe's webhook endpoint is found by its address");
        }
        let gateway = match self.dry_run {
            true => None,
            false => Some(self.gateway(config, &source).await?),
        };
        let base = self.api.as_deref().unwrap_or(stripe::API);
        Stripe::new(base, std::env::var(stripe::KEY).ok(), source, gateway)
    }

    /// The gateway, and the secret that it knows the source by.
    async fn gateway(&self, config: &Config, source: &Source) -> anyhow::Result<Gateway> {
        let access = Access::open(&self.place.place()).await?;
        let found = self.gateway_of(&access, config, source).await;
        access.close().await;
        found
    }

    async fn gateway_of(&self, access: &Access, config: &Config, source: &Source) -> anyhow::Result<Gateway> {
        let base = match (&self.to, &access.gateway) {
            (Some(to), _) => to.trim_end_matches('/').to_owned(),
            (None, Some(gateway)) => gateway.clone(),
            (None, None) => bail!(
                "no local stack runs in {}; `cargo run` starts one, --to names another gateway",
                self.place.data.folder().path().display()
            ),
        };
        let public_url = config.public_url.clone();
        if source.verifier.is_none() {
            return Ok(Gateway { base, public_url, secret: None });
        }
        let secrets = access.secrets.current(Ambient::system().now()).await?;
        let secret = secrets.newest(&source.secret).cloned();
        let secret = secret.ok_or_else(|| anyhow!("there is no secret called {}", source.secret))?;
        Ok(Gateway { base, public_url, secret: Some(secret) })
    }

    async fn compare(
        &self,
        provider: &mut Provider,
        source: &Name,
        window: &Window,
    ) -> anyhow::Result<Compared> {
        // The one place where the store is opened.
        let access = Access::open(&self.place.place()).await?;
        let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
        let compared = compare(provider, &access.store, source, window, |sent, missing| {
            spinner.set_message(format!("{sent} compared, {missing} missing"));
            spinner.tick();
        })
        .await;
        spinner.finish_and_clear();
        access.close().await;
        compared
    }

    fn print(&self, source: &Name, provider: &Provider, window: &Window, compared: &Compared) {
        let row = |name: &str, text: &str| show::line(&format!("{name:<9} {text}"));
        let (sent, missing) = (compared.sent, compared.missing.len());
        row("source", source.as_str());
        row("asked", &provider.describe());
        row("from", &format!("{} to {}", show::short_time(window.since), show::short_time(window.until)));
        if !window.types.is_empty() {
            let types: Vec<String> = window.types.iter().map(ToString::to_string).collect();
            row("types", &types.join(", "));
        }
        row("sent", &sent.to_string());
        row("here", &(sent - missing).to_string());
        row("missing", &missing.to_string());
        if missing == 0 {
            return;
        }
        show::line("");
        let listed = compared.missing.iter().take(self.limit);
        let rows: Vec<Vec<String>> = listed
            .map(|sent| {
                let (event_type, id) = (show::plain(&sent.event_type), show::plain(sent.id.as_str()));
                vec![show::short_time(sent.at), event_type, id, show::plain(&sent.said)]
            })
            .collect();
        show::table(&["SENT", "TYPE", "ID", "LAST ANSWER"], &rows);
        if missing > self.limit {
            show::line(&format!("and {} more (--limit)", missing - self.limit));
        }
        show::line("");
    }

    /// Says what will be done, and has it confirmed.
    fn is_wanted(&self, provider: &Provider, missing: usize, rate: f64) -> anyhow::Result<bool> {
        let plan = format!("{} {missing}, {rate} a second at most", provider.plan());
        if self.yes {
            if !self.json {
                show::line(&plan);
            }
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            show::note(&format!("{plan}: nothing was done, as there is nobody to ask; --yes does it"));
            return Ok(false);
        }
        show::note(&format!("{plan}. Do it? [y/N]"));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("reading the answer")?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Brings in one after the other. The second value says why that stopped before the end.
    async fn bring(
        &self,
        provider: &mut Provider,
        source: &Name,
        compared: &Compared,
        rate: f64,
    ) -> anyhow::Result<(Counts, Option<String>)> {
        let gap = Duration::from_secs_f64(1.0 / rate);
        let length = u64::try_from(compared.missing.len()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(length)
            .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len}  {eta} left  {msg}")?);
        let say = |text: &str| if bar.is_hidden() { show::line(text) } else { bar.println(text) };
        let mut counts = Counts::default();
        let mut due = Instant::now();
        for sent in &compared.missing {
            tokio::time::sleep_until(due.into()).await;
            due = Instant::now() + gap;
            let (word, detail) = match provider.bring(sent).await {
                Ok(brought) => {
                    counts.add(brought);
                    (brought.word(), String::new())
                }
                Err(failed) if failed.hopeless => {
                    bar.finish_and_clear();
                    return Ok((counts, Some(failed.why)));
                }
                Err(failed) => {
                    counts.failed += 1;
                    ("failed", failed.why)
                }
            };
            bar.inc(1);
            if self.json {
                show::line(&document(source, sent, word, &detail).to_string());
            } else if bar.is_hidden() || word == "failed" {
                let (event_type, id) = (show::plain(&sent.event_type), show::plain(sent.id.as_str()));
                say(format!("{word:<9} {event_type}  {id}  {detail}").trim_end());
            }
        }
        bar.finish_and_clear();
        Ok((counts, None))
    }

    fn print_counts(&self, provider: &Provider, counts: &Counts) {
        let Counts { asked, accepted, duplicate, failed } = counts;
        let done = match provider {
            Provider::GitHub(_) => format!("GitHub was asked for {asked}"),
            Provider::Stripe(_) => format!("{accepted} accepted, {duplicate} here by now"),
        };
        show::line(&format!("{done}, {failed} failed"));
        if *asked > 0 {
            show::line("they come within minutes; what has come is no longer missing when this is run again");
        }
    }

    fn summary(&self, source: &Name, window: &Window, compared: &Compared, counts: &Counts) -> Value {
        let Counts { asked, accepted, duplicate, failed } = counts;
        json!({
            "source": source, "since": window.since.to_string(), "until": window.until.to_string(),
            "sent": compared.sent, "here": compared.sent - compared.missing.len(),
            "missing": compared.missing.len(), "asked": asked, "accepted": accepted, "duplicate": duplicate,
            "failed": failed,
        })
    }
}

/// One event that was missing.
fn document(source: &Name, sent: &Sent, outcome: &str, detail: &str) -> Value {
    json!({
        "source": source, "id": sent.id, "type": sent.event_type, "sent_at": sent.at.to_string(),
        "last_answer": (!sent.said.is_empty()).then_some(&sent.said), "outcome": outcome, "detail": detail,
    })
}
