//! What has invoked the worker: the queue, the schedule or the table's stream.

use anyhow::{Context, bail};
use aws_lambda_events::sqs::SqsEvent;
use serde_json::{Value, json};

use crate::Worker;

/// What the schedule of `template.yaml` sends.
pub const SWEEP: &str = r#"{"hookgate":"sweep"}"#;

impl Worker {
    /// Does what one invocation asks for, given as its JSON text.
    ///
    /// # Errors
    /// When the event is none of the three; Lambda then retries the whole of it.
    pub async fn invoke(&self, event: &str) -> anyhow::Result<Value> {
        let event: Value = serde_json::from_str(event).context("the event is not JSON")?;
        if event.get("hookgate").and_then(Value::as_str) == Some("sweep") {
            let swept = self.sweep().await;
            return Ok(json!({ "queued": swept.queued, "failed": swept.failed }));
        }
        let records = event.get("Records").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let origin = records.first().and_then(|record| record.get("eventSource")).and_then(Value::as_str);
        match origin {
            Some("aws:sqs") => {
                let batch: SqsEvent = serde_json::from_value(event).context("reading the queue's batch")?;
                Ok(serde_json::to_value(self.batch(batch).await)?)
            }
            Some("aws:dynamodb") => {
                let failures: Vec<Value> = self
                    .stream(records)
                    .await
                    .into_iter()
                    .map(|number| json!({ "itemIdentifier": number }))
                    .collect();
                Ok(json!({ "batchItemFailures": failures }))
            }
            _ => bail!("the event is of no trigger of this function (queue, stream, or {SWEEP})"),
        }
    }
}
