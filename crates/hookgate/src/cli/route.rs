//! `hookgate route`: what an event would do, without doing it. Nothing is sent or stored, and no secret is read.

use std::{path::PathBuf, process::ExitCode};

use anyhow::anyhow;
use clap::Args;
use data_encoding::BASE64;
use hookgate_aws::ambient::Ambient;
use hookgate_core::{
    action::About,
    body::{Format, View},
    config::Config,
    effect::{Effect, HttpEffect, Text},
    event::{Event, view_for},
    gate::Reason,
    handshake::Step,
    ids::Name,
    place::Locator,
    request::{Request, route},
    routing::{self, RouteRule, Verdict},
    sign::Outgoing,
    source::Source,
    time::EpochMillis,
    verify::Verified,
};
use http::Method;
use serde_json::{Map, Value, json};

use super::{ConfigArgs, request_file::RequestFile};
use crate::{local, show};

/// Most characters of a value that are printed for a person; `--json` has all of it.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Most characters of what a filter came to, which can be the whole event.
const FILTER_CHARS_MAX: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Route {
    /// The request as JSON, as `quarantine show` prints one, or a sample of events/ ("-": standard input)
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The source that it goes to (default: what the file says, else its URL)
    #[arg(long)]
    source: Option<String>,
    /// Treat it as an event of this type, whatever it says
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What would become of the request.
enum Outcome {
    /// It is no event, and that is right.
    Handshake,
    /// The sender would get an error.
    Refused(Reason),
    /// An event with all that it leads to.
    Event(Box<Explained>),
}

struct Explained {
    event: Event,
    view: View,
    /// Where its id, type and time were found.
    found: [(&'static str, String, String); 3],
    verdicts: Vec<Verdict>,
    planned: Planned,
}

enum Planned {
    /// Each action with what it would do, or why it can't.
    Actions(Vec<(Name, Result<Effect, String>)>),
    /// A filter fails, so that nothing is done.
    Dead(String),
}

impl Route {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let file = RequestFile::read(&self.file)?;
        let config = local::config(self.config.config.as_deref())?;
        let source = self.source(&config, &file)?;
        let now = file.now.map_or_else(|| Ambient::system().now(), EpochMillis::from_seconds);
        let request = file.request(now)?;
        let outcome = explain(&config, source, &request, self.event_type.as_deref());
        if self.json {
            show::line(&document(&config, source, &outcome).to_string());
        } else {
            print(&config, source, &outcome);
        }
        Ok(if outcome.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn source<'c>(&self, config: &'c Config, file: &RequestFile) -> anyhow::Result<&'c Source> {
        let path = file.path().split('?').next().unwrap_or_default();
        let in_url = route(path).map(|route| route.source.to_owned());
        let name = self.source.clone().or_else(|| file.source.clone()).or(in_url).ok_or_else(|| {
            anyhow!("{} names no source, nor does its URL: say --source NAME", self.file.display())
        })?;
        local::source(config, &name)
    }
}

impl Outcome {
    fn is_well(&self) -> bool {
        match self {
            Self::Handshake => true,
            Self::Refused(_) => false,
            Self::Event(explained) => explained.planned.is_well(),
        }
    }
}

impl Planned {
    fn is_well(&self) -> bool {
        match self {
            Self::Actions(actions) => actions.iter().all(|(_, effect)| effect.is_ok()),
            Self::Dead(_) => false,
        }
    }

    /// What the event's status would come to, if every destination took what it is sent.
    fn status(&self) -> &'static str {
        match self {
            Self::Actions(actions) if actions.is_empty() => "unrouted",
            planned if planned.is_well() => "done",
            Self::Actions(_) | Self::Dead(_) => "dead",
        }
    }
}

/// Takes a request for verified, and goes on as ingest and worker would.
fn explain(config: &Config, source: &Source, request: &Request, event_type: Option<&str>) -> Outcome {
    if request.body.len() > source.body_bytes_max {
        let (bytes, bytes_max) = (request.body.len(), source.body_bytes_max);
        return Outcome::Refused(Reason::TooLarge { bytes, bytes_max });
    }
    // Without secrets: which answer it gets does not matter here.
    for step in [source.handshake.before(request, &[]), source.handshake.after(request, &[])] {
        match step {
            Step::NotOne => {}
            Step::Answer(_) | Step::Visit { .. } | Step::Keep | Step::Refuse => return Outcome::Handshake,
        }
    }
    if request.method != Method::POST {
        return Outcome::Refused(Reason::Method { method: request.method.to_string() });
    }
    let derived = Event::new(source, &Verified::unproved(request));
    let (mut event, view) = match derived.and_then(|event| Ok((event, view_for(source, request)?))) {
        Ok(both) => both,
        Err(error) => return Outcome::Refused(error.into()),
    };
    let mut found = found(source, &event, request, &view);
    if let Some(event_type) = event_type {
        event.event_type = event_type.to_owned();
        found[1] = ("type", event_type.to_owned(), "--type".to_owned());
    }
    let context = event.context(&view);
    let verdicts = routing::explain(&config.routes, &event, &context);
    let planned = match routing::actions(&config.routes, &event, &context) {
        Err(error) => Planned::Dead(format!("filter: {error}")),
        Ok(names) => {
            let plan = |name: Name| {
                let about =
                    About { action: &name, event: &event, view: &view, context: &context, times_done: 0 };
                let effect = match config.actions.get(&name) {
                    Some(configured) => configured.action.plan(&about).map_err(|error| error.to_string()),
                    None => Err("the action is not configured".to_owned()),
                };
                (name, effect)
            };
            Planned::Actions(names.into_iter().map(plan).collect())
        }
    };
    Outcome::Event(Box::new(Explained { event, view, found, verdicts, planned }))
}

/// Id, type and time, each with the place in which it was found.
fn found(
    source: &Source,
    event: &Event,
    request: &Request,
    view: &View,
) -> [(&'static str, String, String); 3] {
    let place = |locator: &Locator| locator.find_in(request, Some(view)).map(|(place, _)| place.to_string());
    let nowhere = |locator: &Locator| match locator.is_empty() {
        true => "the source says no place".to_owned(),
        false => format!("nothing at {locator}"),
    };
    let id_from = place(&source.id).unwrap_or_else(|| {
        format!(
            "{}: a hash of {}",
            nowhere(&source.id),
            match source.identical_bodies_differ {
                true => "type, body and time of receipt",
                false => "type and body",
            }
        )
    });
    let type_from = place(&source.event_type).unwrap_or_else(|| match &request.path_type {
        Some(_) => "the URL".to_owned(),
        None => nowhere(&source.event_type),
    });
    let (occurred_at, time_from) = match (event.occurred_at, source.time.find_in(request, Some(view))) {
        (Some(at), Some((place, _))) => (at.to_string(), place.to_string()),
        (None, Some((place, text))) => {
            (String::new(), format!("{place} has `{}`, which is no time", cut(&text, FILTER_CHARS_MAX)))
        }
        (_, None) => (String::new(), nowhere(&source.time)),
    };
    [
        ("id", event.id.to_string(), id_from),
        ("type", event.event_type.clone(), type_from),
        ("occurred_at", occurred_at, time_from),
    ]
}

/// What an effect would do, in words: for every kind of effect its name and its values, in the order in which a person
/// wants to see them. A new kind needs its arm here, and nothing else.
fn describe(effect: &Effect, event: &Event) -> (&'static str, Vec<(&'static str, Value)>) {
    match effect {
        Effect::Http(HttpEffect { method, url, headers, body, sign, timeout_ms, success }) => {
            let headers: Map<String, Value> =
                headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            let (text, encoding) = text_of(body);
            let url = match url {
                Text::Plain(url) => url.clone(),
                Text::Secret(name) => format!("the address in secret `{name}`"),
            };
            let signed = sign.as_ref().map(|(how, name)| format!("{} with secret `{name}`", signing(*how)));
            let success = match success.is_empty() {
                true => json!("every 2xx"),
                false => json!(success),
            };
            let values = vec![
                ("method", json!(method.as_str())),
                ("url", json!(url)),
                ("signed", json!(signed)),
                ("success", success),
                ("timeout_ms", json!(timeout_ms)),
                ("headers", Value::Object(headers)),
                ("body_is_unchanged", json!(*body == event.request.body)),
                ("body_bytes", json!(body.len())),
                ("body_encoding", json!(encoding)),
                ("body", json!(text)),
            ];
            ("http", values)
        }
        Effect::Aws(call) => {
            let headers: Map<String, Value> =
                call.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
            let (text, encoding) = text_of(&call.body);
            let values = vec![
                ("service", json!(call.service.title())),
                ("target", json!(call.target)),
                ("region", json!(call.region.as_deref().unwrap_or("the worker's own"))),
                ("needs", json!(call.service.permission())),
                ("path", json!(call.path)),
                ("timeout_ms", json!(call.timeout_ms)),
                ("headers", Value::Object(headers)),
                ("body_bytes", json!(call.body.len())),
                ("body_encoding", json!(encoding)),
                ("body", json!(text)),
            ];
            ("aws", values)
        }
        Effect::Record(record) => {
            let values = vec![
                ("collection", json!(record.collection)),
                ("key", json!(record.key)),
                ("at", json!(record.at.to_string())),
                ("fields", Value::Object(record.fields.clone())),
                ("keep_days", json!(record.keep_days)),
            ];
            ("record", values)
        }
        Effect::Count(count) => {
            let values = vec![
                ("counter", json!(count.counter)),
                ("day", json!(count.day)),
                ("label", json!(count.label)),
            ];
            ("count", values)
        }
        Effect::Run { function } => {
            let registered = worker::run::functions().names().contains(&function.as_str());
            ("run", vec![("function", json!(function)), ("registered", json!(registered))])
        }
    }
}

/// Bytes as something that can be printed, and what that is.
fn text_of(bytes: &[u8]) -> (String, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), "text"),
        Err(_) => (BASE64.encode(bytes), "base64"),
    }
}

