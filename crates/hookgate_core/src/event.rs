//! Events: verified deliveries, as they are stored and as rules and templates see them.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::{
    body::{self, BodyError, Members, View},
    ids::{EventId, Name},
    json_schema::Mismatch,
    place::Place,
    request::Request,
    source::Source,
    time::EpochMillis,
    verify::Verified,
};

/// The type of an event whose provider names none.
pub const UNKNOWN_TYPE: &str = "unknown";

/// Longest event type, in bytes; the rest is cut off.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;

/// Most headers kept with an event, and most bytes of one value. An HTTP API lets 10,240 bytes through in all.
pub const HEADERS_MAX: usize = 100;
const HEADER_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Headers that are never stored: credentials, what our own gateway adds, and what belongs to one connection.
const HEADERS_LEFT_OUT: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "forwarded",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-amz-security-token",
    "x-amzn-tls-cipher-suite",
    "x-amzn-tls-version",
    "x-amzn-trace-id",
];

/// One verified delivery.
#[derive(Clone, Debug)]
pub struct Event {
    /// The source it came to.
    pub source: Name,
    /// What makes it the same event when it is sent again.
    pub id: EventId,
    /// The provider's word for what happened.
    pub event_type: String,
    /// The provider's time of it.
    pub occurred_at: Option<EpochMillis>,
    /// Why it was not verified, where its source only observes; `None` for every other event.
    pub unverified: Option<String>,
    /// What puts it in an order with others of its source; `None` where the source has none, or the event lacks it.
    pub order_key: Option<String>,
    /// What was sent. Its `received_at` is our time of it; its `url` is empty in an event read from the store.
    pub request: Request,
}

/// Why a verified request is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body is not what it says it is.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A body that the source's provider never sends.
    #[error("the source takes JSON, forms and XML, not `{media_type}`")]
    Unsupported {
        /// As sent.
        media_type: String,
    },
    /// A required field is missing.
    #[error("the required field {place} is missing")]
    FieldMissing {
        /// As configured.
        place: String,
    },
    /// It does not look as the source's schema says.
    #[error("by the source's `schema`, {0}")]
    Schema(#[from] Mismatch),
}

impl Event {
    /// Derives an event from a verified request.
    ///
    /// # Errors
    /// [`EventError`]: 400 or 415 for the sender.
    pub fn new(source: &Source, verified: &Verified<'_>) -> Result<Self, EventError> {
        Self::derive(source, verified, None)
    }

    /// Derives an event from a request that was not verified, for a source that only observes.
    ///
    /// Its id is one that no verified event can have, so that a forgery can't stand in the way of the real one.
    ///
    /// # Errors
    /// [`EventError`]
    pub fn unverified(source: &Source, request: &Request, reason: String) -> Result<Self, EventError> {
        Self::derive(source, &Verified::unproved(request), Some(reason))
    }

    fn derive(
        source: &Source,
        verified: &Verified<'_>,
        unverified: Option<String>,
    ) -> Result<Self, EventError> {
        let request = verified.request();
        let view = view_of(source, request, &source.looked_at)?;
        for locator in &source.required {
            if locator.find(request, Some(&view)).is_none() {
                return Err(EventError::FieldMissing { place: locator.to_string() });
            }
        }
        if let Some(schema) = &source.schema {
            schema.check(&view.value)?;
        }
        let event_type = source
            .event_type
            .find(request, Some(&view))
            .or_else(|| request.path_type.clone())
            .map_or_else(|| UNKNOWN_TYPE.to_owned(), |text| clean_type(&text));
        let found = match unverified {
            None => source.id.find(request, Some(&view)).and_then(|id| EventId::from_provider(&id)),
            Some(_) => Some(EventId::from_hash(&[b"unverified", event_type.as_bytes(), &request.body])),
        };
        let order_key = source.order.as_ref().and_then(|order| order.find(request, Some(&view)));
        // A key is cut like an id: what is long or odd is as good as its hash.
        let order_key =
            order_key.and_then(|key| EventId::from_provider(&key)).map(|key| key.as_str().to_owned());
        let id = found.unwrap_or_else(|| {
            let received_at = request.received_at.as_millis().to_be_bytes();
            match source.identical_bodies_differ {
                true => EventId::from_hash(&[event_type.as_bytes(), &request.body, &received_at]),
                false => EventId::from_hash(&[event_type.as_bytes(), &request.body]),
            }
        });
        let occurred_at = source.time.find(request, Some(&view)).and_then(|text| EpochMillis::parse(&text));
        let request = what_may_be_kept(request, &source.token_places);
        Ok(Self { source: source.name.clone(), id, event_type, occurred_at, unverified, order_key, request })
    }

