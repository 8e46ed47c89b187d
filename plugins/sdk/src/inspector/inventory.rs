//! An inventory, as text, as a tree, and as the things of the common form (docs/inventory.md).

use serde::Deserialize;
use serde_json::Value;

/// An inventory. It keeps the text that it came as until it is changed.
#[derive(Clone, Debug)]
pub struct Inventory {
    tree: Value,
    text: Option<String>,
}

/// The machine as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct System<'a> {
    /// Who made it.
    #[serde(borrow)]
    pub vendor: Option<&'a str>,
    /// What they call it.
    pub product: Option<&'a str>,
    /// Its serial number.
    pub serial: Option<&'a str>,
    /// Its own uuid, from the firmware.
    pub uuid: Option<&'a str>,
    /// Of the kernel: `x86_64`, `aarch64`, …
    pub arch: Option<&'a str>,
    /// The device tree's.
    pub model: Option<&'a str>,
}

/// The processors.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Cpu<'a> {
    /// How many the kernel uses.
    pub count: Option<u64>,
    /// What they are.
    #[serde(borrow)]
    pub model: Option<&'a str>,
    /// Where that is not the system's.
    pub arch: Option<&'a str>,
    /// What they can, in the kernel's words.
    pub flags: Vec<&'a str>,
}

/// The memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All that the kernel has.
    pub total_mib: Option<u64>,
}

/// A disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Disk<'a> {
    /// As in `/dev`.
    #[serde(borrow)]
    pub name: Option<&'a str>,
    /// How big it is.
    pub size_bytes: Option<u64>,
    /// Whether it turns.
    pub rotational: Option<bool>,
    /// Whether it can be taken out.
    pub removable: Option<bool>,
    /// What it is.
    pub model: Option<&'a str>,
}

/// A network interface of the machine's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Network<'a> {
    /// As the kernel calls it.
    #[serde(borrow)]
    pub name: Option<&'a str>,
    /// Lower case, with colons.
    pub mac: Option<&'a str>,
    /// The kernel's driver.
    pub driver: Option<&'a str>,
    /// Of the link, when there is one.
    pub speed_mbps: Option<u64>,
}

/// A USB device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Usb<'a> {
    /// Four hexadecimal digits.
    #[serde(borrow)]
    pub vendor: Option<&'a str>,
    /// Four hexadecimal digits.
    pub product: Option<&'a str>,
    /// As the device says it.
    pub manufacturer: Option<&'a str>,
    /// What the device calls itself.
    pub name: Option<&'a str>,
    /// Its serial number.
    pub serial: Option<&'a str>,
    /// The kernel's driver of its first interface that has one.
    pub driver: Option<&'a str>,
    /// Class, subclass and protocol of each, like `ff/42/01`.
    pub interfaces: Vec<&'a str>,
    /// Names of its serial ports.
    pub tty: Vec<&'a str>,
}

/// A PCI function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pci<'a> {
    /// Four hexadecimal digits.
    #[serde(borrow)]
    pub vendor: Option<&'a str>,
    /// Four hexadecimal digits.
    pub device: Option<&'a str>,
    /// Six hexadecimal digits.
    pub class: Option<&'a str>,
    /// The kernel's driver.
    pub driver: Option<&'a str>,
}

/// A serial port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Serial<'a> {
    /// As in `/dev`.
    #[serde(borrow)]
    pub name: Option<&'a str>,
    /// The kernel's driver.
    pub driver: Option<&'a str>,
}

/// A relay board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Relay<'a> {
    /// What it is.
    #[serde(borrow)]
    pub name: Option<&'a str>,
    /// How many relays are on it.
    pub channels: Option<u64>,
}

/// The running kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Kernel<'a> {
    /// As `uname -r` says.
    #[serde(borrow)]
    pub release: Option<&'a str>,
}

/// How the machine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Boot<'a> {
    /// `uefi` or `bios`.
    #[serde(borrow)]
    pub mode: Option<&'a str>,
}

impl Inventory {
    /// Reads JSON text.
    ///
    /// # Errors
    /// Where it is no JSON.
    pub fn parse(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let tree =
            serde_json::from_str(&text).map_err(|error| format!("the inventory is not JSON: {error}"))?;
        Ok(Self { tree, text: Some(text) })
    }

    /// JSON text: what it was read from if nothing was changed.
    pub fn into_text(self) -> String {
        self.text.unwrap_or_else(|| self.tree.to_string())
    }

    /// All of it.
    pub fn root(&self) -> &Value {
        &self.tree
    }

    /// All of it, to be changed.
    pub fn root_mut(&mut self) -> &mut Value {
        self.text = None;
        &mut self.tree
    }

