//! A policy that gives every demand nothing and says so.

pub use crate::bindings::policy::exports::grove::plugin::policy::{
    Assignment, Change, Demand, Guest, PlanResult, PolicyInfo, Wait,
};
pub use crate::bindings::policy::grove::plugin::log;
pub use crate::bindings::policy::grove::plugin::types::Info;

/// Every call of `policy`, behaving well.
pub trait Policy {
    fn init(_config: String) -> Result<(), String> {
        Ok(())
    }
    fn apply(_changes: Vec<Change>) {}
    fn plan(_now: u64, _sets: Vec<Vec<u32>>, demands: Vec<Demand>) -> PlanResult {
        let waits = demands.iter().map(|demand| wait(demand.request, "not today")).collect();
        PlanResult { assignments: Vec::new(), waits, wake_at: None }
    }
}

pub fn wait(request: u64, reason: &str) -> Wait {
    Wait { request, reason: reason.to_owned(), until: None }
}

pub fn give(request: u64, worker: u32, reason: &str) -> Assignment {
    Assignment { request, worker, score: 1, reason: reason.to_owned() }
}

/// Exports a [`Policy`] as the policy of this component.
#[macro_export]
macro_rules! policy {
    ($policy:ty) => {
        struct Exported;
        impl $crate::policy::Guest for Exported {
            fn init(config: String) -> Result<$crate::policy::PolicyInfo, String> {
                <$policy as $crate::policy::Policy>::init(config)?;
                Ok($crate::policy::PolicyInfo {
                    base: $crate::policy::Info {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        summary: "a guest of the tests".to_owned(),
                    },
                    own_keys: vec!["rack".to_owned()],
                    max_candidates: 7,
                })
            }
            fn apply(changes: Vec<$crate::policy::Change>) {
                <$policy as $crate::policy::Policy>::apply(changes)
            }
            fn plan(
                now: u64,
                sets: Vec<Vec<u32>>,
                demands: Vec<$crate::policy::Demand>,
            ) -> $crate::policy::PlanResult {
                <$policy as $crate::policy::Policy>::plan(now, sets, demands)
            }
        }
        $crate::bindings::policy::export!(Exported with_types_in $crate::bindings::policy);
    };
}
