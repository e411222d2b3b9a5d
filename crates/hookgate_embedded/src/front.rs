//! The HTTP/1 server in front of an engine: counts each request, breaks the ones a fault asks for, and hands
//! the rest over.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::traffic::{How, Traffic};

/// Above DynamoDB's 16 MiB and above a full SQS batch with every character escaped.
const BODY_BYTES_MAX: usize = 32 << 20;

/// How long requests may take to finish once the engines stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What answers the requests which no fault breaks.
pub(crate) trait Engine: Send + Sync + 'static {
    /// How this engine words the answers of a fault.
    fn dialect(&self) -> &'static Dialect;

    /// Carries a request out.
    fn apply(
        &self,
        operation: &str,
        request: Request<Bytes>,
    ) -> impl Future<Output = anyhow::Result<Response<Bytes>>> + Send;
}

/// The answers of a fault: status and error code.
pub(crate) struct Dialect {
    pub(crate) failed: (StatusCode, &'static str),
    pub(crate) throttled: (StatusCode, &'static str),
    pub(crate) denied: (StatusCode, &'static str),
}

/// A running server. Dropping it ends it at once.
pub(crate) struct Front {
    task: JoinHandle<()>,
}

/// Listens on loopback; port 0 takes any free one.
pub(crate) async fn bind(port: u16) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let address = listener.local_addr().context("reading the address listened on")?;
    Ok((listener, address))
}

impl Front {
    pub(crate) fn serve<E: Engine>(
        listener: TcpListener,
        engine: E,
        traffic: Traffic,
        stop: watch::Receiver<bool>,
    ) -> Front {
        let answerer = Arc::new(Answerer { engine, traffic });
        Front { task: tokio::spawn(accept(listener, answerer, stop)) }
    }

    /// Waits for the requests in flight. The stop signal must have been given.
    pub(crate) async fn stopped(mut self) {
        if let Err(error) = (&mut self.task).await {
            // A panic of the server itself; its connections are gone with it, which is what was asked for.
            debug_assert!(error.is_cancelled(), "{error}");
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<E: Engine>(
    listener: TcpListener,
    answerer: Arc<Answerer<E>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&answerer), stop.clone()));
                }
                // Out of descriptors, most likely: some will come back as connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finished).await.is_err() {
        connections.shutdown().await;
    }
}

/// Returns when the engines stop, or are dropped.
pub(crate) async fn stopping(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the engines with it.
    let stopped = stop.wait_for(|stop| *stop).await;
    drop(stopped);
}

async fn connection<E: Engine>(
    stream: TcpStream,
    answerer: Arc<Answerer<E>>,
    mut stop: watch::Receiver<bool>,
) {
    // Small answers to small requests: waiting to fill a packet only costs time.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let until_stop = stop.clone();
    let service = service_fn(|request| answerer.answer(request, until_stop.clone()));
    let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    // The result is dropped: a client that went away, or a connection severed on purpose.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stopping(&mut stop) => serving.as_mut().graceful_shutdown(),
    }
    drop(serving.await);
}

struct Answerer<E> {
    engine: E,
    traffic: Traffic,
}

/// Why a connection ends without an answer. Hyper closes it when the service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is severed")]
struct Severed;

impl<E: Engine> Answerer<E> {
    async fn answer(
        &self,
        request: Request<Incoming>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Response<Full<Bytes>>, Severed> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE).map(Full::new));
        };
        let body = body.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned();
        let how = self.traffic.admit(&operation, &body);
        let request = Request::from_parts(parts, body);

        let dialect = self.engine.dialect();
        let answer = match how {
            None => self.apply(&operation, request).await,
            Some(How::Status500) => error(dialect.failed),
            Some(How::Throttle) => error(dialect.throttled),
            Some(How::AccessDenied) => error(dialect.denied),
            Some(How::Drop) => return Err(Severed),
            Some(How::ApplyThenDrop) => {
                self.apply(&operation, request).await;
                return Err(Severed);
            }
            Some(How::Hang) => {
                // Hyper drops this future when the client closes its connection.
                let _held = self.traffic.hang();
                stopping(&mut stop).await;
                return Err(Severed);
            }
            Some(How::Garbage) => json(StatusCode::OK, Bytes::from_static(b"<html>The tea is ready.</html>")),
            Some(How::Apply500) => {
                self.apply(&operation, request).await;
                error(dialect.failed)
            }
            Some(How::ApplyTwice) => {
                self.apply(&operation, request.clone()).await;
                self.apply(&operation, request).await
            }
        };
        Ok(answer.map(Full::new))
    }

    async fn apply(&self, operation: &str, request: Request<Bytes>) -> Response<Bytes> {
        let answer = self.engine.apply(operation, request).await;
        answer.unwrap_or_else(|cause| {
            let (status, code) = self.engine.dialect().failed;
            error_with(status, code, &format!("{cause:#}"))
        })
    }
}

fn error((status, code): (StatusCode, &str)) -> Response<Bytes> {
    error_with(status, code, "a fault was asked for")
}

/// An error as both protocols word it.
///
/// SQS also puts the code of its old XML protocol into a header, which SDKs believe over the body
/// (<https://github.com/smithy-lang/smithy-rs/issues/1872>, 2026-11-21).
pub(crate) fn error_with(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "__type": code, "message": message });
    let mut response = json(status, Bytes::from(body.to_string()));
    let side = if status.is_server_error() { "Receiver" } else { "Sender" };
    let plain = code.rsplit('#').next().unwrap_or(code);
    if let Ok(value) = HeaderValue::try_from(format!("{plain};{side}")) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

/// An answer in the protocol both services speak.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = empty(status);
    *response.body_mut() = body;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
