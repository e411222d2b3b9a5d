//! What many histories came to.

use std::{collections::BTreeMap, fmt};

use crate::{engines::DIFFER, script::Outcome, site::Site};

/// Seeds that are named at most; one is enough to begin with.
const FAILURES_MAX: usize = 20;

/// Figures of many histories.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    histories: u64,
    steps: u64,
    calls: u64,
    calls_at: BTreeMap<Site, u64>,
    /// By what went wrong, then where.
    injected: BTreeMap<String, BTreeMap<String, u64>>,
    answers: BTreeMap<u16, u64>,
    ends: BTreeMap<&'static str, u64>,
    healed_ms: (i64, u64),
    failures: BTreeMap<u64, String>,
    failed: u64,
}

impl Summary {
    /// Adds what came of a seed.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.histories += 1;
        self.steps += outcome.steps;
        self.calls += outcome.calls.values().map(|count| u64::from(*count)).sum::<u64>();
        for (site, count) in &outcome.calls {
            *self.calls_at.entry(*site).or_default() += u64::from(*count);
        }
        for (injected, count) in &outcome.injected {
            let at = self.injected.entry(injected.what.clone()).or_default();
            *at.entry(injected.at.clone()).or_default() += count;
        }
        for (answer, count) in &outcome.answers {
            *self.answers.entry(*answer).or_default() += count;
        }
        for (end, count) in &outcome.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.healed_ms = self.healed_ms.max((outcome.healed_ms, seed));
        if let Some(first) = outcome.violations.first() {
            self.failed += 1;
            self.failures.insert(seed, first.clone());
        }
    }

    /// Adds another summary.
    pub fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.calls += other.calls;
        for (site, count) in other.calls_at {
            *self.calls_at.entry(site).or_default() += count;
        }
        for (what, places) in other.injected {
            let known = self.injected.entry(what).or_default();
            for (at, count) in places {
                *known.entry(at).or_default() += count;
            }
        }
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.healed_ms = self.healed_ms.max(other.healed_ms);
        self.failures.extend(other.failures);
        self.failed += other.failed;
    }

    /// Whether every invariant has held.
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "histories   {:>12}", self.histories)?;
        writeln!(f, "calls       {:>12}", self.calls)?;
        for (site, count) in &self.calls_at {
            writeln!(f, "  {:<44} {count:>12}", site.to_string())?;
        }
        writeln!(f, "polls       {:>12}", self.steps)?;
        let injected: u64 = self.injected.values().flat_map(BTreeMap::values).sum();
        let places: usize = self.injected.values().map(BTreeMap::len).sum();
        writeln!(f, "faults      {injected:>12}, {places} kinds and places")?;
        for (what, at) in &self.injected {
            writeln!(f, "  {what:<28} {:>12} at {} places", at.values().sum::<u64>(), at.len())?;
        }
        writeln!(f, "senders were answered")?;
        for (answer, count) in &self.answers {
            let answer = if *answer == 0 { "nothing".to_owned() } else { answer.to_string() };
            writeln!(f, "  {answer:<28} {count:>12}")?;
        }
        writeln!(f, "events ended")?;
        for (end, count) in &self.ends {
            writeln!(f, "  {end:<28} {count:>12}")?;
        }
        let (healed_ms, seed) = self.healed_ms;
        writeln!(f, "longest time to heal  {} (seed {seed})", Time(healed_ms))?;
        if self.failed > 0 {
            writeln!(f, "FAILED      {:>12}", self.failed)?;
        }
        for (seed, what) in self.failures.iter().take(FAILURES_MAX) {
            let over = if what.starts_with(DIFFER) { " --engines embedded" } else { "" };
            writeln!(f, "{what}\n  cargo run -p hookgate_simulation -- --seed {seed} --trace{over}")?;
        }
        Ok(())
    }
}

/// Milliseconds as a person says them.
pub(crate) struct Time(pub(crate) i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: i64 = 1_000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        match self.0.max(0) {
            ms @ 0..SECOND => write!(f, "{ms} ms"),
            ms @ SECOND..MINUTE => write!(f, "{} s", ms / SECOND),
            ms @ MINUTE..HOUR => write!(f, "{} min", ms / MINUTE),
            ms => write!(f, "{} h {} min", ms / HOUR, ms % HOUR / MINUTE),
        }
    }
}
