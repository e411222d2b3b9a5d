//! What actions do to the outside.

use std::{
    collections::BTreeSet,
    future::{Ready, pending},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hookgate_aws::{
    aws_call::AwsCaller,
    effects::{Cause, Functions, Performer, RunError, RunResult},
    egress::Egress,
    performed::Performed,
    store::Store,
};
use hookgate_core::{
    effect::{CountEffect, Effect, HttpEffect, RecordEffect, Text},
    event::Event,
    lifecycle::DETAIL_CHARS_MAX,
    secret::Secrets,
    sign::{Outgoing, standard_webhooks},
    time::EpochMillis,
};
use hookgate_embedded::How;
use http::Method;
use serde_json::json;

use crate::harness::{
    Answer, Endless, Got, IMPATIENT, MARKER, RETENTION_DAYS, SLACK, START, Server, TABLE, World, clients,
    config, name, order, request,
};

/// A path that is a secret, as those of Slack's webhooks are.
const PATH: &str = "/inbox/hunter2-path?key=hunter2-query";

/// Every secret has the marker in it, as it is or in base64.
fn secrets() -> Secrets {
    // «whsec_» and the base64 of `hunter2-hunter2-hunter2-`.
    Secrets::from_json(
        r#"{
            "standard": "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjIt",
            "text": ["hunter2-new", "hunter2-old"],
            "login": "me:hunter2",
            "empty": "",
            "not base64": "whsec_!hunter2!"
        }"#,
    )
    .unwrap()
}

fn performer(allowed: &[&Server]) -> Performer {
    let nowhere = clients("http://127.0.0.1:1".into(), "http://127.0.0.1:1".into(), IMPATIENT);
    let allowed: Vec<_> = allowed.iter().map(|server| server.place.clone()).collect();
    let egress = Egress::new(&allowed).unwrap();
    Performer {
        aws: AwsCaller::local(egress.clone(), |_| "http://127.0.0.1:1".to_owned()),
        egress,
        store: Store::new(nowhere.dynamodb, TABLE),
        functions: Functions::default(),
    }
}

fn post(url: &str) -> HttpEffect {
    HttpEffect {
        method: Method::POST,
        url: Text::Plain(url.to_owned()),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        sign: None,
        timeout_ms: 20_000,
        success: Vec::new(),
    }
}

fn signed(url: &str, how: Outgoing, secret: &str) -> HttpEffect {
    HttpEffect { sign: Some((how, secret.to_owned())), ..post(url) }
}

fn detail(performed: &Performed) -> &str {
    match performed {
        Performed::Done { detail }
        | Performed::Failed { detail, .. }
        | Performed::Impossible { detail }
        | Performed::Gone { detail } => detail,
    }
}

async fn perform_for(performer: &Performer, effect: Effect, event: &Event, now: EpochMillis) -> Performed {
    let action = name("notify");
    let cause = Cause { event, action: &action, retention_days: RETENTION_DAYS };
    let performed = performer.perform(effect, cause, &secrets(), now).await;
    let detail = detail(&performed);
    assert!(!detail.is_empty() && detail.chars().count() <= DETAIL_CHARS_MAX, "{detail}");
    performed
}

/// Performs a request. What is told of it never has the path or a secret in it.
async fn send(performer: &Performer, effect: HttpEffect) -> Performed {
    let performed = perform_for(performer, Effect::Http(effect), &order("o1"), START).await;
    let detail = detail(&performed);
    for hidden in [MARKER, "inbox", "whsec", "aHVudGVy"] {
        assert!(!detail.contains(hidden), "{detail}");
    }
    performed
}

fn is_failed(performed: &Performed) -> bool {
    matches!(performed, Performed::Failed { retry_after_ms: None, .. })
}

fn is_impossible(performed: &Performed) -> bool {
    matches!(performed, Performed::Impossible { .. })
}

fn as_request(got: &Got, now: EpochMillis) -> hookgate_core::request::Request {
    let headers: Vec<_> =
        got.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    request(&headers, &got.body, now)
}

// ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn the_exact_bytes_arrive() {
    let server = Server::start(Answer::status(202)).await;
    let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let effect = HttpEffect {
        method: Method::PUT,
        headers: vec![
            ("content-type".into(), "text/x-any; charset=odd".into()),
            ("x-hookgate-source".into(), "shop".into()),
        ],
        body: body.clone(),
        ..post(&server.url(PATH))
    };
    let performed = send(&performer(&[&server]), effect).await;
    assert_eq!(performed, Performed::Done { detail: "127.0.0.1 answered 202".into() });
    let got = server.only();
    assert!(got.body == body);
    assert_eq!((got.method.as_str(), got.target.as_str()), ("PUT", PATH));
    assert_eq!(got.header("content-type"), Some("text/x-any; charset=odd"));
    assert_eq!(got.header("x-hookgate-source"), Some("shop"));
    assert_eq!(got.header("user-agent"), Some(concat!("hookgate/", env!("CARGO_PKG_VERSION"))));
    assert!(got.header("authorization").is_none());
}

#[tokio::test]
async fn an_address_that_is_a_secret_is_used_and_not_told() {
    let server = Server::start(Answer::status(200)).await;
    let mut secrets = secrets();
    secrets.insert("where", vec![server.url(PATH).as_str().into(), "http://127.0.0.1:1/old".into()]);
    let effect = HttpEffect { url: Text::Secret("where".into()), ..post("") };
    let (event, action) = (order("o1"), name("notify"));
    let cause = Cause { event: &event, action: &action, retention_days: RETENTION_DAYS };
    for (answer, want) in [(200, "answered 200"), (500, "answered 500"), (404, "answered 404")] {
        server.answers(Answer::status(answer));
        let performed =
            performer(&[&server]).perform(Effect::Http(effect.clone()), cause, &secrets, START).await;
        assert_eq!(detail(&performed), format!("127.0.0.1 {want}"));
    }
    assert!(server.got().iter().all(|got| got.target == PATH));
    assert_eq!(server.got().len(), 3);
    // An address that is none is not told either.
    secrets.insert("where", vec![MARKER.into()]);
    let performed = performer(&[&server]).perform(Effect::Http(effect), cause, &secrets, START).await;
    assert!(!detail(&performed).contains(MARKER), "{performed:?}");
}

#[tokio::test]
async fn a_signature_of_standard_webhooks_verifies_and_its_id_stays() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    let secrets = secrets();
    let active = secrets.active("standard");
    let later = START.plus_millis(3_600_000);
    let mut effect = signed(&server.url(PATH), Outgoing::StandardWebhooks, "standard");
    effect.body = b"{\"n\": 1.50 }\n\xff".to_vec();
    for now in [START, later] {
        let effect = Effect::Http(effect.clone());
        let performed = perform_for(&performer, effect, &order("o1"), now).await;
        assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    }
    perform_for(&performer, Effect::Http(effect), &order("o2"), START).await;
    let got = server.got();
    let verifier = standard_webhooks().unwrap();
    for (got, now) in got.iter().zip([START, later, START]) {
        verifier.verify(&as_request(got, now), &active, now).unwrap();
        // It is of these bytes and of this time.
        assert!(verifier.verify(&as_request(got, now), &active, now.plus_millis(3_600_000)).is_err());
        let changed = Got { body: b"{}".to_vec(), ..got.clone() };
        assert!(verifier.verify(&as_request(&changed, now), &active, now).is_err());
    }
    let ids: Vec<_> = got.iter().map(|got| got.header("webhook-id").unwrap()).collect();
    assert_eq!(ids, ["shop_o1_notify", "shop_o1_notify", "shop_o2_notify"]);
    assert_eq!(got[0].header("webhook-timestamp"), Some("1780000000"));
    assert_eq!(got[1].header("webhook-timestamp"), Some("1780003600"));
}

#[tokio::test]
async fn a_signature_verifies_whatever_the_id_of_the_event_is() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    let secrets = secrets();
    let ids = ["a.b.c", "with  space", "ä", "ö", "🦀", "\"quoted\\\"", "#%&,;=", "x".repeat(256).leak()];
    for id in ids {
        let effect = signed(&server.url(PATH), Outgoing::StandardWebhooks, "standard");
        let performed = perform_for(&performer, Effect::Http(effect), &order(id), START).await;
        assert!(matches!(performed, Performed::Done { .. }), "{id}: {performed:?}");
    }
    let verifier = standard_webhooks().unwrap();
    let mut sent = BTreeSet::new();
    for (got, id) in server.got().iter().zip(ids) {
        let header = got.headers["webhook-id"].to_str().unwrap_or_else(|_| panic!("{id}: not ASCII"));
        sent.insert(header.to_owned());
        verifier
            .verify(&as_request(got, START), &secrets.active("standard"), START)
            .unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    assert_eq!(sent.len(), ids.len(), "{sent:?}");
}

