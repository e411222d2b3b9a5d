//! `http`: a request to a destination, with the event's exact bytes or a body of your own.
//!
//! Keys: `url` (a text or `{ secret = "NAME" }`); `method` (default POST); `headers`, a table of templates;
//! `body`, a template (default: the bytes that were received, with their content type); `content_type` for such a
//! body (default `application/json`); `sign` (`standard-webhooks`, `hmac`, `bearer`, `basic`) with `secret`, its
//! name; `timeout_seconds` (default 10, at most 30); `success`, statuses that count as done (default: every 2xx).
//! Effect: one [`Effect::Http`]. With the exact bytes go `x-hookgate-source`, `-type`, `-id` and the sender's own
//! content type.
//!
//! ```toml
//! [actions.crm]                         # the exact bytes, signed
//! kind = "http"
//! url = { secret = "crm-url" }
//! sign = "standard-webhooks"
//! secret = "crm-key"
//!
//! [actions.deploy]                      # a body of your own
//! kind = "http"
//! url = "https://ci.example.com/deploy"
//! headers = { x-commit = "{{ event.after }}" }
//! body = '{"ref": {{ event.ref | tojson }}}'
//! success = [200, 202]
//! ```

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Deserializer, de};

use crate::{
    action::{About, Action, Kind, PlanError, TextOrSecret},
    effect::{Effect, HttpEffect},
    ids::Name,
    sign::Outgoing,
    template::Template,
};

pub(super) const KIND: Kind = Kind::new::<Http>("http", "sends a request to a destination");

/// Half of the worker's time limit, so that a batch of slow destinations still ends in order.
const TIMEOUT_SECONDS_MAX: u64 = 30;
const TIMEOUT_SECONDS_DEFAULT: u64 = 10;

#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Http {
    written: Written,
    sign: Option<(Outgoing, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: TextOrSecret,
    #[serde(default, deserialize_with = "method")]
    method: Option<Method>,
    #[serde(default)]
    headers: BTreeMap<String, Template>,
    body: Option<Template>,
    content_type: Option<String>,
    sign: Option<Sign>,
    secret: Option<String>,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    success: Vec<u16>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sign {
    StandardWebhooks,
    Hmac,
    Bearer,
    Basic,
    None,
}

fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Method>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => {
            Method::from_bytes(text.as_bytes()).map(Some).map_err(de::Error::custom)
        }
        _ => {
            Err(de::Error::custom(format!("unknown method `{text}`; write GET, POST, PUT, PATCH or DELETE")))
        }
    }
}

impl TryFrom<Written> for Http {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let sign = match (written.sign, &written.secret) {
            (None | Some(Sign::None), None) => None,
            (None | Some(Sign::None), Some(_)) => return Err("`secret` is only used with `sign`".into()),
            (Some(_), None) => {
                return Err("`sign` needs `secret`, the name of the secret to sign with".into());
            }
            (Some(Sign::StandardWebhooks), Some(secret)) => {
                Some((Outgoing::StandardWebhooks, secret.clone()))
            }
            (Some(Sign::Hmac), Some(secret)) => Some((Outgoing::Hmac, secret.clone())),
            (Some(Sign::Bearer), Some(secret)) => Some((Outgoing::Bearer, secret.clone())),
            (Some(Sign::Basic), Some(secret)) => Some((Outgoing::Basic, secret.clone())),
        };
        if written.timeout_seconds.is_some_and(|seconds| seconds == 0 || seconds > TIMEOUT_SECONDS_MAX) {
            return Err(format!("`timeout_seconds` has to be 1 to {TIMEOUT_SECONDS_MAX}"));
        }
        if let TextOrSecret::Plain(url) = &written.url
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            return Err(format!("`{url}` is no http:// or https:// address"));
        }
        for name in written.headers.keys() {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        }
        if written.content_type.is_some() && written.body.is_none() {
            return Err("`content_type` goes with `body`; the received bytes keep their own".into());
        }
        Ok(Self { written, sign })
    }
}

