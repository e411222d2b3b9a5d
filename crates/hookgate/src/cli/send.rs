//! `hookgate send`: a genuine request from any sender that has a sample.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use clap::Args;
use futures::{StreamExt, stream};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{
    catalogue::Answering,
    config::Config,
    sample::SAMPLE_TYPE,
    secret::Secret,
    sign::test_secret,
    source::{Mode, Source},
};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::Value;

use super::{ConfigArgs, PlaceArgs, secrets};
use crate::{
    access::{Access, Place},
    local,
    samples::{self, Ready, Sample},
    show,
};

/// The status of what was put into quarantine.
const QUARANTINED: u16 = 202;

/// Requests on their way at once.
const IN_FLIGHT_MAX: usize = 64;

#[derive(Debug, Args)]
pub(super) struct Send {
    /// A source of hookgate.toml
    source: String,
    /// An event type, or the name of a sample (default: the source's first)
    #[arg(value_name = "TYPE")]
    event_type: Option<String>,
    /// Sign with another secret, which the gateway has to refuse
    #[arg(long)]
    bad_signature: bool,
    /// Send the same event twice
    #[arg(long)]
    duplicate: bool,
    /// How many different events to send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// How many a second, at most
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Address of another gateway
    #[arg(long, value_name = "URL", conflicts_with = "stack")]
    to: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// As fast as somebody wants to try.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write how many a second, more than 0".to_owned())
}

impl Send {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = local::config(self.config.config.as_deref())?;
        let source = local::source(&config, &self.source)?;
        let sample = samples::pick(&samples::all()?, source, self.event_type.as_deref())?;
        let secret = self.secret(source).await?;
        let gateway = self.gateway().await?;
        let ambient = Ambient::system();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let event_type = match &sample {
            Some(sample) => sample.event_type.clone(),
            None => self.event_type.clone().unwrap_or_else(|| SAMPLE_TYPE.to_owned()),
        };
        let sender = Sender { config: &config, source, sample, event_type, secret, gateway, ambient, client };
        if self.count == 1 { self.one(&sender).await } else { self.many(&sender).await }
    }

    async fn secret(&self, source: &Source) -> anyhow::Result<Option<Secret>> {
        if source.verifier.is_none() {
            return Ok(None);
        }
        if self.bad_signature {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(|e| anyhow!("the system has no randomness: {e}"))?;
            return Ok(test_secret(&source.verifier, &random)?);
        }
        let (secrets, where_they_are) = secrets::read(&self.place.place()).await?;
        let secret = secrets.newest(&source.secret).cloned();
        if secret.is_none() && !source.verifier.needs_secret() {
            return Ok(None);
        }
        secret
            .map(Some)
            .ok_or_else(|| anyhow!("there is no secret called {} in {where_they_are}", source.secret))
    }

    async fn gateway(&self) -> anyhow::Result<String> {
        if let Some(to) = &self.to {
            return Ok(to.trim_end_matches('/').to_owned());
        }
        let found = match self.place.place() {
            Place::Local(folder) => folder.endpoints().map(|endpoints| endpoints.gateway),
            place @ Place::Deployed(_) => {
                let access = Access::open(&place).await?;
                let gateway = access.gateway.clone();
                access.close().await;
                gateway
            }
        };
        found.ok_or_else(|| {
            anyhow!(
                "no local stack runs in {}; `cargo run` starts one, --to names another gateway",
                self.place.data.folder().path().display()
            )
        })
    }

    /// What to type to see what became of it.
    fn see(&self, command: &str) {
        let stack = self.place.stack.as_deref().map(|name| format!(" --stack {}", quoted(name)));
        show::line(&format!("see it:  cargo run -q -- {command}{}", stack.unwrap_or_default()));
    }

    async fn one(&self, sender: &Sender<'_>) -> anyhow::Result<ExitCode> {
        let ready = sender.make()?;
        let mut all_accepted = true;
        let mut kept_apart = false;
        let mut id = ready.id.clone();
        for _ in 0..if self.duplicate { 2 } else { 1 } {
            let answer = sender.post(&ready).await?;
            all_accepted &= answer.accepted();
            kept_apart |= answer.kept_apart(sender.source).is_some();
            let document: Option<Value> = serde_json::from_str(&answer.body).ok();
            id = document.and_then(|d| d.get("event_id")?.as_str().map(str::to_owned)).or(id);
            if self.json {
                show::line(&answer.json(sender).to_string());
            } else {
                show::line(&answer.text(sender));
            }
        }
        if all_accepted && !self.json {
            match id {
                _ if kept_apart => self.see("quarantine list"),
                None => self.see("events list"),
                Some(id) => self.see(&format!("events show {}", quoted(&id))),
            }
        }
        Ok(if all_accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn many(&self, sender: &Sender<'_>) -> anyhow::Result<ExitCode> {
        let bar = ProgressBar::new(self.count)
            .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {msg}")?);
        let started = Instant::now();
        let gap = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let posts = stream::iter(0..self.count)
            .then(|n| async move {
                if let Some(gap) = gap {
                    let due = started + gap.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
                    tokio::time::sleep_until(due.into()).await;
                }
            })
            .map(|()| async {
                let ready = sender.make()?;
                let mut answers = vec![sender.post(&ready).await?];
                if self.duplicate {
                    answers.push(sender.post(&ready).await?);
                }
                anyhow::Ok(answers)
            })
            .buffer_unordered(IN_FLIGHT_MAX);
        futures::pin_mut!(posts);
        let (mut latencies, mut statuses) = (Vec::new(), std::collections::BTreeMap::<String, u64>::new());
        while let Some(answers) = posts.next().await {
            match answers {
                Ok(answers) => {
                    for answer in answers {
                        latencies.push(answer.took);
                        *statuses.entry(answer.status.to_string()).or_default() += 1;
                    }
                }
                Err(error) => {
                    *statuses.entry(format!("{error:#}")).or_default() += 1;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        latencies.sort();
        let at = |part: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rank"
            )]
            let rank = ((latencies.len().saturating_sub(1)) as f64 * part) as usize;
            latencies.get(rank).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let seconds = started.elapsed().as_secs_f64();
        let sent: u64 = statuses.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate to show")]
        let rate = sent as f64 / seconds.max(f64::EPSILON);
        if self.json {
            show::line(&serde_json::json!({
                "source": self.source, "sent": sent, "seconds": seconds, "per_second": rate, "statuses": statuses,
                "latency_ms": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)},
            }).to_string());
        } else {
            show::line(&format!("sent {sent} in {seconds:.1} s, {rate:.0} a second"));
            for (status, count) in &statuses {
                show::line(&format!("  {status:<8} {count}"));
            }
            show::line(&format!(
                "  latency  p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1}",
                at(0.5),
                at(0.9),
                at(0.99),
                at(1.0)
            ));
        }
        let refused = statuses.iter().any(|(status, _)| !status.starts_with('2'));
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

struct Sender<'a> {
    config: &'a Config,
    source: &'a Source,
    sample: Option<Sample>,
    event_type: String,
    secret: Option<Secret>,
    gateway: String,
    ambient: Ambient,
    client: Client,
}

struct Answer {
    status: u16,
    body: String,
    took: Duration,
    id: Option<String>,
}

impl Sender<'_> {
    fn make(&self) -> anyhow::Result<Ready> {
        let random = [self.ambient.random(), self.ambient.random()];
        let (now, secret) = (self.ambient.now(), self.secret.as_ref());
        match &self.sample {
            Some(sample) => sample.fresh(self.config, self.source, secret, &self.gateway, now, random),
            None => samples::made_up(
                self.config,
                self.source,
                secret,
                &self.gateway,
                now,
                random,
                &self.event_type,
            ),
        }
    }

    async fn post(&self, ready: &Ready) -> anyhow::Result<Answer> {
        let started = Instant::now();
        let response = self
            .client
            .request(ready.request.method.clone(), format!("{}{}", self.gateway, ready.path))
            .headers(ready.request.headers.clone())
            .body(ready.request.body.clone())
            .send()
            .await
            .map_err(|error| {
                anyhow!(
                    "{} {}",
                    self.gateway,
                    if error.is_connect() { "could not be reached" } else { "broke the connection" }
                )
            })?;
        let status = response.status().as_u16();
        let body = response.text().await.unwrap_or_default();
        Ok(Answer { status, body, took: started.elapsed(), id: ready.id.clone() })
    }
}

