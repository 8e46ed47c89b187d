//! Waits in WASI for a time that never comes: nothing of the contract is asked, so nothing can tell it to stop.

use kit::driver::{Access, Driver, Failure, Target, access};

struct Hang;

impl Driver for Hang {
    fn prepare(_t: Target) -> Result<Access, Failure> {
        std::thread::sleep(std::time::Duration::from_secs(1_000_000));
        Ok(access())
    }
}

kit::driver!(Hang);
