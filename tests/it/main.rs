//! The whole product, driven from outside.
//!
//! - `harness`: a stack in this process with a clock that can be moved, and destinations to post to
//! - `flow_*`: what happens when all goes well, or the sender is at fault
//! - `fault_*`: what happens when a dependency, an action or the process fails
//! - `samples`: every file of `events/`; `functions`: the real `ingest` and `worker` processes
//! - `backend`, `runtime_api`: what is behind those and in front of them
//! - `telemetry`: the lines that they log, and the metrics in them
//! - `operations`: the page for those who run it
//! - `program*`: the `hookgate` command as a process; `program_stack` on a deployed stack, for which `deployed` stands in
//! - `template`: `template.yaml`; `security`: `SECURITY.md`; `cost`: `docs/cost.md`
//! - `mutations`: the table of what may not be taken away

mod backend;
mod cost;
mod deployed;
mod fault_guards;
mod fault_ingest;
mod fault_kill;
mod fault_restart;
mod fault_worker;
mod flow_accept;
mod flow_actions;
mod flow_bodies;
mod flow_catalogue;
mod flow_destinations;
mod flow_known;
mod flow_modes;
mod flow_order;
mod flow_refuse;
mod flow_replay;
mod flow_requests;
mod flow_secrets;
mod flow_signing;
mod flow_sizes;
mod functions;
mod harness;
mod mutations;
mod operations;
mod program;
mod program_commands;
mod program_follow;
mod program_listen;
mod program_operate;
mod program_reconcile;
mod program_route;
mod program_stack;
mod runtime_api;
mod samples;
mod security;
mod telemetry;
mod template;
