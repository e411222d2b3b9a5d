//! One function for each parser. What it takes is text that a person can read and a fuzzer can change line by line.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use hookgate_core::{
    Fetched,
    action::About,
    body::{self, Format, Members, View},
    catalogue::{self, Provider},
    codec::{self, Message},
    config::Config,
    event::{Event, view_for},
    gate::{self, Admission},
    ids::{EventId, Name},
    json_schema::Schema,
    lifecycle::Attempts,
    outcome::Answer,
    place::Locator,
    quarantine::Quarantined,
    request::{Request, route},
    sealed::Encryption,
    secret::{Secret, Secrets},
    template::{Filter, Template},
    time::EpochMillis,
    verify::Verifier,
};
use serde_json::{Value, json};

use crate::{
    gateway::{Call, Payload, Response},
    schema, seeds,
};

/// When everything happens: 2026-05-28T20:26:40Z, for which the samples are signed.
pub const NOW: EpochMillis = EpochMillis::from_seconds(1_780_000_000);

struct Known {
    provider: Provider,
    verifier: Verifier,
}

static PROVIDERS: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let verifiers = catalogue::all().into_iter().filter_map(|provider| {
        let verifier = provider.verifier().unwrap()?;
        Some((provider.slug.clone(), Known { provider, verifier }))
    });
    verifiers.collect()
});

/// The configuration of this repository.
static SHIPPED: LazyLock<Config> =
    LazyLock::new(|| Config::parse(include_str!("../../../hookgate.toml")).unwrap());

/// Its secrets, for the samples.
static SECRETS: LazyLock<Secrets> =
    LazyLock::new(|| Secrets::from_json(include_str!("../../../events/secrets.json")).unwrap());

fn line(input: &[u8]) -> Option<(&str, &[u8])> {
    let at = input.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&input[..at]).ok()?, &input[at + 1..]))
}

fn typed(content_type: &str, body: &[u8]) -> Option<Request> {
    let mut request = Request::post("https://hooks.example.com/webhooks/x", body, NOW);
    (content_type.is_empty() || request.set_header("content-type", content_type)).then_some(request)
}

/// A request as text: method and URL, headers, an empty line, the body.
fn written(mut input: &[u8]) -> Option<Request> {
    let (first, rest) = line(input)?;
    let (method, url) = first.split_once(' ')?;
    let mut request = Request::post(url, Vec::new(), NOW);
    request.method = http::Method::from_bytes(method.as_bytes()).ok()?;
    input = rest;
    loop {
        let (header, rest) = line(input)?;
        input = rest;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers.append(name, http::HeaderValue::from_str(value).ok()?);
    }
    request.body = input.to_vec();
    Some(request)
}

/// A provider's name and a secret, each in a line of its own, then a request.
fn delivery(input: &[u8]) -> Option<(&'static Known, Vec<Secret>, Request)> {
    let (slug, rest) = line(input)?;
    let (secret, rest) = line(rest)?;
    let known = PROVIDERS.get(slug)?;
    let secret: Secret = serde_json::from_str(secret).ok()?;
    Some((known, vec![secret], written(rest)?))
}

/// A view has to be the same whenever it is made, and fit for what is done with it.
fn look_at(request: &Request, json_field: &str) -> Option<View> {
    let view = body::view(request, json_field).ok()?;
    let again = body::view(request, json_field).unwrap();
    assert_eq!((view.format, &view.value), (again.format, &again.value));
    assert!(serde_json::to_string(&view.value).is_ok());
    assert!(view.field("a").is_none() || view.at("").is_some());
    Some(view)
}

/// Signatures of every provider: the headers and what they are about.
pub fn signatures(input: &[u8]) {
    let Some((known, secrets, request)) = delivery(input) else { return };
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let before = request.clone();
    let verified = known.verifier.verify(&request, &secrets, NOW);
    if let Ok(verified) = &verified {
        let body = &verified.request().body;
        // What was encrypted is shorter once it is opened.
        let opened = known.provider.encrypted != Encryption::None && body.len() < before.body.len();
        assert!(opened || *body == before.body, "other bytes were verified");
        assert!(known.verifier.verify(&request, &[], NOW).is_err() || known.verifier.is_none());
    }
}

