//! Signing: the other half of [`crate::verify`], for `hookgate send` and for what the `http` action posts.
//!
//! It proves nothing about a provider (the tests use vectors of the providers' own SDKs for that); it is held
//! to the verifier by property tests. Asymmetric schemes sign with the value `private_key` of the secret (PKCS#8 in
//! base64), which only a secret made by [`test_secret`] has, and with its `certificates` where the message carries them.

use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING,
        ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
    },
};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};
use thiserror::Error;

#[cfg(feature = "sending")]
use crate::sending::{Chain, Sha1};
use crate::{
    Fetched, body,
    encoding::{decode_key, digest, encode, mac},
    look::Look,
    place::{Locator, Place},
    request::Request,
    scheme::{
        Algorithm, Curve, EcdsaFormat, Encoding, Hash, JwtAlgorithm, KeyEncoding, Padding,
        Signature as Scheme,
    },
    secret::{SECRET_FIELD, Secret},
    signed::Facts,
    time::EpochMillis,
    verify::{
        CertifiedVerifier, JwtVerifier, Kind, SecretShape, SignatureVerifier, Verifier, VerifyError,
        adyen_content, adyen_items, algorithm_name, basic_credentials, token_text,
    },
};

/// The name of the value that signs for a test, beside the public key of an asymmetric scheme.
const PRIVATE_KEY_FIELD: &str = "private_key";

/// The name of the signer's certificate in a secret made for tests, with those above it.
const CERTIFICATES_FIELD: &str = "certificates";

/// The name of the public key in a secret made for tests, where the scheme fetches it.
const PUBLIC_KEY_FIELD: &str = "public_key";

/// For how long a token that we make is good, in seconds.
const TOKEN_SECONDS: i64 = 300;

/// Why a request could not be signed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SignError {
    /// The secret can't be decoded.
    #[error("the secret does not have the form that the scheme asks for")]
    SecretUnusable,
    /// The key is the provider's, and this secret has no private one beside it.
    #[error(
        "only the provider has the private key; a secret made for tests has its own (delete it, and it is made anew)"
    )]
    NoPrivateKey,
    /// The signature belongs to a place that can't be written, or the request lacks what is signed.
    #[error("can't sign: {what}")]
    Unsupported {
        /// What stands in the way.
        what: String,
    },
}

fn unsupported(what: impl Into<String>) -> SignError {
    SignError::Unsupported { what: what.into() }
}

/// What makes a request genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Headers to set.
    pub headers: Vec<(String, String)>,
    /// Query parameters to set, unencoded.
    pub query: Vec<(String, String)>,
    /// The body, where the signature is in it.
    pub body: Option<Vec<u8>>,
}

impl Signature {
    /// Puts it on the request that it was made for.
    pub fn apply(self, request: &mut Request) {
        for (name, value) in &self.headers {
            request.set_header(name, value);
        }
        for (name, value) in &self.query {
            request.set_query(name, value);
        }
        if let Some(body) = self.body {
            request.body = body;
        }
    }
}

/// Signs a request as its sender would. `id` is used where the scheme signs a message id.
///
/// # Errors
/// [`SignError`].
pub fn sign(
    verifier: &Verifier,
    request: &Request,
    secret: &Secret,
    now: EpochMillis,
    id: &str,
) -> Result<Signature, SignError> {
    let mut draft =
        Draft { request: request.clone(), json_field: verifier.json_field(), out: Signature::default() };
    if let Some(body) = verifier.encryption().seal(request, secret) {
        draft.set_body(body);
    }
    sign_kind(verifier.kind(), &mut draft, secret, now, id)?;
    Ok(draft.out)
}

