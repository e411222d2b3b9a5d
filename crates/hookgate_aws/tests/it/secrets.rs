//! The secrets.

use std::{fs, path::Path};

use futures::future::join_all;
use hookgate_aws::{
    clients::{Clients, Patience},
    env::SecretsFrom,
    secrets::{SecretStore, SecretStoreError},
};
use hookgate_core::{secret::Secrets, time::EpochMillis};
use serde_json::json;

use crate::harness::{Answer, IMPATIENT, MARKER, PATIENT, SLACK, START, Server, clients};

const MINUTE_MS: i64 = 60_000;

fn after(ms: i64) -> EpochMillis {
    START.plus_millis(ms)
}

fn text(secrets: &Secrets) -> String {
    secrets.newest("pay").map(|secret| secret.expose().to_owned()).unwrap_or_default()
}

async fn now_text(store: &SecretStore, at: EpochMillis) -> String {
    text(&store.current(at).await.unwrap())
}

fn write(path: &Path, secret: &str) {
    fs::write(path, json!({"pay": [secret]}).to_string()).unwrap();
}

/// A store over a file. No call of the client is ever made.
fn file_store(path: &Path) -> SecretStore {
    let nowhere = clients("http://127.0.0.1:1".into(), "http://127.0.0.1:1".into(), IMPATIENT);
    SecretStore::new(&SecretsFrom::File(path.to_owned()), &nowhere.secrets_manager)
}

#[tokio::test]
async fn a_changed_file_is_seen_after_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    write(&path, "first");
    let store = file_store(&path);
    assert_eq!(now_text(&store, START).await, "first");
    write(&path, "second");
    assert_eq!(now_text(&store, after(5 * MINUTE_MS - 1)).await, "first");
    assert_eq!(now_text(&store, after(5 * MINUTE_MS)).await, "second");
    write(&path, "third");
    assert_eq!(now_text(&store, after(10 * MINUTE_MS - 1)).await, "second");
    assert_eq!(now_text(&store, after(10 * MINUTE_MS)).await, "third");
}

#[tokio::test]
async fn a_failed_verification_has_the_file_read_again_but_not_twice_within_thirty_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    write(&path, "first");
    let store = file_store(&path);
    // Nothing was read yet, so there is nothing to read again.
    assert!(store.after_failure(START).await.is_none());
    assert_eq!(now_text(&store, START).await, "first");
    write(&path, "second");
    assert!(store.after_failure(after(29_999)).await.is_none());
    assert_eq!(now_text(&store, after(29_999)).await, "first");
    let secrets = store.after_failure(after(30_000)).await.unwrap();
    assert_eq!(text(&secrets), "second");
    assert_eq!(now_text(&store, after(30_000)).await, "second");
    write(&path, "third");
    assert!(store.after_failure(after(59_999)).await.is_none());
    assert_eq!(text(&store.after_failure(after(60_000)).await.unwrap()), "third");
    // Read again and found no other: there is no point in verifying again.
    assert!(store.after_failure(after(90_000)).await.is_none());
    write(&path, "fourth");
    assert!(store.after_failure(after(119_999)).await.is_none());
    assert_eq!(text(&store.after_failure(after(120_000)).await.unwrap()), "fourth");
}

#[tokio::test]
async fn secrets_that_can_not_be_read_again_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    write(&path, "first");
    let store = file_store(&path);
    assert_eq!(now_text(&store, START).await, "first");
    assert!(!store.may_be_outdated().await);
    fs::remove_file(&path).unwrap();
    assert_eq!(now_text(&store, after(5 * MINUTE_MS)).await, "first");
    assert!(store.after_failure(after(6 * MINUTE_MS)).await.is_none());
    assert!(store.may_be_outdated().await);
    fs::write(&path, "{\"pay\": [\"half of a docu").unwrap();
    assert_eq!(now_text(&store, after(20 * MINUTE_MS)).await, "first");
    assert!(store.after_failure(after(21 * MINUTE_MS)).await.is_none());
    assert_eq!(now_text(&store, after(24 * 60 * MINUTE_MS)).await, "first");
    // And are read as soon as they can be.
    write(&path, "second");
    let at = after(25 * 60 * MINUTE_MS);
    assert_eq!(now_text(&store, at).await, "second");
    assert!(!store.may_be_outdated().await);
}

#[tokio::test]
async fn a_clock_that_came_back_does_not_put_off_the_next_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    write(&path, "first");
    let store = file_store(&path);
    assert_eq!(now_text(&store, after(10 * MINUTE_MS)).await, "first");
    write(&path, "second");
    assert!(store.after_failure(after(MINUTE_MS)).await.is_some(), "nine minutes before the last reading");
    let store = file_store(&path);
    assert_eq!(now_text(&store, after(10 * MINUTE_MS)).await, "second");
    write(&path, "third");
    assert_eq!(now_text(&store, after(MINUTE_MS)).await, "third");
}

