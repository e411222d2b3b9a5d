//! JSON Web Tokens that say something about a request, and detached JWS over its body.

use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{
    Checked, Means, SchemeError, SecretShape, VerifyError, check_age, malformed, missing,
    signature::{KeyUrl, fetched_keys},
};
use crate::{
    encoding::{decode, decode_key, digest, encode, key_name, mac},
    json,
    keys::{self, PublicKey, public_keys},
    look::Look,
    place::Locator,
    scheme::{Encoding, Hash, Jwt, JwtAlgorithm},
    secret::Secret,
    signed::{Facts, KeyText, Signed},
    time::EpochMillis,
};

/// How far clocks may differ when a token begins to be valid. That it ends is taken at its word.
const LEEWAY_SECONDS: i64 = 60;

/// A `key_url` that stands in the token's own header.
const JKU: &str = "jws:jku";

#[derive(Clone, Debug)]
pub(crate) struct JwtVerifier {
    pub(crate) scheme: Jwt,
    pub(crate) place: Locator,
    pub(crate) signed: Signed,
    pub(crate) key: KeyText,
    key_url: Option<KeyUrl>,
    issuer: KeyText,
    audience: KeyText,
    claims: Vec<(String, KeyText)>,
}

/// A token taken apart; nothing of it is believed yet.
struct Token<'t> {
    header: Value,
    /// `header.payload` as it was sent.
    input: &'t str,
    payload: &'t str,
    signature: Vec<u8>,
}

fn take_apart(text: &str) -> Option<Token<'_>> {
    let (input, signature) = text.rsplit_once('.')?;
    let (header, payload) = input.split_once('.')?;
    let header = json::parse(&decode(header, Encoding::Base64url)?).ok()?;
    Some(Token { header, input, payload, signature: decode(signature, Encoding::Base64url)? })
}

impl JwtVerifier {
    pub(crate) fn new(scheme: &Jwt) -> Result<Self, SchemeError> {
        let place = match scheme.header.is_empty() {
            true => Locator::parse(&scheme.place)?,
            false => Locator::parse(&format!("header:{}", scheme.header))?,
        };
        let key_url = match scheme.key_url == JKU {
            true => None,
            false => Some(KeyUrl::new(&scheme.key_url, &scheme.key_hosts)?),
        };
        let symmetric = matches!(scheme.algorithm, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512);
        if symmetric && !scheme.key_url.is_empty() {
            return Err(SchemeError::Unsupported { what: "only a public key can be fetched".into() });
        }
        let claims = scheme
            .claims
            .iter()
            .map(|(name, value)| Ok::<_, SchemeError>((name.clone(), KeyText::parse(value)?)));
        Ok(Self {
            place,
            signed: Signed::parse(&scheme.signed)?,
            key: KeyText::parse(&scheme.key)?,
            key_url,
            issuer: KeyText::parse(&scheme.issuer)?,
            // The address is put in its place before the secret's values are.
            audience: KeyText::parse(&scheme.audience.replace("{url}", ""))?,
            claims: claims.collect::<Result<_, _>>()?,
            scheme: scheme.clone(),
        })
    }

    pub(crate) fn fetches_keys(&self) -> bool {
        self.key_url.as_ref().is_none_or(|url| !url.is_none())
    }

    fn value_names(&self) -> impl Iterator<Item = &str> {
        let claims = self.claims.iter().flat_map(|(_, value)| value.names());
        self.issuer.names().chain(self.audience.names()).chain(claims)
    }

    pub(crate) fn needs_secret(&self) -> bool {
        !self.fetches_keys() || self.value_names().next().is_some()
    }

    pub(crate) fn secret_shape(&self) -> SecretShape {
        let mut names: Vec<String> = self.value_names().map(str::to_owned).collect();
        if self.fetches_keys() {
            return match names.len() {
                0 => SecretShape::None,
                1 => SecretShape::Text(crate::scheme::KeyEncoding::Raw),
                _ => SecretShape::Named(names),
            };
        }
        if names.is_empty() {
            return match self.scheme.algorithm {
                JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512 => SecretShape::Text(self.scheme.secret),
                _ => SecretShape::PublicKey(self.scheme.secret),
            };
        }
        names.extend(self.key.names().map(str::to_owned));
        SecretShape::Named(names)
    }

