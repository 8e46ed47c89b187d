//! Holds the house against its floors, and makes sure that a breach would be found.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::path::Path;
use std::sync::OnceLock;

use xtask::floors;
use xtask::metadata::{self, Dependency, Kind, Metadata};

fn house() -> Metadata {
    static HOUSE: OnceLock<Metadata> = OnceLock::new();
    let load = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the project");
        metadata::load(root, &["--all-features"]).expect("what cargo says of the workspace")
    };
    HOUSE.get_or_init(load).clone()
}

/// The house with one more dependency in it.
fn with(from: &str, to: &str, kind: Option<&str>) -> Metadata {
    let mut house = house();
    let id = |name: &str| {
        let package = house.packages.iter().find(|package| package.name == name);
        package.unwrap_or_else(|| panic!("{name} is in the house")).id.clone()
    };
    let (from, pkg) = (id(from), id(to));
    let nodes = &mut house.resolve.as_mut().expect("a graph").nodes;
    let node = nodes.iter_mut().find(|node| node.id == from).expect("a node");
    node.deps.push(Dependency { pkg, dep_kinds: vec![Kind { kind: kind.map(str::to_owned) }] });
    house
}

#[test]
fn the_house_stands() {
    let broken = floors::broken(&house());
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_kind_of_breach_is_found() {
    for (from, to, kind, expected) in [
        (
            "grove-store",
            "grove-control",
            None,
            "grove-store depends on grove-control, which is on no lower floor",
        ),
        (
            "grove-store",
            "grove-access",
            None,
            "grove-store depends on grove-access, which is on no lower floor",
        ),
        (
            "grove-control",
            "wasmtime",
            None,
            "grove-control depends on wasmtime, which only grove-runtime may know",
        ),
        ("grove", "russh", None, "grove depends on russh, which only grove-access may know"),
        (
            "grove-api",
            "wasmtime-wasi",
            Some("dev"),
            "grove-api depends on wasmtime-wasi, which only grove-runtime may know",
        ),
        ("grove-domain", "tokio", None, "grove-domain builds tokio, which must stay out of it"),
        ("jiff", "tokio", None, "grove-domain builds tokio, which must stay out of it"),
        ("grove-domain", "serde", None, "grove-domain builds serde, which must stay out of it"),
        ("grove-client", "axum", None, "grove-client builds axum, which must stay out of it"),
        (
            "grove-control",
            "grove-runtime",
            Some("dev"),
            "grove-control builds wasmtime, which must stay out of it",
        ),
    ] {
        let broken = floors::broken(&with(from, to, kind));
        assert!(broken.iter().any(|line| line == expected), "{from} -> {to}: {broken:?}");
    }
}

#[test]
fn a_new_room_needs_a_floor() {
    let mut house = house();
    let room = house.packages.iter_mut().find(|package| package.name == "grove-store").expect("a room");
    room.name = "grove-attic".into();
    let broken = floors::broken(&house);
    assert!(broken.iter().any(|line| line.starts_with("grove-attic has no floor")), "{broken:?}");
}
