//! Verification: request + scheme + secrets + now → [`Verified`], or why not.
//!
//! [`Verified`] can only be made here, and an event can only be made from one, so no unverified body gets
//! past this file. Nothing is parsed before it is verified but what the signature itself is about: its own
//! header, the query, and for one scheme (`{form_params}`, Twilio) the fields of a form, which are bounded.

use hmac::{Hmac as HmacOf, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::{
    body,
    encoding::{decode, decode_key},
    outcome::Refusal,
    place::{Locator, Place, PlaceError},
    request::Request,
    scheme::{Encoding, Hash, Hmac, KeyEncoding, Scheme, Token},
    secret::{PASSWORD_FIELD, Secret, USERNAME_FIELD},
    signed::{Signed, SignedError},
    time::EpochMillis,
};

/// Most signatures looked at in one header. Providers send two or three while a secret is rolled.
pub const SIGNATURES_MAX: usize = 16;

/// A [`Scheme`] made ready: every locator and template of it read once.
#[derive(Clone, Debug)]
pub struct Verifier(Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Hmac(Box<HmacVerifier>),
    Token { place: Locator, prefix: &'static str },
    Basic,
    None,
}

#[derive(Clone, Debug)]
pub(crate) struct HmacVerifier {
    pub(crate) hash: Hash,
    pub(crate) signature: Locator,
    pub(crate) separator: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) signed: Signed,
    pub(crate) timestamp: Locator,
    tolerance_ms: i64,
    future: bool,
    pub(crate) id: Locator,
    pub(crate) key: KeyEncoding,
    pub(crate) body_sha256: Locator,
    url_port_optional: bool,
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
}

/// Proof that a request was verified. Only [`Verifier::verify`] makes one.
#[derive(Debug)]
pub struct Verified<'r> {
    request: &'r Request,
    /// When the sender signed, where the scheme says so.
    pub signed_at: Option<EpochMillis>,
}

impl<'r> Verified<'r> {
    /// The request that was verified.
    pub fn request(&self) -> &'r Request {
        self.request
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
        expected: &'static str,
    },
}

impl VerifyError {
    /// What becomes of the request.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::SignatureMissing { .. }
            | Self::SignatureMalformed { .. }
            | Self::SignatureMismatch
            | Self::TimestampMissing { .. }
            | Self::TimestampMalformed
            | Self::TimestampTooOld { .. }
            | Self::TimestampInFuture { .. }
            | Self::PartMissing { .. } => Refusal::Signature,
            // Our own fault is never a 4xx: several providers drop the event on one.
            Self::SecretMissing | Self::SecretUnusable { .. } => Refusal::Unavailable,
        }
    }
}

impl Verifier {
    /// Reads a scheme.
    ///
    /// # Errors
    /// [`SchemeError`] when a locator or the signed text of it can't be understood.
    pub fn new(scheme: &Scheme) -> Result<Self, SchemeError> {
        Ok(Self(match scheme {
            Scheme::Hmac(hmac) => Kind::Hmac(Box::new(HmacVerifier::new(hmac)?)),
            Scheme::Token(Token { place, prefix, .. }) => {
                Kind::Token { place: Locator::parse(place)?, prefix }
            }
            Scheme::Basic => Kind::Basic,
            Scheme::None => Kind::None,
        }))
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// Whether it accepts anything.
    pub fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }

    /// Whether its secrets are base64 (Standard Webhooks and the like).
    pub fn wants_base64(&self) -> bool {
        matches!(&self.0, Kind::Hmac(hmac) if matches!(hmac.key, KeyEncoding::Base64 | KeyEncoding::Whsec))
    }

    /// The query parameter in which a hash of the body is, for schemes that sign it within the URL.
    pub fn body_hash_parameter(&self) -> Option<&str> {
        match &self.0 {
            Kind::Hmac(hmac) => hmac.body_sha256.places().find_map(|place| match place {
                Place::Query(name) => Some(name.as_str()),
                _ => None,
            }),
            Kind::Token { .. } | Kind::Basic | Kind::None => None,
        }
    }

