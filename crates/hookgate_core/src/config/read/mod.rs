//! From text to [`Config`], with the line of everything that is wrong.

use std::{collections::BTreeMap, ops::Range};

use ipnet::IpNet;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{Config, ConfiguredAction, Problem};
use crate::{
    action::Kind,
    actions,
    body::Members,
    catalogue::{self, Answering, Provider},
    destination::{POLICY_KEYS, Policy},
    handshake::Handshake,
    ids::Name,
    json_schema::Schema,
    place::Locator,
    request::{BODY_BYTES_MAX, WEBHOOKS_SEGMENT},
    routing::{Glob, RouteRule},
    scheme::Scheme,
    sealed::Encryption,
    source::{Mode, RETENTION_DAYS, Source},
    template::Filter,
    verify::Verifier,
};

/// Longest time for which events may be kept: a DynamoDB table has no limit, a typing mistake should.
const RETENTION_DAYS_MAX: u32 = 3650;

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Every problem that was found, by line.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        read(text)
    }

    /// Reads and checks all but the routes and actions, of which there are none then: for ingest, which does without.
    /// Senders are answered while an action is wrong, and what they send is there when it is mended.
    ///
    /// # Errors
    /// Every problem that was found, by line.
    pub fn parse_sources(text: &str) -> Result<Self, Vec<Problem>> {
        read_sources(text)
    }
}

struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        self.found.push(Problem { line, message: message.into() });
    }

    fn add_error(&mut self, error: &toml::de::Error, within: &Range<usize>, what: &str) {
        let span = error.span().unwrap_or_else(|| within.clone());
        let message = error.message().trim();
        self.add(&span, if what.is_empty() { message.to_owned() } else { format!("{what}: {message}") });
    }
}

/// ` Did you mean …?`, or nothing.
fn suggestion<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    // One slip in three letters.
    let slips_max = (word.len() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

const SECTIONS: &[&str] = &["public_url", "allow_hosts", "sources", "routes", "actions"];

pub(super) fn read(text: &str) -> Result<Config, Vec<Problem>> {
    read_with(text, |config, work, problems| {
        if let Some(actions) = work.actions {
            each(actions, "actions", problems, |name, span, value, problems| {
                if let Some(action) = action(&name, &span, value, problems) {
                    config.actions.insert(name, action);
                }
            });
        }
        let complete = problems.found.is_empty();
        if let Some(routes) = work.routes {
            config.routes = read_routes(routes, config, complete, problems);
        }
    })
}

pub(super) fn read_sources(text: &str) -> Result<Config, Vec<Problem>> {
    read_with(text, |_, _, _| ())
}

/// What is done with events, as it is written.
#[derive(Default)]
struct Work<'t> {
    actions: Option<Spanned<DeValue<'t>>>,
    routes: Option<Spanned<DeValue<'t>>>,
}

/// Whoever gives no `work` that reads actions has nothing of them in its binary.
fn read_with(
    text: &str,
    work: impl FnOnce(&mut Config, Work<'_>, &mut Problems<'_>),
) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems { text, found: Vec::new() };
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            problems.add_error(&error, &(0..0), "");
            return Err(problems.found);
        }
    };
    let mut config = Config {
        public_url: None,
        allow_hosts: Vec::new(),
        sources: BTreeMap::new(),
        routes: Vec::new(),
        actions: BTreeMap::new(),
    };
    let mut written = Work::default();
    for (key, value) in document {
        let span = key.span();
        match key.get_ref().as_ref() {
            "public_url" => config.public_url = public_url(value, &mut problems),
            "allow_hosts" => {
                config.allow_hosts = plain(value, "allow_hosts", &mut problems).unwrap_or_default()
            }
            "sources" => each(value, "sources", &mut problems, |name, span, value, problems| {
                if let Some(source) = source(&name, &span, value, problems) {
                    config.sources.insert(name, source);
                }
            }),
            "actions" => written.actions = Some(value),
            "routes" => written.routes = Some(value),
            other => {
                let hint = suggestion(other, SECTIONS.iter().copied());
                problems
                    .add(&span, format!("unknown key `{other}`{hint} (there are {})", SECTIONS.join(", ")));
            }
        }
    }
    work(&mut config, written, &mut problems);
    if problems.found.is_empty() {
        return Ok(config);
    }
    problems.found.sort_by_key(|problem| problem.line);
    Err(problems.found)
}

