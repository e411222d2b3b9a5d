//! The AWS services that actions call: what each is asked, and what it answers.
//!
//! Codes and statuses are those of each service's API reference, in the protocol that the service speaks; read
//! 2026-11-22.

use std::collections::BTreeSet;

use fastrand::Rng;
use hookgate_core::aws::AwsService;
use serde_json::{Value, json};

use crate::{site::Service, state::Reply};

/// What the hosts of all of them end with here.
const DOMAIN: &str = ".simulation";

/// How often one of them refuses, of its own accord, what would otherwise be taken: one time in so many.
const MOODY_ONE_IN: u8 = 8;

/// What the header is called under which an answer has its request's id, and what Lambda says a failed function with.
pub(crate) const REQUEST_ID: &str = "x-amzn-requestid";
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// Where a service is.
pub(crate) fn endpoint(service: AwsService) -> String {
    format!("https://{}{DOMAIN}", service.signing_name())
}

/// Which service is at a host.
pub(crate) fn at(host: &str) -> Option<AwsService> {
    let name = host.strip_suffix(DOMAIN)?;
    AwsService::ALL.into_iter().find(|service| service.signing_name() == name)
}

/// A request to one of them, as the simulation looks at it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) operation: &'static str,
    pub(crate) action: &'static str,
    /// The event's own bytes where they are passed on, else JSON with its id.
    pub(crate) body: String,
    /// Under what name it is told from others, where the service does so.
    pub(crate) once: Option<String>,
}

/// Reads a request. `waits` says that the end of a function is waited for.
pub(crate) fn asked(service: AwsService, body: &str, waits: bool) -> Asked {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |path: &str| json.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    // What a function or an execution is given has the event's bytes in it.
    let inner = |text: String| {
        let envelope: Value = serde_json::from_str(&text).unwrap_or_default();
        envelope.get("body").and_then(Value::as_str).map_or(text, str::to_owned)
    };
    let (operation, action, body) = match service {
        AwsService::Email => {
            let id = text("/Content/Simple/Subject/Data");
            ("SendEmail", "mail", json!({ "id": id }).to_string())
        }
        AwsService::EventBridge => ("PutEvents", "announce", text("/Entries/0/Detail")),
        AwsService::Sns => ("Publish", "alert", form_field(body, "Message")),
        AwsService::Sqs => ("SendMessage", "forward", text("/MessageBody")),
        AwsService::Lambda if waits => ("Invoke", "ask", body.to_owned()),
        AwsService::Lambda => ("Invoke", "start", inner(body.to_owned())),
        AwsService::StepFunctions => ("StartExecution", "ship", inner(text("/input"))),
    };
    let once = (service == AwsService::StepFunctions).then(|| text("/name"));
    Asked { operation, action, body, once }
}

