//! What is plugged into a machine: each device that a table knows is counted under a capability.
//!
//! Must never happen here: a device counted twice under one capability.

mod tables;

use std::collections::BTreeMap;

use grove_plugin::Settings;
use grove_plugin::inspector::{Findings, Inspector, Inventory, Usb, WorkerView, export_inspector};
use serde::Deserialize;

use tables::{CLASSES, DEVICES, UART_USB};

/// Stands for every product of a vendor.
const ANY: &str = "*";

/// The inspector.
#[derive(Debug, Default)]
pub struct UsbDevices {
    /// Vendor and product to capability, over the built-in table; empty = none.
    own: BTreeMap<(String, String), String>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Config {
    devices: BTreeMap<String, String>,
}

impl Inspector for UsbDevices {
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        let Config { devices } = settings.parse()?;
        let own = devices.into_iter().map(|(id, capability)| Ok((parsed(&id)?, checked(capability)?)));
        Ok(Self { own: own.collect::<Result<_, String>>()? })
    }

    fn derive(&self, inventory: &Inventory, _worker: &WorkerView) -> Result<Findings, String> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for device in &inventory.usb()? {
            let (named, number) = self.named(device);
            let of_class = CLASSES
                .iter()
                .filter(|(class, _)| device.interfaces.iter().any(|interface| interface.starts_with(class)));
            let of_class = of_class.map(|(_, capability)| *capability);
            let mut seen = Vec::new();
            for (capability, number) in
                named.map(|name| (name, number)).into_iter().chain(of_class.map(|name| (name, 1)))
            {
                if !seen.contains(&capability) {
                    seen.push(capability);
                    *counts.entry(capability).or_default() += number;
                }
            }
        }
        let mut findings = Findings::new();
        for (capability, number) in counts {
            findings.set(capability, number);
        }
        Ok(findings)
    }
}

impl UsbDevices {
    /// The capability that a device counts for by what it is called, and for how many.
    fn named(&self, device: &Usb<'_>) -> (Option<&str>, u64) {
        let (Some(vendor), Some(product)) = (device.vendor, device.product) else { return (None, 0) };
        let own = |product: &str| self.own.get(&(vendor.to_owned(), product.to_owned()));
        let known = DEVICES.iter().find(|known| known.is(vendor, product, device.name));
        let capability = match own(product).or_else(|| own(ANY)) {
            Some(own) => Some(own.as_str()).filter(|own| !own.is_empty()),
            None => known.map(|known| known.capability),
        };
        // What the kernel made of it counts; where it has no driver for it, what is known of the device.
        let ports = match (device.tty.len() as u64, known) {
            (0, Some(known)) => known.ports,
            (ports, _) => ports.max(1),
        };
        (capability, if capability == Some(UART_USB) { ports } else { 1 })
    }
}

/// `VENDOR:PRODUCT` or `VENDOR:*`.
fn parsed(id: &str) -> Result<(String, String), String> {
    let is_number = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match id.split_once(':') {
        Some((vendor, product)) if is_number(vendor) && (product == ANY || is_number(product)) => {
            Ok((vendor.to_ascii_lowercase(), product.to_ascii_lowercase()))
        }
        _ => Err(format!(
            "devices has {id:?}; write VENDOR:PRODUCT in hexadecimal, like 0403:6001, or VENDOR:*"
        )),
    }
}

fn checked(capability: String) -> Result<String, String> {
    if capability.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        Ok(capability)
    } else {
        Err(format!("devices has a capability {capability:?}; write letters, digits, _, - and ."))
    }
}

