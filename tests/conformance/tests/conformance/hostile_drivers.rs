//! Drivers that do harm: each is named, ends, and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use grove_runtime::{CallError, CallLimits, Cause, DriverCall, DriverPlugin, DriverReply};
use grove_tests_conformance::{PATIENCE, Recorder, load, patient, short_run, target};

async fn driver(name: &str) -> DriverPlugin {
    load(name, "").await.unwrap().into_driver().unwrap()
}

/// Lets a driver do its harm, and sees that it is named, that its store is gone, that its instance is never entered
/// again, and that a fresh one works.
async fn harm(driver: &DriverPlugin, call: DriverCall, limits: CallLimits) -> CallError {
    let task = Recorder::new();
    let mut instance = driver.open(task.context(limits));
    let error = instance.call(call).await.expect_err("this must not work");
    assert!(error.is_misbehaviour(), "{error:?}");
    assert!(error.to_string().contains(&format!("`{}`", driver.name())), "{error}");
    assert_eq!(Arc::strong_count(&task), 2, "only the instance's handle holds the task: the store is gone");
    let again = instance.call(DriverCall::Describe).await.unwrap_err();
    assert_eq!(again.cause, Cause::Ended);
    drop(instance);

    let fresh = driver.call(DriverCall::Describe, Recorder::new().context(patient())).await;
    assert!(matches!(fresh, Ok(DriverReply::Described(_))), "{fresh:?}");
    error
}

#[tokio::test]
async fn driver_loop_is_ended_after_its_running_time() {
    let driver = driver("driver-loop").await;
    let error = harm(&driver, DriverCall::Prepare(target("")), short_run()).await;
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(50)));
    // What the admin grants bounds what a caller allows.
    let driver = load("driver-loop", "call_ms = 20").await.unwrap().into_driver().unwrap();
    let error = harm(&driver, DriverCall::Prepare(target("")), patient()).await;
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(20)));
}

#[tokio::test]
async fn driver_loop_disturbs_nobody() {
    let (bad, good) = (driver("driver-loop").await, driver("driver-echo").await);
    let task = Recorder::new();
    let context = task.context(patient());
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let (bad, context) = (bad.clone(), context.clone());
            tokio::spawn(async move { bad.call(DriverCall::Prepare(target("")), context).await })
        })
        .collect();
    for _ in 0..20 {
        let reply = good.call(DriverCall::Prepare(target("")), Recorder::new().context(patient())).await;
        assert!(matches!(reply, Ok(DriverReply::Access(_))), "{reply:?}");
    }
    context.cancel.cancel();
    for ended in loops {
        assert_eq!(ended.await.unwrap().unwrap_err().cause, Cause::Cancelled);
    }
    drop(context);
    assert_eq!(Arc::strong_count(&task), 1, "all eight stores are gone");
}

#[tokio::test]
async fn driver_memory_bomb_stops_at_its_limit_and_gives_all_back() {
    let driver = driver("driver-memory-bomb").await;
    let before = resident_mib();
    for _ in 0..30 {
        let error = harm(&driver, DriverCall::Prepare(target("")), patient()).await;
        assert_eq!(error.cause, Cause::MemoryLimit(64 << 20));
    }
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 900, "30 bombs of 64 MiB left {grown} MiB behind");
}

/// Memory of this process in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn driver_memory_bomb_with_a_smaller_grant_stops_earlier() {
    let driver = load("driver-memory-bomb", "memory_mib = 8").await.unwrap().into_driver().unwrap();
    let error = harm(&driver, DriverCall::Prepare(target("")), patient()).await;
    assert_eq!(error.cause, Cause::MemoryLimit(8 << 20));
    assert!(error.to_string().contains("8 MiB"), "{error}");
}

#[tokio::test]
async fn driver_stack_bomb_traps() {
    let driver = driver("driver-stack-bomb").await;
    let error = harm(&driver, DriverCall::Prepare(target("")), patient()).await;
    assert!(matches!(&error.cause, Cause::Trap(text) if text.contains("dive")), "{error}");
}

#[tokio::test]
async fn driver_panic_is_told_with_its_last_words() {
    let driver = driver("driver-panic").await;
    let error = harm(&driver, DriverCall::Prepare(target("")), patient()).await;
    let text = error.to_string();
    assert!(matches!(error.cause, Cause::Trap(_)), "{text}");
    assert!(text.contains("is on fire"), "{text}");
}

#[tokio::test]
async fn driver_huge_answer_is_refused_and_long_texts_are_cut() {
    let driver = driver("driver-huge-answer").await;
    for call in [DriverCall::Check(target("")), DriverCall::Prepare(target(""))] {
        let error = harm(&driver, call, patient()).await;
        assert!(matches!(error.cause, Cause::TooMuchData(_)), "{error}");
    }
    let cut = driver.call(DriverCall::Cleanup(target("")), Recorder::new().context(patient())).await;
    let text = cut.unwrap_err().to_string();
    assert!(text.len() < 3000, "a failure of {} bytes", text.len());
}

#[tokio::test]
async fn driver_log_flood_is_dammed() {
    let driver = driver("driver-log-flood").await;
    let task = Recorder::new();
    let mut instance = driver.open(task.context(patient()));
    instance.call(DriverCall::Check(target(""))).await.unwrap();
    {
        let lines = task.lines.lock();
        assert_eq!(lines.len(), 501, "500 lines, and one that says how many are missing");
        assert!(lines[500].1.contains("19500"), "{:?}", lines[500]);
        assert!(lines.iter().all(|(_, line)| !line.contains(['\n', '\u{1b}'])), "forged lines");
    }
    task.lines.lock().clear();
    instance.call(DriverCall::Prepare(target(""))).await.unwrap();
    assert_eq!(
        task.lines.lock().iter().map(|(_, line)| line.len()).collect::<Vec<_>>(),
        [4096],
        "one cut line"
    );

    let error = harm(&driver, DriverCall::Revoke(target("")), patient()).await;
    assert!(matches!(&error.cause, Cause::Limit(text) if text.contains("steps")), "{error}");
}

#[tokio::test]
async fn driver_hang_ends_at_the_deadline() {
    let driver = driver("driver-hang").await;
    let task = Recorder::new();
    let limits = CallLimits { deadline: Duration::from_millis(100), running: PATIENCE };
    let error = driver.call(DriverCall::Prepare(target("")), task.context(limits)).await.unwrap_err();
    assert_eq!(error.cause, Cause::DeadlineExceeded(limits.deadline));
    assert_eq!(Arc::strong_count(&task), 1, "the store is gone");
}
