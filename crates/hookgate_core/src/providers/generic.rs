//! A sender of your own, or one that the catalogue lacks: JSON or a form, with id, type and time where you say.

use super::{Proof, Provider};

pub(super) const PROVIDER: Provider = Provider {
    slug: "generic",
    name: "Any sender of JSON or forms",
    proof: Proof::Own,
    note: "say `verify` and `event` in the source",
    ..Provider::NEW
};
