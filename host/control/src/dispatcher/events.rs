//! Writing down what happened.

use grove_domain::event::{Event, Subject};

use super::Dispatcher;

/// Characters of a note beyond this are cut.
const NOTE: usize = 2000;

/// The core itself.
pub(super) const CORE: &str = "core";
/// The active policy.
pub(super) const POLICY: &str = "policy";

/// What happened, before it has a place in the sequence.
pub(super) struct Happened<'a> {
    pub(super) actor: &'a str,
    pub(super) kind: &'a str,
    pub(super) subject: Subject,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) note: Option<String>,
}

impl Dispatcher {
    pub(super) fn happened(&mut self, happened: Happened<'_>) {
        let seq = self.next_event;
        self.next_event += 1;
        let note = happened.note.map(|mut note| {
            if let Some((end, _)) = note.char_indices().nth(NOTE) {
                note.truncate(end);
            }
            note
        });
        self.turn.event(Event {
            seq,
            at: self.clock.now(),
            actor: happened.actor.to_owned(),
            kind: happened.kind.to_owned(),
            subject: happened.subject,
            before: happened.before,
            after: happened.after,
            note,
        });
    }

    /// A plain fact about a subject.
    pub(super) fn note(&mut self, actor: &str, kind: &str, subject: Subject, note: impl Into<String>) {
        self.happened(Happened { actor, kind, subject, before: None, after: None, note: Some(note.into()) });
    }
}
