//! `hookgate inbox`: what actions have sent to the local destinations.

use std::{borrow::Cow, io::ErrorKind, process::ExitCode};

use anyhow::Context;
use clap::Args;
use hookgate_core::aws::AwsService;
use serde::Deserialize;

use super::DataArgs;
use crate::{
    dev::{Received, inbox_name},
    show,
};

#[derive(Debug, Args)]
pub(super) struct Inbox {
    /// Only of this destination: one of your own, or `email`, `eventbridge`, `sns`, `sqs`, `lambda`, `stepfunctions`
    name: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// An e-mail as the local stack's SES puts it into the inbox.
#[derive(Debug, Deserialize)]
struct Email {
    to: Vec<String>,
    subject: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    html: String,
}

/// What was sent, in a line: of an e-mail what one reads of it, of everything else the body.
fn readable(one: &Received) -> Cow<'_, str> {
    if one.name != inbox_name(AwsService::Email) {
        return Cow::Borrowed(&one.body);
    }
    // A destination of one's own may have this name as well.
    let Ok(email) = serde_json::from_str::<Email>(&one.body) else { return Cow::Borrowed(&one.body) };
    let text = if email.text.is_empty() { email.html } else { email.text };
    Cow::Owned(format!("to {}: {} | {}", email.to.join(", "), email.subject, text.replace('\n', " ")))
}

impl Inbox {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let file = self.data.folder().inbox();
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            result => result.with_context(|| format!("reading {}", file.display()))?,
        };
        let mut received: Vec<Received> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|one: &Received| self.name.as_ref().is_none_or(|name| one.name == *name))
            .collect();
        received.drain(..received.len().saturating_sub(self.limit));
        if received.is_empty() && !self.json {
            show::line(&match &self.name {
                Some(name) if !text.is_empty() => {
                    format!(
                        "nothing was sent to {}; `hookgate inbox` has all that was sent",
                        show::plain(name)
                    )
                }
                _ => "nothing yet; `cargo run -q -- send hatch opt-out` makes an action send something"
                    .to_owned(),
            });
        }
        for one in received {
            if self.json {
                show::line(&serde_json::to_string(&one)?);
            } else {
                show::line(&format!("{}  {}  {}", one.at, one.name, show::plain(&readable(&one))));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
