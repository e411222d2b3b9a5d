//! What becomes of what is not verified: refused, observed, or kept apart.

use hookgate_core::{lifecycle::Status, quarantine::PER_DAY_MAX};
use serde_json::json;

use crate::harness::{Answer, World, name, signature};

const CONFIG: &str = r#"
[sources.strict]
provider = "generic"
verify = { scheme = "hmac", header = "x-signature", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type" }
[sources.watched]
provider = "generic"
mode = "observe"
verify = { scheme = "hmac", header = "x-signature", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type" }
[sources.apart]
provider = "generic"
mode = "quarantine"
verify = { scheme = "hmac", header = "x-signature", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type" }
[[routes]]
source = "watched"
filter = "verified"
actions = ["seen"]
[actions.seen]
kind = "count"
counter = "seen"
label = "{{ id }}"
"#;

const SECRETS: &str = r#"{"strict": "s1", "watched": "s2", "apart": "s3"}"#;

const BODY: &[u8] = br#"{"id": "e1", "type": "t"}"#;

async fn post(world: &World, source: &str, secret: &str) -> Answer {
    let signature = signature(secret, BODY);
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    world.post(&format!("/webhooks/{source}"), &headers, BODY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_observed_forgery_is_marked_and_does_not_stand_in_the_way_of_the_real_event() {
    let world = World::with(CONFIG, SECRETS).await;
    let forged = post(&world, "watched", "guess").await;
    assert_eq!(forged.status, 200, "{forged:?}");
    let forged = forged.json()["event_id"].as_str().unwrap().to_owned();
    world.wait_for("watched", &forged, Status::Unrouted).await;
    let event = world.stored("watched", &forged).await.unwrap();
    assert!(event.unverified.is_some_and(|reason| reason.contains("does not match")));

    let genuine = post(&world, "watched", "s2").await;
    assert_eq!((genuine.status, &genuine.json()["status"]), (200, &json!("accepted")));
    world.wait_for("watched", "e1", Status::Done).await;
    assert_eq!(world.stored("watched", "e1").await.unwrap().unverified, None);
    assert_eq!(world.counts("seen").await.into_keys().collect::<Vec<_>>(), ["e1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_is_kept_apart_is_no_event_and_what_is_enforced_is_refused() {
    let world = World::with(CONFIG, SECRETS).await;
    assert_eq!(post(&world, "strict", "guess").await.status, 401);
    let apart = post(&world, "apart", "guess").await;
    assert_eq!((apart.status, apart.text()), (202, ""));
    world.quiet().await;
    assert_eq!((world.items("E#").await, world.queue().visible), (0, 0));
    let kept = world.stack.worker.store.quarantined(&name("apart"), 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].request.body.as_slice(), kept[0].request.received_at), (BODY, world.now()));
    assert!(kept[0].reason.contains("does not match"));
    assert_eq!(post(&world, "apart", "s3").await.status, 200);
    world.wait_for("apart", "e1", Status::Unrouted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_stranger_can_not_fill_the_quarantine() {
    let world = World::with(CONFIG, SECRETS).await;
    let max = usize::try_from(PER_DAY_MAX).unwrap();
    for _ in 0..max {
        assert_eq!(post(&world, "apart", "guess").await.status, 202);
        world.advance(1);
    }
    assert_eq!(post(&world, "apart", "guess").await.status, 401);
    // Once it is known to be full, a forgery costs nothing.
    world.reset_traffic();
    assert_eq!(post(&world, "apart", "guess").await.status, 401);
    assert_eq!(world.stack.worker.store.quarantined(&name("apart"), max + 1).await.unwrap().len(), max);
    world.advance(24 * 60 * 60);
    assert_eq!(post(&world, "apart", "guess").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_full_quarantine_refuses_nobody_for_good_while_the_secrets_can_not_be_read_again() {
    let world = World::with(CONFIG, SECRETS).await;
    for _ in 0..PER_DAY_MAX {
        assert_eq!(post(&world, "apart", "guess").await.status, 202);
    }
    assert_eq!(post(&world, "apart", "new").await.status, 401);
    // They were rotated, and what there is now can't be read.
    world.write_secrets(&json!("half of a docu"));
    world.advance(30);
    let answer = post(&world, "apart", "new").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{answer:?}");
    world.write_secrets(&json!({"apart": ["new"]}));
    world.advance(30);
    assert_eq!(post(&world, "apart", "new").await.status, 200);
    assert_eq!(post(&world, "apart", "guess").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_token_that_a_person_has_to_see_is_kept_for_him() {
    let world = World::with("[sources.notion]\nprovider = \"notion\"\n", r#"{"notion": "s"}"#).await;
    let body = br#"{"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}"#;
    let answer = world.post("/webhooks/notion", &[("content-type", "application/json")], body).await;
    assert_eq!(answer.status, 202);
    let kept = world.stack.worker.store.quarantined(&name("notion"), 10).await.unwrap();
    assert_eq!(kept[0].request.body, body);
    assert_eq!(world.items("E#").await, 0);
}
