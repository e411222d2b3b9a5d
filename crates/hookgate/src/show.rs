//! What commands print: aligned columns for people, one JSON object a line for programs.

use data_encoding::BASE64;
use hookgate_aws::store::Entry;
use hookgate_core::{event::Event, ids::Name, lifecycle::AttemptOutcome, time::EpochMillis};
use serde_json::{Map, Value, json};

/// Prints a line on standard output. A reader that has gone away (`| head`) ends the program quietly.
pub fn line(text: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a line on standard error.
pub fn note(text: &str) {
    use std::io::Write;
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {
        // There is nobody left to tell.
        std::process::exit(1);
    }
}

/// Prints rows under their headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: Vec<&str>| {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(&cells) {
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            text.push_str(cell);
            text.push_str(&" ".repeat(padding));
        }
        line(text.trim_end());
    };
    print(headings.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// One line of text from a stranger: control characters can't reach the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time in a list: to the second.
pub fn short_time(at: EpochMillis) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => text,
    }
}

/// So many milliseconds, in the unit that suits them.
pub fn duration(ms: i64) -> String {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..MINUTE_MS => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ if ms < 120 * MINUTE_MS => format!("{} min", ms / MINUTE_MS),
        _ if ms < 48 * HOUR_MS => format!("{} h", ms / HOUR_MS),
        _ => format!("{} d", ms / (24 * HOUR_MS)),
    }
}

/// The actions that wait for their destinations.
pub fn waits_for(entry: &Entry) -> Vec<&Name> {
    let mut waiting: Vec<&Name> = Vec::new();
    for attempt in &entry.attempts.0 {
        if entry.attempts.parked_since(&attempt.action).is_some() && !waiting.contains(&&attempt.action) {
            waiting.push(&attempt.action);
        }
    }
    waiting
}

/// An event in a list.
pub fn entry_json(entry: &Entry) -> Value {
    json!({
        "source": entry.key.source,
        "id": entry.key.id,
        "type": entry.event_type,
        "status": entry.status.word(),
        "received_at": entry.key.received_at.to_string(),
        "occurred_at": entry.occurred_at.map(|at| at.to_string()),
        "attempts": entry.attempts.runs(),
        "next_at": entry.next_at.map(|at| at.to_string()),
        "waits_for": waits_for(entry),
    })
}

/// An event in a list, for people.
pub fn entry_row(entry: &Entry) -> Vec<String> {
    let mut status = entry.status.word().to_owned();
    if let Some(next_at) = entry.next_at {
        status = format!("{status} until {}", short_time(next_at));
    }
    let waiting = waits_for(entry);
    if !waiting.is_empty() {
        let names: Vec<&str> = waiting.into_iter().map(Name::as_str).collect();
        status = format!("{status}, waits for {}", names.join(" and "));
    }
    vec![
        short_time(entry.key.received_at),
        entry.key.source.to_string(),
        plain(&entry.event_type),
        status,
        entry.attempts.runs().to_string(),
        plain(entry.key.id.as_str()),
    ]
}

/// The headings of [`entry_row`].
pub const ENTRY_HEADINGS: &[&str] = &["RECEIVED", "SOURCE", "TYPE", "STATUS", "ATTEMPTS", "ID"];

/// An event with everything in it. `entry` is what is known of it beside its content.
pub fn event_json(event: &Event, entry: Option<&Entry>) -> Value {
    let mut headers = Map::new();
    for name in event.request.headers.keys() {
        if let Some(value) = event.request.header(name.as_str()) {
            headers.insert(name.as_str().to_owned(), value.into());
        }
    }
    let (body, body_encoding) = match std::str::from_utf8(&event.request.body) {
        Ok(text) => (text.to_owned(), "text"),
        Err(_) => (BASE64.encode(&event.request.body), "base64"),
    };
    let attempts: Vec<Value> = entry
        .map(|entry| entry.attempts.0.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|attempt| {
            let next_at = match &attempt.outcome {
                AttemptOutcome::Retry { next_at } => Some(next_at.to_string()),
                _ => None,
            };
            json!({
                "action": attempt.action,
                "outcome": attempt.outcome.word(),
                "at": attempt.at.to_string(),
                "detail": attempt.detail,
                "next_at": next_at,
            })
        })
        .collect();
    json!({
        "source": event.source,
        "id": event.id,
        "type": event.event_type,
        "status": entry.map_or("received", |entry| entry.status.word()),
        "received_at": event.request.received_at.to_string(),
        "occurred_at": event.occurred_at.map(|at| at.to_string()),
        "unverified": event.unverified,
        "attempts": attempts,
        "next_at": entry.and_then(|entry| entry.next_at).map(|at| at.to_string()),
        "waits_for": entry.map(waits_for).unwrap_or_default(),
        "query": event.request.query,
        "headers": headers,
        "body": body,
        "body_encoding": body_encoding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_can_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\n"), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
    }

    #[test]
    fn times_in_lists_are_to_the_second() {
        assert_eq!(short_time(EpochMillis::from_millis(1_779_999_990_123)), "2026-05-28 20:26:30");
    }

    #[test]
    fn times_are_in_the_unit_that_suits_them() {
        let shown =
            [0, 999, 1_250, 59_999, 60_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(duration);
        assert_eq!(shown, ["0 ms", "999 ms", "1.2 s", "59.9 s", "1 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
