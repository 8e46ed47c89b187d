//! A driver that connects to the address in its config.

use std::io::Read;
use std::net::TcpStream;

use kit::driver::{Driver, Failure, Health, Target, well};

struct Tcp;

impl Driver for Tcp {
    fn check(t: Target) -> Result<Health, Failure> {
        let failed = |error: std::io::Error| Failure::Environment(error.to_string());
        let mut greeting = String::new();
        TcpStream::connect(&t.config).and_then(|mut s| s.read_to_string(&mut greeting)).map_err(failed)?;
        Ok(well(&greeting))
    }
}

kit::driver!(Tcp);
