//! Calls of AWS services against a server that answers as their APIs document.

use std::{collections::BTreeMap, time::Instant};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_aws::{aws_call::AwsCaller, egress::Egress, env, performed::Performed};
use hookgate_core::{
    action::About,
    aws::{AwsEffect, AwsService},
    effect::Effect,
    event::view_for,
    time::EpochMillis,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Answer, Endless, Got, MARKER, SLACK, START, Server, config, name, order};

/// One action of each service, with the region that it is called in and the path.
const ACTIONS: [(&str, AwsService, &str, &str); 7] = [
    (
        "kind = \"email\"\nfrom = \"shop@example.com\"\nto = \"ada@example.com\"\nsubject = \"{{ id }}\"\ntext = \"paid\"",
        AwsService::Email,
        "eu-central-1",
        "/v2/email/outbound-emails",
    ),
    ("kind = \"publish\"\nto = \"default\"", AwsService::EventBridge, "eu-central-1", "/"),
    (
        "kind = \"publish\"\nto = \"arn:aws:sns:us-west-2:123456789012:orders\"",
        AwsService::Sns,
        "us-west-2",
        "/",
    ),
    (
        "kind = \"publish\"\nto = \"https://sqs.ap-south-1.amazonaws.com/123456789012/orders\"",
        AwsService::Sqs,
        "ap-south-1",
        "/",
    ),
    (
        "kind = \"invoke\"\nfunction = \"ship\"",
        AwsService::Lambda,
        "eu-central-1",
        "/2015-03-31/functions/ship/invocations",
    ),
    (
        "kind = \"invoke\"\nfunction = \"arn:aws:lambda:us-east-2:123456789012:function:ship\"\nwait = true\ntimeout_seconds = 1",
        AwsService::Lambda,
        "us-east-2",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-2%3A123456789012%3Afunction%3Aship/invocations",
    ),
    (
        "kind = \"invoke\"\nstate_machine = \"arn:aws:states:us-east-1:123456789012:stateMachine:ship\"",
        AwsService::StepFunctions,
        "us-east-1",
        "/",
    ),
];

fn planned(action: &str) -> AwsEffect {
    let config = config(&format!(
        "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\nevent = {{ id = \"json:/id\", type = \"json:/type\" }}\n\
         [actions.it]\n{action}"
    ));
    let event = order("o1");
    let view = view_for(&config.sources[&name("shop")], &event.request).unwrap();
    let (context, action) = (event.context(&view), name("it"));
    let about = About { action: &action, event: &event, view: &view, context: &context, times_done: 0 };
    let Effect::Aws(effect) = config.actions[&action].action.plan(&about).unwrap() else { panic!("no call") };
    effect
}

fn caller_with(variables: &[(&str, &str)]) -> AwsCaller {
    let mut all = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2-secret-key"),
        ("AWS_SESSION_TOKEN", "hunter2-session"),
        ("AWS_REGION", "eu-central-1"),
    ]);
    all.extend(variables.iter().copied());
    let egress = Egress::new(&[]).unwrap();
    AwsCaller::from_env(|name| all.get(name).map(|value| (*value).to_owned()), egress).unwrap()
}

fn caller(server: &Server) -> AwsCaller {
    caller_with(&[("AWS_ENDPOINT_URL", &server.url("/prefix/"))])
}

fn detail(performed: &Performed) -> &str {
    match performed {
        Performed::Done { detail }
        | Performed::Failed { detail, .. }
        | Performed::Impossible { detail }
        | Performed::Gone { detail } => {
            assert!(!detail.contains(MARKER), "{detail}");
            detail
        }
    }
}

fn again(performed: &Performed) -> bool {
    detail(performed);
    matches!(performed, Performed::Failed { .. })
}

