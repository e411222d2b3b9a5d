//! Public keys: read from every form in which providers publish them, and used.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA1_ASN1, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1,
    ECDSA_P256_SHA512_ASN1, ECDSA_P256K1_SHA256_ASN1, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::{
    der,
    encoding::{decode, decode_key},
    scheme::{Algorithm, Curve, EcdsaFormat, Encoding, Hash, JwtAlgorithm, KeyEncoding, Padding, Signature},
    time::EpochMillis,
};

/// Keys and certificates that were fetched from a provider, by address. Fetching is the caller's: see
/// [`crate::verify::VerifyError::KeyNeeded`].
#[derive(Clone, Debug, Default)]
pub struct Fetched(BTreeMap<String, Vec<u8>>);

impl Fetched {
    /// Adds what is at an address.
    pub fn insert(&mut self, url: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(url.into(), content.into());
    }

    /// Forgets an address.
    pub fn remove(&mut self, url: &str) {
        self.0.remove(url);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is at an address.
    pub fn get(&self, url: &str) -> Option<&[u8]> {
        self.0.get(url).map(Vec::as_slice)
    }
}

/// Most keys looked at in one document.
const KEYS_MAX: usize = 32;

/// A public key, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    id: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    /// SPKI, PKCS#1, a point or 32 bytes of Ed25519: the library tells them apart.
    Bytes(Vec<u8>),
    /// The two numbers of an RSA key.
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// Every public key in a text: PEM, a JWK, a set of them, JSON with a PEM somewhere in it, or a bare key.
pub(crate) fn public_keys(text: &str, encoding: KeyEncoding) -> Vec<PublicKey> {
    let text = text.trim();
    if text.contains("-----BEGIN") && !text.starts_with(['{', '[']) {
        return pem_blocks(text).into_iter().map(|material| PublicKey { id: None, material }).collect();
    }
    if text.starts_with(['{', '['])
        && let Ok(document) = serde_json::from_str::<Value>(text)
    {
        let mut keys = Vec::new();
        from_json(&document, &mut keys);
        return keys;
    }
    let bare = match encoding {
        // A key is never text: most senders that say nothing write base64.
        KeyEncoding::Raw => decode_key(text, KeyEncoding::Base64),
        other => decode_key(text, other),
    };
    // A PEM in base64 is seen, too.
    match bare {
        Some(bytes) if bytes.starts_with(b"-----BEGIN") => {
            public_keys(&String::from_utf8_lossy(&bytes), encoding)
        }
        Some(bytes) => vec![PublicKey { id: None, material: Material::Bytes(bytes) }],
        None => Vec::new(),
    }
}

fn from_json(value: &Value, keys: &mut Vec<PublicKey>) {
    if keys.len() >= KEYS_MAX {
        return;
    }
    match value {
        Value::Object(object) if object.contains_key("kty") => keys.extend(jwk(value)),
        Value::Object(object) => {
            // A key in PEM beside what it is called, as several providers publish them.
            let id = ["kid", "key_id", "keyId", "id"]
                .iter()
                .find_map(|name| object.get(*name)?.as_str().map(str::to_owned));
            for member in object.values() {
                let before = keys.len();
                from_json(member, keys);
                for key in keys.iter_mut().skip(before).filter(|key| key.id.is_none()) {
                    key.id.clone_from(&id);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| from_json(item, keys)),
        Value::String(text) if text.contains("-----BEGIN") => {
            keys.extend(pem_blocks(text).into_iter().map(|material| PublicKey { id: None, material }))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn jwk(value: &Value) -> Option<PublicKey> {
    let bytes = |name: &str| decode(value.get(name)?.as_str()?, Encoding::Base64url);
    let material = match value.get("kty")?.as_str()? {
        "RSA" => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
        "EC" => {
            // Uncompressed point; each coordinate as long as the field.
            let length = match value.get("crv")?.as_str()? {
                "P-384" => 48,
                "P-521" => 66,
                _ => 32,
            };
            let mut point = vec![4];
            for coordinate in [bytes("x")?, bytes("y")?] {
                point.extend(std::iter::repeat_n(0, usize::checked_sub(length, coordinate.len())?));
                point.extend(coordinate);
            }
            Material::Bytes(point)
        }
        "OKP" => Material::Bytes(bytes("x")?),
        _ => return None,
    };
    let id = value.get("kid").and_then(Value::as_str).map(str::to_owned);
    Some(PublicKey { id, material })
}

/// The blocks of a PEM text, whose line breaks may have got lost on the way.
fn pem_blocks(text: &str) -> Vec<Material> {
    let mut found = Vec::new();
    for block in text.split("-----BEGIN ").skip(1).take(KEYS_MAX) {
        let Some((label, rest)) = block.split_once("-----") else { continue };
        let Some((base64, _)) = rest.split_once("-----END") else { continue };
        // Shells and JSON turn line breaks into two characters.
        let base64: String = base64.replace("\\n", "").chars().filter(|c| !c.is_whitespace()).collect();
        let Some(der) = decode(&base64, Encoding::Base64) else { continue };
        match label {
            "CERTIFICATE" => found.extend(certificate_key(&der).map(Material::Bytes)),
            _ => found.push(Material::Bytes(der)),
        }
    }
    found
}

fn certificate_key(der: &[u8]) -> Option<Vec<u8>> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    Some(certificate.subject_public_key_info().as_ref().to_vec())
}

impl PublicKey {
    /// Whether a message that names `id` means this key.
    pub(crate) fn may_be(&self, id: Option<&str>) -> bool {
        match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        }
    }

    fn verify(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match &self.material {
            Material::Bytes(bytes) => {
                UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
            }
            Material::Rsa { .. } => false,
        }
    }

    fn verify_rsa(&self, parameters: &'static RsaParameters, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Material::Bytes(_) => self.verify(parameters, message, signature),
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, scheme: &Signature, message: &[u8], signature: &[u8]) -> bool {
        match scheme.algorithm {
            Algorithm::Ed25519 => self.verify(&ED25519, message, signature),
            Algorithm::Rsa => rsa(scheme.hash, scheme.padding)
                .is_some_and(|parameters| self.verify_rsa(parameters, message, signature)),
            Algorithm::Ecdsa => ecdsa(scheme.curve, scheme.hash, scheme.format)
                .is_some_and(|algorithm| self.verify(algorithm, message, signature)),
            Algorithm::Hmac | Algorithm::Hash => false,
        }
    }

    /// Whether `signature` is this key's over the signing input of a token.
    pub(crate) fn verifies_jwt(&self, algorithm: JwtAlgorithm, input: &[u8], signature: &[u8]) -> bool {
        match algorithm {
            JwtAlgorithm::Rs256 => {
                self.verify_rsa(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, input, signature)
            }
            JwtAlgorithm::Rs512 => {
                self.verify_rsa(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, input, signature)
            }
            JwtAlgorithm::Es256 => self.verify(&ECDSA_P256_SHA256_FIXED, input, signature),
            JwtAlgorithm::Es512 => self.verify(&ECDSA_P521_SHA512_FIXED, input, signature),
            JwtAlgorithm::EdDsa => self.verify(&ED25519, input, signature),
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512 => false,
        }
    }
}

/// RSA keys from 1,024 bits: which key it is, is the provider's choice, and a few still have such.
fn rsa(hash: Hash, padding: Padding) -> Option<&'static RsaParameters> {
    Some(match (padding, hash) {
        (Padding::Pkcs1, Hash::Sha1) => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Padding::Pkcs1, Hash::Sha256) => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (Padding::Pkcs1, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (Padding::Pkcs1, Hash::Sha512) => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (Padding::Pss, Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        (Padding::Pss, Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        (Padding::Pss, Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
        (Padding::Pkcs1 | Padding::Pss, Hash::Md5 | Hash::Keccak256) | (Padding::Pss, Hash::Sha1) => {
            return None;
        }
    })
}

fn ecdsa(curve: Curve, hash: Hash, format: EcdsaFormat) -> Option<&'static dyn VerificationAlgorithm> {
    use EcdsaFormat::{Der, Raw};
    let algorithm: &'static signature::EcdsaVerificationAlgorithm = match (curve, hash, format) {
        (Curve::P256, Hash::Sha1, Der) => &ECDSA_P256_SHA1_ASN1,
        (Curve::P256, Hash::Sha256, Der) => &ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384, Der) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512, Der) => &ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256, Der) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384, Der) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512, Der) => &ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha256, Der) => &ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha512, Der) => &ECDSA_P521_SHA512_ASN1,
        (Curve::Secp256k1, Hash::Sha256, Der) => &ECDSA_P256K1_SHA256_ASN1,
        (Curve::P256, Hash::Sha256, Raw) => &ECDSA_P256_SHA256_FIXED,
        (Curve::P384, Hash::Sha384, Raw) => &ECDSA_P384_SHA384_FIXED,
        (Curve::P521, Hash::Sha512, Raw) => &ECDSA_P521_SHA512_FIXED,
        (Curve::Secp256k1, Hash::Sha256, Raw) => &ECDSA_P256K1_SHA256_FIXED,
        _ => return None,
    };
    Some(algorithm)
}

