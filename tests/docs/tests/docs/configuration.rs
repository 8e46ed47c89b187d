//! The configuration: what pages and examples show is accepted, and every field that there is has its words.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use grove_tests_kit::grove::{grove_command, signal, wait_for};
use rustix::process::Signal;

/// Whether a controller starts with this configuration. Whatever it names must be there.
pub(crate) fn accepted(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grove.toml");
    // Folders of the reader's are ours here.
    let text = text.replace("/var/lib/grove", &folder.path().display().to_string());
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let mut command = grove_command(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let secrets = folder.path().join("state/secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("enrol"), "sixteen-or-more-characters").unwrap();
    std::fs::set_permissions(secrets.join("enrol"), std::fs::Permissions::from_mode(0o600)).unwrap();
    command.arg("--state").arg(folder.path().join("state")).stderr(Stdio::piped());
    let mut grove = command.stdout(Stdio::piped()).spawn().unwrap();
    // It either says that it listens, or says why not and ends.
    let out = grove.stdout.take().unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut first).unwrap();
    if first.starts_with("grove: listening") {
        signal(&grove, Signal::TERM);
        let status = wait_for(&mut grove, "grove");
        return if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) };
    }
    let output = grove.wait_with_output().unwrap();
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Fields of the configuration, from the source, but for those that no file can say.
fn fields() -> BTreeSet<String> {
    let source = crate::read(Path::new("host/grove/src/serve/config.rs"));
    let mut fields = BTreeSet::new();
    let (mut inside, mut skipped) = (false, false);
    for line in source.lines() {
        if line.contains("struct ") && line.ends_with('{') {
            inside = true;
        } else if line == "}" {
            inside = false;
        } else if inside && line.trim() == "#[serde(skip)]" {
            skipped = true;
        } else if inside {
            let field = line.trim().trim_start_matches("pub(crate) ");
            if let Some((name, _)) = field.split_once(": ")
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                && !std::mem::take(&mut skipped)
            {
                fields.insert(name.to_owned());
            }
        }
    }
    fields
}

#[test]
fn the_example_is_accepted_and_names_every_field() {
    let text = crate::read(Path::new("examples/grove.toml"));
    accepted(&text).unwrap();
    // Also with every example line made a setting: what is commented out must be right too.
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(all, text, "some lines are examples, after `#: `");
    accepted(&all).unwrap();
    let words: BTreeSet<&str> = all
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    let fields = fields();
    assert!(fields.len() > 40, "the fields are found: {fields:?}");
    let missing: Vec<_> = fields.iter().filter(|field| !words.contains(field.as_str())).collect();
    assert!(missing.is_empty(), "examples/grove.toml says nothing of {missing:?}");
}

#[test]
fn the_reference_names_every_field() {
    let page = crate::read(Path::new("docs/admin.md"));
    // `listen`, `owner.name`, and the table of `jobs.length`.
    let named = |field: &str| {
        let forms = [format!("`{field}`"), format!(".{field}`"), format!("`{field}."), format!(".{field}.")];
        forms.iter().any(|form| page.contains(form))
    };
    let missing: Vec<_> = fields().into_iter().filter(|field| !named(field)).collect();
    assert!(missing.is_empty(), "docs/admin.md says nothing of {missing:?}");
}

#[test]
fn a_misspelt_field_is_refused_by_name() {
    let error = accepted("[jobs]\nlenght = \"1h\"\n").unwrap_err();
    assert!(error.contains("lenght") && error.contains("length"), "{error}");
}
