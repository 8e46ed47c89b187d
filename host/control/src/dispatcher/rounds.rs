//! Matching rounds: what is asked of the policy, and what of its answer holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use grove_domain::event::Subject;
use grove_domain::id::{RequestId, WorkerId};
use grove_domain::matching::{Round, RoundLimits, builtin};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::plugin::Digest;
use grove_domain::{request, worker};

use super::Dispatcher;
use super::events::{CORE, POLICY};
use crate::matching::session::{Info, Planned, Question};
use crate::ports::{Ask, Assignment, Plan};
use crate::runner::Lack;
use crate::timers::{Due, Now};

/// Rounds that the built-in rule may decide in one turn.
const BUILTIN_ROUNDS: usize = 8;
/// Demands that a round may have however little can be opened.
const SOME: usize = 64;
/// First wait before a policy that failed is opened again; doubles with each failure.
const RETRY_FIRST: SignedDuration = SignedDuration::from_millis(500);
/// Longest wait.
const RETRY_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Why an assignment does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// The policy broke the rules: said in an event.
    Broken(&'static str),
    /// The farm moved on meanwhile: nobody's fault.
    Outdated,
}

/// Assignments that broke the rules.
#[derive(Default)]
struct Refusals {
    count: usize,
    first: Option<String>,
}

impl Refusals {
    fn add(&mut self, request: RequestId, dense: u32, why: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("request {request} to worker number {dense}: {why}"));
    }
}

impl Dispatcher {
    /// Starts a round when there is something to match and none is under way.
    pub(super) fn match_requests(&mut self) {
        if self.farm.mode().mode.is_maintenance() {
            return;
        }
        if self.policy.round.is_none() && self.policy.told.take_stirred() && self.policy.open {
            self.matcher.stir();
        }
        for _ in 0..BUILTIN_ROUNDS {
            self.shut_what_is_full();
            if self.policy.round.is_some() || self.meet_policy() || !self.matcher.has_work() {
                return;
            }
            let round = self.matcher.round(self.round_limits());
            if round.demands.is_empty() {
                return;
            }
            if !self.ask_policy(&round) {
                self.decide_builtin(&round);
                continue;
            }
            self.policy.round = Some(round);
        }
    }

    /// Boards on which no job can be opened are no candidates, until one can.
    pub(super) fn shut_what_is_full(&mut self) {
        for (scope, shut) in self.slots.shut_changes() {
            if shut { self.matcher.shut(&scope) } else { self.matcher.open(&scope) }
        }
    }

    /// Opens a session with a policy that is not known yet, only to hear what it matches itself: until then, requests
    /// that only it can serve would have no candidates, and so never a round.
    fn meet_policy(&mut self) -> bool {
        let now = self.clock.now();
        if !self.has_policy || self.policy.known || self.policy_rests() {
            return false;
        }
        self.policy.asked += 1;
        let ask = Ask { now, changes: Vec::new(), candidate_sets: Vec::new(), demands: Vec::new() };
        let question = Question { number: self.policy.asked, fresh: true, ask };
        let asked = self.questions.try_send(question).is_ok();
        self.policy.asked_of = self.policy.changes;
        if asked {
            self.policy.round = Some(Round::default());
        }
        asked
    }

    /// Whether [`Self::match_requests`] left something for the next turn that nobody will remind of.
    pub(super) fn has_more_to_match(&self) -> bool {
        let open = !self.farm.mode().mode.is_maintenance();
        open && self.policy.round.is_none() && self.matcher.has_work()
    }

    /// It failed a moment ago.
    fn policy_rests(&self) -> bool {
        self.policy.retry_at.is_some_and(|at| at > self.clock.running())
    }

    fn round_limits(&self) -> RoundLimits {
        // What a policy asked for does not bind the built-in rule that decides in its place.
        let info = self.policy.info.as_ref().filter(|_| !self.policy_rests());
        // More than can be opened is of use only where a policy declines.
        let room = self.slots.room().map_or(usize::MAX, |room| (room as usize).saturating_mul(4).max(SOME));
        RoundLimits {
            max_demands: self.settings.caps.demands_per_round.min(room),
            max_candidates: info.map_or(0, |info| info.max_candidates),
        }
    }