fn signing(how: Outgoing) -> &'static str {
    match how {
        Outgoing::StandardWebhooks => "as Standard Webhooks",
        Outgoing::Hmac => "by HMAC",
        Outgoing::Bearer => "by bearer token",
        Outgoing::Basic => "by name and password",
    }
}

fn document(config: &Config, source: &Source, outcome: &Outcome) -> Value {
    let head = json!({ "source": source.name, "signature": "not checked" });
    let Value::Object(mut document) = head else { return head };
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    match outcome {
        Outcome::Handshake => {
            put("outcome", json!("handshake"));
        }
        Outcome::Refused(reason) => {
            put("outcome", json!("refused"));
            put("status", json!(reason.refusal().status().as_u16()));
            put("reason", json!(reason.to_string()));
        }
        Outcome::Event(explained) => {
            for (name, value, from) in &explained.found {
                put(name, if value.is_empty() { Value::Null } else { json!(value) });
                put(&format!("{name}_from"), json!(from));
            }
            put("received_at", json!(explained.event.request.received_at.to_string()));
            put("body", json!(format(&explained.view)));
            put("outcome", json!(explained.planned.status()));
            let routes = config.routes.iter().zip(&explained.verdicts).enumerate().map(|(n, (rule, verdict))| {
                let (value, error) = match verdict {
                    Verdict::Matches { filter } => (filter.as_ref().map(ToString::to_string), None),
                    Verdict::FilteredOut(value) => (Some(value.to_string()), None),
                    Verdict::FilterFails(error) => (None, Some(error.to_string())),
                    Verdict::OtherSource | Verdict::OtherType => (None, None),
                };
                json!({
                    "route": n + 1, "source": rule.source.to_string(), "type": rule.event_type.to_string(),
                    "filter": rule.filter.as_ref().map(|filter| filter.as_str()), "actions": rule.actions,
                    "matches": matches!(verdict, Verdict::Matches { .. }), "why": word(verdict),
                    "filter_value": value, "filter_error": error,
                })
            });
            put("routes", routes.collect());
            match &explained.planned {
                Planned::Dead(reason) => {
                    put("actions", json!([]));
                    put("reason", json!(reason));
                }
                Planned::Actions(actions) => {
                    let kind_of = |name: &Name| config.actions.get(name).map(|action| action.kind.name);
                    let actions = actions.iter().map(|(name, effect)| match effect {
                        Ok(effect) => {
                            let (effect_name, values) = describe(effect, &explained.event);
                            let values: Map<String, Value> =
                                values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                            json!({ "action": name, "kind": kind_of(name), "effect": effect_name, "plan": values })
                        }
                        Err(error) => json!({ "action": name, "kind": kind_of(name), "error": error }),
                    });
                    put("actions", actions.collect());
                }
            }
        }
    }
    Value::Object(document)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Matches { .. } => "matches",
        Verdict::OtherSource => "source",
        Verdict::OtherType => "type",
        Verdict::FilteredOut(_) => "filter",
        Verdict::FilterFails(_) => "filter-error",
    }
}