    /// When it happened: the provider's time, else ours.
    pub fn time(&self) -> EpochMillis {
        self.occurred_at.unwrap_or(self.request.received_at)
    }

    /// What filters and templates see: `event` (the view of the body), `source`, `id`, `type`, `verified`, `occurred_at`,
    /// `received_at`, `headers` (by lower-case name), `path` (the type in the URL, where it has one) and `query` (as it
    /// was sent, without `?`).
    ///
    /// Of the headers and the query that is what is kept of them: credentials, forwarding headers and a secret that is
    /// the proof itself were taken out before. A signature is there: it proves one body, and opens nothing.
    pub fn context(&self, view: &View) -> Value {
        let mut headers = Map::new();
        for name in self.request.headers.keys() {
            if let Some(value) = self.request.header(name.as_str()) {
                headers.insert(name.as_str().to_owned(), Value::String(value));
            }
        }
        json!({
            "event": view.value,
            "source": self.source,
            "id": self.id,
            "type": self.event_type,
            "verified": self.unverified.is_none(),
            "occurred_at": self.occurred_at.map(|t| t.to_string()),
            "received_at": self.request.received_at.to_string(),
            "headers": headers,
            "path": self.request.path_type,
            "query": self.request.query,
        })
    }
}

/// The view of an event's body as its source sees it.
///
/// # Errors
/// [`EventError`] when the source doesn't take such a body.
pub fn view_for(source: &Source, request: &Request) -> Result<View, EventError> {
    view_of(source, request, &Members::WHOLE)
}

fn view_of(source: &Source, request: &Request, members: &Members) -> Result<View, EventError> {
    let media_type = request.media_type();
    if source.any_body {
        // Whatever it is, it is kept; it is looked into only if that works.
        return Ok(body::view_of(request, "", members).unwrap_or_else(|_| body::opaque_view(&request.body)));
    }
    let view = body::view_of(request, &source.json_field, members)?;
    match view.format {
        body::Format::Json | body::Format::Form | body::Format::Xml | body::Format::Jws => Ok(view),
        body::Format::Empty => Err(BodyError::Json { line: 1, column: 0 }.into()),
        body::Format::Text | body::Format::Binary => Err(EventError::Unsupported { media_type }),
    }
}

fn clean_type(text: &str) -> String {
    let mut clean: String = text.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let mut end = clean.len().min(EVENT_TYPE_BYTES_MAX);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    clean.truncate(end);
    clean
}

