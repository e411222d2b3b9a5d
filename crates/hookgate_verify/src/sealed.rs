//! Bodies that a provider encrypts: a JSON object with the text of another one in it.
//!
//! They are opened once, right after the signature over the encrypted bytes was verified, and what was inside is the
//! delivery from then on: whoever comes later has no key to it, and a key that was rotated would be missed.

use aws_lc_rs::{
    cipher::{
        AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
    iv::FixedLength,
};
use data_encoding::BASE64;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{body, request::Request, secret::Secret};

/// How a provider encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// It doesn't.
    #[default]
    None,
    /// `{"encrypt": "…"}`: base64 of 16 bytes of initialisation vector and of JSON under AES-256-CBC with PKCS#7 padding;
    /// the key is the SHA-256 of the secret. A body without that member is not encrypted. Lark, from
    /// <https://open.larkoffice.com/document/ukTMukTMukTM/uYDNxYjL2QTM24iN0EjN/event-subscription-configure-/encrypt-key-encryption-configuration-case.md>,
    /// read on 2026-11-21.
    Lark,
}

/// The member of a body with another one in it.
const LARK_FIELD: &str = "encrypt";

/// Bytes of a block, and of an initialisation vector.
const BLOCK: usize = 16;

/// None of the secrets opens the body.
#[derive(Debug)]
pub(crate) struct NotOpened;

impl Encryption {
    /// The body that was inside; `None` where it is not encrypted.
    pub(crate) fn open(self, request: &Request, secrets: &[&Secret]) -> Result<Option<Request>, NotOpened> {
        match self {
            Self::None => Ok(None),
            Self::Lark => {
                let view = body::view(request, "").ok();
                let Some(sealed) = view.as_ref().and_then(|view| view.value.get(LARK_FIELD)?.as_str()) else {
                    return Ok(None);
                };
                let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| NotOpened)?;
                let body = secrets.iter().find_map(|secret| open(&sealed, secret)).ok_or(NotOpened)?;
                Ok(Some(Request { body, ..request.clone() }))
            }
        }
    }

    /// A body as the provider would encrypt it, for a delivery that is made up: the initialisation vector is not of
    /// chance, as there is nothing to hide. `None` where it would not, or the key can't be used.
    pub(crate) fn seal(self, request: &Request, secret: &Secret) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Lark => {
                let view = body::view(request, "").ok()?;
                if view.format != body::Format::Json || view.value.get(LARK_FIELD).is_some() {
                    return None;
                }
                let sealed = seal(&request.body, secret)?;
                Some(json!({ LARK_FIELD: BASE64.encode(&sealed) }).to_string().into_bytes())
            }
        }
    }
}

fn key(secret: &Secret) -> Option<UnboundCipherKey> {
    let text = secret.expose();
    (!text.is_empty()).then(|| UnboundCipherKey::new(&AES_256, &Sha256::digest(text.as_bytes())).ok())?
}

/// A wrong key gives a right padding once in 256 times, so what comes out has to be JSON, too.
fn open(sealed: &[u8], secret: &Secret) -> Option<Vec<u8>> {
    let (vector, text) = sealed.split_first_chunk::<BLOCK>()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key(secret)?).ok()?;
    let mut text = text.to_vec();
    let plain = key.decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(*vector))).ok()?;
    serde_json::from_slice::<IgnoredAny>(plain).is_ok().then(|| plain.to_vec())
}

fn seal(body: &[u8], secret: &Secret) -> Option<Vec<u8>> {
    let digest = Sha256::digest(body);
    let vector = *digest.first_chunk::<BLOCK>()?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key(secret)?).ok()?;
    let mut text = body.to_vec();
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(vector))).ok()?;
    Some([vector.as_slice(), &text].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn sealed(body: &[u8], secret: &Secret) -> Request {
        let mut request = testing::request(body);
        request.body = Encryption::Lark.seal(&request, secret).unwrap();
        request
    }

    #[test]
    fn any_active_secret_opens_it_and_no_other() {
        let (old, new, other) = (Secret::from("old"), Secret::from("new"), Secret::from("other"));
        let body = br#"{"header":{"event_id":"1"}}"#;
        let request = sealed(body, &old);
        let opened = |secrets: &[&Secret]| Encryption::Lark.open(&request, secrets);
        assert_eq!(opened(&[&new, &old]).unwrap().unwrap().body, body);
        assert!(
            opened(&[&new, &other]).is_err() && opened(&[]).is_err() && opened(&[&Secret::from("")]).is_err()
        );
        // What is not encrypted stays as it is, and no other provider's body is looked into.
        assert!(Encryption::Lark.open(&testing::request(body), &[&old]).unwrap().is_none());
        assert!(Encryption::None.open(&request, &[&old]).unwrap().is_none());
        assert!(Encryption::Lark.seal(&request, &old).is_none(), "once is enough");
    }

    #[test]
    fn what_is_damaged_is_not_opened() {
        let secret = Secret::from("key");
        let text = |sealed: &str| testing::request(json!({ LARK_FIELD: sealed }).to_string().as_bytes());
        for damaged in ["", "=", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAAA="] {
            assert!(Encryption::Lark.open(&text(damaged), &[&secret]).is_err(), "{damaged}");
        }
        for value in [json!(null), json!(7), json!({}), json!([])] {
            let request = testing::request(json!({ LARK_FIELD: value }).to_string().as_bytes());
            assert!(Encryption::Lark.open(&request, &[&secret]).unwrap().is_none(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(text in ".{0,300}", key in ".{1,40}") {
            let (secret, body) = (Secret::from(key.as_str()), json!({ "text": text }).to_string());
            let opened = Encryption::Lark.open(&sealed(body.as_bytes(), &secret), &[&secret]).unwrap().unwrap();
            prop_assert_eq!(opened.body, body.into_bytes());
        }

        #[test]
        fn anything_is_opened_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let body = json!({ LARK_FIELD: BASE64.encode(&bytes) }).to_string();
            let request = testing::request(body.as_bytes());
            std::hint::black_box(Encryption::Lark.open(&request, &[&Secret::from("key")]).is_ok());
        }
    }
}
