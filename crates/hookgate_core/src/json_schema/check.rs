//! Whether a value fits.

use std::{cell::Cell, cmp::Ordering, collections::BTreeMap};

use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    number::{compare, is_multiple},
    read::escaped,
    rule::{Id, Pattern, Range, Rule},
};

/// Most steps in which a body is checked, ten for each of a million values: alternatives inside of alternatives would
/// otherwise take whoever sends the right body as long as he likes.
pub(super) const STEPS_MAX: usize = 10_000_000;

/// Most schemas that are followed one inside the other, which is how much of a stack of 2 MB there is room for: a document of
/// JSON is 128 deep at most, and [`NESTED_MAX`](super::read::NESTED_MAX) may apply to one value.
pub(super) const DEPTH_MAX: usize = 128 * 16;

/// What takes as long as a step: characters are counted, and values compared, faster than schemas are followed.
const BYTES_COUNTED_PER_STEP: usize = 64;
const LOOKS_PER_STEP: usize = 4;

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} has to {what}", if .at.is_empty() { "all of it" } else { .at })]
pub struct Mismatch {
    /// Where, as a JSON pointer; with `*` for a name that is the sender's.
    at: String,
    /// What is wanted there. Nothing of what was sent.
    what: String,
}

impl Mismatch {
    fn new(what: impl Into<String>) -> Self {
        Self { at: String::new(), what: what.into() }
    }

    fn inside(self, step: &str) -> Self {
        Self { at: format!("/{}{}", escaped(step), self.at), ..self }
    }
}

/// Checks a value against the first of the schemas.
pub(super) fn check(nodes: &[Vec<Rule>], value: &Value) -> Result<(), Mismatch> {
    let steps = Cell::new(STEPS_MAX);
    let checked = Check { nodes, steps: &steps, depth: 0, is_told: true }.node(0, value);
    match steps.get() {
        // Whatever it came to: what was given up on the way may have turned it round.
        0 => Err(Mismatch::new(format!("be checked in {STEPS_MAX} steps, {DEPTH_MAX} deep"))),
        _ => checked,
    }
}

/// One look at a value.
#[derive(Clone, Copy)]
struct Check<'s> {
    nodes: &'s [Vec<Rule>],
    /// How many more steps it may take. None is left when it was given up.
    steps: &'s Cell<usize>,
    /// How many schemas this one is inside of.
    depth: usize,
    /// Whether anybody reads why it does not fit. Of an alternative nobody does, and there may be a million of these.
    is_told: bool,
}

