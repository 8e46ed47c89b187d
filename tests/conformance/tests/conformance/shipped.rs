//! The plugins that come with the controller run in it, with exactly what they want.

use grove_runtime::policy::{Change, Demand, Worker};
use grove_runtime::{DriverCall, DriverReply, Grants, Manifest, Plugin, WorkerView};
use grove_tests_conformance::{Recorder, patient, shared, shipped};

#[tokio::test]
async fn shipped_plugins_load_and_answer() {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(shipped().unwrap()).unwrap() {
        let folder = entry.unwrap().path();
        let file = folder.join("plugin.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let manifest = Manifest::parse(&text, &file.to_string_lossy()).unwrap();
        let component = std::fs::read(folder.join(&manifest.component)).unwrap();
        let (name, grants) = (manifest.name.clone(), Grants::all_wanted(&manifest));
        kinds.push(manifest.kind.to_string());
        match shared().load(manifest, component, &grants).await.unwrap() {
            Plugin::Driver(driver) => {
                let mut instance = driver.open(Recorder::new().context(patient()));
                let reply = instance.call(DriverCall::Describe).await.unwrap();
                assert!(matches!(reply, DriverReply::Described(info) if info.name == name), "{name}");
                let refused = instance.call(DriverCall::Validate("no JSON".to_owned())).await.unwrap_err();
                assert!(refused.failure().is_some(), "{name} takes anything for its config: {refused}");
            }
            Plugin::Policy(policy) => {
                let mut session = policy.open("{}".to_owned(), patient(), Recorder::new()).await.unwrap();
                assert_eq!(session.info().info.name, name);
                let worker = Worker {
                    id: 7,
                    uuid: "0198c0de-0000-7000-8000-000000000007".to_owned(),
                    capabilities: Vec::new(),
                    groups: Vec::new(),
                    state: "idle".to_owned(),
                    driver: "simulated".to_owned(),
                };
                session.apply(vec![Change::WorkerPut(worker)]).await.unwrap();
                let demand = Demand { request: 1, candidate_set: 0 };
                session.plan(0, vec![vec![7]], vec![demand]).await.unwrap();
            }
            Plugin::Inspector(inspector) => {
                let opened = inspector.open("{}".to_owned(), patient(), Recorder::new(), Default::default());
                let mut session = opened.await.unwrap();
                assert_eq!(session.info().name, name);
                let inventory = session.normalize(r#"{"unknown": [1.50, null]}"#.to_owned()).await.unwrap();
                let worker = WorkerView { uuid: "w".into(), capabilities: Vec::new(), groups: Vec::new() };
                assert_eq!(
                    session.derive(inventory, worker).await.unwrap(),
                    [],
                    "{name} knows nothing of it"
                );
                assert_eq!(session.unknown_device("{}".to_owned()).await.unwrap(), None, "{name}");
            }
        }
    }
    for kind in ["driver", "policy", "inspector"] {
        assert!(kinds.iter().any(|shipped| shipped == kind), "no {kind} is shipped");
    }
}
