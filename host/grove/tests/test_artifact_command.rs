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
    assert_snapshot!(usage(&["artifact"]), @"");
    assert_snapshot!(usage(&["artifact", "put"]), @"");
    assert_snapshot!(usage(&["artifact", "get"]), @"");
    assert_snapshot!(usage(&["artifact", "list"]), @"");
    assert_snapshot!(usage(&["artifact", "remove"]), @"");
}

#[test]
fn put() {
    let farm = Farm::new();
    farm.on("PUT /api/v2/artifacts/rpi4/boot%2Fimage.img", 201, artifact());
    let home = Home::new();
    std::fs::write(home.path("image.img"), "hello").unwrap();
    let file = home.path("image.img").display().to_string();
    let output = home.command(&farm, &["artifact", "put", "rpi4", "boot/image.img", &file]).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"");
    assert_snapshot!(calls(&farm), @"");
    assert_eq!(farm.calls()[0].headers["content-length"], "5");
    let folder = home.command(&farm, &["artifact", "put", "rpi4", "x", "/"]).output().unwrap();
    assert_snapshot!(told(&farm, &folder), @"");
}

#[test]
fn get() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/artifacts/rpi4/image", 200, "application/octet-stream", "hello");
    let home = Home::new();
    let file = home.path("got").display().to_string();
    let output = home.command(&farm, &["artifact", "get", "rpi4", "image", &file]).output().unwrap();
    assert_snapshot!(home.plain(&told(&farm, &output)), @"");
    assert_eq!(home.read("got"), "hello");
    assert_eq!(grove(&farm, &["artifact", "get", "rpi4", "image"]), "hello");
}

#[test]
fn list() {
    let farm = Farm::new();
    farm.on("GET /api/v2/artifacts", 200, items([artifact()]));
    assert_snapshot!(grove(&farm, &["artifact", "list", "--group", "rpi4"]), @"");
    assert_snapshot!(calls(&farm), @"");
}

#[test]
fn remove() {
    let farm = Farm::new();
    farm.on("DELETE /api/v2/artifacts/rpi4/image", 204, json!(null));
    assert_snapshot!(grove(&farm, &["artifact", "remove", "rpi4", "image"]), @"");
}
