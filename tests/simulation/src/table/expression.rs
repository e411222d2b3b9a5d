//! The part of DynamoDB's expression language that hookgate writes: conditions, updates, key conditions, projections.
//!
//! Grammar: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html> and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html> (read
//! 2026-11-21). What is not here is [`Unknown`], which ends a history: the model never guesses.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::Item;

/// Something that the model has not learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

/// The names and values that an expression's placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placeholders<'r> {
    names: Option<&'r Value>,
    values: Option<&'r Value>,
}

impl<'r> Placeholders<'r> {
    pub(super) fn of(request: &'r Value) -> Self {
        Self {
            names: request.get("ExpressionAttributeNames"),
            values: request.get("ExpressionAttributeValues"),
        }
    }

    fn name<'t>(self, token: &'t str) -> Result<&'t str, Unknown>
    where
        'r: 't,
    {
        if !token.starts_with('#') {
            return Ok(token);
        }
        let name = self.names.and_then(|names| names.get(token)).and_then(Value::as_str);
        name.ok_or_else(|| Unknown(format!("the name {token}")))
    }

    fn value(self, token: &str) -> Result<&'r Value, Unknown> {
        self.values.and_then(|values| values.get(token)).ok_or_else(|| Unknown(format!("the value {token}")))
    }
}

/// Whether a condition holds for an item.
pub(super) fn holds(text: &str, item: Option<&Item>, with: Placeholders<'_>) -> Result<bool, Unknown> {
    let empty = Item::new();
    let mut reader = Reader { tokens: Tokens(text), item: item.unwrap_or(&empty), with };
    let holds = reader.either()?;
    match reader.tokens.next() {
        None => Ok(holds),
        Some(token) => Err(Unknown(format!("`{token}` in `{text}`"))),
    }
}

/// Carries an update out, and returns the names that it touched.
pub(super) fn update(text: &str, item: &mut Item, with: Placeholders<'_>) -> Result<Vec<String>, Unknown> {
    let before = item.clone();
    let mut touched = Vec::new();
    let mut reader = Reader { tokens: Tokens(text), item: &before, with };
    while let Some(clause) = reader.tokens.next() {
        loop {
            let token = reader.word()?;
            let name = with.name(token)?.to_owned();
            match clause {
                "SET" => {
                    reader.expect("=")?;
                    let value = reader.sum()?;
                    item.insert(name.clone(), value);
                }
                "REMOVE" => {
                    item.remove(&name);
                }
                "ADD" => {
                    let token = reader.word()?;
                    let more = with.value(token)?;
                    let sum = match before.get(&name) {
                        None => more.clone(),
                        Some(known) => number(integer(known)? + integer(more)?),
                    };
                    item.insert(name.clone(), sum);
                }
                other => return Err(Unknown(format!("the clause {other}"))),
            }
            touched.push(name);
            if !reader.tokens.take(",") {
                break;
            }
        }
    }
    Ok(touched)
}

/// The partition that a key condition names, and the bounds of the sort key in it.
pub(super) struct Range<'r> {
    pub(super) pk: &'r str,
    pub(super) from: Option<&'r str>,
    /// The bound, and whether it is in the range itself.
    pub(super) to: Option<(&'r str, bool)>,
}

/// Reads `pk = :pk`, with `AND sk < :end` or `AND sk BETWEEN :from AND :to` where that follows.
pub(super) fn range<'r>(text: &str, with: Placeholders<'r>) -> Result<Range<'r>, Unknown> {
    let unknown = || Unknown(format!("the key condition `{text}`"));
    let key = |token: Option<&str>| -> Result<&'r str, Unknown> {
        with.value(token.unwrap_or_default())?.get("S").and_then(Value::as_str).ok_or_else(unknown)
    };
    let mut tokens = Tokens(text);
    if !(tokens.take("pk") && tokens.take("=")) {
        return Err(unknown());
    }
    let mut range = Range { pk: key(tokens.next())?, from: None, to: None };
    if tokens.take("AND") {
        if !tokens.take("sk") {
            return Err(unknown());
        }
        match tokens.next() {
            Some("<") => range.to = Some((key(tokens.next())?, false)),
            Some("BETWEEN") => {
                range.from = Some(key(tokens.next())?);
                if !tokens.take("AND") {
                    return Err(unknown());
                }
                range.to = Some((key(tokens.next())?, true));
            }
            _ => return Err(unknown()),
        }
    }
    if tokens.next().is_some() { Err(unknown()) } else { Ok(range) }
}

/// Only the attributes that a projection names.
pub(super) fn project(text: &str, item: &Item, with: Placeholders<'_>) -> Result<Item, Unknown> {
    let mut projected = Item::new();
    for token in text.split(',').map(str::trim) {
        let name = with.name(token)?;
        if let Some(value) = item.get(name) {
            projected.insert(name.to_owned(), value.clone());
        }
    }
    Ok(projected)
}

/// A text in its words and signs.
struct Tokens<'t>(&'t str);

