//! How an event is written: one frame, the same in the table and in the queue.
//!
//! A frame is `version (1 byte) · envelope length (4 bytes, big endian) · envelope (JSON) · body`, and the whole
//! but its version is compressed with zstd. Compression is what an event costs: a 2 KB JSON body with its headers
//! comes to less than 2 KB as an item, which is two DynamoDB write units instead of three or four.

use std::cell::RefCell;

use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};

use crate::{
    event::Event,
    ids::{EventId, Name},
    order::Lane,
    request::Request,
    time::EpochMillis,
};

/// The version of the frame. A reader keeps every version that a table may still hold.
const VERSION: u8 = 1;

/// zstd's fastest regular level: 2 KB of JSON take microseconds, and higher levels gain little on so few bytes.
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    // Made anew for each event it was a third of what a frame of 2 KB takes: 151,000 instructions, 103,000 so
    // (`benches/run.py`). Reading one took four times as long, as the memory for it came from the kernel every time.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Largest event after decompression: a body of an API's limit (10 MB) and its envelope. A frame that claims more
/// is damaged.
pub const EVENT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Largest frame sent within a message; larger events are sent by reference. A message may be 1 MiB (SQS quotas,
/// since August 2025), base64 takes a third more, and the fields around it are small.
pub const FRAME_IN_MESSAGE_BYTES_MAX: usize = 700 * 1024;

/// Why stored bytes can't be read.
#[derive(Debug, Error)]
pub enum CodecError {
    /// Written by a newer hookgate, or damaged.
    #[error("version {version} of the event frame is unknown")]
    Version {
        /// The first byte.
        version: u8,
    },
    /// Damaged.
    #[error("the event frame is damaged: {what}")]
    Damaged {
        /// What did not hold.
        what: &'static str,
    },
    /// Not a message of ours.
    #[error("not a hookgate message")]
    Message(#[source] serde_json::Error),
}

/// What is stored of an event beside its body.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "t")]
    event_type: String,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    occurred_at: Option<EpochMillis>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    unverified: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    order_key: Option<String>,
    #[serde(rename = "r")]
    received_at: EpochMillis,
    #[serde(rename = "q", default, skip_serializing_if = "String::is_empty")]
    query: String,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    path_type: Option<String>,
    #[serde(rename = "h")]
    headers: Vec<(String, String)>,
    #[serde(rename = "d", skip_deserializing)]
    delivery: u32,
}

impl Envelope {
    fn of(event: &Event, delivery: u32) -> Self {
        Self {
            event_type: event.event_type.clone(),
            occurred_at: event.occurred_at,
            unverified: event.unverified.clone(),
            order_key: event.order_key.clone(),
            received_at: event.request.received_at,
            query: event.request.query.clone(),
            path_type: event.request.path_type.clone(),
            headers: headers_to_text(&event.request.headers),
            delivery,
        }
    }

    fn into_event(self, source: Name, id: EventId, body: Vec<u8>) -> Event {
        Event {
            source,
            id,
            event_type: self.event_type,
            occurred_at: self.occurred_at,
            unverified: self.unverified,
            order_key: self.order_key,
            request: Request {
                method: Method::POST,
                url: String::new(),
                query: self.query,
                headers: headers_from_text(self.headers),
                body,
                path_type: self.path_type,
                sender: None,
                received_at: self.received_at,
            },
        }
    }
}

/// What [`prepare`] compresses: of the kind that is sent, so that all of the compressor is in memory then.
const SAMPLE: &str = r#"{"id":"evt_1QwErTyUiOp","type":"order.paid","created":1780000000,"data":{"order":{"id":"ord_42","status":"paid","amount":4950,"currency":"EUR","items":[{"sku":"K-17","name":"Kettle","quantity":1,"price":4950},{"sku":"T-4","name":"Tea, 500 g","quantity":2,"price":1299}]}}}"#;

/// Makes this thread's compressor and uses it once, so that the first [`encode`] finds it as the others do.
pub fn prepare() {
    // What stands in its way, the first event will be told.
    drop(pack(&[], SAMPLE.as_bytes()));
}

/// Writes an event's frame.
///
/// `delivery` is drawn for each delivery and read by nobody: it makes the frames of two deliveries of one event differ, so
/// that what is found stored can be told to be of this one.
///
/// # Errors
/// [`CodecError::Damaged`] when the compressor fails, which it has no reason to.
pub fn encode(event: &Event, delivery: u32) -> Result<Vec<u8>, CodecError> {
    let envelope = serde_json::to_vec(&Envelope::of(event, delivery))
        .map_err(|_| CodecError::Damaged { what: "envelope" })?;
    pack(&envelope, &event.request.body)
}

/// A frame of an envelope and a body.
pub(crate) fn pack(envelope: &[u8], body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let length =
        u32::try_from(envelope.len()).map_err(|_| CodecError::Damaged { what: "envelope length" })?;
    let mut plain = Vec::with_capacity(4 + envelope.len() + body.len());
    plain.extend_from_slice(&length.to_be_bytes());
    plain.extend_from_slice(envelope);
    plain.extend_from_slice(body);
    let packed = COMPRESSOR
        .with_borrow_mut(|compressor| {
            let compressor = match compressor {
                Some(compressor) => compressor,
                None => compressor.insert(Compressor::new(ZSTD_LEVEL)?),
            };
            compressor.compress(&plain)
        })
        .map_err(|_| CodecError::Damaged { what: "compression" })?;
    let mut frame = Vec::with_capacity(1 + packed.len());
    frame.push(VERSION);
    frame.extend_from_slice(&packed);
    Ok(frame)
}

/// Reads a frame back; the body is byte for byte what was encoded.
///
/// # Errors
/// [`CodecError`]; never more than [`EVENT_BYTES_MAX`] are unpacked.
pub fn decode(source: Name, id: EventId, frame: &[u8]) -> Result<Event, CodecError> {
    let (envelope, body) = unpack(frame)?;
    let envelope: Envelope =
        serde_json::from_slice(&envelope).map_err(|_| CodecError::Damaged { what: "envelope" })?;
    Ok(envelope.into_event(source, id, body))
}

/// The envelope and the body of a frame.
pub(crate) fn unpack(frame: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CodecError> {
    let damaged = |what| CodecError::Damaged { what };
    let (version, packed) = frame.split_first().ok_or(damaged("empty"))?;
    if *version != VERSION {
        return Err(CodecError::Version { version: *version });
    }
    let size = zstd::zstd_safe::get_frame_content_size(packed)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= EVENT_BYTES_MAX)
        .ok_or(damaged("size"))?;
    let plain = DECOMPRESSOR
        .with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                None => decompressor.insert(Decompressor::new()?),
            };
            decompressor.decompress(packed, size)
        })
        .map_err(|_| damaged("compression"))?;
    let (length, rest) = plain.split_first_chunk::<4>().ok_or(damaged("length"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged("length"))?;
    let (envelope, body) = rest.split_at_checked(length).ok_or(damaged("length"))?;
    Ok((envelope.to_vec(), body.to_vec()))
}

