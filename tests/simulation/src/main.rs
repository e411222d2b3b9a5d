//! Runs histories: one with its trace, or as many as are asked for.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use hookgate_simulation::{CrashTable, Script, Summary, engines::Engines, run};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines that are printed where there is no terminal, at most.
const LINES: u64 = 20;

/// hookgate in a simulated world in which everything fails.
#[derive(Debug, Parser)]
struct Arguments {
    /// Runs the history of this seed alone.
    #[arg(long, value_name = "N", conflicts_with = "histories")]
    seed: Option<u64>,
    /// Prints everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plays every failure there is, and writes the table of what was seen.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "histories"])]
    table: Option<PathBuf>,
    /// How many histories to run.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    histories: u64,
    /// The seed of the first one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// What carries out the requests for the table and the queues.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Engines::Models, conflicts_with = "table")]
    engines: Engines,
    /// Threads; as many as there are processors unless said otherwise.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_good = match (&arguments.table, arguments.seed) {
        (Some(file), _) => table(file),
        (None, Some(seed)) => one(seed, &arguments),
        (None, None) => many(&arguments),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    // Whoever reads may have gone; there is nobody left to tell.
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let outcome = run(&Script::seed(seed).over(arguments.engines).traced(arguments.trace));
    outcome.trace.iter().for_each(|line| say(line));
    let mut summary = Summary::default();
    summary.add(seed, &outcome);
    say(&summary.to_string());
    outcome.violations.is_empty()
}

fn table(file: &Path) -> bool {
    let made = CrashTable::make();
    made.violations.iter().for_each(|what| say(what));
    say(&format!("{} histories", made.histories));
    match std::fs::write(file, made.text) {
        Ok(()) => made.violations.is_empty(),
        Err(error) => {
            say(&format!("{} can't be written: {error}", file.display()));
            false
        }
    }
}

fn many(arguments: &Arguments) -> bool {
    let threads =
        arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let total = arguments.histories;
    let (next, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let is_stopped = interrupted();
    let summary = Mutex::new(Summary::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = Summary::default();
                    while !is_stopped.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= total {
                            break;
                        }
                        let seed = arguments.first + number;
                        own.add(seed, &run(&Script::seed(seed).over(arguments.engines)));
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                    summary.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
                })
            })
            .collect();
        scope.spawn(|| show(total, &ended, &is_over));
        for worker in workers {
            if worker.join().is_err() {
                say("a history has panicked");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = began.elapsed().as_secs_f64();
    let ended = ended.into_inner();
    let of = if ended < total { format!(" of {total}") } else { String::new() };
    say(&format!("{summary}\n{ended}{of} histories in {seconds:.1} s on {threads} threads"));
    summary.is_good() && ended == total
}

/// Becomes true with Ctrl-C, after which the histories that have begun are ended, and what was seen is told.
fn interrupted() -> Arc<AtomicBool> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stops = is_stopped.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            stops.store(true, Ordering::Relaxed);
        }
    });
    is_stopped
}

/// A bar on a terminal, a line now and then elsewhere.
fn show(total: u64, ended: &AtomicU64, is_over: &AtomicBool) {
    let on_terminal = std::io::stderr().is_terminal();
    let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    let mut said = 0;
    while !is_over.load(Ordering::Relaxed) {
        let done = ended.load(Ordering::Relaxed);
        bar.set_position(done);
        let step = (total / LINES).max(1);
        if !on_terminal && done / step > said {
            said = done / step;
            drop(writeln!(std::io::stderr(), "{done} of {total}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bar.finish_and_clear();
}
