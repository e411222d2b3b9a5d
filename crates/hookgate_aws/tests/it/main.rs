//! The adapters against the embedded engines and small servers on loopback: nothing leaves the machine, and time
//! only passes where a test moves it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod aws_call;
mod effects;
mod guards;
mod harness;
mod queue;
mod secrets;
mod sender_keys;
mod store;
mod trust;
mod user_agent;
