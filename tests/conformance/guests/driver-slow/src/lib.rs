//! Spends its time in calls to the controller: sleeping, and waiting for an answer over ssh.

use kit::driver::{Access, Driver, Failure, Health, Target, access, ssh, task, well};

struct Slow;

impl Driver for Slow {
    /// Sleeps as long as the config says, in ms, and tells why it had to stop.
    fn check(t: Target) -> Result<Health, Failure> {
        let ms = t.config.parse().map_err(|_| Failure::Config("not a number".to_owned()))?;
        match task::sleep_ms(ms) {
            Ok(()) => Ok(well("slept")),
            Err(task::Stop::Deadline) => Ok(well("stopped before the deadline")),
            Err(task::Stop::Cancelled) => Err(Failure::Stopped),
        }
    }

    fn prepare(_t: Target) -> Result<Access, Failure> {
        let output = ssh::run(&["true".to_owned()], &[], 3_600_000);
        output.map(|_| access()).map_err(|error| Failure::Environment(format!("{error:?}")))
    }
}

kit::driver!(Slow);