    /// Hands the round to the policy, unless there is none or it failed a moment ago.
    fn ask_policy(&mut self, round: &Round) -> bool {
        let now = self.clock.now();
        if !self.has_policy || self.policy_rests() {
            self.policy.told.forget_news();
            return false;
        }
        let fresh = !self.policy.open || self.policy.told.is_too_much();
        if fresh {
            let (farm, matcher) = (&self.farm, &self.matcher);
            let workers = farm
                .workers()
                .values()
                .filter_map(|worker| matcher.dense(worker.id).map(|dense| (dense, worker)));
            self.policy.told.begin_anew(workers, |id| farm.request(id).cloned());
        }
        for demand in &round.demands {
            if let Some(request) = self.farm.request(demand.request) {
                self.policy.told.demand(request);
            }
        }
        let ask = Ask {
            now,
            changes: self.policy.told.take(),
            candidate_sets: round.candidate_sets.clone(),
            demands: round.demands.iter().map(|demand| (demand.request, demand.set)).collect(),
        };
        self.policy.open = true;
        self.policy.asked_of = self.policy.changes;
        self.policy.asked += 1;
        let question = Question { number: self.policy.asked, fresh, ask };
        if self.questions.try_send(question).is_err() {
            // The session is gone or still busy with a question that we gave up on.
            self.policy.open = false;
            return false;
        }
        true
    }

    /// The policy has answered, or failed to.
    pub(super) fn planned(&mut self, planned: Planned) {
        if planned.number != self.policy.asked {
            // The farm was taken up again since: this was about another round.
            return;
        }
        let Some(round) = self.policy.round.take() else { return };
        // Else it speaks for a policy that is active no more.
        let current = self.policy.asked_of == self.policy.changes;
        if planned.policy.is_empty() {
            self.policy.open = false;
            if current {
                self.without_a_policy();
            }
            return;
        }
        if let Some(info) = planned.info.filter(|_| current) {
            self.policy.known = true;
            self.policy_info(info);
        }
        self.take_answer(round, planned.plan, &planned.policy, planned.version, current);
        // What it left of the limits.
        self.start_waiting();
    }

    fn take_answer(
        &mut self,
        round: Round,
        plan: Result<Plan, String>,
        policy: &str,
        version: Option<Digest>,
        current: bool,
    ) {
        match plan {
            // It was only met: the session that it decides in hears everything from the beginning.
            Ok(_) if round.demands.is_empty() => self.policy.open = false,
            Ok(plan) => {
                self.plugin_outcome(policy, version, None);
                if current {
                    self.policy.failures = 0;
                    self.policy.retry_at = None;
                }
                if self.farm.mode().mode.is_maintenance() {
                    return self.put_off(&round);
                }
                self.take_plan(policy, &round, plan);
            }
            Err(reason) => {
                // The demands come back in a round of their own, which the built-in rule decides.
                self.policy_failed(policy, &reason, current);
                self.plugin_outcome(policy, version, Some(&reason));
            }
        }
    }

    /// Nobody gets anything now: what was asked about is asked about again.
    fn put_off(&mut self, round: &Round) {
        for demand in &round.demands {
            self.matcher.declined(demand.request);
        }
    }

    pub(super) fn policy_changed(&mut self) {
        self.ask_for_policy();
        self.policy.changes += 1;
        self.policy.known = false;
        self.policy.open = false;
        self.policy.failures = 0;
        self.policy.retry_at = None;
        self.policy.waits.clear();
        self.matcher.wake();
    }

    /// Whether there is a policy now.
    pub(super) fn ask_for_policy(&mut self) {
        self.has_policy = !self.policies.name().is_empty();
        if !self.has_policy {
            self.without_a_policy();
        }
    }

    /// Nothing is matched by a policy any more: the core filters on everything.
    fn without_a_policy(&mut self) {
        self.has_policy = false;
        if self.policy.info.take().is_some_and(|info| !info.own_keys.is_empty()) {
            self.matcher.set_own_keys(BTreeSet::new());
        }
    }

    fn policy_info(&mut self, info: Info) {
        if self.policy.info.as_ref() != Some(&info) {
            self.matcher.set_own_keys(info.own_keys.iter().cloned().collect());
            self.policy.info = Some(info);
        }
    }

