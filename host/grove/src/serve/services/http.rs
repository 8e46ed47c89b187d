//! The listener: it answers as long as the process lives, whatever else is missing.

use std::sync::Arc;

use grove_engine::{Exit, Output, Scope, Service};
use tokio::net::TcpListener;

use super::Shared;

/// Its name, for whoever stops it before the others.
pub(crate) const HTTP: &str = "http";

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(HTTP, move |scope| run(scope, shared.clone()))
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    // Of a port that the system chose, the same again.
    let wanted = shared.address.borrow().unwrap_or(shared.config.listen);
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        Exit::failed(format!("failed to listen on {wanted}: {error}; choose another --listen"))
    })?;
    let address = listener.local_addr()?;
    shared.address.send_replace(Some(address));
    scope.started(Output::none());
    grove_api::serve(listener, shared.front.clone(), scope.stop().clone()).await?;
    Ok(())
}
