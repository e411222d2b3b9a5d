//! Destinations: what an action that reaches outward may ask of the place that it reaches, and when it has to wait.
//!
//! A destination has the name of its action. All workers share what is known of it ([`Health`]), which the table
//! keeps; the decisions about it stand here.
//!
//! ```text
//!            `pause_after` failures in a row              probe fails: longer pause
//!        ┌──────────────────────────────────────▶ paused ──────────────┐
//!        up ◀─────────────────────────────────────── │ ◀──────────────┘
//!        │            probe succeeds                 │
//!        └────────────── 410, or a person ───────────┴──▶ disabled ── a person ──▶ up
//! ```
//!
//! While it is not up, events that want to go there are parked: a record each, in the order in which they were
//! received, and no message. The sweeper takes one out for a probe, and all of them in [`drain`]'s pace once it is up.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::time::EpochMillis;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What an action's table may say about how it is run, beside what its kind says about what it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// When it is tried again.
    pub retry: Schedule,
    /// Failures in a row after which its destination is paused; 0 for never.
    #[serde(deserialize_with = "pause_after")]
    pub pause_after: u32,
    /// Most runs in a time, over all workers.
    pub rate: Option<Rate>,
    /// Most runs at once, over all workers.
    #[serde(deserialize_with = "concurrency")]
    pub concurrency: Option<u8>,
}

/// The keys of [`Policy`] in an action's table.
pub const POLICY_KEYS: &[&str] = &["retry", "pause_after", "rate", "concurrency"];

/// Failures in a row after which a destination is paused, unless its action says otherwise: more than a deployment or
/// a restart of it makes, and few enough that a dead one is not knocked at by every event.
const PAUSE_AFTER: u32 = 10;

impl Default for Policy {
    fn default() -> Self {
        Self { retry: Schedule::default(), pause_after: PAUSE_AFTER, rate: None, concurrency: None }
    }
}

/// Most runs at once that can be asked for. A worker that looks for a free place reads all of them.
pub const CONCURRENCY_MAX: u8 = 50;

fn pause_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let wrong = |_| de::Error::custom(format!("`pause_after` has to be 0 (never) or more, not {number}"));
    u32::try_from(number).map_err(wrong)
}

fn concurrency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let places = u8::try_from(number).ok().filter(|places| (1..=CONCURRENCY_MAX).contains(places));
    places
        .map(Some)
        .ok_or_else(|| de::Error::custom(format!("`concurrency` has to be 1 to {CONCURRENCY_MAX}")))
}

/// The delays between the tries of an action, in milliseconds.
///
/// Written as a list of delays (`["5s", "5m", "2h"]`), or as a table (`{ tries = 6, first = "10s", factor = 4, longest
/// = "12h" }`); an empty list is no second try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<i64>);

impl Default for Schedule {
    /// The schedule of Standard Webhooks 1.0.0 («Deliverability and reliability»): ten tries in 75 hours.
    fn default() -> Self {
        Self(vec![
            5 * SECOND,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ])
    }
}

/// Most tries of an action, and the longest wait before one. What is tried for longer than its source keeps events
/// would outlive them.
const TRIES_MAX: u32 = 30;
const DELAY_MAX: i64 = 7 * DAY;

impl Schedule {
    /// Milliseconds to wait after so many failures (1 or more); `None` when it is given up.
    pub fn delay_ms(&self, failures: u32) -> Option<i64> {
        self.0.get(usize::try_from(failures.checked_sub(1)?).ok()?).copied()
    }

    /// How often an action is tried in all.
    pub fn tries(&self) -> usize {
        self.0.len() + 1
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`retry` has to be a list of delays such as [\"5s\", \"5m\"], or { tries, first, factor, longest }"
)]
enum WrittenSchedule {
    List(Vec<Duration>),
    Table(Growing),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Growing {
    tries: u32,
    first: Duration,
    #[serde(default = "double")]
    factor: f64,
    longest: Option<Duration>,
}

fn double() -> f64 {
    2.0
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let delays: Vec<i64> = match WrittenSchedule::deserialize(deserializer)? {
            WrittenSchedule::List(delays) => delays.iter().map(|delay| delay.0).collect(),
            WrittenSchedule::Table(growing) => {
                if !(1.0..=100.0).contains(&growing.factor) {
                    return Err(de::Error::custom("`factor` has to be 1 to 100"));
                }
                if growing.tries == 0 || growing.tries > TRIES_MAX {
                    return Err(de::Error::custom(format!("`tries` has to be 1 to {TRIES_MAX}")));
                }
                let longest = growing.longest.map_or(DAY, |longest| longest.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "what is too long is cut to `longest` right after"
                )]
                let delay = |number: u32| {
                    let grown = growing.first.0 as f64 * growing.factor.powi(number.try_into().unwrap_or(0));
                    (grown as i64).min(longest)
                };
                (0..growing.tries - 1).map(delay).collect()
            }
        };
        if delays.len() >= TRIES_MAX as usize {
            return Err(de::Error::custom(format!("an action is tried at most {TRIES_MAX} times")));
        }
        if delays.iter().any(|delay| *delay > DELAY_MAX) {
            return Err(de::Error::custom("no wait between two tries may be longer than 7d"));
        }
        Ok(Self(delays))
    }
}

