use std::{collections::BTreeMap, sync::OnceLock};

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::{
    body,
    catalogue::{self, Proof, Provider},
    encoding::{encode, mac},
    handshake::Step,
    sample::{SAMPLE_TYPE, sample},
    scheme::{CertifiedJws, Curve, Signature, Token},
    sign::{Outgoing, SignError, outgoing, sign, standard_webhooks, test_keys, test_secret},
    testing,
};

/// A request of `tests/vectors.json`: made or accepted by the provider's own SDK, or published by the provider.
#[derive(Deserialize)]
struct Vector {
    id: String,
    provider: String,
    secrets: BTreeMap<String, String>,
    now: i64,
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
    body_encoding: String,
    valid: bool,
    kind: String,
    /// The body that is inside of an encrypted one.
    opened: Option<String>,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    body: Option<String>,
    json: Option<Value>,
}

impl Vector {
    fn request(&self) -> Request {
        let body = match self.body_encoding.as_str() {
            "utf8" => self.body.clone().into_bytes(),
            "base64" => data_encoding::BASE64.decode(self.body.as_bytes()).unwrap(),
            other => panic!("{}: {other}", self.id),
        };
        let mut request = Request::post(&self.url, body, EpochMillis::from_seconds(self.now));
        request.method = Method::from_bytes(self.method.as_bytes()).unwrap();
        for (name, value) in &self.headers {
            assert!(request.set_header(name, value), "{}: {name}", self.id);
        }
        request
    }

    /// The secrets as an operator would configure them: one text, or an object of named values.
    fn secrets(&self) -> Vec<Secret> {
        let text = |name: &str| self.secrets.get(name).map(|value| vec![Secret::from(value.as_str())]);
        match self.provider.as_str() {
            "google-pubsub" => vec![Secret::Named(self.secrets.clone())],
            "paypal" => text("webhook_id").unwrap(),
            // One key in several forms.
            _ if self.secrets.contains_key("public_key_pem") && self.secrets.len() > 1 => {
                text("public_key_base64").or_else(|| text("jwks")).or_else(|| text("public_key_pem")).unwrap()
            }
            _ if self.secrets.contains_key("public_key_base64") => text("public_key_base64").unwrap(),
            // Two keys that are active at once.
            "upstash-qstash" | "box" => self.secrets.values().map(|s| Secret::from(s.as_str())).collect(),
            _ if self.secrets.len() == 1 => self.secrets.values().map(|s| Secret::from(s.as_str())).collect(),
            _ => vec![Secret::Named(self.secrets.clone())],
        }
    }

