//! The targets, each as a test: with `cargo test` what is kept in `corpus` and a burst of changes to the seeds, with
//! `tests/fuzz/run` as long as one likes.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{fs, panic, path::Path};

use bolero::check;
use hookgate_fuzz::{TARGETS, seeds, targets};

/// Inputs of bolero's own in a test run, beside what is kept: bytes without any form find little.
const RANDOM: usize = 50;

/// Changed seeds of each target in a test run.
const CHANGED: u64 = 1_500;

/// All that is kept: a clone of the repository has it, and every test run reads it.
const KEPT_BYTES_MAX: usize = 512 * 1024;

macro_rules! fuzz {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            check!().with_iterations(RANDOM).for_each(|input: &[u8]| targets::$name(input));
        }
    )+};
}

fuzz! {
    config forms gateway handshake ingest json json_schema locators messages multipart secrets signatures table templates
    xml
}

/// A sequence of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % below.max(1)
    }
}

/// What parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"&",
    b"=",
    b"%",
    b"%00",
    b"%zz",
    b":",
    b"/",
    b"~1",
    b"#",
    b",",
    b".",
    b"..",
    b"--",
    b"-1",
    b"0",
    b"1e999",
    b"9223372036854775808",
    b"99999999999999999999",
    b"null",
    b"true",
    b"\xff",
    b"\xf0\x9f\x92\xa9",
    b"\xc3\xa9",
    b"&#x110000;",
    b"<![CDATA[",
    b"]]>",
    b"{{",
    b"{%",
    b"\\ud800",
    b"application/json",
    b"=",
    b"sha256=",
    b"t=",
    b"v1=",
    b"Bearer ",
    b"e30.e30.",
];

fn changed(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(input.len() + 1);
        let end = (at + dice.roll(24)).min(input.len());
        match dice.roll(6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied()).for_each(drop),
            3 => input.splice(at..end, PIECES[dice.roll(PIECES.len())].iter().copied()).for_each(drop),
            4 => {
                let other = &seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len() + 1);
                let piece = other[from..(from + dice.roll(64)).min(other.len())].to_vec();
                input.splice(at..at, piece).for_each(drop);
            }
            _ if at < input.len() => input[at] ^= 1 << dice.roll(8),
            _ => input.push(u8::try_from(dice.roll(256)).unwrap()),
        }
    }
    input
}

#[test]
fn a_burst_of_changes_to_real_requests_breaks_nothing() {
    for (n, (name, target)) in TARGETS.iter().enumerate() {
        let seeds = seeds::of(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 + u64::try_from(n).unwrap());
        for _ in 0..CHANGED {
            let input = changed(&seeds, &mut dice);
            if let Err(failure) = panic::catch_unwind(|| target(&input)) {
                eprintln!("{name} fails for {:?}", String::from_utf8_lossy(&input));
                panic::resume_unwind(failure);
            }
        }
    }
}

/// What `tests/fuzz/run` has found worth keeping, and whatever once failed.
#[test]
fn what_is_kept_breaks_nothing_and_is_small() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for folder in fs::read_dir(kept).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let known = TARGETS.iter().find(|(target, _)| *target == name);
        let (_, target) = known.unwrap_or_else(|| panic!("{name} is no target"));
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap().path();
            let input = fs::read(&file).unwrap();
            bytes += input.len();
            if let Err(failure) = panic::catch_unwind(|| target(&input)) {
                eprintln!("{} breaks {name}", file.display());
                panic::resume_unwind(failure);
            }
        }
    }
    assert!((1..=KEPT_BYTES_MAX).contains(&bytes), "{bytes} bytes are kept");
}
