//! The text that a signature is over, as a template: `v0:{timestamp}:{body}`.
//!
//! | token | stands for |
//! |---|---|
//! | `{body}` | the bytes as they came |
//! | `{plain_body}` | the same, unpacked if the request says that they are gzip |
//! | `{timestamp}`, `{id}` | what the scheme's `timestamp` and `id` find, exactly as sent |
//! | `{url}`, `{url_without_query}`, `{path}`, `{path_query}`, `{query}`, `{method}` | of the URL that the sender calls |
//! | `{sorted_query}` | the query's parameters, sorted |
//! | `{form_params}` | a form's fields sorted by name, name and value; repeated values once each, sorted |
//! | `{header:NAME}`, `{query:NAME}`, `{form:FIELD}`, `{json:/POINTER}` | one value, as text |
//! | `{json_raw:/POINTER}` | a member of a JSON body, its bytes as they came |
//! | `{php_form:FIELD}` | PHP's `serialize` of the form's sorted fields but this one (Paddle Classic) |
//! | `{sns}` | the lines that Amazon SNS signs |
//! | `{listed_values}` | the values of the headers that `{id}` lists, joined by dots (Hook0) |
//! | `{vonage_params}` | `&name=value` of every parameter but `sig`, sorted, `&` and `=` in values as `_` |
//! | `{secret}`, `{secret:NAME}` | the secret, or one of its named values |
//!
//! A token can go through pipes: `{body|sha256|hex}`. There are `md5`, `sha1`, `sha256`, `sha384`, `sha512`, `hex`,
//! `base64`, `base64url`, `crc32` (decimal), `quoted` (as a JSON string), `sorted` (JSON with sorted keys, without
//! spaces), `compact` (JSON without spaces) and `pairs` (an object as `a=1&b=2`, sorted). `\n` is a line break, and `{{` a brace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, value::RawValue};
use thiserror::Error;

use crate::{
    body::{self, FORM_FIELDS_MAX},
    encoding::{digest, encode},
    json,
    look::Look,
    place::Place,
    scheme::{Encoding, Hash},
    secret::Secret,
};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    template: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Words(String),
    Token { name: String, source: Source, pipes: Vec<Pipe> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Body,
    PlainBody,
    Timestamp,
    Id,
    Url,
    UrlWithoutQuery,
    Path,
    PathQuery,
    Query,
    SortedQuery,
    Method,
    FormParams,
    Place(Place),
    JsonRaw(String),
    PhpForm(String),
    Sns,
    ListedValues,
    VonageParams,
    Secret(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipe {
    Digest(Hash),
    Write(Encoding),
    Crc32,
    Quoted,
    Sorted,
    Compact,
    Pairs,
}

/// Why a template was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SignedError {
    /// A `{` without its `}`.
    #[error("`{{` without `}}` in `{template}`")]
    Open {
        /// The whole template.
        template: String,
    },
    /// A token that doesn't exist.
    #[error(
        "`{{{token}}}` is unknown; there are {{body}}, {{timestamp}}, {{id}}, {{url}}, {{path}}, {{query}}, {{method}}, {{form_params}}, {{header:NAME}}, {{query:NAME}}, {{form:FIELD}}, {{json:/POINTER}}, {{secret}} and pipes such as {{body|sha256|hex}}"
    )]
    Unknown {
        /// What stands between the braces.
        token: String,
    },
    /// It would sign the same text whatever is sent.
    #[error("`{template}` covers no part of the request")]
    Constant {
        /// The whole template.
        template: String,
    },
}

/// What a signed text is made from.
pub(crate) struct Facts<'a> {
    pub(crate) look: &'a Look<'a>,
    pub(crate) url: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) id: &'a str,
    pub(crate) secret: &'a Secret,
    /// Whether `{form_params}` stands for the form's fields; else it is empty.
    pub(crate) with_form: bool,
}

impl Signed {
    pub(crate) fn parse(template: &str) -> Result<Self, SignedError> {
        let parts = parts(template)?;
        let covers = |part: &Part| match part {
            Part::Words(_) => false,
            Part::Token { source, .. } => {
                !matches!(source, Source::Timestamp | Source::Method | Source::Secret(_))
            }
        };
        if !parts.iter().any(covers) {
            return Err(SignedError::Constant { template: template.to_owned() });
        }
        Ok(Self { template: template.to_owned(), parts })
    }

