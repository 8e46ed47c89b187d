//! Our boards say in their serial numbers what they are: `R3-B17-001042` is revision 3, batch B17.
//!
//! Must never happen here: a clock, randomness or I/O, or anything kept from one inventory to the next. The same
//! inventory must always lead to the same conclusions.

use grove_plugin::Settings;
use grove_plugin::inspector::{Findings, Inspector, Inventory, WorkerView, export_inspector};
use serde::Deserialize;

/// The inspector, with what the admin can set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Revision {
    /// The oldest revision that is still good enough.
    oldest: u32,
}

/// Revision and batch, if the serial number is one of ours.
fn parsed(serial: &str) -> Option<(u32, &str)> {
    let mut parts = serial.strip_prefix('R')?.split('-');
    let revision = parts.next()?.parse().ok()?;
    let batch = parts.next().filter(|batch| batch.starts_with('B'))?;
    Some((revision, batch))
}

impl Inspector for Revision {
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        settings.parse()
    }

    fn normalize(&self, mut inventory: Inventory) -> Result<Inventory, String> {
        // Early boards have it where nobody else looks.
        if let Some(early) = inventory.text("acme.board_id").map(str::to_owned) {
            inventory.root_mut()["system"]["serial"] = early.into();
        }
        Ok(inventory)
    }

    fn derive(&self, inventory: &Inventory, worker: &WorkerView) -> Result<Findings, String> {
        let mut findings = Findings::new();
        let Some((revision, batch)) = inventory.text("system.serial").and_then(parsed) else {
            // Somebody else's board.
            return Ok(findings);
        };
        if revision < self.oldest && worker.capability("museum").is_none() {
            findings.fail(format!(
                "the board is of revision {revision}; revision {} is the oldest in use",
                self.oldest
            ));
        }
        findings.set("revision", revision);
        findings.set("batch", batch);
        findings.label("made", format!("revision {revision}, batch {batch}"));
        Ok(findings)
    }
}

export_inspector!(Revision);

#[cfg(test)]
mod tests {
    use grove_plugin::inspector::{Change, Session};
    use grove_plugin::{Pair, about};

    use super::*;

    /// What follows from an inventory, as the controller asks.
    fn found(settings: &str, inventory: &str, worker: &WorkerView) -> Findings {
        let mut session = Session::<Revision>::default();
        session.init(about("inspector-revision", "0.1.0", ""), settings).unwrap();
        let inventory = session.normalize(inventory).unwrap();
        session.derive(inventory, worker).unwrap()
    }

    const BOARD: &str = r#"{"system": {"serial": "R3-B17-001042"}}"#;

    #[test]
    fn a_serial_number_says_revision_and_batch() {
        let found = found("{}", BOARD, &WorkerView::unknown());
        assert_eq!((found.get("revision"), found.get("batch")), (Some("3"), Some("B17")));
    }

    #[test]
    fn an_early_board_is_understood() {
        let found = found("{}", r#"{"acme": {"board_id": "R1-B1-7"}}"#, &WorkerView::unknown());
        assert_eq!(found.get("revision"), Some("1"));
    }

    #[test]
    fn somebody_elses_board_is_nothing_to_us() {
        for serial in ["", "Rx-B1", "R3-17", "EX0042"] {
            let inventory = format!(r#"{{"system": {{"serial": "{serial}"}}}}"#);
            assert!(found("{}", &inventory, &WorkerView::unknown()).changes().is_empty(), "{serial}");
        }
    }

    #[test]
    fn too_old_a_board_fails_unless_it_is_kept_for_that() {
        let fails = |worker: &WorkerView| {
            let found = found(r#"{"oldest": 4}"#, BOARD, worker);
            found.changes().iter().any(|change| matches!(change, Change::Fail(_)))
        };
        assert!(fails(&WorkerView::unknown()));
        let museum = Pair { key: "museum".to_owned(), value: String::new() };
        assert!(!fails(&WorkerView { capabilities: vec![museum], ..WorkerView::unknown() }));
    }
}
