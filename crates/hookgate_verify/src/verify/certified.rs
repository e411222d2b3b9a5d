//! A JWS with its chain of certificates (`x5c`), as Apple's App Store sends.
//! <https://developer.apple.com/documentation/appstoreservernotifications/responsebodyv2decodedpayload>

use data_encoding::BASE64;
use serde_json::Value;

use super::{Checked, Means, SchemeError, SecretShape, VerifyError, malformed, missing};
use crate::{
    der,
    encoding::decode,
    json,
    keys::certified_key,
    look::Look,
    place::Locator,
    scheme::{CertifiedJws, Encoding, JwtAlgorithm},
    signed::KeyText,
};

#[derive(Clone, Debug)]
pub(crate) struct CertifiedVerifier {
    pub(crate) place: Locator,
    pub(crate) root: KeyText,
    pub(crate) leaf_extension: Option<Vec<u64>>,
    pub(crate) pinned: Vec<(String, KeyText)>,
}

impl CertifiedVerifier {
    pub(super) fn new(scheme: &CertifiedJws) -> Result<Self, SchemeError> {
        let pinned = scheme
            .pinned
            .iter()
            .map(|(pointer, value)| Ok::<_, SchemeError>((pointer.clone(), KeyText::parse(value)?)));
        let leaf_extension = match scheme.leaf_extension.as_str() {
            "" => None,
            text => Some(der::arcs(text).ok_or_else(|| SchemeError::Unsupported {
                what: format!("`leaf_extension` is no object identifier: `{text}`; write it as 1.2.840.…"),
            })?),
        };
        Ok(Self {
            leaf_extension,
            place: Locator::parse(&scheme.place)?,
            root: KeyText::parse(&scheme.root)?,
            pinned: pinned.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("JWS ({}) with its certificates in {}", JwtAlgorithm::Es256.name(), self.place)
    }

    pub(super) fn secret_shape(&self) -> SecretShape {
        let pinned = self.pinned.iter().flat_map(|(_, value)| value.names());
        SecretShape::Named(self.root.names().chain(pinned).map(str::to_owned).collect())
    }

    pub(super) fn check(&self, look: &Look<'_>, means: Means<'_>) -> Checked {
        let given = look.find(&self.place).ok_or_else(|| missing(&self.place))?;
        let bad = || malformed(&self.place);
        let (input, signature) = given.rsplit_once('.').ok_or_else(bad)?;
        let (header, payload) = input.split_once('.').ok_or_else(bad)?;
        let json = |text: &str| -> Option<Value> { json::parse(&decode(text, Encoding::Base64url)?).ok() };
        let header = json(header).ok_or_else(bad)?;
        if header.get("alg").and_then(Value::as_str) != Some(JwtAlgorithm::Es256.name()) {
            return Err(bad());
        }
        let signature = decode(signature, Encoding::Base64url).ok_or_else(bad)?;
        let chain = header.get("x5c").and_then(Value::as_array).ok_or_else(bad)?;
        let chain: Vec<Vec<u8>> = chain
            .iter()
            .map(|certificate| BASE64.decode(certificate.as_str()?.as_bytes()).ok())
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let payload = json(payload).ok_or_else(bad)?;
        let mut outcome = VerifyError::SignatureMismatch;
        for secret in means.secrets {
            let unusable =
                || VerifyError::SecretUnusable { expected: "root certificate (DER in base64)".to_owned() };
            let root = self.root.of(secret).ok_or_else(unusable)?;
            let root = decode(&root, Encoding::Base64).ok_or_else(unusable)?;
            let Some(key) = certified_key(&chain, &root, self.leaf_extension.as_deref(), means.now) else {
                continue;
            };
            if !key.verifies_jwt(JwtAlgorithm::Es256, input.as_bytes(), &signature) {
                continue;
            }
            let wrong = self.pinned.iter().find(|(pointer, value)| {
                let wanted = value.of(secret);
                wanted.is_none() || payload.pointer(pointer).and_then(Value::as_str) != wanted.as_deref()
            });
            match wrong {
                None => return Ok(None),
                Some((pointer, _)) => outcome = VerifyError::NotAboutThis { what: pointer.clone() },
            }
        }
        Err(outcome)
    }
}
