//! A delivery of any provider, made up from what the catalogue says.
//!
//! It has id, type and time where that provider has them, and is genuinely signed: for trying a receiver out where no
//! real delivery is at hand.

use serde_json::json;

use crate::{
    body,
    catalogue::Provider,
    place::{Locator, Place},
    request::Request,
    secret::Secret,
    sign::{Draft, SignError, Signature, sign},
    time::EpochMillis,
    verify::{Kind, Verifier},
};

/// The type of a made-up event, where none is asked for.
pub const SAMPLE_TYPE: &str = "test.event";

/// A delivery to `url` as of `now`, with `id` and `event_type` in it. `verifier` and `secret` are those of the receiver.
///
/// # Errors
/// [`SignError`] where nobody but the provider can sign.
pub fn sample(
    provider: &Provider,
    verifier: &Verifier,
    secret: Option<&Secret>,
    url: &str,
    now: EpochMillis,
    id: &str,
    event_type: &str,
) -> Result<Request, SignError> {
    let (media_type, body) = start(verifier.kind(), provider, now, id);
    let mut request = Request::post(url, body, now);
    request.set_header("content-type", media_type);
    let mut draft = Draft { request, json_field: &provider.json_field, out: Signature::default() };
    let time = now.to_string();
    for (locator, value) in [
        (&provider.event.time, time.as_str()),
        (&provider.event.event_type, event_type),
        (&provider.event.id, id),
    ] {
        fill(&mut draft, locator, value);
    }
    let mut request = draft.request;
    if let Some(secret) = secret {
        sign(verifier, &request, secret, now, id)?.apply(&mut request);
    }
    Ok(request)
}

/// What a body of this provider begins with.
fn start(kind: &Kind, provider: &Provider, now: EpochMillis, id: &str) -> (&'static str, Vec<u8>) {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    let fields = |locator: &Locator| locator.places().any(|place| matches!(place, Place::Form(_)));
    let form = || match provider.json_field.as_str() {
        "" => b"a=1".to_vec(),
        field => {
            let mut pairs = form_urlencoded::Serializer::new(String::new());
            pairs.append_pair(field, r#"{"test":true}"#);
            pairs.finish().into_bytes()
        }
    };
    let places = [&provider.event.id, &provider.event.event_type];
    match kind {
        Kind::AnyOf(kinds) => {
            if let Some(first) = kinds.first() {
                return start(first, provider, now, id);
            }
        }
        Kind::Adyen => {
            let item = json!({
                "additionalData": {}, "amount": { "currency": "EUR", "value": 1130 }, "eventCode": "AUTHORISATION",
                "eventDate": now.to_string(), "merchantAccountCode": "TestMerchant", "merchantReference": id,
                "pspReference": id, "success": "true",
            });
            let document =
                json!({ "live": "false", "notificationItems": [{ "NotificationRequestItem": item }] });
            return (JSON, document.to_string().into_bytes());
        }
        // Nothing beside the JWS is signed.
        Kind::Certified(_) => return (JSON, b"{}".to_vec()),
        Kind::Signature(signature) if signature.signed.uses_sns() => {
            let document = json!({
                "Type": "Notification", "MessageId": id, "Message": "{}", "Timestamp": now.to_string(),
                "SignatureVersion": "2", "SigningCertURL": "https://sns.us-east-1.amazonaws.com/hookgate-test.pem",
            });
            return ("text/plain", document.to_string().into_bytes());
        }
        Kind::Signature(signature) if signature.signed.uses_form() || fields(&signature.signature) => {
            return (FORM, form());
        }
        Kind::Token { place, .. } if fields(place) => return (FORM, form()),
        _ => {}
    }
    if places.into_iter().any(fields) || provider.json_field == "payload" && fields(&provider.event.id) {
        return (FORM, form());
    }
    if provider.event.id.to_string().contains("json:/0/")
        || provider.event.event_type.to_string().contains("json:/0/")
    {
        return (JSON, b"[{}]".to_vec());
    }
    if let Kind::Signature(signature) = kind
        && signature.signed.uses_pairs()
    {
        return (JSON, br#"{"data":{"amount":3000}}"#.to_vec());
    }
    (JSON, br#"{"test":true}"#.to_vec())
}

/// Puts a value where a provider has it: the whole of the first alternative that can be written. A value that is
/// there is left as it is.
fn fill(draft: &mut Draft<'_>, locator: &Locator, value: &str) {
    for places in locator.alternatives() {
        let before = (draft.request.clone(), draft.out.clone());
        let is_form = body::is_form(&draft.request.media_type());
        let done = places.iter().all(|place| match place {
            Place::Path | Place::Text(_) | Place::Field(_) => true,
            Place::Json(_) if is_form && draft.json_field.is_empty() => false,
            place => {
                let view = body::view(&draft.request, draft.json_field).ok();
                let there = place.find(&draft.request, view.as_ref()).is_some();
                there || draft.put(Some(place), value.to_owned()).is_ok()
            }
        });
        if done {
            return;
        }
        (draft.request, draft.out) = before;
    }
}
