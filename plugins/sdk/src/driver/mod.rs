//! Drivers: how one kind of board is prepared, opened, closed and looked at. Implement [`Driver`] and, where the
//! board can, [`Power`] and [`Introspect`]; then [`export_driver!`](crate::export_driver).
//!
//! Every call runs in a task with a deadline, in an instance that is thrown away afterwards: nothing can be kept
//! between calls, and any call may end anywhere. `cleanup` then comes in a fresh instance.

mod config;
mod export;
mod failure;
pub mod secrets;
pub mod serial;
pub mod ssh;
pub mod storage;
pub mod task;

use serde::de::DeserializeOwned;

#[doc(hidden)]
pub use crate::bindings::driver::grove::plugin::driver_types::Target;
pub use crate::bindings::driver::grove::plugin::driver_types::{Access, Address, Failure, Health, Session};
pub use crate::bindings::power::exports::grove::plugin::power::Action as PowerAction;
#[doc(inline)]
pub use crate::export_driver;
#[doc(hidden)]
pub use export::Export;

use crate::Pair;

/// The board that a call is about.
#[derive(Clone, Debug)]
pub struct Board<C> {
    /// The worker's uuid.
    pub uuid: String,
    /// Its effective capabilities.
    pub capabilities: Vec<Pair>,
    /// Its driver config.
    pub config: C,
}

impl<C> Board<C> {
    /// The value of a capability.
    pub fn capability(&self, key: &str) -> Option<&str> {
        self.capabilities.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
    }
}

/// A driver. Implement what the board supports; `prepare`, `authorize` and `revoke` are needed to hand it out.
pub trait Driver: 'static {
    /// The worker's driver config. Let it `deny_unknown_fields`, so that a misspelt field is refused.
    type Config: DeserializeOwned;

    /// Looks at the config beyond its form, before a worker is accepted. It must not touch the board.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    fn validate(_config: &Self::Config) -> Result<(), String> {
        Ok(())
    }

    /// Quick: can the board be handed out? A driver that does not know says yes.
    ///
    /// # Errors
    /// Why it cannot.
    fn check(_board: &Board<Self::Config>) -> Result<Health, Failure> {
        Ok(Health::well("this driver checks nothing"))
    }

    /// Makes the board clean and ready, with nobody let in. Idempotent.
    ///
    /// # Errors
    /// Why it is not.
    fn prepare(_board: &Board<Self::Config>) -> Result<Access, Failure> {
        Err(Failure::cannot("prepare a board"))
    }

    /// Quick: lets exactly these keys in.
    ///
    /// # Errors
    /// Why they are not.
    fn authorize(_board: &Board<Self::Config>, _session: &Session) -> Result<Access, Failure> {
        Err(Failure::cannot("let users in"))
    }

    /// Quick: lets nobody in and ends the sessions of those who are.
    ///
    /// # Errors
    /// Why someone may still be in.
    fn revoke(_board: &Board<Self::Config>) -> Result<(), Failure> {
        Err(Failure::cannot("shut users out"))
    }

    /// The board now belongs to an admin; `message` is for people who stand in front of it. By default nothing
    /// needs to be done.
    ///
    /// # Errors
    /// Why it could not be brought there.
    fn put_in_maintenance(_board: &Board<Self::Config>, _message: &str) -> Result<(), Failure> {
        Ok(())
    }

    /// Undoes what a cancelled or failed call may have left behind. Idempotent. By default there is nothing.
    ///
    /// # Errors
    /// What is left.
    fn cleanup(_board: &Board<Self::Config>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Drivers that can switch the board's power.
pub trait Power: Driver {
    /// Switches it.
    ///
    /// # Errors
    /// Why it could not.
    fn set_power(board: &Board<Self::Config>, action: PowerAction) -> Result<(), Failure>;
}

/// Drivers that can read what the board is made of.
pub trait Introspect: Driver {
    /// The inventory, as JSON text.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn inventory(board: &Board<Self::Config>) -> Result<String, Failure>;
}

/// Exports a [`Driver`] as this component's driver, with the abilities that are named after it:
/// `export_driver!(Relay, power, introspect);`. Name, version and summary are those of the crate.
#[macro_export]
macro_rules! export_driver {
    ($driver:ty $(, $ability:ident)* $(,)?) => {
        const _: () = {
            #[allow(dead_code, reason = "exported only from wasm")]
            type Export = $crate::driver::Export<$driver>;

            #[cfg(target_arch = "wasm32")]
            struct Lifecycle;

            #[cfg(target_arch = "wasm32")]
            $crate::__export_lifecycle!(Lifecycle, Export);
            $(
                #[cfg(target_arch = "wasm32")]
                $crate::bindings::$ability::export!(Export with_types_in $crate::bindings::$ability);
            )*
        };
    };
}
