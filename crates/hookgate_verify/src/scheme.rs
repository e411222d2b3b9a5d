//! How a sender proves itself, as data: the one form in which the catalogue and `hookgate.toml` both say it.

use serde::{Deserialize, Deserializer, de};

/// How a source's requests are verified.
///
/// Written as a word (`"none"`, `"basic"`, `"token"`, `"standard-webhooks"`,
/// `"svix"`), as a table with `scheme` and the fields of that scheme, or as a list of which any one is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A keyed hash, a plain hash with the secret in it, or a public-key signature, over a text made from the request.
    Signature(Box<Signature>),
    /// A JSON Web Token that says something about the request.
    Jwt(Box<Jwt>),
    /// The secret itself, in a header or in the URL.
    Token(Token),
    /// HTTP basic authentication; the secret is `user:password`, or has the values `username` and `password`.
    Basic,
    /// Adyen's notifications: every item is signed by itself over eight of its fields, with a key in hex.
    /// <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures>
    Adyen,
    /// A JWS in the body, with the chain of its certificate in its header, up to a root that the scheme names.
    CertifiedJws(Box<CertifiedJws>),
    /// Any one of these.
    AnyOf(Vec<Scheme>),
    /// Nothing. Has to be said out loud, and is shown as a warning wherever sources are listed.
    None,
}

impl Scheme {
    /// Sets the greatest age of a signature. False when it has no time in it.
    pub fn set_tolerance(&mut self, seconds: u32) -> bool {
        match self {
            Self::Signature(signature) if !signature.timestamp.is_empty() => {
                signature.tolerance = seconds;
                true
            }
            Self::Jwt(jwt) if !jwt.detached => {
                jwt.issued_within = seconds;
                true
            }
            // As many of them as have one.
            Self::AnyOf(schemes) => schemes
                .iter_mut()
                .map(|scheme| scheme.set_tolerance(seconds))
                .fold(false, |any, one| any | one),
            _ => false,
        }
    }
}

/// A signature over a text. The fields are keys of `verify = { scheme = "hmac", … }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signature {
    /// The word after `scheme`.
    #[serde(skip)]
    pub algorithm: Algorithm,
    /// The hash. Ed25519 has its own.
    pub hash: Hash,
    /// The header in which the signature is.
    pub header: String,
    /// Where the signature is when it is not in a header of its own, as a locator (`query:sig`). All alternatives
    /// (`header:a or header:b`) are looked at, and any signature of them may match.
    pub signature: String,
    /// What separates several entries of the header; empty when it has one.
    pub separator: String,
    /// What stands before the signature within its entry. Entries without it are not signatures.
    pub prefix: String,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The signed text, see [`crate::signed`].
    pub signed: String,
    /// A hash that is taken of the signed text first; what is signed is its bytes.
    pub prehash: Option<Hash>,
    /// Where the time of signing is, as a locator; `field:t=` is an entry of the signature header.
    pub timestamp: String,
    /// Greatest age of the timestamp in seconds, and how far ahead it may be unless `future`.
    pub tolerance: u32,
    /// Whether a timestamp may be any time ahead, as with Stripe's own SDKs.
    pub future: bool,
    /// Where the `{id}` of the signed text is, as a locator.
    pub id: String,
    /// How the key is written.
    pub secret: KeyEncoding,
    /// The text of the key, out of the values of the secret: `{client_id}&{secret}`.
    pub key: String,
    /// Where a hex SHA-256 of the body is, for schemes that sign it within the URL. When it is there it has
    /// to be right, and `{form_params}` is empty.
    pub body_sha256: String,
    /// Whether the sender may have signed the URL with or without its port.
    pub url_port_optional: bool,
    /// How an ECDSA signature is written.
    pub format: EcdsaFormat,
    /// The curve of ECDSA.
    pub curve: Curve,
    /// The padding of RSA.
    pub padding: Padding,
    /// Where the address of the signer's certificate or key is, as a locator, or a fixed `https://…` address.
    pub key_url: String,
    /// Which hosts that address may have, as globs whose `*` is within one label; needed where the message names it.
    pub key_hosts: Vec<String>,
    /// Values that have to equal values of the secret: `{ "json:/TopicArn" = "{topic_arn}" }`. Looked at after the
    /// signature.
    pub pinned: Pinned,
}

