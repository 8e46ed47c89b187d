//! Inventories through both inspectors that are shipped and ten rules: what a finished introspection costs beside its
//! rows, and those of a whole farm processed again. The twin is the same code of the inspectors, built for this machine,
//! with the same rules, and keeps nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use grove_domain::id::{RuleId, Uuid, WorkerId};
use grove_domain::introspection::{Change, Findings, View, findings};
use grove_domain::inventory::{Path, Value};
use grove_domain::moment::Timestamp;
use grove_domain::rule::{self, Action, Condition, Multiple, Rule, Source, Template, Test};
use grove_plugin::inspector::{self as native, Inspector, Session};
use grove_runtime::{CallLimits, CancellationToken, Finding, InspectorPlugin, InspectorSession, WorkerView};
use inspector_linux_inventory::LinuxInventory;
use inspector_usb_devices::UsbDevices;
use serde_json::json;

use crate::farm::{Farm, NO_KEYS, folder, worker as board};
use crate::guests::{Deaf, plugin, runtime};
use crate::http::request;
use crate::stats::median;
use crate::table::{Goal, Line, Table};

const ROUNDS: usize = 15;
const A_ROUND: u32 = 100;
const WORKERS: u64 = 10_000;
const RULES: u64 = 10;

const LINUX: &str = "linux-inventory";
const USB: &str = "usb-devices";

/// One inventory after the other.
pub(super) fn processing(table: &mut Table) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Figures { fresh, kept, twin } = threads.block_on(measure())?;
    let line = |work, ours, goal| Line { work, unit: "/s", ours, twin: Some(twin), goal, peer: "" };
    table.line(line(
        "inventories through 2 inspectors and 10 rules, 1 at a time",
        fresh,
        Goal::RatioAtLeast(0.25),
    ));
    table.line(line("  ... if instances were kept from one to the next", kept, Goal::None));
    Ok(())
}

/// The stored inventories of a farm, processed again at a word.
pub(super) fn reapplied(table: &mut Table) -> Result<()> {
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    let raw = inventory();
    farm.register(0..WORKERS, &format!(r#"{{"inventory":{raw}}}"#))?;
    let rules: Vec<_> = (0..RULES).map(|number| request("POST", "/api/v2/rules", &sent(number))).collect();
    farm.all(&rules)?;
    let events = farm.events("introspection.state")?;
    let begin = |number| format!(r#"{{"worker":"{}","way":"pull"}}"#, board(number));
    let begin = |number| request("POST", "/api/v2/introspections", &begin(number));
    let all: Vec<_> = (0..WORKERS).map(begin).collect();
    farm.all(&all)?;
    events.count(all.len(), |heard| heard.after == "finished")?;

    let (rules, worker) = (self::rules()?, worker());
    let (mut rates, mut twins) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let begin = Instant::now();
        let begun = farm.ask(&request("POST", "/api/v2/introspections/reapply", ""))?;
        ensure!(begun.get("count").and_then(serde_json::Value::as_u64) == Some(WORKERS), "{begun}");
        let last = events.count(all.len(), |heard| heard.after == "finished")?.context("none")?;
        rates.push(WORKERS as f64 / last.heard.duration_since(begin).as_secs_f64());
        twins.push(native_rate(&raw, &rules, &worker)?);
    }
    table.line(Line {
        work: "10,000 stored inventories reapplied in a farm, with their rows",
        unit: "/s",
        ours: median(&rates),
        twin: Some(median(&twins)),
        goal: Goal::None,
        peer: "",
    });
    farm.stop()
}

/// The twin on every core.
fn native_rate(raw: &str, rules: &[Rule], worker: &View) -> Result<f64> {
    let threads = std::thread::available_parallelism()?.get() as u64;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let works = |_| {
            scope.spawn(|| -> Result<()> {
                let natives = Natives::begin()?;
                for _ in 0..WORKERS / threads {
                    ruled(&natives.inspected(raw, worker)?, rules, worker)?;
                }
                Ok(())
            })
        };
        let at_work: Vec<_> = (0..threads).map(works).collect();
        at_work.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a twin broke"))?)
    })?;
    Ok((WORKERS / threads * threads) as f64 / begin.elapsed().as_secs_f64())
}

/// Inventories a second.
struct Figures {
    fresh: f64,
    kept: f64,
    twin: f64,
}

