//! `hookgate records` and `hookgate counts`: the effects of `record` and `count` actions.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::PlaceArgs;
use crate::{access::Access, show};

#[derive(Debug, Args)]
pub(super) struct Records {
    /// The collection, such as `orders`
    collection: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..))]
    limit: i32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Records {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let records = access.store.records(&self.collection, self.limit).await?;
        if records.is_empty() && !self.json {
            show::line(&format!(
                "nothing is kept in {}; `hookgate check` says what the `record` actions keep where",
                show::plain(&self.collection)
            ));
        }
        for (key, record) in records {
            if self.json {
                show::line(
                    &json!({ "collection": self.collection, "key": key, "record": record }).to_string(),
                );
            } else {
                show::line(&format!("{}  {}", show::plain(&key), show::plain(&record.to_string())));
            }
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Counts {
    /// The counter
    #[arg(default_value = "events")]
    counter: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Counts {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let access = Access::open(&self.place.place()).await?;
        let counts = access.store.counts(&self.counter, self.limit).await?;
        if self.json {
            for one in counts {
                let line = json!({ "counter": self.counter, "day": one.day, "label": one.label, "count": one.count });
                show::line(&line.to_string());
            }
        } else if counts.is_empty() {
            show::line(&format!(
                "nothing was counted by {}; `hookgate check` lists the counters of the `count` actions",
                show::plain(&self.counter)
            ));
        } else {
            let rows: Vec<Vec<String>> = counts
                .into_iter()
                .map(|one| vec![one.day, one.count.to_string(), show::plain(&one.label)])
                .collect();
            show::table(&["DAY", "COUNT", "LABEL"], &rows);
        }
        access.close().await;
        Ok(ExitCode::SUCCESS)
    }
}
