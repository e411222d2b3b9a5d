//! Verification: request + scheme + secrets + now → [`Verified`], or why not.
//!
//! [`Verified`] can only be made here, and an event can only be made from one, so no unverified body gets
//! past this file. Nothing is parsed before it is verified but what the signature itself is about: its own
//! header, the query, and, for the schemes that sign or carry something inside of the body (Twilio's form,
//! Adyen, Mailgun, SNS and the like), the body, whose depth and number of fields are bounded.

use std::borrow::Cow;

use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::{
    encoding::{decode, digest, encode},
    keys::Fetched,
    look::Look,
    place::{Locator, Place, PlaceError},
    request::Request,
    scheme::{Algorithm, Encoding, Hash, KeyEncoding, Scheme},
    sealed::{Encryption, NotOpened},
    secret::{PASSWORD_FIELD, Secret, USERNAME_FIELD},
    signed::{KeyText, SignedError},
    time::EpochMillis,
};

mod adyen;
mod certified;
mod jwt;
mod signature;

pub(crate) use adyen::{content as adyen_content, items as adyen_items};
pub(crate) use certified::CertifiedVerifier;
pub(crate) use jwt::JwtVerifier;
pub(crate) use signature::SignatureVerifier;

/// Most signatures looked at in one header. Providers send two or three while a secret is rolled.
pub const SIGNATURES_MAX: usize = 16;

/// A [`Scheme`] made ready: every locator and template of it read once.
#[derive(Clone, Debug)]
pub struct Verifier {
    kind: Kind,
    json_field: String,
    encryption: Encryption,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Signature(Box<SignatureVerifier>),
    Jwt(Box<JwtVerifier>),
    Token { place: Locator, prefix: String, key: KeyText, hash: Option<Hash> },
    Basic,
    Adyen,
    Certified(Box<CertifiedVerifier>),
    AnyOf(Vec<Kind>),
    None,
}

/// Why a scheme can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemeError {
    /// A locator of it is wrong.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its signed text is wrong.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// There is no such combination.
    #[error("{what}")]
    Unsupported {
        /// What is missing or does not go together.
        what: String,
    },
}

/// Proof that a request was verified. [`Verifier::verify`] and [`Verifier::verify_fetched`] make one.
#[derive(Debug)]
pub struct Verified<'r> {
    request: Cow<'r, Request>,
    /// When the sender signed, where the scheme says so.
    pub signed_at: Option<EpochMillis>,
}

impl<'r> Verified<'r> {
    /// Takes a request without proof. For nothing but a source that only observes, whose events are marked as
    /// unverified and can't have the id of a verified one, and for showing what an event would do without storing it.
    pub fn unproved(request: &'r Request) -> Self {
        Self { request: Cow::Borrowed(request), signed_at: None }
    }

    /// The request that was verified, with what was inside where its body was encrypted.
    pub fn request(&self) -> &Request {
        &self.request
    }
}

