//! A schema as it is written.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Number, Value};

use super::rule::{Bound, Id, Pattern, Range, Rule, Type};

/// Keywords that say something to people, or to nobody here.
const SAY_NOTHING: &[&str] = &[
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "else",
    "examples",
    "format",
    "maxContains",
    "minContains",
    "readOnly",
    "then",
    "title",
    "writeOnly",
];

/// Most schemas that apply to one value one inside the other: with the depth that a body may have, what a stack has room for.
pub(super) const NESTED_MAX: usize = 16;

/// Reads a document: the schemas in it, by their [`Id`]s.
pub(super) fn nodes(document: &Value) -> Result<Vec<Vec<Rule>>, String> {
    let mut reader = Reader::default();
    reader.at(String::new());
    let mut nodes = Vec::new();
    // One after the other, not one from inside the other: how long a chain of references is, is the writer's choice.
    while let Some(pointer) = reader.waiting.pop_front() {
        let schema = document.pointer(&pointer).ok_or_else(|| format!("there is nothing at `#{pointer}`"))?;
        nodes.push(match schema {
            Value::Bool(true) => Vec::new(),
            Value::Bool(false) => vec![Rule::Nothing],
            Value::Object(keywords) => reader.rules(keywords, &pointer)?,
            _ => {
                return Err(format!(
                    "`#{pointer}` is no schema: that is an object of keywords, true or false"
                ));
            }
        });
    }
    let mut known = vec![None; nodes.len()];
    for id in 0..nodes.len() {
        nested(id, &nodes, &mut known, 0)?;
    }
    Ok(nodes)
}

