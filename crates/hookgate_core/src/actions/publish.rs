//! `publish`: the event to an EventBridge bus, an SNS topic or an SQS queue.
//!
//! Keys: `to`: the name or ARN of a bus (`default` is one), the ARN of a topic, the ARN or URL of a queue; `body`, a
//! template (default: the received bytes where they are text, else a JSON object with `body_base64` in it, as for
//! `invoke`); `group`, a template, for topics and queues.
//!
//! - A bus gets the event's type as `detail-type`, and `hookgate.SOURCE` as `source`, which no service of AWS can have.
//!   What is no JSON object becomes one: `{"body": …}`.
//! - Topics and queues get the attributes `source`, `type` and `id`. A FIFO one also gets a group, by default the
//!   source, and a deduplication id that is the same at every try, and another when a person asks for what is done
//!   again. With `group`, a standard queue is fair between groups.
//!
//! Effect: one [`Effect::Aws`], in the region that `to` names. Sources, read 2026-11-21:
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>,
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>.
//!
//! ```toml
//! [actions.orders-bus]                  # the received JSON as the detail of an event
//! kind = "publish"
//! to = "default"
//!
//! [actions.alerts]
//! kind = "publish"
//! to = "arn:aws:sns:eu-west-1:123456789012:alerts"
//! body = "{{ source }}: {{ type }} ({{ id }})"
//!
//! [actions.in-order]                    # per customer, each event once
//! kind = "publish"
//! to = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo"
//! group = "{{ event.customer.id }}"
//! ```

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    action::{About, Action, Kind, PlanError, envelope, fits, once_name},
    aws::{Arn, AwsAnswer, AwsEffect, AwsService, TARGET_HEADER, dns_suffix},
    effect::Effect,
    ids::EventId,
    template::Template,
};

pub(super) const KIND: Kind = Kind::new::<Publish>("publish", "publishes to EventBridge, SNS or SQS");

/// Largest entry of EventBridge, its fields counted together. It was 256 KB for years, and may still be in places.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// What EventBridge counts for the time of an entry.
const ENTRY_TIME_BYTES: usize = 14;

/// Longest `detail-type`.
const DETAIL_TYPE_CHARS_MAX: usize = 128;

/// Largest message of SQS and of SNS, with its attributes. A topic takes 256 KiB unless its `MaximumMessageSize` says
/// more; what is too large for the topic, SNS refuses.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Longest group, which has printable ASCII in it.
const GROUP_CHARS_MAX: usize = 128;

const TIMEOUT_MS: u64 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Publish {
    to: Target,
    body: Option<Template>,
    group: Option<Template>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    to: Target,
    body: Option<Template>,
    group: Option<Template>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Target {
    kind: TargetKind,
    /// As EventBridge and SNS take it; the URL of a queue.
    name: String,
    region: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TargetKind {
    Bus,
    Topic,
    Queue,
}

const WAYS_TO_WRITE_A_TARGET: &str = "write the name or ARN of an event bus (`default`), the ARN of a topic \
     (`arn:aws:sns:…`), or the ARN or URL of a queue (`arn:aws:sqs:…`, `https://sqs.REGION.amazonaws.com/…`)";

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let of =
            |kind, name: String, region: &str| Some(Self { kind, name, region: Some(region.to_owned()) });
        if let Some(url) = text.strip_prefix("https://sqs.") {
            // The host names the region, the path account and name.
            let (host, path) = url.split_once('/')?;
            let (region, suffix) = host.split_once('.')?;
            let (account, name) = path.split_once('/')?;
            let arn = format!("arn:aws:sqs:{region}:{account}:{name}");
            let known = Arn::parse(&arn).is_some() && suffix == dns_suffix(region) && is_queue_name(name);
            return if known { of(TargetKind::Queue, text.to_owned(), region) } else { None };
        }
        let Some(arn) = Arn::parse(text) else {
            let name = (1..=256).contains(&text.len()) && text.bytes().all(is_bus_byte);
            return name.then(|| Self { kind: TargetKind::Bus, name: text.to_owned(), region: None });
        };
        match arn.service {
            "events" => {
                let name = arn.resource.strip_prefix("event-bus/")?;
                name.bytes().all(is_bus_byte).then_some(())?;
                of(TargetKind::Bus, text.to_owned(), arn.region)
            }
            "sns" => {
                (!arn.resource.contains(':')).then_some(())?;
                of(TargetKind::Topic, text.to_owned(), arn.region)
            }
            "sqs" => {
                is_queue_name(arn.resource).then_some(())?;
                let host = AwsService::Sqs.host(arn.region);
                let url = format!("https://{host}/{}/{}", arn.account, arn.resource);
                of(TargetKind::Queue, url, arn.region)
            }
            _ => None,
        }
    }

    /// Whether it keeps an order. The names of such topics and queues say so.
    fn is_fifo(&self) -> bool {
        self.kind != TargetKind::Bus && self.name.ends_with(".fifo")
    }
}

