//! The floors of the house: a room depends only on rooms of lower floors, and some libraries live in one room only.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::metadata::{Metadata, Node, Package};

/// The rooms, from the ground up.
const FLOORS: [(&str, u8); 11] = [
    ("grove-domain", 1),
    ("grove-engine", 1),
    ("grove-wire", 1),
    ("grove-store", 2),
    ("grove-runtime", 2),
    ("grove-access", 2),
    ("grove-objects", 2),
    ("grove-client", 2),
    ("grove-control", 3),
    ("grove-api", 4),
    ("grove", 5),
];

/// Libraries, by the beginning of their names, that only one room may name.
const WALLED: [(&str, &str); 3] =
    [("wasmtime", "grove-runtime"), ("russh", "grove-access"), ("object_store", "grove-objects")];

/// Libraries that must stay out of a room.
const KEPT_OUT: [(&str, &[&str], Extent); 6] = [
    ("grove-domain", &["serde", "serde_core", "serde_json"], Extent::Named),
    ("grove-domain", &["tokio"], Extent::Built),
    ("grove-engine", &["serde", "serde_core", "serde_json"], Extent::Named),
    ("grove-wire", &["tokio"], Extent::Built),
    ("grove-client", &["axum", "axum-core", "rusqlite"], Extent::Built),
    (
        "grove-control",
        &["wasmtime", "cranelift-codegen", "russh", "axum", "rusqlite", "object_store"],
        Extent::BuiltForTests,
    ),
];

/// How far a library must stay out of a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The room does not name it. Cargo resolves features for the whole workspace at once, so a library that is an
    /// optional part of many others cannot be looked for further down.
    Named,
    /// It is not built for those who use the room, however far down.
    Built,
    /// Nor is it built for the room's own tests.
    BuiltForTests,
}

/// Which dependencies of a package count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Those of its library.
    Library,
    /// Those of its tests, too.
    Tests,
}

/// What breaks the rules, one line each.
pub fn broken(metadata: &Metadata) -> Vec<String> {
    let house = House::new(metadata);
    let rooms = metadata.members().filter(|package| is_room(package));
    let mut broken: Vec<_> = rooms.flat_map(|room| house.room(room)).collect();
    broken.extend(house.kept_out());
    broken
}

/// Rooms are the crates under `host/`. Tests, chores and examples may use whatever they look at.
fn is_room(package: &Package) -> bool {
    package.folder().parent().and_then(|folder| folder.file_name()).is_some_and(|folder| folder == "host")
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor)
}

struct House<'a> {
    packages: HashMap<&'a str, &'a Package>,
    nodes: HashMap<&'a str, &'a Node>,
}

impl<'a> House<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let nodes = metadata.resolve.iter().flat_map(|graph| &graph.nodes);
        Self { packages: metadata.by_id(), nodes: nodes.map(|node| (node.id.as_str(), node)).collect() }
    }

    fn room(&self, room: &Package) -> Vec<String> {
        let name = room.name.as_str();
        let Some(own) = floor(name) else {
            return vec![format!("{name} has no floor: give it one in xtask/src/floors.rs")];
        };
        let mut broken = Vec::new();
        for used in self.used_by(&room.id, Reach::Library) {
            if floor(&used.name).is_some_and(|floor| floor >= own) {
                broken.push(format!("{name} depends on {}, which is on no lower floor", used.name));
            }
        }
        for used in self.used_by(&room.id, Reach::Tests) {
            for (library, home) in WALLED {
                if used.name.starts_with(library) && name != home {
                    broken.push(format!("{name} depends on {}, which only {home} may know", used.name));
                }
            }
        }
        broken
    }

    fn kept_out(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (room, libraries, extent) in KEPT_OUT {
            for package in self.packages.values().filter(|package| package.name == room) {
                let found = match extent {
                    Extent::Named => names(&self.used_by(&package.id, Reach::Library)),
                    Extent::Built => self.built_for(&package.id, Reach::Library),
                    Extent::BuiltForTests => self.built_for(&package.id, Reach::Tests),
                };
                for found in found.iter().filter(|found| libraries.contains(found)) {
                    broken.push(format!("{room} builds {found}, which must stay out of it"));
                }
            }
        }
        broken
    }

    fn used_by(&self, id: &str, reach: Reach) -> Vec<&'a Package> {
        let deps = self.nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let wanted = |kind: &Option<String>| kind.as_deref() != Some("dev") || reach == Reach::Tests;
        deps.filter(|dep| dep.dep_kinds.iter().any(|kind| wanted(&kind.kind)))
            .filter_map(|dep| self.packages.get(dep.pkg.as_str()).copied())
            .collect()
    }

    /// Everything that is built for a room. Only the room's own tests count: those of what it uses are not built.
    fn built_for(&self, id: &str, reach: Reach) -> Vec<&'a str> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut next: VecDeque<_> = self.used_by(id, reach).into();
        while let Some(package) = next.pop_front() {
            if seen.insert(package.id.as_str()) {
                found.push(package.name.as_str());
                next.extend(self.used_by(&package.id, Reach::Library));
            }
        }
        found
    }
}

fn names<'a>(packages: &[&'a Package]) -> Vec<&'a str> {
    packages.iter().map(|package| package.name.as_str()).collect()
}
