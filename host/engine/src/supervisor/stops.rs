//! Who is asked to stop when, and what becomes of those that do not.

use tokio::time::Instant;

use super::{ABORT_GRACE, Supervisor};
use crate::exit::{Exit, Overdue};
use crate::key::Name;
use crate::timers::Due;

impl Supervisor {
    /// Asks a running service to stop, once those have ended that hold its output, directly or not.
    pub(super) fn ask(&mut self, name: &Name) {
        let mut asked = Vec::new();
        let mut open = vec![name.clone()];
        while let Some(name) = open.pop() {
            let Some(started) = self.mark(&name) else { continue };
            if started {
                open.extend(self.graph.dependents(&name).cloned());
            }
            asked.push(name);
        }
        for name in asked {
            self.cancel_if_free(&name);
        }
    }

    /// Marks an attempt as asked, and tells whether it has started; `None`: there was nothing to mark.
    fn mark(&mut self, name: &Name) -> Option<bool> {
        let attempt = self.records.get_mut(name)?.attempt.as_mut().filter(|attempt| !attempt.asked)?;
        attempt.asked = true;
        attempt.draining = attempt.started.is_some();
        let started = attempt.draining;
        self.timers.clear(attempt.settle_at.take(), Due::Settle(name.clone()));
        if started {
            for dependent in self.graph.dependents(name) {
                if let Some(record) = self.records.get_mut(dependent) {
                    record.draining_inputs += 1;
                }
            }
        }
        self.count(name);
        Some(started)
    }

    /// Counts a service, as one that stops, with each of its inputs.
    pub(super) fn count(&mut self, name: &Name) {
        let Some(record) = self.records.get_mut(name) else { return };
        if std::mem::replace(&mut record.counted, true) {
            return;
        }
        for input in &*self.graph.inputs(name) {
            if let Some(record) = self.records.get_mut(input) {
                record.stopping_dependents += 1;
            }
        }
    }

    /// A service, if it has ended, no longer counts with its inputs once none of its dependents stops any longer; then
    /// whatever waited for that is done, here and below.
    pub(super) fn quiet(&mut self, name: &Name) {
        let mut open = vec![name.clone()];
        while let Some(name) = open.pop() {
            let Some(record) = self.records.get_mut(&name) else { continue };
            if record.attempt.is_some() {
                self.cancel_if_free(&name);
                continue;
            }
            if record.stopping_dependents > 0 {
                continue;
            }
            if std::mem::take(&mut record.counted) {
                for input in &*self.graph.inputs(&name) {
                    let Some(record) = self.records.get_mut(input) else { continue };
                    let Some(fewer) = record.stopping_dependents.checked_sub(1) else {
                        return self.broken(input, "fewer than no dependents stop");
                    };
                    record.stopping_dependents = fewer;
                    if fewer == 0 {
                        open.push(input.clone());
                    }
                }
            }
            self.go_on(&name);
        }
    }

    /// What waited until a service and its dependents had ended.
    fn go_on(&mut self, name: &Name) {
        let Some(record) = self.records.get_mut(name).filter(|_| !self.dying) else { return };
        if record.leaving.is_some() {
            self.remove(name);
        } else if let Some((service, answer)) = record.replacement.take() {
            self.swap(service, answer);
        } else if record.held {
            self.launch(name);
        }
    }

    /// Fires the token of an attempt that is asked to stop, unless others still use what it gives.
    fn cancel_if_free(&mut self, name: &Name) {
        let Some(record) = self.records.get(name) else { return };
        let Some(attempt) = record.attempt.as_ref().filter(|attempt| attempt.asked) else { return };
        if attempt.started.is_none() || record.stopping_dependents == 0 {
            self.cancel(name);
        }
    }

    fn cancel(&mut self, name: &Name) {
        let Some(attempt) = self.records.get_mut(name).and_then(|record| record.attempt.as_mut()) else {
            return;
        };
        if attempt.abort_at.is_none() {
            attempt.stop.cancel();
            let at = Instant::now() + self.config.kill_deadline;
            attempt.abort_at = Some(at);
            self.timers.set(at, Due::Abort(name.clone()));
        }
    }

    /// It was given long enough.
    pub(super) fn abort(&mut self, name: &Name) {
        let Some(attempt) = self.records.get_mut(name).and_then(|record| record.attempt.as_mut()) else {
            return;
        };
        if !std::mem::replace(&mut attempt.overdue, true) {
            attempt.abort.abort();
            self.environment.observer.overdue(name, self.config.kill_deadline);
        }
    }

    /// The engine's end begins: everything is asked, in order; nothing begins any longer.
    pub(super) fn die(&mut self) {
        if std::mem::replace(&mut self.dying, true) {
            return;
        }
        self.kill.cancel();
        for (name, record) in &mut self.records {
            self.timers.clear(record.start_at.take(), Due::Start(name.clone()));
            record.held = false;
        }
        let running = self.running();
        for name in &running {
            self.mark(name);
        }
        for name in &running {
            self.cancel_if_free(name);
        }
        let now = Instant::now();
        self.timers.set(now + self.config.kill_deadline / 2, Due::AskAll);
        self.timers.set(now + self.config.kill_deadline, Due::AbortAll);
    }

    pub(super) fn ask_all(&mut self) {
        for name in self.running() {
            self.cancel(&name);
        }
    }

    pub(super) fn abort_all(&mut self) {
        for name in self.running() {
            self.abort(&name);
        }
        self.timers.set(Instant::now() + ABORT_GRACE, Due::Leave);
    }

    /// Takes those for ended that block their thread, and so cannot even be aborted.
    pub(super) fn leave(&mut self) {
        let running = self.running();
        self.by_task.clear();
        for name in running {
            self.ended(&name, Exit::from(Overdue { after: self.config.kill_deadline }));
        }
    }

    fn running(&self) -> Vec<Name> {
        self.by_task.values().cloned().collect()
    }
}
