//! Stripe: HMAC-SHA256 over `timestamp.body`; several `v1` while a secret is rolled.

use super::{Proof, Provider};
use crate::scheme::{Hmac, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: "stripe",
    name: "Stripe",
    docs: "https://docs.stripe.com/webhooks#verify-manually",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac {
        header: "stripe-signature",
        separator: ",",
        prefix: "v1=",
        signed: "{timestamp}.{body}",
        timestamp: "field:t=",
        // Stripe's own SDKs refuse old timestamps only.
        future: true,
        ..Hmac::SHA256
    })),
    id: "json:/id",
    event_type: "json:/type",
    time: "json:/created",
    retry_hours: 72,
    ..Provider::NEW
};
