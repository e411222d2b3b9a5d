//! The real `ingest` and `worker` processes, with a Lambda Runtime API in front and the embedded table and queue
//! behind them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use axum::http::StatusCode;
use hookgate::local::{QUEUE, TABLE};
use hookgate_aws::{ambient::Ambient, env, outbox::Due};
use hookgate_core::{
    codec::Message,
    ids::{EventId, Name},
    lifecycle::Status,
    time::EpochMillis,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    backend::{Backend, Destination, SECRET_PATH, config, sample_secrets},
    operations::{FIELDS, OUTCOMES},
    runtime_api::{Answer, Function, variables},
    samples::{derived, recorded, samples},
    telemetry::{NAMESPACE, metrics},
};

/// A table, a queue, a destination, and the environment of functions that use them.
pub(crate) struct Setting {
    pub(crate) backend: Backend,
    pub(crate) destination: Destination,
    pub(crate) variables: Vec<(&'static str, String)>,
    secrets: Value,
    pub(crate) folder: TempDir,
}

impl Setting {
    pub(crate) async fn new(status: StatusCode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::start().await;
        let destination = Destination::start(status).await;
        let secrets = sample_secrets(Some(&destination));
        let file: PathBuf = folder.path().join("secrets.json");
        std::fs::write(&file, secrets.to_string()).unwrap();
        let mut variables = variables(&backend, &file);
        variables.push((env::ALLOW_HOSTS, destination.authority.clone()));
        variables.push((env::METRICS_NAMESPACE, NAMESPACE.to_owned()));
        // Those of the table and the queue have variables of their own.
        variables.push(("AWS_ENDPOINT_URL", format!("http://{}/aws", destination.authority)));
        Self { backend, destination, variables, secrets, folder }
    }

    pub(crate) async fn start(&self, name: &str) -> Function {
        Function::start(name, &self.variables).await
    }

    /// Checks that a log has no secret in it, and nothing that is marked.
    fn hides(&self, log: &str, markers: &[&str]) {
        let hidden: Vec<String> = self
            .secrets
            .as_object()
            .unwrap()
            .values()
            .flat_map(|value| match value {
                Value::Array(values) => {
                    values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
                }
                value => vec![value.as_str().unwrap().to_owned()],
            })
            .chain([SECRET_PATH.to_owned()])
            .chain(markers.iter().map(|marker| (*marker).to_owned()))
            .collect();
        for secret in &hidden {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "the log has {secret} in it: {line:?}");
        }
    }

    /// Checks the lines that a function wrote and returns those about requests and events: JSON, metrics as CloudWatch
    /// takes them, one outcome each, and nothing in them that is a secret or was sent.
    pub(crate) fn lines(&self, log: &str, markers: &[&str]) -> Vec<Value> {
        self.hides(log, markers);
        let lines = log.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
        });
        let about_one = |line: &Value| line["request_id"].is_string() || line["event.id"].is_string();
        lines
            .inspect(|line| {
                metrics(line);
                assert!(
                    !about_one(line) || line["outcome"].is_string() || line["error"].is_string(),
                    "{line}"
                );
            })
            .filter(|line| line["outcome"].is_string())
            .inspect(|line| {
                assert!(OUTCOMES.contains(line["outcome"].as_str().unwrap()), "not in operations.md: {line}");
                let fields = line.as_object().unwrap().keys();
                let unknown: Vec<_> = fields.filter(|field| !FIELDS.contains(field.as_str())).collect();
                assert!(unknown.is_empty(), "not in operations.md: {unknown:?}: {line}");
            })
            .collect()
    }
}

fn outcomes(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect()
}

