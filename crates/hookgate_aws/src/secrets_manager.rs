//! Secrets Manager's one call that is needed.
//!
//! It is made of what the SDK's clients are made of, which signs, tries again and keeps the time limits. Absent on purpose: the
//! client itself, which reads a list of all of AWS's partitions before its first call, as each of the SDK's does.

use std::{fmt, sync::Arc};

use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig,
        sigv4::{SCHEME_ID, SigV4AuthScheme},
    },
    retries::classifiers::AwsErrorCodeClassifier,
    service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor},
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::{
        RetryPartition,
        classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
    },
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::{AuthSchemeOptionResolverParams, static_resolver::StaticAuthSchemeOptionResolver},
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError, SensitiveOutput},
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
};
use aws_smithy_types::{
    body::SdkBody,
    config_bag::Layer,
    error::{ErrorMetadata, metadata::ProvideErrorMetadata},
};
use aws_types::{SdkConfig, SigningName, region::SigningRegion};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::{aws_call, store::reason, user_agent::USER_AGENT};

/// What its endpoints begin with, and its name in a signature.
pub(crate) const PREFIX: &str = "secretsmanager";

/// What the SDK calls it, and how its variables are named.
pub(crate) const ID: &str = "Secrets Manager";

/// What errors call this part.
const NAME: &str = "secrets";

/// Asks for secrets.
#[derive(Clone, Debug)]
pub struct SecretsManager(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: SdkConfig,
    endpoint: String,
    get: Operation<String, Document, Refused>,
}

impl SecretsManager {
    /// At an endpoint, with credentials, region, HTTP client, retries and time limits of `config`. Clients of one `retries`
    /// share how often they may try again.
    pub fn new(config: SdkConfig, endpoint: String, retries: Option<RetryPartition>) -> Self {
        let get = operation(&config, &endpoint, retries);
        Self(Arc::new(Parts { config, endpoint, get }))
    }

    /// What it was made of.
    pub fn config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// Where it asks.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The text of a secret by its ARN or name; nothing where it has bytes instead.
    ///
    /// # Errors
    /// What went wrong, in one line that has nothing of the secret.
    pub async fn secret_string(&self, id: &str) -> Result<String, String> {
        let answer = self.0.get.invoke(json!({"SecretId": id}).to_string()).await;
        answer.map(|document| document.text.unwrap_or_default()).map_err(|error| reason(&error))
    }
}

/// `GetSecretValue`, as aws-sdk-secretsmanager 1.125.0 makes it (read 2026-11-23).
fn operation(
    config: &SdkConfig,
    endpoint: &str,
    retries: Option<RetryPartition>,
) -> Operation<String, Document, Refused> {
    let mut layer = Layer::new(NAME);
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(SigV4OperationSigningConfig {
        region: config.region().cloned().map(SigningRegion::from),
        name: Some(SigningName::from_static(PREFIX)),
        ..SigV4OperationSigningConfig::default()
    });
    // No line of the log may have the answer in it, at whichever level.
    layer.store_put(SensitiveOutput);
    if let Some(retries) = retries {
        layer.store_put(retries);
    }
    let mut parts = RuntimeComponentsBuilder::new(NAME);
    parts
        .set_http_client(config.http_client())
        .set_sleep_impl(config.sleep_impl())
        .set_time_source(config.time_source())
        .set_identity_cache(config.identity_cache())
        .set_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .push_auth_scheme(SigV4AuthScheme::new());
    if let Some(credentials) = config.credentials_provider() {
        parts.set_identity_resolver(SCHEME_ID, credentials);
    }
    let parts = StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(parts);
    let mut operation = Operation::builder()
        .service_name(ID)
        .operation_name("GetSecretValue")
        .endpoint_url(endpoint)
        // Those of the SDK's own clients.
        .retry_classifier(HttpStatusCodeClassifier::default())
        .retry_classifier(TransientErrorClassifier::<Refused>::new())
        .retry_classifier(AwsErrorCodeClassifier::<Refused>::new())
        .retry_classifier(ServiceClockSkewClassifier::<Refused>::new())
        .interceptor(ServiceClockSkewInterceptor::new())
        .with_connection_poisoning()
        .runtime_plugin(parts)
        .serializer(request)
        .deserializer(read);
    if let Some(version) = config.behavior_version() {
        operation = operation.behavior_version(version);
    }
    if let Some(retries) = config.retry_config() {
        operation = operation.standard_retry(retries);
    }
    if let Some(limits) = config.timeout_config() {
        operation = operation.timeout_config(limits.clone());
    }
    if let Some(protection) = config.stalled_stream_protection() {
        operation = operation.stalled_stream_protection(protection);
    }
    operation.build()
}

fn request(body: String) -> Result<HttpRequest, BoxError> {
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/x-amz-json-1.1");
    headers.insert("x-amz-target", "secretsmanager.GetSecretValue");
    headers.insert("user-agent", USER_AGENT);
    Ok(request)
}

/// What is looked at of an answer.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "SecretString")]
    text: Option<String>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").finish_non_exhaustive()
    }
}

fn read(response: &HttpResponse) -> Result<Document, OrchestratorError<Refused>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        // Of what serde says, the place is enough: the rest may have the secret in it.
        return serde_json::from_slice(body)
            .map_err(|error| OrchestratorError::other(format!("no answer at column {}", error.column())));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let code = response.headers().get("x-amzn-errortype").or_else(|| text("__type")).or_else(|| text("code"));
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = code.and_then(aws_call::short_code) {
        metadata = metadata.code(code);
    }
    if let Some(message) = text("message").or_else(|| text("Message")) {
        metadata = metadata.message(message);
    }
    Err(OrchestratorError::operation(Refused(metadata.build())))
}

/// What it says instead of a secret.
#[derive(Debug, Error)]
#[error("{0}")]
struct Refused(ErrorMetadata);

impl ProvideErrorMetadata for Refused {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}
