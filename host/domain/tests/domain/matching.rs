//! The matcher by example.

use std::collections::{BTreeMap, BTreeSet};

use grove_domain::group::OwnerGroups;
use grove_domain::id::RequestId;
use grove_domain::matching::{Explanation, Matcher, Round, RoundLimits, Unmet, builtin};
use grove_domain::wants::Wants;
use grove_domain::worker::{State, Worker};

use crate::fixtures::{idle, request, wish, with_capabilities, worker_id};

const ALL: RoundLimits = RoundLimits { max_demands: 0, max_candidates: 0 };

fn matcher(workers: &[Worker]) -> Matcher {
    let mut matcher = Matcher::new();
    workers.iter().for_each(|worker| matcher.put_worker(worker));
    matcher
}

fn demanded(round: &Round) -> Vec<u64> {
    round.demands.iter().map(|demand| demand.request.0).collect()
}

/// Who gets which worker (by the number in its uuid) by the built-in rule, in one round.
fn assigned(matcher: &mut Matcher) -> Vec<(u64, u128)> {
    let round = matcher.round(ALL);
    let assignments = builtin(matcher, &round);
    let number = |worker| matcher.worker_of(worker).unwrap().0.as_u128();
    assignments.iter().map(|given| (given.request.0, number(given.worker))).collect()
}

fn running(worker: &Worker) -> Worker {
    Worker { state: State::Running, ..worker.clone() }
}

#[test]
fn the_least_capable_worker_goes_first_and_ties_go_by_uuid() {
    let rich = idle(1, &[("board", "x"), ("camera", "y")], &[]);
    let grouped = idle(2, &[("board", "x")], &["lab"]);
    let (late, early) = (idle(9, &[("board", "x")], &[]), idle(3, &[("board", "x")], &[]));
    let mut matcher = matcher(&[rich, grouped, late, early]);
    for number in 1..=5 {
        matcher.put_request(&wish(number, 8, &["board=x"]));
    }
    assert_eq!(assigned(&mut matcher), [(1, 3), (2, 9), (3, 1), (4, 2)]);
}

#[test]
fn the_queue_is_by_priority_then_place_then_number() {
    let mut matcher = matcher(&[idle(1, &[], &[]), idle(2, &[], &[]), idle(3, &[], &[]), idle(4, &[], &[])]);
    let mut requests = [wish(1, 9, &[]), wish(2, 8, &["!x"]), wish(3, 8, &[]), wish(4, 1, &["!y"])];
    requests[1].place = 7;
    requests.iter().for_each(|request| matcher.put_request(request));
    assert_eq!(demanded(&matcher.round(ALL)), [4, 3, 2, 1]);
    requests[0].priority = grove_domain::request::Priority::new(1).unwrap();
    matcher.put_request(&requests[0]);
    assert_eq!(demanded(&matcher.round(ALL)), [1, 4, 3, 2]);
}

#[test]
fn one_that_matches_nothing_blocks_nobody() {
    let mut matcher = matcher(&[idle(1, &[("board", "x")], &[])]);
    matcher.put_request(&wish(1, 1, &["board=none"]));
    matcher.put_request(&wish(2, 16, &["board=x"]));
    assert_eq!(assigned(&mut matcher), [(2, 1)]);
}

#[test]
fn only_what_concerns_a_class_makes_work() {
    let worker = idle(1, &[("board", "x")], &[]);
    let mut matcher = matcher(&[]);
    matcher.put_request(&wish(1, 8, &["board=y"]));
    assert!(matcher.round(ALL).demands.is_empty());
    assert!(!matcher.has_work());
    matcher.put_worker(&worker);
    assert!(!matcher.has_work(), "the worker is nothing for the request");
    matcher.put_worker(&running(&worker));
    matcher.put_worker(&with_capabilities(&running(&worker), [("board".to_owned(), "y".to_owned())].into()));
    assert!(!matcher.has_work(), "the worker is not idle");
    matcher.put_worker(&with_capabilities(&worker, [("board".to_owned(), "y".to_owned())].into()));
    assert!(matcher.has_work());
    assert_eq!(assigned(&mut matcher), [(1, 1)]);
    matcher.remove_worker(worker.id);
    assert!(matcher.round(ALL).demands.is_empty());
    assert!(!matcher.has_work());
}

#[test]
fn groups_open_and_close() {
    let mut worker = idle(1, &[], &["lab"]);
    let mut matcher = matcher(&[worker.clone()]);
    let outsider = OwnerGroups::Some(vec!["other".to_owned()]);
    matcher.put_request(&request(1, 8, outsider, Wants::Exact(None)));
    assert!(matcher.round(ALL).demands.is_empty());
    worker.groups = Some(["lab".to_owned(), "other".to_owned()].into());
    matcher.put_worker(&worker);
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
    worker.groups = None;
    matcher.put_worker(&worker);
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
    worker.groups = Some(["lab".to_owned()].into());
    matcher.put_worker(&worker);
    assert!(matcher.round(ALL).demands.is_empty());
}

