//! The controller against surroundings in memory, on paused time.

mod support;

#[path = "controller/workers.rs"]
mod workers;

#[path = "controller/requests.rs"]
mod requests;

#[path = "controller/jobs.rs"]
mod jobs;

#[path = "controller/matching.rs"]
mod matching;

#[path = "controller/cancellation.rs"]
mod cancellation;

#[path = "controller/failed_workers.rs"]
mod failed_workers;

#[path = "controller/recovery.rs"]
mod recovery;

#[path = "controller/store_trouble.rs"]
mod store_trouble;

#[path = "controller/simulation.rs"]
mod simulation;