    /// Its scheme in a few words.
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Hmac(hmac) => format!("HMAC-{} of {} in {}", hmac.hash.name(), hmac.signed, hmac.signature),
            Kind::Token { place, .. } => format!("token in {place}"),
            Kind::Basic => "basic authentication".to_owned(),
            Kind::None => "NOT VERIFIED: anybody may send".to_owned(),
        }
    }

    /// Headers and query parameters whose value is the secret itself, which therefore must not be stored.
    pub fn token_places(&self) -> Vec<Place> {
        match &self.0 {
            Kind::Token { place, .. } => place.places().cloned().collect(),
            Kind::Basic => vec![Place::Header("authorization".into())],
            Kind::Hmac(_) | Kind::None => Vec::new(),
        }
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
        if let Kind::None = self.0 {
            return Ok(Verified { request, signed_at: None });
        }
        if secrets.is_empty() {
            return Err(VerifyError::SecretMissing);
        }
        let signed_at = match &self.0 {
            Kind::Hmac(hmac) => hmac.verify(request, secrets, now)?,
            Kind::Token { place, prefix } => {
                let given = place.find(request, None).ok_or_else(|| missing(place))?;
                let given = given.strip_prefix(prefix).ok_or_else(|| malformed(place))?;
                any_equal(secrets.iter().map(|s| s.expose().to_owned()), given.as_bytes())?;
                None
            }
            Kind::Basic => {
                let place = Locator::parse("header:authorization").unwrap_or_default();
                let given = place.find(request, None).ok_or_else(|| missing(&place))?;
                let given = given
                    .split_once(' ')
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
                    .and_then(|(_, encoded)| decode(encoded.trim(), Encoding::Base64))
                    .ok_or_else(|| malformed(&place))?;
                any_equal(secrets.iter().map(|s| basic_credentials(s)), &given)?;
                None
            }
            Kind::None => None,
        };
        Ok(Verified { request, signed_at })
    }
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
    let given = Sha256::digest(given);
    let mut equal = subtle::Choice::from(0);
    for secret in expected.filter(|secret| !secret.is_empty()) {
        equal |= Sha256::digest(secret.as_bytes()).as_slice().ct_eq(given.as_slice());
    }
    if bool::from(equal) { Ok(()) } else { Err(VerifyError::SignatureMismatch) }
}

impl HmacVerifier {
    fn new(hmac: &Hmac) -> Result<Self, SchemeError> {
        let signature = if hmac.signature.is_empty() {
            Locator::parse(&format!("header:{}", hmac.header))?
        } else {
            Locator::parse(hmac.signature)?
        };
        Ok(Self {
            hash: hmac.hash,
            signature,
            separator: hmac.separator,
            prefix: hmac.prefix,
            encoding: hmac.encoding,
            signed: Signed::parse(hmac.signed)?,
            timestamp: Locator::parse(hmac.timestamp)?,
            tolerance_ms: i64::from(hmac.tolerance).saturating_mul(1000),
            future: hmac.future,
            id: Locator::parse(hmac.id)?,
            key: hmac.secret,
            body_sha256: Locator::parse(hmac.body_sha256)?,
            url_port_optional: hmac.url_port_optional,
        })
    }

    fn verify(
        &self,
        request: &Request,
        secrets: &[&Secret],
        now: EpochMillis,
    ) -> Result<Option<EpochMillis>, VerifyError> {
        let header = self.signature.find(request, None).ok_or_else(|| missing(&self.signature))?;
        let entries = entries(&header, self.separator);
        let signatures: Vec<Vec<u8>> = entries
            .iter()
            .filter_map(|entry| entry.strip_prefix(self.prefix))
            .filter_map(|text| decode(text, self.encoding))
            .take(SIGNATURES_MAX)
            .collect();
        if signatures.is_empty() {
            return Err(malformed(&self.signature));
        }

        let timestamp_text = self.timestamp_text(request, &entries)?;
        let with_form = self.check_body_digest(request)?;
        let id = match self.id.is_empty() {
            true => String::new(),
            false => self
                .id
                .find(request, None)
                .ok_or_else(|| VerifyError::PartMissing { part: self.id.to_string() })?,
        };

        let mut matched = subtle::Choice::from(0);
        for url in self.urls(request) {
            let facts = Facts { request, url: &url, timestamp: &timestamp_text, id: &id, with_form };
            let content = self.signed.render(&facts).map_err(|part| VerifyError::PartMissing { part })?;
            for secret in secrets {
                let key = decode_key(secret.expose(), self.key)
                    .ok_or_else(|| VerifyError::SecretUnusable { expected: key_name(self.key) })?;
                let expected = mac(self.hash, &key, &content);
                for signature in &signatures {
                    matched |= expected.as_slice().ct_eq(signature.as_slice());
                }
            }
        }
        if !bool::from(matched) {
            return Err(VerifyError::SignatureMismatch);
        }
        self.check_age(&timestamp_text, now)
    }

