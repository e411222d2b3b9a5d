//! Signing: the other half of [`crate::verify`], for `hookgate send` and for what the `http` action posts.
//!
//! It proves nothing about a provider (the tests use vectors of the providers' own SDKs for that); it is held
//! to the verifier by property tests.

use thiserror::Error;

use crate::{
    body,
    encoding::{decode_key, encode},
    place::{Locator, Place},
    request::Request,
    scheme::{Encoding, Hash, KeyEncoding, Scheme},
    secret::Secret,
    time::EpochMillis,
    verify::{Facts, HmacVerifier, Kind, Verifier, basic_credentials, mac},
};

/// Why a request could not be signed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SignError {
    /// The secret can't be decoded.
    #[error("the secret does not have the form that the scheme asks for")]
    SecretUnusable,
    /// The signature belongs to a place that can't be written, or the request lacks what is signed.
    #[error("can't sign: {what}")]
    Unsupported {
        /// What stands in the way.
        what: String,
    },
}

/// Header names and values, or a changed query, that make `request` genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Headers to set.
    pub headers: Vec<(String, String)>,
    /// Query parameters to set, unencoded.
    pub query: Vec<(String, String)>,
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
    let mut signature = Signature::default();
    match verifier.kind() {
        Kind::None => {}
        Kind::Basic => {
            let credentials = encode(basic_credentials(secret).as_bytes(), Encoding::Base64);
            signature.headers.push(("authorization".into(), format!("Basic {credentials}")));
        }
        Kind::Token { place, prefix } => {
            // A sender without headers of its own uses the URL, and the sample says so by having it there.
            let in_query = place
                .places()
                .find(|place| matches!(place, Place::Query(name) if request.query_parameter(name).is_some()));
            let place = in_query.or_else(|| place.places().next());
            put(&mut signature, place, format!("{prefix}{}", secret.expose()))?;
        }
        Kind::Hmac(hmac) => sign_hmac(hmac, request, secret, now, id, &mut signature)?,
    }
    Ok(signature)
}

fn sign_hmac(
    hmac: &HmacVerifier,
    request: &Request,
    secret: &Secret,
    now: EpochMillis,
    id: &str,
    out: &mut Signature,
) -> Result<(), SignError> {
    let key = decode_key(secret.expose(), hmac.key).ok_or(SignError::SecretUnusable)?;
    let timestamp = now.as_seconds().to_string();
    let digest_in_url = hmac.body_sha256.find(request, None).is_some();
    let with_form = !digest_in_url && body::is_form(&request.media_type());
    let facts = Facts { request, url: &request.url, timestamp: &timestamp, id, with_form };
    let content = hmac.signed.render(&facts).map_err(|part| SignError::Unsupported { what: part })?;
    let mut value = format!("{}{}", hmac.prefix, encode(&mac(hmac.hash, &key, &content), hmac.encoding));
    match hmac.timestamp.places().next() {
        Some(Place::Field(prefix)) => value = format!("{prefix}{timestamp}{}{value}", hmac.separator),
        Some(place) => put(out, Some(place), timestamp)?,
        None => {}
    }
    if let Some(place) = hmac.id.places().next() {
        put(out, Some(place), id.to_owned())?;
    }
    put(out, hmac.signature.places().next(), value)
}

fn put(out: &mut Signature, place: Option<&Place>, value: String) -> Result<(), SignError> {
    match place {
        Some(Place::Header(name)) => out.headers.push((name.clone(), value)),
        Some(Place::Query(name)) => out.query.push((name.clone(), value)),
        other => {
            let what = other.map_or_else(|| "the scheme names no place".to_owned(), Place::to_string);
            return Err(SignError::Unsupported { what });
        }
    }
    Ok(())
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
            let signature = encode(&mac(Hash::Sha256, &key, body), Encoding::Hex);
            vec![header("x-hookgate-signature", format!("sha256={signature}"))]
        }
        Outgoing::StandardWebhooks => {
            let key = decode_key(secret.expose(), KeyEncoding::Whsec).ok_or(SignError::SecretUnusable)?;
            // A dot would let one part run into the next (Standard Webhooks 1.0.0, «Webhook ID»).
            let id = id.replace('.', "-");
            let timestamp = now.as_seconds().to_string();
            let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
            let signature = encode(&mac(Hash::Sha256, &key, &content), Encoding::Base64);
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
    Verifier::new(&Scheme::Hmac(crate::scheme::Hmac::STANDARD_WEBHOOKS))
}

/// Every place that the scheme reads, for `hookgate providers`.
pub fn places(locator: &Locator) -> Vec<String> {
    locator.places().map(Place::to_string).collect()
}