/// A delivery of `hang`, which is verified by a token, as an HTTP API hands it over.
pub(crate) fn delivery(id: &str, token: &str, body: &str) -> String {
    json!({
        "version": "2.0", "routeKey": "ANY /webhooks/{source}", "rawPath": "/webhooks/hang",
        "rawQueryString": format!("token={token}"),
        "headers": {"content-type": "application/json", "x-private": "MARKER-HEADER"},
        "requestContext": {
            "domainName": "hooks.example.com", "requestId": format!("request-{id}"), "stage": "$default",
            "http": {"method": "POST", "path": "/webhooks/hang"},
            "timeEpoch": Ambient::system().now().as_millis(),
        },
        "body": body, "isBase64Encoded": false,
    })
    .to_string()
}

pub(crate) fn hang_body(id: &str) -> String {
    json!({
        "id": id, "type": "user.updated", "webhook_sent_at": Ambient::system().now().as_seconds(),
        "user": {"id": "u1", "email": "MARKER-BODY@example.com"},
    })
    .to_string()
}

pub(crate) const TOKEN: &str = "hang-test-token-not-a-secret";

#[tokio::test]
async fn ingest_answers_every_sample() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    let mut wanted = Vec::new();
    for sample in samples() {
        let what = format!("{}/{}", sample.source, sample.name);
        let answer = ingest.invoke(&derived(&sample, "ingest").unwrap()).await.response();
        assert_eq!(answer["statusCode"], 200, "{what}: {answer}");
        assert!(answer["headers"]["content-type"].is_string(), "{what}: {answer}");
        assert_eq!(answer["isBase64Encoded"], false, "{what}");
        wanted.push(match recorded(&config(), &sample) {
            None => "handshake",
            Some(event) => {
                let stored = setting.backend.store.event(&event.source, &event.id).await.unwrap().unwrap();
                assert_eq!(stored.request.body, event.request.body, "{what}");
                "accepted"
            }
        });
    }
    assert_eq!(setting.backend.waiting().len(), wanted.iter().filter(|it| **it == "accepted").count());
    let lines = setting.lines(&ingest.kill().await, &["zoe.muller@example.com", "renee.tremblay", "Renée"]);
    assert_eq!(outcomes(&lines), wanted, "one line a request");
    for line in &lines {
        for field in ["source", "request_id", "bytes", "duration_ms"] {
            assert!(!line[field].is_null(), "{field}: {line}");
        }
    }
}

#[tokio::test]
async fn ingest_answers_each_gateway_in_its_own_shape() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    let (mut rest, mut url) = (0, 0);
    for sample in samples() {
        if let Some(event) = derived(&sample, "ingest-v1") {
            let answer = ingest.invoke(&event).await.response();
            assert_eq!(answer["statusCode"], 200, "{answer}");
            let values = answer["multiValueHeaders"]["content-type"].as_array().unwrap();
            assert!(values.len() == 1 && values[0].is_string(), "{answer}");
            assert!(answer["body"].is_string() && answer["isBase64Encoded"] == false, "{answer}");
            assert!(
                answer.get("cookies").is_none(),
                "a REST API takes no more fields than it knows: {answer}"
            );
            rest += 1;
        }
        if let Some(event) = derived(&sample, "ingest-url") {
            let answer = ingest.invoke(&event).await.response();
            assert_eq!(answer["statusCode"], 200, "{answer}");
            assert!(answer["headers"]["content-type"].is_string(), "{answer}");
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            assert_eq!((&body["status"], &body["source"]), (&json!("accepted"), &json!(sample.source)));
            url += 1;
        }
    }
    assert!(rest > 0 && url > 0);
}

