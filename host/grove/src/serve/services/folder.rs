//! The plugin folder, watched: what is put there is taken in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, PLUGINS, RUNTIME, Shared};
use crate::serve::plugins::found;

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
    // What is there now was taken in by those before us, or refused.
    let mut taken = look(&folder).await?;
    let mut last = taken.clone();
    scope.started(Output::none());
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
            let read = path.clone();
            let found = match tokio::task::spawn_blocking(move || found::in_folder(&read)).await? {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!("{error:#}");
                    continue;
                }
            };
            let name = found.manifest.name.clone();
            if let Err(why) = intake.found(found, true).await {
                tracing::error!(plugin = name, "{why}");
            }
        }
        taken.retain(|path, _| now.contains_key(path));
        last = now;
    }
}

async fn look(folder: &std::path::Path) -> Result<Looks, Exit> {
    let folder = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let folders = found::folders(&folder)?;
        anyhow::Ok(folders.into_iter().map(|path| (path.clone(), found::look(&path))).collect())
    });
    looked.await?.map_err(Exit::failed)
}
