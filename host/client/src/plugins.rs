//! Plugins.

use grove_wire::plugin::Plugin;

use crate::{Client, Pages};

impl Client {
    /// The plugins that the farm knows, by name.
    pub fn plugins(&self) -> Pages<Plugin> {
        Pages::new(self, "plugins", &()).in_one_piece()
    }
}
