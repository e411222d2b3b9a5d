//! What an SDK client sees of each fault, and what the engine behind it did.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use hookgate_embedded::{Clock, Engines, Fault, How, Request};
use serde_json::json;

use crate::{START_MS, dynamodb_client, patiently, sqs_client, start, until};

/// What a call came to: applied or the error's code, `no answer`, or `no sense`.
async fn put(client: &aws_sdk_dynamodb::Client, key: &str) -> String {
    let put = client.put_item().table_name("things").item("pk", AttributeValue::S(key.to_owned()));
    seen(put.condition_expression("attribute_not_exists(pk)").send().await)
}

async fn send(client: &aws_sdk_sqs::Client, url: &str, body: &str) -> String {
    seen(client.send_message().queue_url(url).message_body(body).send().await)
}

fn seen<T, E>(result: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    match result {
        Ok(_) => "ok".to_owned(),
        Err(SdkError::ServiceError(error)) => match error.err().code() {
            Some(code) => format!("{} {code}", error.raw().status()),
            None => "no sense".to_owned(),
        },
        Err(SdkError::DispatchFailure(_)) => "no answer".to_owned(),
        Err(SdkError::ResponseError(_)) => "no sense".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

async fn engines() -> Engines {
    let engines = start(&Clock::manual(START_MS)).await;
    let definition = json!({
        "TableName": "things",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    engines.dynamodb().create_table(definition).unwrap();
    engines.sqs().create_queue("work", &Default::default()).unwrap();
    engines
}

async fn items(client: &aws_sdk_dynamodb::Client) -> i32 {
    client.scan().table_name("things").send().await.unwrap().count
}

#[tokio::test]
async fn each_fault_of_dynamodb() {
    let engines = engines().await;
    let (traffic, client) = (engines.dynamodb().traffic(), dynamodb_client(&engines));
    for (at, (how, sees, applied)) in [
        (How::Status500, "500 InternalServerError", 0),
        (How::Throttle, "400 ProvisionedThroughputExceededException", 0),
        (How::AccessDenied, "400 AccessDeniedException", 0),
        (How::Drop, "no answer", 0),
        (How::ApplyThenDrop, "no answer", 1),
        (How::Garbage, "no sense", 0),
        (How::Apply500, "500 InternalServerError", 1),
        (How::ApplyTwice, "400 ConditionalCheckFailedException", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let (key, before) = (at.to_string(), items(&client).await);
        let fault = traffic.break_with(Fault { operation: Some("PutItem".into()), ..Fault::new(how) });
        assert_eq!(put(&client, &key).await, sees, "{how:?}");
        assert_eq!(traffic.fired(fault), 1, "{how:?}");
        // Reads go on.
        assert_eq!(items(&client).await - before, applied, "{how:?}");
        traffic.heal();
        let expected = if applied == 0 { "ok" } else { "400 ConditionalCheckFailedException" };
        assert_eq!(put(&client, &key).await, expected, "{how:?}");
    }
}

#[tokio::test]
async fn each_fault_of_sqs() {
    let engines = engines().await;
    let (traffic, client) = (engines.sqs().traffic(), sqs_client(&engines));
    let url = engines.sqs().queue_url("work").unwrap();
    for (how, sees, applied) in [
        (How::Status500, "500 InternalFailure", 0),
        (How::Throttle, "400 RequestThrottled", 0),
        (How::AccessDenied, "403 AccessDenied", 0),
        (How::Drop, "no answer", 0),
        (How::ApplyThenDrop, "no answer", 1),
        (How::Garbage, "no sense", 0),
        (How::Apply500, "500 InternalFailure", 1),
        (How::ApplyTwice, "ok", 2),
    ] {
        let before = engines.sqs().counts("work").unwrap().visible;
        traffic.break_with(Fault::new(how));
        assert_eq!(send(&client, &url, "x").await, sees, "{how:?}");
        assert_eq!(engines.sqs().counts("work").unwrap().visible - before, applied, "{how:?}");
        traffic.heal();
        assert_eq!(send(&client, &url, "x").await, "ok", "{how:?}");
    }
}

#[tokio::test]
async fn a_hanging_request_is_let_go_with_its_client() {
    let engines = engines().await;
    let url = engines.sqs().queue_url("work").unwrap();
    engines.dynamodb().traffic().break_with(Fault::new(How::Hang));
    engines.sqs().traffic().break_with(Fault::new(How::Hang));
    let (dynamodb, sqs) = (dynamodb_client(&engines), sqs_client(&engines));
    let calls = [
        tokio::spawn(async move { put(&dynamodb, "1").await }),
        tokio::spawn(async move { send(&sqs, &url, "x").await }),
    ];
    let hanging = || engines.dynamodb().traffic().hanging() + engines.sqs().traffic().hanging();
    until(|| hanging() == 2).await;
    for call in &calls {
        call.abort();
    }
    until(|| hanging() == 0).await;
    assert_eq!(engines.sqs().counts("work").unwrap().visible, 0);
}

#[tokio::test]
async fn stopping_ends_what_hangs() {
    let engines = engines().await;
    let traffic = engines.dynamodb().traffic().clone();
    traffic.break_with(Fault::new(How::Hang));
    let client = dynamodb_client(&engines);
    let call = tokio::spawn(async move { put(&client, "1").await });
    until(|| traffic.hanging() == 1).await;
    patiently(engines.stop()).await;
    assert_eq!(patiently(call).await.unwrap(), "no answer");
    assert_eq!(traffic.hanging(), 0);
}

#[tokio::test]
async fn a_fault_hits_what_it_names_and_as_often_as_it_says() {
    let engines = engines().await;
    let (traffic, client) = (engines.dynamodb().traffic(), dynamodb_client(&engines));
    let fault =
        Fault { matching: Some("one\"".into()), skip: 1, times: Some(2), ..Fault::new(How::Status500) };
    let fault = traffic.break_with(fault);
    let mut seen = Vec::new();
    for key in ["two", "one", "one", "two", "one", "one"] {
        seen.push((key, put(&client, key).await));
    }
    let exists = "400 ConditionalCheckFailedException";
    let broken = "500 InternalServerError";
    let expected =
        [("two", "ok"), ("one", "ok"), ("one", broken), ("two", exists), ("one", broken), ("one", exists)];
    assert_eq!(seen, expected.map(|(key, answer)| (key, answer.to_owned())));
    assert_eq!(traffic.fired(fault), 2);
}

#[tokio::test]
async fn one_fault_can_be_healed_by_itself() {
    let engines = engines().await;
    let (traffic, client) = (engines.dynamodb().traffic(), dynamodb_client(&engines));
    let first = traffic.break_with(Fault::new(How::Throttle));
    traffic.break_with(Fault::new(How::Status500));
    assert_eq!(put(&client, "1").await, "400 ProvisionedThroughputExceededException");
    traffic.heal_one(first);
    assert_eq!(put(&client, "1").await, "500 InternalServerError");
    traffic.heal();
    assert_eq!(put(&client, "1").await, "ok");
}

#[tokio::test]
async fn requests_are_counted_whether_broken_or_not() {
    let engines = engines().await;
    let url = engines.sqs().queue_url("work").unwrap();
    let (traffic, client) = (engines.sqs().traffic(), sqs_client(&engines));
    send(&client, &url, "x").await;
    traffic.break_with(Fault { times: Some(1), ..Fault::new(How::Drop) });
    send(&client, &url, "xy").await;
    client.list_queues().send().await.unwrap();
    // What happens in process passes no front.
    engines.sqs().receive("work", 1, std::time::Duration::ZERO).await.unwrap();
    let requests = traffic.requests();
    let operations: Vec<_> = requests.iter().map(|request| &*request.operation).collect();
    assert_eq!(operations, ["SendMessage", "SendMessage", "ListQueues"]);
    assert_eq!(requests[1].bytes, requests[0].bytes + 1);
    assert_eq!((traffic.count("SendMessage"), traffic.count("ReceiveMessage")), (2, 0));
    traffic.reset();
    assert_eq!((traffic.requests(), traffic.count("SendMessage")), (Vec::<Request>::new(), 0));
}