/// `90s`, `5m`, `6h`, `2d` as milliseconds.
#[derive(Clone, Copy)]
struct Duration(i64);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration_ms(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is no time such as 90s, 5m, 6h or 2d")))
    }
}

/// Reads `90s`, `5m`, `6h` or `2d`, as milliseconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    let units = [('s', SECOND), ('m', MINUTE), ('h', HOUR), ('d', DAY)];
    let (unit, number) = units.iter().find_map(|(unit, ms)| Some((*ms, text.strip_suffix(*unit)?)))?;
    Some(i64::from(number.parse::<u32>().ok()?).saturating_mul(unit))
}

/// Most runs in a second, a minute or an hour: `"10/s"`, `"300/m"`, `"1000/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    runs: u32,
    period_ms: i64,
}

impl Rate {
    /// Reads it; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (runs, period) = text.split_once('/')?;
        let period_ms = match period.trim() {
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            _ => return None,
        };
        let runs = runs.trim().parse().ok().filter(|runs| *runs > 0)?;
        Some(Self { runs, period_ms })
    }

    /// Microseconds from one run to the next.
    pub const fn interval_us(self) -> i64 {
        self.period_ms * 1_000 / self.runs as i64
    }

    /// Whole runs in a minute, at least one.
    fn per_minute(self) -> u32 {
        u32::try_from(i64::from(self.runs) * MINUTE / self.period_ms).unwrap_or(u32::MAX).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period_ms {
            SECOND => "s",
            MINUTE => "m",
            _ => "h",
        };
        write!(f, "{}/{period}", self.runs)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is no rate such as 10/s, 300/m or 1000/h")))
    }
}

/// How a destination stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes events.
    Up,
    /// It kept failing. One event at a time tries whether it is back.
    Paused {
        /// When the next one may.
        probe_at: EpochMillis,
        /// Probes that failed so far, and the pause itself.
        pauses: u32,
    },
    /// It said that it is gone, or a person has switched it off. Nothing is sent until a person switches it on.
    Disabled,
}

impl Standing {
    /// The word for it, in the table and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Paused { .. } => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// What is known of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How it stands.
    pub standing: Standing,
    /// Failures since the last success.
    pub failures: u32,
    /// Since when it stands so; the beginning of time for one that was never heard of.
    pub since: EpochMillis,
    /// Why, in a sentence; empty while it is up.
    pub reason: String,
    /// When an event was last parked for it.
    pub parked_at: Option<EpochMillis>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            standing: Standing::Up,
            failures: 0,
            since: EpochMillis::from_millis(0),
            reason: String::new(),
            parked_at: None,
        }
    }
}

/// What a run of an action may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Go on.
    Go,
    /// Go on if this worker is the one that gets to try.
    Probe {
        /// What [`Standing::Paused`] said, to be claimed.
        probe_at: EpochMillis,
    },
    /// Wait until the destination is up.
    Park,
}

impl Health {
    /// What a run may do now.
    pub fn entry(&self, now: EpochMillis) -> Entry {
        match self.standing {
            Standing::Up => Entry::Go,
            Standing::Paused { probe_at, .. } if probe_at <= now => Entry::Probe { probe_at },
            Standing::Paused { .. } | Standing::Disabled => Entry::Park,
        }
    }

    /// Whether one more failure pauses it, having counted it.
    pub fn is_to_be_paused(&self, policy: &Policy) -> bool {
        self.standing == Standing::Up && policy.pause_after > 0 && self.failures >= policy.pause_after
    }

    /// Whether events may be parked for it, as far as can be told without looking.
    pub fn may_have_parked(&self, now: EpochMillis) -> bool {
        self.standing != Standing::Up
            || self.parked_at.is_some_and(|at| now.millis_since(at) < PARKED_MEMORY_MS)
    }
}