fn sign_kind(
    kind: &Kind,
    draft: &mut Draft<'_>,
    secret: &Secret,
    now: EpochMillis,
    id: &str,
) -> Result<(), SignError> {
    match kind {
        Kind::None => Ok(()),
        Kind::Basic => {
            let credentials = encode(basic_credentials(secret).as_bytes(), Encoding::Base64);
            draft.header("authorization", format!("Basic {credentials}"))
        }
        Kind::Token { place, prefix, key, hash } => {
            // A sender without headers of its own uses the URL, and the sample says so by having it there.
            let in_query = place.places().find(
                |place| matches!(place, Place::Query(name) if draft.request.query_parameter(name).is_some()),
            );
            let place = in_query.or_else(|| place.places().next());
            let token = token_text(key, *hash, secret).ok_or(SignError::SecretUnusable)?;
            draft.put(place, format!("{prefix}{token}"))
        }
        Kind::Signature(signature) => sign_text(signature, draft, secret, now, id),
        Kind::Jwt(jwt) => sign_token(jwt, draft, secret, now),
        Kind::Adyen => sign_items(draft, secret),
        Kind::Certified(certified) => sign_certified(certified, draft, secret),
        Kind::AnyOf(kinds) => match kinds.first() {
            Some(first) => sign_kind(first, draft, secret, now, id),
            None => Ok(()),
        },
    }
}

fn sign_text(
    signature: &SignatureVerifier,
    draft: &mut Draft<'_>,
    secret: &Secret,
    now: EpochMillis,
    id: &str,
) -> Result<(), SignError> {
    let scheme = &signature.scheme;
    for (place, value) in &scheme.pinned {
        let value = crate::signed::KeyText::parse(value)
            .ok()
            .and_then(|value| value.of(secret))
            .ok_or(SignError::SecretUnusable)?;
        let place = Locator::parse(place).map_err(|e| unsupported(e.to_string()))?;
        draft.put(place.places().next(), value)?;
    }
    let id_entry = match signature.id.places().next() {
        Some(Place::Field(prefix)) => Some(prefix.clone()),
        Some(place) => {
            draft.put(Some(place), id.to_owned())?;
            None
        }
        None => None,
    };
    // The sender's own way of writing times stays, where the sample shows it.
    let timestamp = draft.timestamp(&signature.timestamp, now);
    let in_entry = match signature.timestamp.places().next() {
        Some(Place::Field(prefix)) => Some(prefix.clone()),
        Some(place) => {
            draft.put(Some(place), timestamp.clone())?;
            None
        }
        None => None,
    };
    // The address of the key has to be there.
    if let (Ok(place), Some(host)) = (Locator::parse(&scheme.key_url), scheme.key_hosts.first()) {
        let there = Look::new(&draft.request, draft.json_field).find(&place).is_some();
        if !there {
            let url = format!("https://{}/hookgate-test.pem", host.replace('*', "test"));
            draft.put(place.places().next(), url)?;
        }
    }
    // So has what is signed.
    for place in signature.signed.places() {
        let look = Look::new(&draft.request, draft.json_field);
        let there = match &place {
            Place::Json(pointer) => look.view().is_some_and(|view| view.at(pointer).is_some()),
            place => look.find_place(place).is_some(),
        };
        if !there {
            draft.put(Some(&place), id.to_owned())?;
        }
    }
    let digest_in_url = signature.body_sha256.find(&draft.request, None).is_some();
    let with_form = !digest_in_url && body::is_form(&draft.request.media_type());
    let content = {
        let look = Look::new(&draft.request, draft.json_field);
        let facts =
            Facts { look: &look, url: &draft.request.url, timestamp: &timestamp, id, secret, with_form };
        signature.signed.render(&facts).map_err(unsupported)?
    };
    let content = match scheme.prehash {
        Some(hash) => digest(hash, &content),
        None => content,
    };
    let bytes = match scheme.algorithm {
        Algorithm::Hmac => {
            let text = signature.key.of(secret).ok_or(SignError::SecretUnusable)?;
            let key = decode_key(&text, scheme.secret).ok_or(SignError::SecretUnusable)?;
            mac(scheme.hash, &key, &content).ok_or_else(|| unsupported("this hash is not keyed"))?
        }
        Algorithm::Hash => digest(scheme.hash, &content),
        Algorithm::Ed25519 | Algorithm::Ecdsa | Algorithm::Rsa => {
            Signer::of(scheme)?.sign(&private_key(secret)?, &content)?
        }
    };
    let prefix = signature.prefix.of(secret).ok_or(SignError::SecretUnusable)?;
    let mut value = format!("{prefix}{}", encode(&bytes, scheme.encoding));
    let in_entries = [(id_entry, id), (in_entry, timestamp.as_str())];
    for (prefix, text) in in_entries.into_iter().filter_map(|(prefix, text)| Some((prefix?, text))) {
        value = format!("{prefix}{text}{}{value}", scheme.separator);
    }
    draft.put(signature.signature.places().next(), value)
}

