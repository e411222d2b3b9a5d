//! Lambda: which copy of a function is invoked, and how that is frozen, killed or ended.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use serde_json::Value;

use super::{
    JUMP_MS_MAX, World,
    installation::Handler,
    task::{Flag, Instance, Job, Returned, Task, describe},
};
use crate::{
    site::Function,
    state::{Due, Release},
    wire::{ClockOf, Wire},
};
/// How long Lambda lets a function run, in milliseconds (`Timeout`).
const INGEST_LIMIT_MS: i64 = 10_000;

const WORKER_LIMIT_MS: i64 = 60_000;

/// For how long an invocation that stands still may outlive its limit: with the limit, less than a visibility timeout.
const OVERTIME_MS: i64 = 240_000;

impl World {
    pub(super) fn invoke(
        &mut self,
        function: Function,
        job: Job,
        payload: impl FnOnce(Release) -> String,
        trace: Option<String>,
    ) -> u64 {
        let instance = self.instance(function);
        let Some(Instance { handler, release, clock, .. }) =
            self.instances.get_mut(instance).map(|instance| {
                instance.is_busy = true;
                &*instance
            })
        else {
            return 0;
        };
        let (handler, release, clock) = (handler.clone(), *release, clock.clone());
        let payload = payload(release);
        let state = &mut *self.shared.lock();
        let id = state.number();
        let jump = state.climate.jump;
        if state.strikes(jump) {
            let by_ms = state.dice.i64(-JUMP_MS_MAX..JUMP_MS_MAX);
            clock.0.store(by_ms, Ordering::Relaxed);
            state.inject("clock jumps", function);
            if let Some(instance) = self.instances.get_mut(instance) {
                instance.has_jumped = true;
            }
        }
        state.note(|_| format!("> #{id} {function} {}", describe(&job, &payload)));
        let limit = if function == Function::Ingest { INGEST_LIMIT_MS } else { WORKER_LIMIT_MS };
        state.after(limit, Due::Limit(id));
        let future: Pin<Box<dyn Future<Output = Returned>>> = match handler {
            Handler::Ingest(ingest) => Box::pin(async move {
                let answer = ingest.handle(&payload, trace.as_deref()).await;
                let status = answer.ok().and_then(|answer| status_of(&serde_json::to_value(answer).ok()?));
                // What the gateway makes of a function that fails.
                Returned::Answer(status.unwrap_or(500))
            }),
            Handler::Worker(worker) => {
                Box::pin(async move { Returned::Value(worker.invoke(&payload).await.ok()) })
            }
        };
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { id, function, job, instance, release, flag, future });
        id
    }

    /// A copy of a function that is free, or another one.
    pub(super) fn instance(&mut self, function: Function) -> usize {
        let is_ingest = function == Function::Ingest;
        let free = |instance: &Instance| {
            !instance.is_busy
                && !instance.is_gone
                && matches!(instance.handler, Handler::Ingest(_)) == is_ingest
        };
        // A person starts the program anew each time.
        let reused = function != Function::Operator && self.shared.lock().dice.u8(0..10) > 0;
        if reused && let Some(index) = self.instances.iter().position(free) {
            return index;
        }
        let wire = Wire::new(self.shared.clone());
        let clock = ClockOf(Arc::new(AtomicI64::new(0)));
        let release = {
            let state = &mut *self.shared.lock();
            let skew_ms = state.climate.skew_ms;
            if skew_ms > 0 {
                clock.0.store(state.dice.i64(-skew_ms / 2..=skew_ms / 2), Ordering::Relaxed);
            }
            match state.climate.releases {
                false => Release::This,
                true => {
                    state.dice.choice([Release::This, Release::Older, Release::Newer]).unwrap_or_default()
                }
            }
        };
        let handler = self.parts.handler(is_ingest, &wire, clock.clone());
        self.instances.push(Instance {
            handler,
            clock,
            release,
            is_busy: false,
            is_gone: false,
            has_jumped: false,
        });
        self.instances.len() - 1
    }

    /// Marks the invocations that stand still.
    pub(super) fn freeze(&mut self) {
        let state = &mut *self.shared.lock();
        for task in state.frozen.drain(..) {
            self.frozen.insert(task);
        }
    }

    pub(super) fn thaw(&mut self, id: u64) {
        self.frozen.remove(&id);
        if let Some(task) = self.tasks.iter().find(|task| task.id == id) {
            task.flag.0.store(true, Ordering::Relaxed);
            self.shared.lock().note(|_| format!("  #{id} goes on"));
        }
    }

    pub(super) fn kill(&mut self, id: u64, why: Due) {
        let Some(index) = self.tasks.iter().position(|task| task.id == id) else { return };
        if matches!(why, Due::Limit(_)) && self.frozen.contains(&id) {
            let state = &mut *self.shared.lock();
            // The limit is not always kept for what stands still: then it goes on after its lease.
            if !state.is_drawn {
                return;
            }
            if state.dice.bool() {
                // But not for longer than its messages are kept from others.
                return state.after(OVERTIME_MS, Due::Kill(id));
            }
        }
        self.frozen.remove(&id);
        let task = self.tasks.swap_remove(index);
        {
            let mut state = self.shared.lock();
            let how = if matches!(why, Due::Limit(_)) { "is at its time limit" } else { "is killed" };
            state.note(|_| format!("x #{id} {} {how}", task.function));
            state.check.killed(id);
        }
        if let Some(instance) = self.instances.get_mut(task.instance) {
            instance.is_gone = true;
        }
        let Task { job, future, .. } = task;
        // Outside of the lock: what it waits for says so when it is dropped.
        drop(future);
        match job {
            Job::Request(request) => self.answer(request, 500, false),
            Job::Stream(records) => self.stream_again(records),
            Job::Sweep => self.swept(),
            Job::Batch(..) | Job::Operate => {}
        }
    }

    pub(super) fn ended(&mut self, task: &Task, returned: Returned) {
        if let Some(instance) = self.instances.get_mut(task.instance) {
            instance.is_busy = false;
        }
        let id = task.id;
        {
            let mut state = self.shared.lock();
            state.cancel(|due| due == Due::Limit(id));
            state.note(|_| match &returned {
                Returned::Answer(status) => format!("< #{id} {} {status}", task.function),
                Returned::Value(value) => {
                    let value = value.as_ref().map_or_else(|| "failed".to_owned(), Value::to_string);
                    format!("< #{id} {} {value}", task.function)
                }
            });
        }
        match (&task.job, returned) {
            (Job::Request(request), Returned::Answer(status)) => {
                let has_jumped =
                    self.instances.get(task.instance).is_some_and(|instance| instance.has_jumped);
                self.answer(*request, status, has_jumped);
            }
            (Job::Batch(handles, is_ordered), Returned::Value(Some(value))) => {
                self.delete(handles, *is_ordered, &value);
            }
            (Job::Stream(records), Returned::Value(value)) => {
                let failed = value.is_none_or(|value| {
                    value
                        .get("batchItemFailures")
                        .and_then(Value::as_array)
                        .is_some_and(|all| !all.is_empty())
                });
                if failed {
                    self.stream_again(records.clone());
                }
            }
            (Job::Sweep, _) => self.swept(),
            _ => {}
        }
    }
}

fn status_of(answer: &Value) -> Option<u16> {
    answer.get("statusCode")?.as_u64()?.try_into().ok()
}
