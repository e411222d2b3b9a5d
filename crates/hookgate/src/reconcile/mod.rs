//! Reconciliation: a provider is asked what it sent, that is compared with the store, and what is missing is brought in.
//!
//! # Layout
//! - [`github`]: the list of a webhook's deliveries, each of which GitHub can be asked to deliver again
//! - [`stripe`]: the list of an account's events, which are posted to the gateway as Stripe would
//! - [`api`]: asking either of them, at the pace that it allows
//! - here: what both have in common, and the comparison
//!
//! Nothing is remembered from one run to the next: what has arrived is no longer missing.

use hookgate_aws::store::Store;
use hookgate_core::{
    ids::{EventId, Name},
    routing::Glob,
    time::EpochMillis,
};

pub(crate) mod api;
pub(crate) mod github;
pub(crate) mod stripe;

use github::GitHub;
use stripe::Stripe;

/// Events that are looked up at once. `BatchGetItem` reads at most 16 MB, and an item can have 400 KB.
const LOOK_UP_MAX: usize = 40;

/// One event that the provider says it sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The id under which the store would have it.
    pub(crate) id: EventId,
    /// Its type.
    pub(crate) event_type: String,
    /// When it was sent, as far as the provider says.
    pub(crate) at: EpochMillis,
    /// What became of it, as far as the provider says; empty for nothing.
    pub(crate) said: String,
    /// How it can be had.
    pub(crate) again: Again,
}

/// How an event that is missing can be had.
#[derive(Debug)]
pub(crate) enum Again {
    /// The provider delivers this delivery again.
    Delivery(u64),
    /// This is its body.
    Body(String),
}

/// Which events are compared.
#[derive(Debug)]
pub(crate) struct Window {
    /// Sent then or later.
    pub(crate) since: EpochMillis,
    /// Sent then or earlier.
    pub(crate) until: EpochMillis,
    /// Of one of these types; empty for any.
    pub(crate) types: Vec<Glob>,
}

impl Window {
    fn has_type(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|glob| glob.matches(event_type))
    }
}

/// A part of the provider's list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The events in it that are in the window, each once over all pages.
    pub(crate) sent: Vec<Sent>,
    /// Where the next part begins; `None` when there is none, or nothing in it could be in the window.
    pub(crate) next: Option<String>,
}

/// What became of an event that was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// The provider delivers it again; it has not arrived yet.
    Asked,
    /// The gateway has it.
    Accepted,
    /// The gateway had it by then.
    Duplicate,
}

impl Brought {
    /// In a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Why an event could not be brought in.
#[derive(Debug)]
pub(crate) struct NotBrought {
    /// In a line, for the operator.
    pub(crate) why: String,
    /// Whether the next one could not be, either.
    pub(crate) hopeless: bool,
}

/// A provider that can be asked.
#[derive(Debug)]
pub(crate) enum Provider {
    GitHub(Box<GitHub>),
    Stripe(Box<Stripe>),
}

impl Provider {
    /// Who is asked about what.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::GitHub(github) => format!("GitHub, about the webhook {}", github.hook()),
            Self::Stripe(_) => "Stripe, about the account of the key".to_owned(),
        }
    }

    /// What is done with what is missing, as the beginning of a sentence.
    pub(crate) fn plan(&self) -> String {
        match self {
            Self::GitHub(_) => "GitHub is asked to redeliver".to_owned(),
            Self::Stripe(stripe) => format!("posting to {}:", stripe.place()),
        }
    }

    /// A part of the list of what it sent, the newest first.
    async fn page(&mut self, window: &Window, from: Option<&str>) -> anyhow::Result<Page> {
        match self {
            Self::GitHub(github) => github.page(window, from).await,
            Self::Stripe(stripe) => stripe.page(window, from).await,
        }
    }

    /// Brings in one event that is missing.
    pub(crate) async fn bring(&mut self, sent: &Sent) -> Result<Brought, NotBrought> {
        match (self, &sent.again) {
            (Self::GitHub(github), Again::Delivery(delivery)) => github.redeliver(*delivery).await,
            (Self::Stripe(stripe), Again::Body(body)) => stripe.post(&sent.id, body).await,
            (Self::GitHub(_), Again::Body(_)) | (Self::Stripe(_), Again::Delivery(_)) => {
                Err(NotBrought { why: "it is another provider's".to_owned(), hopeless: true })
            }
        }
    }
}

/// What the comparison came to.
#[derive(Debug)]
pub(crate) struct Compared {
    /// How many events the provider sent.
    pub(crate) sent: usize,
    /// Those of them that are not in the store, the oldest first.
    pub(crate) missing: Vec<Sent>,
}

/// Compares what the provider sent with what the store has, page by page, so that only what is missing is held.
/// `progress` is told how many were compared so far, and how many of them are missing.
pub(crate) async fn compare(
    provider: &mut Provider,
    store: &Store,
    source: &Name,
    window: &Window,
    mut progress: impl FnMut(usize, usize),
) -> anyhow::Result<Compared> {
    let mut compared = Compared { sent: 0, missing: Vec::new() };
    let mut from: Option<String> = None;
    loop {
        let page = provider.page(window, from.as_deref()).await?;
        compared.sent += page.sent.len();
        let mut rest = page.sent;
        while !rest.is_empty() {
            let batch: Vec<Sent> = rest.drain(..rest.len().min(LOOK_UP_MAX)).collect();
            let keys: Vec<(Name, EventId)> =
                batch.iter().map(|sent| (source.clone(), sent.id.clone())).collect();
            let here = store.received_at(&keys).await?;
            compared
                .missing
                .extend(batch.into_iter().filter(|sent| here.iter().all(|key| key.id != sent.id)));
        }
        progress(compared.sent, compared.missing.len());
        match page.next {
            Some(next) if from.as_ref() == Some(&next) => {
                anyhow::bail!("the provider's list goes round in circles at {next}; try again later")
            }
            Some(next) => from = Some(next),
            None => break,
        }
    }
    compared.missing.reverse();
    Ok(compared)
}
