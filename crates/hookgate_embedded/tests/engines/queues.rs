//! The queue engine: what SQS promises, with a clock that is moved.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use hookgate_embedded::{Clock, Counts, Engines, MessageState, Options, QueueError};

use crate::{START_MS, patiently, sqs_client, start, start_in, until};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(600);

fn set(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

async fn with_queue(clock: &Clock, attributes: &[(&str, &str)]) -> (Engines, Client, String) {
    let engines = start(clock).await;
    let url = engines.sqs().create_queue("work", &set(attributes)).unwrap();
    let client = sqs_client(&engines);
    (engines, client, url)
}

async fn send(client: &Client, url: &str, body: &str) -> String {
    client.send_message().queue_url(url).message_body(body).send().await.unwrap().message_id.unwrap()
}

async fn receive(client: &Client, url: &str) -> Vec<Message> {
    let receive = client.receive_message().queue_url(url).max_number_of_messages(10);
    let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

fn attribute<'a>(message: &'a Message, name: &MessageSystemAttributeName) -> Option<&'a str> {
    message.attributes().unwrap().get(name).map(String::as_str)
}

async fn attributes_of(client: &Client, url: &str) -> BTreeMap<String, String> {
    let all = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
    let all = all.send().await.unwrap().attributes.unwrap();
    all.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
}

fn counts(visible: usize, in_flight: usize, delayed: usize) -> Counts {
    Counts { visible, in_flight, delayed }
}

#[tokio::test]
async fn a_trace_header_goes_with_its_message_and_is_no_part_of_its_size() {
    let (engines, client, url) =
        with_queue(&Clock::manual(START_MS), &[("MaximumMessageSize", "1024")]).await;
    let value = |data_type: &str, text: &str| {
        MessageSystemAttributeValue::builder().data_type(data_type).string_value(text).build().unwrap()
    };
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
    let send = client.send_message().queue_url(&url).message_body("x".repeat(1024));
    send.message_system_attributes(name.clone(), value("String", header)).send().await.unwrap();
    let entry = SendMessageBatchRequestEntry::builder().id("1").message_body("y");
    let entry = entry.message_system_attributes(name.clone(), value("String", header)).build().unwrap();
    client.send_message_batch().queue_url(&url).entries(entry).send().await.unwrap();
    for _ in 0..2 {
        let received = client.receive_message().queue_url(&url);
        let received = received.message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader);
        let messages = received.send().await.unwrap().messages.unwrap();
        assert_eq!(attribute(&messages[0], &MessageSystemAttributeName::AwsTraceHeader), Some(header));
        assert_eq!(messages[0].attributes().unwrap().len(), 1, "no other was asked for");
    }
    let all = engines.sqs().peek("work", 10).unwrap();
    assert!(all.iter().all(|message| message.trace_header.as_deref() == Some(header)), "{all:?}");

    let other = MessageSystemAttributeNameForSends::from("SenderId");
    for (name, data_type) in [(other, "String"), (name, "Number")] {
        let send = client.send_message().queue_url(&url).message_body("z");
        let error = send.message_system_attributes(name, value(data_type, header)).send().await.unwrap_err();
        assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_from_before_traces_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    {
        let engines = start_in(folder.path(), &Clock::manual(START_MS)).await;
        let url = engines.sqs().create_queue("work", &BTreeMap::new()).unwrap();
        send(&sqs_client(&engines), &url, "old").await;
        engines.stop().await;
    }
    let file = rusqlite::Connection::open(folder.path().join("sqs.sqlite")).unwrap();
    file.execute_batch("ALTER TABLE messages DROP COLUMN trace_header").unwrap();
    drop(file);
    let engines = start_in(folder.path(), &Clock::manual(START_MS)).await;
    let messages = engines.sqs().receive("work", 10, NOW).await.unwrap();
    assert_eq!((messages[0].body.as_str(), &messages[0].trace_header), ("old", &None));
    engines.stop().await;
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let (engines, client, url) = with_queue(&Clock::manual(START_MS), &[]).await;
    assert_eq!(url, format!("{}/000000000000/work", engines.sqs().endpoint()));
    assert_eq!(client.get_queue_url().queue_name("work").send().await.unwrap().queue_url.unwrap(), url);
    let id = send(&client, &url, "hello").await;
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 0, 0));
    let messages = receive(&client, &url).await;
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.message_id(), Some(id.as_str()));
    assert_eq!(message.body(), Some("hello"));
    assert_eq!(message.md5_of_body(), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(attribute(message, &MessageSystemAttributeName::ApproximateReceiveCount), Some("1"));
    let start = START_MS.to_string();
    assert_eq!(attribute(message, &MessageSystemAttributeName::SentTimestamp), Some(&*start));
    assert_eq!(
        attribute(message, &MessageSystemAttributeName::ApproximateFirstReceiveTimestamp),
        Some(&*start)
    );
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 1, 0));
    let handle = message.receipt_handle().unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
    // Deleting again is no error.
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
}

