//! The table: every key and attribute, in one place.
//!
//! | item | `pk` | `sk` | written by | units |
//! |---|---|---|---|---|
//! | event | `E#source#id` | `E` | ingest, once, if absent | 1 per KB |
//! | part of a large event | `E#source#id` | `P#hash#0001` | ingest, before its event | 1 per KB |
//! | mark of a counted event | `E#source#id` | `A#action` | worker, with the count | 2 |
//! | status | `L#day#shard` | `millis#source#id` | worker | 1 a change |
//! | outbox | `D#shard` | `millis#source#id` | ingest, worker | 1 |
//! | record | `R#collection` | key | worker | 1 |
//! | quarantine | `Q#source` | `millis#id` | ingest, in that mode | 1 per KB |
//! | its count of a day | `Q#source` | `N#day` | ingest, before that | 1 |
//! | destination | `X` | action | worker, when it fails or comes back; a person | 1 |
//! | event parked for it | `W#action#shard` | `millis#source#id` | worker, while it is not up | 1 |
//! | its rate | `Y#action` | `R` | worker, for each run, if it has one | 1 to 2 |
//! | its places | `Y#action` | `C#00` | worker, two for each run, if they are limited | 1 |
//! | turn of an event that has an order | `O#source#hash` | `millis#id` | worker, from when the FIFO queue brings it to its end | 1 |
//! | replay that was asked for | `J` | its name | a person | 1 |
//! | counter | `C#counter` | `day#label#shard` | worker | 2 |
//!
//! An event costs its own units (2 for 2 KB of JSON) and one each for the lease and the end of its one action.
//! One that has an order costs three more: its place is written into its status, its turn is put and deleted.
//! The status items are the list of events as well: their key is the day and a shard of it, so that no list
//! index has to be paid for, and none can be hot: [`LIST_SHARDS`] partitions a day.
//! There is no index at all, and every item but a record has a TTL.

use hookgate_core::{
    ids::{EventId, Name, shard},
    order::Lane,
    time::EpochMillis,
};
use serde_json::{Value, json};

/// Partition key.
pub const PK: &str = "pk";
/// Sort key.
pub const SK: &str = "sk";
/// Seconds since the epoch after which DynamoDB may delete an item.
pub const TTL: &str = "ttl";

/// The sort key of an event, by which the table's stream tells events from everything else.
pub const EVENT_SK: &str = "E";

/// Partitions of a day's list. An event is two writes there, and a partition takes 1,000 units a second
/// (DynamoDB, «Designing partition keys»): at 10,000 events/s each has 313.
pub const LIST_SHARDS: u8 = 64;

/// Partitions of the outbox. It is written on failures only; the sweeper asks all of them every minute.
pub const OUTBOX_SHARDS: u8 = 16;

/// An event's frame.
pub const FRAME: &str = "frame";
/// When an event was received, in milliseconds.
pub const RECEIVED_AT: &str = "received_at";
/// Number of parts of a large event.
pub const PARTS: &str = "parts";
/// SHA-256 of a large event's frame, in hex.
pub const HASH: &str = "hash";
/// Status of an event.
pub const STATUS: &str = "status";
/// Type of an event.
pub const EVENT_TYPE: &str = "type";
/// The provider's time of an event, in milliseconds.
pub const OCCURRED_AT: &str = "occurred_at";
/// Attempts as JSON.
pub const ATTEMPTS: &str = "attempts";
/// Number of the lease: whoever has a lower one has lost it.
pub const FENCE: &str = "fence";
/// Number of the last write under the lease: one that arrives after a later one is refused.
pub const STEP: &str = "step";
/// When the lease ends by itself, in milliseconds.
pub const LEASE_UNTIL: &str = "lease_until";
/// Who holds the lease.
pub const LEASE_OWNER: &str = "lease_owner";
/// The place of an event that has an order, in its lane.
pub const TURN: &str = "turn";
/// When a waiting event is due, in milliseconds.
pub const NEXT_AT: &str = "next_at";
/// A counter's value.
pub const COUNT: &str = "n";
/// A record's time, in milliseconds: that of the newest event in it.
pub const EVENT_AT: &str = "event_at";
/// When a record was last written, in milliseconds.
pub const UPDATED_AT: &str = "updated_at";
/// The event that a record was last written for.
pub const EVENT_ID: &str = "event_id";
/// The source of that event.
pub const SOURCE: &str = "source";

