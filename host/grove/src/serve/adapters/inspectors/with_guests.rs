//! The adapter with real components: those that are shipped, and those that do harm.

use std::collections::BTreeMap;

use grove_access::secrets::Secrets;
use grove_access::ssh::{SshClient, SshSettings};
use grove_domain::introspection::MAX_INVENTORY;
use grove_domain::plugin::{Digest, PluginKind};
use grove_runtime::{
    CallContext, DriverCall, DriverReply, FailureKind, Grants, Manifest, Plugin, PowerAction, Runtime, Target,
};
use grove_tests_conformance::{Recorder, component, manifest, patient, shared, shipped};
use grove_tests_kit::Sshd;
use grove_tests_kit::sshd::IDENTITY;
use serde_json::json;

use super::*;
use crate::serve::adapters::access::Supervisors;
use crate::serve::plugins::registry::Place;

/// A small machine, as a driver tells of it.
const INVENTORY: &str = r#"{
    "system": { "arch": "arm64", "model": "Board 7" },
    "cpu": { "count": "4" },
    "usb": [{ "vendor": "0x0403", "product": "6010", "tty": ["ttyUSB0", "ttyUSB1"] }],
    "serial": [{ "name": "ttyS0" }, { "name": "ttyUSB0" }, { "name": "ttyUSB1" }],
    "network": [{ "mac": "DC-A6-32-00-00-01" }]
}"#;

/// Inspectors that are loaded and in use, as if a farm had them.
struct Bench {
    inspectors: PluginInspectors,
    places: Vec<Place>,
    in_use: BTreeMap<String, (PluginKind, Digest)>,
}

