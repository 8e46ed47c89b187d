//! An inspector that works: it counts what is in the inventory.

use kit::inspector::{Change, Inspector, Pair, Registration, WorkerView};

struct Counts;

impl Inspector for Counts {
    fn normalize(inventory: String) -> Result<String, String> {
        if inventory.is_empty() { Err("there is nothing".to_owned()) } else { Ok(inventory.to_lowercase()) }
    }

    fn derive(inventory: String, worker: WorkerView) -> Result<Vec<Change>, String> {
        let pair = |key: &str, value: String| Pair { key: key.to_owned(), value };
        Ok(vec![
            Change::SetCapability(pair("commas", inventory.matches(',').count().to_string())),
            Change::UnsetCapability("old".to_owned()),
            Change::Label(pair("worker", worker.uuid)),
            Change::Fail("for the sake of it".to_owned()),
        ])
    }

    fn unknown_device(inventory: String) -> Option<Registration> {
        let driver = inventory.strip_prefix("driver=")?.to_owned();
        let uuid = "0198c0de-0000-7000-8000-000000000009".to_owned();
        Some(Registration { uuid, capabilities: Vec::new(), driver, config: "{}".to_owned() })
    }
}

kit::inspector!(Counts);
