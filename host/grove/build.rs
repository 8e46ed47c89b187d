//! Puts the first-party plugins into the binary when `GROVE_BUNDLE` names the folder they were built into.
//! Without it the binary looks for a plugin folder when it starts.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=GROVE_BUNDLE");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?);
    let mut code = String::from("&[\n");
    if let Some(folder) = env::var_os("GROVE_BUNDLE") {
        println!("cargo::rerun-if-changed={}", Path::new(&folder).display());
        for plugin in entries(Path::new(&folder))? {
            if plugin.is_dir() {
                code.push_str(&bundle(&plugin)?);
            }
        }
    }
    code.push_str("]\n");
    fs::write(out.join("bundle.rs"), code)
}

fn bundle(plugin: &Path) -> io::Result<String> {
    let manifest = plugin.join("plugin.toml");
    let component = entries(plugin)?
        .into_iter()
        .find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
        .ok_or_else(|| io::Error::other(format!("{} holds no .wasm file", plugin.display())))?;
    for file in [&manifest, &component] {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(format!("    (include_str!({manifest:?}), include_bytes!({component:?})),\n"))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