fn format(view: &View) -> &'static str {
    match view.format {
        Format::Json => "JSON",
        Format::Form => "a form",
        Format::Xml => "XML",
        Format::Jws => "a JWS",
        Format::Text => "text",
        Format::Binary => "bytes",
        Format::Empty => "empty",
    }
}

fn row(name: &str, text: &str) {
    show::line(format!("{name:<12} {}", show::plain(text)).trim_end());
}

fn print(config: &Config, source: &Source, outcome: &Outcome) {
    row("source", &format!("{} ({})", source.name, source.provider.name));
    row("signature", "not checked here; `hookgate verify` does that");
    match outcome {
        Outcome::Handshake => {
            row(
                "outcome",
                "it sets the webhook up: it is answered before there is an event, and no action is run",
            );
        }
        Outcome::Refused(reason) => {
            let status = reason.refusal().status();
            row("outcome", &format!("no event: the sender is answered {}, as {reason}", status.as_u16()));
        }
        Outcome::Event(explained) => print_event(config, explained),
    }
}

fn print_event(config: &Config, explained: &Explained) {
    for (name, value, from) in &explained.found {
        let name = if *name == "occurred_at" { "occurred" } else { name };
        row(name, format!("{value}  ({from})").trim_start());
    }
    row("received", &explained.event.request.received_at.to_string());
    row("body", format(&explained.view));
    show::line("");
    let rows: Vec<Vec<String>> = config
        .routes
        .iter()
        .zip(&explained.verdicts)
        .enumerate()
        .map(|(n, (rule, verdict))| {
            let (source, event_type) = (rule.source.to_string(), rule.event_type.to_string());
            vec![(n + 1).to_string(), source, event_type, result(rule, verdict)]
        })
        .collect();
    show::table(&["ROUTE", "SOURCE", "TYPE", "RESULT"], &rows);
    match &explained.planned {
        Planned::Dead(reason) => {
            show::line("");
            row("outcome", &format!("dead: {reason}; no action is run"));
        }
        Planned::Actions(actions) if actions.is_empty() => {
            show::line("");
            row("outcome", "unrouted: it is kept, and no action is run");
        }
        Planned::Actions(actions) => {
            for (name, effect) in actions {
                let kind = config.actions.get(name).map_or("", |action| action.kind.name);
                show::line("");
                row("action", &format!("{name} ({kind})"));
                match effect {
                    Err(error) => row("  DEAD", &format!("it can't be done: {error}")),
                    Ok(effect) => print_effect(effect, &explained.event),
                }
            }
        }
    }
}

