//! The inbox: destinations of one's own, so that what actions post can be seen without any account anywhere.
//! `POST /inbox/NAME` takes anything, `GET /inbox` lists it.

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Most entries kept in memory; the file has them all.
const ENTRIES_MAX: usize = 1_000;

/// What one destination was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// When, in RFC 3339.
    pub at: String,
    /// Which destination.
    pub name: String,
    /// The headers that say what it is about, by lower-case name.
    pub headers: std::collections::BTreeMap<String, String>,
    /// The body; in base64 when it is no text.
    pub body: String,
    /// `text` or `base64`.
    pub body_encoding: String,
}

/// All that the local destinations were sent.
#[derive(Clone, Debug)]
pub struct Inbox {
    entries: Arc<Mutex<Vec<Received>>>,
    file: Option<PathBuf>,
}

impl Inbox {
    /// An inbox that is also written to `file`.
    pub(crate) fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        if let Some(file) = file.as_ref().filter(|file| file.exists()) {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            // The last line may be half-written after a kill.
            entries = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        }
        Ok(Self { entries: Arc::new(Mutex::new(entries)), file })
    }

    /// Everything, the oldest first.
    pub fn entries(&self) -> Vec<Received> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add(&self, received: Received) -> anyhow::Result<()> {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_string(&received)?;
            line.push('\n');
            OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())?;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(received);
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        entries.drain(..surplus);
        Ok(())
    }
}
