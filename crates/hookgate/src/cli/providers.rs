//! `hookgate providers`: the catalogue.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use hookgate_core::{
    catalogue::{self, Answering, Proof, Provider},
    handshake::Handshake,
    sealed::Encryption,
    secret::SECRET_FIELD,
    verify::SecretShape,
};
use serde_json::json;

use crate::show;

#[derive(Debug, Args)]
pub(super) struct Providers {
    /// Everything about one of them, or those whose name contains this
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Providers {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let all = catalogue::all();
        let count = all.len();
        let wanted = self.name.as_deref().map(str::to_lowercase);
        let exact = wanted.as_deref().and_then(|name| all.iter().find(|provider| provider.slug == name));
        let chosen: Vec<&Provider> = match (exact, &wanted) {
            (Some(provider), _) => vec![provider],
            (None, None) => all.iter().collect(),
            (None, Some(part)) => all
                .iter()
                .filter(|p| p.slug.contains(part.as_str()) || p.name.to_lowercase().contains(part.as_str()))
                .collect(),
        };
        if chosen.is_empty() {
            return Err(anyhow!(
                "no provider is called {}; `hookgate providers` lists all {count}, and `generic` takes any sender",
                self.name.unwrap_or_default()
            ));
        }
        if self.json {
            for provider in chosen {
                show::line(&document(provider).to_string());
            }
        } else if let (Some(_), [provider]) = (&self.name, chosen.as_slice()) {
            one(provider);
        } else {
            let rows: Vec<Vec<String>> = chosen
                .iter()
                .map(|p| vec![p.slug.clone(), p.name.clone(), p.proof.word().to_owned(), short(&scheme(p))])
                .collect();
            show::table(&["PROVIDER", "NAME", "PROVED BY", "VERIFIED BY"], &rows);
            let of = |proof| chosen.iter().filter(|provider| provider.proof == proof).count();
            show::line(&format!(
                "\n{} providers: {} proved by an SDK, {} by documentation, {} reported by third parties",
                chosen.len(),
                of(Proof::Sdk),
                of(Proof::Documentation),
                of(Proof::Reported)
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn one(provider: &Provider) {
    let places = &provider.event;
    let without_id = match provider.identical_bodies_differ {
        true => "each delivery is an event of its own",
        false => "a hash of what was sent",
    };
    let mut rows = vec![
        ("provider", provider.slug.clone()),
        ("name", provider.name.clone()),
        ("verified by", scheme(provider)),
        ("proved by", format!("{}: {}", provider.proof.word(), or(&provider.proved_by, "-"))),
        ("documents", or(&provider.docs, "-")),
        ("checked", or(&provider.checked, "-")),
        ("secret", secret(provider)),
        ("event id", or(&places.id.to_string(), without_id)),
        ("event type", or(&places.event_type.to_string(), "the last part of the URL")),
        ("event time", or(&places.time.to_string(), "the time of receipt")),
        ("sends again", format!("for {} h", provider.retry_hours)),
    ];
    if provider.deadline_seconds > 0 {
        rows.push(("waits", format!("{} s for an answer", provider.deadline_seconds)));
    }
    if let Answering::Fixed { status, body, .. } = &provider.answer {
        rows.push((
            "answer",
            if body.is_empty() { format!("{status}, empty") } else { format!("{status} {body}") },
        ));
    }
    if let Some(status) = provider.refused {
        rows.push(("refusal", format!("{status} where it is not verified")));
    }
    if provider.encrypted != Encryption::None {
        rows.push(("encrypted", "opened once it is verified; what was inside is kept".to_owned()));
    }
    if provider.handshake != Handshake::None {
        rows.push(("handshake", "answered".to_owned()));
    }
    if provider.verifier().ok().flatten().is_some_and(|verifier| verifier.leaves_body_out()) {
        rows.push((
            "beware",
            "no signature covers the body: look things up before acting on them".to_owned(),
        ));
    }
    rows.push(("note", or(&provider.note, "-")));
    for (name, value) in rows {
        show::line(&format!("{name:<12} {value}"));
    }
    show::line(&format!("\n[sources.NAME]\nprovider = \"{}\"", provider.slug));
    if provider.verify.is_none() {
        show::line("verify = { scheme = \"hmac\", header = \"x-signature\" }   # how it signs");
    }
}

fn document(provider: &Provider) -> serde_json::Value {
    json!({
        "slug": provider.slug, "name": provider.name, "docs": provider.docs, "checked": provider.checked,
        "proof": provider.proof.word(), "proved_by": provider.proved_by, "verify": scheme(provider),
        "id": provider.event.id.to_string(), "type": provider.event.event_type.to_string(),
        "time": provider.event.time.to_string(), "retry_hours": provider.retry_hours,
        "deadline_seconds": provider.deadline_seconds, "note": provider.note,
    })
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

/// As much of a scheme as a line of a list has room for.
fn short(text: &str) -> String {
    const CHARS: usize = 72;
    match text.char_indices().nth(CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn scheme(provider: &Provider) -> String {
    match provider.verifier() {
        Ok(Some(verifier)) => verifier.describe(),
        Ok(None) => "what the source says".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What an operator has to put into the secret.
fn secret(provider: &Provider) -> String {
    let more = provider.handshake.secret_values();
    let object = |names: &[&str]| {
        let fields: Vec<String> = names.iter().chain(more).map(|name| format!("\"{name}\": \"…\"")).collect();
        format!("an object: {{{}}}", fields.join(", "))
    };
    match provider.verifier().ok().flatten().map(|verifier| verifier.secret_shape()) {
        None => "what the source's scheme needs".to_owned(),
        Some(SecretShape::None) => "none: its key is published".to_owned(),
        Some(SecretShape::Text(_)) if more.is_empty() => "a text".to_owned(),
        Some(SecretShape::Text(_)) => object(&[SECRET_FIELD]),
        Some(SecretShape::PublicKey(_)) => {
            let key = "its public key: PEM, JWK, hex or base64";
            if more.is_empty() { key.to_owned() } else { format!("{}, and {key}", object(&[])) }
        }
        Some(SecretShape::Named(names)) => object(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}
