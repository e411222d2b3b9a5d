//! Where a value stands in a request: `json:/id`, `header:X-GitHub-Delivery`, and combinations of such places.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use thiserror::Error;

use crate::{
    body::{Members, View},
    encoding::decode,
    request::Request,
    scheme::Encoding,
};

/// One place of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `header:NAME`
    Header(String),
    /// `query:NAME`
    Query(String),
    /// `form:NAME`: the first field of that name in a form body.
    Form(String),
    /// `json:/POINTER` (RFC 6901) into the parsed body.
    Json(String),
    /// `path`: the event type from the URL.
    Path,
    /// `body`: the whole body, as text.
    Body,
    /// `header_json:NAME/POINTER`: a header whose value is JSON in base64 (eBay).
    HeaderJson(String, String),
    /// `field:PREFIX`: the entry of a structured signature header that begins so, as `t=` in Stripe's.
    Field(String),
    /// `text:WORDS`: always these words.
    Text(String),
}

/// Why a place was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is no place; write json:/POINTER, header:NAME, query:NAME, form:NAME, text:WORDS, path or body"
)]
pub struct PlaceError {
    text: String,
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Self, PlaceError> {
        let bad = || PlaceError { text: text.to_owned() };
        match text {
            "path" => return Ok(Self::Path),
            "body" => return Ok(Self::Body),
            _ => {}
        }
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let name = || if rest.is_empty() { Err(bad()) } else { Ok(rest.to_owned()) };
        match kind {
            "header" => {
                let name = name()?.to_ascii_lowercase();
                http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
                Ok(Self::Header(name))
            }
            "header_json" => {
                let (name, pointer) =
                    rest.find('/').and_then(|at| rest.split_at_checked(at)).ok_or_else(bad)?;
                http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
                Ok(Self::HeaderJson(name.to_ascii_lowercase(), pointer.to_owned()))
            }
            "query" => Ok(Self::Query(name()?)),
            "form" => Ok(Self::Form(name()?)),
            "json" if rest.is_empty() || rest.starts_with('/') => Ok(Self::Json(rest.to_owned())),
            // Without a prefix it is the first entry.
            "field" => Ok(Self::Field(rest.to_owned())),
            "text" => Ok(Self::Text(name()?)),
            _ => Err(bad()),
        }
    }

    /// Whether a view of the body is needed to find it.
    pub(crate) fn looks_inside(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }

    pub(crate) fn find(&self, request: &Request, view: Option<&View>) -> Option<String> {
        let text = match self {
            Self::Header(name) => request.header(name),
            Self::Query(name) => request.query_parameter(name),
            Self::Form(name) => match view {
                Some(view) => view.field(name),
                None => crate::body::form_field(&request.body, name),
            },
            Self::Json(pointer) => json(view?, pointer),
            Self::Path => request.path_type.clone(),
            Self::Body => String::from_utf8(request.body.clone()).ok(),
            Self::HeaderJson(name, pointer) => {
                let json = decode(&request.header(name)?, Encoding::Base64)?;
                scalar(serde_json::from_slice::<Value>(&json).ok()?.pointer(pointer)?)
            }
            Self::Text(words) => Some(words.clone()),
            Self::Field(_) => None,
        }?;
        (!text.trim().is_empty()).then_some(text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
            Self::Path => f.write_str("path"),
            Self::Body => f.write_str("body"),
            Self::HeaderJson(name, pointer) => write!(f, "header_json:{name}{pointer}"),
            Self::Field(prefix) => write!(f, "field:{prefix}"),
            Self::Text(words) => write!(f, "text:{words}"),
        }
    }
}

/// The scalar at a pointer. A step `*` is every item of a list: they all have to have the same there.
fn json(view: &View, pointer: &str) -> Option<String> {
    let Some((before, after)) = pointer.split_once("/*") else { return scalar(&view.at(pointer)?) };
    let Value::Array(items) = view.at(before)? else { return None };
    let mut values = items.iter().map(|item| scalar(item.pointer(after)?));
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// A JSON scalar as text; `None` for null, lists and objects.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Places with alternatives: `form:MessageSid + form:MessageStatus or header:X`.
///
/// ` + ` joins the values of several places with a dot, and all of them must be there; ` or ` tries the next
/// alternative when the one before is incomplete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    alternatives: Vec<Vec<Place>>,
}

impl Locator {
    /// Reads the notation above. An empty text is the locator that finds nothing.
    ///
    /// # Errors
    /// [`PlaceError`] names the part that is no place.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let mut alternatives = Vec::new();
        for alternative in text.split(" or ").filter(|part| !part.trim().is_empty()) {
            let places = alternative.split(" + ").map(|part| Place::parse(part.trim()));
            alternatives.push(places.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self { alternatives })
    }

