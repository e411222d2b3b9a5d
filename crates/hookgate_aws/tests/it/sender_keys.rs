//! Fetching the senders' public keys.

use hookgate_aws::sender_keys::{SenderKeys, SenderKeysError};
use hookgate_core::{catalogue, request::Request, time::EpochMillis};

use crate::harness::{Answer, START, Server};

fn at(seconds: i64) -> EpochMillis {
    START.plus_millis(seconds * 1000)
}

async fn server(body: &str) -> (Server, SenderKeys) {
    let server = Server::start(Answer::json(200, body.to_owned())).await;
    let keys = SenderKeys::allowing(std::slice::from_ref(&server.place));
    (server, keys)
}

async fn knows(keys: &SenderKeys, url: &str, now: EpochMillis) -> bool {
    let verifier = catalogue::find("github").unwrap().verifier().unwrap().unwrap();
    let request = Request::post("https://hooks.example.com/x", *b"", now);
    keys.known(&verifier, &request, &[], now).await.get(url).is_some()
}

#[tokio::test]
async fn a_key_is_fetched_once_and_kept_for_an_hour() {
    let (server, keys) = server("-----BEGIN…").await;
    let url = server.url("/key.pem");
    assert!(!knows(&keys, &url, at(0)).await);
    let fetched = keys.fetch(&url, at(0)).await.unwrap();
    assert_eq!(fetched.get(&url), Some("-----BEGIN…".as_bytes()));
    let asked = server.only();
    assert_eq!(asked.target, "/key.pem");
    assert!(asked.header("user-agent").is_some_and(|agent| agent.starts_with("hookgate/")));
    assert!(knows(&keys, &url, at(3_599)).await);
    assert!(!knows(&keys, &url, at(3_600)).await);
}

#[tokio::test]
async fn a_key_is_fresh_for_half_a_minute_whatever_the_clock_does() {
    let (server, keys) = server("-----BEGIN…").await;
    let url = server.url("/key.pem");
    keys.fetch(&url, at(0)).await.unwrap();
    let verifier = catalogue::find("github").unwrap().verifier().unwrap().unwrap();
    let request = Request::post("https://hooks.example.com/x", *b"", at(0));
    for (seconds, is_fresh) in [(0, true), (29, true), (30, false), (-29, true), (-30, false)] {
        let fresh = keys.fresh(&verifier, &request, &[], at(seconds)).await;
        assert_eq!(fresh.get(&url).is_some(), is_fresh, "{seconds}");
        assert!(knows(&keys, &url, at(seconds)).await, "what is not fresh is kept all the same");
    }
}

#[tokio::test]
async fn what_is_no_key_is_an_error_and_not_kept() {
    let (server, keys) = server("x").await;
    let url = server.url("/key");
    server.answers(Answer::status(404));
    assert!(
        matches!(keys.fetch(&url, at(0)).await, Err(SenderKeysError::Status { status, .. }) if status == 404)
    );
    server.answers(Answer::json(200, "k".repeat(300 * 1024)));
    assert!(matches!(keys.fetch(&url, at(0)).await, Err(SenderKeysError::TooLarge { .. })));
    assert!(!knows(&keys, &url, at(0)).await);
    let nobody = SenderKeys::allowing(&["127.0.0.1:1".into()]);
    let error = nobody.fetch("http://127.0.0.1:1/key", at(0)).await.unwrap_err();
    assert!(matches!(error, SenderKeysError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn forged_messages_can_not_make_us_a_load() {
    let (server, keys) = server("k").await;
    for n in 0..20 {
        keys.fetch(&server.url(&format!("/{n}")), at(0)).await.unwrap();
    }
    let url = server.url("/one-too-many");
    assert!(matches!(keys.fetch(&url, at(59)).await, Err(SenderKeysError::TooOften)));
    assert_eq!(server.got().len(), 20);
    keys.fetch(&url, at(60)).await.unwrap();
}

#[tokio::test]
async fn private_addresses_are_not_visited() {
    let keys = SenderKeys::default();
    let error = keys.visit("http://169.254.169.254/latest/meta-data", at(0)).await.unwrap_err();
    assert!(matches!(error, SenderKeysError::Egress(_)), "{error}");
    // Nor are names that lead there, and nobody is connected to.
    let server = Server::start(Answer::json(200, "k".to_owned())).await;
    let url = server.url("/key").replace("127.0.0.1", "localhost");
    let error = keys.fetch(&url, at(0)).await.unwrap_err().to_string();
    assert!(error.contains("only private addresses"), "{error}");
    assert_eq!(server.got().len(), 0);
}

#[tokio::test]
async fn another_address_that_is_answered_with_is_not_asked() {
    let (server, keys) = server("k").await;
    server.answers(Answer::header(302, "location", server.url("/elsewhere")));
    let error = keys.fetch(&server.url("/key"), at(0)).await.unwrap_err();
    assert!(matches!(error, SenderKeysError::Status { status, .. } if status == 302), "{error}");
    assert_eq!(server.got().len(), 1);
}
