//! A policy that works: the first candidate that it knows and did not yet give away.

use std::cell::RefCell;
use std::collections::BTreeSet;

use kit::policy::{Change, Demand, PlanResult, Policy, give, log, wait};

thread_local! {
    static IDLE: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
}

struct First;

impl Policy for First {
    fn init(config: String) -> Result<(), String> {
        log::log(log::Level::Info, "policy starts");
        if config.contains("bad") { Err("`bad` is not good".to_owned()) } else { Ok(()) }
    }

    fn apply(changes: Vec<Change>) {
        IDLE.with_borrow_mut(|idle| {
            for change in changes {
                match change {
                    Change::WorkerPut(worker) => drop(idle.insert(worker.id)),
                    Change::WorkerGone(id) => drop(idle.remove(&id)),
                    Change::Started(assignment) => drop(idle.remove(&assignment.worker)),
                    Change::Finished(assignment) => drop(idle.insert(assignment.worker)),
                    Change::RequestPut(_) | Change::RequestGone(_) => {}
                }
            }
        });
    }

    fn plan(now: u64, sets: Vec<Vec<u32>>, demands: Vec<Demand>) -> PlanResult {
        let mut idle = IDLE.with_borrow(Clone::clone);
        let mut plan = PlanResult { assignments: Vec::new(), waits: Vec::new(), wake_at: Some(now + 1000) };
        for demand in demands {
            match sets[demand.candidate_set as usize].iter().find(|id| idle.remove(id)) {
                Some(id) => plan.assignments.push(give(demand.request, *id, "the first")),
                None => plan.waits.push(wait(demand.request, "none left")),
            }
        }
        plan
    }
}

kit::policy!(First);
