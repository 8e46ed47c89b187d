//! The farm behind the listener: from here on requests reach the controller.

use std::sync::Arc;

use grove_access::keys::parse_public_line;
use grove_api::{App, CheckKey};
use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, PLUGINS, RUNTIME, Shared};
use crate::serve::plugins::admin::Admin;

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new("api", move |scope| run(scope, shared.clone()))
        .needs(&CONTROLLER)
        .needs(&RUNTIME)
        .needs_named(PLUGINS)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    scope.exists(PLUGINS)?;
    let controller = scope.get(&CONTROLLER)?;
    let admin = Admin {
        controller: (*controller).clone(),
        runtime: (*scope.get(&RUNTIME)?).clone(),
        loader: shared.loader.clone(),
        registry: shared.registry.clone(),
    };
    let check_key: CheckKey = Arc::new(|line: &str| match parse_public_line(line) {
        Ok(key) => Ok(key.to_string()),
        Err(error) => Err(error.to_string()),
    });
    let app = App::new(&shared.front, (*controller).clone(), Arc::new(admin), check_key);
    let _attached = shared.front.attach(app);
    scope.started(Output::none());
    scope.stop().cancelled().await;
    Ok(())
}
