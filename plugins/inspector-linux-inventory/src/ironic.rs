//! Inventories as ironic-python-agent takes them: what is in them has other names.

use serde_json::{Map, Value};

/// Names of fields: (ours, theirs).
type Names = &'static [(&'static str, &'static str)];

/// (section of ours, theirs, fields)
const SECTIONS: [(&str, &str, Names); 7] = [
    (
        "system",
        "system_vendor",
        &[("vendor", "manufacturer"), ("product", "product_name"), ("serial", "serial_number")],
    ),
    ("cpu", "cpu", &[("model", "model_name"), ("arch", "architecture")]),
    ("memory", "memory", &[("total_mib", "physical_mb")]),
    ("disks", "disks", &[("size_bytes", "size")]),
    ("network", "interfaces", &[("mac", "mac_address")]),
    ("pci", "pci_devices", &[("vendor", "vendor_id"), ("device", "product_id")]),
    ("boot", "boot", &[("mode", "current_boot_mode")]),
];

/// Gives sections and fields of such an inventory the names of the common form. One of ours that is there stays.
pub(crate) fn translate(root: &mut Map<String, Value>) {
    // What the agent sends has the inventory proper inside.
    if let Some(Value::Object(inner)) = root.get("inventory")
        && inner.contains_key("interfaces")
        && let Some(Value::Object(inner)) = root.remove("inventory")
    {
        for (name, section) in inner {
            root.entry(name).or_insert(section);
        }
    }
    if !root.contains_key("interfaces") && !root.contains_key("system_vendor") {
        return;
    }
    for (ours, theirs, fields) in SECTIONS {
        let Some(mut section) = root.remove(theirs) else { continue };
        match &mut section {
            Value::Object(one) => rename(one, fields),
            Value::Array(many) => {
                many.iter_mut().filter_map(Value::as_object_mut).for_each(|item| rename(item, fields));
            }
            _ => {}
        }
        root.entry(ours).or_insert(section);
    }
}

fn rename(fields: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (ours, theirs) in names {
        if let Some(value) = fields.remove(*theirs) {
            fields.entry(*ours).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use grove_plugin::inspector::{Inspector, Inventory};
    use serde_json::json;

    use crate::LinuxInventory;

    #[test]
    fn what_the_agent_sends_is_understood() {
        let sent = json!({
            "inventory": {
                "interfaces": [{ "name": "eno1", "mac_address": "AA:BB:CC:00:00:01", "speed_mbps": 1000, "lldp": [] }],
                "cpu": { "model_name": "Xeon", "architecture": "x86_64", "count": 8, "flags": ["fpu"] },
                "disks": [{ "name": "/dev/sda", "size": 1000, "rotational": true }],
                "memory": { "total": 8_000_000, "physical_mb": 8192 },
                "boot": { "current_boot_mode": "uefi" },
                "system_vendor": { "manufacturer": "ACME", "product_name": "Box (1)", "serial_number": "S1" },
                "hostname": "box"
            },
            "error": null
        });
        let inventory = Inventory::parse(sent.to_string()).unwrap();
        let inventory = LinuxInventory::default().normalize(inventory).unwrap();
        assert_eq!(
            *inventory.root(),
            json!({
                "network": [{ "name": "eno1", "mac": "aa:bb:cc:00:00:01", "speed_mbps": 1000, "lldp": [] }],
                "cpu": { "model": "Xeon", "arch": "x86_64", "count": 8, "flags": ["fpu"] },
                "disks": [{ "name": "/dev/sda", "size_bytes": 1000, "rotational": true }],
                "memory": { "total": 8_000_000, "total_mib": 8192 },
                "boot": { "mode": "uefi" },
                "system": { "vendor": "ACME", "product": "Box (1)", "serial": "S1", "arch": "x86_64" },
                "hostname": "box",
                "error": null
            })
        );
    }
}
