//! One instance's life as an inspector: `init`, then questions.

use super::{Findings, Inspector, Inventory, Registration, WorkerView};
use crate::{Info, Settings};

/// An inspector with its settings.
#[derive(Debug)]
pub struct Session<I>(Option<I>);

impl<I> Default for Session<I> {
    fn default() -> Self {
        Self(None)
    }
}

impl<I: Inspector> Session<I> {
    /// Begins anew with these settings.
    ///
    /// # Errors
    /// What the inspector finds wrong with them.
    pub fn init(&mut self, info: Info, settings: &str) -> Result<Info, String> {
        self.0 = Some(I::new(Settings::new(settings))?);
        Ok(info)
    }

    /// Brings an inventory into form.
    ///
    /// # Errors
    /// As the inspector says.
    pub fn normalize(&self, inventory: impl Into<String>) -> Result<String, String> {
        let inspector = self.begun()?;
        inspector.normalize(Inventory::parse(inventory)?).map(Inventory::into_text)
    }

    /// What follows from an inventory.
    ///
    /// # Errors
    /// As the inspector says.
    pub fn derive(&self, inventory: impl Into<String>, worker: &WorkerView) -> Result<Findings, String> {
        let inspector = self.begun()?;
        inspector.derive(&Inventory::parse(inventory)?, worker)
    }

    /// Who an unknown board is.
    pub fn unknown_device(&self, inventory: impl Into<String>) -> Option<Registration> {
        let asked = self.begun().and_then(|inspector| Ok((inspector, Inventory::parse(inventory)?)));
        match asked {
            Ok((inspector, inventory)) => inspector.unknown_device(&inventory),
            Err(error) => {
                crate::log::error(error);
                None
            }
        }
    }

    fn begun(&self) -> Result<&I, String> {
        self.0.as_ref().ok_or_else(|| "asked before init".to_owned())
    }
}
