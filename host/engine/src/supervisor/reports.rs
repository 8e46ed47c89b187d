//! What is told of it all. The only things here that look at every service.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::Supervisor;
use crate::key::Name;
use crate::record::Record;
use crate::report::{Draft, EngineState, InputReport, Report, ServiceReport, State};
use crate::timers::Due;

impl Supervisor {
    pub(super) fn draft(&self) -> Draft {
        let (now, wall) = (Instant::now(), (self.environment.now)());
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_unstable_by_key(|(name, _)| *name);
        let reporters = records.iter().map(|(_, record)| record.attempt.as_ref()?.reporter.clone()).collect();
        let services = records.iter().map(|(name, record)| self.service(name, record, now, wall)).collect();
        let state = match self.dying {
            false => EngineState::Started,
            true if self.by_task.is_empty() => EngineState::Stopped,
            true => EngineState::Stopping,
        };
        Draft { report: Report { state, services }, reporters }
    }

    fn service(&self, name: &Name, record: &Record, now: Instant, wall: SystemTime) -> ServiceReport {
        let state = self.state(record);
        let input = |input: &Name| InputReport {
            name: input.to_string(),
            state: self.records.get(input).map(|record| self.state(record)),
        };
        let inputs: Vec<_> = self.graph.inputs(name).iter().map(input).collect();
        let missing = inputs.iter().filter(|input| input.state != Some(State::Started));
        let waits_for = match state {
            State::Waiting => missing.map(|input| input.name.clone()).collect(),
            _ => Vec::new(),
        };
        ServiceReport {
            name: name.to_string(),
            state,
            waits_for,
            inputs,
            attempts: record.tally.attempts,
            starts: record.tally.starts,
            bounces: record.tally.bounces,
            recent_errors: record.tally.recent_errors,
            last_error: record.tally.last_error.clone(),
            last_start: record.tally.last_start,
            next_start: record.start_at.and_then(|at| wall.checked_add(at.saturating_duration_since(now))),
            detail: None,
        }
    }

    fn state(&self, record: &Record) -> State {
        match &record.attempt {
            Some(attempt) if attempt.asked => State::Stopping,
            Some(attempt) if attempt.started.is_some() => State::Started,
            Some(_) => State::Starting,
            None if self.dying => State::Stopped,
            None if record.held || record.start_at.is_some() || record.tally.missing => State::Waiting,
            None => State::Stopped,
        }
    }

    /// Sees to it that those who watch learn of changes, but not of each at once: that would be all services for each.
    pub(super) fn plan_publishing(&mut self) {
        if !self.changed || self.publish_at.is_some() || self.reports.receiver_count() == 0 {
            return;
        }
        let now = Instant::now();
        match self.published_at.map(|at| at + self.config.report_interval).filter(|at| *at > now) {
            None => self.publish(),
            Some(at) => {
                self.publish_at = Some(at);
                self.timers.set(at, Due::Publish);
            }
        }
    }

    pub(super) fn publish(&mut self) {
        self.publish_at = None;
        self.published_at = Some(Instant::now());
        self.changed = false;
        self.reports.send_replace(Arc::new(self.draft().report));
    }
}
