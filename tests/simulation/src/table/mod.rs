//! DynamoDB as hookgate uses it: one table with a sort key, no index, and a stream of what is inserted.
//!
//! Why a model and not the embedded engine alone: the invariants want what each request has changed, and a million
//! histories want to be over in an hour. So that the model does not drift from the engine, histories can be run over
//! both (`Table::over`), and a test asks both the same.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

mod embedded;
mod expression;

pub(crate) use embedded::Engine;
use expression::Placeholders;
pub use expression::Unknown;

/// An item, its attributes as DynamoDB's JSON has them.
pub type Item = BTreeMap<String, Value>;

/// How long DynamoDB knows a transaction by its token, in milliseconds: ten minutes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html> (read
/// 2026-11-21).
const TOKEN_MS: i64 = 10 * 60_000;

/// The table.
#[derive(Debug, Default)]
pub struct Table {
    partitions: BTreeMap<String, BTreeMap<String, Item>>,
    tokens: BTreeMap<String, i64>,
    changes: Vec<Change>,
    /// What carries each request out as well, and answers it.
    engine: Option<Engine>,
}

/// What a request did to one item.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its partition key.
    pub pk: String,
    /// Its sort key.
    pub sk: String,
    /// What it was; `None` where there was none.
    pub before: Option<Item>,
    /// What it is; `None` where it was deleted.
    pub after: Option<Item>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// As DynamoDB says it: the error's code, and what comes with it.
    Error {
        /// Such as `ConditionalCheckFailedException`.
        code: String,
        /// Further members of the answer.
        more: Map<String, Value>,
    },
    /// The model can't carry it out.
    Unknown(Unknown),
}

impl From<Unknown> for Refusal {
    fn from(unknown: Unknown) -> Self {
        Self::Unknown(unknown)
    }
}

fn refused(code: &str) -> Refusal {
    Refusal::Error { code: code.to_owned(), more: Map::new() }
}

fn unknown(what: impl Into<String>) -> Refusal {
    Refusal::Unknown(Unknown(what.into()))
}

/// The text of a string attribute.
pub fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.get("S")?.as_str()
}

/// The value of a number attribute.
pub fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.get("N")?.as_str()?.parse().ok()
}