#[test]
fn requests_that_want_the_same_share_their_candidates() {
    let workers: Vec<_> = (1..=3).map(|number| idle(number, &[("board", "x")], &[])).collect();
    let mut matcher = matcher(&workers);
    for number in 1..=5 {
        matcher.put_request(&wish(number, 8, &["board=x"]));
    }
    matcher.put_request(&wish(6, 8, &["board=x", "!camera"]));
    let round = matcher.round(ALL);
    assert_eq!(round.candidate_sets.len(), 2);
    assert_eq!(demanded(&round), [1, 2, 3, 6], "no more demands of a class than candidates");
}

#[test]
fn a_class_gets_on_to_its_next_requests_when_the_first_are_declined() {
    let mut matcher = matcher(&[idle(1, &[], &[]), idle(2, &[], &[])]);
    for number in 1..=5 {
        matcher.put_request(&wish(number, 8, &[]));
    }
    let mut asked = Vec::new();
    while matcher.has_work() {
        let round = matcher.round(ALL);
        for demand in &round.demands {
            matcher.declined(demand.request);
        }
        asked.extend(demanded(&round));
    }
    assert_eq!(asked, [1, 2, 3, 4, 5], "each is asked for once");
    matcher.put_request(&wish(6, 1, &[]));
    assert_eq!(demanded(&matcher.round(ALL)), [6], "one that comes later has its turn");
    matcher.declined(RequestId(6));
    matcher.wake();
    assert_eq!(demanded(&matcher.round(ALL)), [6, 1]);
}

#[test]
fn news_between_a_round_and_its_answer_are_not_lost() {
    let mut matcher = matcher(&[idle(1, &[], &[])]);
    matcher.put_request(&wish(1, 8, &[]));
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
    matcher.put_worker(&idle(2, &[], &[]));
    matcher.declined(RequestId(1));
    assert!(matcher.has_work());
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
    matcher.declined(RequestId(1));
    assert!(!matcher.has_work());
    matcher.look_again(matcher.dense(worker_id(2)).unwrap());
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
}

#[test]
fn what_a_round_cannot_hold_is_left_for_the_next() {
    let workers: Vec<_> = (1..=4).map(|number| idle(number, &[], &[])).collect();
    let mut matcher = matcher(&workers);
    for number in 1..=3 {
        matcher.put_request(&wish(number, 8, &["!a"]));
        matcher.put_request(&wish(number + 10, 8, &["!b"]));
    }
    let two = RoundLimits { max_demands: 2, max_candidates: 0 };
    let mut asked = Vec::new();
    while matcher.has_work() {
        let round = matcher.round(two);
        assert!(round.demands.len() <= 2);
        for demand in &round.demands {
            matcher.remove_request(demand.request);
        }
        asked.extend(demanded(&round));
    }
    assert_eq!(asked, [1, 2, 3, 11, 12, 13]);
}

#[test]
fn a_cut_set_holds_the_least_capable_and_the_rest_is_shown_when_one_of_them_is_taken() {
    let workers =
        [idle(1, &[("a", "1"), ("b", "1")], &[]), idle(2, &[("a", "1")], &[]), idle(3, &[("a", "1")], &[])];
    let mut matcher = matcher(&workers);
    matcher.put_request(&wish(1, 8, &["a"]));
    matcher.put_request(&wish(2, 8, &["a=1"]));
    let one = RoundLimits { max_demands: 0, max_candidates: 1 };
    let shown = |matcher: &mut Matcher| {
        let round = matcher.round(one);
        let sets = round.candidate_sets.iter();
        let workers =
            sets.map(|set| set.iter().map(|dense| matcher.worker_of(*dense).unwrap().0.as_u128()).collect());
        (demanded(&round), workers.collect::<Vec<Vec<_>>>())
    };
    assert_eq!(shown(&mut matcher), (vec![1, 2], vec![vec![2], vec![2]]));
    // The first gets it; the policy leaves the second waiting, for all that it has seen.
    matcher.remove_request(RequestId(1));
    matcher.put_worker(&running(&workers[1]));
    matcher.declined(RequestId(2));
    assert!(matcher.has_work());
    assert_eq!(shown(&mut matcher), (vec![2], vec![vec![3]]));
    matcher.declined(RequestId(2));
    assert!(!matcher.has_work());
}

#[test]
fn own_keys_of_the_policy_do_not_filter() {
    let mut matcher = matcher(&[idle(1, &[("board", "x")], &[])]);
    matcher.put_request(&wish(1, 8, &["board=x", "near=me"]));
    assert!(matcher.round(ALL).demands.is_empty());
    matcher.set_own_keys(BTreeSet::from(["near".to_owned()]));
    assert!(matcher.has_work());
    assert_eq!(demanded(&matcher.round(ALL)), [1]);
    matcher.set_own_keys(BTreeSet::from(["board".to_owned()]));
    assert!(matcher.round(ALL).demands.is_empty());
}