    /// The timestamp exactly as it was sent, which is how it was signed; empty when the scheme has none.
    fn timestamp_text(&self, request: &Request, entries: &[&str]) -> Result<String, VerifyError> {
        if self.timestamp.is_empty() {
            return Ok(String::new());
        }
        let in_header = self.timestamp.places().find_map(|place| match place {
            Place::Field(prefix) => entries.iter().find_map(|entry| entry.strip_prefix(prefix.as_str())),
            _ => None,
        });
        match in_header {
            Some(text) => Ok(text.to_owned()),
            None => self
                .timestamp
                .find(request, None)
                .ok_or_else(|| VerifyError::TimestampMissing { place: self.timestamp.to_string() }),
        }
    }

    /// Checks the body's hash where the URL carries one. The answer is whether the form's fields are signed.
    fn check_body_digest(&self, request: &Request) -> Result<bool, VerifyError> {
        let Some(given) = self.body_sha256.find(request, None) else {
            return Ok(body::is_form(&request.media_type()));
        };
        let given = decode(&given, Encoding::Hex).ok_or_else(|| malformed(&self.body_sha256))?;
        let equal = Sha256::digest(&request.body).as_slice().ct_eq(given.as_slice());
        if bool::from(equal) { Ok(false) } else { Err(VerifyError::SignatureMismatch) }
    }

    fn urls(&self, request: &Request) -> Vec<String> {
        let mut urls = vec![request.url.clone()];
        if self.url_port_optional && self.signed.uses_url() {
            for url in url_port_variants(&request.url) {
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    fn check_age(&self, text: &str, now: EpochMillis) -> Result<Option<EpochMillis>, VerifyError> {
        if self.timestamp.is_empty() {
            return Ok(None);
        }
        let signed_at = EpochMillis::parse(text).ok_or(VerifyError::TimestampMalformed)?;
        let age_ms = now.millis_since(signed_at);
        let tolerance_seconds = self.tolerance_ms / 1000;
        // Whole seconds, as the providers' own SDKs compare them.
        let age_seconds = now.as_seconds().saturating_sub(signed_at.as_seconds());
        if age_seconds > tolerance_seconds {
            return Err(VerifyError::TimestampTooOld { age_seconds, tolerance_seconds });
        }
        if !self.future && age_ms < -self.tolerance_ms {
            let ahead_seconds = age_seconds.saturating_neg();
            return Err(VerifyError::TimestampInFuture { ahead_seconds, tolerance_seconds });
        }
        Ok(Some(signed_at))
    }
}

fn key_name(encoding: KeyEncoding) -> &'static str {
    match encoding {
        KeyEncoding::Raw => "text",
        KeyEncoding::Hex => "hex",
        KeyEncoding::Base64 => "base64",
        KeyEncoding::Whsec => "base64 after `whsec_`",
    }
}

fn entries<'h>(header: &'h str, separator: &str) -> Vec<&'h str> {
    if separator.is_empty() {
        return vec![header];
    }
    header
        .split(separator)
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .take(SIGNATURES_MAX * 2)
        .collect()
}

/// The URL without its port, and with the default port of its scheme.
fn url_port_variants(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Vec::new() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let port = if scheme == "http" { 80 } else { 443 };
    vec![format!("{scheme}://{host}{tail}"), format!("{scheme}://{host}:{port}{tail}")]
}

/// What a signed text is made from.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request,
    pub(crate) url: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) id: &'a str,
    /// Whether `{form_params}` stands for the form's fields; else it is empty.
    pub(crate) with_form: bool,
}

/// The keyed hash of `content`.
pub(crate) fn mac(hash: Hash, key: &[u8], content: &[u8]) -> Vec<u8> {
    fn run<M: Mac + KeyInit>(key: &[u8], content: &[u8]) -> Vec<u8> {
        // HMAC takes keys of every length, so the error can't happen; an empty result equals no signature.
        <M as KeyInit>::new_from_slice(key)
            .map(|mac| mac.chain_update(content).finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }
    match hash {
        Hash::Sha1 => run::<HmacOf<Sha1>>(key, content),
        Hash::Sha256 => run::<HmacOf<Sha256>>(key, content),
        Hash::Sha512 => run::<HmacOf<Sha512>>(key, content),
    }
}

#[cfg(test)]
mod tests;
