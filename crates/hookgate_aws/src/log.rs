//! Logs of the functions: one flat JSON object a line, with the metrics in it that [`crate::metrics`] names.
//!
//! Lambda takes the level of a line from `level` and its time from `timestamp`
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>, read 2026-11-21).

use std::{fmt, io};

use hookgate_core::time::EpochMillis;
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{ambient, env, metrics::Found};

/// The field that says when a line was written, in milliseconds. Without it that is the system's present.
const TIMESTAMP: &str = "timestamp";

/// Members of a line that no field may take the place of.
const OWN: [&str; 2] = ["level", "_aws"];

/// Starts logging. The level is `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets, else `RUST_LOG`, else `info`.
pub fn init() {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = variable("AWS_LAMBDA_LOG_LEVEL")
        .or_else(|| variable("RUST_LOG"))
        .unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let namespace = variable(env::METRICS_NAMESPACE);
    tracing_subscriber::fmt()
        .event_format(Lines::new(namespace.as_deref().unwrap_or(env::METRICS_NAMESPACE_DEFAULT)))
        .with_env_filter(filter)
        .init();
}

/// The format of a line.
#[derive(Debug)]
pub struct Lines {
    /// As a JSON string.
    namespace: String,
}

impl Lines {
    /// Lines whose metrics are in a namespace.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: Value::from(namespace).to_string() }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(out, "{{\"level\":\"{}\"", event.metadata().level())?;
        let mut line = Line { out: &mut out, at: None, found: Found::default(), written: Ok(()) };
        event.record(&mut line);
        let Line { at, found, written, .. } = line;
        written?;
        let at = at.unwrap_or_else(ambient::system_now);
        write!(out, ",\"{TIMESTAMP}\":\"{at}\"")?;
        found.write(&mut out, &self.namespace, at.as_millis())?;
        out.write_str("}\n")
    }
}

/// A line being written: every field goes straight to the output.
struct Line<'l, 'w> {
    out: &'l mut Writer<'w>,
    at: Option<EpochMillis>,
    found: Found,
    written: fmt::Result,
}

impl Line<'_, '_> {
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

impl Visit for Line<'_, '_> {
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
struct Text<'l, 'w>(&'l mut Writer<'w>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
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
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Lines::new(namespace))
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
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
}
