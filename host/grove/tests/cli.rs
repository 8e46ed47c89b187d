//! The command line, as its users meet it. Every verb has a file of its own, the twin of the one that carries it out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[path = "../../client/tests/canned/mod.rs"]
mod canned;
mod kit;

mod test_artifact_command;
mod test_completions_command;
mod test_escaping;
mod test_events_command;
mod test_farm_command;
mod test_farm_mode_command;
mod test_global_options;
mod test_introspect_command;
mod test_job_command;
mod test_limit_command;
mod test_plugin_command;
mod test_request_command;
mod test_rule_command;
mod test_run_command;
mod test_services_command;
mod test_ssh_command;
mod test_task_command;
mod test_why_command;
mod test_worker_command;
