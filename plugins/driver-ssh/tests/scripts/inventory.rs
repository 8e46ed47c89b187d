//! The inventory, of a made-up machine and of this one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use driver_ssh::inventory::parse;
use driver_ssh::scripts::INVENTORY;
use serde_json::{Value, json};

use crate::board::{BOTH, Board};

fn inventory(board: &Board, root: &str) -> Value {
    let done = board.run(INVENTORY, &[root], "").well();
    assert_eq!(done.stderr, "");
    parse(done.stdout.as_bytes())
}

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    fs::write(file, text).expect("a file");
}

/// Gives a device of a class its place among the devices, as the kernel does.
fn place(root: &Path, class: &str, device: &str) {
    let devices = root.join("sys/devices").join(device);
    fs::create_dir_all(&devices).expect("folders");
    fs::create_dir_all(root.join(class)).expect("folders");
    symlink(devices, root.join(class).join("device")).expect("a link");
}

#[test]
fn a_machine_is_told_as_it_is() {
    for tools in BOTH {
        let board = Board::new(tools);
        board.stand_in("uname", "echo aarch64");
        let root = board.beside("machine");
        put(&root, "proc/sys/kernel/osrelease", "6.1.0\n");
        put(&root, "proc/sys/kernel/hostname", "board7\n");
        put(&root, "etc/os-release", "PRETTY_NAME=\"X = Y\"\nID=debian\nVERSION_ID=\"12\"\n");
        put(
            &root,
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: ARMv8 \"quoted\" \\\nFeatures\t: fp asimd\n\nprocessor\t: 1\n\
             Features\t: other\n\nSerial\t\t: 00001\n",
        );
        put(&root, "proc/meminfo", "MemTotal:        4028404 kB\nMemFree: 1 kB\n");
        put(&root, "sys/block/mmcblk0/size", "62333952\n");
        put(&root, "sys/block/mmcblk0/removable", "0\n");
        put(&root, "sys/block/mmcblk0/queue/rotational", "0\n");
        put(&root, "sys/block/mmcblk0/device/name", "SC32G   \n");
        put(&root, "sys/block/mmcblk0boot0/size", "8192\n");
        put(&root, "sys/block/loop0/size", "8\n");
        put(&root, "sys/class/net/eth0/address", "dc:a6:32:00:00:01\n");
        put(&root, "sys/class/net/eth0/speed", "-1\n");
        put(&root, "sys/class/net/eth0/device/uevent", "OF_NAME=ethernet\nDRIVER=bcmgenet\n");
        put(&root, "sys/class/net/br0/address", "02:00:00:00:00:00\n");
        put(&root, "sys/class/net/lo/address", "00:00:00:00:00:00\n");
        put(&root, "sys/bus/usb/devices/1-1/idVendor", "0525\n");
        put(&root, "sys/bus/usb/devices/1-1/idProduct", "a4a7\n");
        put(&root, "sys/bus/usb/devices/1-1/product", "Gadget $(reboot) `x` %s\\n\n");
        put(&root, "sys/bus/usb/devices/1-1:1.0/bInterfaceClass", "02\n");
        put(&root, "sys/bus/usb/devices/1-1:1.0/bInterfaceSubClass", "02\n");
        put(&root, "sys/bus/usb/devices/1-1:1.0/bInterfaceProtocol", "01\n");
        put(&root, "sys/bus/usb/devices/1-1:1.0/uevent", "DEVTYPE=usb_interface\nDRIVER=cdc_acm\n");
        put(&root, "sys/bus/usb/devices/1-1:1.0/tty/ttyACM0/dev", "166:0\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x1106\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/device", "0x3483\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/class", "0x0c0330\n");
        put(&root, "sys/bus/pci/devices/0000:01:00.0/uevent", "DRIVER=xhci_hcd\nPCI_CLASS=C0330\n");
        put(&root, "proc/device-tree/model", "Raspberry Pi 4\0");
        put(&root, "proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0");
        // A port as newer kernels show it, one as older ones do, one that is only a place, and a console.
        put(&root, "sys/devices/soc/uart/uevent", "DRIVER=uart-pl011\n");
        put(&root, "sys/devices/soc/uart/uart:0/uart:0.0/uevent", "DEVTYPE=port\nDRIVER=port\n");
        place(&root, "sys/class/tty/ttyAMA0", "soc/uart/uart:0/uart:0.0");
        put(&root, "sys/devices/soc/aux/uevent", "DRIVER=bcm2835-aux-uart\n");
        place(&root, "sys/class/tty/ttyS0", "soc/aux");
        put(&root, "sys/devices/platform/serial8250/uevent", "DRIVER=serial8250\n");
        place(&root, "sys/class/tty/ttyS1", "platform/serial8250");
        put(&root, "sys/class/tty/tty0/active", "tty1\n");

        assert_eq!(
            inventory(&board, &root.to_string_lossy()),
            json!({
                "system": {
                    "arch": "aarch64",
                    "serial": "00001",
                    "model": "Raspberry Pi 4",
                    "compatible": ["raspberrypi,4-model-b", "brcm,bcm2711"]
                },
                "kernel": { "release": "6.1.0" },
                "hostname": "board7",
                "os": { "id": "debian", "version": "12" },
                "cpu": { "count": 2, "model": "ARMv8 \"quoted\" \\", "flags": ["fp", "asimd"] },
                "memory": { "total_mib": 3933 },
                "disks": [{
                    "name": "mmcblk0", "size_bytes": 31_914_983_424_u64, "model": "SC32G",
                    "rotational": false, "removable": false
                }],
                "network": [{ "name": "eth0", "mac": "dc:a6:32:00:00:01", "driver": "bcmgenet" }],
                "usb": [{
                    "vendor": "0525", "product": "a4a7", "name": "Gadget $(reboot) `x` %s\\n", "driver": "cdc_acm",
                    "interfaces": ["02/02/01"], "tty": ["ttyACM0"]
                }],
                "pci": [{ "vendor": "1106", "device": "3483", "class": "0c0330", "driver": "xhci_hcd" }],
                "serial": [
                    { "name": "ttyAMA0", "driver": "uart-pl011" },
                    { "name": "ttyS0", "driver": "bcm2835-aux-uart" }
                ]
            }),
            "{tools:?}"
        );
    }
}