/// A field of a form.
fn form_field(body: &str, name: &str) -> String {
    let form = reqwest::Url::parse(&format!("{}/?{body}", endpoint(AwsService::Sns)));
    let field = |form: reqwest::Url| {
        form.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    form.ok().and_then(field).unwrap_or_default()
}

/// What was started under which name, of which Step Functions starts no other.
pub(crate) type Executions = BTreeSet<String>;

/// What one of them answers that has taken what it was sent, and whether that took effect just now.
pub(crate) fn take(service: AwsService, id: u64, request: &Value, started: &mut Executions) -> (Reply, bool) {
    let id = id.to_string();
    let json = |body: Value| Reply::answer(200, body.to_string());
    let reply = match service {
        AwsService::Email => json(json!({ "MessageId": id })),
        AwsService::EventBridge => json(json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": id }] })),
        AwsService::Sns => Reply::answer(
            200,
            format!(
                "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{id}\
                 </MessageId></PublishResult></PublishResponse>"
            ),
        ),
        AwsService::Sqs => json(json!({ "MessageId": id, "MD5OfMessageBody": "" })),
        AwsService::Lambda if waits(request) => Reply::answer(200, "null").with(REQUEST_ID, id),
        AwsService::Lambda => Reply::answer(202, "").with(REQUEST_ID, id),
        AwsService::StepFunctions => {
            let name = request.get("once").and_then(Value::as_str).unwrap_or_default();
            if !started.insert(name.to_owned()) {
                return (failure(service, 400, STARTED_BEFORE), false);
            }
            json(json!({ "executionArn": format!("arn:aws:states:us-east-1:0:execution:ship:{name}") }))
        }
    };
    (reply, true)
}

/// What Step Functions says of a name that it has seen.
const STARTED_BEFORE: &str = "ExecutionAlreadyExists";

/// Whether a request is for a function whose end is waited for.
pub(crate) fn waits(request: &Value) -> bool {
    request.get("waits").and_then(Value::as_bool).unwrap_or_default()
}

/// What one of them answers now and then that takes nothing: that it can't at the moment, that somebody has to mend
/// something, or that it never will.
pub(crate) fn moody(service: AwsService, request: &Value, dice: &mut Rng) -> Option<Reply> {
    if dice.u8(0..MOODY_ONE_IN) > 0 {
        return None;
    }
    let (status, codes) = match service {
        AwsService::Email => (400, ["SendingPausedException", "LimitExceededException", "MessageRejected"]),
        AwsService::EventBridge => {
            let entry = json!({ "ErrorCode": "InternalFailure", "ErrorMessage": "injected" });
            let body = json!({ "FailedEntryCount": 1, "Entries": [entry] });
            return Some(Reply::answer(200, body.to_string()));
        }
        AwsService::Sns => (400, ["KMSThrottling", "KMSDisabled", "InvalidParameter"]),
        AwsService::Sqs => (400, ["KmsThrottled", "KmsDisabled", "InvalidMessageContents"]),
        AwsService::Lambda if waits(request) => {
            let body = json!({ "errorType": "KeyError", "errorMessage": "injected" });
            let reply = Reply::answer(200, body.to_string()).with(REQUEST_ID, "0");
            return Some(reply.with(FUNCTION_ERROR, "Unhandled"));
        }
        AwsService::Lambda => {
            (400, ["KMSThrottlingException", "KMSDisabledException", "ResourceNotFoundException"])
        }
        AwsService::StepFunctions => {
            (400, ["ExecutionLimitExceeded", "KmsThrottlingException", "StateMachineDoesNotExist"])
        }
    };
    Some(failure(service, status, dice.choice(codes).unwrap_or_default()))
}

/// An error in the protocol that a service speaks.
fn failure(service: AwsService, status: u16, code: &str) -> Reply {
    let message = "injected";
    match service {
        AwsService::Email | AwsService::Lambda => {
            Reply::answer(status, json!({ "message": message }).to_string()).with("x-amzn-errortype", code)
        }
        AwsService::Sns => Reply::answer(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 </ErrorResponse>"
            ),
        ),
        AwsService::EventBridge | AwsService::Sqs | AwsService::StepFunctions => {
            Reply::answer(status, json!({ "__type": code, "message": message }).to_string())
        }
    }
}

/// A failure of its own.
pub(crate) fn internal_error(service: AwsService) -> Reply {
    let code = match service {
        AwsService::Email | AwsService::StepFunctions => "InternalFailure",
        AwsService::EventBridge => "InternalException",
        AwsService::Sns => "InternalError",
        AwsService::Sqs => "com.amazonaws.sqs#InternalError",
        AwsService::Lambda => "ServiceException",
    };
    failure(service, 500, code)
}

/// Too much at once.
pub(crate) fn throttled(service: AwsService) -> Reply {
    match service {
        AwsService::Email => failure(service, 429, "TooManyRequestsException"),
        AwsService::EventBridge | AwsService::StepFunctions => failure(service, 400, "ThrottlingException"),
        AwsService::Sns => failure(service, 400, "Throttling"),
        AwsService::Sqs => failure(service, 400, "com.amazonaws.sqs#RequestThrottled"),
        AwsService::Lambda => failure(service, 429, "TooManyRequestsException").with("retry-after", "30"),
    }
}

/// A right is missing.
pub(crate) fn denied(service: AwsService) -> Reply {
    match service {
        AwsService::Email | AwsService::Lambda => failure(service, 403, "AccessDeniedException"),
        AwsService::EventBridge | AwsService::StepFunctions => failure(service, 400, "AccessDeniedException"),
        AwsService::Sns => failure(service, 403, "AuthorizationError"),
        AwsService::Sqs => failure(service, 403, "com.amazonaws.sqs#AccessDenied"),
    }
}

/// Whether an answer says that what was sent took effect. One of 200 may say that it did not, or be none of the
/// service's at all.
pub(crate) fn says_so(service: Service, headers: &[(&'static str, String)], body: &str) -> bool {
    let has = |name: &str| headers.iter().any(|(known, _)| *known == name);
    match service {
        Service::Aws(AwsService::Email | AwsService::Sns | AwsService::Sqs) => body.contains("MessageId"),
        Service::Aws(AwsService::EventBridge) => body.contains("EventId"),
        Service::Aws(AwsService::Lambda) => has(REQUEST_ID) && !has(FUNCTION_ERROR),
        Service::Aws(AwsService::StepFunctions) => body.contains("executionArn"),
        _ => true,
    }
}
