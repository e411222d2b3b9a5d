//! Asking a provider's API, one request after the other, at the pace that it allows.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, anyhow, bail};
use hookgate_aws::ambient::Ambient;
use hookgate_core::{lifecycle::retry_after_ms, secret::Secret, time::EpochMillis};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, RETRY_AFTER},
};
use reqwest::{Client, Url, redirect::Policy};
use serde_json::Value;

use crate::show;

/// How long a connection may take to be made, and a whole answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes of an answer: a hundred of the largest events there are come to a tenth of that.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long is waited when an API has had enough and does not say for how long: GitHub asks for a minute at least
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>, read 2026-11-21).
const REST_MS: i64 = 60_000;

/// Longest time that is waited for an API: a person would rather come back than watch for an hour.
const REST_MS_MAX: i64 = 5 * 60_000;

/// How often in a row an API may have had enough. To go on asking can get a client banned.
const RESTS_MAX: u32 = 5;

/// Most characters of what an API says about an error.
const SAID_CHARS_MAX: usize = 200;

/// Headers in which GitHub says how much may still be asked, and when that begins anew (UTC, in seconds).
const REMAINING: &str = "x-ratelimit-remaining";
const RESET: &str = "x-ratelimit-reset";

/// A provider's API.
#[derive(Debug)]
pub(crate) struct Api {
    /// The provider's name, for messages.
    pub(crate) name: &'static str,
    client: Client,
    base: String,
    token: Secret,
    headers: HeaderMap,
    /// Not to be asked before then.
    rest_until: Option<EpochMillis>,
    ambient: Ambient,
}

/// What an API said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) text: String,
}

impl Api {
    /// An API at `base`, asked with the token in the environment variable `variable`.
    ///
    /// # Errors
    /// When there is no token, or it would be sent in the clear.
    pub(crate) fn new(
        name: &'static str,
        base: &str,
        variable: &str,
        token: Option<String>,
        headers: &[(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let token =
            token.ok_or_else(|| anyhow!("{variable} is not set; it has to be a token of {name}'s API"))?;
        let url = Url::parse(base).map_err(|_| anyhow!("--api {base} is no address"))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            _ => bail!("--api {base}: only https:// is asked, as the token must not go in the clear"),
        }
        let mut map = HeaderMap::new();
        map.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| anyhow!("{variable} has characters that no token has"))?;
        bearer.set_sensitive(true);
        map.insert(AUTHORIZATION, bearer);
        let client = Client::builder()
            // A token must not follow to wherever it is sent.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("hookgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("making the HTTP client")?;
        Ok(Self {
            name,
            client,
            base: base.trim_end_matches('/').to_owned(),
            token: Secret::from(token.as_str()),
            headers: map,
            rest_until: None,
            ambient: Ambient::system(),
        })
    }

    /// Asks, and asks again while the API says that it was too much. `path` begins with a slash.
    ///
    /// # Errors
    /// When there is no answer, or it will be too much for longer than is waited.
    pub(crate) async fn ask(&mut self, method: &Method, path: &str) -> anyhow::Result<Answer> {
        for _ in 0..RESTS_MAX {
            self.rest().await?;
            let answer = self.once(method, path).await?;
            let now = self.ambient.now();
            let is_last = number(&answer.headers, REMAINING) == Some(0);
            match rest_ms(answer.status, &answer.headers, &answer.text, now) {
                Some(rest_ms) => self.rest_until = Some(now.plus_millis(rest_ms)),
                None => {
                    self.rest_until =
                        number(&answer.headers, RESET).filter(|_| is_last).map(EpochMillis::from_seconds);
                    return Ok(answer);
                }
            }
        }
        bail!(
            "{} says again and again that it is asked too much (rate limit); run this again later: what has arrived \
             by then is no longer missing",
            self.name
        )
    }

    async fn rest(&mut self) -> anyhow::Result<()> {
        let Some(until) = self.rest_until.take() else { return Ok(()) };
        let wait_ms = until.millis_since(self.ambient.now());
        if wait_ms > REST_MS_MAX {
            bail!(
                "{}'s rate limit is used up until {}; run this again then: what has arrived is no longer missing",
                self.name,
                show::short_time(until)
            );
        }
        if wait_ms > 0 {
            show::note(&format!("{} asks for a pause of {} s", self.name, wait_ms.div_euclid(1000) + 1));
            tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
        }
        Ok(())
    }

