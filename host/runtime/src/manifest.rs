//! `plugin.toml`: what a plugin says of itself, and what it wants to be granted.

use serde::Deserialize;

use crate::tcp::TcpRule;

/// The version of package `grove:plugin` that this controller speaks.
pub const WORLD: &str = "0.1.0";

/// Longest manifest that is read, in bytes.
pub const MAX_MANIFEST: usize = 256 << 10;

/// A plugin's manifest, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// How workers and config refer to the plugin: 1 to 64 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// What the plugin is.
    pub kind: Kind,
    /// The plugin's own version, for people.
    pub version: String,
    /// The version of package `grove:plugin` it was built for.
    pub world: String,
    /// One line for people.
    pub summary: String,
    /// Name of the component, a file beside the manifest.
    pub component: String,
    /// The grants it wants.
    pub wants: Wants,
    /// JSON schema of its settings, if it has any; shown to people.
    pub config_schema: Option<serde_json::Value>,
}

/// The three kinds of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Decides who gets which board.
    Policy,
    /// Knows how to handle one kind of board.
    Driver,
    /// Turns an inventory into capabilities.
    Inspector,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Policy => "policy",
            Kind::Driver => "driver",
            Kind::Inspector => "inspector",
        })
    }
}

/// Section `[wants]`: what the plugin asks of the admin. Everything is off when left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wants {
    /// Commands and files on the worker's own supervisor.
    #[serde(default)]
    pub ssh: bool,
    /// Names of serial ports.
    #[serde(default)]
    pub serial: Vec<String>,
    /// Names of secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Cache groups whose artifacts it may read; `*` = whichever are granted.
    #[serde(default)]
    pub storage: Vec<String>,
    /// TCP peers.
    #[serde(default)]
    pub tcp: Vec<TcpRule>,
    /// Memory of one instance in MiB.
    pub memory_mib: Option<u32>,
    /// Longest running time of one call in milliseconds; waiting for the host does not count.
    pub call_ms: Option<u64>,
}

/// Why a manifest was refused. The text names the file, the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field}: {text}")]
pub struct ManifestError {
    /// The file, as the caller named it.
    pub file: String,
    /// The field, as `section.key`; or the line, when the text is not even TOML.
    pub field: String,
    /// What is wrong and what to do.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plugin: Plugin,
    #[serde(default)]
    wants: Wants,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    kind: Kind,
    version: String,
    world: String,
    #[serde(default)]
    summary: String,
    component: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    schema: Option<String>,
}

impl Manifest {
    /// Reads a manifest. `file` is only for the texts of errors.
    pub fn parse(text: &str, file: &str) -> Result<Manifest, ManifestError> {
        let refuse = |field: &str, text: String| ManifestError {
            file: file.to_owned(),
            field: field.to_owned(),
            text,
        };
        if text.len() > MAX_MANIFEST {
            return Err(refuse("the file", format!("is longer than {} KiB; shorten it", MAX_MANIFEST >> 10)));
        }
        let read: File = toml::from_str(text).map_err(|error| {
            let (field, hint) = place(text, &error);
            refuse(&field, format!("{}{hint}", error.message().trim_end()))
        })?;
        let File { plugin, wants, config } = read;

        let name_ok = (1..=64).contains(&plugin.name.len())
            && plugin.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !name_ok {
            let text =
                format!("`{}` is not a name; use 1 to 64 of a-z, 0-9 and `-`", plugin.name.escape_debug());
            return Err(refuse("plugin.name", text));
        }
        let component_ok = plugin.component.len() > 5
            && plugin.component.ends_with(".wasm")
            && !plugin.component.starts_with('.')
            && !plugin.component.contains(['/', '\\', '\0']);
        if !component_ok {
            let text = "must be the name of a .wasm file beside the manifest, without any folder".to_owned();
            return Err(refuse("plugin.component", text));
        }
        if plugin.version.is_empty() || plugin.version.len() > 64 {
            return Err(refuse("plugin.version", "must have 1 to 64 characters".to_owned()));
        }
        if !same_world(&plugin.world) {
            let text = format!(
                "`{}` is not offered; this controller speaks grove:plugin {WORLD}: rebuild the plugin for it",
                plugin.world.escape_debug()
            );
            return Err(refuse("plugin.world", text));
        }
        if plugin.kind != Kind::Driver {
            for (field, wanted) in [
                ("wants.ssh", wants.ssh),
                ("wants.serial", !wants.serial.is_empty()),
                ("wants.secrets", !wants.secrets.is_empty()),
                ("wants.storage", !wants.storage.is_empty()),
                ("wants.tcp", !wants.tcp.is_empty()),
            ] {
                if wanted {
                    let text = format!(
                        "only drivers can be granted this, and the plugin is of kind {}; remove it",
                        plugin.kind
                    );
                    return Err(refuse(field, text));
                }
            }
        }
        if wants.memory_mib == Some(0) {
            return Err(refuse(
                "wants.memory_mib",
                "must be at least 1; leave it out for the default".to_owned(),
            ));
        }
        if wants.call_ms == Some(0) {
            return Err(refuse(
                "wants.call_ms",
                "must be at least 1; leave it out for the default".to_owned(),
            ));
        }
        let config_schema = match config.schema {
            None => None,
            Some(schema) => Some(serde_json::from_str(&schema).map_err(|error| {
                refuse("config.schema", format!("is not JSON ({error}); write a JSON schema"))
            })?),
        };
        Ok(Manifest {
            name: plugin.name,
            kind: plugin.kind,
            version: plugin.version,
            world: plugin.world,
            summary: plugin.summary,
            component: plugin.component,
            wants,
            config_schema,
        })
    }
}

