//! Requests for this crate's own tests.

use crate::{
    body::View,
    config::Config,
    event::{Event, view_for},
    ids::Name,
    request::Request,
    time::EpochMillis,
};

/// A JSON POST received at 2026-05-28T20:26:40Z.
pub(crate) fn request(body: &[u8]) -> Request {
    let now = EpochMillis::from_seconds(1_780_000_000);
    let mut request = Request::post("https://hooks.example.com/webhooks/test", body, now);
    set_header(&mut request, "content-type", "application/json");
    request
}

/// Sets one header.
pub(crate) fn set_header(request: &mut Request, name: &str, value: &str) {
    assert!(request.set_header(name, value), "{name}: {value}");
}

/// The event that an unsigned JSON request to a source with `verify = "none"` gives.
pub(crate) fn event(config: &Config, source: &str, body: &[u8]) -> (Event, View) {
    let source = &config.sources[&Name::parse(source).unwrap()];
    let request = request(body);
    let verified = source.verifier.verify(&request, &[], request.received_at).unwrap();
    (Event::new(source, &verified).unwrap(), view_for(source, &request).unwrap())
}
