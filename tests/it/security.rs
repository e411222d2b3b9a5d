//! `SECURITY.md`: every test that it names is there, and every threat names one.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeSet, path::Path};

use crate::backend::ROOT;

/// Where tests are.
const FOLDERS: &[&str] = &["crates", "functions", "tests"];

/// The names of all test functions below a folder.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line.trim_start_matches("async ").strip_prefix("fn ");
                match function.and_then(|rest| rest.split_once('(')) {
                    Some((name, _)) if is_test => {
                        found.insert(name.to_owned());
                    }
                    _ => {}
                }
                is_test = line.starts_with("#[test]")
                    || line.starts_with("#[tokio::test")
                    || is_test && (line.starts_with("#[") || line.starts_with("//"));
            }
        }
    }
}

#[test]
fn security_every_threat_names_tests_that_there_are() {
    let mut known = BTreeSet::new();
    for folder in FOLDERS {
        tests(&Path::new(ROOT).join(folder), &mut known);
    }
    let page = std::fs::read_to_string(Path::new(ROOT).join("SECURITY.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |")).collect();
    assert!(rows.len() > 20, "the tables are not where this test looks for them");
    for row in rows {
        let (_, shown_by) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "nothing shows this: {row}");
        let missing: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "no such test: {missing:?}");
    }
    let threats = [
        "A stranger",
        "A stranger who replays",
        "A malicious destination",
        "A leaked URL",
        "A leaked old secret",
        "A curious operator",
    ];
    for threat in threats {
        assert!(page.contains(&format!("\n## {threat}\n")), "{threat}");
    }
}
