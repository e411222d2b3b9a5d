//! The HTTP API of the local stack: turns requests into events of API Gateway (payload 2.0), so that ingest gets
//! here exactly what it gets there.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
    routing::{any, get},
};
use data_encoding::BASE64;
use hookgate_core::{outcome::Refusal, request::BODY_BYTES_MAX, time::EpochMillis};
use hookgate_embedded::Clock;
use ingest::Ingest;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{
    aws,
    inbox::{Inbox, Received},
};

#[derive(Clone)]
struct Front {
    ingest: Arc<Ingest>,
    inbox: Inbox,
    clock: Clock,
}

pub(super) async fn serve(
    listener: TcpListener,
    ingest: Arc<Ingest>,
    inbox: Inbox,
    clock: Clock,
    mut stopped: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route(
            "/",
            get(|| async {
                "hookgate is running. POST to /webhooks/SOURCE; GET /inbox shows what actions have sent.\n"
            }),
        )
        .route("/inbox", get(list))
        .route("/inbox/{name}", any(receive))
        .nest_service(aws::PATH, aws::router(inbox.clone(), ingest.ambient.clone()))
        .fallback(webhook)
        .with_state(Front { ingest, inbox, clock });
    let stop = async move {
        // An error means that the stack is gone, which is a reason to stop as well.
        stopped.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or_default();
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the gateway stopped");
    }
}

async fn webhook(State(front): State<Front>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let request_id = format!("local-{:012x}", front.ingest.ambient.random() >> 16);
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return response(Refusal::TooLarge.answer(&request_id));
    };
    let path = parts.uri.path();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let event = json!({
        "version": "2.0",
        "routeKey": "ANY /webhooks/{source}",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": joined(&parts.headers),
        "requestContext": {
            "domainName": host,
            "http": {"method": parts.method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": request_id,
            "stage": "$default",
            "timeEpoch": front.clock.now_ms(),
        },
        "body": BASE64.encode(&body),
        "isBase64Encoded": true,
    });
    let answer = match front.ingest.handle(&event.to_string(), None).await {
        Ok(answer) => serde_json::to_value(answer).unwrap_or_default(),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ingest failed");
            return response(Refusal::Unavailable.answer(&request_id));
        }
    };
    let status = answer.get("statusCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let mut builder = Response::builder().status(status.unwrap_or(502));
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        builder = builder.header(name, value.as_str().unwrap_or_default());
    }
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    builder.body(Body::from(body)).unwrap_or_else(|_| response(Refusal::Unavailable.answer(&request_id)))
}

/// Headers as an HTTP API hands them over: names in lower case, several values joined by commas.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in headers.keys() {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        joined.insert(name.as_str().to_owned(), Value::String(values.join(",")));
    }
    joined
}

fn response(answer: hookgate_core::outcome::Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Most bytes that a local destination takes.
const INBOX_BYTES_MAX: usize = BODY_BYTES_MAX;

async fn receive(State(front): State<Front>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, INBOX_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let name = parts.uri.path().trim_start_matches("/inbox/").to_owned();
    let about = |header: &str| {
        header.starts_with("x-hookgate-") || header.starts_with("webhook-") || header == "content-type"
    };
    let headers = parts
        .headers
        .iter()
        .filter(|(header, _)| about(header.as_str()))
        .map(|(header, value)| {
            (header.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let (body, body_encoding) = match String::from_utf8(body.to_vec()) {
        Ok(text) => (text, "text"),
        Err(error) => (BASE64.encode(error.as_bytes()), "base64"),
    };
    let at = EpochMillis::from_millis(front.clock.now_ms()).to_string();
    tracing::info!(inbox = name, bytes = body.len(), "inbox {name} got {} bytes", body.len());
    match front.inbox.add(Received { at, name, headers, body, body_encoding: body_encoding.to_owned() }) {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the inbox can't be written");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// One JSON object a line, the newest last.
async fn list(State(front): State<Front>) -> String {
    front
        .inbox
        .entries()
        .iter()
        .filter_map(|entry| serde_json::to_string(entry).ok())
        .map(|line| line + "\n")
        .collect()
}