/// Why a request was not accepted. For the operator: a stranger sees a status and nothing of this.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// There is no signature or token.
    #[error("the signature is missing (looked at {place})")]
    SignatureMissing {
        /// Where it was looked for.
        place: String,
    },
    /// There is something, but nothing in it is a signature of this scheme.
    #[error("no signature of the expected form in {place}")]
    SignatureMalformed {
        /// Where it was looked for.
        place: String,
    },
    /// No active secret gives any of the signatures.
    #[error("the signature does not match: wrong secret, or the signed bytes were changed on the way")]
    SignatureMismatch,
    /// The signature is right, but what it is about is another body, address, receiver or topic.
    #[error("the signature is right, but {what} is not what was expected")]
    NotAboutThis {
        /// What differs.
        what: String,
    },
    /// The signature is right, but no active secret opens the body.
    #[error("the signature is right, but the encrypted body can't be opened")]
    NotOpened,
    /// The time of signing is missing.
    #[error("the timestamp is missing (looked at {place})")]
    TimestampMissing {
        /// Where it was looked for.
        place: String,
    },
    /// The time of signing is no time.
    #[error("the timestamp is not a time")]
    TimestampMalformed,
    /// Signed too long ago.
    #[error("the timestamp is {age_seconds} s old, more than {tolerance_seconds} s")]
    TimestampTooOld {
        /// Age when it was received.
        age_seconds: i64,
        /// What is allowed.
        tolerance_seconds: i64,
    },
    /// Signed too far ahead of our clock.
    #[error("the timestamp is {ahead_seconds} s ahead, more than {tolerance_seconds} s")]
    TimestampInFuture {
        /// How far ahead.
        ahead_seconds: i64,
        /// What is allowed.
        tolerance_seconds: i64,
    },
    /// Something else that the signature covers is missing.
    #[error("{part} is missing, which the signature covers")]
    PartMissing {
        /// The token of the signed text.
        part: String,
    },
    /// No active secret for this source: ours to mend.
    #[error("no active secret is configured")]
    SecretMissing,
    /// An active secret can't be decoded: ours to mend.
    #[error("an active secret is not valid {expected}")]
    SecretUnusable {
        /// What it should be.
        expected: String,
    },
    /// The sender's key has to be fetched from `url` (an address of the sender, by the scheme); then
    /// [`Verifier::verify_fetched`] goes on.
    #[error("the sender's key at {url} is needed")]
    KeyNeeded {
        /// Where it is.
        url: String,
    },
    /// The message names a key that is not at one of the sender's addresses.
    #[error("the key's address is not one of the sender's")]
    KeyForeign,
    /// What was fetched has no such key in it.
    #[error("there is no usable key at {url}")]
    KeyUnusable {
        /// Where it should be.
        url: String,
    },
}

impl VerifyError {
    /// Whether it is ours to mend, and not the sender's doing: never a 4xx, as several providers drop the event on
    /// one.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::SecretMissing
            | Self::SecretUnusable { .. }
            | Self::KeyNeeded { .. }
            | Self::KeyUnusable { .. } => true,
            Self::SignatureMissing { .. }
            | Self::SignatureMalformed { .. }
            | Self::SignatureMismatch
            | Self::NotAboutThis { .. }
            | Self::NotOpened
            | Self::TimestampMissing { .. }
            | Self::TimestampMalformed
            | Self::TimestampTooOld { .. }
            | Self::TimestampInFuture { .. }
            | Self::PartMissing { .. }
            | Self::KeyForeign => false,
        }
    }

    /// How far verification came, for choosing among the errors of several schemes.
    fn rank(&self) -> u8 {
        match self {
            Self::SignatureMissing { .. } => 0,
            Self::SignatureMalformed { .. } => 1,
            Self::PartMissing { .. } | Self::TimestampMissing { .. } | Self::TimestampMalformed => 2,
            Self::SecretMissing | Self::SecretUnusable { .. } => 3,
            Self::SignatureMismatch | Self::KeyForeign | Self::KeyUnusable { .. } => 4,
            Self::TimestampTooOld { .. } | Self::TimestampInFuture { .. } | Self::NotAboutThis { .. } => 5,
            Self::NotOpened => 6,
            Self::KeyNeeded { .. } => 7,
        }
    }
}

/// What verification may use.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) secrets: &'a [&'a Secret],
    pub(crate) fetched: &'a Fetched,
    pub(crate) now: EpochMillis,
}

type Checked = Result<Option<EpochMillis>, VerifyError>;

impl Verifier {
    /// Reads a scheme.
    ///
    /// # Errors
    /// [`SchemeError`] when a locator or the signed text of it can't be understood.
    pub fn new(scheme: &Scheme) -> Result<Self, SchemeError> {
        Ok(Self { kind: Kind::new(scheme)?, json_field: String::new(), encryption: Encryption::None })
    }

    /// For senders that put their JSON into a field of a form.
    #[must_use]
    pub fn with_json_field(self, field: &str) -> Self {
        Self { json_field: field.to_owned(), ..self }
    }

    /// For senders that encrypt what they send.
    #[must_use]
    pub fn with_encryption(self, encryption: Encryption) -> Self {
        Self { encryption, ..self }
    }

