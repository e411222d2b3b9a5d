//! Every file of `events/`: the samples, and what is made from them.
//!
//! A sample is a request. Beside it stand `NAME.ingest.json`, the event that API Gateway makes of it,
//! `NAME.worker.json`, the batch of the queue that ingest's message comes in, and for some `NAME.ingest-v1.json`
//! (REST API) and `NAME.ingest-url.json` (Function URL). They are made here;
//! `UPDATE_EVENTS=1 cargo test -p hookgate_tests --test it samples` writes them anew.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use axum::http::StatusCode;
use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use hookgate::samples::{Sample, parse, sample_name};
use hookgate_aws::EMBEDDED_CONFIG;
use hookgate_core::{
    Fetched,
    config::Config,
    event::Event,
    gate::{Admission, admit},
    ids::{EventId, Name},
    lifecycle::{AttemptOutcome, Status},
    outcome::{Answer, Refusal},
    request::Request,
    scheme::KeyEncoding,
    secret::{Secret, Secrets},
    source::Source,
    time::EpochMillis,
    verify::SecretShape,
};
use md5::Md5;
use reqwest::Url;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::backend::{Backend, Destination, ROOT, config, sample_secrets};

/// Samples that are also shown as a REST API would hand them over: with a query, and with a signature over the URL.
const WITH_REST: [(&str, &str); 2] = [("hang", "user.updated"), ("twilio", "message_delivered")];

/// Samples that are also shown as a Function URL would hand them over.
const WITH_FUNCTION_URL: [(&str, &str); 2] = [("payments", "payment.succeeded"), ("raw", "image")];

/// The sample that is no event.
const HANDSHAKE: (&str, &str) = ("slack", "url_verification");

fn is(sample: &Sample, (source, name): (&str, &str)) -> bool {
    sample.source == source && sample.name == name
}

fn events() -> PathBuf {
    Path::new(ROOT).join("events")
}

/// Every sample, by the files that are there now.
pub(crate) fn samples() -> Vec<Sample> {
    let mut files: Vec<PathBuf> = folders().iter().flat_map(|folder| list(folder)).collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = sample_name(path)?;
        let text = fs::read_to_string(path).unwrap();
        Some(parse(&name, &text).unwrap_or_else(|e| panic!("{}: {e:#}", path.display())))
    };
    files.iter().filter_map(read).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn folders() -> Vec<PathBuf> {
    list(&events()).into_iter().filter(|path| path.is_dir()).collect()
}

/// The text of a file that was made from a sample.
pub(crate) fn derived(sample: &Sample, end: &str) -> Option<String> {
    fs::read_to_string(path(sample, end)).ok()
}

fn path(sample: &Sample, end: &str) -> PathBuf {
    events().join(&sample.source).join(format!("{}.{end}.json", sample.name))
}

fn source<'c>(config: &'c Config, sample: &Sample) -> &'c Source {
    &config.sources[&Name::parse(&sample.source).unwrap()]
}

fn label(sample: &Sample) -> String {
    format!("{}/{}", sample.source, sample.name)
}

fn secrets(source: &Source, values: &[String]) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.insert(&source.secret, values.iter().map(|value| Secret::from(value.as_str())).collect());
    secrets
}

/// A secret that the sample was not signed with.
fn other_secret(source: &Source) -> String {
    let key = BASE64.encode(b"another secret altogether");
    let whsec = source.verifier.secret_shape() == SecretShape::Text(KeyEncoding::Whsec);
    if whsec { format!("whsec_{key}") } else { key }
}

enum Admitted {
    Event(Box<Event>),
    Answer(Answer),
}

fn admitted(source: &Source, secrets: &Secrets, request: &Request, what: &str) -> Admitted {
    match admit(source, source.mode, secrets, &Fetched::default(), request, request.received_at) {
        Admission::Event(event) => Admitted::Event(event),
        Admission::Answer(answer) => Admitted::Answer(answer),
        Admission::Visit { url } => panic!("{what} asks for a visit to {url}"),
        Admission::Quarantine { reason } => panic!("{what} is set apart: {reason}"),
        Admission::Refused(reason) => panic!("{what} is refused: {reason}"),
    }
}