fn item(value: Option<&Value>) -> Result<Item, Refusal> {
    let fields = value.and_then(Value::as_object).ok_or_else(|| unknown("a request without an item"))?;
    Ok(fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn key(item: &Item) -> Result<(String, String), Refusal> {
    match (text(item, "pk"), text(item, "sk")) {
        (Some(pk), Some(sk)) if !pk.is_empty() && !sk.is_empty() => Ok((pk.to_owned(), sk.to_owned())),
        _ => Err(refused("ValidationException")),
    }
}

/// The attempts of an event that is to be tried again, and one more: before the others where their number is odd, so that
/// it is only to be kept; else behind them, so that the action is left to the later release.
fn attempts_with_another(item: &Item, now_ms: i64) -> Option<String> {
    if text(item, "status") != Some("retrying") {
        return None;
    }
    let mut attempts: Vec<Value> = serde_json::from_str(text(item, "attempts")?).ok()?;
    let action = attempts.last()?.get("action")?.clone();
    if attempts.iter().any(|attempt| attempt.get("outcome").and_then(Value::as_str) == Some(LATER)) {
        return None;
    }
    let place = if attempts.len() % 2 == 1 { 0 } else { attempts.len() };
    let more =
        json!({ "action": action, "outcome": LATER, "because": [1, null], "at": now_ms, "detail": "" });
    attempts.insert(place, more);
    serde_json::to_string(&attempts).ok()
}

/// An outcome of a later release.
pub const LATER: &str = "postponed";

fn json_of(item: &Item) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

impl Table {
    /// An empty table over an empty engine: the engine answers, and is held against the model at every request.
    pub(crate) fn over(engine: Engine) -> Self {
        Self { engine: Some(engine), ..Self::default() }
    }

    /// In what the engine has differed from the model since this was last asked.
    pub(crate) fn differences(&mut self) -> Vec<String> {
        self.engine.as_mut().map(Engine::differences).unwrap_or_default()
    }

    /// Holds all that the engine has, and its stream, against the model.
    pub(crate) fn compare(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            engine.compare(self);
            self.engine = Some(engine);
        }
    }

    /// An item by its key.
    pub fn get(&self, pk: &str, sk: &str) -> Option<&Item> {
        self.partitions.get(pk)?.get(sk)
    }

    /// Every item of the partitions whose keys begin like this, with both keys.
    pub fn under<'t>(&'t self, prefix: &'t str) -> impl Iterator<Item = (&'t str, &'t str, &'t Item)> {
        let partitions = self.partitions.range(prefix.to_owned()..);
        partitions
            .take_while(move |(pk, _)| pk.starts_with(prefix))
            .flat_map(|(pk, items)| items.iter().map(move |(sk, item)| (pk.as_str(), sk.as_str(), item)))
    }

    /// Adds to what was changed just now what a later release may add: attributes that this one does not know, and an
    /// attempt with an outcome that it does not know.
    pub fn add_what_is_unknown(&mut self, now_ms: i64) {
        for change in &mut self.changes {
            let attempts = change.after.as_ref().and_then(|after| attempts_with_another(after, now_ms));
            let items = [
                self.partitions.get_mut(&change.pk).and_then(|items| items.get_mut(&change.sk)),
                change.after.as_mut(),
            ];
            for item in items.into_iter().flatten() {
                item.insert("later".to_owned(), json!({ "M": { "is": { "S": "unknown" } } }));
                if let Some(attempts) = &attempts {
                    item.insert("attempts".to_owned(), json!({ "S": attempts }));
                }
            }
            if let (Some(engine), Some(after)) = (&mut self.engine, &change.after) {
                engine.put(change, after);
            }
        }
    }

    /// What has changed since this was last asked.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Carries a request out and says what DynamoDB would answer.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was changed.
    pub fn request(&mut self, operation: &str, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
        let earlier = self.changes.len();
        let modelled = self.modelled(operation, request, now_ms);
        let Some(mut engine) = self.engine.take() else { return modelled };
        let changes = self.changes.get(earlier..).unwrap_or_default();
        let answered = engine.request(operation, request, &modelled, changes, now_ms);
        engine.compare_written(operation, request, self);
        self.engine = Some(engine);
        answered
    }

    /// What the model makes of a request.
    fn modelled(&mut self, operation: &str, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
        match operation {
            "GetItem" => self.get_item(request),
            "BatchGetItem" => self.batch_get_item(request),
            "Query" => self.query(request),
            "PutItem" => self.put_item(request),
            "UpdateItem" => self.update_item(request),
            "DeleteItem" => self.delete_item(request),
            "TransactWriteItems" => self.transact(request, now_ms),
            other => Err(unknown(format!("the operation {other}"))),
        }
    }

    fn get_item(&self, request: &Value) -> Result<Value, Refusal> {
        let (pk, sk) = key(&item(request.get("Key"))?)?;
        Ok(match self.get(&pk, &sk) {
            Some(item) => json!({ "Item": json_of(item) }),
            None => json!({}),
        })
    }

    fn batch_get_item(&self, request: &Value) -> Result<Value, Refusal> {
        let tables = request.get("RequestItems").and_then(Value::as_object);
        let mut answers = Map::new();
        for (table, asked) in tables.into_iter().flatten() {
            let keys = asked.get("Keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let mut found = Vec::new();
            for wanted in keys {
                let (pk, sk) = key(&item(Some(wanted))?)?;
                let Some(item) = self.get(&pk, &sk) else { continue };
                found.push(match asked.get("ProjectionExpression").and_then(Value::as_str) {
                    Some(text) => json_of(&expression::project(text, item, Placeholders::of(asked))?),
                    None => json_of(item),
                });
            }
            answers.insert(table.clone(), Value::Array(found));
        }
        Ok(json!({ "Responses": answers, "UnprocessedKeys": {} }))
    }

    fn query(&self, request: &Value) -> Result<Value, Refusal> {
        let text = request.get("KeyConditionExpression").and_then(Value::as_str).unwrap_or_default();
        let range = expression::range(text, Placeholders::of(request))?;
        let backwards = request.get("ScanIndexForward").and_then(Value::as_bool) == Some(false);
        let limit = request.get("Limit").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let start = match request.get("ExclusiveStartKey") {
            None => None,
            Some(start) => Some(key(&item(Some(start))?)?.1),
        };
        let within = |sk: &str| {
            range.from.is_none_or(|from| sk >= from)
                && range.to.is_none_or(|(to, included)| sk < to || (included && sk == to))
                && start.as_deref().is_none_or(|start| if backwards { sk < start } else { sk > start })
        };
        let mut items: Vec<&Item> = self
            .partitions
            .get(range.pk)
            .into_iter()
            .flatten()
            .filter(|(sk, _)| within(sk))
            .map(|(_, item)| item)
            .collect();
        if backwards {
            items.reverse();
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = items.len() >= limit;
        items.truncate(limit);
        let mut answer = Map::new();
        answer.insert("Count".to_owned(), json!(items.len()));
        answer.insert("ScannedCount".to_owned(), json!(items.len()));
        if request.get("Select").and_then(Value::as_str) != Some("COUNT") {
            answer.insert("Items".to_owned(), items.iter().map(|item| json_of(item)).collect());
        }
        // As DynamoDB does, also where the page happens to end with the partition.
        if let (true, Some(last)) = (is_more, items.last()) {
            let key = json!({ "pk": last.get("pk"), "sk": last.get("sk") });
            answer.insert("LastEvaluatedKey".to_owned(), key);
        }
        Ok(Value::Object(answer))
    }

    fn put_item(&mut self, request: &Value) -> Result<Value, Refusal> {
        let item = item(request.get("Item"))?;
        let (pk, sk) = key(&item)?;
        self.check(request, &pk, &sk)?;
        self.write(pk, sk, Some(item));
        Ok(json!({}))
    }

    fn delete_item(&mut self, request: &Value) -> Result<Value, Refusal> {
        let (pk, sk) = key(&item(request.get("Key"))?)?;
        self.check(request, &pk, &sk)?;
        self.write(pk, sk, None);
        Ok(json!({}))
    }

    fn update_item(&mut self, request: &Value) -> Result<Value, Refusal> {
        let (pk, sk, after, touched) = self.updated(request)?;
        let before = self.get(&pk, &sk).cloned();
        let answer = match request.get("ReturnValues").and_then(Value::as_str) {
            None | Some("NONE") => json!({}),
            Some("ALL_NEW") => json!({ "Attributes": json_of(&after) }),
            Some("UPDATED_OLD") => {
                let mut old = before.unwrap_or_default();
                old.retain(|name, _| touched.contains(name));
                json!({ "Attributes": json_of(&old) })
            }
            Some(other) => return Err(unknown(format!("the return values {other}"))),
        };
        self.write(pk, sk, Some(after));
        Ok(answer)
    }

    /// What an update would make of its item.
    fn updated(&self, request: &Value) -> Result<(String, String, Item, Vec<String>), Refusal> {
        let keys = item(request.get("Key"))?;
        let (pk, sk) = key(&keys)?;
        self.check(request, &pk, &sk)?;
        let mut after = self.get(&pk, &sk).cloned().unwrap_or(keys);
        let text = request.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default();
        let touched = expression::update(text, &mut after, Placeholders::of(request))?;
        Ok((pk, sk, after, touched))
    }

    fn check(&self, request: &Value, pk: &str, sk: &str) -> Result<(), Refusal> {
        let Some(text) = request.get("ConditionExpression").and_then(Value::as_str) else { return Ok(()) };
        let known = self.get(pk, sk);
        if expression::holds(text, known, Placeholders::of(request))? {
            return Ok(());
        }
        let mut more = Map::new();
        let wanted = request.get("ReturnValuesOnConditionCheckFailure").and_then(Value::as_str);
        if let (Some("ALL_OLD"), Some(item)) = (wanted, known) {
            more.insert("Item".to_owned(), json_of(item));
        }
        Err(Refusal::Error { code: "ConditionalCheckFailedException".to_owned(), more })
    }

    fn transact(&mut self, request: &Value, now_ms: i64) -> Result<Value, Refusal> {
        let token = request.get("ClientRequestToken").and_then(Value::as_str);
        if let Some(at) = token.and_then(|token| self.tokens.get(token))
            && now_ms - at < TOKEN_MS
        {
            return Ok(json!({}));
        }
        let writes = request.get("TransactItems").and_then(Value::as_array);
        let mut results = Vec::new();
        let mut reasons = Vec::new();
        for write in writes.into_iter().flatten() {
            let result = match (write.get("Put"), write.get("Update")) {
                (Some(put), None) => {
                    let item = item(put.get("Item"))?;
                    let (pk, sk) = key(&item)?;
                    self.check(put, &pk, &sk).map(|()| (pk, sk, item))
                }
                (None, Some(update)) => self.updated(update).map(|(pk, sk, item, _)| (pk, sk, item)),
                _ => return Err(unknown(format!("the write {write}"))),
            };
            match result {
                Ok(write) => {
                    reasons.push(json!({ "Code": "None" }));
                    results.push(write);
                }
                Err(Refusal::Error { .. }) => reasons.push(
                    json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" }),
                ),
                Err(unknown) => return Err(unknown),
            }
        }
        if results.len() < reasons.len() {
            let more = Map::from_iter([("CancellationReasons".to_owned(), Value::Array(reasons))]);
            return Err(Refusal::Error { code: "TransactionCanceledException".to_owned(), more });
        }
        for (pk, sk, item) in results {
            self.write(pk, sk, Some(item));
        }
        if let Some(token) = token {
            self.tokens.insert(token.to_owned(), now_ms);
        }
        Ok(json!({}))
    }

    fn write(&mut self, pk: String, sk: String, after: Option<Item>) {
        let partition = self.partitions.entry(pk.clone()).or_default();
        let before = match &after {
            Some(item) => partition.insert(sk.clone(), item.clone()),
            None => partition.remove(&sk),
        };
        self.changes.push(Change { pk, sk, before, after });
    }
}
