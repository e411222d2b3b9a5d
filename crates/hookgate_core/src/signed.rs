//! The text that a signature is over, as a template: `v0:{timestamp}:{body}`.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::{body::FORM_FIELDS_MAX, verify::Facts};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    template: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Words(String),
    Body,
    Timestamp,
    Id,
    Url,
    Path,
    Query,
    Method,
    /// The fields of a form, sorted by name, each name followed by its value; repeated values once each, sorted.
    FormParams,
    Header(String),
    QueryParameter(String),
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
        "`{{{token}}}` is unknown; there are {{body}}, {{timestamp}}, {{id}}, {{url}}, {{path}}, {{query}}, {{method}}, {{form_params}}, {{header:NAME}} and {{query:NAME}}"
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

impl Signed {
    pub(crate) fn parse(template: &str) -> Result<Self, SignedError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((words, after)) = rest.split_once('{') {
            if !words.is_empty() {
                parts.push(Part::Words(words.to_owned()));
            }
            let (token, after) =
                after.split_once('}').ok_or_else(|| SignedError::Open { template: template.to_owned() })?;
            parts.push(Part::token(token).ok_or_else(|| SignedError::Unknown { token: token.to_owned() })?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Words(rest.to_owned()));
        }
        if parts.iter().all(|part| matches!(part, Part::Words(_) | Part::Timestamp | Part::Method)) {
            return Err(SignedError::Constant { template: template.to_owned() });
        }
        Ok(Self { template: template.to_owned(), parts })
    }

    pub(crate) fn uses_url(&self) -> bool {
        self.parts.contains(&Part::Url)
    }

    /// The signed bytes, or the token that the request has nothing for.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(facts.request.body.len() + 128);
        for part in &self.parts {
            match part {
                Part::Words(words) => out.extend_from_slice(words.as_bytes()),
                Part::Body => out.extend_from_slice(&facts.request.body),
                Part::Timestamp => out.extend_from_slice(facts.timestamp.as_bytes()),
                Part::Id => out.extend_from_slice(facts.id.as_bytes()),
                Part::Url => out.extend_from_slice(facts.url.as_bytes()),
                Part::Path => out.extend_from_slice(path_of(facts.url).as_bytes()),
                Part::Query => out.extend_from_slice(facts.request.query.as_bytes()),
                Part::Method => out.extend_from_slice(facts.request.method.as_str().as_bytes()),
                Part::FormParams if facts.with_form => form_params(&facts.request.body, &mut out),
                Part::FormParams => {}
                Part::Header(name) => {
                    let value = facts.request.header(name).ok_or_else(|| format!("header:{name}"))?;
                    out.extend_from_slice(value.as_bytes());
                }
                Part::QueryParameter(name) => {
                    let value = facts.request.query_parameter(name).ok_or_else(|| format!("query:{name}"))?;
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(out)
    }
}

impl std::fmt::Display for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.template)
    }
}

impl Part {
    fn token(token: &str) -> Option<Self> {
        Some(match token {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "url" => Self::Url,
            "path" => Self::Path,
            "query" => Self::Query,
            "method" => Self::Method,
            "form_params" => Self::FormParams,
            _ => match token.split_once(':')? {
                ("header", name) => {
                    let name = name.to_ascii_lowercase();
                    http::HeaderName::from_bytes(name.as_bytes()).ok()?;
                    Self::Header(name)
                }
                ("query", name) if !name.is_empty() => Self::QueryParameter(name.to_owned()),
                _ => return None,
            },
        })
    }
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

fn form_params(body: &[u8], out: &mut Vec<u8>) {
    // Twilio's SDKs sort by UTF-16 code units, as JavaScript does.
    let mut fields: BTreeMap<Vec<u16>, (String, BTreeSet<Vec<u16>>)> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body).take(FORM_FIELDS_MAX) {
        let key = name.encode_utf16().collect();
        let (_, values) = fields.entry(key).or_insert_with(|| (name.into_owned(), BTreeSet::new()));
        values.insert(value.encode_utf16().collect());
    }
    for (name, values) in fields.values() {
        for value in values {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(String::from_utf16_lossy(value).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn render(template: &str) -> Result<String, String> {
        let mut request = testing::request(b"BODY");
        request.query = "a=1&b=%20".into();
        testing::set_header(&mut request, "x-one", "1");
        let facts = Facts {
            request: &request,
            url: "https://h.example/p/q?a=1",
            timestamp: "17",
            id: "msg",
            with_form: false,
        };
        let signed = Signed::parse(template).map_err(|e| e.to_string())?;
        signed.render(&facts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn renders_every_token() {
        let all =
            "{id}.{timestamp}.{body}|{method} {url} {path} {query} {header:X-One} {query:a}{form_params}";
        assert_eq!(render(all).unwrap(), "msg.17.BODY|POST https://h.example/p/q?a=1 /p/q a=1&b=%20 1 1");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in ["{body", "{nope}", "{header:}", "{cookie:a}", "{query:}", "", "words", "{timestamp}"] {
            assert!(Signed::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(render("{body}{header:x-two}").unwrap_err(), "header:x-two");
    }
}
