//! `hookgate providers`: the catalogue.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use hookgate_core::{
    providers::{self, Proof, Provider},
    verify::Verifier,
};
use serde_json::json;

use crate::show;

#[derive(Debug, Args)]
pub(super) struct Providers {
    /// Everything about one of them
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Providers {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let chosen: Vec<&Provider> =
            match &self.name {
                None => providers::ALL.iter().collect(),
                Some(name) => vec![providers::find(name).ok_or_else(|| {
                    anyhow!("no provider is called {name}; `hookgate providers` lists them")
                })?],
            };
        if self.json {
            for provider in chosen {
                show::line(
                    &json!({
                        "slug": provider.slug, "name": provider.name, "docs": provider.docs, "checked": provider.checked,
                        "proof": proof(provider.proof), "verify": scheme(provider), "id": provider.id,
                        "type": provider.event_type, "time": provider.time, "retry_hours": provider.retry_hours,
                        "deadline_seconds": provider.deadline_seconds, "note": provider.note,
                    })
                    .to_string(),
                );
            }
        } else if let (Some(_), [provider]) = (&self.name, chosen.as_slice()) {
            let rows = [
                ("provider", provider.slug.to_owned()),
                ("name", provider.name.to_owned()),
                ("verified by", scheme(provider)),
                ("proved by", format!("{} ({})", proof(provider.proof), provider.checked)),
                ("event id", or(provider.id, "a hash of what was sent")),
                ("event type", or(provider.event_type, "the last part of the URL")),
                ("event time", or(provider.time, "the time of receipt")),
                ("sends again", format!("for {} h", provider.retry_hours)),
                ("documents", or(provider.docs, "-")),
                ("note", or(provider.note, "-")),
            ];
            for (name, value) in rows {
                show::line(&format!("{name:<12} {value}"));
            }
            show::line(&format!("\n[sources.NAME]\nprovider = \"{}\"", provider.slug));
        } else {
            let rows: Vec<Vec<String>> = chosen
                .iter()
                .map(|p| vec![p.slug.to_owned(), p.name.to_owned(), proof(p.proof).to_owned(), scheme(p)])
                .collect();
            show::table(&["PROVIDER", "NAME", "PROVED BY", "VERIFIED BY"], &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Sdk => "its SDK",
        Proof::Documentation => "its documentation",
        Proof::Own => "nothing published",
    }
}

fn scheme(provider: &Provider) -> String {
    match provider.verify.map(|scheme| Verifier::new(&scheme)) {
        Some(Ok(verifier)) => verifier.describe(),
        Some(Err(error)) => error.to_string(),
        None => "what the source says".to_owned(),
    }
}
