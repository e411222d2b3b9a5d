//! The queue.

use std::time::{Duration, Instant};

use hookgate_aws::queue::Queue;
use hookgate_core::codec::{FRAME_IN_MESSAGE_BYTES_MAX, Message};
use hookgate_embedded::{Counts, Fault, How};

use crate::harness::{
    DEAD_LETTERS, FAILURES, IMPATIENT, MARKER, QUEUE, SLACK, World, frame, name, noise, order, raw_event,
};

async fn receive(world: &World) -> Vec<hookgate_embedded::Message> {
    world.engines.sqs().receive(QUEUE, 10, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn a_message_arrives_exactly_and_in_the_group_of_its_source() {
    let world = World::start().await;
    let event = order("o1");
    let carrying = Message::carrying(&event.source, &event.id, &frame(&event)).unwrap();
    world.queue.send(&carrying, 0, None).await.unwrap();
    let got = receive(&world).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].body, carrying.to_text());
    assert_eq!(got[0].group_id.as_deref(), Some("shop"));
    let message = Message::from_text(&got[0].body).unwrap();
    assert_eq!(message, carrying);
    assert_eq!(message.frame().unwrap().unwrap(), frame(&event));

    for text in ["evt_2", "ä 🦀 \"quoted\" \\ #", "\u{1}\u{fffe}"] {
        let pointing = Message::pointing(&name("raw"), &hookgate_core::ids::EventId::from_stored(text));
        let sent = world.queue.send(&pointing, 0, None).await;
        if text.contains('\u{fffe}') {
            // Not a character of SQS: refused, and never half sent.
            assert!(sent.is_err() || Message::from_text(&receive(&world).await[0].body).unwrap() == pointing);
            continue;
        }
        sent.unwrap();
        let got = receive(&world).await;
        assert_eq!(got.len(), 1, "{text}");
        assert_eq!(got[0].group_id.as_deref(), Some("raw"));
        assert_eq!(Message::from_text(&got[0].body).unwrap(), pointing);
    }
}

#[tokio::test]
async fn a_message_carries_the_trace_of_its_event_and_nothing_that_is_none() {
    let world = World::start().await;
    let message = Message::pointing(&name("shop"), &order("o1").id);
    let header =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=25:a87bd80c:1";
    let long = format!("{header}|{}", "0".repeat(1000));
    for (given, carried) in [
        (Some(header), Some(header)),
        (None, None),
        (Some(""), None),
        (Some("Root=MARKER"), None),
        (Some("\u{fffe}"), None),
        (Some(long.as_str()), None),
    ] {
        world.queue.send(&message, 0, given).await.unwrap();
        let got = receive(&world).await;
        assert_eq!(got.len(), 1, "{given:?}");
        assert_eq!(got[0].trace_header.as_deref(), carried, "{given:?}");
    }
}

