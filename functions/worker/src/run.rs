//! Functions of your own, which `kind = "run"` actions call by name. Write one below and add its line.
//!
//! A function gets the whole event: `event.request.body` is what was sent, byte for byte. What it returns is kept
//! as the attempt's detail. `RunError::Retry` is tried again on the usual schedule, `RunError::Dead` is not; a
//! panic, or 30 s without an end, is a failed try like the former. It may run a second time for one event if the worker
//! dies right after it, so its effect should bear that.

use hookgate_aws::effects::{Functions, RunResult};
use hookgate_core::event::Event;

/// The list: name, function.
pub fn functions() -> Functions {
    Functions::default().with("describe-upload", describe_upload)
}

/// An example: says what kind of file a `raw` upload is, by its first bytes.
async fn describe_upload(event: Event) -> RunResult {
    let body = &event.request.body;
    let kind = match body.get(..4) {
        Some(b"\x89PNG") => "a PNG image",
        Some(b"%PDF") => "a PDF document",
        Some(b"PK\x03\x04") => "a ZIP archive",
        _ if std::str::from_utf8(body).is_ok() => "text",
        _ => "binary data",
    };
    Ok(format!("{kind} of {} bytes", body.len()))
}
