//! `hookgate listen`: forwards events as they come to a program on this machine.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use hookgate_aws::{ambient::Ambient, store::Entry};
use hookgate_core::{event::Event, routing::Glob};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};
use reqwest::{Client, Url, redirect::Policy};
use serde_json::json;

use super::{events::glob, follow::FollowArgs, stop::Stop};
use crate::{
    follow::{Follower, Wanted},
    show,
};

/// What belongs to the connection that a request came over (RFC 9110, 7.6.1), and what the new one says itself.
const HOP_BY_HOP: [HeaderName; 9] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const HOP_BY_HOP_UNNAMED: [&str; 2] = ["keep-alive", "proxy-connection"];

/// How long an answer is waited for: whoever is at work on the program may have stopped it in a debugger for a while.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long a program that can't be reached is waited for, and the wait after the first try, which doubles up to the
/// longest: a program that is being compiled and started again is there within a minute.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Where to. With a path, all events go to it; otherwise each keeps its own, /webhooks/SOURCE
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = url)]
    to: Url,
    /// Only of this source (a glob)
    #[arg(long, value_parser = glob)]
    source: Option<Glob>,
    /// Only of this type (a glob)
    #[arg(long = "type", value_name = "TYPE", value_parser = glob)]
    event_type: Option<Glob>,
    /// How long to wait for a program that can't be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs())]
    patience: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

fn url(text: &str) -> Result<Url, String> {
    let wrong = || "write an address such as http://127.0.0.1:3000".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(wrong()),
    }
}

/// What the program said to an event.
struct Answer {
    /// `None` when it took the request and did not answer in time.
    status: Option<u16>,
    took: Duration,
}

impl Listen {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut stop = Stop::new()?;
        let any = || "*".to_owned();
        let (source, event_type) = (self.source.clone(), self.event_type.clone());
        let described = format!(
            "{}\n{}",
            source.as_ref().map_or_else(any, Glob::to_string),
            event_type.as_ref().map_or_else(any, Glob::to_string)
        );
        let wanted = Wanted {
            keep: Box::new(move |entry| {
                source.as_ref().is_none_or(|glob| glob.matches(entry.key.source.as_str()))
                    && event_type.as_ref().is_none_or(|glob| glob.matches(&entry.event_type))
            }),
            // An event is forwarded once, whatever becomes of it here.
            state: |_| "forwarded".to_owned(),
        };
        let started = self.follow.start("listen", &described, wanted, Ambient::system()).await?;
        let mut follower = started.follower;
        if started.is_new {
            follower.first(0).await?;
        }
        // The program is on this machine, whatever proxy leads out of it.
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(ANSWER_WITHIN).build()?;
        if !self.json {
            show::line(&format!("forwarding to {}; Ctrl-C stops it, and it goes on from there", self.to));
        }
        loop {
            let code = tokio::select! {
                code = self.turn(&mut follower, &client) => code?,
                () = stop.asked() => Some(ExitCode::SUCCESS),
            };
            if let Some(code) = code {
                follower.stop().await?;
                return Ok(code);
            }
        }
    }

    /// Forwards the next events; an exit code when it can't go on.
    async fn turn(&self, follower: &mut Follower, client: &Client) -> anyhow::Result<Option<ExitCode>> {
        for entry in follower.next().await? {
            match follower.event(&entry).await {
                Ok(Some(event)) => match self.forward(client, &event).await {
                    Some(answer) => self.say(&entry, &answer),
                    None => return Ok(Some(ExitCode::FAILURE)),
                },
                Ok(None) => left_out(&entry, "is not kept any more"),
                // It will never be any better.
                Err(error) => left_out(&entry, &format!("can't be forwarded: {error:#}")),
            }
            follower.shown(&entry)?;
        }
        Ok(None)
    }

    /// Sends an event until it was taken; `None` when nobody was there for too long.
    async fn forward(&self, client: &Client, event: &Event) -> Option<Answer> {
        let (began, mut pause, mut said) = (Instant::now(), PAUSE, false);
        loop {
            let sent = Instant::now();
            let request = client.request(event.request.method.clone(), target(&self.to, event));
            let request = request.headers(headers(event)).body(event.request.body.clone());
            match request.send().await {
                Ok(answer) => {
                    return Some(Answer { status: Some(answer.status().as_u16()), took: sent.elapsed() });
                }
                Err(error) if error.is_timeout() && !error.is_connect() => {
                    return Some(Answer { status: None, took: sent.elapsed() });
                }
                Err(error) => {
                    let what = if error.is_connect() { "can't be reached" } else { "broke the connection" };
                    if began.elapsed() >= Duration::from_secs(self.patience) {
                        show::note(&format!(
                            "hookgate: {} {what}; start it and run this again, which goes on with {} {}",
                            self.to,
                            event.source,
                            show::plain(event.id.as_str())
                        ));
                        return None;
                    }
                    if !said {
                        show::note(&format!(
                            "{} {what}; trying again for {} s, nothing is skipped",
                            self.to, self.patience
                        ));
                        said = true;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn say(&self, entry: &Entry, answer: &Answer) {
        let milliseconds = answer.took.as_secs_f64() * 1000.0;
        if self.json {
            let line = json!({
                "source": entry.key.source, "id": entry.key.id, "type": entry.event_type,
                "received_at": entry.key.received_at.to_string(), "status": answer.status,
                "milliseconds": milliseconds,
            });
            show::line(&line.to_string());
        } else {
            let status = answer.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            show::line(&format!(
                "{}  {} {} {}  →  {status} ({milliseconds:.0} ms)",
                show::short_time(entry.key.received_at),
                entry.key.source,
                show::plain(&entry.event_type),
                show::plain(entry.key.id.as_str()),
            ));
        }
    }
}

fn left_out(entry: &Entry, why: &str) {
    show::note(&format!("{} {} {why}", entry.key.source, show::plain(entry.key.id.as_str())));
}

/// The address for an event: that of the program, with the path that the sender called unless it has one, and with the
/// query that the sender sent.
fn target(to: &Url, event: &Event) -> Url {
    let mut url = to.clone();
    if url.path() == "/"
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.clear().push("webhooks").push(event.source.as_str());
        path.extend(event.request.path_type.as_deref());
    }
    let queries: Vec<&str> = [to.query().unwrap_or_default(), &event.request.query]
        .into_iter()
        .filter(|q| !q.is_empty())
        .collect();
    if !queries.is_empty() {
        url.set_query(Some(&queries.join("&")));
    }
    url
}

/// The headers that the sender sent, and what hookgate knows.
fn headers(event: &Event) -> HeaderMap {
    let mut headers = event.request.headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    for name in HOP_BY_HOP_UNNAMED {
        headers.remove(name);
    }
    for (name, value) in [
        ("x-hookgate-id", event.id.as_str()),
        ("x-hookgate-source", event.source.as_str()),
        ("x-hookgate-type", &event.event_type),
    ] {
        // What a header can't hold becomes `?`, as in the headers of `http` actions.
        let safe: String =
            value.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
        if let Ok(value) = HeaderValue::from_str(&safe) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}
