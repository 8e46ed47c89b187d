//! The farm behind the listener: from here on requests reach the controller.

use std::sync::Arc;

use grove_access::keys::parse_public_line;
use grove_api::{App, CheckKey, Options};
use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, PLUGINS, RUNTIME, Shared};
use crate::serve::plugins::admin::Admin;

/// Its name, for whoever waits for it.
pub(crate) const API: &str = "api";

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(API, move |scope| run(scope, shared.clone()))
        .needs(&CONTROLLER)
        .needs(&RUNTIME)
        .needs_named(PLUGINS)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    scope.exists(PLUGINS)?;
    let controller = scope.get(&CONTROLLER)?;
    let intake = shared.intake(&controller, &*scope.get(&RUNTIME)?);
    let admin = Admin { intake };
    let check_key: CheckKey = Arc::new(|line: &str| match parse_public_line(line) {
        Ok(key) => Ok(key.to_string()),
        Err(error) => Err(error.to_string()),
    });
    let options = Options {
        owner: shared.config.owner(),
        advertise: shared.config.advertise.clone(),
        enrolment: shared.enrolment,
    };
    let app = App::new((*controller).clone(), options, Arc::new(admin), check_key, shared.storage.clone());
    let _attached = shared.front.attach(app);
    scope.started(Output::none());
    scope.stop().cancelled().await;
    Ok(())
}
