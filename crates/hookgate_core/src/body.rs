//! Bodies: how each format looks to rules, templates and actions.
//!
//! | format | media type | view |
//! |---|---|---|
//! | JSON | `application/json`, `*+json`, or anything that the provider sends as JSON | the document |
//! | form | `application/x-www-form-urlencoded` | an object: field → text, or → list of texts when it repeats |
//! | JSON in a form | the same, with the provider's JSON field present | the document in that field |
//! | text | `text/*`, XML | the text |
//! | binary | anything else that is not UTF-8 | null |
//! | empty | no bytes | null |
//!
//! The raw bytes are what is stored; a view is made from them whenever one is needed.
//! Absent on purpose: multipart, XML as a tree, and compressed bodies. They are refused with 415 where a
//! provider needs to look inside, and kept as they came by `raw`.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::request::Request;

/// Most fields of a form. Twilio sends about 40.
pub const FORM_FIELDS_MAX: usize = 1_000;

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON document.
    Json,
    /// URL-encoded fields.
    Form,
    /// UTF-8 text of any other kind.
    Text,
    /// Bytes that are not UTF-8.
    Binary,
    /// No bytes.
    Empty,
}

/// A parsed body.
#[derive(Clone, Debug)]
pub struct View {
    /// What it was parsed as.
    pub format: Format,
    /// The mapping described on this module.
    pub value: Value,
    fields: Option<Map<String, Value>>,
}

/// Why a body has no view.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// It is not what its media type says.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// More than [`FORM_FIELDS_MAX`] fields.
    #[error("the form has more than {FORM_FIELDS_MAX} fields")]
    TooManyFields,
}

impl View {
    /// The first field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        match self.fields.as_ref()?.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(values) => values.first().and_then(Value::as_str).map(str::to_owned),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }
}

/// Whether a media type is JSON.
pub fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

/// Whether a media type is a URL-encoded form.
pub fn is_form(media_type: &str) -> bool {
    media_type == "application/x-www-form-urlencoded"
}

/// Makes the view of a request's body. `json_field` is the form field in which the provider sends a JSON
/// document (Slack and GitHub: `payload`); empty for none.
///
/// # Errors
/// [`BodyError`] when the body is not what it says it is.
pub fn view(request: &Request, json_field: &str) -> Result<View, BodyError> {
    parse(&request.media_type(), &request.body, json_field)
}

/// [`view`] of a media type and bytes.
///
/// # Errors
/// [`BodyError`] when the body is not what it says it is.
pub fn parse(media_type: &str, body: &[u8], json_field: &str) -> Result<View, BodyError> {
    if body.is_empty() {
        return Ok(View { format: Format::Empty, value: Value::Null, fields: None });
    }
    if is_json(media_type) {
        return json(body);
    }
    if is_form(media_type) {
        let fields = form(body)?;
        if let Some(document) = fields.get(json_field).and_then(Value::as_str) {
            let view = json(document.as_bytes())?;
            return Ok(View { fields: Some(fields), ..view });
        }
        return Ok(View { format: Format::Form, value: Value::Object(fields.clone()), fields: Some(fields) });
    }
    // Several vendors send JSON as text/plain or without a type (Amazon SNS among them).
    let looks_like_json =
        body.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
    if looks_like_json && let Ok(view) = json(body) {
        return Ok(view);
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok(View { format: Format::Text, value: Value::String(text.to_owned()), fields: None }),
        Err(_) => Ok(View { format: Format::Binary, value: Value::Null, fields: None }),
    }
}

fn json(body: &[u8]) -> Result<View, BodyError> {
    // serde_json stops at a depth of 128, which bounds the stack.
    match serde_json::from_slice(body) {
        Ok(value) => Ok(View { format: Format::Json, value, fields: None }),
        Err(e) => Err(BodyError::Json { line: e.line(), column: e.column() }),
    }
}

fn form(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    let mut fields = Map::new();
    for (n, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if n >= FORM_FIELDS_MAX {
            return Err(BodyError::TooManyFields);
        }
        let value = Value::String(value.into_owned());
        match fields.get_mut(name.as_ref()) {
            None => {
                fields.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(fields)
}

/// The first field called `name` of a form body, before there is a view of it.
pub(crate) fn form_field(body: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(body)
        .take(FORM_FIELDS_MAX)
        .find(|(key, _)| key == name)
        .map(|(_, v)| v.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(media_type: &str, body: &[u8], format: Format, value: &Value) {
        let view = parse(media_type, body, "payload").unwrap();
        assert_eq!((view.format, &view.value), (format, value), "{media_type}");
    }

    #[test]
    fn each_format_has_one_mapping() {
        check("application/json", br#"{"a":1}"#, Format::Json, &json!({"a": 1}));
        check("application/cloudevents+json", b"[1]", Format::Json, &json!([1]));
        check("text/plain", br#" {"a":1}"#, Format::Json, &json!({"a": 1}));
        check("text/plain", b"{not json", Format::Text, &json!("{not json"));
        check("", b"", Format::Empty, &Value::Null);
        check("application/json", b"", Format::Empty, &Value::Null);
        check("image/png", b"\x89PNG\xff", Format::Binary, &Value::Null);
        check("text/csv", "a;ü".as_bytes(), Format::Text, &json!("a;ü"));
        let form = "application/x-www-form-urlencoded";
        check(
            form,
            b"a=1&b=x+y%2B&a=2&a=3&c",
            Format::Form,
            &json!({"a": ["1", "2", "3"], "b": "x y+", "c": ""}),
        );
        check(form, b"payload=%7B%22t%22%3A1%7D", Format::Json, &json!({"t": 1}));
    }

    #[test]
    fn says_where_json_ends_being_json() {
        assert_eq!(
            parse("application/json", b"{\n 'a'}", "").unwrap_err(),
            BodyError::Json { line: 2, column: 2 }
        );
        assert!(parse("application/json", b"\xff", "").is_err());
        assert!(parse("application/json", "[".repeat(200).as_bytes(), "").is_err());
        let many = "a=1&".repeat(FORM_FIELDS_MAX + 1);
        let error = parse("application/x-www-form-urlencoded", many.as_bytes(), "").unwrap_err();
        assert_eq!(error, BodyError::TooManyFields);
    }
}