export_inspector!(UsbDevices);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(settings: &str, usb: Value) -> BTreeMap<String, String> {
        let inspector = UsbDevices::new(Settings::new(settings)).unwrap();
        let inventory = Inventory::parse(json!({ "usb": usb }).to_string()).unwrap();
        let findings = inspector.derive(&inventory, &WorkerView::unknown()).unwrap();
        let keys = [
            "uart_usb",
            "relay",
            "camera",
            "adb",
            "fastboot",
            "debug_probe",
            "sd_mux",
            "jtag",
            "usb_storage",
        ];
        let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), findings.get(key)?.to_owned())));
        let found: BTreeMap<_, _> = found.collect();
        assert_eq!(found.len(), findings.changes().len(), "{findings:?}");
        found
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_plugged_in_is_counted() {
        let usb = json!([
            { "vendor": "1d6b", "product": "0002", "interfaces": ["09/00/00"] },
            { "vendor": "0403", "product": "6001", "tty": ["ttyUSB0"], "interfaces": ["ff/ff/ff"] },
            { "vendor": "10c4", "product": "ea60", "tty": ["ttyUSB1"] },
            { "vendor": "16c0", "product": "05df", "name": "USBRelay4", "interfaces": ["03/00/00"] },
            { "vendor": "16c0", "product": "05df", "name": "Some mouse", "interfaces": ["03/01/02"] },
            { "vendor": "046d", "product": "0825", "interfaces": ["0e/01/00", "0e/02/00", "01/01/00"] },
            { "vendor": "18d1", "product": "4ee7", "interfaces": ["ff/42/01"] },
            { "vendor": "18d1", "product": "4ee0", "interfaces": ["ff/42/03"] },
            { "vendor": "0483", "product": "374b", "interfaces": ["ff/ff/ff", "08/06/50", "02/02/01"], "tty": ["ttyACM0"] }
        ]);
        assert_eq!(
            found("{}", usb),
            map(&[
                ("uart_usb", "2"),
                ("relay", "1"),
                ("camera", "1"),
                ("adb", "1"),
                ("fastboot", "1"),
                ("debug_probe", "1"),
                ("usb_storage", "1"),
            ])
        );
        assert_eq!(found("{}", json!([])), map(&[]));
    }

    #[test]
    fn a_bridge_has_as_many_ports_as_the_kernel_says_else_as_its_kind_has() {
        let ports = |device: Value| found("{}", json!([device])).remove("uart_usb");
        assert_eq!(ports(json!({ "vendor": "0403", "product": "6011" })).as_deref(), Some("4"));
        let three = json!({ "vendor": "0403", "product": "6011", "tty": ["ttyUSB0", "ttyUSB1", "ttyUSB3"] });
        assert_eq!(ports(three).as_deref(), Some("3"), "one is used as JTAG, say");
        assert_eq!(ports(json!({ "vendor": "067b", "product": "2303" })).as_deref(), Some("1"));
    }

    #[test]
    fn the_admins_table_comes_first() {
        let usb = json!([
            { "vendor": "0403", "product": "6010", "tty": ["ttyUSB0", "ttyUSB1"] },
            { "vendor": "0403", "product": "6001", "tty": ["ttyUSB2"] },
            { "vendor": "abcd", "product": "0001" },
            { "vendor": "abcd", "product": "0002" },
            { "vendor": "1a86", "product": "7523", "tty": ["ttyUSB3"] }
        ]);
        let settings = r#"{"devices": {"0403:6010": "jtag", "ABCD:*": "relay", "abcd:0002": "", "1a86:7523": "uart_usb"}}"#;
        assert_eq!(found(settings, usb), map(&[("jtag", "1"), ("uart_usb", "2"), ("relay", "1")]));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (settings, word) in [
            (r#"{"devices": {"403:6001": "x"}}"#, "403:6001"),
            (r#"{"devices": {"*:6001": "x"}}"#, "*:6001"),
            (r#"{"devices": {"0403:6001": "two words"}}"#, "two words"),
            (r#"{"device": {}}"#, "device"),
        ] {
            let error = UsbDevices::new(Settings::new(settings)).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_table_names_each_device_once() {
        for (at, known) in DEVICES.iter().enumerate() {
            let before = DEVICES.iter().take(at);
            let same = before.filter(|other| {
                (other.vendor, other.product, other.name) == (known.vendor, known.product, known.name)
            });
            assert_eq!(same.count(), 0, "{known:?}");
            assert!(parsed(&format!("{}:{}", known.vendor, known.product)).is_ok(), "{known:?}");
            assert!(known.ports >= 1);
        }
    }
}
