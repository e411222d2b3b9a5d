//! `hookgate inbox`: what actions have sent to the local destinations.

use std::{io::ErrorKind, process::ExitCode};

use anyhow::Context;
use clap::Args;

use super::DataArgs;
use crate::{dev::Received, show};

#[derive(Debug, Args)]
pub(super) struct Inbox {
    /// Only of this destination
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
            show::line("nothing yet; `cargo run -q -- send hatch opt-out` makes an action send something");
        }
        for one in received {
            if self.json {
                show::line(&serde_json::to_string(&one)?);
            } else {
                show::line(&format!("{}  {}  {}", one.at, one.name, show::plain(&one.body)));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
