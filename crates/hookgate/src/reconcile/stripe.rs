//! Stripe: the list of an account's events, and posting one of them to the gateway as Stripe would.
//!
//! The list goes back 30 days, has the newest first and is paged by `starting_after`
//! (<https://docs.stripe.com/api/events/list>); it has every event of the account, whether a webhook endpoint is sent it or
//! not, so the endpoint is asked for too (<https://docs.stripe.com/api/webhook_endpoints/list>). Both read 2026-11-21.
//!
//! What is posted is signed with the source's own secret and goes through the gateway's front door, so it is verified
//! and told from a duplicate like any delivery. Its bytes are those of the list, in the API version of the event's
//! creation: the lost delivery may have been written differently. Events of connected accounts are not in the list.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{
    body,
    catalogue::Answering,
    ids::EventId,
    request::{Request, route},
    routing::Glob,
    secret::Secret,
    sign::sign,
    source::{Mode, Source},
    time::EpochMillis,
};
use http::{Method, StatusCode};
use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Again, Brought, NotBrought, Page, Sent, Window,
    api::{Answer, Api},
};

/// Where the API is, unless `--api` names another place.
pub(crate) const API: &str = "https://api.stripe.com";

/// The variable with the key.
pub(crate) const KEY: &str = "STRIPE_API_KEY";

/// Days for which Stripe lists events.
pub(crate) const KEEPS_DAYS: i64 = 30;

/// Posts to the gateway a second: enough for a long list, and little beside what Stripe sends by itself.
pub(crate) const RATE: f64 = 10.0;

/// Things on a page, the most that there can be.
const LIMIT: usize = 100;

/// Names in `types[]`, the most that there can be.
const TYPES_MAX: usize = 20;

/// How long the gateway may take for an answer. A cold start takes less than three seconds.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);

/// An account of Stripe's, and the gateway that its events belong to.
#[derive(Debug)]
pub(crate) struct Stripe {
    api: Api,
    source: Source,
    gateway: Option<Gateway>,
    /// For the gateway.
    http: Client,
    ambient: Ambient,
}

/// Where events are posted to.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its address, without a slash at the end.
    pub(crate) base: String,
    /// The base of the addresses that senders were given.
    pub(crate) public_url: Option<String>,
    /// What the source's requests are signed with; `None` where it has no secret.
    pub(crate) secret: Option<Secret>,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Vec<Box<RawValue>>,
    has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    created: i64,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    id: String,
    url: String,
    enabled_events: Vec<String>,
}

impl Stripe {
    /// An account, asked with `key`. Without a gateway nothing can be posted.
    ///
    /// # Errors
    /// As for [`Api::new`].
    pub(crate) fn new(
        base: &str,
        key: Option<String>,
        source: Source,
        gateway: Option<Gateway>,
    ) -> anyhow::Result<Self> {
        let api = Api::new("Stripe", base, KEY, key, &[])?;
        let http = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(GATEWAY_TIMEOUT)
            .build()
            .context("making the HTTP client")?;
        Ok(Self { api, source, gateway, http, ambient: Ambient::system() })
    }

