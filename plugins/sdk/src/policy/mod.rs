//! Policies: who gets which board. Implement [`Policy`], then [`export_policy!`](crate::export_policy).

mod farm;
mod ranking;
mod round;
mod session;

use std::borrow::Cow;

pub use crate::bindings::policy::exports::grove::plugin::policy::{
    Assignment, Change, Demand, PlanResult as Plan, Request, RequestId, TimestampMs, Wait, Worker, WorkerId,
};
#[doc(inline)]
pub use crate::export_policy;
use crate::settings::Settings;
pub use farm::Farm;
pub use round::Round;
#[doc(hidden)]
pub use session::Session;

/// A policy. Only [`score`](Policy::score) is needed.
///
/// Its answers may depend on its settings and on what it was told, and on nothing else: the controller may throw an
/// instance away at any time and tell a new one the same again.
pub trait Policy: Default + 'static {
    /// How well the worker suits the request; the highest score wins, ties go to the lowest worker uuid. `None`: this
    /// worker must not serve this request. The controller has already matched wants, groups and states.
    fn score(&self, request: &Request, worker: &Worker) -> Option<Score>;

    /// The policy with its settings.
    ///
    /// # Errors
    /// What is wrong with them. A policy that does not implement this has no settings and refuses all.
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        if settings.is_empty() {
            Ok(Self::default())
        } else {
            Err(format!("this policy has no settings, but got {}: remove them", settings.text()))
        }
    }

    /// Capability keys that this policy matches itself: the controller does not filter on them.
    fn own_keys() -> Vec<String> {
        Vec::new()
    }

    /// The most candidates that a request may have; 0 = all. The controller cuts least capable first.
    fn max_candidates() -> u32 {
        0
    }

    /// `false` promises that a worker's score follows from the worker and the settings alone. Workers are then
    /// scored once, when they are put, with an empty request; a plan only picks from their order.
    fn scores_depend_on_request() -> bool {
        true
    }

    /// Told every change right before the farm takes it (the farm still shows what was), for policies that keep
    /// counts of their own.
    fn observe(&mut self, _farm: &Farm, _change: &Change) {}

    /// Makes the plan. Override it to plan otherwise than by score, or to change the plan by score.
    fn plan(&mut self, round: Round<'_>) -> Plan {
        round.by_score(self)
    }
}

/// How well a worker suits a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Higher is better.
    pub value: i64,
    /// Shown to people, with the job; may be empty.
    pub reason: Cow<'static, str>,
}

impl Score {
    /// A score that needs no words.
    pub fn new(value: i64) -> Self {
        Self { value, reason: Cow::Borrowed("") }
    }

    /// The same score, with a reason.
    #[must_use]
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), ..self }
    }
}

impl Worker {
    /// The value of a capability.
    pub fn capability(&self, key: &str) -> Option<&str> {
        self.capabilities.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
    }

    /// Whether the worker is of this group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

impl Request {
    /// The value of a hint.
    pub fn hint(&self, key: &str) -> Option<&str> {
        self.hints.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
    }

    /// A request of nobody for nothing: what a score that ignores the request is asked with.
    pub(crate) fn blank() -> Self {
        Self {
            id: 0,
            owner: String::new(),
            groups: Vec::new(),
            wants: Vec::new(),
            priority: 0,
            created: 0,
            valid_after: 0,
            deadline: 0,
            hints: Vec::new(),
        }
    }
}

/// Exports a [`Policy`] as this component's policy. Name, version and summary are those of the crate.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty) => {
        const _: () = {
            ::std::thread_local! {
                static SESSION: ::std::cell::RefCell<$crate::policy::Session<$policy>> =
                    ::std::cell::RefCell::new($crate::policy::Session::default());
            }

            struct Export;

            impl $crate::bindings::policy::exports::grove::plugin::policy::Guest for Export {
                fn init(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<
                    $crate::bindings::policy::exports::grove::plugin::policy::PolicyInfo,
                    ::std::string::String,
                > {
                    $crate::panics::to_log();
                    SESSION.with_borrow_mut(|session| session.init($crate::__info!(), &settings))
                }

                fn apply(changes: ::std::vec::Vec<$crate::policy::Change>) {
                    SESSION.with_borrow_mut(|session| session.apply(changes));
                }

                fn plan(
                    now: $crate::policy::TimestampMs,
                    candidate_sets: ::std::vec::Vec<::std::vec::Vec<$crate::policy::WorkerId>>,
                    demands: ::std::vec::Vec<$crate::policy::Demand>,
                ) -> $crate::policy::Plan {
                    SESSION.with_borrow_mut(|session| session.plan(now, &candidate_sets, &demands))
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::policy::export!(Export with_types_in $crate::bindings::policy);
        };
    };
}
