//! What is tested: the binary with the plugins in it, and the guests.

use std::path::PathBuf;
use std::sync::OnceLock;

use xtask::bundle;
use xtask::project::Project;

/// The `grove` binary, with the plugins in it. Builds it (once per process; cargo knows what is stale), unless
/// `GROVE_BIN` says where it already is.
pub fn binary() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, bundle::BIN, |project| {
        bundle::plugins(project)?;
        bundle::host(project, false)?;
        Ok(project.binary())
    })
}

/// The folder of built test guests. Builds them first, unless `GROVE_GUESTS` says where they already are.
pub fn guests() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, bundle::GUESTS, |project| {
        bundle::guests(project)?;
        Ok(project.built_guests())
    })
}

fn built(
    once: &OnceLock<Result<PathBuf, String>>,
    variable: &str,
    build: impl Fn(&Project) -> Result<PathBuf, Box<dyn std::error::Error>>,
) -> PathBuf {
    let built = once.get_or_init(|| {
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
        let project = Project::find().map_err(|error| format!("{error:#}"))?;
        build(&project).map_err(|error| error.to_string())
    });
    match built {
        Ok(path) => path.clone(),
        Err(error) => panic!("there is nothing to test: {error}"),
    }
}

/// A first-party plugin as it was built: the text of its manifest, and its component.
pub fn plugin(folder: &str) -> (String, Vec<u8>) {
    let bundle = first_party();
    let read = |file: String| {
        let file = bundle.join(folder).join(file);
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    (String::from_utf8(read("plugin.toml".to_owned())).unwrap(), read(format!("{folder}.wasm")))
}

/// How many first-party plugins there are.
pub fn plugins() -> usize {
    std::fs::read_dir(first_party()).unwrap().count()
}

fn first_party() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, bundle::BUNDLE, |project| {
        bundle::plugins(project)?;
        Ok(project.bundle())
    })
}

/// The same component with another digest: a custom section more, which nobody reads.
pub fn variant(component: &[u8], number: u8) -> Vec<u8> {
    let name = b"variant";
    let mut variant = component.to_vec();
    variant.extend([0, name.len() as u8 + 2, name.len() as u8]);
    variant.extend(name);
    variant.push(number);
    variant
}