/// Challenges, pings and confirmations.
pub fn handshake(input: &[u8]) {
    let Some((known, secrets, request)) = delivery(input) else { return };
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let handshake = known.provider.handshake;
    std::hint::black_box((
        handshake.before(&request, &secrets),
        handshake.after(&request, &secrets),
        handshake.stamp(&request, &secrets),
    ));
}

/// URL-encoded forms, with a document in a field or without.
pub fn forms(input: &[u8]) {
    let Some(request) = typed("application/x-www-form-urlencoded", input) else { return };
    let Some(view) = look_at(&request, "") else { return };
    assert!(matches!(view.format, Format::Form | Format::Empty));
    look_at(&request, "payload");
}

/// Multipart forms: the content type in the first line.
pub fn multipart(input: &[u8]) {
    let Some((content_type, body)) = line(input) else { return };
    let Some(request) = typed(content_type, body) else { return };
    if request.media_type() == "multipart/form-data" {
        look_at(&request, "");
        look_at(&request, "payload");
    }
}

/// XML.
pub fn xml(input: &[u8]) {
    let Some(request) = typed("application/xml", input) else { return };
    let Some(view) = look_at(&request, "") else { return };
    assert!(matches!(view.format, Format::Xml | Format::Empty));
}

/// JSON and what looks like it: a pointer in the first line.
pub fn json(input: &[u8]) {
    let Some((pointer, body)) = line(input) else { return };
    for content_type in ["application/json", ""] {
        let Some(request) = typed(content_type, body) else { return };
        if let Some(view) = look_at(&request, "") {
            std::hint::black_box(view.at(pointer));
        }
    }
}

/// A JSON Schema in the first line, then what has to fit it.
pub fn json_schema(input: &[u8]) {
    let Some((written, body)) = line(input) else { return };
    let Ok(document) = serde_json::from_str::<Value>(written) else { return };
    let Some(view) = typed("application/json", body).and_then(|request| look_at(&request, "")) else {
        return;
    };
    let Ok(schema) = Schema::read(&document) else { return };
    let fits = schema.check(&view.value);
    // What fits a schema does not fit its opposite. A reference would lead elsewhere in there.
    if written.contains("$ref") {
        return;
    }
    let Ok(opposite) = Schema::read(&json!({"not": document})) else { return };
    match (fits, opposite.check(&view.value)) {
        (Ok(()), Ok(())) => panic!("it fits, and its opposite as well"),
        (Err(one), Err(other)) => {
            let was_given_up = [one, other].iter().any(|why| why.to_string().contains(" steps, "));
            assert!(was_given_up, "neither it fits nor its opposite");
        }
        _ => {}
    }
}

/// Templates and filters of anybody's, and the shipped ones over events of anybody's.
pub fn templates(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        std::hint::black_box((Template::parse(text).is_ok(), Filter::parse(text).is_ok()));
    }
    let Some(request) = typed("application/json", input) else { return };
    for source in SHIPPED.sources.values() {
        let Ok(event) = Event::unverified(source, &request, "fuzzed".into()) else { continue };
        let view = view_for(source, &event.request).unwrap();
        let context = event.context(&view);
        let Ok(actions) = hookgate_core::routing::actions(&SHIPPED.routes, &event, &context) else {
            continue;
        };
        for action in actions {
            let about =
                About { action: &action, event: &event, view: &view, context: &context, times_done: 0 };
            std::hint::black_box(SHIPPED.actions[&action].action.plan(&about).is_ok());
        }
    }
}

