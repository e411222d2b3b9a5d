//! Bytes from text and back, as signatures and keys are written.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::scheme::{Encoding, KeyEncoding};

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
        Encoding::Base64 if text.ends_with('=') => BASE64.decode(text.as_bytes()).ok(),
        Encoding::Base64 => BASE64_NOPAD.decode(text.as_bytes()).ok(),
        Encoding::Base64url if text.ends_with('=') => BASE64URL.decode(text.as_bytes()).ok(),
        Encoding::Base64url => BASE64URL_NOPAD.decode(text.as_bytes()).ok(),
    }
}

/// Writes a signature: hex in lower case, base64 padded, base64url not padded.
pub(crate) fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => HEXLOWER.encode(bytes),
        Encoding::Base64 => BASE64.encode(bytes),
        Encoding::Base64url => BASE64URL_NOPAD.encode(bytes),
    }
}

/// Makes a key of a secret; `None` when the secret is not of this encoding, or empty.
pub(crate) fn decode_key(secret: &str, encoding: KeyEncoding) -> Option<Vec<u8>> {
    let key = match encoding {
        KeyEncoding::Raw => Some(secret.as_bytes().to_vec()),
        KeyEncoding::Hex => decode(secret, Encoding::Hex),
        KeyEncoding::Base64 => decode(secret, Encoding::Base64),
        KeyEncoding::Whsec => decode(secret.strip_prefix(WHSEC_PREFIX).unwrap_or(secret), Encoding::Base64),
    };
    key.filter(|key| !key.is_empty())
}
