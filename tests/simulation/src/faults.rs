//! What can go wrong, and what decides whether it does: a seed's climate, or a script that names the place.

use std::fmt;

use fastrand::Rng;
use hookgate_core::aws::AwsService;

use crate::site::{Function, Service, Site};

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The connection is refused; nothing is carried out.
    Refused,
    /// Nothing is carried out, and no answer ever comes.
    Timeout,
    /// Answered as too much; nothing is carried out.
    Throttled,
    /// Answered 500; nothing is carried out.
    Error,
    /// Answered as not allowed, which the SDK does not try again.
    Denied,
    /// Carried out; the connection breaks before the answer.
    AnswerLost,
    /// Carried out; answered 500 all the same.
    ErrorAfter,
    /// No answer comes, and it is carried out long after whoever asked has given up.
    Late,
    /// Carried out twice in a row; the second answer is returned.
    Twice,
    /// Not carried out; answered 200 with something that is no answer.
    Garbage,
    /// Carried out; answered 200 with something that is no answer.
    GarbageAfter,
}

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Timeout,
        Self::Throttled,
        Self::Error,
        Self::Denied,
        Self::AnswerLost,
        Self::ErrorAfter,
        Self::Late,
        Self::Twice,
        Self::Garbage,
        Self::GarbageAfter,
    ];

    /// How often the request is carried out at once.
    pub(crate) const fn applied(self) -> u32 {
        match self {
            Self::Refused | Self::Timeout | Self::Throttled | Self::Error | Self::Denied | Self::Garbage => 0,
            Self::AnswerLost | Self::ErrorAfter | Self::Late | Self::GarbageAfter => 1,
            Self::Twice => 2,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Timeout => "no answer",
            Self::Throttled => "throttled",
            Self::Error => "500",
            Self::Denied => "denied",
            Self::AnswerLost => "applied, answer lost",
            Self::ErrorAfter => "applied, answered 500",
            Self::Late => "applied late",
            Self::Twice => "applied twice",
            Self::Garbage => "garbage",
            Self::GarbageAfter => "applied, garbage",
        })
    }
}

/// How a function goes wrong while it waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mishap {
    /// It ends at once, before the call that it waits for has left.
    KilledBefore,
    /// It ends at once, after the call was carried out and before its answer is seen.
    KilledAfter,
    /// It stands still for longer than its lease, and goes on.
    Frozen,
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KilledBefore => "killed before the call",
            Self::KilledAfter => "killed after the call",
            Self::Frozen => "frozen for 100 s",
        })
    }
}

/// One thing that goes wrong at a named place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// A call does.
    Call(Fault),
    /// The function that makes it does.
    Function(Mishap),
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(fault) => fault.fmt(f),
            Self::Function(mishap) => mishap.fmt(f),
        }
    }
}

/// One failure at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shot {
    /// Where.
    pub site: Site,
    /// How many calls at that place pass before it.
    pub skip: u32,
    /// For how long all further calls there fail as well, in milliseconds; 0 for the one call alone.
    pub lasts_ms: i64,
    /// What.
    pub blow: Blow,
}

/// A time in which a dependency or a trigger does not work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) what: Broken,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
}

/// What does not work in a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Every call on it fails like this.
    Service(Service, Fault),
    /// The function is not invoked.
    Trigger(Function),
}

/// How often what goes wrong, for one history.
#[derive(Clone, Debug)]
pub(crate) struct Climate {
    /// When everything works again.
    pub(crate) until_ms: i64,
    /// Each for one AWS call, one call outward, one wait.
    pub(crate) call: f64,
    pub(crate) outward: f64,
    pub(crate) kill: f64,
    pub(crate) freeze: f64,
    /// For one message.
    pub(crate) copied: f64,
    pub(crate) delayed: f64,
    pub(crate) undeleted: f64,
    /// For one invocation.
    pub(crate) doubled: f64,
    /// For one request of a sender: it or its answer is lost.
    pub(crate) unheard: f64,
    /// By how much the clocks of two functions may differ, in milliseconds.
    pub(crate) skew_ms: i64,
    /// For one invocation: its clock jumps.
    pub(crate) jump: f64,
    /// Whether functions of another release run beside those of this one.
    pub(crate) releases: bool,
    pub(crate) windows: Vec<Window>,
}

impl Climate {
    /// Nothing goes wrong.
    pub(crate) fn fair(start_ms: i64) -> Self {
        Self {
            until_ms: start_ms,
            call: 0.0,
            outward: 0.0,
            kill: 0.0,
            freeze: 0.0,
            copied: 0.0,
            delayed: 0.0,
            undeleted: 0.0,
            doubled: 0.0,
            unheard: 0.0,
            skew_ms: 0,
            jump: 0.0,
            releases: false,
            windows: Vec::new(),
        }
    }

    /// The same, but for times in which something does not work.
    pub(crate) fn with(mut self, windows: &[Window]) -> Self {
        self.until_ms = windows.iter().map(|window| window.until_ms).fold(self.until_ms, i64::max);
        self.windows = windows.to_vec();
        self
    }