/// Locator → template over the values of the secret.
pub type Pinned = std::collections::BTreeMap<String, String>;

/// Greatest age of a signature where the provider names none: what Standard Webhooks and Stripe use.
pub const TOLERANCE_SECONDS: u32 = 300;

/// The kind of a [`Signature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A keyed hash.
    Hmac,
    /// A plain hash over a text that has the secret in it.
    Hash,
    /// Ed25519.
    Ed25519,
    /// ECDSA.
    Ecdsa,
    /// RSA.
    Rsa,
}

impl Default for Signature {
    /// HMAC-SHA256 over the body in hex, without a timestamp.
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Hmac,
            hash: Hash::Sha256,
            header: String::new(),
            signature: String::new(),
            separator: String::new(),
            prefix: String::new(),
            encoding: Encoding::Hex,
            signed: "{body}".to_owned(),
            prehash: None,
            timestamp: String::new(),
            tolerance: TOLERANCE_SECONDS,
            future: false,
            id: String::new(),
            secret: KeyEncoding::Raw,
            key: "{secret}".to_owned(),
            body_sha256: String::new(),
            url_port_optional: false,
            format: EcdsaFormat::Der,
            curve: Curve::P256,
            padding: Padding::Pkcs1,
            key_url: String::new(),
            key_hosts: Vec::new(),
            pinned: Pinned::new(),
        }
    }
}

impl Signature {
    /// Standard Webhooks 1.0.0, the symmetric half (`v1`).
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
    pub fn standard_webhooks() -> Self {
        Self {
            header: "webhook-signature".to_owned(),
            separator: " ".to_owned(),
            prefix: "v1,".to_owned(),
            encoding: Encoding::Base64,
            signed: "{id}.{timestamp}.{body}".to_owned(),
            timestamp: "header:webhook-timestamp".to_owned(),
            id: "header:webhook-id".to_owned(),
            secret: KeyEncoding::Whsec,
            ..Self::default()
        }
    }

    /// The same with Svix's own header names, or the unbranded ones.
    /// <https://docs.svix.com/receiving/verifying-payloads/how-manual>
    pub fn svix() -> Self {
        Self {
            header: String::new(),
            signature: "header:svix-signature or header:webhook-signature".to_owned(),
            timestamp: "header:svix-timestamp or header:webhook-timestamp".to_owned(),
            id: "header:svix-id or header:webhook-id".to_owned(),
            ..Self::standard_webhooks()
        }
    }

    /// Whether its key is a public one.
    pub fn is_asymmetric(&self) -> bool {
        matches!(self.algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa | Algorithm::Rsa)
    }
}

/// A JSON Web Token. The fields are keys of `verify = { scheme = "jwt", … }`, or of `"jws"`, whose payload is
/// detached: the body itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// Whether the payload is detached (`header..signature`).
    #[serde(skip)]
    pub detached: bool,
    /// The header in which the token is.
    pub header: String,
    /// Where the token is otherwise, as a locator, or `body` when the whole body is the token.
    pub place: String,
    /// What stands before it, such as `Bearer `.
    pub prefix: String,
    /// The algorithm. The token's own word for it is only compared with this.
    pub algorithm: JwtAlgorithm,
    /// How the key is written.
    pub secret: KeyEncoding,
    /// The text of the key, out of the values of the secret.
    pub key: String,
    /// The fixed address of the sender's keys (a JWKS), or a locator such as `jws:jku` with `key_hosts`.
    pub key_url: String,
    /// Which hosts an address in the token may have, as globs whose `*` is within one label.
    pub key_hosts: Vec<String>,
    /// Claim that has a hash of the body.
    pub body_claim: String,
    /// Which hash that is.
    pub body_hash: Hash,
    /// How it is written.
    pub body_encoding: Encoding,
    /// Claim that has the URL.
    pub url_claim: String,
    /// A hash of it in hex, where it is not the URL itself.
    pub url_hash: Option<Hash>,
    /// What `iss` has to be, as a template over the values of the secret; empty for anything.
    pub issuer: String,
    /// What `aud` has to be: `{url}`, or a template over the values of the secret; empty for anything.
    pub audience: String,
    /// Greatest age in seconds by `iat`; 0 for any.
    pub issued_within: u32,
    /// Other claims by name, as templates over the values of the secret.
    pub claims: Pinned,
    /// A detached payload is signed as it is (RFC 7797, `b64: false`) rather than in base64url.
    pub unencoded: bool,
    /// The detached payload, as a signed text.
    pub signed: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            detached: false,
            header: String::new(),
            place: String::new(),
            prefix: String::new(),
            algorithm: JwtAlgorithm::Hs256,
            secret: KeyEncoding::Raw,
            key: "{secret}".to_owned(),
            key_url: String::new(),
            key_hosts: Vec::new(),
            body_claim: String::new(),
            body_hash: Hash::Sha256,
            body_encoding: Encoding::Hex,
            url_claim: String::new(),
            url_hash: None,
            issuer: String::new(),
            audience: String::new(),
            issued_within: 0,
            claims: Pinned::new(),
            unencoded: false,
            signed: "{body}".to_owned(),
        }
    }
}

