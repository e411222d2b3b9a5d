//! `hookgate check`: reads hookgate.toml as the functions will, and says what it means.

use std::process::ExitCode;

use clap::Args;
use hookgate_core::{
    actions::KINDS,
    config::Config,
    destination::{Policy, Schedule},
    source::Mode,
};
use serde_json::json;
use worker::Worker;

use super::{ConfigArgs, PlaceArgs, secrets};
use crate::{access::Place, local, show};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// One JSON object a line: each source, route and action, each warning and error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = match local::config(self.config.config.as_deref()) {
            Ok(config) => config,
            Err(error) => {
                // The problems are the whole message, a line each.
                for problem in format!("{error:#}").lines() {
                    match self.json {
                        true => show::line(&json!({ "error": problem }).to_string()),
                        false => show::note(problem),
                    }
                }
                return Ok(ExitCode::FAILURE);
            }
        };
        let mut problems = Worker::missing_functions(&config, &worker::run::functions());
        let mut warnings = of_the_sources(&config);
        match self.missing_secrets(&config).await {
            Ok(missing) => warnings.extend(missing),
            Err(error) => problems.push(format!("{error:#}")),
        }
        let led_to = |name| config.routes.iter().any(|route| route.actions.contains(name));
        let unused = config.actions.keys().filter(|name| !led_to(name));
        warnings.extend(unused.map(|name| format!("no route leads to action {name}")));
        if self.json {
            print_json(&config);
            warnings.iter().for_each(|warning| show::line(&json!({ "warning": warning }).to_string()));
            problems.iter().for_each(|problem| show::line(&json!({ "error": problem }).to_string()));
        } else {
            print(&config);
            warnings.iter().for_each(|warning| show::line(&format!("warning: {warning}")));
            problems.iter().for_each(|problem| show::note(&format!("error: {problem}")));
        }
        if !problems.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        if !self.json {
            let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            show::line(&format!("all is well; kinds of actions: {}", kinds.join(", ")));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A warning for each secret that is needed and not there.
    async fn missing_secrets(&self, config: &Config) -> anyhow::Result<Vec<String>> {
        let place = self.place.place();
        if let Place::Local(folder) = &place
            && !folder.secrets().exists()
        {
            let file = folder.secrets();
            let text = format!("there are no local secrets yet ({}); `cargo run` makes them", file.display());
            return Ok(vec![text]);
        }
        let published: Vec<&str> = config
            .sources
            .values()
            .filter(|source| !source.verifier.needs_secret())
            .map(|source| source.secret.as_str())
            .collect();
        let (secrets, where_they_are) = secrets::read(&place).await?;
        let missing = config
            .secret_names()
            .into_iter()
            .filter(|(name, _)| secrets.newest(name).is_none() && !published.contains(&name.as_str()));
        Ok(missing
            .map(|(name, by)| format!("{by} needs the secret `{name}`, which is not in {where_they_are}"))
            .collect())
    }
}

fn of_the_sources(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.sources.is_empty() {
        warnings.push("there is no source, so that nothing is received".to_owned());
    }
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
        if let Some(order) = &source.order {
            warnings.push(format!(
                "source {} is ordered by {order}: deploy with Ordered=true, the functions don't start without its FIFO queue",
                source.name
            ));
        }
    }
    warnings
}

fn print(config: &Config) {
    let sources: Vec<Vec<String>> = config
        .sources
        .values()
        .map(|source| {
            let url = format!("/webhooks/{}", source.name);
            vec![source.name.to_string(), source.provider.slug.clone(), url, source.verifier.describe()]
        })
        .collect();
    part(&["SOURCE", "PROVIDER", "URL", "VERIFIED BY"], &sources);
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
    part(&["ROUTE", "TYPE", "ACTIONS", ""], &routes);
    let actions: Vec<Vec<String>> = config
        .actions
        .iter()
        .map(|(name, action)| {
            let policy = differences(&action.policy).join(", ");
            vec![name.to_string(), action.kind.name.to_owned(), policy, action.action.describe()]
        })
        .collect();
    let is_plain = |row: &Vec<String>| row.get(2).is_none_or(String::is_empty);
    if actions.iter().all(is_plain) {
        let without = actions.into_iter().map(|mut row| {
            row.remove(2);
            row
        });
        part(&["ACTION", "KIND", "ABOUT"], &without.collect::<Vec<_>>());
    } else {
        part(&["ACTION", "KIND", "RUN", "ABOUT"], &actions);
    }
}

/// A table and an empty line, where there is something in it.
fn part(headings: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        show::table(headings, rows);
        show::line("");
    }
}

/// In what an action is run in another way than one that says nothing.
fn differences(policy: &Policy) -> Vec<String> {
    let default = Policy::default();
    let mut said = Vec::new();
    if policy.retry != default.retry {
        said.push(retries(&policy.retry));
    }
    if policy.pause_after != default.pause_after {
        said.push(match policy.pause_after {
            0 => "never paused".to_owned(),
            failures => format!("paused after {failures} failures"),
        });
    }
    said.extend(policy.rate.map(|rate| format!("at most {rate}")));
    said.extend(policy.concurrency.map(|places| format!("{places} at once")));
    said
}

fn retries(schedule: &Schedule) -> String {
    match schedule.tries() {
        1 => "tried once".to_owned(),
        tries => format!("tried {tries} times in {}", show::duration(delays_ms(schedule).sum())),
    }
}

/// The waits between the tries, in milliseconds.
fn delays_ms(schedule: &Schedule) -> impl Iterator<Item = i64> {
    (1..).map_while(|failures| schedule.delay_ms(failures))
}

fn print_json(config: &Config) {
    for source in config.sources.values() {
        let line = json!({
            "source": source.name, "provider": source.provider.slug, "url": format!("/webhooks/{}", source.name),
            "verified_by": source.verifier.describe(),
        });
        show::line(&line.to_string());
    }
    for route in &config.routes {
        let line = json!({
            "route": route.source.to_string(), "type": route.event_type.to_string(), "actions": route.actions,
            "filtered": route.filter.is_some(),
        });
        show::line(&line.to_string());
    }
    for (name, action) in &config.actions {
        let Policy { retry, pause_after, rate, concurrency } = &action.policy;
        let mut line = json!({
            "action": name, "kind": action.kind.name, "about": action.action.describe(),
            "retry_seconds": delays_ms(retry).map(|ms| ms / 1_000).collect::<Vec<_>>(),
        });
        if let (true, Some(line)) = (action.has_destination(), line.as_object_mut()) {
            line.insert("pause_after".to_owned(), json!(pause_after));
            line.insert("rate".to_owned(), json!(rate.map(|rate| rate.to_string())));
            line.insert("concurrency".to_owned(), json!(concurrency));
        }
        show::line(&line.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_default_is_said() {
        let said = |text: &str| {
            let text = format!("[actions.a]\nkind = \"http\"\nurl = \"https://a.example\"\n{text}");
            let config = Config::parse(&text).unwrap();
            differences(&config.actions.values().next().unwrap().policy).join(", ")
        };
        assert_eq!(said(""), "");
        assert_eq!(said("retry = []"), "tried once");
        assert_eq!(
            said("retry = [\"30m\", \"30m\"]\npause_after = 0"),
            "tried 3 times in 60 min, never paused"
        );
        assert_eq!(
            said("pause_after = 3\nrate = \"10/s\"\nconcurrency = 2"),
            "paused after 3 failures, at most 10/s, 2 at once"
        );
    }
}
