//! The catalogue as a sender meets it: deliveries, handshakes and bodies of every kind, over HTTP.

use std::fmt::Write;

use hookgate::samples::made_up;
use hookgate_core::{
    catalogue::{self, Proof},
    lifecycle::Status,
    request::Request,
    secret::{Secret, Secrets},
    sign::{sign, test_secret},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, World, header_map, name};

#[tokio::test(flavor = "multi_thread")]
async fn flow_every_provider_of_the_catalogue_is_accepted_and_its_forgery_refused() {
    let (mut config, mut secrets, mut providers) = (String::new(), json!({}), 0);
    for provider in catalogue::all() {
        if provider.proof == Proof::Own {
            continue;
        }
        providers += 1;
        writeln!(config, "[sources.{0}]\nprovider = \"{0}\"", provider.slug).unwrap();
        let verifier = provider.verifier().unwrap().unwrap();
        let secret = test_secret(&verifier, &[3; 32]).unwrap();
        secrets[&provider.slug] = serde_json::to_value(secret).unwrap();
    }
    assert!(providers >= 400, "{providers}");
    let world = World::with(&config, &secrets.to_string()).await;
    let secrets = Secrets::from_json(&secrets.to_string()).unwrap();
    let config = &world.stack.worker.config;
    for (n, source) in config.sources.values().enumerate() {
        let slug = &source.provider.slug;
        let secret = secrets.newest(&source.secret).unwrap();
        let make = |secret: &Secret| {
            let random = [0x1234_5678_9abc_def0, u64::try_from(n).unwrap()];
            made_up(config, source, Some(secret), &world.stack.url, world.now(), random, "test.event")
                .unwrap()
        };
        let genuine = world.send(&make(secret)).await;
        assert!((200..300).contains(&genuine.status), "{slug}: {genuine:?}");
        let forged = test_secret(&source.verifier, &[4; 32]).unwrap().unwrap();
        let forged = world.send(&make(&forged)).await;
        // Where the sender publishes its key, the forger's is not there.
        let own = source.provider.refused.unwrap_or(401);
        let refused = if source.verifier.needs_secret() { own } else { 503 };
        assert!(forged.status == own || forged.status == refused, "{slug}: {forged:?}");
    }
    world.quiet().await;
    // One event each, and nothing of the forgeries.
    assert_eq!(world.items("E#").await, providers);
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_a_provider_encrypts_is_opened_once_and_is_the_event_from_then_on() {
    let secrets = json!({
        "lark": [{"secret": "new key", "verification_token": "token"}, {"secret": "encrypt key", "verification_token": "token"}],
        "debits": "key",
    });
    let config = "[sources.lark]\nprovider = \"lark\"\n[sources.debits]\nprovider = \"gocardless\"\n\
                  [[routes]]\nsource = \"lark\"\nfilter = \"event.header.tenant == 'x'\"\nactions = [\"seen\"]\n\
                  [actions.seen]\nkind = \"count\"\n";
    let world = World::with(config, &secrets.to_string()).await;
    let source = &world.stack.worker.config.sources[&name("lark")];
    let inside = json!({"schema": "2.0", "header": {"event_id": "ev-1", "event_type": "im.message.receive_v1", "tenant": "x"}});
    let mut request = Request::post("/webhooks/lark", inside.to_string(), world.now());
    request.set_header("content-type", "application/json");
    request.set_header("x-lark-request-nonce", "nonce1");
    sign(&source.verifier, &request.clone(), &Secret::from("encrypt key"), world.now(), "")
        .unwrap()
        .apply(&mut request);
    assert!(!String::from_utf8_lossy(&request.body).contains("ev-1"), "it is encrypted");
    for _ in 0..2 {
        let answer = world.request(Method::POST, "/webhooks/lark", &request.headers, &request.body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    world.wait_for("lark", "ev-1", Status::Done).await;
    world.quiet().await;
    let event = world.stored("lark", "ev-1").await.unwrap();
    assert_eq!(
        (event.event_type.as_str(), event.request.body),
        ("im.message.receive_v1", inside.to_string().into_bytes())
    );
    // Once, though its encrypted bytes came twice.
    assert_eq!(world.counts("events").await.values().sum::<u64>(), 1);

    // The handshake comes encrypted and unsigned. Without the token nothing of what is inside is told.
    for (token, status) in [("token", 200), ("another", 401)] {
        let asked = json!({"challenge": "abc", "token": token, "type": "url_verification"}).to_string();
        let mut sealed = Request::post("/webhooks/lark", asked, world.now());
        sealed.set_header("content-type", "application/json");
        sealed.set_header("x-lark-request-nonce", "nonce1");
        sign(&source.verifier, &sealed.clone(), &Secret::from("encrypt key"), world.now(), "")
            .unwrap()
            .apply(&mut sealed);
        let answer =
            world.post("/webhooks/lark", &[("content-type", "application/json")], &sealed.body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.text().contains("abc"), status == 200, "{answer:?}");
    }
    // A sender with a status of its own for what it did not sign.
    let refused = world.post("/webhooks/debits", &[("webhook-signature", "00")], b"{}").await;
    assert_eq!((refused.status, refused.json()["status"].as_u64()), (498, Some(498)), "{refused:?}");
}

const SECRETS: &str = r#"{
    "meta": {"secret": "app", "verify_token": "known"}, "x": "consumer", "okta": "token", "asana": "s3cret",
    "graph": "state", "zoom": "zoom", "dropbox": "app", "monday": "signing", "trello": "t", "sns": "arn:aws:sns:us-east-1:1:t",
    "keap": "token", "grid": "token", "bitbucket": "s3cret", "drains": {"secret": "s3cret", "verify": "b1946ac92492d2347c62"}
}"#;

const SOURCES: &str = r#"
[sources.meta]
provider = "meta"
[sources.x]
provider = "x"
[sources.okta]
provider = "okta"
[sources.asana]
provider = "asana"
[sources.graph]
provider = "microsoft-graph"
[sources.zoom]
provider = "zoom"
[sources.dropbox]
provider = "dropbox"
[sources.monday]
provider = "monday"
[sources.trello]
provider = "trello"
[sources.sns]
provider = "aws-sns"
[sources.keap]
provider = "keap"
[sources.grid]
provider = "azure-event-grid"
[sources.bitbucket]
provider = "bitbucket-server"
[sources.drains]
provider = "vercel-drains"
"#;

async fn ask(world: &World, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    world.request(method, &format!("/webhooks/{path}"), &header_map(headers), body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_handshakes_are_answered_and_are_no_events() {
    let world = World::with(SOURCES, SECRETS).await;
    let get = async |path: &str, headers: &[(&str, &str)]| ask(&world, Method::GET, path, headers, "").await;
    let meta = get("meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=known", &[]).await;
    assert_eq!(
        (meta.status, meta.text(), meta.header("content-type")),
        (200, "1158201444", Some("text/plain"))
    );
    assert_eq!(meta.header("x-content-type-options"), Some("nosniff"));
    let stranger = get("meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess", &[]).await;
    assert_eq!((stranger.status, stranger.text()), (403, ""));
    let x = get("x?crc_token=abc123", &[]).await;
    // printf abc123 | openssl dgst -sha256 -hmac consumer -binary | base64
    assert_eq!(x.json(), json!({"response_token": "sha256=ruR5sG9J622IxaeS9DaDkgf2W4Xk70cMBt21f+1rJ3o="}));
    let oracle = get("x?crc_token=%7B%22for_user_id%22%3A1%7D", &[]).await;
    assert_eq!(oracle.status, 401);
    let okta = get("okta", &[("x-okta-verification-challenge", "v")]).await;
    assert_eq!(okta.json(), json!({"verification": "v"}));
    let dropbox = get("dropbox?challenge=c", &[]).await;
    assert_eq!(dropbox.text(), "c");
    assert_eq!(ask(&world, Method::HEAD, "trello", &[], "").await.status, 200);

    let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
        ask(&world, Method::POST, path, headers, body).await
    };
    let json_type = ("content-type", "application/json");
    let asana =
        post("asana", &[json_type, ("x-hook-secret", "b537207f20cbfa02357cf448134da559")], "{}").await;
    assert_eq!(
        (asana.status, asana.header("x-hook-secret")),
        (200, Some("b537207f20cbfa02357cf448134da559"))
    );
    let keap = post("keap", &[json_type, ("x-hook-secret", "0a1b2c3d")], "{}").await;
    assert_eq!((keap.status, keap.header("x-hook-secret")), (200, Some("0a1b2c3d")));
    let ping = [json_type, ("x-event-key", "diagnostics:ping")];
    assert_eq!(post("bitbucket", &ping, r#"{"test": true}"#).await.status, 200);
    assert_eq!(
        post("bitbucket", &ping, r#"{"actor": {}}"#).await.status,
        401,
        "an event that says it is a ping"
    );
    let code = Some("b1946ac92492d2347c62");
    let drains = get("drains", &[("x-vercel-verify", "a stranger's")]).await;
    assert_eq!((drains.status, drains.header("x-vercel-verify")), (200, code));
    assert_eq!(post("drains", &[json_type], "{}").await.header("x-vercel-verify"), code);
    assert_eq!(post("drains", &[json_type], r#"[{"id": "1"}]"#).await.status, 401);
    let origin = [("webhook-request-origin", "eventgrid.azure.net")];
    let grid = ask(&world, Method::OPTIONS, "grid", &origin, "").await;
    assert_eq!((grid.status, grid.header("webhook-allowed-origin")), (200, Some("eventgrid.azure.net")));
    let graph = post("graph?validationToken=Validation%3A%20Testing", &[], "").await;
    assert_eq!((graph.status, graph.text()), (200, "Validation: Testing"));
    let monday = post(
        "monday",
        &[json_type],
        r#"{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#,
    )
    .await;
    assert_eq!(monday.json()["challenge"], "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    let zoom =
        post("zoom", &[json_type], r#"{"event": "endpoint.url_validation", "payload": {"plainToken": "t"}}"#)
            .await;
    assert_eq!(zoom.status, 401, "an unsigned validation is a stranger's");
    let elsewhere = post("sns", &[], r#"{"Type": "SubscriptionConfirmation", "Signature": "AAAA", "SigningCertURL": "https://evil.example/x.pem"}"#).await;
    assert_eq!(elsewhere.status, 401);

    for (method, path) in
        [(Method::GET, "asana"), (Method::GET, "meta"), (Method::PUT, "x"), (Method::HEAD, "x")]
    {
        assert_eq!(ask(&world, method, path, &[], "").await.status, 405, "{path}");
    }
    world.quiet().await;
    assert_eq!(world.items("").await, 0);
}

const FORMATS: &str = r#"
[sources.soap]
provider = "generic"
verify = "none"
event = { id = "json:/order/@id", type = "json:/order/state" }
[sources.upload]
provider = "generic"
verify = "none"
event = { id = "form:id", type = "form:kind" }
[[routes]]
source = "soap"
filter = "event.order.item|length == 2"
actions = ["keep"]
[[routes]]
source = "upload"
actions = ["files"]
[actions.keep]
kind = "record"
collection = "orders"
key = "json:/order/@id"
fields = { state = "json:/order/state" }
[actions.files]
kind = "record"
collection = "files"
key = "form:id"
fields = { name = "json:/file/filename", bytes = "json:/file/bytes" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn flow_xml_and_multipart_are_seen_by_rules_and_actions() {
    let world = World::with(FORMATS, "{}").await;
    let xml = r#"<order id="o1"><state>paid</state><item>a</item><item>b</item></order>"#;
    let answer = ask(&world, Method::POST, "soap", &[("content-type", "application/xml")], xml).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.wait_for("soap", "o1", Status::Done).await;
    assert_eq!(world.record("orders", "o1").await.unwrap()["state"], "paid");
    assert_eq!(world.stored("soap", "o1").await.unwrap().request.body, xml.as_bytes());

    let parts = "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\nf1\r\n--b\r\nContent-Disposition: form-data; name=\"kind\"\r\n\r\nscan\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    assert_eq!(ask(&world, Method::POST, "upload", &headers, parts).await.status, 200);
    world.wait_for("upload", "f1", Status::Done).await;
    let file = world.record("files", "f1").await.unwrap();
    assert_eq!((&file["name"], &file["bytes"]), (&Value::from("a.txt"), &Value::from(5)));

    for (kind, body) in [("application/xml", "<order>"), ("multipart/form-data; boundary=b", "--b\r\nx")] {
        let path = if kind.contains("xml") { "soap" } else { "upload" };
        assert_eq!(
            ask(&world, Method::POST, path, &[("content-type", kind)], body).await.status,
            400,
            "{kind}"
        );
    }
    assert!(world.stack.worker.config.sources.contains_key(&name("soap")));
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_deliveries_that_may_be_the_same_to_the_last_byte_are_events_of_their_own() {
    let config = "[sources.dropbox]\nprovider = \"dropbox\"\nverify = \"none\"\n";
    let world = World::with(config, "{}").await;
    let body = r#"{"list_folder": {"accounts": ["dbid:1"]}}"#;
    for _ in 0..2 {
        let answer =
            ask(&world, Method::POST, "dropbox", &[("content-type", "application/json")], body).await;
        assert_eq!(answer.json()["status"], "accepted", "{answer:?}");
        world.advance(1);
    }
}
