//! Which stretch of the list to look through next.
//!
//! An event is listed under the time at which it was received, and that is later: when a worker had it, or by the
//! table's stream after a minute, or once a queue that was stuck runs again. And it changes for as long as it is
//! retried. So every look goes back beyond the last one: a little each time, further now and then.

use hookgate_core::time::EpochMillis;

/// How often to look, and how far back beyond the last look of that kind.
struct Kind {
    every_ms: i64,
    back_ms: i64,
}

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The short look is made each time; who follows says how often that is. A look is 64 queries a day that it touches,
/// and a query is half a read unit at least and half of one for each 4 KB more. Every two seconds that is 1.4 million
/// units a day, which is $0.17 in us-east-1 ($0.125 a million, DynamoDB's price on demand in 2026); the other two add
/// a twentieth.
const KINDS: [Kind; 3] = [
    Kind { every_ms: 0, back_ms: 5 * MINUTE_MS },
    Kind { every_ms: MINUTE_MS, back_ms: HOUR_MS },
    Kind { every_ms: HOUR_MS, back_ms: DAY_MS },
];

/// How far ahead of this clock is looked, as the gateway's may be a little ahead of it.
const AHEAD_MS: i64 = 5 * MINUTE_MS;

/// How long a stretch is that is read at once: an hour first, twice as long after one with few events, and half as long
/// when it has many. So a month is never in memory, and a quiet one is read day by day.
const STRETCH_MS: i64 = HOUR_MS;
const STRETCH_MS_MAX: i64 = DAY_MS;
const STRETCH_MS_MIN: i64 = SECOND_MS;
const FEW: usize = 500;

/// Events of one stretch. Each of the 64 queries may find so many, which is what memory has to have room for.
const MANY: usize = 2_000;

/// A part of one day, from the one up to and without the other.
pub(super) type Stretch = (EpochMillis, EpochMillis);

/// What was looked through, and what is being.
#[derive(Debug)]
pub(super) struct Looks {
    /// Nothing before it is of interest.
    from: EpochMillis,
    /// Up to when the looks of each kind have come.
    upto: [EpochMillis; KINDS.len()],
    /// The kinds of the look that is going on: so many of the shortest.
    depth: usize,
    /// What is left of that look.
    left: Stretch,
    stretch_ms: i64,
}

impl Looks {
    /// For who begins at `from` and has looked through everything up to `upto`.
    pub(super) fn new(from: EpochMillis, upto: EpochMillis) -> Self {
        Self { from, upto: [upto; KINDS.len()], depth: 0, left: (upto, upto), stretch_ms: STRETCH_MS }
    }

    /// Begins a look, of every kind whose time has come; `all` is every kind.
    pub(super) fn begin(&mut self, now: EpochMillis, all: bool) {
        let mut from = now;
        self.depth = 0;
        for (number, (kind, upto)) in KINDS.iter().zip(self.upto).enumerate() {
            if all || now.millis_since(upto) >= kind.every_ms || number == 0 {
                self.depth = number + 1;
            }
        }
        for (kind, upto) in KINDS.iter().zip(self.upto).take(self.depth) {
            from = from.min(upto.plus_millis(-kind.back_ms));
        }
        self.left = (from.max(self.from), now.plus_millis(AHEAD_MS));
    }

    /// The next stretch of the look that is going on.
    pub(super) fn next(&self) -> Option<Stretch> {
        let (from, until) = self.left;
        let day_ends = (from.as_millis().div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS);
        let until = from.plus_millis(self.stretch_ms).min(EpochMillis::from_millis(day_ends)).min(until);
        (from < until).then_some((from, until))
    }

    /// Most events to read of it; `None` when it can't be any shorter.
    pub(super) fn limit(&self) -> Option<usize> {
        (self.stretch_ms > STRETCH_MS_MIN).then_some(MANY)
    }

    /// It has more than that: half of it is next.
    pub(super) fn shorten(&mut self) {
        self.stretch_ms = (self.stretch_ms / 2).max(STRETCH_MS_MIN);
    }

