//! What a plugin may do: what its manifest wants **and** the admin allows. Nothing is allowed by default.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::manifest::{Kind, Manifest};
use crate::tcp::TcpRule;

/// Memory of one instance in MiB, for a plugin that does not say or was not allowed more.
pub const DEFAULT_MEMORY_MIB: u32 = 64;

/// Longest running time of one call in milliseconds, for a plugin that does not say or was not allowed more.
pub const DEFAULT_CALL_MS: u64 = 60_000;

/// Stands for every cache group.
const ANY_GROUP: &str = "*";

/// What the admin allows a plugin.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Commands and files on the worker's own supervisor.
    pub ssh: bool,
    /// Names of serial ports.
    pub serial: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// Cache groups whose artifacts it may read; `*` = all.
    pub storage: Vec<String>,
    /// TCP peers.
    pub tcp: Vec<TcpRule>,
    /// Most memory of one instance in MiB; [`DEFAULT_MEMORY_MIB`] if left out.
    pub memory_mib: Option<u32>,
    /// Longest running time of one call in milliseconds; [`DEFAULT_CALL_MS`] if left out.
    pub call_ms: Option<u64>,
}

impl Grants {
    /// Exactly what the manifest wants: for plugins that come with the controller.
    pub fn all_wanted(manifest: &Manifest) -> Grants {
        let wants = &manifest.wants;
        Grants {
            ssh: wants.ssh,
            serial: wants.serial.clone(),
            secrets: wants.secrets.clone(),
            storage: wants.storage.clone(),
            tcp: wants.tcp.clone(),
            memory_mib: wants.memory_mib,
            call_ms: wants.call_ms,
        }
    }
}

/// Wanted and granted: what a loaded plugin really has.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// May use `ssh`.
    pub ssh: bool,
    /// Serial ports it may open.
    pub serial: BTreeSet<String>,
    /// Secrets it may read.
    pub secrets: BTreeSet<String>,
    /// Cache groups whose artifacts it may read; `*` = all. See [`Effective::allows_storage`].
    pub storage: BTreeSet<String>,
    /// Most memory of one instance in bytes.
    pub memory: usize,
    /// Longest running time of one call in milliseconds.
    pub call_ms: u64,
    wanted_tcp: Vec<TcpRule>,
    granted_tcp: Vec<TcpRule>,
}

impl Effective {
    /// The meeting of a manifest's wishes and the admin's grants.
    pub fn of(manifest: &Manifest, grants: &Grants) -> Effective {
        let wants = &manifest.wants;
        let both = |wanted: &[String], granted: &[String]| -> BTreeSet<String> {
            wanted.iter().filter(|name| granted.contains(name)).cloned().collect()
        };
        let mib = wants
            .memory_mib
            .unwrap_or(DEFAULT_MEMORY_MIB)
            .min(grants.memory_mib.unwrap_or(DEFAULT_MEMORY_MIB));
        Effective {
            ssh: wants.ssh && grants.ssh,
            serial: both(&wants.serial, &grants.serial),
            secrets: both(&wants.secrets, &grants.secrets),
            storage: groups(&wants.storage, &grants.storage),
            memory: (mib as usize) << 20,
            call_ms: wants.call_ms.unwrap_or(DEFAULT_CALL_MS).min(grants.call_ms.unwrap_or(DEFAULT_CALL_MS)),
            wanted_tcp: wants.tcp.clone(),
            granted_tcp: grants.tcp.clone(),
        }
    }

    /// Whether artifacts of this cache group may be read.
    pub fn allows_storage(&self, group: &str) -> bool {
        self.storage.contains(ANY_GROUP) || self.storage.contains(group)
    }

    /// Whether any TCP peer at all may be reachable.
    pub fn has_tcp(&self) -> bool {
        !self.wanted_tcp.is_empty() && !self.granted_tcp.is_empty()
    }

    /// Whether this peer may be reached: some wish and some grant must both cover it.
    pub fn allows_tcp(&self, peer: SocketAddr) -> bool {
        self.wanted_tcp.iter().any(|rule| rule.allows(peer))
            && self.granted_tcp.iter().any(|rule| rule.allows(peer))
    }

