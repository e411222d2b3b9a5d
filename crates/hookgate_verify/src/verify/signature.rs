//! Signatures over a text: keyed and plain hashes, Ed25519, ECDSA, RSA.

use subtle::{Choice, ConstantTimeEq};

use super::{
    Checked, Means, Pins, SIGNATURES_MAX, SchemeError, SecretShape, VerifyError, algorithm_name, check_age,
    malformed, missing,
};
use crate::{
    body,
    encoding::{decode, decode_key, digest, key_name, mac},
    keys::{self, PublicKey, public_keys},
    look::Look,
    place::{Locator, Place},
    request::Request,
    scheme::{Algorithm, Encoding, Hash, Signature},
    secret::Secret,
    signed::{Facts, KeyText, Signed},
    time::EpochMillis,
};

#[derive(Clone, Debug)]
pub(crate) struct SignatureVerifier {
    pub(crate) scheme: Signature,
    pub(crate) signature: Locator,
    pub(crate) prefix: KeyText,
    pub(crate) signed: Signed,
    pub(crate) timestamp: Locator,
    pub(crate) id: Locator,
    pub(crate) key: KeyText,
    pub(crate) body_sha256: Locator,
    key_url: KeyUrl,
    pins: Pins,
}

/// Where the sender's key is.
#[derive(Clone, Debug)]
pub(crate) enum KeyUrl {
    /// In the secret.
    None,
    /// At an address of the scheme's own.
    Fixed(String),
    /// At an address that the message names, on one of these hosts.
    Named(Locator, Vec<String>),
}

impl KeyUrl {
    pub(crate) fn new(text: &str, hosts: &[String]) -> Result<Self, SchemeError> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        if text.starts_with("https://") {
            return Ok(Self::Fixed(text.to_owned()));
        }
        if hosts.is_empty() {
            let what = "`key_url` that the message names needs `key_hosts`, the sender's own".to_owned();
            return Err(SchemeError::Unsupported { what });
        }
        Ok(Self::Named(Locator::parse(text)?, hosts.to_vec()))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The keys, `None` if they are in the secret.
    pub(crate) fn keys(
        &self,
        look: &Look<'_>,
        means: Means<'_>,
    ) -> Result<Option<Vec<PublicKey>>, VerifyError> {
        let url = match self {
            Self::None => return Ok(None),
            Self::Fixed(url) => url.clone(),
            Self::Named(place, hosts) => {
                let url = look.find(place).ok_or_else(|| missing(place))?;
                if !keys::may_fetch(&url, hosts) {
                    return Err(VerifyError::KeyForeign);
                }
                url
            }
        };
        fetched_keys(&url, means).map(Some)
    }
}

pub(crate) fn fetched_keys(url: &str, means: Means<'_>) -> Result<Vec<PublicKey>, VerifyError> {
    let Some(content) = means.fetched.get(url) else {
        return Err(VerifyError::KeyNeeded { url: url.to_owned() });
    };
    let keys = public_keys(&String::from_utf8_lossy(content), crate::scheme::KeyEncoding::Raw);
    if keys.is_empty() { Err(VerifyError::KeyUnusable { url: url.to_owned() }) } else { Ok(keys) }
}

impl SignatureVerifier {
    pub(crate) fn new(scheme: &Signature) -> Result<Self, SchemeError> {
        let signature = if scheme.signature.is_empty() {
            Locator::parse(&format!("header:{}", scheme.header))?
        } else {
            Locator::parse(&scheme.signature)?
        };
        let signed = Signed::parse(&scheme.signed)?;
        let unsupported = |what: &str| Err(SchemeError::Unsupported { what: what.to_owned() });
        if !keys::is_supported(scheme) {
            return unsupported("this hash does not go with this algorithm");
        }
        if scheme.algorithm == Algorithm::Hash && !signed.uses_secret() {
            return unsupported("a plain hash proves nothing without {secret} in its signed text");
        }
        let key_url = KeyUrl::new(&scheme.key_url, &scheme.key_hosts)?;
        if !key_url.is_none() && !scheme.is_asymmetric() {
            return unsupported("only a public key can be fetched");
        }
        Ok(Self {
            signature,
            prefix: KeyText::parse(&scheme.prefix)?,
            signed,
            timestamp: Locator::parse(&scheme.timestamp)?,
            id: Locator::parse(&scheme.id)?,
            key: KeyText::parse(&scheme.key)?,
            body_sha256: Locator::parse(&scheme.body_sha256)?,
            key_url,
            pins: Pins::new(&scheme.pinned)?,
            scheme: scheme.clone(),
        })
    }