    pub(crate) fn uses_url(&self) -> bool {
        self.uses(|source| {
            matches!(source, Source::Url | Source::UrlWithoutQuery | Source::Path | Source::PathQuery)
        })
    }

    pub(crate) fn uses_secret(&self) -> bool {
        self.uses(|source| matches!(source, Source::Secret(_)))
    }

    /// Whether the text is the same whatever the body is.
    pub(crate) fn leaves_body_out(&self) -> bool {
        !self.uses(|source| {
            matches!(
                source,
                Source::Body
                    | Source::PlainBody
                    | Source::FormParams
                    | Source::PhpForm(_)
                    | Source::VonageParams
                    | Source::Sns
            )
        })
    }

    fn uses(&self, wanted: impl Fn(&Source) -> bool) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Token { source, .. } if wanted(source)))
    }

    /// The single values that are in the text.
    pub(crate) fn places(&self) -> Vec<Place> {
        let places = self.parts.iter().filter_map(|part| match part {
            Part::Token { source: Source::Place(place), .. } => Some(place.clone()),
            Part::Token { source: Source::JsonRaw(pointer), .. } => Some(Place::Json(pointer.clone())),
            Part::Token { .. } | Part::Words(_) => None,
        });
        places.collect()
    }

    /// Whether it is made from the fields of a form.
    pub(crate) fn uses_form(&self) -> bool {
        self.uses(|source| {
            matches!(
                source,
                Source::FormParams
                    | Source::PhpForm(_)
                    | Source::VonageParams
                    | Source::Place(Place::Form(_))
            )
        })
    }

    /// Whether it is made from the members of an object.
    pub(crate) fn uses_pairs(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Token { pipes, .. } if pipes.contains(&Pipe::Pairs)))
    }

    /// Whether it is made from a message of Amazon SNS.
    pub(crate) fn uses_sns(&self) -> bool {
        self.uses(|source| matches!(source, Source::Sns))
    }

    /// The signed bytes, or the token that the request has nothing for.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(facts.look.request.body.len() + 128);
        for part in &self.parts {
            match part {
                Part::Words(words) => out.extend_from_slice(words.as_bytes()),
                Part::Token { name, source, pipes } => {
                    let mut bytes = source.bytes(facts).ok_or_else(|| name.clone())?;
                    for pipe in pipes {
                        bytes = pipe.through(&bytes).ok_or_else(|| name.clone())?;
                    }
                    out.extend_from_slice(&bytes);
                }
            }
        }
        Ok(out)
    }
}

impl std::fmt::Display for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.template.replace('\n', "\\n"))
    }
}

/// A text out of the values of a secret: `{client_id}&{secret}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyText {
    template: String,
    names: usize,
}

impl KeyText {
    /// # Errors
    /// When a brace is not closed.
    pub(crate) fn parse(template: &str) -> Result<Self, SignedError> {
        let open = template.matches('{').count();
        if open != template.matches('}').count() {
            return Err(SignedError::Open { template: template.to_owned() });
        }
        Ok(Self { template: template.to_owned(), names: open })
    }

    /// The text for one secret; `None` when it lacks a value. A secret that is one text stands for whatever single
    /// value is asked for.
    pub(crate) fn of(&self, secret: &Secret) -> Option<String> {
        let mut out = String::new();
        let mut rest = self.template.as_str();
        while let Some((words, after)) = rest.split_once('{') {
            out.push_str(words);
            let (name, after) = after.split_once('}')?;
            let value = match secret.value(name) {
                Some(value) => value,
                None if self.names == 1 && !secret.expose().is_empty() => secret.expose(),
                None => return None,
            };
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The names of the values that it needs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.template.split('{').skip(1).filter_map(|part| part.split('}').next())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.template.is_empty()
    }
}

fn parts(template: &str) -> Result<Vec<Part>, SignedError> {
    let mut parts = Vec::new();
    let mut words = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        words.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            words.push('{');
            rest = after;
            continue;
        }
        if !words.is_empty() {
            parts.push(Part::Words(std::mem::take(&mut words)));
        }
        let (token, after) =
            after.split_once('}').ok_or_else(|| SignedError::Open { template: template.to_owned() })?;
        parts.push(part(token).ok_or_else(|| SignedError::Unknown { token: token.to_owned() })?);
        rest = after;
    }
    words.push_str(rest);
    if !words.is_empty() {
        parts.push(Part::Words(words));
    }
    Ok(parts)
}

