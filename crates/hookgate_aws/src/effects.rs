//! Performing what actions planned. The only place from which hookgate changes something outside of itself.

use std::{
    collections::BTreeMap, fmt, future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration,
};

use futures::{
    FutureExt,
    future::{self, BoxFuture, Either},
};
use hookgate_core::{
    effect::{Effect, HttpEffect, Text},
    event::Event,
    ids::{EventId, Name},
    lifecycle::{self, DETAIL_CHARS_MAX},
    secret::Secrets,
    sign::outgoing,
    time::EpochMillis,
};
use reqwest::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};

use crate::{
    aws_call::AwsCaller,
    egress::{Egress, SendError},
    performed::Performed,
    store::Store,
};

/// What a function of the user's own returns.
pub type RunResult = Result<String, RunError>;

/// How a function of the user's own failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// It may work later: the action is tried again.
    Retry(String),
    /// It never will: the action is dead.
    Dead(String),
}

type Run = Arc<dyn Fn(Event) -> BoxFuture<'static, RunResult> + Send + Sync>;

/// The functions that `run` actions call, by name.
#[derive(Clone)]
pub struct Functions {
    known: BTreeMap<&'static str, Run>,
    sleep: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Default for Functions {
    fn default() -> Self {
        Self::timed_by(tokio::time::sleep)
    }
}

impl Functions {
    /// None yet, with another clock than the system's for how long each may take.
    pub fn timed_by<F, Fut>(sleep: F) -> Self
    where
        F: Fn(Duration) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { known: BTreeMap::new(), sleep: Arc::new(move |time| Box::pin(sleep(time))) }
    }

    /// Adds one.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: &'static str, function: F) -> Self
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = RunResult> + Send + 'static,
    {
        self.known.insert(name, Arc::new(move |event| Box::pin(function(event))));
        self
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.known.keys().copied().collect()
    }

    /// Calls one. One that panics or never ends must not take the worker with it: that would look like a poisoned message,
    /// and the event would end in the dead-letter queue without saying why.
    async fn call(&self, run: Run, event: Event) -> Performed {
        let ended = AssertUnwindSafe(async move { run(event).await }).catch_unwind();
        let limit = (self.sleep)(Duration::from_millis(RUN_MS_MAX));
        match future::select(pin!(ended), limit).await {
            Either::Left((Ok(Ok(detail)), _)) => Performed::done(detail),
            Either::Left((Ok(Err(RunError::Retry(detail))), _)) => Performed::failed(detail),
            Either::Left((Ok(Err(RunError::Dead(detail))), _)) => Performed::impossible(detail),
            Either::Left((Err(_), _)) => Performed::failed("the function panicked; the log has where"),
            Either::Right(_) => Performed::failed(format!("the function did not end within {RUN_MS_MAX} ms")),
        }
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

/// Performs effects.
#[derive(Clone, Debug)]
pub struct Performer {
    /// For what is sent to destinations.
    pub egress: Egress,
    /// For AWS services.
    pub aws: AwsCaller,
    /// For what is kept in the table.
    pub store: Store,
    /// For what is the user's own.
    pub functions: Functions,
}

/// For what an effect is performed.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// The event.
    pub event: &'a Event,
    /// The action.
    pub action: &'a Name,
    /// How long the event is kept.
    pub retention_days: u32,
}

impl Performer {
    /// Performs one effect.
    pub async fn perform(
        &self,
        effect: Effect,
        cause: Cause<'_>,
        secrets: &Secrets,
        now: EpochMillis,
    ) -> Performed {
        let performed = match effect {
            Effect::Http(effect) => self.http(effect, cause, secrets, now).await,
            Effect::Aws(effect) => self.aws.call(&effect, now).await,
            Effect::Record(effect) => match self.store.record(cause.event, &effect, now).await {
                Ok(true) => Performed::done(format!("recorded {}/{}", effect.collection, effect.key)),
                Ok(false) => {
                    Performed::done(format!("kept {}/{}, which is newer", effect.collection, effect.key))
                }
                Err(error) => Performed::of(&error),
            },
            Effect::Count(effect) => {
                let counted =
                    self.store.count(cause.event, cause.action, &effect, cause.retention_days, now).await;
                match counted {
                    Ok(true) => Performed::done(format!("counted {} / {}", effect.counter, effect.label)),
                    Ok(false) => Performed::done(format!("{} had counted it before", effect.counter)),
                    Err(error) => Performed::of(&error),
                }
            }
            Effect::Run { function } => match self.functions.known.get(function.as_str()) {
                None => {
                    let known = self.functions.names().join(", ");
                    Performed::impossible(format!("no function is called `{function}` (there are: {known})"))
                }
                Some(run) => self.functions.call(run.clone(), cause.event.clone()).await,
            },
        };
        performed.shortened()
    }

