//! The data folder of the local stack, and what is in it.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use hookgate_core::{config::Config, ids::Name, source::Source};
use serde::{Deserialize, Serialize};

/// The folder, unless `--data` names another.
pub const DATA: &str = ".hookgate";

/// The configuration, unless `--config` names another.
pub const CONFIG: &str = "hookgate.toml";

/// Name of the local table.
pub const TABLE: &str = "hookgate-events";
/// Name of the local queue.
pub const QUEUE: &str = "hookgate-events";
/// Name of the local dead-letter queue.
pub const DEAD_LETTERS: &str = "hookgate-dead-letters";
/// Name of the local FIFO queue, for events that have an order.
pub const ORDERED: &str = "hookgate-ordered.fifo";
/// Name of its dead-letter queue.
pub const ORDERED_DEAD_LETTERS: &str = "hookgate-ordered-dead-letters.fifo";

/// Where a running stack can be reached; `stack.json` in the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The gateway, such as `http://127.0.0.1:9000`.
    pub gateway: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// SQS.
    pub sqs: String,
    /// URL of the queue.
    pub queue_url: String,
    /// URL of the dead-letter queue.
    pub dead_letter_queue_url: String,
    /// URL of the FIFO queue. Files of before have none.
    #[serde(default)]
    pub ordered_queue_url: String,
    /// URL of its dead-letter queue. Files of before have none.
    #[serde(default)]
    pub ordered_dead_letter_queue_url: String,
}

impl Endpoints {
    /// The URLs of the FIFO queue, where there is one.
    pub fn ordered(&self) -> Option<Ordered> {
        Ordered::of(&self.ordered_queue_url, &self.ordered_dead_letter_queue_url)
    }
}

/// The URLs of a FIFO queue and of its dead-letter queue.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// That of the queue.
    pub queue_url: String,
    /// That of its dead-letter queue.
    pub dead_letter_queue_url: String,
}

impl Ordered {
    /// `None` when one of them is not known.
    pub fn of(queue_url: &str, dead_letter_queue_url: &str) -> Option<Self> {
        (!queue_url.is_empty() && !dead_letter_queue_url.is_empty()).then(|| Self {
            queue_url: queue_url.to_owned(),
            dead_letter_queue_url: dead_letter_queue_url.to_owned(),
        })
    }
}

/// The data folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secrets.
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets.json")
    }

    /// What the local destinations were sent.
    pub fn inbox(&self) -> PathBuf {
        self.0.join("inbox.jsonl")
    }

    /// Where a command that follows events has come to.
    pub(crate) fn position(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.jsonl"))
    }

    pub(crate) fn stream_position(&self) -> PathBuf {
        self.0.join("stream-position")
    }

    fn endpoints_file(&self) -> PathBuf {
        self.0.join("stack.json")
    }

    /// Makes it, readable by its owner only.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("making the data folder {}", self.0.display()))
    }

    pub(crate) fn write_endpoints(&self, endpoints: &Endpoints) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(endpoints)?;
        fs::write(self.endpoints_file(), text).context("writing stack.json")
    }

    pub(crate) fn remove_endpoints(&self) {
        if let Err(error) = fs::remove_file(self.endpoints_file()) {
            tracing::debug!(%error, "stack.json was not there");
        }
    }

    /// The endpoints of the running stack; `None` when none runs.
    pub fn endpoints(&self) -> Option<Endpoints> {
        let endpoints: Endpoints =
            serde_json::from_str(&fs::read_to_string(self.endpoints_file()).ok()?).ok()?;
        let address = endpoints.gateway.strip_prefix("http://")?.parse().ok()?;
        // A stack that was killed left the file behind.
        TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
        Some(endpoints)
    }
}

/// The configuration at `path`, or the one that was built in when none is named and there is none here.
///
/// # Errors
/// Every problem of the file, one a line, with file and line number.
pub fn config(path: Option<&Path>) -> anyhow::Result<Config> {
    let default = Path::new(CONFIG);
    let (name, text) = match path {
        None if !default.exists() => {
            ("the built-in hookgate.toml".to_owned(), hookgate_aws::EMBEDDED_CONFIG.to_owned())
        }
        path => {
            let path = path.unwrap_or(default);
            let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            (path.display().to_string(), text)
        }
    };
    Config::parse(&text).map_err(|problems| {
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("{name}:{}: {}", problem.line, problem.message)).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// The source called `name`.
///
/// # Errors
/// That there is none, and which there are.
pub fn source<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c Source> {
    if let Some(source) = config.sources.values().find(|source| source.name.as_str() == name) {
        return Ok(source);
    }
    let there: Vec<&str> = config.sources.keys().map(Name::as_str).collect();
    match there.as_slice() {
        [] => bail!("no source is called {name}; the configuration has none"),
        there => bail!("no source is called {name}; there are: {}", there.join(", ")),
    }
}
