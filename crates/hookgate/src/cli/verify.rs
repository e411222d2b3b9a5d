//! `hookgate verify`: which step of a verification fails, and why. For the owner: a stranger is told nothing.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use clap::Args;
use data_encoding::BASE64;
use hookgate_aws::{ambient::Ambient, sender_keys::SenderKeys};
use hookgate_core::{
    Fetched, catalogue,
    handshake::{Handshake, Step},
    request::Request,
    secret::Secret,
    sign::test_keys,
    time::EpochMillis,
    verify::{Verifier, VerifyError},
};
use serde_json::json;

use super::{ConfigArgs, PlaceArgs, request_file::RequestFile, secrets};
use crate::{local, show};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A file with the request as JSON: method, url, headers, body, and how the body is written ("-": standard input)
    file: PathBuf,
    /// A source of hookgate.toml, with its scheme and secrets
    #[arg(long, required_unless_present = "provider", conflicts_with = "provider")]
    source: Option<String>,
    /// A provider of the catalogue
    #[arg(long)]
    provider: Option<String>,
    /// The secret, where a text is enough
    #[arg(long, value_name = "VALUE")]
    secret: Option<String>,
    /// The secret as a JSON object of named values
    #[arg(long, value_name = "JSON", conflicts_with = "secret")]
    secrets: Option<String>,
    /// When it was received, in seconds since 1970 (default: what the file says, else now)
    #[arg(long, value_name = "UNIX")]
    now: Option<i64>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What a request is verified with.
struct With {
    verifier: Verifier,
    handshake: Handshake,
    secrets: Vec<Secret>,
    /// What the sender would publish, where it was given.
    published: Vec<String>,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let written = RequestFile::read(&self.file)?;
        let system = Ambient::system().now();
        let now = self.now.or(written.now).map_or(system, EpochMillis::from_seconds);
        let request = written.request(now)?;
        let with = self.with().await?;
        let active: Vec<&Secret> = with.secrets.iter().collect();
        let step = match with.handshake.before(&request, &active) {
            Step::NotOne => None,
            step => Some(step),
        };
        if let Some(step) = step {
            let valid = !matches!(step, Step::Refuse);
            let what =
                if valid { "a handshake, answered before any event" } else { "a handshake that is refused" };
            self.say(&with, valid, what, "");
            return Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match check(&with, &request, &active, now).await {
            Ok(signed_at) => {
                let when = signed_at.map_or_else(String::new, |at| format!("signed at {at}"));
                self.say(&with, true, "the signature is right", &when);
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                let cause = cause(&error, &with, &request, &active, now);
                self.say(&with, false, &error.to_string(), &cause);
                Ok(ExitCode::FAILURE)
            }
        }
    }

    async fn with(&self) -> anyhow::Result<With> {
        let mut published = Vec::new();
        let given = match (&self.secret, &self.secrets) {
            (Some(text), _) => Some(vec![Secret::from(text.as_str())]),
            (None, Some(json)) => {
                let values: BTreeMap<String, String> = serde_json::from_str(json)
                    .map_err(|_| anyhow!("--secrets has to be a JSON object of texts"))?;
                for (name, value) in &values {
                    if name.starts_with("cert") || name.starts_with("public_key") || name == "jwks" {
                        published.push(value.clone());
                    }
                }
                // As they are named, or each as a text: an old and a new one, or one key in several forms.
                let each: Vec<Secret> = values.values().map(|value| Secret::from(value.as_str())).collect();
                Some(match each.len() {
                    1 => each,
                    _ => std::iter::once(Secret::Named(values)).chain(each).collect(),
                })
            }
            (None, None) => None,
        };
        if let Some(slug) = &self.provider {
            let provider = catalogue::find(slug)
                .ok_or_else(|| anyhow!("no provider is called {slug}; `hookgate providers` lists them"))?;
            let verifier = provider
                .verifier()?
                .ok_or_else(|| anyhow!("{slug} has no scheme of its own; name a --source"))?;
            if given.is_none() && verifier.needs_secret() {
                bail!("say the secret: --secret VALUE, or --secrets '{{\"name\": \"value\"}}'");
            }
            let secrets = given.unwrap_or_default();
            return Ok(With { verifier, handshake: provider.handshake, secrets, published });
        }
        let name = self.source.as_deref().unwrap_or_default();
        let config = local::config(self.config.config.as_deref())?;
        let source = local::source(&config, name)?;
        let secrets = match given {
            Some(secrets) => secrets,
            None => {
                let (secrets, _) = secrets::read(&self.place.place()).await?;
                secrets.active(&source.secret).into_iter().cloned().collect()
            }
        };
        Ok(With { verifier: source.verifier.clone(), handshake: source.handshake, secrets, published })
    }

    fn say(&self, with: &With, valid: bool, what: &str, more: &str) {
        if self.json {
            let document = json!({
                "valid": valid, "scheme": with.verifier.describe(), "reason": what, "likely_cause": more,
            });
            show::line(&document.to_string());
            return;
        }
        show::line(&format!("{}  {what}", if valid { "valid  " } else { "INVALID" }));
        show::line(&format!("scheme   {}", with.verifier.describe()));
        if !more.is_empty() {
            show::line(&format!("{}  {more}", if valid { "time   " } else { "likely " }));
        }
    }
}

