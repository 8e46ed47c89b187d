//! What is done with one inventory.

use std::sync::Arc;
use std::time::Duration;

use grove_domain::capability::is_reserved;
use grove_domain::id::{IntrospectionId, WorkerId};
use grove_domain::introspection::{
    Change, Findings, Introspection, Kind, MAX_INVENTORY, State, View, findings,
};
use grove_domain::rule::{self, Rule};
use tokio_util::sync::CancellationToken;

use super::{Made, Tools, Trouble};
use crate::inventory;
use crate::ports::{Blame, Enrolment, Inspected};

/// Between attempts to read from a store that refuses.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// Inventories above this are read and judged beside the threads that everything else runs on.
const INLINE: usize = 64 << 10;

pub(super) async fn process(
    tools: &Tools,
    run: &Introspection,
    cancel: &CancellationToken,
) -> Result<Made, Trouble> {
    let raw = stored(tools, run.id, cancel).await?;
    // No inspector sees what is no inventory.
    aside(raw.clone(), |raw| inventory::read(&raw).map(drop).map_err(Trouble::new)).await?;
    match run.worker {
        None if run.state == State::Enrolling => identify(tools, raw, cancel).await,
        None => Err(Trouble::new("the board was never registered")),
        Some(worker) => conclude(tools, worker, raw, cancel).await,
    }
}

/// The inventory as it came, as soon as the store answers.
async fn stored(
    tools: &Tools,
    run: IntrospectionId,
    cancel: &CancellationToken,
) -> Result<Arc<str>, Trouble> {
    loop {
        match tools.store.inventory(run, Kind::Raw).await {
            Ok(Some(raw)) => return Ok(raw),
            Ok(None) => return Err(Trouble::new("no inventory is stored")),
            Err(error) => tracing::warn!(%run, %error, "an inventory could not be read"),
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            () = tokio::time::sleep(STORE_RETRY) => {}
        }
    }
}

async fn conclude(
    tools: &Tools,
    worker: WorkerId,
    raw: Arc<str>,
    cancel: &CancellationToken,
) -> Result<Made, Trouble> {
    let farm = tools.view.load_full();
    let worker = farm.worker(worker).ok_or_else(|| Trouble::new("the worker is gone"))?;
    let view = View::of(worker);
    let rules: Vec<Arc<Rule>> = farm.rules().cloned().collect();
    drop(farm);
    let inspected = tools.inspectors.inspect(raw, view.clone(), cancel.clone()).await.map_err(blamed)?;
    let Inspected { inventory, changes, by } = inspected;
    if inventory.len() > MAX_INVENTORY {
        let bytes = inventory.len();
        return Err(Trouble::new(format!(
            "inspectors made {bytes} bytes of it: at most {MAX_INVENTORY} are kept"
        )));
    }
    let found = aside(inventory.clone(), move |inventory| judged(&inventory, changes, &rules, &view)).await?;
    Ok(Made::Findings { inventory, findings: Arc::new(found), by })
}

/// What inspectors and rules found, as one.
fn judged(
    inventory: &str,
    changes: Vec<(String, Change)>,
    rules: &[Arc<Rule>],
    view: &View,
) -> Result<Findings, Trouble> {
    let changes: Vec<_> =
        changes.into_iter().map(|(inspector, change)| (format!("inspector/{inspector}"), change)).collect();
    let inventory = inventory::read(inventory)
        .map_err(|problem| Trouble::new(format!("what inspectors made of it is no inventory: {problem}")))?;
    let by_inspectors = findings(changes.iter().cloned()).map_err(Trouble::new)?;
    let ruled = rule::apply(rules.iter().map(Arc::as_ref), &inventory, view, &by_inspectors.capabilities)
        .map_err(|failed| Trouble::new(failed.to_string()))?;
    let ruled = ruled.into_iter().map(|(rule, change)| (format!("rule/{rule}"), change));
    findings(changes.into_iter().chain(ruled)).map_err(Trouble::new)
}

/// Who an unknown board is, and whether its driver would have it.
async fn identify(tools: &Tools, raw: Arc<str>, cancel: &CancellationToken) -> Result<Made, Trouble> {
    let Some(enrolment) = tools.inspectors.unknown(raw, cancel.clone()).await.map_err(blamed)? else {
        return Ok(Made::Board(None));
    };
    if let Err(reason) = acceptable(tools, &enrolment).await {
        let blame = Blame { inspector: enrolment.inspector, version: None, reason };
        return Err(blamed(vec![blame]));
    }
    Ok(Made::Board(Some(enrolment)))
}

async fn acceptable(tools: &Tools, enrolment: &Enrolment) -> Result<(), String> {
    let registration = &enrolment.registration;
    if let Some(key) = registration.capabilities.keys().find(|key| is_reserved(key)) {
        return Err(format!("{key} is the farm's own capability"));
    }
    let driver = &registration.driver;
    if !tools.drivers.names().contains(driver) {
        return Err(format!("there is no driver {driver:?}"));
    }
    let version = tools.view.load().plugin(driver).and_then(|plugin| plugin.in_use());
    let verdict = tools.drivers.validate(driver, version.as_ref(), &registration.driver_config).await;
    verdict.map_err(|reason| format!("driver {driver:?} does not accept the configuration: {reason}"))
}

/// Work that takes long where its text is long: never on a thread that others wait for.
async fn aside<T: Send + 'static>(
    text: Arc<str>,
    work: impl FnOnce(Arc<str>) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    if text.len() <= INLINE {
        return work(text);
    }
    match tokio::task::spawn_blocking(move || work(text)).await {
        Ok(done) => done,
        Err(_) => Err(Trouble::new("what judges inventories broke; its log says how")),
    }
}

fn blamed(blames: Vec<Blame>) -> Trouble {
    let reasons: Vec<_> =
        blames.iter().map(|blame| format!("inspector/{}: {}", blame.inspector, blame.reason)).collect();
    Trouble { reason: reasons.join("; "), blames }
}

fn cancelled() -> Trouble {
    Trouble::new("it was cancelled")
}
