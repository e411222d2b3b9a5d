//! The table engine: conditions, transactions, streams, expiry, and what writes cost.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem};
use hookgate_embedded::{Clock, Engines, StreamPosition};
use serde_json::{Value, json};

use crate::{START_MS, dynamodb_client, patiently, start, start_in};

const NOW: Duration = Duration::ZERO;

fn definition() -> Value {
    json!({
        "TableName": "things",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
    })
}

async fn with_table(clock: &Clock) -> (Engines, aws_sdk_dynamodb::Client) {
    let engines = start(clock).await;
    assert!(engines.dynamodb().create_table(definition()).unwrap());
    let client = dynamodb_client(&engines);
    (engines, client)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn item(key: &str, body: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text(key)), ("body".to_owned(), text(body))])
}

async fn put(client: &aws_sdk_dynamodb::Client, key: &str, body: &str) {
    client.put_item().table_name("things").set_item(Some(item(key, body))).send().await.unwrap();
}

/// `(eventName, key)` of each record.
fn events(records: &[Value]) -> Vec<(&str, &str)> {
    records
        .iter()
        .map(|record| {
            (record["eventName"].as_str().unwrap(), record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_table_is_created_once() {
    let (engines, client) = with_table(&Clock::system()).await;
    assert!(!engines.dynamodb().create_table(definition()).unwrap());
    assert!(engines.dynamodb().create_table(json!({"TableName": "t"})).is_err());
    let table = client.describe_table().table_name("things").send().await.unwrap().table.unwrap();
    assert_eq!(table.table_status.unwrap().as_str(), "ACTIVE");
}

#[tokio::test]
async fn an_item_comes_back_exactly() {
    let (_engines, client) = with_table(&Clock::system()).await;
    let body = "ä\u{0}\u{1F980}\"\\\u{FEFF}\r\n".repeat(25_000);
    assert!(body.len() > 300_000);
    put(&client, "1", &body).await;
    let found = client.get_item().table_name("things").key("pk", text("1")).send().await.unwrap();
    assert_eq!(found.item.unwrap(), item("1", &body));
}

#[tokio::test]
async fn a_condition_refuses_the_second_put() {
    let (_engines, client) = with_table(&Clock::system()).await;
    let first = |body| {
        let put = client.put_item().table_name("things").set_item(Some(item("1", body)));
        put.condition_expression("attribute_not_exists(pk)").send()
    };
    first("a").await.unwrap();
    let refused = first("b").await.unwrap_err().into_service_error();
    assert!(refused.is_conditional_check_failed_exception(), "{refused:?}");
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let (_engines, client) = with_table(&Clock::system()).await;
    let write = |key: &str| {
        let put = Put::builder().table_name("things").set_item(Some(item(key, "x")));
        let put = put.condition_expression("attribute_not_exists(pk)").build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    client.transact_write_items().transact_items(write("1")).send().await.unwrap();
    let both = client.transact_write_items().transact_items(write("2")).transact_items(write("1"));
    let refused = both.send().await.unwrap_err().into_service_error();
    assert!(refused.is_transaction_canceled_exception(), "{refused:?}");
    let found = client.get_item().table_name("things").key("pk", text("2")).send().await.unwrap();
    assert_eq!(found.item, None);
}

#[tokio::test]
async fn a_stream_has_the_shape_lambda_gives_it() {
    let (engines, client) = with_table(&Clock::manual(START_MS)).await;
    put(&client, "1", "a").await;
    put(&client, "1", "b").await;
    client.delete_item().table_name("things").key("pk", text("1")).send().await.unwrap();
    let page = engines.dynamodb().stream("things", None, 100, NOW).await.unwrap();
    assert_eq!(events(&page.records), [("INSERT", "1"), ("MODIFY", "1"), ("REMOVE", "1")]);
    let record = &page.records[0];
    assert_eq!(record["eventSource"], "aws:dynamodb");
    assert_eq!(record["eventVersion"], "1.1");
    assert!(record["eventSourceARN"].as_str().unwrap().contains(":table/things/stream/"), "{record}");
    assert_eq!(record["dynamodb"]["StreamViewType"], "KEYS_ONLY");
    assert_eq!(record["dynamodb"]["ApproximateCreationDateTime"], json!(START_MS / 1000));
    assert_eq!(record["dynamodb"].get("NewImage"), None);
    assert_eq!(page.position.unwrap().as_str(), page.records[2]["dynamodb"]["SequenceNumber"]);
}

#[tokio::test]
async fn a_put_that_changes_nothing_is_in_the_stream_or_not() {
    let (engines, client) = with_table(&Clock::system()).await;
    put(&client, "1", "a").await;
    put(&client, "1", "a").await;
    let page = engines.dynamodb().stream("things", None, 100, NOW).await.unwrap();
    // Real DynamoDB writes one record here; the engine writes two. Readers must bear with repeats anyway.
    assert_eq!(events(&page.records), [("INSERT", "1"), ("MODIFY", "1")]);
}

#[tokio::test]
async fn a_stream_is_read_page_by_page() {
    let (engines, client) = with_table(&Clock::manual(START_MS)).await;
    for key in ["1", "2", "3", "4", "5"] {
        put(&client, key, "x").await;
    }
    let (mut after, mut keys) = (None::<StreamPosition>, Vec::new());
    loop {
        let page = engines.dynamodb().stream("things", after.as_ref(), 2, NOW).await.unwrap();
        assert!(page.records.len() <= 2);
        if page.records.is_empty() {
            assert_eq!(page.position, after);
            break;
        }
        keys.extend(events(&page.records).iter().map(|(_, key)| key.to_string()));
        after = page.position;
    }
    assert_eq!(keys, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_reader_that_waits_wakes_on_a_write() {
    let (engines, client) = with_table(&Clock::system()).await;
    let dynamodb = engines.dynamodb().clone();
    let reader =
        tokio::spawn(async move { dynamodb.stream("things", None, 10, Duration::from_secs(600)).await });
    tokio::task::yield_now().await;
    put(&client, "1", "x").await;
    let page = patiently(reader).await.unwrap().unwrap();
    assert_eq!(events(&page.records), [("INSERT", "1")]);
}

#[tokio::test]
async fn a_stream_position_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let engines = start_in(folder.path(), &clock).await;
    assert!(engines.dynamodb().create_table(definition()).unwrap());
    let client = dynamodb_client(&engines);
    put(&client, "1", "x").await;
    put(&client, "2", "x").await;
    let page = engines.dynamodb().stream("things", None, 1, NOW).await.unwrap();
    assert_eq!(events(&page.records), [("INSERT", "1")]);
    let saved = page.position.unwrap().as_str().to_owned();
    engines.stop().await;

    let engines = start_in(folder.path(), &clock).await;
    assert!(!engines.dynamodb().create_table(definition()).unwrap());
    put(&dynamodb_client(&engines), "3", "x").await;
    let after = StreamPosition::parse(&saved).unwrap();
    let page = engines.dynamodb().stream("things", Some(&after), 10, NOW).await.unwrap();
    assert_eq!(events(&page.records), [("INSERT", "2"), ("INSERT", "3")]);
}

#[tokio::test]
async fn a_stream_keeps_its_order_when_its_old_records_are_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let engines = start_in(folder.path(), &clock).await;
    engines.dynamodb().create_table(definition()).unwrap();
    put(&dynamodb_client(&engines), "1", "x").await;
    put(&dynamodb_client(&engines), "2", "x").await;
    let seen = engines.dynamodb().stream("things", None, 10, NOW).await.unwrap().position.unwrap();
    engines.stop().await;

    clock.advance(Duration::from_secs(25 * 60 * 60));
    let engines = start_in(folder.path(), &clock).await;
    put(&dynamodb_client(&engines), "3", "x").await;
    let all = engines.dynamodb().stream("things", None, 10, NOW).await.unwrap();
    assert_eq!(events(&all.records), [("INSERT", "2"), ("INSERT", "3")]);
    let new = engines.dynamodb().stream("things", Some(&seen), 10, NOW).await.unwrap();
    assert_eq!(events(&new.records), [("INSERT", "3")]);
}

/// Fails when a new version of the engine asks in another way: then its writes slow down with every record.
#[tokio::test]
async fn a_write_finds_the_last_stream_record_by_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let _engines = start_in(folder.path(), &Clock::system()).await;
    let connection = rusqlite::Connection::open(folder.path().join("dynamodb.sqlite")).unwrap();
    for (query, plan) in [
        (
            "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records
             WHERE table_name = 'things'",
            "SEARCH _stream_records USING COVERING INDEX embedded_stream_order (table_name=?)",
        ),
        (
            "SELECT event_name FROM _stream_records WHERE table_name = 'things' AND shard_id = 's'
             AND CAST(sequence_number AS INTEGER) > 5 ORDER BY CAST(sequence_number AS INTEGER) ASC LIMIT 9",
            "SEARCH _stream_records USING INDEX embedded_stream_order (table_name=? AND <expr>>?)",
        ),
    ] {
        let steps: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(steps, [plan]);
    }
}

#[tokio::test]
async fn expired_items_go_when_swept() {
    let clock = Clock::manual(START_MS);
    let (engines, client) = with_table(&clock).await;
    engines.dynamodb().set_ttl("things", "expires").unwrap();
    engines.dynamodb().set_ttl("things", "expires").unwrap();
    let at = AttributeValue::N((START_MS / 1000 + 60).to_string());
    client.put_item().table_name("things").item("pk", text("1")).item("expires", at).send().await.unwrap();
    clock.advance(Duration::from_secs(59));
    assert_eq!(engines.dynamodb().sweep_expired().unwrap(), 0);
    clock.advance(Duration::from_secs(2));
    assert_eq!(engines.dynamodb().sweep_expired().unwrap(), 1);
    let page = engines.dynamodb().stream("things", None, 10, NOW).await.unwrap();
    assert_eq!(events(&page.records), [("INSERT", "1"), ("REMOVE", "1")]);
    assert_eq!(page.records[1]["userIdentity"]["principalId"], "dynamodb.amazonaws.com");
}

#[tokio::test]
async fn write_units_are_counted_as_aws_charges_them() {
    let (engines, client) = with_table(&Clock::system()).await;
    let traffic = engines.dynamodb().traffic();
    let cost = || {
        let units = traffic.write_units();
        traffic.reset();
        units
    };
    cost();
    put(&client, "1", "small").await;
    assert_eq!(cost(), 1.0);
    put(&client, "1", &"x".repeat(1100)).await;
    assert_eq!(cost(), 2.0);
    // A smaller item over a larger one costs the larger.
    put(&client, "1", "small").await;
    assert_eq!(cost(), 2.0);
    let write = |key: &str| {
        let put = Put::builder().table_name("things").set_item(Some(item(key, "small")));
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    };
    let both = client.transact_write_items().transact_items(write("2")).transact_items(write("3"));
    let both = both.client_request_token("same").send().await.unwrap();
    assert_eq!(both.consumed_capacity, None);
    assert_eq!(cost(), 4.0);
    let again = client.transact_write_items().transact_items(write("2")).transact_items(write("3"));
    again.client_request_token("same").send().await.unwrap();
    assert_eq!(cost(), 0.0, "a replay costs reads");
    let delete = client.delete_item().table_name("things").key("pk", text("2"));
    delete.send().await.unwrap();
    assert_eq!(cost(), 1.0);
    client.get_item().table_name("things").key("pk", text("1")).send().await.unwrap();
    assert_eq!(cost(), 0.0);
}

#[tokio::test]
async fn a_client_sees_the_capacity_it_asked_for_and_no_other() {
    let (engines, client) = with_table(&Clock::system()).await;
    let put = |ask: Option<ReturnConsumedCapacity>| {
        let put = client.put_item().table_name("things").set_item(Some(item("1", "ReturnConsumedCapacity")));
        put.set_return_consumed_capacity(ask).send()
    };
    assert_eq!(put(None).await.unwrap().consumed_capacity, None);
    assert_eq!(put(Some(ReturnConsumedCapacity::None)).await.unwrap().consumed_capacity, None);
    let shown = put(Some(ReturnConsumedCapacity::Total)).await.unwrap().consumed_capacity.unwrap();
    assert_eq!(shown.capacity_units, Some(1.0));
    assert_eq!(engines.dynamodb().traffic().write_units(), 3.0);
}

#[tokio::test]
async fn an_unknown_table_is_an_error_of_its_own() {
    let (engines, client) = with_table(&Clock::system()).await;
    let refused = client.get_item().table_name("others").key("pk", text("1")).send().await.unwrap_err();
    assert_eq!(refused.into_service_error().code(), Some("ResourceNotFoundException"));
    assert!(engines.dynamodb().stream("others", None, 10, NOW).await.is_err());
}
