//! What the farm is short of: nothing is begun that would need it, and from time to time one thing is, to see.
//!
//! ```text
//! none ── a task says what it lacks ──> closed ── some time ──> trying ── one task begins ──> probing
//!   ^                                     ^                       │                             │
//!   └────────────── a task worked ────────┼───────────────────────┴─────────────────────────────┤
//!                                         └───────── it lacks it still: twice the time ─────────┘
//! ```
//!
//! A shortage says nothing about boards: none fails because of it. It is told once, however often it is met until the farm
//! has been without it for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_domain::limit::Scope;
use grove_domain::moment::SignedDuration;
use grove_domain::request::Request;

use super::Dispatcher;
use super::events::{CORE, Happened};
use crate::runner::Lack;
use crate::timers::Due;

/// First wait before it is tried again; doubles each time.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Longest wait.
const MOST: SignedDuration = SignedDuration::from_secs(60);
/// A tunnel that is closed has its port back within this time.
const CLOSING: SignedDuration = SignedDuration::from_millis(50);
/// One that comes back sooner is not told again.
const QUIET: Duration = Duration::from_secs(600);

/// What is known of every shortage since the last quiet time.
#[derive(Default)]
pub(super) struct Shortages {
    known: BTreeMap<Lack, Shortage>,
    /// Requests that wait for session keys.
    keyless: BTreeSet<RequestId>,
}

pub(super) struct Shortage {
    pub(super) reason: String,
    wait: SignedDuration,
    stage: Stage,
    /// When it was last met, by the clock that never steps.
    met: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing is begun.
    Closed,
    /// The next is begun.
    Trying,
    /// One was begun; how it ends will tell.
    Probing,
    /// It is over.
    Over,
}

impl Shortages {
    /// What the farm is short of now.
    pub(super) fn present(&self, lack: &Lack) -> Option<&Shortage> {
        self.known.get(lack).filter(|shortage| shortage.stage != Stage::Over)
    }

    fn closes(&self, lack: &Lack) -> bool {
        self.known.get(lack).is_some_and(|known| matches!(known.stage, Stage::Closed | Stage::Probing))
    }

    /// The farm is taken up anew: everything may begin.
    pub(super) fn take_up(&mut self) {
        self.known.values_mut().for_each(|shortage| shortage.stage = Stage::Over);
        self.keyless.clear();
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnels => f.write_str("tunnels"),
            Self::Keys => f.write_str("session keys"),
            Self::Driver(name) => write!(f, "driver {name}"),
        }
    }
}

impl Dispatcher {
    /// A task could not do its work for want of this.
    pub(super) fn ran_short(&mut self, lack: &Lack, reason: &str) {
        let running = self.clock.running();
        let known = self.shortages.known.get(lack);
        let is_news =
            known.is_none_or(|known| known.stage == Stage::Over && running.saturating_sub(known.met) > QUIET);
        let wait = match known.map(|known| (known.stage, known.wait)) {
            Some((Stage::Trying | Stage::Probing, wait)) => {
                Some(wait.checked_mul(2).unwrap_or(MOST).min(MOST))
            }
            // It was begun before the others were held back.
            Some((Stage::Closed, _)) => None,
            Some((Stage::Over, _)) | None => Some(FIRST),
        };
        let shortage = Shortage {
            reason: reason.to_owned(),
            wait: wait.or_else(|| known.map(|known| known.wait)).unwrap_or(FIRST),
            stage: Stage::Closed,
            met: running,
        };
        self.shortages.known.insert(lack.clone(), shortage);
        self.hold(lack);
        if let Some(wait) = wait {
            self.timers.after(self.times(), wait, Due::Shortage(lack.clone()));
        }
        if is_news {
            self.happened(Happened {
                actor: CORE,
                kind: "farm.shortage",
                subject: Subject::Farm,
                before: None,
                after: Some(lack.to_string()),
                note: Some(format!("{reason}; what needs it waits, and is tried again")),
            });
        }
    }

    /// It may be over.
    pub(super) fn shortage_due(&mut self, lack: &Lack) {
        self.move_shortage(lack, Stage::Trying);
    }

    /// Something that needs this is begun.
    pub(super) fn begins_with(&mut self, lack: &Lack) {
        if self.shortages.known.get(lack).is_some_and(|known| known.stage == Stage::Trying) {
            self.move_shortage(lack, Stage::Probing);
            // One that is cut off never tells.
            self.timers.after(self.times(), MOST, Due::Shortage(lack.clone()));
        }
    }

    /// Something that needs this ended: well, or in a way that says nothing about it.
    pub(super) fn ended_with(&mut self, lack: &Lack, worked: bool) {
        match self.shortages.known.get(lack).map(|known| known.stage) {
            Some(Stage::Closed | Stage::Trying | Stage::Probing) if worked => {
                self.timers.remove(&Due::Shortage(lack.clone()));
                self.move_shortage(lack, Stage::Over);
            }
            Some(Stage::Probing) => self.move_shortage(lack, Stage::Trying),
            _ => {}
        }
    }

    /// There should be more of it than before.
    pub(super) fn nudge(&mut self, lack: Lack) {
        if self.shortages.closes(&lack) {
            self.timers.after(self.times(), CLOSING, Due::Shortage(lack));
        }
    }

    fn move_shortage(&mut self, lack: &Lack, stage: Stage) {
        if let Some(known) = self.shortages.known.get_mut(lack) {
            known.stage = stage;
            self.hold(lack);
        }
    }

    /// Has everything that needs this wait, or lets it go.
    fn hold(&mut self, lack: &Lack) {
        let closes = self.shortages.closes(lack);
        match lack {
            Lack::Tunnels => self.slots.hold(&Scope::Farm, closes),
            Lack::Driver(name) => self.slots.hold(&Scope::Driver(name.clone()), closes),
            Lack::Keys if closes => {}
            Lack::Keys => {
                for id in std::mem::take(&mut self.shortages.keyless) {
                    if let Some(request) = self.farm.request(id).cloned() {
                        self.index_due(&request);
                    }
                }
            }
        }
    }

    /// Whether this request waits for session keys. It is looked at again when there may be some.
    pub(super) fn waits_for_keys(&mut self, request: &Arc<Request>) -> bool {
        let waits = request.spec.keys.is_empty() && self.shortages.closes(&Lack::Keys);
        if waits {
            self.shortages.keyless.insert(request.id);
        }
        waits
    }
}
