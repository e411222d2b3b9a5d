//! Wiring only: see the library.

use std::sync::Arc;

use ingest::Ingest;
use lambda_http::lambda_runtime::{self, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    hookgate_aws::log::init();
    let ingest = Arc::new(Ingest::from_env(|name| std::env::var(name).ok())?);
    ingest.warm_up().await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let ingest = ingest.clone();
        async move {
            ingest
                .handle(event.payload.get(), event.context.xray_trace_id.as_deref())
                .await
                .map_err(|error| Error::from(format!("{error:#}")))
        }
    }))
    .await
}
