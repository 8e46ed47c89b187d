//! Takes memory until there is none.

use kit::driver::{Access, Driver, Failure, Target};

struct Bomb;

impl Driver for Bomb {
    fn prepare(_t: Target) -> Result<Access, Failure> {
        Err(Failure::Device(kit::eat_memory().to_string()))
    }
}

kit::driver!(Bomb);
