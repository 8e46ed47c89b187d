//! Files outside the store: looked through at the start, then kept within their bounds.
//!
//! Nobody needs this service: until it has looked, artifacts are refused, and the lines of tasks wait in memory.

use std::sync::Arc;
use std::time::Duration;

use grove_control::clock::{Settled, SystemClock};
use grove_domain::moment::{SignedDuration, Timestamp};
use grove_engine::{Exit, Output, Scope, Service};

use super::{OBJECTS, Shared};

/// Between looks at what has become too old or too much.
const SWEEP: Duration = Duration::from_secs(3600);

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(OBJECTS, move |scope| run(scope, shared.clone()))
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let storage = shared.storage.clone();
    storage.artifacts.load().await?;
    let shown = storage.clone();
    scope.report(move || {
        let (artifacts, bytes) = shown.artifacts.usage();
        let logs = shown.logs.live();
        async move {
            vec![
                ("artifacts", artifacts.to_string()),
                ("bytes of artifacts", bytes.to_string()),
                ("logs being written", logs.to_string()),
            ]
        }
    });
    scope.started(Output::none());
    let mut settled = Settled::new(&SystemClock);
    loop {
        // Until the clock can be trusted nothing is too old; what is too much goes all the same.
        let now = settled.now(&SystemClock, SignedDuration::MAX).unwrap_or(Timestamp::UNIX_EPOCH);
        let sweep = async {
            let artifacts = storage.artifacts.retire(now).await?;
            let logs = storage.logs.retire(now).await?;
            Ok::<_, grove_objects::Error>((artifacts, logs))
        };
        let swept = tokio::select! {
            () = scope.stop().cancelled() => return Ok(()),
            swept = sweep => swept,
        };
        match swept {
            Ok((0, 0)) => {}
            Ok((artifacts, logs)) => tracing::info!(artifacts, logs, "removed what is too old or too much"),
            Err(error) => tracing::warn!(%error, "failed to remove what is too old"),
        }
        tokio::select! {
            () = scope.stop().cancelled() => return Ok(()),
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
