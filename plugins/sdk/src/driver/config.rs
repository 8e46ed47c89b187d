//! From the contract's target to a board with a typed config.

use serde::de::DeserializeOwned;

use super::{Board, Driver, Failure};
use crate::Settings;
use crate::bindings::driver::grove::plugin::driver_types::Target;

/// Reads a config and lets the driver look at it.
pub(super) fn checked<D: Driver>(config: &str) -> Result<D::Config, String> {
    let config = parsed(config)?;
    D::validate(&config).map_err(|error| format!("driver config: {error}"))?;
    Ok(config)
}

/// A config that was accepted once may not fit a newer driver, so every call looks again.
pub(super) fn board<D: Driver>(target: Target) -> Result<Board<D::Config>, Failure> {
    let Target { uuid, capabilities, config } = target;
    let config = checked::<D>(&config).map_err(Failure::Config)?;
    Ok(Board { uuid, capabilities, config })
}

fn parsed<C: DeserializeOwned>(config: &str) -> Result<C, String> {
    Settings::new(config).parse().map_err(|error| format!("driver config: {error}"))
}
