//! Both engines through the official SDK clients, on free ports, without sleeping.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod dynamodb;
mod faults;
mod in_process;
mod queues;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use hookgate_embedded::{Clock, Engines, Options};

/// 2025-11-21, somewhere.
const START_MS: i64 = 1_763_700_000_000;

/// No test waits for anything this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(10);

async fn start(clock: &Clock) -> Engines {
    Engines::start(Options::memory(clock.clone())).await.unwrap()
}

async fn start_in(folder: &Path, clock: &Clock) -> Engines {
    let data = Some(folder.to_owned());
    Engines::start(Options { data, ..Options::memory(clock.clone()) }).await.unwrap()
}

fn config(endpoint: String) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        )))
        .endpoint_url(endpoint)
        // What the SDK would hide by trying again is what these tests are about.
        .retry_config(RetryConfig::disabled())
        .build()
}

fn dynamodb_client(engines: &Engines) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&config(engines.dynamodb().endpoint()))
}

fn sqs_client(engines: &Engines) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&config(engines.sqs().endpoint()))
}

/// Lets everything else run until `condition` holds.
async fn until(mut condition: impl FnMut() -> bool) {
    patiently(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("nothing happened")
}