    pub(crate) fn fetches_keys(&self) -> bool {
        !self.key_url.is_none()
    }

    pub(crate) fn needs_secret(&self) -> bool {
        self.key_url.is_none() || !self.pins.is_empty() || self.signed.uses_secret()
    }

    pub(crate) fn secret_shape(&self) -> SecretShape {
        let beside = self.pins.names().chain(self.prefix.names());
        let mut names: Vec<String> = beside.map(str::to_owned).collect();
        if self.key_url.is_none() {
            names.extend(self.key.names().map(str::to_owned));
        }
        names.dedup();
        match (names.as_slice(), self.scheme.is_asymmetric()) {
            ([] | [_], true) if self.key_url.is_none() => SecretShape::PublicKey(self.scheme.secret),
            ([] | [_], _) if self.needs_secret() => SecretShape::Text(self.scheme.secret),
            ([], _) => SecretShape::None,
            _ => SecretShape::Named(names),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let algorithm = algorithm_name(self.scheme.algorithm, self.scheme.hash);
        format!("{algorithm} of {} in {}", self.signed, self.signature)
    }

    pub(crate) fn check(&self, look: &Look<'_>, means: Means<'_>) -> Checked {
        let headers = look.find_all(&self.signature);
        if headers.is_empty() {
            return Err(missing(&self.signature));
        }
        let entries: Vec<&str> =
            headers.iter().flat_map(|header| entries(header, &self.scheme.separator)).collect();
        let timestamp_text = self.timestamp_text(look, &entries)?;
        let with_form = self.check_body_digest(look.request)?;
        let id = match self.id.is_empty() {
            true => String::new(),
            false => in_entries(&self.id, &entries)
                .or_else(|| look.find(&self.id))
                .ok_or_else(|| VerifyError::PartMissing { part: self.id.to_string() })?,
        };
        let fetched = self.key_url.keys(look, means)?;

        let nobody = Secret::Text(String::new());
        let secrets = if means.secrets.is_empty() { &[&nobody][..] } else { means.secrets };
        let mut outcome = Err(malformed(&self.signature));
        for secret in secrets {
            let signatures = self.signatures(&entries, secret);
            if signatures.is_empty() {
                continue;
            }
            let mut matched = Choice::from(0);
            for url in self.urls(look.request) {
                let facts = Facts { look, url: &url, timestamp: &timestamp_text, id: &id, secret, with_form };
                let mut content =
                    self.signed.render(&facts).map_err(|part| VerifyError::PartMissing { part })?;
                if let Some(hash) = self.scheme.prehash {
                    content = digest(hash, &content);
                }
                matched |= self.matches(&content, secret, fetched.as_deref(), &signatures)?;
            }
            let result = match bool::from(matched) {
                true => self.pins.check(look, secret),
                false => Err(VerifyError::SignatureMismatch),
            };
            // A secret that nearly fits says more about what is wrong than one that doesn't.
            match (&outcome, result) {
                (_, Ok(())) => {
                    outcome = Ok(());
                    break;
                }
                (Err(VerifyError::NotAboutThis { .. }), Err(_)) => {}
                (_, Err(error)) => outcome = Err(error),
            }
        }
        outcome?;
        self.check_age(&timestamp_text, means.now)
    }

    fn signatures(&self, entries: &[&str], secret: &Secret) -> Vec<Vec<u8>> {
        let Some(prefix) = self.prefix.of(secret) else { return Vec::new() };
        entries
            .iter()
            .filter_map(|entry| entry.strip_prefix(prefix.as_str()))
            .filter_map(|text| decode(text, self.scheme.encoding))
            .take(SIGNATURES_MAX)
            .collect()
    }

    fn matches(
        &self,
        content: &[u8],
        secret: &Secret,
        fetched: Option<&[PublicKey]>,
        signatures: &[Vec<u8>],
    ) -> Result<Choice, VerifyError> {
        let unusable = || VerifyError::SecretUnusable { expected: self.expected_secret() };
        let expected = match self.scheme.algorithm {
            Algorithm::Hmac => {
                let text = self.key.of(secret).ok_or_else(unusable)?;
                let key = decode_key(&text, self.scheme.secret).ok_or_else(unusable)?;
                mac(self.scheme.hash, &key, content).ok_or_else(unusable)?
            }
            Algorithm::Hash if secret.is_empty() => return Err(unusable()),
            Algorithm::Hash => digest(self.scheme.hash, content),
            Algorithm::Ed25519 | Algorithm::Ecdsa | Algorithm::Rsa => {
                let own;
                let keys = match fetched {
                    Some(keys) => keys,
                    None => {
                        let text = self.key.of(secret).ok_or_else(unusable)?;
                        own = public_keys(&text, self.scheme.secret);
                        if own.is_empty() {
                            return Err(unusable());
                        }
                        &own
                    }
                };
                let any = keys.iter().any(|key| {
                    signatures.iter().any(|signature| key.verifies(&self.scheme, content, signature))
                });
                return Ok(Choice::from(u8::from(any)));
            }
        };
        let mut matched = Choice::from(0);
        for signature in signatures {
            matched |= expected.as_slice().ct_eq(signature.as_slice());
        }
        Ok(matched)
    }

    fn expected_secret(&self) -> String {
        let names: Vec<&str> = self.key.names().collect();
        match (self.scheme.is_asymmetric(), names.as_slice()) {
            (true, _) => "public key (PEM, JWK, hex or base64)".to_owned(),
            (false, [] | [_]) => key_name(self.scheme.secret).to_owned(),
            (false, names) => format!("object with the values {}", names.join(", ")),
        }
    }

    /// The timestamp exactly as it was sent, which is how it was signed; empty when the scheme has none.
    fn timestamp_text(&self, look: &Look<'_>, entries: &[&str]) -> Result<String, VerifyError> {
        if self.timestamp.is_empty() {
            return Ok(String::new());
        }
        in_entries(&self.timestamp, entries)
            .or_else(|| look.find(&self.timestamp))
            .ok_or_else(|| VerifyError::TimestampMissing { place: self.timestamp.to_string() })
    }

    /// Checks the body's hash where the URL carries one. The answer is whether the form's fields are signed.
    fn check_body_digest(&self, request: &Request) -> Result<bool, VerifyError> {
        let Some(given) = self.body_sha256.find(request, None) else {
            return Ok(body::is_form(&request.media_type()));
        };
        let given = decode(&given, Encoding::Hex).ok_or_else(|| malformed(&self.body_sha256))?;
        let equal = digest(Hash::Sha256, &request.body).as_slice().ct_eq(given.as_slice());
        if bool::from(equal) { Ok(false) } else { Err(VerifyError::SignatureMismatch) }
    }

    fn urls(&self, request: &Request) -> Vec<String> {
        let mut urls = vec![request.url.clone()];
        if self.scheme.url_port_optional && self.signed.uses_url() {
            for url in url_port_variants(&request.url) {
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    fn check_age(&self, text: &str, now: EpochMillis) -> Checked {
        if self.timestamp.is_empty() {
            return Ok(None);
        }
        let signed_at = EpochMillis::parse(text)
            .or_else(|| EpochMillis::parse_http_date(text))
            .ok_or(VerifyError::TimestampMalformed)?;
        check_age(signed_at, now, i64::from(self.scheme.tolerance) * 1000, self.scheme.future)?;
        Ok(Some(signed_at))
    }
}

/// What a locator finds among the entries of the signature's own header.
fn in_entries(locator: &Locator, entries: &[&str]) -> Option<String> {
    locator.places().find_map(|place| {
        match place {
            Place::Field(prefix) => entries.iter().find_map(|entry| entry.strip_prefix(prefix.as_str())),
            _ => None,
        }
        .map(str::to_owned)
    })
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
