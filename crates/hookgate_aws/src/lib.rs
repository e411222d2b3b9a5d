//! hookgate's adapters to AWS: the table, the queue, the secret, and what actions do to the outside.
//!
//! # Layout
//! - [`mod@env`]: the variables that a function reads; [`clients`]: SDK clients made from them; `trust`: whom they believe to be AWS; `user_agent`: what they say of themselves; [`endpoints`]: where the rest goes; [`connections`]: what is open before the first event
//! - [`schema`]: every key and attribute of the table; [`store`]: the calls for events and where they stand; [`outbox`], [`records`]: those for what is due and what actions keep; [`quarantine`]: those for what was refused;
//!   [`destinations`]: those for what waits; [`lanes`]: those for what has an order; [`replay`]: those for what a person asks for again
//! - [`queue`]: sending messages; [`dead_letters`]: looking at those that were given up, and sending them again
//! - [`secrets`]: the cached secret; [`secrets_manager`]: the call for it; [`sender_keys`]: the cached public keys of senders
//! - [`effects`]: performing what an action planned; [`performed`]: what came of it; [`aws_call`]: calls of AWS services; [`egress`]: its HTTP client; [`guard`]: where hookgate may connect to
//! - [`ambient`]: the clock and the dice, which everything else is given; [`log`]: the functions' logs, and [`metrics`] in them; [`trace`]: X-Ray's header
//!
//! Nothing here decides what becomes of an event: that is `hookgate_core::lifecycle`.

pub mod ambient;
pub mod aws_call;
pub mod clients;
pub mod connections;
pub mod dead_letters;
pub mod destinations;
pub mod effects;
pub mod egress;
pub mod endpoints;
pub mod env;
pub mod guard;
pub mod lanes;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod performed;
pub mod quarantine;
pub mod queue;
pub mod records;
pub mod replay;
pub mod schema;
pub mod secrets;
pub mod secrets_manager;
pub mod sender_keys;
pub mod store;
pub mod trace;
mod trust;
mod user_agent;

/// The configuration that is built into the functions, checked by this crate's build script.
pub const EMBEDDED_CONFIG: &str = include_str!("../../../hookgate.toml");
