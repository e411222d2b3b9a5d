//! GitHub: the list of a webhook's deliveries, and asking for one of them again.
//!
//! The endpoints, all read 2026-11-21: <https://docs.github.com/en/rest/repos/webhooks>,
//! <https://docs.github.com/en/rest/orgs/webhooks> and <https://docs.github.com/en/rest/apps/webhooks>. The list has the
//! newest first and is paged by `cursor`, which is in the `next` address of the `link` header. A delivery and its
//! redeliveries have one `guid`, which is the event's id; every attempt has an `id` of its own.

use std::{collections::BTreeMap, fmt};

use hookgate_core::{ids::EventId, source::Source, time::EpochMillis};
use http::{HeaderMap, Method, StatusCode, header::LINK};
use serde::Deserialize;

use super::{
    Again, Brought, NotBrought, Page, Sent, Window,
    api::{Answer, Api},
};

/// Where the API is, unless `--api` names a GitHub Enterprise Server (`https://HOST/api/v3`).
pub(crate) const API: &str = "https://api.github.com";

/// The variable with the token.
pub(crate) const TOKEN: &str = "GITHUB_TOKEN";

/// Days for which github.com keeps deliveries (GitHub Enterprise Server: 7). Source:
/// <https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks>, read 2026-11-21.
pub(crate) const KEEPS_DAYS: i64 = 3;

/// Redeliveries a second: GitHub asks for a second between requests that change something. Source:
/// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api>, read 2026-11-21.
pub(crate) const RATE: f64 = 1.0;

/// The version of the API that this was written for.
const HEADERS: &[(&str, &str)] =
    &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];

/// Deliveries on a page, the most that there can be.
const PER_PAGE: usize = 100;

/// Which webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Of a repository: owner, name, id of the webhook.
    Repository(String, String, u64),
    /// Of an organization: name, id of the webhook.
    Organization(String, u64),
    /// Of the GitHub App that the token is for.
    App,
}

impl Hook {
    /// Reads `OWNER/REPO/ID`, `ORG/ID` or `app`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = |text: &str| {
            let ok = !text.is_empty()
                && !text.chars().all(|c| c == '.')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            ok.then(|| text.to_owned())
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["app"] => Some(Self::App),
            [organization, id] => Some(Self::Organization(name(organization)?, id.parse().ok()?)),
            [owner, repository, id] => {
                Some(Self::Repository(name(owner)?, name(repository)?, id.parse().ok()?))
            }
            _ => None,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Repository(owner, name, id) => format!("/repos/{owner}/{name}/hooks/{id}/deliveries"),
            Self::Organization(name, id) => format!("/orgs/{name}/hooks/{id}/deliveries"),
            Self::App => "/app/hook/deliveries".to_owned(),
        }
    }

    /// What the token has to be allowed.
    fn permission(&self) -> &'static str {
        match self {
            Self::Repository(..) => {
                "the token needs the repository permission «Webhooks», read to list and write to redeliver (a \
                 classic one: the scope `repo`), of somebody with admin access to the repository"
            }
            Self::Organization(..) => {
                "the token needs the organization permission «Webhooks», read to list and write to redeliver (a \
                 classic one: the scope `admin:org_hook`), of an owner of the organization"
            }
            Self::App => "an app's webhook is asked about with a JSON web token of the app itself",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(owner, name, id) => write!(f, "{owner}/{name}/{id}"),
            Self::Organization(name, id) => write!(f, "{name}/{id}"),
            Self::App => f.write_str("app"),
        }
    }
}

/// One webhook of GitHub's.
#[derive(Debug)]
pub(crate) struct GitHub {
    api: Api,
    hook: Hook,
    seen: BTreeMap<String, Seen>,
}

/// What is known of a `guid` by now.
#[derive(Debug)]
struct Seen {
    /// Its newest attempt, which is the one to be made again.
    newest: u64,
    /// How that ended.
    said: String,
    /// Whether it is in a page already.
    listed: bool,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    id: u64,
    guid: String,
    delivered_at: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    status_code: i64,
    event: String,
    action: Option<String>,
}

impl Delivery {
    /// The type, as the catalogue puts it together.
    fn event_type(&self) -> String {
        match &self.action {
            Some(action) if !action.is_empty() => format!("{}.{action}", self.event),
            _ => self.event.clone(),
        }
    }

    fn said(&self) -> String {
        match self.status_code {
            0 => self.status.clone(),
            code => format!("{code} {}", self.status),
        }
    }
}

impl GitHub {
    /// A webhook, asked about with `token`.
    ///
    /// # Errors
    /// As for [`Api::new`].
    pub(crate) fn new(base: &str, token: Option<String>, hook: Hook) -> anyhow::Result<Self> {
        Ok(Self { api: Api::new("GitHub", base, TOKEN, token, HEADERS)?, hook, seen: BTreeMap::new() })
    }

    /// Which webhook it is.
    pub(super) fn hook(&self) -> &Hook {
        &self.hook
    }

