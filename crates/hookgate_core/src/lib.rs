//! What hookgate knows, without anything that it would have to ask for: no network, no clock, no environment,
//! no randomness. Time, secrets and chance are arguments, so everything here is a table or a property to a test.
//!
//! # Layout
//! - [`request`], [`body`], [`place`]: a request as it came, how a body looks, where a value is
//! - [`scheme`], [`verify`], [`sign`]: how a sender proves itself; [`providers`]: the catalogue of it
//! - [`gate`]: what ingest decides; [`event`], [`codec`]: what is stored and queued
//! - [`config`]: `hookgate.toml`; [`routing`], [`actions`], [`effect`], [`template`]: what an event leads to
//! - [`lifecycle`]: what follows when a write or an action fails; [`outcome`]: what a sender sees
//! - [`ids`], [`time`], [`secret`]: values that are checked once

pub mod actions;
pub mod body;
pub mod codec;
pub mod config;
pub mod effect;
mod encoding;
pub mod event;
pub mod gate;
pub mod ids;
pub mod lifecycle;
pub mod outcome;
pub mod place;
pub mod providers;
pub mod request;
pub mod routing;
pub mod scheme;
pub mod secret;
pub mod sign;
mod signed;
pub mod template;
#[cfg(test)]
mod testing;
mod text;
pub mod time;
pub mod verify;