#[tokio::test]
async fn attributes_come_when_asked_for() {
    let (_engines, client, url) = with_queue(&Clock::system(), &[]).await;
    let value = |kind: &str| MessageAttributeValue::builder().data_type(kind);
    let send = client.send_message().queue_url(&url).message_body("x").message_group_id("shop-1");
    let send = send.message_attributes("kind", value("String").string_value("täst").build().unwrap());
    let binary = value("Binary").binary_value(Blob::new([0, 255, 7])).build().unwrap();
    send.message_attributes("raw", binary.clone()).send().await.unwrap();
    let receive = || client.receive_message().queue_url(&url).visibility_timeout(0);
    let plain = receive().send().await.unwrap().messages.unwrap();
    assert_eq!((plain[0].attributes(), plain[0].message_attributes()), (None, None));
    let asking = receive().message_attribute_names("All");
    let asking = asking.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
    let full = asking.send().await.unwrap().messages.unwrap();
    assert_eq!(full[0].attributes().unwrap().len(), 1);
    assert_eq!(attribute(&full[0], &MessageSystemAttributeName::MessageGroupId), Some("shop-1"));
    let own = full[0].message_attributes().unwrap();
    assert_eq!(own["kind"].string_value(), Some("täst"));
    assert_eq!(own["raw"], binary);
}

#[tokio::test]
async fn a_delay_is_over_when_the_clock_says_so() {
    let clock = Clock::manual(START_MS);
    let (engines, client, url) =
        with_queue(&clock, &[("DelaySeconds", "60"), ("VisibilityTimeout", "60")]).await;
    send(&client, &url, "by the queue").await;
    client.send_message().queue_url(&url).message_body("own").delay_seconds(900).send().await.unwrap();
    client.send_message().queue_url(&url).message_body("none").delay_seconds(0).send().await.unwrap();
    assert_eq!(bodies(&receive(&client, &url).await), ["none"]);
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 1, 2));
    clock.advance(Duration::from_millis(59_999));
    assert!(receive(&client, &url).await.is_empty());
    clock.advance(Duration::from_millis(1));
    assert_eq!(bodies(&receive(&client, &url).await), ["by the queue", "none"]);
    clock.advance(Duration::from_secs(840));
    assert!(bodies(&receive(&client, &url).await).contains(&"own"));
}

