//! Matching: who gets which board, and what a policy can and cannot do about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grove_control::fakes::Mood;
use grove_control::ports::{Ask, Assignment, Plan, PolicyChange, Wait};
use grove_control::settings::Caps;
use grove_control::{Settings, Want};
use grove_domain::group::OwnerGroups;
use grove_domain::id::RequestId;
use grove_domain::moment::{Moment, SignedDuration, after};
use grove_domain::request::State;
use grove_domain::worker::{self, Edit};

use crate::support::{Farm, id, wish};

fn assign(request: RequestId, worker: u32) -> Assignment {
    Assignment { request, worker, score: 0, reason: "because".to_owned() }
}

/// From now on the policy answers so.
fn script(farm: &Farm, plan: impl Fn(&Ask) -> Plan + Send + Sync + 'static) {
    farm.fakes.policies.script(Some(Arc::new(move |ask| Ok(plan(ask)))));
}

fn worker_of(farm: &Farm, request: RequestId) -> Option<u128> {
    let request = farm.request(request);
    let worker = request.reserved.or(request.job.as_ref().map(|job| job.worker))?;
    (1..20).find(|number| id(*number) == worker)
}

async fn set_groups(farm: &Farm, number: u128, groups: &[&str]) {
    let groups = Some(Some(groups.iter().map(|group| (*group).to_owned()).collect()));
    let edit = Edit { groups, ..Edit::default() };
    farm.controller.edit_worker("admin", id(number), edit, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_least_capable_worker_is_taken_whoever_decides() {
    for mood in [Mood::Willing, Mood::Closed("none is active".to_owned())] {
        let farm = Farm::new().await;
        farm.fakes.policies.mood(mood);
        farm.idle(1, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
        farm.idle(3, &[("a", "1"), ("b", "1")]).await;
        farm.idle(2, &[("a", "1"), ("b", "1")]).await;
        farm.idle(4, &[("b", "1")]).await;
        let mut got = Vec::new();
        for _ in 0..4 {
            let request = farm.ask(&["a"]).await;
            farm.settle().await;
            got.push(worker_of(&farm, request));
        }
        assert_eq!(got, [Some(2), Some(3), Some(1), None]);
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn groups_hold_against_the_policy_too() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.idle(2, &[]).await;
    set_groups(&farm, 1, &["lab"]).await;
    set_groups(&farm, 2, &["attic"]).await;
    // Give everybody worker number 0, which is the first that came.
    script(&farm, |ask| Plan {
        assignments: ask.demands.iter().map(|(request, _)| assign(*request, 0)).collect(),
        ..Plan::default()
    });
    let mut stranger = wish(&[]);
    stranger.spec.owner.groups = OwnerGroups::Some(vec!["cellar".to_owned()]);
    let stranger = farm.create(stranger).await.id;
    let mut guest = wish(&[]);
    guest.spec.owner.groups = OwnerGroups::Some(vec!["attic".to_owned()]);
    let guest = farm.create(guest).await.id;
    farm.settle().await;
    assert_eq!((worker_of(&farm, stranger), worker_of(&farm, guest)), (None, Some(2)));
    assert_eq!(farm.events("policy.refused").len(), 1);
    let why = farm.controller.why(stranger).await.unwrap();
    assert_eq!(why[0].code, "no_such_worker");
    assert!(why[0].text.contains("groups"), "{why:?}");
    // The admin opens the lab.
    set_groups(&farm, 1, &["lab", "cellar"]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, stranger), Some(1));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_hostile_plan_is_refused_in_one_event_and_breaks_nothing() {
    let farm = Farm::with(Settings {
        // A plan is made for all four at once.
        caps: Caps { demands_per_round: 100, ..Caps::default() },
        ..Settings::default()
    })
    .await;
    farm.fakes.policies.mood(Mood::Silent);
    for number in 1..=3 {
        farm.add(number, &[("a", "1")]).await;
    }
    farm.add(4, &[("b", "1")]).await;
    let requests = [farm.ask(&["a"]).await, farm.ask(&["a"]).await, farm.ask(&["b"]).await];
    script(&farm, |ask| {
        let first = ask.demands[0].0;
        Plan {
            assignments: vec![
                assign(RequestId(999), 0),
                assign(first, 77),
                assign(first, 3),
                assign(first, 1),
                assign(first, 2),
                assign(RequestId(2), 1),
                assign(RequestId(3), 0),
            ],
            ..Plan::default()
        }
    });
    farm.fakes.policies.mood(Mood::Willing);
    for number in 1..=4 {
        farm.want_idle(number).await;
    }
    farm.settle().await;
    let mut got: Vec<_> = requests.iter().map(|request| worker_of(&farm, *request)).collect();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 3, "{got:?}");
    assert!(requests.iter().all(|request| farm.request(*request).state == State::InProgress));
    assert_eq!(worker_of(&farm, requests[2]), Some(4));
    let refused = farm.events("policy.refused");
    assert!(!refused.is_empty() && refused.len() <= 4, "one for each round at most: {refused:?}");
    assert!(refused[0].note.as_ref().unwrap().contains("the first: request 999"), "{refused:?}");
    assert_eq!(refused[0].subject.to_string(), "plugin/fake");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_always_answers_nonsense_cannot_keep_the_core_busy() {
    let farm = Farm::new().await;
    script(&farm, |ask| Plan {
        assignments: vec![assign(RequestId(999), 0)],
        wake_at: Some(ask.now),
        ..Plan::default()
    });
    farm.idle(1, &[]).await;
    farm.idle(2, &[("a", "1")]).await;
    for _ in 0..5 {
        farm.ask(&["a"]).await;
    }
    farm.pass(Duration::from_secs(20)).await;
    assert!(farm.fakes.policies.asked().len() <= 30, "{}", farm.fakes.policies.asked().len());
    assert_eq!(farm.request(RequestId(1)).state, State::InProgress, "the built-in rule decided");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn when_a_policy_fails_the_built_in_rule_decides_and_the_next_session_hears_everything() {
    let farm = Farm::new().await;
    farm.idle(1, &[("a", "1")]).await;
    farm.idle(2, &[("a", "1"), ("b", "1")]).await;
    let first = farm.ask(&["a"]).await;
    farm.settle().await;
    farm.fakes.policies.script(Some(Arc::new(|_| Err("it trapped".to_owned()))));
    let second = farm.ask(&["a"]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, second), Some(2), "decided at once");
    let failed = farm.events("policy.failed");
    assert_eq!(failed.len(), 1);
    assert!(failed[0].note.as_ref().unwrap().starts_with("it trapped; the built-in rule decides"));
    farm.fakes.policies.script(None);
    farm.pass(Duration::from_millis(600)).await;
    farm.idle(3, &[]).await;
    let third = farm.ask(&[]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, third), Some(3));
    let asked = farm.fakes.policies.asked();
    let (session, last) = asked.last().unwrap();
    assert!(*session > asked[0].0, "a session that failed is over");
    let workers = last.changes.iter().filter(|change| matches!(change, PolicyChange::WorkerPut(..))).count();
    assert_eq!(workers, 3, "{:?}", last.changes);
    for request in [first, second] {
        let put = last
            .changes
            .iter()
            .position(|change| matches!(change, PolicyChange::RequestPut(row) if row.id == request));
        let started = last
            .changes
            .iter()
            .position(|change| matches!(change, PolicyChange::Started(one) if one.request == request));
        assert!(put.unwrap() < started.unwrap(), "{:?}", last.changes);
    }
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_again_and_again_is_tried_ever_less() {
    let farm = Farm::new().await;
    farm.fakes.policies.script(Some(Arc::new(|_| Err("it trapped".to_owned()))));
    farm.idle(1, &[]).await;
    // One request after the other, a second each.
    for _ in 0..200 {
        let request = farm.ask(&[]).await;
        farm.pass(Duration::from_secs(1)).await;
        assert_eq!(farm.request(request).state, State::InProgress);
        farm.close(request).await;
    }
    let failures = farm.events("policy.failed").len();
    assert!((6..=12).contains(&failures), "{failures}");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_silent_policy_costs_its_round_ten_seconds() {
    let farm = Farm::new().await;
    farm.fakes.policies.mood(Mood::Silent);
    farm.idle(1, &[]).await;
    let request = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(9)).await;
    assert_eq!(farm.request(request).state, State::Waiting);
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    let failed = farm.events("policy.failed");
    assert!(failed[0].note.as_ref().unwrap().starts_with("the policy did not answer within 10 s"));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn an_active_policy_is_told_only_what_changed_in_order() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let first = farm.ask(&[]).await;
    farm.settle().await;
    farm.close(first).await;
    farm.worker_is(1, worker::State::Idle).await;
    let second = farm.ask(&[]).await;
    farm.settle().await;
    let asked = farm.fakes.policies.asked();
    assert_eq!(asked.len(), 2);
    let told: Vec<_> = asked[1]
        .1
        .changes
        .iter()
        .map(|change| match change {
            PolicyChange::Started(one) => format!("started {}", one.request),
            PolicyChange::Finished(one) => format!("finished {}", one.request),
            PolicyChange::RequestGone(request) => format!("gone {request}"),
            PolicyChange::RequestPut(request) => format!("put {}", request.id),
            other => format!("{other:?}"),
        })
        .collect();
    let [first, second] = [first, second].map(|request| request.to_string());
    let wanted = ["started ", "finished ", "gone "].map(|word| format!("{word}{first}"));
    assert_eq!(told, [&wanted[..], &[format!("put {second}")]].concat());
}

#[tokio::test(start_paused = true)]
async fn another_policy_hears_everything_from_the_beginning() {
    let farm = Farm::new().await;
    let first = farm.running(1).await;
    farm.controller.policy_changed().await;
    farm.idle(2, &[]).await;
    farm.ask(&[]).await;
    farm.settle().await;
    let asked = farm.fakes.policies.asked();
    let (session, last) = asked.last().unwrap();
    assert!(*session > asked[0].0, "another session");
    let put = |change: &PolicyChange| matches!(change, PolicyChange::RequestPut(row) if row.id == first);
    assert!(last.changes.iter().any(put), "{:?}", last.changes);
    assert!(matches!(last.changes[0], PolicyChange::WorkerPut(0, _)));
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_matches_itself_counts_before_anything_was_matched() {
    let mut farm = Farm::new().await;
    farm.fakes.policies.info(&["site"], 0);
    farm.crash_and_restart().await;
    farm.idle(1, &[("a", "1")]).await;
    let only_the_policy_can = farm.ask(&["site=berlin"]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, only_the_policy_can), Some(1));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_policy_hears_of_running_jobs() {
    let mut farm = Farm::new().await;
    let running = farm.running(1).await;
    farm.crash_and_restart().await;
    farm.idle(2, &[]).await;
    farm.ask(&[]).await;
    farm.settle().await;
    let asked = farm.fakes.policies.asked();
    let changes = &asked.last().unwrap().1.changes;
    assert!(
        changes.iter().any(|change| matches!(change, PolicyChange::Started(one) if one.request == running))
    );
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_let_a_request_wait_and_says_why_and_until_when() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let wake = after(farm.now(), SignedDuration::from_secs(300));
    script(&farm, move |ask| {
        let (request, set) = ask.demands[0];
        if ask.now >= wake {
            let worker = ask.candidate_sets[set as usize][0];
            return Plan { assignments: vec![assign(request, worker)], ..Plan::default() };
        }
        let wait = Wait { request, reason: "it is noon".to_owned(), until: Some(wake) };
        Plan { waits: vec![wait], wake_at: Some(wake), ..Plan::default() }
    });
    let request = farm.ask(&[]).await;
    farm.settle().await;
    let why = farm.controller.why(request).await.unwrap();
    assert_eq!((why[0].code, why[0].text.as_str(), why[0].until), ("policy", "it is noon", Some(wake)));
    assert_eq!(why[1].code, "queued");
    let asked = farm.fakes.policies.asked().len();
    farm.pass(Duration::from_secs(290)).await;
    assert_eq!(farm.fakes.policies.asked().len(), asked, "nothing new, so nobody asks");
    farm.pass(Duration::from_secs(11)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_was_declined_is_asked_again_when_a_worker_comes() {
    let farm = Farm::new().await;
    farm.idle(1, &[("a", "1")]).await;
    // It serves nobody from worker number 0.
    script(&farm, |ask| {
        let mut plan = Plan::default();
        for (request, set) in &ask.demands {
            let worker = ask.candidate_sets[*set as usize].iter().find(|dense| **dense != 0);
            plan.assignments.extend(worker.map(|worker| assign(*request, *worker)));
        }
        plan
    });
    let request = farm.ask(&["a"]).await;
    farm.settle().await;
    assert_eq!(farm.request(request).state, State::Waiting);
    farm.idle(2, &[("b", "1")]).await;
    farm.settle().await;
    let (_, again) = farm.fakes.policies.asked().pop().unwrap();
    assert_eq!(farm.fakes.policies.asked().len(), 2, "there is another worker, if not for it");
    assert_eq!(again.candidate_sets, [[0]], "this one is no candidate");
    farm.idle_soon(3, &[("a", "1")]).await;
    farm.request_is(request, State::InProgress).await;
    assert_eq!(worker_of(&farm, request), Some(3));
    farm.fakes.policies.script(None);
    farm.controller.policy_changed().await;
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_policy_matches_itself_are_not_filtered_unless_it_fails() {
    let farm = Farm::new().await;
    farm.fakes.policies.info(&["lab"], 0);
    farm.idle(1, &[("lab", "berlin"), ("a", "1")]).await;
    farm.idle(2, &[("lab", "paris"), ("a", "1"), ("b", "1")]).await;
    // Opens the session, so that the core knows.
    let first = farm.ask(&["b"]).await;
    farm.settle().await;
    farm.close(first).await;
    farm.worker_is(2, worker::State::Idle).await;
    farm.idle(3, &[("lab", "rome"), ("a", "1"), ("b", "1"), ("c", "1")]).await;
    let near = farm.ask(&["a", "lab=near"]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, near), Some(1), "the policy decides what near means");
    farm.fakes.policies.script(Some(Arc::new(|_| Err("it trapped".to_owned()))));
    let near = farm.ask(&["a", "lab=near"]).await;
    let rome = farm.ask(&["a", "lab=rome"]).await;
    farm.settle().await;
    assert_eq!(worker_of(&farm, near), None, "the built-in rule goes by the words");
    assert_eq!(worker_of(&farm, rome), Some(3));
    // When the policy answers again, it is asked about whom the rule had to leave.
    farm.fakes.policies.script(None);
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(worker_of(&farm, near), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_came_too_late_takes_nothing_and_loses_nothing() {
    let farm = Farm::new().await;
    farm.idle(1, &[("a", "1")]).await;
    farm.idle(2, &[("a", "1"), ("b", "1")]).await;
    farm.fakes.policies.mood(Mood::Silent);
    let request = farm.ask(&["a"]).await;
    farm.settle().await;
    // While the policy thinks, the best board goes away for good.
    let want = Want::Maintenance { rerun: false, interrupt: false };
    farm.controller.move_worker("admin", id(1), want, None).await.unwrap();
    farm.worker_is(1, worker::State::Maintenance).await;
    farm.controller.deregister("admin", id(1), false, None).await.unwrap();
    farm.pass(Duration::from_secs(11)).await;
    assert_eq!(worker_of(&farm, request), Some(2));
    assert!(farm.events("policy.refused").is_empty());
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn small_rounds_serve_everybody_all_the_same() {
    for mood in [Mood::Willing, Mood::Closed("none is active".to_owned())] {
        let caps = Caps { demands_per_round: 1, ..Caps::default() };
        let farm = Farm::with(Settings { caps, ..Settings::default() }).await;
        farm.fakes.policies.mood(mood);
        for _ in 0..60 {
            farm.ask(&["a"]).await;
        }
        for number in 1..=50 {
            farm.idle_soon(number, &[("a", "1")]).await;
        }
        farm.pass(Duration::from_millis(100)).await;
        assert_eq!(farm.controller.farm().waiting(), 10);
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_told_what_stands_in_its_way() {
    let farm = Farm::new().await;
    farm.add(1, &[("a", "1")]).await;
    let nothing = farm.ask(&["laser"]).await;
    let almost = farm.ask(&["a", "laser"]).await;
    let busy = farm.ask(&["a"]).await;
    let why = async |request| farm.controller.why(request).await.unwrap().remove(0);
    assert_eq!(why(nothing).await.code, "no_such_worker");
    assert!(why(almost).await.text.contains("all but laser"));
    let reason = why(busy).await;
    assert_eq!((reason.code, reason.text.as_str()), ("no_idle_worker", "1 worker matches: 1 maintenance"));
    farm.want_idle(1).await;
    farm.request_is(busy, State::InProgress).await;
    assert_eq!(why(busy).await.code, "running");
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nobody_waits_behind_one_whose_time_has_not_come() {
    let farm = Farm::new().await;
    farm.fakes.policies.activate("", None);
    farm.controller.policy_changed().await;
    let mut later = wish(&[]);
    later.priority = 1;
    later.valid_after = Some(Moment::utc(after(farm.now(), SignedDuration::from_secs(60))));
    let later = farm.create(later).await.id;
    let now = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(61)).await;
    // The clock steps back: the first in the queue is not due after all.
    farm.fakes.clock.jump(SignedDuration::from_secs(-30));
    farm.idle_soon(1, &[]).await;
    farm.request_is(now, State::InProgress).await;
    assert_eq!(farm.request(later).state, State::Waiting);
    farm.check_settled();
}

/// Two boards an owner, counted from what the session is told, without any trick.
fn two_each(farm: &Farm) {
    let known = Mutex::new((HashMap::<RequestId, String>::new(), HashMap::<String, u32>::new()));
    script(farm, move |ask| {
        let (owners, held) = &mut *known.lock().unwrap();
        for change in &ask.changes {
            match change {
                PolicyChange::RequestPut(request) => {
                    owners.insert(request.id, request.spec.owner.name.clone());
                }
                PolicyChange::Started(one) => *held.entry(owners[&one.request].clone()).or_default() += 1,
                PolicyChange::Finished(one) => *held.entry(owners[&one.request].clone()).or_default() -= 1,
                _ => {}
            }
        }
        let (mut plan, mut taken, mut planned) = (Plan::default(), Vec::new(), HashMap::<String, u32>::new());
        for (request, set) in &ask.demands {
            let owner = owners[request].clone();
            let holds = held.get(&owner).copied().unwrap_or(0) + planned.get(&owner).copied().unwrap_or(0);
            let free = ask.candidate_sets[*set as usize].iter().find(|worker| !taken.contains(*worker));
            match free.filter(|_| holds < 2) {
                Some(worker) => {
                    taken.push(*worker);
                    *planned.entry(owner).or_default() += 1;
                    plan.assignments.push(assign(*request, *worker));
                }
                None => {
                    let reason = format!("{owner} has two boards");
                    plan.waits.push(Wait { request: *request, reason, until: None });
                }
            }
        }
        plan
    });
}

#[tokio::test(start_paused = true)]
async fn what_was_declined_by_choice_is_asked_again_when_a_job_ends() {
    let farm = Farm::new().await;
    two_each(&farm);
    for number in 1..=4 {
        farm.idle(number, &[]).await;
    }
    let first = farm.ask(&[]).await;
    let second = farm.ask(&[]).await;
    let third = farm.ask(&[]).await;
    farm.settle().await;
    assert_eq!(farm.request(third).state, State::Waiting);
    // The board of the one that ends is not needed: others are idle all the time.
    farm.behave("prepare", grove_control::fakes::Behaviour::Hang);
    let asked = farm.fakes.policies.asked().len();
    farm.close(first).await;
    farm.settle().await;
    assert_eq!(farm.request(third).state, State::InProgress);
    assert_eq!(farm.request(second).state, State::InProgress);
    assert_eq!(farm.fakes.policies.asked().len(), asked + 1, "once for all that changed");
    let fourth = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(100)).await;
    assert_eq!(farm.request(fourth).state, State::Waiting);
    assert_eq!(farm.fakes.policies.asked().len(), asked + 2, "nothing changed: nobody asks");
}

#[tokio::test(start_paused = true)]
async fn a_new_session_hears_who_used_each_worker_last_and_in_which_order() {
    let mut farm = Farm::new().await;
    for number in 1..=3 {
        farm.idle(number, &[]).await;
    }
    let mut used = Vec::new();
    for number in [1, 2, 3, 2, 1] {
        let request = farm.ask(&[&format!("UUID={}", id(number))]).await;
        farm.request_is(request, State::InProgress).await;
        used.push(request);
        farm.pass(Duration::from_secs(1)).await;
        if used.len() < 5 {
            farm.close(request).await;
        }
        farm.settle().await;
    }
    farm.crash_and_restart().await;
    farm.ask(&[]).await;
    farm.settle().await;
    let (_, last) = farm.fakes.policies.asked().pop().unwrap();
    let told: Vec<_> = last
        .changes
        .iter()
        .filter_map(|change| match change {
            PolicyChange::WorkerPut(..) => None,
            PolicyChange::RequestPut(request) => Some(format!("put {}", request.id)),
            PolicyChange::Started(one) => Some(format!("started {} on {}", one.request, one.worker + 1)),
            PolicyChange::Finished(one) => Some(format!("finished {} on {}", one.request, one.worker + 1)),
            PolicyChange::RequestGone(request) => Some(format!("gone {request}")),
            PolicyChange::WorkerGone(_) => Some("worker gone".to_owned()),
        })
        .collect();
    let past = |number: usize, worker: u32| {
        let id = used[number - 1];
        [
            format!("put {id}"),
            format!("started {id} on {worker}"),
            format!("finished {id} on {worker}"),
            format!("gone {id}"),
        ]
    };
    let now = [format!("put {}", used[4]), format!("started {} on 1", used[4])];
    let expected: Vec<_> = past(3, 3).into_iter().chain(past(4, 2)).chain(now).collect();
    assert_eq!(told[..expected.len()], expected[..]);
}

#[tokio::test(start_paused = true)]
async fn places_count_those_that_want_the_same_boards_and_why_names_them() {
    let farm = Farm::new().await;
    farm.idle(1, &[("board", "pi")]).await;
    farm.idle(2, &[("board", "x86")]).await;
    let running = [farm.ask(&["board=pi"]).await, farm.ask(&["board=x86"]).await];
    for request in running {
        farm.request_is(request, State::InProgress).await;
    }
    let mut bob = wish(&["board=pi"]);
    bob.spec.owner.name = "bob".to_owned();
    let pi = farm.create(bob).await.id;
    let other = farm.ask(&["board=x86"]).await;
    let any = farm.ask(&["board"]).await;
    let tpu = farm.ask(&["board=tpu"]).await;
    let last = farm.ask(&["board=pi"]).await;
    let snapshot = farm.controller.farm();
    let places = snapshot.places();
    let place = |id| places.of(&farm.request(id));
    assert_eq!([pi, other, any, tpu, last].map(place), [Some(1), Some(1), Some(3), Some(1), Some(3)]);
    assert_eq!(place(running[0]), None);
    let why = async |request: RequestId| {
        let why = farm.controller.why(request).await.unwrap();
        why.into_iter().map(|reason| (reason.code, reason.text)).collect::<Vec<_>>()
    };
    let of_last = why(last).await;
    let ahead = format!("ahead of it in the queue: request {pi} (bob), {any} (ann)");
    assert!(of_last.contains(&("ahead", ahead)), "{of_last:?}");
    let ends = farm.request(running[0]).running_job().unwrap().timeout;
    let job = format!(
        "worker {} is free when the job of request {} (ann) ends, at the latest at {ends:.0}",
        id(1),
        running[0]
    );
    assert!(of_last.contains(&("job_ahead", job)), "{of_last:?}");
    assert!(!why(tpu).await.iter().any(|(code, _)| matches!(*code, "ahead" | "job_ahead")));
    farm.report_failure(1, "smoke").await;
    let of_last = why(last).await;
    let recheck = format!("worker {} failed (smoke), and is checked again in 30 s", id(1));
    assert!(of_last.contains(&("recheck", recheck)), "{of_last:?}");
}
