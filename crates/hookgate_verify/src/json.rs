//! JSON of strangers: read as `serde_json` reads it, up to so many bytes of memory.
//!
//! Seven bytes of text (`{"":0},`) are 700 in memory, as every object is a node of a B-tree with room for eleven members.
//! A body of the size that a gateway lets through could be half a gigabyte so, and it is parsed before it is verified
//! where the proof stands in it.
//!
//! Who looks at a few members only ([`Members`]) gets these. The rest is read and counted all the same, so that what is
//! refused does not depend on who reads it.

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

/// What of a document is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    whole: bool,
    members: Vec<(String, Members)>,
}

impl Members {
    /// All of it.
    pub const WHOLE: Self = Self { whole: true, members: Vec::new() };

    /// Adds what is at a JSON pointer (RFC 6901). From a `*` on it is all that is there.
    pub(crate) fn add(&mut self, pointer: &str) {
        let mut steps = pointer.split('/').skip(1).take_while(|step| !step.starts_with('*'));
        match steps.next() {
            None => self.whole = true,
            Some(step) => {
                let name = step.replace("~1", "/").replace("~0", "~");
                let rest = pointer.get(1 + step.len()..).unwrap_or_default();
                match self.members.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, members)) => members.add(rest),
                    None => {
                        let mut members = Self::default();
                        members.add(rest);
                        self.members.push((name, members));
                    }
                }
            }
        }
    }
}

/// What is kept of a value.
#[derive(Clone, Copy)]
enum Keep<'m> {
    All,
    Some(&'m Members),
    Nothing,
}

impl<'m> Keep<'m> {
    fn of(members: &'m Members) -> Self {
        if members.whole { Self::All } else { Self::Some(members) }
    }

    /// What is kept of a member.
    fn member(self, name: &str) -> Self {
        match self {
            Self::Some(members) => {
                let known = members.members.iter().find(|(known, _)| known == name);
                known.map_or(Self::Nothing, |(_, members)| Self::of(members))
            }
            all_or_nothing @ (Self::All | Self::Nothing) => all_or_nothing,
        }
    }

    /// What is kept of the items of a list: pointers name them by their number, so all or none.
    fn item(self) -> Self {
        match self {
            Self::All | Self::Some(_) => Self::All,
            Self::Nothing => Self::Nothing,
        }
    }

    fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
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
    parse_members(text, &Members::WHOLE)
}

/// Reads a document, and keeps what is looked at: at every pointer in `members` it has what [`parse`] has there.
pub(crate) fn parse_members(text: &[u8], members: &Members) -> Result<Value, JsonError> {
    let budget = Budget::default();
    // It stops at a depth of 128, which bounds the stack.
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Seed { budget: &budget, keep: Keep::of(members) }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => JsonError::TooLarge,
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            JsonError::Invalid { line: error.line(), column: error.column() }
        }
    })
}

fn within<E: de::Error>(fits: bool) -> Result<(), E> {
    if fits { Ok(()) } else { Err(E::custom("too large")) }
}