/// The algorithm of a token (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC-SHA256.
    #[serde(rename = "HS256")]
    Hs256,
    /// HMAC-SHA512.
    #[serde(rename = "HS512")]
    Hs512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-521 with SHA-512.
    #[serde(rename = "ES512")]
    Es512,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// As a token's header says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A JWS (ES256) whose header has the certificates (`x5c`). Keys of `verify = { scheme = "certified-jws", … }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertifiedJws {
    /// Where the JWS is, as a locator.
    pub place: String,
    /// The root certificate that the chain has to end in, DER in base64, as a template over the values of the secret.
    pub root: String,
    /// Object identifier (`1.2.840.…`) of an extension that the signing certificate has to have. Without it, whatever
    /// key the root's owner certified for another purpose could sign.
    pub leaf_extension: String,
    /// Values of the payload by JSON pointer, as templates over the values of the secret.
    pub pinned: Pinned,
}

/// A shared token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// The header in which it is.
    pub header: String,
    /// Where it is, as a locator, when it is not (only) in a header: `header:x-token or query:token`.
    pub place: String,
    /// What stands before it, such as `Bearer `.
    pub prefix: String,
    /// What it is, out of the values of the secret; the secret itself unless said otherwise.
    pub key: String,
    /// A hash of that in hex, where that is what is sent.
    pub hash: Option<Hash>,
}

impl Token {
    /// A token in hookgate's own header or in the query, for senders that sign nothing.
    pub fn shared() -> Self {
        Self { place: "header:x-hookgate-token or query:token".to_owned(), ..Self::default() }
    }
}

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// MD5: broken as a plain hash. A few senders have nothing else.
    Md5,
    /// SHA-1: broken as a plain hash, not as a keyed one (RFC 6194, section 3.3).
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// Keccak-256, as Ethereum has it (not SHA3-256).
    Keccak256,
}

impl Hash {
    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Keccak256 => "KECCAK256",
        }
    }
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Either case.
    Hex,
    /// RFC 4648 section 4, padded or not.
    Base64,
    /// RFC 4648 section 5, padded or not.
    Base64url,
    /// Base64 of the hex text.
    HexBase64,
}

/// How a secret becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The UTF-8 bytes of the text. A public key in PEM, or a JWK, is always seen as what it is.
    Raw,
    /// The same after compatibility decomposition (Unicode NFKD).
    Nfkd,
    /// Decoded from hex.
    Hex,
    /// Decoded from base64.
    Base64,
    /// Decoded from base64url.
    Base64url,
    /// `whsec_` taken off if it is there, then decoded from base64 (Standard Webhooks).
    Whsec,
    /// The SHA-1 digest of the text.
    Sha1,
    /// The SHA-256 digest of the text.
    Sha256,
}

/// How an ECDSA signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EcdsaFormat {
    /// ASN.1 DER.
    Der,
    /// Two numbers of fixed length, one after the other.
    Raw,
}

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1.
    Secp256k1,
}

