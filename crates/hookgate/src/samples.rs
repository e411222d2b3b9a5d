//! The deliveries of `events/`: real-shaped requests, made fresh (new id, present time) and signed genuinely.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, bail};
use data_encoding::{BASE64, HEXLOWER};
use hookgate_core::{
    catalogue::{Places, Provider},
    config::Config,
    request::Request,
    sample::sample,
    secret::Secret,
    sign::sign,
    source::Source,
    time::EpochMillis,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use sha2::{Digest, Sha256};

mod built_in {
    include!(concat!(env!("OUT_DIR"), "/samples.rs"));
}

/// Samples beside the ones that were built in, so that one's own need no new build.
const FOLDER: &str = "events";

/// One sample: a request, with what hookgate makes of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Sample {
    /// Its file's name without `.json`.
    #[serde(skip)]
    pub name: String,
    /// What happened, in a line.
    pub title: String,
    /// The source whose URL it goes to.
    pub source: String,
    /// The event type that it gives.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The event id that it gives; absent where the provider has none.
    pub id: Option<String>,
    /// Where its shape comes from, and who signed it.
    pub origin: String,
    /// When it was received, in seconds since the epoch: its signature is good then.
    pub now: i64,
    /// The secrets that it is signed with. For tests only.
    pub secrets: Vec<String>,
    /// The method.
    pub method: String,
    /// The URL that was signed.
    pub url: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The exact body.
    pub body: String,
    /// `utf8` or `base64`.
    pub body_encoding: String,
}

/// Every sample: those of `events/` in this folder, and the ones that were built in.
///
/// # Errors
/// When a file of `events/` is no sample.
pub fn all() -> anyhow::Result<Vec<Sample>> {
    let mut samples: BTreeMap<(String, String), Sample> = BTreeMap::new();
    for (name, text) in built_in::BUILT_IN {
        let sample = parse(name, text).with_context(|| format!("the built-in sample {name}"))?;
        samples.insert((sample.source.clone(), (*name).to_owned()), sample);
    }
    for folder in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if let Some(name) = sample_name(&path) {
                let text = fs::read_to_string(&path)?;
                let sample =
                    parse(&name, &text).with_context(|| format!("{} is no sample", path.display()))?;
                samples.insert((sample.source.clone(), name), sample);
            }
        }
    }
    Ok(samples.into_values().collect())
}

/// The name of a sample's file; `None` for what was made from samples.
pub fn sample_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let derived = [".ingest", ".ingest-v1", ".ingest-url", ".worker"].iter().any(|end| name.ends_with(end));
    (!derived).then(|| name.to_owned())
}

/// Reads one sample.
///
/// # Errors
/// When a field is missing or of another kind.
pub fn parse(name: &str, text: &str) -> anyhow::Result<Sample> {
    let sample: Sample = serde_json::from_str(text)?;
    Ok(Sample { name: name.to_owned(), ..sample })
}

/// Picks the sample for `send SOURCE [TYPE]`: of that source, else of its provider; `None` when neither has any.
///
/// # Errors
/// When there are some, and none of that type; the message lists what there is.
pub fn pick(samples: &[Sample], source: &Source, wanted: Option<&str>) -> anyhow::Result<Option<Sample>> {
    let of = |name: &str| samples.iter().filter(|sample| sample.source == name).collect::<Vec<_>>();
    let mut candidates = of(source.name.as_str());
    if candidates.is_empty() {
        candidates = of(&source.provider.slug);
    }
    if candidates.is_empty() {
        return Ok(None);
    }
    let Some(wanted) = wanted else { return Ok(candidates.first().map(|sample| (*sample).clone())) };
    match candidates.iter().find(|sample| sample.event_type == wanted || sample.name == wanted) {
        Some(sample) => Ok(Some((*sample).clone())),
        None => {
            let there: Vec<&str> = candidates.iter().map(|sample| sample.event_type.as_str()).collect();
            bail!("there is no sample of type {wanted} for {}; there are: {}", source.name, there.join(", "))
        }
    }
}

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Ready {
    /// As its receiver will see it.
    pub request: Request,
    /// Path and query, to be put behind the gateway's address.
    pub path: String,
    /// The event id that it was given; `None` where the provider has none.
    pub id: Option<String>,
}

/// A delivery that the catalogue makes up, for a source without samples.
///
/// # Errors
/// When only the provider itself can sign.
pub fn made_up(
    config: &Config,
    source: &Source,
    secret: Option<&Secret>,
    base: &str,
    now: EpochMillis,
    random: [u64; 2],
    event_type: &str,
) -> anyhow::Result<Ready> {
    let event =
        Places { id: source.id.clone(), event_type: source.event_type.clone(), time: source.time.clone() };
    let provider = Provider { event, ..source.provider.clone() };
    let path = format!("/webhooks/{}", source.name);
    let url = format!("{}{path}", config.public_url.as_deref().unwrap_or(base));
    let id = format!("test_{:016x}{:016x}", random[0], random[1]);
    let request =
        sample(&provider, &source.verifier, secret, &url, now, &id, event_type).with_context(|| {
            format!(
                "making a delivery of {} (put a real one into {FOLDER}/{}/NAME.json)",
                provider.name, source.name
            )
        })?;
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    Ok(Ready { path: format!("{path}{query}"), request, id: None })
}

