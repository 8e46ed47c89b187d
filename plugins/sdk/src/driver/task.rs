//! The running task: what people see of it, and when to stop. Each of these fails with [`Failure::Stopped`] when the
//! task was cancelled or its time is over; pass that on with `?`.

use std::time::Duration;

use super::Failure;

/// Ends the running step and begins this one.
///
/// # Errors
/// [`Failure::Stopped`].
pub fn step(name: &str) -> Result<(), Failure> {
    imp::step(name)
}

/// Says how far the task is (0 to 100), and what it does.
///
/// # Errors
/// [`Failure::Stopped`].
pub fn progress(percent: u8, note: &str) -> Result<(), Failure> {
    imp::progress(percent.min(100), note)
}

/// Sleeps. The time counts against the task's deadline, not against the call's running time.
///
/// # Errors
/// [`Failure::Stopped`], as soon as the task is.
pub fn sleep(time: Duration) -> Result<(), Failure> {
    let mut left = time.as_millis();
    while left > 0 {
        let part = u32::try_from(left).unwrap_or(u32::MAX);
        imp::sleep_ms(part)?;
        left -= u128::from(part);
    }
    Ok(())
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use super::Failure;
    use crate::bindings::driver::grove::plugin::task;

    pub(super) fn step(name: &str) -> Result<(), Failure> {
        Ok(task::step(name)?)
    }

    pub(super) fn progress(percent: u8, note: &str) -> Result<(), Failure> {
        Ok(task::progress(percent, note)?)
    }

    pub(super) fn sleep_ms(ms: u32) -> Result<(), Failure> {
        Ok(task::sleep_ms(ms)?)
    }
}

/// In a driver's own tests there is no task: steps and progress go to the log, and a sleep is one.
#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use super::{Duration, Failure};

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as under a controller")]
    pub(super) fn step(name: &str) -> Result<(), Failure> {
        crate::log::info(format!("step {name}"));
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as under a controller")]
    pub(super) fn progress(percent: u8, note: &str) -> Result<(), Failure> {
        crate::log::info(format!("{percent} % {note}"));
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as under a controller")]
    pub(super) fn sleep_ms(ms: u32) -> Result<(), Failure> {
        std::thread::sleep(Duration::from_millis(u64::from(ms)));
        Ok(())
    }
}