/// Whether the library can do what a scheme asks for.
pub(crate) fn is_supported(scheme: &Signature) -> bool {
    match scheme.algorithm {
        Algorithm::Hmac => !matches!(scheme.hash, Hash::Keccak256),
        Algorithm::Hash | Algorithm::Ed25519 => true,
        Algorithm::Rsa => rsa(scheme.hash, scheme.padding).is_some(),
        Algorithm::Ecdsa => ecdsa(scheme.curve, scheme.hash, scheme.format).is_some(),
    }
}

/// The key of the first certificate of a chain that ends in `root`, as of `now`. `extension` is the object identifier
/// that says what the certificate is for; without one, anybody whom the root's owner certified may sign.
pub(crate) fn certified_key(
    chain: &[Vec<u8>],
    root: &[u8],
    extension: Option<&[u64]>,
    now: EpochMillis,
) -> Option<PublicKey> {
    let (leaf, between) = chain.split_first()?;
    if extension.is_some_and(|extension| !der::has_extension(leaf, extension)) {
        return None;
    }
    let leaf = CertificateDer::from(leaf.as_slice());
    let root = CertificateDer::from(root);
    let anchor = anchor_from_trusted_cert(&root).ok()?;
    let between: Vec<CertificateDer<'_>> =
        between.iter().take(4).map(|der| CertificateDer::from(der.as_slice())).collect();
    let certificate = EndEntityCert::try_from(&leaf).ok()?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_seconds()).ok()?));
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &between,
            time,
            // Code signing: a certificate that names other purposes only is not for signing messages.
            KeyUsage::required_if_present(CODE_SIGNING),
            None,
            None,
        )
        .ok()?;
    let spki = certificate.subject_public_key_info().as_ref().to_vec();
    Some(PublicKey { id: None, material: Material::Bytes(spki) })
}

