//! What stays true of plugins whatever happens to them.

use std::sync::Arc;

use grove_domain::plugin::{
    Context, Effect, Event, Happening, Plugin, PluginVersion, Refusal, Rules, Transition, step,
};
use proptest::prelude::*;

use crate::fixtures::at;
use crate::plugin::{EVERYWHERE, all_versions, digest, events, stepped, version};

fn coming() -> impl Strategy<Value = Event> {
    let letter = prop::sample::select(vec!['A', 'B', 'C', 'D']);
    let failed = prop::sample::select(vec![true, true, false]);
    prop_oneof![
        3 => (letter.clone(), any::<bool>())
            .prop_map(|(letter, activate)| Event::Install { version: version(letter), activate }),
        3 => letter.clone().prop_map(|letter| Event::Swap { to: digest(letter) }),
        2 => Just(Event::Enable),
        1 => Just(Event::Disable),
        2 => letter.clone().prop_map(|letter| Event::Remove { digest: digest(letter) }),
        8 => (letter.clone(), failed).prop_map(|(letter, failed)| Event::Outcome {
            digest: digest(letter),
            failed,
            reason: "no answer".to_owned(),
        }),
        1 => letter.prop_map(|letter| Event::LoadFailed { digest: digest(letter), reason: "gone".to_owned() }),
        1 => Just(Event::ProbationDue),
    ]
}

/// What is true of every plugin.
fn check(plugin: &Plugin, versions: &[Arc<PluginVersion>]) {
    let installed = |wanted| versions.iter().any(|version| version.digest == wanted);
    assert!(plugin.active.is_none_or(installed), "{plugin:?}");
    assert!(plugin.previous.is_none_or(installed), "{plugin:?}");
    assert!(plugin.previous.is_none() || plugin.previous != plugin.active, "{plugin:?}");
    assert!(!plugin.enabled || plugin.active.is_some(), "{plugin:?}");
    assert!(plugin.probation.is_none() || plugin.active.is_some() && plugin.previous.is_some(), "{plugin:?}");
    let failures = plugin.probation.map(|probation| (probation.failures, probation.outcomes));
    assert!(failures.is_none_or(|(failures, outcomes)| failures <= outcomes), "{plugin:?}");
    assert!(!versions.is_empty(), "a plugin has versions");
}

/// What is true of every step from `before`.
fn check_step(before: &Plugin, event: &Event, next: &Transition) {
    let Transition { plugin, effects } = next;
    let changed = Plugin { revision: before.revision, ..plugin.clone() } != *before;
    assert_eq!(plugin.revision, before.revision + u64::from(changed), "the revision counts changes");
    assert_eq!((&plugin.name, plugin.kind), (&before.name, before.kind));
    let tells = |what| {
        effects.iter().any(|effect| matches!(effect, Effect::Tell { what: told, .. } if *told == what))
    };
    if plugin.active != before.active {
        let said = [Happening::Swapped, Happening::RolledBack, Happening::Enabled].into_iter().any(tells);
        assert!(said, "another version is told of: {event:?}");
        assert_eq!(tells(Happening::RolledBack), plugin.trouble.is_some());
    }
    if plugin.enabled != before.enabled {
        assert!(tells(if plugin.enabled { Happening::Enabled } else { Happening::Disabled }));
    }
    if tells(Happening::RolledBack) {
        assert_eq!(plugin.active, before.previous, "it goes back to what was before");
        assert_eq!((plugin.previous, plugin.probation), (None, None), "and stays there");
    }
    if let Event::Outcome { digest, .. } = event {
        assert_eq!(before.in_use(), Some(*digest), "only what is in use is counted");
        assert!(before.probation.is_some());
    }
}

#[test]
fn the_places_of_the_table_and_every_step_from_them_are_sound() {
    for before in EVERYWHERE.into_iter().filter_map(|place| place.plugin()) {
        check(&before, &all_versions());
        for (_, event) in events() {
            if let Ok(next) = stepped(Some(&before), event.clone()) {
                check_step(&before, &event, &next);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plugin_stays_sound(events in prop::collection::vec(coming(), 1..80)) {
        let rules = Rules::default();
        let mut versions: Vec<Arc<PluginVersion>> = Vec::new();
        let mut plugin: Option<Plugin> = None;
        for (turn, event) in events.into_iter().enumerate() {
            let now = at(turn as i64 * 60);
            let context =
                Context { now, rules: &rules, versions: &versions, policy: None, pinned: &[], users: &[] };
            let next = match step(plugin.as_ref(), event.clone(), context) {
                Ok(next) => next,
                Err(refusal) => {
                    prop_assert_eq!(refusal == Refusal::Unknown, plugin.is_none());
                    continue;
                }
            };
            if let Some(before) = &plugin {
                check_step(before, &event, &next);
            } else {
                prop_assert_eq!(next.plugin.revision, 1);
            }
            plugin = Some(next.plugin);
            for effect in next.effects {
                match effect {
                    Effect::Keep(version) => versions.push(version),
                    Effect::Drop(digest) => versions.retain(|version| version.digest != digest),
                    Effect::Removed => plugin = None,
                    Effect::Disable(_) | Effect::Tell { .. } => {}
                }
            }
            prop_assert_eq!(plugin.is_none(), versions.is_empty());
            if let Some(plugin) = &plugin {
                check(plugin, &versions);
            }
        }
    }
}
