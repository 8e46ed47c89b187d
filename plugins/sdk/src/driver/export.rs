//! The contract's functions, each answered by the driver.

use std::marker::PhantomData;

use super::config::{board, checked};
use super::{Access, Driver, Failure, Health, Introspect, Power, PowerAction, Session};
use crate::bindings::driver::grove::plugin::driver_types::Target;
use crate::bindings::{introspect, power};

/// A driver as the contract sees it.
#[derive(Debug)]
pub struct Export<D>(PhantomData<D>);

impl<D: Driver> Export<D> {
    /// `lifecycle.validate`
    ///
    /// # Errors
    /// What is wrong with the config.
    pub fn validate(config: &str) -> Result<(), String> {
        checked::<D>(config).map(drop)
    }

    /// `lifecycle.check`
    ///
    /// # Errors
    /// As the driver says.
    pub fn check(target: Target) -> Result<Health, Failure> {
        D::check(&board::<D>(target)?)
    }

    /// `lifecycle.prepare`
    ///
    /// # Errors
    /// As the driver says.
    pub fn prepare(target: Target) -> Result<Access, Failure> {
        D::prepare(&board::<D>(target)?)
    }

    /// `lifecycle.authorize`
    ///
    /// # Errors
    /// As the driver says.
    pub fn authorize(target: Target, session: &Session) -> Result<Access, Failure> {
        D::authorize(&board::<D>(target)?, session)
    }

    /// `lifecycle.revoke`
    ///
    /// # Errors
    /// As the driver says.
    pub fn revoke(target: Target) -> Result<(), Failure> {
        D::revoke(&board::<D>(target)?)
    }

    /// `lifecycle.put-in-maintenance`
    ///
    /// # Errors
    /// As the driver says.
    pub fn put_in_maintenance(target: Target, message: &str) -> Result<(), Failure> {
        D::put_in_maintenance(&board::<D>(target)?, message)
    }

    /// `lifecycle.cleanup`
    ///
    /// # Errors
    /// As the driver says.
    pub fn cleanup(target: Target) -> Result<(), Failure> {
        D::cleanup(&board::<D>(target)?)
    }
}

impl<D: Power> power::exports::grove::plugin::power::Guest for Export<D> {
    fn set(target: Target, action: PowerAction) -> Result<(), Failure> {
        crate::panics::to_log();
        D::set_power(&board::<D>(target)?, action)
    }
}

impl<D: Introspect> introspect::exports::grove::plugin::introspect::Guest for Export<D> {
    fn inventory(target: Target) -> Result<String, Failure> {
        crate::panics::to_log();
        D::inventory(&board::<D>(target)?)
    }
}

/// `lifecycle` needs the name of the crate that exports it, so this part is written there.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_lifecycle {
    ($lifecycle:ident, $export:ident) => {
        impl $crate::bindings::driver::exports::grove::plugin::lifecycle::Guest for $lifecycle {
            fn describe() -> $crate::Info {
                $crate::panics::to_log();
                $crate::__info!()
            }

            fn validate(config: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                $crate::panics::to_log();
                $export::validate(&config)
            }

            fn check(
                target: $crate::driver::Target,
            ) -> ::std::result::Result<$crate::driver::Health, $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::check(target)
            }

            fn prepare(
                target: $crate::driver::Target,
            ) -> ::std::result::Result<$crate::driver::Access, $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::prepare(target)
            }

            fn authorize(
                target: $crate::driver::Target,
                session: $crate::driver::Session,
            ) -> ::std::result::Result<$crate::driver::Access, $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::authorize(target, &session)
            }

            fn revoke(target: $crate::driver::Target) -> ::std::result::Result<(), $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::revoke(target)
            }

            fn put_in_maintenance(
                target: $crate::driver::Target,
                message: ::std::string::String,
            ) -> ::std::result::Result<(), $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::put_in_maintenance(target, &message)
            }

            fn cleanup(target: $crate::driver::Target) -> ::std::result::Result<(), $crate::driver::Failure> {
                $crate::panics::to_log();
                $export::cleanup(target)
            }
        }

        $crate::bindings::driver::export!($lifecycle with_types_in $crate::bindings::driver);
    };
}
