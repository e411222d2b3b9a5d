//! Admission: what ingest decides before it talks to anything.
//!
//! One function holds the order of work:
//! size → address → handshake → signature over the raw bytes → timestamp window → parse → required fields → schema.

use std::net::IpAddr;

use http::Method;
use serde_json::json;
use thiserror::Error;

use crate::{
    Fetched,
    body::BodyError,
    catalogue::Answering,
    event::{Event, EventError},
    handshake::{Reply, Step},
    outcome::{Answer, Refusal},
    request::Request,
    secret::Secrets,
    source::{Mode, Source},
    time::EpochMillis,
    verify::VerifyError,
};

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission {
    /// An event, to be stored and queued.
    Event(Box<Event>),
    /// An answer that concerns no event.
    Answer(Answer),
    /// A handshake that is done by visiting an address of the sender's, and answered with 200 after that.
    Visit {
        /// The address.
        url: String,
    },
    /// To be kept apart for a person to see, and answered as if it were accepted.
    Quarantine {
        /// Why it is no event.
        reason: Reason,
    },
    /// A refusal, with its reason for the operator.
    Refused(Reason),
}

impl Admission {
    /// Whether it might be another one with secrets that are fresh.
    pub fn may_lack_a_secret(&self) -> bool {
        match self {
            Self::Refused(reason) | Self::Quarantine { reason } => {
                matches!(reason, Reason::Verify(VerifyError::SignatureMismatch | VerifyError::SecretMissing))
            }
            Self::Event(event) => event.unverified.is_some(),
            Self::Answer(_) | Self::Visit { .. } => false,
        }
    }

    /// Whether it might be another one with keys of the sender's that are fresh, where it publishes them.
    pub fn may_lack_a_key(&self) -> bool {
        match self {
            Self::Refused(Reason::Verify(VerifyError::KeyUnusable { .. }))
            | Self::Quarantine { reason: Reason::Verify(VerifyError::KeyUnusable { .. }) } => true,
            other => other.may_lack_a_secret(),
        }
    }
}

/// Why a request was refused, for the operator.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reason {
    /// Not a POST.
    #[error("{method} is not answered here")]
    Method {
        /// As sent.
        method: String,
    },
    /// Too many bytes.
    #[error("the body has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// What was sent.
        bytes: usize,
        /// What the source accepts.
        bytes_max: usize,
    },
    /// From outside of the source's networks.
    #[error("sent from {address}, which is in none of the source's `addresses`")]
    Address {
        /// Where it came from.
        address: String,
    },
    /// Not verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A handshake that asks for what is not given to strangers.
    #[error("a handshake with a challenge of another shape than the provider's, or a token that is not ours")]
    Handshake,
    /// A handshake with something in it that a person has to see.
    #[error("it sets the webhook up: `quarantine show` has the token that the provider wants to be told")]
    Kept,
    /// Verified, but no event.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl Reason {
    /// The branch that it takes.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Method { .. } => Refusal::Method,
            Self::TooLarge { .. } => Refusal::TooLarge,
            // Our own fault is never a 4xx: several providers drop the event on one.
            Self::Verify(error) if error.is_ours() => Refusal::Unavailable,
            Self::Address { .. } | Self::Verify(_) | Self::Handshake | Self::Kept => Refusal::Signature,
            Self::Event(EventError::Unsupported { .. } | EventError::Body(BodyError::Encoded { .. })) => {
                Refusal::Unsupported
            }
            Self::Event(EventError::Body(BodyError::TooLarge)) => Refusal::TooLarge,
            Self::Event(EventError::Body(_) | EventError::FieldMissing { .. } | EventError::Schema(_)) => {
                Refusal::Malformed
            }
        }
    }
}

/// Decides about a request to `source`, as of `now`, with the sender's keys that were fetched so far.
pub fn admit(
    source: &Source,
    mode: Mode,
    secrets: &Secrets,
    fetched: &Fetched,
    request: &Request,
    now: EpochMillis,
) -> Admission {
    match try_admit(source, mode, secrets, fetched, request, now) {
        Ok(admission) => admission,
        Err(reason) => Admission::Refused(reason),
    }
}

