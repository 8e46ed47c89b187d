//! An inspector that looks at the clock, which would make it conclude differently each time.

use kit::inspector::{Change, Inspector, Pair, WorkerView};

struct Clock;

impl Inspector for Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the harm it does")]
    fn derive(_inventory: String, _worker: WorkerView) -> Result<Vec<Change>, String> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let value = since.map_or(0, |since| since.as_secs()).to_string();
        Ok(vec![Change::SetCapability(Pair { key: "inspected".to_owned(), value })])
    }
}

kit::inspector!(Clock);
