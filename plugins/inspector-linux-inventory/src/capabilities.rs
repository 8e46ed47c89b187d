//! From the common form to what a request can ask for. What is not there is no capability, not one of zero: `uart` alone
//! asks for a board that has some.

use grove_plugin::inspector::{Findings, Inventory};

const GIB: u64 = 1 << 30;
/// Most hardware addresses that are offered.
const MACS: usize = 50;

/// What an inventory says.
///
/// # Errors
/// What is not in the common form.
pub(crate) fn of(inventory: &Inventory) -> Result<Findings, String> {
    let mut findings = Findings::new();
    let (system, cpu) = (inventory.system()?, inventory.cpu()?);
    findings.plain("arch", system.arch.or(cpu.arch));
    findings.set_some("cpu_count", some(cpu.count.unwrap_or(0)));
    findings.plain("cpu_model", cpu.model);
    findings.set_some("memory_mib", some(inventory.memory()?.total_mib.unwrap_or(0)));

    let disks = inventory.disks()?;
    let fixed = || disks.iter().filter(|disk| disk.removable != Some(true));
    let bytes = fixed().fold(0_u64, |sum, disk| sum.saturating_add(disk.size_bytes.unwrap_or(0)));
    findings.set_some("disks", some(fixed().count() as u64));
    findings.set_some("disk_gib", some(bytes / GIB));

    let network = inventory.network()?;
    let macs: Vec<&str> = network.iter().filter_map(|port| port.mac).take(MACS).collect();
    findings.set_some("nics", some(network.len() as u64));
    findings.set_some("mac", (!macs.is_empty()).then(|| macs.join(",")));
    findings.set_some("uart", some(inventory.serial()?.len() as u64));

    findings.plain("vendor", system.vendor);
    findings.plain("product", system.product);
    findings.plain("model", system.model);
    findings.plain("kernel", inventory.kernel()?.release);
    findings.plain("boot_mode", inventory.boot()?.mode);
    Ok(findings)
}

fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use grove_plugin::inspector::{Change, Inspector, WorkerView};
    use serde_json::{Value, json};

    use super::*;
    use crate::LinuxInventory;

    fn found(inventory: Value) -> Vec<String> {
        let inspector = LinuxInventory::default();
        let inventory = Inventory::parse(inventory.to_string()).unwrap();
        let inventory = inspector.normalize(inventory).unwrap();
        let findings = inspector.derive(&inventory, &WorkerView::unknown()).unwrap();
        let shown = |change: &Change| match change {
            Change::SetCapability(pair) => format!("{}={}", pair.key, pair.value),
            other => format!("{other:?}"),
        };
        findings.changes().iter().map(shown).collect()
    }

    #[test]
    fn a_board_is_what_it_says() {
        let inventory = json!({
            "system": {
                "vendor": "Raspberry Pi, Ltd.", "product": "Default string", "arch": "aarch64",
                "model": "Raspberry Pi 4 Model B Rev 1.4\u{0}"
            },
            "cpu": { "count": 4, "model": "Cortex-A72" },
            "memory": { "total_mib": 3792 },
            "disks": [
                { "name": "mmcblk0", "size_bytes": 31_914_983_424_u64 },
                { "name": "sda", "size_bytes": 2 * GIB },
                { "name": "sdb", "size_bytes": 64 * GIB, "removable": true }
            ],
            "network": [{ "mac": "dc:a6:32:00:00:01" }, { "name": "can0" }, { "mac": "dc:a6:32:00:00:02" }],
            "serial": [{ "name": "ttyAMA0" }, { "name": "ttyS0" }, {}, {}],
            "kernel": { "release": "6.1.0-rpi7-rpi-v8" },
            "boot": { "mode": "uefi" }
        });
        assert_eq!(
            found(inventory),
            [
                "arch=aarch64",
                "cpu_count=4",
                "cpu_model=Cortex-A72",
                "memory_mib=3792",
                "disks=2",
                "disk_gib=31",
                "nics=3",
                "mac=dc:a6:32:00:00:01,dc:a6:32:00:00:02",
                "uart=4",
                "vendor=Raspberry Pi Ltd.",
                "model=Raspberry Pi 4 Model B Rev 1.4",
                "kernel=6.1.0-rpi7-rpi-v8",
                "boot_mode=uefi",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_no_capability() {
        assert_eq!(found(json!({})), [""; 0]);
        let nothing =
            json!({ "disks": [], "serial": [], "network": [], "cpu": { "count": 0 }, "memory": {} });
        assert_eq!(found(nothing), [""; 0]);
    }

    #[test]
    fn what_is_not_in_form_is_no_capability_either() {
        let inventory = Inventory::parse(r#"{"serial": 4}"#).unwrap();
        let error = LinuxInventory::default().derive(&inventory, &WorkerView::unknown()).unwrap_err();
        assert_eq!(error, "serial is no list");
    }
}
