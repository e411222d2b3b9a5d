//! hookgate on one machine.
//!
//! # Layout
//! - [`dev`]: the gateway with embedded engines: the functions' own handlers, and around them what AWS would do
//! - [`local`]: the data folder of the local stack; [`deployed`]: how a stack on AWS is found
//! - [`access`]: the one or the other, for a command to read and steer
//! - [`follow`]: what is new in it, through restarts
//! - [`samples`]: the deliveries of `events/`, made fresh and signed
//! - [`cli`]: one file a command; [`show`], [`progress`]: what they print
//! - `reconcile`: asking a provider what it sent

pub mod access;
pub mod cli;
pub mod deployed;
pub mod dev;
pub mod follow;
pub mod local;
pub mod progress;
mod reconcile;
pub mod samples;
pub mod show;
