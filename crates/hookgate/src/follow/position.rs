//! Where somebody who follows events has come to, kept in a file.
//!
//! A line is a JSON object: `{"from": …}` first, then `{"upto": …}` and `{"event": …, "state": …}` as they come, so
//! that writing one event down costs one line however many there are. A line that was being written when the process
//! was killed is left out. The file is written anew once most of its lines are outdated.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use hookgate_aws::schema::sortable;
use hookgate_core::time::EpochMillis;
use serde::{Deserialize, Serialize};

/// Outdated lines that are worth writing the file anew.
const OUTDATED_MAX: usize = 10_000;

/// Time between two notes of how far was looked. It only saves looking again, so it need not be exact.
const NOTE_EVERY_MS: i64 = 60_000;

/// A position.
#[derive(Debug)]
pub struct Position {
    file: PathBuf,
    out: File,
    /// Held as long as this is: two who wrote one file would make nonsense of it.
    _lock: File,
    from: EpochMillis,
    upto: EpochMillis,
    noted: EpochMillis,
    shown: BTreeMap<String, String>,
    lines: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    From { from: EpochMillis },
    Upto { upto: EpochMillis },
    Shown { event: String, state: String },
}

impl Position {
    /// The position kept in `file`; `None` when none is.
    ///
    /// # Errors
    /// When another process has it, or the file can't be read.
    pub fn resume(file: &Path) -> anyhow::Result<Option<Self>> {
        let lock = lock(file)?;
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        // A kill may have come in the middle of a character.
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let Some(Line::From { from }) = lines.next() else { return Ok(None) };
        let mut position = Self::create(file, lock, from, from)?;
        for line in lines {
            match line {
                Line::From { .. } => {}
                Line::Upto { upto } => position.upto = position.upto.max(upto),
                Line::Shown { event, state } => {
                    position.shown.insert(event, state);
                }
            }
        }
        position.rewrite()?;
        Ok(Some(position))
    }

    /// A position that begins at `from`, in place of any that `file` has.
    ///
    /// # Errors
    /// When another process has it, or the file can't be written.
    pub fn begin(file: &Path, from: EpochMillis) -> anyhow::Result<Self> {
        let lock = lock(file)?;
        let mut position = Self::create(file, lock, from, from)?;
        position.rewrite()?;
        Ok(position)
    }

    fn create(file: &Path, lock: File, from: EpochMillis, upto: EpochMillis) -> anyhow::Result<Self> {
        let out = append(file)?;
        let (file, shown) = (file.to_owned(), BTreeMap::new());
        Ok(Self { file, out, _lock: lock, from, upto, noted: upto, shown, lines: 0 })
    }

    /// Where it began: nothing before is of interest.
    pub fn from(&self) -> EpochMillis {
        self.from
    }

    /// Up to when everything was looked through, once at least.
    pub fn upto(&self) -> EpochMillis {
        self.upto
    }

    /// Whether an event was not yet shown in this state.
    pub fn is_news(&self, event: &str, state: &str) -> bool {
        self.shown.get(event).is_none_or(|shown| shown != state)
    }

    /// Writes down that an event was shown.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn shown(&mut self, event: &str, state: &str) -> anyhow::Result<()> {
        self.write(&Line::Shown { event: event.to_owned(), state: state.to_owned() })?;
        self.shown.insert(event.to_owned(), state.to_owned());
        Ok(())
    }

    /// Writes down that everything up to `upto` was looked through, and forgets events of before `oldest`, which are
    /// not looked at again.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn looked(&mut self, upto: EpochMillis, oldest: EpochMillis) -> anyhow::Result<()> {
        self.upto = self.upto.max(upto);
        self.shown = self.shown.split_off(&sortable(oldest));
        if self.upto.millis_since(self.noted) >= NOTE_EVERY_MS {
            self.note()?;
        }
        if self.lines > 2 * self.shown.len() + OUTDATED_MAX {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes down how far was looked, whenever that was noted last.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn note(&mut self) -> anyhow::Result<()> {
        self.noted = self.upto;
        self.write(&Line::Upto { upto: self.upto })
    }

    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.lines += 1;
        self.out.write_all(text.as_bytes()).with_context(|| format!("writing {}", self.file.display()))
    }

    /// Writes the file so that it is whole or the one of before.
    fn rewrite(&mut self) -> anyhow::Result<()> {
        let new = self.file.with_extension("new");
        let context = || format!("writing {}", new.display());
        let mut lines = vec![Line::From { from: self.from }, Line::Upto { upto: self.upto }];
        let shown = self.shown.iter();
        lines.extend(shown.map(|(event, state)| Line::Shown { event: event.clone(), state: state.clone() }));
        let mut text = String::new();
        for line in &lines {
            text.push_str(&serde_json::to_string(line)?);
            text.push('\n');
        }
        fs::write(&new, text).with_context(context)?;
        fs::rename(&new, &self.file).with_context(context)?;
        self.out = append(&self.file)?;
        self.lines = lines.len();
        Ok(())
    }
}

fn append(file: &Path) -> anyhow::Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(file);
    open.with_context(|| format!("writing {}", file.display()))
}

fn lock(file: &Path) -> anyhow::Result<File> {
    let path = file.with_extension("lock");
    let lock = append(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("another command goes on from the same position; --name NAME gives this one its own")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> EpochMillis {
        EpochMillis::from_millis(1_780_000_000_000 + ms)
    }

    #[test]
    fn a_position_is_there_again_after_a_kill_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tail.jsonl");
        assert!(Position::resume(&file).unwrap().is_none());
        let mut position = Position::begin(&file, at(0)).unwrap();
        position.shown("1780000000001#a#1", "done 1").unwrap();
        position.shown("1780000000002#a#2", "retrying 1").unwrap();
        position.looked(at(NOTE_EVERY_MS), at(0)).unwrap();
        position.shown("1780000000002#a#2", "done 2").unwrap();
        assert!(Position::resume(&file).unwrap_err().to_string().contains("--name"));
        drop(position);
        append(&file).unwrap().write_all(b"{\"event\": \"17800").unwrap();

        let position = Position::resume(&file).unwrap().unwrap();
        assert_eq!((position.from(), position.upto()), (at(0), at(NOTE_EVERY_MS)));
        assert!(!position.is_news("1780000000001#a#1", "done 1"));
        assert!(!position.is_news("1780000000002#a#2", "done 2"));
        assert!(position.is_news("1780000000002#a#2", "dead 3") && position.is_news("x", "done 1"));
        drop(position);
        assert_eq!(Position::begin(&file, at(5)).unwrap().from(), at(5));
    }

    #[test]
    fn what_is_not_looked_at_again_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tail.jsonl");
        let mut position = Position::begin(&file, at(0)).unwrap();
        for number in 0..OUTDATED_MAX {
            position.shown(&format!("{}#a#{number}", sortable(at(1))), "done 1").unwrap();
        }
        position.shown(&format!("{}#a#new", sortable(at(9))), "done 1").unwrap();
        position.looked(at(10), at(5)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
        position.shown(&format!("{}#a#newer", sortable(at(9))), "done 1").unwrap();
        drop(position);
        assert_eq!(Position::resume(&file).unwrap().unwrap().shown.len(), 2);
    }
}
