//! Plugins: installed, swapped, pinned, rolled back and removed while the farm runs.

use std::sync::Arc;
use std::time::Duration;

use grove_control::fakes::{Behaviour, Mood};
use grove_control::refusal::Refused;
use grove_control::settings::{Caps, Timeouts};
use grove_control::{Settings, Want};
use grove_domain::moment::SignedDuration;
use grove_domain::plugin::{Digest, Refusal, Rules};
use grove_domain::request;
use grove_domain::task::Phase;
use grove_domain::worker::{Edit, FailureKind, State};

use crate::support::{Farm, digest, id, kinds_of, policy, registration, version};

fn fails(kind: FailureKind) -> Behaviour {
    Behaviour::Fail(kind, "the driver says no".to_owned())
}

fn pin(version: Option<Digest>) -> Edit {
    Edit { driver_version: Some(version), ..Edit::default() }
}

/// Worker `number` runs a task `prepare`, whatever comes of it.
async fn prepare(farm: &Farm, number: u128) {
    let want = Want::Maintenance { rerun: false, interrupt: true };
    farm.controller.move_worker("admin", id(number), want, None).await.unwrap();
    farm.settle().await;
    let force = Want::Idle { force: true };
    farm.controller.move_worker("admin", id(number), force, None).await.unwrap();
    farm.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_life_of_a_plugin() {
    let farm = Farm::new().await;
    let controller = &farm.controller;
    let (first, kept) = controller.install_plugin("admin", version('A'), false, None).await.unwrap();
    assert_eq!((first.enabled, first.active, first.revision), (false, None, 1));
    assert_eq!(*kept, version('A'));
    let on = controller.enable_plugin("admin", "fake", Some(1)).await.unwrap();
    assert_eq!((on.in_use(), on.revision), (Some(digest('A')), 2));

    // The same again is nothing new, whenever and from wherever it comes.
    let again = grove_domain::plugin::PluginVersion { installed: farm.now(), ..version('A') };
    let (same, kept) = controller.install_plugin("admin", again, true, None).await.unwrap();
    assert_eq!((same, kept), (on.clone(), Arc::new(version('A'))));

    let second = farm.install(version('B')).await;
    assert_eq!((second.active, second.previous), (Some(digest('B')), Some(digest('A'))));
    assert!(second.probation.is_some());
    farm.pass(Duration::from_secs(301)).await;
    let proved = farm.plugin("fake");
    assert_eq!((proved.probation, proved.previous), (None, Some(digest('A'))));
    let gone = controller.remove_plugin_version("admin", "fake", digest('A'), None).await.unwrap();
    assert_eq!(*gone, version('A'));
    assert_eq!(farm.plugin("fake").previous, None);
    controller.disable_plugin("admin", "fake", None).await.unwrap();
    controller.remove_plugin_version("admin", "fake", digest('B'), None).await.unwrap();
    assert!(controller.farm().plugins().is_empty() && controller.farm().plugin_versions().is_empty());
    let kinds = [
        "plugin.installed",
        "plugin.enabled",
        "plugin.installed",
        "plugin.swapped",
        "plugin.removed",
        "plugin.disabled",
        "plugin.removed",
    ];
    assert_eq!(kinds_of(&farm, "plugin/fake"), kinds);
    let swapped = &farm.events("plugin.swapped")[0];
    let labels = (swapped.before.as_deref(), swapped.after.as_deref(), swapped.actor.as_str());
    assert_eq!(labels, (Some("1.A (414141414141)"), Some("1.B (424242424242)"), "admin"));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn running_tasks_end_on_the_version_that_they_began_on() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(10)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.install(version('B')).await;
    farm.idle_soon(2, &[]).await;
    farm.pass(Duration::from_secs(11)).await;
    assert_eq!(farm.ran_on(1), [("prepare", Some(digest('A')))]);
    assert_eq!(farm.ran_on(2), [("prepare", Some(digest('B')))]);
    let task = farm.controller.task(task).await.unwrap();
    assert_eq!((task.status.phase, task.spec.driver_version), (Phase::Succeeded, Some(digest('A'))));
    assert_eq!(farm.plugin("fake").probation.unwrap().outcomes, 1, "the old one's end is not the new one's");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_pin_is_stronger_than_a_swap() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.idle(1, &[]).await;
    farm.idle(2, &[]).await;
    let unknown = farm.controller.edit_worker("admin", id(1), pin(Some(digest('Z'))), None).await;
    let refused = Refused::NoSuchVersion { plugin: "fake".to_owned(), digest: digest('Z') };
    assert_eq!(unknown, Err(refused));
    let before = farm.worker(1);
    let pinned = farm.controller.edit_worker("admin", id(1), pin(Some(digest('A'))), None).await.unwrap();
    assert_eq!((pinned.state, pinned.generation), (before.state, before.generation));
    assert_eq!(pinned.revision, before.revision + 1);
    assert_eq!(farm.events("worker.edited")[0].note.as_deref(), Some("driver version"));
    farm.install(version('B')).await;
    farm.pass(Duration::from_secs(301)).await;
    for number in [1, 2] {
        prepare(&farm, number).await;
    }
    assert_eq!(farm.ran_on(1).last(), Some(&("prepare", Some(digest('A')))));
    assert_eq!(farm.ran_on(2).last(), Some(&("prepare", Some(digest('B')))));

    let remove = || farm.controller.remove_plugin_version("admin", "fake", digest('A'), None);
    let pinned = Refusal::Pinned { workers: 1, first: id(1) };
    assert_eq!(remove().await, Err(Refused::Plugin(pinned)));
    farm.controller.edit_worker("admin", id(1), pin(None), None).await.unwrap();
    remove().await.unwrap();
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_goes_back() {
    for (kind, goes_back) in [
        (FailureKind::Plugin, true),
        (FailureKind::Device, true),
        (FailureKind::Config, true),
        (FailureKind::Unsupported, true),
        (FailureKind::Environment, false),
    ] {
        let farm = Farm::new().await;
        farm.install(version('A')).await;
        for number in 1..=4 {
            farm.add(number, &[]).await;
        }
        farm.install(version('B')).await;
        farm.fakes.drivers.behave_on(digest('B'), "prepare", fails(kind));
        for number in 1..=4 {
            farm.want_idle(number).await;
            farm.settle().await;
        }
        let plugin = farm.plugin("fake");
        if !goes_back {
            assert_eq!(plugin.active, Some(digest('B')), "{kind:?}");
            assert_eq!(plugin.probation.map(|tried| (tried.outcomes, tried.failures)), Some((4, 0)));
            continue;
        }
        assert_eq!((plugin.active, plugin.previous), (Some(digest('A')), None), "{kind:?}");
        let back = &farm.events("plugin.rolled_back")[0];
        let note = "version 1.B (424242424242) was rolled back: 3 of 3 failed, the last: the driver says no";
        assert_eq!((back.note.as_deref(), back.actor.as_str()), (Some(note), "core"));
        assert_eq!(plugin.trouble.as_deref(), Some(note));
        assert_eq!(farm.ran_on(4), [("prepare", Some(digest('A')))], "the fourth is spared");
        assert_eq!(farm.worker(4).state, State::Idle);
        assert_eq!(farm.controller.farm().plugin_versions().len(), 2, "it stays installed");
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_says_nothing_and_good_ends_weigh() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.add(1, &[]).await;
    farm.install(version('B')).await;
    farm.fakes.drivers.behave_on(digest('B'), "prepare", Behaviour::Hang);
    for _ in 0..5 {
        prepare(&farm, 1).await;
    }
    let (task, _) = farm.worker(1).task.unwrap();
    farm.controller.cancel_task("admin", task).await.unwrap();
    let tried = farm.plugin("fake").probation.unwrap();
    assert_eq!((tried.outcomes, tried.failures), (4, 0), "each time but the first it was put in maintenance");
    // Half of all is too much, less is not.
    farm.fakes.drivers.behave_on(digest('B'), "prepare", fails(FailureKind::Device));
    for _ in 0..20 {
        prepare(&farm, 1).await;
    }
    assert_eq!(farm.plugin("fake").active, Some(digest('B')));
    farm.fakes.drivers.behave_on(digest('B'), "maintain", fails(FailureKind::Device));
    for _ in 0..20 {
        prepare(&farm, 1).await;
    }
    assert_eq!(farm.plugin("fake").active, Some(digest('A')));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn late_failures_of_the_old_version_do_not_count() {
    let timeouts = Timeouts { prepare: Duration::from_secs(20), ..Timeouts::default() };
    let farm = Farm::with(Settings { timeouts, ..Settings::default() }).await;
    farm.install(version('A')).await;
    farm.fakes.drivers.behave_on(digest('A'), "prepare", Behaviour::Hang);
    for number in 1..=4 {
        farm.idle_soon(number, &[]).await;
    }
    farm.settle().await;
    farm.install(version('B')).await;
    farm.pass(Duration::from_secs(21)).await;
    for number in 1..=4 {
        assert_eq!(farm.worker(number).state, State::Failed, "its time was up, on the version of before");
    }
    farm.fakes.drivers.behave_on(digest('A'), "prepare", fails(FailureKind::Plugin));
    for number in 5..=8 {
        farm.add(number, &[]).await;
        farm.controller.edit_worker("admin", id(number), pin(Some(digest('A'))), None).await.unwrap();
        farm.want_idle(number).await;
        farm.worker_is(number, State::Failed).await;
    }
    let plugin = farm.plugin("fake");
    assert_eq!(plugin.active, Some(digest('B')));
    assert_eq!(plugin.probation.map(|tried| tried.outcomes), Some(0), "those pinned to the old one neither");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cannot_be_loaded() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    let failed =
        |letter| farm.controller.plugin_load_failed("fake", digest(letter), "no such import".to_owned());
    let trouble = failed('A').await.unwrap();
    assert_eq!(trouble.in_use(), Some(digest('A')), "there is nothing to go back to");
    assert!(trouble.trouble.as_ref().unwrap().contains("no such import"), "{trouble:?}");
    assert_eq!(farm.events("plugin.failing").len(), 1);
    farm.install(version('B')).await;
    assert_eq!(failed('A').await, Err(Refused::Plugin(Refusal::Stale)));
    let back = failed('B').await.unwrap();
    assert_eq!((back.active, back.probation), (Some(digest('A')), None));
    assert_eq!(farm.events("plugin.rolled_back").len(), 1);
    let nobody = farm.controller.plugin_load_failed("nobody", digest('A'), String::new()).await;
    assert_eq!(nobody, Err(Refused::NoSuchPlugin("nobody".to_owned())));
    farm.controller.plugin_refused("admin", "fake", "it wants the moon".to_owned()).await.unwrap();
    assert_eq!(farm.events("plugin.refused")[0].note.as_deref(), Some("it wants the moon"));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_on_a_disabled_driver() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.add(1, &[]).await;
    farm.controller.edit_worker("admin", id(1), pin(Some(digest('A'))), None).await.unwrap();
    farm.controller.disable_plugin("admin", "fake", None).await.unwrap();
    let what_to_do = "driver \"fake\" is disabled; enable it first: grove plugin enable fake";
    let answer = farm.controller.register("board", id(2), registration(&[]), Edit::default(), None).await;
    assert_eq!(answer, Err(Refused::DriverDisabled("fake".to_owned())));
    assert_eq!(answer.unwrap_err().to_string(), what_to_do);
    farm.want_idle(1).await;
    farm.pass(Duration::from_secs(1000)).await;
    assert_eq!(farm.worker(1).state, State::Prepare, "it is not the board's fault");
    assert!(farm.calls(1).is_empty());
    let told = farm.events("farm.shortage");
    assert!(told[0].note.as_ref().unwrap().starts_with(what_to_do), "{told:?}");
    assert_eq!(told.len(), 1);
    farm.controller.enable_plugin("admin", "fake", None).await.unwrap();
    farm.pass(Duration::from_millis(100)).await;
    assert_eq!(farm.worker(1).state, State::Idle);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_looked_at_by_the_version_that_will_run() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.install(version('B')).await;
    let pinned = pin(Some(digest('A')));
    farm.controller.register("board", id(1), registration(&[]), pinned, None).await.unwrap();
    assert_eq!(farm.worker(1).driver_version, Some(digest('A')));
    let wrong = pin(Some(digest('Z')));
    let answer = farm.controller.register("board", id(2), registration(&[]), wrong, None).await;
    assert!(matches!(answer, Err(Refused::NoSuchVersion { .. })), "{answer:?}");
    assert!(farm.controller.farm().worker(id(2)).is_none());
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_needed_stays() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.add(1, &[]).await;
    let remove = || farm.controller.remove_plugin_version("admin", "fake", digest('A'), None);
    assert_eq!(remove().await, Err(Refused::Plugin(Refusal::Active(digest('A')))));
    farm.controller.disable_plugin("admin", "fake", None).await.unwrap();
    assert_eq!(remove().await, Err(Refused::Plugin(Refusal::Used { workers: 1, first: id(1) })));
    farm.controller.deregister("admin", id(1), false, None).await.unwrap();
    remove().await.unwrap();
    assert_eq!(remove().await, Err(Refused::NoSuchPlugin("fake".to_owned())));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn caps_and_revisions_hold_for_plugins_too() {
    let caps = Caps { plugin_versions: 2, ..Caps::default() };
    let farm = Farm::with(Settings { caps, ..Settings::default() }).await;
    farm.install(version('A')).await;
    farm.install(version('B')).await;
    let third = farm.controller.install_plugin("admin", version('C'), false, None).await;
    assert_eq!(third, Err(Refused::Full { what: "plugin versions", limit: 2 }));
    farm.install(version('B')).await;
    let current = farm.plugin("fake").revision;
    let stale = Refused::Revision { current };
    let controller = &farm.controller;
    let old = Some(current + 1);
    assert_eq!(controller.swap_plugin("admin", "fake", digest('A'), old).await, Err(stale.clone()));
    assert_eq!(controller.enable_plugin("admin", "fake", old).await, Err(stale.clone()));
    assert_eq!(controller.disable_plugin("admin", "fake", old).await, Err(stale.clone()));
    let removed = controller.remove_plugin_version("admin", "fake", digest('A'), old).await;
    assert_eq!(removed, Err(stale));
    controller.swap_plugin("admin", "fake", digest('A'), Some(current)).await.unwrap();
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn one_policy_steps_down_for_another() {
    let farm = Farm::new().await;
    farm.install(policy("fair", 'A')).await;
    farm.install(policy("greedy", 'B')).await;
    assert_eq!(farm.controller.farm().policy().unwrap().name, "greedy");
    assert!(!farm.plugin("fair").enabled);
    farm.controller.enable_plugin("admin", "fair", None).await.unwrap();
    assert_eq!(farm.controller.farm().policy().unwrap().name, "fair");
    farm.controller.disable_plugin("admin", "fair", None).await.unwrap();
    assert!(farm.controller.farm().policy().is_none());
    let kinds =
        ["plugin.installed", "plugin.enabled", "plugin.disabled", "plugin.enabled", "plugin.disabled"];
    assert_eq!(kinds_of(&farm, "plugin/fair"), kinds);
    farm.check_settled();
}

async fn opens(farm: &Farm) {
    let request = farm.ask(&[]).await;
    farm.request_is(request, request::State::InProgress).await;
    farm.close(request).await;
    farm.worker_is(1, State::Idle).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_comes_is_swapped_and_goes() {
    let farm = Farm::new().await;
    let policies = &farm.fakes.policies;
    policies.activate("", None);
    farm.controller.policy_changed().await;
    farm.idle(1, &[]).await;
    opens(&farm).await;
    assert!(policies.opened().iter().all(|name| name == "fake"), "that of before it was told");
    let before = policies.opened().len();
    policies.activate("fair", Some(digest('A')));
    farm.install(policy("fair", 'A')).await;
    farm.controller.policy_changed().await;
    opens(&farm).await;
    policies.activate("greedy", Some(digest('B')));
    farm.install(policy("greedy", 'B')).await;
    policies.info(&["board"], 0);
    farm.controller.policy_changed().await;
    opens(&farm).await;
    let mut opened = policies.opened().split_off(before);
    opened.dedup();
    assert_eq!(opened, ["fair", "greedy"]);
    // A new session hears everything: the worker, too.
    let (session, ask) = policies.asked().pop().unwrap();
    assert_eq!(session, policies.opened().len() as u64);
    assert!(!ask.demands.is_empty());

    // Only the policy could match this; without one the core does.
    let only_it = farm.ask(&["board=pi"]).await;
    farm.settle().await;
    farm.close(only_it).await;
    farm.worker_is(1, State::Idle).await;
    policies.activate("", None);
    farm.controller.disable_plugin("admin", "greedy", None).await.unwrap();
    farm.controller.policy_changed().await;
    let strict = farm.ask(&["board=pi"]).await;
    farm.settle().await;
    assert_eq!(farm.request(strict).state, request::State::Waiting);
    opens(&farm).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_goes_back() {
    let farm = Farm::new().await;
    let policies = &farm.fakes.policies;
    farm.install(policy("fair", 'A')).await;
    policies.activate("fair", Some(digest('A')));
    farm.controller.policy_changed().await;
    farm.idle(1, &[]).await;
    opens(&farm).await;
    farm.install(policy("fair", 'B')).await;

    // The old version still answers, and fails: that is not held against the new one.
    policies.script(Some(Arc::new(|_| Err("trap".to_owned()))));
    opens(&farm).await;
    assert_eq!(farm.events("policy.failed").len(), 1);
    assert_eq!(farm.plugin("fair").probation.unwrap().outcomes, 0);

    policies.activate("fair", Some(digest('B')));
    farm.controller.policy_changed().await;
    for _ in 0..4 {
        opens(&farm).await;
        farm.pass(Duration::from_secs(5)).await;
    }
    let back = farm.plugin("fair");
    assert_eq!((back.active, back.previous), (Some(digest('A')), None));
    assert!(back.trouble.as_ref().unwrap().contains("the last: trap"), "{back:?}");
    policies.script(None);
    policies.activate("fair", Some(digest('A')));
    farm.controller.policy_changed().await;
    let before = farm.events("policy.failed").len();
    opens(&farm).await;
    assert_eq!(farm.events("policy.failed").len(), before, "the one of before is asked at once");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_a_replaced_policy_still_says_does_not_hold_up_the_new_one() {
    let farm = Farm::new().await;
    let policies = &farm.fakes.policies;
    farm.idle(1, &[]).await;
    policies.mood(Mood::Silent);
    let request = farm.ask(&[]).await;
    farm.settle().await;
    policies.mood(Mood::Willing);
    policies.activate("fair", Some(digest('A')));
    farm.controller.policy_changed().await;
    farm.pass(Duration::from_secs(11)).await;
    assert_eq!(farm.request(request).state, request::State::InProgress);
    assert_eq!(farm.events("policy.failed").len(), 1);
    assert_eq!(policies.opened().last().map(String::as_str), Some("fair"), "it need not wait for a retry");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_probation_goes_on_after_a_restart() {
    for back in [false, true] {
        let mut farm = Farm::new().await;
        farm.install(version('A')).await;
        for number in 1..=3 {
            farm.add(number, &[]).await;
        }
        farm.install(version('B')).await;
        farm.fakes.drivers.behave_on(digest('B'), "prepare", fails(FailureKind::Config));
        for number in 1..=2 {
            farm.want_idle(number).await;
            farm.settle().await;
        }
        farm.pass(Duration::from_secs(200)).await;
        farm.crash_and_restart().await;
        let tried = farm.plugin("fake").probation.unwrap();
        assert!(tried.failures >= 2, "{tried:?}");
        if back {
            farm.want_idle(3).await;
            farm.settle().await;
            assert_eq!(farm.plugin("fake").active, Some(digest('A')));
        } else {
            farm.pass(Duration::from_secs(110)).await;
            assert_eq!(
                (farm.plugin("fake").probation, farm.plugin("fake").active),
                (None, Some(digest('B')))
            );
        }
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_did_not_happen() {
    let farm = Farm::new().await;
    farm.install(version('A')).await;
    farm.fakes.store.break_with(Some("disk full"));
    let refused = farm.controller.install_plugin("admin", version('B'), true, None).await;
    assert!(matches!(refused, Err(Refused::Unavailable(_))), "{refused:?}");
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.plugin("fake").active, Some(digest('A')));
    farm.check_settled();
    farm.install(version('B')).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn the_rules_are_settings() {
    let plugin_rules = Rules { probation: SignedDuration::from_secs(60), failures: 1, percent: 1 };
    let farm = Farm::with(Settings { plugin_rules, ..Settings::default() }).await;
    farm.install(version('A')).await;
    farm.add(1, &[]).await;
    farm.install(version('B')).await;
    farm.fakes.drivers.behave_on(digest('B'), "prepare", fails(FailureKind::Device));
    farm.want_idle(1).await;
    farm.settle().await;
    assert_eq!(farm.plugin("fake").active, Some(digest('A')));
    farm.swap("fake", 'B').await;
    farm.pass(Duration::from_secs(61)).await;
    assert_eq!(farm.plugin("fake").probation, None);
    farm.check_settled();
}