fn sign_token(
    jwt: &JwtVerifier,
    draft: &mut Draft<'_>,
    secret: &Secret,
    now: EpochMillis,
) -> Result<(), SignError> {
    let scheme = &jwt.scheme;
    let text = |template: &str| {
        crate::signed::KeyText::parse(template)
            .ok()
            .and_then(|text| text.of(secret))
            .ok_or(SignError::SecretUnusable)
    };
    let header = json!({ "alg": scheme.algorithm.name(), "typ": "JWT" });
    let whole_body = matches!(jwt.place.places().next(), Some(Place::Body));
    let header = encode(header.to_string().as_bytes(), Encoding::Base64url);
    let (payload, input) = if scheme.detached {
        let look = Look::new(&draft.request, draft.json_field);
        let url = &draft.request.url;
        let facts = Facts { look: &look, url, timestamp: "", id: "", secret, with_form: false };
        let payload = jwt.signed.render(&facts).map_err(unsupported)?;
        let mut input = format!("{header}.").into_bytes();
        match scheme.unencoded {
            true => input.extend(payload),
            false => input.extend(encode(&payload, Encoding::Base64url).bytes()),
        }
        (String::new(), input)
    } else {
        let mut claims = match whole_body {
            true => body::view(&draft.request, "").ok().and_then(|view| view.value.as_object().cloned()),
            false => None,
        }
        .unwrap_or_default();
        let seconds = now.as_seconds();
        for (name, value) in [("iat", seconds), ("nbf", seconds), ("exp", seconds + TOKEN_SECONDS)] {
            claims.insert(name.into(), value.into());
        }
        if !scheme.body_claim.is_empty() {
            let hash = encode(&digest(scheme.body_hash, &draft.request.body), scheme.body_encoding);
            claims.insert(scheme.body_claim.clone(), hash.into());
        }
        if !scheme.url_claim.is_empty() {
            let url = &draft.request.url;
            let url = match scheme.url_hash {
                Some(hash) => encode(&digest(hash, url.as_bytes()), Encoding::Hex),
                None => url.clone(),
            };
            claims.insert(scheme.url_claim.clone(), url.into());
        }
        if !scheme.issuer.is_empty() {
            claims.insert("iss".into(), text(&scheme.issuer)?.into());
        }
        match scheme.audience.as_str() {
            "" => {}
            "{url}" => {
                claims.insert("aud".into(), draft.request.url.clone().into());
            }
            template => {
                claims.insert("aud".into(), text(template)?.into());
            }
        }
        for (name, value) in &scheme.claims {
            let value = text(value)?;
            claims.insert(name.clone(), if value == "true" { Value::Bool(true) } else { value.into() });
        }
        let payload = encode(Value::Object(claims).to_string().as_bytes(), Encoding::Base64url);
        (payload.clone(), format!("{header}.{payload}").into_bytes())
    };
    let hash = match scheme.algorithm {
        JwtAlgorithm::Hs256 => Some(Hash::Sha256),
        JwtAlgorithm::Hs512 => Some(Hash::Sha512),
        _ => None,
    };
    let signature = match hash {
        Some(hash) => {
            let text = jwt.key.of(secret).ok_or(SignError::SecretUnusable)?;
            let key = decode_key(&text, scheme.secret).ok_or(SignError::SecretUnusable)?;
            mac(hash, &key, &input).ok_or(SignError::SecretUnusable)?
        }
        None => Signer::of_jwt(scheme.algorithm)?.sign(&private_key(secret)?, &input)?,
    };
    let token = format!("{}{header}.{payload}.{}", scheme.prefix, encode(&signature, Encoding::Base64url));
    draft.put(jwt.place.places().next(), token)
}

