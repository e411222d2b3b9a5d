//! Any body of any kind, kept as it came and never looked into.

use super::{Proof, Provider};

pub(super) const PROVIDER: Provider = Provider {
    slug: "raw",
    name: "Any sender of anything",
    proof: Proof::Own,
    id: "header:x-event-id or query:id",
    event_type: "path or header:x-event-type or text:raw",
    any_body: true,
    note: "say `verify` in the source",
    ..Provider::NEW
};
