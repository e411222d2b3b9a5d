//! The floor: the same SDK crates as the functions have, and as many calls of AWS, with nothing around them.
//!
//! `floor` stands for ingest: one `PutItem` and one `SendMessage` at the same time. `floor worker` stands for worker: for
//! each message of a batch a `GetItem`, then three times `UpdateItem`, one after the other. `floor warm` is the first with its
//! connections opened before it is ready, as ingest does it.
//!
//! Absent on purpose: verification, routing, time limits, outbox, logs. No receiver that stores and queues can do less,
//! so what the functions take beyond this is what hookgate takes.

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    config::{BehaviorVersion, Region, SharedCredentialsProvider},
    types::AttributeValue,
};
use aws_types::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Calls of `UpdateItem` for one event: worker's lease, what a `record` action keeps, the result.
const UPDATES: usize = 3;

/// What all calls need.
struct Floor {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue: String,
}

impl Floor {
    fn from_env() -> Result<Self, Error> {
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            None,
            None,
            "environment",
        );
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(variable("AWS_REGION")?))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared)
            .endpoint_url(variable("AWS_ENDPOINT_URL_DYNAMODB")?);
        let sqs = aws_sdk_sqs::config::Builder::from(&shared).endpoint_url(variable("AWS_ENDPOINT_URL_SQS")?);
        Ok(Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            table: variable("HOOKGATE_TABLE")?,
            queue: variable("HOOKGATE_QUEUE_URL")?,
        })
    }

    /// Opens both connections; what they are asked for does not matter.
    async fn warm_up(&self) {
        let none = AttributeValue::S("-".to_owned());
        let get =
            self.dynamodb.get_item().table_name(&self.table).key("pk", none.clone()).key("sk", none).send();
        let attributes = self.sqs.get_queue_attributes().queue_url(&self.queue).send();
        drop(tokio::join!(get, attributes));
    }

    /// As ingest does for a request.
    async fn receive(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let body = event.payload.get("body").and_then(Value::as_str).unwrap_or_default();
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .item("pk", AttributeValue::S(event.context.request_id.clone()))
            .item("sk", AttributeValue::S("E".to_owned()))
            .item("body", AttributeValue::S(body.to_owned()))
            .send();
        let send = self.sqs.send_message().queue_url(&self.queue).message_body(body).send();
        let (put, sent) = tokio::join!(put, send);
        put?;
        sent?;
        Ok(json!({"statusCode": 200, "body": "{}"}))
    }

    /// As worker does for a batch.
    async fn work(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let records = event.payload.get("Records").and_then(Value::as_array);
        for record in records.into_iter().flatten() {
            let id = record.get("messageId").and_then(Value::as_str).unwrap_or_default();
            let (pk, sk) = (AttributeValue::S(id.to_owned()), AttributeValue::S("E".to_owned()));
            self.dynamodb
                .get_item()
                .table_name(&self.table)
                .key("pk", pk.clone())
                .key("sk", sk.clone())
                .send()
                .await?;
            for _ in 0..UPDATES {
                self.dynamodb
                    .update_item()
                    .table_name(&self.table)
                    .key("pk", pk.clone())
                    .key("sk", sk.clone())
                    .update_expression("SET #status = :status")
                    .expression_attribute_names("#status", "status")
                    .expression_attribute_values(":status", AttributeValue::S("done".to_owned()))
                    .send()
                    .await?;
            }
        }
        Ok(json!({"batchItemFailures": []}))
    }
}

fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| Error::from(format!("{name} is not set")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let floor = &Floor::from_env()?;
    let kind = std::env::args().nth(1);
    if kind.as_deref() == Some("warm") {
        floor.warm_up().await;
    }
    match kind.as_deref() {
        None | Some("warm") => {
            lambda_runtime::run(service_fn(async |event| floor.receive(event).await)).await
        }
        Some("worker") => lambda_runtime::run(service_fn(async |event| floor.work(event).await)).await,
        Some(other) => Err(Error::from(format!("usage: floor [warm|worker], not {other}"))),
    }
}