#[tokio::test]
async fn ingest_refuses_without_storing_and_logs_nothing_that_was_sent() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    let broken = "{\"id\": \"MARKER-BODY\", \"user\": ";
    let cases = [
        (delivery("a", "MARKER-TOKEN", &hang_body("a")), 401, "signature"),
        (delivery("b", "", &hang_body("b")), 401, "signature"),
        (delivery("c", TOKEN, broken), 400, "malformed"),
        (
            delivery("d", TOKEN, &hang_body("d")).replace("/webhooks/hang", "/webhooks/MARKER-PATH"),
            404,
            "not-found",
        ),
        (delivery("e", TOKEN, &hang_body("e")).replace("\"POST\"", "\"GET\""), 405, "method"),
        (
            delivery("f", TOKEN, &hang_body("f"))
                .replace("\"isBase64Encoded\":false", "\"isBase64Encoded\":true"),
            400,
            "malformed",
        ),
    ];
    for (event, status, _) in &cases {
        let answer = ingest.invoke(event).await.response();
        assert_eq!(answer["statusCode"], *status, "{answer}");
        assert_eq!(answer["headers"]["content-type"], "application/problem+json", "{answer}");
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["status"], *status);
        assert!(problem["request_id"].as_str().unwrap().starts_with("request-"), "{problem}");
        assert!(!answer.to_string().contains("MARKER"), "{answer}");
    }
    // A sample whose body was changed on its way.
    let sample = samples().into_iter().find(|sample| sample.source == "stripe").unwrap();
    let changed = derived(&sample, "ingest").unwrap().replace("livemode", "livem0de");
    assert_eq!(ingest.invoke(&changed).await.response()["statusCode"], 401);
    assert!(setting.backend.waiting().is_empty());
    // A request that is taken, after all of them.
    let answer = ingest.invoke(&delivery("g", TOKEN, &hang_body("g"))).await.response();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(setting.backend.waiting().len(), 1);
    let lines =
        setting.lines(&ingest.kill().await, &["MARKER-BODY", "MARKER-TOKEN", "MARKER-HEADER", "MARKER-PATH"]);
    let (accepted, refused) = lines.split_last().unwrap();
    assert_eq!(accepted["outcome"], "accepted");
    assert!(refused.iter().all(|line| line["outcome"] == "refused"), "{refused:?}");
    let reasons: Vec<&str> = refused.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    let wanted: Vec<&str> = cases.iter().map(|(_, _, reason)| *reason).chain(["signature"]).collect();
    assert_eq!(reasons, wanted);
}

