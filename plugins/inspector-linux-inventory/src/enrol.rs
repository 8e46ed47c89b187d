//! Registering a board that nobody registered, as the admin says.

use std::collections::BTreeMap;

use grove_plugin::inspector::{Inventory, Registration};
use grove_plugin::{Pair, log};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What the uuid of a board begins with that has none of its own: a hardware address of it follows.
const BY_ADDRESS: &str = "67726f76-6500-8000-8000-";

/// How boards are registered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    driver: String,
    /// `{/a/b}` in a text is what is there in the inventory.
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    capabilities: BTreeMap<String, String>,
}

impl Enrol {
    /// The board as if it had registered; none, and a line in the log, where the inventory says too little.
    pub(crate) fn registration(&self, inventory: &Inventory) -> Option<Registration> {
        let Some(uuid) = uuid(inventory) else {
            log::warn("an unknown board has neither a uuid nor a hardware address: it is not enrolled");
            return None;
        };
        let mut config = Value::Object(self.config.clone());
        if let Err(missing) = fill(&mut config, inventory.root()) {
            log::warn(format!("an unknown board has nothing at {missing}: it is not enrolled"));
            return None;
        }
        let pair = |(key, value): (&String, &String)| Pair { key: key.clone(), value: value.clone() };
        Some(Registration {
            uuid,
            capabilities: self.capabilities.iter().map(pair).collect(),
            driver: self.driver.clone(),
            config: config.to_string(),
        })
    }
}

/// The board's own, else one of its lowest hardware address. Those that its maker gave it come first: what software
/// chose, or what is at the end of a cable, many boards may have.
fn uuid(inventory: &Inventory) -> Option<String> {
    if let Some(own) = inventory.text("system.uuid")
        && is_uuid(own)
        && !is_filler(&own.replace('-', ""))
    {
        return Some(own.to_ascii_lowercase());
    }
    let network = inventory.network().ok()?;
    let addresses = network.iter().filter_map(|port| {
        let mac = port.mac?.replace(':', "").to_ascii_lowercase();
        let first = u8::from_str_radix(mac.get(..2)?, 16).ok()?;
        let (is_multicast, is_local) = (first & 1 != 0, first & 2 != 0);
        let on_usb = port.name.is_some_and(|name| name.starts_with("usb"));
        let usable = mac.len() == 12 && !is_multicast && !is_filler(&mac);
        usable.then_some((is_local || on_usb, mac))
    });
    let (_, lowest) = addresses.min()?;
    Some(format!("{BY_ADDRESS}{lowest}"))
}

/// Nothing but zeros, or nothing but ones: there where nothing was written.
fn is_filler(digits: &str) -> bool {
    digits.bytes().all(|byte| byte == b'0') || digits.bytes().all(|byte| byte.eq_ignore_ascii_case(&b'f'))
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Puts what the inventory says in the place of `{/a/b}`, in every text. The error is a place where nothing is.
fn fill(value: &mut Value, root: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => *text = filled(text, root)?,
        Value::Array(values) => values.iter_mut().try_for_each(|value| fill(value, root))?,
        Value::Object(values) => values.values_mut().try_for_each(|value| fill(value, root))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn filled(text: &str, root: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{/") {
        let Some((path, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match root.pointer(&format!("/{path}")) {
            Some(Value::String(text)) => out.push_str(text),
            Some(Value::Number(number)) => out.push_str(&number.to_string()),
            _ => return Err(format!("/{path}")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use grove_plugin::Settings;
    use grove_plugin::inspector::Inspector;

    use super::*;
    use crate::LinuxInventory;

    const SETTINGS: &str = r#"{"enrol": {
        "driver": "ssh",
        "config": { "host": "{/hostname}.lab", "port": 22, "prepare": ["echo {/system/serial} {x} {/"] },
        "capabilities": { "lab": "berlin" }
    }}"#;

    fn asked(settings: &str, inventory: &str) -> Option<Registration> {
        let inspector = LinuxInventory::new(Settings::new(settings)).unwrap();
        inspector.unknown_device(&Inventory::parse(inventory).unwrap())
    }

    #[test]
    fn nobody_is_enrolled_unless_the_admin_says_how() {
        assert_eq!(asked("{}", r#"{"system": {"uuid": "4c4c4544-0042-3510-8051-b4c04f4a4831"}}"#), None);
        let error = LinuxInventory::new(Settings::new(r#"{"enroll": {}}"#)).unwrap_err();
        assert!(error.contains("enroll"), "{error}");
    }

    #[test]
    fn a_board_is_enrolled_under_its_own_uuid() {
        let board =
            r#"{"system": {"uuid": "4C4C4544-0042-3510-8051-B4C04F4A4831", "serial": 7}, "hostname": "b7"}"#;
        let found = asked(SETTINGS, board).unwrap();
        assert_eq!(
            (found.uuid.as_str(), found.driver.as_str()),
            ("4c4c4544-0042-3510-8051-b4c04f4a4831", "ssh")
        );
        assert_eq!(found.config, r#"{"host":"b7.lab","port":22,"prepare":["echo 7 {x} {/"]}"#);
        assert_eq!(
            (found.capabilities[0].key.as_str(), found.capabilities[0].value.as_str()),
            ("lab", "berlin")
        );
    }

    #[test]
    fn one_without_a_uuid_is_known_by_its_lowest_address() {
        let board = r#"{"hostname": "b7", "system": {"serial": "x", "uuid": "none"},
            "network": [{"mac": "dc:a6:32:00:00:02"}, {"mac": "dc:a6:32:00:00:01"}, {"name": "can0"}]}"#;
        assert_eq!(asked(SETTINGS, board).unwrap().uuid, "67726f76-6500-8000-8000-dca632000001");
    }

    #[test]
    fn addresses_that_many_boards_have_are_the_last_choice() {
        let known = |network: &str, uuid: &str| {
            let board = format!(
                r#"{{"hostname": "b7", "system": {{"serial": "x", "uuid": "{uuid}"}}, "network": [{network}]}}"#
            );
            asked(SETTINGS, &board).map(|found| found.uuid.replace(BY_ADDRESS, ""))
        };
        let usb = r#"{"name": "usb0", "mac": "0a:00:00:00:00:01"}"#;
        let own = r#"{"name": "eth0", "mac": "DC:a6:32:00:00:01"}"#;
        let none = "00000000-0000-0000-0000-000000000000";
        assert_eq!(known(&format!("{usb}, {own}"), none).unwrap(), "dca632000001");
        assert_eq!(known(usb, none).unwrap(), "0a0000000001", "better than none");
        let adapter = r#"{"name": "usb0", "mac": "00:e0:4c:00:00:01"}"#;
        assert_eq!(known(&format!("{adapter}, {own}"), none).unwrap(), "dca632000001");
        for nobody in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "xx:00:00:00:00:01"] {
            let port = format!(r#"{{"name": "eth1", "mac": "{nobody}"}}"#);
            assert_eq!(known(&format!("{port}, {own}"), none).unwrap(), "dca632000001", "{nobody}");
            assert_eq!(known(&port, none), None, "{nobody}");
        }
        assert_eq!(known(own, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF").unwrap(), "dca632000001");
    }

    #[test]
    fn one_that_says_too_little_is_not() {
        assert_eq!(asked(SETTINGS, r#"{"hostname": "b7", "system": {"serial": "x"}}"#), None);
        assert_eq!(asked(SETTINGS, r#"{"network": [{"mac": "dc:a6:32:00:00:01"}], "hostname": "b7"}"#), None);
    }
}
