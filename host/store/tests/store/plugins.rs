//! Plugins and their versions: what is kept of them, and what must never be. How a store without them becomes one
//! with them.

use grove_domain::plugin::{Plugin, PluginKind, PluginVersion, Probation};
use grove_domain::task::TaskKind;
use grove_store::{Batch, Change, CommitError, EventQuery, Settings, Store};

use crate::farm::{
    self, batch, commit, plugin, put_plugin, put_task, put_version, put_worker, task, version,
};

/// What the first schema holds after a busy day.
const OLD: &str = include_str!("schema_1.sql");

#[test]
fn a_store_without_plugins_becomes_one_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let old = farm::intrude(folder.path());
    old.execute_batch(OLD).unwrap();
    drop(old);
    let store = farm::open(folder.path());
    let loaded = store.load().unwrap();
    assert_eq!((loaded.workers.len(), loaded.requests.len(), loaded.live_tasks.len()), (2, 2, 1));
    assert_eq!((loaded.last_request, loaded.last_place, loaded.last_event), (7, 9, 2));
    assert!(loaded.plugins.is_empty() && loaded.plugin_versions.is_empty() && !loaded.stopped);
    assert!(loaded.workers.iter().all(|worker| worker.driver_version.is_none()));
    assert_eq!(loaded.live_tasks[0].spec.driver_version, None);
    assert_eq!(store.events(&EventQuery { limit: 9, ..Default::default() }).unwrap().len(), 2);

    // It goes on as a store of today does.
    let first = version("simulated", 1);
    let mut pinned = loaded.workers[0].clone();
    pinned.driver_version = Some(first.digest);
    pinned.revision += 1;
    let changes = [put_version(&first), put_plugin(&plugin(&first)), put_worker(&pinned)];
    commit(&store, batch(loaded.epoch, changes)).unwrap();
    drop(store);
    let loaded = farm::open(folder.path()).load().unwrap();
    assert_eq!((loaded.workers[0].clone(), loaded.plugins), (pinned, vec![plugin(&first)]));
    let found: u32 =
        farm::intrude(folder.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(found, 5);
}

#[test]
fn a_migration_that_fails_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = farm::intrude(folder.path());
    old.execute_batch(OLD).unwrap();
    old.execute_batch("CREATE TABLE plugin_versions (what TEXT)").unwrap();
    drop(old);
    assert!(Store::open(folder.path(), Settings::default()).is_err());
    let old = farm::intrude(folder.path());
    let found: u32 = old.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(found, 1);
    old.execute_batch("DROP TABLE plugin_versions").unwrap();
    drop(old);
    assert_eq!(farm::open(folder.path()).load().unwrap().workers.len(), 2);
}

/// A farm with a driver of two versions, one of them in use.
fn farm_with_driver() -> (tempfile::TempDir, Store, [PluginVersion; 2]) {
    let (folder, store) = farm::new();
    let versions = [version("simulated", 1), version("simulated", 2)];
    let epoch = store.load().unwrap().epoch;
    let changes = [put_version(&versions[0]), put_version(&versions[1]), put_plugin(&plugin(&versions[0]))];
    commit(&store, batch(epoch, changes)).unwrap();
    (folder, store, versions)
}

type Spoil<'a> = &'a dyn Fn(&mut Plugin);

fn next(plugin: &Plugin, change: impl FnOnce(&mut Plugin)) -> Plugin {
    let mut next = plugin.clone();
    next.revision += 1;
    change(&mut next);
    next
}

#[track_caller]
fn refused(store: &Store, what: &str, rule: &str, changes: impl IntoIterator<Item = Change>) {
    let before = store.load().unwrap();
    let answer = commit(store, batch(before.epoch, changes));
    assert_eq!(answer, Err(CommitError::Forbidden { what: what.to_owned(), rule: rule.to_owned() }));
    let after = store.load().unwrap();
    assert_eq!((before.plugins, before.plugin_versions), (after.plugins, after.plugin_versions));
}

