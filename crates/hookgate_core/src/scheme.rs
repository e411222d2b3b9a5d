//! How a sender proves itself, as data: the form in which the catalogue and `hookgate.toml` both say it.

use serde::{Deserialize, Deserializer, de};

use crate::text::{intern, interned};

/// How a source's requests are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A keyed hash over a text made from the request.
    Hmac(Hmac),
    /// The secret itself, in a header or in the URL.
    Token(Token),
    /// HTTP basic authentication; the secret is `user:password`, or has the values `username` and `password`.
    Basic,
    /// Nothing. Has to be said out loud, and is shown as a warning wherever sources are listed.
    None,
}

/// A keyed hash. The fields are keys of `verify = { scheme = "hmac", … }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hmac {
    /// The hash.
    pub hash: Hash,
    /// The header in which the signature is.
    #[serde(deserialize_with = "interned")]
    pub header: &'static str,
    /// Where the signature is when it is not in a header of its own, as a locator (`query:sig`).
    #[serde(deserialize_with = "interned")]
    pub signature: &'static str,
    /// What separates several entries of the header; empty when it has one.
    #[serde(deserialize_with = "interned")]
    pub separator: &'static str,
    /// What stands before the signature within its entry. Entries without it are not signatures.
    #[serde(deserialize_with = "interned")]
    pub prefix: &'static str,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The signed text: `{body}`, `{timestamp}`, `{id}`, `{url}`, `{path}`, `{query}`, `{method}`,
    /// `{form_params}`, `{header:NAME}`, `{query:NAME}` and plain words.
    #[serde(deserialize_with = "interned")]
    pub signed: &'static str,
    /// Where the time of signing is, as a locator; `field:t=` is an entry of the signature header.
    #[serde(deserialize_with = "interned")]
    pub timestamp: &'static str,
    /// Greatest age of the timestamp in seconds, and how far ahead it may be unless [`Hmac::future`].
    pub tolerance: u32,
    /// Whether a timestamp may be any time ahead, as with Stripe's own SDKs.
    pub future: bool,
    /// Where the `{id}` of the signed text is, as a locator.
    #[serde(deserialize_with = "interned")]
    pub id: &'static str,
    /// How the secret becomes the key.
    pub secret: KeyEncoding,
    /// Where a hex SHA-256 of the body is, for schemes that sign it within the URL. When it is there it has
    /// to be right, and `{form_params}` is empty.
    #[serde(deserialize_with = "interned")]
    pub body_sha256: &'static str,
    /// Whether the sender may have signed the URL with or without its port.
    pub url_port_optional: bool,
}

/// Greatest age of a signature where the provider names none: what Standard Webhooks and Stripe use.
pub const TOLERANCE_SECONDS: u32 = 300;

impl Hmac {
    /// HMAC-SHA256 over the body in hex, without a timestamp. The other fields are changed from here.
    pub const SHA256: Self = Self {
        hash: Hash::Sha256,
        header: "",
        signature: "",
        separator: "",
        prefix: "",
        encoding: Encoding::Hex,
        signed: "{body}",
        timestamp: "",
        tolerance: TOLERANCE_SECONDS,
        future: false,
        id: "",
        secret: KeyEncoding::Raw,
        body_sha256: "",
        url_port_optional: false,
    };

    /// Standard Webhooks 1.0.0, the symmetric half (`v1`).
    pub const STANDARD_WEBHOOKS: Self = Self {
        header: "webhook-signature",
        separator: " ",
        prefix: "v1,",
        encoding: Encoding::Base64,
        signed: "{id}.{timestamp}.{body}",
        timestamp: "header:webhook-timestamp",
        id: "header:webhook-id",
        secret: KeyEncoding::Whsec,
        ..Self::SHA256
    };
}

impl Default for Hmac {
    fn default() -> Self {
        Self::SHA256
    }
}

/// A shared token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// The header in which it is.
    #[serde(deserialize_with = "interned")]
    pub header: &'static str,
    /// Where it is, as a locator, when it is not (only) in a header: `header:x-token or query:token`.
    #[serde(deserialize_with = "interned")]
    pub place: &'static str,
    /// What stands before it, such as `Bearer `.
    #[serde(deserialize_with = "interned")]
    pub prefix: &'static str,
}

impl Token {
    /// A token in hookgate's own header or in the query, for senders that sign nothing.
    pub const SHARED: Self = Self { header: "", place: "header:x-hookgate-token or query:token", prefix: "" };
}

