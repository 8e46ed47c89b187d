//! A driver of a board that needs nothing.

pub use crate::bindings::driver::exports::grove::plugin::lifecycle::{
    Access, Failure, Guest, Health, Info, Session, Target,
};
pub use crate::bindings::driver::grove::plugin::driver_types::Address;
pub use crate::bindings::driver::grove::plugin::types::Pair;
pub use crate::bindings::driver::grove::plugin::{log, secrets, serial, ssh, storage, task};

/// Every call of `lifecycle`, behaving well.
pub trait Driver {
    fn validate(_config: String) -> Result<(), String> {
        Ok(())
    }
    fn check(_t: Target) -> Result<Health, Failure> {
        Ok(well("well"))
    }
    fn prepare(_t: Target) -> Result<Access, Failure> {
        Ok(access())
    }
    fn authorize(_t: Target, _s: Session) -> Result<Access, Failure> {
        Ok(access())
    }
    fn revoke(_t: Target) -> Result<(), Failure> {
        Ok(())
    }
    fn put_in_maintenance(_t: Target, _message: String) -> Result<(), Failure> {
        Ok(())
    }
    fn cleanup(_t: Target) -> Result<(), Failure> {
        Ok(())
    }
}

pub fn well(note: &str) -> Health {
    Health { ok: true, note: note.to_owned(), readings: Vec::new() }
}

pub fn reading(key: &str, value: impl ToString) -> Pair {
    Pair { key: key.to_owned(), value: value.to_string() }
}

pub fn access() -> Access {
    Access {
        ssh: Address { host: "board".to_owned(), port: 22 },
        user: "grove".to_owned(),
        host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
    }
}

/// Exports a [`Driver`] as the lifecycle of this component.
#[macro_export]
macro_rules! driver {
    ($driver:ty) => {
        struct Lifecycle;
        impl $crate::driver::Guest for Lifecycle {
            fn describe() -> $crate::driver::Info {
                $crate::driver::Info {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    summary: "a guest of the tests".to_owned(),
                }
            }
            fn validate(config: String) -> Result<(), String> {
                <$driver as $crate::driver::Driver>::validate(config)
            }
            fn check(t: $crate::driver::Target) -> Result<$crate::driver::Health, $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::check(t)
            }
            fn prepare(t: $crate::driver::Target) -> Result<$crate::driver::Access, $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::prepare(t)
            }
            fn authorize(
                t: $crate::driver::Target,
                s: $crate::driver::Session,
            ) -> Result<$crate::driver::Access, $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::authorize(t, s)
            }
            fn revoke(t: $crate::driver::Target) -> Result<(), $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::revoke(t)
            }
            fn put_in_maintenance(
                t: $crate::driver::Target,
                message: String,
            ) -> Result<(), $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::put_in_maintenance(t, message)
            }
            fn cleanup(t: $crate::driver::Target) -> Result<(), $crate::driver::Failure> {
                <$driver as $crate::driver::Driver>::cleanup(t)
            }
        }
        $crate::bindings::driver::export!(Lifecycle with_types_in $crate::bindings::driver);
    };
}