    fn policy_failed(&mut self, policy: &str, reason: &str, current: bool) {
        if current {
            self.rest_from_policy();
        }
        let note = format!("{reason}; the built-in rule decides until it answers again");
        self.note(CORE, "policy.failed", Subject::Plugin(policy.to_owned()), note);
    }

    /// It is not asked for a while.
    fn rest_from_policy(&mut self) {
        let doubled = 1i32 << self.policy.failures.min(16);
        let wait = RETRY_FIRST.checked_mul(doubled).unwrap_or(RETRY_MAX).min(RETRY_MAX);
        self.policy.open = false;
        self.policy.failures = self.policy.failures.saturating_add(1);
        let now = self.times();
        let retry_at = now.running.saturating_add(Duration::try_from(wait).unwrap_or_default());
        self.policy.retry_at = Some(retry_at);
        self.timers.after(now, wait, Due::PolicyRetry);
    }

    fn decide_builtin(&mut self, round: &Round) {
        let own_keys = self.policy.info.as_ref().is_some_and(|info| !info.own_keys.is_empty());
        let strict = own_keys.then(|| self.without_policy(round));
        let mut left: HashSet<RequestId> = round.demands.iter().map(|demand| demand.request).collect();
        let outdated = self.serve_builtin(strict.as_ref().unwrap_or(round), &mut left);
        for request in left {
            self.matcher.declined(request);
        }
        // Others were left waiting because these seemed to be taken.
        for dense in outdated {
            self.matcher.look_again(dense);
        }
    }

    /// Serves those of `left` that the built-in rule finds a worker for; workers that nobody got after all.
    fn serve_builtin(&mut self, round: &Round, left: &mut HashSet<RequestId>) -> Vec<u32> {
        let mut outdated = Vec::new();
        for choice in builtin(&self.matcher, round) {
            let assignment = Assignment {
                request: choice.request,
                worker: choice.worker,
                score: choice.score,
                reason: "the least capable worker that fits".to_owned(),
            };
            if left.contains(&choice.request) {
                match self.assign(CORE, round, assignment) {
                    Ok(()) => drop(left.remove(&choice.request)),
                    Err(_) => outdated.push(choice.worker),
                }
            }
        }
        outdated
    }

    /// The same round with candidates that satisfy also what the policy would have matched itself. All demands on one
    /// set want the same.
    fn without_policy(&self, round: &Round) -> Round {
        let mut strict = round.clone();
        let mut done = HashSet::new();
        for demand in &round.demands {
            let request = self.farm.request(demand.request);
            let set = usize::try_from(demand.set).ok().and_then(|set| strict.candidate_sets.get_mut(set));
            if let (true, Some(request), Some(set)) = (done.insert(demand.set), request, set) {
                set.retain(|dense| {
                    let worker = self.matcher.worker_of(*dense).and_then(|worker| self.farm.worker(worker));
                    worker.is_some_and(|worker| request.spec.wants.matches(worker.capabilities.effective()))
                });
            }
        }
        strict
    }

    fn take_plan(&mut self, policy: &str, round: &Round, plan: Plan) {
        let mut left: HashSet<RequestId> = round.demands.iter().map(|demand| demand.request).collect();
        let (mut refused, mut outdated) = (Refusals::default(), Vec::new());
        for assignment in plan.assignments {
            let (request, dense) = (assignment.request, assignment.worker);
            if !left.contains(&request) {
                refused.add(request, dense, "the request was not asked about, or is served already");
                continue;
            }
            match self.assign(POLICY, round, assignment) {
                Ok(()) => {
                    left.remove(&request);
                }
                Err(Wrong::Outdated) => {
                    // It is asked about again, with the candidates that it has now.
                    left.remove(&request);
                    outdated.push(dense);
                }
                Err(Wrong::Broken(why)) => refused.add(request, dense, why),
            }
        }
        if left.len() < round.demands.len() {
            // What was declined before was declined without knowing of these.
            self.matcher.stir();
        }
        for wait in plan.waits {
            if left.contains(&wait.request) {
                self.policy.waits.insert(wait.request, wait);
            }
        }
        self.wake_at(plan.wake_at);
        if let Some(first) = refused.first {
            let note = format!(
                "{} assignments refused, the first: {first}; the built-in rule decides the rest",
                refused.count
            );
            self.note(CORE, "policy.refused", Subject::Plugin(policy.to_owned()), note);
            let rest = self.matcher.round(self.round_limits());
            return self.decide_builtin(&rest);
        }
        self.decline(round, &left);
        // Others were left waiting because these seemed to be taken.
        for dense in outdated {
            self.matcher.look_again(dense);
        }
    }

