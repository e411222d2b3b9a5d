//! Ctrl-C and SIGTERM, for commands that go on until they are stopped or that can be stopped half-way.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Heard from when it is made, so that none is missed between two waits.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on, the process ends by itself.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits until somebody wants it to stop.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
