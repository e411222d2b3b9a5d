//! Calling AWS services for actions: signs what was planned, sends it, and says what came of it.
//!
//! Region, credentials and endpoints come from the same variables as those of the SDK's clients. What is called and how
//! its answer is read stands in [`AwsEffect`]; nothing here knows a service by name. The hosts are AWS's own, or were
//! set by the operator, so the guard of [`crate::egress`] is not asked: an endpoint in a VPC has a private address.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use hookgate_core::{
    aws::{AwsAnswer, AwsEffect, AwsService},
    lifecycle,
    time::EpochMillis,
};
use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;

use crate::{
    clients::{ClientsError, Identity},
    egress::{Egress, SendError},
    env,
    performed::Performed,
};

/// How much of an answer is read. Ids and errors are much shorter; what a function returns is of no interest.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The header with the request's id, which every answer of Lambda has.
const REQUEST_ID: &str = "x-amzn-requestid";

/// No code of an error is longer; what is, is something else.
const CODE_BYTES_MAX: usize = 100;

/// How much of an error's message is told, in characters, so that the rest of the detail has room.
const MESSAGE_CHARS_MAX: usize = 120;

/// Calls AWS services.
#[derive(Clone, Debug)]
pub struct AwsCaller {
    egress: Egress,
    identity: Identity,
    endpoints: BTreeMap<AwsService, String>,
}

impl AwsCaller {
    /// Reads region, credentials and endpoints through `lookup`: `AWS_ENDPOINT_URL_SERVICE` before `AWS_ENDPOINT_URL`,
    /// and [`env::PUBLISH_QUEUES`] before both.
    ///
    /// # Errors
    /// [`ClientsError`] names a missing variable.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>, egress: Egress) -> Result<Self, ClientsError> {
        let optional = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let endpoint = |service: AwsService| {
            let own = format!("AWS_ENDPOINT_URL_{}", service.endpoint_id());
            let queues = if service == AwsService::Sqs { optional(env::PUBLISH_QUEUES) } else { None };
            queues.or_else(|| optional(&own)).or_else(|| optional("AWS_ENDPOINT_URL"))
        };
        Ok(Self::new(egress, Identity::from_env(&lookup)?, endpoint))
    }

    /// Calls the local stack, with credentials that mean nothing.
    pub fn local(egress: Egress, endpoint: impl Fn(AwsService) -> String) -> Self {
        Self::new(egress, Identity::local(), |service| Some(endpoint(service)))
    }

    fn new(egress: Egress, identity: Identity, endpoint: impl Fn(AwsService) -> Option<String>) -> Self {
        let endpoints = AwsService::ALL.into_iter().filter_map(|s| Some((s, endpoint(s)?))).collect();
        Self { egress, identity, endpoints }
    }

    /// Makes one call.
    pub async fn call(&self, effect: &AwsEffect, now: EpochMillis) -> Performed {
        let title = effect.service.title();
        let request = match self.request(effect, now) {
            Ok(request) => request,
            // The endpoint is set wrongly, or a header has a line break in it; an operator mends it.
            Err(why) => return Performed::failed(format!("{title} could not be called: {why}")),
        };
        let answer = match self.egress.send(request).await {
            Ok(response) => Answer::read(response).await.map_err(|error| SendError::of(&error)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => judge(effect, &answer, now),
            Err(SendError::Timeout) => {
                Performed::failed(format!("{title} gave no answer within {} ms", effect.timeout_ms))
            }
            Err(error @ SendError::Unreachable) => Performed::failed(format!("{title} {error}")),
            Err(error @ (SendError::Refused | SendError::Invalid)) => {
                Performed::failed(format!("{title} could not be called: {error}"))
            }
            Err(SendError::Broken) => Performed::failed(format!("the connection to {title} broke")),
        }
    }

    /// The signed request.
    fn request(&self, effect: &AwsEffect, now: EpochMillis) -> Result<RequestBuilder, String> {
        let service = effect.service;
        let region = effect.region.as_deref().unwrap_or(&self.identity.region);
        let endpoint = match self.endpoints.get(&service) {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{}", service.host(region)),
        };
        let bad = || format!("`{endpoint}` is no address of an endpoint");
        let base = Url::parse(&endpoint).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(bad());
        }
        let url = Url::parse(&format!("{endpoint}{}", effect.path)).map_err(|_| bad())?;
        let headers = effect.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let signable =
            SignableRequest::new("POST", url.as_str(), headers.clone(), SignableBody::Bytes(&effect.body))
                .map_err(|error| error.to_string())?;
        let identity = self.identity.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service.signing_name())
            .time(system_time(now))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let (signature, _) = sign(signable, &params).map_err(|error| error.to_string())?.into_parts();
        let mut request =
            self.egress.open().post(url.clone()).timeout(Duration::from_millis(effect.timeout_ms));
        for (name, value) in headers.chain(signature.headers()) {
            request = request.header(name, value);
        }
        Ok(request.body(effect.body.clone()))
    }
}

