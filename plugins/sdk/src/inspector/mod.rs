//! Inspectors: what an inventory says of a board. Implement [`Inspector`], then
//! [`export_inspector!`](crate::export_inspector).
//!
//! ```
//! use grove_plugin::inspector::{Findings, Inspector, Inventory, WorkerView, export_inspector};
//!
//! /// Boards of ours have their revision in the serial number: `R3-001042` is revision 3.
//! #[derive(Default)]
//! struct Revision;
//!
//! impl Inspector for Revision {
//!     fn derive(&self, inventory: &Inventory, _worker: &WorkerView) -> Result<Findings, String> {
//!         let mut findings = Findings::new();
//!         let revision = inventory.text("system.serial").and_then(|serial| serial.strip_prefix('R'));
//!         if let Some((revision, _)) = revision.and_then(|rest| rest.split_once('-')) {
//!             findings.set("revision", revision);
//!         }
//!         Ok(findings)
//!     }
//! }
//!
//! export_inspector!(Revision);
//!
//! # fn main() -> Result<(), String> {
//! # use grove_plugin::inspector::Session;
//! let mut session = Session::<Revision>::default();
//! session.init(grove_plugin::about("inspector-revision", "0.1.0", ""), "{}")?;
//! let found = session.derive(r#"{"system": {"serial": "R3-001042"}}"#, &WorkerView::unknown())?;
//! assert_eq!(found.get("revision"), Some("3"));
//! # Ok(())
//! # }
//! ```

mod findings;
mod inventory;
mod session;

#[doc(inline)]
pub use crate::export_inspector;
pub use findings::Findings;
pub use inventory::{Boot, Cpu, Disk, Inventory, Kernel, Memory, Network, Pci, Relay, Serial, System, Usb};
#[doc(hidden)]
pub use session::Session;

pub use crate::bindings::inspector::exports::grove::plugin::inspector::{Change, Registration, WorkerView};
use crate::settings::Settings;

/// An inspector. Only [`derive`](Inspector::derive) is needed.
///
/// Its answers follow from its settings and from what it is given, and from nothing else: the controller asks a fresh
/// instance for every inventory, and today's inspectors again for stored ones.
pub trait Inspector: Default + 'static {
    /// What follows for a worker from its inventory. The inventory went through [`normalize`](Inspector::normalize) of
    /// every inspector; the worker is shown as it would be without any introspection.
    ///
    /// # Errors
    /// Why nothing can be said: the whole run then ends with this reason, and changes nothing.
    fn derive(&self, inventory: &Inventory, worker: &WorkerView) -> Result<Findings, String>;

    /// The inspector with its settings.
    ///
    /// # Errors
    /// What is wrong with them. An inspector that does not implement this has no settings and refuses all.
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        if settings.is_empty() {
            Ok(Self::default())
        } else {
            Err(format!("this inspector has no settings, but got {}: remove them", settings.text()))
        }
    }

    /// Brings an inventory into the common form. What is not changed stays as it came, to the letter.
    ///
    /// # Errors
    /// What is wrong with the inventory: the run then ends with this reason.
    fn normalize(&self, inventory: Inventory) -> Result<Inventory, String> {
        Ok(inventory)
    }

    /// Who the board is that sent this inventory and that nobody registered; `None` leaves it to the next inspector.
    fn unknown_device(&self, _inventory: &Inventory) -> Option<Registration> {
        None
    }
}

impl WorkerView {
    /// A worker of whom nothing is known: what tests need.
    pub fn unknown() -> Self {
        Self {
            uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
            capabilities: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// The value of a capability.
    pub fn capability(&self, key: &str) -> Option<&str> {
        self.capabilities.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
    }

    /// Whether the worker is of this group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// Exports an [`Inspector`] as this component's inspector. Name, version and summary are those of the crate.
#[macro_export]
macro_rules! export_inspector {
    ($inspector:ty) => {
        const _: () = {
            ::std::thread_local! {
                static SESSION: ::std::cell::RefCell<$crate::inspector::Session<$inspector>> =
                    ::std::cell::RefCell::new($crate::inspector::Session::default());
            }

            struct Export;

            impl $crate::bindings::inspector::exports::grove::plugin::inspector::Guest for Export {
                fn init(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<$crate::Info, ::std::string::String> {
                    $crate::panics::to_log();
                    SESSION.with_borrow_mut(|session| session.init($crate::__info!(), &settings))
                }

                fn normalize(
                    inventory: ::std::string::String,
                ) -> ::std::result::Result<::std::string::String, ::std::string::String> {
                    SESSION.with_borrow(|session| session.normalize(inventory))
                }

                fn derive(
                    inventory: ::std::string::String,
                    worker: $crate::inspector::WorkerView,
                ) -> ::std::result::Result<::std::vec::Vec<$crate::inspector::Change>, ::std::string::String>
                {
                    SESSION
                        .with_borrow(|session| session.derive(inventory, &worker))
                        .map(::std::convert::Into::into)
                }

                fn unknown_device(
                    inventory: ::std::string::String,
                ) -> ::std::option::Option<$crate::inspector::Registration> {
                    SESSION.with_borrow(|session| session.unknown_device(inventory))
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::inspector::export!(Export with_types_in $crate::bindings::inspector);
        };
    };
}