#[tokio::test]
async fn a_message_hides_for_its_visibility_timeout() {
    let clock = Clock::manual(START_MS);
    let (engines, client, url) = with_queue(&clock, &[("VisibilityTimeout", "30")]).await;
    send(&client, &url, "x").await;
    let first = receive(&client, &url).await;
    clock.advance(Duration::from_millis(29_999));
    assert!(receive(&client, &url).await.is_empty());
    clock.advance(Duration::from_millis(1));
    let second = receive(&client, &url).await;
    assert_eq!(attribute(&second[0], &MessageSystemAttributeName::ApproximateReceiveCount), Some("2"));
    assert_eq!(second[0].message_id(), first[0].message_id());

    // The first handle no longer means anything.
    let old = first[0].receipt_handle().unwrap();
    client.delete_message().queue_url(&url).receipt_handle(old).send().await.unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 1, 0));

    let change = |handle: &str, seconds| {
        client
            .change_message_visibility()
            .queue_url(&url)
            .receipt_handle(handle)
            .visibility_timeout(seconds)
            .send()
    };
    let gone = change(old, 5).await.unwrap_err().into_service_error();
    assert_eq!(gone.code(), Some("InvalidParameterValue"));
    let new = second[0].receipt_handle().unwrap();
    change(new, 43_200).await.unwrap();
    clock.advance(Duration::from_secs(43_199));
    assert!(receive(&client, &url).await.is_empty());
    change(new, 0).await.unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 0, 0));
    let visible = change(new, 5).await.unwrap_err().into_service_error();
    assert!(visible.is_message_not_inflight(), "{visible:?}");
    let nonsense = change("nonsense", 5).await.unwrap_err().into_service_error();
    assert!(nonsense.is_receipt_handle_is_invalid(), "{nonsense:?}");
    assert!(change(new, 43_201).await.is_err());
    // The latest handle still deletes once the message is visible again.
    client.delete_message().queue_url(&url).receipt_handle(new).send().await.unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
}

/// A queue whose messages go to `dead` at the third receive.
async fn with_dead_letters(clock: &Clock) -> (Engines, Client, String, String) {
    let engines = start(clock).await;
    let sqs = engines.sqs();
    let dead = sqs.create_queue("dead", &set(&[])).unwrap();
    let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":2}}"#, sqs.queue_arn("dead"));
    let work =
        sqs.create_queue("work", &set(&[("RedrivePolicy", &policy), ("VisibilityTimeout", "10")])).unwrap();
    let client = sqs_client(&engines);
    (engines, client, work, dead)
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    let clock = Clock::manual(START_MS);
    let (engines, client, work, dead) = with_dead_letters(&clock).await;
    let id = send(&client, &work, "poison").await;
    for _ in 0..2 {
        assert_eq!(receive(&client, &work).await.len(), 1);
        assert!(receive(&client, &dead).await.is_empty());
        clock.advance(Duration::from_secs(10));
    }
    // As in SQS, nothing happens before the next receive.
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 0, 0));
    assert!(receive(&client, &work).await.is_empty());
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
    let messages = receive(&client, &dead).await;
    assert_eq!((messages[0].message_id(), messages[0].body()), (Some(id.as_str()), Some("poison")));
    assert_eq!(attribute(&messages[0], &MessageSystemAttributeName::ApproximateReceiveCount), Some("3"));
    let source = attribute(&messages[0], &MessageSystemAttributeName::DeadLetterQueueSourceArn);
    assert_eq!(source, Some("arn:aws:sqs:us-east-1:000000000000:work"));
    let sources = client.list_dead_letter_source_queues().queue_url(&dead).send().await.unwrap();
    assert_eq!(sources.queue_urls, [work]);
}

#[tokio::test]
async fn a_move_task_brings_dead_letters_back() {
    let clock = Clock::manual(START_MS);
    let (engines, client, work, dead) = with_dead_letters(&clock).await;
    let id = send(&client, &work, "poison").await;
    for _ in 0..3 {
        receive(&client, &work).await;
        clock.advance(Duration::from_secs(10));
    }
    let arn = engines.sqs().queue_arn("dead");
    let task = client.start_message_move_task().source_arn(&arn).send().await.unwrap().task_handle.unwrap();
    assert!(receive(&client, &dead).await.is_empty());
    let back = receive(&client, &work).await;
    assert_eq!(bodies(&back), ["poison"]);
    assert_ne!(back[0].message_id(), Some(id.as_str()), "a moved message is a new one");
    assert_eq!(attribute(&back[0], &MessageSystemAttributeName::ApproximateReceiveCount), Some("1"));
    let tasks = client.list_message_move_tasks().source_arn(&arn).send().await.unwrap();
    let [done] = tasks.results() else { panic!("{tasks:?}") };
    assert_eq!((done.status(), done.approximate_number_of_messages_moved()), (Some("COMPLETED"), 1));
    assert!(client.cancel_message_move_task().task_handle(task).send().await.is_err());

    // A message sent there directly has nowhere to go back to.
    send(&client, &dead, "direct").await;
    client.start_message_move_task().source_arn(&arn).send().await.unwrap();
    assert_eq!(engines.sqs().counts("dead").unwrap(), counts(1, 0, 0));
    let tasks = client.list_message_move_tasks().source_arn(&arn).send().await.unwrap();
    assert_eq!((tasks.results()[0].status(), tasks.results().len()), (Some("FAILED"), 2));
    let to = engines.sqs().queue_arn("work");
    client.start_message_move_task().source_arn(&arn).destination_arn(to).send().await.unwrap();
    assert_eq!(engines.sqs().counts("dead").unwrap(), counts(0, 0, 0));
    let unknown = client.start_message_move_task().source_arn("arn:aws:sqs:us-east-1:000000000000:none");
    let unknown = unknown.send().await.unwrap_err().into_service_error();
    assert!(unknown.is_resource_not_found_exception(), "{unknown:?}");
}

