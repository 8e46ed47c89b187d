//! What one turn of the dispatcher has decided so far.

use grove_domain::change::{Batch, Change};
use grove_domain::event::Event;

use crate::publisher::{Answer, Effect};

#[derive(Default)]
pub(super) struct Turn {
    pub(super) batch: Batch,
    pub(super) effects: Vec<Effect>,
    pub(super) answers: Vec<Answer>,
}

impl Turn {
    pub(super) fn change(&mut self, change: Change) {
        self.batch.changes.push(change);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.batch.events.push(event);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// Whether there is anything to store.
    pub(super) fn writes(&self) -> bool {
        !self.batch.changes.is_empty() || !self.batch.events.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.writes() && self.effects.is_empty() && self.answers.is_empty()
    }

    /// Decisions so far, roughly: what bounds a turn.
    pub(super) fn len(&self) -> usize {
        self.answers.len().max(self.batch.changes.len() / 4)
    }
}
