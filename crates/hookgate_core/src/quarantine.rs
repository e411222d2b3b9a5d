//! Quarantine: what a source in that mode refused, kept apart for a short time, whole, so that it can be verified
//! again as of when it came, once a secret was mended.

use std::net::IpAddr;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, CodecError},
    ids::{EventId, Name},
    request::Request,
    time::EpochMillis,
};

/// Most deliveries that one source may add in a day: a stranger must not be able to fill the table.
pub const PER_DAY_MAX: i64 = 500;

/// Days for which they are kept.
pub const DAYS: i64 = 7;

/// A delivery that was not let in.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// The source that it came to.
    pub source: Name,
    /// What it is called: a hash of all of it.
    pub id: EventId,
    /// Why, for the operator.
    pub reason: String,
    /// All of it, credentials included: without them it could not be verified again.
    pub request: Request,
}

impl Quarantined {
    /// A delivery to `source` that was refused.
    pub fn new(source: Name, reason: String, request: Request) -> Self {
        let id = EventId::from_hash(&[
            source.as_str().as_bytes(),
            request.url.as_bytes(),
            &request.body,
            &request.received_at.as_millis().to_be_bytes(),
        ]);
        Self { source, id, reason, request }
    }

    /// As it is stored.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] when the compressor fails, which it has no reason to.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let envelope = Envelope {
            method: self.request.method.to_string(),
            url: self.request.url.clone(),
            query: self.request.query.clone(),
            path_type: self.request.path_type.clone(),
            sender: self.request.sender,
            received_at: self.request.received_at,
            headers: codec::headers_to_text(&self.request.headers),
        };
        let envelope = serde_json::to_vec(&envelope).map_err(|_| CodecError::Damaged { what: "envelope" })?;
        codec::pack(&envelope, &self.request.body)
    }

    /// From what was stored.
    ///
    /// # Errors
    /// [`CodecError`]
    pub fn decode(source: Name, id: EventId, reason: String, frame: &[u8]) -> Result<Self, CodecError> {
        let (envelope, body) = codec::unpack(frame)?;
        let envelope: Envelope =
            serde_json::from_slice(&envelope).map_err(|_| CodecError::Damaged { what: "envelope" })?;
        let request = Request {
            method: Method::from_bytes(envelope.method.as_bytes()).unwrap_or(Method::POST),
            url: envelope.url,
            query: envelope.query,
            headers: codec::headers_from_text(envelope.headers),
            body,
            path_type: envelope.path_type,
            sender: envelope.sender,
            received_at: envelope.received_at,
        };
        Ok(Self { source, id, reason, request })
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    method: String,
    url: String,
    query: String,
    path_type: Option<String>,
    #[serde(default)]
    sender: Option<IpAddr>,
    received_at: EpochMillis,
    headers: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::testing;

    #[test]
    fn a_delivery_comes_back_whole() {
        let mut request = testing::request(b"\x00\xff body");
        request.query = "token=%20x".into();
        request.path_type = Some("opt-out".into());
        request.headers.append("x-odd", HeaderValue::from_bytes(b"\xe9\xff").unwrap());
        request.headers.append("x-odd", HeaderValue::from_static("again"));
        let kept = Quarantined::new(Name::parse("pay").unwrap(), "why".into(), request);
        let frame = kept.encode().unwrap();
        let back =
            Quarantined::decode(kept.source.clone(), kept.id.clone(), kept.reason.clone(), &frame).unwrap();
        assert_eq!(format!("{:?}", back.request), format!("{:?}", kept.request));
        for end in 0..frame.len() {
            let cut = Quarantined::decode(kept.source.clone(), kept.id.clone(), String::new(), &frame[..end]);
            assert!(cut.is_err(), "{end}");
        }
    }
}
