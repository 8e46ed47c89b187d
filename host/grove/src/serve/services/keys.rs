//! The stock of session keys.

use std::sync::Arc;

use grove_access::keypool::{KeyPool, KeyPoolSettings};
use grove_engine::{Exit, Output, Scope, Service};

use super::{KEYS, Shared};
use crate::serve::config::KeyConfig;

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(KEYS.name(), move |scope| run(scope, shared.clone()))
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let KeyConfig { pool: size, pool_max: most } = shared.config.keys;
    let settings = KeyPoolSettings { size, most, ..KeyPoolSettings::default() };
    let folder = shared.folder("keys").map_err(Exit::failed)?;
    let pool = KeyPool::open(folder, settings)?;
    let shown = pool.clone();
    scope.report(move || {
        let (stock, wanted) = (shown.stock(), shown.wanted());
        async move { vec![("in stock", stock.to_string()), ("wanted in stock", wanted.to_string())] }
    });
    scope.started(Output::of(&KEYS, Arc::new(pool)));
    scope.stop().cancelled().await;
    Ok(())
}
