//! The local secrets: every name that the configuration needs gets one on the first start. An action's address
//! becomes one of the local inbox, so that what it sends can be seen.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, anyhow};
use data_encoding::BASE64;
use hookgate_core::{config::Config, sign::test_secret};
use serde_json::{Map, Value};

/// A secret that was made.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Its name.
    pub name: String,
    /// Who needs it.
    pub wanted_by: String,
}

/// What kind of secret is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A key or token.
    Key,
    /// An address to post to.
    Address,
}

/// Bytes of a generated secret. Standard Webhooks asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// Sees to it that `file` has every secret that `config` needs. Those that are there stay, but addresses of the
/// inbox follow the gateway's port.
pub(crate) fn complete(file: &Path, config: &Config, url: &str) -> anyhow::Result<Vec<Generated>> {
    let before: Option<Map<String, Value>> = match fs::read_to_string(file) {
        Ok(text) => Some(serde_json::from_str(&text).map_err(|e| {
            anyhow!(
                "{} is not JSON (line {}); mend it, or delete it to have it made anew",
                file.display(),
                e.line()
            )
        })?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| format!("reading {}", file.display())),
    };
    let mut secrets = before.clone().unwrap_or_default();
    let mut generated = Vec::new();
    for (name, wanted_by) in config.secret_names() {
        let is_address =
            config.actions.iter().any(|(own, a)| a.action.address_secret(own) == Some(name.as_str()));
        let inbox = format!("{url}/inbox/{name}");
        match secrets.get(&name) {
            Some(Value::String(known)) if is_address && is_inbox(known, &name) => {
                secrets.insert(name, inbox.into());
            }
            Some(_) => {}
            None => {
                let value = match if is_address { Wanted::Address } else { Wanted::Key } {
                    Wanted::Address => Value::String(inbox),
                    Wanted::Key => match key(&name, config)? {
                        Some(secret) => Value::Array(vec![secret]),
                        None => continue,
                    },
                };
                secrets.insert(name.clone(), value);
                generated.push(Generated { name, wanted_by });
            }
        }
    }
    // Also where none is needed: the functions read the file all the same.
    if before.as_ref() != Some(&secrets) {
        write(file, &Value::Object(secrets))?;
    }
    Ok(generated)
}

fn is_inbox(address: &str, name: &str) -> bool {
    address
        .strip_prefix("http://127.0.0.1:")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(port, path)| port.parse::<u16>().is_ok() && path == format!("inbox/{name}"))
}

/// A secret of the form that its user asks for; `None` where only the sender has one.
fn key(name: &str, config: &Config) -> anyhow::Result<Option<Value>> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("the system has no randomness: {e}"))?;
    let Some(source) = config.sources.values().find(|source| source.secret == name) else {
        // What an action signs with: Standard Webhooks needs base64, and `whsec_` says so.
        return Ok(Some(format!("whsec_{}", BASE64.encode(&bytes)).into()));
    };
    let secret = test_secret(&source.verifier, &bytes).ok().flatten();
    Ok(secret.map(serde_json::to_value).transpose()?)
}

/// Writes the file so that it is whole or not there, and readable by its owner only.
fn write(file: &Path, secrets: &Value) -> anyhow::Result<()> {
    let new = file.with_extension("json.new");
    let context = || format!("writing {}", file.display());
    let mut open = fs::OpenOptions::new();
    let mut out =
        open.write(true).create(true).truncate(true).mode(0o600).open(&new).with_context(context)?;
    out.write_all(format!("{secrets:#}\n").as_bytes()).with_context(context)?;
    out.sync_all().with_context(context)?;
    fs::rename(&new, file).with_context(context)
}
