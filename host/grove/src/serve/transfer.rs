//! Moving the farm: written as lines from a snapshot of the store, and taken in in the place of what is stored.
//!
//! An import reads into a store beside the live one, and disturbs nobody; then the writer replaces the rows at once, and
//! everything that was decided on the old ones is refused. Tunnels and whoever needs them (the controller, and what is on
//! it) start anew, so that nothing of the old farm goes on.

mod admission;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_api::{Feed, Transfer, Write};
use grove_control::Controller;
use grove_control::clock::{Clock, SystemClock};
use grove_domain::mode::FarmMode;
use grove_domain::plugin::Digest;
use grove_engine::{EngineHandle, Report, State};
use grove_store::{About, Components, ImportError, Staged, Store};
use grove_wire::farm::{Ended, FarmImport, MissingComponent, TableImport};
use grove_wire::{Code, Error, limits};
use parking_lot::Mutex;

use self::admission::ByTheApi;
use super::plugins::shelf::Shelf;
use super::services::{API, TUNNELS};

/// Longest wait for the new farm to be served; whoever asks later waits for it by themselves.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a service makes, while it is started; cheap to clone.
pub(crate) struct Slot<T>(Arc<Mutex<Option<T>>>);

/// It is in its slot as long as this lives.
pub(crate) struct InSlot<T>(Slot<T>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Slot<T> {
    pub(crate) fn put(&self, made: T) -> InSlot<T> {
        *self.0.lock() = Some(made);
        InSlot(self.clone())
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.0.lock().clone()
    }
}

impl<T> Drop for InSlot<T> {
    fn drop(&mut self) {
        // Outside the lock: it may be the last handle.
        let made = self.0.0.lock().take();
        drop(made);
    }
}

fn open(slot: &Slot<Store>) -> Result<Store, Error> {
    slot.get().ok_or_else(|| Error::new(Code::Unavailable, "the store is not open"))
}

/// The farm of this house.
pub(crate) struct FarmTransfer {
    pub(crate) engine: EngineHandle,
    pub(crate) store: Slot<Store>,
    pub(crate) controller: Slot<Controller>,
    pub(crate) shelf: Shelf,
    /// The folder of the store.
    pub(crate) state: PathBuf,
    /// Who imports, until callers are authenticated.
    pub(crate) actor: String,
}

fn at_work() -> Error {
    let why = "the farm is not in maintenance: an import would replace it under its users";
    Error::new(Code::FarmAtWork, why)
}

fn started(report: &Report, name: &str) -> bool {
    report.service(name).is_some_and(|service| service.state == State::Started)
}

fn starts(report: &Report, name: &str) -> u64 {
    report.service(name).map_or(0, |service| service.starts)
}

impl Transfer for FarmTransfer {
    fn may_import(&self) -> Result<(), Error> {
        let running = self.controller.get();
        let served = running.is_some_and(|controller| !controller.farm().mode().mode.is_maintenance());
        if served { Err(at_work()) } else { Ok(()) }
    }

    fn export(&self, incomplete: bool) -> BoxFuture<'static, Result<Write, Error>> {
        let (store, shelf) = (self.store.clone(), self.shelf.clone());
        let about = About { created: SystemClock.now(), version: env!("CARGO_PKG_VERSION").to_owned() };
        async move {
            // The store itself is let go of: the snapshot has a connection of its own.
            let kept = Kept(shelf.clone());
            let export = blocking(move || {
                let export = open(&store)?.export().map_err(|error| unavailable(&error))?;
                if !incomplete {
                    nothing_lost(&export.missing(&kept).map_err(|error| unavailable(&error))?)?;
                }
                Ok(export)
            });
            let export = export.await?;
            let write: Write = Box::new(move |out: &mut dyn io::Write| {
                export.write(&about, &Kept(shelf), out).map(drop).map_err(|error| error.to_string())
            });
            Ok(write)
        }
        .boxed()
    }

    fn import(&self, mut from: Feed, dry_run: bool) -> BoxFuture<'static, Result<FarmImport, Error>> {
        let (engine, slot, shelf) = (self.engine.clone(), self.store.clone(), self.shelf.clone());
        let (controller, state, actor) = (self.controller.clone(), self.state.clone(), self.actor.clone());
        async move {
            let staged = blocking(move || {
                Staged::read(&state, &mut from, !dry_run, &ByTheApi, SystemClock.now()).map_err(refused)
            });
            let staged = Arc::new(staged.await?);
            let (look, store) = (staged.clone(), slot.clone());
            let tables = blocking(move || {
                let changes = open(&store)?.compare(&look).map_err(|error| unavailable(&error))?;
                Ok(changes
                    .into_iter()
                    .map(|change| {
                        let (added, removed, changed) = (change.added, change.removed, change.changed);
                        (change.table, TableImport { added, removed, changed })
                    })
                    .collect::<BTreeMap<_, _>>())
            });
            let mut summary = summary(&staged, dry_run, tables.await?);
            if dry_run {
                return Ok(summary);
            }
            let before = starts(&engine.watch_report().borrow(), API);
            let replaced = blocking(move || {
                let kept = Kept(shelf);
                let keep = || staged.keep_components(&kept).map_err(|error| unavailable(&error));
                keep()?;
                // In maintenance, or while nobody runs it. It may have changed while the export was read.
                let may = move |mode: &FarmMode| mode.mode.is_maintenance() || controller.get().is_none();
                let replaced = open(&slot)?
                    .replace(&staged, &actor, SystemClock.now(), may)
                    .map_err(|error| unavailable(&error))?
                    .ok_or_else(at_work)?;
                // The old farm may just have thrown away what it did not know.
                if let Err(error) = keep() {
                    tracing::error!(
                        ?error,
                        "components of the imported farm could not be kept; install them again"
                    );
                }
                Ok(replaced)
            });
            summary.event = Some(replaced.await?.event);
            tracing::info!(event = summary.event, "another farm was imported");
            begin_anew(&engine, before).await;
            Ok(summary)
        }
        .boxed()
    }
}

