//! A request in a file: as `tests/vectors.json` and `events/` have them, and as `quarantine show` prints one.

use std::{collections::BTreeMap, io::Read, path::Path};

use anyhow::{Context, anyhow, bail};
use data_encoding::BASE64;
use hookgate_core::{
    request::{Request, route},
    time::EpochMillis,
};
use http::Method;
use serde::Deserialize;

/// The request as it is written, in JSON.
#[derive(Deserialize)]
pub(super) struct RequestFile {
    /// The source to which it went, where the file says so.
    pub(super) source: Option<String>,
    #[serde(default = "post")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    body_encoding: String,
    /// When it was received, in seconds since 1970.
    pub(super) now: Option<i64>,
}

fn post() -> String {
    "POST".to_owned()
}

impl RequestFile {
    /// Reads one from a file, or from standard input for `-`.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = match file.to_str() {
            Some("-") => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
                text
            }
            _ => std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
        };
        serde_json::from_str(&text).map_err(|e| anyhow!("{} is no request in JSON: {e}", file.display()))
    }

    /// Path and query of its URL.
    pub(super) fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
    }

    /// The request, received at `now`.
    pub(super) fn request(&self, now: EpochMillis) -> anyhow::Result<Request> {
        let body = match self.body_encoding.as_str() {
            "" | "utf8" | "text" => self.body.clone().into_bytes(),
            "base64" => BASE64.decode(self.body.as_bytes()).context("`body` is no base64")?,
            other => bail!("`body_encoding` is `{other}`; it has to be utf8 or base64"),
        };
        let mut request = Request::post(&self.url, body, now);
        request.method = Method::from_bytes(self.method.as_bytes()).context("`method` is none")?;
        for (name, value) in &self.headers {
            if !request.set_header(name, value) {
                bail!("the header {name} can't be one");
            }
        }
        let path = self.path().split('?').next().unwrap_or_default();
        request.path_type = route(path).and_then(|route| route.path_type);
        Ok(request)
    }
}
