//! What a plugin may do: what its manifest wants **and** the admin allows. Nothing is allowed by default.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::manifest::{Kind, Manifest, Wants};
use crate::tcp::{Resolved, TcpRule};

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
    wants: Wants,
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
            wants: wants.clone(),
            granted_tcp: grants.tcp.clone(),
        }
    }

    /// Whether artifacts of this cache group may be read.
    pub fn allows_storage(&self, group: &str) -> bool {
        self.storage.contains(ANY_GROUP) || self.storage.contains(group)
    }

    /// Whether any TCP peer at all may be reachable.
    pub fn has_tcp(&self) -> bool {
        !self.wants.tcp.is_empty() && !self.granted_tcp.is_empty()
    }

    /// Whether this peer may be reached: some wish and some grant must both cover it, where names stand for what they were
    /// resolved to.
    pub(crate) fn allows_tcp(&self, peer: SocketAddr, resolved: &Resolved) -> bool {
        self.wants.tcp.iter().any(|rule| rule.allows(peer, resolved))
            && self.granted_tcp.iter().any(|rule| rule.allows(peer, resolved))
    }

    /// Whether this name may be resolved: some wish and some grant must both cover it.
    pub(crate) fn allows_name(&self, name: &str) -> bool {
        self.wants.tcp.iter().any(|rule| rule.names(name))
            && self.granted_tcp.iter().any(|rule| rule.names(name))
    }

    /// TCP peers that are granted; of these it reaches what its manifest wants.
    pub fn granted_tcp(&self) -> &[TcpRule] {
        if self.has_tcp() { &self.granted_tcp } else { &[] }
    }

    /// The refusal of an import that needs this wish and grant; `wanted` is what the manifest says, if it says it.
    fn lacks(&self, field: &'static str, wanted: Option<impl Serialize>) -> Refusal {
        match wanted.and_then(|wanted| toml::Value::try_from(wanted).ok()) {
            Some(wanted) => Refusal::NotGranted(format!("{field} = {wanted}")),
            None => Refusal::NotWanted(field),
        }
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
            (Kind::Driver, "grove:plugin/ssh") => Err(self.lacks("ssh", self.wants.ssh.then_some(true))),
            (Kind::Driver, "grove:plugin/secrets") if !self.secrets.is_empty() => Ok(()),
            (Kind::Driver, "grove:plugin/secrets") => Err(self.lacks("secrets", some(&self.wants.secrets))),
            (Kind::Driver, "grove:plugin/storage") if !self.storage.is_empty() => Ok(()),
            (Kind::Driver, "grove:plugin/storage") => Err(self.lacks("storage", some(&self.wants.storage))),
            (Kind::Driver, "grove:plugin/serial") => Err(Refusal::NotOffered),
            (Kind::Driver, other) if other.starts_with("wasi:http/") => Err(Refusal::NotOffered),
            (Kind::Driver, "wasi:sockets/udp" | "wasi:sockets/udp-create-socket") if self.has_tcp() => {
                // Linked, since guests' socket libraries import them, but every use is denied.
                Ok(())
            }
            (Kind::Driver, other) if other.starts_with("wasi:sockets/") => {
                if self.has_tcp() {
                    Ok(())
                } else {
                    Err(self.lacks("tcp", some(&self.wants.tcp)))
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

/// A list that holds something.
fn some<T>(list: &[T]) -> Option<&[T]> {
    Some(list).filter(|list| !list.is_empty())
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The manifest does not ask for it; holds the field of `[wants]`.
    NotWanted(&'static str),
    /// The manifest asks for it, and it is not granted; holds the line to write.
    NotGranted(String),
    /// Part of the contract, but not of this controller.
    NotOffered,
    /// Plugins of this kind decide from their inputs alone.
    NotForKind(Kind),
    /// Nothing that a controller knows.
    Unknown,
}

impl Refusal {
    /// What is wrong with an import of this plugin, and what to do.
    pub(crate) fn of<'a>(&'a self, plugin: &'a str) -> impl std::fmt::Display + 'a {
        std::fmt::from_fn(move |f| match self {
            Refusal::NotWanted(field) => {
                write!(f, "its manifest does not ask for it; write {field} = … in the [wants] of plugin.toml")
            }
            Refusal::NotGranted(line) => {
                write!(
                    f,
                    "it is not granted; write `{line}` below [plugins.grants.{plugin}] in the configuration"
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
        })
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
        let allows = |peer: &str| some.allows_tcp(peer.parse().unwrap(), &Resolved::default());
        assert!(allows("10.1.2.3:22"));
        assert!(!allows("10.2.2.3:22"), "wanted but not granted");
        assert!(!allows("10.1.2.3:23"), "granted but not wanted");
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
            ("grove:plugin/ssh@0.1.0", Refusal::NotWanted("ssh")),
            ("grove:plugin/serial@0.1.0", Refusal::NotOffered),
            ("grove:plugin/storage@0.1.0", Refusal::NotWanted("storage")),
            ("wasi:http/outgoing-handler@0.2.0", Refusal::NotOffered),
            ("wasi:sockets/tcp@0.2.9", Refusal::NotWanted("tcp")),
            ("evil:thing/it", Refusal::Unknown),
        ] {
            assert_eq!(nothing.admits(Kind::Driver, import), Err(refusal), "{import}");
        }
        let wanted = "ssh=true\nsecrets=['a','b']\nstorage=['*']\ntcp=['plug7.lab:80']";
        let wanted = Effective::of(&manifest(wanted), &Grants::default());
        for (import, line) in [
            ("grove:plugin/ssh@0.1.0", "ssh = true"),
            ("grove:plugin/secrets@0.1.0", r#"secrets = ["a", "b"]"#),
            ("grove:plugin/storage@0.1.0", r#"storage = ["*"]"#),
            ("wasi:sockets/tcp@0.2.9", r#"tcp = ["plug7.lab:80"]"#),
        ] {
            let refusal = wanted.admits(Kind::Driver, import).unwrap_err();
            assert_eq!(refusal, Refusal::NotGranted(line.to_owned()), "{import}");
            let text = refusal.of("relay").to_string();
            assert!(text.contains(line) && text.contains("[plugins.grants.relay]"), "{text}");
        }
    }
}