    /// The types that Stripe sends to this source: those of the account's webhook endpoints whose address is the
    /// source's. Every one of them is a name, or `*`.
    ///
    /// # Errors
    /// When there is no such endpoint, or the key may not list them.
    pub(crate) async fn types(&mut self) -> anyhow::Result<Vec<Glob>> {
        let mut names: Vec<String> = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let list = self.list("/v1/webhook_endpoints", &[], from.as_deref()).await?;
            from = None;
            for raw in &list.data {
                let endpoint: Endpoint = serde_json::from_str(raw.get())
                    .map_err(|_| self.api.garbage("list of webhook endpoints"))?;
                let rest = endpoint.url.split_once("://").map_or("", |(_, rest)| rest);
                let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
                let path = path.split(['?', '#']).next().unwrap_or_default();
                if route(path).is_some_and(|route| route.source == self.source.name.as_str()) {
                    names.extend(endpoint.enabled_events);
                }
                from = Some(endpoint.id).filter(|_| list.has_more);
            }
            if from.is_none() {
                break;
            }
        }
        let types: Vec<Glob> = names.iter().filter_map(|name| Glob::parse(name)).collect();
        if types.is_empty() {
            bail!(
                "no webhook endpoint of this Stripe account has the address …/webhooks/{}, so what it is sent is not \
                 known: say it with --type (several, or --type '*' for every event of the account)",
                self.source.name
            );
        }
        Ok(types)
    }

    /// Where its events are posted to.
    pub(super) fn place(&self) -> String {
        let base = self.gateway.as_ref().map_or("", |gateway| gateway.base.as_str());
        format!("{base}/webhooks/{}", self.source.name)
    }

    pub(super) async fn page(&mut self, window: &Window, from: Option<&str>) -> anyhow::Result<Page> {
        let mut query = vec![
            ("created[gte]".to_owned(), window.since.as_seconds().to_string()),
            ("created[lte]".to_owned(), window.until.as_seconds().to_string()),
        ];
        let names: Vec<String> = window.types.iter().map(ToString::to_string).collect();
        // A shorter list where it can be had; it is looked through here anyway.
        if names.len() <= TYPES_MAX && !names.iter().any(|name| name.contains(['*', '?'])) {
            query.extend(names.into_iter().map(|name| ("types[]".to_owned(), name)));
        }
        let list = self.list("/v1/events", &query, from).await?;
        let garbage = || self.api.garbage("list of events");
        let (mut sent, mut last) = (Vec::new(), None);
        for raw in list.data {
            let listed: Listed = serde_json::from_str(raw.get()).map_err(|_| garbage())?;
            last = Some(listed.id);
            if !window.has_type(&listed.event_type) {
                continue;
            }
            let body = raw.get().to_owned();
            let id = self.id(&body).ok_or_else(|| {
                anyhow!(
                    "the events of {} have their id from {}, where Stripe's list has nothing; without `event.id` in \
                     hookgate.toml it is json:/id, which it has",
                    self.source.name,
                    self.source.id
                )
            })?;
            sent.push(Sent {
                id,
                event_type: listed.event_type,
                at: EpochMillis::from_seconds(listed.created),
                said: String::new(),
                again: Again::Body(body),
            });
        }
        match (list.has_more, last) {
            (true, None) => Err(garbage()),
            (true, next) => Ok(Page { sent, next }),
            (false, _) => Ok(Page { sent, next: None }),
        }
    }

    /// The id that the gateway will give to it.
    fn id(&self, body: &str) -> Option<EventId> {
        let request = self.request(body, EpochMillis::from_millis(0));
        let view = body::view(&request, &self.source.json_field).ok()?;
        EventId::from_provider(&self.source.id.find(&request, Some(&view))?)
    }

    fn request(&self, body: &str, now: EpochMillis) -> Request {
        let base = self.gateway.as_ref().map_or("", |gateway| {
            gateway.public_url.as_deref().unwrap_or(&gateway.base).trim_end_matches('/')
        });
        let mut request = Request::post(&format!("{base}/webhooks/{}", self.source.name), body, now);
        request.set_header("content-type", "application/json; charset=utf-8");
        // Who looks at the event later sees where it came from.
        request.set_header("user-agent", concat!("hookgate/", env!("CARGO_PKG_VERSION"), " reconcile"));
        request
    }

    /// Posts an event to the gateway.
    pub(super) async fn post(&self, id: &EventId, body: &str) -> Result<Brought, NotBrought> {
        let hopeless = |why: String| NotBrought { why, hopeless: true };
        let gateway =
            self.gateway.as_ref().ok_or_else(|| hopeless("there is no gateway to post to".to_owned()))?;
        let now = self.ambient.now();
        let mut request = self.request(body, now);
        if let Some(secret) = &gateway.secret {
            sign(&self.source.verifier, &request.clone(), secret, now, id.as_str())
                .map_err(|error| hopeless(format!("the secret `{}`: {error}", self.source.secret)))?
                .apply(&mut request);
        }
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let url = format!("{}{query}", self.place());
        let broken = |error: &reqwest::Error| {
            let how = if error.is_timeout() {
                "gave no answer in time"
            } else if error.is_connect() {
                "could not be reached"
            } else {
                "broke the connection"
            };
            hopeless(format!("{} {how}", gateway.base))
        };
        let post = self.http.request(request.method, url).headers(request.headers).body(request.body);
        let response = post.send().await.map_err(|error| broken(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| broken(&error))?;
        self.judge(id, &gateway.base, status, &text)
    }

    fn judge(&self, id: &EventId, base: &str, status: StatusCode, text: &str) -> Result<Brought, NotBrought> {
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        let said = |name: &str| document.get(name).and_then(Value::as_str);
        let secret = &self.source.secret;
        let hopeless = |why: String| Err(NotBrought { why, hopeless: true });
        if status.is_success() {
            let is_own_answer = matches!(&self.source.answer, Answering::Fixed { status: 202, .. });
            let is_apart = status == StatusCode::ACCEPTED && self.source.mode == Mode::Quarantine;
            return match said("event_id") {
                Some(stored) if stored != id.as_str() => hopeless(format!(
                    "{base} stored this as {stored}: it only observes, and does not accept the signature; is the \
                     secret `{secret}` here the gateway's?"
                )),
                _ if is_apart && !is_own_answer => hopeless(format!(
                    "{base} put this in quarantine, as it does not accept the signature; is the secret `{secret}` \
                     here the gateway's?"
                )),
                _ if said("status") == Some("duplicate") => Ok(Brought::Duplicate),
                _ => Ok(Brought::Accepted),
            };
        }
        match status {
            StatusCode::UNAUTHORIZED => hopeless(format!(
                "{base} does not accept the signature (401): is the secret `{secret}` here the gateway's, and may \
                 this machine's address send to {}?",
                self.source.name
            )),
            StatusCode::NOT_FOUND => hopeless(format!("{base} has no source {} (404)", self.source.name)),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Err(NotBrought {
                    why: format!("{base} refuses this event ({})", status.as_u16()),
                    hopeless: false,
                })
            }
            _ => hopeless(format!("{base} answers {}; run this again later", status.as_u16())),
        }
    }

    async fn list(
        &mut self,
        path: &str,
        query: &[(String, String)],
        from: Option<&str>,
    ) -> anyhow::Result<List> {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        text.append_pair("limit", &LIMIT.to_string());
        if let Some(last) = from {
            text.append_pair("starting_after", last);
        }
        let answer = self.api.ask(&Method::GET, &format!("{path}?{}", text.finish())).await?;
        if answer.status != StatusCode::OK {
            bail!(self.refusal(path, &answer));
        }
        serde_json::from_str(&answer.text).map_err(|_| self.api.garbage("list"))
    }

    fn refusal(&self, path: &str, answer: &Answer) -> String {
        let said = self.api.said(answer);
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                format!("Stripe does not accept the key in {KEY} ({said}): it is wrong, or it was rolled")
            }
            StatusCode::FORBIDDEN => format!(
                "Stripe does not let the key in {KEY} read {path} ({said}): a restricted key needs Events: Read, and \
                 Webhook Endpoints: Read unless --type says what is sent"
            ),
            StatusCode::NOT_FOUND => {
                format!("there is no {path} there ({said}): is --api right?")
            }
            _ => self.api.unexpected(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use hookgate_core::{config::Config, ids::Name};

    use super::*;

    fn stripe(keys: &str) -> Stripe {
        let text = format!("[sources.pay]\nprovider = \"stripe\"\n{keys}");
        let mut config = Config::parse(&text).unwrap();
        let source = config.sources.remove(&Name::parse("pay").unwrap()).unwrap();
        Stripe::new(API, Some("sk_test_x".to_owned()), source, None).unwrap()
    }

    #[test]
    fn the_id_is_the_one_that_the_gateway_will_give() {
        let body = r#"{"id": "evt_1", "data": {"object": {"id": "pi_1"}}}"#;
        assert_eq!(stripe("").id(body).unwrap().as_str(), "evt_1");
        let own = stripe("event = { id = \"json:/data/object/id\" }");
        assert_eq!(own.id(body).unwrap().as_str(), "pi_1");
        assert_eq!(stripe("event = { id = \"header:x-id\" }").id(body), None);
        assert_eq!(stripe("").id("{"), None);
    }

    #[test]
    fn the_gateways_answer_says_whether_it_took_the_event() {
        let id = EventId::from_stored("evt_1");
        let judge = |keys: &str, status: u16, text: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            match stripe(keys).judge(&id, "http://gateway", status, text) {
                Ok(brought) => brought.word().to_owned(),
                Err(NotBrought { why, hopeless }) => {
                    format!("{}: {why}", if hopeless { "all" } else { "one" })
                }
            }
        };
        let accepted = r#"{"status": "accepted", "event_id": "evt_1"}"#;
        let other = r#"{"status": "accepted", "event_id": "sha256-00"}"#;
        let quarantine = "mode = \"quarantine\"";
        let own = "mode = \"quarantine\"\nanswer = { status = 202, type = \"text/plain\", body = \"ok\" }";
        for (keys, status, text, want) in [
            ("", 200, accepted, "accepted"),
            ("", 200, r#"{"status": "duplicate", "event_id": "evt_1"}"#, "duplicate"),
            ("answer = { status = 204 }", 204, "", "accepted"),
            (
                "mode = \"observe\"",
                200,
                other,
                "all: http://gateway stored this as sha256-00: it only observes",
            ),
            (quarantine, 202, "", "all: http://gateway put this in quarantine"),
            (quarantine, 200, accepted, "accepted"),
            (own, 202, "ok", "accepted"),
            ("", 401, "", "all: http://gateway does not accept the signature (401)"),
            ("", 404, "", "all: http://gateway has no source pay"),
            ("", 413, "", "one: http://gateway refuses this event (413)"),
            ("", 503, "", "all: http://gateway answers 503"),
            ("", 301, "", "all: http://gateway answers 301"),
        ] {
            let judged = judge(keys, status, text);
            assert!(judged.starts_with(want), "{keys} {status}: {judged}");
        }
    }
}
