//! Decisions about the farm as a whole: its limits, its mode.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode, RunningJobs};
use grove_domain::{request, worker};

use super::Dispatcher;
use super::events::Happened;
use crate::command::Command;
use crate::refusal::Refused;

impl Dispatcher {
    pub(super) fn set_limit(
        &mut self,
        actor: &str,
        scope: Scope,
        value: Option<u32>,
        expected: Option<u64>,
    ) -> Result<Arc<Limit>, Refused> {
        let before = self.farm.limit(&scope).cloned();
        let current = before.as_ref().map_or(0, |limit| limit.revision);
        if expected.is_some_and(|expected| expected != current) {
            return Err(Refused::Revision { current });
        }
        let was = before.as_ref().and_then(|limit| limit.value);
        if was == value {
            let none = || Arc::new(Limit { scope, value, revision: 0 });
            return Ok(before.unwrap_or_else(none));
        }
        let most = self.settings.caps.limits;
        if before.is_none() && self.farm.limits().len() >= most {
            return Err(Refused::Full { what: "limits", limit: most });
        }
        let limit = Arc::new(Limit { scope, value, revision: current + 1 });
        self.farm.put_limit(limit.clone());
        self.slots.put_limit(&limit);
        self.turn.change(Change::PutLimit(limit.clone()));
        let words =
            |value: Option<u32>| value.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        self.happened(Happened {
            actor,
            kind: "limit.changed",
            subject: Subject::Farm,
            before: Some(words(was)),
            after: Some(words(value)),
            note: Some(format!("running tasks of {}", limit.scope)),
        });
        Ok(limit)
    }

    pub(super) fn set_mode(
        &mut self,
        actor: &str,
        mode: Mode,
        running: RunningJobs,
        expected: Option<u64>,
    ) -> Result<Arc<FarmMode>, Refused> {
        let before = self.farm.mode().clone();
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(Refused::Revision { current: before.revision });
        }
        let now = self.clock.now();
        if mode != before.mode {
            let same = mode.is_maintenance() == before.mode.is_maintenance();
            let since = before.since.filter(|_| same).or(Some(now));
            let next = Arc::new(FarmMode { mode: mode.clone(), since, revision: before.revision + 1 });
            self.farm.set_mode(next.clone());
            self.turn.change(Change::PutMode(next));
            let note = match &mode {
                Mode::Maintenance { reason, .. } => Some(reason.clone()),
                Mode::Normal => None,
            };
            self.happened(Happened {
                actor,
                kind: "farm.mode",
                subject: Subject::Farm,
                before: Some(before.mode.name().to_owned()),
                after: Some(mode.name().to_owned()),
                note,
            });
        }
        match mode {
            Mode::Normal => self.go_on(),
            Mode::Maintenance { reason, .. } if running == RunningJobs::Cut => {
                self.cut(actor, &format!("the farm is in maintenance: {reason}"));
            }
            Mode::Maintenance { .. } => {}
        }
        Ok(self.farm.mode().clone())
    }

    /// What was held back by the mode is taken up.
    fn go_on(&mut self) {
        let workers: Vec<_> = self.farm.workers().values().cloned().collect();
        for worker in workers {
            // Looks that came due meanwhile were not taken.
            self.timers.replace_worker(self.times(), None, Some(&worker), &self.settings);
        }
        self.slots.look_again();
        self.matcher.wake();
    }

    /// Every job ends; requests whose jobs are being opened wait again, in their old places.
    fn cut(&mut self, actor: &str, reason: &str) {
        let held =
            |request: &&Arc<request::Request>| request.reserved.is_some() || request.running_job().is_some();
        let live: Vec<_> = self.farm.requests().iter().filter(held).cloned().collect();
        for request in live {
            let cut = match request.reserved {
                None => {
                    let close = request::Event::Close { reason: Some(reason.to_owned()) };
                    self.apply_request(actor, request.id, close).map(drop)
                }
                Some(worker) => self.give_back(actor, request.id, worker, reason),
            };
            if let Err(refused) = cut {
                tracing::error!(request = %request.id, %refused, "a job could not be cut");
            }
        }
    }

    fn give_back(
        &mut self,
        actor: &str,
        request: RequestId,
        worker: grove_domain::id::WorkerId,
        reason: &str,
    ) -> Result<(), Refused> {
        self.apply_request(actor, request, request::Event::Requeue { reason: reason.to_owned() })?;
        self.apply_worker(actor, worker, worker::Event::Released, None).map(drop)
    }

    /// Why the mode does not let this command be decided.
    pub(super) fn refused_by_mode(&self, command: &Command) -> Option<Refused> {
        let mode = self.farm.mode();
        match (&mode.mode, command) {
            // It was made before the maintenance.
            (Mode::Maintenance { .. }, Command::CreateRequest { wish, .. })
                if self.made_before(&wish.spec).is_some() =>
            {
                None
            }
            (Mode::Maintenance { reason, until }, _) if !command.is_taken_in_maintenance() => {
                Some(Refused::FarmMaintenance {
                    since: mode.since.unwrap_or_default(),
                    reason: reason.clone(),
                    until: *until,
                })
            }
            (Mode::Normal | Mode::Maintenance { .. }, _) => None,
        }
    }
}