    async fn once(&self, method: &Method, path: &str) -> anyhow::Result<Answer> {
        let broken = |error: &reqwest::Error| {
            let how = if error.is_timeout() {
                "gave no answer in time"
            } else if error.is_connect() {
                "could not be reached"
            } else {
                "broke the connection"
            };
            anyhow!("{} ({}) {how}", self.name, self.base)
        };
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        let mut response =
            request.headers(self.headers.clone()).send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body: Vec<u8> = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                bail!("{} ({}) answers with more than {ANSWER_BYTES_MAX} bytes", self.name, self.base);
            }
        }
        // Not JSON if it is not UTF-8, which is said then.
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, headers, text })
    }

    /// What an answer says about an error, in a line and without the token.
    pub(crate) fn said(&self, answer: &Answer) -> String {
        let document: Option<Value> = serde_json::from_str(&answer.text).ok();
        let message = document.as_ref().and_then(|document| {
            let place = document.pointer("/message").or_else(|| document.pointer("/error/message"));
            place.and_then(Value::as_str)
        });
        let text: String = message.unwrap_or_default().replace(self.token.expose(), "[redacted]");
        let text: String = show::plain(&text).chars().take(SAID_CHARS_MAX).collect();
        let status = answer.status.as_u16();
        if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }
    }

    /// The error for an answer that is none of those that the API's documentation gives for this request.
    pub(crate) fn unexpected(&self, answer: &Answer) -> String {
        let name = self.name;
        if answer.status.is_redirection() {
            return format!(
                "{name} says that it moved ({}): name it as it is called now, and --api if that has moved",
                answer.status.as_u16()
            );
        }
        let said = self.said(answer);
        match answer.status.is_server_error() {
            true => format!("{name} has trouble of its own ({said}); run this again later"),
            false => format!("{name} refuses this ({said})"),
        }
    }

    /// The error for an answer that can't be understood.
    pub(crate) fn garbage(&self, what: &str) -> anyhow::Error {
        anyhow!("{} ({}) answers with something that is no {what}: is --api right?", self.name, self.base)
    }
}

/// How long an API wants to be left alone; `None` when the answer is not about that.
///
/// GitHub says it with 403 or 429, and `retry-after`, or no requests remaining until a time, or its words alone
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>); Stripe with 429
/// (<https://docs.stripe.com/rate-limits>). Both read 2026-11-21.
fn rest_ms(status: StatusCode, headers: &HeaderMap, text: &str, now: EpochMillis) -> Option<i64> {
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| retry_after_ms(text, now));
    let is_used_up = number(headers, REMAINING) == Some(0);
    let is_limit = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            retry_after.is_some() || is_used_up || text.to_ascii_lowercase().contains("rate limit")
        }
        _ => false,
    };
    let until_reset = || {
        let reset = number(headers, RESET).filter(|_| is_used_up)?;
        Some(EpochMillis::from_seconds(reset).millis_since(now).max(0))
    };
    is_limit.then(|| retry_after.or_else(until_reset).unwrap_or(REST_MS))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMillis = EpochMillis::from_seconds(1_780_000_000);

    #[test]
    fn a_limit_is_told_from_a_refusal_and_says_how_long() {
        let rest = |status: u16, headers: &[(&'static str, &str)], text: &str| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            rest_ms(StatusCode::from_u16(status).unwrap(), &map, text, NOW)
        };
        let reset = ("x-ratelimit-reset", "1780000030");
        for (status, headers, text, want) in [
            (200, [("x-ratelimit-remaining", "0"), reset].as_slice(), "", None),
            (403, &[], "Resource not accessible by personal access token", None),
            (403, &[("x-ratelimit-remaining", "4999"), reset], "Must have admin rights", None),
            (403, &[("x-ratelimit-remaining", "0"), reset], "", Some(30_000)),
            (429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "", Some(0)),
            (403, &[("retry-after", "7")], "", Some(7_000)),
            (429, &[("retry-after", "7"), ("x-ratelimit-remaining", "0"), reset], "", Some(7_000)),
            (403, &[], "You have exceeded a secondary Rate Limit", Some(REST_MS)),
            (429, &[], "", Some(REST_MS)),
            (429, &[("retry-after", "soon"), ("x-ratelimit-remaining", "x")], "", Some(REST_MS)),
            (500, &[("retry-after", "7")], "", None),
        ] {
            assert_eq!(rest(status, headers, text), want, "{status} {headers:?} {text}");
        }
    }

    #[test]
    fn a_token_is_needed_and_never_goes_in_the_clear() {
        let api = |base: &str, token: Option<&str>| {
            Api::new("GitHub", base, "GITHUB_TOKEN", token.map(str::to_owned), &[]).map_err(|e| e.to_string())
        };
        for (base, token, part) in [
            ("https://api.github.com", None, "GITHUB_TOKEN is not set"),
            ("https://api.github.com", Some("  "), "GITHUB_TOKEN is not set"),
            ("https://api.github.com", Some("a\nb"), "GITHUB_TOKEN has characters"),
            ("http://api.github.com", Some("hunter2"), "in the clear"),
            ("http://127.0.0.1.example.com", Some("hunter2"), "in the clear"),
            ("ftp://api.github.com", Some("hunter2"), "in the clear"),
            ("api.github.com", Some("hunter2"), "is no address"),
        ] {
            let error = api(base, token).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{base}: {error}");
        }
        for base in ["https://github.example.com/api/v3/", "http://127.0.0.1:1", "http://[::1]:1"] {
            let api = api(base, Some("hunter2")).unwrap();
            assert!(!format!("{api:?}").contains("hunter2"), "{api:?}");
        }
    }

    #[tokio::test]
    async fn it_is_not_waited_for_an_hour() {
        let mut api =
            Api::new("GitHub", "http://127.0.0.1:1", "GITHUB_TOKEN", Some("t".to_owned()), &[]).unwrap();
        api.rest_until = Some(api.ambient.now().plus_millis(60 * 60_000));
        let error = api.ask(&Method::GET, "/").await.unwrap_err().to_string();
        assert!(error.contains("used up until") && error.contains("again then"), "{error}");
        // A time that is over is nothing to wait for.
        api.rest_until = Some(api.ambient.now().plus_millis(-1));
        let error = api.ask(&Method::GET, "/").await.unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:1") && error.contains("could not be reached"), "{error}");
    }
}
