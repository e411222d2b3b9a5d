//! The fuzz targets: each takes any bytes, and panics when something is not as it has to be.
//!
//! `tests/fuzz.rs` runs them: what is kept, and a short burst of changes to it, with `cargo test`; as long as one likes
//! with `tests/fuzz/run` (see `README.md` beside it). `tests/memory.rs` measures what they allocate.
//!
//! - [`targets`]: one function for each parser, and one for the whole way through ingest
//! - [`seeds`]: what each begins with, made from `events/` and `tests/vectors.json`

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "panicking is what these are for"
)]

mod configurations;
pub mod seeds;
pub mod targets;

// The gateways' JSON, by its file: as a crate, ingest would bring the AWS SDK into every fuzzing build.
#[path = "../../../functions/ingest/src/gateway.rs"]
pub mod gateway;

// The table's keys, by their file for the same reason.
#[path = "../../../crates/hookgate_aws/src/schema.rs"]
pub mod schema;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", targets::config),
    ("forms", targets::forms),
    ("gateway", targets::gateway),
    ("handshake", targets::handshake),
    ("ingest", targets::ingest),
    ("json", targets::json),
    ("json_schema", targets::json_schema),
    ("locators", targets::locators),
    ("messages", targets::messages),
    ("multipart", targets::multipart),
    ("secrets", targets::secrets),
    ("signatures", targets::signatures),
    ("table", targets::table),
    ("templates", targets::templates),
    ("xml", targets::xml),
];