    /// What would be fetched: the certificate is where the genuine message says.
    fn fetched(&self) -> Fetched {
        let mut fetched = Fetched::default();
        if let (Some(pem), Ok(body)) =
            (self.secrets.get("cert_pem"), serde_json::from_str::<Value>(&self.body))
        {
            let named = body.get("SigningCertURL").and_then(Value::as_str);
            if let Some(url) = named.or(self.headers.get("PAYPAL-CERT-URL").map(String::as_str)) {
                fetched.insert(url, pem.as_bytes());
            }
        }
        if let Some(pem) = self.secrets.get("public_key_pem") {
            fetched.insert("https://www.googleapis.com/oauth2/v3/certs", pem.as_bytes());
        }
        fetched
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../../../tests/vectors.json")).unwrap()
}

fn verifier(provider: &Provider) -> Verifier {
    provider.verifier().unwrap().unwrap()
}

#[test]
fn agrees_with_the_providers_own_sdks_and_documentation() {
    let mut proved = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for vector in vectors() {
        let Some(provider) = catalogue::find(&vector.provider) else {
            wrong.push(format!("{}: no provider", vector.id));
            continue;
        };
        let request = vector.request();
        let secrets = vector.secrets();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        if vector.kind == "handshake" {
            let step = match provider.handshake.before(&request, &secrets) {
                Step::NotOne => provider.handshake.after(&request, &secrets),
                step => step,
            };
            let Step::Answer(reply) = step else {
                wrong.push(format!("{}: {step:?}", vector.id));
                continue;
            };
            let wanted = vector.response.unwrap();
            let same = reply.status == wanted.status
                && wanted.body.is_none_or(|body| body == reply.body)
                && wanted.json.is_none_or(|json| serde_json::from_str::<Value>(&reply.body).unwrap() == json);
            if !same {
                wrong.push(format!("{}: {reply:?}", vector.id));
            }
            continue;
        }
        let result =
            verifier(&provider).verify_fetched(&request, &secrets, &vector.fetched(), request.received_at);
        let inside = vector.opened.as_ref().map_or(request.body.as_slice(), |opened| opened.as_bytes());
        let right = match &result {
            Ok(verified) => vector.valid && verified.request().body == inside,
            Err(_) => !vector.valid,
        };
        if !right {
            wrong.push(format!("{}: {:?}", vector.id, result.err()));
        }
        if vector.valid {
            proved.insert(vector.provider);
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(proved.len() >= 158, "{}", proved.len());
}

/// A provider of the catalogue (or a scheme of the test's own), a secret for it, and a genuine delivery.
struct Case {
    provider: Provider,
    verifier: Verifier,
    secret: Secret,
    other: Secret,
    fetched: Fetched,
    request: Request,
}

impl Case {
    fn check(&self, request: &Request, secret: &Secret) -> Result<(), VerifyError> {
        self.verifier.verify_fetched(request, &[secret], &self.fetched, request.received_at).map(|_| ())
    }
}

fn case(provider: Provider) -> Option<Case> {
    let verifier = provider.verifier().unwrap()?;
    let now = EpochMillis::from_seconds(1_780_000_000);
    let url = "https://hooks.example.com/webhooks/test";
    let secret = match test_secret(&verifier, &[7; 32]) {
        Ok(Some(secret)) => secret,
        Ok(None) => Secret::from("unused"),
        Err(_) => return None,
    };
    let other = test_secret(&verifier, &[8; 32]).unwrap().unwrap_or(Secret::from("unused"));
    match sample(&provider, &verifier, Some(&secret), url, now, "evt_0123456789ab", SAMPLE_TYPE) {
        Ok(request) => {
            let fetched = test_keys(&verifier, &request, &[&secret]);
            Some(Case { provider, verifier, secret, other, fetched, request })
        }
        Err(SignError::Unsupported { .. } | SignError::NoPrivateKey) => None,
        Err(error) => panic!("{}: {error}", provider.slug),
    }
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| catalogue::all().into_iter().filter_map(case).collect())
}

/// A spread of at most `count` positions of a text.
fn spread(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by((length / count).max(1))
}

#[test]
fn every_provider_accepts_a_genuine_delivery() {
    let mut left: Vec<String> = catalogue::all()
        .into_iter()
        .filter(|provider| provider.verify.is_some())
        .map(|provider| provider.slug)
        .collect();
    let mut wrong = Vec::new();
    for case in cases() {
        left.retain(|slug| *slug != case.provider.slug);
        if let Err(error) = case.check(&case.request, &case.secret) {
            wrong.push(format!("{}: {error}", case.provider.slug));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_provider_refuses_what_is_missing_empty_cut_or_foreign() {
    for case in cases() {
        let slug = &case.provider.slug;
        let none = case.verifier.verify(&case.request, &[], case.request.received_at).map(|_| ());
        assert!(none.is_err(), "{slug}: without a secret");
        if case.verifier.needs_secret() {
            assert!(case.check(&case.request, &Secret::from("")).is_err(), "{slug}: an empty secret");
            assert!(case.check(&case.request, &case.other).is_err(), "{slug}: another secret");
        } else {
            let keys = test_keys(&case.verifier, &case.request, &[&case.other]);
            let foreign = case.verifier.verify_fetched(&case.request, &[], &keys, case.request.received_at);
            assert_eq!(foreign.map(|_| ()), Err(VerifyError::SignatureMismatch), "{slug}: another key");
        }
        let mut bare = testing::request(&case.request.body);
        bare.url.clone_from(&case.request.url);
        if !proving_headers(case).is_empty() {
            assert!(case.check(&bare, &case.secret).is_err(), "{slug}: without headers");
        }
        for name in proving_headers(case) {
            let mut missing = case.request.clone();
            missing.headers.remove(&name);
            assert!(case.check(&missing, &case.secret).is_err(), "{slug}: without {name}");
            let mut empty = case.request.clone();
            empty.headers.insert(&name, HeaderValue::from_static(""));
            assert!(case.check(&empty, &case.secret).is_err(), "{slug}: empty {name}");
            let whole = case.request.headers[&name].as_bytes().to_vec();
            for end in [0, 1, whole.len() / 2, whole.len().saturating_sub(3), whole.len() - 1] {
                let mut cut = case.request.clone();
                cut.headers.insert(&name, HeaderValue::from_bytes(&whole[..end]).unwrap());
                let padding_only = whole[end..].iter().all(|b| *b == b'=');
                assert!(
                    padding_only || case.check(&cut, &case.secret).is_err(),
                    "{slug}: {name} cut at {end}"
                );
            }
        }
    }
}

/// The headers that verification looks at: without which it does not succeed.
fn proving_headers(case: &Case) -> Vec<HeaderName> {
    let looked_at = |name: &HeaderName| {
        let mut changed = case.request.clone();
        changed.headers.remove(name);
        case.check(&changed, &case.secret).is_err()
    };
    let event_only = |name: &HeaderName| name == "content-type" || name == "content-encoding";
    case.request.headers.keys().filter(|name| !event_only(name) && looked_at(name)).cloned().collect()
}

#[test]
fn no_provider_accepts_anothers_signature() {
    let cases = cases();
    for one in cases {
        for other in cases.iter().filter(|other| other.provider.slug != one.provider.slug) {
            // The same scheme under two names is the same to a verifier; the secret tells them apart.
            let request = &other.request;
            // A token is the secret itself, wherever it stands.
            if !share_a_scheme(&one.provider, &other.provider) && one.verifier.token_places().is_empty() {
                assert!(
                    one.check(request, &one.secret).is_err()
                        || request.headers == one.request.headers
                        || same_family(one, other),
                    "{} accepts {}",
                    one.provider.slug,
                    other.provider.slug
                );
            }
        }
    }
}

fn share_a_scheme(one: &Provider, other: &Provider) -> bool {
    let schemes = |provider: &Provider| match provider.verify.clone() {
        Some(Scheme::AnyOf(schemes)) => schemes,
        scheme => scheme.into_iter().collect(),
    };
    let others = schemes(other);
    schemes(one).iter().any(|scheme| others.contains(scheme))
}

/// Whether both were signed with the same text of a secret over the same text, under a header of the same name: then
/// they are one scheme, written in two ways (as Svix and Standard Webhooks are).
fn same_family(one: &Case, other: &Case) -> bool {
    let names = |case: &Case| proving_headers(case).iter().map(|n| n.as_str().to_owned()).collect::<Vec<_>>();
    one.secret == other.secret && one.check(&other.request, &other.secret).is_ok() && {
        let (one, other) = (names(one), names(other));
        one.iter().any(|name| other.contains(name)) || other.iter().any(|name| name.starts_with("webhook-"))
    }
}

#[test]
fn any_one_bit_of_what_is_signed_counts() {
    for case in cases() {
        let slug = &case.provider.slug;
        let body = &case.request.body;
        if !case.verifier.leaves_body_out() {
            for at in spread(body.len(), 16) {
                for bit in [0, 4] {
                    let mut changed = case.request.clone();
                    changed.body[at] ^= 1 << bit;
                    let accepted = case.check(&changed, &case.secret).is_ok();
                    assert!(
                        !accepted || same_meaning(&case.request, &changed),
                        "{slug}: body at {at}, bit {bit}"
                    );
                }
            }
        }
        for name in proving_headers(case) {
            let whole = case.request.headers[&name].as_bytes().to_vec();
            for at in spread(whole.len(), 24) {
                for bit in [0, 2] {
                    let mut value = whole.clone();
                    value[at] ^= 1 << bit;
                    let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                    // The case of hex digits carries nothing.
                    if value.as_bytes().eq_ignore_ascii_case(&whole) {
                        continue;
                    }
                    let mut changed = case.request.clone();
                    changed.headers.insert(&name, value);
                    assert!(case.check(&changed, &case.secret).is_err(), "{slug}: {name} at {at}, bit {bit}");
                }
            }
        }
    }
}

/// Whether two bodies say the same: a signature over values does not cover the spaces between them, nor the fields
/// of the signature itself.
fn same_meaning(one: &Request, other: &Request) -> bool {
    let plain = |request: &Request| body::view(request, "").ok().map(|view| view.value.to_string());
    plain(one) == plain(other)
}

fn signed(verifier: &Verifier, body: &[u8], secret: &str) -> Request {
    let mut request = testing::request(body);
    let secret = Secret::from(secret);
    sign(verifier, &request, &secret, request.received_at, "msg_1").unwrap().apply(&mut request);
    request
}

fn check(verifier: &Verifier, request: &Request, secrets: &[&str]) -> Result<(), VerifyError> {
    let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::from(*s)).collect();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    verifier.verify(request, &secrets, request.received_at).map(|_| ())
}

const SECRET: &str = "whsec_dGVzdC1vbmx5LXNlY3JldC1vZi1ob29rZ2F0ZSE=";

#[test]
fn any_active_secret_will_do() {
    let verifier = standard_webhooks().unwrap();
    let request = signed(&verifier, b"{\"a\":1}", SECRET);
    assert_eq!(check(&verifier, &request, &["whsec_b3RoZXItc2VjcmV0IQ==", SECRET]), Ok(()));
}

#[test]
fn a_header_that_comes_twice_is_refused_unless_it_is_a_list() {
    for slug in ["github", "slack", "stripe", "discord", "svix"] {
        let case = case(catalogue::find(slug).unwrap()).unwrap();
        for name in proving_headers(&case) {
            let mut twice = case.request.clone();
            twice.headers.append(&name, case.request.headers[&name].clone());
            assert_eq!(case.check(&twice, &case.secret).is_ok(), slug == "stripe", "{slug}: {name} twice");
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
fn every_timestamp_window_ends() {
    for case in cases() {
        let Ok(Verified { signed_at: Some(at), .. }) = case.verifier.verify_fetched(
            &case.request,
            &[&case.secret],
            &case.fetched,
            case.request.received_at,
        ) else {
            continue;
        };
        let much_later = at.plus_millis(40 * 24 * 60 * 60 * 1000);
        let late = case
            .verifier
            .verify_fetched(&case.request, &[&case.secret], &case.fetched, much_later)
            .map(|_| ());
        assert!(matches!(late, Err(VerifyError::TimestampTooOld { .. })), "{}: {late:?}", case.provider.slug);
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
    let scheme = Signature { header: "x-s".into(), ..Signature::default() };
    let verifier = Verifier::new(&Scheme::Signature(Box::new(scheme))).unwrap();
    let mut request = testing::request(b"{}");
    let signature = encode(&mac(Hash::Sha256, b"", b"{}").unwrap(), Encoding::Hex);
    testing::set_header(&mut request, "x-s", &signature);
    assert!(check(&verifier, &request, &[""]).is_err());
    let token = Verifier::new(&Scheme::Token(Token::shared())).unwrap();
    testing::set_header(&mut request, "x-hookgate-token", " ");
    assert!(check(&token, &request, &[""]).is_err());
}

#[test]
fn a_token_never_chooses_its_own_algorithm() {
    let case = case(catalogue::find("livekit").unwrap()).unwrap();
    let token = case.request.header("authorization").unwrap();
    let (_, rest) = token.split_once('.').unwrap();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, r#"{"alg":"RS256"}"#, "{}", "null"] {
        for signature in ["", ".", rest] {
            let mut forged = case.request.clone();
            let header = encode(header.as_bytes(), Encoding::Base64url);
            testing::set_header(&mut forged, "authorization", &format!("{header}.{rest}{signature}"));
            assert!(case.check(&forged, &case.secret).is_err(), "{header}");
        }
    }
}

#[test]
fn a_certificate_of_the_right_root_for_another_purpose_signs_nothing() {
    let vector = vectors().into_iter().find(|vector| vector.id == "apple-app-store-published").unwrap();
    let (request, secret) = (vector.request(), Secret::Named(vector.secrets.clone()));
    let Some(Scheme::CertifiedJws(apple)) = catalogue::find("apple-app-store").unwrap().verify else {
        panic!("another scheme")
    };
    for (extension, want) in [
        (apple.leaf_extension.as_str(), Ok(())),
        // Apple's own for its intermediates, which this leaf has not.
        ("1.2.840.113635.100.6.2.1", Err(VerifyError::SignatureMismatch)),
        ("1.2.840.113635.100.6.11", Err(VerifyError::SignatureMismatch)),
    ] {
        let scheme = CertifiedJws { leaf_extension: extension.to_owned(), ..*apple.clone() };
        let verifier = Verifier::new(&Scheme::CertifiedJws(Box::new(scheme))).unwrap();
        let checked = verifier.verify(&request, &[&secret], request.received_at).map(|_| ());
        assert_eq!(checked, want, "{extension}");
    }
    let scheme = CertifiedJws { leaf_extension: "apple".to_owned(), ..*apple };
    let error = Verifier::new(&Scheme::CertifiedJws(Box::new(scheme))).unwrap_err();
    assert!(error.to_string().contains("`apple`"), "{error}");
}

#[test]
fn a_chain_of_our_own_is_believed_by_whoever_was_given_its_root() {
    let case = case(catalogue::find("apple-app-store").unwrap()).unwrap();
    let Secret::Named(own) = &case.secret else { panic!("no values") };
    let published = vectors().into_iter().find(|vector| vector.id == "apple-app-store-published").unwrap();
    let theirs = &published.secrets["root_ca_der_base64"];
    let with = |name: &str, value: &str| {
        let mut values = own.clone();
        values.insert(name.to_owned(), value.to_owned());
        Secret::Named(values)
    };
    assert_eq!(case.check(&case.request, &case.secret), Ok(()));
    // Neither the chain nor the key beside it proves anything.
    assert_eq!(
        case.check(&case.request, &with("root_ca_der_base64", theirs)),
        Err(VerifyError::SignatureMismatch)
    );
    assert!(matches!(
        case.check(&case.request, &with("bundle_id", "com.example.other")),
        Err(VerifyError::NotAboutThis { .. })
    ));

    // A recorded delivery is signed again: the claims stay, but for what the secret pins.
    let mut request = published.request();
    sign(&case.verifier, &request, &case.secret, request.received_at, "msg_1").unwrap().apply(&mut request);
    assert_eq!(case.check(&request, &case.secret), Ok(()));
    let claim = |pointer: &str| body::view(&request, "").unwrap().at(pointer).unwrap();
    assert_eq!(claim("/signedPayload/notificationUUID"), "9ad56bd2-0bc6-42e0-af24-fd996d87a1e6");
    assert_eq!(claim("/signedPayload/data/bundleId"), own["bundle_id"].as_str());

    let without =
        |name: &str| Secret::Named(own.clone().into_iter().filter(|(own, _)| own != name).collect());
    for name in ["private_key", "certificates"] {
        let signed = sign(&case.verifier, &request, &without(name), request.received_at, "msg_1");
        assert_eq!(signed, Err(SignError::NoPrivateKey), "{name}");
    }
    request.body = br#"{"signedPayload": "text"}"#.to_vec();
    let signed = sign(&case.verifier, &request, &case.secret, request.received_at, "msg_1");
    assert!(matches!(signed, Err(SignError::Unsupported { .. })), "{signed:?}");
}

#[test]
fn a_chain_for_another_purpose_is_not_believed() {
    let apple = catalogue::find("apple-app-store").unwrap();
    let Some(Scheme::CertifiedJws(scheme)) = &apple.verify else { panic!("another scheme") };
    let plain = CertifiedJws { leaf_extension: String::new(), ..*scheme.clone() };
    let plain =
        case(Provider { verify: Some(Scheme::CertifiedJws(Box::new(plain))), ..apple.clone() }).unwrap();
    assert_eq!(plain.check(&plain.request, &plain.secret), Ok(()));
    let checked = verifier(&apple).verify(&plain.request, &[&plain.secret], plain.request.received_at);
    assert_eq!(checked.map(|_| ()), Err(VerifyError::SignatureMismatch));
}

#[test]
fn what_nobody_here_can_sign_is_said() {
    let curve = Signature {
        algorithm: Algorithm::Ecdsa,
        curve: Curve::P384,
        header: "x-s".into(),
        ..Signature::default()
    };
    let root = CertifiedJws { place: "json:/jws".into(), root: "MIIB".into(), ..CertifiedJws::default() };
    for (scheme, part) in [
        (Scheme::Signature(Box::new(curve)), "ECDSA-SHA256"),
        (Scheme::CertifiedJws(Box::new(root)), "root stands in the scheme"),
    ] {
        let error = test_secret(&Verifier::new(&scheme).unwrap(), &[7; 32]).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn keys_are_asked_for_only_where_the_scheme_says() {
    let sns = catalogue::find("aws-sns").unwrap();
    let verifier = verifier(&sns);
    let secret = Secret::from("arn:aws:sns:us-east-1:1:t");
    let ask = |url: &str| {
        let body = serde_json::json!({
            "Type": "Notification", "MessageId": "m", "Message": "x", "Timestamp": "2026-05-28T20:26:40.000Z",
            "TopicArn": "arn:aws:sns:us-east-1:1:t", "Signature": "AAAA", "SigningCertURL": url,
        });
        let request = testing::request(body.to_string().as_bytes());
        verifier.verify(&request, &[&secret], request.received_at).map(|_| ()).unwrap_err()
    };
    let url = "https://sns.us-east-1.amazonaws.com/x.pem";
    assert_eq!(ask(url), VerifyError::KeyNeeded { url: url.to_owned() });
    assert_eq!(ask("https://evil.example/x.pem"), VerifyError::KeyForeign);
    assert!(ask(url).is_ours() && !ask("https://evil.example/x.pem").is_ours());
}

#[test]
fn a_key_is_asked_for_only_by_who_says_that_it_fetches_keys() {
    let mut asked = 0;
    for case in cases() {
        let secrets = [&case.secret];
        let verified = case.verifier.verify(&case.request, &secrets, case.request.received_at);
        let asks = matches!(verified, Err(VerifyError::KeyNeeded { .. }));
        assert!(!asks || case.verifier.fetches_keys(), "{}", case.verifier.describe());
        asked += usize::from(asks);
    }
    assert!(asked > 0);
    for (slug, fetches) in [("aws-sns", true), ("github", false), ("stripe", false)] {
        assert_eq!(verifier(&catalogue::find(slug).unwrap()).fetches_keys(), fetches, "{slug}");
    }
}

#[test]
fn how_much_of_the_catalogue_is_proved() {
    let all = catalogue::all();
    let of = |proof: Proof| all.iter().filter(|provider| provider.proof == proof).count();
    assert!(
        of(Proof::Sdk) + of(Proof::Documentation) >= 350,
        "{} {}",
        of(Proof::Sdk),
        of(Proof::Documentation)
    );
}

proptest! {
    #[test]
    fn arbitrary_requests_never_panic(which in any::<prop::sample::Index>(), body in prop::collection::vec(any::<u8>(), 0..300), value in prop::collection::vec(any::<u8>(), 0..100), media in "[ -~]{0,30}", query in ".{0,40}") {
        let all = cases();
        let case = &all[which.index(all.len())];
        let mut request = case.request.clone();
        request.body.clone_from(&body);
        request.query.clone_from(&query);
        request.url = format!("https://{query}");
        testing::set_header(&mut request, "content-type", &media);
        let names: Vec<_> = request.headers.keys().cloned().collect();
        for name in names {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers.insert(name, value);
            }
        }
        std::hint::black_box(case.check(&request, &case.secret).is_ok());
        std::hint::black_box(case.provider.handshake.before(&request, &[&case.secret]));
        std::hint::black_box(case.provider.handshake.after(&request, &[&case.secret]));
    }
}