    /// Decides over one import of a component, before anything of it is instantiated.
    pub(crate) fn admits(&self, kind: Kind, import: &str) -> Result<(), Refusal> {
        let interface = import.split('@').next().unwrap_or(import);
        match (kind, interface) {
            // Types only; they can do nothing.
            (_, "grove:plugin/types" | "grove:plugin/log") => Ok(()),
            (Kind::Policy | Kind::Inspector, _) => Err(Refusal::NotForKind(kind)),
            (Kind::Driver, "grove:plugin/driver-types" | "grove:plugin/task") => Ok(()),
            (Kind::Driver, "grove:plugin/ssh") if self.ssh => Ok(()),
            (Kind::Driver, "grove:plugin/ssh") => Err(Refusal::NotGranted("ssh = true")),
            (Kind::Driver, "grove:plugin/secrets") if !self.secrets.is_empty() => Ok(()),
            (Kind::Driver, "grove:plugin/secrets") => Err(Refusal::NotGranted("secrets = [\"NAME\"]")),
            (Kind::Driver, "grove:plugin/storage") if !self.storage.is_empty() => Ok(()),
            (Kind::Driver, "grove:plugin/storage") => Err(Refusal::NotGranted("storage = [\"GROUP\"]")),
            (Kind::Driver, "grove:plugin/serial") => Err(Refusal::NotOffered),
            (Kind::Driver, other) if other.starts_with("wasi:http/") => Err(Refusal::NotOffered),
            (
                Kind::Driver,
                "wasi:sockets/udp" | "wasi:sockets/udp-create-socket" | "wasi:sockets/ip-name-lookup",
            ) if self.has_tcp() => {
                // Linked, since guests' socket libraries import them all, but every use is denied.
                Ok(())
            }
            (Kind::Driver, other) if other.starts_with("wasi:sockets/") => {
                if self.has_tcp() {
                    Ok(())
                } else {
                    Err(Refusal::NotGranted("tcp = [\"ADDRESS/PREFIX:PORT\"]"))
                }
            }
            (Kind::Driver, other)
                if ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/"]
                    .iter()
                    .any(|inert| other.starts_with(inert)) =>
            {
                Ok(())
            }
            (Kind::Driver, _) => Err(Refusal::Unknown),
        }
    }
}

/// Cache groups that are wanted and granted.
fn groups(wanted: &[String], granted: &[String]) -> BTreeSet<String> {
    let is_any = |groups: &[String]| groups.iter().any(|group| group == ANY_GROUP);
    let (any_wanted, any_granted) = (is_any(wanted), is_any(granted));
    let mut both: BTreeSet<String> =
        wanted.iter().filter(|group| any_granted || granted.contains(group)).cloned().collect();
    if any_wanted {
        both.extend(granted.iter().cloned());
    }
    if !(any_wanted && any_granted) {
        both.remove(ANY_GROUP);
    }
    both
}

