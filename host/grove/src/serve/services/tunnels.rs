//! Ways from users to the boards of their jobs.

use std::sync::Arc;

use grove_access::tunnel::{TunnelSettings, Tunnels};
use grove_engine::{Exit, Output, Scope, Service};

use super::{Shared, TUNNELS};
use crate::serve::config::Config;

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(TUNNELS.name(), move |scope| run(scope, shared.clone()))
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let tunnels = Tunnels::new(settings(&shared.config));
    let shown = tunnels.clone();
    scope.report(move || {
        let open = shown.count();
        async move { vec![("open", open.to_string())] }
    });
    scope.started(Output::of(&TUNNELS, Arc::new(tunnels.clone())));
    scope.stop().cancelled().await;
    // Jobs go on with the next start, on the same ports; their connections cannot outlive this one.
    tunnels.close_all().await;
    Ok(())
}

fn settings(config: &Config) -> TunnelSettings {
    let tunnels = &config.tunnels;
    TunnelSettings {
        bind: tunnels.bind,
        ports: tunnels.first_port..=tunnels.last_port,
        max_connections_per_job: tunnels.connections_per_job,
        max_connections_total: tunnels.connections,
        idle: tunnels.idle.map(|idle| idle.duration()),
        ..TunnelSettings::default()
    }
}