/// The event that a recorded sample is.
pub(crate) fn recorded(config: &Config, sample: &Sample) -> Option<Event> {
    let source = source(config, sample);
    let secrets = secrets(source, &sample.secrets);
    match admitted(source, &secrets, &sample.request().unwrap(), &label(sample)) {
        Admitted::Event(event) => Some(*event),
        Admitted::Answer(_) => None,
    }
}

// The files that are made from samples.

/// API Gateway's id of an account, the same in every file.
const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";
const SENDER_ADDRESS: &str = "203.0.113.7";

/// What would be random, from a hash.
fn digest(sample: &Sample, what: &str) -> [u8; 32] {
    Sha256::digest(format!("{}/{what}", label(sample))).into()
}

fn uuid(sample: &Sample, what: &str) -> String {
    let hex = HEXLOWER.encode(&digest(sample, what));
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// `28/May/2026:20:26:40 +0000`
fn request_time(now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let iso = EpochMillis::from_seconds(now).to_string();
    let month: usize = iso[5..7].parse().unwrap();
    format!("{}/{}/{}:{} +0000", &iso[8..10], MONTHS[month - 1], &iso[..4], &iso[11..19])
}

/// An HTTP API and a Function URL hand these over as they are, and everything else in base64, forms too.
fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&media_type)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpApiEvent {
    version: &'static str,
    route_key: String,
    raw_path: String,
    raw_query_string: String,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: HttpApiContext,
    body: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    path_parameters: BTreeMap<&'static str, String>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpApiContext {
    account_id: &'static str,
    api_id: String,
    domain_name: String,
    domain_prefix: String,
    http: HttpApiRequest,
    request_id: String,
    route_key: String,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpApiRequest {
    method: String,
    path: String,
    protocol: &'static str,
    source_ip: &'static str,
    user_agent: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestApiEvent {
    resource: &'static str,
    path: String,
    http_method: String,
    headers: BTreeMap<String, String>,
    multi_value_headers: BTreeMap<String, [String; 1]>,
    query_string_parameters: Option<BTreeMap<String, String>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, [String; 1]>>,
    path_parameters: BTreeMap<&'static str, String>,
    stage_variables: Option<()>,
    request_context: RestApiContext,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestApiContext {
    resource_id: &'static str,
    resource_path: &'static str,
    http_method: String,
    extended_request_id: String,
    request_time: String,
    path: String,
    account_id: &'static str,
    protocol: &'static str,
    stage: &'static str,
    domain_prefix: String,
    request_time_epoch: i64,
    request_id: String,
    identity: RestApiIdentity,
    domain_name: String,
    api_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestApiIdentity {
    source_ip: &'static str,
    user_agent: String,
}

#[derive(Serialize)]
struct SqsBatch {
    #[serde(rename = "Records")]
    records: [SqsRecord; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: SqsAttributes,
    message_attributes: BTreeMap<String, String>,
    #[serde(rename = "md5OfBody")]
    md5_of_body: String,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
    aws_region: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SqsAttributes {
    approximate_receive_count: &'static str,
    sent_timestamp: String,
    sender_id: String,
    approximate_first_receive_timestamp: String,
    message_group_id: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gateway {
    HttpApi,
    FunctionUrl,
}

/// The sample's parts that every kind of gateway needs.
struct Parts {
    url: Url,
    host: String,
    parameters: BTreeMap<&'static str, String>,
    query: BTreeMap<String, String>,
    user_agent: String,
    /// With the names as they were sent.
    headers: BTreeMap<String, String>,
}

fn parts(sample: &Sample) -> Parts {
    let url = Url::parse(&sample.url).unwrap();
    let mut segments = url.path_segments().unwrap().skip(1).map(str::to_owned);
    let parameters = ["source", "type"].into_iter().zip(&mut segments).collect();
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let host = url.host_str().unwrap().to_owned();
    let user_agent = sample.headers.get("User-Agent").cloned().unwrap_or_default();
    let mut headers = sample.headers.clone();
    let trace = HEXLOWER.encode(&digest(sample, "trace"));
    headers.extend(
        [
            ("Content-Length", sample.body().unwrap().len().to_string()),
            ("X-Amzn-Trace-Id", format!("Root=1-{:08x}-{}", sample.now, &trace[..24])),
            ("X-Forwarded-For", SENDER_ADDRESS.to_owned()),
            ("X-Forwarded-Port", "443".to_owned()),
            ("X-Forwarded-Proto", "https".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Parts { host, parameters, query, user_agent, headers, url }
}

/// Payload 2.0.
fn http_api(sample: &Sample, gateway: Gateway) -> HttpApiEvent {
    let Parts { url, host, parameters, query, user_agent, headers } = parts(sample);
    let hash = digest(sample, "request");
    let (host, route_key, account_id, request_id) = match gateway {
        Gateway::HttpApi => {
            let route = if parameters.contains_key("type") {
                "ANY /webhooks/{source}/{type}"
            } else {
                "ANY /webhooks/{source}"
            };
            (host, route, ACCOUNT, format!("{}=", &BASE64URL.encode(&hash)[..15]))
        }
        Gateway::FunctionUrl => {
            let host = format!("h00kgate0example0function0url0a1.lambda-url.{REGION}.on.aws");
            (host, "$default", "anonymous", uuid(sample, "request"))
        }
    };
    let mut headers: BTreeMap<String, String> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    headers.insert("host".into(), host.clone());
    let media_type = sample.request().unwrap().media_type();
    let body = sample.body().unwrap();
    let text = String::from_utf8(body.clone()).ok().filter(|_| is_text(&media_type));
    let prefix = host.split('.').next().unwrap().to_owned();
    let api_id = if gateway == Gateway::HttpApi { "h00kgate01".to_owned() } else { prefix.clone() };
    HttpApiEvent {
        version: "2.0",
        route_key: route_key.to_owned(),
        raw_path: url.path().to_owned(),
        raw_query_string: url.query().unwrap_or_default().to_owned(),
        headers,
        query_string_parameters: query,
        request_context: HttpApiContext {
            account_id,
            api_id,
            domain_name: host,
            domain_prefix: prefix,
            http: HttpApiRequest {
                method: sample.method.clone(),
                path: url.path().to_owned(),
                protocol: "HTTP/1.1",
                source_ip: SENDER_ADDRESS,
                user_agent,
            },
            request_id,
            route_key: route_key.to_owned(),
            stage: "$default",
            time: request_time(sample.now),
            time_epoch: sample.now * 1000,
        },
        path_parameters: if gateway == Gateway::HttpApi { parameters } else { BTreeMap::new() },
        is_base64_encoded: text.is_none(),
        body: text.unwrap_or_else(|| BASE64.encode(&body)),
    }
}

/// Payload 1.0. A REST API keeps the case of header names, and hands every body over as text unless told otherwise.
fn rest_api(sample: &Sample) -> RestApiEvent {
    let Parts { url, host, parameters, query, user_agent, mut headers } = parts(sample);
    headers.insert("Host".into(), host.clone());
    let many = |one: &BTreeMap<String, String>| -> BTreeMap<String, [String; 1]> {
        one.iter().map(|(name, value)| (name.clone(), [value.clone()])).collect()
    };
    let query = (!query.is_empty()).then_some(query);
    let extended = BASE64URL.encode(&digest(sample, "request"));
    RestApiEvent {
        resource: "/webhooks/{source}",
        path: url.path().to_owned(),
        http_method: sample.method.clone(),
        multi_value_headers: many(&headers),
        headers,
        multi_value_query_string_parameters: query.as_ref().map(many),
        query_string_parameters: query,
        path_parameters: parameters,
        stage_variables: None,
        request_context: RestApiContext {
            resource_id: "h00kg8",
            resource_path: "/webhooks/{source}",
            http_method: sample.method.clone(),
            extended_request_id: format!("{}=", &extended[..15]),
            request_time: request_time(sample.now),
            // Behind a domain of one's own it has no stage in it.
            path: url.path().to_owned(),
            account_id: ACCOUNT,
            protocol: "HTTP/1.1",
            stage: "prod",
            domain_prefix: host.split('.').next().unwrap().to_owned(),
            request_time_epoch: sample.now * 1000,
            request_id: uuid(sample, "rest"),
            identity: RestApiIdentity { source_ip: SENDER_ADDRESS, user_agent },
            domain_name: host,
            api_id: "h00kgate02",
        },
        body: sample.body.clone(),
        is_base64_encoded: false,
    }
}

/// The batch that brings a message of ingest to the worker.
fn batch(sample: &Sample, message: &str) -> SqsBatch {
    let handle = [digest(sample, "handle"), digest(sample, "handle 2")].concat();
    let sent = sample.now * 1000 + 41;
    SqsBatch {
        records: [SqsRecord {
            message_id: uuid(sample, "message"),
            receipt_handle: format!("AQEB{}", BASE64.encode(&handle)),
            body: message.to_owned(),
            attributes: SqsAttributes {
                approximate_receive_count: "1",
                sent_timestamp: sent.to_string(),
                sender_id: "AROAEXAMPLEHOOKGATE01:hookgate-ingest".to_owned(),
                approximate_first_receive_timestamp: (sent + 9).to_string(),
                message_group_id: sample.source.clone(),
            },
            message_attributes: BTreeMap::new(),
            md5_of_body: HEXLOWER.encode(&Md5::digest(message)),
            event_source: "aws:sqs",
            event_source_arn: format!("arn:aws:sqs:{REGION}:{ACCOUNT}:hookgate-events"),
            aws_region: REGION,
        }],
    }
}

fn pretty(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Everything that is made from the samples, by path. What ingest sends is what ingest itself sends.
async fn made(samples: &[Sample]) -> BTreeMap<PathBuf, String> {
    let backend = Backend::start().await;
    let ingest = backend.ingest(config(), &sample_secrets(None));
    let mut files = BTreeMap::new();
    for sample in samples {
        let event = pretty(&http_api(sample, Gateway::HttpApi));
        ingest.handle(&event, None).await.unwrap();
        files.insert(path(sample, "ingest"), event);
        let sent = backend.take_all().await;
        if is(sample, HANDSHAKE) {
            assert!(sent.is_empty(), "a handshake is no event");
        } else {
            assert_eq!(sent.len(), 1, "{} is one message", label(sample));
            files.insert(path(sample, "worker"), pretty(&batch(sample, &sent[0].body)));
        }
        if WITH_REST.iter().any(|which| is(sample, *which)) {
            files.insert(path(sample, "ingest-v1"), pretty(&rest_api(sample)));
        }
        if WITH_FUNCTION_URL.iter().any(|which| is(sample, *which)) {
            files.insert(path(sample, "ingest-url"), pretty(&http_api(sample, Gateway::FunctionUrl)));
        }
    }
    files
}

#[tokio::test]
async fn the_files_beside_the_samples_are_made_from_them() {
    let update = std::env::var_os("UPDATE_EVENTS").is_some();
    let made = made(&samples()).await;
    let mut wrong = Vec::new();
    for (path, text) in &made {
        if update {
            fs::write(path, text).unwrap();
        } else if fs::read_to_string(path).ok().as_deref() != Some(text) {
            wrong.push(path.file_name().unwrap().to_string_lossy());
        }
    }
    assert!(
        wrong.is_empty(),
        "not as they should be: {wrong:?}; `UPDATE_EVENTS=1 cargo test -p hookgate_tests --test it samples` writes them"
    );
    let there: BTreeSet<PathBuf> =
        folders().iter().flat_map(|folder| list(folder)).filter(|path| sample_name(path).is_none()).collect();
    let made: BTreeSet<PathBuf> = made.into_keys().collect();
    assert_eq!(there, made, "made from no sample");
}

#[test]
fn every_file_is_known() {
    for path in list(&events()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(path.is_dir() || name == "secrets.json", "events/{name}");
    }
    for path in folders().iter().flat_map(|folder| list(folder)) {
        assert!(path.is_file() && path.extension().is_some_and(|end| end == "json"), "{}", path.display());
    }
}

#[test]
fn every_source_has_a_sample_and_every_folder_is_a_source() {
    let config = config();
    let sources: BTreeSet<String> = config.sources.keys().map(ToString::to_string).collect();
    let folders: BTreeSet<String> =
        folders().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(folders, sources);
    let with_sample: BTreeSet<String> = samples().into_iter().map(|sample| sample.source).collect();
    assert_eq!(with_sample, sources);
}

#[test]
fn the_configuration_that_is_built_in_is_the_one_that_is_shipped() {
    assert_eq!(fs::read_to_string(Path::new(ROOT).join("hookgate.toml")).unwrap(), EMBEDDED_CONFIG);
}

#[test]
fn the_samples_that_are_built_in_are_the_ones_that_are_there() {
    let built_in: BTreeSet<String> = hookgate::samples::all().unwrap().iter().map(label).collect();
    assert_eq!(built_in, samples().iter().map(label).collect());
}

#[test]
fn the_secrets_file_has_the_samples_secrets_and_all_that_the_configuration_wants() {
    let all = Secrets::from_json(&sample_secrets(None).to_string()).unwrap();
    let config = config();
    for sample in samples() {
        let there: Vec<&str> =
            all.active(&source(&config, &sample).secret).iter().map(|secret| secret.expose()).collect();
        for secret in &sample.secrets {
            assert!(there.contains(&secret.as_str()), "{}", label(&sample));
        }
    }
    for (name, wanted_by) in config.secret_names() {
        assert!(all.newest(&name).is_some(), "{wanted_by} wants {name}");
    }
}

#[test]
fn every_sample_has_the_shape() {
    let fields = BTreeSet::from([
        "title",
        "source",
        "type",
        "id",
        "origin",
        "now",
        "secrets",
        "method",
        "url",
        "headers",
        "body",
        "body_encoding",
    ]);
    for sample in samples() {
        let what = label(&sample);
        let file = events().join(&sample.source).join(format!("{}.json", sample.name));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{what} is not in its folder: {e}"));
        let document: Value = serde_json::from_str(&text).unwrap();
        for field in document.as_object().unwrap().keys() {
            assert!(fields.contains(field.as_str()), "{what}: {field}");
        }
        assert!(text.ends_with("}\n"), "{what}");
        for text in [&sample.title, &sample.event_type, &sample.origin] {
            assert!(!text.trim().is_empty(), "{what}");
        }
        assert_eq!(sample.method, "POST", "{what}");
        assert!(
            !sample.secrets.is_empty() && sample.secrets.iter().all(|secret| secret.len() >= 8),
            "{what}"
        );
        let url = format!("https://hooks.example.com/webhooks/{}", sample.source);
        let rest = sample.url.strip_prefix(&url).unwrap_or_else(|| panic!("{what}: {}", sample.url));
        assert!(rest.is_empty() || rest.starts_with(['/', '?']), "{what}: {}", sample.url);
        let binary = std::str::from_utf8(&sample.body().unwrap()).is_err();
        assert_eq!(sample.body_encoding, if binary { "base64" } else { "utf8" }, "{what}");
        assert!(sample.headers.contains_key("Content-Type"), "{what}");
    }
}

#[test]
fn every_sample_verifies_and_is_the_event_that_it_says() {
    let config = config();
    for sample in samples() {
        let what = label(&sample);
        let source = source(&config, &sample);
        let request = sample.request().unwrap();
        // Any one of its secrets is enough: that is what rotation is.
        let one_by_one = sample.secrets.iter().map(std::slice::from_ref);
        for values in one_by_one.chain([sample.secrets.as_slice()]) {
            match admitted(source, &secrets(source, values), &request, &what) {
                Admitted::Event(event) => {
                    assert_eq!(event.event_type, sample.event_type, "{what}");
                    assert_eq!(event.request.body, sample.body().unwrap(), "{what}");
                    match &sample.id {
                        Some(id) => assert_eq!(event.id.as_str(), id, "{what}"),
                        None => assert!(event.id.as_str().starts_with("sha256-"), "{what}: {}", event.id),
                    }
                }
                Admitted::Answer(answer) => {
                    assert!(is(&sample, HANDSHAKE), "{what}");
                    let body: Value = serde_json::from_str(&sample.body).unwrap();
                    assert_eq!(
                        (answer.status.as_u16(), answer.body.as_str()),
                        (200, body["challenge"].as_str().unwrap())
                    );
                }
            }
        }
    }
}

#[test]
fn another_secret_or_another_body_is_refused() {
    let config = config();
    for sample in samples() {
        let what = label(&sample);
        let source = source(&config, &sample);
        let refused = |request: &Request, secret: &[String], what: &str| match admit(
            source,
            source.mode,
            &secrets(source, secret),
            &Fetched::default(),
            request,
            request.received_at,
        ) {
            Admission::Refused(reason) => assert_eq!(reason.refusal(), Refusal::Signature, "{what}"),
            Admission::Event(_)
            | Admission::Answer(_)
            | Admission::Visit { .. }
            | Admission::Quarantine { .. } => panic!("{what} is taken"),
        };
        let request = sample.request().unwrap();
        refused(&request, &[other_secret(source)], &what);
        let mut unsigned = request.clone();
        unsigned.headers.retain_only_content_type();
        unsigned.query = String::new();
        refused(&unsigned, &sample.secrets, &format!("{what} without its proof"));
        if source.token_places.is_empty() {
            let mut changed = request.clone();
            let last = changed.body.len() - 2;
            changed.body[last] ^= 1;
            refused(&changed, &sample.secrets, &format!("{what} with another byte"));
        }
    }
}

trait Unsigned {
    fn retain_only_content_type(&mut self);
}

impl Unsigned for axum::http::HeaderMap {
    fn retain_only_content_type(&mut self) {
        let content_type = self.get("content-type").cloned();
        self.clear();
        if let Some(content_type) = content_type {
            self.insert("content-type", content_type);
        }
    }
}

#[test]
fn a_fresh_delivery_is_a_new_event_of_the_same_type() {
    const NOW: i64 = 1_800_000_123;
    let config = config();
    for sample in samples() {
        let what = label(&sample);
        let source = source(&config, &sample);
        let value = other_secret(source);
        let secret = Secret::from(value.as_str());
        let now = EpochMillis::from_seconds(NOW);
        let fresh = |random| {
            sample
                .fresh(&config, source, Some(&secret), "http://127.0.0.1:9000", now, random)
                .unwrap_or_else(|e| panic!("{what}: {e:#}"))
        };
        let mut ids: BTreeSet<EventId> =
            recorded(&config, &sample).map(|event| event.id).into_iter().collect();
        let before = ids.len();
        for random in [[1 << 60, 2], [3 << 60, 4]] {
            let ready = fresh(random);
            match admitted(source, &secrets(source, std::slice::from_ref(&value)), &ready.request, &what) {
                Admitted::Event(event) => {
                    assert_eq!(event.event_type, sample.event_type, "{what}");
                    if let Some(id) = &ready.id {
                        assert_eq!(event.id.as_str(), id, "{what}");
                    }
                    let recorded = recorded(&config, &sample).unwrap();
                    assert_eq!(event.occurred_at.is_some(), recorded.occurred_at.is_some(), "{what}");
                    let age = event.occurred_at.map_or(0, |at| now.millis_since(at) / 1000);
                    assert!((0..=3 * 24 * 3600).contains(&age), "{what} happened {age} s ago");
                    assert!(ids.insert(event.id.clone()), "{what}: {} again", event.id);
                }
                Admitted::Answer(answer) => assert_eq!(answer.status.as_u16(), 200, "{what}"),
            }
            let tail = ready.request.url.strip_prefix("http://127.0.0.1:9000").unwrap();
            assert_eq!(tail.split('?').next(), ready.path.split('?').next(), "{what}");
            assert!(!ready.path.contains("not-a-secret"), "{what} still has the recorded token");
        }
        if !is(&sample, HANDSHAKE) {
            assert_eq!(ids.len(), before + 2, "{what}");
        }
    }
}

#[tokio::test]
async fn ingest_takes_every_sample_and_stores_its_exact_bytes() {
    let backend = Backend::start().await;
    let ingest = backend.ingest(config(), &sample_secrets(None));
    for sample in samples() {
        let what = label(&sample);
        let text = derived(&sample, "ingest").unwrap_or_else(|| panic!("{what} has no .ingest.json"));
        let answer = serde_json::to_value(ingest.handle(&text, None).await.unwrap()).unwrap();
        assert_eq!(answer["statusCode"], 200, "{what}: {answer}");
        let Some(event) = recorded(&ingest.config, &sample) else {
            assert!(backend.waiting().is_empty(), "{what} is queued");
            continue;
        };
        let stored =
            backend.store.event(&event.source, &event.id).await.unwrap().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(stored.request.body, sample.body().unwrap(), "{what}");
        assert_eq!(stored.event_type, sample.event_type, "{what}");
        assert_eq!(stored.request.received_at.as_seconds(), sample.now, "{what}");
        let batch: Value = serde_json::from_str(&derived(&sample, "worker").unwrap()).unwrap();
        let sent = backend.take_all().await;
        assert_eq!(sent.len(), 1, "{what}");
        assert_eq!(batch["Records"][0]["body"], sent[0].body, "{what}");
        assert_eq!(batch["Records"][0]["md5OfBody"], sent[0].md5_of_body, "{what}");
        assert_eq!(
            batch["Records"][0]["attributes"]["MessageGroupId"],
            sent[0].group_id.clone().unwrap(),
            "{what}"
        );
        // Once more: nothing new is stored, and the sender is content.
        let answer = serde_json::to_value(ingest.handle(&text, None).await.unwrap()).unwrap();
        assert_eq!(answer["statusCode"], 200, "{what}");
        backend.take_all().await;
    }
}

#[tokio::test]
async fn a_rest_api_and_a_function_url_hand_over_the_same_event() {
    let backend = Backend::start().await;
    let ingest = backend.ingest(config(), &sample_secrets(None));
    let mut shown = 0;
    for sample in samples() {
        for end in ["ingest-v1", "ingest-url"] {
            let Some(text) = derived(&sample, end) else { continue };
            shown += 1;
            let answer = serde_json::to_value(ingest.handle(&text, None).await.unwrap()).unwrap();
            assert_eq!(answer["statusCode"], 200, "{end} of {}: {answer}", label(&sample));
            let event = recorded(&ingest.config, &sample).unwrap();
            let stored = backend.store.event(&event.source, &event.id).await.unwrap().unwrap();
            assert_eq!(stored.request.body, sample.body().unwrap(), "{end} of {}", label(&sample));
            assert_eq!(stored.request.query, event.request.query, "{end} of {}", label(&sample));
        }
    }
    assert_eq!(shown, WITH_REST.len() + WITH_FUNCTION_URL.len());
}

#[tokio::test]
async fn the_worker_works_off_every_batch_and_every_action_is_run() {
    let backend = Backend::start().await;
    let destination = Destination::start(StatusCode::OK).await;
    let mut config = config();
    config.allow_hosts.push(destination.authority.clone());
    let worker = backend.worker(config, &sample_secrets(Some(&destination)), &destination);
    let mut run = BTreeSet::new();
    let mut to_crm = Vec::new();
    for sample in samples() {
        let what = label(&sample);
        let Some(text) = derived(&sample, "worker") else {
            assert!(is(&sample, HANDSHAKE), "{what} has no .worker.json");
            continue;
        };
        let answer = worker.invoke(&text).await.unwrap();
        assert_eq!(answer, serde_json::json!({"batchItemFailures": []}), "{what}");
        let event = recorded(&worker.config, &sample).unwrap();
        let stored = backend.store.event(&event.source, &event.id).await.unwrap().unwrap();
        assert_eq!(stored.request.body, sample.body().unwrap(), "{what}: the message alone is enough");
        let entry = backend.entry(&event).await.unwrap_or_else(|| panic!("{what} has no status"));
        assert_eq!(entry.status, Status::Done, "{what}: {:?}", entry.attempts);
        for attempt in &entry.attempts.0 {
            assert_eq!(attempt.outcome, AttemptOutcome::Done, "{what}: {}", attempt.detail);
            run.insert(attempt.action.clone());
            if attempt.action.as_str() == "crm" {
                to_crm.push(sample.body().unwrap());
            }
        }
    }
    let there: BTreeSet<Name> = worker.config.actions.keys().cloned().collect();
    assert_eq!(run, there, "every action has a sample");
    to_crm.sort();
    assert_eq!(destination.received("crm-url"), to_crm, "the exact bytes");
    assert!(backend.waiting().is_empty(), "nothing has to come back");
}