#[test]
fn dense_numbers_are_given_again_only_after_removal() {
    let mut matcher = matcher(&[idle(1, &[], &[]), idle(2, &[], &[])]);
    let (one, two) = (matcher.dense(worker_id(1)).unwrap(), matcher.dense(worker_id(2)).unwrap());
    assert_ne!(one, two);
    matcher.put_worker(&running(&idle(1, &[("a", "b")], &["g"])));
    assert_eq!(matcher.dense(worker_id(1)), Some(one));
    matcher.remove_worker(worker_id(1));
    assert_eq!((matcher.dense(worker_id(1)), matcher.worker_of(one)), (None, None));
    matcher.put_worker(&idle(3, &[], &[]));
    assert_eq!(matcher.worker_of(one), Some(worker_id(3)));
    assert_eq!(matcher.worker_of(two), Some(worker_id(2)));
}

#[test]
fn explanations_count_what_stands_in_the_way() {
    let mut workers = vec![
        idle(1, &[("board", "x"), ("uart", "2")], &[]),
        idle(2, &[("board", "x"), ("uart", "1")], &["lab"]),
        idle(3, &[("board", "y"), ("uart", "3")], &[]),
    ];
    workers[0].state = State::Running;
    let matcher = matcher(&workers);
    let explain = |groups: &[&str], terms: &[&str]| {
        let groups = OwnerGroups::Some(groups.iter().map(|group| (*group).to_owned()).collect());
        matcher.explain(&groups, &Wants::parse(terms).unwrap())
    };
    let running = BTreeMap::from([(State::Running, 1)]);
    assert_eq!(
        explain(&[], &["board=x"]),
        Explanation {
            matching: 1,
            by_state: running,
            held: BTreeMap::new(),
            blocked_by_groups: 1,
            best_unmet: None
        }
    );
    assert_eq!(explain(&["lab"], &["board=x"]).matching, 2);
    assert_eq!(
        explain(&[], &["board=x", "uart=3..", "!camera"]),
        Explanation {
            best_unmet: Some(Unmet { term: "board=x".to_owned(), others_met_by: 1 }),
            ..Explanation::default()
        }
    );
    assert_eq!(
        explain(&["lab"], &["board=x", "uart=3..", "!camera"]).best_unmet,
        Some(Unmet { term: "uart=3..".to_owned(), others_met_by: 2 })
    );
    assert_eq!(explain(&[], &["board=z", "uart=9"]).best_unmet, None, "no single term stands in the way");
    assert_eq!(explain(&[], &[]).matching, 2);
}

#[test]
fn large_sets_are_filtered_and_in_order_too() {
    let values = ["1", "2", "1,3", "2..4"];
    let worker = |number: u128| {
        let value = values[(number % 4) as usize];
        let capabilities = [("a", value), ("b", "x"), ("c", "y"), ("d", "z")];
        let groups = ["g", "h"];
        idle(1000 - number, &capabilities[..1 + (number % 3) as usize], &groups[..(number % 5 % 3) as usize])
    };
    let workers: Vec<_> = (0..500).map(worker).collect();
    let mut matcher = matcher(&workers);
    let wants = Wants::parse(&["a=2..", "!d", "b!=q"]).unwrap();
    let groups = OwnerGroups::Some(vec!["g".to_owned()]);
    matcher.put_request(&request(1, 8, groups.clone(), wants.clone()));
    let round = matcher.round(ALL);
    let fits =
        |worker: &&Worker| wants.matches(worker.capabilities.effective()) && groups.may_use(worker.groups());
    let mut expected: Vec<_> = workers.iter().filter(fits).collect();
    expected.sort_by_key(|worker| (worker.capabilities.effective().len() + worker.groups().len(), worker.id));
    let expected: Vec<_> = expected.iter().map(|worker| worker.id).collect();
    let shown: Vec<_> =
        round.candidate_sets[0].iter().map(|dense| matcher.worker_of(*dense).unwrap()).collect();
    assert!((200..400).contains(&expected.len()), "{}", expected.len());
    assert_eq!(shown, expected);
}

#[test]
fn the_candidates_of_a_round_are_bounded() {
    let workers: Vec<_> = (1..=4000).map(|number| idle(number, &[], &[])).collect();
    let mut matcher = matcher(&workers);
    for number in 1..=1100 {
        matcher.put_request(&wish(number, 8, &[&format!("!x{number}")]));
    }
    let mut asked = Vec::new();
    while matcher.has_work() {
        let round = matcher.round(ALL);
        assert!(round.candidate_sets.iter().map(Vec::len).sum::<usize>() <= 4_000_000);
        for demand in &round.demands {
            matcher.remove_request(demand.request);
        }
        asked.push(demanded(&round));
    }
    assert_eq!(asked.concat(), (1..=1100).collect::<Vec<_>>());
    assert_eq!(asked[0].len(), 1000);
}
