//! Heartbeats in the background, and what their answers tell.

use grove_client::Client;
use grove_client::wire::Span;
use grove_client::wire::request::Request;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Beats until it is dropped or the request has ended.
pub(crate) struct Pulse {
    task: JoinHandle<()>,
    over: watch::Receiver<bool>,
}

impl Pulse {
    pub(crate) fn start(farm: Client, id: u64, every: Span) -> Self {
        let (tell, over) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut ticks = interval(every.duration());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let ended = match farm.heartbeat(id).await {
                    Ok(request) => is_over(&request),
                    // Refused because the request has ended, or is no longer kept. While the farm is away there is
                    // nothing to do but to beat on.
                    Err(error) => error.is_not_found() || error.is_conflict(),
                };
                if ended {
                    // Nobody listening any more is fine.
                    let _ = tell.send(true);
                    return;
                }
            }
        });
        Self { task, over }
    }

    /// Resolves when the farm says that the request has ended.
    pub(crate) async fn stopped(&mut self) {
        if self.over.wait_for(|over| *over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_over(request: &Request) -> bool {
    request.state.is_terminal()
}
