//! The common form: which fields there are, of which kind. Everything else passes as it came.

use serde_json::{Map, Value};

/// Longest part of a wrong value that is quoted.
const QUOTED: usize = 60;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A text that says something.
    Text,
    /// The same, of a firmware that may not have been told what to say.
    Firmware,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// A hardware address.
    Mac,
    /// Hexadecimal, of so many digits.
    Hex(usize),
    /// Several texts without blanks.
    Words,
}

/// Whether there is one of its name, or a list.
#[derive(Clone, Copy, Debug)]
enum Section {
    One(&'static [(&'static str, Kind)]),
    Many(&'static [(&'static str, Kind)]),
}

use Kind::{Firmware, Flag, Hex, Mac, Number, Text, Words};

const FORM: [(&str, Section); 13] = [
    (
        "system",
        Section::One(&[
            ("vendor", Firmware),
            ("product", Firmware),
            ("serial", Firmware),
            ("uuid", Firmware),
            ("arch", Text),
            ("model", Text),
            ("compatible", Words),
        ]),
    ),
    ("board", Section::One(&[("vendor", Firmware), ("name", Firmware)])),
    ("bios", Section::One(&[("vendor", Firmware), ("version", Firmware)])),
    ("cpu", Section::One(&[("count", Number), ("model", Text), ("arch", Text), ("flags", Words)])),
    ("memory", Section::One(&[("total_mib", Number)])),
    (
        "disks",
        Section::Many(&[
            ("name", Text),
            ("size_bytes", Number),
            ("rotational", Flag),
            ("removable", Flag),
            ("model", Text),
        ]),
    ),
    ("network", Section::Many(&[("name", Text), ("mac", Mac), ("driver", Text), ("speed_mbps", Number)])),
    (
        "usb",
        Section::Many(&[
            ("vendor", Hex(4)),
            ("product", Hex(4)),
            ("manufacturer", Text),
            ("name", Text),
            ("serial", Text),
            ("driver", Text),
            ("interfaces", Words),
            ("tty", Words),
        ]),
    ),
    ("pci", Section::Many(&[("vendor", Hex(4)), ("device", Hex(4)), ("class", Hex(6)), ("driver", Text)])),
    ("serial", Section::Many(&[("name", Text), ("driver", Text)])),
    ("relays", Section::Many(&[("name", Text), ("channels", Number)])),
    ("kernel", Section::One(&[("release", Text)])),
    ("boot", Section::One(&[("mode", Text)])),
];

/// What firmware says when nobody told it anything, in lower case.
const PLACEHOLDERS: [&str; 17] = [
    "to be filled by o.e.m.",
    "to be filled by oem",
    "o.e.m.",
    "oem",
    "default string",
    "system manufacturer",
    "system product name",
    "system serial number",
    "system version",
    "not specified",
    "not applicable",
    "none",
    "n/a",
    "unknown",
    "0123456789",
    "00000000-0000-0000-0000-000000000000",
    "03000200-0400-0500-0006-000700080009",
];

/// Brings the fields of the common form into their kinds; those that say nothing go.
///
/// # Errors
/// The first that is of another kind, and what it should be.
pub(crate) fn tidy(root: &mut Map<String, Value>) -> Result<(), String> {
    for (name, section) in FORM {
        let Some(value) = root.get_mut(name) else { continue };
        match (section, value) {
            (_, Value::Null) => drop(root.remove(name)),
            (Section::One(fields), Value::Object(one)) => {
                tidy_fields(one, fields, &|field| format!("{name}.{field}"))?;
            }
            (Section::Many(fields), Value::Array(many)) => {
                for (at, item) in many.iter_mut().enumerate() {
                    let Value::Object(item) = item else {
                        return Err(format!("{name}[{at}] is {}, not an object", described(item)));
                    };
                    tidy_fields(item, fields, &|field| format!("{name}[{at}].{field}"))?;
                }
            }
            (Section::One(_), other) => return Err(format!("{name} is {}, not an object", described(other))),
            (Section::Many(_), other) => return Err(format!("{name} is {}, not a list", described(other))),
        }
    }
    one_word_for_each_architecture(root);
    Ok(())
}