/// For how long after the last event was parked the sweeper looks for more: longer than it may have rested itself.
///
/// A worker that can't start rests until somebody has mended it. Looking takes two read units a minute, a cent a month.
pub const PARKED_MEMORY_MS: i64 = 30 * 24 * HOUR;

/// Milliseconds from a failed probe to the next. A destination that is back is noticed within a quarter of an hour.
pub fn probe_delay_ms(pauses: u32) -> i64 {
    const DELAYS: [i64; 5] = [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 15 * MINUTE];
    let index = usize::try_from(pauses.saturating_sub(1)).unwrap_or(usize::MAX).min(DELAYS.len() - 1);
    DELAYS.get(index).copied().unwrap_or(MINUTE)
}

/// For how long a probe has the destination for itself: longer than the slowest action (30 s).
pub const PROBE_MS: i64 = MINUTE;

/// How many parked events a sweep lets go, of which one comes every minute.
///
/// A destination that has just come back gets ten a second, and twice as many every further minute, up to a hundred; never more than its action's own rate. One with limited concurrency gets as many as it
/// takes at once: each that is finished fetches the next.
pub fn drain(health: &Health, policy: &Policy, now: EpochMillis) -> u32 {
    const FIRST: u32 = 10;
    const MOST: u32 = 100;
    match health.standing {
        Standing::Up => {}
        // The event that is the probe.
        Standing::Paused { probe_at, .. } => return u32::from(probe_at <= now),
        Standing::Disabled => return 0,
    }
    if let Some(places) = policy.concurrency {
        return u32::from(places);
    }
    let minutes = u32::try_from(now.millis_since(health.since) / MINUTE).unwrap_or(u32::MAX);
    let per_second = FIRST.saturating_mul(1_u32.checked_shl(minutes).unwrap_or(MOST)).min(MOST);
    let per_minute = per_second * 60;
    policy.rate.map_or(per_minute, |rate| rate.per_minute().min(per_minute))
}

/// For how long an event waits for a destination that is not up: then the action is dead, and a person can replay it. Never longer than the
/// event is kept, less a day.
pub fn parked_ms_max(retention_days: u32) -> i64 {
    const DAYS: i64 = 14;
    (i64::from(retention_days) - 1).clamp(0, DAYS) * DAY
}

/// When a run that has a rate to keep may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Now.
    Now,
    /// Then; the time is reserved for it.
    At(EpochMillis),
    /// Not within the time that can be reserved.
    Full,
}

/// Runs of up to this time may come at once: spacing them to the millisecond would help nobody.
pub const BURST_MS: i64 = SECOND;