/// Messages of the queue.
pub fn messages(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(message) = Message::from_text(text) else { return };
    assert_eq!(Message::from_text(&message.to_text()).unwrap(), message);
    if let Ok(Some(frame)) = message.frame() {
        frame_of(message.source.clone(), message.id.clone(), &frame);
    }
}

/// Decodes a frame; what comes out has to come out again after it was written.
fn frame_of(source: Name, id: EventId, frame: &[u8]) {
    if let Ok(event) = codec::decode(source, id, frame) {
        written_and_read_back(&event);
    }
}

fn written_and_read_back(event: &Event) {
    let frame = codec::encode(event, 7).unwrap();
    let back = codec::decode(event.source.clone(), event.id.clone(), &frame).unwrap();
    assert_eq!(back.request.body, event.request.body);
    assert_eq!(back.request.headers, event.request.headers);
    assert_eq!(
        (&back.request.query, &back.request.path_type),
        (&event.request.query, &event.request.path_type)
    );
    assert_eq!((&back.event_type, back.occurred_at), (&event.event_type, event.occurred_at));
    assert_eq!(back.request.received_at, event.request.received_at);
    assert_eq!((&back.unverified, &back.order_key), (&event.unverified, &event.order_key));
    if let Some(message) = Message::carrying(&event.source, &event.id, &frame) {
        let message = Message::from_text(&message.to_text()).unwrap();
        assert_eq!(message.frame().unwrap().as_deref(), Some(frame.as_slice()));
    }
}

/// Items of the table: a key, a sort key, and whatever stands in the item.
pub fn table(input: &[u8]) {
    let Some((pk, rest)) = line(input) else { return };
    let Some((sk, content)) = line(rest) else { return };
    if let Some((source, id)) = schema::parse_event_pk(pk) {
        assert_eq!(schema::event_pk(&source, &id), pk);
        frame_of(source.clone(), id.clone(), content);
        if let Ok(kept) = Quarantined::decode(source.clone(), id.clone(), "fuzzed".into(), content) {
            let again = kept.encode().unwrap();
            let again = Quarantined::decode(source, id, "fuzzed".into(), &again).unwrap();
            assert_eq!(again.request.body, kept.request.body);
            assert_eq!((again.request.url, again.request.headers), (kept.request.url, kept.request.headers));
        }
    }
    if let Some(key) = schema::StatusKey::parse(sk)
        && (0..=9_999_999_999_999).contains(&key.received_at.as_millis())
    {
        assert_eq!(schema::StatusKey::parse(&key.sk()), Some(key));
    }
    std::hint::black_box((schema::parse_quarantine_sk(sk), schema::parse_counter_sk(sk)));
    if let Ok(attempts) = serde_json::from_slice::<Attempts>(content) {
        let text = serde_json::to_string(&attempts).unwrap();
        assert_eq!(serde_json::from_str::<Attempts>(&text).unwrap(), attempts);
    }
}

/// `hookgate.toml`.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(problems) = Config::parse(text) {
        assert!(!problems.is_empty(), "refused without a reason");
        let lines = text.lines().count() + 1;
        assert!(problems.iter().all(|problem| problem.line <= lines && !problem.message.is_empty()));
    }
}

/// The secrets of an installation.
pub fn secrets(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(secrets) = Secrets::from_json(text) {
        std::hint::black_box((format!("{secrets:?}"), secrets.active("shop").len()));
    }
}

/// Events of a gateway.
pub fn gateway(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(call) = Call::read(text) else { return };
    let answer = Answer::ok("text/plain", String::from_utf8_lossy(input).into_owned());
    assert!(serde_json::to_string(&Response::write(answer, call.payload)).is_ok());
    // What came as base64 is what was sent, and so is what came as text.
    // Where JSON of another reader is the same: what is not looked at may be anything here.
    if let Ok(event) = serde_json::from_str::<Value>(text)
        && let (Some(sent), Some(read)) = (event["body"].as_str(), call.body)
        && event["isBase64Encoded"] != json!(true)
    {
        assert_eq!(sent.as_bytes(), read);
    }
}

