//! Calls itself until there is no stack.

use kit::driver::{Access, Driver, Failure, Target};

struct Bomb;

impl Driver for Bomb {
    fn prepare(_t: Target) -> Result<Access, Failure> {
        Err(Failure::Device(kit::dive(0).to_string()))
    }
}

kit::driver!(Bomb);
