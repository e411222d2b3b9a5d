//! Hatch (messaging). One URL per event type. It is reported to sign with `EdDSA` in `hatch-webhook-verification`,
//! but nothing says over which bytes; its users may set headers, so a token of ours in one stands for a signature.

use super::{Proof, Provider, SHARED_TOKEN};

pub(super) const PROVIDER: Provider = Provider {
    slug: "hatch",
    name: "Hatch",
    docs: "https://www.usehatchapp.com/knowledge/creating-a-webhook",
    checked: "2026-11-21",
    proof: Proof::Own,
    verify: SHARED_TOKEN,
    id: "json:/id",
    event_type: "path or json:/event or json:/type",
    time: "json:/occurredAt",
    note: "Hatch's signature is not published: have it send the header X-Hookgate-Token: SECRET",
    ..Provider::NEW
};