/// What the service answers when it takes a call.
fn taken(service: AwsService) -> Answer {
    match service {
        AwsService::Email => Answer::json(200, json!({"MessageId": "id-1"}).to_string()),
        AwsService::EventBridge => {
            Answer::json(200, json!({"FailedEntryCount": 0, "Entries": [{"EventId": "id-1"}]}).to_string())
        }
        AwsService::Sns => Answer::With {
            status: 200,
            headers: vec![("content-type", "text/xml".into())],
            body: "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
                   <MessageId>id-1</MessageId></PublishResult><ResponseMetadata><RequestId>r</RequestId>\
                   </ResponseMetadata></PublishResponse>"
                .into(),
        },
        AwsService::Sqs => {
            Answer::json(200, json!({"MessageId": "id-1", "MD5OfMessageBody": "0"}).to_string())
        }
        AwsService::Lambda => Answer::header(202, "x-amzn-requestid", "id-1"),
        AwsService::StepFunctions => Answer::json(
            200,
            json!({"executionArn": "arn:aws:states:us-east-1:1:execution:ship:id-1", "startDate": 1.0})
                .to_string(),
        ),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The `authorization` that «Create a signed AWS API request»
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>) gives for a request,
/// by other code than the product's.
fn authorization(got: &Got, signed: &str, region: &str, service: &str) -> String {
    let date = got.header("x-amz-date").unwrap();
    let (day, _) = date.split_once('T').unwrap();
    let scope = format!("{}/{region}/{service}/aws4_request", day);
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", got.header(name).unwrap())).collect();
    let path: String = got.target.replace('%', "%25");
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", hex_of(&got.body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex_of(canonical.as_bytes()));
    let key = [region, service, "aws4_request"]
        .iter()
        .fold(mac(b"AWS4hunter2-secret-key", day), |key, part| mac(&key, part));
    let signature = HEXLOWER.encode(&mac(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}")
}

#[tokio::test]
async fn every_service_is_called_and_its_request_is_signed_as_of_now() {
    for (action, service, region, path) in ACTIONS {
        let server = Server::start(taken(service)).await;
        let effect = planned(action);
        let performed = caller(&server).call(&effect, START).await;
        assert!(matches!(performed, Performed::Done { .. }), "{action}: {performed:?}");
        assert!(detail(&performed).ends_with("id-1"), "{action}: {performed:?}");
        let got = server.only();
        assert_eq!((got.method.as_str(), got.target.as_str()), ("POST", format!("/prefix{path}").as_str()));
        assert_eq!(got.body, effect.body, "{action}");
        for (name, value) in &effect.headers {
            assert_eq!(got.header(name), Some(value.as_str()), "{action}: {name}");
        }
        assert_eq!(got.header("host"), Some(server.place.as_str()));
        assert_eq!(
            got.header("x-amz-date"),
            Some("20260528T202640Z"),
            "{action}: not the time that it was given"
        );
        assert_eq!(got.header("x-amz-security-token"), Some("hunter2-session"));
        let mut signed: Vec<&str> = effect.headers.iter().map(|(name, _)| *name).collect();
        signed.extend(["host", "x-amz-date", "x-amz-security-token"]);
        signed.sort_unstable();
        assert_eq!(
            got.header("authorization"),
            Some(authorization(&got, &signed.join(";"), region, service.signing_name()).as_str()),
            "{action}"
        );
    }
}

#[tokio::test]
async fn another_time_or_body_has_another_signature() {
    let server = Server::start(taken(AwsService::Sqs)).await;
    let (effect, caller) = (planned(ACTIONS[3].0), caller(&server));
    let other = AwsEffect { body: b"{}".to_vec(), ..effect.clone() };
    for (effect, now) in [(&effect, START), (&effect, START.plus_millis(1_000)), (&other, START)] {
        caller.call(effect, now).await;
    }
    let mut signatures: Vec<_> =
        server.got().iter().map(|got| got.header("authorization").unwrap().to_owned()).collect();
    signatures.sort();
    signatures.dedup();
    assert_eq!(signatures.len(), 3);
    // Without a session there is no token.
    let caller = caller_with(&[("AWS_ENDPOINT_URL", &server.url("")), ("AWS_SESSION_TOKEN", "")]);
    caller.call(&effect, EpochMillis::from_millis(-5)).await;
    let got = server.got().pop().unwrap();
    assert_eq!(
        (got.header("x-amz-security-token"), got.header("x-amz-date")),
        (None, Some("19700101T000000Z"))
    );
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again() {
    for (action, service, ..) in ACTIONS {
        let server = Server::start(Answer::status(500)).await;
        let (effect, caller) = (planned(action), caller(&server));
        for answer in [
            Answer::status(500),
            Answer::status(502),
            Answer::status(503),
            Answer::header(429, "x-amzn-errortype", "TooManyRequestsException:"),
            Answer::json(
                400,
                json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string(),
            ),
            Answer::json(400, json!({"__type": "x.y#KmsThrottlingException"}).to_string()),
            // What no service of AWS answers.
            Answer::json(500, "\u{0}garbage\u{1b}[31m".into()),
        ] {
            server.answers(answer.clone());
            let performed = caller.call(&effect, START).await;
            assert!(again(&performed), "{action} {answer:?}: {performed:?}");
            assert!(detail(&performed).starts_with(service.title()), "{performed:?}");
            assert!(!detail(&performed).contains(|c: char| c.is_control()), "{performed:?}");
        }
        if service != AwsService::Lambda {
            for garbage in ["", "\u{0}\u{1}", "<html>hello</html>", "[]", "{\"MessageId\": null}"] {
                server.answers(Answer::json(200, garbage.into()));
                let performed = caller.call(&effect, START).await;
                assert!(again(&performed), "{action} {garbage}: {performed:?}");
                assert!(detail(&performed).contains("not as"), "{performed:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_right_is_named_and_waited_for() {
    for (action, service, ..) in ACTIONS {
        let answer = match service {
            AwsService::Sns => Answer::With {
                status: 403,
                headers: Vec::new(),
                body: "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code>\
                       <Message>User: hunter2 is not authorized</Message></Error></ErrorResponse>"
                    .into(),
            },
            AwsService::Email | AwsService::Lambda => Answer::With {
                status: 403,
                headers: vec![("x-amzn-errortype", "AccessDeniedException".into())],
                body: json!({"Message": "User: hunter2 is not authorized"}).to_string(),
            },
            AwsService::EventBridge | AwsService::Sqs | AwsService::StepFunctions => Answer::json(
                400,
                json!({"__type": "AccessDeniedException", "Message": "User: hunter2"}).to_string(),
            ),
        };
        let server = Server::start(answer).await;
        let effect = planned(action);
        let performed = caller(&server).call(&effect, START).await;
        assert!(again(&performed), "{action}: {performed:?}");
        let want = format!("the worker's role needs {} on {}", service.permission(), effect.target);
        assert!(detail(&performed).starts_with(&want), "{performed:?}");
    }
}

#[tokio::test]
async fn what_will_never_be_taken_is_dead_with_the_reason() {
    for (action, service, ..) in ACTIONS {
        let server = Server::start(Answer::With {
            status: 400,
            headers: vec![("x-amzn-errortype", "ValidationException:".into())],
            body: json!({"message": "1 validation error"}).to_string(),
        })
        .await;
        let caller = caller(&server);
        let performed = caller.call(&planned(action), START).await;
        let want = format!("{} answered 400 ValidationException: 1 validation error", service.title());
        assert_eq!(performed, Performed::Impossible { detail: want }, "{action}");
        // An address that has to be mended; nothing is sent elsewhere.
        let elsewhere = Server::start(Answer::status(200)).await;
        server.answers(Answer::header(307, "location", elsewhere.url("/")));
        let performed = caller.call(&planned(action), START).await;
        assert!(matches!(performed, Performed::Impossible { .. }), "{action}: {performed:?}");
        elsewhere.assert_untouched().await;
    }
}

#[tokio::test]
async fn an_entry_that_was_not_taken_is_a_failure_although_its_request_was() {
    let server = Server::start(Answer::status(200)).await;
    let (effect, caller) = (planned(ACTIONS[1].0), caller(&server));
    let refused = |code: &str| {
        let entry = json!({"ErrorCode": code, "ErrorMessage": "why"});
        Answer::json(200, json!({"FailedEntryCount": 1, "Entries": [entry]}).to_string())
    };
    for (code, want) in [
        ("ThrottlingException", true),
        ("InternalFailure", true),
        ("AccessDeniedException", true),
        ("MalformedDetail", false),
    ] {
        server.answers(refused(code));
        let performed = caller.call(&effect, START).await;
        assert_eq!(again(&performed), want, "{code}: {performed:?}");
        assert!(detail(&performed).contains(code), "{performed:?}");
    }
}

#[tokio::test]
async fn a_function_that_fails_is_tried_again_and_what_it_said_is_not_told() {
    let server = Server::start(Answer::With {
        status: 200,
        headers: vec![("x-amz-function-error", "Unhandled".into()), ("x-amzn-requestid", "r-1".into())],
        body: json!({"errorType": "KeyError", "errorMessage": MARKER, "stackTrace": [MARKER]}).to_string(),
    })
    .await;
    let performed = caller(&server).call(&planned(ACTIONS[5].0), START).await;
    assert!(again(&performed), "{performed:?}");
    assert!(detail(&performed).contains("KeyError") && detail(&performed).contains("r-1"), "{performed:?}");
    // A large result is of no interest.
    server.answers(Answer::With {
        status: 200,
        headers: vec![("x-amzn-requestid", "r-2".into())],
        body: format!("\"{}\"", "x".repeat(3 * 1024 * 1024)),
    });
    let performed = caller(&server).call(&planned(ACTIONS[5].0), START).await;
    assert_eq!(performed, Performed::Done { detail: "Lambda took it as r-2".into() });
}

#[tokio::test]
async fn an_execution_that_was_started_before_is_done() {
    let server = Server::start(Answer::json(
        400,
        json!({"__type": "ExecutionAlreadyExists", "message": "Execution Already Exists: 'arn'"}).to_string(),
    ))
    .await;
    let performed = caller(&server).call(&planned(ACTIONS[6].0), START).await;
    assert_eq!(performed, Performed::Done { detail: "Step Functions had started it before".into() });
}

#[tokio::test]
async fn silence_an_endless_answer_and_nobody_at_all_are_failures() {
    let server = Server::start(Answer::Never).await;
    let effect = planned(ACTIONS[5].0);
    let began = Instant::now();
    let performed = caller(&server).call(&effect, START).await;
    assert!(again(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "Lambda gave no answer within 1000 ms");
    assert!(began.elapsed() < SLACK + std::time::Duration::from_secs(1), "{:?}", began.elapsed());

    let endless = Endless::start().await;
    let caller_of = |place: &str| caller_with(&[("AWS_ENDPOINT_URL", &format!("http://{place}"))]);
    let began = Instant::now();
    let performed = caller_of(&endless.place).call(&planned(ACTIONS[0].0), START).await;
    assert!(again(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "SES answered 200, but not as SES does");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert!(endless.ended().await < 32 * 1024 * 1024);

    // Bound and let go, so that nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    drop(listener);
    let performed = caller_of(&place).call(&planned(ACTIONS[0].0), START).await;
    assert!(again(&performed), "{performed:?}");
    assert_eq!(detail(&performed), "SES could not be reached");
    for endpoint in ["nonsense", "ftp://127.0.0.1", "http://:80"] {
        let performed =
            caller_with(&[("AWS_ENDPOINT_URL_SESV2", endpoint)]).call(&planned(ACTIONS[0].0), START).await;
        assert!(again(&performed), "{performed:?}");
        assert!(detail(&performed).contains(endpoint), "{performed:?}");
    }
}

#[tokio::test]
async fn endpoints_are_those_that_the_variables_name() {
    let (all, own, queues) = (
        Server::start(taken(AwsService::Sqs)).await,
        Server::start(taken(AwsService::Sqs)).await,
        Server::start(taken(AwsService::Sqs)).await,
    );
    let (all_url, own_url, queues_url) = (all.url(""), own.url(""), queues.url("/queues"));
    let effect = planned(ACTIONS[3].0);
    let base = [("AWS_ENDPOINT_URL", all_url.as_str())];
    let with_own = [base.as_slice(), &[("AWS_ENDPOINT_URL_SQS", own_url.as_str())]].concat();
    let with_queues = [with_own.as_slice(), &[(env::PUBLISH_QUEUES, queues_url.as_str())]].concat();
    for variables in [base.as_slice(), &with_own, &with_queues] {
        let performed = caller_with(variables).call(&effect, START).await;
        assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    }
    assert_eq!((all.got().len(), own.got().len(), queues.only().target.as_str()), (1, 1, "/queues/"));
    // The queue that it is for is in the body, whatever the endpoint.
    let body: Value = serde_json::from_slice(&queues.only().body).unwrap();
    assert_eq!(body["QueueUrl"], "https://sqs.ap-south-1.amazonaws.com/123456789012/orders");

    let egress = Egress::new(&[]).unwrap();
    for missing in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        let lookup =
            |name: &str| (name != missing && !name.starts_with("AWS_DEFAULT")).then(|| "x".to_owned());
        let error = AwsCaller::from_env(lookup, egress.clone()).unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
}
