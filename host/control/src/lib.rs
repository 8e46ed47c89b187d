//! The controller: one dispatcher, per-worker tasks, matching rounds, jobs, timers
