//! Twilio: HMAC-SHA1 over the URL and the sorted fields of the form, or over a URL that has the body's hash.

use super::{Proof, Provider};
use crate::{
    config::Answering,
    scheme::{Encoding, Hash, Hmac, Scheme},
};

pub(super) const PROVIDER: Provider = Provider {
    slug: "twilio",
    name: "Twilio",
    docs: "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac {
        hash: Hash::Sha1,
        header: "x-twilio-signature",
        encoding: Encoding::Base64,
        signed: "{url}{form_params}",
        body_sha256: "query:bodySHA256",
        url_port_optional: true,
        ..Hmac::SHA256
    })),
    // One message has many callbacks: the state is part of what makes each one itself.
    // Its idempotency header is not signed, so a replay with another one would be a new event: it comes last.
    id: "form:MessageSid + form:MessageStatus or form:MessageSid + form:SmsStatus or form:CallSid + form:CallStatus + form:SequenceNumber or form:RecordingSid + form:RecordingStatus or json:/0/id or header:i-twilio-idempotency-token",
    event_type: "form:MessageStatus or form:SmsStatus or form:RecordingStatus or form:CallStatus or json:/0/type",
    time: "json:/0/time",
    // It shows the answer's text to the caller, and reports any type but XML and plain text as an error.
    answer: Answering::ok("text/xml", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>"),
    retry_hours: 24,
    deadline_seconds: 15,
    note: "the secret is the account's auth token; set `public_url` to the address that Twilio calls; the empty answer ends a live call, so a voice URL needs an `answer` of its own",
    ..Provider::NEW
};