    /// It was looked through, and had so many events.
    pub(super) fn done(&mut self, now: EpochMillis, found: usize) {
        let Some((_, until)) = self.next() else { return };
        self.left.0 = until;
        if found < FEW {
            self.stretch_ms = (self.stretch_ms * 2).min(STRETCH_MS_MAX);
        }
        for upto in self.upto.iter_mut().take(self.depth) {
            *upto = (*upto).max(until.min(now));
        }
    }

    /// Up to when everything was looked through, once at least.
    pub(super) fn upto(&self) -> EpochMillis {
        self.upto.first().copied().unwrap_or(self.from)
    }

    /// Before which no look goes back any more.
    pub(super) fn oldest(&self) -> EpochMillis {
        let oldest = KINDS.iter().zip(self.upto).map(|(kind, upto)| upto.plus_millis(-kind.back_ms)).min();
        oldest.unwrap_or(self.from).max(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 1_780_012_800_000;

    fn at(minutes: i64) -> EpochMillis {
        EpochMillis::from_millis(MIDNIGHT + minutes * MINUTE_MS)
    }

    /// From when and until when the next look goes, in minutes from midnight.
    fn look(looks: &mut Looks, minutes: i64, all: bool) -> (i64, i64) {
        looks.begin(at(minutes), all);
        let minute = |at: EpochMillis| (at.as_millis() - MIDNIGHT) / MINUTE_MS;
        let (from, _) = looks.next().unwrap();
        let mut until = from;
        while let Some((begins, ends)) = looks.next() {
            assert!(begins >= until && ends > begins && begins.day() == ends.plus_millis(-1).day());
            until = ends;
            looks.done(at(minutes), 0);
        }
        (minute(from), minute(until))
    }

    #[test]
    fn a_look_goes_back_a_little_each_time_an_hour_often_and_a_day_at_times() {
        let mut looks = Looks::new(at(-10_000), at(0));
        assert_eq!(look(&mut looks, 0, true), (-24 * 60, 5));
        assert_eq!(look(&mut looks, 0, false), (-5, 5));
        assert_eq!(look(&mut looks, 1, false), (-60, 6));
        assert_eq!(look(&mut looks, 1, false), (-4, 6));
        assert_eq!(look(&mut looks, 60, false), (-24 * 60, 65));
        assert_eq!(looks.oldest(), at(60 - 24 * 60));
    }

    #[test]
    fn after_a_sleep_it_goes_back_beyond_the_last_look() {
        let mut looks = Looks::new(at(-10_000), at(0));
        look(&mut looks, 0, true);
        assert_eq!(look(&mut looks, 3 * 60, false), (-24 * 60, 185));
        // One that was stopped in the middle goes on where it was.
        looks.begin(at(10 * 60), false);
        looks.stretch_ms = HOUR_MS;
        looks.done(at(10 * 60), FEW);
        assert_eq!(looks.upto(), at(3 * 60));
        // From a day before the last look 29 hours on.
        for _ in 0..28 {
            looks.done(at(10 * 60), FEW);
        }
        assert_eq!(looks.upto(), at(8 * 60));
    }

    #[test]
    fn a_stretch_is_shorter_where_there_is_more() {
        let mut looks = Looks::new(at(-10_000), at(0));
        looks.begin(at(0), true);
        let mut minutes = Vec::new();
        for found in [0, 0, MANY, MANY, MANY, FEW, 0, 0] {
            let (from, until) = looks.next().unwrap();
            minutes.push(until.millis_since(from) / MINUTE_MS);
            match found {
                MANY => looks.shorten(),
                found => looks.done(at(0), found),
            }
        }
        assert_eq!(minutes, [60, 120, 240, 120, 60, 30, 30, 60]);
        for _ in 0..20 {
            looks.shorten();
        }
        let (from, until) = looks.next().unwrap();
        assert_eq!((until.millis_since(from), looks.limit()), (STRETCH_MS_MIN, None));
    }

    #[test]
    fn nothing_before_the_beginning_is_looked_at() {
        let mut looks = Looks::new(at(-30), at(-30));
        assert_eq!(look(&mut looks, 0, true), (-30, 5));
        assert_eq!(looks.oldest(), at(-30));
    }
}
