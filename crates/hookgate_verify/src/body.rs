//! Bodies: how each format looks to rules, templates and actions.
//!
//! | format | media type | view |
//! |---|---|---|
//! | JSON | `application/json`, `*+json`, or anything that begins like JSON and is | the document |
//! | form | `application/x-www-form-urlencoded` | an object: field → text, or → list of texts when it repeats |
//! | multipart | `multipart/form-data` | the same; a file is `{"filename", "type", "bytes"}`, with its `text` if it is text |
//! | JSON in a form | either kind of form, with the provider's JSON field present | the document in that field |
//! | XML | `application/xml`, `text/xml`, `*+xml` | `{"root": …}`: an element with children or attributes is an object (attributes as `@name`, text beside them as `#text`), one with text only is that text, repeated ones are a list; namespace prefixes stay |
//! | JWS | `application/jwt`, or a body that is one | the claims. They are as true as the scheme that verified them |
//! | text | any other text | the text |
//! | binary | anything else that is not UTF-8 | null |
//! | empty | no bytes | null |
//!
//! A body with `Content-Encoding: gzip` is unpacked for its view, up to [`UNPACKED_BYTES_MAX`].
//! The raw bytes, packed as they came, are what is verified and stored; a view is made from them whenever one is needed.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use quick_xml::{
    escape::resolve_xml_entity,
    events::{BytesStart, Event as Xml},
};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{
    encoding::decode,
    json::{self, Budget, JsonError, MEMORY_BYTES_MAX, NODE_BYTES},
    request::Request,
    scheme::Encoding,
};

pub use crate::json::Members;

/// Most fields of a form. Twilio sends about 40.
pub const FORM_FIELDS_MAX: usize = 1_000;

/// Most bytes of an unpacked body. A gateway lets 10 MB through, and no sender is known to send more than that
/// unpacked; a bomb of 10 MB would be 10 GB.
pub const UNPACKED_BYTES_MAX: usize = 20 * 1024 * 1024;

/// Deepest element of an XML document, as deep as `serde_json` lets JSON be.
const XML_DEPTH_MAX: usize = 128;

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON document.
    Json,
    /// Fields, URL-encoded or as parts.
    Form,
    /// An XML document.
    Xml,
    /// A JSON Web Signature.
    Jws,
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
    /// It is not what its media type says.
    #[error("the body is not valid XML (byte {at})")]
    Xml {
        /// From 0.
        at: u64,
    },
    /// It is not what its media type says.
    #[error("the body is not valid multipart/form-data")]
    Multipart,
    /// Its view would fill the memory.
    #[error("the body has too many values: the memory for its view is full")]
    TooLarge,
    /// More than [`FORM_FIELDS_MAX`] fields.
    #[error("the form has more than {FORM_FIELDS_MAX} fields")]
    TooManyFields,
    /// It says that it is gzip, and is not, or is more than [`UNPACKED_BYTES_MAX`].
    #[error("the body can't be unpacked, or has more than {UNPACKED_BYTES_MAX} bytes then")]
    Packed,
    /// Another encoding than gzip.
    #[error("the body is encoded as `{encoding}`; only gzip is unpacked")]
    Encoded {
        /// As sent.
        encoding: String,
    },
}

impl View {
    fn new(format: Format, value: Value) -> Self {
        Self { format, value, fields: None }
    }

    fn with_fields(
        fields: Map<String, Value>,
        json_field: &str,
        members: &Members,
    ) -> Result<Self, BodyError> {
        // Where a provider has no such field, a field without a name is one like any other.
        let document = if json_field.is_empty() { None } else { fields.get(json_field) };
        if let Some(document) = document.and_then(Value::as_str) {
            let view = json_view(document.as_bytes(), members)?;
            return Ok(Self { fields: Some(fields), ..view });
        }
        Ok(Self { format: Format::Form, value: Value::Object(fields.clone()), fields: Some(fields) })
    }

