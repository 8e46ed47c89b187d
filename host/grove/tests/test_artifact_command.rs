use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{Farm, Home, ago, calls, grove, help, items, told};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn artifact() -> Value {
    json!({
        "group": "rpi4", "key": "boot/image.img", "size": 5, "sha256": HELLO, "created": ago("2d1h"),
        "used": ago("90s"),
    })
}

#[test]
fn help_says() {
    let usage = |args: &[&str]| {
        help(args).lines().take_while(|line| *line != "Global options:").collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(usage(&["artifact"]), @"
    Files for boards, like images to flash

    Usage: grove artifact [OPTIONS] <COMMAND>

    Commands:
      put     Bring a file
      get     Read one, into a file or to stdout
      list    Show what there is
      verify  Have the farm read what it keeps, and hold it against the digests
      remove  Remove one

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
    assert_snapshot!(usage(&["artifact", "put"]), @"
    Bring a file

    Usage: grove artifact put [OPTIONS] <GROUP> <KEY> <FILE>

    Arguments:
      <GROUP>  Group that may use it
      <KEY>    Its name in the group
      <FILE>   The file

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
    assert_snapshot!(usage(&["artifact", "get"]), @"
    Read one, into a file or to stdout

    Usage: grove artifact get [OPTIONS] <GROUP> <KEY> [FILE]

    Arguments:
      <GROUP>  Group that may use it
      <KEY>    Its name in the group
      [FILE]   Where to; without it, to stdout

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
    assert_snapshot!(usage(&["artifact", "list"]), @"
    Show what there is

    Usage: grove artifact list [OPTIONS]

    Options:
          --group <GROUP>  Only those of this group
      -h, --help           Print help
      -V, --version        Print version
    ");
    assert_snapshot!(usage(&["artifact", "remove"]), @"
    Remove one

    Usage: grove artifact remove [OPTIONS] <GROUP> <KEY>

    Arguments:
      <GROUP>  Group that may use it
      <KEY>    Its name in the group

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
}

#[test]
fn put() {
    let farm = Farm::new();
    farm.on("PUT /api/v2/artifacts/rpi4/boot%2Fimage.img", 201, artifact());
    let home = Home::new();
    std::fs::write(home.path("image.img"), "hello").unwrap();
    let file = home.path("image.img").display().to_string();
    let output = home.command(&farm, &["artifact", "put", "rpi4", "boot/image.img", &file]).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"rpi4 boot/image.img: 5 bytes, sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_snapshot!(calls(&farm), @"PUT /api/v2/artifacts/rpi4/boot%2Fimage.img hello");
    assert_eq!(farm.calls()[0].headers["content-length"], "5");
    let folder = home.command(&farm, &["artifact", "put", "rpi4", "x", "/"]).output().unwrap();
    assert_snapshot!(told(&farm, &folder), @"
    --- stderr
    error: / is no file
    hint: give a file, not a folder or a pipe
    --- exit status: 1
    ");
}

#[test]
fn get() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/artifacts/rpi4/image", 200, "application/octet-stream", "hello");
    let home = Home::new();
    let file = home.path("got").display().to_string();
    let output = home.command(&farm, &["artifact", "get", "rpi4", "image", &file]).output().unwrap();
    assert_snapshot!(home.plain(&told(&farm, &output)), @"
    --- stderr
    5 bytes in HOME/got
    ");
    assert_eq!(home.read("got"), "hello");
    assert_eq!(grove(&farm, &["artifact", "get", "rpi4", "image"]), "hello");
}

#[test]
fn list() {
    let farm = Farm::new();
    farm.on("GET /api/v2/artifacts", 200, items([artifact()]));
    assert_snapshot!(grove(&farm, &["artifact", "list", "--group", "rpi4"]), @"
    GROUP  KEY             BYTES  SHA256        CAME       USED
    rpi4   boot/image.img  5      2cf24dba5fb0  2d 1h ago  1m ago
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/artifacts?group=rpi4&limit=1000");
}

#[test]
fn remove() {
    let farm = Farm::new();
    farm.on("DELETE /api/v2/artifacts/rpi4/image", 204, json!(null));
    assert_snapshot!(grove(&farm, &["artifact", "remove", "rpi4", "image"]), @"rpi4 image is removed");
}
