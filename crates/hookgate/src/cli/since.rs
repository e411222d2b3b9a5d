//! `--since` and `--until`, as people say when.

use hookgate_core::time::EpochMillis;

pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    At(EpochMillis),
    /// Milliseconds.
    Ago(i64),
}

/// Reads one: `2026-11-21T10:00:00Z`, `90s`, `15m`, `6h`, `2d`.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let units = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', DAY_MS)];
    for (unit, millis) in units {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok()) {
            return Ok(Since::Ago(i64::from(number).saturating_mul(millis)));
        }
    }
    EpochMillis::parse(text)
        .map(Since::At)
        .ok_or_else(|| "write a time or an age such as 15m, 6h or 2d".to_owned())
}

impl Since {
    /// The time that is meant.
    pub(super) fn at(self, now: EpochMillis) -> EpochMillis {
        match self {
            Self::At(at) => at,
            Self::Ago(millis) => now.plus_millis(-millis),
        }
    }
}
