//! Adyen's standard notifications: every item is signed by itself, over eight of its fields.
//! <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures>

use serde_json::Value;
use subtle::{Choice, ConstantTimeEq};

use super::{Checked, Means, VerifyError};
use crate::{
    encoding::{decode, decode_key, mac},
    look::Look,
    scheme::{Encoding, Hash, KeyEncoding},
    signed::KeyText,
};

/// The signed fields of an item, in order; an absent one is empty. Values with `:` or `\` are taken as they are in
/// JSON notifications.
const FIELDS: &[&str] = &[
    "/pspReference",
    "/originalReference",
    "/merchantAccountCode",
    "/merchantReference",
    "/amount/value",
    "/amount/currency",
    "/eventCode",
    "/success",
];

const PLACE: &str = "json:/notificationItems/*/NotificationRequestItem/additionalData/hmacSignature";

/// The items of a notification.
pub(crate) fn items(body: &Value) -> Option<Vec<&Value>> {
    let items = body.get("notificationItems")?.as_array()?;
    items.iter().map(|item| item.get("NotificationRequestItem")).collect()
}

/// What is signed of an item.
pub(crate) fn content(item: &Value) -> String {
    let value = |pointer: &&str| match item.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    FIELDS.iter().map(value).collect::<Vec<_>>().join(":")
}

pub(super) fn check(look: &Look<'_>, means: Means<'_>) -> Checked {
    let missing = || VerifyError::SignatureMissing { place: PLACE.to_owned() };
    let view = look.view().ok_or_else(missing)?;
    let items = items(&view.value).filter(|items| !items.is_empty()).ok_or_else(missing)?;
    // `{hmac_key_hex}` is any secret of one value.
    let key = KeyText::parse("{hmac_key_hex}").map_err(|_| VerifyError::SecretMissing)?;
    for item in items {
        let signature = item
            .pointer("/additionalData/hmacSignature")
            .and_then(Value::as_str)
            .ok_or_else(missing)
            .and_then(|text| {
                decode(text, Encoding::Base64)
                    .ok_or_else(|| VerifyError::SignatureMalformed { place: PLACE.to_owned() })
            })?;
        let mut matched = Choice::from(0);
        for secret in means.secrets {
            let unusable = || VerifyError::SecretUnusable { expected: "hex".to_owned() };
            let key =
                decode_key(&key.of(secret).ok_or_else(unusable)?, KeyEncoding::Hex).ok_or_else(unusable)?;
            let expected = mac(Hash::Sha256, &key, content(item).as_bytes()).ok_or_else(unusable)?;
            matched |= expected.as_slice().ct_eq(signature.as_slice());
        }
        if !bool::from(matched) {
            return Err(VerifyError::SignatureMismatch);
        }
    }
    Ok(None)
}