/// A value. What is not kept is null.
#[derive(Clone, Copy)]
struct Seed<'s> {
    budget: &'s Budget,
    keep: Keep<'s>,
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
        within(self.budget.text(text))?;
        // A text on the way to a pointer is kept: it may be a document itself.
        Ok(if self.keep.is_nothing() { Value::Null } else { Value::String(text.to_owned()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let mut read = 0;
        let seed = Self { keep: self.keep.item(), ..self };
        while let Some(item) = items.next_element_seed(seed)? {
            within(self.budget.item(read))?;
            read += 1;
            if !seed.keep.is_nothing() {
                list.push(item);
            }
        }
        Ok(if seed.keep.is_nothing() { Value::Null } else { Value::Array(list) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut read = 0;
        while let Some((name, keep)) = members.next_key_seed(NameSeed { of: self, read })? {
            read += 1;
            let value = members.next_value_seed(Self { keep, ..self })?;
            if let Some(name) = name {
                object.insert(name, value);
            }
        }
        Ok(if self.keep.is_nothing() { Value::Null } else { Value::Object(object) })
    }
}

/// The name of a member, `None` where it is not kept, and what is kept of its value.
struct NameSeed<'s> {
    of: Seed<'s>,
    /// Members of the object that were read before it. One that repeats is counted again.
    read: usize,
}

impl<'de, 's> DeserializeSeed<'de> for NameSeed<'s> {
    type Value = (Option<String>, Keep<'s>);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for NameSeed<'s> {
    type Value = (Option<String>, Keep<'s>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let Seed { budget, keep } = self.of;
        within(budget.member(self.read) && budget.text(name))?;
        let keep = keep.member(name);
        Ok(((!keep.is_nothing()).then(|| name.to_owned()), keep))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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

    fn members(pointers: &[&str]) -> Members {
        let mut members = Members::default();
        pointers.iter().for_each(|pointer| members.add(pointer));
        members
    }

    /// A pointer to every value of a document, and to some that are not there.
    fn pointers(value: &Value, to: &str) -> Vec<String> {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        let mut all = vec![to.to_owned(), format!("{to}/0"), format!("{to}/not there")];
        match value {
            Value::Array(items) => {
                all.extend(
                    items.iter().enumerate().flat_map(|(n, item)| pointers(item, &format!("{to}/{n}"))),
                );
            }
            Value::Object(members) => all.extend(
                members.iter().flat_map(|(name, value)| pointers(value, &format!("{to}/{}", escaped(name)))),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        all
    }

    proptest! {
        #[test]
        fn what_is_looked_at_is_as_in_the_whole(value in any_json(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
            let text = value.to_string();
            let whole = parse(text.as_bytes()).unwrap();
            let all = pointers(&whole, "");
            let picked: Vec<&str> = picks.iter().map(|pick| pick.get(&all).as_str()).collect();
            let some = parse_members(text.as_bytes(), &members(&picked)).unwrap();
            for pointer in picked {
                prop_assert_eq!(some.pointer(pointer), whole.pointer(pointer), "{}", pointer);
            }
        }

        #[test]
        fn what_is_refused_does_not_depend_on_what_is_looked_at(text in "[\\[\\]{}\",:0-9.eE+\\-\\\\utrfalsn \n]{0,40}") {
            let (whole, some) = (parse(text.as_bytes()), parse_members(text.as_bytes(), &members(&["/a"])));
            match (whole, some) {
                (Ok(_), Ok(_)) => {}
                (Err(whole), Err(some)) => prop_assert_eq!(format!("{whole:?}"), format!("{some:?}")),
                (whole, some) => prop_assert!(false, "{:?} {:?}", whole, some),
            }
        }
    }

    #[test]
    fn what_nobody_looks_at_is_not_kept() {
        let text = r#"{"id": "e1", "order": {"id": 1, "items": [{"a": 1}, {"a": 2}]}, "list": [1, 2], "text": "{}"}"#;
        for (pointers, kept) in [
            (&[][..], json!({})),
            (&["/id", "/nope", "/id/deeper"], json!({"id": "e1"})),
            (&["/order/id", "/text/a"], json!({"order": {"id": 1}, "text": "{}"})),
            (&["/order/id", "/order"], json!({"order": {"id": 1, "items": [{"a": 1}, {"a": 2}]}})),
            (&["/order/items/*/a"], json!({"order": {"items": [{"a": 1}, {"a": 2}]}})),
            (&["/list/1"], json!({"list": [1, 2]})),
        ] {
            assert_eq!(parse_members(text.as_bytes(), &members(pointers)).unwrap(), kept, "{pointers:?}");
        }
        assert_eq!(members(&["/id", ""]), Members { whole: true, ..members(&["/id"]) });
        assert_eq!(members(&["/a~1b/~0c"]).members[0].0, "a/b");
    }

    #[test]
    fn a_document_that_would_fill_the_memory_is_not_read() {
        for (piece, times) in
            [(r#"{"":0}"#, 300_000), ("[[[0]]]", 450_000), ("0", 3_200_000), (r#""a""#, 2_600_000)]
        {
            let text = format!("[{}{piece}]", format!("{piece},").repeat(times));
            assert!(matches!(parse(text.as_bytes()), Err(JsonError::TooLarge)), "{piece}");
            let nothing = parse_members(text.as_bytes(), &Members::default());
            assert!(matches!(nothing, Err(JsonError::TooLarge)), "{piece}, of which nothing is kept");
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
