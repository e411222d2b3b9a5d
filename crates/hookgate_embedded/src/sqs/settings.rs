//! The attributes of a queue: which there are, what they may hold, and what they mean.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{QueueError, name_of};

/// Attribute values by name, as they were set.
pub(crate) type Attributes = BTreeMap<String, String>;

/// The numeric attributes: name, least, most, default, by the documentation of aws-sdk-sqs 1.119.0,
/// `SetQueueAttributes`.
const NUMBERS: [(&str, i64, i64, i64); 5] = [
    ("DelaySeconds", 0, 900, 0),
    ("MaximumMessageSize", 1024, 1 << 20, 1 << 20),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
    ("VisibilityTimeout", 0, 43_200, 30),
];

/// Kept and returned as they are; only a FIFO queue reads the last three.
const TEXTS: [&str; 9] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// The `maxReceiveCount` of a `RedrivePolicy` that has none.
const RECEIVES_MAX: u64 = 10;

/// Chosen when the queue is created, and not to be changed.
const FIFO: &str = "FifoQueue";

/// What the attributes of a queue mean.
pub(crate) struct Settings {
    pub(crate) delay_s: i64,
    pub(crate) bytes_max: usize,
    pub(crate) retention_s: i64,
    pub(crate) wait_s: u64,
    pub(crate) visibility_s: i64,
    pub(crate) fifo: bool,
    pub(crate) deduplicates_content: bool,
    pub(crate) deduplicates_per_group: bool,
    pub(crate) redrive: Option<Redrive>,
}

/// Where messages go which were received too often.
pub(crate) struct Redrive {
    /// The name of the dead-letter queue.
    pub(crate) target: String,
    pub(crate) receives_max: u32,
}

impl Settings {
    /// Reads attributes which passed [`check`].
    pub(crate) fn read(attributes: &Attributes) -> Settings {
        let number = |name: &str| {
            let default = NUMBERS.iter().find(|number| number.0 == name).map_or(0, |number| number.3);
            attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        let is = |name: &str, value: &str| attributes.get(name).is_some_and(|set| set == value);
        Settings {
            delay_s: number("DelaySeconds"),
            bytes_max: usize::try_from(number("MaximumMessageSize")).unwrap_or_default(),
            retention_s: number("MessageRetentionPeriod"),
            wait_s: u64::try_from(number("ReceiveMessageWaitTimeSeconds")).unwrap_or_default(),
            visibility_s: number("VisibilityTimeout"),
            fifo: is(FIFO, "true"),
            deduplicates_content: is("ContentBasedDeduplication", "true"),
            deduplicates_per_group: is("DeduplicationScope", "messageGroup"),
            redrive: attributes.get("RedrivePolicy").and_then(|policy| redrive(policy)),
        }
    }
}

/// The attributes with every default filled in, as `GetQueueAttributes` shows them.
pub(crate) fn with_defaults(attributes: &Attributes) -> Attributes {
    let defaults = NUMBERS.iter().map(|(name, _, _, default)| ((*name).to_owned(), default.to_string()));
    let mut all: Attributes = defaults.collect();
    all.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
    if attributes.contains_key(FIFO) {
        let fifo = [
            ("ContentBasedDeduplication", "false"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ];
        all.extend(fifo.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    all.extend(attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// Puts `changes` over `attributes`; an empty text removes one.
pub(crate) fn merge(attributes: &mut Attributes, changes: &Attributes) {
    for (name, value) in changes {
        if value.is_empty() {
            attributes.remove(name);
        } else {
            attributes.insert(name.clone(), value.clone());
        }
    }
}

/// Refuses a name or value which SQS would refuse.
pub(crate) fn check(queue: &str, attributes: &Attributes) -> Result<(), QueueError> {
    let plain = queue.strip_suffix(".fifo").unwrap_or(queue);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if plain.is_empty() || queue.len() > 80 || !plain.bytes().all(good) {
        return Err(QueueError::invalid(format!(
            "queue name {queue:?}: can only include alphanumeric characters, hyphens, or underscores, 1 to 80 in \
             length"
        )));
    }
    for (name, value) in attributes {
        let number = NUMBERS.iter().find(|number| number.0 == name);
        let good = match (number, name.as_str()) {
            (Some((_, least, most, _)), _) => {
                value.parse::<i64>().is_ok_and(|value| (*least..=*most).contains(&value))
            }
            (None, "RedrivePolicy") => value.is_empty() || redrive(value).is_some(),
            (None, FIFO) => value == "true",
            (None, name) if TEXTS.contains(&name) => true,
            (None, name) => {
                return Err(QueueError::refused("InvalidAttributeName", format!("unknown attribute {name}")));
            }
        };
        if !good {
            let message = format!("invalid value for the attribute {name}: {value}");
            return Err(QueueError::refused("InvalidAttributeValue", message));
        }
    }
    Ok(())
}

/// Refuses a new queue whose name and kind disagree.
pub(crate) fn check_kind(queue: &str, attributes: &Attributes) -> Result<(), QueueError> {
    if is_fifo(queue) == attributes.contains_key(FIFO) {
        return Ok(());
    }
    Err(QueueError::invalid(format!(
        "queue {queue}: a FIFO queue has FifoQueue=true and a name ending in .fifo"
    )))
}

/// Every FIFO queue has this suffix, and no other has.
pub(crate) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// The maximum count may be a number or a text, AWS takes both.
fn redrive(policy: &str) -> Option<Redrive> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let target = name_of(policy.get("deadLetterTargetArn")?.as_str()?)?.to_owned();
    let receives_max = match policy.get("maxReceiveCount") {
        None => RECEIVES_MAX,
        Some(count) => count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok()))?,
    };
    let receives_max = u32::try_from(receives_max).ok().filter(|count| (1..=1000).contains(count))?;
    Some(Redrive { target, receives_max })
}