    pub(crate) fn encryption(&self) -> Encryption {
        self.encryption
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn json_field(&self) -> &str {
        &self.json_field
    }

    /// Whether it accepts anything.
    pub fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// Whether it can't do without a secret. A scheme whose key is published by the sender can.
    pub fn needs_secret(&self) -> bool {
        self.kind.needs_secret()
    }

    /// Whether its keys are published by the sender, so that they have to be fetched.
    pub fn fetches_keys(&self) -> bool {
        self.kind.fetches_keys()
    }

    /// What a secret of it is made of, for whoever has to make one up.
    pub fn secret_shape(&self) -> SecretShape {
        self.kind.secret_shape()
    }

    /// The query parameter in which a hash of the body is, for schemes that sign it within the URL.
    pub fn body_hash_parameter(&self) -> Option<&str> {
        match &self.kind {
            Kind::Signature(signature) => signature.body_sha256.places().find_map(|place| match place {
                Place::Query(name) => Some(name.as_str()),
                _ => None,
            }),
            _ => None,
        }
    }

    /// Its scheme in a few words.
    pub fn describe(&self) -> String {
        self.kind.describe()
    }

    /// Whether its signature says nothing about the body, so that the body alone should not be believed.
    pub fn leaves_body_out(&self) -> bool {
        self.kind.leaves_body_out()
    }

    /// Headers and query parameters whose value is the secret itself, which therefore must not be stored.
    pub fn token_places(&self) -> Vec<Place> {
        self.kind.token_places()
    }

    /// Verifies a request as of `now`. Any of `secrets` may be the one that was used.
    ///
    /// # Errors
    /// [`VerifyError`]; a scheme other than `none` without a secret is an error, never a pass.
    pub fn verify<'r>(
        &self,
        request: &'r Request,
        secrets: &[&Secret],
        now: EpochMillis,
    ) -> Result<Verified<'r>, VerifyError> {
        self.verify_fetched(request, secrets, &Fetched::default(), now)
    }

    /// Like [`Self::verify`], with the keys that were fetched from the sender.
    ///
    /// # Errors
    /// [`VerifyError`]
    pub fn verify_fetched<'r>(
        &self,
        request: &'r Request,
        secrets: &[&Secret],
        fetched: &Fetched,
        now: EpochMillis,
    ) -> Result<Verified<'r>, VerifyError> {
        let look = Look::new(request, &self.json_field);
        let signed_at = self.kind.check(&look, Means { secrets, fetched, now })?;
        let opened = self.encryption.open(request, secrets).map_err(|NotOpened| VerifyError::NotOpened)?;
        Ok(Verified { request: opened.map_or(Cow::Borrowed(request), Cow::Owned), signed_at })
    }
}

/// What a secret of a scheme is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretShape {
    /// None is needed.
    None,
    /// A text; in an encoding where the scheme says so.
    Text(KeyEncoding),
    /// A public key; whoever signs has the private one.
    PublicKey(KeyEncoding),
    /// Values by name.
    Named(Vec<String>),
}

impl Kind {
    fn new(scheme: &Scheme) -> Result<Self, SchemeError> {
        Ok(match scheme {
            Scheme::Signature(signature) => Self::Signature(Box::new(SignatureVerifier::new(signature)?)),
            Scheme::Jwt(jwt) => Self::Jwt(Box::new(JwtVerifier::new(jwt)?)),
            Scheme::Token(token) => Self::Token {
                place: Locator::parse(&token.place)?,
                prefix: token.prefix.clone(),
                key: KeyText::parse(if token.key.is_empty() { "{secret}" } else { &token.key })?,
                hash: token.hash,
            },
            Scheme::Basic => Self::Basic,
            Scheme::Adyen => Self::Adyen,
            Scheme::CertifiedJws(jws) => Self::Certified(Box::new(CertifiedVerifier::new(jws)?)),
            Scheme::AnyOf(schemes) => {
                Self::AnyOf(schemes.iter().map(Self::new).collect::<Result<Vec<_>, _>>()?)
            }
            Scheme::None => Self::None,
        })
    }

    fn needs_secret(&self) -> bool {
        match self {
            Self::Signature(signature) => signature.needs_secret(),
            Self::Jwt(jwt) => jwt.needs_secret(),
            Self::AnyOf(kinds) => kinds.iter().all(Self::needs_secret),
            Self::Token { .. } | Self::Basic | Self::Adyen | Self::Certified(_) => true,
            Self::None => false,
        }
    }

