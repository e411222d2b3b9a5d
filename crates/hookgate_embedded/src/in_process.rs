//! The engines called in process: in memory, without servers and ports, and nothing in them waits.
//!
//! For who has a world of its own, in one thread and with a clock that it moves: a request is carried out when it is
//! made, and passes neither an endpoint nor its [`Traffic`](crate::Traffic).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::dynamodb::DynamoDb;
use crate::front::Engine as _;
use crate::sqs::{Message, QueueError, Sqs};

/// Nothing listens there.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl DynamoDb {
    /// The table engine alone, with nothing in it.
    ///
    /// All its times are the clock's, but for how long it knows a `ClientRequestToken`: ten minutes of the system's
    /// clock (dynoxide-rs 3.2.0).
    ///
    /// # Errors
    ///
    /// If the database can't be opened.
    pub fn in_process(clock: &Clock) -> anyhow::Result<DynamoDb> {
        // Without the index for the stream's records, which costs more than a short stream without it.
        let database = Database::memory_with_clock(Arc::new(clock.clone()))?;
        Ok(DynamoDb::over(database, NOWHERE, watch::channel(false).1))
    }

    /// Carries out a request for items: status and body of the answer, as they are at the endpoint.
    pub fn carry_out(&self, operation: &str, request: &Value) -> (u16, Value) {
        let database = self.database();
        macro_rules! call {
            ($method:ident) => {
                serde_json::from_value(request.clone())
                    .map_err(|error| DynoxideError::SerializationException(error.to_string()))
                    .and_then(|request| database.$method(request))
                    .map(|answer| serde_json::to_value(answer))
            };
        }
        let answer = match operation {
            "BatchGetItem" => call!(batch_get_item),
            "DeleteItem" => call!(delete_item),
            "GetItem" => call!(get_item),
            "PutItem" => call!(put_item),
            "Query" => call!(query),
            "Scan" => call!(scan),
            "TransactWriteItems" => call!(transact_write_items),
            "UpdateItem" => call!(update_item),
            other => Err(DynoxideError::UnsupportedCapability(other.to_owned())),
        };
        let failed = |error: serde_json::Error| {
            let error = DynoxideError::InternalServerError(error.to_string());
            (error.status_code(), json!({ "__type": error.error_type(), "message": error.to_string() }))
        };
        match answer {
            Ok(answer) => answer.map_or_else(failed, |answer| (StatusCode::OK.as_u16(), answer)),
            Err(error) => {
                serde_json::from_str(&error.to_json()).map_or_else(failed, |body| (error.status_code(), body))
            }
        }
    }
}

impl Sqs {
    /// The queue engine alone, without a queue. All its times are the clock's.
    ///
    /// # Errors
    ///
    /// If the database can't be opened.
    pub fn in_process(clock: &Clock) -> anyhow::Result<Sqs> {
        Sqs::open(None, clock, NOWHERE, watch::channel(false).1)
    }

    /// Carries out a request: status and body of the answer, as they are at the endpoint.
    ///
    /// Only a `ReceiveMessage` that is to wait does so.
    ///
    /// # Errors
    ///
    /// If the answer can't be read.
    pub async fn carry_out(&self, operation: &str, request: &Value) -> anyhow::Result<(u16, Value)> {
        let wire = Request::post("/")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .header(http::header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .body(Bytes::from(request.to_string()))?;
        let answer = self.protocol().apply(operation, wire).await?;
        let body = match answer.body().as_ref() {
            [] => Value::Null,
            body => serde_json::from_slice(body)?,
        };
        Ok((answer.status().as_u16(), body))
    }

    /// Receives at once, as [`Sqs::receive`] does, but only what is seen, by message id: of a standard queue a receive
    /// looks at some of the servers.
    ///
    /// `sees` is asked about each message that could be handed out, in that order. What was received too often goes to
    /// the dead letters whether it is seen or not.
    ///
    /// # Errors
    ///
    /// [`QueueError::NoQueue`], or if the store fails.
    pub fn receive_some(
        &self,
        queue: &str,
        max: usize,
        sees: impl FnMut(&str) -> bool,
    ) -> Result<Vec<Message>, QueueError> {
        self.store().receive(queue, max, None, sees)
    }
}
