//! JSON Schema, for what a source says of the bodies that it takes.
//!
//! It is the part of [draft 2020-12](https://json-schema.org/draft/2020-12) that says what a document has to look like. Whoever
//! writes a keyword that is not checked here is told so when the configuration is read; `format` is not checked either, but
//! by that draft it need not be. References lead to places in the same schema. A crate that knows all of it makes ingest
//! larger than it may be (11.5 of 10 MiB, with the regular expressions of Unicode).

mod check;
mod number;
mod read;
mod rule;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::check::Mismatch;
use self::rule::Rule;

/// A schema that was read.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The first is the whole.
    nodes: Vec<Vec<Rule>>,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, and where in it that is.
    pub fn read(document: &Value) -> Result<Self, String> {
        read::nodes(document).map(|nodes| Self { nodes })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        check::check(&self.nodes, value)
    }
}
