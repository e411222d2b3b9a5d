//! Wiring only: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookgate::cli::run()
}
