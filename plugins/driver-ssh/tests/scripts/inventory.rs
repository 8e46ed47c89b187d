//! The inventory, of a made-up machine and of this one.

use std::fs;
use std::path::Path;

use driver_ssh::scripts::INVENTORY;
use serde_json::{Value, json};

use crate::board::{BOTH, Board};

fn inventory(board: &Board, root: &str) -> Value {
    let done = board.run(INVENTORY, &[root], "").well();
    assert_eq!(done.stderr, "");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    fs::write(file, text).expect("a file");
}

#[test]
fn a_machine_is_told_as_it_is() {
    for tools in BOTH {
        let board = Board::new(tools);
        let root = board.beside("machine");
        put(&root, "proc/sys/kernel/osrelease", "6.1.0\n");
        put(&root, "proc/sys/kernel/hostname", "board7\n");
        put(&root, "etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        put(
            &root,
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: ARMv8 \"quoted\" \\\nFeatures\t: fp asimd\n\nprocessor\t: 1\n",
        );
        put(&root, "proc/meminfo", "MemTotal:        4028404 kB\n");
        put(&root, "sys/block/mmcblk0/size", "62333952\n");
        put(&root, "sys/block/mmcblk0/removable", "0\n");
        put(&root, "sys/block/mmcblk0/device/model", "SC32G   \n");
        put(&root, "sys/block/loop0/size", "8\n");
        put(&root, "sys/class/net/eth0/address", "dc:a6:32:00:00:01\n");
        put(&root, "sys/class/net/eth0/operstate", "up\n");
        put(&root, "sys/class/net/lo/address", "00:00:00:00:00:00\n");
        put(&root, "sys/bus/usb/devices/1-1/idVendor", "0525\n");
        put(&root, "sys/bus/usb/devices/1-1/idProduct", "a4a7\n");
        put(&root, "sys/bus/usb/devices/1-1/product", "Gadget $(reboot) `x`\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x1106\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/device", "0x3483\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/class", "0x0c0330\n");
        put(&root, "proc/device-tree/model", "Raspberry Pi 4\0");
        put(&root, "proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0");

        let mut told = inventory(&board, &root.to_string_lossy());
        told["architecture"].take();
        assert_eq!(
            told,
            json!({
                "format": 1,
                "kernel": "6.1.0",
                "hostname": "board7",
                "architecture": null,
                "os": { "id": "debian", "version": "12" },
                "cpu": { "count": 2, "model": "ARMv8 \"quoted\" \\", "flags": ["fp", "asimd"] },
                "memory_mib": 3933,
                "disks": [{ "name": "mmcblk0", "bytes": 31_914_983_424_u64, "model": "SC32G", "removable": false }],
                "net": [{ "name": "eth0", "mac": "dc:a6:32:00:00:01", "state": "up", "physical": false }],
                "usb": [{ "id": "0525:a4a7", "manufacturer": "", "product": "Gadget $(reboot) `x`", "serial": "" }],
                "pci": [{ "id": "1106:3483", "class": "0c0330" }],
                "dmi": { "vendor": "", "product": "", "board": "", "bios": "" },
                "device_tree": {
                    "model": "Raspberry Pi 4",
                    "compatible": ["raspberrypi,4-model-b", "brcm,bcm2711"]
                }
            }),
            "{tools:?}"
        );
    }
}

#[test]
fn a_machine_that_shows_nothing_still_makes_json() {
    for tools in BOTH {
        let board = Board::new(tools);
        let told = inventory(&board, "/no/such/root");
        assert_eq!(
            (&told["memory_mib"], &told["disks"], &told["cpu"]["flags"]),
            (&Value::Null, &json!([]), &json!([]))
        );
    }
}

#[test]
fn this_machine_has_processors_and_memory() {
    for tools in BOTH {
        let told = inventory(&Board::new(tools), "");
        assert!(told["cpu"]["count"].as_u64().expect("a number") > 0, "{tools:?}: {told}");
        assert!(told["memory_mib"].as_u64().expect("a number") > 0, "{tools:?}: {told}");
    }
}