/// Locators: one in the first line, then a request.
pub fn locators(input: &[u8]) {
    let Some((text, rest)) = line(input) else { return };
    let Ok(locator) = Locator::parse(text) else { return };
    let shown = locator.to_string();
    assert_eq!(Locator::parse(&shown).unwrap().to_string(), shown, "what is shown can't be read");
    let Some(request) = written(rest) else { return };
    let view = body::view(&request, "").ok();
    let value = locator.find_value(&request, view.as_ref());
    assert!(locator.find(&request, view.as_ref()).is_none() || value.is_some());
    let mut members = Members::default();
    locator.add_to(&mut members);
    let looked_at = body::view_of(&request, "", &members).ok();
    assert_eq!(looked_at.is_some(), view.is_some(), "what is refused depends on who reads it");
    let found = locator.find_value(&request, looked_at.as_ref());
    assert_eq!(found, value, "another is found in what is looked at");
}

/// Bodies of the samples: those of sources that sign the exact bytes can't be any others.
static SIGNED: LazyLock<BTreeSet<(String, Vec<u8>)>> = LazyLock::new(|| {
    let events = seeds::of("ingest").into_iter().map(|event| String::from_utf8(event).unwrap());
    events
        .map(|event| {
            let call = Call::read(&event).unwrap();
            (route(&call.path).unwrap().source.to_owned(), call.body.unwrap())
        })
        .collect()
});

/// Sources that sign the exact bytes of the body.
const SIGN_THE_BODY: &[&str] = &["github", "orders", "payments", "shopify", "slack", "standard", "stripe"];

/// The whole way of a request through ingest: an event of a gateway, to a source of the shipped configuration.
pub fn ingest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(call) = Call::read(text) else { return };
    let Some(route) = route(&call.path) else { return };
    let Some(source) = Name::parse(route.source).and_then(|name| SHIPPED.sources.get(&name)) else { return };
    let (Some(method), Some(body)) = (call.method, call.body) else { return };
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    let request = Request {
        method,
        url: format!("https://hooks.example.com{}{query}", route.path),
        query: call.query,
        headers: call.headers,
        body,
        path_type: route.path_type.clone(),
        sender: call.sender,
        received_at: call.received_at.unwrap_or(NOW),
    };
    let admission =
        gate::admit(source, source.mode, &SECRETS, &Fetched::default(), &request, request.received_at);
    let answer = match &admission {
        Admission::Event(event) => {
            assert_eq!(event.request.body, request.body, "other bytes are stored");
            assert!(event.unverified.is_none(), "no source of these observes");
            let name = source.name.as_str();
            assert!(
                !SIGN_THE_BODY.contains(&name) || SIGNED.contains(&(name.to_owned(), request.body.clone())),
                "a body that nobody signed"
            );
            assert!(event.request.url.is_empty() && !event.request.headers.contains_key("authorization"));
            written_and_read_back(event);
            let stored = Event::new(
                source,
                &source
                    .verifier
                    .verify(&request, &SECRETS.active(&source.secret), request.received_at)
                    .unwrap(),
            )
            .unwrap();
            assert_eq!((&stored.id, &stored.event_type), (&event.id, &event.event_type));
            assert_eq!(
                schema::parse_event_pk(&schema::event_pk(&event.source, &event.id)),
                Some((event.source.clone(), event.id.clone()))
            );
            gate::acknowledge(&source.answer, event, false, "request")
        }
        Admission::Refused(reason) => {
            assert!(!reason.to_string().is_empty());
            reason.refusal().answer("request")
        }
        Admission::Answer(_) | Admission::Visit { .. } | Admission::Quarantine { .. } => Answer::ok("", ""),
    };
    for payload in [Payload::V1, Payload::V2] {
        assert!(serde_json::to_string(&Response::write(answer.clone(), payload)).is_ok());
    }
}