    /// One that the dice decide.
    pub(crate) fn draw(dice: &mut Rng, start_ms: i64) -> Self {
        const SECOND: i64 = 1_000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        // Most faults in the minutes that matter; now and then days of them.
        let lasts = match dice.u8(0..20) {
            0..10 => dice.i64(5 * SECOND..2 * MINUTE),
            10..16 => dice.i64(2 * MINUTE..HOUR),
            16..19 => dice.i64(HOUR..6 * HOUR),
            _ => dice.i64(6 * HOUR..4 * DAY),
        };
        let until_ms = start_ms + lasts;
        let often =
            |dice: &mut Rng, levels: &[f64]| levels.get(dice.usize(0..levels.len())).copied().unwrap_or(0.0);
        let mut climate = Self {
            until_ms,
            call: often(dice, &[0.0, 0.02, 0.1, 0.3, 0.6]),
            outward: often(dice, &[0.0, 0.1, 0.4, 0.8]),
            kill: often(dice, &[0.0, 0.0, 0.01, 0.05, 0.2]),
            freeze: often(dice, &[0.0, 0.0, 0.0, 0.02, 0.1]),
            copied: often(dice, &[0.0, 0.05, 0.3]),
            delayed: often(dice, &[0.0, 0.0, 0.2]),
            undeleted: often(dice, &[0.0, 0.0, 0.2]),
            doubled: often(dice, &[0.0, 0.0, 0.3]),
            unheard: often(dice, &[0.0, 0.0, 0.2]),
            skew_ms: dice.choice([0, 0, 2 * SECOND, 10 * SECOND]).unwrap_or(0),
            jump: often(dice, &[0.0, 0.0, 0.0, 0.1]),
            releases: dice.u8(0..4) == 0,
            windows: Vec::new(),
        };
        // An outage makes a history ten times as long.
        let windows = if dice.u8(0..40) == 0 { dice.u8(1..=2) } else { 0 };
        if windows > 0 {
            (climate.copied, climate.unheard) = (0.0, 0.0);
        }
        for _ in 0..windows {
            let window = Window::draw(dice, start_ms);
            climate.until_ms = climate.until_ms.max(window.until_ms);
            climate.windows.push(window);
        }
        climate
    }

    /// Whether an AWS call, or one outward, goes wrong by chance, and how.
    pub(crate) fn fault(&self, dice: &mut Rng, service: Service) -> Option<Fault> {
        let often = if service.is_outward() { self.outward } else { self.call };
        if often == 0.0 || dice.f64() >= often {
            return None;
        }
        dice.choice(Fault::ALL)
    }

    pub(crate) fn broken(&self, service: Service, now_ms: i64) -> Option<Fault> {
        self.windows.iter().filter(|window| window.holds(now_ms)).find_map(|window| match window.what {
            Broken::Service(broken, fault) if broken == service => Some(fault),
            Broken::Service(..) | Broken::Trigger(_) => None,
        })
    }

    /// Until when a function is not invoked, if it isn't.
    pub(crate) fn rests_until(&self, function: Function, now_ms: i64) -> Option<i64> {
        let rests = |window: &&Window| window.what == Broken::Trigger(function) && window.holds(now_ms);
        self.windows.iter().filter(rests).map(|window| window.until_ms).max()
    }
}

impl Window {
    fn holds(&self, now_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms)
    }

    fn draw(dice: &mut Rng, start_ms: i64) -> Self {
        const MINUTE: i64 = 60_000;
        const DAY: i64 = 24 * 60 * MINUTE;
        let from_ms = start_ms + if dice.u8(0..3) == 0 { dice.i64(0..MINUTE) } else { 0 };
        let fault = dice.choice([
            Fault::Throttled,
            Fault::Throttled,
            Fault::Refused,
            Fault::Timeout,
            Fault::Error,
            Fault::Denied,
        ]);
        let fault = fault.unwrap_or(Fault::Throttled);
        let (what, lasts) = match dice.u8(0..10) {
            // The table throttles for half an hour.
            0..3 => (Broken::Service(Service::Table, fault), 30 * MINUTE),
            3..5 => (Broken::Service(Service::Queue, fault), dice.i64(MINUTE..60 * MINUTE)),
            5 => {
                let service = dice.choice([Service::Secrets, Service::Keys]).unwrap_or(Service::Secrets);
                (Broken::Service(service, fault), dice.i64(MINUTE..60 * MINUTE))
            }
            6 => (Broken::Service(Service::Destination, fault), dice.i64(MINUTE..6 * 60 * MINUTE)),
            7 => {
                let service = dice.choice(AwsService::ALL).unwrap_or(AwsService::EventBridge);
                (Broken::Service(Service::Aws(service), fault), dice.i64(MINUTE..6 * 60 * MINUTE))
            }
            // The worker is throttled or switched off: a backlog, now and then up to the edge of the retention.
            8 => (
                Broken::Trigger(Function::Worker),
                dice.choice([DAY / 24, DAY, 4 * DAY, 13 * DAY]).unwrap_or(DAY),
            ),
            _ => (
                Broken::Trigger(
                    dice.choice([Function::Sweeper, Function::Stream]).unwrap_or(Function::Sweeper),
                ),
                dice.i64(MINUTE..DAY / 2),
            ),
        };
        Self { what, from_ms, until_ms: from_ms + lasts }
    }
}