#[test]
fn no_plugin_breaks_a_rule() {
    let (_folder, store, [first, second]) = farm_with_driver();
    let now = plugin(&first);
    let trial = Probation { until: farm::at(9), outcomes: 1, failures: 0 };
    let spoilt: [(&str, Spoil<'_>); 5] = [
        ("enabled_plugin_has_version", &|plugin| plugin.active = None),
        ("previous_version_is_another", &|plugin| plugin.previous = plugin.active),
        ("probation_has_two_versions", &|plugin| plugin.probation = Some(trial)),
        ("plugin_counts", &|plugin| {
            plugin.previous = Some(second.digest);
            plugin.probation = Some(Probation { failures: 2, ..trial });
        }),
        ("used_version_is_installed", &|plugin| plugin.active = Some(version("simulated", 9).digest)),
    ];
    for (rule, spoil) in spoilt {
        let what = if rule == "used_version_is_installed" {
            "plugin simulated"
        } else {
            "plugin simulated at revision 2"
        };
        refused(&store, what, rule, [put_plugin(&next(&now, spoil))]);
    }
    let gone = |version: &PluginVersion| Change::RemovePluginVersion(version.name.clone(), version.digest);
    refused(&store, "plugin simulated", "used_version_is_installed", [gone(&first)]);
    refused(
        &store,
        "plugin simulated",
        "version_has_plugin",
        [gone(&first), Change::RemovePlugin("simulated".to_owned())],
    );
    refused(&store, "plugin other", "version_has_plugin", [put_version(&version("other", 1))]);

    let epoch = store.load().unwrap().epoch;
    let twice = commit(&store, batch(epoch, [put_version(&first)]));
    assert!(matches!(twice, Err(CommitError::Conflict { .. })), "{twice:?}");
    let epoch = store.load().unwrap().epoch;
    let changes = [gone(&first), Change::RemovePlugin("simulated".to_owned()), gone(&second)];
    commit(&store, batch(epoch, changes)).unwrap();
    let loaded = store.load().unwrap();
    assert!(loaded.plugins.is_empty() && loaded.plugin_versions.is_empty());
    let again = commit(&store, batch(loaded.epoch, [Change::RemovePlugin("simulated".to_owned())]));
    assert!(matches!(again, Err(CommitError::Conflict { .. })), "{again:?}");
}

#[test]
fn one_policy_at_most_is_enabled() {
    let (_folder, store) = farm::new();
    let policy = |name, byte| PluginVersion { kind: PluginKind::Policy, ..version(name, byte) };
    let (fair, greedy) = (policy("fair", 1), policy("greedy", 2));
    let off = Plugin { enabled: false, ..plugin(&greedy) };
    let epoch = store.load().unwrap().epoch;
    let changes = [put_version(&fair), put_plugin(&plugin(&fair)), put_version(&greedy), put_plugin(&off)];
    commit(&store, batch(epoch, changes)).unwrap();
    let on = next(&off, |plugin| plugin.enabled = true);
    refused(&store, "plugin greedy at revision 2", "plugins.kind is unique", [put_plugin(&on)]);
    let epoch = store.load().unwrap().epoch;
    let steps_down = next(&plugin(&fair), |plugin| plugin.enabled = false);
    commit(&store, batch(epoch, [put_plugin(&steps_down), put_plugin(&on)])).unwrap();
}

#[test]
fn a_pinned_version_stays_and_a_tasks_version_is_history() {
    let (folder, store, [_, second]) = farm_with_driver();
    let mut worker = farm::worker(1);
    worker.driver_version = Some(second.digest);
    let mut ran = task(1, TaskKind::Check, &worker, None);
    std::sync::Arc::make_mut(&mut ran.spec).driver_version = Some(second.digest);
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_worker(&worker), put_task(&ran)])).unwrap();
    let what = format!("the removal of version {} of plugin simulated", second.digest.short());
    let remove = || Change::RemovePluginVersion("simulated".to_owned(), second.digest);
    refused(&store, &what, "pinned_version_stays", [remove()]);
    let epoch = store.load().unwrap().epoch;
    let mut free = worker.clone();
    (free.driver_version, free.revision) = (None, 2);
    commit(&store, batch(epoch, [put_worker(&free), remove()])).unwrap();
    assert_eq!(store.task(ran.id).unwrap(), Some(ran));
    let error =
        farm::intrude(folder.path()).execute("UPDATE plugin_versions SET manifest = ''", []).unwrap_err();
    assert!(error.to_string().contains("versions_are_written_once"), "{error}");
}

#[test]
fn a_stop_is_said_once() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, Batch { epoch, changes: vec![Change::Stopped], events: vec![] }).unwrap();
    drop(store);
    let store = farm::open(folder.path());
    assert!(store.load().unwrap().stopped);
    assert!(!store.load().unwrap().stopped);
}