fn try_admit(
    source: &Source,
    mode: Mode,
    secrets: &Secrets,
    fetched: &Fetched,
    request: &Request,
    now: EpochMillis,
) -> Result<Admission, Reason> {
    if request.method != Method::POST && !source.handshake.methods().contains(&request.method) {
        return Err(Reason::Method { method: request.method.to_string() });
    }
    if request.body.len() > source.body_bytes_max {
        return Err(Reason::TooLarge { bytes: request.body.len(), bytes_max: source.body_bytes_max });
    }
    let is_sender = |address: IpAddr| source.addresses.iter().any(|network| network.contains(&address));
    if !source.addresses.is_empty() && !request.sender.is_some_and(is_sender) {
        let address = request.sender.map_or_else(|| "an unknown address".to_owned(), |a| a.to_string());
        return Err(Reason::Address { address });
    }
    let active = secrets.active(&source.secret);
    if let Some(admission) = handshake(source.handshake.before(request, &active))? {
        return Ok(admission);
    }
    if request.method != Method::POST {
        return Err(Reason::Method { method: request.method.to_string() });
    }
    let verified = match source.verifier.verify_fetched(request, &active, fetched, now) {
        Ok(verified) => verified,
        Err(error @ VerifyError::KeyNeeded { .. }) => return Err(error.into()),
        Err(error) => {
            return match mode {
                Mode::Enforce => Err(error.into()),
                Mode::Quarantine => Ok(Admission::Quarantine { reason: error.into() }),
                Mode::Observe => {
                    let event = Event::unverified(source, request, error.to_string())?;
                    Ok(Admission::Event(Box::new(event)))
                }
            };
        }
    };
    if let Some(admission) = handshake(source.handshake.after(request, &active))? {
        return Ok(admission);
    }
    let event = Event::new(source, &verified)?;
    Ok(Admission::Event(Box::new(event)))
}

fn handshake(step: Step) -> Result<Option<Admission>, Reason> {
    match step {
        Step::NotOne => Ok(None),
        Step::Answer(reply) => Ok(Some(Admission::Answer(answer(reply)))),
        Step::Visit { url } => Ok(Some(Admission::Visit { url })),
        Step::Keep => Ok(Some(Admission::Quarantine { reason: Reason::Kept })),
        Step::Refuse => Err(Reason::Handshake),
    }
}

fn answer(reply: Reply) -> Answer {
    let mut answer = Answer::ok(reply.content_type, reply.body);
    answer.status = http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::OK);
    answer.headers.extend(reply.headers);
    answer
}

