//! A stand-in for a deployed stack: the table and the queues of a running local one, and CloudFormation and Secrets
//! Manager on loopback, which say where these are.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, process::Command};

use crate::program::{Ended, Place, Running};

/// What the stack is called.
pub(crate) const STACK: &str = "test";

/// Access keys and their secret keys that CloudFormation takes.
const KEYS: [(&str, &str); 2] =
    [("AKIAENVIRONMENT", "environment-secret"), ("AKIAPROFILE", "profile-secret")];

/// A stack on AWS, and a folder of somebody who has nothing but its name and credentials.
pub(crate) struct Deployed {
    pub(crate) place: Place,
    control: Arc<Control>,
    address: String,
    dynamodb: String,
    sqs: String,
}

/// What CloudFormation and Secrets Manager have and were asked.
#[derive(Default)]
pub(crate) struct Control {
    pub(crate) outputs: Mutex<BTreeMap<&'static str, String>>,
    pub(crate) secrets: Mutex<Value>,
    /// Statuses and codes that the next requests are answered with.
    pub(crate) refusals: Mutex<VecDeque<(u16, &'static str)>>,
    /// The access keys of the requests.
    pub(crate) keys: Mutex<Vec<String>>,
}

impl Deployed {
    /// In front of the stack that runs in `local`.
    pub(crate) async fn of(local: &Place) -> Self {
        let control = Arc::new(Control::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(control.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        let mut deployed =
            Self { place: Place::new(), control, address, dynamodb: String::new(), sqs: String::new() };
        deployed.follow(local);
        deployed
    }

    /// Points at the stack that runs in `local` now.
    pub(crate) fn follow(&mut self, local: &Place) {
        let stack = fs::read_to_string(local.path(".hookgate/stack.json")).unwrap();
        let stack: Value = serde_json::from_str(&stack).unwrap();
        let text = |name: &str| stack[name].as_str().unwrap().to_owned();
        (self.dynamodb, self.sqs) = (text("dynamodb"), text("sqs"));
        *self.control.outputs.lock().unwrap() = BTreeMap::from([
            ("WebhookUrl", format!("{}/webhooks", text("gateway"))),
            ("EventsTable", hookgate::local::TABLE.to_owned()),
            ("QueueUrl", text("queue_url")),
            ("DeadLetterQueueUrl", text("dead_letter_queue_url")),
            ("OrderedQueueUrl", text("ordered_queue_url")),
            ("OrderedDeadLetterQueueUrl", text("ordered_dead_letter_queue_url")),
            ("SecretArn", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hookgate-AbCdEf".to_owned()),
        ]);
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// A command with nothing of this machine's own AWS configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", self.place.path(""))
            .env("NO_PROXY", "127.0.0.1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", KEYS[0].0)
            .env("AWS_SECRET_ACCESS_KEY", KEYS[0].1)
            .env("AWS_ENDPOINT_URL_CLOUDFORMATION", &self.address)
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.address)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb)
            .env("AWS_ENDPOINT_URL_SQS", &self.sqs);
        command
    }

    /// Runs a command on the stack.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Place::end(self.command(&[arguments, &["--stack", STACK]].concat())).await
    }

    /// Starts a command on the stack that goes on until it is stopped.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Place::start(self.command(&[arguments, &["--stack", STACK]].concat()))
    }
}

async fn answer(
    State(control): State<Arc<Control>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    if headers.get("x-amz-target").is_some_and(|target| target == "secretsmanager.GetSecretValue") {
        let wanted: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(wanted["SecretId"], control.outputs.lock().unwrap()["SecretArn"]);
        let secret = control.secrets.lock().unwrap().to_string();
        return (StatusCode::OK, json!({"Name": "hookgate", "SecretString": secret}).to_string());
    }
    let key = check_signature(&headers, &body);
    control.keys.lock().unwrap().push(key);
    if let Some((status, code)) = control.refusals.lock().unwrap().pop_front() {
        return (StatusCode::from_u16(status).unwrap(), refusal(code, "because"));
    }
    if body != format!("Action=DescribeStacks&Version=2010-05-15&StackName={STACK}") {
        // What CloudFormation says of a stack that is not there.
        let name = body.rsplit('=').next().unwrap();
        return (
            StatusCode::BAD_REQUEST,
            refusal("ValidationError", &format!("Stack with id {name} does not exist")),
        );
    }
    let outputs = control.outputs.lock().unwrap();
    let member = |(key, value): (&&str, &String)| {
        format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
    };
    let outputs: String = outputs.iter().map(member).collect();
    let text = format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
         <Stacks><member><StackName>{STACK}</StackName><StackStatus>UPDATE_COMPLETE</StackStatus>\
         <Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult><ResponseMetadata>\
         <RequestId>1</RequestId></ResponseMetadata></DescribeStacksResponse>"
    );
    (StatusCode::OK, text)
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

/// Signature Version 4 by other code than the product's, as
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html> has it (read on
/// 2026-11-21). The answer is the access key.
fn check_signature(headers: &HeaderMap, body: &str) -> String {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    let parts: BTreeMap<&str, &str> = text("authorization")
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .unwrap()
        .split(", ")
        .map(|part| part.split_once('=').unwrap())
        .collect();
    let (key, scope) = parts["Credential"].split_once('/').unwrap();
    let secret = KEYS.iter().find(|(known, _)| *known == key).unwrap().1;
    let signed: String =
        parts["SignedHeaders"].split(';').map(|name| format!("{name}:{}\n", text(name))).collect();
    let hash = |text: &str| HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    let canonical = format!("POST\n/\n\n{signed}\n{}\n{}", parts["SignedHeaders"], hash(body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", text("x-amz-date"), hash(&canonical));
    assert!(scope.ends_with("/eu-west-1/cloudformation/aws4_request"), "{scope}");
    assert!(["content-type", "host", "x-amz-date"].iter().all(|name| signed.contains(&format!("{name}:"))));
    let mut mac = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/').chain([to_sign.as_str()]) {
        let mut next = Hmac::<Sha256>::new_from_slice(&mac).unwrap();
        next.update(part.as_bytes());
        mac = next.finalize().into_bytes().to_vec();
    }
    assert_eq!(parts["Signature"], HEXLOWER.encode(&mac));
    key.to_owned()
}
