//! What came of an action's effect.

use crate::store::StoreError;

/// What came of performing an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It took effect.
    Done {
        /// In a sentence.
        detail: String,
    },
    /// It did not, and may later.
    Failed {
        /// In a sentence.
        detail: String,
        /// How long the destination asked to be left alone.
        retry_after_ms: Option<i64>,
    },
    /// It never will.
    Impossible {
        /// In a sentence.
        detail: String,
    },
    /// The destination says that it does not exist any more: nothing should be sent there, by this event or another.
    Gone {
        /// In a sentence.
        detail: String,
    },
}

impl Performed {
    pub(crate) fn of(error: &StoreError) -> Self {
        match error.is_permanent() {
            true => Self::impossible(error.to_string()),
            false => Self::failed(error.to_string()),
        }
    }

    pub(crate) fn done(detail: impl Into<String>) -> Self {
        Self::Done { detail: detail.into() }
    }

    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self::Failed { detail: detail.into(), retry_after_ms: None }
    }

    pub(crate) fn impossible(detail: impl Into<String>) -> Self {
        Self::Impossible { detail: detail.into() }
    }
}
