//! A policy that looks at the clock, which would make it plan differently each time.

use kit::policy::{Demand, PlanResult, Policy};

struct Clock;

impl Policy for Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the harm it does")]
    fn plan(_now: u64, _sets: Vec<Vec<u32>>, _demands: Vec<Demand>) -> PlanResult {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis() as u64);
        PlanResult { assignments: Vec::new(), waits: Vec::new(), wake_at: Some(now) }
    }
}

kit::policy!(Clock);
