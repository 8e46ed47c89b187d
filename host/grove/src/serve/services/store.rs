//! The store: opened, watched, and opened again when it went away.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grove_engine::{Exit, Output, Scope, Service};
use grove_store::{Begin, OpenError, Settings, Store};

use super::{STORE, Shared};
use crate::serve::adapters::store::SqliteStore;

/// Between looks at whether the store's file is still the one that was opened.
const LOOK: Duration = Duration::from_secs(1);

/// Once its cause is gone, a store that was away is back within this: everybody waits for it.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the store before may still hold the folder, and between looks at whether it does.
const LEAVING: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(2);

/// No waiting mends it: whoever starts a controller must hear of it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Hopeless(OpenError);

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(STORE.name(), move |scope| run(scope, shared.clone())).max_delay(AGAIN)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let folder = shared.config.state().map_err(Exit::failed)?;
    let was_open = shared.store_left.lock().is_some();
    until_left(&shared, LEAVING).await;
    let begin = shared.config.begin;
    let opened = tokio::task::spawn_blocking(move || open(&folder, was_open, begin)).await?;
    let store = opened.map_err(|closed| closed.exit(was_open))?;
    *shared.store_left.lock() = Some(store.left());
    let file = file_of(&shared.config.state().map_err(Exit::failed)?);
    let opened = inode(&file);
    let _slot = shared.store.put(store.clone());
    // What was damaged while nobody looked is found soon, and nobody waits for that.
    let check = store.check();
    tokio::task::spawn_blocking(move || check.run());
    scope.started(Output::of(&STORE, Arc::new(SqliteStore(store.clone()))));
    loop {
        tokio::select! {
            () = scope.stop().cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(damage) = store.damage() {
            return Err(Exit::failed(format!("{}: {damage}", file.display())));
        }
        // Written on, a file that is no longer there would take everything that is acknowledged with it.
        if inode(&file) != opened {
            return Err(Exit::failed(format!("{} is gone, or another one; put it back", file.display())));
        }
    }
}

/// Waits until the store that was opened last was left: a read that is under way in it holds it for a moment. Whether it was
/// in that time; there may have been none.
pub(crate) async fn until_left(shared: &Shared, patience: Duration) -> bool {
    let left = shared.store_left.lock().clone();
    let wait = async {
        while left.as_ref().is_some_and(|left| !left.is_so()) {
            tokio::time::sleep(MOMENT).await;
        }
    };
    tokio::time::timeout(patience, wait).await.is_ok()
}

/// Why the store did not open.
enum Closed {
    Gone(PathBuf),
    Refused(OpenError),
}

impl Closed {
    fn exit(self, was_open: bool) -> Exit {
        match self {
            Self::Gone(file) => Exit::failed(format!("{} is gone; put it back", file.display())),
            Self::Refused(
                error @ (OpenError::InUse(_)
                | OpenError::Newer { .. }
                | OpenError::Foreign(_)
                | OpenError::Lost { .. }
                | OpenError::Begun(_)
                | OpenError::HalfRestored(_)),
            ) if !was_open => Hopeless(error).into(),
            Self::Refused(error) => error.into(),
        }
    }
}

fn open(folder: &Path, was_open: bool, begin: Begin) -> Result<Store, Closed> {
    // A farm that was open is never begun anew because its folder is not there for a while.
    let file = file_of(folder);
    if was_open && !file.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
        return Err(Closed::Gone(file));
    }
    let begin = if was_open { Begin::Never } else { begin };
    Store::open(folder, Settings { begin, ..Settings::default() }).map_err(Closed::Refused)
}

fn file_of(folder: &Path) -> PathBuf {
    folder.join(grove_store::DATABASE)
}

fn inode(file: &Path) -> Option<(u64, u64)> {
    let about = file.metadata().ok()?;
    Some((about.dev(), about.ino()))
}