/// Why a delivery is in quarantine.
pub const REASON: &str = "reason";

/// Failures of a destination since its last success.
pub const FAILURES: &str = "failures";
/// When a paused destination may be tried again, in milliseconds.
pub const PROBE_AT: &str = "probe_at";
/// How often a destination's pause was begun or prolonged.
pub const PAUSES: &str = "pauses";
/// Since when a destination stands as it does, in milliseconds.
pub const SINCE: &str = "since";
/// When an event was last parked for a destination, in milliseconds.
pub const PARKED_AT: &str = "parked_at";
/// When a destination with a rate is free again, in microseconds.
pub const NEXT_US: &str = "next_us";

/// Largest frame in one item: an item may have 400 KB, names and keys included.
pub const FRAME_BYTES_MAX: usize = 380 * 1024;

/// Partition key of an event and what belongs to it.
pub fn event_pk(source: &Name, id: &EventId) -> String {
    format!("E#{source}#{id}")
}

/// Takes an event's partition key apart.
pub fn parse_event_pk(pk: &str) -> Option<(Name, EventId)> {
    let (source, id) = pk.strip_prefix("E#")?.split_once('#')?;
    Some((Name::parse(source)?, EventId::from_stored(id)))
}

/// Sort key of one part of a large event. The hash is that of the whole, so that another delivery under the same
/// id can't touch these.
pub fn part_sk(hash: &str, number: usize) -> String {
    format!("P#{hash}#{number:04}")
}

/// Sort key of the mark that an action has counted an event.
pub fn mark_sk(action: &Name) -> String {
    format!("A#{action}")
}

/// What a status item is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusKey {
    /// The event's source.
    pub source: Name,
    /// The event's id.
    pub id: EventId,
    /// When the stored event was received. A repeated delivery has a time of its own, which is not this one.
    pub received_at: EpochMillis,
}

impl StatusKey {
    /// Its partition key.
    pub fn pk(&self) -> String {
        list_pk(&self.received_at.day(), shard(&self.source, &self.id, LIST_SHARDS))
    }

    /// Its sort key.
    pub fn sk(&self) -> String {
        time_sk(self.received_at, &self.source, &self.id)
    }

    /// From a sort key.
    pub fn parse(sk: &str) -> Option<Self> {
        let (received_at, source, id) = parse_time_sk(sk)?;
        Some(Self { source, id, received_at })
    }
}

/// Partition key of one shard of a day's list.
pub fn list_pk(day: &str, shard: u8) -> String {
    format!("L#{day}#{shard:02x}")
}

/// Partition key of one shard of the outbox.
pub fn outbox_pk(shard: u8) -> String {
    format!("D#{shard:02x}")
}

/// A sort key in the order of time. Times before 1970 and after 2286 are held at these bounds.
pub fn time_sk(at: EpochMillis, source: &Name, id: &EventId) -> String {
    format!("{}#{source}#{id}", sortable(at))
}

/// A time as text whose order is that of time.
pub fn sortable(at: EpochMillis) -> String {
    format!("{:013}", at.as_millis().clamp(0, 9_999_999_999_999))
}

/// Takes a sort key of [`time_sk`] apart.
pub fn parse_time_sk(sk: &str) -> Option<(EpochMillis, Name, EventId)> {
    let (at, rest) = sk.split_once('#')?;
    let (source, id) = rest.split_once('#')?;
    Some((EpochMillis::from_millis(at.parse().ok()?), Name::parse(source)?, EventId::from_stored(id)))
}

/// Partition key of a collection of records.
pub fn record_pk(collection: &str) -> String {
    format!("R#{collection}")
}

/// Partition key of a lane.
pub fn lane_pk(lane: &Lane) -> String {
    format!("O#{lane}")
}

/// Sort key of an event's turn in its lane: they stand in their order.
pub fn turn_sk(at: EpochMillis, id: &EventId) -> String {
    format!("{}#{id}", sortable(at))
}