/// Tries one secret after the other: one that does not fit must not hide another that does. The first one's error is
/// the one that is told.
async fn check(
    with: &With,
    request: &Request,
    secrets: &[&Secret],
    now: EpochMillis,
) -> Result<Option<EpochMillis>, VerifyError> {
    let mut first = None;
    let sets: Vec<&[&Secret]> = if secrets.is_empty() { vec![&[]] } else { secrets.chunks(1).collect() };
    for set in sets {
        match check_one(with, request, set, now).await {
            Ok(signed_at) => return Ok(signed_at),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or(VerifyError::SecretMissing))
}

async fn check_one(
    with: &With,
    request: &Request,
    secrets: &[&Secret],
    now: EpochMillis,
) -> Result<Option<EpochMillis>, VerifyError> {
    let verify = |fetched: &Fetched| {
        with.verifier.verify_fetched(request, secrets, fetched, now).map(|verified| verified.signed_at)
    };
    let result = verify(&test_keys(&with.verifier, request, secrets));
    let Err(VerifyError::KeyNeeded { url }) = &result else { return result };
    if with.published.is_empty() {
        return match SenderKeys::default().fetch(url, now).await {
            Ok(fetched) => verify(&fetched),
            Err(_) => result,
        };
    }
    let mut last = result.clone();
    for content in &with.published {
        let mut fetched = Fetched::default();
        fetched.insert(url.clone(), content.as_bytes());
        last = verify(&fetched);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// What most likely went wrong, found out by trying it the other way.
fn cause(
    error: &VerifyError,
    with: &With,
    request: &Request,
    secrets: &[&Secret],
    now: EpochMillis,
) -> String {
    let works =
        |changed: &Request| with.verifier.verify_fetched(changed, secrets, &Fetched::default(), now).is_ok();
    match error {
        VerifyError::SignatureMissing { place } => {
            let sent: Vec<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
            format!(
                "the sender signs only once a secret is set there, or a proxy took {place} away; there are: {}",
                sent.join(", ")
            )
        }
        VerifyError::SignatureMalformed { .. } => {
            "another provider's signature, another version of it, or a value that was cut".to_owned()
        }
        VerifyError::TimestampTooOld { .. } => {
            "a delivery that was kept and sent again, or our clock; with `--now` it is judged as of then"
                .to_owned()
        }
        VerifyError::TimestampInFuture { .. } => "the sender's clock, or ours".to_owned(),
        VerifyError::TimestampMissing { .. } | VerifyError::PartMissing { .. } => {
            "a proxy took a header away, or the URL is not the one that the sender calls".to_owned()
        }
        VerifyError::TimestampMalformed => "the timestamp was changed".to_owned(),
        VerifyError::SecretMissing => "no secret of that name is in the secrets".to_owned(),
        VerifyError::SecretUnusable { expected } => {
            format!(
                "the secret has to be {expected}: copy it as the provider shows it, without quotes or spaces"
            )
        }
        VerifyError::KeyNeeded { url } | VerifyError::KeyUnusable { url } => {
            format!("{url} could not be had from here")
        }
        VerifyError::KeyForeign => "a forged message".to_owned(),
        VerifyError::NotAboutThis { .. } => {
            "the signature is another request's: the body or the URL was changed, or it is of another account"
                .to_owned()
        }
        VerifyError::NotOpened => {
            "the body was encrypted with another key than the one that signed, or in a way that is not known here"
                .to_owned()
        }
        VerifyError::SignatureMismatch => {
            if let Some(change) = mended(request).into_iter().find(|(_, changed)| works(changed)) {
                return change.0.to_owned();
            }
            if with.verifier.describe().contains("{url") {
                return "the URL is not the one that the sender calls (set `public_url`), or the secret is another's"
                    .to_owned();
            }
            "the secret is another's (another endpoint's, or test instead of live), or the body was changed on the way"
                .to_owned()
        }
    }
}

/// The request with what is most often done to it undone.
fn mended(request: &Request) -> Vec<(&'static str, Request)> {
    let with_body = |body: Vec<u8>| Request { body, ..request.clone() };
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(&request.body);
    if let Some(trimmed) = text.strip_suffix('\n') {
        found.push((
            "the body has a line break at its end that the sender did not send",
            with_body(trimmed.into()),
        ));
    }
    found.push((
        "the body lacks the line break at its end that the sender sent",
        with_body(format!("{text}\n").into()),
    ));
    if text.contains("\r\n") {
        found.push(("the body's line breaks were changed", with_body(text.replace("\r\n", "\n").into())));
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&request.body) {
        found.push((
            "the body was parsed and written anew on the way: pass the bytes as they came",
            with_body(value.to_string().into()),
        ));
    }
    if let Ok(plain) = BASE64.decode(text.trim().as_bytes()) {
        found
            .push(("the body is still in base64, as API Gateway hands over binary bodies", with_body(plain)));
    }
    for (from, to) in [("http://", "https://"), ("https://", "http://")] {
        if let Some(rest) = request.url.strip_prefix(from) {
            let changed = Request { url: format!("{to}{rest}"), ..request.clone() };
            found.push((
                "the sender calls the URL with another scheme (http or https): set `public_url`",
                changed,
            ));
        }
    }
    let slash = match request.url.strip_suffix('/') {
        Some(rest) => rest.to_owned(),
        None => format!("{}/", request.url),
    };
    let changed = Request { url: slash, ..request.clone() };
    found.push(("the URL differs from the sender's by a slash at its end", changed));
    found
}