    /// Whether the sender publishes its key, in any of the ways to sign.
    pub(crate) fn fetches_keys(&self) -> bool {
        match self {
            Self::Signature(signature) => signature.fetches_keys(),
            Self::Jwt(jwt) => jwt.fetches_keys(),
            Self::AnyOf(kinds) => kinds.iter().any(Self::fetches_keys),
            Self::Token { .. } | Self::Basic | Self::Adyen | Self::Certified(_) | Self::None => false,
        }
    }

    fn secret_shape(&self) -> SecretShape {
        match self {
            Self::Signature(signature) => signature.secret_shape(),
            Self::Jwt(jwt) => jwt.secret_shape(),
            Self::AnyOf(kinds) => kinds.first().map_or(SecretShape::None, Self::secret_shape),
            Self::Token { key, .. } => {
                let names: Vec<String> = key.names().map(str::to_owned).collect();
                match names.len() {
                    0 | 1 => SecretShape::Text(KeyEncoding::Raw),
                    _ => SecretShape::Named(names),
                }
            }
            Self::Basic => SecretShape::Text(KeyEncoding::Raw),
            Self::Adyen => SecretShape::Text(KeyEncoding::Hex),
            Self::Certified(certified) => certified.secret_shape(),
            Self::None => SecretShape::None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Signature(signature) => signature.describe(),
            Self::Jwt(jwt) => jwt.describe(),
            Self::Token { place, .. } => format!("token in {place}"),
            Self::Basic => "basic authentication".to_owned(),
            Self::Adyen => "HMAC-SHA256 over eight fields of every item".to_owned(),
            Self::Certified(certified) => certified.describe(),
            Self::AnyOf(kinds) => kinds.iter().map(Self::describe).collect::<Vec<_>>().join(", or "),
            Self::None => "NOT VERIFIED: anybody may send".to_owned(),
        }
    }

    fn leaves_body_out(&self) -> bool {
        match self {
            Self::Signature(signature) => signature.signed.leaves_body_out(),
            Self::Jwt(jwt) => jwt.leaves_body_out(),
            Self::AnyOf(kinds) => kinds.iter().any(Self::leaves_body_out),
            Self::Token { .. } | Self::Basic | Self::Adyen | Self::None => true,
            Self::Certified(_) => false,
        }
    }

    fn token_places(&self) -> Vec<Place> {
        match self {
            Self::Token { place, .. } => place.places().cloned().collect(),
            Self::Basic => vec![Place::Header("authorization".into())],
            Self::AnyOf(kinds) => kinds.iter().flat_map(Self::token_places).collect(),
            Self::Signature(_) | Self::Jwt(_) | Self::Adyen | Self::Certified(_) | Self::None => Vec::new(),
        }
    }

    fn check(&self, look: &Look<'_>, means: Means<'_>) -> Checked {
        if means.secrets.is_empty() && self.needs_secret() {
            return Err(VerifyError::SecretMissing);
        }
        match self {
            Self::None => Ok(None),
            Self::Signature(signature) => signature.check(look, means),
            Self::Jwt(jwt) => jwt.check(look, means),
            Self::Adyen => adyen::check(look, means),
            Self::Certified(certified) => certified.check(look, means),
            Self::Token { place, prefix, key, hash } => {
                let given = look.find(place).ok_or_else(|| missing(place))?;
                let given = given.strip_prefix(prefix.as_str()).ok_or_else(|| malformed(place))?;
                let expected = means.secrets.iter().filter_map(|secret| token_text(key, *hash, secret));
                any_equal(expected, given.as_bytes())?;
                Ok(None)
            }
            Self::Basic => {
                let place = Locator::parse("header:authorization")
                    .map_err(|_| VerifyError::SignatureMissing { place: "authorization".into() })?;
                let given = look.find(&place).ok_or_else(|| missing(&place))?;
                let given = given
                    .split_once(' ')
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
                    .and_then(|(_, encoded)| decode(encoded.trim(), Encoding::Base64))
                    .ok_or_else(|| malformed(&place))?;
                any_equal(means.secrets.iter().map(|s| basic_credentials(s)), &given)?;
                Ok(None)
            }
            Self::AnyOf(kinds) => {
                let mut worst = VerifyError::SecretMissing;
                let mut rank = None;
                for kind in kinds {
                    match kind.check(look, means) {
                        Ok(signed_at) => return Ok(signed_at),
                        Err(error) if rank.is_none_or(|rank| error.rank() > rank) => {
                            rank = Some(error.rank());
                            worst = error;
                        }
                        Err(_) => {}
                    }
                }
                Err(worst)
            }
        }
    }
}

