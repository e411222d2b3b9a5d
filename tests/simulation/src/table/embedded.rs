//! The embedded engine below the model. It carries out what the model does and is what the product is answered by; where
//! the two differ, that is a sentence, which ends the history.
//!
//! It is called in this thread, without its server, and its clock is the history's. Only for how long it knows a
//! transaction's token it asks the system's clock, in which a history is over at once.

use std::{collections::BTreeSet, fmt, time::Duration};

use anyhow::Context as _;
use futures::FutureExt as _;
use hookgate_aws::schema;
use hookgate_embedded::{Clock, DynamoDb};
use serde_json::{Map, Value, json};

use super::{Change, Item, Refusal, Table, json_of};
use crate::engines::{self, DIFFER};

/// The engine's name for the table.
const TABLE: &str = "hookgate";

/// A page of its stream.
const RECORDS: usize = 1_000;

/// What a record of the stream says: what happened, and the item's keys.
type Record = (String, String, String);

/// An engine with one table, in memory.
pub(crate) struct Engine {
    database: DynamoDb,
    clock: Clock,
    differences: Vec<String>,
    /// What its stream has to show: what happened to which item.
    records: Vec<Record>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Engine {
    /// An empty one that goes by a clock.
    pub(crate) fn open(clock: Clock) -> anyhow::Result<Self> {
        let database = DynamoDb::in_process(&clock)?;
        database.create_table(schema::definition(TABLE))?;
        Ok(Self { database, clock, differences: Vec::new(), records: Vec::new() })
    }

    pub(super) fn differences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.differences)
    }

    fn differs(&mut self, what: impl fmt::Display, modelled: impl fmt::Debug, held: impl fmt::Debug) {
        let (what, modelled, held) = (what.to_string(), format!("{modelled:?}"), format!("{held:?}"));
        self.differences.push(format!(
            "{DIFFER} {what:.800}: the model of DynamoDB says {modelled:.800}, the embedded one \
             {held:.800}"
        ));
    }

    /// Carries a request out, of which the model has said this and changed that.
    pub(super) fn request(
        &mut self,
        operation: &str,
        request: &Value,
        modelled: &Result<Value, Refusal>,
        changes: &[Change],
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        engines::set(&self.clock, now_ms);
        self.records.extend(changes.iter().filter_map(recorded));
        let answered = self.carry_out(operation, request);
        if comparable(modelled) != comparable(&answered) {
            self.differs(format_args!("{operation} {request}"), modelled, &answered);
        }
        answered
    }

    fn carry_out(&self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        match self.database.carry_out(operation, request) {
            (200, answer) => Ok(answer),
            (_, Value::Object(mut more)) => {
                let code = more.remove("__type");
                let code = code.as_ref().and_then(Value::as_str).unwrap_or_default();
                let code = code.rsplit_once('#').map_or(code, |(_, code)| code).to_owned();
                Err(Refusal::Error { code, more })
            }
            (status, other) => Err(super::unknown(format!("an answer {status} {other}"))),
        }
    }

    /// Puts an item as it is, where the model has it changed by what is no request.
    pub(super) fn put(&mut self, change: &Change, item: &Item) {
        let put = json!({ "TableName": TABLE, "Item": json_of(item) });
        if let Err(refusal) = self.carry_out("PutItem", &put) {
            self.differs(format_args!("{} {}", change.pk, change.sk), item, refusal);
        }
        self.records.push(("MODIFY".to_owned(), change.pk.clone(), change.sk.clone()));
    }

    /// Holds the items that a request is to write against the model's, whether it was refused or not.
    pub(super) fn compare_written(&mut self, operation: &str, request: &Value, table: &Table) {
        for (pk, sk) in written(operation, request) {
            let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
            let get = json!({ "TableName": TABLE, "Key": key, "ConsistentRead": true });
            let held = self.carry_out("GetItem", &get);
            let held = held.map(|mut answer| answer.get_mut("Item").map(Value::take));
            let modelled = Ok(table.get(&pk, &sk).map(json_of));
            if held != modelled {
                self.differs(format_args!("{pk} {sk} after {operation}"), modelled, held);
            }
        }
    }

    /// Holds every item, and the stream, against the model.
    pub(super) fn compare(&mut self, table: &Table) {
        match self.scan() {
            Ok(held) => {
                let of_model = table.under("").map(|(_, _, item)| json_of(item).to_string());
                let (modelled, held): (BTreeSet<_>, BTreeSet<_>) = (of_model.collect(), held);
                if modelled != held {
                    let only =
                        |one: &BTreeSet<String>, other| one.difference(other).cloned().collect::<Vec<_>>();
                    self.differs("what the table holds", only(&modelled, &held), only(&held, &modelled));
                }
            }
            Err(refusal) => self.differs("whether it can be read", "yes", refusal),
        }
        match self.stream() {
            Ok(shown) => {
                let wanted = std::mem::take(&mut self.records);
                let same = wanted.iter().zip(&shown).take_while(|(wanted, shown)| wanted == shown).count();
                if wanted.len() != shown.len() || same != shown.len() {
                    let what = format!("what the stream shows after {same} records");
                    self.differs(what, wanted.get(same), shown.get(same));
                }
            }
            Err(error) => self.differs("whether its stream can be read", "yes", error.to_string()),
        }
    }

    fn scan(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut items = BTreeSet::new();
        let mut start = None;
        loop {
            let scan = json!({ "TableName": TABLE, "ConsistentRead": true, "ExclusiveStartKey": start });
            let page = self.carry_out("Scan", &scan)?;
            let found = page.get("Items").and_then(Value::as_array);
            items.extend(found.into_iter().flatten().map(Value::to_string));
            start = page.get("LastEvaluatedKey").cloned();
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// What the stream shows, from its beginning.
    fn stream(&self) -> anyhow::Result<Vec<Record>> {
        let mut position = None;
        let mut shown = Vec::new();
        loop {
            let page = self.database.stream(TABLE, position.as_ref(), RECORDS, Duration::ZERO);
            let page = page.now_or_never().context("the stream is waited for")??;
            if page.records.is_empty() {
                return Ok(shown);
            }
            for record in page.records {
                let part =
                    |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
                shown.push((part("/eventName"), part("/dynamodb/Keys/pk/S"), part("/dynamodb/Keys/sk/S")));
            }
            position = page.position;
        }
    }
}

/// What the engine's stream shows of a change. DynamoDB's shows nothing of a write that has changed nothing (its
/// documentation, quoted in <https://github.com/scylladb/scylladb/issues/27375>, read 2026-11-22); the engine's does.
fn recorded(change: &Change) -> Option<Record> {
    let what = match (&change.before, &change.after) {
        (None, None) => return None,
        (None, Some(_)) => "INSERT",
        (Some(_), Some(_)) => "MODIFY",
        (Some(_), None) => "REMOVE",
    };
    Some((what.to_owned(), change.pk.clone(), change.sk.clone()))
}

/// The keys of the items that a request is to write.
fn written(operation: &str, request: &Value) -> Vec<(String, String)> {
    let writes: Vec<&Value> = match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![request],
        "TransactWriteItems" => {
            let writes = request.get("TransactItems").and_then(Value::as_array);
            writes.into_iter().flatten().filter_map(Value::as_object).flat_map(Map::values).collect()
        }
        _ => Vec::new(),
    };
    let key = |write: &Value| {
        let of = write.get("Item").or_else(|| write.get("Key"))?;
        let part = |name: &str| of.get(name)?.get("S")?.as_str().map(str::to_owned);
        Some((part("pk")?, part("sk")?))
    };
    writes.into_iter().filter_map(key).collect()
}

/// An answer without the words of an error, which are the engine's own.
fn comparable(answer: &Result<Value, Refusal>) -> Result<Value, Refusal> {
    let mut answer = answer.clone();
    if let Err(Refusal::Error { more, .. }) = &mut answer {
        more.retain(|name, _| !name.eq_ignore_ascii_case("message"));
    }
    answer
}
