//! An inspector that finds nothing.

pub use crate::bindings::inspector::exports::grove::plugin::inspector::{
    Change, Guest, Info, Pair, Registration, WorkerView,
};
pub use crate::bindings::inspector::grove::plugin::log;

/// Every call of `inspector`, behaving well.
pub trait Inspector {
    fn init(_config: String) -> Result<(), String> {
        Ok(())
    }
    fn normalize(inventory: String) -> Result<String, String> {
        Ok(inventory)
    }
    fn derive(_inventory: String, _worker: WorkerView) -> Result<Vec<Change>, String> {
        Ok(Vec::new())
    }
    fn unknown_device(_inventory: String) -> Option<Registration> {
        None
    }
}

/// Exports an [`Inspector`] as the inspector of this component.
#[macro_export]
macro_rules! inspector {
    ($inspector:ty) => {
        struct Exported;
        impl $crate::inspector::Guest for Exported {
            fn init(config: String) -> Result<$crate::inspector::Info, String> {
                <$inspector as $crate::inspector::Inspector>::init(config)?;
                Ok($crate::inspector::Info {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    summary: "a guest of the tests".to_owned(),
                })
            }
            fn normalize(inventory: String) -> Result<String, String> {
                <$inspector as $crate::inspector::Inspector>::normalize(inventory)
            }
            fn derive(
                inventory: String,
                worker: $crate::inspector::WorkerView,
            ) -> Result<Vec<$crate::inspector::Change>, String> {
                <$inspector as $crate::inspector::Inspector>::derive(inventory, worker)
            }
            fn unknown_device(inventory: String) -> Option<$crate::inspector::Registration> {
                <$inspector as $crate::inspector::Inspector>::unknown_device(inventory)
            }
        }
        $crate::bindings::inspector::export!(Exported with_types_in $crate::bindings::inspector);
    };
}
