//! `docs/operations.md` against the code and the template: what a person looks up in a hurry has to be true.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::LazyLock,
};

use hookgate_aws::metrics::{DIMENSIONS, GROUPS};

use crate::backend::ROOT;

static PAGE: LazyLock<String> = LazyLock::new(|| read("docs/operations.md"));

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The text below a heading, up to the next of its kind.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The rows of the table of a section whose first column has this name.
fn rows(heading: &str, column: &str) -> Vec<Vec<&'static str>> {
    let lines = section(heading).lines().skip_while(|line| !line.starts_with(&format!("| {column} |")));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The fields of log lines, by the page: the metrics too.
pub(crate) static FIELDS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let fields = rows("Log lines", "field").into_iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>());
    fields.chain(metrics()).collect()
});

/// The outcomes of log lines, by the page.
pub(crate) static OUTCOMES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let outcomes = rows("Log lines", "outcome").into_iter();
    outcomes.flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).filter(|word| *word != "action").collect()
});

fn metrics() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.metrics).map(|metric| metric.name)
}

#[test]
fn operations_the_page_has_the_metrics_that_are_published() {
    let written: BTreeMap<&str, (&str, &str)> = rows("Metrics", "metric")
        .iter()
        .map(|row| (quoted(row[0]).next().unwrap(), (row[1], row[2])))
        .collect();
    let mut published = BTreeMap::new();
    for group in &GROUPS {
        let by: Vec<String> = group
            .dimensions
            .iter()
            .map(|set| if set.is_empty() { "all".to_owned() } else { set.join(" and ") })
            .collect();
        for metric in group.metrics {
            published.insert(metric.name, (metric.unit.word(), by.join("; ")));
        }
    }
    let published: BTreeMap<&str, (&str, &str)> =
        published.iter().map(|(name, (unit, by))| (*name, (*unit, by.as_str()))).collect();
    assert_eq!(written, published);
}

#[test]
fn operations_the_page_has_every_reason_of_a_refusal() {
    use hookgate_core::outcome::Refusal;
    let row = rows("Metrics", "metric").into_iter().find(|row| row[0] == "`refused`").unwrap();
    let words: BTreeSet<&str> = quoted(row[3]).filter(|word| !DIMENSIONS.contains(word)).collect();
    let refusals = [
        Refusal::Malformed,
        Refusal::Signature,
        Refusal::NotFound,
        Refusal::Method,
        Refusal::TooLarge,
        Refusal::Unsupported,
    ];
    assert_eq!(words, refusals.map(Refusal::word).into());
}

#[test]
fn operations_the_page_says_what_each_alarm_means() {
    let written: BTreeSet<&str> =
        rows("Alarms", "alarm").iter().map(|row| quoted(row[0]).next().unwrap()).collect();
    let template = read("template.yaml");
    let lines: Vec<&str> = template.lines().collect();
    let alarms = lines.windows(2).filter(|pair| pair[1] == "    Type: AWS::CloudWatch::Alarm");
    assert_eq!(written, alarms.map(|pair| pair[0].trim().trim_end_matches(':')).collect());
}

#[test]
fn operations_every_field_on_the_page_is_one_that_the_functions_write() {
    let code = [
        "ingest/src/lib.rs",
        "worker/src/destinations.rs",
        "worker/src/lib.rs",
        "worker/src/line.rs",
        "worker/src/stream.rs",
        "worker/src/sweep.rs",
    ]
    .map(|file| read(&format!("functions/{file}")))
    .concat();
    // `source = x` or `source,` in a macro; a keyword is written raw.
    let is_written = |field: &str| {
        let raw = field.replace(".type", ".r#type");
        [" = ", ",\n", ", "]
            .iter()
            .any(|after| [" ", "("].iter().any(|before| code.contains(&format!("{before}{raw}{after}"))))
    };
    // Those of the formatter itself.
    let own = ["timestamp", "level", "message", "_aws"];
    let unknown: Vec<_> = FIELDS.iter().filter(|field| !own.contains(field) && !is_written(field)).collect();
    assert!(unknown.is_empty(), "nothing writes {unknown:?}");
}

/// Words of the query language that the page uses.
const WORDS: [&str; 24] = [
    "fields",
    "filter",
    "stats",
    "sort",
    "limit",
    "by",
    "as",
    "asc",
    "desc",
    "and",
    "in",
    "like",
    "count",
    "count_distinct",
    "sum",
    "max",
    "pct",
    "latest",
    "bin",
    "ispresent",
    "5m",
    "@timestamp",
    "@log",
    "*",
];

/// A query without what stands in quotes or is a pattern.
fn bare(query: &str) -> String {
    let mut bare = String::new();
    let mut until = None;
    for character in query.chars() {
        match until {
            Some(end) if character == end => until = None,
            Some(_) => {}
            None if character == '"' => until = Some('"'),
            None => bare.push(character),
        }
    }
    // The one pattern that the page has.
    bare.replace("/^4/", "")
}

#[test]
fn operations_every_query_asks_for_fields_that_there_are() {
    let template = read("template.yaml");
    let (_, access) = template.split_once("Format: >-").unwrap();
    let (access, _) = access.split_once("Tags:").unwrap();
    let access: BTreeSet<&str> =
        access.split('"').filter(|word| word.chars().all(char::is_alphabetic) && !word.is_empty()).collect();
    assert!(access.contains("ip") && access.contains("routeKey"), "{access:?}");
    let mut queries = 0;
    for query in PAGE.split("```insights\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let bare = bare(query);
        let words: Vec<&str> = bare
            .split(|character: char| !(character.is_alphanumeric() || "_.@*".contains(character)))
            .filter(|word| !word.is_empty())
            .collect();
        let named: BTreeSet<&str> =
            words.windows(2).filter(|pair| pair[0] == "as").map(|pair| pair[1]).collect();
        let is_number = |word: &str| word.chars().all(|character| character.is_ascii_digit());
        for word in &words {
            let known =
                FIELDS.contains(word) || named.contains(word) || WORDS.contains(word) || is_number(word);
            let of_the_api = named.contains("requests") && access.contains(word);
            assert!(known || of_the_api, "`{word}` is no field, in\n{query}");
        }
        // Outcomes are words too.
        for outcome in query.lines().filter(|line| line.contains("outcome =") || line.contains("outcome in"))
        {
            for word in outcome.split('"').skip(1).step_by(2) {
                assert!(OUTCOMES.contains(word), "`{word}` is no outcome, in\n{query}");
            }
        }
        queries += 1;
    }
    assert!(queries > 10, "{queries}");
}

#[test]
fn operations_every_link_of_the_page_leads_somewhere() {
    let headings: BTreeSet<String> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| {
            heading.trim_start_matches('#').trim().to_lowercase().replace(',', "").replace(' ', "-")
        })
        .collect();
    for link in PAGE.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(headings.contains(link), "#{link} is none of {headings:?}");
    }
    assert!(read("README.md").contains("(docs/operations.md)"));
}
