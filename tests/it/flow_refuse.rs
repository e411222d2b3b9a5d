//! Requests that are refused: with which status, with how little said, and with nothing kept.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::BTreeSet;

use hookgate_core::{lifecycle::Status, request::BODY_BYTES_MAX};
use hookgate_embedded::Counts;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, SHIPPED_SECRETS, SHOP, SHOP_SECRET, World, header_map, noise, order, signature,
};

/// A problem document of a status, which says nothing but that.
fn assert_refused(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    let keys: BTreeSet<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["detail", "request_id", "status", "title", "type"]));
    assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
    assert_eq!(problem["detail"], detail);
    assert!(problem["request_id"].as_str().is_some_and(|id| id.len() > 8), "{problem}");
}

/// What is said when somebody could not show who he is, whatever the reason.
fn assert_unauthenticated(answer: &Answer) {
    assert_refused(answer, 401, "The request could not be authenticated.");
    assert!(answer.header("www-authenticate").is_none_or(str::is_empty));
}

/// Neither the table nor the queue has anything, and neither was asked to take anything.
async fn assert_nothing_kept(world: &World) {
    assert_eq!(world.queue(), Counts::default());
    assert_eq!(world.stack.engines.sqs().traffic().requests(), []);
    let table = world.stack.engines.dynamodb().traffic();
    for write in ["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"] {
        assert_eq!(table.count(write), 0, "{write}");
    }
    assert!(world.scan().await.is_empty());
}