/// What a token is for a secret.
pub(crate) fn token_text(key: &KeyText, hash: Option<Hash>, secret: &Secret) -> Option<String> {
    let text = key.of(secret).filter(|text| !text.is_empty())?;
    Some(match hash {
        Some(hash) => encode(&digest(hash, text.as_bytes()), Encoding::Hex),
        None => text,
    })
}

/// `user:password` of a secret.
pub(crate) fn basic_credentials(secret: &Secret) -> String {
    match (secret.value(USERNAME_FIELD), secret.value(PASSWORD_FIELD)) {
        (Some(username), Some(password)) => format!("{username}:{password}"),
        _ => secret.expose().to_owned(),
    }
}

fn missing(place: &Locator) -> VerifyError {
    VerifyError::SignatureMissing { place: place.to_string() }
}

fn malformed(place: &Locator) -> VerifyError {
    VerifyError::SignatureMalformed { place: place.to_string() }
}

/// Compares digests, so that neither the length nor the first differing byte shows in the time taken.
fn any_equal(expected: impl Iterator<Item = String>, given: &[u8]) -> Result<(), VerifyError> {
    let given = digest(Hash::Sha256, given);
    let mut equal = Choice::from(0);
    for secret in expected.filter(|secret| !secret.is_empty()) {
        equal |= digest(Hash::Sha256, secret.as_bytes()).as_slice().ct_eq(given.as_slice());
    }
    if bool::from(equal) { Ok(()) } else { Err(VerifyError::SignatureMismatch) }
}

/// Values that have to equal values of the secret.
#[derive(Clone, Debug)]
pub(crate) struct Pins(Vec<(Locator, KeyText)>);

impl Pins {
    fn new(pinned: &crate::scheme::Pinned) -> Result<Self, SchemeError> {
        let pins = pinned
            .iter()
            .map(|(place, value)| Ok::<_, SchemeError>((Locator::parse(place)?, KeyText::parse(value)?)));
        Ok(Self(pins.collect::<Result<_, _>>()?))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(_, value)| value.names())
    }

    fn check(&self, look: &Look<'_>, secret: &Secret) -> Result<(), VerifyError> {
        for (place, value) in &self.0 {
            let wanted = value.of(secret);
            if wanted.is_none() || look.find(place) != wanted {
                return Err(VerifyError::NotAboutThis { what: place.to_string() });
            }
        }
        Ok(())
    }
}

fn check_age(
    signed_at: EpochMillis,
    now: EpochMillis,
    tolerance_ms: i64,
    future: bool,
) -> Result<(), VerifyError> {
    let age_ms = now.millis_since(signed_at);
    let tolerance_seconds = tolerance_ms / 1000;
    // Whole seconds, as the providers' own SDKs compare them.
    let age_seconds = now.as_seconds().saturating_sub(signed_at.as_seconds());
    if age_seconds > tolerance_seconds {
        return Err(VerifyError::TimestampTooOld { age_seconds, tolerance_seconds });
    }
    if !future && age_ms < -tolerance_ms {
        let ahead_seconds = age_seconds.saturating_neg();
        return Err(VerifyError::TimestampInFuture { ahead_seconds, tolerance_seconds });
    }
    Ok(())
}

/// What the algorithm is called.
pub(crate) fn algorithm_name(algorithm: Algorithm, hash: Hash) -> String {
    match algorithm {
        Algorithm::Hmac => format!("HMAC-{}", hash.name()),
        Algorithm::Hash => format!("{} with the secret", hash.name()),
        Algorithm::Ed25519 => "Ed25519".to_owned(),
        Algorithm::Ecdsa => format!("ECDSA-{}", hash.name()),
        Algorithm::Rsa => format!("RSA-{}", hash.name()),
    }
}

#[cfg(test)]
mod tests;