#[tokio::test]
async fn secrets_that_were_never_read_are_an_error_that_says_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    let store = file_store(&path);
    let error = store.current(START).await.unwrap_err();
    assert!(matches!(error, SecretStoreError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("secrets.json"), "{error}");
    let mut at = START;
    for bad in [
        String::new(),
        "[]".into(),
        MARKER.into(),
        format!("{{\"{MARKER}\": \"{MARKER}\""),
        format!("{{\"{MARKER}\": 5}}"),
        format!("{{\"{MARKER}\": [\"{MARKER}\", 5]}}"),
        format!("{{\"a\": {{\"{MARKER}\": true}}}}"),
    ] {
        fs::write(&path, &bad).unwrap();
        at = at.plus_millis(2_000);
        let error = store.current(at).await.expect_err(&bad);
        assert!(matches!(error, SecretStoreError::Shape(_)), "{bad}: {error:?}");
        assert!(!format!("{error} {error:?} {store:?}").contains(MARKER), "{bad}: {error:?}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    at = at.plus_millis(2_000);
    assert!(matches!(store.current(at).await, Err(SecretStoreError::File { .. })));
    // Whoever asks gets them, once they are there, but not every request makes a try.
    write(&path, "first");
    assert!(matches!(store.current(at.plus_millis(1_999)).await, Err(SecretStoreError::Resting)));
    assert_eq!(now_text(&store, at.plus_millis(2_000)).await, "first");
}

#[tokio::test]
async fn fixed_secrets_never_change() {
    let store = SecretStore::fixed(Secrets::from_json(r#"{"pay": "only"}"#).unwrap());
    assert_eq!(now_text(&store, START).await, "only");
    assert_eq!(now_text(&store, after(60 * MINUTE_MS)).await, "only");
    assert!(store.after_failure(after(61 * MINUTE_MS)).await.is_none());
}

fn secret_value(secret: &str) -> Answer {
    let document = json!({"pay": [secret]}).to_string();
    Answer::json(
        200,
        json!({"ARN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:hookgate-AbCdEf", "Name": "hookgate", "SecretString": document})
            .to_string(),
    )
}

async fn manager(answer: Answer) -> (Server, SecretStore) {
    manager_with(PATIENT, answer).await
}

async fn manager_with(patience: Patience, answer: Answer) -> (Server, SecretStore) {
    let server = Server::start(answer).await;
    let clients = clients(server.url(""), server.url(""), patience);
    let store = SecretStore::new(&SecretsFrom::Manager("hookgate/prod".into()), &clients.secrets_manager);
    (server, store)
}

#[tokio::test]
async fn secrets_manager_is_asked_for_the_secret_by_its_id() {
    let (server, store) = manager(secret_value("first")).await;
    assert_eq!(now_text(&store, START).await, "first");
    let got = server.only();
    assert_eq!((got.method.as_str(), got.target.as_str()), ("POST", "/"));
    assert_eq!(got.header("x-amz-target"), Some("secretsmanager.GetSecretValue"));
    assert_eq!(got.header("content-type"), Some("application/x-amz-json-1.1"));
    let signature = got.header("authorization").unwrap();
    assert!(signature.contains("/us-east-1/secretsmanager/aws4_request,"), "{signature}");
    assert!(signature.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"), "{signature}");
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body, json!({"SecretId": "hookgate/prod"}));

    server.answers(secret_value("second"));
    assert_eq!(now_text(&store, after(5 * MINUTE_MS - 1)).await, "first");
    assert_eq!(server.got().len(), 1);
    assert_eq!(now_text(&store, after(5 * MINUTE_MS)).await, "second");
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn a_thousand_failed_verifications_in_a_minute_cost_two_calls() {
    let (server, store) = manager(secret_value("first")).await;
    assert_eq!(now_text(&store, START).await, "first");
    for n in 1..=1000 {
        let at = after(n * 60);
        assert_eq!(now_text(&store, at).await, "first");
        assert!(store.after_failure(at).await.is_none());
    }
    assert_eq!(server.got().len(), 1 + 2);
    // All at once they cost one.
    server.answers(secret_value("second"));
    let at = after(10 * MINUTE_MS - 1);
    let all = join_all((0..100).map(|_| store.after_failure(at))).await;
    assert_eq!(server.got().len(), 1 + 2 + 1);
    assert_eq!(all.iter().flatten().count(), 1);
    assert_eq!(now_text(&store, at).await, "second");
}

#[tokio::test]
async fn failed_verifications_cost_no_more_while_secrets_manager_is_down() {
    let (server, store) = manager(secret_value("first")).await;
    assert_eq!(now_text(&store, START).await, "first");
    let denied = json!({"__type": "AccessDeniedException", "Message": "not authorized"});
    server.answers(Answer::json(400, denied.to_string()));
    for n in 1..=1000 {
        assert_eq!(now_text(&store, after(n * 60)).await, "first");
        assert!(store.after_failure(after(n * 60)).await.is_none());
    }
    assert_eq!(server.got().len(), 1 + 2);
}

#[tokio::test]
async fn a_secret_that_secrets_manager_never_gave_is_an_error_that_names_the_call() {
    let denied = json!({"__type": "AccessDeniedException", "Message": "User is not authorized"});
    let (server, store) = manager(Answer::json(400, denied.to_string())).await;
    let error = store.current(START).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Secrets Manager GetSecretValue: AccessDeniedException: User is not authorized"
    );
    assert!(store.after_failure(START).await.is_none());

    // A page of something in between, a binary secret, and a document of another shape.
    let page = Answer::With { status: 502, headers: Vec::new(), body: format!("<html>\n{MARKER}</html>") };
    let binary = Answer::json(200, json!({"Name": "hookgate", "SecretBinary": "aHVudGVyMg=="}).to_string());
    let shape = Answer::json(200, json!({"SecretString": format!("\"{MARKER}\"")}).to_string());
    let mut at = START;
    for answer in [page, binary, shape, Answer::json(200, MARKER.into())] {
        server.answers(answer.clone());
        at = at.plus_millis(2_000);
        let error = store.current(at).await.expect_err(&format!("{answer:?}"));
        let text = format!("{error} {error:?}");
        assert!(!error.to_string().contains('\n'), "{text}");
        assert!(!text.contains(MARKER) && !text.contains("aHVudGVyMg"), "{text}");
    }
    server.answers(secret_value("first"));
    assert_eq!(now_text(&store, at.plus_millis(2_000)).await, "first");
}

#[tokio::test]
async fn secrets_manager_is_asked_again_when_that_may_help() {
    let code =
        |status: u16, code: &str| Answer::json(status, json!({"__type": code, "Message": "m"}).to_string());
    for (answer, tries) in [
        (code(500, "InternalServiceError"), 3),
        (code(400, "ThrottlingException"), 3),
        (code(503, "ServiceUnavailable"), 3),
        (Answer::status(502), 3),
        (code(400, "com.amazonaws.secretsmanager#ThrottlingException:http://internal/"), 3),
        (Answer::header(400, "x-amzn-errortype", "ThrottlingException:"), 3),
        (code(400, "ResourceNotFoundException"), 1),
        (code(400, "DecryptionFailure"), 1),
        (Answer::status(403), 1),
        (Answer::status(200), 1),
    ] {
        let (server, store) = manager(answer.clone()).await;
        let error = store.current(START).await.expect_err(&format!("{answer:?}")).to_string();
        assert_eq!(server.got().len(), tries, "{answer:?}: {error}");
        assert!(error.starts_with("Secrets Manager GetSecretValue: "), "{error}");
    }
}

#[tokio::test]
async fn secrets_manager_is_not_waited_for_without_end() {
    for answer in [Answer::Never, Answer::Half] {
        let began = std::time::Instant::now();
        let (server, store) = manager_with(IMPATIENT, answer).await;
        let error = store.current(START).await.unwrap_err();
        assert_eq!(error.to_string(), "Secrets Manager GetSecretValue: no answer in time");
        assert!(began.elapsed() < IMPATIENT.operation + SLACK, "{:?}", began.elapsed());
        // The next one to ask gets an answer.
        server.answers(secret_value("first"));
        assert_eq!(now_text(&store, after(2_000)).await, "first");
    }
    let clients = clients("http://127.0.0.1:1".into(), "http://127.0.0.1:1".into(), IMPATIENT);
    let store = SecretStore::new(&SecretsFrom::Manager("hookgate".into()), &clients.secrets_manager);
    let error = store.current(START).await.unwrap_err().to_string();
    assert_eq!(error, "Secrets Manager GetSecretValue: could not be reached");
}

#[tokio::test]
async fn without_an_endpoint_secrets_manager_is_where_the_region_has_it() {
    for (region, endpoint) in [
        ("eu-west-1", "https://secretsmanager.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://secretsmanager.cn-north-1.amazonaws.com.cn"),
    ] {
        let lookup = |name: &str| match name {
            "AWS_REGION" => Some(region.to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("a".to_owned()),
            _ => None,
        };
        let clients = Clients::from_env(lookup, PATIENT).unwrap();
        assert_eq!(clients.secrets_manager.endpoint(), endpoint);
    }
}
