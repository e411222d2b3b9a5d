//! What the product is given in place of the operating system: an HTTP client for the SDK, one for what goes outward, a
//! clock to sleep by, and the dice.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_smithy_async::{
    rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep},
    time::{SharedTimeSource, TimeSource},
};
use aws_smithy_runtime_api::client::{
    auth::{AuthSchemeId, AuthSchemePreference},
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use data_encoding::BASE64;
use futures::future::BoxFuture;
use hookgate_aws::{
    ambient::Ambient,
    clients::{Clients, Patience},
    connections::Connections,
    egress::{SendError, Transport},
    secrets_manager::SecretsManager,
    sender_keys::Fetch,
};
use hookgate_core::time::EpochMillis;
use serde_json::{Value, json};

use crate::{
    aws::{self, Asked},
    keyring,
    site::{self, Service},
    state::{Reply, START_MS, Shared},
};

/// One function's way to everything that is not itself.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    shared: Shared,
}

impl Wire {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The SDK's clients, with the product's own settings but for what they are made of.
    pub(crate) fn clients(&self, like: &Clients) -> Clients {
        // A bucket of retries for each process, as it is on Lambda; the SDK's own is one for all of this process.
        let partition = RetryPartition::custom("simulation").build();
        let sleep = SharedAsyncSleep::new(self.clone());
        let time = SharedTimeSource::new(Stopped);
        // Nobody here looks at signatures, and they would take a third of the instructions of a history.
        let unsigned = AuthSchemePreference::from([AuthSchemeId::from("noAuth")]);
        macro_rules! made {
            ($client:expr, $sdk:ident) => {
                $sdk::Client::from_conf(
                    $client
                        .config()
                        .to_builder()
                        .http_client(self.clone())
                        .sleep_impl(sleep.clone())
                        .time_source(time.clone())
                        .retry_partition(partition.clone())
                        .allow_no_auth()
                        .auth_scheme_preference(unsigned.clone())
                        .build(),
                )
            };
        }
        let asked = &like.secrets_manager;
        let config =
            asked.config().clone().into_builder().http_client(self.clone()).sleep_impl(sleep.clone());
        let config = config.time_source(time.clone()).build();
        Clients {
            dynamodb: made!(like.dynamodb, aws_sdk_dynamodb),
            sqs: made!(like.sqs, aws_sdk_sqs),
            secrets_manager: SecretsManager::new(
                config,
                asked.endpoint().to_owned(),
                Some(partition.clone()),
            ),
            connections: Connections::default(),
        }
    }

    /// A clock that is off by so many milliseconds, and the dice.
    pub(crate) fn ambient(&self, clock: ClockOf) -> Ambient {
        let (time, dice) = (self.shared.clone(), self.shared.clone());
        Ambient::new(
            move || {
                let now_ms = time.lock().now_ms;
                EpochMillis::from_millis(now_ms + clock.0.load(std::sync::atomic::Ordering::Relaxed))
            },
            move || dice.lock().dice.u64(..),
        )
    }
}

/// By how many milliseconds one function's clock is off.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockOf(pub(crate) Arc<std::sync::atomic::AtomicI64>);

/// Clients with the product's settings, which those of a history are made like.
pub(crate) fn pattern(patience: Patience) -> Clients {
    Clients::local("http://dynamodb.simulation", "http://sqs.simulation", patience)
}

/// Signatures are made, and nobody looks at them: the SDK's own time need not move.
#[derive(Debug)]
struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs())
    }
}

impl AsyncSleep for Wire {
    fn sleep(&self, duration: Duration) -> Sleep {
        let wait_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
        let id = self.shared.lock().sleep(wait_ms);
        Sleep::new(Nap { shared: self.shared.clone(), id })
    }
}

struct Nap {
    shared: Shared,
    id: u64,
}

impl Future for Nap {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.shared.lock().is_over(self.id, context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        self.shared.lock().forget_sleep(self.id);
    }
}

/// A call that somebody waits for.
struct Answer {
    shared: Shared,
    id: u64,
}

