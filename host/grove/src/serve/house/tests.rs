//! A whole house whose services are broken one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use grove_engine::ServiceReport;

use super::*;

/// How a service is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Error,
    Panic,
    /// It does not end when it is asked to.
    Hang,
}

/// Faults that were asked for, by service.
#[derive(Default)]
struct Faults {
    now: watch::Sender<Option<(String, Fault)>>,
    hanging: Mutex<BTreeSet<String>>,
}

impl Faults {
    /// The same service, which can be broken.
    fn in_reach(self: &Arc<Self>, service: Service) -> Service {
        let (faults, name) = (self.clone(), service.name().to_owned());
        service.around(move |life| {
            let (faults, name) = (faults.clone(), name.clone());
            let mut now = faults.now.subscribe();
            now.mark_unchanged();
            async move {
                let mine = async {
                    loop {
                        if now.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                        match &*now.borrow_and_update() {
                            Some((broken, Fault::Error)) if *broken == name => return Fault::Error,
                            Some((broken, Fault::Panic)) if *broken == name => return Fault::Panic,
                            _ => {}
                        }
                    }
                };
                let ended = tokio::select! {
                    fault = mine => match fault {
                        Fault::Panic => panic!("broken on purpose"),
                        _ => return Err(Exit::failed("broken on purpose")),
                    },
                    ended = life => ended,
                };
                if faults.hanging.lock().unwrap().remove(&name) {
                    std::future::pending::<()>().await;
                }
                ended
            }
        })
    }
}

type Reports = BTreeMap<String, ServiceReport>;

async fn until(house: &House, what: &str, fits: impl Fn(&Reports) -> bool) -> Reports {
    let mut reports = house.engine.watch_report();
    let by_name = |report: &Report| {
        report.services.iter().map(|service| (service.name.clone(), service.clone())).collect::<Reports>()
    };
    let waited = reports.wait_for(|report| fits(&by_name(report)));
    match tokio::time::timeout(Duration::from_secs(60), waited).await {
        Ok(report) => by_name(&report.unwrap()),
        Err(_) => panic!("{what}: {:#?}", by_name(&house.engine.watch_report().borrow())),
    }
}

/// Those that need this one, directly or not.
fn dependents(reports: &Reports, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut next = vec![name.to_owned()];
    while let Some(name) = next.pop() {
        for service in reports.values() {
            if service.inputs.iter().any(|input| input.name == name) && all.insert(service.name.clone()) {
                next.push(service.name.clone());
            }
        }
    }
    all
}

fn all_started(reports: &Reports) -> bool {
    reports.values().all(|service| service.state == State::Started)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_breaks_in_every_way_and_all_recover() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { state: Some(folder.path().to_owned()), ..Config::default() };
    config.listen.set_port(0);
    config.keys.pool = 0;
    config.drain = grove_wire::Span::from_secs(1).unwrap();
    if let Some(plugins) = std::env::var_os("GROVE_BUNDLE") {
        config.plugins.folder = Some(plugins.into());
    }
    let faults = Arc::new(Faults::default());
    let breaks = faults.clone();
    let rules = EngineConfig {
        error_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(50),
        kill_deadline: Duration::from_millis(1500),
        ..engine_config(&config, Port::IsWaitedFor)
    };
    let house = House::with(config, rules, None, move |service| breaks.in_reach(service)).await.unwrap();
    let address = house.ready().await.unwrap();
    let first = until(&house, "not everything starts", all_started).await;
    assert!(first.len() >= 8, "{:?}", first.keys());

    for name in first.keys() {
        for fault in [Fault::Error, Fault::Panic, Fault::Hang] {
            let what = format!("{name}, {fault:?}");
            let before = until(&house, &what, all_started).await;
            let starts =
                |reports: &Reports, name: &str| reports.get(name).map_or(0, |service| service.starts);
            match fault {
                Fault::Error | Fault::Panic => {
                    faults.now.send_replace(Some((name.clone(), fault)));
                }
                Fault::Hang => {
                    faults.hanging.lock().unwrap().insert(name.clone());
                    house.engine.bounce(name.clone()).await.unwrap();
                }
            }
            let begun = |reports: &Reports| starts(reports, name) > starts(&before, name);
            let after = until(&house, &what, |reports| begun(reports) && all_started(reports)).await;
            let bounced: BTreeSet<String> = before
                .keys()
                .filter(|other| starts(&after, other) > starts(&before, other))
                .cloned()
                .collect();
            let mut expected = dependents(&before, name);
            expected.insert(name.clone());
            assert_eq!(bounced, expected, "{what}: who bounced");
            let error = after.get(name).and_then(|service| service.last_error.as_ref()).unwrap().to_string();
            let told = match fault {
                Fault::Error => "broken on purpose",
                Fault::Panic => "panicked: broken on purpose",
                Fault::Hang => "did not stop within",
            };
            assert!(error.contains(told), "{what}: {error}");
        }
    }
    // After all of it the farm is served where it was.
    let farm = grove_client::Client::new(&format!("http://{address}")).unwrap();
    farm.health().await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    house.run(stop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_is_imported_in_maintenance_only_and_stays_there() {
    use grove_domain::mode::{Mode, RunningJobs};

    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { state: Some(folder.path().join("state")), ..Config::default() };
    config.listen.set_port(0);
    config.keys.pool = 0;
    let rules = engine_config(&config, Port::IsWaitedFor);
    let house = House::with(config, rules, None, |service| service).await.unwrap();
    let address = house.ready().await.unwrap();
    let client = grove_client::Client::new(&format!("http://{address}")).unwrap();
    let file = folder.path().join("farm.jsonl");
    let mut export = client.export_farm(grove_client::ExportQuery::default()).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = export.chunk().await.unwrap() {
        bytes.extend(chunk);
    }
    std::fs::write(&file, bytes).unwrap();
    let import = async |dry_run| {
        let file = tokio::fs::File::open(&file).await.unwrap();
        client.import_farm(file, grove_client::ImportQuery { dry_run }).await
    };
    let mode = || house.shared.running.get().unwrap().farm().mode().clone();

    let refused = import(false).await.unwrap_err().to_string();
    assert!(refused.contains("the farm is not in maintenance"), "{refused}");
    assert!(import(true).await.unwrap().dry_run, "looking is always possible");
    assert_eq!(mode().mode, Mode::Normal);

    let moving = Mode::Maintenance { reason: "moving".to_owned(), until: None };
    let controller = house.shared.running.get().unwrap();
    controller.set_mode("admin", moving.clone(), RunningJobs::Drain, None).await.unwrap();
    assert!(import(false).await.unwrap().event.is_some());
    assert_eq!(mode().mode, moving);
    drop(controller);
    let stop = CancellationToken::new();
    stop.cancel();
    house.run(stop).await.unwrap();
}
