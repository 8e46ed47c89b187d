//! What is known of devices.

/// Serial ports on USB: of these, ports are counted and not devices.
pub(crate) const UART_USB: &str = "uart_usb";

/// A device, by the numbers it says.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) vendor: &'static str,
    pub(crate) product: &'static str,
    /// What its name begins with, where others share its numbers.
    pub(crate) name: &'static str,
    /// What it is counted under.
    pub(crate) capability: &'static str,
    /// How many serial ports it has.
    pub(crate) ports: u64,
}

impl Known {
    pub(crate) fn is(&self, vendor: &str, product: &str, name: Option<&str>) -> bool {
        self.vendor == vendor && self.product == product && name.unwrap_or_default().starts_with(self.name)
    }
}

const fn bridge(vendor: &'static str, product: &'static str, ports: u64) -> Known {
    Known { vendor, product, name: "", capability: UART_USB, ports }
}

const fn device(vendor: &'static str, product: &'static str, capability: &'static str) -> Known {
    Known { vendor, product, name: "", capability, ports: 1 }
}

const fn named(
    vendor: &'static str,
    product: &'static str,
    name: &'static str,
    capability: &'static str,
) -> Known {
    Known { vendor, product, name, capability, ports: 1 }
}

pub(crate) const DEVICES: [Known; 29] = [
    // FTDI: FT232, FT2232, FT4232, FT232H, FT230X.
    bridge("0403", "6001", 1),
    bridge("0403", "6010", 2),
    bridge("0403", "6011", 4),
    bridge("0403", "6014", 1),
    bridge("0403", "6015", 1),
    // Silicon Labs: CP2102, CP2105, CP2108.
    bridge("10c4", "ea60", 1),
    bridge("10c4", "ea70", 2),
    bridge("10c4", "ea71", 4),
    // WCH: CH340, CH341, CH9102, CH343, CH344, CH342.
    bridge("1a86", "7523", 1),
    bridge("1a86", "5523", 1),
    bridge("1a86", "55d4", 1),
    bridge("1a86", "55d3", 1),
    bridge("1a86", "55d5", 4),
    bridge("1a86", "55d2", 2),
    // Prolific: PL2303, and its later kinds.
    bridge("067b", "2303", 1),
    bridge("067b", "23a3", 1),
    bridge("067b", "23c3", 1),
    // Relays: boards with V-USB share their numbers with whatever else has V-USB; Devantech's have their own.
    named("16c0", "05df", "USBRelay", "relay"),
    device("04d8", "ffee", "relay"),
    // ST-Link 2, 2-1, 3; J-Link; CMSIS-DAP of Arm.
    device("0483", "3748", "debug_probe"),
    device("0483", "374b", "debug_probe"),
    device("0483", "374e", "debug_probe"),
    device("0483", "374f", "debug_probe"),
    device("1366", "0101", "debug_probe"),
    device("1366", "0105", "debug_probe"),
    device("1366", "1015", "debug_probe"),
    device("0d28", "0204", "debug_probe"),
    // Cards that the board and a controller share: SDWire, USB-SD-Mux.
    named("04e8", "6001", "sd-wire", "sd_mux"),
    device("0424", "4041", "sd_mux"),
];

/// What interfaces of a class, subclass and protocol say, whoever made the device.
pub(crate) const CLASSES: [(&str, &str); 4] =
    [("0e/", "camera"), ("ff/42/01", "adb"), ("ff/42/03", "fastboot"), ("08/", "usb_storage")];