    async fn http(
        &self,
        effect: HttpEffect,
        cause: Cause<'_>,
        secrets: &Secrets,
        now: EpochMillis,
    ) -> Performed {
        // A missing secret is mended by adding it, so the event waits for that.
        let secret = |name: &str| {
            secrets
                .newest(name)
                .ok_or_else(|| Performed::failed(format!("there is no secret called `{name}`")))
        };
        let url = match &effect.url {
            Text::Plain(url) => url.clone(),
            Text::Secret(name) => match secret(name) {
                Ok(secret) => secret.expose().to_owned(),
                Err(failed) => return failed,
            },
        };
        let (client, url) = match (self.egress.client(&url), &effect.url) {
            (Ok(found), _) => found,
            // So is a wrong one.
            (Err(error), Text::Secret(name)) => {
                return Performed::failed(format!("secret `{name}`: {error}"));
            }
            (Err(error), Text::Plain(_)) => return Performed::impossible(error.to_string()),
        };
        // Which host it was, never the whole address: it may be a secret.
        let place = url.host_str().unwrap_or_default().to_owned();
        let mut request =
            client.request(effect.method, url).timeout(Duration::from_millis(effect.timeout_ms));
        for (name, value) in &effect.headers {
            request = request.header(name, value);
        }
        if let Some((how, name)) = &effect.sign {
            let secret = match secret(name) {
                Ok(secret) => secret,
                Err(failed) => return failed,
            };
            // The id stays the same over every attempt, so that the destination can tell a repetition.
            let id = format!("{}_{}_{}", cause.event.source, cause.event.id, cause.action);
            // Receivers differ in how they read other characters in a header, and it is signed.
            let id = if id.is_ascii() { id } else { EventId::from_hash(&[id.as_bytes()]).to_string() };
            match outgoing(*how, secret, &id, now, &effect.body) {
                Ok(headers) => {
                    for (header, value) in headers {
                        let Ok(value) = HeaderValue::try_from(value) else {
                            return Performed::failed(format!("secret `{name}` can't stand in a header"));
                        };
                        request = request.header(header, value);
                    }
                }
                Err(error) => return Performed::failed(format!("secret `{name}`: {error}")),
            }
        }
        match self.egress.send(request.body(effect.body)).await {
            Ok(response) => {
                let retry_after_ms = response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| lifecycle::retry_after_ms(text, now));
                judge(response.status(), &effect.success, &place, retry_after_ms)
            }
            Err(SendError::Refused) => Performed::impossible(format!(
                "{place} has no public address; `allow_hosts` allows it by name"
            )),
            Err(SendError::Timeout) => {
                Performed::failed(format!("{place} gave no answer within {} ms", effect.timeout_ms))
            }
            Err(error @ SendError::Unreachable) => Performed::failed(format!("{place} {error}")),
            Err(error @ SendError::Invalid) => Performed::impossible(format!("{place}: {error}")),
            Err(SendError::Broken) => Performed::failed(format!("the connection to {place} broke")),
        }
    }
}

impl Performed {
    fn shortened(self) -> Self {
        let short = |detail: String| detail.chars().take(DETAIL_CHARS_MAX).collect();
        match self {
            Self::Done { detail } => Self::Done { detail: short(detail) },
            Self::Failed { detail, retry_after_ms } => Self::Failed { detail: short(detail), retry_after_ms },
            Self::Impossible { detail } => Self::Impossible { detail: short(detail) },
            Self::Gone { detail } => Self::Gone { detail: short(detail) },
        }
    }
}

/// How long a function of the user's own may take: as long as the slowest destination, so that what the worker
/// reckons with (`WORK_MS_MAX`) holds for both.
pub const RUN_MS_MAX: u64 = 30_000;

/// What a destination's status means. Of the 4xx, only those that speak of time are worth another try; a 3xx
/// is an address that has to be mended, as redirects are not followed; 410 is for all events (Standard Webhooks 1.0.0,
/// «Deliverability and reliability»: the endpoint should be disabled).
fn judge(status: StatusCode, success: &[u16], place: &str, retry_after_ms: Option<i64>) -> Performed {
    let detail = format!("{place} answered {}", status.as_u16());
    let done = if success.is_empty() { status.is_success() } else { success.contains(&status.as_u16()) };
    if done {
        return Performed::Done { detail };
    }
    if status == StatusCode::GONE {
        return Performed::Gone { detail };
    }
    let again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    if again { Performed::Failed { detail, retry_after_ms } } else { Performed::Impossible { detail } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_speak_of_time_are_worth_another_try() {
        let judge = |status: u16, success: &[u16]| match judge(
            StatusCode::from_u16(status).unwrap(),
            success,
            "h",
            Some(5),
        ) {
            Performed::Done { .. } => "done",
            Performed::Failed { retry_after_ms: Some(5), .. } => "again",
            Performed::Failed { .. } => "lost the retry-after",
            Performed::Impossible { .. } => "dead",
            Performed::Gone { .. } => "gone",
        };
        for (status, want) in [
            (200, "done"),
            (202, "done"),
            (204, "done"),
            (301, "dead"),
            (400, "dead"),
            (401, "dead"),
            (404, "dead"),
            (408, "again"),
            (409, "again"),
            (410, "gone"),
            (425, "again"),
            (429, "again"),
            (500, "again"),
            (503, "again"),
        ] {
            assert_eq!(judge(status, &[]), want, "{status}");
        }
        assert_eq!(judge(404, &[404]), "done");
        assert_eq!(judge(200, &[404]), "dead");
    }
}
