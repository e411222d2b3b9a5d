//! Which actions an event leads to.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use wildmatch::WildMatch;

use crate::{
    event::Event,
    ids::Name,
    template::{Filter, FilterValue, TemplateError},
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

/// What one route makes of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Its actions are run.
    Matches {
        /// What its filter came to; `None` for a route without one.
        filter: Option<FilterValue>,
    },
    /// It is about other sources.
    OtherSource,
    /// It is about other types.
    OtherType,
    /// Its filter does not hold.
    FilteredOut(FilterValue),
    /// Its filter can't be evaluated for this event.
    FilterFails(TemplateError),
}

impl RouteRule {
    fn judge(&self, event: &Event, context: &Value) -> Verdict {
        if !self.source.matches(event.source.as_str()) {
            return Verdict::OtherSource;
        }
        if !self.event_type.matches(&event.event_type) {
            return Verdict::OtherType;
        }
        match self.filter.as_ref().map(|filter| filter.value(context)) {
            None => Verdict::Matches { filter: None },
            Some(Ok(value)) if value.holds() => Verdict::Matches { filter: Some(value) },
            Some(Ok(value)) => Verdict::FilteredOut(value),
            Some(Err(error)) => Verdict::FilterFails(error),
        }
    }
}

/// What each route makes of an event, in the order of the file. One whose filter fails hides none of the others here.
pub fn explain(routes: &[RouteRule], event: &Event, context: &Value) -> Vec<Verdict> {
    routes.iter().map(|route| route.judge(event, context)).collect()
}

/// The actions that an event leads to, each once, in the order of the file.
///
/// # Errors
/// A filter that can't be evaluated for this event. The event's other routes are not tried either: guessing that
/// the filter meant no would lose what it was to do.
pub fn actions(routes: &[RouteRule], event: &Event, context: &Value) -> Result<Vec<Name>, TemplateError> {
    let mut actions: Vec<Name> = Vec::new();
    for route in routes {
        match route.judge(event, context) {
            Verdict::Matches { .. } => {}
            Verdict::OtherSource | Verdict::OtherType | Verdict::FilteredOut(_) => continue,
            Verdict::FilterFails(error) => return Err(error),
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
    use proptest::prelude::*;

    use super::*;
    use crate::{config::Config, testing};

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
        let actions = actions(&config.routes, &event, &event.context(&view)).unwrap();
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
        assert!(actions(&config.routes, &event, &event.context(&view)).is_err());
    }

    #[test]
    fn every_route_says_why_or_why_not() {
        let verdicts = |source: &str, body: &str| {
            let config = Config::parse(CONFIG).unwrap();
            let (event, view) = testing::event(&config, source, body.as_bytes());
            let verdicts = explain(&config.routes, &event, &event.context(&view));
            verdicts.iter().map(|verdict| format!("{verdict:?}")).collect::<Vec<_>>()
        };
        assert_eq!(
            verdicts("pay", r#"{"type": "invoice.paid", "amount": 11}"#),
            ["Matches { filter: None }", "Matches { filter: Some(true) }"]
        );
        assert_eq!(verdicts("pay", r#"{"type": "x", "amount": 5}"#), ["OtherType", "FilteredOut(false)"]);
        assert_eq!(verdicts("other", "{}"), ["OtherSource", "OtherSource"]);
    }

    proptest! {
        /// What is explained is what is done: the actions of the routes that match, or the first filter's error.
        #[test]
        fn actions_are_those_of_the_routes_that_match(
            routes in proptest::collection::vec(
                (
                    prop::sample::select(vec!["pay", "p*", "*", "other"]),
                    prop::sample::select(vec!["*", "a.*", "b"]),
                    prop::sample::select(vec!["", "event.yes", "event.no", "event.yes + 1", "event.gone.too"]),
                    proptest::sample::subsequence(vec!["a", "b", "c"], 1..=3),
                ),
                0..6,
            ),
            event_type in prop::sample::select(vec!["a.x", "b", "c"]),
        ) {
            let (head, _) = CONFIG.split_once("[[routes]]").unwrap();
            let mut text = head.to_owned();
            for (source, event_type, filter, actions) in &routes {
                text += &format!("[[routes]]\nsource = \"{source}\"\ntype = \"{event_type}\"\nactions = {actions:?}\n");
                if !filter.is_empty() {
                    text += &format!("filter = \"{filter}\"\n");
                }
            }
            let config = Config::parse(&text).unwrap();
            let body = format!(r#"{{"type": "{event_type}", "yes": {{"a": 1}}, "no": 0}}"#);
            let (event, view) = testing::event(&config, "pay", body.as_bytes());
            let context = event.context(&view);

            let verdicts = explain(&config.routes, &event, &context);
            prop_assert_eq!(verdicts.len(), config.routes.len());
            let mut expected = Ok(Vec::new());
            for (route, verdict) in config.routes.iter().zip(verdicts) {
                match verdict {
                    Verdict::Matches { .. } => {
                        if let Ok(names) = &mut expected {
                            for name in &route.actions {
                                if !names.contains(name) {
                                    names.push(name.clone());
                                }
                            }
                        }
                    }
                    Verdict::FilterFails(error) => {
                        expected = expected.and(Err(error));
                    }
                    Verdict::OtherSource | Verdict::OtherType | Verdict::FilteredOut(_) => {}
                }
            }
            prop_assert_eq!(actions(&config.routes, &event, &context), expected);
        }
    }

    #[test]
    fn brackets_are_refused_rather_than_taken_literally() {
        for bad in ["", "a[b]", "{a,b}", "!a", "a|b"] {
            assert!(Glob::parse(bad).is_none(), "{bad}");
        }
        assert!(Glob::parse("a.?b*").unwrap().matches("a.xb.c"));
    }
}