fn sign_items(draft: &mut Draft<'_>, secret: &Secret) -> Result<(), SignError> {
    let text = secret.value("hmac_key_hex").unwrap_or(secret.expose());
    let key = decode_key(text, KeyEncoding::Hex).ok_or(SignError::SecretUnusable)?;
    let mut document: Value =
        serde_json::from_slice(&draft.request.body).map_err(|_| unsupported("the body is no JSON"))?;
    let contents: Vec<String> = adyen_items(&document)
        .ok_or_else(|| unsupported("the body has no notificationItems"))?
        .into_iter()
        .map(adyen_content)
        .collect();
    for (n, content) in contents.iter().enumerate() {
        let signature = mac(Hash::Sha256, &key, content.as_bytes()).ok_or(SignError::SecretUnusable)?;
        let pointer = format!("/notificationItems/{n}/NotificationRequestItem/additionalData/hmacSignature");
        set_pointer(&mut document, &pointer, encode(&signature, Encoding::Base64));
    }
    draft.set_body(document.to_string().into_bytes());
    Ok(())
}

fn sign_certified(
    certified: &CertifiedVerifier,
    draft: &mut Draft<'_>,
    secret: &Secret,
) -> Result<(), SignError> {
    let certificates = secret.value(CERTIFICATES_FIELD).ok_or(SignError::NoPrivateKey)?;
    let certificates: Vec<&str> = certificates.split(' ').collect();
    let place = certified.place.places().next();
    let Some(Place::Json(pointer)) = place else {
        return Err(unsupported("a certified JWS that is not in a JSON document"));
    };
    // What a sample has there: the claims, or a JWS of somebody else's around them.
    let there = Look::new(&draft.request, draft.json_field).view().and_then(|view| view.at(pointer));
    let mut payload = match there {
        Some(Value::String(text)) => body::jws_claims(&text)
            .ok_or_else(|| unsupported(format!("what is at json:{pointer} is no JWS")))?,
        Some(claims) => claims,
        None => json!({}),
    };
    for (pointer, value) in &certified.pinned {
        let value = value.of(secret).ok_or(SignError::SecretUnusable)?;
        if !set_pointer(&mut payload, pointer, value) {
            return Err(unsupported(format!("{pointer} of the JWS")));
        }
    }
    let header = json!({ "alg": JwtAlgorithm::Es256.name(), "x5c": certificates });
    let part = |value: &Value| encode(value.to_string().as_bytes(), Encoding::Base64url);
    let input = format!("{}.{}", part(&header), part(&payload));
    let signature = Signer::of_jwt(JwtAlgorithm::Es256)?.sign(&private_key(secret)?, input.as_bytes())?;
    draft.put(place, format!("{input}.{}", encode(&signature, Encoding::Base64url)))
}

fn private_key(secret: &Secret) -> Result<Vec<u8>, SignError> {
    let text = secret.value(PRIVATE_KEY_FIELD).ok_or(SignError::NoPrivateKey)?;
    BASE64.decode(text.as_bytes()).map_err(|_| SignError::SecretUnusable)
}

/// A request while it is being signed.
pub(crate) struct Draft<'v> {
    pub(crate) request: Request,
    pub(crate) json_field: &'v str,
    pub(crate) out: Signature,
}

