//! A sender that publishes its keys: what it signs with, what is at its address, and how it comes to another key.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::state::Reply;

/// The source whose sender it is, and an event of its.
pub(crate) const PUBLISHED: (&str, &str) = ("bank", "payout.paid");

/// Where its keys are.
pub(crate) const HOST: &str = "keys.example";

/// How long a careful sender has a key published before it signs with it, and after it has, in milliseconds. They are
/// kept for an hour by whoever has fetched them.
const CAREFUL_MS: i64 = 3 * 60 * 60_000;

/// What it signs with, and what it shows of that.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    /// Numbers of the keys at its address.
    published: Vec<u8>,
    signing: u8,
    /// Signs with a key as soon as it publishes it, in place of the one before.
    is_sudden: bool,
    /// Since when it signs with a key that nobody can have fetched before.
    pub(crate) changed_ms: i64,
}

impl Default for Keyring {
    fn default() -> Self {
        Self { published: vec![1], signing: 1, is_sudden: false, changed_ms: i64::MIN / 2 }
    }
}

impl Keyring {
    pub(crate) fn draw(dice: &mut Rng) -> Self {
        Self { is_sudden: dice.bool(), ..Self::default() }
    }

    /// Another key, step by step. Returns in how long the next step follows.
    pub(crate) fn rotate(&mut self, now_ms: i64) -> Option<i64> {
        match (self.is_sudden, self.signing, self.published.as_slice()) {
            (true, 1, _) => {
                (self.published, self.signing, self.changed_ms) = (vec![2], 2, now_ms);
                None
            }
            (false, 1, [_]) => {
                self.published.push(2);
                Some(CAREFUL_MS)
            }
            (false, 1, _) => {
                self.signing = 2;
                Some(CAREFUL_MS)
            }
            _ => {
                self.published.retain(|number| *number == 2);
                None
            }
        }
    }

    /// What is at the address: a JWK set.
    pub(crate) fn document(&self) -> Reply {
        let keys: Vec<Value> = self.published.iter().filter_map(|number| jwk(*number)).collect();
        Reply::answer(200, json!({ "keys": keys }).to_string())
    }

    /// A signature of the sender's; of a key that it does not have, where somebody forges one.
    pub(crate) fn sign(&self, body: &[u8], is_forged: bool) -> String {
        let number = if is_forged { u8::MAX } else { self.signing };
        key(number).map_or_else(String::new, |key| HEXLOWER.encode(key.sign(body).as_ref()))
    }
}

/// Its signatures are the same each time, and so are histories.
fn key(number: u8) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).ok()
}

fn jwk(number: u8) -> Option<Value> {
    let x = BASE64URL_NOPAD.encode(key(number)?.public_key().as_ref());
    Some(json!({ "kty": "OKP", "crv": "Ed25519", "kid": number.to_string(), "x": x }))
}