impl Bench {
    async fn with(plugins: &[&str], order: &[&str], settings: &str) -> Self {
        let settings: BTreeMap<String, toml::Table> = toml::from_str(settings).unwrap();
        let inspectors = PluginInspectors {
            registry: Registry::new(),
            settings: InspectorSettings::new(&settings).unwrap(),
            order: order.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut bench = Self { inspectors, places: Vec::new(), in_use: BTreeMap::new() };
        for name in plugins {
            bench.put(name, Ok(load(name).await));
        }
        bench.inspectors.registry.use_these(bench.in_use.clone());
        bench
    }

    fn put(&mut self, name: &str, loaded: Result<Plugin, String>) {
        let digest = Digest::new([u8::try_from(self.in_use.len()).unwrap(); Digest::BYTES]);
        let place = self.inspectors.registry.enter((name.to_owned(), digest));
        self.in_use.insert(name.to_owned(), (PluginKind::Inspector, digest));
        match loaded {
            Ok(plugin) => {
                place.loaded(plugin);
                self.places.push(place);
            }
            Err(why) => place.failed(why),
        }
    }

    async fn inspect(&self, raw: &str) -> Result<Inspected, Vec<Blame>> {
        self.inspectors.inspect(raw.into(), worker(), CancellationToken::new()).await
    }

    async fn unknown(&self, raw: &str) -> Result<Option<Enrolment>, Vec<Blame>> {
        self.inspectors.unknown(raw.into(), CancellationToken::new()).await
    }
}

async fn load(name: &str) -> Plugin {
    load_in(shared(), name).await
}

/// A plugin that is shipped, else a guest.
async fn load_in(runtime: &Runtime, name: &str) -> Plugin {
    let shipped = shipped().unwrap();
    let folders = [shipped.join(format!("inspector-{name}")), shipped.join(name)];
    let (manifest, component) = if let Some(folder) = folders.iter().find(|folder| folder.is_dir()) {
        let text = std::fs::read_to_string(folder.join("plugin.toml")).unwrap();
        let manifest = Manifest::parse(&text, "plugin.toml").unwrap();
        let component = std::fs::read(folder.join(&manifest.component)).unwrap();
        (manifest, component)
    } else {
        (manifest(name, "").unwrap(), component(name).unwrap())
    };
    let grants = Grants::all_wanted(&manifest);
    runtime.load(manifest, component, &grants).await.unwrap()
}

async fn inspector(name: &str) -> InspectorPlugin {
    load(name).await.into_inspector().unwrap()
}

fn worker() -> View {
    View {
        worker: WorkerId(Uuid::from_u128(7)),
        driver: "ssh".to_owned(),
        host: None,
        groups: vec!["lab".to_owned()],
        capabilities: Arc::new(BTreeMap::from([("board".to_owned(), "rpi4".to_owned())])),
    }
}

fn shown(changes: &[(String, Change)]) -> Vec<String> {
    let shown = |(by, change): &(String, Change)| match change {
        Change::SetCapability(key, value) => format!("{by}: {key}={value}"),
        other => format!("{by}: {other:?}"),
    };
    changes.iter().map(shown).collect()
}

fn blamed(blames: &[Blame]) -> Vec<&str> {
    blames.iter().map(|blame| blame.inspector.as_str()).collect()
}

#[tokio::test]
async fn each_concludes_from_what_all_brought_into_form() {
    // The one that counts USB is asked first, and still sees the ids as the other wrote them.
    let bench = Bench::with(&["linux-inventory", "usb-devices"], &["usb-devices"], "").await;
    assert_eq!(bench.inspectors.names(), ["usb-devices", "linux-inventory"]);
    let found = bench.inspect(INVENTORY).await.unwrap();
    let inventory: serde_json::Value = serde_json::from_str(&found.inventory).unwrap();
    assert_eq!((&inventory["usb"][0]["vendor"], &inventory["cpu"]["count"]), (&"0403".into(), &4.into()));
    assert_eq!(
        shown(&found.changes),
        [
            "usb-devices: uart_usb=2",
            "linux-inventory: arch=aarch64",
            "linux-inventory: cpu_count=4",
            "linux-inventory: nics=1",
            "linux-inventory: mac=dc:a6:32:00:00:01",
            "linux-inventory: uart=3",
            "linux-inventory: model=Board 7",
        ]
    );
    assert_eq!(bench.inspect(INVENTORY).await.unwrap(), found, "the same again");
    assert_eq!(bench.inspect(&found.inventory).await.unwrap(), found, "what is in form stays so");
}

#[tokio::test]
async fn settings_reach_the_inspector_that_they_are_for() {
    let settings = "[usb-devices.devices]\n\"0403:6010\" = \"jtag\"\n[other]\nx = 1\n";
    let bench = Bench::with(&["usb-devices"], &[], settings).await;
    let inventory = INVENTORY.replace("0x0403", "0403");
    assert_eq!(shown(&bench.inspect(&inventory).await.unwrap().changes), ["usb-devices: jtag=1"]);

    let wrong = Bench::with(&["usb-devices"], &[], "[usb-devices]\ndevice = 1\n").await;
    let blames = wrong.inspect(INVENTORY).await.unwrap_err();
    assert!(blames[0].reason.contains("device"), "{blames:?}");
}

#[tokio::test]
async fn all_bring_it_into_form_even_where_some_fail_and_each_failure_is_named() {
    let plugins = ["inspector-memory-bomb", "inspector-nonsense", "inspector-counts", "linux-inventory"];
    let order = ["inspector-memory-bomb", "inspector-nonsense", "inspector-counts", "linux-inventory"];
    let mut bench = Bench::with(&plugins, &order, "").await;
    bench.put("absent", Err("it did not load".to_owned()));
    bench.inspectors.registry.use_these(bench.in_use.clone());
    let blames = bench.inspect("[\"X\"]").await.unwrap_err();
    assert_eq!(blamed(&blames), ["absent", "inspector-memory-bomb", "linux-inventory"], "{blames:?}");
    assert_eq!(blames[0].reason, "it did not load");
    assert!(blames[1].reason.starts_with("normalize: wanted more than its 64 MiB"), "{blames:?}");
    assert_eq!(blames[2].reason, "the inventory is a list, not an object", "in its own words");

    let blames = bench.inspect("<xml/>").await.unwrap_err();
    let (first, last) = (&blames[2], blames.last().unwrap());
    assert_eq!(blamed(&blames).len(), 5, "{blames:?}");
    assert!(first.inspector == "inspector-nonsense" && first.reason.contains("not JSON"), "{blames:?}");
    assert!(last.inspector == "linux-inventory" && last.reason.contains("not JSON"), "{blames:?}");
}

#[tokio::test]
async fn one_that_breaks_while_it_concludes_is_named_and_the_next_run_is_none_the_worse() {
    let bench = Bench::with(&["inspector-panic", "linux-inventory"], &[], "").await;
    for _ in 0..3 {
        let blames = bench.inspect(INVENTORY).await.unwrap_err();
        assert_eq!(blamed(&blames), ["inspector-panic"]);
        assert!(blames[0].reason.starts_with("derive: trapped: "), "{blames:?}");
    }
    let mut in_use = bench.in_use.clone();
    in_use.remove("inspector-panic");
    bench.inspectors.registry.use_these(in_use);
    assert_eq!(bench.inspect(INVENTORY).await.unwrap().changes.len(), 6);
}

#[tokio::test]
async fn one_that_never_ends_is_ended_when_the_run_is_cancelled_and_by_its_limit() {
    let bench = Bench::with(&["inspector-loop"], &[], "").await;
    let cancel = CancellationToken::new();
    let run = tokio::spawn(bench.inspectors.inspect("{}".into(), worker(), cancel.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!run.is_finished(), "it loops");
    cancel.cancel();
    let blames = tokio::time::timeout(Duration::from_secs(60), run).await.expect("it hangs").unwrap();
    assert_eq!(blames.unwrap_err()[0].reason, "derive: cancelled");

    let blames = bench.inspect("{}").await.unwrap_err();
    assert_eq!(blames[0].reason, "derive: computed for more than 2000 ms");
}

/// Otherwise a hostile board would have inspectors blamed for it.
#[tokio::test]
async fn the_worst_inventory_that_is_taken_is_no_trouble_to_what_is_shipped() {
    let bench = Bench::with(&["linux-inventory", "usb-devices"], &[], "").await;
    let filled = |item: &str| {
        let room = MAX_INVENTORY - 16;
        format!("{{\"usb\":[],\"x\":[{}]}}", vec![item; room / (item.len() + 1)].join(","))
    };
    for item in [r#"{"":0}"#, "0", "[]", r#""x""#] {
        let inventory = filled(item);
        assert!(inventory.len() <= MAX_INVENTORY);
        let found = bench.inspect(&inventory).await;
        assert_eq!(found.map(|found| found.changes.len()), Ok(0), "{item}");
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let blames = bench.inspect(&deep).await.unwrap_err();
    assert!(blames.iter().all(|blame| blame.reason.contains("deep")), "{blames:?}");
}

#[tokio::test]
async fn hostile_runs_leave_no_instance_behind() {
    let runtime = grove_tests_conformance::runtime(4).unwrap();
    let mut bench = Bench::with(&[], &[], "").await;
    for name in ["inspector-huge-answer", "inspector-panic"] {
        bench.put(name, Ok(load_in(&runtime, name).await));
    }
    bench.inspectors.registry.use_these(bench.in_use.clone());
    for _ in 0..100 {
        let blames = bench.inspect("4000000").await.unwrap_err();
        assert_eq!(blamed(&blames), ["inspector-huge-answer"], "{blames:?}");
        assert!(blames[0].reason.starts_with("normalize: passed too much data"), "{blames:?}");
        assert_eq!(blamed(&bench.inspect("7").await.unwrap_err()), ["inspector-panic"]);
    }
    assert_eq!(runtime.live_inspectors(), 0);
}

#[tokio::test]
async fn an_unknown_board_is_whom_the_first_says_that_knows() {
    let enrol = "[linux-inventory.enrol]\ndriver = \"ssh\"\nconfig = { host = \"{/system/model}\" }\n";
    let plugins = ["inspector-nonsense", "linux-inventory", "usb-devices"];
    let bench = Bench::with(&plugins, &["usb-devices", "linux-inventory"], enrol).await;
    let found = bench.unknown(INVENTORY).await.unwrap().unwrap();
    assert_eq!(found.inspector, "linux-inventory");
    assert_eq!(found.worker.to_string(), "67726f76-6500-8000-8000-dca632000001");
    assert_eq!(found.registration.driver, "ssh");
    assert_eq!(found.registration.driver_config, r#"{"host":"Board 7"}"#);

    let bench = Bench::with(&plugins, &[], enrol).await;
    let blames = bench.unknown(INVENTORY).await.unwrap_err();
    assert_eq!(blamed(&blames), ["inspector-nonsense"], "those after it do not decide in its place");
    assert!(blames[0].reason.contains("\"who knows\", which is no uuid"), "{blames:?}");

    let bench = Bench::with(&["linux-inventory", "usb-devices"], &[], "").await;
    assert_eq!(bench.unknown(INVENTORY).await, Ok(None), "nobody is enrolled unless the admin says how");
}

#[tokio::test]
async fn a_farm_without_inspectors_concludes_nothing_and_one_that_does_not_know_yet_waits() {
    let bench = Bench::with(&[], &[], "").await;
    let found = bench.inspect("{ }").await.unwrap();
    assert_eq!((&*found.inventory, found.changes.len()), ("{ }", 0));

    let plugin = load("linux-inventory").await;
    let mut bench = Bench {
        inspectors: PluginInspectors { registry: Registry::new(), ..bench.inspectors },
        places: Vec::new(),
        in_use: BTreeMap::new(),
    };
    let run = tokio::spawn(bench.inspectors.inspect(INVENTORY.into(), worker(), CancellationToken::new()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!run.is_finished(), "no inspectors would be the wrong answer");
    bench.put("linux-inventory", Ok(plugin));
    bench.inspectors.registry.use_these(bench.in_use.clone());
    assert_eq!(run.await.unwrap().unwrap().changes.len(), 6);
}

#[tokio::test]
async fn one_is_tried_out_before_anything_depends_on_it() {
    for name in ["linux-inventory", "usb-devices"] {
        assert_eq!(try_out(&inspector(name).await, "{}".to_owned()).await, Ok(()));
        let refused = try_out(&inspector(name).await, r#"{"colour": "blue"}"#.to_owned()).await.unwrap_err();
        assert!(refused.contains("colour"), "{refused}");
    }
    for (name, word) in [
        ("inspector-panic", "derive: trapped"),
        ("inspector-loop", "derive: computed for more than 2000 ms"),
        ("inspector-memory-bomb", "normalize: wanted more than its 64 MiB"),
    ] {
        let refused = try_out(&inspector(name).await, "{}".to_owned()).await.unwrap_err();
        assert!(refused.contains(&format!("inspector `{name}`: {word}")), "{refused}");
    }
}

/// A real OpenSSH server as the board, which is this machine.
#[tokio::test]
async fn a_machine_is_read_over_ssh_and_understood() {
    let board = Sshd::start();
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join(IDENTITY);
    std::fs::write(&key, board.admin_key()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let secrets = Secrets::new(secrets.path());
    let switched = tempfile::tempdir().unwrap();
    let mark = switched.path().join("mark");
    let config = json!({ "power_cycle": format!("echo \"$1\" > {}", mark.display()) });
    let target = Target {
        uuid: "0198c0de-0000-7000-8000-000000000007".to_owned(),
        capabilities: Vec::new(),
        config: board.driver_config(config).to_string(),
    };
    let context = CallContext {
        ssh: Some(Arc::new(Supervisors(SshClient::new(SshSettings::default(), secrets)))),
        ..Recorder::new().context(patient())
    };
    let driver = load("driver-ssh").await.into_driver().unwrap();
    let mut driver = driver.open(context);

    let reply = driver.call(DriverCall::Inventory(target.clone())).await.unwrap();
    let DriverReply::Inventory(inventory) = reply else { panic!("{reply:?}") };
    let bench = Bench::with(&["linux-inventory", "usb-devices"], &[], "").await;
    let found = bench.inspect(&inventory).await.unwrap();
    let found = shown(&found.changes);
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let processors = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let kib = read("/proc/meminfo").split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    for expected in [
        format!("arch={}", std::env::consts::ARCH),
        format!("cpu_count={processors}"),
        format!("memory_mib={}", kib / 1024),
        format!("kernel={}", read("/proc/sys/kernel/osrelease").trim()),
    ] {
        assert!(
            found.contains(&format!("linux-inventory: {expected}")),
            "{expected} is missing in {found:#?}"
        );
    }

    let cycled = driver.call(DriverCall::Power(target.clone(), PowerAction::Cycle)).await;
    assert_eq!(cycled, Ok(DriverReply::Done));
    assert_eq!(read(&mark.display().to_string()).trim(), target.uuid);
    let refused = driver.call(DriverCall::Power(target, PowerAction::Off)).await.unwrap_err();
    let said = refused.failure().unwrap();
    assert!(said.kind == FailureKind::Unsupported && said.text.contains("set power_off"), "{refused}");
}
