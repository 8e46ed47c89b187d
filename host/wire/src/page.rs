//! Lists come in pages.

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Give this as `?cursor=` to get the next page; null = that was the last one.
    pub next: Option<String>,
}
