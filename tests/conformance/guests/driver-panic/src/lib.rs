//! Panics while it prepares.

use kit::driver::{Access, Driver, Failure, Target};

struct Panic;

impl Driver for Panic {
    fn prepare(t: Target) -> Result<Access, Failure> {
        panic!("board {} is on fire", t.uuid)
    }
}

kit::driver!(Panic);
