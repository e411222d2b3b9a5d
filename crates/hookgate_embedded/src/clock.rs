//! One clock for the queue engine and whoever shares it, which a test can move.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Time in milliseconds since the Unix epoch. A clone is the same clock.
///
/// A clock only moves forward, and whoever waits on it ([`Clock::wait_until`], a long poll) wakes when it is
/// moved: a test crosses a visibility timeout of an hour without sleeping.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    /// A manual clock stands still between two calls of `advance`.
    manual: bool,
    /// The time itself on a manual clock, else what is added to the system's time.
    millis: AtomicI64,
    moved: watch::Sender<()>,
}

impl Clock {
    /// The system's time, plus whatever [`Clock::advance`] added.
    pub fn system() -> Clock {
        Clock::with(false, 0)
    }

    /// A clock that stands at `start_ms` until it is advanced.
    pub fn manual(start_ms: i64) -> Clock {
        Clock::with(true, start_ms)
    }

    fn with(manual: bool, millis: i64) -> Clock {
        let inner = Inner { manual, millis: AtomicI64::new(millis), moved: watch::Sender::new(()) };
        Clock { inner: Arc::new(inner) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        let millis = self.inner.millis.load(Ordering::SeqCst);
        if self.inner.manual { millis } else { system_ms().saturating_add(millis) }
    }

    /// Moves the clock forward and wakes everything that waits on it.
    ///
    /// On a system clock this adds an offset, so that a running local program can be moved too.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.inner.millis.fetch_add(by_ms, Ordering::SeqCst);
        self.inner.moved.send_replace(());
    }

    /// Returns once the clock shows `at_ms` or later: by itself on a system clock, by
    /// [`Clock::advance`] on a manual one.
    pub async fn wait_until(&self, at_ms: i64) {
        let mut moved = self.inner.moved.subscribe();
        loop {
            let left_ms = at_ms.saturating_sub(self.now_ms());
            let Ok(left_ms @ 1..) = u64::try_from(left_ms) else { return };
            let passed = async {
                if self.inner.manual {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(left_ms)).await;
            };
            tokio::select! {
                () = passed => {}
                // The sender lives in `self`: this never fails.
                _ = moved.changed() => {}
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("manual", &self.inner.manual).field("now_ms", &self.now_ms()).finish()
    }
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The same clock for the DynamoDB engine, which counts in seconds.
impl dynoxide::storage_backend::Clock for Clock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.now_ms() / 1000).unwrap_or_default()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(u64::try_from(self.now_ms()).unwrap_or_default()).as_secs_f64()
    }
}
