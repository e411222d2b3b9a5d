//! What hookgate knows, without anything that it would have to ask for: no network, no clock, no environment,
//! no randomness. Time, secrets and chance are arguments, so everything here is a table or a property to a test.
//!
//! # Layout
//! - [`request`], [`body`], [`place`], [`scheme`], [`verify`], [`sign`], [`catalogue`], [`handshake`], [`secret`] and
//!   [`time`] are those of `hookgate_verify`, the crate that verifies webhooks
//! - [`gate`]: what ingest decides; [`quarantine`]: what it refused; [`event`], [`codec`]: what is stored and queued
//! - [`config`]: `hookgate.toml`; [`source`]: a sender in it; [`routing`], [`action`], [`actions`], [`effect`],
//!   [`template`]: what an event leads to
//! - [`destination`]: when an action has to wait for the place that it reaches
//! - [`aws`]: requests to AWS services as data
//! - [`lifecycle`]: what follows when a write or an action fails; [`outcome`]: what a sender sees
//! - [`order`]: whose turn it is, where events have an order
//! - [`ids`]: values that are checked once; [`json_schema`]: what a body has to look like

pub mod action;
pub mod actions;
pub mod aws;
mod chat;
pub mod codec;
pub mod config;
pub mod destination;
pub mod effect;
pub mod event;
pub mod gate;
pub mod ids;
pub mod json_schema;
pub mod lifecycle;
pub mod order;
pub mod outcome;
pub mod quarantine;
pub mod routing;
pub mod source;
pub mod template;
#[cfg(test)]
mod testing;

pub use hookgate_verify::{
    Fetched, body, catalogue, handshake, place, request, sample, scheme, sealed, secret, sign, time, verify,
};
