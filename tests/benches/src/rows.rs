//! The rows, in the order of the table.

mod cancellation;
mod create;
mod inventories;
mod jobs;
mod matching;
mod reads;
mod start;
mod states;
mod tunnel;
mod turnover;

use anyhow::Result;

use crate::table::Table;

/// Measures, and prints its lines.
type Row = fn(&mut Table) -> Result<()>;

/// Every row, by name.
pub(crate) const ROWS: [(&str, Row); 14] = [
    ("matching", matching::rounds),
    ("inventories", inventories::processing),
    ("reapply", inventories::reapplied),
    ("create", create::empty),
    ("create-busy", create::busy),
    ("reads", reads::get_list_memory),
    ("idle-to-job", turnover::idle_to_job),
    ("drain", turnover::drain),
    ("state", states::idle),
    ("jobs", jobs::own_keys),
    ("keys", jobs::generated),
    ("tunnel", tunnel::tunnel),
    ("start", start::start),
    ("cancel", cancellation::cancellation),
];
