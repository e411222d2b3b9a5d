use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    providers::{self, Provider},
    scheme::Token,
    sign::{Outgoing, outgoing, sign, standard_webhooks},
    testing,
};

/// A request of `tests/vectors.json`: made by the provider's own SDK or published in its documentation.
#[derive(Deserialize)]
struct Vector {
    id: String,
    provider: String,
    secrets: std::collections::BTreeMap<String, String>,
    now: i64,
    method: String,
    url: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    body_encoding: String,
    valid: bool,
}

impl Vector {
    fn request(&self) -> Request {
        assert_eq!(self.body_encoding, "utf8");
        let mut request = testing::request(self.body.as_bytes());
        request.headers.clear();
        for (name, value) in &self.headers {
            request.headers.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        request.method = Method::from_bytes(self.method.as_bytes()).unwrap();
        request.url.clone_from(&self.url);
        request.query = self.url.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned());
        request.received_at = EpochMillis::from_seconds(self.now);
        request
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../../../tests/vectors.json")).unwrap()
}

fn verifier(provider: &Provider) -> Verifier {
    Verifier::new(&provider.verify.unwrap()).unwrap()
}

#[test]
fn agrees_with_the_providers_own_sdks() {
    let mut valid = 0;
    let vectors = vectors();
    for vector in &vectors {
        let provider = providers::find(&vector.provider).unwrap();
        let request = vector.request();
        let secrets: Vec<Secret> = vector.secrets.values().map(|s| Secret::from(s.as_str())).collect();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        let result = verifier(provider).verify(&request, &secrets, request.received_at);
        assert_eq!(result.is_ok(), vector.valid, "{}: {:?}", vector.id, result.err());
        valid += usize::from(vector.valid);
    }
    assert!(valid >= 25 && vectors.len() - valid >= 25, "{valid} of {}", vectors.len());
}

/// Providers whose signature can be made from a request: all with a scheme.
fn schemes() -> Vec<(&'static str, Verifier)> {
    let mut all: Vec<_> = providers::ALL
        .iter()
        .filter_map(|p| p.verify.map(|scheme| (p.slug, Verifier::new(&scheme).unwrap())))
        .collect();
    all.push(("basic", Verifier::new(&Scheme::Basic).unwrap()));
    let bearer = Token { header: "", place: "header:x-api-key", prefix: "Key " };
    all.push(("token", Verifier::new(&Scheme::Token(bearer)).unwrap()));
    all
}

const SECRET: &str = "whsec_dGVzdC1vbmx5LXNlY3JldC1vZi1ob29rZ2F0ZSE=";

fn signed(verifier: &Verifier, body: &[u8], secret: &str) -> Request {
    let mut request = testing::request(body);
    let secret = Secret::from(secret);
    let signature = sign(verifier, &request, &secret, request.received_at, "msg_1").unwrap();
    for (name, value) in &signature.headers {
        testing::set_header(&mut request, name, value);
    }
    request
}

fn check(verifier: &Verifier, request: &Request, secrets: &[&str]) -> Result<(), VerifyError> {
    let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::from(*s)).collect();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    verifier.verify(request, &secrets, request.received_at).map(|_| ())
}

#[test]
fn every_scheme_accepts_its_own_signature_with_any_active_secret() {
    for (name, verifier) in schemes() {
        let request = signed(&verifier, b"{\"a\":1}", SECRET);
        assert_eq!(check(&verifier, &request, &[SECRET]), Ok(()), "{name}");
        assert_eq!(check(&verifier, &request, &["whsec_b3RoZXItc2VjcmV0IQ==", SECRET]), Ok(()), "{name}");
    }
}

#[test]
fn every_scheme_refuses_what_is_missing_empty_cut_or_foreign() {
    for (name, verifier) in schemes() {
        let good = signed(&verifier, b"{\"a\":1}", SECRET);
        let headers: Vec<HeaderName> =
            good.headers.keys().filter(|n| n.as_str() != "content-type").cloned().collect();
        assert!(!headers.is_empty(), "{name}");
        assert_eq!(check(&verifier, &good, &[]), Err(VerifyError::SecretMissing), "{name}");
        assert!(check(&verifier, &good, &["whsec_b3RoZXItc2VjcmV0IQ=="]).is_err(), "{name}: another secret");
        for header in &headers {
            let mut missing = good.clone();
            missing.headers.remove(header);
            assert!(check(&verifier, &missing, &[SECRET]).is_err(), "{name}: without {header}");
            let mut empty = good.clone();
            empty.headers.insert(header, HeaderValue::from_static(""));
            assert!(check(&verifier, &empty, &[SECRET]).is_err(), "{name}: empty {header}");
            let mut twice = good.clone();
            twice.headers.append(header, good.headers[header].clone());
            // Only a scheme whose header is a list by commas can make sense of it.
            assert_eq!(
                check(&verifier, &twice, &[SECRET]).is_ok(),
                name == "stripe",
                "{name}: {header} twice"
            );
            let whole = good.headers[header].as_bytes().to_vec();
            for end in 0..whole.len() {
                let mut cut = good.clone();
                cut.headers.insert(header, HeaderValue::from_bytes(&whole[..end]).unwrap());
                let accepted = check(&verifier, &cut, &[SECRET]).is_ok();
                // Only the padding of base64 may be absent.
                let padding_only = whole[end..].iter().all(|b| *b == b'=');
                assert!(!accepted || padding_only, "{name}: {header} cut at {end}");
            }
        }
        for (other_name, other) in schemes() {
            let foreign = signed(&other, b"{\"a\":1}", SECRET);
            // Svix takes both families of header names, as its own libraries do.
            let same = foreign.headers == good.headers || (name, other_name) == ("svix", "standard-webhooks");
            assert!(same || check(&verifier, &foreign, &[SECRET]).is_err(), "{name} accepts {other_name}");
        }
    }
}