#[tokio::test]
async fn a_delayed_message_arrives_when_its_time_has_come() {
    let world = World::start().await;
    let message = Message::pointing(&name("shop"), &order("o1").id);
    for delay in [1, 5, 900] {
        world.queue.send(&message, delay, None).await.unwrap();
        let seconds = u64::try_from(delay).unwrap();
        world.clock.advance(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!(receive(&world).await.len(), 0, "{delay}");
        world.clock.advance(Duration::from_millis(1));
        let got = receive(&world).await;
        assert_eq!(got.len(), 1, "{delay}");
        world.engines.sqs().delete(QUEUE, &got[0].receipt_handle).unwrap();
    }
    // Without a delay it is there at once.
    world.queue.send(&message, 0, None).await.unwrap();
    assert_eq!(receive(&world).await.len(), 1);
}

#[tokio::test]
async fn the_largest_frame_that_a_message_may_carry_fits() {
    let world = World::start().await;
    // The envelope and the frame's own bytes come on top of the body.
    let event = raw_event("large", &noise(FRAME_IN_MESSAGE_BYTES_MAX - 600, 1));
    let frame = frame(&event);
    assert!(frame.len() > FRAME_IN_MESSAGE_BYTES_MAX - 600, "{}", frame.len());
    let message = Message::carrying(&event.source, &event.id, &frame).unwrap();
    world.queue.send(&message, 0, None).await.unwrap();
    let full = Message::carrying(&event.source, &event.id, &vec![7; FRAME_IN_MESSAGE_BYTES_MAX]).unwrap();
    world.queue.send(&full, 0, None).await.unwrap();
    let got = receive(&world).await;
    let mut frames: Vec<_> =
        got.iter().map(|got| Message::from_text(&got.body).unwrap().frame().unwrap().unwrap()).collect();
    frames.sort();
    let mut want = vec![frame, vec![7; FRAME_IN_MESSAGE_BYTES_MAX]];
    want.sort();
    assert!(frames == want);
}

#[tokio::test]
async fn an_unprocessed_message_goes_to_the_dead_letters_after_five_times() {
    let world = World::start().await;
    world.queue.send(&Message::pointing(&name("shop"), &order("o1").id), 0, None).await.unwrap();
    for time in 1..=5 {
        assert_eq!(receive(&world).await.len(), 1, "{time}");
        world.clock.advance(Duration::from_secs(360));
    }
    assert_eq!(receive(&world).await.len(), 0);
    let dead = world.engines.sqs().peek(DEAD_LETTERS, 10).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(Message::from_text(&dead[0].body).unwrap().id, order("o1").id);
}

async fn fails_and_recovers(how: How) {
    let world = World::with(IMPATIENT).await;
    let event = order(MARKER);
    let message = Message::carrying(&event.source, &event.id, &frame(&event)).unwrap();
    let fault = world.engines.sqs().traffic().break_with(Fault::new(how));
    let began = Instant::now();
    let error = world.queue.send(&message, 0, None).await.expect_err(&format!("{how:?}"));
    assert!(began.elapsed() < IMPATIENT.operation + SLACK, "{how:?}: {:?}", began.elapsed());
    assert!(world.engines.sqs().traffic().fired(fault) > 0);
    let text = error.to_string();
    assert!(text.starts_with("SQS SendMessage: "), "{how:?}: {text}");
    assert!(!text.contains('\n') && text.chars().count() < 300, "{how:?}: {text}");
    let all = format!("{text} {error:?}");
    assert!(!all.contains(MARKER) && !all.contains("127.0.0.1"), "{how:?}: {all}");
    let applied = matches!(how, How::ApplyThenDrop | How::Apply500);
    assert_eq!(world.engines.sqs().counts(QUEUE).unwrap().visible > 0, applied, "{how:?}");

    world.engines.sqs().traffic().heal();
    world.queue.send(&message, 0, None).await.unwrap_or_else(|error| panic!("{how:?}: {error}"));
    let got = receive(&world).await;
    assert!(!got.is_empty() && got.iter().all(|got| got.body == message.to_text()), "{how:?}");
}

#[tokio::test]
async fn a_send_that_fails_says_so_in_time_and_works_again_afterwards() {
    futures::future::join_all(FAILURES.map(fails_and_recovers)).await;
}

#[tokio::test]
async fn a_send_that_fails_once_is_made_again_unseen() {
    for how in [How::Status500, How::Throttle, How::Drop, How::ApplyThenDrop] {
        let world = World::start().await;
        let fault = world.engines.sqs().traffic().break_with(Fault { times: Some(1), ..Fault::new(how) });
        world.queue.send(&Message::pointing(&name("shop"), &order("o1").id), 0, None).await.unwrap();
        assert_eq!(world.engines.sqs().traffic().fired(fault), 1, "{how:?}");
        // After a lost answer it is there twice, which the lease sorts out.
        let visible = if how == How::ApplyThenDrop { 2 } else { 1 };
        assert_eq!(
            world.engines.sqs().counts(QUEUE).unwrap(),
            Counts { visible, in_flight: 0, delayed: 0 },
            "{how:?}"
        );
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_an_error() {
    let world = World::start().await;
    let url = format!("{}/000000000000/nowhere", world.engines.sqs().endpoint());
    let queue = Queue::new(world.clients.sqs.clone(), url);
    let error = queue.send(&Message::pointing(&name("shop"), &order("o1").id), 0, None).await.unwrap_err();
    assert!(error.to_string().starts_with("SQS SendMessage: "), "{error}");
    assert!(error.to_string().contains("NonExistent"), "{error}");
}