impl Future for Answer {
    type Output = Reply;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        match self.shared.lock().reply(self.id, context.waker()) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id);
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let (Some((service, operation)), Ok(body)) =
            (site::operation(target), serde_json::from_slice::<Value>(body))
        else {
            self.shared.lock().check.broken(format!("a call that the simulation does not know: {target}"));
            return HttpConnectorFuture::ready(Err(ConnectorError::other("unknown".into(), None)));
        };
        let id = self.shared.lock().call(service, operation, body);
        let answer = Answer { shared: self.shared.clone(), id };
        HttpConnectorFuture::new(async move {
            match answer.await {
                Reply::Answer { status, body, .. } => respond(status, body),
                Reply::Refused => Err(ConnectorError::io("connection refused".into())),
                Reply::Broken => Err(ConnectorError::io("connection reset".into())),
            }
        })
    }
}

fn respond(status: u16, body: String) -> Result<HttpResponse, ConnectorError> {
    let response = http::Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(SdkBody::from(body))
        .map_err(|error| ConnectorError::other(error.into(), None))?;
    response
        .try_into()
        .map_err(|error: aws_smithy_runtime_api::http::HttpError| ConnectorError::other(error.into(), None))
}

/// Status, headers and body.
type Got = (u16, Vec<(&'static str, String)>, String);

impl Wire {
    /// What comes of a call within a time limit.
    async fn ask(
        self,
        service: Service,
        operation: &'static str,
        call: Value,
        limit: Duration,
    ) -> Result<Got, SendError> {
        let id = self.shared.lock().call(service, operation, call);
        let answer = Answer { shared: self.shared.clone(), id };
        match futures::future::select(answer, self.sleep(limit)).await {
            futures::future::Either::Left((Reply::Answer { status, body, headers }, _)) => {
                Ok((status, headers, body))
            }
            futures::future::Either::Left((Reply::Refused, _)) => Err(SendError::Unreachable),
            futures::future::Either::Left((Reply::Broken, _)) => Err(SendError::Broken),
            futures::future::Either::Right(_) => Err(SendError::Timeout),
        }
    }
}

impl Transport for Wire {
    fn send(&self, request: reqwest::Request) -> BoxFuture<'static, Result<reqwest::Response, SendError>> {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let body = String::from_utf8(body.to_vec()).unwrap_or_else(|error| BASE64.encode(error.as_bytes()));
        let url = request.url();
        let (service, operation, call) = match url.host_str().and_then(aws::at) {
            Some(service) => {
                let how = request.headers().get("x-amz-invocation-type");
                let waits = how.is_some_and(|how| how == "RequestResponse");
                let Asked { operation, action, body, once } = aws::asked(service, &body, waits);
                let call = json!({ "url": url.as_str(), "action": action, "body": body, "once": once, "waits": waits });
                (Service::Aws(service), operation, call)
            }
            None => {
                let action = url.path().trim_start_matches('/');
                (Service::Destination, "POST", json!({ "url": url.as_str(), "action": action, "body": body }))
            }
        };
        let limit = request.timeout().copied().unwrap_or(Duration::from_secs(30));
        let asked = self.clone().ask(service, operation, call, limit);
        Box::pin(async move {
            let (status, headers, body) = asked.await?;
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(body).map(Into::into).map_err(|_| SendError::Broken)
        })
    }
}

impl Fetch for Wire {
    fn get(
        &self,
        url: reqwest::Url,
        limit: Duration,
    ) -> BoxFuture<'static, Result<(reqwest::StatusCode, Vec<u8>), SendError>> {
        if url.host_str() != Some(keyring::HOST) {
            self.shared.lock().check.broken(format!("a key is asked for at {url}"));
        }
        let asked = self.clone().ask(Service::Keys, "GET", json!({ "url": url.as_str() }), limit);
        Box::pin(async move {
            let (status, _, body) = asked.await?;
            let status = reqwest::StatusCode::from_u16(status).map_err(|_| SendError::Broken)?;
            Ok((status, body.into_bytes()))
        })
    }
}
