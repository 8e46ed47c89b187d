//! A driver that wants a serial port.

use kit::driver::{Driver, Failure, Health, Target, serial, well};

struct Serial;

impl Driver for Serial {
    fn check(_t: Target) -> Result<Health, Failure> {
        let port = serial::Port::open("console").map_err(|error| Failure::Device(format!("{error:?}")))?;
        port.write(b"hello").map_err(|error| Failure::Device(format!("{error:?}")))?;
        Ok(well("open"))
    }
}

kit::driver!(Serial);