/// Takes it apart.
pub fn parse_turn_sk(sk: &str) -> Option<(EpochMillis, EventId)> {
    let (at, id) = sk.split_once('#')?;
    Some((EpochMillis::from_millis(at.parse().ok()?), EventId::from_stored(id)))
}

/// Partition key of all replays.
pub const REPLAYS_PK: &str = "J";

/// What a replay was asked for, as JSON.
pub const JOB: &str = "job";

/// Partition key of all destinations: one query has how all of them stand.
pub const DESTINATIONS_PK: &str = "X";

/// Partitions of what is parked for one destination: 4,000 events can be parked in a second.
pub const PARKED_SHARDS: u8 = 4;

/// Partition key of one shard of what is parked for a destination.
pub fn parked_pk(destination: &Name, shard: u8) -> String {
    format!("W#{destination}#{shard:02x}")
}

/// Partition key of a destination's rate and places.
pub fn limits_pk(destination: &Name) -> String {
    format!("Y#{destination}")
}

/// Sort key of a destination's rate.
pub const RATE_SK: &str = "R";

/// Sort key of one of a destination's places.
pub fn place_sk(number: u8) -> String {
    format!("C#{number:02}")
}

/// Partition key of what a source has in quarantine.
pub fn quarantine_pk(source: &Name) -> String {
    format!("Q#{source}")
}

/// Sort key of a delivery in quarantine.
pub fn quarantine_sk(received_at: EpochMillis, id: &EventId) -> String {
    format!("{}#{id}", sortable(received_at))
}

/// Takes it apart.
pub fn parse_quarantine_sk(sk: &str) -> Option<(EpochMillis, EventId)> {
    let (at, id) = sk.split_once('#')?;
    Some((EpochMillis::from_millis(at.parse().ok()?), EventId::from_stored(id)))
}

/// Sort key of the number of deliveries that were added on a day.
pub fn quarantine_count_sk(day: &str) -> String {
    format!("N#{day}")
}

/// Partition key of a counter.
pub fn counter_pk(counter: &str) -> String {
    format!("C#{counter}")
}

/// Items that a counter's value for one label and day is spread over: it is written in transactions, and two of
/// them on one item at once are a conflict.
pub const COUNTER_SHARDS: u8 = 16;

/// Sort key of one shard of a counter's value for one label on one day.
pub fn counter_sk(day: &str, label: &str, shard: u8) -> String {
    format!("{day}#{label}#{shard:02x}")
}

/// Day and label of a counter's sort key.
pub fn parse_counter_sk(sk: &str) -> Option<(&str, &str)> {
    sk.split_once('#').and_then(|(day, rest)| Some((day, rest.rsplit_once('#')?.0)))
}

/// The table as a `CreateTable` request. `template.yaml` has the same, and a test compares them.
pub fn definition(table: &str) -> Value {
    json!({
        "TableName": table,
        "KeySchema": [
            {"AttributeName": PK, "KeyType": "HASH"},
            {"AttributeName": SK, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": PK, "AttributeType": "S"},
            {"AttributeName": SK, "AttributeType": "S"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let key = StatusKey {
            source: Name::parse("pay").unwrap(),
            id: EventId::from_stored("a#b"),
            received_at: EpochMillis::from_millis(1_780_000_000_123),
        };
        assert_eq!(key.sk(), "1780000000123#pay#a#b");
        assert!(key.pk().starts_with("L#2026-05-28#"), "{}", key.pk());
        assert_eq!(StatusKey::parse(&key.sk()), Some(key.clone()));
        assert_eq!(
            parse_event_pk(&event_pk(&key.source, &key.id)),
            Some((key.source.clone(), key.id.clone()))
        );
        assert_eq!(parse_event_pk("L#x#y"), None);
        assert_eq!(
            parse_turn_sk(&turn_sk(key.received_at, &key.id)),
            Some((key.received_at, key.id.clone()))
        );
        assert_eq!(parse_counter_sk(&counter_sk("2026-05-28", "a#b", 15)), Some(("2026-05-28", "a#b")));
    }

    #[test]
    fn the_order_of_keys_is_the_order_of_time() {
        let at = |ms| sortable(EpochMillis::from_millis(ms));
        assert!(at(-5) <= at(0) && at(0) < at(9) && at(9) < at(10) && at(999) < at(1_780_000_000_000));
    }
}