#[tokio::test]
async fn a_move_task_does_not_bring_back_what_is_too_old() {
    let clock = Clock::manual(START_MS);
    let (engines, client, _, dead) = with_dead_letters(&clock).await;
    engines.sqs().create_queue("dead", &set(&[("MessageRetentionPeriod", "60")])).unwrap();
    send(&client, &dead, "old").await;
    clock.advance(Duration::from_secs(60));
    send(&client, &dead, "new").await;
    let (from, to) = (engines.sqs().queue_arn("dead"), engines.sqs().queue_arn("work"));
    client.start_message_move_task().source_arn(from).destination_arn(to).send().await.unwrap();
    let moved = engines.sqs().peek("work", 10).unwrap();
    assert_eq!(moved.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn messages_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START_MS);
    let engines = start_in(folder.path(), &clock).await;
    let url = engines.sqs().create_queue("work", &set(&[("VisibilityTimeout", "77")])).unwrap();
    let client = sqs_client(&engines);
    send(&client, &url, "held").await;
    let held = receive(&client, &url).await.remove(0);
    send(&client, &url, "waiting").await;
    client.send_message().queue_url(&url).message_body("later").delay_seconds(60).send().await.unwrap();
    let in_use = Options { data: Some(folder.path().to_owned()), ..Options::memory(clock.clone()) };
    let refused = Engines::start(in_use).await.err().unwrap();
    assert!(format!("{refused:#}").contains("in use by another process"), "{refused:#}");
    // Not stopped: as much as a killed process would have written.
    drop(engines);

    let engines = start_in(folder.path(), &clock).await;
    let states: Vec<_> = engines.sqs().peek("work", 10).unwrap();
    let states: Vec<_> = states.iter().map(|message| (&*message.body, message.state)).collect();
    let expected = [
        ("held", MessageState::InFlight),
        ("waiting", MessageState::Visible),
        ("later", MessageState::Delayed),
    ];
    assert_eq!(states, expected);
    let client = sqs_client(&engines);
    let url = engines.sqs().queue_url("work").unwrap();
    assert_eq!(attributes_of(&client, &url).await["VisibilityTimeout"], "77");
    client
        .delete_message()
        .queue_url(&url)
        .receipt_handle(held.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 0, 1));
}

#[tokio::test]
async fn a_waiting_receive_wakes_on_a_send() {
    let (engines, client, url) = with_queue(&Clock::manual(START_MS), &[]).await;
    let sqs = engines.sqs().clone();
    let waiting = tokio::spawn(async move { sqs.receive("work", 10, LONG).await });
    tokio::task::yield_now().await;
    send(&client, &url, "x").await;
    let messages = patiently(waiting).await.unwrap().unwrap();
    assert_eq!((messages.len(), messages[0].receive_count), (1, 1));
    assert_eq!(messages[0].state, MessageState::InFlight);
    engines.sqs().delete("work", &messages[0].receipt_handle).unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
}

