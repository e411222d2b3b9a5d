//! `hookgate check`: reads hookgate.toml as the functions will, and says what it means.

use std::process::ExitCode;

use clap::Args;
use hookgate_core::{actions::KINDS, config::Mode, secret::Secrets};
use worker::Worker;

use super::{ConfigArgs, DataArgs};
use crate::{local, show};

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    data: DataArgs,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = match local::config(self.config.config.as_deref()) {
            Ok(config) => config,
            Err(error) => {
                // The problems are the whole message, a line each.
                show::note(&format!("{error:#}"));
                return Ok(ExitCode::FAILURE);
            }
        };
        let sources: Vec<Vec<String>> = config
            .sources
            .values()
            .map(|source| {
                let url = format!("/webhooks/{}", source.name);
                vec![source.name.to_string(), source.provider.slug.clone(), url, source.verifier.describe()]
            })
            .collect();
        show::table(&["SOURCE", "PROVIDER", "URL", "VERIFIED BY"], &sources);
        show::line("");
        let routes: Vec<Vec<String>> = config
            .routes
            .iter()
            .map(|route| {
                let actions: Vec<String> = route.actions.iter().map(ToString::to_string).collect();
                let filter = if route.filter.is_some() { "filtered" } else { "" };
                vec![
                    route.source.to_string(),
                    route.event_type.to_string(),
                    actions.join(", "),
                    filter.to_owned(),
                ]
            })
            .collect();
        show::table(&["ROUTE", "TYPE", "ACTIONS", ""], &routes);
        show::line("");
        let actions: Vec<Vec<String>> = config
            .actions
            .iter()
            .map(|(name, action)| {
                vec![name.to_string(), action.kind.name.to_owned(), action.action.describe()]
            })
            .collect();
        show::table(&["ACTION", "KIND", "ABOUT"], &actions);

        let mut warnings = Vec::new();
        for source in config.sources.values().filter(|source| source.verifier.is_none()) {
            warnings.push(format!("source {} is not verified: anybody may send to it", source.name));
        }
        for source in config.sources.values() {
            match source.mode {
                Mode::Enforce => {}
                Mode::Observe => warnings.push(format!(
                    "source {} only observes: what does not verify is accepted, and marked",
                    source.name
                )),
                Mode::Quarantine => warnings.push(format!(
                    "source {} keeps apart what does not verify: see `quarantine list`",
                    source.name
                )),
            }
        }
        let published: Vec<&str> = config
            .sources
            .values()
            .filter(|source| !source.verifier.needs_secret())
            .map(|source| source.secret.as_str())
            .collect();
        let mut problems = Worker::missing_functions(&config, &worker::run::functions());
        let file = self.data.folder().secrets();
        match std::fs::read_to_string(&file) {
            Ok(text) => match Secrets::from_json(&text) {
                Ok(secrets) => {
                    for (name, wanted_by) in config.secret_names() {
                        if secrets.newest(&name).is_none() && !published.contains(&name.as_str()) {
                            warnings.push(format!(
                                "{wanted_by} needs the secret `{name}`, which is not in {}",
                                file.display()
                            ));
                        }
                    }
                }
                Err(error) => problems.push(format!("{}: {error}", file.display())),
            },
            Err(_) => warnings
                .push(format!("there are no local secrets yet ({}); `cargo run` makes them", file.display())),
        }
        for name in config
            .actions
            .keys()
            .filter(|name| !config.routes.iter().any(|route| route.actions.contains(name)))
        {
            warnings.push(format!("no route leads to action {name}"));
        }
        show::line("");
        for warning in &warnings {
            show::line(&format!("warning: {warning}"));
        }
        for problem in &problems {
            show::note(&format!("error: {problem}"));
        }
        if problems.is_empty() {
            let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            show::line(&format!("all is well; kinds of actions: {}", kinds.join(", ")));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::FAILURE)
    }
}