/// How many schemas apply to one value one inside the other, from this one on, which is `outside` of that many. In `known`
/// is what was found so far.
fn nested(id: Id, nodes: &[Vec<Rule>], known: &mut [Option<usize>], outside: usize) -> Result<usize, String> {
    let mut inside = 0;
    match known.get(id).copied().flatten() {
        Some(depth) => inside = depth - 1,
        None if outside < NESTED_MAX => {
            for rule in nodes.get(id).into_iter().flatten() {
                let same_value: Vec<Id> = match rule {
                    Rule::All(ids) | Rule::Any(ids) | Rule::One(ids) => ids.clone(),
                    Rule::Not(id) => vec![*id],
                    Rule::If { condition, then, otherwise } => {
                        [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
                    }
                    _ => Vec::new(),
                };
                for id in same_value {
                    inside = inside.max(nested(id, nodes, known, outside + 1)?);
                }
            }
        }
        None => {}
    }
    if outside + inside >= NESTED_MAX {
        return Err(format!(
            "more than {NESTED_MAX} schemas are inside each other for one value, or a `$ref` leads back to itself"
        ));
    }
    if let Some(place) = known.get_mut(id) {
        *place = Some(inside + 1);
    }
    Ok(inside + 1)
}

/// The schemas of a document.
#[derive(Default)]
struct Reader {
    /// By the pointer to each.
    known: BTreeMap<String, Id>,
    /// Those that are to be read, in the order of their ids.
    waiting: VecDeque<String>,
}

impl Reader {
    /// The schema at a pointer.
    fn at(&mut self, pointer: String) -> Id {
        let next = self.known.len();
        *self.known.entry(pointer).or_insert_with_key(|pointer| {
            self.waiting.push_back(pointer.clone());
            next
        })
    }

    fn rules(&mut self, keywords: &Map<String, Value>, pointer: &str) -> Result<Vec<Rule>, String> {
        for definitions in ["$defs", "definitions"] {
            if let Some(Value::Object(named)) = keywords.get(definitions) {
                for name in named.keys() {
                    self.at(format!("{pointer}/{definitions}/{}", escaped(name)));
                }
            }
        }
        let mut rules = Vec::new();
        for (keyword, value) in keywords {
            let place = format!("{pointer}/{}", escaped(keyword));
            let wrong = |wanted: &str| format!("`#{place}` has to be {wanted}");
            rules.push(match keyword.as_str() {
                "type" => Rule::Types(types(value).ok_or_else(|| {
                    wrong("one or a list of null, boolean, object, array, number, integer and string")
                })?),
                "enum" => Rule::Values(value.as_array().ok_or_else(|| wrong("a list"))?.clone()),
                "const" => Rule::Values(vec![value.clone()]),
                "minimum" => Rule::Bound(Bound::Minimum, number(value).ok_or_else(|| wrong("a number"))?),
                "maximum" => Rule::Bound(Bound::Maximum, number(value).ok_or_else(|| wrong("a number"))?),
                "exclusiveMinimum" => {
                    Rule::Bound(Bound::Above, number(value).ok_or_else(|| wrong("a number"))?)
                }
                "exclusiveMaximum" => {
                    Rule::Bound(Bound::Below, number(value).ok_or_else(|| wrong("a number"))?)
                }
                "multipleOf" => {
                    let divisor = number(value).filter(|divisor| divisor.as_f64().is_some_and(|d| d > 0.0));
                    Rule::MultipleOf(divisor.ok_or_else(|| wrong("a number above 0"))?)
                }
                "minLength" => Rule::Length(Range { min: count(value, &place)?, max: u64::MAX }),
                "maxLength" => Rule::Length(Range { min: 0, max: count(value, &place)? }),
                "pattern" => Rule::Pattern(pattern(value.as_str().ok_or_else(|| wrong("a text"))?, &place)?),
                "prefixItems" => continue,
                "items" => {
                    if value.is_array() {
                        return Err(wrong("one schema; a list of them is called `prefixItems`"));
                    }
                    continue;
                }
                "minItems" => Rule::ItemCount(Range { min: count(value, &place)?, max: u64::MAX }),
                "maxItems" => Rule::ItemCount(Range { min: 0, max: count(value, &place)? }),
                "uniqueItems" => match value.as_bool().ok_or_else(|| wrong("true or false"))? {
                    true => Rule::Unique,
                    false => continue,
                },
                "contains" => {
                    let times = |keyword: &str, unless: u64| match keywords.get(keyword) {
                        Some(value) => count(value, &format!("{pointer}/{keyword}")),
                        None => Ok(unless),
                    };
                    let times = Range { min: times("minContains", 1)?, max: times("maxContains", u64::MAX)? };
                    Rule::Contains { item: self.at(place), times }
                }
                "required" => Rule::Required(names(value).ok_or_else(|| wrong("a list of names"))?),
                "properties" | "patternProperties" | "additionalProperties" => continue,
                "minProperties" => Rule::MemberCount(Range { min: count(value, &place)?, max: u64::MAX }),
                "maxProperties" => Rule::MemberCount(Range { min: 0, max: count(value, &place)? }),
                "propertyNames" => Rule::Names(self.at(place)),
                "dependentRequired" => {
                    let wrong = || wrong("an object of lists of names");
                    let members = value.as_object().ok_or_else(wrong)?.iter();
                    let read = members.map(|(name, value)| Some((name.clone(), names(value)?)));
                    Rule::Dependent(read.collect::<Option<_>>().ok_or_else(wrong)?)
                }
                "allOf" => Rule::All(self.list(value, &place)?),
                "anyOf" => Rule::Any(self.list(value, &place)?),
                "oneOf" => Rule::One(self.list(value, &place)?),
                "not" => Rule::Not(self.at(place)),
                "if" => {
                    let mut branch = |keyword: &str| {
                        let there = keywords.contains_key(keyword);
                        there.then(|| self.at(format!("{pointer}/{keyword}")))
                    };
                    let (then, otherwise) = (branch("then"), branch("else"));
                    Rule::If { condition: self.at(place), then, otherwise }
                }
                "$ref" => {
                    let target = value.as_str().and_then(|target| target.strip_prefix('#'));
                    let target = target.filter(|target| target.is_empty() || target.starts_with('/'));
                    let wanted = "a place in the same schema, such as `#/$defs/order`";
                    Rule::All(vec![self.at(target.ok_or_else(|| wrong(wanted))?.to_owned())])
                }
                other if SAY_NOTHING.contains(&other) => continue,
                other => {
                    return Err(format!("`#{place}`: hookgate does not check `{other}`, so it can't stay"));
                }
            });
        }
        rules.extend(self.items(keywords, pointer)?);
        rules.extend(self.members(keywords, pointer)?);
        Ok(rules)
    }

    fn list(&mut self, value: &Value, place: &str) -> Result<Vec<Id>, String> {
        let schemas = value.as_array().filter(|schemas| !schemas.is_empty());
        let count =
            schemas.ok_or_else(|| format!("`#{place}` has to be a list of one schema or more"))?.len();
        Ok((0..count).map(|n| self.at(format!("{place}/{n}"))).collect())
    }

    fn items(&mut self, keywords: &Map<String, Value>, pointer: &str) -> Result<Option<Rule>, String> {
        let first = match keywords.get("prefixItems") {
            Some(value) => self.list(value, &format!("{pointer}/prefixItems"))?,
            None => Vec::new(),
        };
        let others = keywords.get("items").map(|_| self.at(format!("{pointer}/items")));
        Ok((!first.is_empty() || others.is_some()).then_some(Rule::Items { first, others }))
    }

    fn members(&mut self, keywords: &Map<String, Value>, pointer: &str) -> Result<Option<Rule>, String> {
        let mut named = BTreeMap::new();
        let mut patterns = Vec::new();
        for keyword in ["properties", "patternProperties"] {
            let Some(value) = keywords.get(keyword) else { continue };
            let place = format!("{pointer}/{keyword}");
            let members =
                value.as_object().ok_or_else(|| format!("`#{place}` has to be an object of schemas"))?;
            for name in members.keys() {
                let place = format!("{place}/{}", escaped(name));
                let id = self.at(place.clone());
                match keyword {
                    "properties" => drop(named.insert(name.clone(), id)),
                    _ => patterns.push((pattern(name, &place)?, id)),
                }
            }
        }
        let others = keywords.get("additionalProperties");
        let others = others.map(|_| self.at(format!("{pointer}/additionalProperties")));
        let any = !named.is_empty() || !patterns.is_empty() || others.is_some();
        Ok(any.then_some(Rule::Members { named, patterns, others }))
    }
}

fn types(value: &Value) -> Option<Vec<Type>> {
    let one = |value: &Value| Type::ALL.into_iter().find(|it| Some(it.name()) == value.as_str());
    match value {
        Value::Array(names) if !names.is_empty() => names.iter().map(one).collect(),
        name => one(name).map(|it| vec![it]),
    }
}

fn number(value: &Value) -> Option<Number> {
    value.as_number().cloned()
}

fn names(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

fn count(value: &Value, place: &str) -> Result<u64, String> {
    let whole = value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0)?;
        float.to_string().parse().ok()
    });
    whole.ok_or_else(|| format!("`#{place}` has to be a whole number that is not below 0"))
}

fn pattern(text: &str, place: &str) -> Result<Pattern, String> {
    Pattern::read(text)
        .map_err(|error| format!("`#{place}`: `{text}` is no pattern that can be read: {error}"))
}

/// A step of a JSON pointer (RFC 6901).
pub(super) fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}