impl Sample {
    /// The body's bytes.
    ///
    /// # Errors
    /// When it is said to be base64 and is not.
    pub fn body(&self) -> anyhow::Result<Vec<u8>> {
        match self.body_encoding.as_str() {
            "utf8" => Ok(self.body.clone().into_bytes()),
            "base64" => BASE64.decode(self.body.as_bytes()).context("the sample's body is no base64"),
            other => bail!("the body encoding `{other}` is unknown"),
        }
    }

    /// The request exactly as it was recorded.
    ///
    /// # Errors
    /// When a header or the method can't be one.
    pub fn request(&self) -> anyhow::Result<Request> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        let path = self.path();
        Ok(Request {
            method: Method::from_bytes(self.method.as_bytes())?,
            url: self.url.clone(),
            query: path.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned()),
            headers,
            body: self.body()?,
            path_type: hookgate_core::request::route(&path).and_then(|route| route.path_type),
            sender: None,
            received_at: EpochMillis::from_seconds(self.now),
        })
    }

    /// Path and query of its URL.
    pub fn path(&self) -> String {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
    }

    /// A new event of this kind: a fresh id, times that are now, and a genuine signature for `source`.
    ///
    /// `base` is what the sender believes the gateway's address to be, `random` two random numbers.
    ///
    /// # Errors
    /// When the source's scheme can't be signed with this secret.
    pub fn fresh(
        &self,
        config: &Config,
        source: &Source,
        secret: Option<&Secret>,
        base: &str,
        now: EpochMillis,
        random: [u64; 2],
    ) -> anyhow::Result<Ready> {
        let digits = format!("{:016x}{:016x}", random[0], random[1]);
        // A joined id is made of values that stand in the request one by one; the first one is the thing's own.
        // Where there is none, the event is told by its whole body: one of the ids in it has to do.
        let old = match &self.id {
            Some(id) => Some(first_part(id, self).to_owned()),
            None if self.body_encoding == "utf8" => last_uuid(&self.body).map(str::to_owned),
            None => None,
        };
        let new = old.as_deref().map(|old| refreshed(old, &digits));
        let change = |text: &str| {
            let text = shift_times(text, self.now, now.as_seconds());
            match (&old, &new) {
                (Some(old), Some(new)) => text.replace(old.as_str(), new),
                _ => text,
            }
        };
        let mut request = self.request()?;
        request.received_at = now;
        for value in request.headers.values_mut() {
            if let Ok(text) = value.to_str() {
                *value = HeaderValue::from_str(&change(text))?;
            }
        }
        if self.body_encoding == "utf8" {
            request.body = change(&self.body).into_bytes();
        }
        // What has neither an id nor a time in it would be the same event every time.
        let unchanged = request.body == self.body()?;
        let has_own_id = source.id.find(&request, None).is_some();
        if unchanged && !has_own_id && old.is_none() {
            request.headers.insert("x-event-id", HeaderValue::from_str(&format!("sample-{digits}"))?);
        }
        let tail = self.path().replacen(
            &format!("/webhooks/{}", self.source),
            &format!("/webhooks/{}", source.name),
            1,
        );
        let mut query = tail.split_once('?').map_or("", |(_, query)| query).to_owned();
        let path = tail.split('?').next().unwrap_or(&tail).to_owned();
        if let Some(name) = source.verifier.body_hash_parameter() {
            query = set_if_there(&query, name, &HEXLOWER.encode(&Sha256::digest(&request.body)));
        }
        let base = config.public_url.as_deref().unwrap_or(base);
        let address = |query: &str| if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        request.query = query;
        request.url = format!("{base}{}", address(&request.query));
        if let Some(secret) = secret {
            let message_id = new.clone().unwrap_or_else(|| format!("msg_{digits}"));
            sign(&source.verifier, &request.clone(), secret, now, &message_id)?.apply(&mut request);
        }
        let path = address(&request.query);
        Ok(Ready { request, path, id: self.id.as_ref().map(|id| change(id)) })
    }
}

/// The part of a joined id (`SM1.delivered`) that stands in the request by itself.
fn first_part<'i>(id: &'i str, sample: &Sample) -> &'i str {
    let there = |part: &str| sample.body.contains(part) || sample.headers.values().any(|value| value == part);
    if there(id) {
        return id;
    }
    id.split('.').next().filter(|part| there(part)).unwrap_or(id)
}

/// The last UUID in a body. The first one is often that of what the event is about, which should stay the same.
fn last_uuid(body: &str) -> Option<&str> {
    let is_uuid = |word: &&str| {
        word.len() == 36
            && word.bytes().enumerate().all(|(at, b)| (b == b'-') == matches!(at, 8 | 13 | 18 | 23))
    };
    body.split(|c: char| !c.is_ascii_hexdigit() && c != '-').rfind(is_uuid)
}

