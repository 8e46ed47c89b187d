//! What a board tells of itself, brought into the common form (docs/inventory.md). The board's part only reads: what
//! anything means is decided here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Placeholders of ports that may be there: a port is only where the kernel knows its type.
const PLACEHOLDER_DRIVER: &str = "serial8250";

/// Processors of Arm, which say numbers and no names: (implementer, part, name).
const ARM_CORES: [(&str, &str, &str); 24] = [
    ("0x41", "0xb76", "ARM1176"),
    ("0x41", "0xc05", "Cortex-A5"),
    ("0x41", "0xc07", "Cortex-A7"),
    ("0x41", "0xc08", "Cortex-A8"),
    ("0x41", "0xc09", "Cortex-A9"),
    ("0x41", "0xc0d", "Cortex-A17"),
    ("0x41", "0xc0e", "Cortex-A17"),
    ("0x41", "0xc0f", "Cortex-A15"),
    ("0x41", "0xd03", "Cortex-A53"),
    ("0x41", "0xd04", "Cortex-A35"),
    ("0x41", "0xd05", "Cortex-A55"),
    ("0x41", "0xd07", "Cortex-A57"),
    ("0x41", "0xd08", "Cortex-A72"),
    ("0x41", "0xd09", "Cortex-A73"),
    ("0x41", "0xd0a", "Cortex-A75"),
    ("0x41", "0xd0b", "Cortex-A76"),
    ("0x41", "0xd0c", "Neoverse-N1"),
    ("0x41", "0xd0d", "Cortex-A77"),
    ("0x41", "0xd40", "Neoverse-V1"),
    ("0x41", "0xd41", "Cortex-A78"),
    ("0x41", "0xd44", "Cortex-X1"),
    ("0x41", "0xd46", "Cortex-A510"),
    ("0x41", "0xd47", "Cortex-A710"),
    ("0x41", "0xd49", "Neoverse-N2"),
];

/// A thing's fields, in order; one may be told several times.
type Thing<'a> = Vec<(&'a str, String)>;

/// The inventory that follows from what the script wrote. Lines that are none of its own are passed over.
pub fn parse(told: &[u8]) -> Value {
    let text = String::from_utf8_lossy(told);
    let mut kinds: BTreeMap<&str, BTreeMap<&str, Thing<'_>>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('\t')
            && let Some((kind, rest)) = key.split_once('/')
            && let Some((name, field)) = rest.split_once('/')
            && let Some(value) = said(value)
        {
            kinds.entry(kind).or_default().entry(name).or_default().push((field, value));
        }
    }
    let of = |kind: &str| kinds.get(kind).into_iter().flatten().map(|(name, thing)| (*name, thing));
    let one = |kind: &str, field: &str| kinds.get(kind)?.get("").and_then(|thing| first(thing, field));

    let arch = one("system", "arch");
    let cpu = Processor::of(kinds.get("cpu").and_then(|cpu| cpu.get("")));
    let kib = one("memory", "kib").and_then(number);
    let (efi, dmi) = (one("boot", "efi").is_some(), kinds.contains_key("dmi"));
    let is_pc = arch.is_some_and(|arch| arch.starts_with("x86") || arch.ends_with("86"));
    let boot = if efi { Some("uefi") } else { (dmi && is_pc).then_some("bios") };
    let cut: Vec<&str> =
        of("cut").flat_map(|(_, thing)| thing).filter_map(|(_, kind)| section(kind)).collect();
    let quoted = |field: &str| one("os", field).map(|text| text.trim_matches(['"', '\'']));

    object([
        (
            "system",
            object([
                ("vendor", text_of(one("dmi", "sys_vendor"))),
                ("product", text_of(one("dmi", "product_name"))),
                ("serial", text_of(one("dmi", "product_serial").or(one("tree", "serial")).or(cpu.serial))),
                ("uuid", text_of(one("dmi", "product_uuid"))),
                ("arch", text_of(arch)),
                ("model", text_of(one("tree", "model"))),
                ("compatible", words(one("tree", "compatible"))),
            ]),
        ),
        (
            "board",
            object([
                ("vendor", text_of(one("dmi", "board_vendor"))),
                ("name", text_of(one("dmi", "board_name"))),
            ]),
        ),
        (
            "bios",
            object([
                ("vendor", text_of(one("dmi", "bios_vendor"))),
                ("version", text_of(one("dmi", "bios_version"))),
            ]),
        ),
        ("hostname", text_of(one("system", "hostname"))),
        ("os", object([("id", text_of(quoted("ID"))), ("version", text_of(quoted("VERSION_ID")))])),
        ("kernel", object([("release", text_of(one("system", "kernel")))])),
        ("boot", object([("mode", text_of(boot))])),
        (
            "cpu",
            object([
                ("count", one("cpu", "count").and_then(number).filter(|count| *count > 0).into()),
                ("model", text_of(cpu.model)),
                ("flags", words(cpu.flags)),
            ]),
        ),
        ("memory", object([("total_mib", kib.map(|kib| kib / 1024).into())])),
        ("disks", of("disk").filter_map(|(name, thing)| disk(name, thing)).collect()),
        ("network", of("net").map(|(_, thing)| network(thing)).collect()),
        (
            "usb",
            of("usb").filter_map(|(name, thing)| usb(thing, interfaces(of("interface"), name))).collect(),
        ),
        ("pci", of("pci").map(|(_, thing)| pci(thing)).collect()),
        ("serial", of("tty").filter_map(|(_, thing)| serial(thing)).collect()),
        ("truncated", if cut.is_empty() { Value::Null } else { json!(cut) }),
    ])
}

