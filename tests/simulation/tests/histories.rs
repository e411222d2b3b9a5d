//! Every invariant holds in thousands of histories, a seed is always the same history, and the published table is what
//! is seen.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use hookgate_simulation::{CrashTable, Script, Summary, engines::Engines, run};

/// Histories that are run with every `cargo test`.
const HISTORIES: u64 = 2_000;

/// Histories that are run twice.
const TWICE: u64 = 40;

/// Histories that are run over the embedded engines as well: about ten seconds of one core.
const OVER_ENGINES: u64 = 100;

/// The published table.
const PAGE: &str = include_str!("../../../docs/crash-table.md");

#[test]
fn every_invariant_holds_in_thousands_of_histories() {
    let (next, summary) = (AtomicU64::new(0), Mutex::new(Summary::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Summary::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= HISTORIES {
                        break;
                    }
                    own.add(seed, &run(&Script::seed(seed)));
                }
                summary.lock().unwrap().merge(own);
            });
        }
    });
    let summary = summary.into_inner().unwrap();
    assert!(summary.is_good(), "{summary}");
}

#[test]
fn a_seed_is_always_the_same_history() {
    for seed in 0..TWICE {
        let (first, second) = (run(&Script::seed(seed).traced(true)), run(&Script::seed(seed).traced(true)));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

#[test]
fn a_seed_is_the_same_history_over_the_embedded_engines() {
    for seed in 0..OVER_ENGINES {
        let script = Script::seed(seed).traced(true);
        let (modelled, embedded) = (run(&script), run(&script.over(Engines::Embedded)));
        assert_eq!(embedded.violations, [""; 0], "seed {seed}");
        assert_eq!(modelled.trace, embedded.trace, "seed {seed}");
    }
}

#[test]
fn the_published_crash_table_is_what_is_seen() {
    let made = CrashTable::make();
    assert_eq!(made.violations, [""; 0]);
    let lines = |text: &str| {
        text.lines().enumerate().map(|(n, line)| (n, line.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let (seen, published) = (lines(&made.text), lines(PAGE));
    let differs = seen.iter().find(|(number, line)| published.get(number) != Some(line));
    assert!(
        made.text == PAGE,
        "docs/crash-table.md is not what is seen, first at {differs:?}; write it anew: \
         cargo run -p hookgate_simulation -- --table docs/crash-table.md"
    );
}