/// What a value is, for people.
pub(crate) fn described(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn tidy_fields(
    fields: &mut Map<String, Value>,
    kinds: &[(&str, Kind)],
    path: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    for (field, kind) in kinds {
        let Some(value) = fields.get_mut(*field) else { continue };
        match kind.tidied(value) {
            Ok(true) => {}
            Ok(false) => drop(fields.remove(*field)),
            Err(wanted) => return Err(format!("{} is {}, not {wanted}", path(field), described(value))),
        }
    }
    Ok(())
}

impl Kind {
    /// Brings a value into this kind; false: it says nothing. An error is what it should be.
    fn tidied(self, value: &mut Value) -> Result<bool, &'static str> {
        match (self, &mut *value) {
            (_, Value::Null) => return Ok(false),
            (Text | Firmware, Value::String(text)) => {
                clean(text);
                let silent = text.is_empty() || matches!(self, Firmware) && is_placeholder(text);
                return Ok(!silent);
            }
            (Text | Firmware, Value::Number(number)) => *value = Value::String(number.to_string()),
            (Text | Firmware, _) => return Err("a text"),
            (Number, Value::Number(number)) => {
                let whole = |float: f64| {
                    (float >= 0.0 && float.fract() == 0.0 && float < 1e15).then_some(float as u64)
                };
                let number = number.as_u64().or_else(|| number.as_f64().and_then(whole));
                *value = number.ok_or("a whole number")?.into();
            }
            (Number, Value::String(text)) => match text.trim() {
                "" => return Ok(false),
                text => *value = text.parse::<u64>().map_err(|_| "a whole number")?.into(),
            },
            (Number, _) => return Err("a whole number"),
            (Flag, Value::Bool(_)) => {}
            (Flag, Value::Number(number)) => *value = yes_or_no(&number.to_string())?.into(),
            (Flag, Value::String(text)) => *value = yes_or_no(text.trim())?.into(),
            (Flag, _) => return Err("true or false"),
            (Mac, Value::String(text)) => {
                clean(text);
                text.make_ascii_lowercase();
                if text.contains('-') {
                    *text = text.replace('-', ":");
                }
                let is_octet = |octet: &str| octet.len() == 2 && is_hex(octet);
                if text.is_empty() {
                    return Ok(false);
                }
                if !text.split(':').all(is_octet) {
                    return Err("a hardware address");
                }
            }
            (Mac, _) => return Err("a hardware address"),
            (Hex(digits), Value::String(text)) => {
                clean(text);
                text.make_ascii_lowercase();
                let plain = text.strip_prefix("0x").unwrap_or(text);
                if plain.is_empty() {
                    return Ok(false);
                }
                if plain.len() > digits || !is_hex(plain) {
                    return Err("a hexadecimal number");
                }
                if plain.len() != text.len() || plain.len() < digits {
                    *text = format!("{plain:0>digits$}");
                }
            }
            (Hex(_), _) => return Err("a hexadecimal text"),
            (Words, Value::String(text)) => {
                *value = text.split_whitespace().map(Value::from).collect();
            }
            (Words, Value::Array(words)) => {
                for word in words {
                    let Value::String(word) = word else { return Err("a list of texts") };
                    clean(word);
                }
            }
            (Words, _) => return Err("a list of texts"),
        }
        Ok(true)
    }
}

/// Without blanks around it, and without what cannot be typed.
fn clean(text: &mut String) {
    if text.chars().any(char::is_control) {
        text.retain(|c| !c.is_control());
    }
    let trimmed = text.trim();
    if trimmed.len() != text.len() {
        *text = trimmed.to_owned();
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS.iter().any(|placeholder| text.eq_ignore_ascii_case(placeholder))
        || text.len() > 1 && text.bytes().all(|byte| matches!(byte, b'0' | b'-' | b'.' | b' '))
        || text.len() > 1 && text.bytes().all(|byte| matches!(byte, b'f' | b'F' | b'-'))
}

fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("true or false"),
    }
}

