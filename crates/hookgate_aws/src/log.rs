//! Logs of the functions: one JSON object a line, which is what Lambda's log settings and the template's metric
//! filter read.

use tracing_subscriber::EnvFilter;

/// Starts logging. The level is `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets, else `RUST_LOG`, else `info`.
pub fn init() {
    let level = |name| std::env::var(name).ok().filter(|level| !level.is_empty());
    let filter =
        level("AWS_LAMBDA_LOG_LEVEL").or_else(|| level("RUST_LOG")).unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(filter)
        .init();
}
