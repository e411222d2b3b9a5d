//! A deployed stack, found by what CloudFormation says that it has made.
//!
//! Credentials and region come from the chain that all AWS tools use: variables, profiles, SSO, a credential process,
//! web identity, instance metadata. `AWS_ENDPOINT_URL`, and `AWS_ENDPOINT_URL_CLOUDFORMATION`, `…_DYNAMODB`, `…_SQS`
//! and `…_SECRETS_MANAGER` before it, point somewhere else.
//!
//! Absent on purpose: CloudFormation's SDK, a large crate to compile for one call.

use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use aws_config::{BehaviorVersion, Region, profile::ProfileFileCredentialsProvider};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_types::SdkConfig;
use hookgate_aws::{
    clients::{Clients, Patience},
    endpoints::endpoint,
};
use hookgate_core::{body, request::Request, time::EpochMillis};
use serde_json::Value;

use crate::local::Ordered;

/// Which stack is meant.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name or id.
    pub name: String,
    /// Its region; otherwise what the chain says.
    pub region: Option<String>,
    /// The profile of `~/.aws/config` to use; otherwise what the chain says.
    pub profile: Option<String>,
}

/// A stack that was found.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Clients for its region.
    pub clients: Clients,
    /// The name of its table.
    pub table: String,
    /// The URL of its queue.
    pub queue_url: String,
    /// The URL of its dead-letter queue.
    pub dead_letter_queue_url: String,
    /// The FIFO queue, where the stack has one.
    pub ordered: Option<Ordered>,
    /// The ARN of its secret.
    pub secret_arn: String,
    /// What senders' URLs begin with.
    pub gateway: String,
}

/// What `WebhookUrl` ends with.
const WEBHOOKS: &str = "/webhooks";

/// Tries of the one call. CloudFormation throttles a whole account at once, other people's deployments included.
const TRIES: u32 = 3;

/// The wait after the first failed try; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

impl Wanted {
    /// Looks the stack up.
    ///
    /// # Errors
    /// No credentials, no region, no such stack, one of another kind, or no permission to ask; each says what to do.
    pub async fn find(&self) -> anyhow::Result<Deployed> {
        let config = self.config().await;
        let region = config.region().map(|region| region.as_ref().to_owned()).ok_or_else(|| {
            anyhow!(
                "in which region the stack {} is, is not known; --region or AWS_REGION says it",
                self.name
            )
        })?;
        if region.is_empty()
            || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            bail!("`{region}` is no region; one looks like eu-west-1");
        }
        let credentials = credentials(&config).await?;
        let stack = self.describe(&config, &region, &credentials).await?;
        self.read(&stack, &region, Clients::from_config(&config, Patience::WORKER))
    }

    async fn config(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            // By itself the chain would prefer keys in the environment to a profile that was asked for, and so show
            // another account's stack of the same name.
            let named = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(named);
        }
        loader.load().await
    }

    /// The stack as CloudFormation describes it.
    async fn describe(
        &self,
        config: &SdkConfig,
        region: &str,
        credentials: &Credentials,
    ) -> anyhow::Result<Value> {
        let endpoint = endpoint(config, "CloudFormation", "cloudformation");
        let client = reqwest::Client::builder()
            .connect_timeout(Patience::WORKER.attempt)
            .timeout(Patience::WORKER.operation)
            .build()?;
        let (mut pause, mut reason) = (PAUSE, String::new());
        for left in (0..TRIES).rev() {
            match self.ask(&client, &endpoint, region, credentials).await? {
                Asked::Answered(stack) => return Ok(stack),
                Asked::Refused(refusal) => return Err(self.refused(&refusal, region, credentials)),
                Asked::Busy(why) => reason = why,
            }
            if left > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        bail!(
            "CloudFormation at {endpoint} did not answer: {reason}; is there a region {region}, and a way to it?"
        )
    }

    async fn ask(
        &self,
        client: &reqwest::Client,
        endpoint: &str,
        region: &str,
        credentials: &Credentials,
    ) -> anyhow::Result<Asked> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "DescribeStacks")
            .append_pair("Version", "2010-05-15")
            .append_pair("StackName", &self.name)
            .finish();
        let request = signed(endpoint, form, region, credentials)?;
        let response = match client.execute(request).await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return Ok(Asked::Busy("no answer in time".to_owned())),
            Err(_) => return Ok(Asked::Busy("it could not be reached".to_owned())),
        };
        let status = response.status();
        let Ok(bytes) = response.bytes().await else {
            return Ok(Asked::Busy("the connection broke".to_owned()));
        };
        let document = xml(&bytes);
        if status.is_success() {
            let path = "/DescribeStacksResponse/DescribeStacksResult/Stacks";
            let stack = document.as_ref().and_then(|document| document.pointer(path));
            return match stack.and_then(|stacks| members(stacks).first().map(|stack| (*stack).clone())) {
                Some(stack) => Ok(Asked::Answered(stack)),
                None => {
                    bail!("CloudFormation at {endpoint} answered something that is no description of a stack")
                }
            };
        }
        let refusal = document.and_then(|document| Refusal::read(&document));
        Ok(match refusal {
            Some(refusal) if refusal.code != "Throttling" && !status.is_server_error() => {
                Asked::Refused(refusal)
            }
            Some(refusal) => Asked::Busy(format!("{}: {}", refusal.code, refusal.message)),
            None => Asked::Busy(format!("it answered {}", status.as_u16())),
        })
    }

    fn refused(&self, refusal: &Refusal, region: &str, credentials: &Credentials) -> anyhow::Error {
        let Refusal { code, message } = refusal;
        let name = &self.name;
        let key = credentials.access_key_id();
        match code.as_str() {
            "ValidationError" if message.contains("does not exist") => anyhow!(
                "there is no stack {name} in {region} for the access key {key}; --region and --profile look elsewhere"
            ),
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => anyhow!(
                "the access key {key} has no permission for cloudformation:DescribeStacks on {name} in {region}: {message}"
            ),
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
                anyhow!("the credentials have expired (access key {key}); sign in again")
            }
            "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => anyhow!(
                "AWS does not take the access key {key}, or {region} is not switched on in its account: {message}"
            ),
            _ => anyhow!("CloudFormation DescribeStacks of {name} in {region}: {code}: {message}"),
        }
    }

    fn read(&self, stack: &Value, region: &str, clients: Clients) -> anyhow::Result<Deployed> {
        let outputs = stack.get("Outputs").map(members).unwrap_or_default();
        let mut missing = Vec::new();
        let find = |name: &str| {
            let is = |output: &&&Value| output.get("OutputKey").and_then(Value::as_str) == Some(name);
            outputs.iter().find(is).and_then(|output| output.get("OutputValue")?.as_str())
        };
        let mut output = |name: &'static str| {
            let found = find(name);
            if found.is_none() {
                missing.push(name);
            }
            found.unwrap_or_default().to_owned()
        };
        let deployed = Deployed {
            clients,
            table: output("EventsTable"),
            queue_url: output("QueueUrl"),
            dead_letter_queue_url: output("DeadLetterQueueUrl"),
            ordered: Ordered::of(
                find("OrderedQueueUrl").unwrap_or_default(),
                find("OrderedDeadLetterQueueUrl").unwrap_or_default(),
            ),
            secret_arn: output("SecretArn"),
            gateway: output("WebhookUrl").trim_end_matches('/').trim_end_matches(WEBHOOKS).to_owned(),
        };
        if missing.is_empty() {
            return Ok(deployed);
        }
        let status = stack.get("StackStatus").and_then(Value::as_str).unwrap_or("of unknown status");
        bail!(
            "the stack {} in {region} ({status}) has no output {}: it was not made from hookgate's template.yaml, or is not \
             ready",
            self.name,
            missing.join(", ")
        )
    }
}