async fn measure() -> Result<Figures> {
    let runtime = runtime(8)?;
    let linux = plugin(&runtime, "inspector-linux-inventory").await?.into_inspector()?;
    let usb = plugin(&runtime, "inspector-usb-devices").await?.into_inspector()?;
    let (inventory, rules, worker) = (inventory(), rules()?, worker());
    let mut kept = [open(&linux).await?, open(&usb).await?];
    let natives = Natives::begin()?;
    let (mut fresh_figures, mut kept_figures, mut twins) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..A_ROUND {
            let mut sessions = [open(&linux).await?, open(&usb).await?];
            ruled(&inspected(&mut sessions, &inventory, &worker).await?, &rules, &worker)?;
        }
        fresh_figures.push(per_second(begin));

        let begin = Instant::now();
        for _ in 0..A_ROUND {
            ruled(&inspected(&mut kept, &inventory, &worker).await?, &rules, &worker)?;
        }
        kept_figures.push(per_second(begin));

        let begin = Instant::now();
        for _ in 0..A_ROUND {
            ruled(&natives.inspected(&inventory, &worker)?, &rules, &worker)?;
        }
        twins.push(per_second(begin));
    }
    let ours = ruled(&inspected(&mut kept, &inventory, &worker).await?, &rules, &worker)?;
    ensure!(
        ours == ruled(&natives.inspected(&inventory, &worker)?, &rules, &worker)?,
        "component and twin disagree"
    );
    ensure!(ours.capabilities.get("uart_usb").is_some_and(|uart| uart == "6"), "{:?}", ours.capabilities);
    Ok(Figures { fresh: median(&fresh_figures), kept: median(&kept_figures), twin: median(&twins) })
}

fn per_second(begin: Instant) -> f64 {
    f64::from(A_ROUND) / begin.elapsed().as_secs_f64()
}

/// The inventory in form, and what each inspector concludes.
type Outcome = (String, Vec<(String, Change)>);

async fn open(plugin: &InspectorPlugin) -> Result<InspectorSession> {
    let log = Arc::new(Deaf);
    Ok(plugin.open("{}".to_owned(), CallLimits::default(), log, CancellationToken::new()).await?)
}

/// As the controller asks.
async fn inspected(sessions: &mut [InspectorSession; 2], raw: &str, worker: &View) -> Result<Outcome> {
    let mut inventory = raw.to_owned();
    for session in &mut *sessions {
        inventory = session.normalize(inventory).await?;
    }
    let view = WorkerView {
        uuid: worker.worker.to_string(),
        capabilities: pairs(worker),
        groups: worker.groups.clone(),
    };
    let mut changes = Vec::new();
    for (session, name) in sessions.iter_mut().zip([LINUX, USB]) {
        let found = session.derive(inventory.clone(), view.clone()).await?;
        changes.extend(found.into_iter().map(|found| {
            let change = match found {
                Finding::SetCapability(key, value) => Change::SetCapability(key, value),
                Finding::UnsetCapability(key) => Change::UnsetCapability(key),
                Finding::Label(key, value) => Change::Label(key, value),
                Finding::Fail(reason) => Change::Fail(reason),
            };
            (name.to_owned(), change)
        }));
    }
    Ok((inventory, changes))
}

/// The twin.
struct Natives {
    linux: Session<LinuxInventory>,
    usb: Session<UsbDevices>,
}

impl Natives {
    fn begin() -> Result<Self> {
        let mut natives = Self { linux: Session::default(), usb: Session::default() };
        natives.linux.init(grove_plugin::about(LINUX, "", ""), "{}").map_err(|error| anyhow!(error))?;
        natives.usb.init(grove_plugin::about(USB, "", ""), "{}").map_err(|error| anyhow!(error))?;
        Ok(natives)
    }

    fn inspected(&self, raw: &str, worker: &View) -> Result<Outcome> {
        let pair = |(key, value)| grove_plugin::Pair { key, value };
        let view = native::WorkerView {
            uuid: worker.worker.to_string(),
            capabilities: pairs(worker).into_iter().map(pair).collect(),
            groups: worker.groups.clone(),
        };
        let answers = || -> Result<Outcome, String> {
            let inventory = self.usb.normalize(self.linux.normalize(raw)?)?;
            let mut changes = derived(&self.linux, LINUX, &inventory, &view)?;
            changes.extend(derived(&self.usb, USB, &inventory, &view)?);
            Ok((inventory, changes))
        };
        answers().map_err(|error| anyhow!(error))
    }
}

fn derived<I: Inspector>(
    session: &Session<I>,
    name: &str,
    inventory: &str,
    view: &native::WorkerView,
) -> Result<Vec<(String, Change)>, String> {
    let found = session.derive(inventory, view)?;
    let change = |change: &native::Change| match change {
        native::Change::SetCapability(pair) => Change::SetCapability(pair.key.clone(), pair.value.clone()),
        native::Change::UnsetCapability(key) => Change::UnsetCapability(key.clone()),
        native::Change::Label(pair) => Change::Label(pair.key.clone(), pair.value.clone()),
        native::Change::Fail(reason) => Change::Fail(reason.clone()),
    };
    Ok(found.changes().iter().map(|found| (name.to_owned(), change(found))).collect())
}

