//! Any sender that follows Standard Webhooks 1.0.0, with `webhook-…` headers.

use super::{Proof, Provider};
use crate::scheme::{Hmac, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: "standard-webhooks",
    name: "Standard Webhooks",
    docs: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac::STANDARD_WEBHOOKS)),
    id: "header:webhook-id",
    event_type: "json:/type",
    time: "json:/timestamp",
    // The specification's example schedule ends after 76 hours.
    retry_hours: 80,
    deadline_seconds: 15,
    ..Provider::NEW
};