#[test]
fn a_machine_that_shows_nothing_is_told_as_well() {
    for tools in BOTH {
        let board = Board::new(tools);
        let told = inventory(&board, "/no/such/root");
        assert!(told["system"]["arch"].is_string(), "{tools:?}: {told}");
        assert_eq!((&told["memory"], &told["cpu"], &told["disks"]), (&Value::Null, &Value::Null, &json!([])));
    }
}

#[test]
fn more_than_can_be_of_use_is_left_out_and_said_so() {
    for tools in BOTH {
        let board = Board::new(tools);
        let root = board.beside("machine");
        for number in 0..1002 {
            put(&root, &format!("sys/bus/pci/devices/{number:04}/vendor"), "0x8086\n");
        }
        put(&root, "sys/block/sda/size", "8\n");
        put(&root, "sys/block/sda/device/model", &"long ".repeat(4000));
        let told = inventory(&board, &root.to_string_lossy());
        assert_eq!(told["pci"].as_array().map(Vec::len), Some(1000), "{tools:?}");
        assert_eq!(told["truncated"], json!(["pci"]), "{tools:?}");
        assert_eq!(told["disks"][0]["model"].as_str().map(str::len), Some(3999), "{tools:?}");
    }
}

#[test]
fn this_machine_has_processors_and_memory() {
    for tools in BOTH {
        let told = inventory(&Board::new(tools), "");
        assert!(told["cpu"]["count"].as_u64().expect("a number") > 0, "{tools:?}: {told}");
        assert!(told["memory"]["total_mib"].as_u64().expect("a number") > 0, "{tools:?}: {told}");
    }
}