impl Draft<'_> {
    fn header(&mut self, name: &str, value: String) -> Result<(), SignError> {
        if !self.request.set_header(name, &value) {
            return Err(unsupported(format!("header:{name}")));
        }
        self.out.headers.retain(|(known, _)| known != name);
        self.out.headers.push((name.to_owned(), value));
        Ok(())
    }

    fn set_body(&mut self, body: Vec<u8>) {
        self.request.body.clone_from(&body);
        self.out.body = Some(body);
    }

    pub(crate) fn put(&mut self, place: Option<&Place>, value: String) -> Result<(), SignError> {
        match place {
            Some(Place::Header(name)) => self.header(name, value),
            Some(Place::Query(name)) => {
                self.request.set_query(name, &value);
                self.out.query.retain(|(known, _)| known != name);
                self.out.query.push((name.clone(), value));
                Ok(())
            }
            Some(Place::HeaderJson(name, pointer)) => {
                let mut document = json!({});
                set_pointer(&mut document, pointer, value);
                self.header(name, BASE64.encode(document.to_string().as_bytes()))
            }
            Some(Place::Body) => {
                self.set_body(value.into_bytes());
                self.header("content-type", "application/jwt".to_owned())
            }
            Some(Place::Form(field)) => self.put_field(field, &value),
            Some(Place::Json(pointer)) => self.put_json(pointer, value),
            other => Err(unsupported(
                other.map_or_else(|| "the scheme names no place".to_owned(), Place::to_string),
            )),
        }
    }

    fn put_field(&mut self, field: &str, value: &str) -> Result<(), SignError> {
        if !body::is_form(&self.request.media_type()) {
            return Err(unsupported(format!("form:{field}, as the body is no form")));
        }
        let mut fields: Vec<(String, String)> = form_urlencoded::parse(&self.request.body)
            .into_owned()
            .filter(|(name, _)| name != field)
            .collect();
        fields.push((field.to_owned(), value.to_owned()));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.set_body(body.into_bytes());
        Ok(())
    }

    fn put_json(&mut self, pointer: &str, value: String) -> Result<(), SignError> {
        let view = body::view(&self.request, self.json_field).map_err(|e| unsupported(e.to_string()))?;
        let mut document = view.value.clone();
        if !set_pointer(&mut document, pointer, value) {
            return Err(unsupported(format!("json:{pointer}")));
        }
        if view.field(self.json_field).is_none() {
            self.set_body(document.to_string().into_bytes());
            return Ok(());
        }
        let field = self.json_field.to_owned();
        if body::is_form(&self.request.media_type()) {
            return self.put_field(&field, &document.to_string());
        }
        let body = format!(
            "--hookgate\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{document}\r\n--hookgate--\r\n"
        );
        self.set_body(body.into_bytes());
        self.header("content-type", "multipart/form-data; boundary=hookgate".to_owned())
    }

    /// Now, in the sender's own way of writing: seconds, milliseconds, RFC 3339 or an HTTP date, as what stands there.
    fn timestamp(&self, place: &Locator, now: EpochMillis) -> String {
        let sample = place.places().find_map(|one| match one {
            // An entry of the signature's header, wherever that is.
            Place::Field(prefix) => self.request.headers.values().find_map(|value| {
                let text = value.to_str().ok()?;
                let (_, rest) = text.split_once(prefix.as_str())?;
                Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
            }),
            other => Look::new(&self.request, self.json_field).find_place(other),
        });
        match sample {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) && text.len() >= 12 => {
                now.as_millis().to_string()
            }
            Some(text) if text.contains("GMT") => now.http_date(),
            Some(text) if text.contains('T') => now.to_string(),
            _ => now.as_seconds().to_string(),
        }
    }
}

/// Sets what is at a pointer, with the objects on the way to it.
fn set_pointer(document: &mut Value, pointer: &str, value: String) -> bool {
    let mut at = document;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if (step == "*" || step == "0") && at.is_null() {
            *at = Value::Array(vec![Value::Null]);
        }
        let step = if step == "*" { "0".to_owned() } else { step };
        at = match at {
            Value::Array(items) => match step.parse::<usize>().ok().and_then(|n| items.get_mut(n)) {
                Some(item) => item,
                None => return false,
            },
            Value::Object(members) => members.entry(step).or_insert(Value::Null),
            Value::Null => {
                *at = Value::Object(Map::new());
                match at.as_object_mut() {
                    Some(members) => members.entry(step).or_insert(Value::Null),
                    None => return false,
                }
            }
            _ => return false,
        };
    }
    *at = match at {
        Value::Number(_) => value.parse::<serde_json::Number>().map_or(Value::String(value), Value::Number),
        _ => Value::String(value),
    };
    true
}

