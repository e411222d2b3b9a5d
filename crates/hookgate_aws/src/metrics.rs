//! Every metric that the functions publish, in one table.
//!
//! A field of a log line that has the name of a metric is one: CloudWatch takes them out of the lines by itself, so
//! nothing is called, and nothing waits. The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//! (read 2026-11-21).
//!
//! # What they cost
//! Each combination of values that a metric's dimensions take is a custom metric of its own, which is what CloudWatch
//! bills, so this table is kept short. With S sources and A actions there are at most 18 + 10 × S + 5 × A of them; one
//! that nothing is counted under is not there. `source` and `action` are names of the configuration, and `reason` is one of six words:
//! nothing that a stranger sends makes a new one.

use std::fmt::{self, Write};

/// What a metric's number is, in the words of CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A time.
    Milliseconds,
}

impl Unit {
    /// CloudWatch's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, which is that of the field.
    pub name: &'static str,
    /// What its number is.
    pub unit: Unit,
}

/// Metrics that have the same dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The sets of dimensions. A set that names a field which a line does not have is left out of that line.
    pub dimensions: &'static [&'static [&'static str]],
    /// The metrics.
    pub metrics: &'static [Metric],
}

const fn count(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Count }
}

const fn milliseconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Milliseconds }
}

/// No dimension: one number for the whole installation.
const ALL: &[&str] = &[];

/// The fields that are dimensions.
pub const DIMENSIONS: [&str; 3] = ["source", "reason", "action"];

/// The table. What each one counts is said in `docs/operations.md`.
pub static GROUPS: [Group; 6] = [
    Group {
        dimensions: &[&["source"]],
        metrics: &[
            count("accepted"),
            count("duplicate"),
            count("observed"),
            count("quarantined"),
            count("attempts"),
            count("done"),
            count("unrouted"),
        ],
    },
    Group { dimensions: &[&["source"], &["reason"]], metrics: &[count("refused")] },
    Group { dimensions: &[&["source"], &["action"]], metrics: &[count("retries")] },
    Group { dimensions: &[&["action"]], metrics: &[count("parked"), count("paused"), count("disabled")] },
    // The whole number as well: an alarm can't add up what it does not know the names of.
    Group { dimensions: &[ALL, &["source"], &["action"]], metrics: &[count("dead")] },
    Group {
        dimensions: &[ALL],
        metrics: &[
            count("unavailable"),
            count("stored"),
            count("queued"),
            count("deferred"),
            count("rescued"),
            count("outbox_queued"),
            count("destinations_paused"),
            count("destinations_disabled"),
            milliseconds("outbox_oldest_ms"),
            milliseconds("ack_ms"),
            milliseconds("end_to_end_ms"),
        ],
    },
];

/// One, if something is so: the number to count by.
pub fn one(is: bool) -> Option<u64> {
    is.then_some(1)
}

/// The metrics and dimensions that a line has. They are bits, so that a line without any costs next to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    metrics: [u16; GROUPS.len()],
    dimensions: u8,
}

impl Found {
    /// Notes a field with a number in it.
    pub(crate) fn number(&mut self, name: &str) {
        for (found, group) in self.metrics.iter_mut().zip(&GROUPS) {
            if let Some(place) = group.metrics.iter().position(|metric| metric.name == name) {
                *found |= 1 << place;
                return;
            }
        }
    }

    /// Notes a field with a text in it.
    pub(crate) fn text(&mut self, name: &str) {
        if let Some(place) = DIMENSIONS.iter().position(|dimension| *dimension == name) {
            self.dimensions |= 1 << place;
        }
    }

    fn has(self, dimension: &str) -> bool {
        let place = DIMENSIONS.iter().position(|known| *known == dimension);
        place.is_some_and(|place| self.dimensions & (1 << place) != 0)
    }

