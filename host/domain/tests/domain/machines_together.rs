//! Both machines at once, each effect carried over as the event that it is to the other: they never disagree.

use std::collections::BTreeMap;

use grove_domain::id::{RequestId, WorkerId};
use grove_domain::request::{self, Bounds, Request};
use grove_domain::worker::{self, Failure, FailureKind, Outcome, Rules, State, Worker};
use proptest::prelude::*;

use crate::fixtures::{at, idle, task_id, wish, worker_id};
use crate::request::access;

#[derive(Clone, Debug)]
enum Trigger {
    Match { worker: u128, request: u64 },
    TaskEnds { worker: u128, well: bool },
    Worker(u128, worker::Event),
    Request(u64, request::Event),
}

#[derive(Default)]
struct Farm {
    workers: BTreeMap<WorkerId, Worker>,
    requests: BTreeMap<RequestId, Request>,
    clock: i64,
}

impl Farm {
    /// One trigger, with all that follows from it. Refused triggers change nothing.
    fn pull(&mut self, trigger: Trigger) {
        self.clock += 1;
        match trigger {
            Trigger::Match { worker, request } => {
                let (worker, request) = (worker_id(worker), RequestId(request));
                let free = self.requests[&request].is_due(at(self.clock));
                if free && self.workers[&worker].state == State::Idle {
                    assert!(self.worker(worker, worker::Event::Matched { request }));
                    assert!(self.request(request, request::Event::Reserve(worker)));
                }
            }
            Trigger::TaskEnds { worker, well } => {
                let worker = worker_id(worker);
                let Some((task, _)) = self.workers[&worker].task else { return };
                let failure = Failure { kind: FailureKind::Device, reason: "no answer".to_owned() };
                let outcome = if well {
                    Outcome::Done { access: None, health: None }
                } else {
                    Outcome::Failed(failure)
                };
                let generation = self.workers[&worker].generation;
                assert!(self.worker(worker, worker::Event::TaskEnded { task, generation, outcome }));
            }
            Trigger::Worker(worker, event) => {
                self.worker(worker_id(worker), event);
            }
            Trigger::Request(request, event) => {
                self.request(RequestId(request), event);
            }
        }
    }

    /// Whether the event was taken. What follows from it must be taken too.
    fn worker(&mut self, id: WorkerId, event: worker::Event) -> bool {
        let rules = Rules::default();
        let context =
            worker::Context { now: at(self.clock), task: task_id(self.clock as u128), rules: &rules };
        let Ok(next) = worker::step(&self.workers[&id], event, context) else { return false };
        self.workers.insert(id, next.worker);
        for effect in next.effects {
            let (request, event) = match effect {
                worker::Effect::OpenJob(request) => {
                    (request, request::Event::Open { timeout: at(self.clock + 5), access: access(1) })
                }
                worker::Effect::FailRequest(request, reason) => (request, request::Event::Fail { reason }),
                worker::Effect::RequeueRequest(request, reason) => {
                    (request, request::Event::Requeue { reason })
                }
                _ => continue,
            };
            assert!(self.request(request, event.clone()), "{event:?} of {:?}", self.requests[&request]);
        }
        true
    }

    fn request(&mut self, id: RequestId, event: request::Event) -> bool {
        let context =
            request::Context { now: at(self.clock), actor: "ann", tail: 1000, bounds: &Bounds::default() };
        let Ok(next) = request::step(&self.requests[&id], event, context) else { return false };
        self.requests.insert(id, next.request);
        for request::Effect::ReleaseWorker(worker) in next.effects {
            assert!(self.worker(worker, worker::Event::Released), "{:?}", self.workers[&worker]);
        }
        true
    }

    /// A worker is occupied by a request exactly when that request holds the worker, and alike.
    fn check(&self) {
        let by_workers: BTreeMap<_, _> = self
            .workers
            .values()
            .filter_map(|worker| worker.occupation.map(|by| (by.request, (worker.id, by.opened))))
            .collect();
        let by_requests: BTreeMap<_, _> = self
            .requests
            .values()
            .filter_map(|request| {
                let open = request.running_job().map(|job| (job.worker, true));
                Some((request.id, open.or(request.reserved.map(|worker| (worker, false)))?))
            })
            .collect();
        assert_eq!(by_workers, by_requests);
        let occupied = self.workers.values().filter(|worker| worker.occupation.is_some()).count();
        assert_eq!(occupied, by_workers.len(), "no request has two workers");
    }
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let no_task = |event: &worker::Event| {
        !matches!(
            event,
            worker::Event::TaskEnded { .. } | worker::Event::Matched { .. } | worker::Event::Released
        )
    };
    let events = crate::worker::events().into_iter().map(|(_, event)| event).filter(no_task);
    // Removal is the dispatcher's: it takes the row away.
    let events: Vec<_> = events.filter(|event| !matches!(event, worker::Event::Deregister { .. })).collect();
    let requests = vec![
        request::Event::Close { reason: None },
        request::Event::DeadlineDue,
        request::Event::TimeoutDue,
        request::Event::Prolong { timeout: at(1000), shorten: false },
    ];
    prop_oneof![
        6 => (1u128..4, 1u64..9).prop_map(|(worker, request)| Trigger::Match { worker, request }),
        8 => (1u128..4, prop::bool::weighted(0.8)).prop_map(|(worker, well)| Trigger::TaskEnds { worker, well }),
        4 => (1u128..4, prop::sample::select(events)).prop_map(|(worker, event)| Trigger::Worker(worker, event)),
        2 => (1u64..9, prop::sample::select(requests)).prop_map(|(request, event)| Trigger::Request(request, event)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn workers_and_requests_agree_on_who_has_whom(triggers in prop::collection::vec(trigger(), 1..100)) {
        let mut farm = Farm::default();
        farm.workers.extend((1..4).map(|number| (worker_id(number), idle(number, &[("board", "x")], &[]))));
        farm.requests.extend((1..9).map(|number| (RequestId(number), wish(number, 8, &[]))));
        for trigger in triggers {
            farm.pull(trigger);
            farm.check();
        }
    }
}