#[tokio::test]
async fn requests_are_signed_in_the_other_ways_as_well() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    for (how, secret) in [(Outgoing::Bearer, "text"), (Outgoing::Basic, "login"), (Outgoing::Hmac, "text")] {
        let performed = send(&performer, signed(&server.url(PATH), how, secret)).await;
        assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    }
    let got = server.got();
    assert_eq!(got[0].header("authorization"), Some("Bearer hunter2-new"));
    assert_eq!(got[1].header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert!(got[2].header("authorization").is_none());
    assert!(got[2].header("x-hookgate-signature").unwrap().starts_with("sha256="));
    // As a receiver of ours would check it.
    let config = config(
        "[sources.it]\nprovider = \"generic\"\n\
         verify = { scheme = \"hmac\", header = \"x-hookgate-signature\", prefix = \"sha256=\" }",
    );
    let (secrets, verifier) = (secrets(), &config.sources[&name("it")].verifier);
    verifier.verify(&as_request(&got[2], START), &secrets.active("text"), START).unwrap();
    assert!(verifier.verify(&as_request(&got[2], START), &[&"other".into()], START).is_err());
}

#[tokio::test]
async fn a_secret_that_is_missing_or_not_usable_can_be_mended() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    for effect in [
        signed(&server.url(PATH), Outgoing::Bearer, "absent"),
        signed(&server.url(PATH), Outgoing::StandardWebhooks, "empty"),
        signed(&server.url(PATH), Outgoing::StandardWebhooks, "not base64"),
        HttpEffect { url: Text::Secret("absent".into()), ..post("") },
    ] {
        let performed = send(&performer, effect.clone()).await;
        assert!(is_failed(&performed), "{effect:?}: {performed:?}");
        let name = effect.sign.map_or("absent".to_owned(), |(_, name)| name);
        assert!(detail(&performed).contains(&format!("`{name}`")), "{performed:?}");
    }
    server.assert_untouched().await;
}

#[tokio::test]
async fn a_secret_that_no_header_can_hold_can_be_mended() {
    let server = Server::start(Answer::status(200)).await;
    let mut secrets = secrets();
    secrets.insert("pasted", vec!["hunter2\n".into()]);
    let (event, action) = (order("o1"), name("notify"));
    let cause = Cause { event: &event, action: &action, retention_days: RETENTION_DAYS };
    let effect = Effect::Http(signed(&server.url(PATH), Outgoing::Bearer, "pasted"));
    let performed = performer(&[&server]).perform(effect, cause, &secrets, START).await;
    assert!(is_failed(&performed), "{performed:?}");
    assert!(detail(&performed).contains("`pasted`"), "{performed:?}");
    assert!(!detail(&performed).contains(MARKER), "{performed:?}");
    server.assert_untouched().await;
}

// ── What comes back ──────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_destination_may_ask_to_be_left_alone() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    for (status, value, want) in [
        (503, "7", Some(7_000)),
        (429, " 120 ", Some(120_000)),
        (500, "0", Some(0)),
        (503, "9223372036854775807", Some(i64::MAX)),
        (503, "99999999999999999999", None),
        (503, "soon", None),
        (503, "1.5", None),
        (503, "", None),
    ] {
        server.answers(Answer::header(status, "retry-after", value));
        let performed = send(&performer, post(&server.url(PATH))).await;
        let want = Performed::Failed { detail: format!("127.0.0.1 answered {status}"), retry_after_ms: want };
        assert_eq!(performed, want, "{value}");
    }
    server.answers(Answer::status(503));
    assert!(is_failed(&send(&performer, post(&server.url(PATH))).await));
}

#[tokio::test]
async fn what_a_destination_never_wants_is_impossible() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    for status in [400, 401, 403, 404, 413, 422] {
        server.answers(Answer::header(status, "retry-after", "7"));
        let performed = send(&performer, post(&server.url(PATH))).await;
        assert_eq!(performed, Performed::Impossible { detail: format!("127.0.0.1 answered {status}") });
    }
}

#[tokio::test]
async fn a_destination_that_says_it_is_gone_is_told_apart() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    server.answers(Answer::header(410, "retry-after", "7"));
    let performed = send(&performer, post(&server.url(PATH))).await;
    assert_eq!(performed, Performed::Gone { detail: "127.0.0.1 answered 410".to_owned() });
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::start(Answer::status(200)).await;
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server, &target]);
    for status in [301, 302, 303, 307, 308] {
        server.answers(Answer::header(status, "location", target.url("/inbox")));
        let performed = send(&performer, post(&server.url(PATH))).await;
        assert_eq!(performed, Performed::Impossible { detail: format!("127.0.0.1 answered {status}") });
    }
    assert_eq!(server.got().len(), 5);
    target.assert_untouched().await;
}

