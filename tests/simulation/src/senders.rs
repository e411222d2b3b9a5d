//! Senders: what they send, how they sign it, how long they wait, and how often they try again.

use data_encoding::{BASE64, HEXLOWER};
use fastrand::Rng;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{
    keyring::{Keyring, PUBLISHED},
    state::START_MS,
    vault::QUARANTINED,
};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// How a sender behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub(crate) name: &'static str,
    /// How long it waits for an answer.
    pub(crate) waits_ms: i64,
    /// After how long it tries again, each time.
    pub(crate) again_ms: &'static [i64],
}

/// As vendors behave, some of which never try again.
pub(crate) const MANNERS: [Manners; 5] = [
    Manners { name: "once", waits_ms: 10 * SECOND, again_ms: &[] },
    Manners { name: "three in six minutes", waits_ms: 3 * SECOND, again_ms: &[0, MINUTE, 5 * MINUTE] },
    Manners {
        name: "days",
        waits_ms: 20 * SECOND,
        again_ms: &[5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 12 * HOUR, 12 * HOUR],
    },
    Manners {
        name: "eight in four hours",
        waits_ms: 5 * SECOND,
        again_ms: &[MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR],
    },
    Manners { name: "impatient", waits_ms: SECOND, again_ms: &[0, 0, SECOND, 10 * SECOND] },
];

/// Something that a sender wants to be rid of.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) source: &'static str,
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
    pub(crate) manners: Manners,
    /// Signed with a secret that is not the sender's.
    pub(crate) is_forged: bool,
    pub(crate) tries: usize,
    /// The sender has heard a 2xx.
    pub(crate) is_over: bool,
    /// What it was answered, in order; 0 for nothing.
    pub(crate) answers: Vec<u16>,
}

/// Events that are worked on one after the other.
pub(crate) const ORDERED: (&str, &str) = ("desk", "case.opened");

/// The kinds of events. Each leads to other actions, or to none.
const KINDS: [(&str, &str); 10] = [
    ("shop", "order.paid"),
    ("shop", "order.paid"),
    ("shop", "limited.paid"),
    ("shop", "other.paid"),
    ("shop", "invoice.sent"),
    ("shop", "job.asked"),
    ("pay", "charge.succeeded"),
    ORDERED,
    PUBLISHED,
    QUARANTINED,
];

impl Delivery {
    /// The one with this number.
    pub(crate) fn draw(number: usize, is_ordered: bool, dice: &mut Rng) -> Self {
        let (source, kind) = match is_ordered {
            true => ORDERED,
            false => dice.choice(KINDS).unwrap_or(("shop", "order.paid")),
        };
        let manners = dice.choice(MANNERS).unwrap_or(MANNERS[0]);
        // Now and then too large for an item, or for a message.
        let filling = match dice.u16(0..400) {
            0 => dice.usize(400_000..900_000),
            _ => dice.usize(0..300),
        };
        Self::new(source, kind, &format!("e{number}"), manners, filling, dice)
    }

    pub(crate) fn new(
        source: &'static str,
        kind: &str,
        id: &str,
        manners: Manners,
        filling: usize,
        dice: &mut Rng,
    ) -> Self {
        // What can't be compressed.
        let filling: String = BASE64.encode(&(0..filling).map(|_| dice.u8(..)).collect::<Vec<_>>());
        let body = json!({
            "id": id,
            "type": kind,
            "at": START_MS / 1_000,
            "created": START_MS / 1_000,
            "total": dice.u32(0..100_000),
            "case": "one",
            "filling": filling,
        });
        Self {
            source,
            id: id.to_owned(),
            body: body.to_string().into_bytes(),
            manners,
            is_forged: false,
            tries: 0,
            is_over: false,
            answers: Vec::new(),
        }
    }

    /// The same id, another body, and a signature that nobody has made.
    pub(crate) fn forged(&self) -> Self {
        let body = json!({ "id": self.id, "type": "order.paid", "forged": true }).to_string().into_bytes();
        Self { body, is_forged: true, manners: MANNERS[0], ..self.clone() }
    }

    /// What API Gateway makes of it (payload 2.0).
    pub(crate) fn call(&self, secret: &str, keyring: &Keyring, now_ms: i64, trace: u64) -> String {
        let seconds = now_ms / 1_000;
        let (header, signature) = match self.source {
            "pay" => {
                let signed = [format!("{seconds}.").as_bytes(), &self.body].concat();
                ("stripe-signature", format!("t={seconds},v1={}", hmac(secret, &signed)))
            }
            source if source == PUBLISHED.0 => ("x-signature", keyring.sign(&self.body, self.is_forged)),
            _ => ("x-signature", format!("sha256={}", hmac(secret, &self.body))),
        };
        json!({
            "version": "2.0",
            "rawPath": format!("/webhooks/{}", self.source),
            "rawQueryString": "",
            "headers": { "content-type": "application/json", header: signature },
            "body": String::from_utf8_lossy(&self.body),
            "isBase64Encoded": false,
            "requestContext": {
                "http": { "method": "POST", "sourceIp": "198.18.0.1" },
                "domainName": "hooks.simulation",
                "requestId": format!("request-{trace}"),
                "timeEpoch": now_ms,
            },
        })
        .to_string()
    }
}

fn hmac(secret: &str, text: &[u8]) -> String {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(text);
    HEXLOWER.encode(&mac.finalize().into_bytes())
}
