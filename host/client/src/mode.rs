//! The farm as a whole, and its mode.

use grove_wire::mode::{Farm, FarmMode, SetMode};
use reqwest::Method;

use crate::{Client, Error};

impl Client {
    /// The farm: its mode, and how much of what there is.
    pub async fn farm(&self) -> Result<Farm, Error> {
        self.v2(Method::GET, &["farm"]).json().await
    }

    /// The farm goes into maintenance, or out of it.
    pub async fn set_mode(&self, body: &SetMode, expected: Option<u64>) -> Result<FarmMode, Error> {
        self.v2(Method::PUT, &["farm", "mode"]).expecting(expected).body(body).json().await
    }
}