fn plain<T: for<'de> Deserialize<'de>>(
    value: Spanned<DeValue<'_>>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let span = value.span();
    T::deserialize(ValueDeserializer::from(value)).map_err(|e| problems.add_error(&e, &span, what)).ok()
}

fn public_url(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<String> {
    let span = value.span();
    let url: String = plain(value, "public_url", problems)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        problems.add(
            &span,
            format!("public_url: `{url}` has to begin with https:// (or http:// for a local test)"),
        );
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// Calls `one` for each named table of a section.
fn each<'t>(
    value: Spanned<DeValue<'t>>,
    section: &str,
    problems: &mut Problems<'_>,
    mut one: impl FnMut(Name, Range<usize>, Spanned<DeValue<'t>>, &mut Problems<'_>),
) {
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        problems.add(&span, format!("`{section}` has to be tables: [{section}.NAME]"));
        return;
    };
    for (key, value) in table {
        let span = key.span();
        match Name::parse(key.get_ref()) {
            Some(name) => one(name, span, value, problems),
            None => problems.add(
                &span,
                format!(
                    "[{section}.{}]: a name is a-z, 0-9, - and _, at most 64, a letter or digit first",
                    key.get_ref()
                ),
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSource {
    provider: Spanned<String>,
    verify: Option<Scheme>,
    addresses: Option<Vec<IpNet>>,
    #[serde(default)]
    mode: Mode,
    secret: Option<String>,
    tolerance: Option<u32>,
    body_bytes_max: Option<Spanned<usize>>,
    #[serde(default)]
    event: WrittenEvent,
    order: Option<Spanned<Locator>>,
    #[serde(default)]
    required: Vec<Locator>,
    schema: Option<Spanned<serde_json::Value>>,
    answer: Option<Answering>,
    #[serde(default, deserialize_with = "catalogue::refused")]
    refused: Option<u16>,
    json_field: Option<String>,
    encrypted: Option<Encryption>,
    any_body: Option<bool>,
    identical_bodies_differ: Option<bool>,
    handshake: Option<Handshake>,
    retention_days: Option<Spanned<u32>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvent {
    id: Option<Locator>,
    #[serde(rename = "type")]
    event_type: Option<Locator>,
    time: Option<Locator>,
}

fn source(
    name: &Name,
    span: &Range<usize>,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<Source> {
    let what = format!("[sources.{name}]");
    if name.as_str() == WEBHOOKS_SEGMENT {
        problems.add(
            span,
            format!("{what}: no source can be called `{WEBHOOKS_SEGMENT}`, its URL would be ambiguous"),
        );
        return None;
    }
    let written: WrittenSource = plain(value, &what, problems)?;
    let slug = written.provider.get_ref();
    let Some(provider) = catalogue::find(slug) else {
        let hint = suggestion(slug, catalogue::slugs());
        problems.add(
            &written.provider.span(),
            format!("{what}: unknown provider `{slug}`{hint} (`hookgate providers` lists them; `generic` and `raw` take any sender)"),
        );
        return None;
    };
    let verifier = verifier(&written, &provider, span, &what, problems)?;
    let body_bytes_max = match &written.body_bytes_max {
        Some(limit) if *limit.get_ref() == 0 || *limit.get_ref() > BODY_BYTES_MAX => {
            problems.add(&limit.span(), format!("{what}: body_bytes_max has to be 1 to {BODY_BYTES_MAX}"));
            return None;
        }
        Some(limit) => *limit.get_ref(),
        None => BODY_BYTES_MAX,
    };
    let retention_days = retention(&written, &provider, &what, problems)?;
    let order = order(&written, &what, problems)?;
    let schema = schema(&written, &what, problems)?;
    let json_field = written.json_field.as_deref().unwrap_or(&provider.json_field).to_owned();
    let id = written.event.id.unwrap_or_else(|| provider.event.id.clone());
    let event_type = written.event.event_type.unwrap_or_else(|| provider.event.event_type.clone());
    let time = written.event.time.unwrap_or_else(|| provider.event.time.clone());
    let mut looked_at = Members::default();
    for locator in [&id, &event_type, &time].into_iter().chain(&order).chain(&written.required) {
        locator.add_to(&mut looked_at);
    }
    if schema.is_some() {
        looked_at = Members::WHOLE;
    }
    Some(Source {
        name: name.clone(),
        token_places: verifier.token_places(),
        verifier,
        secret: written.secret.unwrap_or_else(|| name.to_string()),
        addresses: written.addresses.unwrap_or_else(|| provider.addresses.clone()),
        mode: written.mode,
        body_bytes_max,
        id,
        event_type,
        time,
        order,
        required: written.required,
        schema,
        looked_at,
        json_field,
        any_body: written.any_body.unwrap_or(provider.any_body),
        identical_bodies_differ: written.identical_bodies_differ.unwrap_or(provider.identical_bodies_differ),
        answer: written.answer.unwrap_or_else(|| provider.answer.clone()),
        refused: written.refused.or(provider.refused),
        handshake: written.handshake.unwrap_or(provider.handshake),
        retention_days,
        provider,
    })
}

fn verifier(
    written: &WrittenSource,
    provider: &Provider,
    span: &Range<usize>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<Verifier> {
    let Some(mut scheme) = written.verify.clone().or_else(|| provider.verify.clone()) else {
        problems.add(
            span,
            format!(
                "{what}: say how its requests are verified, such as verify = {{ scheme = \"hmac\", header = \"x-signature\" }}, or verify = \"none\" if they are not"
            ),
        );
        return None;
    };
    if let Some(seconds) = written.tolerance
        && !scheme.set_tolerance(seconds)
    {
        problems
            .add(span, format!("{what}: `tolerance` has no meaning here, the signature has no timestamp"));
        return None;
    }
    Verifier::new(&scheme)
        .map(|verifier| {
            let json_field = written.json_field.as_deref().unwrap_or(&provider.json_field);
            verifier
                .with_json_field(json_field)
                .with_encryption(written.encrypted.unwrap_or(provider.encrypted))
        })
        .map_err(|e| problems.add(span, format!("{what}: verify: {e}")))
        .ok()
}

/// What bodies have to look like, where that is said: a table, or a text with JSON in it.
fn schema(written: &WrittenSource, what: &str, problems: &mut Problems<'_>) -> Option<Option<Schema>> {
    let Some(schema) = &written.schema else { return Some(None) };
    let read = match schema.get_ref() {
        serde_json::Value::String(text) => serde_json::from_str(text)
            .map_err(|error| format!("it is no JSON: {error}"))
            .and_then(|document| Schema::read(&document)),
        table => Schema::read(table),
    };
    match read {
        Ok(schema) => Some(Some(schema)),
        Err(why) => {
            problems.add(&schema.span(), format!("{what}: schema: {why}"));
            None
        }
    }
}

/// Where the ordering key is, if there is one.
fn order(written: &WrittenSource, what: &str, problems: &mut Problems<'_>) -> Option<Option<Locator>> {
    let Some(order) = &written.order else { return Some(None) };
    match written.mode {
        Mode::Enforce | Mode::Quarantine => Some(Some(order.get_ref().clone())),
        // What nobody has proved must not hold up what is genuine.
        Mode::Observe => {
            problems.add(
                &order.span(),
                format!(
                    "{what}: `order` is for verified events; leave it out as long as mode is \"observe\""
                ),
            );
            None
        }
    }
}

fn retention(
    written: &WrittenSource,
    provider: &Provider,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    // A repeated delivery after its event was forgotten would be a new event.
    let days_min = provider.retry_hours.div_ceil(24).max(1);
    match &written.retention_days {
        Some(days) if *days.get_ref() < days_min || *days.get_ref() > RETENTION_DAYS_MAX => {
            problems.add(
                &days.span(),
                format!(
                    "{what}: retention_days has to be {days_min} to {RETENTION_DAYS_MAX}: {} sends an event again for {} hours, and one that was forgotten would run twice",
                    provider.name, provider.retry_hours
                ),
            );
            None
        }
        Some(days) => Some(*days.get_ref()),
        None => Some(RETENTION_DAYS.max(days_min)),
    }
}

fn action(
    name: &Name,
    span: &Range<usize>,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<ConfiguredAction> {
    let what = format!("[actions.{name}]");
    let whole = value.span();
    let DeValue::Table(mut table) = value.into_inner() else {
        problems.add(span, format!("{what} has to be a table"));
        return None;
    };
    let kinds = || actions::KINDS.iter().map(|kind| kind.name);
    let list = || kinds().collect::<Vec<_>>().join(", ");
    let Some(kind) = table.remove("kind") else {
        problems.add(span, format!("{what}: `kind` is missing (there are {})", list()));
        return None;
    };
    let word = kind.get_ref().as_str().unwrap_or_default();
    let Some(known) = actions::kind(word) else {
        let hint = suggestion(word, kinds());
        problems.add(&kind.span(), format!("{what}: unknown kind `{word}`{hint} (there are {})", list()));
        return None;
    };
    let policy = policy(&mut table, known, &whole, &what, problems);
    match known.read(Spanned::new(whole.clone(), DeValue::Table(table))) {
        Ok(action) => Some(ConfiguredAction { kind: known, action, policy: policy? }),
        Err(error) => {
            let span = error.span().unwrap_or_else(|| whole.clone());
            let message = error.message().trim();
            problems.add(&span, format!("{what}: {message}{}", policy_meant(message)));
            None
        }
    }
}

/// A hint where an unknown key of an action is nearly one of those that every kind has, which the kind's own list of
/// what it expects leaves out.
fn policy_meant(message: &str) -> String {
    let key = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    key.map(|key| suggestion(key, POLICY_KEYS.iter().copied())).unwrap_or_default()
}

/// Takes out of an action's table what is said about how it is run.
fn policy(
    table: &mut DeTable<'_>,
    kind: &Kind,
    whole: &Range<usize>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<Policy> {
    let mut taken = DeTable::new();
    let mut all_fit = true;
    for key in POLICY_KEYS {
        let Some((key, value)) = table.remove_entry(*key) else { continue };
        if !kind.reaches_outward && key.get_ref() != "retry" {
            let message = format!(
                "{what}: take `{}` out: it is for actions that reach outward, and `{}` does not",
                key.get_ref(),
                kind.name
            );
            problems.add(&key.span(), message);
            all_fit = false;
        }
        taken.insert(key, value);
    }
    if !all_fit {
        return None;
    }
    plain(Spanned::new(whole.clone(), DeValue::Table(taken)), what, problems)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRoute {
    source: Spanned<Glob>,
    #[serde(rename = "type", default = "any")]
    event_type: Glob,
    filter: Option<Filter>,
    actions: Vec<Spanned<String>>,
}

fn any() -> Glob {
    // `*` is a pattern.
    Glob::parse("*").unwrap_or_else(|| unreachable!("`*` is a pattern"))
}

fn read_routes(
    value: Spanned<DeValue<'_>>,
    config: &Config,
    complete: bool,
    problems: &mut Problems<'_>,
) -> Vec<RouteRule> {
    let span = value.span();
    let DeValue::Array(routes) = value.into_inner() else {
        problems.add(&span, "`routes` has to be a list: [[routes]]");
        return Vec::new();
    };
    let mut rules = Vec::new();
    for route in routes {
        let Some(written) = plain::<WrittenRoute>(route, "[[routes]]", problems) else { continue };
        let pattern = written.source.get_ref();
        // With other problems in the file, a source may be missing because it could not be read.
        if complete && !config.sources.keys().any(|name| pattern.matches(name.as_str())) {
            let hint = suggestion(&pattern.to_string(), config.sources.keys().map(Name::as_str));
            problems
                .add(&written.source.span(), format!("[[routes]]: no source is called `{pattern}`{hint}"));
        }
        let mut names = Vec::new();
        for action in &written.actions {
            match config.actions.keys().find(|name| name.as_str() == action.get_ref()) {
                Some(name) => names.push(name.clone()),
                None if complete => {
                    let hint = suggestion(action.get_ref(), config.actions.keys().map(Name::as_str));
                    problems.add(
                        &action.span(),
                        format!("[[routes]]: there is no [actions.{}]{hint}", action.get_ref()),
                    );
                }
                None => {}
            }
        }
        rules.push(RouteRule {
            source: written.source.into_inner(),
            event_type: written.event_type,
            filter: written.filter,
            actions: names,
        });
    }
    rules
}

#[cfg(test)]
mod tests;
