//! What only a sender needs, behind the feature `sending`: signatures with SHA-1, which aws-lc verifies and does not
//! make, and certificates.
//!
//! The keys are those that [`crate::sign::test_secret`] makes. They prove nothing to anybody but the local program, so
//! the RSA of this module does not hide how long it takes.

use num_bigint::BigUint;
use p256::{
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner},
    pkcs8::DecodePrivateKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
};

use crate::{
    der,
    encoding::digest,
    scheme::{Algorithm, Curve, EcdsaFormat, Hash, Padding, Signature as Scheme},
};

/// What stands before a SHA-1 digest in an RSA signature (RFC 8017, section 9.2, note 1).
const SHA1_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// Fewest bytes of padding in an RSA signature (RFC 8017, section 9.2).
const PADDING_MIN: usize = 8;

/// Signing with SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sha1 {
    /// RSA, PKCS#1 v1.5.
    Rsa,
    /// ECDSA on P-256, in DER.
    Ecdsa,
}

impl Sha1 {
    /// What a scheme asks for, if it is one of these.
    pub(crate) fn of(scheme: &Scheme) -> Option<Self> {
        match (scheme.algorithm, scheme.hash) {
            (Algorithm::Rsa, Hash::Sha1) if scheme.padding == Padding::Pkcs1 => Some(Self::Rsa),
            (Algorithm::Ecdsa, Hash::Sha1)
                if scheme.curve == Curve::P256 && scheme.format == EcdsaFormat::Der =>
            {
                Some(Self::Ecdsa)
            }
            _ => None,
        }
    }

    /// Signs with a key in PKCS#8; `None` where it is no such key.
    pub(crate) fn sign(self, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let hash = digest(Hash::Sha1, message);
        match self {
            Self::Rsa => rsa(pkcs8, &hash),
            Self::Ecdsa => {
                let key = SigningKey::from_pkcs8_der(pkcs8).ok()?;
                let signature: Signature = key.sign_prehash(&hash).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

/// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.1).
fn rsa(pkcs8: &[u8], sha1: &[u8]) -> Option<Vec<u8>> {
    let [modulus, private] = rsa_numbers(pkcs8)?;
    let length = usize::try_from(modulus.bits().div_ceil(8)).ok()?;
    let padding =
        length.checked_sub(3 + SHA1_INFO.len() + sha1.len()).filter(|padding| *padding >= PADDING_MIN)?;
    let padding = vec![0xff; padding];
    let encoded = [&[0, 1], padding.as_slice(), &[0], &SHA1_INFO, sha1].concat();
    let signature = BigUint::from_bytes_be(&encoded).modpow(&private, &modulus).to_bytes_be();
    let zeros = vec![0; length.checked_sub(signature.len())?];
    Some([zeros, signature].concat())
}

/// The modulus and the private exponent of a key in PKCS#8 (RFC 5208, section 5; RFC 8017, section A.1.2).
fn rsa_numbers(pkcs8: &[u8]) -> Option<[BigUint; 2]> {
    let key = der::content(der::content(pkcs8, der::SEQUENCE)?, der::OCTET_STRING)?;
    // Version, modulus, public exponent, private exponent.
    let mut numbers = der::elements(der::content(key, der::SEQUENCE)?).map(|(_, number)| number).skip(1);
    let modulus = BigUint::from_bytes_be(numbers.next()?);
    let private = BigUint::from_bytes_be(numbers.nth(1)?);
    (modulus > BigUint::ZERO).then_some([modulus, private])
}

/// A chain of certificates of our own, in DER.
pub(crate) struct Chain {
    /// The signer's, one between, the root's.
    pub(crate) certificates: [Vec<u8>; 3],
    /// The signer's key, PKCS#8.
    pub(crate) private_key: Vec<u8>,
}

impl Chain {
    /// Makes one like Apple's: P-256 below two of P-384. `extension` is what says what the signer's certificate is for.
    /// It is good at any time, so that a test may say what time it is. The keys of the two above are thrown away.
    ///
    /// # Errors
    /// Where the library has no randomness.
    pub(crate) fn generate(extension: Option<&[u64]>) -> Result<Self, rcgen::Error> {
        let authority = |name: &str, below: u8| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384);
        let root = CertifiedIssuer::self_signed(authority("hookgate test root", 1), key()?)?;
        let between = CertifiedIssuer::signed_by(authority("hookgate test authority", 0), key()?, &root)?;
        let mut params = named("hookgate test sender");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // What is in it means nothing, to Apple either: a NULL.
        let null = |arcs: &[u64]| CustomExtension::from_oid_content(arcs, vec![5, 0]);
        params.custom_extensions.extend(extension.map(null));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signer = params.signed_by(&key, &between)?;
        let certificates = [signer.der(), between.der(), root.der()].map(|der| der.to_vec());
        Ok(Self { certificates, private_key: key.serialize_der() })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
            RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RsaKeyPair, UnparsedPublicKey,
        },
    };

    use super::*;

    #[test]
    fn a_key_that_is_none_signs_nothing() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let whole = der.as_ref();
        let signature = Sha1::Rsa.sign(whole, b"text").unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, pair.public_key());
        assert!(public.verify(b"text", &signature).is_ok() && public.verify(b"test", &signature).is_err());
        for end in 0..whole.len() {
            assert_eq!(Sha1::Rsa.sign(&whole[..end], b"text"), None, "{end}");
        }
        let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap().to_pkcs8v1().unwrap();
        assert_eq!(Sha1::Rsa.sign(other.as_ref(), b"text"), None);
        assert!(Sha1::Ecdsa.sign(other.as_ref(), b"text").is_some());
        for pkcs8 in [whole, b"", b"0"] {
            assert_eq!(Sha1::Ecdsa.sign(pkcs8, b"text"), None);
        }
        // Zeros, and a modulus too short for the padding.
        for modulus in [&[0][..], &[0x80; 40]] {
            let number = |bytes: &[u8]| [&[2, bytes.len() as u8], bytes].concat();
            let key = [number(&[0]), number(modulus), number(&[3]), number(&[3])].concat();
            let key = [&[0x30, key.len() as u8], key.as_slice()].concat();
            let key = [&[4, key.len() as u8], key.as_slice()].concat();
            let key = [&[0x30, key.len() as u8], key.as_slice()].concat();
            assert_eq!(Sha1::Rsa.sign(&key, b"text"), None);
        }
    }
}
