//! Any sender that uses Svix: Standard Webhooks with `svix-…` or unbranded headers.

use super::{Proof, Provider};
use crate::scheme::{Hmac, Scheme};

pub(super) const PROVIDER: Provider = Provider {
    slug: "svix",
    name: "Svix",
    docs: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac {
        header: "",
        signature: "header:svix-signature or header:webhook-signature",
        timestamp: "header:svix-timestamp or header:webhook-timestamp",
        id: "header:svix-id or header:webhook-id",
        ..Hmac::STANDARD_WEBHOOKS
    })),
    id: "header:svix-id or header:webhook-id",
    event_type: "json:/type",
    time: "header:svix-timestamp or header:webhook-timestamp",
    retry_hours: 80,
    deadline_seconds: 15,
    ..Provider::NEW
};