    pub(crate) fn describe(&self) -> String {
        let kind = if self.scheme.detached { "detached JWS" } else { "JWT" };
        format!("{kind} ({}) in {}", self.scheme.algorithm.name(), self.place)
    }

    pub(crate) fn leaves_body_out(&self) -> bool {
        let whole_body = self.place.to_string() == "body";
        !self.scheme.detached && self.scheme.body_claim.is_empty() && !whole_body
    }

    pub(crate) fn check(&self, look: &Look<'_>, means: Means<'_>) -> Checked {
        let given = look.find(&self.place).ok_or_else(|| missing(&self.place))?;
        let token = given
            .trim()
            .strip_prefix(self.scheme.prefix.as_str())
            .and_then(take_apart)
            // The sender's word for the algorithm never chooses it.
            .filter(|token| {
                token.header.get("alg").and_then(Value::as_str) == Some(self.scheme.algorithm.name())
            })
            .filter(|token| token.payload.is_empty() == self.scheme.detached)
            .ok_or_else(|| malformed(&self.place))?;
        let fetched = self.fetched(&token, look, means)?;
        let nobody = Secret::Text(String::new());
        let secrets = if means.secrets.is_empty() { &[&nobody][..] } else { means.secrets };
        let mut outcome = Err(VerifyError::SignatureMismatch);
        for secret in secrets {
            if self.is_signed(&token, look, secret, fetched.as_deref())? {
                outcome = self.check_claims(&token, look, secret, means.now);
                if outcome.is_ok() {
                    break;
                }
            }
        }
        outcome
    }

    fn fetched(
        &self,
        token: &Token<'_>,
        look: &Look<'_>,
        means: Means<'_>,
    ) -> Result<Option<Vec<PublicKey>>, VerifyError> {
        let keys = match &self.key_url {
            Some(url) => url.keys(look, means)?,
            None => {
                let url = token.header.get("jku").and_then(Value::as_str).unwrap_or_default();
                if !keys::may_fetch(url, &self.scheme.key_hosts) {
                    return Err(VerifyError::KeyForeign);
                }
                Some(fetched_keys(url, means)?)
            }
        };
        Ok(keys)
    }

    fn is_signed(
        &self,
        token: &Token<'_>,
        look: &Look<'_>,
        secret: &Secret,
        fetched: Option<&[PublicKey]>,
    ) -> Result<bool, VerifyError> {
        let unusable = || VerifyError::SecretUnusable { expected: key_name(self.scheme.secret).to_owned() };
        let input = self.input(token, look, secret)?;
        let hash = match self.scheme.algorithm {
            JwtAlgorithm::Hs256 => Some(Hash::Sha256),
            JwtAlgorithm::Hs512 => Some(Hash::Sha512),
            _ => None,
        };
        if let Some(hash) = hash {
            let text = self.key.of(secret).ok_or_else(unusable)?;
            let key = decode_key(&text, self.scheme.secret).ok_or_else(unusable)?;
            let expected = mac(hash, &key, &input).ok_or_else(unusable)?;
            return Ok(bool::from(expected.as_slice().ct_eq(token.signature.as_slice())));
        }
        let own;
        let keys = match fetched {
            Some(keys) => keys,
            None => {
                own = public_keys(&self.key.of(secret).ok_or_else(unusable)?, self.scheme.secret);
                if own.is_empty() {
                    return Err(unusable());
                }
                &own
            }
        };
        let id = token.header.get("kid").and_then(Value::as_str);
        Ok(keys
            .iter()
            .filter(|key| key.may_be(id))
            .any(|key| key.verifies_jwt(self.scheme.algorithm, &input, &token.signature)))
    }

