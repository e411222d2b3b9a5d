//! Requests for this crate's own tests.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::{request::Request, time::EpochMillis};

/// A JSON POST received at 2026-05-28T20:26:40Z.
pub(crate) fn request(body: &[u8]) -> Request {
    let mut request = Request {
        method: Method::POST,
        url: "https://hooks.example.com/webhooks/test".into(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: body.to_vec(),
        path_type: None,
        sender: None,
        received_at: EpochMillis::from_seconds(1_780_000_000),
    };
    set_header(&mut request, "content-type", "application/json");
    request
}

/// Sets one header.
pub(crate) fn set_header(request: &mut Request, name: &str, value: &str) {
    request
        .headers
        .insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
}
