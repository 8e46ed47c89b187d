//! Plans nonsense: unknown numbers, doubles, far too much, or an index out of range, as its settings say.

use std::cell::RefCell;

use kit::policy::{Demand, PlanResult, Policy, give, wait};

thread_local! {
    static MODE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Nonsense;

impl Policy for Nonsense {
    fn init(config: String) -> Result<(), String> {
        // A controller's settings are an object.
        let mode = config.strip_prefix(r#"{"mode":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
        MODE.set(mode.unwrap_or(&config).to_owned());
        Ok(())
    }

    fn plan(_now: u64, sets: Vec<Vec<u32>>, demands: Vec<Demand>) -> PlanResult {
        let mut plan = PlanResult { assignments: Vec::new(), waits: Vec::new(), wake_at: Some(0) };
        match MODE.take().as_str() {
            "unknown" => plan.assignments = demands.iter().map(|_| give(u64::MAX, u32::MAX, "")).collect(),
            "double" => plan.assignments = demands.iter().map(|_| give(1, 1, "")).collect(),
            "more" => plan.assignments = (0..=demands.len()).map(|_| give(1, 1, "")).collect(),
            "waits" => plan.waits = (0..=demands.len()).map(|_| wait(1, "")).collect(),
            "reason" => plan.waits = demands.iter().map(|d| wait(d.request, &"x".repeat(1 << 20))).collect(),
            "huge" => plan.waits = (0..300_000).map(|_| wait(1, "because")).collect(),
            _ => plan.waits = vec![wait(sets[usize::MAX][0].into(), "")],
        }
        plan
    }
}

kit::policy!(Nonsense);
