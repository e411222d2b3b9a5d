//! The engines without their servers: the same answers, in this thread.

use std::collections::BTreeMap;

use hookgate_embedded::{Clock, DynamoDb, Sqs};
use serde_json::json;

use crate::START_MS;

#[test]
fn the_table_answers_in_process_as_on_the_wire() {
    let database = DynamoDb::in_process(&Clock::manual(START_MS)).unwrap();
    let definition = json!({
        "TableName": "things",
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    assert!(database.create_table(definition).unwrap());
    let item = json!({ "pk": { "S": "a" } });
    let put = json!({
        "TableName": "things",
        "Item": item,
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(database.carry_out("PutItem", &put), (200, json!({})));
    let get = json!({ "TableName": "things", "Key": item });
    assert_eq!(database.carry_out("GetItem", &get), (200, json!({ "Item": item })));

    let (status, body) = database.carry_out("PutItem", &put);
    assert_eq!((status, &body["Item"]), (400, &item));
    assert!(body["__type"].as_str().unwrap().ends_with("#ConditionalCheckFailedException"), "{body}");
    let (status, body) = database.carry_out("PutItem", &json!({ "TableName": 1 }));
    assert_eq!(status, 400, "{body}");
    let (status, body) = database.carry_out("DescribeTable", &json!({ "TableName": "things" }));
    assert_eq!(status, 501, "{body}");
}

#[tokio::test]
async fn a_receive_hands_out_what_it_sees_and_leaves_the_rest_as_it_was() {
    let sqs = Sqs::in_process(&Clock::manual(START_MS)).unwrap();
    sqs.create_queue("work", &BTreeMap::new()).unwrap();
    let mut ids = Vec::new();
    for body in ["a", "b", "c"] {
        let request = json!({ "QueueUrl": "http://nowhere/000000000000/work", "MessageBody": body });
        let (status, answer) = sqs.carry_out("SendMessage", &request).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        ids.push(answer["MessageId"].as_str().unwrap().to_owned());
    }
    let mut asked = Vec::new();
    let received = sqs.receive_some("work", 2, |id| {
        asked.push(id.to_owned());
        id != ids[0]
    });
    let bodies: Vec<_> = received.unwrap().into_iter().map(|message| message.body).collect();
    assert_eq!((bodies.as_slice(), &asked), (["b".to_owned(), "c".to_owned()].as_slice(), &ids));
    let left = sqs.peek("work", 1).unwrap().remove(0);
    assert_eq!((left.body.as_str(), left.receive_count), ("a", 0));

    let (status, answer) =
        sqs.carry_out("SendMessage", &json!({ "QueueUrl": "none", "MessageBody": "x" })).await.unwrap();
    assert_eq!((status, &answer["__type"]), (400, &json!("AWS.SimpleQueueService.NonExistentQueue")));
}
