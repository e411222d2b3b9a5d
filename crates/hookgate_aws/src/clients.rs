//! SDK clients for a function.
//!
//! Credentials and region come from the environment that Lambda sets, endpoints from the variables that every AWS
//! SDK honours, and time limits from here: the Rust SDK has none by itself.
//!
//! Absent on purpose: the SDK's provider chain (profiles, SSO, instance metadata). A function's credentials are
//! always in its environment, and the chain costs start-up time and size. The local program has the chain, and hands
//! over what it gives.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_types::SdkConfig;
use thiserror::Error;

use crate::{
    connections::Connections,
    endpoints,
    secrets_manager::{self, SecretsManager},
    trust::{self, BundleError, OneClient},
    user_agent,
};

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// One attempt.
    pub attempt: Duration,
    /// All attempts of an operation.
    pub operation: Duration,
}

impl Patience {
    /// For ingest, whose senders wait: Slack and Zoom give 3 seconds.
    pub const INGEST: Self =
        Self { attempt: Duration::from_millis(1_000), operation: Duration::from_millis(3_000) };
    /// For the worker, for which nobody waits.
    pub const WORKER: Self =
        Self { attempt: Duration::from_millis(3_000), operation: Duration::from_millis(10_000) };
}

/// Tries of one operation, the first included.
const ATTEMPTS_MAX: u32 = 3;

/// The first wait between two tries is up to this part of an attempt's time. The SDK's own is up to a second, which
/// with the second wait of up to two would leave a sender who waits for three no third try.
const BACKOFF_PARTS: u32 = 20;

/// The clients that hookgate uses.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For the table.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// For the queue.
    pub sqs: aws_sdk_sqs::Client,
    /// For the secret.
    pub secrets_manager: SecretsManager,
    /// Those of the first two, to be opened before they are needed.
    pub connections: Connections,
}

/// Why clients can't be made.
#[derive(Debug, Error)]
pub enum ClientsError {
    /// A variable that Lambda sets is missing.
    #[error(
        "the environment variable {name} is not set; Lambda sets it, `hookgate env` prints one for the local stack"
    )]
    Missing {
        /// Such as `AWS_REGION`.
        name: &'static str,
    },
    /// The roots to believe can't be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The region of what is called, unless that says otherwise.
    pub(crate) region: String,
    /// What requests are signed with.
    pub(crate) credentials: Credentials,
}

impl Identity {
    /// Reads the standard `AWS_…` variables.
    pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ClientsError> {
        let optional = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| optional(name).ok_or(ClientsError::Missing { name });
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let region = optional("AWS_REGION").or_else(|| optional("AWS_DEFAULT_REGION"));
        Ok(Self { region: region.ok_or(ClientsError::Missing { name: "AWS_REGION" })?, credentials })
    }

    /// That of the local stack, which means nothing.
    pub(crate) fn local() -> Self {
        let credentials = Credentials::new(LOCAL_CREDENTIALS.0, LOCAL_CREDENTIALS.1, None, None, "local");
        Self { region: LOCAL_REGION.to_owned(), credentials }
    }
}

impl Clients {
    /// Makes clients from the standard `AWS_…` variables, read through `lookup`.
    ///
    /// `AWS_ENDPOINT_URL`, and `AWS_ENDPOINT_URL_DYNAMODB`, `…_SQS` and `…_SECRETS_MANAGER` before it, point them
    /// somewhere else, such as the local stack. `AWS_CA_BUNDLE` names roots to believe in place of Amazon's.
    ///
    /// # Errors
    /// [`ClientsError`] names a variable that is missing or wrong.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        patience: Patience,
    ) -> Result<Self, ClientsError> {
        let optional = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let client = match optional(trust::BUNDLE) {
            Some(path) => OneClient::with_bundle(&path, patience.attempt)?,
            None => OneClient::new(patience.attempt),
        };
        let endpoint = |service: &str| {
            optional(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| optional("AWS_ENDPOINT_URL"))
        };
        let endpoints = ["DYNAMODB", "SQS", "SECRETS_MANAGER"].map(endpoint);
        Ok(Self::new(Identity::from_env(&lookup)?, patience, client, endpoints))
    }

    /// Clients of the local stack's two endpoints, with credentials that mean nothing.
    pub fn local(dynamodb: impl Into<String>, sqs: impl Into<String>, patience: Patience) -> Self {
        let sqs = sqs.into();
        let endpoints = [Some(dynamodb.into()), Some(sqs.clone()), Some(sqs)];
        Self::new(Identity::local(), patience, OneClient::new(patience.attempt), endpoints)
    }

    /// Clients with the region, credentials and endpoints of `config`, such as the SDK's whole chain gives, but with
    /// the retries and time limits from here.
    pub fn from_config(config: &SdkConfig, patience: Patience) -> Self {
        let shared = config
            .clone()
            .into_builder()
            .retry_config(retries(patience))
            .timeout_config(limits(patience))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        let endpoint = endpoints::endpoint(config, secrets_manager::ID, secrets_manager::PREFIX);
        Self::made_of(shared, [None, None], endpoint, Connections::default())
    }

    fn new(
        identity: Identity,
        patience: Patience,
        client: OneClient,
        [dynamodb, sqs, secrets_manager]: [Option<String>; 3],
    ) -> Self {
        let connections =
            Connections::new(client.clone(), identity.region.clone(), dynamodb.clone(), sqs.clone());
        let secrets_manager = secrets_manager
            .unwrap_or_else(|| endpoints::of_region(secrets_manager::PREFIX, &identity.region));
        let shared = shared(identity, patience, client);
        Self::made_of(shared, [dynamodb, sqs], secrets_manager, connections)
    }

    fn made_of(
        shared: SdkConfig,
        [dynamodb, sqs]: [Option<String>; 2],
        secrets_manager: String,
        connections: Connections,
    ) -> Self {
        let mut for_dynamodb = aws_sdk_dynamodb::config::Builder::from(&shared);
        for_dynamodb.push_interceptor(user_agent::interceptor());
        let mut for_sqs = aws_sdk_sqs::config::Builder::from(&shared);
        for_sqs.push_interceptor(user_agent::interceptor());
        if dynamodb.is_some() {
            for_dynamodb.set_endpoint_url(dynamodb);
        }
        if sqs.is_some() {
            for_sqs.set_endpoint_url(sqs);
        }
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(for_dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(for_sqs.build()),
            secrets_manager: SecretsManager::new(shared, secrets_manager, None),
            connections,
        }
    }
}

/// The region that the local stack is in.
pub const LOCAL_REGION: &str = "us-east-1";

/// Access key and secret key of the local stack: any will do, and these can't be mistaken for real ones.
pub const LOCAL_CREDENTIALS: (&str, &str) = ("hookgate-local", "hookgate-local");

fn shared(identity: Identity, patience: Patience, client: OneClient) -> SdkConfig {
    SdkConfig::builder()
        .http_client(client)
        // Pinned, so that an upgrade of the SDK does not change retries and time limits unseen.
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(identity.region))
        .credentials_provider(SharedCredentialsProvider::new(identity.credentials))
        .retry_config(retries(patience))
        .timeout_config(limits(patience))
        // An answer that stops half-way is within an attempt, which has its limit.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // They are in the environment, and stay the same for as long as the process.
        .identity_cache(IdentityCache::no_cache())
        .build()
}

fn retries(patience: Patience) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(patience.attempt / BACKOFF_PARTS)
}

fn limits(patience: Patience) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(patience.attempt)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.operation)
        .build()
}
