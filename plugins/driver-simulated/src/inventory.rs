//! What a simulated board is made of when its config does not say: a small ARM board with four serial ports.

use serde_json::{Value, json};

/// The inventory, in the common form.
pub(crate) fn small_board() -> Value {
    json!({
        "system": {
            "vendor": "Grove",
            "product": "Simulated Board",
            "serial": "SIM0001",
            "arch": "aarch64",
            "model": "Simulated Board Rev 1.0"
        },
        "cpu": { "count": 4, "model": "Cortex-A72", "flags": ["fp", "asimd", "aes", "crc32"] },
        "memory": { "total_mib": 4096 },
        "disks": [{
            "name": "mmcblk0",
            "size_bytes": 34_359_738_368_u64,
            "rotational": false,
            "removable": false,
            "model": "SIM32G"
        }],
        "network": [{
            "name": "eth0",
            "mac": "02:00:00:00:00:01",
            "driver": "bcmgenet",
            "speed_mbps": 1000
        }],
        "usb": [
            { "vendor": "1d6b", "product": "0002", "name": "Simulated Host Controller", "interfaces": ["09/00/00"] },
            {
                "vendor": "0403",
                "product": "6010",
                "manufacturer": "FTDI",
                "name": "Dual RS232-HS",
                "driver": "ftdi_sio",
                "interfaces": ["ff/ff/ff", "ff/ff/ff"],
                "tty": ["ttyUSB0", "ttyUSB1"]
            }
        ],
        "pci": [],
        "serial": [
            { "name": "ttyAMA0", "driver": "uart-pl011" },
            { "name": "ttyS0", "driver": "bcm2835-aux-uart" },
            { "name": "ttyUSB0", "driver": "ftdi_sio" },
            { "name": "ttyUSB1", "driver": "ftdi_sio" }
        ],
        "kernel": { "release": "6.12.0-simulated" }
    })
}