    /// What is at a path of keys, like `cpu.count`. Null is nothing.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(&self.tree, |value, key| value.get(key))?;
        (!found.is_null()).then_some(found)
    }

    /// The text at a path, without blanks around it; an empty one is nothing.
    pub fn text(&self, path: &str) -> Option<&str> {
        let text = self.at(path)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The whole number at a path.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.at(path)?.as_u64()
    }

    /// What is at a path, as a type of the inspector's own; nothing there is that type's default.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn section<'a, T: Deserialize<'a> + Default>(&'a self, path: &str) -> Result<T, String> {
        match self.at(path) {
            None => Ok(T::default()),
            Some(value) => T::deserialize(value).map_err(|error| format!("{path}: {error}")),
        }
    }

    /// What is in the list at a path; nothing there is no list.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn list<'a, T: Deserialize<'a>>(&'a self, path: &str) -> Result<Vec<T>, String> {
        match self.at(path) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let items = items.iter().enumerate();
                items
                    .map(|(at, item)| T::deserialize(item).map_err(|error| format!("{path}[{at}]: {error}")))
                    .collect()
            }
            Some(_) => Err(format!("{path} is no list")),
        }
    }
}

/// The common form, typed. Each says what does not fit it, and where.
#[expect(clippy::missing_errors_doc, reason = "the block says it for all")]
impl Inventory {
    /// `system`
    pub fn system(&self) -> Result<System<'_>, String> {
        self.section("system")
    }

    /// `cpu`
    pub fn cpu(&self) -> Result<Cpu<'_>, String> {
        self.section("cpu")
    }

    /// `memory`
    pub fn memory(&self) -> Result<Memory, String> {
        self.section("memory")
    }

    /// `disks`
    pub fn disks(&self) -> Result<Vec<Disk<'_>>, String> {
        self.list("disks")
    }

    /// `network`
    pub fn network(&self) -> Result<Vec<Network<'_>>, String> {
        self.list("network")
    }

    /// `usb`
    pub fn usb(&self) -> Result<Vec<Usb<'_>>, String> {
        self.list("usb")
    }

    /// `pci`
    pub fn pci(&self) -> Result<Vec<Pci<'_>>, String> {
        self.list("pci")
    }

    /// `serial`
    pub fn serial(&self) -> Result<Vec<Serial<'_>>, String> {
        self.list("serial")
    }

    /// `relays`
    pub fn relays(&self) -> Result<Vec<Relay<'_>>, String> {
        self.list("relays")
    }

    /// `kernel`
    pub fn kernel(&self) -> Result<Kernel<'_>, String> {
        self.section("kernel")
    }

    /// `boot`
    pub fn boot(&self) -> Result<Boot<'_>, String> {
        self.section("boot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(text: &str) -> Inventory {
        Inventory::parse(text).unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_to_the_letter() {
        let text = "{ \"b\": 1.50,\n \"a\": null, \"c\": 7.468162234820074e-44 }";
        assert_eq!(inventory(text).into_text(), text);
        let mut changed = inventory(text);
        changed.root_mut()["a"] = Value::from(2);
        assert_eq!(changed.into_text(), r#"{"a":2,"b":1.5,"c":7.468162234820074e-44}"#);
    }

    #[test]
    fn paths_lead_to_what_is_there() {
        let inventory = inventory(r#"{"cpu": {"count": 4, "model": "  ", "arch": null}, "x": {"y": " z "}}"#);
        assert_eq!((inventory.number("cpu.count"), inventory.text("x.y")), (Some(4), Some("z")));
        assert_eq!((inventory.text("cpu.model"), inventory.at("cpu.arch")), (None, None));
        assert_eq!(inventory.at("cpu.count.more"), None);
    }

    #[test]
    fn the_common_form_is_typed_and_tolerates_what_it_does_not_know() {
        let inventory = inventory(
            r#"{"usb": [{"vendor": "0403", "tty": ["ttyUSB0"], "colour": "blue"}], "memory": {"total_mib": 512}}"#,
        );
        let usb = inventory.usb().unwrap();
        assert_eq!(usb, [Usb { vendor: Some("0403"), tty: vec!["ttyUSB0"], ..Usb::default() }]);
        assert_eq!(inventory.memory().unwrap().total_mib, Some(512));
        assert_eq!((inventory.disks().unwrap(), inventory.boot().unwrap()), (Vec::new(), Boot::default()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let inventory = inventory(r#"{"disks": [{}, {"size_bytes": "big"}], "serial": {}, "cpu": 4}"#);
        let error = inventory.disks().unwrap_err();
        assert!(error.starts_with("disks[1]: ") && error.contains("big"), "{error}");
        assert_eq!(inventory.serial().unwrap_err(), "serial is no list");
        assert!(inventory.cpu().unwrap_err().starts_with("cpu: "));
        assert!(Inventory::parse("{").unwrap_err().starts_with("the inventory is not JSON: "));
        assert!(Inventory::parse("[".repeat(100_000)).unwrap_err().contains("recursion"));
    }
}