    /// Whether it names no place at all.
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }

    pub(crate) fn alternatives(&self) -> &[Vec<Place>] {
        &self.alternatives
    }

    /// The places in the order in which they are tried.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.alternatives.iter().flatten()
    }

    /// Adds to what is looked at in a document.
    pub fn add_to(&self, members: &mut Members) {
        for place in self.places() {
            if let Place::Json(pointer) = place {
                members.add(pointer);
            }
        }
    }

    /// Like [`Self::find`], with a JSON value as it is: a number stays one, and lists and objects are values too.
    pub fn find_value(&self, request: &Request, view: Option<&View>) -> Option<Value> {
        self.alternatives.iter().find_map(|places| match places.as_slice() {
            [Place::Json(pointer)] => view?.at(pointer),
            [one] => one.find(request, view).map(Value::String),
            many => {
                let values: Option<Vec<String>> =
                    many.iter().map(|place| place.find(request, view)).collect();
                values.map(|values| Value::String(values.join(".")))
            }
        })
    }

    /// Whether a view of the body is needed to find it.
    pub(crate) fn looks_inside(&self) -> bool {
        self.places().any(Place::looks_inside)
    }

    /// The values of all complete alternatives.
    pub(crate) fn find_all(&self, request: &Request, view: Option<&View>) -> Vec<String> {
        let values = self.alternatives.iter().filter_map(|places| {
            let values: Option<Vec<String>> = places.iter().map(|place| place.find(request, view)).collect();
            Some(values?.join("."))
        });
        values.collect()
    }

    /// The value of the first complete alternative.
    pub fn find(&self, request: &Request, view: Option<&View>) -> Option<String> {
        self.first(request, view).map(|(_, value)| value)
    }

    /// Like [`Self::find`], with the alternative that it was found in.
    pub fn find_in(&self, request: &Request, view: Option<&View>) -> Option<(Self, String)> {
        let (places, value) = self.first(request, view)?;
        Some((Self { alternatives: vec![places.to_vec()] }, value))
    }

    fn first(&self, request: &Request, view: Option<&View>) -> Option<(&[Place], String)> {
        self.alternatives.iter().find_map(|places| {
            let values: Option<Vec<String>> = places.iter().map(|place| place.find(request, view)).collect();
            values.map(|values| (places.as_slice(), values.join(".")))
        })
    }
}

impl<'de> Deserialize<'de> for Locator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, places) in self.alternatives.iter().enumerate() {
            if n > 0 {
                f.write_str(" or ")?;
            }
            for (m, place) in places.iter().enumerate() {
                write!(f, "{}{place}", if m > 0 { " + " } else { "" })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body, testing};

    fn find(locator: &str, request: &Request) -> Option<String> {
        let view = body::view(request, "").unwrap();
        Locator::parse(locator).unwrap().find(request, Some(&view))
    }

    #[test]
    fn finds_in_json_headers_query_and_path() {
        let mut request =
            testing::request(br#"{"id": 12345678901234567890, "a": {"b": "x", "c": null, "d": true}}"#);
        request.query = "token=t%20t&token=u".into();
        request.path_type = Some("opt-out".into());
        for (locator, want) in [
            ("json:/id", Some("12345678901234567890")),
            ("json:/a/b", Some("x")),
            ("json:/a/d", Some("true")),
            ("json:/a/c", None),
            ("json:/a", None),
            ("header:Content-Type", Some("application/json")),
            ("query:token", Some("t t")),
            ("path", Some("opt-out")),
            ("json:/nope or path", Some("opt-out")),
            ("json:/a/b + path", Some("x.opt-out")),
            ("json:/a/b + json:/nope or text:hello there", Some("hello there")),
            ("", None),
        ] {
            assert_eq!(find(locator, &request).as_deref(), want, "{locator}");
        }
    }

    #[test]
    fn says_where_it_was_found() {
        let request = testing::request(br#"{"a": "x", "b": "y"}"#);
        let view = body::view(&request, "").unwrap();
        let found = |text: &str| {
            let (place, value) = Locator::parse(text).unwrap().find_in(&request, Some(&view))?;
            Some((place.to_string(), value))
        };
        let text = "json:/nope + json:/a or json:/a + json:/b or json:/b";
        assert_eq!(found(text), Some(("json:/a + json:/b".into(), "x.y".into())));
        assert_eq!(found("json:/nope or header:nope"), None);
    }

    #[test]
    fn finds_in_forms() {
        let mut request = testing::request(b"MessageSid=SM1&Status=sent&Status=x&Empty=&Plus=a+b%2B");
        testing::set_header(&mut request, "content-type", "application/x-www-form-urlencoded; charset=UTF-8");
        assert_eq!(find("form:MessageSid + form:Status", &request).as_deref(), Some("SM1.sent"));
        assert_eq!(find("form:Plus", &request).as_deref(), Some("a b+"));
        assert_eq!(find("form:Empty", &request), None);
    }

    #[test]
    fn says_what_it_did_not_understand() {
        for bad in ["/id", "json:id", "header:", "header:a b", "cookie:x", "json:/a + nope"] {
            assert!(Locator::parse(bad).is_err(), "{bad}");
        }
        let text = "form:A + form:B or header:c";
        assert_eq!(Locator::parse(text).unwrap().to_string(), text);
    }
}