    /// The bytes that are signed.
    fn input(&self, token: &Token<'_>, look: &Look<'_>, secret: &Secret) -> Result<Vec<u8>, VerifyError> {
        if !self.scheme.detached {
            return Ok(token.input.as_bytes().to_vec());
        }
        let facts = Facts { look, url: &look.request.url, timestamp: "", id: "", secret, with_form: false };
        let payload = self.signed.render(&facts).map_err(|part| VerifyError::PartMissing { part })?;
        let mut input = token.input.as_bytes().to_vec();
        match self.scheme.unencoded {
            true => input.extend(payload),
            false => input.extend(encode(&payload, Encoding::Base64url).bytes()),
        }
        Ok(input)
    }

    fn check_claims(&self, token: &Token<'_>, look: &Look<'_>, secret: &Secret, now: EpochMillis) -> Checked {
        if self.scheme.detached {
            return Ok(None);
        }
        let claims: Value = decode(token.payload, Encoding::Base64url)
            .and_then(|text| json::parse(&text).ok())
            .ok_or_else(|| malformed(&self.place))?;
        let seconds = |name: &str| {
            let value = claims.get(name)?;
            #[expect(clippy::cast_possible_truncation, reason = "a time with a fraction; it is rounded down")]
            value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
        };
        if let Some(until) = seconds("exp")
            && now.as_seconds() >= until
        {
            let age_seconds = now.as_seconds().saturating_sub(until);
            return Err(VerifyError::TimestampTooOld { age_seconds, tolerance_seconds: 0 });
        }
        if let Some(from) = seconds("nbf")
            && from > now.as_seconds().saturating_add(LEEWAY_SECONDS)
        {
            let ahead_seconds = from.saturating_sub(now.as_seconds());
            return Err(VerifyError::TimestampInFuture { ahead_seconds, tolerance_seconds: LEEWAY_SECONDS });
        }
        let signed_at = seconds("iat").map(EpochMillis::from_seconds);
        if self.scheme.issued_within > 0 {
            let at = signed_at.ok_or_else(|| VerifyError::TimestampMissing { place: "claim iat".into() })?;
            check_age(at, now, i64::from(self.scheme.issued_within) * 1000, false)?;
        }
        let wrong = |name: &str| VerifyError::NotAboutThis { what: format!("claim {name}") };
        if !self.scheme.body_claim.is_empty() {
            let name = &self.scheme.body_claim;
            let given = claims
                .get(name)
                .and_then(Value::as_str)
                .and_then(|text| decode(text, self.scheme.body_encoding));
            let expected = digest(self.scheme.body_hash, &look.request.body);
            // MessageBird leaves the claim out where there is no body.
            let nothing = claims.get(name).is_none() && look.request.body.is_empty();
            if !nothing && !given.is_some_and(|given| bool::from(given.as_slice().ct_eq(expected.as_slice())))
            {
                return Err(wrong(name));
            }
        }
        if !self.scheme.url_claim.is_empty() {
            let name = &self.scheme.url_claim;
            let url = &look.request.url;
            let expected = match self.scheme.url_hash {
                Some(hash) => encode(&digest(hash, url.as_bytes()), Encoding::Hex),
                None => url.clone(),
            };
            if claims.get(name).and_then(Value::as_str) != Some(&expected) {
                return Err(wrong(name));
            }
        }
        let says = |name: &str, value: &KeyText| match claims.get(name) {
            Some(Value::String(text)) => value.of(secret).as_ref() == Some(text),
            Some(Value::Array(items)) => {
                value.of(secret).is_some_and(|wanted| items.iter().any(|item| item.as_str() == Some(&wanted)))
            }
            Some(Value::Bool(flag)) => value.of(secret) == Some(flag.to_string()),
            _ => false,
        };
        if !self.issuer.is_empty() && !says("iss", &self.issuer) {
            return Err(wrong("iss"));
        }
        if self.scheme.audience == "{url}" {
            if claims.get("aud").and_then(Value::as_str) != Some(look.request.url.as_str()) {
                return Err(wrong("aud"));
            }
        } else if !self.audience.is_empty() && !says("aud", &self.audience) {
            return Err(wrong("aud"));
        }
        match self.claims.iter().find(|(name, value)| !says(name, value)) {
            Some((name, _)) => Err(wrong(name)),
            None => Ok(signed_at),
        }
    }
}
