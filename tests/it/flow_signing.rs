//! Signing for tests is for the local program: a deployed function believes nothing of it, and carries none of it.

use std::{process::Command, sync::Arc};

use data_encoding::BASE64;
use hookgate::samples::made_up;
use hookgate_aws::sender_keys::SenderKeys;
use hookgate_core::{config::Config, secret::Secret, sign::test_secret, time::EpochMillis};
use serde_json::{Value, json};

use crate::backend::Backend;

/// When the request of these tests was received.
const NOW: EpochMillis = EpochMillis::from_seconds(1_780_000_000);

const APPLE: &str = "[sources.apple]\nprovider = \"apple-app-store\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_deployed_function_believes_no_certificate_of_the_local_program() {
    let config = Config::parse(APPLE).unwrap();
    let source = config.sources.values().next().unwrap();
    let local = test_secret(&source.verifier, &[5; 32]).unwrap().unwrap();
    let ready =
        made_up(&config, source, Some(&local), "https://hooks.example.com", NOW, [1, 2], "TEST").unwrap();
    let headers: serde_json::Map<String, Value> = ready
        .request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let event = json!({
        "version": "2.0", "rawPath": ready.path, "headers": headers, "isBase64Encoded": true,
        "requestContext": {"http": {"method": "POST"}, "timeEpoch": NOW.as_millis()},
        "body": BASE64.encode(&ready.request.body),
    });
    let Secret::Named(own) = &local else { panic!("no values") };
    // The root that is printed with the published delivery, which is not of the local program's making.
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let published = vectors.iter().find(|vector| vector["id"] == "apple-app-store-published").unwrap();
    let root = published["secrets"]["root_ca_der_base64"].as_str().unwrap();
    let (mut beside, mut alone) = (own.clone(), own.clone());
    beside.insert("root_ca_der_base64".to_owned(), root.to_owned());
    alone.insert("root_ca_der_base64".to_owned(), root.to_owned());
    alone.retain(|name, _| ["root_ca_der_base64", "bundle_id"].contains(&name.as_str()));
    let backend = Backend::start().await;
    let send = async |secret: &Value, keys: SenderKeys| {
        let mut ingest = backend.ingest(Config::parse(APPLE).unwrap(), &json!({ "apple": [secret] }));
        ingest.keys = Arc::new(keys);
        let answer = ingest.handle(&event.to_string(), None).await.unwrap();
        serde_json::to_value(answer).unwrap()["statusCode"].as_u64().unwrap()
    };
    // As it is deployed: Apple's root alone, or with what a local secret has beside it.
    for secret in [json!(alone), json!(beside)] {
        assert_eq!(send(&secret, SenderKeys::default()).await, 401);
        // Nor is there a way around the root in the local stack.
        assert_eq!(send(&secret, SenderKeys::for_tests()).await, 401);
    }
    assert!(backend.waiting().is_empty());
    // It is genuine to whoever was given its root.
    assert_eq!(send(&json!(own), SenderKeys::for_tests()).await, 200);
}

#[test]
fn flow_the_functions_carry_nothing_that_only_a_sender_needs() {
    let tree = |packages: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        cargo.args(["tree", "--quiet", "--offline", "--locked", "--edges", "normal", "--prefix", "none"]);
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |tree: &str, name: &str| tree.lines().any(|line| line.starts_with(&format!("{name} v")));
    let (functions, program) = (tree(&["ingest", "worker"]), tree(&["hookgate"]));
    assert!(has(&functions, "hookgate_verify"), "{functions}");
    for name in ["num-bigint", "p256", "rcgen"] {
        assert!(has(&program, name) && !has(&functions, name), "{name}\n{functions}");
    }
}
