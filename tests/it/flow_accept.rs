//! Events that are accepted: stored as they were sent, and their actions run once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::BTreeMap;

use futures::future::join_all;
use hookgate_aws::effects::Functions;
use hookgate_core::{
    config::Config,
    lifecycle::{AttemptOutcome, Status},
};
use serde_json::{Value, json};

use crate::harness::{Bench, SHOP, SHOP_SECRET, World, header_map, noise, order, sample, signature};

/// The source, what it records, and what its first sample has posted where.
const FIRST_SAMPLES: &[(&str, Option<&str>, &[&str])] = &[
    ("comments", None, &["notify-team"]),
    ("files", Some("files"), &["warehouse-url"]),
    ("github", None, &[]),
    ("hang", Some("members"), &["crm-url", "notify-team"]),
    ("hatch", None, &["notify-team"]),
    ("orders", Some("orders"), &["warehouse-url", "eventbridge"]),
    ("payments", Some("payments"), &["notify-finance", "email"]),
    ("raw", None, &[]),
    ("shopify", None, &[]),
    ("slack", None, &[]),
    ("standard", None, &[]),
    ("stripe", None, &[]),
    ("twilio", Some("messages"), &[]),
];

#[test]
fn flow_the_table_of_first_samples_has_every_source_of_the_shipped_configuration() {
    let config = Config::parse(hookgate_aws::EMBEDDED_CONFIG).unwrap();
    let sources: Vec<_> = config.sources.keys().map(|name| name.as_str().to_owned()).collect();
    let table: Vec<_> = FIRST_SAMPLES.iter().map(|(source, ..)| *source).collect();
    assert_eq!(sources, table);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_the_first_sample_of_every_source_is_accepted_and_has_its_effects() {
    let world = World::shipped().await;
    for (source, collection, inboxes) in FIRST_SAMPLES {
        let ready = world.fresh(source, None);

        let answer = world.send(&ready).await;

        assert_eq!(answer.status, 200, "{source}: {answer:?}");
        let id = match &ready.id {
            Some(id) => id.clone(),
            None => answer.json()["event_id"].as_str().unwrap().to_owned(),
        };
        world.wait_for(source, &id, Status::Done).await;
        let event = world.stored(source, &id).await.unwrap();
        assert_eq!(event.request.body, ready.request.body, "{source}");
        let attempts = world.entry(source, &id).await.unwrap().attempts.0;
        assert!(
            attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::Done),
            "{source}: {attempts:?}"
        );
        let counts = world.counts("events").await;
        assert_eq!(counts[&format!("{source} {}", event.event_type)], 1, "{source}");
        if let Some(collection) = collection {
            let records = world.stack.worker.store.records(collection, 10).await.unwrap();
            let ours = |row: &Value| row["event_id"] == id.as_str() && row["source"] == *source;
            assert_eq!(records.iter().filter(|(_, row)| ours(row)).count(), 1, "{source}: {records:?}");
        }
        for inbox in *inboxes {
            let about = world
                .inbox(inbox)
                .into_iter()
                .filter(|entry| entry.headers.get("x-hookgate-id") == Some(&id) || entry.body.contains(&id));
            assert_eq!(about.count(), 1, "{source}: {inbox}");
        }
    }
    // Nothing but what the table says was posted.
    let posted: usize = FIRST_SAMPLES.iter().map(|(.., inboxes)| inboxes.len()).sum();
    assert_eq!(world.stack.inbox.entries().len(), posted);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_function_of_ones_own_gets_the_exact_bytes() {
    let world = World::shipped().await;
    let ready = world.fresh("raw", Some("image"));
    let answer = world.send(&ready).await;
    let id = answer.json()["event_id"].as_str().unwrap().to_owned();
    world.wait_for("raw", &id, Status::Done).await;
    let attempts = world.entry("raw", &id).await.unwrap().attempts.0;
    let detail = format!("a PNG image of {} bytes", ready.request.body.len());
    assert!(attempts.iter().any(|attempt| attempt.detail == detail), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_bytes_that_are_no_text_are_stored_and_passed_on_as_they_are() {
    let (world, destination) = World::raw().await;
    let bodies: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n\0\0\xff", b"caf\xe9 in Latin-1", b"\xff\xfe", b"\0"];
    for (number, body) in bodies.iter().enumerate() {
        let id = format!("b{number}");
        let headers = [("x-hookgate-token", "t0ken"), ("x-event-id", &id), ("content-type", "image/png")];
        assert_eq!(world.post("/webhooks/raw", &headers, body).await.status, 200);
        world.wait_for("raw", &id, Status::Done).await;
        assert_eq!(world.stored("raw", &id).await.unwrap().request.body, *body);
        let hits = destination.hits("/post");
        let hit = hits.iter().find(|hit| hit.id() == id).unwrap();
        assert_eq!(hit.body, *body);
        assert_eq!(hit.headers["content-type"], "image/png");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_duplicate_is_a_success_and_has_no_effects() {
    let (world, destination) = World::shop().await;
    let first = world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;

    let second = world.order("o1").await;
    world.drain().await;

    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(
        (&first.json()["status"], &second.json()["status"]),
        (&json!("accepted"), &json!("duplicate"))
    );
    assert_eq!(first.json()["event_id"], "o1");
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(destination.hits("/post").len(), 1);
    assert_eq!(world.counts("orders").await, BTreeMap::from([("o1".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_hundred_duplicates_at_once_have_one_set_of_effects() {
    let (world, destination) = World::shop().await;

    let answers = join_all((0..100).map(|_| world.order("o1"))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    world.drain().await;

    assert_eq!(statuses, [200; 100]);
    assert_eq!(world.status("shop", "o1").await, Some(Status::Done));
    assert_eq!(destination.hits("/post").len(), 1);
    assert_eq!(world.counts("orders").await, BTreeMap::from([("o1".to_owned(), 1)]));
    assert_eq!(world.items("E#shop#o1").await, 2, "the event and the mark of its count");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_duplicate_with_another_body_does_not_change_what_is_stored() {
    let (world, destination) = World::shop().await;
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;
    let other = br#"{"id": "o1", "type": "order.paid", "at": "2026-05-28T20:26:38Z", "total": 1}"#;

    let answer = world.shop_body(other).await;
    world.drain().await;

    assert_eq!(answer.json()["status"], "duplicate");
    assert_eq!(world.stored("shop", "o1").await.unwrap().request.body, order("o1"));
    assert_eq!(destination.hits("/post").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_the_same_id_of_another_source_is_another_event() {
    let config = format!(
        "{SHOP}\n{}",
        r#"
        [sources.branch]
        provider = "generic"
        verify = { scheme = "hmac", header = "x-signature", prefix = "sha256=" }
        event = { id = "json:/id", type = "json:/type" }
        [[routes]]
        source = "branch"
        actions = ["post"]
        "#
    );
    let secrets = json!({"shop": [SHOP_SECRET], "branch": ["other"]}).to_string();
    let (world, destination) = World::with_destination(&config, &secrets).await;
    let signature = signature("other", &order("o1"));

    assert_eq!(world.order("o1").await.json()["status"], "accepted");
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    let answer = world.post("/webhooks/branch", &headers, &order("o1")).await;

    assert_eq!(answer.json()["status"], "accepted", "{answer:?}");
    world.wait_for("shop", "o1", Status::Done).await;
    world.wait_for("branch", "o1", Status::Done).await;
    let hits = destination.hits("/post");
    let mut sources: Vec<_> =
        hits.iter().map(|hit| hit.headers["x-hookgate-source"].to_str().unwrap()).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["branch", "shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_that_no_route_wants_is_kept_as_unrouted() {
    let config = SHOP.replace("source = \"shop\"", "source = \"shop\"\ntype = \"other.*\"");
    let (world, destination) =
        World::with_destination(&config, &json!({"shop": [SHOP_SECRET]}).to_string()).await;

    assert_eq!(world.order("o1").await.status, 200);
    world.wait_for("shop", "o1", Status::Unrouted).await;

    assert_eq!(world.stored("shop", "o1").await.unwrap().request.body, order("o1"));
    assert!(destination.hits("/post").is_empty() && world.counts("orders").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_one_event_goes_to_every_destination_of_its_routes() {
    let config = format!(
        "{}\n{}",
        SHOP.replace(r#"actions = ["post", "tally"]"#, r#"actions = ["post", "second"]"#),
        r#"
        [[routes]]
        source = "*"
        type = "order.*"
        actions = ["third", "post"]
        [actions.second]
        kind = "http"
        url = "http://DEST/second"
        method = "PUT"
        [actions.third]
        kind = "slack"
        url = "http://DEST/third"
        text = "{{ event.total }} for {{ id }}"
        "#
    );
    let (world, destination) =
        World::with_destination(&config, &json!({"shop": [SHOP_SECRET]}).to_string()).await;

    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;

    // `post` stands in both routes and runs once.
    for path in ["/post", "/second", "/third"] {
        assert_eq!(destination.hits(path).len(), 1, "{path}");
    }
    assert_eq!(destination.hits("/second")[0].body, order("o1"));
    let message: Value = serde_json::from_slice(&destination.hits("/third")[0].body).unwrap();
    assert_eq!(message, json!({"text": "12900 for o1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_filter_that_does_not_hold_keeps_an_action_from_running() {
    let config = SHOP.replace(
        r#"actions = ["post", "tally"]"#,
        "filter = \"event.total > 20000\"\nactions = [\"post\"]\n[[routes]]\nsource = \"shop\"\nactions = [\"tally\"]",
    );
    let (world, destination) =
        World::with_destination(&config, &json!({"shop": [SHOP_SECRET]}).to_string()).await;
    let large = br#"{"id": "large", "type": "order.paid", "total": 20001}"#;

    world.order("small").await;
    world.shop_body(large).await;
    world.wait_for("shop", "small", Status::Done).await;
    world.wait_for("shop", "large", Status::Done).await;

    let ids: Vec<_> = destination.hits("/post").iter().map(|hit| hit.id().to_owned()).collect();
    assert_eq!(ids, ["large"]);
    assert_eq!(world.counts("orders").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_older_event_never_overwrites_a_newer_record() {
    let world = World::shipped().await;
    let shipped = world.fresh("orders", Some("order.shipped"));
    let created = world.fresh("orders", Some("order.created"));

    for ready in [&shipped, &created] {
        assert_eq!(world.send(ready).await.status, 200);
        world.wait_for("orders", ready.id.as_ref().unwrap(), Status::Done).await;
    }

    let record = world.record("orders", "ord_1001").await.unwrap();
    assert_eq!(record["status"], "shipped");
    assert_eq!(record["event_id"], shipped.id.unwrap());
    let late = world.entry("orders", &created.id.unwrap()).await.unwrap();
    let details: Vec<_> = late.attempts.0.iter().map(|attempt| attempt.detail.as_str()).collect();
    assert!(details.contains(&"kept orders/ord_1001, which is newer"), "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_newer_events_overwrite_older_records() {
    let world = World::shipped().await;
    for (kind, status) in [("order.created", "created"), ("order.shipped", "shipped")] {
        let ready = world.fresh("orders", Some(kind));
        world.send(&ready).await;
        world.wait_for("orders", &ready.id.unwrap(), Status::Done).await;
        let record = world.record("orders", "ord_1001").await.unwrap();
        let said: Value = serde_json::from_slice(&ready.request.body).unwrap();
        assert_eq!((&record["status"], &said["order"]["status"]), (&json!(status), &json!(status)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_the_type_can_stand_in_the_path() {
    let world = World::shipped().await;
    for (kind, opted_out) in [("opt-out", true), ("opt-in", false)] {
        let answer = world.send(&world.fresh("hatch", Some(kind))).await;
        let id = answer.json()["event_id"].as_str().unwrap().to_owned();
        world.wait_for("hatch", &id, Status::Done).await;
        assert_eq!(world.entry("hatch", &id).await.unwrap().event_type, kind);
        let contact: Value = serde_json::from_slice(&sample("hatch", kind).body().unwrap()).unwrap();
        let record = world.record("contacts", contact["contact"]["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(record["opted_out"], opted_out);
        world.advance(5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_slacks_handshake_is_answered_only_when_it_is_signed_and_is_no_event() {
    let world = World::shipped().await;
    let ready = world.fresh("slack", Some("url_verification"));
    let said: Value = serde_json::from_slice(&ready.request.body).unwrap();

    let answer = world.send(&ready).await;

    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")));
    assert_eq!(answer.text(), said["challenge"]);

    let unsigned = [("content-type", "application/json")];
    let refused = world.post("/webhooks/slack", &unsigned, &ready.request.body).await;
    assert_eq!(refused.status, 401);
    let mut forged = ready.clone();
    forged.request.headers.insert("x-slack-signature", format!("v0={}", "0".repeat(64)).parse().unwrap());
    let refused_too = world.send(&forged).await;
    assert_eq!(refused_too.status, 401);
    for answer in [refused, refused_too] {
        assert!(!answer.text().contains(said["challenge"].as_str().unwrap()));
    }
    assert!(world.scan().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_providers_hear_what_they_want_to_hear() {
    let world = World::shipped().await;
    for (source, kind) in [("slack", "app_mention"), ("slack", "slash_command"), ("slack", "block_actions")] {
        let answer = world.send(&world.fresh(source, Some(kind))).await;
        assert_eq!((answer.status, answer.text()), (200, ""), "{kind}");
    }
    for kind in ["sms_received", "message_delivered", "call_completed", "event_streams"] {
        let ready = world.fresh("twilio", Some(kind));
        for _ in 0..2 {
            let answer = world.send(&ready).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml")), "{kind}");
            assert_eq!(answer.text(), "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_secrets_that_were_sent_are_not_stored() {
    let world = World::shipped().await;
    for source in ["hang", "hatch", "raw", "files", "comments"] {
        let ready = world.fresh(source, None);
        let secrets: Value = serde_json::from_str(crate::harness::SHIPPED_SECRETS).unwrap();
        let secret = secrets[source][0].as_str().unwrap();
        let said = format!("{} {:?}", ready.path, ready.request.headers);
        assert!(said.contains(secret), "{source}: the sample does not send it");

        let answer = world.send(&ready).await;
        let id = answer.json()["event_id"].as_str().unwrap().to_owned();
        world.wait_for(source, &id, Status::Done).await;

        let event = world.stored(source, &id).await.unwrap();
        let kept = format!("{:?}", event.request);
        assert!(!kept.contains(secret), "{source}: {kept}");
        assert!(event.request.headers.contains_key("content-type"));
    }
    for entry in world.stack.inbox.entries() {
        assert!(!format!("{entry:?}").contains("-not-a-secret"), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_credentials_in_headers_are_not_stored_and_other_headers_are() {
    let (world, _destination) = World::shop().await;
    let signature = signature(SHOP_SECRET, &order("o1"));
    let headers = [
        ("content-type", "application/json"),
        ("x-signature", signature.as_str()),
        ("authorization", "Bearer hunter2"),
        ("cookie", "session=hunter2"),
        ("proxy-authorization", "Basic hunter2"),
        ("x-shop-region", "eu"),
    ];
    assert_eq!(world.post("/webhooks/shop?a=1&b=%20", &headers, &order("o1")).await.status, 200);
    world.wait_for("shop", "o1", Status::Done).await;
    let request = world.stored("shop", "o1").await.unwrap().request;
    assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    assert_eq!(
        (&request.headers["x-shop-region"], request.query.as_str()),
        (&"eu".parse().unwrap(), "a=1&b=%20")
    );
}

/// About 2 KB of JSON with ids in it that can't be compressed away.
fn two_kilobytes(id: &str) -> Vec<u8> {
    let ids: Vec<String> = (0..20).map(|n| data_encoding::HEXLOWER.encode(&noise(16, n + 1))).collect();
    let items: Vec<Value> = ids
        .iter()
        .map(|id| json!({"sku": id, "name": "Kettle, blue – 1.7 l", "quantity": 1, "price": 4_950}))
        .collect();
    json!({"id": id, "type": "order.paid", "at": "2026-05-28T20:26:38Z", "items": items}).to_string().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_event_costs_one_write_one_message_and_four_write_units() {
    let config = SHOP.replace(r#"["post", "tally"]"#, r#"["post"]"#);
    let (bench, destination) = Bench::start(&config, Functions::default()).await;
    let body = two_kilobytes("o1");
    assert!((1_900..2_300).contains(&body.len()), "{}", body.len());
    let (table, queue) = (bench.engines.dynamodb().traffic(), bench.engines.sqs().traffic());

    bench.take_in(&body).await;

    let requests: Vec<_> = table.requests().into_iter().map(|request| request.operation).collect();
    assert_eq!(requests, ["PutItem"], "nothing is read either");
    let requests: Vec<_> = queue.requests().into_iter().map(|request| request.operation).collect();
    assert_eq!(requests, ["SendMessage"]);
    let (batch, failed) = bench.turn().await;
    assert_eq!((batch.len(), failed.len()), (1, 0));
    assert_eq!(bench.entry("o1").await.status, Status::Done);
    assert_eq!((table.count("PutItem"), table.count("UpdateItem")), (1, 2), "the lease and the end");
    for other in ["BatchWriteItem", "DeleteItem", "TransactWriteItems"] {
        assert_eq!(table.count(other), 0, "{other}");
    }
    assert_eq!(queue.requests().len(), 1);
    assert!((3.0..=4.0).contains(&table.write_units()), "{}", table.write_units());
    assert_eq!(destination.hits("/post").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_events_are_counted_on_the_day_on_which_they_came() {
    let (world, _destination) = World::shop().await;
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;
    world.advance(24 * 60 * 60);
    world.order("o2").await;
    world.wait_for("shop", "o2", Status::Done).await;
    let rows = world.stack.worker.store.counts("orders", 10).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|one| (one.day.as_str(), one.label.as_str(), one.count)).collect();
    assert_eq!(rows, [("2026-05-29", "o2", 1), ("2026-05-28", "o1", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_is_posted_is_signed_as_standard_webhooks_and_names_the_event() {
    let world = World::shipped().await;
    let ready = world.fresh("orders", Some("order.created"));
    world.send(&ready).await;
    let id = ready.id.unwrap();
    world.wait_for("orders", &id, Status::Done).await;
    let got = world.inbox("warehouse-url");
    assert_eq!(got.len(), 1);
    let request = hookgate_core::request::Request {
        method: reqwest::Method::POST,
        url: String::new(),
        query: String::new(),
        headers: header_map(
            &got[0].headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
        ),
        body: got[0].body.clone().into(),
        path_type: None,
        sender: None,
        received_at: world.now(),
    };
    let receiver = Config::parse("[sources.us]\nprovider = \"standard-webhooks\"").unwrap();
    let verifier = &receiver.sources.values().next().unwrap().verifier;
    let key = "whsec_dGVzdC1vbmx5LWtleS1vZi1hLWRlc3RpbmF0aW9uIQ==".into();
    verifier.verify(&request, &[&key], world.now()).unwrap();
    assert_eq!(got[0].headers["webhook-id"], format!("orders_{id}_warehouse"));
    assert_eq!(got[0].body.as_bytes(), ready.request.body);
}
