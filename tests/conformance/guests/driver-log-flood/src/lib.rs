//! Logs without end: lines, output without a line, and steps.

use std::io::Write;

use kit::driver::{Access, Driver, Failure, Health, Target, access, log, task, well};

struct Flood;

impl Driver for Flood {
    fn check(_t: Target) -> Result<Health, Failure> {
        for number in 0..20_000 {
            log::log(log::Level::Info, &format!("line {number}\nforged \u{1b}[31mline"));
        }
        Ok(well("said"))
    }

    fn prepare(_t: Target) -> Result<Access, Failure> {
        let mut out = std::io::stdout();
        for _ in 0..1000 {
            let _ = out.write_all(&[b'x'; 4096]);
        }
        let _ = out.flush();
        Ok(access())
    }

    fn revoke(_t: Target) -> Result<(), Failure> {
        loop {
            task::step("another").map_err(|_| Failure::Stopped)?;
        }
    }
}

kit::driver!(Flood);
