//! Takes memory until there is none.

use kit::policy::{Change, Policy};

struct Bomb;

impl Policy for Bomb {
    fn apply(_changes: Vec<Change>) {
        kit::eat_memory();
    }
}

kit::policy!(Bomb);