    /// The first field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        match self.fields.as_ref()?.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(values) => values.first().and_then(Value::as_str).map(str::to_owned),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// What is at a JSON pointer (RFC 6901). A text on the way that is itself JSON, or a JWS, is looked into:
    /// several providers put documents into texts (SNS into `Message`, Apple into `signedPayload`).
    pub fn at(&self, pointer: &str) -> Option<Value> {
        if let Some(found) = self.value.pointer(pointer) {
            return Some(found.clone());
        }
        let mut inside: Cow<'_, Value> = Cow::Borrowed(&self.value);
        for step in pointer.split('/').skip(1) {
            if let Value::String(text) = inside.as_ref() {
                inside = Cow::Owned(json::parse(text.as_bytes()).ok().or_else(|| jws_claims(text))?);
            }
            let step = format!("/{step}");
            inside = match inside {
                Cow::Borrowed(value) => Cow::Borrowed(value.pointer(&step)?),
                Cow::Owned(value) => Cow::Owned(value.pointer(&step)?.clone()),
            };
        }
        Some(inside.into_owned())
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

fn is_xml(media_type: &str) -> bool {
    media_type == "application/xml" || media_type == "text/xml" || media_type.ends_with("+xml")
}

/// A request's body as it was before `Content-Encoding`.
///
/// # Errors
/// [`BodyError::Packed`] and [`BodyError::Encoded`].
pub fn unpacked(request: &Request) -> Result<Cow<'_, [u8]>, BodyError> {
    match request.header(http::header::CONTENT_ENCODING.as_str()) {
        None => Ok(Cow::Borrowed(&request.body)),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(Cow::Borrowed(&request.body)),
        Some(encoding)
            if encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip") =>
        {
            let mut plain = Vec::new();
            let limit = u64::try_from(UNPACKED_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
            MultiGzDecoder::new(request.body.as_slice())
                .take(limit)
                .read_to_end(&mut plain)
                .map_err(|_| BodyError::Packed)?;
            if plain.len() > UNPACKED_BYTES_MAX { Err(BodyError::Packed) } else { Ok(Cow::Owned(plain)) }
        }
        Some(encoding) => Err(BodyError::Encoded { encoding }),
    }
}

/// The most memory that the view of a request takes, twice for what rules and templates see of it: told by the bytes
/// that begin something, before anything is made of them.
pub fn memory_max(request: &Request) -> usize {
    // While it is unpacked it is there as it grows, too.
    let (body, unpacking) = match unpacked(request) {
        Ok(Cow::Borrowed(body)) => (Cow::Borrowed(body), 0),
        Ok(Cow::Owned(body)) => {
            let unpacking = 3 * body.len();
            (Cow::Owned(body), unpacking)
        }
        Err(_) => return 3 * UNPACKED_BYTES_MAX,
    };
    let media_type = request.media_type();
    let memory = if media_type == "multipart/form-data" || is_form(&media_type) || is_jws(&body) {
        // A document may stand in a field, or be written in base64: what begins in it can't be seen.
        body.len().saturating_mul(MEMORY_PER_BYTE)
    } else {
        let begins = |byte: &u8| match byte {
            b'{' | b'<' => NODE_BYTES + VALUES_BYTES,
            b'[' | b',' | b'=' => VALUES_BYTES,
            _ => 0,
        };
        body.iter().map(begins).sum::<usize>() + 2 * body.len()
    };
    unpacking + 2 * memory.min(MEMORY_BYTES_MAX + body.len())
}

/// Memory of a list or an object that has just grown, for one more member: its name and value, as many that are not there
/// yet, and what their allocation takes.
const VALUES_BYTES: usize = 256;

/// Memory of a byte of JSON at most: `{"":0},` has seven.
const MEMORY_PER_BYTE: usize = 110;

/// Whether a body may be a JWS, which is base64url and two points.
fn is_jws(body: &[u8]) -> bool {
    body.iter().filter(|byte| **byte == b'.').count() == 2
        && !body.iter().any(|byte| matches!(byte, b'{' | b'<' | b'['))
}

/// Makes the view of a request's body. `json_field` is the form field in which the provider sends a JSON
/// document (Slack and GitHub: `payload`); empty for none.
///
/// # Errors
/// [`BodyError`] when the body is not what it says it is.
pub fn view(request: &Request, json_field: &str) -> Result<View, BodyError> {
    view_of(request, json_field, &Members::WHOLE)
}

/// Like [`view`], for one who looks at a few members of a document only. What is refused is the same.
///
/// # Errors
/// [`BodyError`] when the body is not what it says it is.
pub fn view_of(request: &Request, json_field: &str, members: &Members) -> Result<View, BodyError> {
    let body = unpacked(request)?;
    let media_type = request.media_type();
    if media_type == "multipart/form-data" {
        let content_type = request.header(http::header::CONTENT_TYPE.as_str()).unwrap_or_default();
        return View::with_fields(multipart(&content_type, &body)?, json_field, members);
    }
    parse(&media_type, &body, json_field, members)
}

/// The view that a request has if nothing is known of its body but its bytes.
pub fn opaque_view(body: &[u8]) -> View {
    match std::str::from_utf8(body) {
        Ok("") => View::new(Format::Empty, Value::Null),
        Ok(text) => View::new(Format::Text, Value::String(text.to_owned())),
        Err(_) => View::new(Format::Binary, Value::Null),
    }
}

fn parse(media_type: &str, body: &[u8], json_field: &str, members: &Members) -> Result<View, BodyError> {
    if body.is_empty() {
        return Ok(View::new(Format::Empty, Value::Null));
    }
    if is_json(media_type) {
        return json_view(body, members);
    }
    if is_form(media_type) {
        return View::with_fields(form(body)?, json_field, members);
    }
    if is_xml(media_type) {
        return xml(body);
    }
    // Several vendors send JSON as text/plain or without a type (Amazon SNS among them).
    let looks_like_json =
        body.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
    if looks_like_json && let Ok(view) = json_view(body, members) {
        return Ok(view);
    }
    if let Some(claims) = std::str::from_utf8(body).ok().and_then(jws_claims) {
        return Ok(View::new(Format::Jws, claims));
    }
    Ok(opaque_view(body))
}

fn json_view(body: &[u8], members: &Members) -> Result<View, BodyError> {
    match json::parse_members(body, members) {
        Ok(value) => Ok(View::new(Format::Json, value)),
        Err(JsonError::Invalid { line, column }) => Err(BodyError::Json { line, column }),
        Err(JsonError::TooLarge) => Err(BodyError::TooLarge),
    }
}

/// The claims of a JWS in compact form.
pub(crate) fn jws_claims(text: &str) -> Option<Value> {
    let mut parts = text.trim().split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || payload.is_empty() {
        return None;
    }
    let json = |part: &str| json::parse(&decode(part, Encoding::Base64url)?).ok();
    json(header)?.get("alg")?;
    json(payload).filter(Value::is_object)
}

/// Adds a field; one that repeats becomes a list.
fn add(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.get_mut(&name) {
        None => {
            fields.insert(name, value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

fn form(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    let mut fields = Map::new();
    for (n, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if n >= FORM_FIELDS_MAX {
            return Err(BodyError::TooManyFields);
        }
        add(&mut fields, name.into_owned(), Value::String(value.into_owned()));
    }
    Ok(fields)
}

/// The parts of `multipart/form-data` (RFC 7578). Line breaks may be bare, as some senders write them.
fn multipart(content_type: &str, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    let boundary = parameter(content_type, "boundary").ok_or(BodyError::Multipart)?;
    let delimiter = format!("--{boundary}");
    let mut fields = Map::new();
    let mut pieces = split(body, delimiter.as_bytes());
    pieces.next();
    let mut closed = false;
    for (n, piece) in pieces.enumerate() {
        if piece.starts_with(b"--") {
            closed = true;
            break;
        }
        if n >= FORM_FIELDS_MAX {
            return Err(BodyError::TooManyFields);
        }
        let (head, content) = part(piece).ok_or(BodyError::Multipart)?;
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        let disposition = header("content-disposition").ok_or(BodyError::Multipart)?;
        let name = parameter(&disposition, "name").ok_or(BodyError::Multipart)?;
        let text = std::str::from_utf8(content).ok();
        let value = match (parameter(&disposition, "filename"), text) {
            (None, Some(text)) => Value::String(text.to_owned()),
            (filename, text) => {
                let kind = header("content-type");
                let mut file = json!({ "filename": filename, "type": kind, "bytes": content.len() });
                if let (Some(text), Some(file)) = (text, file.as_object_mut()) {
                    file.insert("text".to_owned(), Value::String(text.to_owned()));
                }
                file
            }
        };
        add(&mut fields, name, value);
    }
    if closed { Ok(fields) } else { Err(BodyError::Multipart) }
}

/// Head and content of what stands between two delimiters.
fn part(piece: &[u8]) -> Option<(&str, &[u8])> {
    let piece = piece.strip_prefix(b"\r\n").or_else(|| piece.strip_prefix(b"\n"))?;
    let piece = piece.strip_suffix(b"\r\n").or_else(|| piece.strip_suffix(b"\n")).unwrap_or(piece);
    let crlf = position(piece, b"\r\n\r\n").map(|at| (at, 4));
    let lf = position(piece, b"\n\n").map(|at| (at, 2));
    let (at, length) = match (crlf, lf) {
        (Some(crlf), Some(lf)) => crlf.min(lf),
        (found, None) | (None, found) => found?,
    };
    Some((std::str::from_utf8(piece.get(..at)?).ok()?, piece.get(at + length..)?))
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

fn split<'b>(mut rest: &'b [u8], delimiter: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        match position(rest, delimiter) {
            Some(at) => {
                let piece = rest.get(..at)?;
                rest = rest.get(at + delimiter.len()..)?;
                Some(piece)
            }
            None => {
                done = true;
                Some(rest)
            }
        }
    })
}

/// A parameter of a header value: `form-data; name="a"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        (name.trim().eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| value.to_owned())
    })
}

fn xml(body: &[u8]) -> Result<View, BodyError> {
    let mut reader = quick_xml::Reader::from_reader(body);
    let mut open: Vec<(String, Map<String, Value>, String)> = Vec::new();
    let mut root = Map::new();
    let budget = Budget::default();
    loop {
        let at = reader.buffer_position();
        let bad = || BodyError::Xml { at };
        let name = |start: &BytesStart<'_>| String::from_utf8_lossy(start.name().as_ref()).into_owned();
        match reader.read_event().map_err(|_| bad())? {
            Xml::Start(start) if open.len() < XML_DEPTH_MAX => {
                open.push((name(&start), attributes(&start, &budget, bad)?, String::new()));
            }
            Xml::Start(_) => return Err(bad()),
            Xml::Empty(start) => {
                let value = element(attributes(&start, &budget, bad)?, "");
                let parent = open.last_mut().map_or(&mut root, |(_, children, _)| children);
                add_within(&budget, parent, name(&start), value)?;
            }
            Xml::End(_) => {
                let (name, children, text) = open.pop().ok_or_else(bad)?;
                let parent = open.last_mut().map_or(&mut root, |(_, children, _)| children);
                let fits = budget.text(&text);
                add_within(&budget, parent, name, element(children, &text))?;
                if !fits {
                    return Err(BodyError::TooLarge);
                }
            }
            Xml::Text(text) => {
                if let Some((_, _, whole)) = open.last_mut() {
                    whole.push_str(&text.decode().map_err(|_| bad())?);
                }
            }
            Xml::CData(text) => {
                if let Some((_, _, whole)) = open.last_mut() {
                    whole.push_str(&text.decode().map_err(|_| bad())?);
                }
            }
            // Only the five entities of XML itself and characters by number: a document's own are not expanded.
            Xml::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| bad())?.map(String::from);
                let entity = reference.decode().map_err(|_| bad())?;
                let text =
                    character.or_else(|| resolve_xml_entity(&entity).map(str::to_owned)).ok_or_else(bad)?;
                if let Some((_, _, whole)) = open.last_mut() {
                    whole.push_str(&text);
                }
            }
            Xml::Eof if open.is_empty() && !root.is_empty() => {
                return Ok(View::new(Format::Xml, Value::Object(root)));
            }
            Xml::Eof => return Err(bad()),
            Xml::Decl(_) | Xml::Comment(_) | Xml::PI(_) | Xml::DocType(_) => {}
        }
    }
}

