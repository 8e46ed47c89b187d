//! Never ends planning.

use kit::policy::{Demand, PlanResult, Policy};

struct Loop;

impl Policy for Loop {
    fn plan(_now: u64, _sets: Vec<Vec<u32>>, _demands: Vec<Demand>) -> PlanResult {
        kit::forever()
    }
}

kit::policy!(Loop);