/// The padding of an RSA signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// PKCS#1 v1.5.
    Pkcs1,
    /// PSS with a salt as long as the hash.
    Pss,
}

/// Every word that a scheme may be called.
const WORDS: &str = "hmac, hash, ed25519, ecdsa, rsa, jwt, jws, certified-jws, token, basic, standard-webhooks, svix, adyen and none";

impl<'de> Deserialize<'de> for Scheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Scheme;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    r#"`"none"` said out loud, or a table such as { scheme = "hmac", header = "x-signature" }"#,
                )
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Scheme, E> {
                word_scheme(word)
                    .ok_or_else(|| E::custom(format!("unknown scheme `{word}`; known are {WORDS}")))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Scheme, A::Error> {
                let mut scheme: Option<String> = None;
                let mut fields = toml::Table::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "scheme" {
                        scheme = Some(map.next_value()?);
                    } else {
                        fields.insert(key, map.next_value()?);
                    }
                }
                let scheme = scheme.ok_or_else(|| de::Error::missing_field("scheme"))?;
                table_scheme(&scheme, fields).map_err(de::Error::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scheme, A::Error> {
                let mut schemes = Vec::new();
                while let Some(scheme) = seq.next_element::<Scheme>()? {
                    if scheme == Scheme::None {
                        return Err(de::Error::custom(
                            "`none` beside other schemes would make them pointless",
                        ));
                    }
                    schemes.push(scheme);
                }
                if schemes.is_empty() {
                    return Err(de::Error::custom("an empty list verifies nothing; say `verify = \"none\"`"));
                }
                Ok(Scheme::AnyOf(schemes))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn word_scheme(word: &str) -> Option<Scheme> {
    match word {
        "none" => Some(Scheme::None),
        "basic" => Some(Scheme::Basic),
        "adyen" => Some(Scheme::Adyen),
        "standard-webhooks" => Some(Scheme::Signature(Box::new(Signature::standard_webhooks()))),
        "svix" => Some(Scheme::Signature(Box::new(Signature::svix()))),
        "token" => Some(Scheme::Token(Token::shared())),
        _ => None,
    }
}

fn table_scheme(scheme: &str, fields: toml::Table) -> Result<Scheme, String> {
    fn read<T: for<'de> Deserialize<'de>>(fields: toml::Table) -> Result<T, String> {
        toml::Value::Table(fields).try_into().map_err(|e: toml::de::Error| e.message().to_owned())
    }
    let algorithm = match scheme {
        "hmac" => Some(Algorithm::Hmac),
        "hash" => Some(Algorithm::Hash),
        "ed25519" => Some(Algorithm::Ed25519),
        "ecdsa" => Some(Algorithm::Ecdsa),
        "rsa" => Some(Algorithm::Rsa),
        _ => None,
    };
    if let Some(algorithm) = algorithm {
        let signature = Signature { algorithm, ..read(fields)? };
        if signature.header.is_empty() == signature.signature.is_empty() {
            return Err(format!(
                "the scheme `{scheme}` needs `header`, the header in which the signature is (or `signature`, a place)"
            ));
        }
        return Ok(Scheme::Signature(Box::new(signature)));
    }
    match scheme {
        "jwt" | "jws" => {
            let jwt = Jwt { detached: scheme == "jws", ..read(fields)? };
            if jwt.header.is_empty() == jwt.place.is_empty() {
                return Err(format!("the scheme `{scheme}` needs `header` or `place`, where the token is"));
            }
            Ok(Scheme::Jwt(Box::new(jwt)))
        }
        "certified-jws" => {
            let jws: CertifiedJws = read(fields)?;
            if jws.place.is_empty() {
                return Err("the scheme `certified-jws` needs `place`, where the JWS is".to_owned());
            }
            Ok(Scheme::CertifiedJws(Box::new(jws)))
        }
        "token" => {
            let token: Token = read(fields)?;
            match (token.header.is_empty(), token.place.is_empty()) {
                (true, true) => Err("a token scheme needs `header` or `place`, where the token is".into()),
                (false, true) => {
                    Ok(Scheme::Token(Token { place: format!("header:{}", token.header), ..token }))
                }
                (true, false) => Ok(Scheme::Token(token)),
                (false, false) => Err("a token scheme has `header` or `place`, not both".into()),
            }
        }
        // A signature with a named form and a few fields of its own, such as another tolerance.
        "standard-webhooks" | "svix" if !fields.is_empty() => {
            let Some(Scheme::Signature(base)) = word_scheme(scheme) else { return Err(scheme.to_owned()) };
            let given: Vec<String> = fields.keys().cloned().collect();
            let signature: Signature = read(fields)?;
            let mut merged = *base;
            for key in given {
                match key.as_str() {
                    "tolerance" => merged.tolerance = signature.tolerance,
                    "secret" => merged.secret = signature.secret,
                    "future" => merged.future = signature.future,
                    other => {
                        return Err(format!(
                            "the scheme `{scheme}` has no field `{other}`; it has tolerance, secret and future"
                        ));
                    }
                }
            }
            Ok(Scheme::Signature(Box::new(merged)))
        }
        word => {
            let known =
                word_scheme(word).ok_or_else(|| format!("unknown scheme `{word}`; known are {WORDS}"))?;
            if fields.is_empty() {
                Ok(known)
            } else {
                Err(format!("the scheme `{word}` has no further fields"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        verify: Scheme,
    }

    fn read(text: &str) -> Result<Scheme, String> {
        toml::from_str::<Holder>(text).map(|h| h.verify).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn reads_words_tables_and_lists() {
        assert_eq!(read(r#"verify = "none""#).unwrap(), Scheme::None);
        assert_eq!(read(r#"verify = { scheme = "none" }"#).unwrap(), Scheme::None);
        assert_eq!(
            read(r#"verify = "standard-webhooks""#).unwrap(),
            Scheme::Signature(Box::new(Signature::standard_webhooks()))
        );
        let hmac = read(
            r#"verify = { scheme = "hmac", hash = "sha512", header = "x-sig", encoding = "base64url", prefix = "v=" }"#,
        );
        let want = Signature {
            hash: Hash::Sha512,
            header: "x-sig".into(),
            encoding: Encoding::Base64url,
            prefix: "v=".into(),
            ..Signature::default()
        };
        assert_eq!(hmac.unwrap(), Scheme::Signature(Box::new(want)));
        let token = read(r#"verify = { scheme = "token", header = "authorization", prefix = "Bearer " }"#);
        let Scheme::Token(token) = token.unwrap() else { panic!("no token") };
        assert_eq!((token.place.as_str(), token.prefix.as_str()), ("header:authorization", "Bearer "));
        let any = read(r#"verify = ["basic", { scheme = "rsa", header = "x", padding = "pss" }]"#).unwrap();
        assert!(matches!(any, Scheme::AnyOf(schemes) if schemes.len() == 2));
        let wide = read(r#"verify = { scheme = "svix", tolerance = 60 }"#).unwrap();
        assert!(matches!(wide, Scheme::Signature(signature) if signature.tolerance == 60));
    }

    #[test]
    fn an_unknown_scheme_or_field_is_an_error_never_a_default() {
        for (text, part) in [
            (r#"verify = "nome""#, "none"),
            (r#"verify = { scheme = "hmak", header = "x" }"#, "unknown scheme `hmak`"),
            (r#"verify = { scheme = "hmac" }"#, "needs `header`"),
            (r#"verify = { scheme = "hmac", header = "x", hsah = "sha1" }"#, "hsah"),
            (r#"verify = { scheme = "hmac", header = "x", hash = "md4" }"#, "md4"),
            (r#"verify = { scheme = "token" }"#, "needs `header` or `place`"),
            (r#"verify = { scheme = "basic", header = "x" }"#, "no further fields"),
            (r#"verify = { scheme = "jwt", header = "x", algorithm = "none" }"#, "none"),
            (r#"verify = { scheme = "svix", header = "x" }"#, "no field `header`"),
            (r#"verify = { header = "x" }"#, "scheme"),
            (r#"verify = ["basic", "none"]"#, "pointless"),
            (r#"verify = []"#, "empty list"),
            (r#"verify = true"#, "none"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