/// `system.arch`, in the words of `uname -m`; where only the processors say it, theirs.
fn one_word_for_each_architecture(root: &mut Map<String, Value>) {
    let said = |section: &str| root.get(section)?.get("arch")?.as_str();
    let Some(arch) = said("system").or_else(|| said("cpu")) else { return };
    let arch = match arch {
        "amd64" | "x64" | "x86-64" => "x86_64",
        "arm64" => "aarch64",
        same => same,
    };
    let arch = Value::from(arch);
    if let Some(system) = root.entry("system").or_insert_with(|| Map::new().into()).as_object_mut() {
        system.insert("arch".to_owned(), arch);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tidied(mut inventory: Value) -> Result<Value, String> {
        tidy(inventory.as_object_mut().unwrap()).map(|()| inventory)
    }

    #[test]
    fn what_is_in_form_stays_and_what_is_unknown_passes() {
        let inventory = json!({
            "system": { "vendor": "ACME", "arch": "x86_64" },
            "cpu": { "count": 4, "flags": ["fpu"], "stepping": [1, null] },
            "usb": [{ "vendor": "0403", "product": "6001", "interfaces": ["ff/ff/ff"], "tty": [] }],
            "shoes": { "size": "44" }
        });
        assert_eq!(tidied(inventory.clone()), Ok(inventory));
    }

    #[test]
    fn what_others_write_otherwise_is_brought_into_form() {
        let inventory = json!({
            "system": { "vendor": " ACME\u{0} ", "serial": 1234, "product": "To Be Filled By O.E.M.", "uuid": null },
            "cpu": { "count": "4", "flags": "fp asimd", "arch": "arm64" },
            "memory": { "total_mib": 512.0 },
            "disks": [{ "size_bytes": " 1000 ", "rotational": 0, "removable": "yes", "model": "" }],
            "network": [{ "mac": "DC-A6-32-00-00-01" }, { "mac": "" }],
            "pci": [{ "vendor": "0x1106", "device": "C1", "class": "0x0c0330" }],
            "usb": null
        });
        assert_eq!(
            tidied(inventory),
            Ok(json!({
                "system": { "vendor": "ACME", "serial": "1234", "arch": "aarch64" },
                "cpu": { "count": 4, "flags": ["fp", "asimd"], "arch": "arm64" },
                "memory": { "total_mib": 512 },
                "disks": [{ "size_bytes": 1000, "rotational": false, "removable": true }],
                "network": [{ "mac": "dc:a6:32:00:00:01" }, {}],
                "pci": [{ "vendor": "1106", "device": "00c1", "class": "0c0330" }]
            }))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (inventory, error) in [
            (json!({ "cpu": 4 }), "cpu is 4, not an object"),
            (json!({ "disks": {} }), "disks is an object, not a list"),
            (json!({ "disks": [{}, "sda"] }), "disks[1] is \"sda\", not an object"),
            (
                json!({ "disks": [{ "size_bytes": "big" }] }),
                "disks[0].size_bytes is \"big\", not a whole number",
            ),
            (json!({ "memory": { "total_mib": -1 } }), "memory.total_mib is -1, not a whole number"),
            (json!({ "memory": { "total_mib": 0.5 } }), "memory.total_mib is 0.5, not a whole number"),
            (json!({ "network": [{ "mac": "eth0" }] }), "network[0].mac is \"eth0\", not a hardware address"),
            (
                json!({ "usb": [{ "vendor": "12345" }] }),
                "usb[0].vendor is \"12345\", not a hexadecimal number",
            ),
            (json!({ "usb": [{ "tty": [7] }] }), "usb[0].tty is a list, not a list of texts"),
            (json!({ "system": { "vendor": ["x"] } }), "system.vendor is a list, not a text"),
            (
                json!({ "disks": [{ "removable": "perhaps" }] }),
                "disks[0].removable is \"perhaps\", not true or false",
            ),
        ] {
            assert_eq!(tidied(inventory).unwrap_err(), error);
        }
        let long = json!({ "kernel": { "release": {} }, "cpu": "é".repeat(1000) });
        assert!(tidied(long).unwrap_err().len() < 200);
    }
}
