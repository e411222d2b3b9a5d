//! What the functions' logs say, and the metrics that CloudWatch makes of them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use hookgate::local::QUEUE;
use hookgate_aws::{env, trace};
use hookgate_core::time::EpochMillis;
use hookgate_embedded::{Fault, How};
use serde_json::{Value, json};

use crate::{
    functions::{Setting, TOKEN, delivery, hang_body},
    harness::{Reply, SHOP_SECRET, World, order, signature, until},
    runtime_api::{Function, TRACE},
    samples::{derived, samples},
};

/// The namespace that the functions of these tests are given.
pub(crate) const NAMESPACE: &str = "hookgate/it: \"quoted\"";

/// Units of CloudWatch that the functions use.
const UNITS: [&str; 2] = ["Count", "Milliseconds"];

/// Checks a line as a whole, and what it declares as metrics, against the embedded metric format's specification
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>,
/// read 2026-11-21). Returns its metrics, as `refused source=hang`.
pub(crate) fn metrics(line: &Value) -> BTreeMap<String, i64> {
    let mut metrics = BTreeMap::new();
    let root = line.as_object().unwrap();
    assert!(line.to_string().len() < 256 * 1024, "no event of CloudWatch Logs is larger");
    assert!(root.iter().all(|(name, value)| name == "_aws" || !value.is_object()), "not flat: {line}");
    let at = EpochMillis::parse(line["timestamp"].as_str().unwrap()).unwrap();
    assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&line["level"].as_str().unwrap()), "{line}");
    assert!(line["message"].is_string(), "{line}");
    let Some(metadata) = root.get("_aws") else { return metrics };
    assert_eq!(names(metadata), ["CloudWatchMetrics", "Timestamp"]);
    assert_eq!(metadata["Timestamp"].as_i64(), Some(at.as_millis()), "{line}");
    let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
    assert!(!directives.is_empty(), "{line}");
    for directive in directives {
        assert_eq!(names(directive), ["Dimensions", "Metrics", "Namespace"]);
        let namespace = directive["Namespace"].as_str().unwrap();
        assert_eq!(namespace, NAMESPACE);
        let sets = directive["Dimensions"].as_array().unwrap();
        assert!(!sets.is_empty(), "{line}");
        let defined = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&defined.len()), "{line}");
        for set in sets {
            let set = set.as_array().unwrap();
            assert!(set.len() <= 9, "{line}");
            let mut dimensions = String::new();
            for name in set {
                let name = name.as_str().unwrap();
                // Written to be published as a part of what the metric is.
                let value = root[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {line}"));
                assert!((1..=1024).contains(&value.len()) && value.is_ascii(), "{line}");
                dimensions += &format!(" {name}={value}");
            }
            for metric in defined {
                assert_eq!(names(metric), ["Name", "Unit"]);
                let name = metric["Name"].as_str().unwrap();
                assert!((1..=255).contains(&name.len()) && UNITS.contains(&metric["Unit"].as_str().unwrap()));
                let number = root[name].as_i64().unwrap_or_else(|| panic!("{name} is no number: {line}"));
                assert!(number >= 0, "{line}");
                assert_eq!(metrics.insert(format!("{name}{dimensions}"), number), None, "twice: {line}");
            }
        }
    }
    metrics
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The names of a line's metrics.
fn counted(line: &Value) -> Vec<String> {
    metrics(line).into_keys().collect()
}

/// A worker's batch of one event of the source `hang`.
fn batch(id: &str) -> String {
    let message = hookgate_core::codec::Message::pointing(
        &hookgate_core::ids::Name::parse("hang").unwrap(),
        &hookgate_core::ids::EventId::from_stored(id),
    );
    json!({"Records": [{"messageId": id, "body": message.to_text(), "eventSource": "aws:sqs"}]}).to_string()
}

