//! Inspector plugins as the controller's inspectors.
//!
//! Every run gets fresh instances: what an inspector could keep from one inventory can then never reach another, and the
//! same inventory leads to the same conclusions. Making them is a third of the millisecond that a run takes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use grove_control::ports::{Blame, Enrolment, Inspected, Inspectors};
use grove_domain::id::{Uuid, WorkerId};
use grove_domain::introspection::{Change, View};
use grove_domain::plugin::Digest;
use grove_domain::worker::Registration;
use grove_runtime::{
    self as runtime, CallError, CallLimits, Cause, Finding, InspectorPlugin, InspectorSession, WorkerView,
};
use tokio_util::sync::CancellationToken;

use super::log::PluginLog;
use crate::serve::plugins::load::InspectorSettings;
use crate::serve::plugins::registry::Registry;

/// Limits of one call into an inspector.
const LIMITS: CallLimits = CallLimits { deadline: Duration::from_secs(10), running: Duration::from_secs(2) };

/// The farm's inspectors; cheap to clone.
#[derive(Clone)]
pub(crate) struct PluginInspectors {
    pub(crate) registry: Registry,
    pub(crate) settings: InspectorSettings,
    /// Who is asked first, in this order; the others follow by name.
    pub(crate) order: Arc<[String]>,
}

impl Inspectors for PluginInspectors {
    fn names(&self) -> Vec<String> {
        self.ordered(self.registry.inspectors())
    }

