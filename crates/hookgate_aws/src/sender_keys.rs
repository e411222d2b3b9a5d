//! The senders' own public keys and certificates, fetched from their addresses and kept for a while.
//!
//! Which addresses may be asked stands in the scheme (`key_hosts`, or one fixed address), so a message can't make us
//! ask just anybody. How often is limited here, so that forged messages can't make us a load on the sender.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::HttpConnector, orchestrator::HttpRequest, result::ConnectorError,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use futures::future::BoxFuture;
use hookgate_core::{Fetched, request::Request, secret::Secret, sign, time::EpochMillis, verify::Verifier};
use reqwest::{StatusCode, Url};
use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    egress::{IDLE_TIMEOUT, SendError},
    guard::{EgressError, Guard, Way, was_refused},
    user_agent::USER_AGENT,
};

/// Age at which a key is fetched again: providers keep an old key published for a day or more when they change it.
const KEEP_MS: i64 = 60 * 60_000;

/// Age from which a key is fetched again for a signature that does not verify with it, as that is how a new one shows
/// itself (`OpenID` Connect Core 1.0, section 10.1.1), and for an answer that had no key in it. Forged messages make one
/// fetch of an address in this time.
const AGAIN_MS: i64 = 30_000;

/// Most bytes of a key document. Google's is 2 KB, Microsoft's 20.
const BYTES_MAX: usize = 256 * 1024;

/// How long fetching may take: the sender waits for it, and some wait for three seconds only.
const TIMEOUT: Duration = Duration::from_millis(2_500);

/// Most fetches in a minute. Genuine senders need one an hour for each of their keys.
const FETCHES_PER_MINUTE: usize = 20;

/// Most addresses remembered. A scheme whose messages name the address could fill the memory otherwise.
const ADDRESSES_MAX: usize = 200;

/// Fetches and keeps keys.
#[derive(Debug)]
pub struct SenderKeys {
    network: Network,
    instead: Option<Arc<dyn Fetch>>,
    known: Mutex<Known>,
    for_tests: bool,
}

/// Gets what is at an address in place of the network, so that a test can decide what becomes of it.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// The status and the body, within a time limit.
    fn get(&self, url: Url, limit: Duration) -> BoxFuture<'static, Result<(StatusCode, Vec<u8>), SendError>>;
}

#[derive(Debug, Default)]
struct Known {
    fetched: Arc<Fetched>,
    addresses: Vec<(String, EpochMillis)>,
    fetches: Vec<EpochMillis>,
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum SenderKeysError {
    /// Asked too often.
    #[error("keys were fetched {FETCHES_PER_MINUTE} times in the last minute; no more for now")]
    TooOften,
    /// The address is not one that may be asked.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The sender can't be reached.
    #[error("{url} could not be fetched: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        reason: String,
    },
    /// The sender answered something else.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The answer is too large.
    #[error("{url} sent more than {BYTES_MAX} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
    },
}

impl SenderKeys {
    /// For the local program: what [`sign::test_secret`] made is believed, too.
    pub fn for_tests() -> Self {
        Self { for_tests: true, ..Self::default() }
    }

    /// Asks `allowed` (`host` or `host:port`) even where their addresses are private.
    pub fn allowing(allowed: &[String]) -> Self {
        let network = Network { guard: Guard::new(allowed), checked: OnceLock::new(), open: OnceLock::new() };
        Self { network, instead: None, known: Mutex::default(), for_tests: false }
    }

    /// With something else in place of the network.
    pub fn over(fetch: Arc<dyn Fetch>) -> Self {
        Self { instead: Some(fetch), ..Self::default() }
    }

    /// What is known so far. Keys of the local program's own are added where `secrets` have them.
    pub async fn known(
        &self,
        verifier: &Verifier,
        request: &Request,
        secrets: &[&Secret],
        now: EpochMillis,
    ) -> Arc<Fetched> {
        if let Some(own) = self.own(verifier, request, secrets) {
            return own;
        }
        let mut known = self.known.lock().await;
        let (kept, old): (Vec<_>, Vec<_>) = std::mem::take(&mut known.addresses)
            .into_iter()
            .partition(|(_, at)| now.millis_since(*at) < KEEP_MS);
        known.addresses = kept;
        for (url, _) in old {
            Arc::make_mut(&mut known.fetched).remove(&url);
        }
        known.fetched.clone()
    }

    /// What was fetched within the last half minute: with it a signature can fail that is genuine only if it is
    /// by a key of this very moment. Keys of the local program's own are always that fresh.
    pub async fn fresh(
        &self,
        verifier: &Verifier,
        request: &Request,
        secrets: &[&Secret],
        now: EpochMillis,
    ) -> Arc<Fetched> {
        if let Some(own) = self.own(verifier, request, secrets) {
            return own;
        }
        let known = self.known.lock().await;
        let mut fetched = known.fetched.clone();
        // A clock that went ahead and came back must not make old keys fresh.
        for (url, _) in known.addresses.iter().filter(|(_, at)| now.millis_since(*at).abs() >= AGAIN_MS) {
            Arc::make_mut(&mut fetched).remove(url);
        }
        fetched
    }

