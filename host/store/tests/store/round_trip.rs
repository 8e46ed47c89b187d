//! What is put in comes out, to the last nanosecond.

use std::sync::Arc;

use grove_domain::id::{Uuid, WorkerId};
use grove_domain::introspection::Kind;
use grove_store::{Batch, Change, EventQuery};
use proptest::prelude::*;

use crate::any;
use crate::farm::{
    self, commit, held, put_plugin, put_request, put_rule, put_run, put_task, put_version, put_worker,
};

/// The worker that requests hold.
const HOLDER: u128 = 7;

fn request() -> BoxedStrategy<grove_domain::request::Request> {
    any::request(1, WorkerId(Uuid::from_u128(HOLDER))).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Boxed: so many of them, as they are, fill a stack.
    #[test]
    fn every_entity_comes_back_as_it_was(
        worker in any::worker(1).boxed(),
        task in any::task().boxed(),
        event in any::event(1).boxed(),
        request in request(),
        mut later in request(),
        (plugin, versions) in any::plugin().boxed(),
        run in any::introspection(WorkerId(Uuid::from_u128(HOLDER))).boxed(),
        findings in any::findings(),
        inventory in any::text(),
        rules in (any::rule(1).boxed(), any::rule(2).boxed()),
    ) {
        let (folder, store) = farm::new();
        let epoch = store.load().unwrap().epoch;
        let holder = farm::worker(HOLDER);
        let mut changes = vec![
            put_worker(&worker),
            put_worker(&holder),
            put_worker(&held(&holder, 1)),
            put_request(&request),
            put_task(&task),
            put_plugin(&plugin),
        ];
        changes.extend(versions.iter().map(put_version));
        changes.extend([put_run(&run), Change::PutFindings(run.id, Arc::new(findings.clone()))]);
        changes.push(Change::PutInventory(run.id, Kind::Raw, inventory.as_str().into()));
        changes.extend([put_rule(&rules.1), put_rule(&rules.0)]);
        commit(&store, Batch { epoch, changes, events: vec![event.clone()] }).unwrap();
        let loaded = store.load().unwrap();
        prop_assert_eq!(&loaded.requests, &vec![request.clone()]);

        later.spec = request.spec.clone();
        later.created = request.created;
        later.revision = 2;
        commit(&store, farm::batch(loaded.epoch, [put_request(&later)])).unwrap();
        drop(store);

        let store = farm::open(folder.path());
        let loaded = store.load().unwrap();
        prop_assert!(loaded.workers.contains(&worker), "{:?}", loaded.workers);
        prop_assert!(loaded.workers.contains(&held(&holder, 1)));
        prop_assert_eq!(loaded.requests, vec![later.clone()]);
        prop_assert_eq!(loaded.plugins, vec![plugin]);
        prop_assert_eq!(loaded.plugin_versions, versions);
        prop_assert_eq!(loaded.introspections, vec![run.clone()]);
        prop_assert_eq!(loaded.rules, vec![rules.0, rules.1]);
        prop_assert_eq!(store.findings(run.id).unwrap(), Some(findings));
        prop_assert_eq!(store.inventory(run.id, Kind::Raw).unwrap(), Some(inventory));
        prop_assert_eq!(store.inventory(run.id, Kind::Processed).unwrap(), None);
        prop_assert_eq!(store.introspection(run.id).unwrap(), Some(run));
        prop_assert_eq!(loaded.last_request, 1);
        prop_assert_eq!(loaded.last_place, later.place);
        prop_assert_eq!(loaded.live_tasks.contains(&task), !task.status.phase.is_terminal());
        prop_assert_eq!(store.task(task.id).unwrap(), Some(task));
        prop_assert_eq!(store.events(&EventQuery { limit: 9, ..Default::default() }).unwrap(), vec![event]);
    }
}

#[test]
fn instants_are_stored_in_their_order() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let texts = ["2262-04-12T00:00:00Z", "9999-12-30T22:00:00Z", "1677-01-01T00:00:00.000000001Z"];
    let mut events = Vec::new();
    for (nth, text) in texts.iter().enumerate() {
        let mut event = farm::event(nth as u64 + 1, grove_domain::event::Subject::Farm);
        event.at = text.parse().unwrap();
        events.push(event);
    }
    commit(&store, Batch { epoch, changes: Vec::new(), events: events.clone() }).unwrap();
    assert_eq!(store.events(&EventQuery { limit: 9, ..Default::default() }).unwrap(), events);
}