async fn credentials(config: &SdkConfig) -> anyhow::Result<Credentials> {
    let provider = config.credentials_provider().context("no AWS credentials are configured")?;
    provider.provide_credentials().await.context(
        "there are no AWS credentials; `aws configure`, `aws sso login`, AWS_PROFILE or --profile give some",
    )
}

/// What came of asking.
enum Asked {
    /// A stack.
    Answered(Value),
    /// Asking again gives the same.
    Refused(Refusal),
    /// Asking again may help.
    Busy(String),
}

struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    fn read(document: &Value) -> Option<Self> {
        let error = document.pointer("/ErrorResponse/Error")?;
        let text = |name: &str| error.get(name)?.as_str().map(str::to_owned);
        Some(Self { code: text("Code")?, message: text("Message").unwrap_or_default() })
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn signed(
    endpoint: &str,
    form: String,
    region: &str,
    credentials: &Credentials,
) -> anyhow::Result<reqwest::Request> {
    let url = format!("{endpoint}/");
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("cloudformation")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let content_type = [("content-type", FORM)].into_iter();
    let signable = SignableRequest::new("POST", &url, content_type, SignableBody::Bytes(form.as_bytes()))
        .with_context(|| format!("signing a request to {endpoint}"))?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    let mut request = http::Request::post(&url).header("content-type", FORM).body(form)?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.try_into()?)
}

/// An XML document in the form that rules see it in: repeated elements are a list, a single one is not.
fn xml(bytes: &[u8]) -> Option<Value> {
    let mut document = Request::post("", bytes, EpochMillis::from_millis(0));
    document.set_header("content-type", "text/xml");
    body::view(&document, "").ok().map(|view| view.value)
}

/// The elements of a list as CloudFormation writes one.
fn members(list: &Value) -> Vec<&Value> {
    match list.get("member") {
        Some(Value::Array(members)) => members.iter().collect(),
        Some(member) => vec![member],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_one_is_a_list() {
        let one = xml(b"<a><l><member><k>1</k></member></l></a>").unwrap();
        let two = xml(b"<a><l><member><k>1</k></member><member><k>2</k></member></l></a>").unwrap();
        let none = xml(b"<a><l/></a>").unwrap();
        let count = |document: &Value| members(&document["a"]["l"]).len();
        assert_eq!((count(&none), count(&one), count(&two)), (0, 1, 2));
    }
}