#[tokio::test]
async fn telemetry_one_line_a_request_with_its_metrics() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    let dynamodb = setting.backend.engines.dynamodb().traffic();
    let sqs = setting.backend.engines.sqs().traffic();
    let path = |event: String, path: &str| event.replace("/webhooks/hang", path);
    let send = async |event: &str, status: u16| {
        let answer = ingest.invoke(event).await.response();
        assert_eq!(answer["statusCode"], status, "{answer}");
    };
    send(&delivery("a", TOKEN, &hang_body("a")), 200).await;
    send(&delivery("b", TOKEN, &hang_body("a")), 200).await;
    send(&delivery("c", "MARKER", &hang_body("c")), 401).await;
    // As many sources as a stranger can think of.
    send(&path(delivery("d", TOKEN, "{}"), "/webhooks/MARKER"), 404).await;
    send(&path(delivery("e", TOKEN, "{}"), "/MARKER"), 404).await;
    send(&delivery("f", TOKEN, "{"), 400).await;
    let fault = dynamodb.break_with(Fault::new(How::AccessDenied));
    send(&delivery("g", TOKEN, &hang_body("g")), 200).await;
    sqs.break_with(Fault::new(How::AccessDenied));
    send(&delivery("h", TOKEN, &hang_body("h")), 503).await;
    assert!(dynamodb.fired(fault) > 0);
    dynamodb.heal();
    // The outbox keeps it.
    send(&delivery("i", TOKEN, &hang_body("i")), 200).await;
    sqs.heal();
    let lines = setting.lines(&ingest.kill().await, &["MARKER"]);
    let wanted: [(&str, &[&str]); 9] = [
        ("accepted", &["accepted source=hang", "ack_ms", "queued", "stored"]),
        ("duplicate", &["ack_ms", "duplicate source=hang", "queued"]),
        ("refused", &["refused reason=signature", "refused source=hang"]),
        ("refused", &["refused reason=not-found"]),
        ("refused", &["refused reason=not-found"]),
        ("refused", &["refused reason=malformed", "refused source=hang"]),
        ("accepted", &["accepted source=hang", "ack_ms", "queued"]),
        ("unavailable", &["unavailable"]),
        ("accepted", &["accepted source=hang", "ack_ms", "stored"]),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for ((number, line), (outcome, metrics)) in lines.iter().enumerate().zip(wanted) {
        assert_eq!(
            (line["outcome"].as_str(), counted(line)),
            (Some(outcome), metrics.iter().map(|it| (*it).to_owned()).collect()),
            "{number}"
        );
        assert_eq!(
            line["source"].is_null(),
            !line["detail"].is_null() && line["detail"] == "no source at this path"
        );
        for field in ["request_id", "bytes", "duration_ms"] {
            assert!(!line[field].is_null(), "{field}: {line}");
        }
    }
    assert!(lines[7]["detail"].as_str().unwrap().contains("neither the table nor the queue"), "{}", lines[7]);
}

