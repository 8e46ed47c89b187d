//! Where plugins run.

use std::sync::Arc;

use grove_engine::{Exit, Output, Scope, Service};
use grove_runtime::{Runtime, Settings};

use super::{RUNTIME, Shared};

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(RUNTIME.name(), move |scope| run(scope, shared.clone()))
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let cache = shared.folder("cache").map_err(Exit::failed)?;
    let compiler = shared.compiler.clone();
    let runtime = Runtime::new(Settings { cache: Some(cache), compiler, ..Settings::default() })?;
    let shown = runtime.clone();
    scope.report(move || {
        let (free, replaced) = (shown.free_slots(), shown.clock_replacements());
        async move { vec![("free slots", free.to_string()), ("clock replaced", replaced.to_string())] }
    });
    scope.started(Output::of(&RUNTIME, Arc::new(runtime)));
    scope.stop().cancelled().await;
    Ok(())
}
