//! A board that registers, as it says it.

use std::sync::Arc;

use grove_domain::capability::Map;
use grove_domain::worker::Registration;

/// What a registration says of a board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registering {
    /// Name of its driver.
    pub driver: String,
    /// The driver's configuration: canonical JSON text.
    pub driver_config: String,
    /// The agent's capabilities; none = as they were.
    pub capabilities: Option<Arc<Map>>,
}

impl Registering {
    /// The whole of it, of a board of which `before` is known.
    pub(crate) fn after(self, before: Option<&Registration>) -> Registration {
        let Self { driver, driver_config, capabilities } = self;
        let as_before = || before.map(|before| before.capabilities.clone()).unwrap_or_default();
        Registration { driver, driver_config, capabilities: capabilities.unwrap_or_else(as_before) }
    }
}

impl From<Registration> for Registering {
    fn from(registration: Registration) -> Self {
        let Registration { driver, driver_config, capabilities } = registration;
        Self { driver, driver_config, capabilities: Some(capabilities) }
    }
}