/// How far ahead runs are reserved: as long as a message can be delayed. What would come later is parked.
pub const RESERVED_MS_MAX: i64 = 15 * MINUTE;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_schedule_is_a_list_or_grows() {
        let delays = |text: &str| policy(&format!("retry = {text}")).map(|policy| policy.retry.0);
        assert_eq!(delays(r#"["5s", "2m", "1h", "1d"]"#).unwrap(), [5_000, 120_000, HOUR, DAY]);
        assert_eq!(delays("[]").unwrap(), [0_i64; 0]);
        assert_eq!(
            delays(r#"{ tries = 5, first = "10s", factor = 10, longest = "1h" }"#).unwrap(),
            [10_000, 100_000, 1_000_000, HOUR]
        );
        assert_eq!(delays(r#"{ tries = 3, first = "1m" }"#).unwrap(), [MINUTE, 2 * MINUTE]);
        assert_eq!(delays(r#"["7d"]"#).unwrap(), [7 * DAY]);
        let list = |count: usize| format!("[{}]", vec!["\"1s\""; count].join(","));
        assert_eq!(delays(&list(29)).unwrap().len(), 29);
        assert_eq!(delays(r#"{ tries = 30, first = "1s" }"#).unwrap().len(), 29);
        for (bad, part) in [
            (r#"["7d", "604801s"]"#, "longer than 7d"),
            (&list(30), "at most 30 times"),
            (r#"["5"]"#, "a list of delays"),
            (r#"{ tries = 0, first = "1s" }"#, "`tries` has to be"),
            (r#"{ tries = 31, first = "1s" }"#, "`tries` has to be"),
            (r#"{ tries = 3, first = "1s", factor = 0.5 }"#, "`factor` has to be"),
            (r#"["8d"]"#, "longer than 7d"),
        ] {
            assert!(delays(bad).unwrap_err().contains(part), "{bad}: {:?}", delays(bad));
        }
    }

    #[test]
    fn the_default_is_that_of_standard_webhooks() {
        let schedule = Schedule::default();
        let delays: Vec<i64> =
            (1..=TRIES_MAX).map_while(|n| schedule.delay_ms(n)).map(|ms| ms / SECOND).collect();
        assert_eq!(delays, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!((schedule.tries(), schedule.delay_ms(0)), (10, None));
    }

    #[test]
    fn rates_and_places_are_checked() {
        assert_eq!(policy("rate = \"300/m\"").unwrap().rate.unwrap().interval_us(), 200_000);
        assert_eq!(policy("rate = \"3/s\"").unwrap().rate.unwrap().to_string(), "3/s");
        for bad in ["0/s", "10", "10/d", "x/s", "-1/s"] {
            assert!(policy(&format!("rate = \"{bad}\"")).unwrap_err().contains("is no rate"), "{bad}");
        }
        assert_eq!(policy("concurrency = 3").unwrap().concurrency, Some(3));
        for bad in [-1, 0, 51, 300] {
            assert!(policy(&format!("concurrency = {bad}")).unwrap_err().contains("1 to 50"));
        }
    }

    #[test]
    fn a_destination_is_paused_probed_and_comes_back() {
        let at = EpochMillis::from_millis;
        let mut health = Health { failures: 9, ..Health::default() };
        let policy = Policy::default();
        assert!(!health.is_to_be_paused(&policy));
        health.failures = 10;
        assert!(health.is_to_be_paused(&policy));
        assert!(!health.is_to_be_paused(&Policy { pause_after: 0, ..policy.clone() }));
        assert_eq!(health.entry(at(5)), Entry::Go);
        health.standing = Standing::Paused { probe_at: at(50), pauses: 1 };
        assert!(!health.is_to_be_paused(&policy));
        assert_eq!(health.entry(at(49)), Entry::Park);
        assert_eq!(health.entry(at(50)), Entry::Probe { probe_at: at(50) });
        assert_eq!((drain(&health, &policy, at(49)), drain(&health, &policy, at(50))), (0, 1));
        health.standing = Standing::Disabled;
        assert_eq!((health.entry(at(50)), drain(&health, &policy, at(50))), (Entry::Park, 0));
    }

    #[test]
    fn a_destination_may_have_parked_for_thirty_days_after_the_last_and_while_it_is_not_up() {
        let at = EpochMillis::from_millis;
        let mut health = Health::default();
        assert!(!health.may_have_parked(at(0)));
        health.parked_at = Some(at(7));
        let may: Vec<bool> =
            [7, 6 + 30 * DAY, 7 + 30 * DAY, 8 + 30 * DAY].map(|ms| health.may_have_parked(at(ms))).to_vec();
        assert_eq!(may, [true, true, false, false]);
        for (standing, word) in
            [(Standing::Disabled, "disabled"), (Standing::Paused { probe_at: at(50), pauses: 1 }, "paused")]
        {
            health.standing = standing;
            assert!(health.may_have_parked(at(90 * DAY)), "{word}");
            // What stands in tables must go on meaning the same.
            assert_eq!(standing.word(), word);
        }
        assert_eq!(Standing::Up.word(), "up");
    }

    #[test]
    fn the_pace_doubles_each_minute_up_to_a_hundred_a_second() {
        let health = Health::default();
        let after = |minutes: i64, policy: &Policy| {
            drain(&health, policy, EpochMillis::from_millis(minutes * MINUTE)) / 60
        };
        let policy = Policy::default();
        let paces: Vec<u32> = [0, 1, 2, 3, 4, 60, 100_000].map(|minutes| after(minutes, &policy)).to_vec();
        assert_eq!(paces, [10, 20, 40, 80, 100, 100, 100]);
        assert_eq!(after(60, &Policy { rate: Rate::parse("5/s"), ..policy.clone() }), 5);
        let few = Policy { concurrency: Some(3), ..policy.clone() };
        assert_eq!(drain(&health, &few, EpochMillis::from_millis(0)), 3);
        let slow = Policy { rate: Rate::parse("1/h"), ..policy };
        assert_eq!(drain(&health, &slow, EpochMillis::from_millis(0)), 1);
    }

    #[test]
    fn pauses_grow_and_waiting_ends() {
        let delays: Vec<i64> = (0..8).map(|pauses| probe_delay_ms(pauses) / MINUTE).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8, 15, 15, 15]);
        assert_eq!([30, 15, 10, 1, 0].map(|days| parked_ms_max(days) / DAY), [14, 14, 9, 0, 0]);
        assert_eq!(RESERVED_MS_MAX, 900 * SECOND, "SQS delays a message no longer");
    }
}
