//! Secrets while the gateway runs, and senders' own keys: rotated, changed, missing, unreadable.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, and the helpers beside them are tests too"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use futures::future::BoxFuture;
use hookgate_aws::{
    effects::Functions,
    egress::SendError,
    sender_keys::{Fetch, SenderKeys},
};
use hookgate_core::lifecycle::Status;
use serde_json::json;

use crate::harness::{Answer, Bench, Destination, SHOP, World, order, signature};

async fn world(secrets: serde_json::Value) -> (World, Destination) {
    World::with_destination(SHOP, &json!({ "shop": secrets }).to_string()).await
}

async fn order_signed_with(world: &World, secret: &str, id: &str) -> Answer {
    let signature = signature(secret, &order(id));
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    world.post("/webhooks/shop", &headers, &order(id)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_every_active_secret_is_accepted() {
    let (world, _destination) = world(json!(["new", "old"])).await;
    assert_eq!(order_signed_with(&world, "new", "o1").await.status, 200);
    assert_eq!(order_signed_with(&world, "old", "o2").await.status, 200);
    assert_eq!(order_signed_with(&world, "older", "o3").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_changed_secret_is_read_when_a_signature_fails_but_not_at_every_forgery() {
    let (world, _destination) = world(json!(["old"])).await;
    assert_eq!(order_signed_with(&world, "old", "o1").await.status, 200);
    world.write_secrets(&json!({"shop": ["new"]}));

    // Just read: a forger can't have them read again and again.
    assert_eq!(order_signed_with(&world, "new", "o2").await.status, 401);
    world.advance(29);
    assert_eq!(order_signed_with(&world, "new", "o2").await.status, 401);
    world.advance(1);
    assert_eq!(order_signed_with(&world, "new", "o2").await.status, 200);
    assert_eq!(order_signed_with(&world, "old", "o3").await.status, 401);
    world.wait_for("shop", "o2", Status::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_signature_is_not_called_wrong_while_the_secrets_can_not_be_read_again() {
    let (world, _destination) = world(json!(["old"])).await;
    assert_eq!(order_signed_with(&world, "old", "o1").await.status, 200);
    // They were rotated, and what there is now can't be read.
    world.write_secrets(&json!("half of a docu"));
    world.advance(30);

    for _ in 0..2 {
        let answer = order_signed_with(&world, "new", "o2").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{answer:?}");
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    assert_eq!(order_signed_with(&world, "old", "o3").await.status, 200);

    world.write_secrets(&json!({"shop": ["new"]}));
    world.advance(30);
    assert_eq!(order_signed_with(&world, "new", "o2").await.status, 200);
    assert_eq!(order_signed_with(&world, "old", "o4").await.status, 401);
    world.wait_for("shop", "o2", Status::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_secret_that_was_taken_away_stops_working_within_five_minutes() {
    let (world, _destination) = world(json!(["new", "leaked"])).await;
    assert_eq!(order_signed_with(&world, "leaked", "o1").await.status, 200);
    world.write_secrets(&json!({"shop": ["new"]}));
    world.advance(300);
    assert_eq!(order_signed_with(&world, "leaked", "o2").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_missing_secret_is_our_fault_and_is_mended_by_adding_it() {
    let (world, _destination) = world(json!([])).await;
    for secret in ["", "any"] {
        let answer = order_signed_with(&world, secret, "o1").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    assert!(world.scan().await.is_empty());
    world.write_secrets(&json!({"shop": ["added"]}));
    world.advance(30);
    assert_eq!(order_signed_with(&world, "added", "o1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_empty_secret_is_none() {
    let (world, _destination) = world(json!([""])).await;
    assert_eq!(order_signed_with(&world, "", "o1").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_secret_of_another_source_proves_nothing() {
    let config = format!(
        "{SHOP}\n[sources.branch]\nprovider = \"generic\"\nverify = {{ scheme = \"hmac\", header = \"x-signature\" }}"
    );
    let secrets = json!({"shop": ["one"], "branch": ["two"]}).to_string();
    let (world, _destination) = World::with_destination(&config, &secrets).await;
    assert_eq!(order_signed_with(&world, "two", "o1").await.status, 401);
    assert_eq!(order_signed_with(&world, "one", "o1").await.status, 200);
}

/// The address at which a sender has its keys: what is there, if it can be reached.
#[derive(Debug, Default)]
struct Published {
    document: Mutex<Option<String>>,
    fetches: Mutex<usize>,
}

impl Published {
    fn set(&self, key: Option<&Ed25519KeyPair>) {
        let x = key.map(|key| BASE64URL_NOPAD.encode(key.public_key().as_ref()));
        let document = x.map(|x| json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string());
        *self.document.lock().unwrap() = document;
    }
}

impl Fetch for Published {
    fn get(
        &self,
        url: reqwest::Url,
        _: Duration,
    ) -> BoxFuture<'static, Result<(reqwest::StatusCode, Vec<u8>), SendError>> {
        assert_eq!(url.as_str(), "https://keys.example/bank.json");
        *self.fetches.lock().unwrap() += 1;
        let document = self.document.lock().unwrap().clone();
        let answer = document.map(|document| (reqwest::StatusCode::OK, document.into_bytes()));
        Box::pin(async { answer.ok_or(SendError::Unreachable) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_new_key_of_a_sender_is_fetched_when_a_signature_fails_but_not_at_every_forgery() {
    let config = r#"
        [sources.bank]
        provider = "generic"
        verify = { scheme = "ed25519", header = "x-signature", encoding = "hex", key_url = "https://keys.example/bank.json" }
        event = { id = "json:/id" }
    "#;
    let (mut bench, _destination) = Bench::start(config, Functions::default()).await;
    let published = Arc::new(Published::default());
    bench.ingest.keys = Arc::new(SenderKeys::over(published.clone()));
    let [old, new, forger] =
        [1, 2, 3].map(|number| Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap());
    let answered = async |key: &Ed25519KeyPair, id: &str| {
        let body = json!({ "id": id }).to_string();
        let event = json!({
            "version": "2.0", "rawPath": "/webhooks/bank", "body": body,
            "headers": {"content-type": "application/json", "x-signature": HEXLOWER.encode(key.sign(body.as_bytes()).as_ref())},
            "requestContext": {"http": {"method": "POST"}, "timeEpoch": bench.clock.now_ms()},
        });
        let answer =
            serde_json::to_value(bench.ingest.handle(&event.to_string(), None).await.unwrap()).unwrap();
        (answer["statusCode"].as_u64().unwrap(), *published.fetches.lock().unwrap())
    };

    published.set(Some(&old));
    assert_eq!(answered(&old, "e1").await, (200, 1));
    published.set(Some(&new));
    // Just fetched: a forger can't have it fetched again and again.
    bench.clock.advance(Duration::from_secs(29));
    assert_eq!(answered(&new, "e2").await, (401, 1));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(answered(&new, "e2").await, (200, 2));
    assert_eq!(answered(&old, "e3").await, (401, 2));
    // What may be there can't be seen: nobody is refused for good, and a key that is known stays good.
    published.set(None);
    bench.clock.advance(Duration::from_secs(30));
    assert_eq!(answered(&forger, "e4").await, (503, 3));
    assert_eq!(answered(&new, "e5").await, (200, 3));
    published.set(Some(&new));
    assert_eq!(answered(&forger, "e4").await, (401, 4));
}