/// The time of a signature.
fn system_time(now: EpochMillis) -> SystemTime {
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// What is read of an answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the beginning of an answer; the rest is left, and its connection closed.
    async fn read(mut response: Response) -> Result<Self, reqwest::Error> {
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(ANSWER_BYTES_MAX);
        Ok(Self { status: response.status(), headers: response.headers().clone(), body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The text of a field of JSON or of an element of XML. What is asked for are ids, codes and messages, whose names
    /// are nowhere else in an answer.
    fn text(&self, name: &str) -> Option<String> {
        if let Some(json) = self.json() {
            return json.get(name)?.as_str().map(str::to_owned);
        }
        let body = std::str::from_utf8(&self.body).ok()?;
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        Some(unescaped(text))
    }

    /// The code of an error, in whichever of its places it is: `AccessDenied`, without shape and address.
    fn code(&self) -> Option<String> {
        let code = self
            .header("x-amzn-errortype")
            .map(str::to_owned)
            .or_else(|| self.text("__type"))
            .or_else(|| self.text("code"))
            .or_else(|| self.text("Code"))?;
        short_code(&code)
    }

    fn message(&self) -> Option<String> {
        self.text("message").or_else(|| self.text("Message")).filter(|message| !message.is_empty())
    }

    fn request_id(&self) -> String {
        self.header(REQUEST_ID).map(printable).unwrap_or_default()
    }
}

/// The code of an error without what stands around it, such as `aws.sqs#` and `:http://internal.amazon.com/coral/…`.
pub(crate) fn short_code(code: &str) -> Option<String> {
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().trim();
    (!code.is_empty() && code.len() <= CODE_BYTES_MAX).then(|| printable(code))
}

/// Text as it was before it was put into XML.
fn unescaped(text: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'")];
    let plain = entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
    // The last, or what was `&amp;lt;` would become `<`.
    plain.replace("&amp;", "&")
}

/// What comes back is written down and shown, so it has no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}

/// What an answer means.
fn judge(effect: &AwsEffect, answer: &Answer, now: EpochMillis) -> Performed {
    let title = effect.service.title();
    let status = answer.status;
    if !status.is_success() {
        let code = answer.code();
        if let (AwsAnswer::Started { before, .. }, Some(code)) = (effect.answer, &code)
            && code == before
        {
            return Performed::done(format!("{title} had started it before"));
        }
        return failure(effect, status.as_u16(), code, answer.message(), retry_after_ms(answer, now));
    }
    // Whatever gave such an answer, it was not the service.
    let foreign = || {
        let status = status.as_u16();
        Performed::failed(format!("{title} answered {status}, but not as {title} does"))
    };
    match effect.answer {
        AwsAnswer::Id(name) => match answer.text(name) {
            Some(id) if !id.is_empty() => Performed::done(format!("{title} took it as {}", printable(&id))),
            _ => foreign(),
        },
        AwsAnswer::Entries => {
            let Some(json) = answer.json() else { return foreign() };
            let entry = |field: &str| json.pointer(&format!("/Entries/0/{field}")).and_then(Value::as_str);
            match (json.get("FailedEntryCount").and_then(Value::as_i64), entry("EventId")) {
                (Some(0), Some(id)) => Performed::done(format!("{title} took it as {}", printable(id))),
                (Some(1..), _) => {
                    let text = |field| entry(field).map(printable);
                    failure(effect, status.as_u16(), text("ErrorCode"), text("ErrorMessage"), None)
                }
                _ => foreign(),
            }
        }
        // What a function returns may be anything, so that it is Lambda's answer only its header says.
        AwsAnswer::Function if answer.header(REQUEST_ID).is_none() => foreign(),
        AwsAnswer::Function => match answer.header("x-amz-function-error") {
            None => Performed::done(format!("{title} took it as {}", answer.request_id())),
            // What a function says of its error may have the event in it, and the function's own log has it all.
            Some(_) => {
                let kind = answer.text("errorType").map(|kind| printable(&kind));
                let kind = kind.unwrap_or_else(|| "an error".to_owned());
                Performed::failed(format!(
                    "{} failed with {kind}; its log has more (request {})",
                    effect.target,
                    answer.request_id()
                ))
            }
        },
        AwsAnswer::Started { arn, .. } => match answer.text(arn) {
            // Its last part is the name; the rest is where it was sent.
            Some(arn) if !arn.is_empty() => Performed::done(format!(
                "{title} runs it as {}",
                printable(arn.rsplit(':').next().unwrap_or(&arn))
            )),
            _ => foreign(),
        },
    }
}

/// How long the service asks to be left alone. Few say so.
fn retry_after_ms(answer: &Answer, now: EpochMillis) -> Option<i64> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    lifecycle::retry_after_ms(text, now)
}

/// What an error means: whether it passes by itself, somebody can mend it, or neither.
fn failure(
    effect: &AwsEffect,
    status: u16,
    code: Option<String>,
    message: Option<String>,
    retry_after_ms: Option<i64>,
) -> Performed {
    let title = effect.service.title();
    let code = code.unwrap_or_default();
    let message = message.unwrap_or_default();
    let said = format!("{title} answered {status} {code}");
    let said = said.trim_end();
    if is_denied(&code) {
        let (permission, target) = (effect.service.permission(), &effect.target);
        return Performed::failed(format!("the worker's role needs {permission} on {target}: {said}"));
    }
    let said = match printable(&without_values(&message)) {
        words if words.is_empty() => said.to_owned(),
        words => format!("{said}: {words}"),
    };
    let passes = status >= 500 || matches!(status, 408 | 409 | 425 | 429) || is_for_now(&code);
    // 403 without a code that is known speaks of rights or credentials all the same.
    if passes || status == 403 || is_mended_by_somebody(&code, &message) {
        return Performed::Failed { detail: said, retry_after_ms };
    }
    Performed::impossible(said)
}

/// What stands for a value that is not told.
const LEFT_OUT: &str = "…";

/// A message without what it quotes. Details are logged, and what a service does not like may be of the event: of
/// `Value 'x' at 'y' failed to …` everything from the first quotation mark to the last is left out, as there may be one
/// in the value, and of a list of addresses the list.
fn without_values(message: &str) -> String {
    let mut message = message.to_owned();
    if let Some((before, _)) = message.split_once('@') {
        message = match before.rsplit_once(':') {
            Some((words, _)) => format!("{words}: {LEFT_OUT}"),
            None => String::new(),
        };
    }
    let mut marks = message.char_indices().filter(|(at, c)| {
        let (before, behind) = (message.get(..*at), message.get(at + c.len_utf8()..));
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // Not that of a word such as «can't».
        let in_word = letter(before.and_then(|text| text.chars().next_back()))
            && letter(behind.and_then(|text| text.chars().next()));
        matches!(c, '\'' | '"' | '`') && !in_word
    });
    let Some((first, _)) = marks.next() else { return message };
    // A mark alone, and what is behind it may be anything.
    let behind =
        marks.next_back().and_then(|(at, mark)| message.get(at + mark.len_utf8()..)).unwrap_or_default();
    format!("{}{LEFT_OUT}{behind}", message.get(..first).unwrap_or_default())
}

/// Whether a right is missing.
fn is_denied(code: &str) -> bool {
    ["AccessDenied", "AuthorizationError", "NotAuthorized", "UnauthorizedOperation"]
        .iter()
        .any(|part| code.contains(part))
}

/// Whether a code speaks of the moment: throttling, a limit that is reached, a fault of the service's own.
fn is_for_now(code: &str) -> bool {
    [
        "Throttl",
        "TooManyRequests",
        "LimitExceeded",
        "QuotaExceeded",
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServer",
        "ServiceUnavailable",
        "RequestTimeout",
    ]
    .iter()
    .any(|part| code.contains(part))
}

/// Whether somebody can mend it without touching the event: credentials, a key, an address that is not verified yet,
/// an account that may not send. The event waits for that.
fn is_mended_by_somebody(code: &str, message: &str) -> bool {
    let codes = [
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
        "AccountSuspended",
        "MailFromDomainNotVerified",
        "SendingPaused",
        "KMS",
        "Kms",
    ];
    // SES has one code for what it will never send and for a sender that is not verified.
    codes.iter().any(|part| code.contains(part))
        || (code.starts_with("MessageRejected") && message.contains("not verified"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(service: AwsService, answer: AwsAnswer) -> AwsEffect {
        AwsEffect {
            service,
            region: None,
            path: "/".into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: 1_000,
            answer,
            target: "the target".into(),
        }
    }

    fn judged(effect: &AwsEffect, status: u16, headers: &[(&'static str, &str)], body: &str) -> Performed {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
        judge(effect, &answer, EpochMillis::from_seconds(1_780_000_000))
    }

    fn word(performed: &Performed) -> (&'static str, &str) {
        match performed {
            Performed::Done { detail } => ("done", detail),
            Performed::Failed { detail, .. } => ("again", detail),
            Performed::Impossible { detail } | Performed::Gone { detail } => ("dead", detail),
        }
    }

    #[test]
    fn without_an_endpoint_the_host_is_that_of_the_region() {
        let caller = AwsCaller::new(Egress::new(&[]).unwrap(), Identity::local(), |_| None);
        let url = |region: Option<&str>| {
            let mut effect = effect(AwsService::Sns, AwsAnswer::Id("MessageId"));
            effect.region = region.map(str::to_owned);
            caller.request(&effect, EpochMillis::from_seconds(0)).unwrap().build().unwrap().url().to_string()
        };
        assert_eq!(url(None), "https://sns.us-east-1.amazonaws.com/");
        assert_eq!(url(Some("cn-north-1")), "https://sns.cn-north-1.amazonaws.com.cn/");
    }

    #[test]
    fn answers_are_read_as_each_protocol_writes_them() {
        let (ses, sns) = (
            effect(AwsService::Email, AwsAnswer::Id("MessageId")),
            effect(AwsService::Sns, AwsAnswer::Id("MessageId")),
        );
        let bus = effect(AwsService::EventBridge, AwsAnswer::Entries);
        let function = effect(AwsService::Lambda, AwsAnswer::Function);
        let machine = effect(
            AwsService::StepFunctions,
            AwsAnswer::Started { arn: "executionArn", before: "ExecutionAlreadyExists" },
        );
        let id = [("x-amzn-requestid", "r-1")];
        let unhandled = [("x-amz-function-error", "Unhandled"), ("x-amzn-requestid", "r-1")];
        for (effect, status, headers, body, want) in [
            (&ses, 200, &[][..], r#"{"MessageId": "m-1"}"#, ("done", "SES took it as m-1")),
            (
                &sns,
                200,
                &[],
                "<PublishResponse xmlns=\"x\"><PublishResult><MessageId>m-2</MessageId></PublishResult></PublishResponse>",
                ("done", "SNS took it as m-2"),
            ),
            (
                &bus,
                200,
                &[],
                r#"{"FailedEntryCount":0,"Entries":[{"EventId":"e-1"}]}"#,
                ("done", "EventBridge took it as e-1"),
            ),
            (&function, 202, &id, "", ("done", "Lambda took it as r-1")),
            (&function, 200, &id, "{\"any\": 1}", ("done", "Lambda took it as r-1")),
            (
                &machine,
                200,
                &[],
                r#"{"executionArn":"arn:aws:states:eu-west-1:1:execution:m:name-1","startDate":1.5}"#,
                ("done", "Step Functions runs it as name-1"),
            ),
            (
                &machine,
                400,
                &[],
                r#"{"__type":"ExecutionAlreadyExists","message":"Execution Already Exists: 'arn'"}"#,
                ("done", "Step Functions had started it before"),
            ),
            // Not what the service says.
            (
                &function,
                200,
                &[],
                "<html>Welcome</html>",
                ("again", "Lambda answered 200, but not as Lambda does"),
            ),
            (&function, 202, &[], "", ("again", "Lambda answered 202, but not as Lambda does")),
            (&ses, 200, &[], "", ("again", "SES answered 200, but not as SES does")),
            (&sns, 200, &[], "<html>Welcome</html>", ("again", "SNS answered 200, but not as SNS does")),
            (&bus, 200, &[], "{}", ("again", "EventBridge answered 200, but not as EventBridge does")),
            (&bus, 200, &[], "[", ("again", "EventBridge answered 200, but not as EventBridge does")),
            (
                &machine,
                200,
                &[],
                "{\"executionArn\": 5}",
                ("again", "Step Functions answered 200, but not as Step Functions does"),
            ),
            // What was taken and failed.
            (
                &bus,
                200,
                &[],
                r#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slow"}]}"#,
                ("again", "EventBridge answered 200 ThrottlingException: slow"),
            ),
            (
                &bus,
                200,
                &[],
                r#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"NotAuthorizedForSourceException"}]}"#,
                (
                    "again",
                    "the worker's role needs events:PutEvents on the target: EventBridge answered 200 NotAuthorizedForSourceException",
                ),
            ),
            (
                &bus,
                200,
                &[],
                r#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"MalformedDetail","ErrorMessage":"Detail is malformed."}]}"#,
                ("dead", "EventBridge answered 200 MalformedDetail: Detail is malformed."),
            ),
            (&bus, 200, &[], r#"{"FailedEntryCount":1,"Entries":[]}"#, ("dead", "EventBridge answered 200")),
            (
                &function,
                200,
                &unhandled,
                r#"{"errorType":"KeyError","errorMessage":"hunter2"}"#,
                ("again", "the target failed with KeyError; its log has more (request r-1)"),
            ),
            (
                &function,
                200,
                &unhandled,
                "oops hunter2",
                ("again", "the target failed with an error; its log has more (request r-1)"),
            ),
        ] {
            let performed = judged(effect, status, headers, body);
            assert_eq!(word(&performed), want, "{body}");
        }
    }

    #[test]
    fn errors_pass_are_mended_or_are_for_good() {
        let sqs = effect(AwsService::Sqs, AwsAnswer::Id("MessageId"));
        let sns = effect(AwsService::Sns, AwsAnswer::Id("MessageId"));
        let xml = |code: &str, message: &str| {
            format!(
                "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            )
        };
        for (effect, status, kind, body, want) in [
            (&sqs, 400, "", r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow"}"#.to_owned(), ("again", "SQS answered 400 RequestThrottled: slow")),
            (&sqs, 400, "", r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#.into(), ("dead", "SQS answered 400 QueueDoesNotExist: The specified queue does not exist.")),
            (&sqs, 400, "", r#"{"__type":"KmsAccessDenied","message":"x"}"#.into(), ("again", "the worker's role needs sqs:SendMessage on the target: SQS answered 400 KmsAccessDenied")),
            (&sqs, 403, "AccessDeniedException:http://internal.amazon.com/coral/", r#"{"Message":"User: arn is not authorized"}"#.into(), ("again", "the worker's role needs sqs:SendMessage on the target: SQS answered 403 AccessDeniedException")),
            (&sqs, 403, "ExpiredTokenException", r#"{"message":"The security token included in the request is expired"}"#.into(), ("again", "SQS answered 403 ExpiredTokenException: The security token included in the request is expired")),
            (&sqs, 400, "UnrecognizedClientException", "{}".into(), ("again", "SQS answered 400 UnrecognizedClientException")),
            (&sqs, 403, "", "Forbidden".into(), ("again", "SQS answered 403")),
            (&sqs, 429, "", String::new(), ("again", "SQS answered 429")),
            (&sqs, 413, "", String::new(), ("dead", "SQS answered 413")),
            (&sqs, 301, "", String::new(), ("dead", "SQS answered 301")),
            (&sqs, 500, "", "<html>".into(), ("again", "SQS answered 500")),
            (&sqs, 503, "", r#"{"message":"a\nb\u001bc"}"#.into(), ("again", "SQS answered 503: a b c")),
            (&sqs, 400, "MessageRejected", r#"{"message":"Email address is not verified. The following identities failed: a"}"#.into(), ("again", "SQS answered 400 MessageRejected: Email address is not verified. The following identities failed: a")),
            (&sqs, 400, "MessageRejected", r#"{"message":"virus"}"#.into(), ("dead", "SQS answered 400 MessageRejected: virus")),
            (&sns, 403, "", xml("AuthorizationError", "no"), ("again", "the worker's role needs sns:Publish on the target: SNS answered 403 AuthorizationError")),
            (&sns, 400, "", xml("Throttling", "Rate exceeded"), ("again", "SNS answered 400 Throttling: Rate exceeded")),
            (&sns, 400, "", xml("InvalidParameter", "Invalid parameter: Message too long"), ("dead", "SNS answered 400 InvalidParameter: Invalid parameter: Message too long")),
            (&sns, 400, "", xml("InvalidParameter", "Invalid parameter: &quot;hunter2&#39; &amp;lt;&quot; is too long"), ("dead", "SNS answered 400 InvalidParameter: Invalid parameter: … is too long")),
            (&sns, 400, "", xml("InvalidParameter", "&lt;a&gt; &amp;amp; b"), ("dead", "SNS answered 400 InvalidParameter: <a> &amp; b")),
            (&sns, 404, "", xml("NotFound", "Topic does not exist"), ("dead", "SNS answered 404 NotFound: Topic does not exist")),
        ] {
            let headers: &[(&'static str, &str)] = if kind.is_empty() { &[] } else { &[("x-amzn-errortype", kind)] };
            let performed = judged(effect, status, headers, &body);
            assert_eq!(word(&performed), want, "{status} {kind} {body}");
        }
        let performed = judged(&sqs, 503, &[("retry-after", "7")], "");
        assert!(matches!(performed, Performed::Failed { retry_after_ms: Some(7_000), .. }), "{performed:?}");
    }

    #[test]
    fn what_a_message_quotes_of_the_event_is_not_told() {
        for (message, told) in [
            ("Rate exceeded", "Rate exceeded"),
            (
                "Email address is not verified. The following identities failed the check in region EU-WEST-1: Ada <ada@example.com>, b@example.com",
                "Email address is not verified. The following identities failed the check in region EU-WEST-1: …",
            ),
            ("ada@example.com: no", ""),
            (
                "1 validation error detected: Value 'it's hunter2' at 'entries.1.detailType' failed to satisfy constraint: Member must have length less than or equal to 128",
                "1 validation error detected: Value … failed to satisfy constraint: Member must have length less than or equal to 128",
            ),
            ("Invalid input: 'Unexpected token \"hunter2' x\" at 1", "Invalid input: … at 1"),
            ("Value 'a:b@example.com' is it", "Value …"),
            ("Execution Already Exists: 'arn", "Execution Already Exists: …"),
            ("It can't be, as it doesn't exist.", "It can't be, as it doesn't exist."),
            ("", ""),
        ] {
            assert_eq!(without_values(message), told);
        }
        let ses = effect(AwsService::Email, AwsAnswer::Id("MessageId"));
        let body = r#"{"message": "Illegal address: 'hunter2'"}"#;
        let performed = judged(&ses, 400, &[("x-amzn-errortype", "BadRequestException")], body);
        assert_eq!(word(&performed), ("dead", "SES answered 400 BadRequestException: Illegal address: …"));
    }

    #[test]
    fn an_answer_says_when_to_come_again() {
        let sqs = effect(AwsService::Sqs, AwsAnswer::Id("MessageId"));
        let performed = judged(&sqs, 503, &[("retry-after", "7")], "");
        assert!(matches!(performed, Performed::Failed { retry_after_ms: Some(7_000), .. }), "{performed:?}");
    }
}
