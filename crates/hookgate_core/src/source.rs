//! A configured sender: how its requests are verified, and where in them is what makes an event.

use ipnet::IpNet;

use crate::{
    body::Members,
    catalogue::{Answering, Provider},
    handshake::Handshake,
    ids::Name,
    json_schema::Schema,
    place::{Locator, Place},
    verify::Verifier,
};

/// Days for which events are kept unless the source says otherwise.
pub const RETENTION_DAYS: u32 = 30;

/// A configured sender.
#[derive(Debug)]
pub struct Source {
    /// Its name, which is the last part of its URL.
    pub name: Name,
    /// The entry of the catalogue.
    pub provider: Provider,
    /// How its requests are verified.
    pub verifier: Verifier,
    /// The name of its secrets.
    pub secret: String,
    /// Networks from which alone it is sent to; empty for any.
    pub addresses: Vec<IpNet>,
    /// What becomes of what is not verified.
    pub mode: Mode,
    /// Most bytes of a body.
    pub body_bytes_max: usize,
    /// Where the event's id is.
    pub id: Locator,
    /// Where its type is.
    pub event_type: Locator,
    /// Where its time is.
    pub time: Locator,
    /// Where the key is whose events are worked on one after the other; `None` where they have no order.
    pub order: Option<Locator>,
    /// What has to be there.
    pub required: Vec<Locator>,
    /// What the view of a body has to look like.
    pub schema: Option<Schema>,
    /// What of a JSON document the places above are in.
    pub looked_at: Members,
    /// The form field in which there is JSON.
    pub json_field: String,
    /// Whether any body will do.
    pub any_body: bool,
    /// Whether two of its events may be the same to the last byte.
    pub identical_bodies_differ: bool,
    /// What the sender hears.
    pub answer: Answering,
    /// The status with which the sender hears that a delivery was not verified; `None` for 401.
    pub refused: Option<u16>,
    /// What is no event.
    pub handshake: Handshake,
    /// Days for which its events are kept and remembered.
    pub retention_days: u32,
    /// Where its secret itself is sent, which is therefore not stored.
    pub token_places: Vec<Place>,
}

/// What becomes of a request that is not verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is accepted, and marked: for switching verification on in a live system.
    Observe,
    /// It is answered with 202 and kept apart, until a person lets it in.
    Quarantine,
}