async fn shop() -> World {
    World::shop().await.0
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_signature_that_is_missing_wrong_or_for_other_bytes_is_401() {
    let world = shop().await;
    let body = order("o1");
    let good = signature(SHOP_SECRET, &body);
    let wrong_secret = signature("other-secret", &body);
    let other_body = signature(SHOP_SECRET, &order("o2"));
    let one_bit = good.replace(good.chars().last().unwrap(), "0");
    let without_prefix = good.trim_start_matches("sha256=").to_owned();
    let with_sha512 = good.replace("sha256=", "sha512=");
    for value in
        [&wrong_secret, &other_body, &one_bit, &without_prefix, &with_sha512, "", "sha256=", "sha256=zz"]
            .map(str::to_owned)
    {
        if value == good {
            continue;
        }
        assert_unauthenticated(&world.post("/webhooks/shop", &[JSON, ("x-signature", &value)], &body).await);
    }
    assert_unauthenticated(&world.post("/webhooks/shop", &[JSON], &body).await);
    // In the query instead of the header.
    let path = format!("/webhooks/shop?x-signature={good}");
    assert_unauthenticated(&world.post(&path, &[JSON], &body).await);
    assert_nothing_kept(&world).await;
    // THEN the id is still free for the genuine event.
    assert_eq!(world.order("o1").await.json()["status"], "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_forged_request_of_any_source_is_401_and_says_nothing() {
    let world = World::shipped().await;
    let secrets: Value = serde_json::from_str(SHIPPED_SECRETS).unwrap();
    // In the form that each of the schemes asks for, and nobody's.
    let forgers = "whsec_bm9ib2R5J3Mtc2VjcmV0LW5vYm9keSdzLXNlY3JldA==".into();
    for source in world.stack.worker.config.sources.keys().map(ToString::to_string) {
        let forged = world.fresh_by(&source, None, &forgers, world.now());

        let answer = world.send(&forged).await;

        assert_unauthenticated(&answer);
        for secret in secrets[&source].as_array().unwrap() {
            assert!(!answer.text().contains(secret.as_str().unwrap()), "{source}");
        }
    }
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_signature_is_good_for_five_minutes() {
    let world = World::shipped().await;
    for source in ["stripe", "slack", "standard"] {
        let (fresh, late) = (world.fresh(source, None), world.fresh(source, None));
        world.advance(300);
        assert_eq!(world.send(&fresh).await.status, 200, "{source}: 300 s");
        world.quiet().await;
        world.advance(1);
        world.reset_traffic();
        assert_unauthenticated(&world.send(&late).await);
        assert_eq!(world.stack.engines.sqs().traffic().requests(), [], "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_signature_from_the_future_is_401_but_for_stripe() {
    let world = World::shipped().await;
    for (source, status) in [("slack", 401), ("standard", 401), ("stripe", 200)] {
        let secrets: Value = serde_json::from_str(SHIPPED_SECRETS).unwrap();
        let secret = secrets[source][0].as_str().unwrap().into();
        let ready = world.fresh_by(source, None, &secret, world.now().plus_millis(301_000));
        assert_eq!(world.send(&ready).await.status, status, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_paths_that_are_no_source_are_404() {
    let world = shop().await;
    let body = order("o1");
    let good = signature(SHOP_SECRET, &body);
    for path in [
        "/webhooks/shops",
        "/webhooks/SHOP",
        "/webhooks/",
        "/webhooks",
        "/shop",
        "/webhooks/shop/a/b",
        "/webhooks/shop%2F..",
        "/webhooks/shop/%00",
        "/webhooks/%73hop",
        "/.env",
    ] {
        let answer = world.post(path, &[JSON, ("x-signature", &good)], &body).await;
        assert_refused(&answer, 404, "There is nothing at this address.");
    }
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_methods_other_than_post_are_405_with_what_is_allowed() {
    let world = shop().await;
    let body = order("o1");
    let headers = header_map(&[JSON, ("x-signature", &signature(SHOP_SECRET, &body))]);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let answer = world.request(method.clone(), "/webhooks/shop", &headers, &body).await;
        assert_refused(&answer, 405, "This address takes POST requests.");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    let head = world.request(Method::HEAD, "/webhooks/shop", &headers, b"").await;
    assert_eq!((head.status, head.header("allow"), head.body.len()), (405, Some("POST"), 0));
    let unknown = world.request(Method::GET, "/webhooks/nobody", &headers, b"").await;
    assert_refused(&unknown, 404, "There is nothing at this address.");
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_body_that_is_larger_than_the_source_takes_is_413() {
    let config = SHOP.replace("provider = \"generic\"", "provider = \"generic\"\nbody_bytes_max = 200");
    let (world, _destination) =
        World::with_destination(&config, &json!({"shop": [SHOP_SECRET]}).to_string()).await;
    let of = |bytes: usize| {
        let frame = json!({"id": "o1", "type": "order.paid", "note": ""}).to_string().len();
        json!({"id": "o1", "type": "order.paid", "note": "x".repeat(bytes - frame)}).to_string()
    };
    let answer = world.shop_body(of(201).as_bytes()).await;
    assert_refused(&answer, 413, "The body is larger than this address accepts.");
    // Size comes before everything else: no signature is computed over it.
    let unsigned = world.post("/webhooks/shop", &[JSON], of(201).as_bytes()).await;
    assert_eq!(unsigned.status, 413);
    assert_nothing_kept(&world).await;
    assert_eq!(world.shop_body(of(200).as_bytes()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_body_that_is_larger_than_the_gateway_takes_is_413() {
    let world = shop().await;
    let body = noise(BODY_BYTES_MAX + 1, 1);
    let answer = world.shop_body(&body).await;
    assert_refused(&answer, 413, "The body is larger than this address accepts.");
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_signed_body_that_is_not_json_is_400() {
    let world = shop().await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 8] = [
        b"{\"id\": \"o1\"",
        b"{\"id\": \"o1\"} trailing",
        b"\xff\xfe{}",
        b"",
        b"{'id': 1}",
        b"NaN",
        b"{\"id\": \"\xed\xa0\x80\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        assert_refused(&world.shop_body(body).await, 400, "The request could not be read.");
    }
    // Unsigned, it is not even looked at.
    assert_unauthenticated(&world.post("/webhooks/shop", &[JSON], b"{").await);
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_kinds_of_body_that_a_source_does_not_take_are_415() {
    let world = shop().await;
    for (kind, body) in [
        ("text/plain", b"hello".as_slice()),
        ("application/octet-stream", b"\x00\xff\x01"),
        ("image/png", b"\x89PNG\r\n"),
    ] {
        let signature = signature(SHOP_SECRET, body);
        let headers = [("content-type", kind), ("x-signature", signature.as_str())];
        let answer = world.post("/webhooks/shop", &headers, body).await;
        assert_refused(&answer, 415, "This address does not take bodies of this kind.");
    }
    assert_nothing_kept(&world).await;
}

/// `{}` compressed by gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_compressed_body_is_unpacked_to_be_read_and_kept_as_it_came() {
    let world = World::shipped().await;
    // The unpacked `{}` lacks what orders have to have; what can't be unpacked is malformed, another packing is 415.
    for (encoding, body, status, detail) in [
        ("gzip", GZIP, 400, "The request could not be read."),
        ("gzip", b"not gzip".as_slice(), 400, "The request could not be read."),
        ("br", GZIP, 415, "This address does not take bodies of this kind."),
    ] {
        let signature = signature("orders-test-secret", body);
        let headers = [JSON, ("content-encoding", encoding), ("x-signature", signature.as_str())];
        let answer = world.post("/webhooks/orders", &headers, body).await;
        assert_refused(&answer, status, detail);
    }
    assert_nothing_kept(&world).await;

    let headers = [
        JSON,
        ("content-encoding", "gzip"),
        ("x-event-id", "z1"),
        ("x-hookgate-token", "raw-test-token-not-a-secret"),
    ];
    assert_eq!(world.post("/webhooks/raw", &headers, GZIP).await.status, 200);
    world.wait_for("raw", "z1", Status::Done).await;
    let stored = world.stored("raw", "z1").await.unwrap().request;
    assert_eq!(
        (stored.body.as_slice(), &stored.headers["content-encoding"]),
        (GZIP, &"gzip".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_required_field_that_is_missing_is_400() {
    let world = World::shipped().await;
    for body in [
        r#"{"event_id": "e1", "type": "order.created"}"#,
        r#"{"event_id": "e1", "type": "order.created", "order": {"id": null}}"#,
        r#"{"event_id": "e1", "type": "order.created", "order": "id"}"#,
        "[]",
    ] {
        let signature = signature("orders-test-secret", body.as_bytes());
        let headers = [JSON, ("x-signature", signature.as_str())];
        let answer = world.post("/webhooks/orders", &headers, body.as_bytes()).await;
        assert_refused(&answer, 400, "The request could not be read.");
    }
    assert_nothing_kept(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_body_that_does_not_fit_the_schema_is_400_and_what_fits_is_taken() {
    let config = "[sources.shop]\nprovider = \"generic\"\nverify = { scheme = \"hmac\", header = \"x-signature\", encoding = \"hex\" }\n\
                  event = { id = \"json:/id\" }\n\
                  schema = '{\"required\": [\"total\"], \"properties\": {\"total\": {\"type\": \"integer\"}}}'\n";
    let world = World::with(config, r#"{"shop": ["shop-test-secret"]}"#).await;
    let post = async |body: &'static str| {
        let signature = signature("shop-test-secret", body.as_bytes());
        let headers = [JSON, ("x-signature", signature.trim_start_matches("sha256="))];
        world.post("/webhooks/shop", &headers, body.as_bytes()).await
    };
    for body in [r#"{"id": "e1", "total": "2"}"#, r#"{"id": "e1"}"#] {
        assert_refused(&post(body).await, 400, "The request could not be read.");
    }
    assert_nothing_kept(&world).await;
    assert_eq!(post(r#"{"id": "e1", "total": 2}"#).await.status, 200);
    world.wait_for("shop", "e1", Status::Unrouted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_every_refusal_has_a_request_id_of_its_own() {
    let world = shop().await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let answer = world.post("/webhooks/shop", &[JSON], b"{}").await;
        ids.insert(answer.json()["request_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 20);
}