/// Headers as JSON can have them. Latin-1 in, Latin-1 out: a value is bytes, and JSON has to have text.
pub(crate) fn headers_to_text(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|b| char::from(*b)).collect();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// The headers of [`headers_to_text`].
pub(crate) fn headers_from_text(written: Vec<(String, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&bytes))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// SHA-256 of a frame in hex: what the parts of a large one are kept under.
pub fn frame_hash(frame: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(frame))
}

/// A message of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The version of this shape.
    v: u8,
    /// The event's source.
    pub source: Name,
    /// The event's id.
    pub id: EventId,
    /// The event's frame in base64; absent when the message is a reference to what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// The action for which a time was reserved that has come with this message: its rate does not hold it up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Name>,
    /// The event's lane, for when the event itself is no longer kept: those behind it have to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
}

impl Message {
    /// A message that carries its event, so that it can be stored by whoever receives it; `None` when the frame
    /// is too large for that.
    pub fn carrying(source: &Name, id: &EventId, frame: &[u8]) -> Option<Self> {
        (frame.len() <= FRAME_IN_MESSAGE_BYTES_MAX).then(|| Self {
            v: VERSION,
            source: source.clone(),
            id: id.clone(),
            event: Some(BASE64.encode(frame)),
            reserved: None,
            lane: None,
        })
    }

    /// A message that points at a stored event.
    pub fn pointing(source: &Name, id: &EventId) -> Self {
        Self { v: VERSION, source: source.clone(), id: id.clone(), event: None, reserved: None, lane: None }
    }

    /// The same about an event that has its turn in a lane.
    #[must_use]
    pub fn in_lane(self, lane: Option<Lane>) -> Self {
        Self { lane, ..self }
    }

