//! Failures of other receivers, as they were reported of them; none of them is one of ours.

use hookgate_core::{config::Config, lifecycle::Status};

use crate::harness::{Answer, World, signature};

const CONFIG: &str = r#"
[sources.hub]
provider = "github"
[sources.bytes]
provider = "raw"
verify = { scheme = "hmac", header = "x-hub-signature-256", prefix = "sha256=" }
"#;

const BODY: &[u8] = br#"{"action": "opened"}"#;

async fn deliver(world: &World, source: &str, id: &str, signature: Option<&str>, body: &[u8]) -> Answer {
    let mut headers = vec![
        ("content-type", "application/json"),
        ("x-github-event", "issues"),
        ("x-github-delivery", id),
        ("x-event-id", id),
    ];
    headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
    world.post(&format!("/webhooks/{source}"), &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_an_absent_header_does_not_skip_the_check() {
    let world = World::with(CONFIG, r#"{"hub": "key", "bytes": "key"}"#).await;
    for signature in [None, Some(""), Some("sha256="), Some("sha256"), Some("undefined"), Some("null")] {
        assert_eq!(deliver(&world, "hub", "d1", signature, BODY).await.status, 401, "{signature:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_an_empty_or_absent_secret_verifies_nothing() {
    for secrets in ["{}", r#"{"hub": ""}"#, r#"{"hub": [""]}"#, r#"{"hub": []}"#, r#"{"hub": [{}]}"#] {
        let world = World::with("[sources.hub]\nprovider = \"github\"\n", secrets).await;
        // The local program makes secrets that are not there at all.
        for key in ["", "undefined", "null", "None"] {
            let answer = deliver(&world, "hub", "d1", Some(&signature(key, BODY)), BODY).await;
            assert!([401, 503].contains(&answer.status), "{secrets} {key}: {answer:?}");
        }
        assert_eq!(world.items("E#").await, 0);
    }
}

#[test]
fn flow_known_an_unknown_kind_of_verification_is_not_none() {
    for verify in [
        r#""nonee""#,
        r#""""#,
        r#"{ scheme = "hmac-sha3", header = "x" }"#,
        r#"{ scheme = "hmac", header = "x", hash = "sha3" }"#,
        r#"{ scheme = "hmac" }"#,
        "{}",
        "[]",
        "false",
    ] {
        let config = format!("[sources.a]\nprovider = \"generic\"\nverify = {verify}\n");
        assert!(Config::parse(&config).is_err(), "{verify}");
    }
    assert!(Config::parse("[sources.a]\nprovider = \"generic\"\n").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_a_part_of_a_signature_is_none() {
    let world = World::with(CONFIG, r#"{"hub": "key", "bytes": "key"}"#).await;
    let whole = signature("key", BODY);
    for end in ["sha256=".len(), 9, 20, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
        assert_eq!(deliver(&world, "hub", "d1", whole.get(..end), BODY).await.status, 401, "{end}");
    }
    let longer = format!("{whole}00");
    assert_eq!(deliver(&world, "hub", "d1", Some(&longer), BODY).await.status, 401);
    assert_eq!(deliver(&world, "hub", "d1", Some(&whole), BODY).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_a_body_that_is_no_text_is_verified_and_kept_as_it_is() {
    let world = World::with(CONFIG, r#"{"hub": "key", "bytes": "key"}"#).await;
    let body = b"\xff\xfe\x00 caf\xe9 \x80";
    let answer = deliver(&world, "bytes", "b1", Some(&signature("key", body)), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.wait_for("bytes", "b1", Status::Unrouted).await;
    assert_eq!(world.stored("bytes", "b1").await.unwrap().request.body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_a_refusal_does_not_tell_the_right_signature() {
    let world = World::with(CONFIG, r#"{"hub": "key", "bytes": "key"}"#).await;
    let right = signature("key", BODY);
    let answer = deliver(&world, "hub", "d1", Some(&signature("guess", BODY)), BODY).await;
    assert_eq!(answer.status, 401);
    let hex = right.trim_start_matches("sha256=");
    assert!(!answer.text().contains(hex) && !answer.text().contains("key"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_known_a_forged_delivery_neither_uses_up_an_id_nor_learns_that_it_is_used() {
    let world = World::with(CONFIG, r#"{"hub": "key", "bytes": "key"}"#).await;
    let (right, wrong) = (signature("key", BODY), signature("guess", BODY));
    assert_eq!(deliver(&world, "hub", "d1", Some(&wrong), BODY).await.status, 401);
    let genuine = deliver(&world, "hub", "d1", Some(&right), BODY).await;
    assert_eq!(genuine.json()["status"], "accepted");
    let repeated = deliver(&world, "hub", "d1", Some(&right), BODY).await;
    assert_eq!(repeated.json()["status"], "duplicate");
    let (known, unknown) = (
        deliver(&world, "hub", "d1", Some(&wrong), BODY).await,
        deliver(&world, "hub", "d2", Some(&wrong), BODY).await,
    );
    assert_eq!((known.status, unknown.status), (401, 401));
    assert_eq!(known.json()["detail"], unknown.json()["detail"]);
}
