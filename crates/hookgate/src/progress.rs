//! How far long work has come: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::show;

/// Lines that are printed where there is no terminal, at most.
const LINES: u64 = 20;

/// The progress of so many things.
pub struct Progress {
    bar: ProgressBar,
    word: &'static str,
    total: u64,
    done: u64,
    on_terminal: bool,
}

impl Progress {
    /// Nothing of `total` is done; `word` says what is done with each, such as `replayed`.
    pub fn new(total: u64, word: &'static str) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total), target);
        Self {
            bar: style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)),
            word,
            total,
            done: 0,
            on_terminal,
        }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        if !self.on_terminal
            && (self.done == self.total || self.done.is_multiple_of((self.total / LINES).max(1)))
        {
            show::note(&format!("{} {} of {}", self.word, self.done, self.total));
        }
    }

    /// There is one more to be done.
    pub fn grow(&mut self) {
        self.total += 1;
        self.bar.inc_length(1);
    }

    /// How many are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
