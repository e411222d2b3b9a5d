//! Secrets while the gateway runs: rotated, changed, missing, unreadable.

use hookgate_core::lifecycle::Status;
use serde_json::json;

use crate::harness::{Answer, Destination, SHOP, World, order, signature};

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
