//! A request as it came in: nothing decoded, nothing re-serialised.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use crate::time::EpochMillis;

/// The path segment behind which sources live. A source may not have this name.
pub const WEBHOOKS_SEGMENT: &str = "webhooks";

const WEBHOOKS_PREFIX: &str = "/webhooks/";

/// Largest body: an HTTP API's own limit (10 MB; a Lambda function gets at most 6 MB of it, see the README).
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Longest event type taken from a path, in bytes.
pub const PATH_TYPE_BYTES_MAX: usize = 128;

/// A request to a source, with the exact bytes of its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Upper case, as sent.
    pub method: Method,
    /// The URL that the sender was told to call and has signed: public base, path and raw query. Built from
    /// configuration or from the gateway's own facts, never from a forwarded host.
    pub url: String,
    /// The raw query string without `?`; empty when there is none.
    pub query: String,
    /// Header names in lower case. Values may be any bytes.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// The event type from the URL's last segment, percent-decoded.
    pub path_type: Option<String>,
    /// The address that the gateway was connected to from; never one that a header names.
    pub sender: Option<IpAddr>,
    /// When the gateway got the request.
    pub received_at: EpochMillis,
}

impl Request {
    /// A `POST` of bytes to a URL. Headers are set with [`Self::set_header`].
    pub fn post(url: &str, body: impl Into<Vec<u8>>, received_at: EpochMillis) -> Self {
        Self {
            method: Method::POST,
            url: url.to_owned(),
            query: url.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned()),
            headers: HeaderMap::new(),
            body: body.into(),
            path_type: None,
            sender: None,
            received_at,
        }
    }

    /// Sets a header in place of any of that name. False when a name or a value can't be a header's.
    pub fn set_header(&mut self, name: &str, value: &str) -> bool {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        else {
            return false;
        };
        self.headers.insert(name, value);
        true
    }

    /// Sets a query parameter, in the URL, too.
    pub fn set_query(&mut self, name: &str, value: &str) {
        let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let mut pairs: Vec<String> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name))
            .map(str::to_owned)
            .collect();
        pairs.push(format!("{name}={encoded}"));
        self.query = pairs.join("&");
        let base = self.url.split('?').next().unwrap_or_default();
        self.url = format!("{base}?{}", self.query);
    }

    /// A header's value as text, several of one name joined by commas, which is also what an HTTP API does.
    /// `None` when it is absent, blank or not UTF-8.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.get_all(name).iter();
        let mut joined = values.next()?.to_str().ok()?.to_owned();
        for value in values {
            joined.push(',');
            joined.push_str(value.to_str().ok()?);
        }
        let trimmed = joined.trim();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The first value of a query parameter, decoded.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }

    /// The media type in lower case, without parameters; empty when there is none.
    pub fn media_type(&self) -> String {
        self.header(http::header::CONTENT_TYPE.as_str())
            .and_then(|value| value.split(';').next().map(|media| media.trim().to_ascii_lowercase()))
            .unwrap_or_default()
    }
}

/// A source's URL taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Route<'p> {
    /// The source as it stands in the URL; whether there is one of this name is for the caller to see.
    pub source: &'p str,
    /// The event type, where the URL names one.
    pub path_type: Option<String>,
    /// The path from `/webhooks` on, as it was sent.
    pub path: &'p str,
}

/// Takes `/webhooks/{source}` or `/webhooks/{source}/{type}` out of a path, whatever stage or base path stands
/// before it. `None` for any other path.
///
/// With both readings possible (`/webhooks/webhooks/x`) the first `webhooks` counts as a stage prefix, as no
/// source may be called so.
pub fn route(path: &str) -> Option<Route<'_>> {
    path.rmatch_indices(WEBHOOKS_PREFIX).find_map(|(at, prefix)| {
        let mut segments = path.get(at + prefix.len()..)?.split('/').filter(|segment| !segment.is_empty());
        let (source, kind, rest) = (segments.next()?, segments.next(), segments.next());
        let path_type = match kind {
            None => None,
            Some(kind) => {
                let kind = percent_decode_str(kind).decode_utf8().ok()?;
                let fits = kind.len() <= PATH_TYPE_BYTES_MAX && !kind.chars().any(char::is_control);
                Some(fits.then(|| kind.into_owned())?)
            }
        };
        rest.is_none().then_some(Route { source, path_type, path: path.get(at..)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_source_behind_any_prefix() {
        for (path, source, kind) in [
            ("/webhooks/pay", "pay", None),
            ("/webhooks/pay/", "pay", None),
            ("/prod/webhooks/pay", "pay", None),
            ("/a/b/webhooks/hatch/opt-out", "hatch", Some("opt-out")),
            ("/webhooks/shop/orders%2Fcreate", "shop", Some("orders/create")),
            ("/webhooks/pay/webhooks", "pay", Some("webhooks")),
            ("/webhooks/webhooks/pay", "pay", None),
        ] {
            let found = route(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((found.source, found.path_type.as_deref()), (source, kind), "{path}");
            assert!(path.ends_with(found.path) && found.path.starts_with("/webhooks/"), "{path}");
        }
    }

    #[test]
    fn refuses_other_paths() {
        for path in [
            "",
            "/",
            "/webhooks",
            "/webhooks/",
            "/hooks/pay",
            "/webhooks/a/b/c",
            "/webhooks/a/%FF",
            "/webhooks/a/%0a",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
