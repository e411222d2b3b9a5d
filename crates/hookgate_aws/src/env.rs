//! The environment of a function: every variable that is read, and nowhere else.

use std::path::PathBuf;

use hookgate_core::{
    config::{Config, Problem},
    ids::Name,
};
use thiserror::Error;

/// Name of the table.
pub const TABLE: &str = "HOOKGATE_TABLE";
/// URL of the queue.
pub const QUEUE_URL: &str = "HOOKGATE_QUEUE_URL";
/// URL of the FIFO queue for events that have an order. Optional, unless a source has `order`; the template sets it where
/// `Ordered` is true.
pub const ORDERED_QUEUE_URL: &str = "HOOKGATE_ORDERED_QUEUE_URL";
/// ARN or name of the secret, or `file://PATH` of the same JSON.
pub const SECRETS: &str = "HOOKGATE_SECRETS";
/// Base of the URLs that senders call, where the gateway is behind a domain of its own. Optional; overrides
/// `public_url` of the configuration, which is the same for every stage.
pub const PUBLIC_URL: &str = "HOOKGATE_PUBLIC_URL";
/// Path of a configuration that is used instead of the one that was built in. Optional.
pub const CONFIG: &str = "HOOKGATE_CONFIG";
/// Hosts added to `allow_hosts` of the configuration, separated by commas. Optional; the local stack's `hookgate env`
/// names its inbox here.
pub const ALLOW_HOSTS: &str = "HOOKGATE_ALLOW_HOSTS";
/// Namespace of the metrics in CloudWatch, which tells installations in one account apart. Optional; read when logging
/// starts.
pub const METRICS_NAMESPACE: &str = "HOOKGATE_METRICS_NAMESPACE";
/// The namespace without [`METRICS_NAMESPACE`].
pub const METRICS_NAMESPACE_DEFAULT: &str = "hookgate";
/// Endpoint of the queues that `publish` actions send to, where it is not that of the queue of [`QUEUE_URL`]. Optional;
/// the local stack's `hookgate env` names its inbox here.
pub const PUBLISH_QUEUES: &str = "HOOKGATE_PUBLISH_QUEUES_ENDPOINT";

const FILE_PREFIX: &str = "file://";

/// Where the secrets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsFrom {
    /// A file.
    File(PathBuf),
    /// A secret of Secrets Manager, by ARN or name.
    Manager(String),
}

/// The environment, read.
#[derive(Debug)]
pub struct Settings {
    /// See [`TABLE`].
    pub table: String,
    /// See [`QUEUE_URL`].
    pub queue_url: String,
    /// See [`ORDERED_QUEUE_URL`].
    pub ordered_queue_url: Option<String>,
    /// See [`SECRETS`].
    pub secrets: SecretsFrom,
    /// The checked configuration, with [`PUBLIC_URL`] put in.
    pub config: Config,
}

/// Why a function can't start.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("the environment variable {name} is not set; template.yaml sets it, `hookgate env` prints it")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A source has an order, and there is no queue that keeps it.
    #[error(
        "[sources.{source_name}] has `order`, which needs the FIFO queue: deploy with Ordered=true, which sets {ORDERED_QUEUE_URL}, or take `order` out"
    )]
    NoOrder {
        /// The source.
        source_name: Name,
    },
    /// The file that [`CONFIG`] names can't be read.
    #[error("the configuration {path} can't be read")]
    Unreadable {
        /// As given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration is wrong.
    #[error("{name} is wrong: {problems}")]
    Config {
        /// Its path, or that it was built in.
        name: String,
        /// All of them.
        problems: String,
    },
}

impl Settings {
    /// Reads the variables through `lookup`, and with `parse` as much of the configuration as the function needs.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable or the line that is wrong.
    pub fn read(
        lookup: impl Fn(&str) -> Option<String>,
        parse: fn(&str) -> Result<Config, Vec<Problem>>,
    ) -> Result<Self, SettingsError> {
        let optional = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let required = |name: &'static str| optional(name).ok_or(SettingsError::Missing { name });
        let secrets = required(SECRETS)?;
        let mut config = match optional(CONFIG) {
            None => checked("the built-in hookgate.toml", parse(crate::EMBEDDED_CONFIG))?,
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
                checked(&path, parse(&text))?
            }
        };
        if let Some(url) = optional(PUBLIC_URL) {
            config.public_url = Some(url.trim_end_matches('/').to_owned());
        }
        let hosts = optional(ALLOW_HOSTS).unwrap_or_default();
        config
            .allow_hosts
            .extend(hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned));
        let ordered_queue_url = optional(ORDERED_QUEUE_URL);
        let ordered = config.sources.values().find(|source| source.order.is_some());
        if let (Some(source), None) = (ordered, &ordered_queue_url) {
            return Err(SettingsError::NoOrder { source_name: source.name.clone() });
        }
        Ok(Self {
            table: required(TABLE)?,
            queue_url: required(QUEUE_URL)?,
            ordered_queue_url,
            secrets: match secrets.strip_prefix(FILE_PREFIX) {
                Some(path) => SecretsFrom::File(path.into()),
                None => SecretsFrom::Manager(secrets),
            },
            config,
        })
    }
}

fn checked(name: &str, config: Result<Config, Vec<Problem>>) -> Result<Config, SettingsError> {
    config.map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        SettingsError::Config { name: name.to_owned(), problems: problems.join("; ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let lookup = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(lookup, Config::parse)
    }

    #[test]
    fn names_what_is_missing_or_wrong() {
        let all = [
            (TABLE, "t"),
            (QUEUE_URL, "q"),
            (SECRETS, "file:///s.json"),
            (PUBLIC_URL, "https://x.example/"),
            (ALLOW_HOSTS, "a:1, b"),
        ];
        let settings = read(&all).unwrap();
        assert_eq!(settings.secrets, SecretsFrom::File("/s.json".into()));
        assert_eq!(settings.config.public_url.as_deref(), Some("https://x.example"));
        assert_eq!(settings.config.allow_hosts, ["a:1", "b"]);
        for missing in [TABLE, QUEUE_URL, SECRETS] {
            let rest: Vec<_> = all.iter().copied().filter(|(name, _)| *name != missing).collect();
            assert!(read(&rest).unwrap_err().to_string().contains(missing));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\norder = \"json:/customer\"";
        std::fs::write(file.path(), text).unwrap();
        let ordered = [all.as_slice(), &[(CONFIG, file.path().to_str().unwrap())]].concat();
        let error = read(&ordered).unwrap_err().to_string();
        assert!(error.contains("[sources.shop]") && error.contains(ORDERED_QUEUE_URL), "{error}");
        let ordered = [ordered.as_slice(), &[(ORDERED_QUEUE_URL, "q.fifo")]].concat();
        assert_eq!(read(&ordered).unwrap().ordered_queue_url.as_deref(), Some("q.fifo"));
        let config = [all.as_slice(), &[(CONFIG, "/no/such/file")]].concat();
        assert!(read(&config).unwrap_err().to_string().contains("/no/such/file"));
    }
}