#[tokio::test]
async fn no_level_of_the_log_shows_what_was_sent() {
    let mut setting = Setting::new(StatusCode::OK).await;
    setting.variables.push(("AWS_LAMBDA_LOG_LEVEL", "TRACE".to_owned()));
    let (ingest, worker) = (setting.start("ingest").await, setting.start("worker").await);
    for sample in samples() {
        let answer = ingest.invoke(&derived(&sample, "ingest").unwrap()).await.response();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        if let Some(batch) = derived(&sample, "worker") {
            assert_eq!(worker.invoke(&batch).await.response(), json!({"batchItemFailures": []}));
        }
    }
    let refused = ingest.invoke(&delivery("a", "MARKER-TOKEN", &hang_body("a"))).await.response();
    assert_eq!(refused["statusCode"], 401);
    assert!(!setting.destination.received("crm-url").is_empty());
    let markers = ["MARKER", "zoe.muller@example.com", "renee.tremblay", "Renée"];
    for log in [ingest.kill().await, worker.kill().await] {
        setting.hides(&log, &markers);
        assert!(log.contains(r#"{"level":"DEBUG""#) && !log.contains(r#"{"level":"TRACE""#), "{log}");
    }
}

#[tokio::test]
async fn a_signature_over_the_url_is_verified_against_the_public_one() {
    let setting = Setting::new(StatusCode::OK).await;
    let twilio: Vec<_> = samples().into_iter().filter(|sample| sample.source == "twilio").collect();
    for (public, status) in [("https://hooks.example.com", 200), ("https://elsewhere.example.com", 401)] {
        let variables = [setting.variables.as_slice(), &[(env::PUBLIC_URL, public.to_owned())]].concat();
        let ingest = Function::start("ingest", &variables).await;
        for sample in &twilio {
            // Whatever domain the gateway itself was called under.
            let event =
                derived(sample, "ingest").unwrap().replace("hooks.example.com", "internal.example.com");
            let answer = ingest.invoke(&event).await.response();
            assert_eq!(answer["statusCode"], status, "{} at {public}: {answer}", sample.name);
        }
    }
}

#[tokio::test]
async fn ingest_outlives_an_event_that_is_none() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    for event in ["[]", "\"MARKER\"", "17"] {
        let Answer::Error(error) = ingest.invoke(event).await else { panic!("{event} is answered") };
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.contains("no event of API Gateway"), "{error}");
    }
    // An object of another kind is a request to nowhere.
    let answer = ingest.invoke(r#"{"hookgate": "sweep"}"#).await.response();
    assert_eq!(answer["statusCode"], 404, "{answer}");
    let answer = ingest.invoke(&delivery("a", TOKEN, &hang_body("a"))).await.response();
    assert_eq!(answer["statusCode"], 200, "{answer}");
}

#[tokio::test]
async fn worker_works_off_the_samples_and_gives_poison_back() {
    let setting = Setting::new(StatusCode::OK).await;
    let worker = setting.start("worker").await;
    let events: Vec<_> = samples()
        .into_iter()
        .filter_map(|sample| Some((derived(&sample, "worker")?, recorded(&config(), &sample)?)))
        .collect();
    let records: Vec<Value> = events
        .iter()
        .map(|(batch, _)| serde_json::from_str::<Value>(batch).unwrap()["Records"][0].clone())
        .collect();
    for records in records.chunks(10) {
        let answer = worker.invoke(&json!({ "Records": records }).to_string()).await.response();
        assert_eq!(answer, json!({"batchItemFailures": []}));
    }
    for (_, event) in &events {
        let entry = setting.backend.entry(event).await.unwrap();
        assert_eq!(entry.status, Status::Done, "{} {}", event.source, event.id);
    }
    assert!(setting.backend.waiting().is_empty());
    // Poison among others: it alone comes back.
    let mut poison = records[0].clone();
    poison["messageId"] = json!("poison-1");
    poison["body"] = json!("MARKER-POISON is no message");
    let mut damaged = records[1].clone();
    damaged["messageId"] = json!("poison-2");
    damaged["body"] = json!(r#"{"v":1,"source":"hang","id":"unheard-of","event":"AAAA"}"#);
    let batch = json!({ "Records": [poison, records[2], damaged] });
    let answer = worker.invoke(&batch.to_string()).await.response();
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "poison-1"}, {"itemIdentifier": "poison-2"}]})
    );
    assert!(!setting.destination.received("crm-url").is_empty());
    let lines =
        setting.lines(&worker.kill().await, &["MARKER-POISON", "zoe.muller@example.com", "renee.tremblay"]);
    for (outcome, count) in [("done", events.len()), ("repeated", 1), ("poison", 2)] {
        assert_eq!(outcomes(&lines).iter().filter(|it| **it == outcome).count(), count, "{outcome}");
    }
    assert_eq!(lines.len(), events.len() + 3, "one line an event");
}

#[tokio::test]
async fn worker_waits_after_a_failed_action_and_hides_where_it_went() {
    let setting = Setting::new(StatusCode::INTERNAL_SERVER_ERROR).await;
    let worker = setting.start("worker").await;
    let sample = samples().into_iter().find(|it| it.source == "hang" && it.name == "program.joined").unwrap();
    let answer = worker.invoke(&derived(&sample, "worker").unwrap()).await.response();
    assert_eq!(answer, json!({"batchItemFailures": []}), "a failed action is no failed message");
    let entry = setting.backend.entry(&recorded(&config(), &sample).unwrap()).await.unwrap();
    assert_eq!(entry.status, Status::Retrying);
    assert!(entry.attempts.0.iter().all(|attempt| !attempt.detail.contains(SECRET_PATH)));
    assert_eq!(setting.backend.waiting().len(), 1, "a message brings it back");
    let lines = setting.lines(&worker.kill().await, &["program-secret"]);
    assert!(outcomes(&lines).contains(&"retry"), "{lines:?}");
}

