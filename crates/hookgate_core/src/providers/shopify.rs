//! Shopify: HMAC-SHA256 over the body in base64, with the app's client secret.

use super::{Proof, Provider};
use crate::scheme::{Encoding, Hmac, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: "shopify",
    name: "Shopify",
    docs: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac {
        header: "x-shopify-hmac-sha256",
        encoding: Encoding::Base64,
        ..Hmac::SHA256
    })),
    // One per subscription. X-Shopify-Event-Id is shared by all the topics that one change leads to.
    id: "header:x-shopify-webhook-id",
    event_type: "header:x-shopify-topic",
    time: "header:x-shopify-triggered-at",
    retry_hours: 4,
    deadline_seconds: 5,
    note: "the secret is the app's client secret",
    ..Provider::NEW
};