    /// Writes the member that makes metrics of a line's fields, with a comma before it; nothing if it has none.
    /// `namespace` is a JSON string. The names are ours, and have nothing in them that JSON would escape.
    pub(crate) fn write(self, out: &mut impl Write, namespace: &str, at_ms: i64) -> fmt::Result {
        let mut any = false;
        for (found, group) in self.metrics.into_iter().zip(&GROUPS).filter(|(found, _)| *found != 0) {
            let mut sets = group.dimensions.iter().filter(|set| set.iter().all(|name| self.has(name)));
            let Some(first) = sets.next() else { continue };
            match any {
                false => write!(out, ",\"_aws\":{{\"Timestamp\":{at_ms},\"CloudWatchMetrics\":[")?,
                true => out.write_char(',')?,
            }
            any = true;
            write!(out, "{{\"Namespace\":{namespace},\"Dimensions\":[")?;
            list(out, std::iter::once(first).chain(sets), |out, set| {
                out.write_char('[')?;
                list(out, set.iter(), |out, name| write!(out, "\"{name}\""))?;
                out.write_char(']')
            })?;
            out.write_str("],\"Metrics\":[")?;
            let metrics = group.metrics.iter().enumerate().filter(|(place, _)| found & (1 << place) != 0);
            list(out, metrics, |out, (_, metric)| {
                write!(out, "{{\"Name\":\"{}\",\"Unit\":\"{}\"}}", metric.name, metric.unit.word())
            })?;
            out.write_str("]}")?;
        }
        if any { out.write_str("]}") } else { Ok(()) }
    }
}

/// Writes items with commas between them.
fn list<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    each: impl Fn(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    for (number, item) in items.enumerate() {
        if number > 0 {
            out.write_char(',')?;
        }
        each(out, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_each_metric_once_and_only_known_dimensions() {
        let names: Vec<&str> =
            GROUPS.iter().flat_map(|group| group.metrics).map(|metric| metric.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        for name in names.iter().chain(&DIMENSIONS) {
            // Written without being escaped, and shown by queries without quotes.
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
        for group in &GROUPS {
            assert!(group.metrics.len() <= 16, "the bits are used up");
            assert!(!group.dimensions.is_empty());
            for name in group.dimensions.iter().copied().flatten() {
                assert!(DIMENSIONS.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn the_table_costs_what_it_says() {
        let with = |sources: usize, actions: usize| -> usize {
            let values = |name: &&str| match *name {
                "source" => sources,
                "action" => actions,
                // Every refusal but the one that is `unavailable`.
                "reason" => 6,
                other => panic!("{other}"),
            };
            GROUPS
                .iter()
                .map(|group| {
                    let sets = group.dimensions.iter().map(|set| set.iter().map(values).product::<usize>());
                    sets.sum::<usize>() * group.metrics.len()
                })
                .sum()
        };
        assert_eq!((with(0, 0), with(1, 0) - with(0, 0), with(0, 1) - with(0, 0)), (18, 10, 5));
    }

    #[test]
    fn a_set_that_the_line_lacks_is_left_out_and_a_metric_without_any_with_it() {
        let written = |numbers: &[&str], texts: &[&str]| {
            let mut found = Found::default();
            numbers.iter().for_each(|name| found.number(name));
            texts.iter().for_each(|name| found.text(name));
            let mut out = String::new();
            found.write(&mut out, "\"n\"", 5).unwrap();
            out
        };
        assert_eq!(written(&[], &["source"]), "");
        assert_eq!(written(&["bytes", "accepted"], &["outcome"]), "");
        assert_eq!(
            written(&["refused", "accepted"], &["reason"]),
            r#","_aws":{"Timestamp":5,"CloudWatchMetrics":[{"Namespace":"n","Dimensions":[["reason"]],"Metrics":[{"Name":"refused","Unit":"Count"}]}]}"#
        );
        assert_eq!(
            written(&["ack_ms", "dead", "stored"], &["source"]),
            r#","_aws":{"Timestamp":5,"CloudWatchMetrics":[{"Namespace":"n","Dimensions":[[],["source"]],"Metrics":[{"Name":"dead","Unit":"Count"}]},{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"stored","Unit":"Count"},{"Name":"ack_ms","Unit":"Milliseconds"}]}]}"#
        );
    }
}