#[tokio::test]
async fn worker_sweeps_and_reads_the_stream() {
    let setting = Setting::new(StatusCode::OK).await;
    let (ingest, worker) = (setting.start("ingest").await, setting.start("worker").await);
    // Three events that are stored and whose messages got lost, long ago by their time of receipt.
    let mut ids = BTreeSet::new();
    for sample in samples().iter().filter(|sample| sample.source == "payments" || sample.source == "files") {
        let answer = ingest.invoke(&derived(sample, "ingest").unwrap()).await.response();
        assert_eq!(answer["statusCode"], 200);
        ids.insert(recorded(&config(), sample).unwrap().id.to_string());
    }
    assert_eq!(setting.backend.take_all().await.len(), 3);
    let page =
        setting.backend.engines.dynamodb().stream(TABLE, None, 1000, Duration::from_secs(10)).await.unwrap();
    let records: Vec<&Value> =
        page.records.iter().filter(|record| record["dynamodb"]["Keys"]["sk"]["S"] == "E").collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["eventSource"], "aws:dynamodb");
    let answer = worker.invoke(&json!({ "Records": records }).to_string()).await.response();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let queued = |messages: Vec<hookgate_embedded::Message>| -> BTreeSet<String> {
        messages.iter().map(|it| Message::from_text(&it.body).unwrap().id.to_string()).collect()
    };
    assert_eq!(queued(setting.backend.take_all().await), ids, "each is queued again");

    // The sweeper: nothing is due, then all of it.
    let sweep = worker::trigger::SWEEP;
    assert_eq!(worker.invoke(sweep).await.response(), json!({"queued": 0, "failed": 0}));
    let source = Name::parse("payments").unwrap();
    for number in 0..5 {
        let at = EpochMillis::from_seconds(1_780_000_000 + number);
        let due = Due { at, source: source.clone(), id: EventId::from_stored(format!("due-{number}")) };
        setting.backend.store.outbox_put(&due).await.unwrap();
    }
    let late = Ambient::system().now().plus_millis(3_600_000);
    let not_yet = Due { at: late, source, id: EventId::from_stored("not-yet") };
    setting.backend.store.outbox_put(&not_yet).await.unwrap();
    assert_eq!(worker.invoke(sweep).await.response(), json!({"queued": 5, "failed": 0}));
    assert_eq!(queued(setting.backend.take_all().await), (0..5).map(|n| format!("due-{n}")).collect());
    assert_eq!(worker.invoke(sweep).await.response(), json!({"queued": 0, "failed": 0}));
    let lines = setting.lines(&worker.kill().await, &[]);
    assert_eq!(outcomes(&lines), ["rescued", "rescued", "rescued", "swept"]);
    assert!(lines[..3].iter().all(|line| metrics(line) == BTreeMap::from([("rescued".to_owned(), 1)])));
    let swept = metrics(&lines[3]);
    assert_eq!((swept.len(), swept["outbox_queued"], swept["destinations_paused"]), (4, 5, 0), "{swept:?}");
    let oldest = Ambient::system().now().millis_since(EpochMillis::from_seconds(1_780_000_000));
    assert!((0..60_000).contains(&(oldest - swept["outbox_oldest_ms"])), "{oldest} {swept:?}");
}

#[tokio::test]
async fn worker_reports_an_event_of_no_known_kind_and_goes_on() {
    let setting = Setting::new(StatusCode::OK).await;
    let worker = setting.start("worker").await;
    let strange = json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "MARKER-KEY"}}}]});
    for event in
        [strange.to_string(), "{}".to_owned(), "[1]".to_owned(), r#"{"hookgate":"dance"}"#.to_owned()]
    {
        let Answer::Error(error) = worker.invoke(&event).await else { panic!("{event} is answered") };
        assert!(error["errorMessage"].as_str().unwrap().contains("no trigger"), "{error}");
    }
    let sample = samples().into_iter().find(|sample| sample.source == "orders").unwrap();
    let answer = worker.invoke(&derived(&sample, "worker").unwrap()).await.response();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    setting.lines(&worker.kill().await, &["MARKER-KEY"]);
}

