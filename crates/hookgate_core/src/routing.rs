//! Which actions an event leads to.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use wildmatch::WildMatch;

use crate::{
    config::Config,
    event::Event,
    ids::Name,
    template::{Filter, TemplateError},
};

/// A pattern with `*` (any characters, none included) and `?` (exactly one).
#[derive(Clone, Debug)]
pub struct Glob(WildMatch);

impl Glob {
    /// Reads a pattern; `None` for an empty one and for the brackets and braces of other dialects, which would
    /// quietly match nothing.
    pub fn parse(pattern: &str) -> Option<Self> {
        let ok = !pattern.is_empty() && !pattern.contains(['[', ']', '{', '}', '!', '|']);
        ok.then(|| Self(WildMatch::new(pattern)))
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "bad glob `{text}`: only `*` and `?` are special; write several routes for alternatives"
            ))
        })
    }
}

/// One `[[routes]]` entry.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// Which sources.
    pub source: Glob,
    /// Which event types.
    pub event_type: Glob,
    /// A further condition.
    pub filter: Option<Filter>,
    /// What is done.
    pub actions: Vec<Name>,
}

/// The actions that an event leads to, each once, in the order of the file.
///
/// # Errors
/// A filter that can't be evaluated for this event. The event's other routes are not tried either: guessing that
/// the filter meant no would lose what it was to do.
pub fn actions(config: &Config, event: &Event, context: &Value) -> Result<Vec<Name>, TemplateError> {
    let mut actions: Vec<Name> = Vec::new();
    for route in &config.routes {
        if !route.source.matches(event.source.as_str()) || !route.event_type.matches(&event.event_type) {
            continue;
        }
        if let Some(filter) = &route.filter
            && !filter.holds(context)?
        {
            continue;
        }
        for action in &route.actions {
            if !actions.contains(action) {
                actions.push(action.clone());
            }
        }
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const CONFIG: &str = r#"
        [sources.pay]
        provider = "generic"
        verify = "none"
        event = { id = "json:/id", type = "json:/type" }
        [sources.other]
        provider = "raw"
        verify = "none"
        [actions.a]
        kind = "run"
        [actions.b]
        kind = "run"
        [actions.c]
        kind = "run"
        [[routes]]
        source = "pay"
        type = "invoice.*"
        actions = ["a", "b"]
        [[routes]]
        source = "p*"
        filter = "event.amount > 10"
        actions = ["b", "c"]
    "#;

    fn check(source: &str, body: &str, want: &[&str]) {
        let config = Config::parse(CONFIG).unwrap();
        let (event, view) = testing::event(&config, source, body.as_bytes());
        let actions = actions(&config, &event, &event.context(&view)).unwrap();
        assert_eq!(actions.iter().map(Name::as_str).collect::<Vec<_>>(), want, "{source} {body}");
    }

    #[test]
    fn globs_and_filters_choose_and_an_action_runs_once() {
        check("pay", r#"{"type": "invoice.paid"}"#, &["a", "b"]);
        check("pay", r#"{"type": "invoice.paid", "amount": 11}"#, &["a", "b", "c"]);
        check("pay", r#"{"type": "invoice"}"#, &[]);
        check("pay", r#"{"type": "x", "amount": 11}"#, &["b", "c"]);
        check("other", r#"{"type": "invoice.paid", "amount": 11}"#, &[]);
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_an_error_not_a_no() {
        let config = Config::parse(&CONFIG.replace("event.amount > 10", "event.amount + 1 > 10")).unwrap();
        let (event, view) = testing::event(&config, "pay", br#"{"amount": {"of": "it"}}"#);
        assert!(actions(&config, &event, &event.context(&view)).is_err());
    }

    #[test]
    fn brackets_are_refused_rather_than_taken_literally() {
        for bad in ["", "a[b]", "{a,b}", "!a", "a|b"] {
            assert!(Glob::parse(bad).is_none(), "{bad}");
        }
        assert!(Glob::parse("a.?b*").unwrap().matches("a.xb.c"));
    }
}
