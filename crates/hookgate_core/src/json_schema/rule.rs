//! What a schema asks for.

use std::{cmp::Ordering, collections::BTreeMap};

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::number::is_whole;

/// A schema by its place in the list of them. The first is the whole.
pub(super) type Id = usize;

/// What one keyword asks for, or a few that belong together.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    Nothing,
    Types(Vec<Type>),
    Values(Vec<Value>),
    Bound(Bound, Number),
    MultipleOf(Number),
    Length(Range),
    Pattern(Pattern),
    Items { first: Vec<Id>, others: Option<Id> },
    ItemCount(Range),
    Unique,
    Contains { item: Id, times: Range },
    Required(Vec<String>),
    Members { named: BTreeMap<String, Id>, patterns: Vec<(Pattern, Id)>, others: Option<Id> },
    MemberCount(Range),
    Names(Id),
    Dependent(BTreeMap<String, Vec<String>>),
    All(Vec<Id>),
    Any(Vec<Id>),
    One(Vec<Id>),
    Not(Id),
    If { condition: Id, then: Option<Id>, otherwise: Option<Id> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Type {
    pub(super) const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::Object, Self::Array, Self::Number, Self::Integer, Self::String];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::String => "string",
        }
    }

    pub(super) fn is_of(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_)) => true,
            (Self::Integer, Value::Number(number)) => is_whole(number),
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    Minimum,
    Maximum,
    Above,
    Below,
}

impl Bound {
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Minimum => order.is_ge(),
            Self::Maximum => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Minimum => "at least",
            Self::Maximum => "at most",
            Self::Above => "more than",
            Self::Below => "less than",
        }
    }
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: u64,
}

/// Most bytes of what a regular expression is compiled to. An ordinary one has less than one of a hundred parts of it.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// What one step reads of a text is one byte, with so many bytes of what the expression is compiled to: all of it may have
/// to be looked at for each byte. `\w{1,1000}!` took 15 seconds for a megabyte.
const COMPILED_BYTES_PER_STEP: usize = 512;

/// A regular expression, and what it costs to look for it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    steps_per_byte: usize,
}

impl Pattern {
    pub(super) fn read(text: &str) -> Result<Self, regex_lite::Error> {
        let compiled = |bytes| RegexBuilder::new(text).size_limit(bytes).build();
        // How large it is can only be told by what it does not fit into.
        let sizes = (0..).map(|doubled| COMPILED_BYTES_PER_STEP << doubled);
        for bytes in sizes.take_while(|bytes| *bytes < COMPILED_BYTES_MAX) {
            if let Ok(regex) = compiled(bytes) {
                return Ok(Self { regex, steps_per_byte: bytes / COMPILED_BYTES_PER_STEP });
            }
        }
        let regex = compiled(COMPILED_BYTES_MAX)?;
        Ok(Self { regex, steps_per_byte: COMPILED_BYTES_MAX / COMPILED_BYTES_PER_STEP })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What [`Self::is_match`] may take.
    pub(super) const fn steps(&self, text: &str) -> usize {
        text.len().saturating_mul(self.steps_per_byte)
    }

    pub(super) fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}
