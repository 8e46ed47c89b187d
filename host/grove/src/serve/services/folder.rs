//! The plugin folder, watched: what is there is taken in, and what is put there. Nobody waits for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, PLUGINS, RUNTIME, Shared};
use crate::serve::plugins::found;
use crate::serve::plugins::intake::Intake;

/// Between looks. What has changed is taken in when it was the same for two looks: by then it is written.
const LOOK: Duration = Duration::from_secs(1);

/// What tells one plugin in the folder from another.
type Looks = BTreeMap<PathBuf, Vec<(PathBuf, u64, Option<std::time::SystemTime>)>>;

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new("plugin-folder", move |scope| run(scope, shared.clone()))
        .needs(&CONTROLLER)
        .needs(&RUNTIME)
        .needs_named(PLUGINS)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    scope.exists(PLUGINS)?;
    let intake = shared.intake(&*scope.get(&CONTROLLER)?, &*scope.get(&RUNTIME)?);
    let Some(folder) = shared.config.plugins.folder.clone() else { return Ok(()) };
    let mut taken = look(&folder).await?;
    let mut last = taken.clone();
    scope.started(Output::none());
    for path in taken.keys() {
        take_in(&scope, &intake, path, false).await?;
    }
    shared.registry.folder_is_read();
    loop {
        tokio::select! {
            () = scope.stop().cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = look(&folder).await?;
        for (path, files) in &now {
            if taken.get(path) == Some(files) || last.get(path) != Some(files) {
                continue;
            }
            taken.insert(path.clone(), files.clone());
            take_in(&scope, &intake, path, true).await?;
        }
        taken.retain(|path, _| now.contains_key(path));
        last = now;
    }
}

/// Takes in what is in this folder, if it passes; `placed`: it was put there just now. Ends when the service shall stop.
async fn take_in(scope: &Scope, intake: &Intake, path: &Path, placed: bool) -> Result<(), Exit> {
    let read = path.to_owned();
    let found = match tokio::task::spawn_blocking(move || found::in_folder(&read)).await? {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("{error:#}");
            return Ok(());
        }
    };
    let name = found.manifest.name.clone();
    tokio::select! {
        () = scope.stop().cancelled() => {}
        taken = intake.found(found, placed) => if let Err(why) = taken {
            tracing::error!(plugin = name, "{why}");
        },
    }
    Ok(())
}

async fn look(folder: &Path) -> Result<Looks, Exit> {
    let folder = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let folders = found::folders(&folder)?;
        anyhow::Ok(folders.into_iter().map(|path| (path.clone(), found::look(&path))).collect())
    });
    looked.await?.map_err(Exit::failed)
}
