//! Slack: events (JSON), interactivity (a form with JSON in `payload`) and slash commands (a form).

use super::{Handshake, Proof, Provider};
use crate::{
    config::Answering,
    scheme::{Hmac, Scheme},
};

pub(super) const PROVIDER: Provider = Provider {
    slug: "slack",
    name: "Slack",
    docs: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
    checked: "2026-11-21",
    proof: Proof::Sdk,
    verify: Some(Scheme::Hmac(Hmac {
        header: "x-slack-signature",
        prefix: "v0=",
        signed: "v0:{timestamp}:{body}",
        timestamp: "header:x-slack-request-timestamp",
        ..Hmac::SHA256
    })),
    id: "json:/event_id or json:/trigger_id or form:trigger_id",
    event_type: "json:/event/type or json:/type or form:command",
    time: "json:/event_time",
    json_field: "payload",
    // A body would be shown to the person who typed the slash command.
    answer: Answering::EMPTY,
    handshake: Handshake::Echo { when: "/type", is: "url_verification", echo: "/challenge" },
    retry_hours: 1,
    deadline_seconds: 3,
    note: "the secret is the app's signing secret",
    ..Provider::NEW
};