/// An export without them would be missed when it is needed.
fn nothing_lost(lost: &[grove_store::MissingComponent]) -> Result<(), Error> {
    if lost.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = lost
        .iter()
        .map(|lost| {
            let short = lost.digest.get(..12).unwrap_or(&lost.digest);
            format!("{} {} ({short})", lost.plugin, lost.version)
        })
        .collect();
    Err(Error::new(Code::ComponentsLost, format!("the farm has lost the components of {}", named.join(", "))))
}

/// Nothing of the old farm goes on: its tunnels are closed, and the controller loads the new rows.
async fn begin_anew(engine: &EngineHandle, before: u64) {
    if let Err(error) = engine.bounce(TUNNELS.name()).await {
        // It stops: the next start loads the new farm.
        tracing::debug!(%error, "the services were not started anew");
        return;
    }
    let mut reports = engine.watch_report();
    let served = reports.wait_for(|report| starts(report, API) > before && started(report, API));
    if tokio::time::timeout(PATIENCE, served).await.is_err() {
        tracing::warn!("the imported farm is not served yet; see the services");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(Code::Unavailable, "it was interrupted")),
    }
}

fn summary(staged: &Staged, dry_run: bool, tables: BTreeMap<String, TableImport>) -> FarmImport {
    let (header, settled) = (staged.header(), staged.settled());
    FarmImport {
        dry_run,
        created: header.created.clone(),
        version: header.version.clone(),
        schema: header.schema,
        components: staged.contents().components,
        missing: staged.contents().missing.iter().cloned().map(missing).collect(),
        tables,
        ended: Ended { tasks: settled.tasks, requests: settled.requests, workers: settled.workers },
        event: None,
    }
}

fn missing(missing: grove_store::MissingComponent) -> MissingComponent {
    MissingComponent { plugin: missing.plugin, version: missing.version, digest: missing.digest }
}

fn unavailable(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Unavailable, error.to_string())
}

fn refused(error: ImportError) -> Error {
    match error {
        ImportError::File { .. } | ImportError::Newer { .. } => {
            Error::new(Code::BadExport, error.to_string())
        }
        ImportError::Read { .. } | ImportError::Put(_) | ImportError::Store(_) | ImportError::Open(_) => {
            unavailable(&error)
        }
    }
}

/// The shelf, as exports and imports use it.
struct Kept(Shelf);

impl Components for Kept {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read>>> {
        self.0.open(digest)
    }

    fn keep(&self, digest: &Digest, component: &mut dyn Read) -> io::Result<()> {
        // One larger than any that is taken in is none.
        let most = limits::COMPONENT as u64;
        let mut bytes = Vec::new();
        component.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!(
                "component {} is larger than {most} bytes",
                digest.short()
            )));
        }
        self.0.keep(digest, &bytes).map_err(|error| io::Error::other(format!("{error:#}")))
    }
}
