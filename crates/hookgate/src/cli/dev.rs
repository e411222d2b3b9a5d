//! `hookgate dev`: the gateway on this machine.

use std::{fmt, process::ExitCode};

use clap::Args;
use hookgate_aws::clients::Patience;
use hookgate_core::config::Config;
use hookgate_embedded::Clock;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};
use worker::Worker;

use super::{ConfigArgs, DataArgs};
use crate::{
    dev::{Options, Stack},
    local, show,
};

/// The port, unless `--port` names another.
const PORT: u16 = 9000;

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Port of the gateway; 0 takes any free one
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Keep nothing but the secrets
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    data: DataArgs,
}

impl Dev {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let filter = EnvFilter::try_from_default_env()
            // At `debug` the worker says what each action did.
            .unwrap_or_else(|_| EnvFilter::new("info,worker=debug,dynoxide=off,winterbaume_sqs=off"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .event_format(Plain)
            .with_writer(std::io::stderr)
            .init();

        let config = local::config(self.config.config.as_deref())?;
        let hints = hints(&config);
        let sources: Vec<String> = config.sources.keys().map(ToString::to_string).collect();
        let unverified: Vec<String> =
            config.sources.values().filter(|s| s.verifier.is_none()).map(|s| s.name.to_string()).collect();
        let folder = self.data.folder();
        let options = Options {
            config,
            port: self.port,
            folder: folder.clone(),
            ephemeral: self.ephemeral,
            clock: Clock::system(),
            patience: [Patience::INGEST, Patience::WORKER],
        };
        let stack = Stack::start(options).await?;

        let data = folder.path().display();
        show::line(&format!("hookgate is running at {}\n", stack.url));
        show::line(&format!("  webhooks   {}/webhooks/SOURCE", stack.url));
        show::line(&match sources.as_slice() {
            [] => "  sources    none, so that nothing is received: give hookgate.toml one".to_owned(),
            some => format!("  sources    {}", some.join(", ")),
        });
        show::line(&match self.ephemeral {
            true => "  data       kept in memory, gone when it stops".to_owned(),
            false => format!("  data       {data}/, still there when it starts again"),
        });
        show::line(&match stack.generated.len() {
            0 => format!("  secrets    {data}/secrets.json"),
            made => format!("  secrets    {data}/secrets.json ({made} made just now)"),
        });
        show::line(&format!("  inbox      {}/inbox has what actions send, mail and publish", stack.url));
        for source in unverified {
            show::line(&format!("  WARNING    {source} is not verified: anybody may send to it"));
        }
        for problem in Worker::missing_functions(&stack.worker.config, &stack.worker.performer.functions) {
            show::line(&format!("  WARNING    {problem}; register it in functions/worker/src/run.rs"));
        }
        show::line("\nTry, in another terminal:\n");
        for hint in hints {
            show::line(&format!("  cargo run -q -- {hint}"));
        }
        show::line("\nCtrl-C stops it.\n");

        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
        show::line("\nstopping");
        stack.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// What to try first, with this configuration.
fn hints(config: &Config) -> Vec<String> {
    let favourites = [("hang", "user.updated"), ("hatch", "opt-out"), ("stripe", "payment_intent.succeeded")];
    let mut hints: Vec<String> = favourites
        .iter()
        .filter(|(source, _)| config.sources.keys().any(|name| name.as_str() == *source))
        .map(|(source, kind)| format!("send {source} {kind}"))
        .collect();
    if hints.is_empty() {
        hints.extend(config.sources.keys().next().map(|source| format!("send {source}")));
    }
    hints.push("events list".to_owned());
    hints
}

/// A log for the terminal: the time, a sign for trouble, and the message, which can be read alone.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = hookgate_aws::ambient::Ambient::system().now().to_string();
        let time = now.get(11..23).unwrap_or(&now);
        let sign = match *event.metadata().level() {
            Level::ERROR => "ERROR ",
            Level::WARN => "warn  ",
            _ => "      ",
        };
        write!(out, "{time} {sign}{}", show::plain(&fields.message))?;
        for detail in [&fields.event, &fields.error].into_iter().flatten() {
            if !fields.message.contains(detail.as_str()) {
                write!(out, " · {}", show::plain(detail))?;
            }
        }
        writeln!(out)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    error: Option<String>,
    event: Option<String>,
}

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.keep(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        self.keep(field.name(), value.to_owned());
    }
}

impl Fields {
    fn keep(&mut self, name: &str, value: String) {
        match name {
            "message" => self.message = value,
            "error" => self.error = Some(value),
            "event.id" => self.event = Some(value),
            _ => {}
        }
    }
}