#[tokio::test]
async fn an_action_says_itself_which_statuses_are_a_success() {
    let server = Server::start(Answer::status(200)).await;
    let performer = performer(&[&server]);
    for (answer, success, done) in [
        (204, vec![], true),
        (299, vec![], true),
        (409, vec![200, 409], true),
        (302, vec![302], true),
        (500, vec![500], true),
        (200, vec![201], false),
        (409, vec![201], false),
    ] {
        server.answers(Answer::status(answer));
        let effect = HttpEffect { success: success.clone(), ..post(&server.url(PATH)) };
        let performed = send(&performer, effect).await;
        assert_eq!(matches!(performed, Performed::Done { .. }), done, "{answer}, {success:?}: {performed:?}");
    }
}

#[tokio::test]
async fn silence_is_a_failure_after_the_time_that_the_action_gives() {
    let server = Server::start(Answer::Never).await;
    let effect = HttpEffect { timeout_ms: 100, ..post(&server.url(PATH)) };
    let began = Instant::now();
    let performed = send(&performer(&[&server]), effect).await;
    assert!(is_failed(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "127.0.0.1 gave no answer within 100 ms");
    assert!((Duration::from_millis(100)..SLACK).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(server.only().body, b"{}");
}

#[tokio::test]
async fn a_destination_that_is_down_is_a_failure() {
    // Bound and let go, so that nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut performer = performer(&[]);
    performer.egress = Egress::new(std::slice::from_ref(&place)).unwrap();
    let performed = send(&performer, post(&format!("http://{place}{PATH}"))).await;
    assert!(is_failed(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "127.0.0.1 could not be reached");
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Half an answer.
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 20").await);
        }
    });
    let mut performer = performer(&[]);
    performer.egress = Egress::new(std::slice::from_ref(&place)).unwrap();
    let performed = send(&performer, post(&format!("http://{place}{PATH}"))).await;
    assert!(is_failed(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "the connection to 127.0.0.1 broke");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let server = Endless::start().await;
    let mut performer = performer(&[]);
    performer.egress = Egress::new(std::slice::from_ref(&server.place)).unwrap();
    let began = Instant::now();
    let performed = send(&performer, post(&format!("http://{}{PATH}", server.place))).await;
    assert_eq!(performed, Performed::Done { detail: "127.0.0.1 answered 200".into() });
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    drop(performer);
    // What the operating system takes without anybody reading it.
    let sent = server.ended().await;
    assert!(sent < 32 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn a_port_of_another_protocol_is_not_connected_to() {
    let performed = send(&performer(&[]), post("http://hooks.example.com:25/inbox")).await;
    assert!(is_impossible(&performed), "{performed:?}");
    assert!(detail(&performed).contains("`hooks.example.com:25` among `allow_hosts`"), "{performed:?}");
}

#[tokio::test]
async fn what_is_inside_is_not_connected_to() {
    let server = Server::start(Answer::status(200)).await;
    let port = server.place.rsplit(':').next().unwrap().to_owned();
    let performer = performer(&[]);
    for host in
        ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"]
    {
        let performed = send(&performer, post(&format!("http://{host}:{port}{PATH}"))).await;
        assert!(is_impossible(&performed), "{host}: {performed:?}");
        assert!(detail(&performed).contains("allow_hosts"), "{host}: {performed:?}");
    }
    for url in ["ftp://127.0.0.1/inbox", "file:///inbox", "inbox", ""] {
        let performed = send(&performer, post(url)).await;
        assert!(is_impossible(&performed), "{url}: {performed:?}");
    }
    server.assert_untouched().await;
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let server = Server::start(Answer::status(200)).await;
    let port = server.place.rsplit(':').next().unwrap().to_owned();
    let mut performer = performer(&[]);
    for inside in ["127.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1"] {
        let address: IpAddr = inside.parse().unwrap();
        performer.egress = Egress::with_lookup(&[], move |_| Ok(vec![address])).unwrap();
        let performed = send(&performer, post(&format!("http://hooks.example.com:{port}{PATH}"))).await;
        assert!(is_impossible(&performed), "{inside}: {performed:?}");
        assert!(detail(&performed).contains("no public address"), "{inside}: {performed:?}");
    }
    server.assert_untouched().await;
}

#[tokio::test]
async fn an_exception_is_for_its_own_port_only() {
    let (allowed, other) =
        (Server::start(Answer::status(200)).await, Server::start(Answer::status(200)).await);
    let performer = performer(&[&allowed]);
    let performed = send(&performer, post(&allowed.url(PATH))).await;
    assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    assert!(is_impossible(&send(&performer, post(&other.url(PATH))).await));
    other.assert_untouched().await;
}

// ── What is kept, and what is one's own ──────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn records_and_counts_are_made_and_told_of() {
    let world = World::with(IMPATIENT).await;
    let performer = Performer { store: world.store.clone(), ..performer(&[]) };
    let record = |at: EpochMillis| {
        let fields = json!({"state": "paid"}).as_object().unwrap().clone();
        let collection = "orders".to_owned();
        Effect::Record(RecordEffect { collection, key: "k1".into(), at, fields, keep_days: None })
    };
    let count = || {
        Effect::Count(CountEffect { counter: "events".into(), day: START.day(), label: "shop paid".into() })
    };
    for (effect, want) in [
        (record(START), "recorded orders/k1"),
        (record(START), "recorded orders/k1"),
        (record(START.plus_millis(-1)), "kept orders/k1, which is newer"),
        (count(), "counted events / shop paid"),
        (count(), "events had counted it before"),
    ] {
        let performed = perform_for(&performer, effect, &order("o1"), START).await;
        assert_eq!(performed, Performed::Done { detail: want.into() });
    }
    let records = world.store.records("orders", 10).await.unwrap();
    assert_eq!((records.len(), &records[0].1["state"]), (1, &json!("paid")));
    let counts = world.store.counts("events", 10).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|one| (one.label.as_str(), one.count)).collect();
    assert_eq!(counts, [("shop paid", 1)]);

    for (effect, operation) in [(record(START), "UpdateItem"), (count(), "TransactWriteItems")] {
        world.break_table(operation, How::AccessDenied);
        let performed = perform_for(&performer, effect, &order("o2"), START).await;
        assert!(is_failed(&performed), "{performed:?}");
        assert!(
            detail(&performed).starts_with(&format!("DynamoDB {operation}: AccessDenied")),
            "{performed:?}"
        );
    }
}

#[tokio::test]
async fn a_function_of_ones_own_is_called_with_the_event() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let functions = Functions::default()
        .with("good", {
            let seen = seen.clone();
            move |event: Event| {
                let seen = seen.clone();
                async move {
                    seen.lock().unwrap().push((event.id.to_string(), event.request.body));
                    Ok("ran".to_owned())
                }
            }
        })
        .with("later", |_| async { Err(RunError::Retry("not now".into())) })
        .with("never", |_| async { Err(RunError::Dead("never at all".into())) })
        .with("long", |_| async { Ok("ä".repeat(10_000)) });
    assert_eq!(functions.names(), ["good", "later", "long", "never"]);
    let performer = Performer { functions, ..performer(&[]) };
    let event = order("o1");
    let run = async |function: &str| {
        let effect = Effect::Run { function: function.into() };
        perform_for(&performer, effect, &event, START).await
    };
    assert_eq!(run("good").await, Performed::Done { detail: "ran".into() });
    assert_eq!(*seen.lock().unwrap(), [("o1".to_owned(), event.request.body.clone())]);
    assert_eq!(run("later").await, Performed::Failed { detail: "not now".into(), retry_after_ms: None });
    assert_eq!(run("never").await, Performed::Impossible { detail: "never at all".into() });
    assert_eq!(run("long").await, Performed::Done { detail: "ä".repeat(DETAIL_CHARS_MAX) });
    let unknown = run("absent").await;
    assert!(is_impossible(&unknown), "{unknown:?}");
    assert!(detail(&unknown).contains("`absent`") && detail(&unknown).contains("good, later"), "{unknown:?}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_or_never_ends_is_a_failed_try() {
    let functions = Functions::default()
        .with("at-once", |_| -> Ready<RunResult> { panic!("a function's own mistake") })
        .with("later", |_| async {
            tokio::task::yield_now().await;
            panic!("a function's own mistake")
        })
        .with("endless", |_| pending());
    let performer = Performer { functions, ..performer(&[]) };
    let event = order("o1");
    for (function, want) in
        [("at-once", "panicked"), ("later", "panicked"), ("endless", "did not end within 30000 ms")]
    {
        let effect = Effect::Run { function: function.into() };
        let performed = perform_for(&performer, effect, &event, START).await;
        assert!(
            matches!(&performed, Performed::Failed { detail, retry_after_ms: None } if detail.contains(want)),
            "{function}: {performed:?}"
        );
    }
}