#[test]
fn old_and_future_timestamps() {
    let verifier = standard_webhooks().unwrap();
    let good = signed(&verifier, b"{}", SECRET);
    let at = |seconds: i64| {
        let mut request = good.clone();
        request.received_at = EpochMillis::from_seconds(1_780_000_000 + seconds);
        check(&verifier, &request, &[SECRET])
    };
    assert_eq!(at(300), Ok(()));
    assert_eq!(at(301), Err(VerifyError::TimestampTooOld { age_seconds: 301, tolerance_seconds: 300 }));
    assert_eq!(at(-300), Ok(()));
    assert_eq!(at(-301), Err(VerifyError::TimestampInFuture { ahead_seconds: 301, tolerance_seconds: 300 }));
    for odd in ["", "x", "-1", "0", "9223372036854775807", "99999999999999999999", "1e9", "1780000000 "] {
        let mut request = good.clone();
        testing::set_header(&mut request, "webhook-timestamp", odd);
        assert_eq!(check(&verifier, &request, &[SECRET]).is_ok(), odd.trim() == "1780000000", "{odd}");
    }
}

#[test]
fn our_outgoing_signature_is_standard_webhooks() {
    let now = EpochMillis::from_seconds(1_780_000_000);
    let mut request = testing::request(b"\xff\x00 any bytes");
    for (name, value) in
        outgoing(Outgoing::StandardWebhooks, &Secret::from(SECRET), "evt.1", now, &request.body).unwrap()
    {
        testing::set_header(&mut request, &name, &value);
    }
    assert_eq!(check(&standard_webhooks().unwrap(), &request, &[SECRET]), Ok(()));
}

#[test]
fn empty_secrets_never_verify() {
    let verifier = Verifier::new(&Scheme::Hmac(Hmac { header: "x-s", ..Hmac::SHA256 })).unwrap();
    let mut request = testing::request(b"{}");
    testing::set_header(
        &mut request,
        "x-s",
        &crate::encoding::encode(&mac(Hash::Sha256, b"", b"{}"), Encoding::Hex),
    );
    assert!(check(&verifier, &request, &[""]).is_err());
    let token = Verifier::new(&Scheme::Token(Token::SHARED)).unwrap();
    testing::set_header(&mut request, "x-hookgate-token", " ");
    assert!(check(&token, &request, &[""]).is_err());
}

proptest! {
    /// One bit anywhere in what was signed, and it is refused.
    #[test]
    fn any_changed_bit_is_refused(body in prop::collection::vec(any::<u8>(), 1..200), which in 0_usize..20, at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let schemes = schemes();
        let (name, verifier) = &schemes[which % schemes.len()];
        let good = signed(verifier, &body, SECRET);
        prop_assert_eq!(check(verifier, &good, &[SECRET]), Ok(()));
        if matches!(verifier.kind(), Kind::Hmac(h) if h.body_sha256.is_empty()) {
            let mut changed = good.clone();
            let at = at.index(changed.body.len());
            changed.body[at] ^= 1 << bit;
            prop_assert!(check(verifier, &changed, &[SECRET]).is_err(), "{} body", name);
        }
        for header in good.headers.keys().filter(|n| n.as_str() != "content-type") {
            let mut value = good.headers[header].as_bytes().to_vec();
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            // The case of hex digits and of the word «Basic» carries nothing.
            let same = value.eq_ignore_ascii_case(good.headers[header].as_bytes());
            if let (false, Ok(value)) = (same, HeaderValue::from_bytes(&value)) {
                let mut changed = good.clone();
                changed.headers.insert(header, value);
                prop_assert!(check(verifier, &changed, &[SECRET]).is_err(), "{} {} at {}", name, header, at);
            }
        }
    }

    #[test]
    fn arbitrary_headers_and_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), value in prop::collection::vec(any::<u8>(), 0..100), form in any::<bool>(), query in ".{0,40}") {
        for (_, verifier) in schemes() {
            let mut request = signed(&verifier, &body, SECRET);
            request.query.clone_from(&query);
            request.url = format!("https://{query}");
            if form {
                testing::set_header(&mut request, "content-type", "application/x-www-form-urlencoded");
            }
            let names: Vec<_> = request.headers.keys().cloned().collect();
            for name in names {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    request.headers.insert(name, value);
                }
            }
            std::hint::black_box(check(&verifier, &request, &[SECRET]).is_ok());
        }
    }
}
