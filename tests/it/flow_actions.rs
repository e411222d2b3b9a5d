//! What actions do outside of the table, as far as one machine sees it: mail, messages, published events, invocations.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use hookgate_aws::{
    effects::Functions,
    replay::{Ask, replay},
};
use hookgate_core::{actions::KINDS, aws::AwsService, config::Config, lifecycle::Status};
use serde_json::{Value, json};

use crate::harness::{Bench, Reply, SHOP, SHOP_SECRET, World, order, until};

const CONFIG: &str = r#"
[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/id", type = "json:/type", time = "json:/at" }

[[routes]]
source = "shop"
actions = ["mail", "bus", "topic", "queue", "function", "answering", "machine", "slack", "discord", "teams"]

[actions.mail]
kind = "email"
from = "shop@example.com"
to = ["{{ event.mail | default('ops@example.com') }}", "Ops <ops@example.com>"]
subject = "Order {{ id }}"
text = "{{ type }}:\n{{ event.total }}"

[actions.bus]
kind = "publish"
to = "arn:aws:events:eu-west-1:123456789012:event-bus/orders"

[actions.topic]
kind = "publish"
to = "arn:aws:sns:eu-west-1:123456789012:orders.fifo"
body = '{"total": {{ event.total }}}'

[actions.queue]
kind = "publish"
to = "arn:aws:sqs:eu-west-1:123456789012:orders"
group = "{{ type }}"

[actions.function]
kind = "invoke"
function = "arn:aws:lambda:eu-west-1:123456789012:function:ship"
input = '{"total": {{ event.total }}}'

[actions.answering]
kind = "invoke"
function = "check"
wait = true

[actions.machine]
kind = "invoke"
state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:ship"

[actions.slack]
kind = "slack"
text = "<!here> {{ event.note | default('-') }}"

[actions.discord]
kind = "discord"
text = "{{ event.note | default('-') }}"

[actions.teams]
kind = "teams"
text = "{{ event.note | default('-') }}"
"#;

fn secrets() -> String {
    json!({"shop": [SHOP_SECRET]}).to_string()
}

fn only(world: &World, name: &str) -> Value {
    let entries = world.inbox(name);
    assert_eq!(entries.len(), 1, "{name}: {entries:?}");
    assert_eq!(entries[0].body_encoding, "text");
    serde_json::from_str(&entries[0].body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_needs_aws_is_done_where_it_can_be_seen() {
    let world = World::with(CONFIG, &secrets()).await;
    let body = String::from_utf8(order("o1")).unwrap();
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;

    assert_eq!(
        only(&world, "email"),
        json!({
            "from": "shop@example.com", "to": ["ops@example.com", "\"Ops\" <ops@example.com>"],
            "subject": "Order o1", "text": "order.paid:\n12900",
        })
    );
    let received: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        only(&world, "eventbridge"),
        json!({
            "bus": "arn:aws:events:eu-west-1:123456789012:event-bus/orders",
            "source": "hookgate.shop", "detail-type": "order.paid", "detail": received,
        })
    );
    let attributes = json!({"source": "shop", "type": "order.paid", "id": "o1"});
    let topic = only(&world, "sns");
    assert_eq!((&topic["message"], &topic["attributes"]), (&json!({"total": 12_900}), &attributes));
    assert_eq!(
        (&topic["topic"], &topic["group"]),
        (&json!("arn:aws:sns:eu-west-1:123456789012:orders.fifo"), &json!("shop"))
    );
    assert_eq!(
        only(&world, "sqs"),
        json!({
            "queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            "group": "order.paid", "attributes": attributes, "message": received,
        })
    );
    let invoked: Vec<Value> =
        world.inbox("lambda").iter().map(|entry| serde_json::from_str(&entry.body).unwrap()).collect();
    assert_eq!(
        invoked[0],
        json!({
            "function": "arn:aws:lambda:eu-west-1:123456789012:function:ship",
            "waits": false, "input": {"total": 12_900},
        })
    );
    assert_eq!(
        (invoked.len(), &invoked[1]["function"], &invoked[1]["waits"]),
        (2, &json!("check"), &json!(true))
    );
    assert_eq!((&invoked[1]["input"]["id"], &invoked[1]["input"]["body"]), (&json!("o1"), &json!(body)));
    let machine = only(&world, "stepfunctions");
    assert_eq!(machine["state_machine"], "arn:aws:states:eu-west-1:123456789012:stateMachine:ship");
    assert!(machine["name"].as_str().unwrap().starts_with("shop-o1-"), "{machine}");
    assert_eq!(machine["input"]["body"], body);

    // The queue of hookgate itself has none of it, and a second delivery does nothing of it again.
    assert_eq!(world.queue().visible, 0);
    assert_eq!(world.order("o1").await.json()["status"], "duplicate");
    world.quiet().await;
    for service in AwsService::ALL {
        let name = hookgate::dev::inbox_name(service);
        assert_eq!(world.inbox(name).len(), if name == "lambda" { 2 } else { 1 }, "{name}");
    }
    let attempts = world.entry("shop", "o1").await.unwrap().attempts.0;
    assert_eq!(attempts.len(), 10, "{attempts:?}");
    assert!(attempts.iter().all(|attempt| !attempt.detail.is_empty()), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_a_strangers_text_calls_nobody_in_a_chat() {
    let world = World::with(CONFIG, &secrets()).await;
    let note = "<!channel> @everyone <at>all</at> & <https://evil.example|your bank>";
    let body = json!({"id": "o1", "type": "order.paid", "total": 1, "note": note}).to_string();
    world.shop_body(body.as_bytes()).await;
    world.wait_for("shop", "o1", Status::Done).await;
    assert_eq!(
        only(&world, "slack"),
        json!({"text": "<!here> &lt;!channel&gt; @everyone &lt;at&gt;all&lt;/at&gt; &amp; &lt;https://evil.example|your bank&gt;"})
    );
    assert_eq!(only(&world, "discord"), json!({"content": note, "allowed_mentions": {"parse": []}}));
    let card = &only(&world, "teams")["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["body"][0]["text"]), (&json!("AdaptiveCard"), &json!(note)));
    assert!(card.get("msteams").is_none(), "only what is named there is called");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_an_execution_is_started_once_even_if_its_start_was_not_written_down() {
    let world = World::with(CONFIG, &secrets()).await;
    world.order("o1").await;
    world.wait_for("shop", "o1", Status::Done).await;
    // What a worker would do that was killed before it could write it down.
    let worker = &world.stack.worker;
    let event = world.stored("shop", "o1").await.unwrap();
    let action = crate::harness::name("machine");
    let source = &worker.config.sources[&event.source];
    let view = hookgate_core::event::view_for(source, &event.request).unwrap();
    let context = event.context(&view);
    let about = hookgate_core::action::About {
        action: &action,
        event: &event,
        view: &view,
        context: &context,
        times_done: 0,
    };
    let effect = worker.config.actions[&action].action.plan(&about).unwrap();
    let cause = hookgate_aws::effects::Cause { event: &event, action: &action, retention_days: 30 };
    let secrets = hookgate_core::secret::Secrets::default();
    let performed = worker.performer.perform(effect, cause, &secrets, world.now()).await;
    let detail = "Step Functions had started it before".to_owned();
    assert_eq!(performed, hookgate_aws::performed::Performed::Done { detail });
    let first = only(&world, "stepfunctions");

    // A person who asks for what is done gets it.
    let entry = world.entry("shop", "o1").await.unwrap();
    let ask = Ask { by: "ann", job: "r-1", again: true };
    replay(&worker.store, &worker.queue, &entry.key, ask, world.now()).await.unwrap();
    until("it is started again", async || world.inbox("stepfunctions").len() == 2).await;
    let second: Value = serde_json::from_str(&world.inbox("stepfunctions")[1].body).unwrap();
    assert_eq!(second["input"], first["input"]);
    assert_ne!(second["name"], first["name"]);
}

#[tokio::test]
async fn flow_an_invocation_waits_for_the_right_that_is_missing() {
    let config = SHOP.replace(
        "[actions.post]\nkind = \"http\"\nurl = \"http://DEST/post\"\ntimeout_seconds = 30\n",
        "[actions.post]\nkind = \"invoke\"\nfunction = \"ship\"\n",
    );
    let (bench, destination) = Bench::start(&config, Functions::default()).await;
    let path = "/LAMBDA/2015-03-31/functions/ship/invocations";
    destination.next(path, [Reply::Status(503), Reply::Status(429), Reply::Status(403)]);
    bench.order("o1").await;
    bench.turn_until("o1", Status::Done).await;
    let hits = destination.hits(path);
    assert_eq!(hits.len(), 4);
    assert!(hits.iter().all(|hit| hit.body == hits[0].body), "the same each time");
    let entry = bench.entry("o1").await;
    let details: Vec<&str> = entry
        .attempts
        .0
        .iter()
        .filter(|attempt| attempt.action.as_str() == "post")
        .map(|attempt| attempt.detail.as_str())
        .collect();
    assert_eq!(details[..3], ["Lambda answered 503", "Lambda answered 429", "Lambda answered 403"]);
    assert!(details[3].starts_with("Lambda took it"), "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_what_is_too_large_for_a_service_is_dead_with_its_size() {
    let world = World::with(CONFIG, &secrets()).await;
    let body = json!({"id": "o1", "type": "order.paid", "total": 1, "text": "x".repeat(300_000)}).to_string();
    world.shop_body(body.as_bytes()).await;
    world.wait_for("shop", "o1", Status::Dead).await;
    let attempts = world.entry("shop", "o1").await.unwrap().attempts.0;
    let dead: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.outcome.word() == "dead")
        .map(|attempt| (attempt.action.as_str(), attempt.detail.as_str()))
        .collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0].0, "machine");
    assert!(dead[0].1.starts_with("the input of the execution would have 30"), "{dead:?}");
    assert!(dead[0].1.ends_with("262144 is the most there"), "{dead:?}");
    assert!(world.inbox("stepfunctions").is_empty());
    // The others are done all the same.
    assert_eq!(world.inbox("eventbridge").len(), 1);
}

#[test]
fn every_kind_of_action_is_tried_in_this_file_or_in_the_shipped_configuration() {
    let (here, shipped) =
        (Config::parse(CONFIG).unwrap(), Config::parse(hookgate_aws::EMBEDDED_CONFIG).unwrap());
    for kind in KINDS {
        let used = |config: &Config| config.actions.values().any(|action| action.kind.name == kind.name);
        assert!(used(&here) || used(&shipped), "{}", kind.name);
    }
}