/// Letters and digits of an id that are drawn anew: 48 bits, so that a million sent at once are all different.
const FRESH_CHARS: usize = 12;

/// An id of the same look: what stands before its last dash, dot or underscore stays, and so does the beginning of
/// a long last part.
fn refreshed(id: &str, digits: &str) -> String {
    let start = id.rfind(['-', '_', '.']).map_or(0, |at| at + 1);
    let length = id.len() - start;
    let keep = start + length.saturating_sub(FRESH_CHARS);
    let kept = id.get(..keep).or_else(|| id.get(..start)).unwrap_or_default();
    format!("{kept}{}", digits.get(..FRESH_CHARS).unwrap_or(digits))
}

/// Sets a query parameter that is there already.
fn set_if_there(query: &str, name: &str, value: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        if pair.split('=').next() == Some(name) {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{name}={value}")
        } else {
            pair.to_owned()
        }
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// How far from the sample's own time a time may be to be moved along with it: a birthday stays.
const NEAR_SECONDS: i64 = 3 * 24 * 60 * 60;

/// Moves every time in `text` that is near `then` by the same amount, so that it is as near to `now`: unix seconds
/// and milliseconds, and ISO 8601 in UTC.
fn shift_times(text: &str, then: i64, now: i64) -> String {
    let by = now - then;
    let near = |seconds: i64| (seconds - then).abs() <= NEAR_SECONDS;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at_checked(start).unwrap_or((rest, ""));
        out.push_str(before);
        let iso = from.get(..19).and_then(|stamp| {
            let seconds = stamp
                .ends_with(|c: char| c.is_ascii_digit())
                .then(|| EpochMillis::parse(stamp))??
                .as_seconds();
            (stamp.get(10..11) == Some("T") && near(seconds)).then_some(seconds)
        });
        if let Some(seconds) = iso {
            let moved = EpochMillis::from_seconds(seconds + by).to_string();
            out.push_str(moved.get(..19).unwrap_or(&moved));
            rest = from.get(19..).unwrap_or_default();
            continue;
        }
        let length = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at_checked(length).unwrap_or((from, ""));
        let number = digits.parse::<i64>().ok();
        match (length, number) {
            (10, Some(seconds)) if near(seconds) => out.push_str(&(seconds + by).to_string()),
            (13, Some(millis)) if near(millis / 1000) => out.push_str(&(millis + by * 1000).to_string()),
            _ => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_near_move_and_others_stay() {
        let (then, now) = (1_780_000_000, 1_790_000_000);
        let shift = |text: &str| shift_times(text, then, now);
        assert_eq!(shift(r#"{"at": 1779999998}"#), r#"{"at": 1789999998}"#);
        assert_eq!(shift("1779999998123"), "1789999998123");
        assert_eq!(shift("1779999998.000100"), "1789999998.000100");
        assert_eq!(shift("2026-05-28T20:26:40.123Z"), "2026-09-21T14:13:20.123Z");
        for stays in [
            "1991-03-14",
            "1767225600",
            "17799999981",
            "+15555550142",
            "",
            "12",
            "2020-01-01T00:00:00Z",
            "ü1",
            "2026-05-28Ü20:26:40.123Z",
        ] {
            assert_eq!(shift(stays), stays);
        }
    }

    #[test]
    fn a_fresh_id_looks_like_the_old_one() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            refreshed("7c1de3a4-5ab9-11f1-9c7e-0242ac120002", digits),
            "7c1de3a4-5ab9-11f1-9c7e-0123456789ab"
        );
        assert_eq!(refreshed("evt_pay_88102", digits), "evt_pay_0123456789ab");
        assert_eq!(refreshed("evt_3TestHookgateEvt001", digits), "evt_3TestHo0123456789ab");
        assert_eq!(refreshed("Ev0HOOKGATE01", digits), "E0123456789ab");
        assert_eq!(refreshed("ü", digits), "0123456789ab");
    }

    #[test]
    fn the_last_uuid_of_a_body_is_found() {
        let body = r#"{"a": "0f9d2c7b-6a41-4e5d-b7c3-8e1f2a9d4c60", "b": "c2b9e0d4-1f7b-4f5c-8e7d-90a6b1c2d3e4", "c": "2-"}"#;
        assert_eq!(last_uuid(body), Some("c2b9e0d4-1f7b-4f5c-8e7d-90a6b1c2d3e4"));
        for none in ["", "0f9d2c7b-6a41-4e5d-b7c3-8e1f2a9d4c6", "0f9d2c7b-6a41-4e5d-b7c3-8e1f2a9d4c60-1", "ü"]
        {
            assert_eq!(last_uuid(none), None);
        }
    }

    #[test]
    fn a_parameter_is_set_only_where_it_is() {
        assert_eq!(set_if_there("a=1&token=old", "token", "n w"), "a=1&token=n+w");
        assert_eq!(set_if_there("a=1", "token", "new"), "a=1");
    }
}