/// 1.3.6.1.5.5.7.3.3
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// Whether a host is one of the sender's. A `*` stands for (part of) one label and never for a dot.
fn is_host_of(glob: &str, host: &str) -> bool {
    let (globs, labels): (Vec<&str>, Vec<&str>) = (glob.split('.').collect(), host.split('.').collect());
    // Anybody can have a bucket called `sns`, whose address is sns.s3.amazonaws.com or sns.s3-us-west-2.amazonaws.com.
    let is_bucket = labels.iter().any(|label| *label == "s3" || label.starts_with("s3-"));
    globs.len() == labels.len()
        && !is_bucket
        && globs.iter().zip(&labels).all(|(glob, label)| wildmatch::WildMatch::new(glob).matches(label))
}

/// Whether an address may be asked for a key: https, a host that matches one of the globs, and nothing before or
/// behind the host.
pub(crate) fn may_fetch(url: &str, hosts: &[impl AsRef<str>]) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split('/').next().unwrap_or(rest);
    let plain = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let path_is_plain = rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'@' | b'#'))
        && !rest.contains("..");
    plain
        && path_is_plain
        && rest.len() > host.len()
        && hosts.iter().any(|glob| is_host_of(glob.as_ref(), host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_sender_are_asked_for_keys() {
        let hosts = ["sns.*.amazonaws.com", "k.example"];
        for (url, want) in [
            ("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem", true),
            ("https://k.example/jwks?x=1", true),
            ("http://k.example/jwks", false),
            ("https://k.example", false),
            ("https://k.example:444/jwks", false),
            ("https://k.example@evil.example/jwks", false),
            ("https://evil.example/@k.example/jwks", false),
            ("https://sns.evil.example/.amazonaws.com/x.pem", false),
            ("https://sns.us-east-1.amazonaws.com.evil.example/x.pem", false),
            ("https://sns.s3.amazonaws.com/forged.pem", false),
            ("https://sns.s3-us-west-2.amazonaws.com/forged.pem", false),
            ("https://sns.x.s3.us-east-1.amazonaws.com/forged.pem", false),
            ("https://sns.evil.us-east-1.amazonaws.com/forged.pem", false),
            ("https://K.example/jwks", false),
            ("https://k.example\\@evil/x", false),
            ("https://k.example/a b", false),
            ("https:///x", false),
            ("", false),
        ] {
            assert_eq!(may_fetch(url, &hosts), want, "{url}");
        }
    }

    #[test]
    fn keys_are_found_in_every_form() {
        let hex = "23bc54912c1e6e92c4a86825c867e27ffdc555bffbd4244f17a26abfffeee2ab";
        assert_eq!(public_keys(hex, KeyEncoding::Hex).len(), 1);
        assert!(public_keys("not a key!", KeyEncoding::Hex).is_empty());
        let set = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "a"}, {"kty": "oct", "k": "AAAA"}]}"#;
        let keys = public_keys(set, KeyEncoding::Raw);
        assert_eq!(keys.len(), 1);
        assert!(keys[0].may_be(Some("a")) && keys[0].may_be(None) && !keys[0].may_be(Some("b")));
        let pem = "-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----";
        assert_eq!(public_keys(pem, KeyEncoding::Raw).len(), 1);
        let nested = format!(r#"{{"a": [{{"key_id": "k", "b": "{pem}"}}]}}"#);
        assert!(public_keys(&nested, KeyEncoding::Raw)[0].may_be(Some("k")));
    }
}