fn part(token: &str) -> Option<Part> {
    let mut pieces = token.split('|');
    let source = source(pieces.next()?)?;
    let pipes = pieces.map(pipe).collect::<Option<Vec<_>>>()?;
    Some(Part::Token { name: token.to_owned(), source, pipes })
}

fn source(word: &str) -> Option<Source> {
    Some(match word {
        "body" => Source::Body,
        "plain_body" => Source::PlainBody,
        "timestamp" => Source::Timestamp,
        "id" => Source::Id,
        "url" => Source::Url,
        "url_without_query" => Source::UrlWithoutQuery,
        "path" => Source::Path,
        "path_query" => Source::PathQuery,
        "query" => Source::Query,
        "sorted_query" => Source::SortedQuery,
        "method" => Source::Method,
        "form_params" => Source::FormParams,
        "sns" => Source::Sns,
        "listed_values" => Source::ListedValues,
        "vonage_params" => Source::VonageParams,
        "secret" => Source::Secret("secret".to_owned()),
        _ => match word.split_once(':')? {
            ("header" | "query" | "form" | "json", _) => Source::Place(Place::parse(word).ok()?),
            ("json_raw", pointer) if pointer.starts_with('/') => Source::JsonRaw(pointer.to_owned()),
            ("php_form", field) if !field.is_empty() => Source::PhpForm(field.to_owned()),
            ("secret", name) if !name.is_empty() => Source::Secret(name.to_owned()),
            _ => return None,
        },
    })
}

fn pipe(word: &str) -> Option<Pipe> {
    Some(match word {
        "md5" => Pipe::Digest(Hash::Md5),
        "sha1" => Pipe::Digest(Hash::Sha1),
        "sha256" => Pipe::Digest(Hash::Sha256),
        "sha384" => Pipe::Digest(Hash::Sha384),
        "sha512" => Pipe::Digest(Hash::Sha512),
        "hex" => Pipe::Write(Encoding::Hex),
        "base64" => Pipe::Write(Encoding::Base64),
        "base64url" => Pipe::Write(Encoding::Base64url),
        "crc32" => Pipe::Crc32,
        "quoted" => Pipe::Quoted,
        "sorted" => Pipe::Sorted,
        "compact" => Pipe::Compact,
        "pairs" => Pipe::Pairs,
        _ => return None,
    })
}

impl Source {
    fn bytes(&self, facts: &Facts<'_>) -> Option<Vec<u8>> {
        let request = facts.look.request;
        Some(match self {
            Self::Body => request.body.clone(),
            Self::PlainBody => body::unpacked(request).ok()?.into_owned(),
            Self::Timestamp => facts.timestamp.as_bytes().to_vec(),
            Self::Id => facts.id.as_bytes().to_vec(),
            Self::Url => facts.url.as_bytes().to_vec(),
            Self::UrlWithoutQuery => facts.url.split('?').next()?.as_bytes().to_vec(),
            Self::Path => path_query(facts.url).split('?').next()?.as_bytes().to_vec(),
            Self::PathQuery => path_query(facts.url).as_bytes().to_vec(),
            Self::Query => request.query.as_bytes().to_vec(),
            Self::SortedQuery => {
                let mut pairs: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
                pairs.sort_unstable();
                pairs.join("&").into_bytes()
            }
            Self::Method => request.method.as_str().as_bytes().to_vec(),
            Self::FormParams if facts.with_form => form_params(&request.body),
            Self::FormParams => Vec::new(),
            // A JSON value that is no scalar is rendered as JSON, for the pipes that take it.
            Self::Place(Place::Json(pointer)) => match facts.look.view()?.at(pointer)? {
                value @ (Value::Array(_) | Value::Object(_)) => serde_json::to_vec(&value).ok()?,
                _ => facts.look.find_place(&Place::Json(pointer.clone()))?.into_bytes(),
            },
            Self::Place(place) => facts.look.find_place(place)?.into_bytes(),
            Self::JsonRaw(pointer) => json_raw(&request.body, pointer)?.as_bytes().to_vec(),
            Self::PhpForm(left_out) => php_form(&request.body, left_out),
            Self::Sns => sns(&facts.look.view()?.value)?,
            Self::ListedValues => {
                let values = facts.id.split_whitespace().filter_map(|name| request.header(name));
                values.collect::<Vec<_>>().join(".").into_bytes()
            }
            Self::VonageParams => vonage_params(facts.look)?,
            Self::Secret(name) => match facts.secret.value(name) {
                Some(value) => value.as_bytes().to_vec(),
                None => facts.secret.expose().as_bytes().to_vec(),
            },
        })
    }
}