#[tokio::test]
async fn a_function_that_is_not_set_up_says_what_is_missing() {
    let setting = Setting::new(StatusCode::OK).await;
    for name in ["ingest", "worker"] {
        for missing in [env::TABLE, env::QUEUE_URL, env::SECRETS, "AWS_REGION", "AWS_ACCESS_KEY_ID"] {
            let rest: Vec<_> = setting.variables.iter().filter(|(it, _)| *it != missing).cloned().collect();
            let (status, output) = Function::start(name, &rest).await.ended().await;
            assert!(!status.success(), "{name} without {missing}");
            assert!(output.contains(missing), "{name} without {missing}: {output}");
        }
    }
    let ordered = setting.folder.path().join("ordered.toml");
    let text = "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\norder = \"json:/customer\"\n";
    std::fs::write(&ordered, text).unwrap();
    let variables = [setting.variables.as_slice(), &[(env::CONFIG, ordered.display().to_string())]].concat();
    for name in ["ingest", "worker"] {
        let (status, output) = Function::start(name, &variables).await.ended().await;
        assert!(!status.success(), "{name}");
        for said in ["[sources.shop]", "Ordered=true", env::ORDERED_QUEUE_URL] {
            assert!(output.contains(said), "{name}: {output}");
        }
    }
    let wrong =
        [setting.variables.as_slice(), &[(env::CONFIG, "/no/such/hookgate.toml".to_owned())]].concat();
    let (status, output) = Function::start("ingest", &wrong).await.ended().await;
    assert!(!status.success() && output.contains("/no/such/hookgate.toml"), "{output}");
}

#[tokio::test]
async fn an_ingest_that_is_killed_at_any_moment_loses_nothing() {
    const ROUNDS: usize = 12;
    let setting = Setting::new(StatusCode::OK).await;
    let hang = Name::parse("hang").unwrap();
    let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let ingest = setting.start("ingest").await;
        let id = format!("{round}-warm");
        let answer = ingest.invoke(&delivery(&id, TOKEN, &hang_body(&id))).await.response();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        answered.push(id);
        let micros = Ambient::system().random() % 20_000;
        let kill = tokio::time::sleep(Duration::from_micros(micros));
        tokio::pin!(kill);
        for number in 0.. {
            let id = format!("{round}-{number}");
            let answer = ingest.send(&delivery(&id, TOKEN, &hang_body(&id)));
            tokio::select! {
                answer = answer => {
                    assert_eq!(answer.unwrap().response()["statusCode"], 200);
                    answered.push(id);
                }
                () = &mut kill => {
                    unanswered.push(id);
                    break;
                }
            }
        }
        ingest.kill().await;
    }
    let queued: BTreeSet<String> = setting
        .backend
        .waiting()
        .iter()
        .map(|it| Message::from_text(&it.body).unwrap().id.to_string())
        .collect();
    let stored = |id: &str| {
        let id = EventId::from_stored(id);
        let (store, hang) = (&setting.backend.store, &hang);
        async move { store.event(hang, &id).await.unwrap().is_some() }
    };
    for id in &answered {
        assert!(queued.contains(id), "{id} was answered and is not in the queue");
        assert!(stored(id).await, "{id} was answered and is not in the table");
    }
    // Who got no answer sends again, and it is one event in any case.
    let ingest = setting.start("ingest").await;
    for id in &unanswered {
        let answer = ingest.invoke(&delivery(id, TOKEN, &hang_body(id))).await.response();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        assert!(stored(id).await);
    }
    assert_eq!(unanswered.len(), ROUNDS);
    assert!(
        setting.backend.engines.sqs().counts(QUEUE).unwrap().visible >= answered.len() + unanswered.len()
    );
}