/// The hash of an [`Hmac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// HMAC-SHA1: broken as a plain hash, not as a keyed one (RFC 6194, section 3.3).
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

impl Hash {
    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Either case.
    Hex,
    /// RFC 4648 section 4, padded or not.
    Base64,
    /// RFC 4648 section 5, padded or not.
    Base64url,
}

/// How a secret becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyEncoding {
    /// The UTF-8 bytes of the text.
    Raw,
    /// Decoded from hex.
    Hex,
    /// Decoded from base64.
    Base64,
    /// `whsec_` taken off if it is there, then decoded from base64 (Standard Webhooks).
    Whsec,
}

impl<'de> Deserialize<'de> for Scheme {
    /// `"none"`, `"basic"`, `"standard-webhooks"`, or a table with `scheme` and the fields of that scheme.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Scheme;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(r#"`"none"` said out loud, or a table such as { scheme = "hmac", header = "x-signature" }"#)
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Scheme, E> {
                word_scheme(word)
                    .ok_or_else(|| E::unknown_variant(word, &["none", "basic", "standard-webhooks", "token"]))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Scheme, A::Error> {
                let mut scheme: Option<String> = None;
                let mut fields: Vec<(String, toml::Value)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "scheme" {
                        scheme = Some(map.next_value()?);
                    } else {
                        fields.push((key, map.next_value()?));
                    }
                }
                let scheme = scheme.ok_or_else(|| de::Error::missing_field("scheme"))?;
                table_scheme(&scheme, fields).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn word_scheme(word: &str) -> Option<Scheme> {
    match word {
        "none" => Some(Scheme::None),
        "basic" => Some(Scheme::Basic),
        "standard-webhooks" => Some(Scheme::Hmac(Hmac::STANDARD_WEBHOOKS)),
        "token" => Some(Scheme::Token(Token::SHARED)),
        _ => None,
    }
}

fn table_scheme(scheme: &str, fields: Vec<(String, toml::Value)>) -> Result<Scheme, String> {
    let table = toml::Value::Table(fields.into_iter().collect());
    let scheme = match scheme {
        "hmac" => Scheme::Hmac(table.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?),
        "token" => Scheme::Token(table.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?),
        word => {
            let known = word_scheme(word).ok_or_else(|| {
                format!("unknown scheme `{word}`; known are hmac, token, basic, standard-webhooks and none")
            })?;
            if table.as_table().is_some_and(|rest| !rest.is_empty()) {
                return Err(format!("the scheme `{word}` has no further fields"));
            }
            known
        }
    };
    match scheme {
        Scheme::Hmac(h) if h.header.is_empty() == h.signature.is_empty() => Err(
            "an hmac scheme needs `header`, the header in which the signature is (or `signature`, a place)"
                .into(),
        ),
        Scheme::Token(t) if t.header.is_empty() && t.place.is_empty() => {
            Err("a token scheme needs `header` or `place`, where the token is".into())
        }
        Scheme::Token(t) if t.place.is_empty() => {
            Ok(Scheme::Token(Token { place: intern(&format!("header:{}", t.header)), ..t }))
        }
        scheme => Ok(scheme),
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
    fn reads_words_and_tables() {
        assert_eq!(read(r#"verify = "none""#).unwrap(), Scheme::None);
        assert_eq!(read(r#"verify = { scheme = "none" }"#).unwrap(), Scheme::None);
        assert_eq!(read(r#"verify = "standard-webhooks""#).unwrap(), Scheme::Hmac(Hmac::STANDARD_WEBHOOKS));
        let hmac = read(
            r#"verify = { scheme = "hmac", hash = "sha512", header = "x-sig", encoding = "base64url", prefix = "v=" }"#,
        );
        let want = Hmac {
            hash: Hash::Sha512,
            header: "x-sig",
            encoding: Encoding::Base64url,
            prefix: "v=",
            ..Hmac::SHA256
        };
        assert_eq!(hmac.unwrap(), Scheme::Hmac(want));
        let token = read(r#"verify = { scheme = "token", header = "authorization", prefix = "Bearer " }"#);
        let want = Token { header: "authorization", place: "header:authorization", prefix: "Bearer " };
        assert_eq!(token.unwrap(), Scheme::Token(want));
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
            (r#"verify = { header = "x" }"#, "scheme"),
            (r#"verify = true"#, "none"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
