//! Panics while it derives.

use kit::inspector::{Change, Inspector, WorkerView};

struct Panic;

impl Inspector for Panic {
    fn derive(_inventory: String, worker: WorkerView) -> Result<Vec<Change>, String> {
        panic!("board {} is beyond me", worker.uuid)
    }
}

kit::inspector!(Panic);
