//! The threads that guests run on. They are not the server's: a guest in a loop then delays nobody's timers.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::Cause;
use crate::ticker::Clock;

/// Where guests run: threads, and the clock that interrupts what is on them.
#[derive(Clone)]
pub(crate) struct Guests {
    pub(crate) threads: Handle,
    pub(crate) clock: Clock,
}

/// Owns the threads; they end with it.
pub(crate) struct GuestThreads {
    handle: Handle,
    runtime: Option<tokio::runtime::Runtime>,
}

impl GuestThreads {
    pub(crate) fn start(name: &str, workers: usize) -> std::io::Result<GuestThreads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.max(1))
            // Guests yield each tick; with tokio's default of 61 polls between looks at timers and sockets, a few
            // loops would hold those up for tens of milliseconds.
            .event_interval(1)
            .thread_name(name)
            .enable_all()
            .build()?;
        Ok(GuestThreads { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // Waiting for the threads here would block whoever drops us, perhaps inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` on the guests' threads until it is done, cancelled, or late, and resolves only when `work` and all
/// that it owns (the store) are dropped. If the returned future itself is dropped, `work` is dropped soon after.
pub(crate) async fn confined<T: Send + 'static>(
    guests: &Guests,
    cancel: Option<CancellationToken>,
    deadline: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Cause> {
    let work = guests.clock.ticking(work);
    let task = guests.threads.spawn(async move {
        let cancelled = async {
            match cancel {
                Some(token) => token.cancelled_owned().await,
                None => std::future::pending().await,
            }
        };
        // Everything named here is dropped when the select ends, before the result is handed out.
        tokio::select! {
            biased;
            () = cancelled => Err(Cause::Cancelled),
            () = tokio::time::sleep(deadline) => Err(Cause::DeadlineExceeded(deadline)),
            done = work => Ok(done),
        }
    });
    match AbortOnDropHandle::new(task).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(Cause::Internal(panic_text(error.into_panic().as_ref()))),
        Err(_) => Err(Cause::Internal("the plugin runtime is stopping".to_owned())),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
}
