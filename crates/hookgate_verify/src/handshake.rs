//! Handshakes: requests that set a webhook up, are no events, and have to be answered in the provider's own way.
//!
//! Several providers have the receiver sign a value of the caller's choice with the key that also signs events. To
//! answer just anybody would make the receiver a signing oracle: a stranger would send a forged event as the
//! challenge and get its signature back. So only a challenge of the documented shape is answered, and none of the
//! shapes can be an event or a signed text of that provider. Handshakes that are signed are answered only after
//! their signature was verified.

use data_encoding::{BASE64, HEXLOWER};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::{
    body,
    encoding::{digest, mac},
    request::Request,
    scheme::Hash,
    sealed::Encryption,
    secret::Secret,
};

/// How a provider sets a webhook up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handshake {
    /// It doesn't.
    #[default]
    None,
    /// Signed JSON with `type` = `url_verification`; its `challenge` is sent back as text.
    Slack,
    /// `GET ?hub.mode=subscribe&hub.verify_token=…&hub.challenge=…`; the token is the secret's `verify_token`.
    Meta,
    /// The same, answered as JSON.
    Strava,
    /// `GET ?hub.mode=…&hub.topic=…&hub.challenge=…` (`WebSub`); the topic is the secret's `topic`.
    Websub,
    /// `GET ?crc_token=…`; answered with its HMAC.
    X,
    /// `GET ?challenge=…`, sent back as text (Dropbox, Nylas, Adobe I/O Events).
    Challenge,
    /// `GET ?check=…`, sent back as text.
    Onfleet,
    /// `GET ?challengeCode=UUID`; answered with its HMAC.
    Linkedin,
    /// `GET ?challenge_code=…`; answered with a hash of it, the secret's `verification_token` and the URL.
    Ebay,
    /// `GET ?bt_challenge=HEX`; answered with its HMAC.
    Braintree,
    /// `GET` with `X-Okta-Verification-Challenge`, sent back as JSON.
    Okta,
    /// `GET`, and every `POST`, with `X-AdobeSign-ClientId`, sent back in a header if it is the one that the
    /// secret names.
    AdobeSign,
    /// `GET ?verification_token=…&challenge=…`, sent back as JSON; the token is the secret's `verification_token`.
    Oura,
    /// `HEAD` is answered with 200 (Trello, Intercom, Mandrill).
    Head,
    /// `GET` is answered with 200 (Mailchimp).
    Get,
    /// JSON whose only member is `challenge`, sent back as it is.
    Monday,
    /// `POST` with `Smartsheet-Hook-Challenge`, sent back in a header and as JSON.
    Smartsheet,
    /// Signed JSON with `event` = `endpoint.url_validation`; its `plainToken` is sent back with its HMAC.
    Zoom,
    /// JSON that asks to be verified; its challenge, a UUID, is answered with its HMAC.
    Smartcar,
    /// Signed, with `Twitch-Eventsub-Message-Type: webhook_callback_verification`; its `challenge` is sent back.
    Twitch,
    /// `POST` with `X-Hook-Secret`, sent back in a header (Asana, Clio, Keap). Where it is the secret that signs, it
    /// is in the answer to the call that makes the webhook too, from where a person takes it.
    HookSecret,
    /// `POST` with `X-Front-Challenge`, sent back as text.
    Front,
    /// `POST` with `Validation-Token`, sent back in a header.
    Ringcentral,
    /// `POST ?validationToken=…` with an empty body, sent back as text (Microsoft Graph, `SharePoint`).
    MicrosoftGraph,
    /// A verified event of the type `SubscriptionValidation`; its code is sent back. Of a subscription in the
    /// `CloudEvents` schema it is [`Self::Cloudevents`].
    EventGrid,
    /// A verified message that asks to be confirmed, by a visit to an address of Amazon's that it names.
    Sns,
    /// A signed interaction of type 1 that is no event, or a webhook event of type 0: a ping.
    Discord,
    /// An empty `POST` is answered with 200 (Exact Online).
    EmptyPost,
    /// A verified event of the type `validation.webhook`; its id is sent back.
    Tebex,
    /// An unsigned form with nothing but `webhook_id=NUMBER`.
    Woocommerce,
    /// JSON, encrypted or not, with `type` = `url_verification` and the secret's `verification_token`; its `challenge` is sent back.
    Lark,
    /// Unsigned JSON with nothing but `verification_token`, which a person has to see: it is kept in quarantine.
    Notion,
    /// `OPTIONS` with `WebHook-Request-Origin` (`CloudEvents` HTTP webhooks); that origin may send.
    Cloudevents,
    /// `X-Event-Key: diagnostics:ping` with nothing else to say, signed or not: the test button of Bitbucket Server.
    /// Answered with 200.
    BitbucketPing,
    /// Vercel looks for a code of its own, the secret's `verify`, in a header of the answer to a `GET`, to an unsigned
    /// `POST` of nothing, and to its test events.
    VercelDrains,
}

