//! What is concluded from inventories, by which inspectors and rules, and who sees it.

use std::time::Duration;

use grove_control::fakes::{Behaviour, Inspection};
use grove_control::refusal::Refused;
use grove_control::{Settings, Want};
use grove_domain::capability::Map;
use grove_domain::history::IntrospectionQuery;
use grove_domain::id::{IntrospectionId, RuleId, Uuid};
use grove_domain::introspection::{Kind, Refusal, State};
use grove_domain::plugin;
use grove_domain::request;
use grove_domain::rule::Rule;
use grove_domain::worker::{self, Edit};

use crate::support::introspections::{failing, found, map, rule, settings};
use crate::support::{Farm, digest, failure, id, inspector};

#[tokio::test(start_paused = true)]
async fn what_was_found_matches_a_worker_that_is_idle_already() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    let wanted = farm.ask(&["uart>=2"]).await;
    farm.settle().await;
    assert_eq!(farm.request(wanted).state, request::State::Waiting);
    let generation = farm.worker(1).generation;
    farm.controller.add_rule("admin", rule(1, "/cpus", "uart", "2")).await.unwrap();
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.request_is(wanted, request::State::InProgress).await;
    assert_eq!(farm.worker(1).generation, generation + 1, "only the match moved it");
    assert_eq!(farm.calls(1).iter().filter(|call| **call == "inventory").count(), 1);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn reapply_touches_no_board_and_the_same_leads_to_the_same() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.fakes.drivers.inventory(id(1), "{\"cpus\":4,\"usb\":2}");
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    farm.settle().await;
    let (before, calls) = (farm.worker(1), farm.calls(1));
    let first = farm.run(run);
    farm.fakes.inspectors.behave(Inspection::After(Duration::from_secs(1)));
    farm.pass(Duration::from_secs(60)).await;
    let reapplying = farm.controller.reapply_introspection("admin", run, Some(first.revision)).await.unwrap();
    assert_eq!((reapplying.state, reapplying.finished), (State::Reapplying, None), "it has not ended");
    assert!(reapplying.started > first.started);
    farm.run_is(run, State::Finished).await;
    assert_eq!(farm.worker(1), before, "not even a revision");
    // In any state of the worker, with other rules, and back.
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.controller.add_rule("admin", rule(7, "/usb", "ports", "{data[usb]}")).await.unwrap();
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1), map(&[("cpus", "4"), ("usb", "2"), ("ports", "2")]));
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    let rule_id = RuleId(Uuid::from_u128(7));
    let by = farm.controller.findings(run).await.unwrap().unwrap().by;
    assert_eq!(by["ports"], format!("rule/{rule_id}"));
    farm.controller.remove_rule("admin", rule_id, None).await.unwrap();
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Finished).await;
    assert_eq!(farm.worker(1).capabilities, before.capabilities);
    assert_eq!(farm.events("worker.drift"), [], "other conclusions are not news of the board");
    let calls_now: Vec<_> = farm.calls(1).into_iter().filter(|call| *call != "prepare").collect();
    assert_eq!(calls_now, calls);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_fails_changes_nothing_and_is_named() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    let processed = farm.controller.inventory(run, Kind::Processed).await.unwrap();
    let before = farm.worker(1).capabilities.clone();
    let reapply = async || {
        farm.controller.reapply_introspection("admin", run, None).await.unwrap();
        farm.run_is(run, State::Error).await.error.clone().unwrap()
    };
    // An inspector.
    farm.fakes.inspectors.behave(Inspection::Fail("no CPU is listed".to_owned()));
    assert_eq!(reapply().await, "inspector/fake-inspector: no CPU is listed");
    let told = farm.events("plugin.failed").pop().unwrap();
    assert_eq!(told.subject.to_string(), "plugin/fake-inspector");
    // What adapts it.
    farm.fakes.inspectors.behave(Inspection::Panic);
    assert_eq!(reapply().await, "what adapts the inspectors broke; its log says how");
    farm.fakes.inspectors.behave(Inspection::Instant);
    // The last of three rules: what the first two would change is not changed.
    farm.controller.add_rule("admin", rule(1, "/cpus", "first", "1")).await.unwrap();
    farm.controller.add_rule("admin", rule(2, "/cpus", "second", "2")).await.unwrap();
    farm.controller.add_rule("admin", failing(3, "this board is recalled")).await.unwrap();
    let third = RuleId(Uuid::from_u128(3));
    assert_eq!(reapply().await, format!("rule/{third}: this board is recalled"));
    assert_eq!(farm.worker(1).capabilities, before);
    assert_eq!(farm.controller.inventory(run, Kind::Processed).await.unwrap(), processed);
    assert!(farm.run(run).has_processed, "the result before is kept");
    // All of it, or nothing of it.
    farm.controller.remove_rule("admin", third, Some(1)).await.unwrap();
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1), map(&[("cpus", "4"), ("first", "1"), ("second", "2")]));
    // What is no inventory reaches no inspector.
    let asked = farm.fakes.inspectors.asked();
    for (number, wrong) in [(2, "[1]"), (3, "{\"a\":"), (4, "{\"UUID\":\"mine\"}")] {
        farm.add(number, &[]).await;
        farm.fakes.drivers.inventory(id(number), wrong);
        let run = farm.pull(number).await;
        let error = farm.run_is(run, State::Error).await.error.clone().unwrap();
        let expected = match number {
            2 => "an inventory is a JSON object, this is a list",
            3 => "EOF while parsing a value at line 1 column 5",
            _ => "inspector/fake-inspector: UUID is the farm's own capability",
        };
        assert_eq!(error, expected);
        assert_eq!(found(&farm, number), Map::new());
    }
    assert_eq!(farm.fakes.inspectors.asked(), asked + 1);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_inventory_is_processed_again() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let first = farm.pull(1).await;
    farm.run_is(first, State::Finished).await;
    farm.behave("inventory", failure("no answer"));
    let failed = farm.pull(1).await;
    farm.run_is(failed, State::Error).await;
    let reapply =
        async |run| farm.controller.reapply_introspection("admin", run, None).await.map(|run| run.state);
    assert_eq!(reapply(failed).await, Err(Refused::Introspection(Refusal::NothingStored)));
    assert_eq!(reapply(first).await, Ok(State::Reapplying), "the one before it is still the latest");
    farm.run_is(first, State::Finished).await;
    farm.behave("inventory", Behaviour::Hang);
    let waiting = farm.pull(1).await;
    farm.run_is(waiting, State::Waiting).await;
    assert_eq!(reapply(first).await, Err(Refused::UnderWay(waiting)));
    assert_eq!(farm.controller.reapply_all("admin").await.unwrap(), []);
    farm.behave("inventory", Behaviour::Instant);
    let later = farm.pull(1).await;
    farm.run_is(later, State::Finished).await;
    assert_eq!(reapply(first).await, Err(Refused::Outdated(later)));
    assert!(farm.controller.farm().introspection(first).is_none(), "memory holds what may still change");
    let nobody = IntrospectionId(Uuid::from_u128(99));
    assert_eq!(reapply(nobody).await, Err(Refused::NoSuchIntrospection));
    // All of them are kept, newest first.
    let query = IntrospectionQuery { worker: Some(id(1)), limit: 9, ..IntrospectionQuery::default() };
    let all: Vec<_> = farm.controller.introspections(query).await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(all, [later, waiting, failed, first]);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_contradiction_is_told_and_seen_by_wants() {
    let farm = Farm::new().await;
    farm.add(1, &[("cpus", "8"), ("board", "pi")]).await;
    let admin = Edit { capabilities: Some(map(&[("usb", "2")])), ..Edit::default() };
    farm.controller.edit_worker("admin", id(1), admin, None).await.unwrap();
    farm.fakes.drivers.inventory(id(1), "{\"cpus\":4,\"usb\":1,\"nic\":\"e1000\"}");
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    let told = farm.events("worker.drift");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].before.as_deref(), Some("cpus=8, usb=2"));
    assert_eq!(told[0].after.as_deref(), Some("cpus=4, usb=1"));
    assert_eq!(told[0].note, Some(format!("introspection {run} contradicts cpus, usb")));
    assert_eq!(found(&farm, 1)["DRIFT"], "cpus,usb");
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    let wary = farm.ask(&["board=pi", "!DRIFT"]).await;
    farm.settle().await;
    assert_eq!(farm.request(wary).state, request::State::Waiting);
    // Processed again, it is known as before.
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1)["DRIFT"], "cpus,usb");
    // What was found before and is not there any more is a broken promise, too; then nothing is.
    farm.want_maintenance(1).await;
    farm.worker_is(1, worker::State::Maintenance).await;
    farm.fakes.drivers.inventory(id(1), "{\"cpus\":4,\"usb\":2}");
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1)["DRIFT"], "nic");
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1), map(&[("cpus", "4"), ("usb", "2")]));
    assert_eq!(farm.events("worker.drift").len(), 2);
    farm.want_idle(1).await;
    farm.request_is(wary, request::State::InProgress).await;
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn rules_act_in_their_order_and_are_never_changed() {
    let mut farm = Farm::new().await;
    let first = farm.controller.add_rule("admin", rule(9, "/cpus", "size", "small")).await.unwrap();
    let second = farm.controller.add_rule("admin", rule(1, "/cpus", "size", "large")).await.unwrap();
    assert_eq!((first.place, second.place), (1, 2));
    assert_eq!((first.revision, first.created), (1, farm.now()));
    let same = farm.controller.add_rule("admin", rule(9, "/usb", "other", "1")).await.unwrap_err();
    assert_eq!(same, Refused::RuleExists(first.id));
    let none = Rule { actions: vec![], ..rule(2, "/cpus", "x", "y") };
    let invalid = farm.controller.add_rule("admin", none).await.unwrap_err();
    assert_eq!(invalid.to_string(), "actions: a rule has at least one action");
    farm.crash_and_restart().await;
    let order: Vec<_> = farm.controller.farm().rules().map(|rule| rule.id).collect();
    assert_eq!(order, [first.id, second.id]);
    farm.add(1, &[]).await;
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1)["size"], "large");
    let stale = farm.controller.remove_rule("admin", first.id, Some(4)).await.unwrap_err();
    assert_eq!(stale, Refused::Revision { current: 1 });
    assert_eq!(farm.controller.remove_rule("admin", second.id, Some(1)).await.unwrap(), second);
    let gone = farm.controller.remove_rule("admin", second.id, None).await.unwrap_err();
    assert_eq!(gone, Refused::NoSuchRule);
    assert_eq!(farm.controller.remove_rules("admin").await.unwrap(), [first]);
    assert_eq!(farm.fakes.store.rules(), []);
    assert_eq!((farm.events("rule.added").len(), farm.events("rule.removed").len()), (2, 2));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_wanted_elsewhere_is_not_held_by_its_reapplying() {
    let farm = Farm::with(settings(|introspection| introspection.first = true)).await;
    farm.add(1, &[]).await;
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    farm.fakes.inspectors.behave(Inspection::After(Duration::from_secs(60)));
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    let want = Want::Idle { force: false };
    farm.controller.move_worker("admin", id(1), want, None).await.unwrap();
    farm.worker_is(1, worker::State::Idle).await;
    assert_eq!(farm.run(run).state, State::Reapplying);
    // Reapplied in the middle, it begins anew, and ends once.
    farm.pass(Duration::from_secs(30)).await;
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.pass(Duration::from_secs(40)).await;
    assert_eq!(farm.run(run).state, State::Reapplying, "what was begun before does not count");
    farm.pass(Duration::from_secs(30)).await;
    assert_eq!(farm.run(run).state, State::Finished);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn inspections_tell_against_a_version_on_probation() {
    let plugin_rules = plugin::Rules { failures: 2, percent: 60, ..plugin::Rules::default() };
    let farm = Farm::with(Settings { plugin_rules, ..Settings::default() }).await;
    let installed = |letter| {
        farm.fakes.inspectors.version(Some(digest(letter)));
        farm.install(inspector(letter))
    };
    installed('A').await;
    farm.add(1, &[]).await;
    installed('B').await;
    let probation = || farm.plugin("fake-inspector").probation.map(|it| (it.outcomes, it.failures));
    assert_eq!(probation(), Some((0, 0)));
    let fails = || farm.fakes.inspectors.behave(Inspection::Fail("no CPU is listed".to_owned()));

    // Strangers cannot take a version away.
    fails();
    let stranger = farm.controller.enrol("board", "{}".into()).await.unwrap();
    farm.run_is(stranger.id, State::Error).await;
    assert_eq!(probation(), Some((0, 0)));

    farm.fakes.inspectors.behave(Inspection::Instant);
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    assert_eq!(probation(), Some((1, 0)));
    fails();
    for failures in 1..3 {
        let run = farm.pull(1).await;
        farm.run_is(run, State::Error).await;
        let plugin = farm.plugin("fake-inspector");
        if failures == 1 {
            assert_eq!((plugin.active, probation()), (Some(digest('B')), Some((2, 1))));
        } else {
            assert_eq!((plugin.active, plugin.probation), (Some(digest('A')), None));
            let trouble = plugin.trouble.clone().unwrap();
            assert!(trouble.contains("no CPU is listed") && trouble.contains("rolled back"), "{trouble}");
        }
    }
    farm.settle().await;
    farm.check_settled();
}
