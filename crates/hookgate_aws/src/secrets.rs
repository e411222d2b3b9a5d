//! The secrets, cached.
//!
//! They are read once, kept, and read again on a timer and when a signature does not verify, as that is how a
//! rotation shows itself. Reading again is rate-limited, so that forged requests can't run up costs.

use std::{path::PathBuf, sync::Arc};

use hookgate_core::{
    secret::{Secrets, SecretsError},
    time::EpochMillis,
};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::{env::SecretsFrom, secrets_manager::SecretsManager};

/// Age at which the secrets are read again.
const REFRESH_MS: i64 = 5 * 60_000;

/// Least time between two readings after a failed verification: $0.05 for 10,000 calls (Secrets Manager's price)
/// makes at most $0.43 a month per running function, whatever is sent.
const REFRESH_ON_FAILURE_MS: i64 = 30_000;

/// Time between two readings while the secrets have never been read: whoever sends requests must not be able to
/// make one call each.
const REST_MS: i64 = 2_000;

/// The cached secrets of an installation.
#[derive(Debug)]
pub struct SecretStore {
    from: From,
    cached: Mutex<Option<Cached>>,
    /// When they were last not to be had at all.
    failed_at: Mutex<Option<EpochMillis>>,
}

#[derive(Debug)]
enum From {
    File(PathBuf),
    Manager { client: SecretsManager, id: String },
    Fixed(Arc<Secrets>),
}

#[derive(Clone, Debug)]
struct Cached {
    secrets: Arc<Secrets>,
    read_at: EpochMillis,
    tried_at: EpochMillis,
}

/// Why there are no secrets.
#[derive(Debug, Error)]
pub enum SecretStoreError {
    /// The file can't be read.
    #[error("the secrets in {path} can't be read")]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Secrets Manager did not give it.
    #[error("Secrets Manager GetSecretValue: {reason}")]
    Manager {
        /// What it or the SDK says.
        reason: String,
    },
    /// They could not be read a moment ago, and that is not tried for every request.
    #[error("the secrets could not be read a moment ago")]
    Resting,
    /// It is not what it should be.
    #[error(transparent)]
    Shape(#[from] SecretsError),
}

impl SecretStore {
    /// The secrets at `from`.
    pub fn new(from: &SecretsFrom, client: &SecretsManager) -> Self {
        let from = match from {
            SecretsFrom::File(path) => From::File(path.clone()),
            SecretsFrom::Manager(id) => From::Manager { client: client.clone(), id: id.clone() },
        };
        Self { from, cached: Mutex::new(None), failed_at: Mutex::new(None) }
    }

    /// Secrets that never change.
    pub fn fixed(secrets: Secrets) -> Self {
        Self { from: From::Fixed(Arc::new(secrets)), cached: Mutex::new(None), failed_at: Mutex::new(None) }
    }

    /// The secrets, at most five minutes old while their store answers, older ones when it does not.
    ///
    /// # Errors
    /// [`SecretStoreError`] when they have never been read.
    pub async fn current(&self, now: EpochMillis) -> Result<Arc<Secrets>, SecretStoreError> {
        let mut cached = self.cached.lock().await;
        match cached.clone() {
            Some(known) if now.millis_since(known.tried_at).abs() < REFRESH_MS => Ok(known.secrets),
            Some(known) => self.refresh(&mut cached, Some(known), now).await,
            None => {
                let mut failed_at = self.failed_at.lock().await;
                if failed_at.is_some_and(|at| now.millis_since(at).abs() < REST_MS) {
                    return Err(SecretStoreError::Resting);
                }
                let first = self.refresh(&mut cached, None, now).await;
                *failed_at = first.is_err().then_some(now);
                first
            }
        }
    }

    /// The secrets read again because a signature did not verify; `None` when they are no others, or were read
    /// too recently for another try.
    pub async fn after_failure(&self, now: EpochMillis) -> Option<Arc<Secrets>> {
        let mut cached = self.cached.lock().await;
        let known = cached.clone()?;
        // A clock that went ahead and came back must not put off the next look.
        if now.millis_since(known.tried_at).abs() < REFRESH_ON_FAILURE_MS {
            return None;
        }
        let before = known.secrets.clone();
        let after = self.refresh(&mut cached, Some(known), now).await.ok()?;
        (*after != *before).then_some(after)
    }

    /// Whether there may be others by now: they could not be read when that was last tried.
    pub async fn may_be_outdated(&self) -> bool {
        self.cached.lock().await.as_ref().is_some_and(|known| known.read_at != known.tried_at)
    }

    async fn refresh(
        &self,
        cached: &mut Option<Cached>,
        known: Option<Cached>,
        now: EpochMillis,
    ) -> Result<Arc<Secrets>, SecretStoreError> {
        match self.read().await {
            Ok(secrets) => {
                *cached = Some(Cached { secrets: secrets.clone(), read_at: now, tried_at: now });
                Ok(secrets)
            }
            Err(error) => {
                let Some(known) = known else { return Err(error) };
                let age_ms = now.millis_since(known.read_at);
                tracing::warn!(error = %error, age_ms, "the secrets could not be read again; the last ones stay in use");
                *cached = Some(Cached { tried_at: now, ..known.clone() });
                Ok(known.secrets)
            }
        }
    }

    async fn read(&self) -> Result<Arc<Secrets>, SecretStoreError> {
        let text = match &self.from {
            From::Fixed(secrets) => return Ok(secrets.clone()),
            From::File(path) => std::fs::read_to_string(path)
                .map_err(|source| SecretStoreError::File { path: path.clone(), source })?,
            From::Manager { client, id } => {
                client.secret_string(id).await.map_err(|reason| SecretStoreError::Manager { reason })?
            }
        };
        Ok(Arc::new(Secrets::from_json(&text)?))
    }
}