#[tokio::test]
async fn a_waiting_receive_wakes_on_visibility_and_on_time() {
    let clock = Clock::manual(START_MS);
    let (engines, client, url) = with_queue(&clock, &[("VisibilityTimeout", "600")]).await;
    send(&client, &url, "x").await;
    let sqs = engines.sqs().clone();
    let waiting = || {
        let sqs = sqs.clone();
        tokio::spawn(async move { sqs.receive("work", 10, LONG).await.unwrap() })
    };
    let first = sqs.receive("work", 10, NOW).await.unwrap();

    let second = waiting();
    tokio::task::yield_now().await;
    sqs.change_visibility("work", &first[0].receipt_handle, 0).unwrap();
    assert_eq!(patiently(second).await.unwrap()[0].receive_count, 2);

    clock.advance(Duration::from_secs(1));
    let third = waiting();
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(599));
    assert_eq!(patiently(third).await.unwrap()[0].receive_count, 3);

    // With nothing to come, the wait ends by the clock.
    sqs.change_visibility("work", &sqs.peek("work", 1).unwrap()[0].receipt_handle, 43_200).unwrap();
    let none = waiting();
    tokio::task::yield_now().await;
    clock.advance(LONG);
    assert!(patiently(none).await.unwrap().is_empty());

    // And when the engines stop.
    let none = waiting();
    tokio::task::yield_now().await;
    engines.stop().await;
    assert!(patiently(none).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_system_clock_can_be_moved_too() {
    let clock = Clock::system();
    let (engines, client, url) = with_queue(&clock, &[]).await;
    client.send_message().queue_url(&url).message_body("x").delay_seconds(900).send().await.unwrap();
    let sqs = engines.sqs().clone();
    let waiting =
        tokio::spawn(async move { sqs.receive("work", 1, Duration::from_secs(3600)).await.unwrap() });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(900));
    assert_eq!(patiently(waiting).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_poll_is_one_request() {
    let (engines, client, url) = with_queue(&Clock::manual(START_MS), &[]).await;
    let poll = client.receive_message().queue_url(&url).wait_time_seconds(20);
    let poll = tokio::spawn(poll.send());
    until(|| engines.sqs().traffic().count("ReceiveMessage") == 1).await;
    send(&client, &url, "x").await;
    assert_eq!(patiently(poll).await.unwrap().unwrap().messages().len(), 1);
    assert_eq!(engines.sqs().traffic().count("ReceiveMessage"), 1);
}

#[tokio::test]
async fn a_message_of_one_mebibyte_is_the_largest() {
    let (engines, client, url) = with_queue(&Clock::system(), &[]).await;
    let attributes = set(&[("MaximumMessageSize", "1048576")]);
    assert_eq!(engines.sqs().create_queue("work", &attributes).unwrap(), url);
    let largest = "x".repeat(1 << 20);
    send(&client, &url, &largest).await;
    assert_eq!(bodies(&receive(&client, &url).await), [&largest]);
    let larger = client.send_message().queue_url(&url).message_body(format!("{largest}x"));
    assert_eq!(larger.send().await.unwrap_err().into_service_error().code(), Some("InvalidParameterValue"));
}

#[tokio::test]
async fn a_body_comes_back_exactly() {
    let (_engines, client, url) = with_queue(&Clock::system(), &[]).await;
    let body = "Grüße \u{1F980}\u{FEFF}\u{7f}\u{85}\t\r\n \"quoted\" \\ \u{FFFD}\u{10FFFF}";
    send(&client, &url, body).await;
    assert_eq!(bodies(&receive(&client, &url).await), [body]);
    for forbidden in ["\0", "\u{1b}", "\u{FFFE}", ""] {
        let refused = client.send_message().queue_url(&url).message_body(forbidden).send().await;
        assert!(refused.is_err(), "{forbidden:?}");
    }
}

#[tokio::test]
async fn one_bad_entry_does_not_fail_its_batch() {
    let (engines, client, url) = with_queue(&Clock::system(), &[]).await;
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
    };
    let send = |entries: Vec<SendMessageBatchRequestEntry>| {
        client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send()
    };
    let sent = send(vec![entry("a", "1"), entry("b", "\0"), entry("c", "3")]).await.unwrap();
    let ids: Vec<_> = sent.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(ids, ["a", "c"]);
    let [failed] = sent.failed() else { panic!("{sent:?}") };
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("b", "InvalidMessageContents", true));
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(2, 0, 0));

    let twice = send(vec![entry("a", "1"), entry("a", "2")]).await.unwrap_err().into_service_error();
    assert!(twice.is_batch_entry_ids_not_distinct(), "{twice:?}");
    let large = "x".repeat(600_000);
    let long = send(vec![entry("a", &large), entry("b", &large)]).await.unwrap_err().into_service_error();
    assert!(long.is_batch_request_too_long(), "{long:?}");
    let many = (0..11).map(|at| entry(&at.to_string(), "x")).collect();
    assert!(send(many).await.unwrap_err().into_service_error().is_too_many_entries_in_batch_request());
    assert!(send(Vec::new()).await.unwrap_err().into_service_error().is_empty_batch_request());

    let handles: Vec<_> = receive(&client, &url).await;
    let handles: Vec<_> = handles.iter().map(|message| message.receipt_handle().unwrap()).collect();
    let change = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(0).build().unwrap()
    };
    let changed = client.change_message_visibility_batch().queue_url(&url);
    let changed = changed.entries(change("a", handles[0])).entries(change("b", "nonsense"));
    let changed = changed.send().await.unwrap();
    assert_eq!((changed.successful()[0].id(), changed.failed()[0].id()), ("a", "b"));
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 1, 0));

    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let deleted = client.delete_message_batch().queue_url(&url).entries(delete("a", handles[0]));
    let deleted = deleted.entries(delete("b", handles[1])).entries(delete("c", "nonsense"));
    let deleted = deleted.send().await.unwrap();
    assert_eq!((deleted.successful().len(), deleted.failed().len()), (2, 1));
    assert_eq!(deleted.failed()[0].code(), "ReceiptHandleIsInvalid");
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
}