    fn inspect(
        &self,
        raw: Arc<str>,
        worker: View,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Inspected, Vec<Blame>>> {
        let inspectors = self.clone();
        async move {
            let (mut round, inventory) = inspectors.normalized(&raw, &cancel).await?;
            let changes = round.derive(&inventory, &view(&worker)).await?;
            let by =
                round.0.iter().filter_map(|at_work| Some((at_work.name.clone(), at_work.version?))).collect();
            Ok(Inspected { inventory: inventory.into(), changes, by })
        }
        .boxed()
    }

    fn unknown(
        &self,
        raw: Arc<str>,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Option<Enrolment>, Vec<Blame>>> {
        let inspectors = self.clone();
        async move {
            let (mut round, inventory) = inspectors.normalized(&raw, &cancel).await?;
            round.unknown(&inventory).await
        }
        .boxed()
    }
}

impl PluginInspectors {
    fn ordered(&self, mut names: Vec<String>) -> Vec<String> {
        let place = |name: &String| self.order.iter().position(|first| first == name).unwrap_or(usize::MAX);
        names.sort_by(|one, other| place(one).cmp(&place(other)).then_with(|| one.cmp(other)));
        names
    }

    /// All inspectors at work, and the inventory as they brought it into form, one after the other. Each is asked, also
    /// where others failed.
    async fn normalized(&self, raw: &str, cancel: &CancellationToken) -> Result<(Round, String), Vec<Blame>> {
        let names =
            self.registry.known_inspectors().await.map_err(|reason| vec![blame("any", None, reason)])?;
        let names = self.ordered(names);
        let opened = join_all(names.iter().map(|name| self.open(name, cancel))).await;
        let (mut at_work, mut blames) = (Vec::new(), Vec::new());
        for opened in opened {
            match opened {
                Ok(inspector) => at_work.push(inspector),
                Err(blame) => blames.push(blame),
            }
        }
        let mut inventory = raw.to_owned();
        for inspector in &mut at_work {
            match inspector.session.normalize(inventory.clone()).await {
                Ok(normalized) => inventory = normalized,
                Err(error) => blames.push(inspector.failed(&error)),
            }
        }
        if blames.is_empty() { Ok((Round(at_work), inventory)) } else { Err(blames) }
    }

    async fn open(&self, name: &str, cancel: &CancellationToken) -> Result<AtWork, Blame> {
        let plugin = self.registry.inspector(name).await.map_err(|reason| blame(name, None, reason))?;
        let version = plugin.digest().parse().ok();
        let session = open(&plugin, self.settings.of(name), cancel.clone()).await;
        let session = session.map_err(|error| failed(name, version, &error))?;
        Ok(AtWork { name: name.to_owned(), version, session })
    }
}

/// The inspectors at work on one inventory, in order.
struct Round(Vec<AtWork>);

struct AtWork {
    name: String,
    version: Option<Digest>,
    session: InspectorSession,
}

impl AtWork {
    fn failed(&self, error: &CallError) -> Blame {
        failed(&self.name, self.version, error)
    }
}

impl Round {
    /// What all of them conclude. Each is asked, also where others failed.
    async fn derive(
        &mut self,
        inventory: &str,
        worker: &WorkerView,
    ) -> Result<Vec<(String, Change)>, Vec<Blame>> {
        let (mut changes, mut blames) = (Vec::new(), Vec::new());
        for inspector in &mut self.0 {
            match inspector.session.derive(inventory.to_owned(), worker.clone()).await {
                Ok(found) => {
                    changes.extend(found.into_iter().map(|found| (inspector.name.clone(), change(found))));
                }
                Err(error) => blames.push(inspector.failed(&error)),
            }
        }
        if blames.is_empty() { Ok(changes) } else { Err(blames) }
    }

    /// Who the first of them that knows says it is. Where one fails, those after it do not decide in its place.
    async fn unknown(&mut self, inventory: &str) -> Result<Option<Enrolment>, Vec<Blame>> {
        for inspector in &mut self.0 {
            match inspector.session.unknown_device(inventory.to_owned()).await {
                Ok(None) => {}
                Ok(Some(found)) => {
                    return enrolment(&inspector.name, found).map(Some).map_err(|blame| vec![blame]);
                }
                Err(error) => return Err(vec![inspector.failed(&error)]),
            }
        }
        Ok(None)
    }
}

/// Has an inspector take its settings and conclude from an inventory in which there is nothing; otherwise its words why
/// not.
pub(crate) async fn try_out(plugin: &InspectorPlugin, settings: String) -> Result<(), String> {
    let worker = WorkerView { uuid: Uuid::nil().to_string(), capabilities: Vec::new(), groups: Vec::new() };
    let trial = async {
        let mut session = open(plugin, settings, CancellationToken::new()).await?;
        let inventory = session.normalize("{}".to_owned()).await?;
        session.derive(inventory.clone(), worker).await?;
        session.unknown_device(inventory).await
    };
    trial.await.map(drop).map_err(|error: CallError| error.to_string())
}

async fn open(
    plugin: &InspectorPlugin,
    settings: String,
    cancel: CancellationToken,
) -> Result<InspectorSession, CallError> {
    let log = Arc::new(PluginLog(plugin.name().to_owned()));
    plugin.open(settings, LIMITS, log, cancel).await
}

fn view(worker: &View) -> WorkerView {
    WorkerView {
        uuid: worker.worker.to_string(),
        capabilities: worker.capabilities.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        groups: worker.groups.clone(),
    }
}

fn change(finding: Finding) -> Change {
    match finding {
        Finding::SetCapability(key, value) => Change::SetCapability(key, value),
        Finding::UnsetCapability(key) => Change::UnsetCapability(key),
        Finding::Label(key, value) => Change::Label(key, value),
        Finding::Fail(reason) => Change::Fail(reason),
    }
}

fn enrolment(inspector: &str, found: runtime::Registration) -> Result<Enrolment, Blame> {
    let runtime::Registration { uuid, capabilities, driver, config } = found;
    let worker = uuid.parse().map(WorkerId).map_err(|_| {
        blame(inspector, None, format!("unknown-device: it names the board {uuid:?}, which is no uuid"))
    })?;
    let registration = Registration {
        driver,
        driver_config: config,
        capabilities: Arc::new(capabilities.into_iter().collect()),
    };
    Ok(Enrolment { inspector: inspector.to_owned(), worker, registration })
}

fn blame(inspector: &str, version: Option<Digest>, reason: String) -> Blame {
    Blame { inspector: inspector.to_owned(), version, reason }
}

/// An inspector's own words, or what became of it.
fn failed(inspector: &str, version: Option<Digest>, error: &CallError) -> Blame {
    let reason = match &error.cause {
        Cause::Failure(said) => said.text.clone(),
        cause => format!("{}: {cause}", error.call),
    };
    blame(inspector, version, reason)
}

#[cfg(test)]
mod with_guests;