impl<'t> Tokens<'t> {
    fn peek(&self) -> Option<(&'t str, &'t str)> {
        let text = self.0.trim_start();
        let first = text.chars().next()?;
        let length = if first.is_alphanumeric() || matches!(first, '#' | ':' | '_') {
            text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '#' | ':' | '_'))).unwrap_or(text.len())
        } else if text.starts_with("<=") || text.starts_with(">=") || text.starts_with("<>") {
            2
        } else {
            first.len_utf8()
        };
        text.split_at_checked(length)
    }

    fn next(&mut self) -> Option<&'t str> {
        let (token, rest) = self.peek()?;
        self.0 = rest;
        Some(token)
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, token: &str) -> bool {
        match self.peek() {
            Some((next, rest)) if next == token => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

/// Reads an expression and works it out at the same time. Nothing in it has an effect, so no branch is left out.
struct Reader<'r> {
    tokens: Tokens<'r>,
    item: &'r Item,
    with: Placeholders<'r>,
}

impl<'r> Reader<'r> {
    fn word(&mut self) -> Result<&'r str, Unknown> {
        self.tokens.next().ok_or_else(|| Unknown("an expression that ends early".to_owned()))
    }

    fn expect(&mut self, token: &str) -> Result<(), Unknown> {
        match self.tokens.take(token) {
            true => Ok(()),
            false => Err(Unknown(format!("`{}` in place of `{token}`", self.tokens.0))),
        }
    }

    fn either(&mut self) -> Result<bool, Unknown> {
        let mut holds = self.both()?;
        while self.tokens.take("OR") {
            holds |= self.both()?;
        }
        Ok(holds)
    }

    fn both(&mut self) -> Result<bool, Unknown> {
        let mut holds = self.one()?;
        while self.tokens.take("AND") {
            holds &= self.one()?;
        }
        Ok(holds)
    }

    fn one(&mut self) -> Result<bool, Unknown> {
        if self.tokens.take("NOT") {
            return Ok(!self.one()?);
        }
        if self.tokens.take("(") {
            let holds = self.either()?;
            self.expect(")")?;
            return Ok(holds);
        }
        for (function, wanted) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if self.tokens.take(function) {
                self.expect("(")?;
                let token = self.word()?;
                let name = self.with.name(token)?;
                self.expect(")")?;
                return Ok(self.item.contains_key(name) == wanted);
            }
        }
        let left = self.operand()?;
        let sign = self.word()?;
        if sign == "IN" {
            self.expect("(")?;
            let mut found = false;
            loop {
                let one = self.operand()?;
                found |= left.is_some() && left == one;
                if !self.tokens.take(",") {
                    break;
                }
            }
            self.expect(")")?;
            return Ok(found);
        }
        let right = self.operand()?;
        if sign == "BETWEEN" {
            self.expect("AND")?;
            let most = self.operand()?;
            return Ok(order(left.as_ref(), right.as_ref()).is_some_and(Ordering::is_ge)
                && order(left.as_ref(), most.as_ref()).is_some_and(Ordering::is_le));
        }
        let order = order(left.as_ref(), right.as_ref());
        Ok(match sign {
            "=" => left.is_some() && left == right,
            // An attribute that is not there differs from every value.
            "<>" => left != right,
            "<" => order.is_some_and(Ordering::is_lt),
            "<=" => order.is_some_and(Ordering::is_le),
            ">" => order.is_some_and(Ordering::is_gt),
            ">=" => order.is_some_and(Ordering::is_ge),
            other => return Err(Unknown(format!("the comparison `{other}`"))),
        })
    }

    fn sum(&mut self) -> Result<Value, Unknown> {
        let missing = || Unknown("an operand that is not in the item".to_owned());
        let mut value = self.operand()?.ok_or_else(missing)?;
        loop {
            let sign = match () {
                () if self.tokens.take("+") => 1,
                () if self.tokens.take("-") => -1,
                () => return Ok(value),
            };
            let more = self.operand()?.ok_or_else(missing)?;
            value = number(integer(&value)? + sign * integer(&more)?);
        }
    }

    fn operand(&mut self) -> Result<Option<Value>, Unknown> {
        let token = self.word()?;
        if token == "if_not_exists" {
            self.expect("(")?;
            let name = self.word()?;
            let known = self.item.get(self.with.name(name)?).cloned();
            self.expect(",")?;
            let other = self.operand()?;
            self.expect(")")?;
            return Ok(known.or(other));
        }
        if token.starts_with(':') {
            return self.with.value(token).map(|value| Some(value.clone()));
        }
        Ok(self.item.get(self.with.name(token)?).cloned())
    }
}

fn integer(value: &Value) -> Result<i64, Unknown> {
    let digits = value.get("N").and_then(Value::as_str);
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| Unknown(format!("{value} as a number")))
}

fn number(value: i64) -> Value {
    json!({ "N": value.to_string() })
}

/// The order of two values of one type; `None` where there is none.
fn order(left: Option<&Value>, right: Option<&Value>) -> Option<Ordering> {
    let (left, right) = (left?, right?);
    if let (Ok(left), Ok(right)) = (integer(left), integer(right)) {
        return Some(left.cmp(&right));
    }
    Some(left.get("S")?.as_str()?.cmp(right.get("S")?.as_str()?))
}