/// Why an import is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It must be wanted in the manifest and granted; holds the line to write.
    NotGranted(&'static str),
    /// Part of the contract, but not of this controller.
    NotOffered,
    /// Plugins of this kind decide from their inputs alone.
    NotForKind(Kind),
    /// Nothing that a controller knows.
    Unknown,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NotGranted(line) => {
                write!(
                    f,
                    "it is not granted; write `{line}` in the manifest's [wants] and in the plugin's grants"
                )
            }
            Refusal::NotOffered => {
                f.write_str("this controller does not offer it yet; build the plugin without it")
            }
            Refusal::NotForKind(kind) => write!(
                f,
                "a plugin of kind {kind} may import only grove:plugin/log; build it for wasm32-unknown-unknown or \
                 stub WASI"
            ),
            Refusal::Unknown => f.write_str("this controller does not know it; build the plugin without it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(wants: &str) -> Manifest {
        let text = format!(
            "[plugin]\nname='x'\nkind='driver'\nversion='1'\nworld='0.1.0'\ncomponent='x.wasm'\n[wants]\n{wants}"
        );
        Manifest::parse(&text, "plugin.toml").unwrap()
    }

    #[test]
    fn both_sides_must_agree() {
        let manifest =
            manifest("ssh=true\nsecrets=['a','b']\ntcp=['10.0.0.0/8:22']\nmemory_mib=256\ncall_ms=5");
        let none = Effective::of(&manifest, &Grants::default());
        assert!(!none.ssh && none.secrets.is_empty() && !none.has_tcp());
        assert_eq!(
            (none.memory, none.call_ms),
            (64 << 20, 5),
            "more memory than the default must be granted"
        );

        let grants = Grants {
            ssh: true,
            secrets: vec!["b".into(), "c".into()],
            tcp: vec!["10.1.0.0/16:*".parse().unwrap()],
            memory_mib: Some(128),
            ..Grants::default()
        };
        let some = Effective::of(&manifest, &grants);
        assert!(some.ssh);
        assert_eq!(some.secrets.iter().collect::<Vec<_>>(), ["b"]);
        assert_eq!(some.memory, 128 << 20);
        assert!(some.allows_tcp("10.1.2.3:22".parse().unwrap()));
        assert!(!some.allows_tcp("10.2.2.3:22".parse().unwrap()), "wanted but not granted");
        assert!(!some.allows_tcp("10.1.2.3:23".parse().unwrap()), "granted but not wanted");
        assert_eq!(Effective::of(&manifest, &Grants::all_wanted(&manifest)).memory, 256 << 20);
    }

    #[test]
    fn a_star_stands_for_every_group_of_the_other_side() {
        let of = |wanted: &str, granted: &[&str]| {
            let grants = Grants {
                storage: granted.iter().map(|group| (*group).to_owned()).collect(),
                ..Grants::default()
            };
            Effective::of(&manifest(&format!("storage = {wanted}")), &grants)
        };
        let one = of("['rpi4', 'mine']", &["rpi4", "other"]);
        assert_eq!(
            ["rpi4", "mine", "other", "*"].map(|group| one.allows_storage(group)),
            [true, false, false, false]
        );
        let granted = of("['*']", &["rpi4"]);
        assert_eq!(["rpi4", "mine", "*"].map(|group| granted.allows_storage(group)), [true, false, false]);
        let wanted = of("['rpi4']", &["*"]);
        assert_eq!(["rpi4", "mine", "*"].map(|group| wanted.allows_storage(group)), [true, false, false]);
        assert!(of("['*']", &["*"]).allows_storage("any"));
        assert!(of("['*']", &[]).storage.is_empty() && of("[]", &["*"]).storage.is_empty());
    }

    #[test]
    fn imports_are_admitted_by_kind_and_grant() {
        let nothing = Effective::of(&manifest(""), &Grants::default());
        let ok = |kind, import| nothing.admits(kind, import).is_ok();
        assert!(ok(Kind::Driver, "grove:plugin/log@0.1.0"));
        assert!(ok(Kind::Driver, "wasi:cli/stderr@0.2.9"));
        assert!(!ok(Kind::Policy, "wasi:cli/stderr@0.2.9"));
        assert!(!ok(Kind::Policy, "grove:plugin/task@0.1.0"));
        assert!(!ok(Kind::Inspector, "grove:plugin/secrets@0.1.0"));
        for (import, refusal) in [
            ("grove:plugin/ssh@0.1.0", Refusal::NotGranted("ssh = true")),
            ("grove:plugin/serial@0.1.0", Refusal::NotOffered),
            ("grove:plugin/storage@0.1.0", Refusal::NotGranted("storage = [\"GROUP\"]")),
            ("wasi:http/outgoing-handler@0.2.0", Refusal::NotOffered),
            ("wasi:sockets/tcp@0.2.9", Refusal::NotGranted("tcp = [\"ADDRESS/PREFIX:PORT\"]")),
            ("evil:thing/it", Refusal::Unknown),
        ] {
            assert_eq!(nothing.admits(Kind::Driver, import), Err(refusal), "{import}");
        }
    }
}