impl Pipe {
    fn through(self, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::Digest(hash) => digest(hash, bytes),
            Self::Write(encoding) => encode(bytes, encoding).into_bytes(),
            Self::Crc32 => crc32fast::hash(bytes).to_string().into_bytes(),
            Self::Quoted => serde_json::to_vec(std::str::from_utf8(bytes).ok()?).ok()?,
            // serde_json's maps are sorted.
            Self::Sorted => serde_json::to_vec(&json::parse(bytes).ok()?).ok()?,
            Self::Compact => compact(bytes)?,
            Self::Pairs => {
                let Value::Object(object) = json::parse(bytes).ok()? else { return None };
                let pairs: Vec<String> =
                    object.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
                pairs.join("&").into_bytes()
            }
        })
    }
}

/// A JSON value as it stands in `name=value`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON without the spaces between its tokens, in its own order and with its own way of writing numbers.
fn compact(json: &[u8]) -> Option<Vec<u8>> {
    let text: &RawValue = serde_json::from_slice(json).ok()?;
    let mut out = Vec::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.get().bytes() {
        if in_text || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ => {}
        }
    }
    Some(out)
}

fn json_raw<'b>(body: &'b [u8], pointer: &str) -> Option<&'b str> {
    let mut found: &RawValue = serde_json::from_slice(body).ok()?;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let text = found.get();
        found = if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.get(step.parse::<usize>().ok()?)?
        } else {
            let members: BTreeMap<std::borrow::Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            members.get(step.as_str())?
        };
    }
    Some(found.get())
}

fn path_query(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path.split('#').next().unwrap_or(path)
}

fn form_params(body: &[u8]) -> Vec<u8> {
    // Twilio's SDKs sort by UTF-16 code units, as JavaScript does.
    let mut fields: BTreeMap<Vec<u16>, (String, BTreeSet<Vec<u16>>)> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body).take(FORM_FIELDS_MAX) {
        let key = name.encode_utf16().collect();
        let (_, values) = fields.entry(key).or_insert_with(|| (name.into_owned(), BTreeSet::new()));
        values.insert(value.encode_utf16().collect());
    }
    let mut out = Vec::new();
    for (name, values) in fields.values() {
        for value in values {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(String::from_utf16_lossy(value).as_bytes());
        }
    }
    out
}

/// `a:2:{s:4:"name";s:5:"value";…}`: every value is a text.
/// <https://developer.paddle.com/classic/reference/verifying-webhooks>
fn php_form(body: &[u8], left_out: &str) -> Vec<u8> {
    let fields: BTreeMap<_, _> =
        form_urlencoded::parse(body).take(FORM_FIELDS_MAX).filter(|(name, _)| name != left_out).collect();
    let mut out = format!("a:{}:{{", fields.len());
    for (name, value) in &fields {
        out.push_str(&format!("s:{}:\"{name}\";s:{}:\"{value}\";", name.len(), value.len()));
    }
    out.push('}');
    out.into_bytes()
}

/// `Key\nValue\n` for the fields of a message in the order that its type says; `Subject` only when it is there.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html>
fn sns(message: &Value) -> Option<Vec<u8>> {
    const NOTIFICATION: &[&str] = &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
    const CONFIRMATION: &[&str] =
        &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
    let fields = match message.get("Type")?.as_str()? {
        "Notification" => NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => CONFIRMATION,
        _ => return None,
    };
    let mut out = String::new();
    for field in fields {
        match message.get(field) {
            Some(Value::String(value)) => {
                out.push_str(field);
                out.push('\n');
                out.push_str(value);
                out.push('\n');
            }
            None | Some(Value::Null) if *field == "Subject" => {}
            _ => return None,
        }
    }
    Some(out.into_bytes())
}

