//! Requests, events and what is planned for them, for this crate's own tests.

use crate::{
    action::{About, PlanError},
    body::View,
    config::Config,
    effect::Effect,
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

/// What `action`, as it would stand in `hookgate.toml`, plans for a JSON body.
pub(crate) fn plan(action: &str, body: &str) -> Result<Effect, PlanError> {
    plan_again(action, body, 0)
}

/// The same, after it was done so many times.
pub(crate) fn plan_again(action: &str, body: &str, times_done: u32) -> Result<Effect, PlanError> {
    let text = format!(
        "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\nevent = {{ id = \"json:/id\", type = \"json:/type\", time = \"json:/at\" }}\n[actions.it]\n{action}"
    );
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (event, view) = event(&config, "shop", body.as_bytes());
    let context = event.context(&view);
    let name = Name::parse("it").unwrap();
    let about = About { action: &name, event: &event, view: &view, context: &context, times_done };
    config.actions[&name].action.plan(&about)
}