impl Answer {
    fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The word for what was kept apart. Such an answer is a 202 without a body, and a source may have the same one for
    /// its events.
    fn kept_apart(&self, source: &Source) -> Option<&'static str> {
        let is_one = |status: u16, body: &str| status == QUARANTINED && body.is_empty();
        if source.mode != Mode::Quarantine || !is_one(self.status, &self.body) {
            return None;
        }
        match &source.answer {
            Answering::Fixed { status, body, .. } if is_one(*status, body) => Some("accepted or quarantined"),
            Answering::Fixed { .. } | Answering::Document => Some("quarantined"),
        }
    }

    fn text(&self, sender: &Sender<'_>) -> String {
        let document: Option<Value> = serde_json::from_str(&self.body).ok();
        let said = |name: &str| document.as_ref().and_then(|d| d.get(name)?.as_str().map(str::to_owned));
        let word = said("status").or_else(|| said("detail"));
        let word = word.unwrap_or_else(|| {
            let otherwise = if self.accepted() { "accepted" } else { "" };
            self.kept_apart(sender.source).unwrap_or(otherwise).to_owned()
        });
        let id = said("event_id").or_else(|| self.id.clone()).unwrap_or_default();
        let mut what = format!("{} {}", sender.source.name, sender.event_type);
        if !id.is_empty() {
            what = format!("{what} {id}");
        }
        format!("{what}  →  {} {word} ({:.0} ms)", self.status, self.took.as_secs_f64() * 1000.0)
    }

    fn json(&self, sender: &Sender<'_>) -> Value {
        serde_json::json!({
            "source": sender.source.name,
            "type": sender.event_type,
            "id": self.id,
            "status": self.status,
            "body": self.body,
            "milliseconds": self.took.as_secs_f64() * 1000.0,
        })
    }
}
