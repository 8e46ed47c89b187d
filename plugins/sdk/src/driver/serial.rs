//! Serial ports that the admin granted by name.

use std::time::Duration;

use super::Failure;
use crate::bindings::driver::grove::plugin::serial::{Port as Handle, SerialError};

/// An open port; closed when dropped.
#[derive(Debug)]
pub struct Port {
    handle: Handle,
    name: String,
}

impl Port {
    /// Opens a port by the name that it was granted under.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let handle = Handle::open(name).map_err(|error| explained(error, name))?;
        Ok(Self { handle, name: name.to_owned() })
    }

    /// Reads what has come, at most `max` bytes, or waits for it.
    ///
    /// # Errors
    /// When nothing came in time, or the port is gone.
    pub fn read(&self, max: u32, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self.handle.read(max, ms).map_err(|error| explained(error, &self.name))
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When the port is gone.
    pub fn write(&self, data: &[u8]) -> Result<(), Failure> {
        self.handle.write(data).map_err(|error| explained(error, &self.name))
    }
}

fn explained(error: SerialError, port: &str) -> Failure {
    match error {
        SerialError::Denied(why) => Failure::Config(format!("serial port `{port}` is not granted: {why}")),
        SerialError::NotFound(why) => Failure::Environment(format!("no serial port `{port}`: {why}")),
        SerialError::TimedOut => Failure::Device(format!("nothing came from serial port `{port}` in time")),
        SerialError::Closed => Failure::Environment(format!("serial port `{port}` went away")),
        SerialError::Other(why) => Failure::Environment(format!("serial port `{port}`: {why}")),
    }
}
