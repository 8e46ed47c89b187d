use super::*;

/// A file of lines as a board tells them; there, `→` stands for the tab.
fn told(sample: &str) -> Value {
    parse(sample.replace('→', "\t").as_bytes())
}

#[test]
fn a_pc_tells_what_it_is() {
    let pc = told(include_str!("samples/pc.txt"));
    assert_eq!(
        pc,
        json!({
            "system": {
                "vendor": "Example Computers, Inc.", "product": "Box 3000", "serial": "EX0042",
                "uuid": "4c4c4544-0042-3510-8051-b4c04f4a4831", "arch": "x86_64"
            },
            "board": { "vendor": "Example Computers", "name": "B3K" },
            "bios": { "vendor": "Example Firmware", "version": "1.7" },
            "hostname": "bench3",
            "os": { "id": "debian", "version": "12" },
            "kernel": { "release": "6.1.0-18-amd64" },
            "boot": { "mode": "uefi" },
            "cpu": { "count": 8, "model": "Example(R) CPU @ 3.00GHz", "flags": ["fpu", "vmx", "avx2"] },
            "memory": { "total_mib": 15_938 },
            "disks": [
                { "name": "nvme0n1", "size_bytes": 512_110_190_592_u64, "rotational": false, "removable": false, "model": "EX SSD 512" },
                { "name": "sda", "size_bytes": 4_000_787_030_016_u64, "rotational": true, "removable": false, "model": "EX HDD" },
                { "name": "sdb", "size_bytes": 15_931_539_456_u64, "rotational": true, "removable": true, "model": "Stick" }
            ],
            "network": [
                { "name": "enp3s0", "mac": "52:54:00:12:34:56", "driver": "e1000e", "speed_mbps": 1000 },
                { "name": "wlp2s0", "mac": "52:54:00:65:43:21", "driver": "iwlwifi" }
            ],
            "usb": [
                {
                    "vendor": "0403", "product": "6010", "manufacturer": "FTDI", "name": "Dual RS232-HS",
                    "serial": "FT1", "driver": "ftdi_sio", "interfaces": ["ff/ff/ff", "ff/ff/ff"],
                    "tty": ["ttyUSB0", "ttyUSB1"]
                },
                { "vendor": "18d1", "product": "4ee7", "name": "Phone", "interfaces": ["ff/42/01"], "tty": [] },
                { "vendor": "1d6b", "product": "0002", "driver": "hub", "interfaces": ["09/00/00"], "tty": [] }
            ],
            "pci": [
                { "vendor": "8086", "device": "10d3", "class": "020000", "driver": "e1000e" },
                { "vendor": "10de", "device": "1b80", "class": "030000" }
            ],
            "serial": [
                { "name": "ttyS0", "driver": "serial" },
                { "name": "ttyUSB0", "driver": "ftdi_sio" },
                { "name": "ttyUSB1", "driver": "ftdi_sio" }
            ]
        })
    );
}

#[test]
fn a_raspberry_pi_tells_what_it_is() {
    let pi = told(include_str!("samples/raspberry-pi.txt"));
    assert_eq!(
        pi,
        json!({
            "system": {
                "serial": "10000000abcdef01", "arch": "aarch64", "model": "Raspberry Pi 4 Model B Rev 1.4",
                "compatible": ["raspberrypi,4-model-b", "brcm,bcm2711"]
            },
            "hostname": "pi7",
            "os": { "id": "debian", "version": "12" },
            "kernel": { "release": "6.1.0-rpi7-rpi-v8" },
            "cpu": { "count": 4, "model": "Cortex-A72", "flags": ["fp", "asimd", "crc32"] },
            "memory": { "total_mib": 3791 },
            "disks": [
                { "name": "mmcblk0", "size_bytes": 31_914_983_424_u64, "rotational": false, "removable": false, "model": "SC32G" }
            ],
            "network": [{ "name": "eth0", "mac": "dc:a6:32:00:00:01", "driver": "bcmgenet", "speed_mbps": 100 }],
            "usb": [],
            "pci": [],
            "serial": [
                { "name": "ttyAMA0", "driver": "uart-pl011" },
                { "name": "ttyS0", "driver": "bcm2835-aux-uart" }
            ]
        })
    );
}

#[test]
fn a_container_has_no_hardware_to_tell_of() {
    let container = told(include_str!("samples/container.txt"));
    assert_eq!(
        container,
        json!({
            "system": { "arch": "x86_64" },
            "hostname": "4f1d2c3b",
            "kernel": { "release": "6.1.0-18-amd64" },
            "cpu": { "count": 2, "model": "Example(R) CPU @ 3.00GHz", "flags": ["fpu"] },
            "memory": { "total_mib": 1987 },
            "disks": [], "network": [], "usb": [], "pci": [], "serial": []
        })
    );
}

#[test]
fn a_port_is_there_when_the_kernel_knows_its_type_or_it_has_a_driver_of_its_own() {
    let serial = |lines: &str| told(lines)["serial"].as_array().unwrap().len();
    assert_eq!(serial("tty/ttyS0/name→ttyS0\ntty/ttyS0/driver→serial8250\n"), 0, "a placeholder");
    assert_eq!(serial("tty/ttyS0/name→ttyS0\ntty/ttyS0/driver→serial8250\ntty/ttyS0/type→4\n"), 1);
    assert_eq!(serial("tty/ttyS0/name→ttyS0\ntty/ttyS0/driver→serial\ntty/ttyS0/type→0\n"), 0);
    assert_eq!(serial("tty/ttyACM0/name→ttyACM0\n"), 1);
}

#[test]
fn odd_bytes_and_foreign_lines_do_no_harm() {
    let odd: &[u8] = b"Welcome to board 7!\n\n\t\t\nsystem//hostname\tb\xffoar\0d \x1b[31m\r\nsystem//hostname\tsecond\n\
        cpu//line\tmodel name\t: a\tb: c\nno/tab here\nx\ty\ndisk/sda\t7\ndisk/sda/sectors\t18446744073709551615\n\
        disk/sdb/sectors\t99999999999999999999\nnet/eth0/speed\t-1\nnet/eth0/mac\t00:00:00:00:00:00\nusb/1-1/idVendor\t0403";
    assert_eq!(
        parse(odd),
        json!({
            "hostname": "b\u{fffd}oar d  [31m",
            "cpu": { "model": "a b: c" },
            "disks": [{ "name": "sda", "size_bytes": u64::MAX }],
            "network": [{}],
            "usb": [], "pci": [], "serial": []
        })
    );
    assert_eq!(parse(b""), parse(&[0xff; 4096]));
}

#[test]
fn what_was_left_out_is_told() {
    let cut = told("cut//kind→pci\ncut//kind→tty\ncut//kind→nonsense\n");
    assert_eq!(cut["truncated"], json!(["pci", "serial"]));
}
