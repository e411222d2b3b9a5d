//! Whole requests of any shape, and of every gateway, given to ingest as its runtime gives them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64;
use hookgate_core::lifecycle::Status;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use crate::harness::{SHOP, SHOP_SECRET, World, order, signature};

/// What a stranger may send, and what a sender who knows the secret may.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    query: String,
    body: Vec<u8>,
    /// Said to be base64, and whether it is.
    base64: Option<bool>,
    signed: bool,
    v2: bool,
}

impl Sent {
    fn event(&self) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let (body, flag) = match self.base64 {
            Some(true) => (BASE64.encode(&self.body), true),
            Some(false) => (text, true),
            None => (text, false),
        };
        let mut headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        if self.signed {
            headers.retain(|name, _| !name.eq_ignore_ascii_case("x-signature"));
            headers.insert("x-signature".into(), json!(signature(SHOP_SECRET, &self.bytes())));
        }
        let event = if self.v2 {
            json!({
                "version": "2.0", "rawPath": self.path, "rawQueryString": self.query, "headers": headers,
                "requestContext": {"http": {"method": self.method}, "requestId": "r"},
                "body": body, "isBase64Encoded": flag,
            })
        } else {
            json!({
                "path": self.path, "httpMethod": self.method, "headers": headers,
                "queryStringParameters": {"q": self.query}, "requestContext": {"requestId": "r"},
                "body": body, "isBase64Encoded": flag,
            })
        };
        event.to_string()
    }

    /// The bytes that ingest gets.
    fn bytes(&self) -> Vec<u8> {
        match self.base64 {
            Some(true) => self.body.clone(),
            Some(false) | None => String::from_utf8_lossy(&self.body).into_owned().into_bytes(),
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = prop_oneof![
        6 => Just("POST".to_owned()),
        2 => prop::sample::select(vec!["GET", "PUT", "HEAD", "post", "", "PO ST", "\0"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let path = prop_oneof![
        6 => Just("/webhooks/shop".to_owned()),
        2 => prop::sample::select(vec!["/prod/webhooks/shop/", "/webhooks/shop/paid", "/webhooks/nobody", "/webhooks/", "", "/"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => any::<String>().prop_map(|tail| format!("/webhooks/shop/{tail}")),
    ];
    let header = prop_oneof![
        prop::sample::select(vec![
            ("content-type", "application/json"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("x-signature", "sha256="),
            ("X-Signature", "sha256=00"),
        ])
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
        (any::<String>(), any::<String>()),
        any::<String>().prop_map(|value| ("x-signature".to_owned(), value)),
    ];
    let body = prop_oneof![
        any::<u32>().prop_map(|id| order(&id.to_string())),
        any::<String>().prop_map(|id| order(&id)),
        prop::collection::vec(any::<u8>(), 0..300),
        any::<String>().prop_map(String::into_bytes),
        (1_usize..5_000).prop_map(|depth| "[".repeat(depth).into_bytes()),
    ];
    let base64 = prop::option::of(prop::bool::weighted(0.8));
    let headers = prop::collection::vec(header, 0..6);
    (method, path, headers, any::<String>(), body, base64, any::<bool>(), any::<bool>()).prop_map(
        |(method, path, headers, query, body, base64, signed, v2)| Sent {
            method,
            path,
            headers,
            query,
            body,
            base64,
            signed,
            v2,
        },
    )
}

const ALLOWED: [u64; 8] = [200, 400, 401, 404, 405, 413, 415, 503];

#[test]
fn flow_any_request_is_answered_and_only_signed_ones_are_kept() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let secrets = json!({"shop": [SHOP_SECRET]}).to_string();
    let config = SHOP.replace("DEST", "127.0.0.1:1").replace(r#"["post", "tally"]"#, r#"["tally"]"#);
    let world = runtime.block_on(World::with(&config, &secrets));
    let (accepted, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) });

    let result = runner.run(&sent(), |sent| {
        let puts = world.stack.engines.dynamodb().traffic().count("PutItem");
        let sends = world.stack.engines.sqs().traffic().count("SendMessage");
        let answer = runtime.block_on(world.stack.ingest.handle(&sent.event(), None));
        let answer = serde_json::to_value(answer.unwrap()).unwrap();
        let status = answer["statusCode"].as_u64().unwrap();
        prop_assert!(ALLOWED.contains(&status), "{}", status);
        // Both engines work, so nothing is ever our fault.
        prop_assert_ne!(status, 503);
        if status == 200 {
            accepted.fetch_add(1, Ordering::SeqCst);
            prop_assert!(sent.signed && sent.method == "POST");
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            let stored = runtime.block_on(world.stored("shop", body["event_id"].as_str().unwrap())).unwrap();
            if body["status"] == "accepted" {
                prop_assert_eq!(stored.request.body, sent.bytes());
            }
        } else {
            refused.fetch_add(1, Ordering::SeqCst);
            prop_assert_eq!(world.stack.engines.dynamodb().traffic().count("PutItem"), puts);
            prop_assert_eq!(world.stack.engines.sqs().traffic().count("SendMessage"), sends);
        }
        Ok(())
    });

    result.unwrap();
    // Both kinds were among them.
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    assert!(accepted > 20 && refused > 200, "{accepted} accepted, {refused} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_rest_api_and_a_stage_are_answered_in_their_own_shape() {
    let (world, _destination) = World::shop().await;
    let body = order("o1");
    let text = String::from_utf8(body.clone()).unwrap();
    let event = json!({
        "resource": "/webhooks/{source}", "path": "/webhooks/shop", "httpMethod": "POST",
        "headers": {"Content-Type": "application/json", "X-Signature": signature(SHOP_SECRET, &body)},
        "multiValueHeaders": {"Content-Type": ["application/json"], "X-Signature": [signature(SHOP_SECRET, &body)]},
        "requestContext": {"path": "/prod/webhooks/shop", "stage": "prod", "requestId": "r1", "requestTimeEpoch": world.clock.now_ms()},
        "body": text, "isBase64Encoded": false,
    });
    let answer =
        serde_json::to_value(world.stack.ingest.handle(&event.to_string(), None).await.unwrap()).unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert!(answer["multiValueHeaders"]["content-type"].is_array(), "{answer}");
    world.wait_for("shop", "o1", Status::Done).await;

    let event = json!({
        "version": "2.0", "rawPath": "/prod/webhooks/shop/order.sent", "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-signature": signature(SHOP_SECRET, &order("o2"))},
        "requestContext": {"http": {"method": "POST", "path": "/prod/webhooks/shop"}, "stage": "prod", "requestId": "r2", "timeEpoch": world.clock.now_ms()},
        "body": BASE64.encode(&order("o2")), "isBase64Encoded": true,
    });
    let answer =
        serde_json::to_value(world.stack.ingest.handle(&event.to_string(), None).await.unwrap()).unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let told: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((&told["event_id"], &told["request_id"]), (&json!("o2"), &json!("r2")));
    world.wait_for("shop", "o2", Status::Done).await;
    assert_eq!(world.stored("shop", "o2").await.unwrap().request.body, order("o2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_is_no_request_at_all_is_an_error_of_the_function() {
    let (world, _destination) = World::shop().await;
    for event in ["", "null", "[]", "7", "{", r#"{"headers": 5}"#] {
        assert!(world.stack.ingest.handle(event, None).await.is_err(), "{event}");
    }
    assert!(world.scan().await.is_empty());
}
