//! One file per verb; its twin in `tests/test_VERB_command.rs` shows what it prints.

pub(crate) mod artifact;
pub(crate) mod completions;
pub(crate) mod events;
pub(crate) mod farm;
pub(crate) mod introspect;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod plugin;
pub(crate) mod request;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod services;
pub(crate) mod ssh;
pub(crate) mod task;
pub(crate) mod why;
pub(crate) mod worker;

use grove_client::{Error, Pages};
use serde::de::DeserializeOwned;

use super::output::Output;

/// The newest of a list that begins with them; says so when it has more.
async fn newest<T: DeserializeOwned>(
    out: &Output,
    mut list: Pages<T>,
    limit: usize,
    all: bool,
) -> Result<Vec<T>, Error> {
    if all {
        return list.all().await;
    }
    let items = list.take(limit).await?;
    if list.has_more() {
        out.remark(&format!("the newest {} of more; --all shows every one", items.len()));
    }
    Ok(items)
}
