//! `tests/mutation/mutants.toml` is up to date: every row is about code and a test that are there, and whatever has to
//! have a row has one. That each of the tests fails is for `tests/mutation/run` to see.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::Path,
};

use serde::Deserialize;

use crate::backend::ROOT;

#[derive(Deserialize)]
struct Table {
    mutant: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    file: String,
    #[serde(rename = "in")]
    within: Within,
    find: String,
    with: Option<String>,
    #[serde(default)]
    always: bool,
    test: Option<String>,
    survives: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Within {
    One(String),
    Several(Vec<String>),
}

impl Row {
    /// Where it is, as `tests/mutation/run` finds it.
    fn span(&self, text: &str) -> Range<usize> {
        let anchors = match &self.within {
            Within::One(anchor) => std::slice::from_ref(anchor),
            Within::Several(anchors) => anchors,
        };
        let find = |from: usize, what: &str| {
            let found = text.get(from..).unwrap().find(what);
            from + found
                .unwrap_or_else(|| panic!("{}: {} has no {what:?} there any more", self.name, self.file))
        };
        let from = anchors.iter().fold(0, |from, anchor| find(from, anchor) + anchor.len());
        let start = find(from, &self.find);
        start..start + self.find.len()
    }
}

fn rows() -> Vec<Row> {
    let table = fs::read_to_string(Path::new(ROOT).join("tests/mutation/mutants.toml")).unwrap();
    toml::from_str::<Table>(&table).unwrap().mutant
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn every_row_is_about_code_and_a_test_that_are_there() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name.clone()), "{} is there twice", row.name);
        row.span(&read(&row.file));
        assert!(row.always != row.with.is_some(), "{}: `with` or `always`", row.name);
        for code in [Some(&row.find), row.with.as_ref()].into_iter().flatten() {
            let count = |one: char| code.chars().filter(|c| *c == one).count();
            let is_whole = [('(', ')'), ('[', ']'), ('{', '}')].iter().all(|(a, b)| count(*a) == count(*b));
            assert!(is_whole, "{}: the sources would not compile with {code:?}", row.name);
        }
        assert!(row.test.is_some() != row.survives.is_some(), "{}: `test` or `survives`", row.name);
        let Some(test) = &row.test else { continue };
        let (package, path) = test.split_once(' ').unwrap();
        let (module, function) = path.split_once("::").unwrap();
        let file = match package {
            "hookgate_aws" => format!("crates/hookgate_aws/tests/it/{module}.rs"),
            "hookgate_tests" => format!("tests/it/{module}.rs"),
            other => panic!("{}: {other} is not built by the run", row.name),
        };
        assert!(read(&file).contains(&format!("fn {function}()")), "{}: there is no test {test}", row.name);
    }
}

/// What may not be without a row, by what it begins with.
const TO_HAVE_ROWS: [&str; 6] = [
    " .condition_expression(",
    ".timeout(",
    " .connect_timeout(",
    " .operation_timeout(",
    " .operation_attempt_timeout(",
    "store.outbox_put(&",
];

/// A row is about what is called, or about an argument that begins within so many bytes.
const NEAR: usize = 160;

#[test]
fn every_condition_time_limit_and_outbox_write_has_a_row() {
    let mut spans: BTreeMap<String, Vec<Range<usize>>> = BTreeMap::new();
    for row in rows() {
        let span = row.span(&read(&row.file));
        spans.entry(row.file).or_default().push(span);
    }
    let mut missing = Vec::new();
    for folder in ["crates/hookgate_aws/src", "functions/ingest/src", "functions/worker/src"] {
        for file in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let file = format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap());
            let text = read(&file);
            let rows = spans.get(&file).map_or(&[][..], Vec::as_slice);
            for call in TO_HAVE_ROWS {
                for (at, _) in text.match_indices(call) {
                    let near = at..at + call.len() + NEAR;
                    if !rows.iter().any(|row| near.contains(&row.start) || row.contains(&at)) {
                        missing.push(format!("{file}:{} {call}", text.get(..at).unwrap().lines().count()));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a row of tests/mutation/mutants.toml: {missing:#?}");
}