impl Action for Http {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let event = about.event;
        let (body, content_type) = match &self.written.body {
            Some(template) => {
                let content_type =
                    self.written.content_type.clone().unwrap_or_else(|| "application/json".into());
                (template.render(about.context)?.into_bytes(), Some(content_type))
            }
            None => (event.request.body.clone(), event.request.header("content-type")),
        };
        let mut headers: Vec<(String, String)> = vec![
            ("x-hookgate-source".into(), event.source.to_string()),
            ("x-hookgate-type".into(), header_safe(&event.event_type)),
            ("x-hookgate-id".into(), header_safe(event.id.as_str())),
        ];
        headers.extend(content_type.map(|value| ("content-type".into(), value)));
        for (name, template) in &self.written.headers {
            let name = name.to_ascii_lowercase();
            let value = template.render(about.context)?;
            // A value from a stranger's event must not be able to start another header.
            HeaderValue::from_str(&value).map_err(|_| PlanError::Invalid {
                what: format!("the header `{name}` would not be one line of text"),
            })?;
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        Ok(Effect::Http(HttpEffect {
            method: self.written.method.clone().unwrap_or(Method::POST),
            url: self.written.url.to_text(),
            headers,
            body,
            sign: self.sign.clone(),
            timeout_ms: self.written.timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT) * 1000,
            success: self.written.success.clone(),
        }))
    }

    fn secrets<'a>(&'a self, _own: &'a Name) -> Vec<&'a str> {
        self.written
            .url
            .secret()
            .into_iter()
            .chain(self.sign.as_ref().map(|(_, name)| name.as_str()))
            .collect()
    }

    fn address_secret<'a>(&'a self, _own: &'a Name) -> Option<&'a str> {
        self.written.url.secret()
    }

    fn describe(&self) -> String {
        self.written.url.describe()
    }
}

/// A provider's word as a header value: what a header can't hold becomes `?`.
fn header_safe(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use crate::{config::Config, effect::Effect, testing::plan};

    #[test]
    fn passes_the_exact_bytes() {
        let Ok(Effect::Http(effect)) =
            plan("kind = \"http\"\nurl = \"https://x.example\"", "{ \"id\":\"1\"}\n")
        else {
            panic!("no http effect")
        };
        assert_eq!(effect.body, b"{ \"id\":\"1\"}\n");
        insta::assert_debug_snapshot!(effect.headers, @r#"
        [
            (
                "x-hookgate-source",
                "shop",
            ),
            (
                "x-hookgate-type",
                "unknown",
            ),
            (
                "x-hookgate-id",
                "1",
            ),
            (
                "content-type",
                "application/json",
            ),
        ]
        "#);
    }

    #[test]
    fn fills_in_body_and_headers() {
        let action = r#"
            kind = "http"
            method = "PUT"
            url = { secret = "where" }
            headers = { X-Who = "{{ event.who }}" }
            body = '{"who": {{ event.who | tojson }}}'
            sign = "standard-webhooks"
            secret = "key"
        "#;
        let Ok(Effect::Http(effect)) = plan(action, r#"{"who": "a\"b"}"#) else { panic!("no http effect") };
        assert_eq!(String::from_utf8(effect.body).unwrap(), r#"{"who": "a\"b"}"#);
        assert!(effect.headers.contains(&("x-who".into(), "a\"b".into())));
        let injected = plan(action, r#"{"who": "a\r\nx-evil: 1"}"#);
        assert!(injected.unwrap_err().to_string().contains("one line"));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (keys, part) in [
            ("url = \"ftp://x\"", "no http:// or https:// address"),
            ("url = \"https://x\"\nsign = \"hmac\"", "`sign` needs `secret`"),
            ("url = \"https://x\"\nsecret = \"s\"", "only used with `sign`"),
            ("url = \"https://x\"\nmethod = \"post\"", "unknown method `post`"),
            ("url = \"https://x\"\ntimeout_seconds = 31", "1 to 30"),
            ("url = \"https://x\"\nheaders = { \"a b\" = \"x\" }", "no header name"),
            ("url = \"https://x\"\nbody = \"{{ x\"", "bad template"),
            ("url = 5", "secret"),
            ("uri = \"https://x\"", "uri"),
        ] {
            let text = format!("[actions.it]\nkind = \"http\"\n{keys}");
            let problems = Config::parse(&text).unwrap_err();
            assert!(problems.iter().any(|p| p.message.contains(part)), "{keys}: {problems:?}");
        }
    }
}