    fn own(&self, verifier: &Verifier, request: &Request, secrets: &[&Secret]) -> Option<Arc<Fetched>> {
        let own = self.for_tests.then(|| sign::test_keys(verifier, request, secrets));
        own.filter(|own| !own.is_empty()).map(Arc::new)
    }

    /// Fetches what is at an address that [`VerifyError::KeyNeeded`] named, and returns everything known then.
    ///
    /// [`VerifyError::KeyNeeded`]: hookgate_core::verify::VerifyError::KeyNeeded
    ///
    /// # Errors
    /// [`SenderKeysError`]; the sender should be asked to send again.
    pub async fn fetch(&self, url: &str, now: EpochMillis) -> Result<Arc<Fetched>, SenderKeysError> {
        self.spend(now).await?;
        let content = self.get(url).await?;
        let mut known = self.known.lock().await;
        if known.addresses.len() >= ADDRESSES_MAX && !known.addresses.is_empty() {
            let (oldest, _) = known.addresses.remove(0);
            Arc::make_mut(&mut known.fetched).remove(&oldest);
        }
        known.addresses.retain(|(kept, _)| kept != url);
        known.addresses.push((url.to_owned(), now));
        Arc::make_mut(&mut known.fetched).insert(url, content);
        Ok(known.fetched.clone())
    }

    /// Visits an address that a handshake named, for what the visit does.
    ///
    /// # Errors
    /// [`SenderKeysError`]
    pub async fn visit(&self, url: &str, now: EpochMillis) -> Result<(), SenderKeysError> {
        self.spend(now).await?;
        self.get(url).await.map(|_| ())
    }

    async fn spend(&self, now: EpochMillis) -> Result<(), SenderKeysError> {
        let mut known = self.known.lock().await;
        known.fetches.retain(|at| now.millis_since(*at) < 60_000);
        if known.fetches.len() >= FETCHES_PER_MINUTE {
            return Err(SenderKeysError::TooOften);
        }
        known.fetches.push(now);
        Ok(())
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, SenderKeysError> {
        let (way, address) = self.network.guard.judge(url)?;
        let answer = match &self.instead {
            Some(fetch) => fetch.get(address, TIMEOUT).await,
            None => {
                timeout(TIMEOUT, self.network.get(way, &address)).await.unwrap_or(Err(SendError::Timeout))
            }
        };
        let (status, content) = answer.map_err(|error| SenderKeysError::Unreachable {
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
        if !status.is_success() {
            return Err(SenderKeysError::Status { url: url.to_owned(), status });
        }
        if content.len() > BYTES_MAX {
            return Err(SenderKeysError::TooLarge { url: url.to_owned() });
        }
        Ok(content)
    }
}

impl Default for SenderKeys {
    fn default() -> Self {
        Self::allowing(&[])
    }
}

/// The HTTP client of the SDK, which a function has anyway: another one would be a twentieth of ingest.
///
/// It follows no redirects and asks no proxy, and it is made when it is first needed: most installations have no sender
/// that publishes its keys.
#[derive(Debug)]
struct Network {
    guard: Guard,
    checked: OnceLock<Connector>,
    open: OnceLock<Connector>,
}

impl Network {
    /// The status and the body; of one that is too large, only a little more than is too much.
    async fn get(&self, way: Way, url: &Url) -> Result<(StatusCode, Vec<u8>), SendError> {
        let builder = || {
            Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .pool_idle_timeout(IDLE_TIMEOUT)
        };
        let connector = match way {
            Way::Open => self.open.get_or_init(|| builder().build_with_resolver(self.guard.opened())),
            Way::Checked => self.checked.get_or_init(|| builder().build_with_resolver(self.guard.clone())),
        };
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(url.as_str()).map_err(|_| SendError::Invalid)?;
        request.headers_mut().insert("user-agent", USER_AGENT);
        let response = connector.call(request).await.map_err(|error| failed(&error))?;
        let status = StatusCode::from_u16(response.status().as_u16()).map_err(|_| SendError::Broken)?;
        let mut body = ByteStream::new(response.into_body());
        let mut content = Vec::new();
        while content.len() <= BYTES_MAX {
            let Some(chunk) = body.try_next().await.map_err(|_| SendError::Broken)? else { break };
            content.extend_from_slice(&chunk);
        }
        Ok((status, content))
    }
}

fn failed(error: &ConnectorError) -> SendError {
    match () {
        () if was_refused(error) => SendError::Refused,
        () if error.is_timeout() => SendError::Timeout,
        () if error.is_io() => SendError::Unreachable,
        () => SendError::Broken,
    }
}
