//! Never ends deriving.

use kit::inspector::{Change, Inspector, WorkerView};

struct Loop;

impl Inspector for Loop {
    fn derive(_inventory: String, _worker: WorkerView) -> Result<Vec<Change>, String> {
        kit::forever()
    }
}

kit::inspector!(Loop);
