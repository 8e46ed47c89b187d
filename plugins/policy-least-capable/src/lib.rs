//! Boruta's rule: the worker with the fewest capabilities and groups that still suits, so that the rare boards stay
//! free for the requests that need them; ties go to the lowest uuid.
//!
//! Must never happen here: an answer that depends on anything but the worker.

use grove_plugin::policy::{Policy, Request, Score, Worker, export_policy};

/// The policy; it has no settings.
#[derive(Debug, Default)]
pub struct LeastCapable;

impl Policy for LeastCapable {
    fn score(&self, _request: &Request, worker: &Worker) -> Option<Score> {
        let capable = worker.capabilities.len() + worker.groups.len();
        // No reason: the rule is the same for every board, and words would be most of what a round costs.
        Some(Score::new(0_i64.saturating_sub_unsigned(capable as u64)))
    }

    fn scores_depend_on_request() -> bool {
        false
    }
}

export_policy!(LeastCapable);

#[cfg(test)]
mod tests {
    use grove_plugin::Pair;
    use grove_plugin::policy::{Change, Demand, Session};

    use super::*;

    fn put(id: u32, uuid: &str, capabilities: usize, groups: usize) -> Change {
        let pair = |n| Pair { key: format!("key{n}"), value: String::new() };
        Change::WorkerPut(Worker {
            id,
            uuid: uuid.into(),
            capabilities: (0..capabilities).map(pair).collect(),
            groups: (0..groups).map(|n| n.to_string()).collect(),
            state: "idle".into(),
            driver: "ssh".into(),
        })
    }

    #[test]
    fn fewest_capabilities_and_groups_win_and_ties_go_to_the_lowest_uuid() {
        let mut session = Session::<LeastCapable>::default();
        session.init(grove_plugin::about("policy-least-capable", "0", ""), "{}").unwrap();
        session.apply(vec![put(0, "d", 1, 1), put(1, "c", 2, 0), put(2, "b", 3, 0), put(3, "a", 1, 3)]);
        let demands: Vec<_> = (1..=5).map(|request| Demand { request, candidate_set: 0 }).collect();
        let plan = session.plan(0, &[vec![0, 1, 2, 3]], &demands);
        let order: Vec<_> = plan.assignments.iter().map(|a| (a.request, a.worker, a.score)).collect();
        assert_eq!(order, [(1, 1, -2), (2, 0, -2), (3, 2, -3), (4, 3, -4)]);
        assert!(plan.waits.is_empty(), "others came first: the core knows");
    }

    #[test]
    fn settings_are_refused() {
        let mut session = Session::<LeastCapable>::default();
        let error = session.init(grove_plugin::about("x", "0", ""), r#"{"a":1}"#).unwrap_err();
        assert!(error.contains("no settings"), "{error}");
    }
}
