//! How attempts end, and what that means.

use std::time::Duration;

use tokio::task::{self, JoinError};
use tokio::time::Instant;

use super::Supervisor;
use crate::engine::Fatal;
use crate::exit::{Exit, Overdue, Panicked};
use crate::key::Name;
use crate::record::{Attempt, Tally};
use crate::timers::Due;

/// What comes after an end.
enum Next {
    /// Nothing, until an input changes.
    Rest,
    /// A start after the bounce delay.
    Bounce,
    /// A start after the error delay.
    Retry,
}

impl Supervisor {
    /// A task ended: the one and only news of the end of an attempt.
    pub(super) fn joined(&mut self, joined: Result<(task::Id, Exit), JoinError>) {
        self.changed = true;
        let (id, exit) = match joined {
            Ok(ended) => ended,
            Err(error) => {
                let id = error.id();
                (id, error.try_into_panic().map_or(Exit::Aborted, |panic| Panicked::new(&*panic).into()))
            }
        };
        if let Some(name) = self.by_task.remove(&id) {
            self.ended(&name, exit);
        }
    }

    pub(super) fn ended(&mut self, name: &Name, exit: Exit) {
        let now = Instant::now();
        let Some((record, attempt)) = self.records.get_mut(name).and_then(|record| {
            let attempt = record.attempt.take()?;
            Some((record, attempt))
        }) else {
            return self.broken(name, "an attempt ended that had not begun");
        };
        self.timers.clear(attempt.settle_at, Due::Settle(name.clone()));
        self.timers.clear(attempt.abort_at, Due::Abort(name.clone()));
        let exit = real_exit(&attempt, exit, self.config.kill_deadline);

        let next = next(&attempt, &exit);
        let ran_long =
            attempt.started.as_ref().is_some_and(|started| now - started.at > self.config.reset_after);
        record.tally.count(&exit, &next, ran_long);
        if matches!(exit, Exit::Uninstall) {
            record.leaving.get_or_insert_default();
        }
        let restarts = record.leaving.is_none() && record.replacement.is_none();
        let tally = record.tally.clone();

        let Attempt { number, draining, .. } = attempt;
        let (started, unsettled) = (attempt.started.is_some(), attempt.settle_at.is_some());
        // Before anything begins again: what it gave, and what its reporter held, must be gone.
        drop((attempt.started, attempt.reporter));

        self.environment.observer.stopped(name, number, &exit);
        if (self.config.is_fatal)(name, &exit) {
            self.fatal(name, exit);
        }

        // First those who hold what is gone, so that it is not begun again before they end; then it, then the others.
        let dependents = self.dependents(name);
        for dependent in &dependents {
            if draining && let Some(record) = self.records.get_mut(dependent) {
                record.draining_inputs = record.draining_inputs.saturating_sub(1);
            }
            if started {
                self.ask(dependent);
            }
        }
        if self.records.get(name).is_some_and(|record| record.stopping_dependents > 0) {
            // They may still use its inputs, through what they have of it.
            self.count(name);
        }
        self.quiet(name);
        if restarts {
            self.plan(name, &next, &tally);
        }
        if restarts && matches!(next, Next::Rest) && unsettled {
            // It ended for want of what came meanwhile.
            self.input_started(name);
        }
        if started {
            for dependent in &dependents {
                self.input_ended(dependent);
            }
        }
    }

    fn plan(&mut self, name: &Name, next: &Next, tally: &Tally) {
        let delay = match next {
            Next::Rest => return,
            // When an input is away, most likely it is bounced as well: a little later it may be back.
            Next::Bounce if self.lacks_input(name) => {
                self.bounce_delay(name, tally.recent_bounces) + self.config.settle
            }
            Next::Bounce => self.bounce_delay(name, tally.recent_bounces),
            Next::Retry => self.delay(name, self.config.error_delay, tally.recent_errors),
        };
        if !self.dying {
            self.environment.observer.restarting(name, delay);
            self.start_at(name, Instant::now() + delay);
        }
    }

    pub(super) fn lacks_input(&self, name: &Name) -> bool {
        let started = |input: &Name| self.records.get(input).is_some_and(|record| record.started().is_some());
        !self.graph.inputs(name).iter().all(started)
    }

    fn fatal(&mut self, name: &Name, exit: Exit) {
        self.environment.observer.fatal(name, &exit);
        let fatal = Fatal { service: name.to_string(), exit };
        self.worst = Some((self.config.worst)(fatal, self.worst.take()));
        self.die();
    }
}

/// The engine's own reasons for an end come before what the attempt says.
fn real_exit(attempt: &Attempt, exit: Exit, deadline: Duration) -> Exit {
    match &attempt.misuse {
        Some(misuse) => misuse.clone().into(),
        None if attempt.overdue && matches!(exit, Exit::Aborted) => Overdue { after: deadline }.into(),
        None => exit,
    }
}

fn next(attempt: &Attempt, exit: &Exit) -> Next {
    let own_fault = attempt.misuse.is_some() || exit.error::<Overdue>().is_some();
    if attempt.asked && !own_fault {
        return Next::Bounce;
    }
    match exit {
        Exit::Clean | Exit::Missing(_) | Exit::Uninstall => Next::Rest,
        Exit::Bounce => Next::Bounce,
        Exit::Aborted | Exit::Failed(_) => Next::Retry,
    }
}

impl Tally {
    fn count(&mut self, exit: &Exit, next: &Next, ran_long: bool) {
        if ran_long {
            self.recent_errors = 0;
            self.recent_bounces = 0;
        }
        match next {
            Next::Rest => self.recent_errors = 0,
            Next::Bounce => {
                self.bounces += 1;
                self.recent_bounces = self.recent_bounces.saturating_add(1);
            }
            Next::Retry if matches!(exit, Exit::Aborted) => self.recent_errors = 1,
            Next::Retry => self.recent_errors = self.recent_errors.saturating_add(1),
        }
        self.missing = matches!(exit, Exit::Missing(_)) && matches!(next, Next::Rest);
        if !matches!(exit, Exit::Clean) {
            self.last_error = Some(exit.clone());
        }
    }
}