/// What a value says: nothing when there is nothing in it that can be typed.
fn said(value: &str) -> Option<String> {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

fn first<'a>(thing: &'a Thing<'_>, field: &str) -> Option<&'a str> {
    thing.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The section of the inventory that a kind of the script's is.
fn section(kind: &str) -> Option<&'static str> {
    match kind {
        "disk" => Some("disks"),
        "net" => Some("network"),
        "usb" => Some("usb"),
        "pci" => Some("pci"),
        "tty" => Some("serial"),
        _ => None,
    }
}

/// Without the fields that say nothing.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let says = |value: &Value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty());
    let fields = fields.into_iter().filter(|(_, value)| says(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn text_of(text: Option<&str>) -> Value {
    text.into()
}

fn words(text: Option<&str>) -> Value {
    text.map(|text| text.split_whitespace().collect::<Vec<_>>()).into()
}

/// What `/proc/cpuinfo` says of the first processor, and of the machine.
#[derive(Default)]
struct Processor<'a> {
    model: Option<&'a str>,
    flags: Option<&'a str>,
    serial: Option<&'a str>,
}

impl<'a> Processor<'a> {
    fn of(thing: Option<&'a Thing<'_>>) -> Self {
        let Some(thing) = thing else { return Self::default() };
        let lines = thing.iter().filter(|(field, _)| *field == "line");
        let pairs: Vec<(&str, &str)> = lines
            .filter_map(|(_, line)| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let get = |wanted: &str| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let core = get("CPU implementer").zip(get("CPU part")).and_then(|(implementer, part)| {
            ARM_CORES.iter().find(|core| core.0 == implementer && core.1 == part).map(|core| core.2)
        });
        let named = ["model name", "cpu model", "cpu", "uarch", "Hardware"];
        Self {
            model: core.or_else(|| named.iter().find_map(|key| get(key))),
            flags: ["flags", "Features", "isa"].iter().find_map(|key| get(key)),
            serial: get("Serial"),
        }
    }
}

/// None for one without a medium.
fn disk(name: &str, thing: &Thing<'_>) -> Option<Value> {
    let sectors = first(thing, "sectors").and_then(number).filter(|sectors| *sectors > 0)?;
    let flag = |field| first(thing, field).map(|text| text == "1");
    Some(object([
        ("name", name.into()),
        // The kernel counts in these, whatever the disk does.
        ("size_bytes", sectors.saturating_mul(512).into()),
        ("rotational", flag("rotational").into()),
        ("removable", flag("removable").into()),
        ("model", text_of(first(thing, "model").or(first(thing, "name")))),
    ]))
}

fn network(thing: &Thing<'_>) -> Value {
    // Without a link, the kernel says -1, as one sign or another.
    let speed = first(thing, "speed").and_then(number).filter(|speed| *speed > 0 && *speed < 0xffff_ffff);
    object([
        ("name", text_of(first(thing, "name"))),
        ("mac", text_of(first(thing, "mac").filter(|mac| *mac != "00:00:00:00:00:00"))),
        ("driver", text_of(first(thing, "driver"))),
        ("speed_mbps", speed.into()),
    ])
}

/// The interfaces of a device: theirs are called `DEVICE:…`, those of the hub `usbN` are `N-0:…`.
fn interfaces<'a>(all: impl Iterator<Item = (&'a str, &'a Thing<'a>)>, device: &str) -> Vec<&'a Thing<'a>> {
    let hub = device.strip_prefix("usb");
    let is_own = |of: &str| of == device || hub.is_some() && of.strip_suffix("-0") == hub;
    let own = |name: &str| name.split_once(':').is_some_and(|(of, _)| is_own(of));
    all.filter(|(name, _)| own(name)).map(|(_, thing)| thing).collect()
}

/// None for what says nothing of itself.
fn usb(thing: &Thing<'_>, interfaces: Vec<&Thing<'_>>) -> Option<Value> {
    let (vendor, product) = (first(thing, "idVendor")?, first(thing, "idProduct")?);
    let classes: Vec<&str> = interfaces.iter().filter_map(|thing| first(thing, "class")).collect();
    let ttys = interfaces.iter().flat_map(|thing| thing.iter().filter(|(field, _)| *field == "tty"));
    let ttys: Vec<&str> = ttys.map(|(_, name)| name.as_str()).collect();
    Some(object([
        ("vendor", vendor.into()),
        ("product", product.into()),
        ("manufacturer", text_of(first(thing, "manufacturer"))),
        ("name", text_of(first(thing, "product"))),
        ("serial", text_of(first(thing, "serial"))),
        ("driver", text_of(interfaces.iter().find_map(|thing| first(thing, "driver")))),
        ("interfaces", json!(classes)),
        ("tty", json!(ttys)),
    ]))
}

fn pci(thing: &Thing<'_>) -> Value {
    let plain = |field| text_of(first(thing, field).map(|text| text.trim_start_matches("0x")));
    object([
        ("vendor", plain("vendor")),
        ("device", plain("device")),
        ("class", plain("class")),
        ("driver", text_of(first(thing, "driver"))),
    ])
}

/// None for a port that is not there.
fn serial(thing: &Thing<'_>) -> Option<Value> {
    let (driver, kind) = (first(thing, "driver"), first(thing, "type"));
    let is_there = match kind {
        Some(kind) => kind != "0",
        // Only root is told the type.
        None => driver != Some(PLACEHOLDER_DRIVER),
    };
    is_there.then(|| object([("name", text_of(first(thing, "name"))), ("driver", text_of(driver))]))
}

#[cfg(test)]
mod tests;
