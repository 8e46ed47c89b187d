//! Heartbeats in the background, and what their answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grove_client::Client;
use grove_client::wire::Span;
use grove_client::wire::job::Access;
use grove_client::wire::request::{Heartbeat, Request, Warning};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What the farm's last answer said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// When that was.
    pub(crate) at: Instant,
    /// The request has ended.
    pub(crate) over: bool,
    /// Its job outlives its client.
    pub(crate) kept: bool,
    /// What its user should know.
    pub(crate) warnings: Vec<Warning>,
    /// How to get in.
    pub(crate) access: Option<Access>,
}

impl Told {
    fn by(request: Request) -> Self {
        let job = request.job.as_ref();
        Self {
            at: Instant::now(),
            over: request.state.is_terminal(),
            kept: job.is_some_and(|job| job.kept),
            warnings: request.warnings.unwrap_or_default(),
            access: request.job.and_then(|job| job.access),
        }
    }
}

/// Beats until it is dropped or the request has ended.
pub(crate) struct Pulse {
    task: JoinHandle<()>,
    told: watch::Receiver<Told>,
    busy: Arc<AtomicBool>,
}

impl Pulse {
    pub(crate) fn start(farm: Client, request: &Request, every: Span) -> Self {
        let id = request.id;
        let (tell, told) = watch::channel(Told::by(request.clone()));
        let busy = Arc::new(AtomicBool::new(false));
        let beats = Arc::clone(&busy);
        let task = tokio::spawn(async move {
            let mut ticks = interval(every.duration());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let body = Heartbeat { busy: beats.load(Ordering::Relaxed) };
                match farm.heartbeat(id, &body).await {
                    Ok(request) => drop(tell.send(Told::by(request))),
                    // Refused because the request has ended, or is no longer kept.
                    Err(error) if error.is_not_found() || error.is_conflict() => {
                        tell.send_modify(|told| told.over = true);
                    }
                    // While the farm is away there is nothing to do but to beat on.
                    Err(_) => {}
                }
                if tell.borrow().over {
                    return;
                }
            }
        });
        Self { task, told, busy }
    }

    /// Whether something that we started still runs.
    pub(crate) fn busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// What the farm says next.
    pub(crate) async fn next(&mut self) -> Told {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.told.borrow_and_update().clone()
    }

    /// What it said last.
    pub(crate) fn told(&self) -> Told {
        self.told.borrow().clone()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}
