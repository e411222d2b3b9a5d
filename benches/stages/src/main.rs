//! One stage of ingest, done as often as is wanted: `stages STAGE TIMES EVENT CONFIG SECRETS`.
//!
//! `benches/run.py` runs it under a counter of instructions, twice with different numbers, so that what is common to
//! both runs cancels out. The stages are those of the library `ingest`, in its order; AWS is an answer that is there at once, so
//! a call is what the SDK does for it without the socket and TLS.

use std::{hint::black_box, sync::Arc};

use anyhow::{Context, anyhow, bail, ensure};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::IdentityCache;
use aws_smithy_runtime_api::{
    client::{
        behavior_version::BehaviorVersion,
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use aws_types::{SdkConfig, region::Region, sdk_config::SharedCredentialsProvider};
use hookgate_aws::{
    ambient::Ambient,
    clients::{Clients, Patience},
    queue::Queue,
    secrets::SecretStore,
    sender_keys::SenderKeys,
    store::Store,
};
use hookgate_core::{
    Fetched,
    codec::{self, Message},
    config::Config,
    event::Event,
    request::Request,
    secret::Secrets,
    source::Source,
    time::EpochMillis,
};
use http::Method;
use ingest::{Ingest, gateway::Call};

/// Answers every call at once: there was nothing, and now it is there.
#[derive(Debug)]
struct AtOnce {
    ok: StatusCode,
}

impl HttpConnector for AtOnce {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        black_box(&request);
        let mut answer = HttpResponse::new(self.ok, SdkBody::from("{}"));
        answer.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(answer))
    }
}

fn aws() -> anyhow::Result<Clients> {
    let ok = StatusCode::try_from(200).map_err(|_| anyhow!("200 is no status"))?;
    let client: SharedHttpClient = http_client_fn(move |_, _| SharedHttpConnector::new(AtOnce { ok }));
    let credentials = Credentials::new("AKIDEXAMPLE", "of-the-benchmark", None, None, "benchmark");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(client)
        .identity_cache(IdentityCache::no_cache())
        .build();
    Ok(Clients::from_config(&config, Patience::INGEST))
}

/// What Lambda sets, as far as the clients read it.
fn variable(name: &str) -> Option<String> {
    let known = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].contains(&name);
    known.then(|| "us-east-1".to_owned())
}

/// The request as ingest puts it together.
fn request(call: Call) -> anyhow::Result<Request> {
    let mut request = Request::post(
        "https://api.example.com/webhooks/shop",
        call.body.context("the event has no body")?,
        EpochMillis::from_millis(0),
    );
    request.method = call.method.unwrap_or(Method::POST);
    request.headers = call.headers;
    Ok(request)
}

fn verified(source: &Source, request: &Request, secrets: &Secrets) -> anyhow::Result<Event> {
    let active = secrets.active(&source.secret);
    let verified =
        source.verifier.verify_fetched(request, &active, &Fetched::default(), request.received_at)?;
    Ok(Event::new(source, &verified)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stage, times, event, config, secrets] = arguments.as_slice() else {
        bail!("usage: stages STAGE TIMES EVENT CONFIG SECRETS");
    };
    let times: u32 = times.parse().context("TIMES is a number")?;
    let event = std::fs::read_to_string(event).context("EVENT is a file")?;
    let text = std::fs::read_to_string(config).context("CONFIG is a file")?;
    let parse = |text: &str| Config::parse(text).map_err(|problems| anyhow!("CONFIG is wrong: {problems:?}"));
    let config = Arc::new(parse(&text)?);
    let secrets = Secrets::from_json(&std::fs::read_to_string(secrets).context("SECRETS is a file")?)?;

    // Its line in the log is a part of a request.
    hookgate_aws::log::init();
    // Everything that the stages before gave, so that each can be done by itself.
    let source = config.sources.values().next().context("CONFIG has no source")?;
    let sent = request(Call::read(&event)?)?;
    let active = secrets.active(&source.secret);
    let proof = source.verifier.verify_fetched(&sent, &active, &Fetched::default(), sent.received_at)?;
    let delivery = verified(source, &sent, &secrets)?;
    let frame = codec::encode(&delivery, 7)?;
    let message =
        Message::carrying(&delivery.source, &delivery.id, &frame).context("too large for a message")?;
    let clients = aws()?;
    let store = Store::new(clients.dynamodb, "events");
    let queue = Queue::new(clients.sqs, "https://sqs.us-east-1.amazonaws.com/000000000000/events");
    let ingest = Ingest {
        config: config.clone(),
        store: store.clone(),
        queue: queue.clone(),
        secrets: Arc::new(SecretStore::fixed(secrets.clone())),
        keys: Arc::new(SenderKeys::default()),
        connections: clients.connections,
        full: std::sync::Mutex::default(),
        ambient: Ambient::system(),
    };

    for _ in 0..times {
        match stage.as_str() {
            "config" => drop(black_box(parse(black_box(&text))?)),
            "clients" => drop(black_box(Clients::from_env(variable, Patience::INGEST)?)),
            "read" => drop(black_box(request(Call::read(black_box(&event))?)?)),
            "verify" => drop(black_box(source.verifier.verify_fetched(
                black_box(&sent),
                &secrets.active(&source.secret),
                &Fetched::default(),
                sent.received_at,
            )?)),
            "identify" => drop(black_box(Event::new(source, black_box(&proof))?)),
            "encode" => drop(black_box(codec::encode(black_box(&delivery), 7)?)),
            "message" => {
                let message = Message::carrying(&delivery.source, &delivery.id, black_box(&frame));
                drop(black_box(message.map(|message| message.to_text())));
            }
            "put" => drop(black_box(store.put_event(&delivery, &frame, source.retention_days).await?)),
            "send" => {
                queue.send(black_box(&message), 0, None).await?;
            }
            "all" => {
                let answer = ingest.handle(black_box(&event), None).await?;
                ensure!(format!("{answer:?}").contains("200"), "ingest answers {answer:?}");
            }
            _ => bail!("there is no stage {stage}"),
        }
    }
    Ok(())
}