/// What a handshake leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is none.
    NotOne,
    /// The answer.
    Answer(Reply),
    /// It is one, and something about it is wrong.
    Refuse,
    /// An address that has to be visited first; 200 after that.
    Visit {
        /// On one of the provider's own hosts.
        url: String,
    },
    /// Something for a person to see; 200 after it was kept.
    Keep,
}

/// An answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers by lower-case name, without the body's type.
    pub headers: Vec<(&'static str, String)>,
    /// The body's media type; empty for no body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Reply {
    fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), content_type: "", body: String::new() }
    }

    fn text(body: String) -> Self {
        Self { content_type: "text/plain", body, ..Self::status(200) }
    }

    fn json(body: &Value) -> Self {
        Self { content_type: "application/json", body: body.to_string(), ..Self::status(200) }
    }

    fn header(name: &'static str, value: String) -> Self {
        Self { headers: vec![(name, value)], ..Self::status(200) }
    }
}

/// Longest value that is sent back, in bytes.
const CHALLENGE_BYTES_MAX: usize = 1_024;

/// Where Vercel looks for its code.
const VERCEL_VERIFY: &str = "x-vercel-verify";

/// Hosts of Amazon SNS.
const SNS_HOSTS: [&str; 2] = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"];

impl Handshake {
    /// Methods other than `POST` with which it comes.
    pub fn methods(self) -> &'static [Method] {
        match self {
            Self::Meta
            | Self::Strava
            | Self::Websub
            | Self::X
            | Self::Challenge
            | Self::Onfleet
            | Self::Linkedin
            | Self::Ebay
            | Self::Braintree
            | Self::Okta
            | Self::AdobeSign
            | Self::Oura
            | Self::Get
            | Self::VercelDrains => &[Method::GET],
            Self::Head => &[Method::HEAD],
            Self::Cloudevents | Self::EventGrid => &[Method::OPTIONS],
            _ => &[],
        }
    }

    /// Values that the secret needs for it beside what the signature needs.
    pub fn secret_values(self) -> &'static [&'static str] {
        match self {
            Self::Meta | Self::Strava => &["verify_token"],
            Self::Websub => &["topic"],
            Self::Oura | Self::Lark => &["verification_token"],
            Self::Ebay => &["verification_token", "endpoint"],
            Self::VercelDrains => &["verify"],
            _ => &[],
        }
    }

    /// Looks at a request before it is verified.
    pub fn before(self, request: &Request, secrets: &[&Secret]) -> Step {
        if request.method != Method::POST && !self.methods().contains(&request.method) {
            return Step::NotOne;
        }
        self.unsigned(request, secrets).unwrap_or(Step::NotOne)
    }

    fn unsigned(self, request: &Request, secrets: &[&Secret]) -> Option<Step> {
        let get = request.method == Method::GET;
        let query =
            |name: &str| request.query_parameter(name).filter(|value| value.len() <= CHALLENGE_BYTES_MAX);
        let header = |name: &str| request.header(name).filter(|value| value.len() <= CHALLENGE_BYTES_MAX);
        let answer = |reply: Reply| Some(Step::Answer(reply));
        match self {
            Self::Meta | Self::Strava if get => {
                let challenge = query("hub.challenge")?;
                let token = query("hub.verify_token")?;
                if query("hub.mode")? != "subscribe" || !any_value(secrets, "verify_token", &token) {
                    return answer(Reply::status(403));
                }
                match self {
                    Self::Strava => answer(Reply::json(&json!({ "hub.challenge": challenge }))),
                    _ => answer(Reply::text(challenge)),
                }
            }
            Self::Websub if get => {
                let topic = query("hub.topic")?;
                let challenge = query("hub.challenge")?;
                let known = secrets.iter().any(|secret| secret.value("topic") == Some(topic.as_str()));
                if known { answer(Reply::text(challenge)) } else { answer(Reply::status(404)) }
            }
            Self::X if get => {
                let token = query("crc_token")?;
                if !is_token(&token, 128) {
                    return Some(Step::Refuse);
                }
                let signature = BASE64.encode(&keyed(Hash::Sha256, secrets.first()?, &token)?);
                answer(Reply::json(&json!({ "response_token": format!("sha256={signature}") })))
            }
            Self::Challenge if get => answer(Reply::text(query("challenge")?)),
            Self::Onfleet if get => answer(Reply::text(query("check")?)),
            Self::Linkedin if get => {
                let code = query("challengeCode")?;
                if !is_uuid(&code) {
                    return Some(Step::Refuse);
                }
                let response = HEXLOWER.encode(&keyed(Hash::Sha256, secrets.first()?, &code)?);
                answer(Reply::json(&json!({ "challengeCode": code, "challengeResponse": response })))
            }
            Self::Ebay if get => {
                let code = query("challenge_code")?;
                let secret = secrets.first()?;
                let token = secret.value("verification_token").unwrap_or(secret.expose());
                let url = request.url.split('?').next()?;
                let endpoint = secret.value("endpoint").unwrap_or(url);
                let hash = digest(Hash::Sha256, format!("{code}{token}{endpoint}").as_bytes());
                answer(Reply::json(&json!({ "challengeResponse": HEXLOWER.encode(&hash) })))
            }
            Self::Braintree if get => {
                let challenge = query("bt_challenge")?;
                let hex = challenge.bytes().all(|b| b.is_ascii_hexdigit());
                if !hex || !(20..=32).contains(&challenge.len()) {
                    return Some(Step::Refuse);
                }
                let secret = secrets.first()?;
                let key = digest(Hash::Sha1, secret.value("private_key")?.as_bytes());
                let signature = HEXLOWER.encode(&mac(Hash::Sha1, &key, challenge.as_bytes())?);
                answer(Reply::text(format!("{}|{signature}", secret.value("public_key")?)))
            }
            Self::Okta if get => {
                let challenge = header("x-okta-verification-challenge")?;
                answer(Reply::json(&json!({ "verification": challenge })))
            }
            Self::AdobeSign if get => {
                let id = header("x-adobesign-clientid")?;
                if !any_value(secrets, "client_id", &id) {
                    return Some(Step::Refuse);
                }
                answer(Reply::header("x-adobesign-clientid", id))
            }
            Self::Oura if get => {
                let (token, challenge) = (query("verification_token")?, query("challenge")?);
                if !any_value(secrets, "verification_token", &token) {
                    return Some(Step::Refuse);
                }
                answer(Reply::json(&json!({ "challenge": challenge })))
            }
            Self::Get if get => answer(Reply::status(200)),
            Self::Head if request.method == Method::HEAD => answer(Reply::status(200)),
            Self::VercelDrains if get => answer(Reply::header(VERCEL_VERIFY, vercel_code(secrets)?)),
            Self::Cloudevents | Self::EventGrid if request.method == Method::OPTIONS => {
                let origin = header("webhook-request-origin")?;
                answer(Reply::header("webhook-allowed-origin", origin))
            }
            _ if request.method != Method::POST => None,
            Self::Monday => {
                let challenge = only_member(request, "challenge")?;
                answer(Reply::json(&json!({ "challenge": challenge })))
            }
            Self::Smartcar => {
                let body = small_json(request)?;
                let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
                let challenge = match (text("/eventName"), text("/eventType")) {
                    (Some("verify"), _) => text("/payload/challenge")?,
                    (_, Some("VERIFY")) => text("/data/challenge")?,
                    _ => return None,
                };
                if !is_uuid(challenge) {
                    return Some(Step::Refuse);
                }
                let response = HEXLOWER.encode(&keyed(Hash::Sha256, secrets.first()?, challenge)?);
                answer(Reply::json(&json!({ "challenge": response })))
            }
            Self::HookSecret => {
                let secret = header("x-hook-secret")?;
                if is_token(&secret, 128) {
                    answer(Reply::header("x-hook-secret", secret))
                } else {
                    Some(Step::Refuse)
                }
            }
            Self::Smartsheet => {
                let challenge = header("smartsheet-hook-challenge")?;
                let mut reply = Reply::json(&json!({ "smartsheetHookResponse": challenge }));
                reply.headers.push(("smartsheet-hook-response", challenge));
                answer(reply)
            }
            Self::Front => answer(Reply::text(header("x-front-challenge")?)),
            Self::Ringcentral => {
                let token = header("validation-token")?;
                answer(Reply::header("validation-token", token))
            }
            Self::MicrosoftGraph if request.body.is_empty() => {
                let token = query("validationToken").or_else(|| query("validationtoken"))?;
                answer(Reply::text(token))
            }
            Self::VercelDrains if request.header("x-vercel-signature").is_none() => {
                let says_nothing = matches!(request.body.trim_ascii(), b"" | b"{}" | b"[]");
                says_nothing
                    .then(|| vercel_code(secrets))?
                    .map(|code| Step::Answer(Reply::header(VERCEL_VERIFY, code)))
            }
            Self::BitbucketPing if request.header("x-hub-signature").is_none() => {
                is_bitbucket_ping(request).then(|| Step::Answer(Reply::status(200)))
            }
            Self::EmptyPost if request.body.is_empty() => answer(Reply::status(200)),
            Self::Woocommerce if body::is_form(&request.media_type()) => {
                let digits = request.body.strip_prefix(b"webhook_id=")?;
                let small = !digits.is_empty() && digits.len() <= 20;
                (small && digits.iter().all(u8::is_ascii_digit)).then(|| Step::Answer(Reply::status(200)))
            }
            Self::Lark => {
                // It is encrypted like an event, and not signed. The token is asked for all the same: who only bends
                // a body that was seen on the way must not learn from the answer what is in it.
                let opened = Encryption::Lark.open(request, secrets).ok()?;
                let body = small_json(opened.as_ref().unwrap_or(request))?;
                if body.get("type")?.as_str()? != "url_verification" {
                    return None;
                }
                if !any_value(secrets, "verification_token", body.get("token")?.as_str()?) {
                    return Some(Step::Refuse);
                }
                answer(Reply::json(&json!({ "challenge": body.get("challenge")?.as_str()? })))
            }
            Self::Notion => {
                let token = only_member(request, "verification_token")?;
                is_token(&token, 256).then_some(Step::Keep)
            }
            _ => None,
        }
    }

    /// Looks at a request after it was verified, or one of a source that verifies nothing.
    pub fn after(self, request: &Request, secrets: &[&Secret]) -> Step {
        self.signed(request, secrets).unwrap_or(Step::NotOne)
    }

    fn signed(self, request: &Request, secrets: &[&Secret]) -> Option<Step> {
        let view = |field| body::view(request, field).ok();
        let answer = |reply: Reply| Some(Step::Answer(reply));
        match self {
            Self::Slack => {
                let view = view("")?;
                if view.value.get("type")?.as_str()? != "url_verification" {
                    return None;
                }
                answer(Reply::text(view.value.get("challenge")?.as_str()?.to_owned()))
            }
            Self::Zoom => {
                let view = view("")?;
                if view.value.get("event")?.as_str()? != "endpoint.url_validation" {
                    return None;
                }
                let token = view.value.pointer("/payload/plainToken")?.as_str()?;
                if !is_token(token, 128) {
                    return Some(Step::Refuse);
                }
                let encrypted = HEXLOWER.encode(&keyed(Hash::Sha256, secrets.first()?, token)?);
                answer(Reply::json(&json!({ "plainToken": token, "encryptedToken": encrypted })))
            }
            Self::Twitch => {
                let kind = request.header("twitch-eventsub-message-type")?;
                if kind != "webhook_callback_verification" {
                    return None;
                }
                answer(Reply::text(view("")?.value.get("challenge")?.as_str()?.to_owned()))
            }
            Self::EventGrid => {
                let view = view("")?;
                let event = view.value.get(0).unwrap_or(&view.value);
                if event.get("eventType")?.as_str()? != "Microsoft.EventGrid.SubscriptionValidationEvent" {
                    return None;
                }
                let code = event.pointer("/data/validationCode")?.as_str()?;
                answer(Reply::json(&json!({ "validationResponse": code })))
            }
            Self::Sns => {
                let view = view("")?;
                if view.value.get("Type")?.as_str()? != "SubscriptionConfirmation" {
                    return None;
                }
                let url = view.value.get("SubscribeURL")?.as_str()?;
                match crate::keys::may_fetch(url, &SNS_HOSTS) {
                    true => Some(Step::Visit { url: url.to_owned() }),
                    false => Some(Step::Refuse),
                }
            }
            Self::Discord => {
                let view = view("")?;
                match (view.value.get("type")?.as_u64()?, view.value.get("event")) {
                    (0, _) => answer(Reply::status(204)),
                    (1, None) => answer(Reply::json(&json!({ "type": 1 }))),
                    _ => None,
                }
            }
            Self::BitbucketPing => is_bitbucket_ping(request).then(|| Step::Answer(Reply::status(200))),
            Self::Tebex => {
                let view = view("")?;
                if view.value.get("type")?.as_str()? != "validation.webhook" {
                    return None;
                }
                answer(Reply::json(&json!({ "id": view.value.get("id")? })))
            }
            _ => None,
        }
    }

    /// Headers that the answer to every event has to have.
    pub fn stamp(self, request: &Request, secrets: &[&Secret]) -> Vec<(&'static str, String)> {
        match self {
            Self::AdobeSign => request
                .header("x-adobesign-clientid")
                .map(|id| vec![("x-adobesign-clientid", id)])
                .unwrap_or_default(),
            Self::VercelDrains => {
                vercel_code(secrets).map(|code| vec![(VERCEL_VERIFY, code)]).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// The keyed hash of a challenge of a shape that can't be anything else.
fn keyed(hash: Hash, secret: &Secret, challenge: &str) -> Option<Vec<u8>> {
    let key = secret.expose().as_bytes();
    if key.is_empty() { None } else { mac(hash, key, challenge.as_bytes()) }
}

/// Whether any secret's value of that name, or the secret itself if it has no such value, is `given`.
fn any_value(secrets: &[&Secret], name: &str, given: &str) -> bool {
    let given = digest(Hash::Sha256, given.as_bytes());
    secrets.iter().any(|secret| {
        let value = secret.value(name).unwrap_or(secret.expose());
        !value.is_empty() && bool::from(digest(Hash::Sha256, value.as_bytes()).ct_eq(&given))
    })
}

/// The code that Vercel gave out for an endpoint. It is nothing that signs, and never what a request brought.
fn vercel_code(secrets: &[&Secret]) -> Option<String> {
    secrets
        .iter()
        .find_map(|secret| secret.value("verify"))
        .filter(|code| is_token(code, 128))
        .map(str::to_owned)
}

/// Whether it is the test button's: the header alone isn't enough, since no signature covers it.
fn is_bitbucket_ping(request: &Request) -> bool {
    let is_test = || {
        let members = small_json(request).and_then(|body| body.as_object().cloned());
        request.body.is_empty() || members.is_some_and(|members| members.keys().all(|name| name == "test"))
    };
    request.header("x-event-key").is_some_and(|key| key == "diagnostics:ping") && is_test()
}

/// Letters, digits, dashes and underscores: nothing with which a document, a form or a signed text could be written.
fn is_token(text: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// The body as JSON, if it is as small as a handshake is.
fn small_json(request: &Request) -> Option<Value> {
    let small = request.body.len() <= 4 * CHALLENGE_BYTES_MAX;
    small.then(|| serde_json::from_slice(&request.body).ok())?
}

/// The text of the only member of a JSON object.
fn only_member(request: &Request, name: &str) -> Option<String> {
    let body = small_json(request)?;
    let object = body.as_object().filter(|object| object.len() == 1)?;
    object.get(name)?.as_str().filter(|text| text.len() <= CHALLENGE_BYTES_MAX).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn get(query: &str) -> Request {
        let mut request = testing::request(b"");
        request.method = Method::GET;
        request.query = query.to_owned();
        request.url = format!("https://hooks.example.com/in/test?{query}");
        request
    }

    fn body_of(step: Step) -> String {
        match step {
            Step::Answer(reply) if reply.status == 200 => reply.body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_event_can_be_signed_as_a_challenge() {
        let secret = Secret::from("key");
        let secrets = [&secret];
        let event = r#"{"id":"evt_1","type":"payment"}"#;
        let encoded = "%7B%22id%22%3A1%7D";
        for (handshake, name) in [
            (Handshake::X, "crc_token"),
            (Handshake::Linkedin, "challengeCode"),
            (Handshake::Braintree, "bt_challenge"),
        ] {
            let step = handshake.before(&get(&format!("{name}={encoded}")), &secrets);
            assert_eq!(step, Step::Refuse, "{handshake:?}");
            let step = handshake.before(&get(&format!("{name}=")), &secrets);
            assert_eq!(step, Step::NotOne, "{handshake:?}");
        }
        for bad in ["v0:1780000000:{}", event, "", "a b"] {
            let body =
                json!({"event": "endpoint.url_validation", "payload": {"plainToken": bad}}).to_string();
            assert_eq!(Handshake::Zoom.after(&testing::request(body.as_bytes()), &secrets), Step::Refuse);
            let body = json!({"eventName": "verify", "payload": {"challenge": bad}}).to_string();
            assert_eq!(
                Handshake::Smartcar.before(&testing::request(body.as_bytes()), &secrets),
                Step::Refuse
            );
        }
        let uuid = "0f9d2c7b-6a41-4e5d-b7c3-8e1f2a9d4c60";
        assert!(
            body_of(Handshake::Linkedin.before(&get(&format!("challengeCode={uuid}")), &secrets))
                .contains(uuid)
        );
    }

    #[test]
    fn a_token_that_has_to_be_known_is_compared() {
        let named: Secret = serde_json::from_str(r#"{"secret": "s", "verify_token": "right"}"#).unwrap();
        let ask = |token: &str| {
            let query = format!("hub.mode=subscribe&hub.challenge=17&hub.verify_token={token}");
            Handshake::Meta.before(&get(&query), &[&named])
        };
        assert_eq!(body_of(ask("right")), "17");
        assert_eq!(ask("wrong"), Step::Answer(Reply::status(403)));
        assert_eq!(ask("s"), Step::Answer(Reply::status(403)));
        assert_eq!(Handshake::Meta.before(&get("hub.mode=subscribe"), &[&named]), Step::NotOne);
    }

    #[test]
    fn sns_is_confirmed_at_amazons_own_address_only() {
        let confirm = |url: &str| {
            let body = json!({"Type": "SubscriptionConfirmation", "SubscribeURL": url}).to_string();
            Handshake::Sns.after(&testing::request(body.as_bytes()), &[])
        };
        let url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=x";
        assert_eq!(confirm(url), Step::Visit { url: url.to_owned() });
        assert_eq!(confirm("https://sns.us-east-1.amazonaws.com.evil.example/?x"), Step::Refuse);
        assert_eq!(confirm("https://sns.s3.amazonaws.com/?x"), Step::Refuse);
    }

    #[test]
    fn vercel_hears_the_code_it_gave_out_and_nobody_elses() {
        let secret: Secret =
            serde_json::from_str(r#"{"secret": "s", "verify": "b1946ac92492d234"}"#).unwrap();
        let code = |step: Step| match step {
            Step::Answer(reply) => reply.headers,
            other => panic!("{other:?}"),
        };
        let wanted = vec![(VERCEL_VERIFY, "b1946ac92492d234".to_owned())];
        let with = |mut request: Request, name: &'static str, value: &str| {
            request.headers.insert(name, value.parse().unwrap());
            request
        };
        let asked = with(get(""), VERCEL_VERIFY, "another");
        assert_eq!(code(Handshake::VercelDrains.before(&asked, &[&secret])), wanted);
        for nothing in ["", "{}", " []\n"] {
            let request = testing::request(nothing.as_bytes());
            assert_eq!(code(Handshake::VercelDrains.before(&request, &[&secret])), wanted, "{nothing}");
            let signed = with(request, "x-vercel-signature", "00");
            assert_eq!(Handshake::VercelDrains.before(&signed, &[&secret]), Step::NotOne, "{nothing}");
        }
        let event = testing::request(br#"[{"id": "1"}]"#);
        assert_eq!(Handshake::VercelDrains.before(&event, &[&secret]), Step::NotOne);
        assert_eq!(Handshake::VercelDrains.stamp(&event, &[&secret]), wanted);
        for other in [r#""s""#, r#"{"secret": "s", "verify": "a\r\nb: c"}"#] {
            let other: Secret = serde_json::from_str(other).unwrap();
            assert_eq!(Handshake::VercelDrains.before(&asked, &[&other]), Step::NotOne);
            assert_eq!(Handshake::VercelDrains.stamp(&event, &[&other]), vec![]);
        }
    }

    #[test]
    fn a_test_button_says_nothing_but_that_it_is_one() {
        let ask = |key: &str, body: &str| {
            let mut request = testing::request(body.as_bytes());
            request.headers.insert("x-event-key", key.parse().unwrap());
            request
        };
        let answered = Step::Answer(Reply::status(200));
        for body in ["", "{}", r#"{"test": true}"#] {
            let mut ping = ask("diagnostics:ping", body);
            assert_eq!(Handshake::BitbucketPing.before(&ping, &[]), answered, "{body}");
            assert_eq!(Handshake::BitbucketPing.before(&ask("pr:opened", body), &[]), Step::NotOne, "{body}");
            ping.headers.insert("x-hub-signature", "sha256=00".parse().unwrap());
            assert_eq!(Handshake::BitbucketPing.before(&ping, &[]), Step::NotOne, "verified first: {body}");
            assert_eq!(Handshake::BitbucketPing.after(&ping, &[]), answered, "{body}");
        }
        for body in [r#"{"eventKey": "pr:opened"}"#, r#"{"test": true, "actor": {}}"#, "[]", "payload={}"] {
            let event = ask("diagnostics:ping", body);
            assert_eq!(Handshake::BitbucketPing.before(&event, &[]), Step::NotOne, "{body}");
            assert_eq!(Handshake::BitbucketPing.after(&event, &[]), Step::NotOne, "{body}");
        }
    }

    #[test]
    fn event_grid_asks_in_two_ways() {
        let mut options = testing::request(b"");
        options.method = Method::OPTIONS;
        options.headers.insert("webhook-request-origin", "eventgrid.azure.net".parse().unwrap());
        for handshake in [Handshake::EventGrid, Handshake::Cloudevents] {
            let Step::Answer(reply) = handshake.before(&options, &[]) else { panic!("{handshake:?}") };
            assert_eq!(reply.headers, [("webhook-allowed-origin", "eventgrid.azure.net".to_owned())]);
        }
        let event = json!([{
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6"},
        }]);
        let event = testing::request(event.to_string().as_bytes());
        assert_eq!(Handshake::EventGrid.before(&event, &[]), Step::NotOne, "the token is looked at first");
        assert_eq!(body_of(Handshake::EventGrid.after(&event, &[])), r#"{"validationResponse":"512d38b6"}"#);
    }

    #[test]
    fn a_hook_secret_is_sent_back_only_as_a_token() {
        let ask = |secret: &str| {
            let mut request = testing::request(b"{}");
            request.headers.insert("x-hook-secret", secret.parse().unwrap());
            Handshake::HookSecret.before(&request, &[])
        };
        let Step::Answer(reply) = ask("0a1b-2c3d") else { panic!() };
        assert_eq!(reply.headers, [("x-hook-secret", "0a1b-2c3d".to_owned())]);
        assert_eq!(ask("<script>"), Step::Refuse);
        assert_eq!(Handshake::HookSecret.before(&testing::request(b"{}"), &[]), Step::NotOne);
    }

    #[test]
    fn an_event_is_no_handshake() {
        let event = testing::request(br#"{"type": 1, "event": {"type": "X"}, "challenge": "c", "id": 1}"#);
        for handshake in [Handshake::Discord, Handshake::Monday, Handshake::Slack, Handshake::Notion] {
            assert_eq!(handshake.before(&event, &[]), Step::NotOne, "{handshake:?}");
            assert_eq!(handshake.after(&event, &[]), Step::NotOne, "{handshake:?}");
        }
        let ping = testing::request(br#"{"type": 1}"#);
        assert_eq!(body_of(Handshake::Discord.after(&ping, &[])), r#"{"type":1}"#);
    }
}