/// What signs with a private key.
enum Signer {
    Ed25519,
    Ecdsa(&'static EcdsaSigningAlgorithm),
    Rsa(&'static RsaSignatureEncoding),
    #[cfg(feature = "sending")]
    Sha1(Sha1),
}

impl Signer {
    fn of(scheme: &Scheme) -> Result<Self, SignError> {
        use EcdsaFormat::{Der, Raw};
        Ok(match scheme.algorithm {
            Algorithm::Ed25519 => Self::Ed25519,
            Algorithm::Rsa => Self::Rsa(match (scheme.padding, scheme.hash) {
                (Padding::Pkcs1, Hash::Sha256) => &RSA_PKCS1_SHA256,
                (Padding::Pkcs1, Hash::Sha384) => &RSA_PKCS1_SHA384,
                (Padding::Pkcs1, Hash::Sha512) => &RSA_PKCS1_SHA512,
                (Padding::Pss, Hash::Sha256) => &RSA_PSS_SHA256,
                (Padding::Pss, Hash::Sha384) => &RSA_PSS_SHA384,
                (Padding::Pss, Hash::Sha512) => &RSA_PSS_SHA512,
                _ => return Self::outdated(scheme),
            }),
            Algorithm::Ecdsa => Self::Ecdsa(match (scheme.curve, scheme.hash, scheme.format) {
                (Curve::P256, Hash::Sha256, Der) => &ECDSA_P256_SHA256_ASN1_SIGNING,
                (Curve::P256, Hash::Sha256, Raw) => &ECDSA_P256_SHA256_FIXED_SIGNING,
                (Curve::P384, Hash::Sha384, Der) => &ECDSA_P384_SHA384_ASN1_SIGNING,
                (Curve::P384, Hash::Sha384, Raw) => &ECDSA_P384_SHA384_FIXED_SIGNING,
                (Curve::P521, Hash::Sha512, Der) => &ECDSA_P521_SHA512_ASN1_SIGNING,
                (Curve::P521, Hash::Sha512, Raw) => &ECDSA_P521_SHA512_FIXED_SIGNING,
                (Curve::Secp256k1, Hash::Sha256, Der) => &ECDSA_P256K1_SHA256_ASN1_SIGNING,
                (Curve::Secp256k1, Hash::Sha256, Raw) => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
                _ => return Self::outdated(scheme),
            }),
            Algorithm::Hmac | Algorithm::Hash => return Err(unsupported("a keyed hash has no private key")),
        })
    }

    /// What aws-lc verifies and does not sign.
    #[cfg(feature = "sending")]
    fn outdated(scheme: &Scheme) -> Result<Self, SignError> {
        Sha1::of(scheme).map(Self::Sha1).ok_or_else(|| {
            unsupported(format!("{} of this kind", algorithm_name(scheme.algorithm, scheme.hash)))
        })
    }

    #[cfg(not(feature = "sending"))]
    fn outdated(scheme: &Scheme) -> Result<Self, SignError> {
        let name = algorithm_name(scheme.algorithm, scheme.hash);
        Err(unsupported(format!("{name} without the feature `sending` of hookgate_verify")))
    }

    fn of_jwt(algorithm: JwtAlgorithm) -> Result<Self, SignError> {
        Ok(match algorithm {
            JwtAlgorithm::Rs256 => Self::Rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::Rs512 => Self::Rsa(&RSA_PKCS1_SHA512),
            JwtAlgorithm::Es256 => Self::Ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            JwtAlgorithm::Es512 => Self::Ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
            JwtAlgorithm::EdDsa => Self::Ed25519,
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512 => {
                return Err(unsupported("a keyed hash has no private key"));
            }
        })
    }

    fn sign(&self, pkcs8: &[u8], message: &[u8]) -> Result<Vec<u8>, SignError> {
        let rng = SystemRandom::new();
        match self {
            Self::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| SignError::SecretUnusable)?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            Self::Ecdsa(algorithm) => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(|_| SignError::SecretUnusable)?;
                let signature = pair.sign(&rng, message).map_err(|_| SignError::SecretUnusable)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(encoding) => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| SignError::SecretUnusable)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &rng, message, &mut signature).map_err(|_| SignError::SecretUnusable)?;
                Ok(signature)
            }
            #[cfg(feature = "sending")]
            Self::Sha1(sha1) => sha1.sign(pkcs8, message).ok_or(SignError::SecretUnusable),
        }
    }

    /// A new pair: PKCS#8, and the public key in the form that such providers publish.
    fn generate(&self) -> Result<(Vec<u8>, Vec<u8>), SignError> {
        let failed = |_| unsupported("no key could be made");
        match self {
            Self::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                let private = pair.to_pkcs8().map_err(failed)?;
                Ok((private.as_ref().to_vec(), pair.public_key().as_ref().to_vec()))
            }
            Self::Ecdsa(algorithm) => {
                let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
                let private = pair.to_pkcs8v1().map_err(failed)?;
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
                Ok((private.as_ref().to_vec(), public.as_ref().to_vec()))
            }
            Self::Rsa(_) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
                Ok((private.as_ref().to_vec(), public.as_ref().to_vec()))
            }
            // A key does not know what it will sign with.
            #[cfg(feature = "sending")]
            Self::Sha1(Sha1::Ecdsa) => Self::Ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).generate(),
            #[cfg(feature = "sending")]
            Self::Sha1(Sha1::Rsa) => Self::Rsa(&RSA_PKCS1_SHA256).generate(),
        }
    }
}