impl Check<'_> {
    fn take(self, steps: usize) -> Result<(), Mismatch> {
        let left = self.steps.get().saturating_sub(steps);
        self.steps.set(left);
        if left == 0 { Err(Mismatch::new("be simpler")) } else { Ok(()) }
    }

    fn node(self, id: Id, value: &Value) -> Result<(), Mismatch> {
        let rules = self.nodes.get(id).map(Vec::as_slice).unwrap_or_default();
        self.take(if self.depth < DEPTH_MAX { 1 + rules.len() } else { STEPS_MAX })?;
        let inside = Self { depth: self.depth + 1, ..self };
        rules.iter().try_for_each(|rule| inside.rule(rule, value))
    }

    fn fits(self, id: Id, value: &Value) -> bool {
        Self { is_told: false, ..self }.node(id, value).is_ok()
    }

    fn rule(self, rule: &Rule, value: &Value) -> Result<(), Mismatch> {
        let ensure = |holds: bool, what: &dyn Fn() -> String| match holds {
            true => Ok(()),
            false if self.is_told => Err(Mismatch::new(what())),
            false => Err(Mismatch::new(String::new())),
        };
        match (rule, value) {
            (Rule::Nothing, _) => Err(Mismatch::new("be left out")),
            (Rule::Types(types), _) => ensure(types.iter().any(|it| it.is_of(value)), &|| {
                let names: Vec<_> = types.iter().map(|it| it.name()).collect();
                format!("be of type {}", names.join(" or "))
            }),
            (Rule::Values(values), _) => ensure(values.iter().any(|it| equal(it, value)), &|| {
                let mut said: Vec<String> = values.iter().take(5).map(Value::to_string).collect();
                if values.len() > said.len() {
                    said.push(format!("one of {} others", values.len() - said.len()));
                }
                format!("be {}", said.join(" or "))
            }),
            (Rule::Bound(bound, limit), Value::Number(number)) => {
                ensure(bound.holds(compare(number, limit)), &|| format!("be {} {limit}", bound.words()))
            }
            (Rule::MultipleOf(divisor), Value::Number(number)) => {
                ensure(is_multiple(number, divisor), &|| format!("be a multiple of {divisor}"))
            }
            (Rule::Length(range), Value::String(text)) => {
                self.take(text.len() / BYTES_COUNTED_PER_STEP)?;
                within(*range, text.chars().count(), "characters")
            }
            (Rule::Pattern(pattern), Value::String(text)) => {
                ensure(self.matches(pattern, text)?, &|| format!("match {}", pattern.as_str()))
            }
            (Rule::ItemCount(range), Value::Array(items)) => within(*range, items.len(), "items"),
            (Rule::Unique, Value::Array(items)) => {
                ensure(self.are_unique(items)?, &|| "have no item twice".to_owned())
            }
            (Rule::Items { first, others }, Value::Array(items)) => {
                for (n, item) in items.iter().enumerate() {
                    let Some(id) = first.get(n).or(others.as_ref()) else { break };
                    self.node(*id, item).map_err(|mismatch| mismatch.inside(&n.to_string()))?;
                }
                Ok(())
            }
            (Rule::Contains { item, times }, Value::Array(items)) => {
                let fitting = items.iter().filter(|it| self.fits(*item, it)).count();
                within(*times, fitting, "items of a certain kind")
            }
            (Rule::Required(names), Value::Object(members)) => {
                let missing = names.iter().find(|name| !members.contains_key(*name));
                missing.map_or(Ok(()), |name| Err(Mismatch::new("be there").inside(name)))
            }
            (Rule::MemberCount(range), Value::Object(members)) => within(*range, members.len(), "members"),
            (Rule::Names(id), Value::Object(members)) => members.keys().try_for_each(|name| {
                let name = Value::String(name.clone());
                self.node(*id, &name)
                    .map_err(|mismatch| Mismatch::new(format!("{}, as a name", mismatch.what)).inside("*"))
            }),
            (Rule::Dependent(dependent), Value::Object(members)) => {
                let asked = dependent.iter().filter(|(name, _)| members.contains_key(*name));
                let mut missing =
                    asked.flat_map(|(_, names)| names).filter(|name| !members.contains_key(*name));
                missing.next().map_or(Ok(()), |name| Err(Mismatch::new("be there").inside(name)))
            }
            (Rule::Members { named, patterns, others }, Value::Object(members)) => members
                .iter()
                .try_for_each(|(name, value)| self.member(name, value, named, patterns, *others)),
            (Rule::All(ids), _) => ids.iter().try_for_each(|id| self.node(*id, value)),
            (Rule::Any(ids), _) => ensure(ids.iter().any(|id| self.fits(*id, value)), &|| {
                format!("fit one of {} schemas", ids.len())
            }),
            (Rule::One(ids), _) => {
                let fitting = ids.iter().filter(|id| self.fits(**id, value)).take(2).count();
                ensure(fitting == 1, &|| format!("fit exactly one of {} schemas", ids.len()))
            }
            (Rule::Not(id), _) => ensure(!self.fits(*id, value), &|| "be something else".to_owned()),
            (Rule::If { condition, then, otherwise }, _) => {
                let branch = if self.fits(*condition, value) { then } else { otherwise };
                branch.map_or(Ok(()), |id| self.node(id, value))
            }
            // What is asked of one type says nothing about the others.
            _ => Ok(()),
        }
    }

    fn member(
        self,
        name: &str,
        value: &Value,
        named: &BTreeMap<String, Id>,
        patterns: &[(Pattern, Id)],
        others: Option<Id>,
    ) -> Result<(), Mismatch> {
        self.take(1)?;
        let mut is_named = false;
        if let Some(id) = named.get(name) {
            is_named = true;
            self.node(*id, value).map_err(|mismatch| mismatch.inside(name))?;
        }
        for (pattern, id) in patterns {
            if self.matches(pattern, name)? {
                is_named = true;
                self.node(*id, value).map_err(|mismatch| mismatch.inside("*"))?;
            }
        }
        match others {
            Some(id) if !is_named => self.node(id, value).map_err(|mismatch| mismatch.inside("*")),
            _ => Ok(()),
        }
    }

    fn matches(self, pattern: &Pattern, text: &str) -> Result<bool, Mismatch> {
        self.take(pattern.steps(text))?;
        Ok(pattern.is_match(text))
    }

    /// By an order, as a list of what was seen would take more memory than the items.
    fn are_unique(self, items: &[Value]) -> Result<bool, Mismatch> {
        let looks = Cell::new(0);
        let mut sorted: Vec<&Value> = items.iter().collect();
        sorted.sort_unstable_by(|a, b| order(a, b, &looks));
        let is_unique = !sorted.windows(2).any(|two| matches!(two, [a, b] if order(a, b, &looks).is_eq()));
        self.take(looks.get() / LOOKS_PER_STEP)?;
        Ok(is_unique)
    }
}

fn within(range: Range, count: usize, what: &str) -> Result<(), Mismatch> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if count < range.min {
        return Err(Mismatch::new(format!("have at least {} {what}", range.min)));
    }
    if count > range.max {
        return Err(Mismatch::new(format!("have at most {} {what}", range.max)));
    }
    Ok(())
}

/// Whether two values are the same to JSON Schema, for which 1 and 1.0 are.
fn equal(a: &Value, b: &Value) -> bool {
    order(a, b, &Cell::new(0)).is_eq()
}

/// An order in which two values are equal if they are to JSON Schema.
fn order(a: &Value, b: &Value, looks: &Cell<usize>) -> Ordering {
    looks.set(looks.get() + 1);
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => compare(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len().cmp(&b.len()).then_with(|| first_difference(a.iter().zip(b), looks))
        }
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let (a, b) = (by_name(a), by_name(b));
            let names = a.iter().map(|(name, _)| name).cmp(b.iter().map(|(name, _)| name));
            names.then_with(|| first_difference(a.iter().map(|it| it.1).zip(b.iter().map(|it| it.1)), looks))
        }),
        _ => kind(a).cmp(&kind(b)),
    }
}

fn first_difference<'v>(
    pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    looks: &Cell<usize>,
) -> Ordering {
    pairs.map(|(a, b)| order(a, b, looks)).find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
}

fn by_name(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}
