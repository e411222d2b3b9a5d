//! The AWS services that actions call, as far as one machine needs them: each call is put into the inbox in a form that
//! a person can read, and answered as the service answers. Nothing is sent anywhere.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, Response, StatusCode},
    routing::post,
};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{aws::AwsService, request::BODY_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::inbox::{Inbox, Received};

/// Under which path of the gateway the services are.
pub(super) const PATH: &str = "/aws";

/// Most bytes of a call: twice a body, which may be in it in base64 and escaped.
const CALL_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// What the inbox calls a service.
pub const fn inbox_name(service: AwsService) -> &'static str {
    match service {
        AwsService::Email => "email",
        AwsService::EventBridge => "eventbridge",
        AwsService::Sns => "sns",
        AwsService::Sqs => "sqs",
        AwsService::Lambda => "lambda",
        AwsService::StepFunctions => "stepfunctions",
    }
}

/// The endpoint of a service on a gateway.
pub fn endpoint(gateway: &str, service: AwsService) -> String {
    format!("{gateway}{PATH}/{}", inbox_name(service))
}

#[derive(Clone)]
struct Services {
    inbox: Inbox,
    ambient: Ambient,
}

/// The services, under the paths that [`endpoint`] names.
pub(super) fn router(inbox: Inbox, ambient: Ambient) -> Router {
    Router::new()
        .route("/{service}", post(at_root))
        .route("/{service}/", post(at_root))
        .route("/{service}/{*path}", post(at_path))
        .with_state(Services { inbox, ambient })
}

async fn at_root(
    State(services): State<Services>,
    Path(service): Path<String>,
    request: Request,
) -> Response<Body> {
    services.take(&service, "", request).await
}

async fn at_path(
    State(services): State<Services>,
    Path((service, path)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    services.take(&service, &path, request).await
}

/// A call in the form that a person reads, and what it is answered.
struct Taken {
    call: Value,
    status: StatusCode,
    body: String,
}

/// Why a call is none: the code and message of an error.
type Refused = (&'static str, &'static str);

impl Services {
    async fn take(&self, service: &str, path: &str, request: Request) -> Response<Body> {
        let id = format!("local-{:016x}", self.ambient.random());
        let Some(service) = AwsService::ALL.into_iter().find(|known| inbox_name(*known) == service) else {
            return answer(StatusCode::NOT_FOUND, &id, String::new());
        };
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, CALL_BYTES_MAX).await else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, &id, String::new());
        };
        let taken = match service {
            AwsService::Email => email(path, &body, &id),
            AwsService::EventBridge => eventbridge(&body, &id),
            AwsService::Sns => sns(&body, &id),
            AwsService::Sqs => sqs(&body, &id),
            AwsService::Lambda => lambda(path, &parts.headers, &body),
            AwsService::StepFunctions => self.stepfunctions(&body),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err((code, message)) => {
                let error = json!({ "__type": code, "message": message });
                return answer(StatusCode::BAD_REQUEST, &id, error.to_string());
            }
        };
        let name = inbox_name(service);
        let received = Received {
            at: self.ambient.now().to_string(),
            name: name.to_owned(),
            headers: BTreeMap::new(),
            body: taken.call.to_string(),
            body_encoding: "text".to_owned(),
        };
        tracing::info!(inbox = name, bytes = body.len(), "inbox {name} got {} bytes", body.len());
        match self.inbox.add(received) {
            Ok(()) => answer(taken.status, &id, taken.body),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the inbox can't be written");
                answer(StatusCode::INTERNAL_SERVER_ERROR, &id, String::new())
            }
        }
    }

    /// As a standard workflow: a name is used once.
    fn stepfunctions(&self, body: &[u8]) -> Result<Taken, Refused> {
        let request = parsed(body)?;
        let (machine, name) = (text(&request, "/stateMachineArn"), text(&request, "/name"));
        let arn = format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1));
        let call =
            json!({ "state_machine": machine, "name": name, "input": readable(text(&request, "/input")) });
        let known = self.inbox.entries().into_iter().any(|entry| {
            entry.name == inbox_name(AwsService::StepFunctions)
                && serde_json::from_str(&entry.body).is_ok_and(|entry: Value| {
                    text(&entry, "/name") == name && text(&entry, "/state_machine") == machine
                })
        });
        if known {
            return Err(("ExecutionAlreadyExists", "an execution of this name was started before"));
        }
        let started = self.ambient.now().as_seconds();
        let body = json!({ "executionArn": arn, "startDate": started }).to_string();
        Ok(Taken { call, status: StatusCode::OK, body })
    }
}

