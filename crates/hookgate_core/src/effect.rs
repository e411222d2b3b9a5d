//! What the outside can be asked to do for an action: a closed list, made by planning, performed elsewhere.

use http::Method;
use serde_json::{Map, Value};

use crate::{aws::AwsEffect, sign::Outgoing, time::EpochMillis};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Post something to a destination.
    Http(HttpEffect),
    /// Call an AWS service.
    Aws(AwsEffect),
    /// Upsert a projection.
    Record(RecordEffect),
    /// Count an event.
    Count(CountEffect),
    /// Call a function of the user's own.
    Run {
        /// The name under which it is registered.
        function: String,
    },
}

/// A text that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// As it stands in the configuration.
    Plain(String),
    /// The newest active secret of this name.
    Secret(String),
}

/// A request to a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpEffect {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Text,
    /// Headers beside those of the signature.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// How it is signed, and with which secret.
    pub sign: Option<(Outgoing, String)>,
    /// Milliseconds until it counts as failed.
    pub timeout_ms: u64,
    /// Statuses that count as done; empty for every 2xx.
    pub success: Vec<u16>,
}

/// Names that a recorded field may not have, as the table or the record itself uses them.
pub const RECORD_FIELDS_RESERVED: &[&str] =
    &["event_at", "event_id", "pk", "sk", "source", "ttl", "updated_at"];

/// An upsert of one projection. An older event never overwrites a newer one.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordEffect {
    /// The kind of thing, such as `orders`.
    pub collection: String,
    /// Which one of them.
    pub key: String,
    /// When it was so.
    pub at: EpochMillis,
    /// The fields to set; others stay as they are.
    pub fields: Map<String, Value>,
    /// Days after which it is forgotten; `None` for never.
    pub keep_days: Option<u32>,
}

/// One more of something on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountEffect {
    /// The counter.
    pub counter: String,
    /// The day in UTC, as `2026-11-21`.
    pub day: String,
    /// What is counted under it.
    pub label: String,
}
