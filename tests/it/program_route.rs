//! `hookgate route`: what an event would do, without doing it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::fs;

use serde_json::{Value, json};

use crate::{
    backend::{ROOT, eventually},
    program::Place,
    samples::samples,
};

/// A source with routes that match and routes that don't, and actions of each kind of effect.
const CONFIG: &str = r#"
[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }
[sources.quiet]
provider = "raw"
verify = "none"
[[routes]]
source = "sh*"
type = "order.*"
filter = "event.total + 0 > 100 and headers['x-region'] == 'eu' and path == 'big' and query == 'a=1'"
actions = ["post", "log", "status", "tell", "note"]
[[routes]]
source = "shop"
type = "refund.*"
actions = ["log"]
[[routes]]
source = "shop"
filter = "event.gift"
actions = ["note"]
[[routes]]
source = "shop"
type = "mailed"
actions = ["mail", "queue"]
[[routes]]
source = "other*"
actions = ["note"]
[sources.other]
provider = "raw"
verify = "none"
[actions.post]
kind = "http"
method = "PUT"
url = { secret = "where" }
headers = { x-who = "{{ event.who }}" }
body = '{"id": {{ id | tojson }}}'
sign = "hmac"
secret = "key"
[actions.log]
kind = "http"
url = "https://log.example.com/all"
[actions.status]
kind = "record"
collection = "orders"
key = "json:/id"
fields = { total = "json:/total" }
[actions.tell]
kind = "slack"
text = "{{ event.who }} bought for {{ event.total }}"
[actions.mail]
kind = "email"
from = "shop@example.com"
to = "{{ event.mail }}"
subject = "{{ id }}"
text = "{{ type }}"
[actions.queue]
kind = "publish"
to = "arn:aws:sqs:eu-west-1:123456789012:orders"
[actions.note]
kind = "run"
function = "not-there"
"#;

fn request(body: &Value) -> Value {
    json!({
        "method": "POST", "url": "https://hooks.example.com/prod/webhooks/shop/big?a=1", "body": body.to_string(),
        "headers": {"Content-Type": "application/json", "X-Region": "eu", "Authorization": "Bearer of-a-sender"},
        "body_encoding": "text", "now": 1_780_000_000,
    })
}

fn order() -> Value {
    json!({"id": "o1", "type": "order.paid", "at": "2026-05-28T20:26:38Z", "total": 129, "who": "Zoë"})
}

fn place(request: &Value) -> Place {
    let place = Place::new();
    fs::write(place.path("hookgate.toml"), CONFIG).unwrap();
    fs::write(place.path("request.json"), request.to_string()).unwrap();
    place
}