/// Adds what signs a certified JWS: a chain of our own, whose root takes the place of the provider's.
#[cfg(feature = "sending")]
fn certify(certified: &CertifiedVerifier, values: &mut BTreeMap<String, String>) -> Result<(), SignError> {
    let root = certified.root.names().next().ok_or_else(|| unsupported("the root stands in the scheme"))?;
    let chain = Chain::generate(certified.leaf_extension.as_deref())
        .map_err(|e| unsupported(format!("no certificate could be made: {e}")))?;
    let [_, _, own_root] = &chain.certificates;
    values.insert(root.to_owned(), BASE64.encode(own_root));
    let certificates = chain.certificates.each_ref().map(|certificate| BASE64.encode(certificate));
    values.insert(CERTIFICATES_FIELD.to_owned(), certificates.join(" "));
    values.insert(PRIVATE_KEY_FIELD.to_owned(), BASE64.encode(&chain.private_key));
    Ok(())
}

#[cfg(not(feature = "sending"))]
fn certify(_: &CertifiedVerifier, _: &mut BTreeMap<String, String>) -> Result<(), SignError> {
    Err(unsupported("a chain of certificates without the feature `sending` of hookgate_verify"))
}

/// What the sender would publish for a secret that [`test_secret`] made, at the address that `request` asks for.
///
/// For tests and the local program: a request that asks for a key of a real sender's finds nothing here.
pub fn test_keys(verifier: &Verifier, request: &Request, secrets: &[&Secret]) -> Fetched {
    let mut fetched = Fetched::default();
    let asked = verifier.verify(request, secrets, request.received_at);
    if let Err(VerifyError::KeyNeeded { url }) = asked {
        let made = secrets.iter().filter(|secret| secret.value(PRIVATE_KEY_FIELD).is_some());
        for key in made.filter_map(|secret| secret.value(PUBLIC_KEY_FIELD)) {
            fetched.insert(url.clone(), key.as_bytes());
        }
    }
    fetched
}