/// A request without what must not be stored: credentials, and the secret where it is the proof itself.
fn what_may_be_kept(request: &Request, tokens: &[Place]) -> Request {
    let left_out = |name: &str| {
        HEADERS_LEFT_OUT.contains(&name)
            || name.starts_with("x-forwarded-")
            || tokens.iter().any(|place| matches!(place, Place::Header(token) if token == name))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers.iter().take(HEADERS_MAX) {
        if !left_out(name.as_str()) && value.len() <= HEADER_VALUE_BYTES_MAX {
            headers.append(name.clone(), value.clone());
        }
    }
    let secret =
        |name: &str| tokens.iter().any(|place| matches!(place, Place::Query(token) if token == name));
    let mut query = request.query.clone();
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| secret(&name)) {
        let rest: Vec<&str> = query
            .split('&')
            .filter(|pair| !form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| secret(&name)))
            .collect();
        query = rest.join("&");
    }
    Request {
        method: request.method.clone(),
        url: String::new(),
        query,
        headers,
        body: request.body.clone(),
        path_type: request.path_type.clone(),
        sender: request.sender,
        received_at: request.received_at,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::{config::Config, secret::Secret, template::Template, testing};

    const CONFIG: &str = r#"
        [sources.any]
        provider = "raw"
        verify = { scheme = "token", place = "query:key or header:x-key" }
        [sources.plain]
        provider = "generic"
        verify = "none"
        event = { id = "json:/id", type = "json:/type", time = "json:/at" }
        required = ["json:/must"]
    "#;

    fn source<'c>(config: &'c Config, name: &str) -> &'c Source {
        &config.sources[&Name::parse(name).unwrap()]
    }

    proptest! {
        /// To the last digit, and senders write all 17 of `0.1 + 0.2`.
        #[test]
        fn a_number_is_shown_as_it_was_sent(
            number in prop_oneof![(-1e15..1e15), (-180.0..180.0), Just(0.1 + 0.2)],
        ) {
            let config = Config::parse(CONFIG).unwrap();
            let body = format!(r#"{{"id": "1", "type": "t", "must": 1, "n": {number:?}}}"#);
            let (event, view) = testing::event(&config, "plain", body.as_bytes());
            let shown = Template::parse("{{ event.n }}").unwrap().render(&event.context(&view)).unwrap();
            prop_assert_eq!(shown, format!("{number:?}"));
        }
    }

    #[test]
    fn credentials_are_not_kept() {
        let config = Config::parse(CONFIG).unwrap();
        let source = source(&config, "any");
        let mut request = testing::request(b"x");
        request.query = "a=1&key=hunter2&b=%20".into();
        for name in ["authorization", "cookie", "x-forwarded-for", "x-amzn-trace-id", "x-key", "x-other"] {
            testing::set_header(&mut request, name, "hunter2 or not");
        }
        let secret = Secret::from("hunter2");
        let verified = source.verifier.verify(&request, &[&secret], request.received_at).unwrap();
        let event = Event::new(source, &verified).unwrap();
        let kept: Vec<_> = event.request.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(kept, ["content-type", "x-other"]);
        assert_eq!((event.request.query.as_str(), event.request.url.as_str()), ("a=1&b=%20", ""));
    }

    #[test]
    fn filters_and_templates_see_the_event_and_no_credential() {
        let config = Config::parse(CONFIG).unwrap();
        let source = source(&config, "any");
        let mut request = testing::request(br#"{"a": 1}"#);
        request.query = "a=1&key=hunter2".into();
        request.path_type = Some("opt-out".into());
        for name in ["Authorization", "Proxy-Authorization", "Cookie", "X-Forwarded-For", "X-Key"] {
            testing::set_header(&mut request, name, "hunter2");
        }
        for (name, value) in [("X-Hub-Signature-256", "sha256=00"), ("X-GitHub-Event", "push")] {
            testing::set_header(&mut request, name, value);
        }
        request.headers.append("x-many", http::HeaderValue::from_static("1"));
        request.headers.append("x-many", http::HeaderValue::from_static("2"));
        let secret = Secret::from("hunter2");
        let verified = source.verifier.verify(&request, &[&secret], request.received_at).unwrap();
        let event = Event::new(source, &verified).unwrap();
        let view = view_for(source, &event.request).unwrap();
        let context = event.context(&view);
        assert_eq!(
            context,
            json!({
                "event": {"a": 1}, "source": "any", "id": event.id, "type": "opt-out", "verified": true,
                "occurred_at": null, "received_at": "2026-05-28T20:26:40.000Z", "path": "opt-out", "query": "a=1",
                "headers": {
                    "content-type": "application/json", "x-github-event": "push", "x-hub-signature-256": "sha256=00",
                    "x-many": "1,2",
                },
            })
        );
        assert!(!context.to_string().contains("hunter2"));
        let event = Event::unverified(source, &request, "forged".into()).unwrap();
        assert_eq!(event.context(&view)["verified"], false);
        assert!(!event.context(&view).to_string().contains("hunter2"));
    }

    #[test]
    fn id_type_and_time_come_from_where_the_source_says() {
        let config = Config::parse(CONFIG).unwrap();
        let (event, _) = testing::event(
            &config,
            "plain",
            br#"{"id": 7, "type": " a\u0007b ", "at": "2026-01-01T00:00:00Z", "must": 1}"#,
        );
        assert_eq!((event.id.as_str(), event.event_type.as_str()), ("7", "a?b"));
        assert_eq!(event.time().to_string(), "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn without_an_id_the_same_bytes_are_the_same_event() {
        let config = Config::parse(CONFIG).unwrap();
        let id = |body: &str| testing::event(&config, "plain", body.as_bytes()).0.id;
        assert_eq!(id(r#"{"must": 1}"#), id(r#"{"must": 1}"#));
        assert_ne!(id(r#"{"must": 1}"#), id(r#"{"must": 1} "#));
        let (event, _) = testing::event(&config, "plain", br#"{"must": 1}"#);
        assert_eq!((event.event_type.as_str(), event.time()), (UNKNOWN_TYPE, event.request.received_at));
    }

    #[test]
    fn what_does_not_fit_the_schema_is_no_event() {
        let text = format!(
            "{CONFIG}schema = {{ properties = {{ total = {{ type = \"integer\" }}, must = {{ const = 1 }} }} }}\n"
        );
        let config = Config::parse(&text).unwrap();
        let source = source(&config, "plain");
        let made = |body: &[u8], media_type: &str| {
            let mut request = testing::request(body);
            testing::set_header(&mut request, "content-type", media_type);
            let verified = source.verifier.verify(&request, &[], request.received_at).unwrap();
            Event::new(source, &verified).map(|event| event.id).map_err(|error| error.to_string())
        };
        // What nothing else looks at is looked at as well.
        let said = "by the source's `schema`, /total has to be of type integer";
        assert_eq!(made(br#"{"must": 1, "total": "secret"}"#, "application/json").unwrap_err(), said);
        assert!(made(br#"{"id": "a", "must": 1, "total": 2}"#, "application/json").is_ok());
        // In a form, everything is a text.
        let said = "by the source's `schema`, /must has to be 1";
        assert_eq!(made(b"must=1", "application/x-www-form-urlencoded").unwrap_err(), said);
    }

    #[test]
    fn what_the_source_does_not_take_is_said() {
        let config = Config::parse(CONFIG).unwrap();
        let source = source(&config, "plain");
        let refused = |change: &dyn Fn(&mut Request)| {
            let mut request = testing::request(br#"{"must": 1}"#);
            change(&mut request);
            let verified = source.verifier.verify(&request, &[], request.received_at).unwrap();
            Event::new(source, &verified).unwrap_err()
        };
        let missing = refused(&|r| r.body = b"{}".to_vec());
        assert_eq!(missing, EventError::FieldMissing { place: "json:/must".into() });
        assert!(matches!(refused(&|r| r.body = b"{".to_vec()), EventError::Body(_)));
        assert!(matches!(refused(&|r| r.body.clear()), EventError::Body(_)));
        let packed = refused(&|r| testing::set_header(r, "content-encoding", "gzip"));
        assert_eq!(packed, EventError::Body(BodyError::Packed));
        let text = refused(&|r| {
            testing::set_header(r, "content-type", "text/csv");
            r.body = b"a;b".to_vec();
        });
        assert_eq!(text, EventError::Unsupported { media_type: "text/csv".into() });
    }

    #[test]
    fn a_long_type_is_cut_at_a_character() {
        let text = "ü".repeat(200);
        assert_eq!(clean_type(&text).len(), EVENT_TYPE_BYTES_MAX);
        assert_eq!(clean_type(&format!("a{text}")).len(), EVENT_TYPE_BYTES_MAX - 1);
    }
}
