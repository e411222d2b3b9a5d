//! Logs of the functions: one flat JSON object a line, with the metrics in it that [`crate::metrics`] names.
//!
//! Lambda takes the level of a line from `level` and its time from `timestamp`
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>, read 2026-11-21).

use std::{
    fmt::{self, Write as _},
    io,
    sync::{Mutex, PoisonError},
};

use hookgate_core::time::EpochMillis;
use serde_json::Value;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use tracing_subscriber::filter::Targets;

use crate::{ambient, env, metrics::Found};

/// The field that says when a line was written, in milliseconds. Without it that is the system's present.
const TIMESTAMP: &str = "timestamp";

/// Members of a line that no field may take the place of.
const OWN: [&str; 2] = ["level", "_aws"];

/// What most lines fit in.
const LINE_BYTES: usize = 1024;

/// Starts logging to the standard output.
///
/// What is logged is said by `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets, else `RUST_LOG`: a level, or several such as
/// `warn,ingest=debug`. Else, and where that makes no sense, it is `info`. `trace` is as `debug`: what is below that is not
/// compiled in (see the workspace's `Cargo.toml`).
pub fn init() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let namespace = variable(env::METRICS_NAMESPACE);
    let namespace = namespace.as_deref().unwrap_or(env::METRICS_NAMESPACE_DEFAULT);
    let lines = Lines::new(filter(variable), namespace, Box::new(io::stdout()));
    // A second one would be the first one's equal.
    drop(tracing::subscriber::set_global_default(lines));
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> Targets {
    let asked = variable("AWS_LAMBDA_LOG_LEVEL").or_else(|| variable("RUST_LOG")).unwrap_or_default();
    match asked.parse() {
        // Lambda's highest level, which Rust does not have.
        _ if asked.eq_ignore_ascii_case("fatal") => Targets::new().with_default(LevelFilter::ERROR),
        Ok(targets) if !asked.is_empty() => targets,
        _ => Targets::new().with_default(LevelFilter::INFO),
    }
}

/// Writes each event as one line.
///
/// Spans are not written, and so are never made: the SDK and the runtime open several for each call.
struct Lines {
    filter: Targets,
    /// As a JSON string.
    namespace: String,
    output: Mutex<Box<dyn io::Write + Send>>,
}

impl Lines {
    fn new(filter: Targets, namespace: &str, output: Box<dyn io::Write + Send>) -> Self {
        Self { filter, namespace: Value::from(namespace).to_string(), output: Mutex::new(output) }
    }