/// The answer to an accepted event.
pub fn acknowledge(answering: &Answering, event: &Event, duplicate: bool, request_id: &str) -> Answer {
    match answering {
        Answering::Document => {
            let status = if duplicate { "duplicate" } else { "accepted" };
            let body = json!({ "status": status, "source": event.source, "event_id": event.id, "request_id": request_id });
            Answer::ok("application/json", body.to_string())
        }
        Answering::Fixed { status, content_type, body } => {
            let mut answer = Answer::ok(content_type, body.as_str());
            answer.status = http::StatusCode::from_u16(*status).unwrap_or(http::StatusCode::OK);
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{config::Config, ids::Name, secret::Secret, testing};

    const CONFIG: &str = r#"
        [sources.slack]
        provider = "slack"
        [sources.small]
        provider = "raw"
        verify = "none"
        body_bytes_max = 10
        answer = { status = 202, type = "text/plain", body = "ok" }
    "#;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("slack", vec![Secret::from("key")]);
        secrets
    }

    fn slack(config: &Config, body: &[u8], secret: &str) -> Admission {
        let source = &config.sources[&Name::parse("slack").unwrap()];
        let mut request = testing::request(body);
        crate::sign::sign(&source.verifier, &request.clone(), &Secret::from(secret), request.received_at, "")
            .unwrap()
            .apply(&mut request);
        admit(source, source.mode, &secrets(), &Fetched::default(), &request, request.received_at)
    }

    fn refused(admission: &Admission) -> Option<Refusal> {
        match admission {
            Admission::Refused(reason) => Some(reason.refusal()),
            Admission::Event(_)
            | Admission::Answer(_)
            | Admission::Visit { .. }
            | Admission::Quarantine { .. } => None,
        }
    }

    #[test]
    fn a_challenge_is_answered_only_when_it_is_signed() {
        let config = Config::parse(CONFIG).unwrap();
        let body = br#"{"type": "url_verification", "challenge": "abc", "token": "t"}"#;
        let Admission::Answer(answer) = slack(&config, body, "key") else { panic!("no answer") };
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "abc"));
        assert!(answer.headers.contains(&("content-type", "text/plain".into())));
        let forged = slack(&config, body, "another");
        assert!(matches!(forged, Admission::Refused(reason) if reason.refusal() == Refusal::Signature));
        let event =
            br#"{"type": "event_callback", "challenge": "abc", "event_id": "Ev1", "event": {"type": "x"}}"#;
        assert!(matches!(slack(&config, event, "key"), Admission::Event(_)));
    }

    #[test]
    fn only_what_fresh_secrets_might_change_is_worth_reading_them() {
        let config = Config::parse(CONFIG).unwrap();
        let source = &config.sources[&Name::parse("slack").unwrap()];
        let event = br#"{"type": "event_callback", "event_id": "Ev1", "event": {"type": "x"}}"#;
        let bare = testing::request(event);
        let decide = |mode, secrets: &Secrets, request: &Request| {
            admit(source, mode, secrets, &Fetched::default(), request, request.received_at)
        };
        let mut forged = bare.clone();
        crate::sign::sign(&source.verifier, &bare, &Secret::from("another"), bare.received_at, "")
            .unwrap()
            .apply(&mut forged);
        let none = Secrets::default();
        for (admission, may_lack, refusal) in [
            (slack(&config, event, "another"), true, Some(Refusal::Signature)),
            (decide(Mode::Enforce, &none, &forged), true, Some(Refusal::Unavailable)),
            (decide(Mode::Quarantine, &secrets(), &forged), true, None),
            (decide(Mode::Observe, &secrets(), &forged), true, None),
            (decide(Mode::Enforce, &secrets(), &bare), false, Some(Refusal::Signature)),
            (slack(&config, event, "key"), false, None),
            (slack(&config, br#"{"type": "url_verification", "challenge": "c"}"#, "key"), false, None),
        ] {
            assert_eq!(admission.may_lack_a_secret(), may_lack, "{admission:?}");
            assert_eq!(refused(&admission), refusal, "{admission:?}");
        }
    }

    #[test]
    fn a_signature_that_fails_and_an_answer_without_a_key_may_lack_a_key() {
        let reason = |error| Reason::Verify(error);
        let unusable = || reason(VerifyError::KeyUnusable { url: "https://keys.example/".into() });
        for (admission, may_lack) in [
            (Admission::Refused(unusable()), true),
            (Admission::Quarantine { reason: unusable() }, true),
            (Admission::Refused(reason(VerifyError::SignatureMismatch)), true),
            (Admission::Quarantine { reason: reason(VerifyError::SignatureMismatch) }, true),
            (Admission::Refused(reason(VerifyError::KeyForeign)), false),
            (Admission::Refused(Reason::Kept), false),
            (Admission::Visit { url: String::new() }, false),
        ] {
            assert_eq!(admission.may_lack_a_key(), may_lack, "{admission:?}");
        }
    }

    #[test]
    fn only_the_named_networks_may_send() {
        let config = Config::parse(
            "[sources.net]\nprovider = \"raw\"\nverify = \"none\"\naddresses = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n",
        )
        .unwrap();
        let source = &config.sources[&Name::parse("net").unwrap()];
        for (address, taken) in [
            (Some("198.51.100.7"), true),
            (Some("2001:db8::1"), true),
            (Some("198.51.101.7"), false),
            (Some("::1"), false),
            (None, false),
        ] {
            let sender = address.map(|text| text.parse().unwrap());
            let request = Request { sender, ..testing::request(b"x") };
            let fetched = Fetched::default();
            let admission =
                admit(source, source.mode, &Secrets::default(), &fetched, &request, request.received_at);
            assert_eq!(matches!(admission, Admission::Event(_)), taken, "{address:?}");
        }
        let wrong = Config::parse("[sources.a]\nprovider = \"github\"\naddresses = [\"10.0.0.0/33\"]\n");
        assert_eq!(wrong.unwrap_err()[0].line, 3);
    }

    #[test]
    fn size_and_method_come_first() {
        let config = Config::parse(CONFIG).unwrap();
        let source = &config.sources[&Name::parse("small").unwrap()];
        let refusal = |request: &Request| {
            let (none, fetched) = (Secrets::default(), Fetched::default());
            refused(&admit(source, source.mode, &none, &fetched, request, request.received_at))
        };
        assert_eq!(refusal(&testing::request(b"0123456789")), None);
        assert_eq!(refusal(&testing::request(b"0123456789a")), Some(Refusal::TooLarge));
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
            assert_eq!(refusal(&Request { method, ..testing::request(b"") }), Some(Refusal::Method));
        }
        let config = Config::parse("[sources.dropbox]\nprovider = \"dropbox\"\n").unwrap();
        let source = &config.sources[&Name::parse("dropbox").unwrap()];
        let query = "challenge=abc".to_owned();
        let request = Request { method: Method::GET, query, ..testing::request(b"") };
        let fetched = Fetched::default();
        let admission = admit(source, source.mode, &secrets(), &fetched, &request, request.received_at);
        assert!(matches!(admission, Admission::Answer(answer) if answer.body == "abc"));
    }

    #[test]
    fn the_source_says_what_is_answered() {
        let config = Config::parse(CONFIG).unwrap();
        let (event, _) = testing::event(&config, "small", b"x");
        let source = &config.sources[&event.source];
        let answer = acknowledge(&source.answer, &event, false, "r");
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (202, "ok"));
        let answer = acknowledge(&Answering::Document, &event, true, "r");
        assert!(answer.body.contains(r#""status":"duplicate""#) && answer.body.contains(event.id.as_str()));
    }

    proptest! {
        #[test]
        fn any_request_is_decided_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200), media in "[ -~]{0,30}", query in any::<String>()) {
            let config = Config::parse(CONFIG).unwrap();
            for source in config.sources.values() {
                let mut request = testing::request(&body);
                testing::set_header(&mut request, "content-type", &media);
                request.query.clone_from(&query);
                let admission = admit(source, source.mode, &secrets(), &Fetched::default(), &request, request.received_at);
                let verified = matches!(admission, Admission::Event(_) | Admission::Answer(_));
                prop_assert!(!verified || source.verifier.is_none());
            }
        }
    }
}
