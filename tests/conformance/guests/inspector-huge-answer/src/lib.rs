//! Answers more than anyone wants to hear: as many bytes, or changes, as the inventory says.

use kit::inspector::{Change, Inspector, Pair, WorkerView};

struct Huge;

fn number(inventory: &str) -> usize {
    inventory.parse().unwrap_or(0)
}

impl Inspector for Huge {
    fn normalize(inventory: String) -> Result<String, String> {
        Ok(format!("\"{}\"", "x".repeat(number(&inventory))))
    }

    fn derive(inventory: String, worker: WorkerView) -> Result<Vec<Change>, String> {
        let number = number(&inventory);
        Ok(match worker.uuid.as_str() {
            "key" => vec![Change::UnsetCapability("x".repeat(number))],
            "value" => vec![Change::SetCapability(Pair { key: "key".to_owned(), value: "x".repeat(number) })],
            "failure" => vec![Change::Fail("x".repeat(number))],
            _ => vec![Change::UnsetCapability(String::new()); number],
        })
    }
}

kit::inspector!(Huge);