/// Makes up a secret with which [`sign`] and the verifier agree: for tests and for the local program, never for a
/// real sender.
///
/// `entropy` is what the texts in it are made of; keys are made by the library.
///
/// # Errors
/// [`SignError::Unsupported`] where no key of that kind can be made.
pub fn test_secret(verifier: &Verifier, entropy: &[u8; 32]) -> Result<Option<Secret>, SignError> {
    let text = |encoding: KeyEncoding| match encoding {
        KeyEncoding::Base64 => BASE64.encode(entropy),
        KeyEncoding::Base64url => encode(entropy, Encoding::Base64url),
        KeyEncoding::Whsec => format!("whsec_{}", BASE64.encode(entropy)),
        _ => HEXLOWER.encode(entropy),
    };
    // Of several ways the first is the one to sign in.
    let mut kind = verifier.kind();
    while let Kind::AnyOf(kinds) = kind {
        let Some(first) = kinds.first() else { break };
        kind = first;
    }
    let mut values = BTreeMap::new();
    match verifier.secret_shape() {
        SecretShape::Text(encoding) if !kind.fetches_keys() => {
            return Ok(Some(Secret::Text(text(encoding))));
        }
        SecretShape::Text(encoding) => {
            values.insert(SECRET_FIELD.to_owned(), text(encoding));
        }
        SecretShape::None if !kind.fetches_keys() => return Ok(None),
        SecretShape::None | SecretShape::PublicKey(_) => {}
        SecretShape::Named(names) => {
            for name in names {
                let value = text(KeyEncoding::Raw);
                let short: String = value.chars().take(24).collect();
                values.insert(name, short);
            }
        }
    }
    let (signer, encoding, key) = match kind {
        Kind::Signature(signature) if signature.scheme.is_asymmetric() => {
            (Signer::of(&signature.scheme)?, signature.scheme.secret, signature.key.names().next())
        }
        Kind::Jwt(jwt) if !matches!(jwt.scheme.algorithm, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512) => {
            (Signer::of_jwt(jwt.scheme.algorithm)?, jwt.scheme.secret, jwt.key.names().next())
        }
        Kind::Certified(certified) => {
            certify(certified, &mut values)?;
            return Ok(Some(Secret::Named(values)));
        }
        _ => return Ok(Some(Secret::Named(values))),
    };
    let (private, public) = signer.generate()?;
    let public = match encoding {
        KeyEncoding::Hex => HEXLOWER.encode(&public),
        KeyEncoding::Base64url => encode(&public, Encoding::Base64url),
        _ => BASE64.encode(&public),
    };
    let key = if kind.fetches_keys() { PUBLIC_KEY_FIELD } else { key.unwrap_or(SECRET_FIELD) };
    values.insert(key.to_owned(), public);
    values.insert(PRIVATE_KEY_FIELD.to_owned(), BASE64.encode(&private));
    Ok(Some(Secret::Named(values)))
}

/// How a request that we send is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// `Authorization: Basic …` of `user:password`.
    Basic,
    /// HMAC-SHA256 of the body in hex: `x-hookgate-signature: sha256=…`.
    Hmac,
}

/// The headers that sign a request of ours.
///
/// # Errors
/// [`SignError::SecretUnusable`].
pub fn outgoing(
    how: Outgoing,
    secret: &Secret,
    id: &str,
    now: EpochMillis,
    body: &[u8],
) -> Result<Vec<(String, String)>, SignError> {
    let header = |name: &str, value: String| (name.to_owned(), value);
    Ok(match how {
        Outgoing::Bearer => vec![header("authorization", format!("Bearer {}", secret.expose()))],
        Outgoing::Basic => {
            let credentials = encode(basic_credentials(secret).as_bytes(), Encoding::Base64);
            vec![header("authorization", format!("Basic {credentials}"))]
        }
        Outgoing::Hmac => {
            let key = decode_key(secret.expose(), KeyEncoding::Raw).ok_or(SignError::SecretUnusable)?;
            let signature =
                encode(&mac(Hash::Sha256, &key, body).ok_or(SignError::SecretUnusable)?, Encoding::Hex);
            vec![header("x-hookgate-signature", format!("sha256={signature}"))]
        }
        Outgoing::StandardWebhooks => {
            let key = decode_key(secret.expose(), KeyEncoding::Whsec).ok_or(SignError::SecretUnusable)?;
            // A dot would let one part run into the next (Standard Webhooks 1.0.0, «Webhook ID»).
            let id = id.replace('.', "-");
            let timestamp = now.as_seconds().to_string();
            let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
            let signature = encode(
                &mac(Hash::Sha256, &key, &content).ok_or(SignError::SecretUnusable)?,
                Encoding::Base64,
            );
            vec![
                header("webhook-id", id),
                header("webhook-timestamp", timestamp),
                header("webhook-signature", format!("v1,{signature}")),
            ]
        }
    })
}

/// The verifier of Standard Webhooks, as a receiver of ours would use it.
///
/// # Errors
/// Never for this scheme; the type says so for the caller.
pub fn standard_webhooks() -> Result<Verifier, crate::verify::SchemeError> {
    Verifier::new(&crate::scheme::Scheme::Signature(Box::new(Scheme::standard_webhooks())))
}
