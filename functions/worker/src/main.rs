//! Wiring only: see the library.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use worker::Worker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    hookgate_aws::log::init();
    let worker = Arc::new(Worker::from_env(|name| std::env::var(name).ok())?);
    for problem in Worker::missing_functions(&worker.config, &worker.performer.functions) {
        tracing::error!(problem, "register it in functions/worker/src/run.rs");
    }
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let worker = worker.clone();
        async move { worker.invoke(event.payload.get()).await.map_err(|error| Error::from(format!("{error:#}"))) }
    }))
    .await
}