#[tokio::test]
async fn program_route_shows_routes_and_effects() {
    let place = place(&request(&order()));
    let shown = place.run(&["route", "--file", "request.json", "--json"]).await.lines().remove(0);
    let facts = ["source", "id", "id_from", "type", "type_from", "occurred_at", "occurred_at_from"];
    assert_eq!(
        facts.map(|name| shown[name].as_str().unwrap()),
        ["shop", "o1", "json:/id", "order.paid", "json:/type", "2026-05-28T20:26:38.000Z", "json:/at"]
    );
    assert_eq!((&shown["signature"], &shown["outcome"]), (&json!("not checked"), &json!("done")));
    let routes = shown["routes"].as_array().unwrap();
    let why: Vec<&str> = routes.iter().map(|route| route["why"].as_str().unwrap()).collect();
    assert_eq!(why, ["matches", "type", "filter", "type", "source"]);
    assert_eq!(
        (&routes[0]["filter_value"], &routes[2]["filter_value"]),
        (&json!("true"), &json!("undefined"))
    );
    assert!(routes[2]["filter"] == "event.gift" && routes[2]["matches"] == false);

    let actions = shown["actions"].as_array().unwrap();
    let names: Vec<&str> = actions.iter().map(|action| action["action"].as_str().unwrap()).collect();
    assert_eq!(names, ["post", "log", "status", "tell", "note"]);
    let plan = |n: usize| &actions[n]["plan"];
    assert_eq!(
        *plan(0),
        json!({
            "method": "PUT", "url": "the address in secret `where`", "signed": "by HMAC with secret `key`",
            "success": "every 2xx", "timeout_ms": 10_000, "body": "{\"id\": \"o1\"}", "body_bytes": 12,
            "body_encoding": "text", "body_is_unchanged": false,
            "headers": {
                "content-type": "application/json", "x-hookgate-id": "o1", "x-hookgate-source": "shop",
                "x-hookgate-type": "order.paid", "x-who": "Zoë",
            },
        })
    );
    assert_eq!(
        (&plan(1)["url"], &plan(1)["body"]),
        (&json!("https://log.example.com/all"), &json!(order().to_string()))
    );
    assert_eq!(plan(1)["body_is_unchanged"], true);
    assert_eq!(
        *plan(2),
        json!({
            "collection": "orders", "key": "o1", "at": "2026-05-28T20:26:38.000Z", "fields": {"total": 129},
            "keep_days": null,
        })
    );
    assert_eq!((&actions[3]["kind"], &actions[3]["effect"]), (&json!("slack"), &json!("http")));
    assert_eq!(plan(3)["body"], json!({"text": "Zoë bought for 129"}).to_string());
    assert_eq!(*plan(4), json!({"function": "not-there", "registered": false}));

    let text = place.run(&["route", "--file", "request.json"]).await.ok();
    for part in [
        "signature    not checked here",
        "id           o1  (json:/id)",
        "matches: post, log, status, tell, note",
        "another type",
        "another source",
        "`event.gift` is undefined",
        "the address in secret `where`",
        "    x-who: Zoë",
        "that were received",
        "Zoë bought for 129",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing was opened, made or kept for that.
    assert!(!place.path(".hookgate").exists());
    assert!(!text.contains("of-a-sender") && !shown.to_string().contains("of-a-sender"));
}

#[tokio::test]
async fn program_route_shows_calls_of_aws_and_makes_none() {
    let mut body = order();
    body["mail"] = json!("zoe@example.com");
    let place = place(&request(&body));
    let mailed = ["route", "--file", "request.json", "--type", "mailed"];
    let text = place.run(&mailed).await.ok();
    let shown = place.run(&[&mailed[..], &["--json"]].concat()).await.lines().remove(0);
    let [mail, queue] = shown["actions"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!(
        (&mail["kind"], &mail["effect"], &queue["kind"], &queue["effect"]),
        (&json!("email"), &json!("aws"), &json!("publish"), &json!("aws"))
    );
    let sent: Value = serde_json::from_str(mail["plan"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent["Destination"]["ToAddresses"], json!(["zoe@example.com"]));
    let mut plan = queue["plan"].clone();
    let sent: Value = serde_json::from_str(plan["body"].take().as_str().unwrap()).unwrap();
    assert_eq!(sent["MessageBody"], body.to_string());
    assert_eq!(plan["body_bytes"], sent.to_string().len());
    plan["body_bytes"].take();
    assert_eq!(
        plan,
        json!({
            "service": "SQS", "target": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            "region": "eu-west-1", "needs": "sqs:SendMessage", "path": "/", "timeout_ms": 10_000,
            "headers": {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"},
            "body": null, "body_bytes": null, "body_encoding": "text",
        })
    );
    assert_eq!(mail["plan"]["region"], "the worker's own");
    for part in ["SES", "ses:SendEmail", "the identity of shop@example.com", "zoe@example.com", "SQS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!place.path(".hookgate").exists());

    // What can't be mailed is told.
    body["mail"] = json!("nobody");
    fs::write(place.path("request.json"), request(&body).to_string()).unwrap();
    let ended = place.run(&mailed).await;
    assert!(ended.code == 1 && ended.stdout.contains("makes no address"), "{}", ended.stdout);
}

#[tokio::test]
async fn program_route_says_what_fails() {
    // A template with a hole: the action is dead, the others are not.
    let mut body = order();
    body.as_object_mut().unwrap().remove("who");
    let place = place(&request(&body));
    let ended = place.run(&["route", "--file", "request.json"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("DEAD") && ended.stdout.contains("undefined"), "{}", ended.stdout);
    let ended = place.run(&["route", "--file", "request.json", "--json"]).await;
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    let failed: Vec<&Value> =
        shown["actions"].as_array().unwrap().iter().filter(|action| action["error"].is_string()).collect();
    assert_eq!((ended.code, failed.len(), &shown["outcome"]), (1, 2, &json!("dead")), "{shown}");

    // A filter that can't be evaluated: nothing is run.
    let mut body = order();
    body["total"] = json!({"of": "it"});
    fs::write(place.path("request.json"), request(&body).to_string()).unwrap();
    let ended = place.run(&["route", "--file", "request.json"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("FAILS: `event.total + 0 > 100"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("no action is run") && !ended.stdout.contains("\naction "),
        "{}",
        ended.stdout
    );

    // No event at all.
    let with = |pointer: &str, value: &str| {
        let mut request = request(&order());
        request["headers"]["Content-Encoding"] = json!("identity");
        *request.pointer_mut(pointer).unwrap() = json!(value);
        request.to_string()
    };
    for (request, part) in [
        (with("/body", "{"), "answered 400, as the body is not valid JSON"),
        (with("/method", "GET"), "answered 405"),
        (with("/headers/Content-Encoding", "br"), "answered 415"),
    ] {
        fs::write(place.path("request.json"), request).unwrap();
        let ended = place.run(&["route", "--file", "request.json"]).await;
        assert_eq!(ended.code, 1, "{part}: {}", ended.stdout);
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    for (arguments, part) in [
        (["route", "--file", "absent.json"].as_slice(), "absent.json"),
        (&["route", "--file", "hookgate.toml"], "no request in JSON"),
        (&["route", "--file", "request.json", "--source", "nobody"], "there are: other, quiet, shop"),
    ] {
        let ended = place.run(arguments).await;
        assert!(ended.code == 1 && ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(place.run(&["route"]).await.code, 2);
}

#[tokio::test]
async fn program_route_can_be_told_source_and_type() {
    let place = place(&request(&order()));
    let refund = ["route", "--file", "request.json", "--type", "refund.made", "--json"];
    let shown = place.run(&refund).await.lines().remove(0);
    assert_eq!((&shown["type"], &shown["type_from"]), (&json!("refund.made"), &json!("--type")));
    assert_eq!(shown["actions"][0]["plan"]["headers"]["x-hookgate-type"], "refund.made");
    let names = |shown: &Value| shown["actions"].as_array().unwrap().len();
    assert_eq!((names(&shown), &shown["routes"][1]["matches"]), (1, &json!(true)));
    // Unrouted is an outcome like another.
    let quiet = place.run(&["route", "--file", "request.json", "--source", "quiet", "--json"]).await;
    assert_eq!(quiet.code, 0);
    let shown = quiet.lines().remove(0);
    assert_eq!((&shown["outcome"], names(&shown)), (&json!("unrouted"), 0));
    let text = place.run(&["route", "--file", "request.json", "--source", "quiet"]).await.ok();
    assert!(text.contains("unrouted"), "{text}");
    // Where neither the file nor the URL says it, there is a question.
    fs::write(place.path("request.json"), json!({"url": "https://x.example/hook", "body": ""}).to_string())
        .unwrap();
    let ended = place.run(&["route", "--file", "request.json"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("--source"), "{}", ended.stderr);
}

#[tokio::test]
async fn program_route_agrees_with_every_sample() {
    let place = Place::new();
    for sample in samples() {
        let file = format!("{ROOT}/events/{}/{}.json", sample.source, sample.name);
        let shown = place.run(&["route", "--file", &file, "--json"]).await.lines().remove(0);
        if sample.name == "url_verification" {
            assert_eq!(shown["outcome"], "handshake");
            continue;
        }
        assert_eq!(shown["outcome"], "done", "{file}: {shown}");
        assert_eq!(
            (&shown["source"], &shown["type"]),
            (&json!(sample.source), &json!(sample.event_type)),
            "{file}"
        );
        if let Some(id) = &sample.id {
            assert_eq!(shown["id"], json!(id), "{file}");
        }
    }
}

#[tokio::test]
async fn program_route_says_what_is_then_done() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    for (source, name) in [("hatch", "opt-out"), ("orders", "order.created"), ("stripe", "invoice.paid")] {
        let file = format!("{ROOT}/events/{source}/{name}.json");
        let shown = place.run(&["route", "--file", &file, "--json"]).await.lines().remove(0);
        let planned: Vec<Value> =
            shown["actions"].as_array().unwrap().iter().map(|action| action["action"].clone()).collect();
        let sent = place.run(&["send", source, name, "--json"]).await.lines().remove(0);
        let answer: Value = serde_json::from_str(sent["body"].as_str().unwrap()).unwrap();
        let id = answer["event_id"].as_str().unwrap();
        let done = eventually("it is done", || async {
            let shown = place.show(id).await;
            (shown["status"] == "done").then_some(shown)
        })
        .await;
        let run: Vec<Value> =
            done["attempts"].as_array().unwrap().iter().map(|attempt| attempt["action"].clone()).collect();
        assert_eq!(planned, run, "{source} {name}");
    }
    drop(dev);
}
