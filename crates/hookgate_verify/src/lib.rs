//! Verifies webhooks: 300 providers by name, or any scheme that can be said in a table.
//!
//! ```
//! use hookgate_verify::{EpochMillis, Request, Secret, catalogue};
//!
//! let stripe = catalogue::find("stripe").unwrap().verifier().unwrap().unwrap();
//! let mut request = Request::post("https://hooks.example.com/pay", *b"{\"id\": \"evt_1\"}", EpochMillis::from_seconds(1_780_000_000));
//! request.set_header("stripe-signature", "t=1780000000,v1=00");
//! let secret = Secret::from("whsec_…");
//! assert!(stripe.verify(&request, &[&secret], request.received_at).is_err());
//! ```
//!
//! Nothing here does any input or output: the request, the secrets, the time and the keys that have to be fetched
//! ([`verify::VerifyError::KeyNeeded`]) are arguments.
//!
//! The feature `sending` adds what only a program that sends test deliveries needs: signatures with SHA-1, and a chain of
//! certificates. Without it, [`sign`] can't sign for the four providers that use them.
//!
//! # Layout
//! - [`catalogue`]: the providers; [`scheme`]: how a sender proves itself, as data
//! - [`verify`], [`sign`]: the two readings of a scheme; [`signed`]: the text that is signed; [`handshake`]: what is no event;
//!   [`sealed`]: bodies that are encrypted
//! - [`request`], [`body`], [`place`]: a request as it came, how a body looks, where a value is
//! - [`secret`], [`time`]: values that can't be mixed up or printed

pub mod body;
pub mod catalogue;
mod der;
mod encoding;
pub mod handshake;
mod json;
mod keys;
mod look;
pub mod place;
pub mod request;
pub mod sample;
pub mod scheme;
pub mod sealed;
pub mod secret;
#[cfg(feature = "sending")]
mod sending;
pub mod sign;
pub mod signed;
#[cfg(test)]
mod testing;
pub mod time;
pub mod verify;

pub use keys::Fetched;
pub use request::Request;
pub use secret::Secret;
pub use time::EpochMillis;
pub use verify::{Verified, Verifier, VerifyError};