fn email(path: &str, body: &[u8], id: &str) -> Result<Taken, Refused> {
    if path != "v2/email/outbound-emails" {
        return Err(("NotFoundException", "only SendEmail is here"));
    }
    let request = parsed(body)?;
    let places = [
        ("from", "/FromEmailAddress"),
        ("to", "/Destination/ToAddresses"),
        ("cc", "/Destination/CcAddresses"),
        ("reply_to", "/ReplyToAddresses"),
        ("subject", "/Content/Simple/Subject/Data"),
        ("text", "/Content/Simple/Body/Text/Data"),
        ("html", "/Content/Simple/Body/Html/Data"),
        ("configuration_set", "/ConfigurationSetName"),
    ];
    Ok(ok(picked(&request, &places), &json!({ "MessageId": id })))
}

fn eventbridge(body: &[u8], id: &str) -> Result<Taken, Refused> {
    let request = parsed(body)?;
    let entry = request.pointer("/Entries/0").ok_or(("ValidationException", "there is no entry"))?;
    let places = [("bus", "/EventBusName"), ("source", "/Source"), ("detail-type", "/DetailType")];
    let mut call = picked(entry, &places);
    call.insert("detail".into(), readable(text(entry, "/Detail")));
    Ok(ok(call, &json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": id }] })))
}

fn sns(body: &[u8], id: &str) -> Result<Taken, Refused> {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).cloned();
    let mut call = Map::new();
    for (name, place) in
        [("topic", "TopicArn"), ("group", "MessageGroupId"), ("deduplication", "MessageDeduplicationId")]
    {
        call.extend(field(place).map(|value| (name.to_owned(), Value::from(value))));
    }
    let attributes: Map<String, Value> = (1..)
        .map_while(|number| {
            let entry = format!("MessageAttributes.entry.{number}");
            let value = field(&format!("{entry}.Value.StringValue"))?;
            Some((field(&format!("{entry}.Name"))?, value.into()))
        })
        .collect();
    call.insert("attributes".into(), Value::Object(attributes));
    let message = field("Message").ok_or(("InvalidParameter", "there is no message"))?;
    call.insert("message".into(), readable(&message));
    let body = format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{id}\
         </MessageId></PublishResult></PublishResponse>"
    );
    Ok(Taken { call: Value::Object(call), status: StatusCode::OK, body })
}

fn sqs(body: &[u8], id: &str) -> Result<Taken, Refused> {
    let request = parsed(body)?;
    let places =
        [("queue", "/QueueUrl"), ("group", "/MessageGroupId"), ("deduplication", "/MessageDeduplicationId")];
    let mut call = picked(&request, &places);
    let attributes = request.get("MessageAttributes").and_then(Value::as_object).into_iter().flatten();
    let attributes: Map<String, Value> =
        attributes.map(|(name, value)| (name.clone(), text(value, "/StringValue").into())).collect();
    call.insert("attributes".into(), Value::Object(attributes));
    call.insert("message".into(), readable(text(&request, "/MessageBody")));
    Ok(ok(call, &json!({ "MessageId": id })))
}

fn lambda(path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Taken, Refused> {
    let function = path
        .strip_prefix("2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"))
        .ok_or(("ResourceNotFoundException", "only Invoke is here"))?;
    let waits = headers.get("x-amz-invocation-type").is_none_or(|kind| kind != "Event");
    let call = json!({ "function": function, "waits": waits, "input": parsed(body)? });
    // What waits gets what a function without an answer gives.
    let (status, body) = if waits { (StatusCode::OK, "null") } else { (StatusCode::ACCEPTED, "") };
    Ok(Taken { call, status, body: body.to_owned() })
}

fn ok(call: Map<String, Value>, body: &Value) -> Taken {
    Taken { call: Value::Object(call), status: StatusCode::OK, body: body.to_string() }
}

fn parsed(body: &[u8]) -> Result<Value, Refused> {
    serde_json::from_slice(body).map_err(|_| ("SerializationException", "the body is no JSON"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What is there of these places, under other names.
fn picked(value: &Value, places: &[(&str, &str)]) -> Map<String, Value> {
    let found = |(name, pointer): &(&str, &str)| Some(((*name).to_owned(), value.pointer(pointer)?.clone()));
    places.iter().filter_map(found).collect()
}

/// JSON in a text, taken out of it.
fn readable(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn answer(status: StatusCode, id: &str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Ok(id) = id.parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
