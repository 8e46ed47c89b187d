//! Secrets that the admin granted by name.

use super::Failure;

/// A secret.
///
/// # Errors
/// [`Failure::Config`] when there is none of that name, or it was not granted.
pub fn get(name: &str) -> Result<String, Failure> {
    crate::bindings::driver::grove::plugin::secrets::get(name).ok_or_else(|| {
        Failure::Config(format!("there is no secret `{name}` for this driver; set and grant it"))
    })
}