/// [`add`], if there is memory left for it.
fn add_within(
    budget: &Budget,
    fields: &mut Map<String, Value>,
    name: String,
    value: Value,
) -> Result<(), BodyError> {
    let fits = match fields.contains_key(&name) {
        true => budget.item(fields.get(&name).and_then(Value::as_array).map_or(0, Vec::len)),
        false => budget.member(fields.len()) && budget.text(&name),
    };
    if !fits {
        return Err(BodyError::TooLarge);
    }
    add(fields, name, value);
    Ok(())
}

fn attributes(
    start: &BytesStart<'_>,
    budget: &Budget,
    bad: impl Fn() -> BodyError,
) -> Result<Map<String, Value>, BodyError> {
    let mut found = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| bad())?;
        let name = format!("@{}", String::from_utf8_lossy(attribute.key.as_ref()));
        let value = String::from_utf8_lossy(&attribute.value);
        let value = quick_xml::escape::unescape(&value).map_err(|_| bad())?.into_owned();
        if !budget.text(&value) {
            return Err(BodyError::TooLarge);
        }
        add_within(budget, &mut found, name, Value::String(value))?;
    }
    Ok(found)
}

fn element(mut children: Map<String, Value>, text: &str) -> Value {
    let text = text.trim();
    if children.is_empty() {
        return Value::String(text.to_owned());
    }
    if !text.is_empty() {
        children.insert("#text".to_owned(), Value::String(text.to_owned()));
    }
    Value::Object(children)
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
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn parse(media_type: &str, body: &[u8], json_field: &str) -> Result<View, BodyError> {
        super::parse(media_type, body, json_field, &Members::WHOLE)
    }

    #[test]
    fn a_field_without_a_name_is_no_document() {
        let mut request = testing::request(b"=1234&=&a=%7B");
        testing::set_header(&mut request, "content-type", "application/x-www-form-urlencoded");
        let view = view(&request, "").unwrap();
        assert_eq!((view.format, view.value), (Format::Form, json!({"": ["1234", ""], "a": "{"})));
    }

    fn check(media_type: &str, body: &[u8], format: Format, value: &Value) {
        let mut request = testing::request(body);
        testing::set_header(&mut request, "content-type", media_type);
        let view = view(&request, "payload").unwrap();
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
        // {"alg":"none"} . {"a":1}
        check("application/jwt", b"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.AA", Format::Jws, &json!({"a": 1}));
        check("text/plain", b"one.two.three", Format::Text, &json!("one.two.three"));
    }

    #[test]
    fn multipart_is_a_form_with_files() {
        let body = b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\ntwo\r\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\nContent-Type: image/png\r\n\r\n\xff\x00\r\n--b--\r\n";
        let file = json!({"filename": "x.bin", "type": "image/png", "bytes": 2});
        let whole = json!({"a": ["one\r\ntwo", ""], "f": file});
        check("multipart/form-data; boundary=b", body, Format::Form, &whole);
        let payload = b"--b\nContent-Disposition: form-data; name=\"payload\"\n\n{\"t\":1}\n--b--";
        check("multipart/form-data; boundary=\"b\"", payload, Format::Json, &json!({"t": 1}));
        for bad in [&b"--b\r\n"[..], b"--b--x", b"", b"--b\r\nA: b\r\n\r\nx\r\n--b--", b"--b\r\nx--b--"] {
            let mut request = testing::request(bad);
            testing::set_header(&mut request, "content-type", "multipart/form-data; boundary=b");
            assert!(view(&request, "").is_err() || bad.starts_with(b"--b--"), "{bad:?}");
        }
    }

    #[test]
    fn xml_is_a_tree() {
        let body = br#"<?xml version="1.0"?><!DOCTYPE a><o id="1"><i>a &amp; &#x62;</i><i/><e n="&lt;">t</e><!-- c --><s:x><![CDATA[<raw>]]></s:x></o>"#;
        let want =
            json!({"o": {"@id": "1", "i": ["a & b", ""], "e": {"@n": "<", "#text": "t"}, "s:x": "<raw>"}});
        check("application/xml", body, Format::Xml, &want);
        let deep = "<a>".repeat(200);
        for bad in ["<a>", "<a></b>", "a", "<a>&own;</a>", deep.as_str(), "<a b></a>"] {
            let mut request = testing::request(bad.as_bytes());
            testing::set_header(&mut request, "content-type", "text/xml");
            assert!(matches!(view(&request, ""), Err(BodyError::Xml { .. })), "{bad}");
        }
    }

    /// RUSTSEC-2026-0194: each name was compared with all before it, which is minutes for these.
    #[test]
    fn xml_with_very_many_attributes_is_read_at_once() {
        let attributes: String = (0..50_000).map(|n| format!(" a{n}=\"\"")).collect();
        let mut request = testing::request(format!("<r{attributes}/>").as_bytes());
        testing::set_header(&mut request, "content-type", "application/xml");
        let view = view(&request, "").unwrap();
        assert_eq!(view.value["r"].as_object().map(Map::len), Some(50_000));
        let twice = testing::request(b"<r a='1' a='2'/>");
        assert!(parse("application/xml", &twice.body, "").is_err());
    }

    #[test]
    fn xml_that_would_fill_the_memory_is_not_read() {
        let body = format!("<r>{}</r>", "<a b=\"\"/>".repeat(400_000));
        assert_eq!(parse("application/xml", body.as_bytes(), "").unwrap_err(), BodyError::TooLarge);
        let body = format!("<r>{}</r>", "<item>text</item>".repeat(200_000));
        assert!(parse("application/xml", body.as_bytes(), "").is_ok());
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn gzip_is_unpacked_up_to_a_limit() {
        let mut request = testing::request(&gzip(br#"{"a":1}"#));
        testing::set_header(&mut request, "content-encoding", "gzip");
        assert_eq!(view(&request, "").unwrap().value, json!({"a": 1}));
        request.body = gzip(&vec![b' '; UNPACKED_BYTES_MAX + 1]);
        assert!(request.body.len() < 100_000);
        assert_eq!(view(&request, "").unwrap_err(), BodyError::Packed);
        request.body = b"not gzip".to_vec();
        assert_eq!(view(&request, "").unwrap_err(), BodyError::Packed);
        testing::set_header(&mut request, "content-encoding", "br");
        assert_eq!(view(&request, "").unwrap_err(), BodyError::Encoded { encoding: "br".into() });
    }

    #[test]
    fn documents_in_texts_are_looked_into() {
        let mut request = testing::request(
            br#"{"Message": "{\"id\": 7, \"a/b\": [1]}", "jws": "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.AA", "t": "x"}"#,
        );
        testing::set_header(&mut request, "content-type", "text/plain");
        let view = view(&request, "").unwrap();
        assert_eq!(view.at("/Message/id"), Some(json!(7)));
        assert_eq!(view.at("/Message/a~1b/0"), Some(json!(1)));
        assert_eq!(view.at("/jws/a"), Some(json!(1)));
        assert_eq!((view.at("/t/a"), view.at("/Message/no")), (None, None));
        assert_eq!(view.at("/t"), Some(json!("x")));
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
