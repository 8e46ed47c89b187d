//! How attempts begin, and what a start means for others.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Supervisor;
use crate::exit::{Exit, Misuse, Panicked};
use crate::key::{Name, Output};
use crate::record::{Attempt, Started};
use crate::scope::{Scope, Seen};
use crate::timers::Due;

impl Supervisor {
    /// Begins an attempt, or holds it back until those have ended that stop because of this service, and those of its
    /// inputs that are about to go.
    pub(super) fn launch(&mut self, name: &Name) {
        let Some(record) = self.records.get_mut(name) else { return };
        if self.dying || record.leaving.is_some() || record.replacement.is_some() {
            return;
        }
        if record.attempt.is_some() {
            return self.broken(name, "a second attempt was about to begin");
        }
        record.held = record.stopping_dependents > 0 || record.draining_inputs > 0;
        if record.held {
            return;
        }
        record.tally.attempts += 1;
        record.tally.missing = false;
        self.last_attempt += 1;
        let number = self.last_attempt;
        self.environment.observer.starting(name, number);

        let inputs =
            self.graph.inputs(name).iter().map(|input| (input.clone(), self.look_at(input))).collect();
        let stop = CancellationToken::new();
        let notices = self.notices.clone();
        let scope = Scope { name: name.clone(), attempt: number, inputs, stop: stop.clone(), notices };
        let Some(record) = self.records.get_mut(name) else { return };
        let (start, filter) = (record.service.start.clone(), record.service.filter.clone());
        let abort = self.tasks.spawn(async move {
            let life = AssertUnwindSafe(async move { start(scope).await }).catch_unwind().await;
            let exit = match life {
                Ok(result) => result.err().unwrap_or(Exit::Clean),
                Err(panic) => Panicked::new(&*panic).into(),
            };
            match filter {
                Some(filter) => filter(exit),
                None => exit,
            }
        });
        self.by_task.insert(abort.id(), name.clone());
        record.attempt = Some(Attempt {
            number,
            stop,
            abort,
            started: None,
            reporter: None,
            asked: false,
            draining: false,
            settle_at: None,
            abort_at: None,
            overdue: false,
            misuse: None,
        });
    }

    fn look_at(&self, input: &Name) -> Seen {
        match self.records.get(input).and_then(|record| record.started()) {
            None => Seen::Absent,
            Some(Started { output: None, .. }) => Seen::NoOutput,
            Some(Started { output: Some(value), .. }) => Seen::Value(value.clone()),
        }
    }

    /// An attempt says that it has started.
    pub(super) fn started(&mut self, name: &Name, number: u64, output: Output) {
        let Some(record) = self.records.get_mut(name) else { return };
        let Some(attempt) = record.attempt.as_mut().filter(|attempt| attempt.number == number) else {
            return;
        };
        let foreign = output.0.as_ref().filter(|given| given.name != *name);
        let misuse = match foreign {
            Some(given) => Some(Misuse::ForeignOutput(given.name.to_string())),
            None => attempt.started.is_some().then_some(Misuse::StartedTwice),
        };
        if misuse.is_some() {
            attempt.misuse = misuse;
            return self.ask(name);
        }
        if attempt.asked {
            // Too late: nobody shall use what is about to go.
            return;
        }
        attempt.started = Some(Started { at: Instant::now(), output: output.0.map(|given| given.value) });
        record.tally.starts += 1;
        record.tally.last_start = Some((self.environment.now)());
        self.environment.observer.started(name, number);
        for dependent in self.dependents(name) {
            self.input_started(&dependent);
        }
    }

    /// A running service is bounced once all has settled; a stopped one may have what it waits for.
    pub(super) fn input_started(&mut self, name: &Name) {
        let Some(record) = self.records.get_mut(name) else { return };
        if let Some(attempt) = &mut record.attempt {
            if attempt.asked || attempt.settle_at.is_some() {
                return;
            }
            if self.config.settle.is_zero() {
                return self.ask(name);
            }
            let at = Instant::now() + self.config.settle;
            attempt.settle_at = Some(at);
            return self.timers.set(at, Due::Settle(name.clone()));
        }
        let (start_at, bounces, waited) =
            (record.start_at, record.tally.recent_bounces, record.tally.missing);
        if !record.held {
            // One that has only waited so far, and has now what it needs, has nothing to calm down from.
            let delay = match waited && bounces == 0 && !self.lacks_input(name) {
                true => Duration::ZERO,
                false => self.bounce_delay(name, bounces) + self.config.settle,
            };
            let at = Instant::now() + delay;
            self.start_at(name, start_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// What a stopped service waits for may be told by the end of an input, too. It begins late enough to find that
    /// input started again if that is only bounced.
    pub(super) fn input_ended(&mut self, name: &Name) {
        let Some(record) = self.records.get_mut(name) else { return };
        if record.attempt.is_some() || record.held && record.draining_inputs + record.stopping_dependents > 0
        {
            return;
        }
        record.held = false;
        let planned = record.start_at;
        let at = Instant::now() + self.bounce_delay(name, 0) + self.config.settle;
        self.start_at(name, planned.map_or(at, |planned| planned.max(at)));
    }

    /// Plans the next attempt for then, whatever was planned before.
    pub(super) fn start_at(&mut self, name: &Name, at: Instant) {
        if self.dying {
            return;
        }
        self.clear_start(name);
        if at <= Instant::now() {
            return self.launch(name);
        }
        if let Some(record) = self.records.get_mut(name)
            && record.leaving.is_none()
            && record.replacement.is_none()
        {
            record.start_at = Some(at);
            self.timers.set(at, Due::Start(name.clone()));
        }
    }

    pub(super) fn clear_start(&mut self, name: &Name) {
        if let Some(record) = self.records.get_mut(name) {
            self.timers.clear(record.start_at.take(), Due::Start(name.clone()));
        }
    }

    pub(super) fn bounce_delay(&self, name: &Name, times: u32) -> Duration {
        self.delay(name, self.config.bounce_delay, times)
    }

    pub(super) fn delay(&self, name: &Name, base: Duration, times: u32) -> Duration {
        let delay = self.config.backoff().delay(base, times, (self.environment.random)());
        let own = self.records.get(name).and_then(|record| record.service.max_delay);
        own.map_or(delay, |most| delay.min(most))
    }

    /// Those who need a service; a copy, because whoever goes through it changes things.
    pub(super) fn dependents(&self, name: &Name) -> Vec<Name> {
        self.graph.dependents(name).cloned().collect()
    }
}
