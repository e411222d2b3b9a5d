//! GitHub: HMAC-SHA256 over the body; JSON, or a form with the JSON in `payload`.

use super::{Proof, Provider};
use crate::scheme::{Hmac, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: "github",
    name: "GitHub",
    docs: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac { header: "x-hub-signature-256", prefix: "sha256=", ..Hmac::SHA256 })),
    id: "header:x-github-delivery",
    event_type: "header:x-github-event + json:/action or header:x-github-event",
    json_field: "payload",
    // It never sends again by itself; a person can, for three days.
    retry_hours: 72,
    deadline_seconds: 10,
    note: "set a secret in the webhook's settings; without one GitHub signs nothing",
    ..Provider::NEW
};