fn result(rule: &RouteRule, verdict: &Verdict) -> String {
    let filter = rule.filter.as_ref().map_or("", |filter| filter.as_str());
    let text = match verdict {
        Verdict::Matches { filter: None } => return format!("matches: {}", names(rule)),
        Verdict::Matches { filter: Some(value) } => {
            return format!(
                "matches: {}  (`{filter}` is {})",
                names(rule),
                cut(&value.to_string(), FILTER_CHARS_MAX)
            );
        }
        Verdict::OtherSource => return "another source".to_owned(),
        Verdict::OtherType => return "another type".to_owned(),
        Verdict::FilteredOut(value) => {
            format!("`{filter}` is {}", cut(&value.to_string(), FILTER_CHARS_MAX))
        }
        Verdict::FilterFails(error) => format!("FAILS: `{filter}`: {error}"),
    };
    show::plain(&text)
}

fn names(rule: &RouteRule) -> String {
    rule.actions.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn print_effect(effect: &Effect, event: &Event) {
    let (_, values) = describe(effect, event);
    let is = |wanted: &str, what: Value| values.iter().any(|(name, value)| *name == wanted && *value == what);
    for (name, value) in &values {
        match (*name, value) {
            (_, Value::Null) | ("body_bytes" | "body_encoding" | "body_is_unchanged", _) => {}
            ("body", _) if is("body_is_unchanged", json!(true)) => {
                row("  body", &format!("the {} bytes that were received", event.request.body.len()));
            }
            ("body", _) if is("body_encoding", json!("base64")) => {
                row("  body", "bytes that are no text; --json has them in base64");
            }
            (name, Value::Object(members)) => {
                row(&format!("  {name}"), if members.is_empty() { "none" } else { "" });
                for (name, value) in members {
                    show::line(&format!("    {}: {}", show::plain(name), one_line(value)));
                }
            }
            (name, value) => show::line(&format!("{:<12} {}", format!("  {name}"), one_line(value))),
        }
    }
}

fn one_line(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    show::plain(&cut(&text, SHOWN_CHARS_MAX))
}

/// The beginning of a text, and how much there is.
fn cut(text: &str, chars_max: usize) -> String {
    let chars = text.chars().count();
    if chars <= chars_max {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(chars_max).collect();
    format!("{beginning}… ({chars} characters)")
}
