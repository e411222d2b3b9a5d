//! Names for the places at which something can go wrong: which function, which call, about what.

use std::fmt;

use hookgate_core::aws::AwsService;
use serde_json::Value;

use crate::aws;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Takes requests in.
    Ingest,
    /// Works off messages.
    Worker,
    /// The worker, invoked by the schedule.
    Sweeper,
    /// The worker, invoked by the table's stream.
    Stream,
    /// A person with the program.
    Operator,
}

impl Function {
    /// Every function that runs by itself.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Worker, Self::Sweeper, Self::Stream];
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ingest => "ingest",
            Self::Worker => "worker",
            Self::Sweeper => "sweeper",
            Self::Stream => "stream",
            Self::Operator => "operator",
        })
    }
}

/// A place at which a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// By whom.
    pub function: Function,
    /// Such as `PutItem`, or `POST` for what goes outward.
    pub operation: &'static str,
    /// What it is about, such as `outbox`.
    pub about: &'static str,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {} {}", self.function, self.operation, self.about)
    }
}

/// The dependency that a call is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// DynamoDB.
    Table,
    /// SQS.
    Queue,
    /// Secrets Manager.
    Secrets,
    /// The address at which a sender publishes its keys.
    Keys,
    /// Where an action posts to.
    Destination,
    /// A service that actions call.
    Aws(AwsService),
}

impl Service {
    /// Whether actions call it, and what they do takes effect there.
    pub const fn is_outward(self) -> bool {
        matches!(self, Self::Destination | Self::Aws(_))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Table => "DynamoDB",
            Self::Queue => "SQS",
            Self::Secrets => "Secrets Manager",
            Self::Keys => "a sender's keys",
            Self::Destination => "destination",
            // Not the queue that events are in.
            Self::Aws(AwsService::Sqs) => "SQS of an action",
            Self::Aws(service) => service.title(),
        })
    }
}

/// The operations that hookgate calls.
const OPERATIONS: [&str; 9] = [
    "BatchGetItem",
    "DeleteItem",
    "GetItem",
    "GetSecretValue",
    "PutItem",
    "Query",
    "SendMessage",
    "TransactWriteItems",
    "UpdateItem",
];

/// Service and operation of a call, by the header that names it (`DynamoDB_20120810.PutItem`).
pub fn operation(target: &str) -> Option<(Service, &'static str)> {
    let (service, operation) = target.rsplit_once('.')?;
    let service = match service {
        "AmazonSQS" => Service::Queue,
        "secretsmanager" => Service::Secrets,
        _ if service.starts_with("DynamoDB_") => Service::Table,
        _ => return None,
    };
    OPERATIONS.into_iter().find(|known| *known == operation).map(|operation| (service, operation))
}

/// What a call is about.
pub fn about(service: Service, operation: &str, request: &Value) -> &'static str {
    match service {
        Service::Secrets => "secrets",
        Service::Keys => "sender's keys",
        Service::Destination => "action",
        Service::Aws(service) => match service {
            AwsService::Email => "e-mail",
            AwsService::EventBridge => "entry",
            AwsService::Sns => "notification",
            AwsService::Sqs => "published message",
            AwsService::Lambda if aws::waits(request) => "function, to its end",
            AwsService::Lambda => "function",
            AwsService::StepFunctions => "execution",
        },
        Service::Queue if is_ordered(request) => "ordered message",
        Service::Queue => match request.get("DelaySeconds").and_then(Value::as_i64) {
            Some(seconds) if seconds > 0 => "delayed message",
            _ => "message",
        },
        Service::Table if operation == "TransactWriteItems" => "count",
        Service::Table => about_item(operation, request),
    }
}

/// Whether a message is sent to the FIFO queue.
pub fn is_ordered(request: &Value) -> bool {
    request.get("QueueUrl").and_then(Value::as_str).is_some_and(|url| url.ends_with(".fifo"))
}

fn about_item(operation: &str, request: &Value) -> &'static str {
    let key = |name: &str| {
        let direct = ["Item", "Key"].into_iter().find_map(|member| request.get(member)?.get(name));
        let in_batch = || {
            let tables = request.get("RequestItems")?.as_object()?;
            tables.values().next()?.get("Keys")?.get(0)?.get(name)
        };
        let in_query = || request.get("ExpressionAttributeValues")?.get(":pk").filter(|_| name == "pk");
        let found = direct.or_else(in_batch).or_else(in_query);
        found.and_then(|value| value.get("S")).and_then(Value::as_str).unwrap_or_default()
    };
    let (pk, sk) = (key("pk"), key("sk"));
    match pk.split('#').next().unwrap_or_default() {
        "E" if sk.starts_with("P#") => "part",
        "E" if sk.starts_with("A#") => "mark",
        "E" => "event",
        "D" => "outbox",
        "X" => "destination",
        "W" => "parked",
        "O" => "turn",
        "Y" => "limits",
        "R" => "record",
        "C" => "counter",
        "Q" => "quarantine",
        "L" if operation == "UpdateItem" => about_status(request),
        "L" => "status",
        "-" => "warm-up",
        _ => "item",
    }
}

/// An update of a status: taking the lease, renewing it, writing a result that gives it back, or a place in a lane.
fn about_status(request: &Value) -> &'static str {
    let expression = request.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default();
    if expression.contains("if_not_exists(fence") {
        return "lease";
    }
    if expression.contains("turn = :turn") {
        return "place";
    }
    let status = request.pointer("/ExpressionAttributeValues/:status/S").and_then(Value::as_str);
    match status {
        Some("working") => "renewal",
        Some(_) => "result",
        None => "replay",
    }
}
