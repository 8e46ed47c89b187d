//! The controller against surroundings in memory, on paused time.

// Lints know tests by this.
#[cfg(test)]
mod support;

#[cfg(test)]
#[path = "controller/workers.rs"]
mod workers;

#[cfg(test)]
#[path = "controller/requests.rs"]
mod requests;

#[cfg(test)]
#[path = "controller/jobs.rs"]
mod jobs;

#[cfg(test)]
#[path = "controller/clients.rs"]
mod clients;

#[cfg(test)]
#[path = "controller/probes.rs"]
mod probes;

#[cfg(test)]
#[path = "controller/logs.rs"]
mod logs;

#[cfg(test)]
#[path = "controller/matching.rs"]
mod matching;

#[cfg(test)]
#[path = "controller/cancellation.rs"]
mod cancellation;

#[cfg(test)]
#[path = "controller/failed_workers.rs"]
mod failed_workers;

#[cfg(test)]
#[path = "controller/recovery.rs"]
mod recovery;

#[cfg(test)]
#[path = "controller/store_trouble.rs"]
mod store_trouble;

#[cfg(test)]
#[path = "controller/plugins.rs"]
mod plugins;

#[cfg(test)]
#[path = "controller/stopping.rs"]
mod stopping;

#[cfg(test)]
#[path = "controller/introspections.rs"]
mod introspections;

#[cfg(test)]
#[path = "controller/introspection_crashes.rs"]
mod introspection_crashes;

#[cfg(test)]
#[path = "controller/findings.rs"]
mod findings;

#[cfg(test)]
#[path = "controller/limits.rs"]
mod limits;

#[cfg(test)]
#[path = "controller/shortages.rs"]
mod shortages;

#[cfg(test)]
#[path = "controller/clocks.rs"]
mod clocks;

#[cfg(test)]
#[path = "controller/instances.rs"]
mod instances;

#[cfg(test)]
#[path = "controller/simulation.rs"]
mod simulation;