const fn is_bus_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/')
}

fn is_queue_name(name: &str) -> bool {
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("`{text}` is nothing to publish to; {WAYS_TO_WRITE_A_TARGET}"))
    }
}

impl TryFrom<Written> for Publish {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { to, body, group } = written;
        if to.kind == TargetKind::Bus && group.is_some() {
            return Err("`group` is for topics and queues; an event bus has none".into());
        }
        Ok(Self { to, body, group })
    }
}

impl Action for Publish {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let effect = match self.to.kind {
            TargetKind::Bus => self.entry(about)?,
            TargetKind::Topic => self.notification(about)?,
            TargetKind::Queue => self.message(about)?,
        };
        Ok(Effect::Aws(effect))
    }

    fn describe(&self) -> String {
        let kind = match self.to.kind {
            TargetKind::Bus => "event bus",
            TargetKind::Topic => "topic",
            TargetKind::Queue => "queue",
        };
        format!("{kind} {}", self.to.name)
    }
}

impl Publish {
    fn effect(
        &self,
        service: AwsService,
        headers: Vec<(&'static str, String)>,
        body: String,
        answer: AwsAnswer,
    ) -> AwsEffect {
        AwsEffect {
            service,
            region: self.to.region.clone(),
            path: "/".into(),
            headers,
            body: body.into_bytes(),
            timeout_ms: TIMEOUT_MS,
            answer,
            target: self.to.name.clone(),
        }
    }

    /// `PutEvents` with one entry.
    fn entry(&self, about: &About<'_>) -> Result<AwsEffect, PlanError> {
        let text = self.text(about, |_| true)?;
        let detail = match serde_json::from_str(&text) {
            Ok(Value::Object(_)) => text,
            Ok(other) => json!({ "body": other }).to_string(),
            Err(_) => json!({ "body": text }).to_string(),
        };
        let source = format!("hookgate.{}", about.event.source);
        let detail_type: String = match about.event.event_type.as_str() {
            "" => crate::event::UNKNOWN_TYPE.to_owned(),
            text => text.chars().take(DETAIL_TYPE_CHARS_MAX).collect(),
        };
        let bytes = source.len() + detail_type.len() + detail.len() + ENTRY_TIME_BYTES;
        fits("the entry for EventBridge", bytes, ENTRY_BYTES_MAX)?;
        let entry = json!({
            "EventBusName": self.to.name,
            "Source": source,
            "DetailType": detail_type,
            // Ours, as a sender may say anything about its own.
            "Time": about.event.request.received_at.as_seconds(),
            "Detail": detail,
        });
        let headers = vec![
            ("content-type", "application/x-amz-json-1.1".into()),
            (TARGET_HEADER, "AWSEvents.PutEvents".into()),
        ];
        let body = json!({ "Entries": [entry] }).to_string();
        Ok(self.effect(AwsService::EventBridge, headers, body, AwsAnswer::Entries))
    }

    /// `Publish`, in the protocol that is a form.
    fn notification(&self, about: &About<'_>) -> Result<AwsEffect, PlanError> {
        let text = self.text(about, is_message_char)?;
        let attributes = attributes(about);
        message_fits("the message for SNS", &text, &attributes)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish")
            .append_pair("Version", "2010-03-31")
            .append_pair("TopicArn", &self.to.name)
            .append_pair("Message", &text);
        for (number, (name, value)) in (1..).zip(&attributes) {
            let entry = format!("MessageAttributes.entry.{number}");
            form.append_pair(&format!("{entry}.Name"), name)
                .append_pair(&format!("{entry}.Value.DataType"), "String")
                .append_pair(&format!("{entry}.Value.StringValue"), value);
        }
        if let Some(group) = self.group(about)? {
            form.append_pair("MessageGroupId", &group);
        }
        if self.to.is_fifo() {
            form.append_pair("MessageDeduplicationId", &once_name(about));
        }
        let headers = vec![("content-type", "application/x-www-form-urlencoded".into())];
        Ok(self.effect(AwsService::Sns, headers, form.finish(), AwsAnswer::Id("MessageId")))
    }

    /// `SendMessage`.
    fn message(&self, about: &About<'_>) -> Result<AwsEffect, PlanError> {
        let text = self.text(about, is_message_char)?;
        let attributes = attributes(about);
        message_fits("the message for SQS", &text, &attributes)?;
        let attributes: Map<String, Value> = attributes
            .into_iter()
            .map(|(name, value)| (name.into(), json!({ "DataType": "String", "StringValue": value })))
            .collect();
        let mut request = Map::from_iter([
            ("QueueUrl".into(), json!(self.to.name)),
            ("MessageBody".into(), json!(text)),
            ("MessageAttributes".into(), Value::Object(attributes)),
        ]);
        if let Some(group) = self.group(about)? {
            request.insert("MessageGroupId".into(), json!(group));
        }
        if self.to.is_fifo() {
            request.insert("MessageDeduplicationId".into(), json!(once_name(about)));
        }
        let headers = vec![
            ("content-type", "application/x-amz-json-1.0".into()),
            (TARGET_HEADER, "AmazonSQS.SendMessage".into()),
        ];
        let body = Value::Object(request).to_string();
        Ok(self.effect(AwsService::Sqs, headers, body, AwsAnswer::Id("MessageId")))
    }

    /// What is published: text that its receiver can take.
    fn text(&self, about: &About<'_>, allowed: impl Fn(char) -> bool) -> Result<String, PlanError> {
        let Some(template) = &self.body else {
            let received = std::str::from_utf8(&about.event.request.body).ok();
            let received = received.filter(|text| !text.is_empty() && text.chars().all(allowed));
            return Ok(match received {
                Some(text) => text.to_owned(),
                None => envelope(about).to_string(),
            });
        };
        let text = template.render(about.context)?;
        if text.is_empty() {
            return Err(PlanError::Invalid { what: "the body would be empty".into() });
        }
        match text.chars().find(|c| !allowed(*c)) {
            None => Ok(text),
            Some(c) => Err(PlanError::Invalid {
                what: format!(
                    "the body has the character U+{:04X} in it, which no message can have",
                    u32::from(c)
                ),
            }),
        }
    }

    /// The group of a message, where it has one.
    fn group(&self, about: &About<'_>) -> Result<Option<String>, PlanError> {
        let Some(template) = &self.group else {
            return Ok(self.to.is_fifo().then(|| about.event.source.to_string()));
        };
        let text = template.render(about.context)?;
        if text.is_empty() {
            return Err(PlanError::Invalid { what: "the group would be empty".into() });
        }
        let plain = text.len() <= GROUP_CHARS_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        Ok(Some(if plain { text } else { EventId::from_hash(&[text.as_bytes()]).to_string() }))
    }
}

/// Whether a message of SQS can have this character: those of XML 1.0.
const fn is_message_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What every message says of itself. An attribute can't be empty.
fn attributes(about: &About<'_>) -> Vec<(&'static str, String)> {
    let event = about.event;
    let plain = |text: &str| text.chars().map(|c| if is_message_char(c) { c } else { '?' }).collect();
    [("source", event.source.as_str()), ("type", &event.event_type), ("id", event.id.as_str())]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, plain(value)))
        .collect()
}

