//! Bytes from text and back, as signatures and keys are written; and hashes.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use sha3::Keccak256;
use unicode_normalization::UnicodeNormalization;

use crate::scheme::{Encoding, Hash, KeyEncoding};

/// What Standard Webhooks secrets begin with.
const WHSEC_PREFIX: &str = "whsec_";

/// Decodes a signature; `None` when it is not of this encoding. Padding may be absent, but nothing else is
/// forgiven: a decoder that skips odd characters would accept many texts for one signature.
pub(crate) fn decode(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match encoding {
        Encoding::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        // Alipay writes it for a URL.
        Encoding::Base64 if text.contains('%') => {
            let plain = percent_decode_str(text).decode_utf8().ok().filter(|plain| !plain.contains('%'))?;
            decode(&plain, encoding)
        }
        Encoding::Base64 if text.ends_with('=') => BASE64.decode(text.as_bytes()).ok(),
        Encoding::Base64 => BASE64_NOPAD.decode(text.as_bytes()).ok(),
        Encoding::Base64url if text.ends_with('=') => BASE64URL.decode(text.as_bytes()).ok(),
        Encoding::Base64url => BASE64URL_NOPAD.decode(text.as_bytes()).ok(),
        Encoding::HexBase64 => {
            let hex = decode(text, Encoding::Base64)?;
            HEXLOWER_PERMISSIVE.decode(&hex).ok()
        }
    }
}

/// Writes a signature: hex in lower case, base64 padded, base64url not padded.
pub(crate) fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => HEXLOWER.encode(bytes),
        Encoding::Base64 => BASE64.encode(bytes),
        Encoding::Base64url => BASE64URL_NOPAD.encode(bytes),
        Encoding::HexBase64 => BASE64.encode(HEXLOWER.encode(bytes).as_bytes()),
    }
}

/// Makes a key of a secret; `None` when the secret is not of this encoding, or empty.
pub(crate) fn decode_key(secret: &str, encoding: KeyEncoding) -> Option<Vec<u8>> {
    if secret.is_empty() {
        return None;
    }
    let key = match encoding {
        KeyEncoding::Raw => Some(secret.as_bytes().to_vec()),
        KeyEncoding::Nfkd => Some(secret.nfkd().collect::<String>().into_bytes()),
        KeyEncoding::Hex => decode(secret, Encoding::Hex),
        KeyEncoding::Base64 => decode(secret, Encoding::Base64),
        KeyEncoding::Base64url => decode(secret, Encoding::Base64url),
        KeyEncoding::Whsec => decode(secret.strip_prefix(WHSEC_PREFIX).unwrap_or(secret), Encoding::Base64),
        KeyEncoding::Sha1 => Some(digest(Hash::Sha1, secret.as_bytes())),
        KeyEncoding::Sha256 => Some(digest(Hash::Sha256, secret.as_bytes())),
    };
    key.filter(|key| !key.is_empty())
}

/// What a secret should be, for the operator.
pub(crate) fn key_name(encoding: KeyEncoding) -> &'static str {
    match encoding {
        KeyEncoding::Raw | KeyEncoding::Nfkd | KeyEncoding::Sha1 | KeyEncoding::Sha256 => "text",
        KeyEncoding::Hex => "hex",
        KeyEncoding::Base64 => "base64",
        KeyEncoding::Base64url => "base64url",
        KeyEncoding::Whsec => "base64 after `whsec_`",
    }
}

/// The plain hash of `content`.
pub(crate) fn digest(hash: Hash, content: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Md5 => Md5::digest(content).to_vec(),
        Hash::Sha1 => Sha1::digest(content).to_vec(),
        Hash::Sha256 => Sha256::digest(content).to_vec(),
        Hash::Sha384 => Sha384::digest(content).to_vec(),
        Hash::Sha512 => Sha512::digest(content).to_vec(),
        Hash::Keccak256 => Keccak256::digest(content).to_vec(),
    }
}

/// The keyed hash of `content`; `None` for a hash that nobody keys.
pub(crate) fn mac(hash: Hash, key: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    fn run<M: Mac + KeyInit>(key: &[u8], content: &[u8]) -> Option<Vec<u8>> {
        let mac = <M as KeyInit>::new_from_slice(key).ok()?;
        Some(mac.chain_update(content).finalize().into_bytes().to_vec())
    }
    match hash {
        Hash::Sha1 => run::<Hmac<Sha1>>(key, content),
        Hash::Sha256 => run::<Hmac<Sha256>>(key, content),
        Hash::Sha384 => run::<Hmac<Sha384>>(key, content),
        Hash::Sha512 => run::<Hmac<Sha512>>(key, content),
        Hash::Md5 => run::<Hmac<Md5>>(key, content),
        Hash::Keccak256 => None,
    }
}