    /// The policy left these waiting: some of them although there was a worker for them.
    fn decline(&mut self, round: &Round, left: &HashSet<RequestId>) {
        let served = |set: &Vec<u32>, request| set.iter().any(|dense| self.matcher.fits(request, *dense));
        let mut choices: HashMap<u32, bool> = HashMap::new();
        for demand in round.demands.iter().filter(|demand| left.contains(&demand.request)) {
            choices.entry(demand.set).or_insert_with(|| {
                let set = usize::try_from(demand.set).ok().and_then(|set| round.candidate_sets.get(set));
                set.is_some_and(|set| served(set, demand.request))
            });
        }
        for demand in round.demands.iter().filter(|demand| left.contains(&demand.request)) {
            if choices.get(&demand.set) == Some(&true) {
                self.matcher.declined_by_choice(demand.request);
            } else {
                self.matcher.declined(demand.request);
            }
        }
    }

    fn wake_at(&mut self, wake_at: Option<Timestamp>) {
        self.timers.remove(&Due::PolicyWake);
        // A policy that wants to be woken at once, always, is woken once a second.
        let soonest = after(self.clock.now(), SignedDuration::from_secs(1));
        if let Some(at) = wake_at.map(|at| at.max(soonest)) {
            self.timers.at(at, Due::PolicyWake);
        }
    }

    /// Takes one assignment, if it holds now.
    fn assign(&mut self, actor: &str, round: &Round, assignment: Assignment) -> Result<(), Wrong> {
        self.shut_what_is_full();
        let (id, dense) = (assignment.request, assignment.worker);
        let now = self.clock.now();
        let request = self.farm.request(id).cloned();
        let due = request.as_ref().is_some_and(|request| request.is_due(now));
        if !due {
            self.not_due(id);
        } else if let Some(request) = request.filter(|request| request.spec.keys.is_empty()) {
            self.index_due(&request);
        }
        let worker = self.matcher.worker_of(dense);
        match worker {
            Some(worker) if due && self.matcher.fits(id, dense) => {
                self.reserve(actor, id, worker, assignment);
                Ok(())
            }
            _ if offered(round, id, dense) => Err(Wrong::Outdated),
            _ => Err(Wrong::Broken("the worker is not among the request's candidates")),
        }
    }

    /// Its deadline passes just now, or the wall clock stepped back: it leaves the queue until its time comes.
    fn not_due(&mut self, id: RequestId) {
        self.matcher.remove_request(id);
        if let Some(request) = self.farm.request(id) {
            self.timers.replace_request(Now::of(&*self.clock), None, Some(request), &self.settings);
        }
    }

    fn reserve(&mut self, actor: &str, request: RequestId, worker: WorkerId, assignment: Assignment) {
        if let Some(request) = self.farm.request(request) {
            // The built-in rule may give out what the policy has never heard of.
            self.policy.told.demand(request);
        }
        // Both rows were looked at just now, in this very turn: neither machine can refuse.
        let reserved = self.apply_request(actor, request, request::Event::Reserve(worker));
        let matched = self.apply_worker(actor, worker, worker::Event::Matched { request }, None);
        if let (Err(refused), _) | (_, Err(refused)) = (reserved, matched) {
            tracing::error!(%request, %worker, %refused, "a match was refused after it was checked");
        }
        self.begins_with(&Lack::Tunnels);
        if self.farm.request(request).is_some_and(|request| request.spec.keys.is_empty()) {
            self.begins_with(&Lack::Keys);
        }
        self.shut_what_is_full();
        self.policy.waits.remove(&request);
        self.policy.told.started(worker, assignment);
    }
}

/// Whether the round offered this worker to this request.
fn offered(round: &Round, request: RequestId, dense: u32) -> bool {
    let demand = round.demands.iter().find(|demand| demand.request == request);
    let set = demand.and_then(|demand| usize::try_from(demand.set).ok());
    set.and_then(|set| round.candidate_sets.get(set)).is_some_and(|set| set.contains(&dense))
}