/// Patch versions of a released world only correct its text, so 0.1.x is 0.1.0.
fn same_world(world: &str) -> bool {
    let mut parts = world.split('.');
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    (major, minor) == (Some("0"), Some("1"))
        && patch.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
        && parts.next().is_none()
}

/// Finds the key that an error of the TOML reader is about: the last section before it and the key of its line.
fn place(text: &str, error: &toml::de::Error) -> (String, String) {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or("");
    let line_no = before.matches('\n').count() + 1;
    let line = text.lines().nth(line_no - 1).unwrap_or("").trim();
    let section = |line: &str| line.strip_prefix('[').and_then(|l| l.split(']').next()).map(str::to_owned);
    let inside = before.lines().rev().find_map(|l| section(l.trim()));
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let field = match (inside, key, section(line)) {
        (_, None, Some(section)) => section,
        (Some(inside), Some(key), _) => format!("{inside}.{key}"),
        (None, Some(key), _) => key.to_owned(),
        _ => "the file".to_owned(),
    };
    let hint = if error.message().starts_with("unknown field") {
        "; correct its name or remove it"
    } else if error.message().starts_with("missing field") {
        "; add it"
    } else {
        ""
    };
    (format!("{field} (line {line_no})"), hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[plugin]
name = "ssh"
kind = "driver"
version = "0.1.0"
world = "0.1.0"
summary = "boards behind ssh"
component = "driver-ssh.wasm"
[wants]
ssh = true
serial = ["console"]
secrets = ["name"]
tcp = ["10.0.0.0/8:22"]
memory_mib = 64
call_ms = 60000
[config]
schema = '''{"type": "object"}'''
"#;

    fn refusal(from: &str, to: &str) -> String {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "the replacement must change something");
        Manifest::parse(&text, "plugin.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_full_manifest_is_read() {
        let manifest = Manifest::parse(GOOD, "plugin.toml").unwrap();
        assert_eq!((manifest.name.as_str(), manifest.kind), ("ssh", Kind::Driver));
        assert!(manifest.wants.ssh);
        assert_eq!(manifest.wants.tcp.len(), 1);
        assert!(manifest.config_schema.is_some());
    }

    #[test]
    fn refusals_name_file_field_and_remedy() {
        for (from, to, needles) in [
            ("kind =", "kinds =", &["plugin.toml", "plugin.kinds", "unknown field", "correct its name"][..]),
            ("[wants]", "[wanted]", &["wanted", "unknown field"]),
            ("memory_mib", "memory", &["wants.memory", "unknown field"]),
            ("\"driver\"", "\"drive\"", &["plugin.kind", "unknown variant"]),
            ("version = \"0.1.0\"\n", "", &["missing field `version`", "add it"]),
            ("\"ssh\"", "\"SSH\"", &["plugin.name", "a-z"]),
            ("driver-ssh.wasm", "../x.wasm", &["plugin.component", "beside the manifest"]),
            ("world = \"0.1.0\"", "world = \"0.2.0\"", &["plugin.world", "grove:plugin 0.1.0"]),
            ("10.0.0.0/8:22", "host", &["wants.tcp"]),
            ("{\"type\"", "{type", &["config.schema", "not JSON"]),
            ("memory_mib = 64", "memory_mib = 0", &["wants.memory_mib", "at least 1"]),
            ("memory_mib = 64", "memory_mib = -1", &["wants.memory_mib"]),
            ("\"driver\"", "\"policy\"", &["wants.ssh", "only drivers"]),
        ] {
            let refusal = refusal(from, to);
            for needle in needles {
                assert!(refusal.contains(needle), "`{needle}` is missing in: {refusal}");
            }
        }
    }
}
