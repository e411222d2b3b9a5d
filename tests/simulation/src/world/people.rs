//! What a person does: has events run again, mends secrets, lets in what is genuine, enables destinations.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
};

use hookgate_aws::quarantine::release;
use hookgate_core::{
    Fetched,
    gate::{Admission, admit},
    ids::Name,
    lifecycle::Status,
    source::Mode,
    time::EpochMillis,
};
use serde_json::Value;
use worker::Worker;

use super::{
    World,
    installation::Handler,
    task::{Flag, Instance, Job, Returned, Task},
};
use crate::{
    check,
    site::Function,
    state::{Due, Release},
    vault::QUARANTINED,
};
/// What the keys of the quarantine begin with.
const QUARANTINE: &str = "Q#";

/// Most deliveries that a person looks through.
const LOOK_MAX: usize = 10_000;

impl World {
    /// Has an event run again, in the middle of everything.
    pub(super) fn operate(&mut self) {
        let keys: Vec<(String, Status)> = {
            let state = self.shared.lock();
            let items = state.table.under("L#");
            items.filter_map(|(_, sk, item)| Some((sk.to_owned(), check::status(item)?))).collect()
        };
        let Some((sk, status)) = keys.into_iter().find(|(_, status)| status.is_final()) else { return };
        let Some(key) = hookgate_aws::schema::StatusKey::parse(&sk) else { return };
        let (again, job) = {
            let state = &mut *self.shared.lock();
            state.check.run_again(key.id.as_str());
            state.inject("replayed by a person", status.word());
            (state.dice.bool(), format!("job-{}", state.number()))
        };
        self.as_operator(move |worker, now| {
            Box::pin(async move {
                let ask = hookgate_aws::replay::Ask { by: "a person", job: &job, again };
                let asked = hookgate_aws::replay::replay(&worker.store, &worker.queue, &key, ask, now).await;
                Returned::Value(asked.is_ok().then_some(Value::Null))
            })
        });
    }

    pub(super) fn mend(&self) {
        let state = &mut *self.shared.lock();
        let now_ms = state.now_ms;
        state.vault.mend(now_ms);
        state.check.quarantine.is_locked = false;
        state.note(|_| "= the secret is mended");
        // Now and then two persons at once.
        let often = if state.is_drawn { state.dice.u8(1..4) } else { 1 };
        for _ in 0..often {
            let wait =
                if state.is_drawn { state.dice.choice([0, 60_000, 3_600_000]).unwrap_or(0) } else { 60_000 };
            state.after(wait, Due::Release);
        }
    }

    /// Has everything in quarantine verified again, and lets in what is genuine.
    pub(super) fn release(&mut self) {
        let has_any = self.shared.lock().table.under(QUARANTINE).any(|(_, sk, _)| !sk.starts_with("N#"));
        if !has_any {
            return;
        }
        let task = self.as_operator(move |worker, now| {
            Box::pin(async move { Returned::Value(let_in(&worker, now).await.map(|()| Value::Null)) })
        });
        let state = &mut *self.shared.lock();
        if let Some(task) = task
            && state.is_rough()
            && state.dice.bool()
        {
            state.inject("killed at any moment", Function::Operator);
            let wait = state.dice.i64(0..120);
            state.after(wait, Due::Kill(task));
        }
    }

    pub(super) fn enable_destinations(&mut self) {
        let disabled: Vec<Name> = {
            let state = self.shared.lock();
            let items = state.table.under("X");
            let disabled =
                items.filter(|(_, _, item)| crate::table::text(item, "status") == Some("disabled"));
            disabled.filter_map(|(_, sk, _)| Name::parse(sk)).collect()
        };
        for name in disabled {
            self.as_operator(move |worker, now| {
                Box::pin(async move {
                    let done = worker.store.destination_switch(&name, true, "", now).await;
                    Returned::Value(done.is_ok().then_some(Value::Null))
                })
            });
        }
    }

    fn as_operator(
        &mut self,
        what: impl FnOnce(Arc<Worker>, EpochMillis) -> Pin<Box<dyn Future<Output = Returned>>>,
    ) -> Option<u64> {
        let instance = self.instance(Function::Operator);
        let Some(Instance { handler: Handler::Worker(worker), .. }) = self.instances.get(instance) else {
            return None;
        };
        let (id, now_ms) = {
            let state = &mut *self.shared.lock();
            (state.number(), state.now_ms)
        };
        let future = what(worker.clone(), EpochMillis::from_millis(now_ms));
        self.shared.lock().note(|_| format!("> #{id} operator"));
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task {
            id,
            function: Function::Operator,
            job: Job::Operate,
            instance,
            release: Release::This,
            flag,
            future,
        });
        Some(id)
    }
}

/// What `hookgate quarantine release --all` does.
async fn let_in(worker: &Worker, now: EpochMillis) -> Option<()> {
    let secrets = worker.secrets.current(now).await.ok()?;
    let source = worker.config.sources.get(&Name::parse(QUARANTINED.0)?)?;
    for delivery in worker.store.quarantined(&source.name, LOOK_MAX).await.ok()? {
        let (request, at) = (&delivery.request, delivery.request.received_at);
        let Admission::Event(event) =
            admit(source, Mode::Enforce, &secrets, &Fetched::default(), request, at)
        else {
            continue;
        };
        release(&worker.store, &worker.queue, source, &event, &delivery).await.ok()?;
    }
    Some(())
}
