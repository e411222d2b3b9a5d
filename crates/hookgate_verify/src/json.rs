//! JSON of strangers: read as `serde_json` reads it, up to so many bytes of memory.
//!
//! Seven bytes of text (`{"":0},`) are 700 in memory, as every object is a node of a B-tree with room for eleven members.
//! A body of the size that a gateway lets through could be half a gigabyte so, and it is parsed before it is verified
//! where the proof stands in it.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most memory of a parsed body. A function of 512 MB holds it twice: what rules and templates see has a copy of it.
/// Objects of 20 bytes and one number fit in here up to 5 MB of them, which is more than a function is ever handed.
pub(crate) const MEMORY_BYTES_MAX: usize = 192 * 1024 * 1024;

const VALUE_BYTES: usize = size_of::<Value>();

/// Members that a node of a B-tree has room for; half as many are in it at least, once there are two.
const NODE_MEMBERS: usize = 11;

/// A node of an object's B-tree.
pub(crate) const NODE_BYTES: usize = NODE_MEMBERS * (size_of::<String>() + VALUE_BYTES) + 16;

/// What an allocation takes beside its content.
const ALLOCATION_BYTES: usize = 16;

/// Memory that may still be taken.
pub(crate) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(MEMORY_BYTES_MAX))
    }
}

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// For a text.
    pub(crate) fn text(&self, text: &str) -> bool {
        text.is_empty() || self.take(text.len() + ALLOCATION_BYTES)
    }

    /// For one more item of a list that has `items`: the first makes room for four, and a list that has just grown has
    /// room for as many again.
    pub(crate) fn item(&self, items: usize) -> bool {
        self.take(if items == 0 { 4 * VALUE_BYTES + ALLOCATION_BYTES } else { 2 * VALUE_BYTES })
    }

    /// For one more member of an object that has `members`, its name not counted.
    pub(crate) fn member(&self, members: usize) -> bool {
        let node = members == 0 || members >= NODE_MEMBERS && members.is_multiple_of(NODE_MEMBERS / 2);
        !node || self.take(NODE_BYTES)
    }
}

/// Why a text was not read.
#[derive(Debug)]
pub(crate) enum JsonError {
    /// It is no JSON.
    Invalid {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It takes more than [`MEMORY_BYTES_MAX`].
    TooLarge,
}

/// Reads a document.
pub(crate) fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let budget = Budget::default();
    // It stops at a depth of 128, which bounds the stack.
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read =
        Seed(&budget).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => JsonError::TooLarge,
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            JsonError::Invalid { line: error.line(), column: error.column() }
        }
    })
}

#[derive(Clone, Copy)]
struct Seed<'b>(&'b Budget);

impl Seed<'_> {
    fn within<E: de::Error>(fits: bool) -> Result<(), E> {
        if fits { Ok(()) } else { Err(E::custom("too large")) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Self::within(self.0.text(&text))?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            Self::within(self.0.item(list.len()))?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            Self::within(self.0.member(object.len()) && self.0.text(&name))?;
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 100, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::Array),
                prop::collection::btree_map(".*", inner, 0..12)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }

        #[test]
        fn refuses_what_serde_json_refuses(text in "[\\[\\]{}\",:0-9.eE+\\-\\\\utrfalsn \n]{0,40}") {
            let (ours, theirs) = (parse(text.as_bytes()), serde_json::from_str::<Value>(&text));
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(JsonError::Invalid { line, column }), Err(e)) => {
                    prop_assert_eq!((line, column), (e.line(), e.column()));
                }
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }
    }

    #[test]
    fn a_document_that_would_fill_the_memory_is_not_read() {
        for (piece, times) in
            [(r#"{"":0}"#, 300_000), ("[[[0]]]", 450_000), ("0", 3_200_000), (r#""a""#, 2_600_000)]
        {
            let text = format!("[{}{piece}]", format!("{piece},").repeat(times));
            assert!(matches!(parse(text.as_bytes()), Err(JsonError::TooLarge)), "{piece}");
        }
        let points = format!("[{}0]", r#"{"t":12345,"v":1.5},"#.repeat(225_000));
        assert!(points.len() > 4_400_000 && parse(points.as_bytes()).is_ok(), "4.5 MB of honest points");
    }

    #[test]
    fn a_member_of_any_name_is_a_member() {
        let text = r#"{"$serde_json::private::RawValue": "[1"}"#;
        assert_eq!(parse(text.as_bytes()).unwrap()["$serde_json::private::RawValue"], "[1");
    }
}