    pub(super) async fn page(&mut self, window: &Window, from: Option<&str>) -> anyhow::Result<Page> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("per_page", &PER_PAGE.to_string());
        if let Some(cursor) = from {
            query.append_pair("cursor", cursor);
        }
        let path = format!("{}?{}", self.hook.path(), query.finish());
        let answer = self.api.ask(&Method::GET, &path).await?;
        if answer.status != StatusCode::OK {
            anyhow::bail!(self.refusal(&answer).why);
        }
        let garbage = || self.api.garbage("list of deliveries");
        let deliveries: Vec<Delivery> = serde_json::from_str(&answer.text).map_err(|_| garbage())?;
        let (mut sent, mut past) = (Vec::new(), deliveries.is_empty());
        for delivery in deliveries {
            let at = EpochMillis::parse(&delivery.delivered_at).ok_or_else(garbage)?;
            if at < window.since {
                past = true;
                break;
            }
            let seen = self.seen.entry(delivery.guid.clone()).or_insert_with(|| Seen {
                newest: delivery.id,
                said: delivery.said(),
                listed: false,
            });
            let event_type = delivery.event_type();
            if seen.listed || at > window.until || !window.has_type(&event_type) {
                continue;
            }
            seen.listed = true;
            let id = EventId::from_provider(&delivery.guid).ok_or_else(garbage)?;
            let (said, again) = (seen.said.clone(), Again::Delivery(seen.newest));
            sent.push(Sent { id, event_type, at, said, again });
        }
        Ok(Page { sent, next: next_cursor(&answer.headers).filter(|_| !past) })
    }

    /// Asks GitHub to deliver it again.
    pub(super) async fn redeliver(&mut self, delivery: u64) -> Result<Brought, NotBrought> {
        let path = format!("{}/{delivery}/attempts", self.hook.path());
        let answer = self
            .api
            .ask(&Method::POST, &path)
            .await
            .map_err(|error| NotBrought { why: format!("{error:#}"), hopeless: true })?;
        if answer.status.is_success() { Ok(Brought::Asked) } else { Err(self.refusal(&answer)) }
    }

    fn refusal(&self, answer: &Answer) -> NotBrought {
        let said = self.api.said(answer);
        let permission = self.hook.permission();
        match answer.status {
            StatusCode::UNAUTHORIZED => NotBrought {
                why: format!(
                    "GitHub does not accept the token in {TOKEN} ({said}): it is wrong, or it has expired"
                ),
                hopeless: true,
            },
            StatusCode::FORBIDDEN => NotBrought {
                why: format!("GitHub does not let the token in {TOKEN} do this ({said}): {permission}"),
                hopeless: true,
            },
            StatusCode::NOT_FOUND => NotBrought {
                why: format!(
                    "GitHub has no such webhook or delivery as {}, or does not show it to this token ({said}): \
                     {permission}",
                    self.hook
                ),
                // Of deliveries it is one that is no longer kept.
                hopeless: false,
            },
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => NotBrought {
                why: format!(
                    "GitHub does not redeliver this ({said}): it keeps deliveries for {KEEPS_DAYS} days, and \
                     redelivers to a webhook that is active; {permission}"
                ),
                hopeless: false,
            },
            _ => NotBrought { why: self.api.unexpected(answer), hopeless: true },
        }
    }
}

/// The cursor in the `next` address of a `link` header. The address itself is not followed: the token would go with it.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| {
        link.split(';').skip(1).any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"))
    })?;
    let (_, rest) = next.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    let (_, query) = address.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "cursor").map(|(_, value)| value.into_owned())
}

/// Refuses a source whose ids are not GitHub's own: its list could not be compared with the store by them.
///
/// # Errors
/// When they are not.
pub(crate) fn need_own_ids(source: &Source) -> anyhow::Result<()> {
    if source.id == source.provider.event.id {
        return Ok(());
    }
    anyhow::bail!(
        "the events of {} have their id from {}, which GitHub's list does not tell; without `event.id` in \
         hookgate.toml it is X-GitHub-Delivery, which it does",
        source.name,
        source.id
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_webhook_is_named_by_its_owner_and_id() {
        for (text, path) in [
            ("octo/web.site/12", "/repos/octo/web.site/hooks/12/deliveries"),
            ("octo-org/12", "/orgs/octo-org/hooks/12/deliveries"),
            ("app", "/app/hook/deliveries"),
        ] {
            let hook = Hook::parse(text).unwrap();
            assert_eq!((hook.path().as_str(), hook.to_string().as_str()), (path, text));
        }
        for bad in
            ["", "octo", "octo/", "octo/x", "/1", "a/b/c/1", "a b/1", "../1", "a/../1", "a/b?/1", "a/b/-1"]
        {
            assert_eq!(Hook::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_cursor_of_the_next_page_is_taken() {
        let cursor = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_str(link).unwrap());
            next_cursor(&headers)
        };
        let next = r#"<https://api.github.com/repositories/1/hooks/2/deliveries?per_page=100&cursor=v1_3%3D>; rel="next""#;
        assert_eq!(cursor(next).as_deref(), Some("v1_3="));
        assert_eq!(cursor(&format!("<https://x/?cursor=a>; rel=\"prev\", {next}")).as_deref(), Some("v1_3="));
        for none in [
            "<https://x/?cursor=a>; rel=\"prev\"",
            "<https://x/?page=2>; rel=\"next\"",
            "next",
            "<; rel=\"next\"",
        ] {
            assert_eq!(cursor(none), None, "{none}");
        }
        assert_eq!(next_cursor(&HeaderMap::new()), None);
    }
}
