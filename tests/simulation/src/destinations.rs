//! Where actions post to.

use fastrand::Rng;

use crate::{site::Service, state::Reply};

/// How the destinations of one history are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    /// What they answer at first, the last of it first.
    pub(crate) moods: Vec<u16>,
    /// How often they answer something else than 200 of their own accord.
    pub(crate) odd: f64,
    /// How often they take their time.
    pub(crate) slow: f64,
    /// Whether they may say that they are gone for good.
    pub(crate) may_be_gone: bool,
}

impl Destinations {
    pub(crate) fn draw(dice: &mut Rng) -> Self {
        Self {
            odd: dice.choice([0.0, 0.1, 0.5, 0.9]).unwrap_or(0.0),
            slow: dice.choice([0.0, 0.1, 0.4]).unwrap_or(0.0),
            may_be_gone: dice.u8(0..4) == 0,
            moods: Vec::new(),
        }
    }

    /// What one of them answers while everything works.
    pub(crate) fn fair(&mut self) -> Reply {
        let status = self.moods.pop().unwrap_or(200);
        Reply::answer(status, "")
    }

    /// What one of them answers now.
    pub(crate) fn moody(&self, dice: &mut Rng) -> Reply {
        let answer = |status, retry_after: Option<u32>| {
            let answer = Reply::answer(status, "");
            retry_after.map_or(answer.clone(), |seconds| answer.with("retry-after", seconds.to_string()))
        };
        if self.odd == 0.0 || dice.f64() >= self.odd {
            return answer(dice.choice([200, 200, 202, 204]).unwrap_or(200), None);
        }
        match dice.u8(0..20) {
            0..8 => answer(500, None),
            8..11 => answer(503, Some(dice.u32(0..4_000))),
            11..14 => answer(429, Some(dice.u32(0..200_000))),
            14 => answer(408, None),
            15 => answer(400, None),
            16 => answer(404, None),
            17 => answer(301, None),
            _ if self.may_be_gone => answer(410, None),
            _ => answer(502, None),
        }
    }

    /// How much longer an answer takes, in milliseconds.
    pub(crate) fn slowness(&self, service: Service, dice: &mut Rng) -> i64 {
        if service == Service::Destination && self.slow > 0.0 && dice.f64() < self.slow {
            return dice.i64(0..4_000);
        }
        0
    }
}