fn message_fits(
    what: &'static str,
    text: &str,
    attributes: &[(&'static str, String)],
) -> Result<(), PlanError> {
    // Of an attribute, name, type and value count.
    let attributes: usize =
        attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum();
    fits(what, text.len() + attributes, MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, testing::plan};

    fn planned(keys: &str, event: &str) -> Result<AwsEffect, PlanError> {
        match plan(&format!("kind = \"publish\"\n{keys}"), event)? {
            Effect::Aws(effect) => Ok(effect),
            other => panic!("{other:?}"),
        }
    }

    fn json_of(effect: &AwsEffect) -> Value {
        serde_json::from_slice(&effect.body).unwrap()
    }

    const EVENT: &str = r#"{"id": "evt 1", "type": "order.paid", "total": 5}"#;

    #[test]
    fn a_bus_gets_the_received_object_as_its_detail() {
        let effect = planned("to = \"default\"", EVENT).unwrap();
        assert_eq!((effect.service, effect.region.as_deref()), (AwsService::EventBridge, None));
        assert!(effect.headers.contains(&("x-amz-target", "AWSEvents.PutEvents".into())));
        assert_eq!(
            json_of(&effect),
            json!({"Entries": [{
                "EventBusName": "default",
                "Source": "hookgate.shop",
                "DetailType": "order.paid",
                "Time": 1_780_000_000,
                "Detail": EVENT,
            }]})
        );
    }

    #[test]
    fn what_is_no_object_becomes_one_on_a_bus() {
        for (keys, detail) in [
            ("body = \"{{ event.total }}\"", r#"{"body":5}"#),
            ("body = \"total: {{ event.total }}\"", r#"{"body":"total: 5"}"#),
            ("body = '[{{ event.total }}]'", r#"{"body":[5]}"#),
            ("body = '{\"t\": {{ event.total }}}'", r#"{"t": 5}"#),
        ] {
            let effect = planned(&format!("to = \"orders\"\n{keys}"), EVENT).unwrap();
            assert_eq!(json_of(&effect)["Entries"][0]["Detail"], detail, "{keys}");
        }
    }

    #[test]
    fn a_topic_gets_a_form() {
        let to = "arn:aws:sns:eu-west-1:123456789012:orders";
        let effect = planned(&format!("to = \"{to}\""), EVENT).unwrap();
        assert_eq!((effect.service, effect.region.as_deref()), (AwsService::Sns, Some("eu-west-1")));
        let form: Vec<(String, String)> = form_urlencoded::parse(&effect.body).into_owned().collect();
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            form,
            [
                ("Action", "Publish"),
                ("Version", "2010-03-31"),
                ("TopicArn", to),
                ("Message", EVENT),
                ("MessageAttributes.entry.1.Name", "source"),
                ("MessageAttributes.entry.1.Value.DataType", "String"),
                ("MessageAttributes.entry.1.Value.StringValue", "shop"),
                ("MessageAttributes.entry.2.Name", "type"),
                ("MessageAttributes.entry.2.Value.DataType", "String"),
                ("MessageAttributes.entry.2.Value.StringValue", "order.paid"),
                ("MessageAttributes.entry.3.Name", "id"),
                ("MessageAttributes.entry.3.Value.DataType", "String"),
                ("MessageAttributes.entry.3.Value.StringValue", "evt 1"),
            ]
        );
    }

    #[test]
    fn a_queue_gets_a_message_by_url_or_arn() {
        for to in
            ["arn:aws:sqs:eu-west-1:123456789012:q", "https://sqs.eu-west-1.amazonaws.com/123456789012/q"]
        {
            let effect = planned(&format!("to = \"{to}\"\nbody = \"{{{{ id }}}}\""), EVENT).unwrap();
            assert_eq!((effect.service, effect.region.as_deref()), (AwsService::Sqs, Some("eu-west-1")));
            let string = |text: &str| json!({"DataType": "String", "StringValue": text});
            assert_eq!(
                json_of(&effect),
                json!({
                    "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
                    "MessageBody": "evt 1",
                    "MessageAttributes":
                        {"source": string("shop"), "type": string("order.paid"), "id": string("evt 1")},
                })
            );
        }
    }

    #[test]
    fn what_keeps_an_order_gets_a_group_and_the_same_deduplication_id_at_every_try() {
        let to = "to = \"arn:aws:sqs:eu-west-1:123456789012:q.fifo\"";
        let of = |group: &str, event: &str| {
            let message = json_of(&planned(&format!("{to}\n{group}"), event).unwrap());
            let text = |field: &str| message[field].as_str().unwrap().to_owned();
            (text("MessageGroupId"), text("MessageDeduplicationId"))
        };
        let (group, id) = of("", EVENT);
        assert_eq!(group, "shop");
        assert!(id.starts_with("shop-evt-1-") && id.len() == 11 + 32, "{id}");
        assert_eq!(of("", EVENT).1, id);
        assert_ne!(of("", &EVENT.replace("evt 1", "evt-1")).1, id, "another event has another");
        assert_eq!(of("group = \"{{ type }}\"", EVENT).0, "order.paid");
        assert!(of("group = \"{{ id }}\"", EVENT).0.starts_with("sha256-"), "a space can't be in one");
        let topic = planned("to = \"arn:aws:sns:eu-west-1:123456789012:t.fifo\"", EVENT).unwrap();
        let form = String::from_utf8(topic.body).unwrap();
        assert!(form.contains("&MessageGroupId=shop&MessageDeduplicationId=shop-evt-1-"), "{form}");
        let standard =
            planned("to = \"arn:aws:sqs:eu-west-1:123456789012:q\"\ngroup = \"{{ type }}\"", EVENT).unwrap();
        let standard = json_of(&standard);
        assert_eq!(standard["MessageGroupId"], "order.paid");
        assert!(standard.get("MessageDeduplicationId").is_none());
    }

    #[test]
    fn what_a_message_can_not_have_in_it_goes_another_way_or_not_at_all() {
        let to = "to = \"arn:aws:sqs:eu-west-1:123456789012:q\"";
        // DEL is allowed, a vertical tab is not; JSON has it escaped, a template does not.
        let event = "{\"id\": \"1\", \"t\": \"a\\u000bb\"}";
        assert_eq!(json_of(&planned(to, event).unwrap())["MessageBody"], event);
        let error = planned(&format!("{to}\nbody = \"{{{{ event.t }}}}\""), event).unwrap_err().to_string();
        assert!(error.contains("U+000B"), "{error}");
        let error = planned(&format!("{to}\nbody = \"{{% if 0 %}}x{{% endif %}}\""), event).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let event = json!({"id": "1", "t": "x".repeat(1024 * 1024)}).to_string();
        for to in ["default", "arn:aws:sns:eu-west-1:123456789012:t", "arn:aws:sqs:eu-west-1:123456789012:q"]
        {
            let error = planned(&format!("to = \"{to}\""), &event).unwrap_err();
            assert!(matches!(error, PlanError::TooLarge { limit: 1_048_576, .. }), "{to}: {error}");
        }
    }

    #[test]
    fn a_target_is_told_by_how_it_is_written() {
        for (to, want) in [
            ("default", Some((TargetKind::Bus, "default", None))),
            (
                "arn:aws:events:eu-west-1:123456789012:event-bus/a/b",
                Some((
                    TargetKind::Bus,
                    "arn:aws:events:eu-west-1:123456789012:event-bus/a/b",
                    Some("eu-west-1"),
                )),
            ),
            (
                "arn:aws-cn:sqs:cn-north-1:123456789012:q",
                Some((
                    TargetKind::Queue,
                    "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q",
                    Some("cn-north-1"),
                )),
            ),
            ("arn:aws:events:eu-west-1:123456789012:rule/a", None),
            ("arn:aws:sns:eu-west-1:123456789012:t:subscription", None),
            ("arn:aws:s3:::bucket", None),
            ("https://sqs.eu-west-1.evil.example/123456789012/q", None),
            ("https://sqs.eu-west-1.amazonaws.com.evil.example/123456789012/q", None),
            ("https://sqs.eu-west-1.amazonaws.com/q", None),
            ("https://example.com/", None),
            ("two words", None),
            ("", None),
        ] {
            let target = Target::parse(to);
            let got = target.as_ref().map(|t| (t.kind, t.name.as_str(), t.region.as_deref()));
            assert_eq!(got, want, "{to}");
        }
        for (keys, part) in [
            ("to = \"arn:aws:s3:::b\"", "nothing to publish to"),
            ("to = \"default\"\ngroup = \"g\"", "`group` is for"),
            ("to = \"default\"\nbody = \"{{ x\"", "bad template"),
            ("body = \"x\"", "`to`"),
        ] {
            let problems = Config::parse(&format!("[actions.it]\nkind = \"publish\"\n{keys}")).unwrap_err();
            assert!(problems.iter().any(|p| p.message.contains(part)), "{keys}: {problems:?}");
        }
    }
}
