//! What commands that do something to many events have in common: how fast, and asking first.

use std::io::{IsTerminal, Write};

use anyhow::Context;

/// Slowest rate: one in a quarter of an hour is a typing mistake already.
const RATE_MIN: f64 = 0.001;

/// Fastest rate: it is kept with a timer of a millisecond.
const RATE_MAX: f64 = 1_000.0;

/// Reads a number of things a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate))
        .ok_or_else(|| format!("write how many a second, {RATE_MIN} to {RATE_MAX}"))
}

/// Asks whether so many things are to be done. One alone was named, and where there is nobody at a terminal the
/// command itself has said it.
pub(super) fn wanted(question: &str, count: usize) -> anyhow::Result<bool> {
    if count == 1 || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Ok(true);
    }
    write!(std::io::stdout(), "{question} [y/N] ")?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_a_second_within_reason() {
        assert_eq!((rate("20"), rate("0.5"), rate("1000")), (Ok(20.0), Ok(0.5), Ok(1_000.0)));
        for wrong in ["0", "-1", "1001", "inf", "NaN", "10/s", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