fn pairs(worker: &View) -> Vec<(String, String)> {
    worker.capabilities.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What is left to the core: rules, and all conclusions as one.
fn ruled((inventory, changes): &Outcome, rules: &[Rule], worker: &View) -> Result<Findings> {
    let tree = grove_control::inventory::read(inventory).map_err(|error| anyhow!(error))?;
    let found = findings(changes.iter().cloned()).map_err(|error| anyhow!(error))?;
    let ruled = rule::apply(rules, &tree, worker, &found.capabilities)?;
    let ruled = ruled.into_iter().map(|(rule, change)| (format!("rule/{rule}"), change));
    findings(changes.iter().cloned().chain(ruled)).map_err(|error| anyhow!(error))
}

fn worker() -> View {
    View {
        worker: WorkerId(Uuid::from_u128(7)),
        driver: "ssh".to_owned(),
        host: Some("supervisor3".to_owned()),
        groups: vec!["lab".to_owned()],
        capabilities: Arc::new(BTreeMap::from([("board".to_owned(), "pc".to_owned())])),
    }
}

fn rules() -> Result<Vec<Rule>> {
    let rule = |number: u64| -> Result<Rule> {
        let path = |text| Path::parse(text).context("no path");
        let condition = |path, op, value| -> Result<Condition> {
            let test = Test::parse(op, Some(value)).map_err(|error| anyhow!(error))?;
            Ok(Condition { source: Source::Data, path, test, multiple: Multiple::Any, invert: false })
        };
        let number_text = |number: u64| Value::Text(format!("{number:04x}"));
        let value = Template::parse("{data[system][vendor]}").map_err(|error| anyhow!(error))?;
        Ok(Rule {
            id: RuleId(Uuid::from_u128(u128::from(number))),
            place: number,
            description: String::new(),
            scope: None,
            conditions: vec![
                condition(path("/system/vendor")?, "contains", Value::Text("Example".to_owned()))?,
                condition(path("/pci/*/device")?, "eq", number_text(number))?,
            ],
            actions: vec![
                Action::AddTrait { name: format!("card{number}") },
                Action::SetLabel { name: format!("made{number}"), value },
            ],
            created: Timestamp::UNIX_EPOCH,
            revision: 1,
        })
    };
    (0..RULES).map(rule).collect()
}

/// The rule of that number, as an admin sends it.
fn sent(number: u64) -> String {
    json!({
        "conditions": [
            { "path": "/system/vendor", "op": "contains", "value": "Example" },
            { "path": "/pci/*/device", "op": "eq", "value": format!("{number:04x}") },
        ],
        "actions": [
            { "action": "add-trait", "name": format!("card{number}") },
            { "action": "set-label", "name": format!("made{number}"), "value": "{data[system][vendor]}" },
        ],
    })
    .to_string()
}

/// A PC with something plugged in: 8 KiB, as drivers tell of one.
fn inventory() -> String {
    let flags: Vec<_> = (0..120).map(|number| format!("flag{number}")).collect();
    let pci: Vec<_> = (0..30)
        .map(|number| {
            let device = format!("{number:04x}");
            json!({ "vendor": "8086", "device": device, "class": "060400", "driver": "pcieport" })
        })
        .collect();
    let usb: Vec<_> = (0..12)
        .map(|number| {
            let tty: Vec<String> = if number % 4 == 0 {
                vec![format!("ttyUSB{number}"), format!("ttyUSB{}", number + 1)]
            } else {
                Vec::new()
            };
            json!({
                "vendor": if number % 4 == 0 { "0403" } else { "05e3" }, "product": "6010",
                "manufacturer": "Example", "name": "Dual Something", "serial": format!("S{number}"),
                "driver": "ftdi_sio", "interfaces": ["ff/ff/ff", "ff/ff/ff"], "tty": tty
            })
        })
        .collect();
    let serial: Vec<_> =
        (0..7).map(|number| json!({ "name": format!("ttyS{number}"), "driver": "serial" })).collect();
    json!({
        "system": {
            "vendor": "Example Computers, Inc.", "product": "Box 3000", "serial": "EX0042",
            "uuid": "4c4c4544-0042-3510-8051-b4c04f4a4831", "arch": "x86_64"
        },
        "board": { "vendor": "Example Computers", "name": "B3K" },
        "bios": { "vendor": "Example Firmware", "version": "1.7" },
        "hostname": "bench3",
        "os": { "id": "debian", "version": "12" },
        "kernel": { "release": "6.1.0-18-amd64" },
        "boot": { "mode": "uefi" },
        "cpu": { "count": 8, "model": "Example(R) CPU @ 3.00GHz", "flags": flags },
        "memory": { "total_mib": 15_938 },
        "disks": [
            { "name": "nvme0n1", "size_bytes": 512_110_190_592_u64, "rotational": false, "removable": false, "model": "EX" },
            { "name": "sda", "size_bytes": 4_000_787_030_016_u64, "rotational": true, "removable": false, "model": "EX HDD" }
        ],
        "network": [{ "name": "enp3s0", "mac": "52:54:00:12:34:56", "driver": "e1000e", "speed_mbps": 1000 }],
        "usb": usb,
        "pci": pci,
        "serial": serial
    })
    .to_string()
}
