//! What a machine is made of. Inventories of several shapes are brought into the common form; what is in them becomes
//! capabilities that a request can ask for; and a board that nobody registered can be enrolled, if the admin says how.
//!
//! Must never happen here: a capability for what is not known; an inventory that is read as something it is not.

mod capabilities;
mod enrol;
mod form;
mod ironic;

use enrol::Enrol;
use grove_plugin::Settings;
use grove_plugin::inspector::{Findings, Inspector, Inventory, Registration, WorkerView, export_inspector};
use serde::Deserialize;

/// The inspector; without settings it enrols nobody.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinuxInventory {
    enrol: Option<Enrol>,
}

impl Inspector for LinuxInventory {
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        settings.parse()
    }

    fn normalize(&self, mut inventory: Inventory) -> Result<Inventory, String> {
        let root = inventory.root_mut();
        let Some(root) = root.as_object_mut() else {
            return Err(format!("the inventory is {}, not an object", form::described(root)));
        };
        ironic::translate(root);
        form::tidy(root)?;
        Ok(inventory)
    }

    fn derive(&self, inventory: &Inventory, _worker: &WorkerView) -> Result<Findings, String> {
        capabilities::of(inventory)
    }

    fn unknown_device(&self, inventory: &Inventory) -> Option<Registration> {
        self.enrol.as_ref()?.registration(inventory)
    }
}

export_inspector!(LinuxInventory);
