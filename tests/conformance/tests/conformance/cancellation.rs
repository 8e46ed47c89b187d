//! A newer state cancels a call at once, whatever it is doing: computing, or inside a host call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use grove_runtime::{
    CallContext, CallError, CallLimits, Cause, DriverCall, DriverPlugin, DriverReply, SshError, SshHost,
    SshOutput, SshTarget,
};
use grove_tests_conformance::{PATIENCE, Recorder, component, load, manifest, patient, runtime, target};
use tokio::sync::Notify;

/// Cancels a call once it is under way, and sees that its store is gone when the call resolves, and that clean-up
/// works in a fresh instance.
async fn cancelled(
    driver: &DriverPlugin,
    call: DriverCall,
    context: CallContext,
    under_way: impl Future<Output = ()>,
) {
    let token = context.cancel.clone();
    let other = context.clone();
    let task = Arc::downgrade(&context.task);
    let running = tokio::spawn({
        let driver = driver.clone();
        async move { driver.call(call, context).await }
    });
    under_way.await;
    token.cancel();
    let error = tokio::time::timeout(PATIENCE, running).await.expect("it hangs").unwrap().unwrap_err();
    assert_eq!(error.cause, Cause::Cancelled, "{error}");
    let cleanup = CallContext { cancel: Default::default(), ..other };
    assert_eq!(driver.call(DriverCall::Cleanup(target("")), cleanup).await, Ok(DriverReply::Done));
    assert_eq!(task.strong_count(), 1, "only the test still has the task");
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn driver_loop_is_cancelled_while_it_computes() {
    let driver = load("driver-loop", "").await.unwrap().into_driver().unwrap();
    let task = Recorder::new();
    let context = task.context(patient());
    let host: Arc<dyn grove_runtime::TaskHost> = task;
    cancelled(&driver, DriverCall::Prepare(target("")), context, a_while()).await;
    drop(host);
}

#[tokio::test]
async fn driver_hang_is_cancelled_while_it_waits_in_wasi() {
    let driver = load("driver-hang", "").await.unwrap().into_driver().unwrap();
    let task = Recorder::new();
    cancelled(&driver, DriverCall::Prepare(target("")), task.context(patient()), a_while()).await;
}

/// An ssh host whose command never ends, and that sees when it is dropped.
#[derive(Default)]
struct Deaf {
    asked: Notify,
    dropped: Arc<AtomicBool>,
}

impl SshHost for Deaf {
    fn hang_up(&self, _target: &SshTarget) {}

    fn run<'a>(
        &'a self,
        _target: &'a SshTarget,
        _argv: Vec<String>,
        _stdin: Vec<u8>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<SshOutput, SshError>> {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let guard = Guard(self.dropped.clone());
        self.asked.notify_one();
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    }

    fn write_file<'a>(
        &'a self,
        _target: &'a SshTarget,
        _path: String,
        _mode: u32,
        _data: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), SshError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn driver_slow_is_cancelled_inside_a_host_call() {
    let driver = load("driver-slow", "ssh = true").await.unwrap().into_driver().unwrap();
    let (task, deaf) = (Recorder::new(), Arc::new(Deaf::default()));
    let context = CallContext { ssh: Some(deaf.clone()), ..task.context(patient()) };
    let call = DriverCall::Prepare(target("{\"host\":\"board\"}"));
    cancelled(&driver, call, context, deaf.asked.notified()).await;
    assert!(deaf.dropped.load(Ordering::Relaxed), "the host call is gone before the cancelled call resolves");

    let sleeping = DriverCall::Check(target("1000000"));
    let patience = CallLimits { deadline: Duration::from_secs(10_000), running: PATIENCE };
    cancelled(&driver, sleeping, task.context(patience), a_while()).await;
}

#[tokio::test]
async fn driver_slow_is_not_charged_for_waiting_and_hears_of_its_deadline() {
    let driver = load("driver-slow", "ssh = true").await.unwrap().into_driver().unwrap();
    let note = async |sleep: &str, deadline: Duration, running: Duration| {
        let context = Recorder::new().context(CallLimits { deadline, running });
        match driver.call(DriverCall::Check(target(sleep)), context).await {
            Ok(DriverReply::Health(health)) => health.note,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(note("300", PATIENCE, Duration::from_millis(50)).await, "slept");
    // A sleep that would pass the deadline is refused at once, so that the guest can still answer.
    assert_eq!(note("100000", Duration::from_secs(60), PATIENCE).await, "stopped before the deadline");
}

#[tokio::test]
async fn a_cancelled_task_is_not_begun() {
    let driver = load("driver-echo", "").await.unwrap().into_driver().unwrap();
    let task = Recorder::new();
    let context = task.context(patient());
    context.cancel.cancel();
    let error = driver.call(DriverCall::Check(target("")), context).await.unwrap_err();
    assert_eq!(error.cause, Cause::Cancelled);
    assert!(task.lines.lock().is_empty(), "nothing ran");
}

#[tokio::test]
async fn a_dropped_call_ends_its_guest() {
    let driver = load("driver-loop", "").await.unwrap().into_driver().unwrap();
    let task = Recorder::new();
    let call = driver.call(DriverCall::Prepare(target("")), task.context(patient()));
    assert!(tokio::time::timeout(Duration::from_millis(30), call).await.is_err(), "it loops");
    let gone = async {
        while Arc::strong_count(&task) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the store lives on");
}

#[tokio::test]
async fn an_exhausted_pool_queues_and_then_says_so() {
    let runtime = runtime(1).unwrap();
    let load = async |name| {
        let manifest = manifest(name, "").unwrap();
        runtime.load(manifest, component(name).unwrap(), &Default::default()).await.unwrap()
    };
    let driver = load("driver-loop").await.into_driver().unwrap();
    let task = Recorder::new();
    let context = task.context(patient());
    let token = context.cancel.clone();
    let first = tokio::spawn({
        let driver = driver.clone();
        async move { driver.call(DriverCall::Prepare(target("")), context).await }
    });
    while runtime.free_slots() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Inspectors have places of their own.
    let inspector = load("inspector-counts").await.into_inspector().unwrap();
    let session = inspector.open("{}".into(), patient(), Recorder::new(), Default::default()).await.unwrap();
    assert_eq!(runtime.live_inspectors(), 1);
    drop(session);

    let brief = CallLimits { deadline: Duration::from_millis(50), running: PATIENCE };
    let error: CallError = driver.call(DriverCall::Describe, task.context(brief)).await.unwrap_err();
    assert_eq!(error.cause, Cause::PoolExhausted(1));

    let waiting = tokio::spawn({
        let (driver, context) = (driver.clone(), task.context(patient()));
        async move { driver.call(DriverCall::Describe, context).await }
    });
    a_while().await;
    assert!(!waiting.is_finished(), "it waits for the slot");
    token.cancel();
    assert!(matches!(waiting.await.unwrap(), Ok(DriverReply::Described(_))));
    assert_eq!(first.await.unwrap().unwrap_err().cause, Cause::Cancelled);
    assert_eq!(runtime.free_slots(), 1);
}