    fn format(&self, out: &mut String, event: &Event<'_>) -> fmt::Result {
        write!(out, "{{\"level\":\"{}\"", event.metadata().level())?;
        let mut line = Line { out, at: None, found: Found::default(), written: Ok(()) };
        event.record(&mut line);
        let Line { at, found, written, .. } = line;
        written?;
        let at = at.unwrap_or_else(ambient::system_now);
        write!(out, ",\"{TIMESTAMP}\":\"{at}\"")?;
        found.write(out, &self.namespace, at.as_millis())?;
        out.write_str("}\n")
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.filter.would_enable(metadata.target(), metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = self.filter.iter().map(|(_, level)| level);
        levels.chain(self.filter.default_level()).max()
    }

    fn event(&self, event: &Event<'_>) {
        // Whole before it is written: what is written of itself may log, and nothing comes between.
        let mut line = String::with_capacity(LINE_BYTES);
        if self.format(&mut line, event).is_ok() {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody could be told that it failed.
            drop(output.write_all(line.as_bytes()));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // None is enabled, so this is never asked; an id can't be 0.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A line being written: every field goes straight to the output.
struct Line<'l> {
    out: &'l mut String,
    at: Option<EpochMillis>,
    found: Found,
    written: fmt::Result,
}

impl Line<'_> {
    fn member(&mut self, field: &Field, value: &impl serde::Serialize) {
        let name = field.name();
        if OWN.contains(&name) || name == TIMESTAMP || self.written.is_err() {
            return;
        }
        // Names of fields are written in the code, with nothing in them that JSON would escape.
        self.written = write!(self.out, ",\"{name}\":")
            .and_then(|()| serde_json::to_writer(Text(self.out), value).map_err(|_| fmt::Error));
    }
}

impl Visit for Line<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == TIMESTAMP {
            self.at = Some(EpochMillis::from_millis(value));
        }
        self.found.number(field.name());
        self.member(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.found.number(field.name());
        self.member(field, &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.member(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.found.text(field.name());
        self.member(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.found.text(field.name());
        // Escaped on its way: no text is made of it first.
        self.member(field, &format_args!("{value:?}"));
    }
}

/// A writer of text as one of bytes. `serde_json` writes whole characters.
struct Text<'l>(&'l mut String);

impl io::Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The text that `work` logs.
    fn logged(namespace: &str, work: impl FnOnce()) -> String {
        logged_at("debug", namespace, work)
    }

    /// The same at a level.
    fn logged_at(level: &str, namespace: &str, work: impl FnOnce()) -> String {
        let output = Output::default();
        let filter = filter(|_| Some(level.to_owned()));
        let lines = Lines::new(filter, namespace, Box::new(output.clone()));
        tracing::subscriber::with_default(lines, work);
        String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
    }

    /// The only line that `work` logs.
    fn line(work: impl FnOnce()) -> Value {
        let text = logged("hookgate/test", work);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn a_line_is_one_flat_object() {
        let line = line(|| {
            tracing::warn!(
                timestamp = 1_780_000_000_123_i64,
                source = "pay",
                event.id = %"evt_1",
                event.r#type = ?Some(1),
                bytes = 7_usize,
                wait = -7,
                limit_ms = 8_u128,
                ratio = 0.5,
                open = true,
                absent = None::<u64>,
                "not {}", "stored"
            );
        });
        assert_eq!(
            line,
            json!({
                "level": "WARN", "timestamp": "2026-05-28T20:26:40.123Z", "message": "not stored", "source": "pay",
                "event.id": "evt_1", "event.type": "Some(1)", "bytes": 7, "wait": -7, "limit_ms": 8, "ratio": 0.5,
                "open": true
            })
        );
    }

    #[test]
    fn every_text_stays_one_string() {
        for text in [
            "",
            "\"",
            "\\",
            "a\nb\r\u{0}\u{1}\u{7f}\u{85}\u{2028}",
            "\",\"_aws\":{\"Timestamp\":1}",
            "ä🦀\u{10ffff}",
            "}{",
        ] {
            let line = line(|| tracing::info!(a = text, b = %text, c = ?text, "{text}"));
            assert_eq!(line["message"], text);
            assert_eq!((&line["a"], &line["b"]), (&json!(text), &json!(text)));
            assert_eq!(line["c"], format!("{text:?}"));
            assert!(line.get("_aws").is_none(), "{line}");
        }
    }

    #[test]
    fn a_line_without_a_time_has_the_systems() {
        let before = ambient::system_now();
        let line = line(|| tracing::info!(level = "none", accepted = 1, source = "pay", "x"));
        let at = EpochMillis::parse(line["timestamp"].as_str().unwrap()).unwrap();
        assert!(before <= at && at <= ambient::system_now());
        assert_eq!(line["_aws"]["Timestamp"], at.as_millis());
        assert_eq!(line["level"], "INFO", "a field does not take its place");
    }

    #[test]
    fn metrics_are_declared_for_the_fields_that_are_there() {
        let line = line(|| {
            tracing::info!(
                timestamp = 1_780_000_000_123_i64,
                source = "pay",
                accepted = crate::metrics::one(true),
                duplicate = crate::metrics::one(false),
                ack_ms = 12_i64,
                duration_ms = 12_i64,
                "accepted"
            );
        });
        assert_eq!(
            line["_aws"],
            json!({"Timestamp": 1_780_000_000_123_i64, "CloudWatchMetrics": [
                {"Namespace": "hookgate/test", "Dimensions": [["source"]], "Metrics": [{"Name": "accepted", "Unit": "Count"}]},
                {"Namespace": "hookgate/test", "Dimensions": [[]], "Metrics": [{"Name": "ack_ms", "Unit": "Milliseconds"}]},
            ]})
        );
        assert_eq!((&line["accepted"], line.get("duplicate")), (&json!(1), None));
    }

    #[test]
    fn a_text_in_place_of_a_number_is_no_metric_and_a_number_no_dimension() {
        let text = line(|| tracing::info!(source = "pay", accepted = "1", dead = %2, "x"));
        assert!(text.get("_aws").is_none(), "{text}");
        let number = line(|| tracing::info!(source = 1, accepted = 1, "x"));
        assert!(number.get("_aws").is_none(), "{number}");
    }

    #[test]
    fn a_namespace_is_escaped() {
        let text = logged("a\"b", || tracing::info!(unavailable = 1, "x"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "a\"b");
    }

    #[test]
    fn a_level_is_lambdas_or_the_one_of_the_environment() {
        let levels = |level: &str| -> String {
            let written = logged_at(level, "n", || {
                let _span = tracing::error_span!("never").entered();
                tracing::error!(target: "ingest", "E");
                tracing::warn!(target: "ingest", "W");
                tracing::info!(target: "ingest", "I");
                tracing::debug!(target: "ingest", "D");
                tracing::info!(target: "hyper_util", "i");
            });
            let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
            written.lines().map(|text| line(text)["message"].as_str().unwrap().to_owned()).collect()
        };
        for (asked, written) in [
            ("", "EWIi"),
            ("INFO", "EWIi"),
            ("FATAL", "E"),
            ("ERROR", "E"),
            ("warn", "EW"),
            ("DEBUG", "EWIDi"),
            ("off", ""),
            ("warn,ingest=debug", "EWID"),
            ("ingest=nonsense", "EWIi"),
        ] {
            assert_eq!(levels(asked), written, "{asked}");
        }
        let environment = |name: &str| (name == "RUST_LOG").then(|| "error".to_owned());
        assert_eq!(filter(environment).to_string(), "error");
        assert_eq!(filter(|_| None).to_string(), "info");
    }
}