#[tokio::test]
async fn a_fifo_queue_keeps_order_and_drops_repeats() {
    let clock = Clock::manual(START_MS);
    let engines = start(&clock).await;
    let fifo = set(&[("FifoQueue", "true"), ("VisibilityTimeout", "30")]);
    let url = engines.sqs().create_queue("work.fifo", &fifo).unwrap();
    let client = sqs_client(&engines);
    let send = |body: &str, group: &str, id: &str| {
        let send = client.send_message().queue_url(&url).message_body(body).message_group_id(group);
        send.message_deduplication_id(id).send()
    };
    let first = send("a1", "a", "1").await.unwrap();
    let repeat = send("a1 again", "a", "1").await.unwrap();
    assert_eq!(repeat.message_id(), first.message_id());
    assert_eq!(repeat.sequence_number(), first.sequence_number());
    send("a2", "a", "2").await.unwrap();
    send("b1", "b", "3").await.unwrap();
    let one = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap();
    assert_eq!(bodies(&one), ["a1"]);
    // The rest of group a waits for a1.
    assert_eq!(bodies(&receive(&client, &url).await), ["b1"]);
    let handle = one[0].receipt_handle().unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert_eq!(bodies(&receive(&client, &url).await), ["a2"]);
    clock.advance(Duration::from_secs(30));
    assert_eq!(bodies(&receive(&client, &url).await), ["a2", "b1"]);
    // Five minutes after the first, its id is free again.
    clock.advance(Duration::from_secs(270));
    assert_ne!(send("a3", "a", "1").await.unwrap().message_id(), first.message_id());
    let no_id = client.send_message().queue_url(&url).message_body("x").message_group_id("a").send().await;
    assert_eq!(no_id.unwrap_err().into_service_error().code(), Some("InvalidParameterValue"));
}

#[tokio::test]
async fn messages_are_forgotten_after_the_retention_period() {
    let clock = Clock::manual(START_MS);
    let (engines, client, url) = with_queue(&clock, &[("MessageRetentionPeriod", "60")]).await;
    send(&client, &url, "x").await;
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(1, 0, 0));
    clock.advance(Duration::from_millis(1));
    assert!(receive(&client, &url).await.is_empty());
    assert!(engines.sqs().peek("work", 10).unwrap().is_empty());
}