/// <https://developer.vonage.com/en/getting-started/concepts/signing-messages>
fn vonage_params(look: &Look<'_>) -> Option<Vec<u8>> {
    let form = body::is_form(&look.request.media_type());
    let mut parameters: BTreeMap<String, String> = match (form, look.request.body.is_empty()) {
        (true, _) => form_urlencoded::parse(&look.request.body).into_owned().take(FORM_FIELDS_MAX).collect(),
        (false, true) => form_urlencoded::parse(look.request.query.as_bytes()).into_owned().collect(),
        (false, false) => {
            let object = look.view()?.value.as_object()?;
            object.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        }
    };
    parameters.remove("sig");
    let pairs = parameters.iter().map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_")));
    Some(pairs.collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn render(template: &str) -> Result<String, String> {
        let mut request = testing::request(br#"{"b": 1.50, "a": {"z": "x y", "n": null}, "q": "\" { \\"}"#);
        request.query = "a=1&b=%20".into();
        testing::set_header(&mut request, "x-one", "1");
        let look = Look::new(&request, "");
        let facts = Facts {
            look: &look,
            url: "https://h.example/p/q?a=1",
            timestamp: "17",
            id: "msg",
            secret: &Secret::from("key"),
            with_form: false,
        };
        let signed = Signed::parse(template).map_err(|e| e.to_string())?;
        signed.render(&facts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn renders_every_token() {
        for (template, want) in [
            ("{id}.{timestamp}.{method} {url}", "msg.17.POST https://h.example/p/q?a=1"),
            ("{url_without_query} {path} {path_query}", "https://h.example/p/q /p/q /p/q?a=1"),
            ("{query} {header:X-One} {query:a}{form_params}", "a=1&b=%20 1 1"),
            ("{json:/a/z}:{json_raw:/b}:{json_raw:/a}", r#"x y:1.50:{"z": "x y", "n": null}"#),
            ("{json:/a|pairs}", "n=&z=x y"),
            ("{json_raw:/a|sorted}", r#"{"n":null,"z":"x y"}"#),
            ("{body|compact}", r#"{"b":1.50,"a":{"z":"x y","n":null},"q":"\" { \\"}"#),
            ("{json:/a/z|quoted}{{}", r#""x y"{}"#),
            ("{json:/a/z|sha1|hex}", "73dec5934adc195963f7272933dfcc9b9cb93679"),
            ("{json:/a/z|crc32}", "436080064"),
            ("{id}{secret}", "msgkey"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(want), "{template}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in [
            "{body",
            "{nope}",
            "{header:}",
            "{cookie:a}",
            "{query:}",
            "",
            "words",
            "{timestamp}",
            "{secret}{timestamp}",
            "{body|rot13}",
        ] {
            assert!(Signed::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(render("{body}{header:x-two}").unwrap_err(), "header:x-two");
        assert_eq!(render("{json:/nope}").unwrap_err(), "json:/nope");
    }

    #[test]
    fn a_key_is_made_of_the_values_that_it_names() {
        let named: Secret = serde_json::from_str(r#"{"secret": "s", "client_id": "c"}"#).unwrap();
        let of = |template: &str, secret: &Secret| KeyText::parse(template).unwrap().of(secret);
        assert_eq!(of("{client_id}&{secret}", &named).as_deref(), Some("c&s"));
        assert_eq!(of("{secret}&", &Secret::from("t")).as_deref(), Some("t&"));
        assert_eq!(of("{hmac_key_hex}", &Secret::from("t")).as_deref(), Some("t"));
        assert_eq!(of("{client_id}&{secret}", &Secret::from("t")), None);
    }

    #[test]
    fn php_texts_are_counted_in_bytes() {
        assert_eq!(
            php_form(b"b=%C3%A9&p_signature=x&a=1", "p_signature"),
            "a:2:{s:1:\"a\";s:1:\"1\";s:1:\"b\";s:2:\"é\";}".as_bytes()
        );
    }
}
