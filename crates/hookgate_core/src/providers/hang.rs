//! Hang (loyalty). It documents no signature, so a token of ours in the URL stands for one.

use super::{Proof, Provider, SHARED_TOKEN};

pub(super) const PROVIDER: Provider = Provider {
    slug: "hang",
    name: "Hang",
    docs: "https://docs.hang.com/hang-platform/webhooks/use-incoming-webhooks-to-get-real-time-updates",
    checked: "2026-11-21",
    proof: Proof::Own,
    verify: SHARED_TOKEN,
    id: "json:/id",
    event_type: "json:/type",
    time: "json:/webhook_sent_at",
    note: "Hang documents no signature: give it a URL with ?token=SECRET",
    ..Provider::NEW
};