#[tokio::test]
async fn telemetry_what_is_observed_or_quarantined_is_counted_so() {
    let setting = Setting::new(StatusCode::OK).await;
    let file = setting.folder.path().join("hookgate.toml");
    let source = |name: &str, mode: &str| {
        format!("[sources.{name}]\nprovider = \"hang\"\nsecret = \"hang\"\nmode = \"{mode}\"\n")
    };
    std::fs::write(&file, source("look", "observe") + &source("apart", "quarantine")).unwrap();
    let variables = [setting.variables.as_slice(), &[(env::CONFIG, file.display().to_string())]].concat();
    let ingest = Function::start("ingest", &variables).await;
    for (source, status) in [("look", 200), ("look", 200), ("apart", 202)] {
        let event = delivery(source, "MARKER", &hang_body("a"))
            .replace("/webhooks/hang", &format!("/webhooks/{source}"));
        assert_eq!(ingest.invoke(&event).await.response()["statusCode"], status);
    }
    let lines = setting.lines(&ingest.kill().await, &["MARKER"]);
    let found: Vec<_> =
        lines.iter().map(|line| (line["level"].as_str().unwrap(), counted(line).join(", "))).collect();
    assert_eq!(
        found,
        [
            ("WARN", "ack_ms, observed source=look, queued, stored".to_owned()),
            ("INFO", "ack_ms, duplicate source=look, queued".to_owned()),
            ("WARN", "ack_ms, quarantined source=apart".to_owned()),
        ]
    );
    assert!(
        lines.iter().all(|line| line["detail"].is_string() || line["outcome"] == "duplicate"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn telemetry_one_line_an_event_that_the_worker_brings_to_its_end() {
    let setting = Setting::new(StatusCode::OK).await;
    let worker = setting.start("worker").await;
    let mut ids = Vec::new();
    for sample in samples() {
        let Some(event) = derived(&sample, "worker") else { continue };
        let answer = worker.invoke(&event).await.response();
        assert_eq!(answer, json!({"batchItemFailures": []}));
        let body: Value = serde_json::from_str::<Value>(&event).unwrap()["Records"][0]["body"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        ids.push(body["id"].as_str().unwrap().to_owned());
    }
    let lines = setting.lines(&worker.kill().await, &["zoe.muller@example.com"]);
    let found: Vec<&str> = lines.iter().map(|line| line["event.id"].as_str().unwrap()).collect();
    assert_eq!(found, ids, "one line an event");
    for line in &lines {
        let source = line["source"].as_str().unwrap();
        let metrics = metrics(line);
        let names: BTreeSet<&str> = metrics.keys().map(String::as_str).collect();
        let (attempts, done) = (format!("attempts source={source}"), format!("done source={source}"));
        assert_eq!(
            names,
            BTreeSet::from([attempts.as_str(), done.as_str(), "end_to_end_ms", "stored"]),
            "{line}"
        );
        let actions: Vec<&str> = line["actions"].as_str().unwrap().split(' ').collect();
        assert_eq!(usize::try_from(metrics[&attempts]).unwrap(), actions.len(), "{line}");
        assert!(actions.iter().all(|action| action.ends_with(":done")), "{line}");
        assert_eq!((line["outcome"].as_str(), line["level"].as_str()), (Some("done"), Some("INFO")));
        assert!(metrics["end_to_end_ms"] > 0 && line["age_ms"] == metrics["end_to_end_ms"], "{line}");
    }
}

#[tokio::test]
async fn telemetry_an_action_that_fails_has_a_line_of_its_own() {
    for (status, outcome, metric) in
        [(StatusCode::INTERNAL_SERVER_ERROR, "retry", "retries"), (StatusCode::NOT_FOUND, "dead", "dead")]
    {
        let setting = Setting::new(status).await;
        let worker = setting.start("worker").await;
        let sample =
            samples().into_iter().find(|it| it.source == "hang" && it.name == "program.joined").unwrap();
        worker.invoke(&derived(&sample, "worker").unwrap()).await.response();
        let lines = setting.lines(&worker.kill().await, &["program-secret"]);
        let (last, failed) = lines.split_last().unwrap();
        let stand = if outcome == "retry" { "retrying" } else { "dead" };
        assert_eq!(last["outcome"], stand, "{last}");
        assert_eq!(counted(last), ["attempts source=hang", "stored"]);
        assert!(!failed.is_empty());
        for line in failed {
            let action = line["action"].as_str().unwrap();
            let mut wanted = vec![format!("{metric} action={action}"), format!("{metric} source=hang")];
            if metric == "dead" {
                wanted.insert(0, "dead".to_owned());
            }
            assert_eq!((line["outcome"].as_str(), counted(line)), (Some(outcome), wanted), "{line}");
            assert!(last["actions"].as_str().unwrap().contains(&format!("{action}:{outcome}")), "{last}");
            assert_eq!((&line["event.id"], line["detail"].is_string()), (&last["event.id"], true));
        }
    }
}

#[tokio::test]
async fn telemetry_a_destination_that_is_down_is_counted_and_so_is_what_waits_for_it() {
    let setting = Setting::new(StatusCode::GONE).await;
    let worker = setting.start("worker").await;
    let sample = samples().into_iter().find(|it| it.source == "hang" && it.name == "program.joined").unwrap();
    worker.invoke(&derived(&sample, "worker").unwrap()).await.response();
    worker.invoke(worker::trigger::SWEEP).await.response();
    let lines = setting.lines(&worker.kill().await, &["program-secret"]);
    let of = |outcome: &'static str| lines.iter().filter(move |line| line["outcome"] == outcome);
    let down: Vec<&str> = of("disabled").map(|line| line["action"].as_str().unwrap()).collect();
    assert!(!down.is_empty(), "{lines:#?}");
    for line in of("disabled").chain(of("parked")) {
        let (action, outcome) = (line["action"].as_str().unwrap(), line["outcome"].as_str().unwrap());
        assert_eq!(counted(line), [format!("{outcome} action={action}")], "{line}");
        assert!(line["detail"].is_string(), "{line}");
    }
    assert_eq!(of("parked").count(), down.len());
    let swept = metrics(of("swept").next().unwrap());
    assert_eq!(
        (swept["destinations_disabled"], swept["destinations_paused"]),
        (i64::try_from(down.len()).unwrap(), 0)
    );
}

#[tokio::test]
async fn telemetry_an_outage_under_the_worker_is_counted() {
    let setting = Setting::new(StatusCode::OK).await;
    let worker = setting.start("worker").await;
    let traffic = setting.backend.engines.dynamodb().traffic();
    traffic.break_with(Fault::new(How::AccessDenied));
    assert_eq!(worker.invoke(&batch("a")).await.response(), json!({"batchItemFailures": []}));
    traffic.heal();
    // No more than a pointer to what is not there.
    assert_eq!(worker.invoke(&batch("b")).await.response(), json!({"batchItemFailures": []}));
    let lines = setting.lines(&worker.kill().await, &[]);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(
        (lines[0]["outcome"].as_str(), counted(&lines[0])),
        (Some("deferred"), vec!["deferred".to_owned()])
    );
    assert_eq!((lines[1]["outcome"].as_str(), counted(&lines[1])), (Some("gone"), Vec::new()));
}

/// Another trace than that of the invocations.
const ITS_OWN: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

#[tokio::test]
async fn telemetry_the_trace_of_a_request_goes_with_its_message() {
    let setting = Setting::new(StatusCode::OK).await;
    let ingest = setting.start("ingest").await;
    let answer = ingest.invoke(&delivery("a", TOKEN, &hang_body("a"))).await.response();
    assert_eq!(answer["statusCode"], 200);
    let sent = setting.backend.take_all().await;
    assert_eq!(sent.iter().map(|it| it.trace_header.as_deref()).collect::<Vec<_>>(), [Some(TRACE)]);
    let lines = setting.lines(&ingest.kill().await, &[]);
    assert_eq!(lines[0]["trace"], "1-6a18a500-0123456789abcdef01234567");
}

#[tokio::test]
async fn telemetry_a_retry_belongs_to_the_trace_of_its_event() {
    let setting = Setting::new(StatusCode::INTERNAL_SERVER_ERROR).await;
    let worker = setting.start("worker").await;
    let sample = samples().into_iter().find(|it| it.source == "hang" && it.name == "program.joined").unwrap();
    let mut event: Value = serde_json::from_str(&derived(&sample, "worker").unwrap()).unwrap();
    let dynamodb = setting.backend.engines.dynamodb().traffic();
    let mut sent = 0;
    let mut work = async |header: &str, outage: bool| {
        event["Records"][0]["attributes"][trace::ATTRIBUTE] = json!(header);
        if outage {
            dynamodb.break_with(Fault::new(How::AccessDenied));
        }
        let answer = worker.invoke(&event.to_string()).await.response();
        dynamodb.heal();
        assert_eq!(answer, json!({"batchItemFailures": []}));
        let waiting = setting.backend.waiting();
        sent += 1;
        assert_eq!(waiting.len(), sent);
        waiting.last().unwrap().trace_header.clone()
    };
    assert_eq!(work(ITS_OWN, true).await.as_deref(), Some(ITS_OWN), "put off");
    assert_eq!(work("Root=MARKER", true).await, None);
    assert_eq!(work(ITS_OWN, false).await.as_deref(), Some(ITS_OWN), "tried again later");
    let lines = setting.lines(&worker.kill().await, &["MARKER", "program-secret"]);
    let traced: Vec<_> =
        lines.iter().map(|it| (it["outcome"].as_str().unwrap(), it["trace"].as_str())).collect();
    let its_own = Some("1-5759e988-bd862e3fe1be46a994272793");
    assert_eq!((traced[0], traced[1]), (("deferred", its_own), ("deferred", None)));
    assert_eq!(traced.last(), Some(&("retrying", its_own)));
}

#[tokio::test]
async fn telemetry_the_local_stack_hands_the_trace_on() {
    let (world, destination) = World::shop().await;
    destination.always("/post", Reply::Status(500));
    let body = order("o1");
    let event = json!({
        "version": "2.0", "rawPath": "/webhooks/shop",
        "headers": {"content-type": "application/json", "x-signature": signature(SHOP_SECRET, &body)},
        "requestContext": {"http": {"method": "POST"}, "timeEpoch": world.clock.now_ms()},
        "body": String::from_utf8(body).unwrap(),
    });
    let answer = world.stack.ingest.handle(&event.to_string(), Some(ITS_OWN)).await.unwrap();
    assert_eq!(serde_json::to_value(answer).unwrap()["statusCode"], 200);
    let delayed = || world.stack.engines.sqs().peek(QUEUE, 10).unwrap();
    // Its own message, then those of the first two retries.
    for (tries, wait) in [(1, 6), (2, 360)] {
        until("it is tried again later", async || {
            destination.hits("/post").len() == tries && world.queue().delayed == 1
        })
        .await;
        until("nothing else waits", async || delayed().len() == 1).await;
        assert_eq!(delayed()[0].trace_header.as_deref(), Some(ITS_OWN));
        world.clock.advance(std::time::Duration::from_secs(wait));
    }
}
