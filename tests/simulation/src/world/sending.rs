//! Senders: what they send, what they hear, and how they change their secrets and keys.

use hookgate_aws::schema::EVENT_SK;

use super::{JUMP_MS_MAX, Request, World, task::Job};
use crate::{
    keyring::PUBLISHED,
    queue::Queue,
    script::Stored,
    senders::{Delivery, ORDERED},
    site::{Function, Service},
    state::{Due, State},
};
/// For how long after a change of the secrets a genuine request may be refused: until they may be read again.
const ROTATING_MS: i64 = 6 * 60_000;

impl World {
    pub(super) fn send(&mut self, index: usize) {
        let Some(delivery) = self.deliveries.get_mut(index) else { return };
        if delivery.is_over {
            return;
        }
        delivery.tries += 1;
        let (waits_ms, id) = (delivery.manners.waits_ms, delivery.id.clone());
        self.requests.push(Request { delivery: index, is_answered: false, is_heard: false });
        let request = self.requests.len() - 1;
        let state = &mut *self.shared.lock();
        state.note(|_| format!("- {id} is sent ({})", delivery.manners.name));
        state.after(waits_ms, Due::GiveUp(request));
        let unheard = state.climate.unheard;
        if state.strikes(unheard) {
            return state.inject("request lost", "sender");
        }
        let wait = state.dice.i64(1..40);
        state.after(wait, Due::Arrive(request));
    }

    pub(super) fn arrive(&mut self, request: usize) {
        let Some(delivery) = self.requests.get(request).and_then(|r| self.deliveries.get(r.delivery)) else {
            return;
        };
        let payload = {
            let state = &mut *self.shared.lock();
            if delivery.source == ORDERED.0 && !delivery.is_forged {
                state.check.arrived(&delivery.id, state.now_ms);
            }
            let secret = if delivery.is_forged { "guessed" } else { state.vault.signing(delivery.source) };
            let number = u64::try_from(request).unwrap_or_default();
            delivery.call(secret, &state.keyring, state.now_ms, number)
        };
        // It makes its way to workers with the message, and has no say in anything.
        let trace = format!("Root=1-5759e988-{request:024x};Sampled=1");
        self.invoke(Function::Ingest, Job::Request(request), |_| payload, Some(trace));
    }

    /// The gateway has an answer for a sender, from a function whose clock may have jumped.
    pub(super) fn answer(&mut self, index: usize, status: u16, has_jumped: bool) {
        let Some(request) = self.requests.get_mut(index) else { return };
        request.is_answered = true;
        let Some(delivery) = self.deliveries.get_mut(request.delivery) else { return };
        let state = &mut *self.shared.lock();
        if delivery.is_forged {
            // Whoever forges is told nothing.
            let is_kept =
                status == 202 && state.check.is_quarantined(delivery.source, &delivery.body, &state.table);
            if status < 400 && !is_kept {
                state.check.broken(format!("I4: a forged {} was answered with {status}", delivery.id));
            }
        } else {
            let now_ms = state.now_ms;
            state.check.answered(&delivery.id, status, now_ms, &state.table, [&state.queue, &state.ordered]);
            let seen = self.seen.entry(delivery.id.clone()).or_default();
            seen.stored = seen.stored.or_else(|| Some(stored(state, delivery)));
            if (400..500).contains(&status)
                && !is_rotating(state, delivery.source, has_jumped)
                && !state.check.has_no_room(delivery.source, &delivery.body)
            {
                state.check.broken(format!("the genuine {} was answered with {status}", delivery.id));
            }
        }
        let unheard = state.climate.unheard;
        if state.strikes(unheard) {
            return state.inject("answer lost", "sender");
        }
        if request.is_heard {
            return;
        }
        request.is_heard = true;
        delivery.answers.push(status);
        if (200..300).contains(&status) {
            delivery.is_over = true;
        } else {
            again(state, delivery, request.delivery);
        }
    }

    pub(super) fn give_up(&mut self, index: usize) {
        let Some(request) = self.requests.get_mut(index) else { return };
        if request.is_heard {
            return;
        }
        request.is_heard = true;
        let Some(delivery) = self.deliveries.get_mut(request.delivery) else { return };
        delivery.answers.push(0);
        let mut state = self.shared.lock();
        again(&mut state, delivery, request.delivery);
    }

    pub(super) fn rotate(&mut self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        let more = state.vault.rotate(self.rotation, now_ms);
        state.inject("secrets rotate", "Secrets Manager");
        self.rotation += 1;
        if more {
            // Some senders are switched over before the new secret can be known everywhere.
            let wait = match self.rotation {
                1 => state.dice.choice([0, 10_000, 400_000]).unwrap_or(0),
                _ => 3 * 24 * 3_600_000,
            };
            state.after(wait, Due::Rotate);
        }
    }

    pub(super) fn rekey(&mut self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        let next = state.keyring.rotate(now_ms);
        state.inject("keys rotate", Service::Keys);
        if let Some(wait) = next {
            state.after(wait, Due::Rekey);
        }
    }
}

fn is_rotating(state: &State, source: &str, has_jumped: bool) -> bool {
    let jumps_ms = if has_jumped { 2 * JUMP_MS_MAX } else { 0 };
    let changed_ms = if source == PUBLISHED.0 { state.keyring.changed_ms } else { state.vault.changed_ms };
    state.now_ms - changed_ms < ROTATING_MS + jumps_ms
}

fn again(state: &mut State, delivery: &Delivery, index: usize) {
    if delivery.is_over || delivery.is_forged {
        return;
    }
    if let Some(wait_ms) = delivery.manners.again_ms.get(delivery.tries.saturating_sub(1)) {
        state.after(*wait_ms, Due::Send(index));
    }
}

fn stored(state: &State, delivery: &Delivery) -> Stored {
    let of_it = |body: &str| body.contains(&format!("\"{}\"", delivery.id));
    Stored {
        in_table: state.table.get(&format!("E#{}#{}", delivery.source, delivery.id), EVENT_SK).is_some(),
        in_queue: [&state.queue, &state.ordered]
            .into_iter()
            .flat_map(Queue::all)
            .any(|(_, message)| of_it(&message.body)),
        in_quarantine: state.check.is_quarantined(delivery.source, &delivery.body, &state.table),
        in_outbox: state.table.under("D#").any(|(_, sk, _)| sk.ends_with(&format!("#{}", delivery.id))),
    }
}