#[tokio::test]
async fn peek_changes_nothing() {
    let clock = Clock::manual(START_MS);
    let (engines, client, url) = with_queue(&clock, &[]).await;
    for body in ["1", "2", "3"] {
        send(&client, &url, body).await;
    }
    let before = engines.sqs().peek("work", 2).unwrap();
    assert_eq!(before.iter().map(|message| &*message.body).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(before[0].receive_count, 0);
    assert_eq!(before[0].receipt_handle, "");
    assert_eq!(engines.sqs().peek("work", 2).unwrap(), before);
    assert_eq!(receive(&client, &url).await.len(), 3);
}

#[tokio::test]
async fn queues_are_created_listed_tagged_purged_and_deleted() {
    let (engines, client, url) = with_queue(&Clock::manual(START_MS), &[("VisibilityTimeout", "90")]).await;
    let attributes = attributes_of(&client, &url).await;
    for (name, value) in [
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:work"),
        ("VisibilityTimeout", "90"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("ApproximateNumberOfMessages", "0"),
        ("CreatedTimestamp", "1763700000"),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }
    let create = |seconds: &str| {
        let create = client.create_queue().queue_name("work");
        create.attributes(QueueAttributeName::VisibilityTimeout, seconds).send()
    };
    assert_eq!(create("90").await.unwrap().queue_url.unwrap(), url);
    assert!(create("91").await.unwrap_err().into_service_error().is_queue_name_exists());
    assert!(create("never").await.unwrap_err().into_service_error().is_invalid_attribute_value());
    let changed = client.set_queue_attributes().queue_url(&url);
    changed.attributes(QueueAttributeName::VisibilityTimeout, "91").send().await.unwrap();
    assert_eq!(attributes_of(&client, &url).await["VisibilityTimeout"], "91");

    client.create_queue().queue_name("other").tags("for", "tests").send().await.unwrap();
    let listed = client.list_queues().send().await.unwrap();
    assert_eq!(listed.queue_urls(), [engines.sqs().queue_url("other").unwrap(), url.clone()]);
    let listed = client.list_queues().queue_name_prefix("wo").send().await.unwrap();
    assert_eq!(listed.queue_urls(), std::slice::from_ref(&url));
    let other = engines.sqs().queue_url("other").unwrap();
    client.tag_queue().queue_url(&other).tags("by", "me").send().await.unwrap();
    client.untag_queue().queue_url(&other).tag_keys("for").send().await.unwrap();
    let tags = client.list_queue_tags().queue_url(&other).send().await.unwrap().tags.unwrap();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [("by".to_owned(), "me".to_owned())]);

    send(&client, &url, "x").await;
    client.purge_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(engines.sqs().counts("work").unwrap(), counts(0, 0, 0));
    client.delete_queue().queue_url(&url).send().await.unwrap();
    assert!(matches!(engines.sqs().counts("work"), Err(QueueError::NoQueue(_))));
    let gone = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert!(gone.into_service_error().is_queue_does_not_exist());
    let gone = client.get_queue_url().queue_name("work").send().await.unwrap_err();
    assert!(gone.into_service_error().is_queue_does_not_exist());
    let permission = client.add_permission().queue_url(&other).label("x").aws_account_ids("1").actions("*");
    let refused = permission.send().await.unwrap_err().into_service_error();
    assert!(refused.is_unsupported_operation(), "{refused:?}");
    for bad in ["", "a b", "a.fifo", &"x".repeat(81)] {
        assert!(engines.sqs().create_queue(bad, &set(&[])).is_err(), "{bad:?}");
    }
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":"3"}"#;
    assert!(engines.sqs().create_queue("other", &set(&[("RedrivePolicy", policy)])).is_err());
    let policy = policy.replace(":none", ":other");
    engines.sqs().create_queue("other", &set(&[])).unwrap();
    let fifo = [("FifoQueue", "true"), ("RedrivePolicy", &*policy)];
    assert!(engines.sqs().create_queue("work.fifo", &set(&fifo)).is_err());
    engines.sqs().create_queue("work.fifo", &set(&fifo[..1])).unwrap();
}
