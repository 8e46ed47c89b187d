//! Answers more than anyone wants to hear: as the answer, and into the log.

use kit::driver::{Access, Driver, Failure, Health, Target, access, log, well};

struct Huge;

impl Driver for Huge {
    fn check(_t: Target) -> Result<Health, Failure> {
        Ok(well(&"x".repeat(12 << 20)))
    }

    fn prepare(_t: Target) -> Result<Access, Failure> {
        log::log(log::Level::Info, &"x".repeat(12 << 20));
        Ok(access())
    }

    fn cleanup(_t: Target) -> Result<(), Failure> {
        Err(Failure::Device("x".repeat(1 << 20)))
    }
}

kit::driver!(Huge);
