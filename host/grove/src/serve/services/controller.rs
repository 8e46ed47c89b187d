//! Who decides: the dispatcher with its timers, the publisher of events, and the sessions with policies.

use std::sync::Arc;
use std::time::Duration;

use grove_access::ssh::{SshClient, SshSettings};
use grove_control::clock::SystemClock;
use grove_control::{Controller, NewTaskId, Parts};
use grove_domain::id::{InstanceId, TaskId, Uuid};
use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, KEYS, STORE, Shared, TUNNELS};
use crate::serve::adapters::access::{FileSecrets, PoolKeys, Supervisors, TcpTunnels};
use crate::serve::adapters::drivers::PluginDrivers;
use crate::serve::adapters::inspectors::PluginInspectors;
use crate::serve::adapters::objects::{KeptArtifacts, KeptLogs};

/// It fails to start when the store takes no writes: once that does, the farm is back within this.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(CONTROLLER.name(), move |scope| run(scope, shared.clone()))
        .max_delay(AGAIN)
        .needs(&STORE)
        .needs(&KEYS)
        .needs(&TUNNELS)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let secrets = shared.secrets.clone();
    let drivers = PluginDrivers {
        registry: shared.registry.clone(),
        ssh: Arc::new(Supervisors(SshClient::new(SshSettings::default(), (*secrets).clone()))),
        secrets: Arc::new(FileSecrets(secrets)),
        storage: Arc::new(KeptArtifacts {
            artifacts: shared.storage.artifacts.clone(),
            clock: Arc::new(SystemClock),
        }),
    };
    let inspectors = PluginInspectors {
        registry: shared.registry.clone(),
        settings: shared.loader.inspectors.clone(),
        order: shared.config.introspection.inspectors.clone().into(),
    };
    let controller = Controller::start(Parts {
        store: scope.get(&STORE)?,
        drivers: Arc::new(drivers),
        inspectors: Arc::new(inspectors),
        keys: Arc::new(PoolKeys((*scope.get(&KEYS)?).clone())),
        tunnels: Arc::new(TcpTunnels((*scope.get(&TUNNELS)?).clone())),
        policies: Arc::new(shared.policies.clone()),
        logs: Arc::new(KeptLogs(shared.storage.logs.clone())),
        clock: Arc::new(SystemClock),
        new_task_id: task_ids(),
        instance: InstanceId(Uuid::now_v7()),
        settings: shared.config.settings(),
    })
    .await?;
    let shown = controller.clone();
    scope.report(move || {
        let (tasks, waiting) = (shown.running_tasks(), shown.farm().waiting());
        let trouble = shown.trouble().unwrap_or_else(|| "none".to_owned());
        async move {
            vec![
                ("running tasks", tasks.to_string()),
                ("waiting requests", waiting.to_string()),
                ("trouble", trouble),
            ]
        }
    });
    let _slot = shared.running.put(controller.clone());
    let ended = controller.ended();
    scope.started(Output::of(&CONTROLLER, Arc::new(controller.clone())));
    tokio::select! {
        () = scope.stop().cancelled() => {}
        reason = ended => return Err(Exit::failed(reason)),
    }
    let drain = shared.config.drain();
    if tokio::time::timeout(drain, controller.stop()).await.is_err() {
        tracing::warn!("tasks did not end within {} s; the next start takes them up", drain.as_secs());
    }
    Ok(())
}

/// UUIDs v7, in the order in which they are made.
fn task_ids() -> NewTaskId {
    let context = uuid::ContextV7::new();
    Box::new(move |now| {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        TaskId(Uuid::new_v7(uuid::Timestamp::from_unix(&context, seconds, nanos)))
    })
}
