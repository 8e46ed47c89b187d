//! Never ends preparing; everything else works.

use kit::driver::{Access, Driver, Failure, Target};

struct Loop;

impl Driver for Loop {
    fn prepare(_t: Target) -> Result<Access, Failure> {
        kit::forever()
    }
}

kit::driver!(Loop);