    /// The message's text. Pure ASCII but for the id, whose control characters JSON escapes, so every character
    /// of it may stand in an SQS message.
    pub fn to_text(&self) -> String {
        // Strings and one number always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a message's text.
    ///
    /// # Errors
    /// [`CodecError::Message`] when it is not one of ours.
    pub fn from_text(text: &str) -> Result<Self, CodecError> {
        let message: Self = serde_json::from_str(text).map_err(CodecError::Message)?;
        if message.v != VERSION {
            return Err(CodecError::Version { version: message.v });
        }
        Ok(message)
    }

    /// The frame that it carries.
    ///
    /// # Errors
    /// [`CodecError::Damaged`].
    pub fn frame(&self) -> Result<Option<Vec<u8>>, CodecError> {
        let decode = |text: &String| {
            BASE64.decode(text.as_bytes()).map_err(|_| CodecError::Damaged { what: "base64" })
        };
        self.event.as_ref().map(decode).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn event(body: &[u8]) -> Event {
        let mut request = testing::request(body);
        request.query = "a=1".into();
        request.headers.append("x-odd", HeaderValue::from_bytes(b"caf\xe9 \x80").unwrap());
        request.headers.append("x-odd", HeaderValue::from_static("second"));
        Event {
            source: Name::parse("src").unwrap(),
            id: EventId::from_stored("evt_1"),
            event_type: "a.b".into(),
            occurred_at: Some(EpochMillis::from_seconds(5)),
            unverified: None,
            order_key: Some("customer 7".into()),
            request,
        }
    }

    #[test]
    fn what_is_prepared_writes_the_same_frames() {
        let event = event(b"{\"order\": {\"id\": 42}}");
        let on_a_thread_of_its_own = |prepared: bool| {
            let event = event.clone();
            let encoded = std::thread::spawn(move || {
                if prepared {
                    prepare();
                }
                assert_eq!(COMPRESSOR.with_borrow(Option::is_some), prepared);
                encode(&event, 7).unwrap()
            });
            encoded.join().unwrap()
        };
        assert_eq!(on_a_thread_of_its_own(true), on_a_thread_of_its_own(false));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(body in prop::collection::vec(any::<u8>(), 0..4096)) {
            let event = event(&body);
            let frame = encode(&event, 7).unwrap();
            let back = decode(event.source.clone(), event.id.clone(), &frame).unwrap();
            prop_assert_eq!(&back.request.body, &body);
            prop_assert_eq!(&back.request.headers, &event.request.headers);
            prop_assert_eq!(back.request.received_at, event.request.received_at);
            prop_assert_eq!((&back.event_type, back.occurred_at), (&event.event_type, event.occurred_at));
            prop_assert_eq!(&back.order_key, &event.order_key);
            let message = Message::carrying(&event.source, &event.id, &frame).unwrap();
            let message = Message::from_text(&message.to_text()).unwrap();
            prop_assert_eq!(message.frame().unwrap().unwrap(), frame);
        }

        #[test]
        fn damaged_frames_are_errors_not_panics(bytes in prop::collection::vec(any::<u8>(), 0..256), at in 0_usize..200, bit in 0_u8..8) {
            let id = || EventId::from_stored("x");
            let source = || Name::parse("s").unwrap();
            std::hint::black_box(decode(source(), id(), &bytes).is_ok());
            let mut frame = encode(&event(b"{\"some\": \"body\"}"), 7).unwrap();
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            std::hint::black_box(decode(source(), id(), &frame).is_ok());
        }
    }

    proptest! {
        /// What reads the frames is kept from one to the next, and with it whatever a damaged one has done to it.
        #[test]
        fn a_frame_is_read_after_a_damaged_one(body in prop::collection::vec(any::<u8>(), 0..4096), cut in 1_usize..64) {
            let event = event(&body);
            let read = |frame: &[u8]| decode(event.source.clone(), event.id.clone(), frame);
            let frame = encode(&event, 7).unwrap();
            prop_assert!(read(&frame[..frame.len() - cut]).is_err());
            prop_assert_eq!(read(&frame).unwrap().request.body, body);
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_not_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; EVENT_BYTES_MAX + 1], 1).unwrap();
        let frame = [vec![VERSION], bomb].concat();
        let error = decode(Name::parse("s").unwrap(), EventId::from_stored("x"), &frame).unwrap_err();
        assert!(matches!(error, CodecError::Damaged { what: "size" }));
    }

    #[test]
    fn a_large_frame_is_sent_by_reference() {
        let source = Name::parse("s").unwrap();
        let id = EventId::from_stored("x");
        assert!(Message::carrying(&source, &id, &vec![0; FRAME_IN_MESSAGE_BYTES_MAX]).is_some());
        assert!(Message::carrying(&source, &id, &vec![0; FRAME_IN_MESSAGE_BYTES_MAX + 1]).is_none());
        let text = Message::carrying(&source, &id, &vec![0; FRAME_IN_MESSAGE_BYTES_MAX]).unwrap().to_text();
        assert!(text.len() < 1024 * 1024);
        assert_eq!(Message::pointing(&source, &id).to_text(), r#"{"v":1,"source":"s","id":"x"}"#);
        assert!(
            Message::from_text("not ours").is_err()
                && Message::from_text(r#"{"v":9,"source":"s","id":"x"}"#).is_err()
        );
    }
}
