//! Plugins as a controller compiles them, which takes a debug build seconds: one does it, and others begin with its work.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use xtask::project::Project;

use crate::built;
use crate::grove::{grove_command, ready};
use crate::wait::PATIENCE;

/// Where it is in a state folder.
const CODE: &str = "cache/code";
/// Between two looks at whether it is there.
const PAUSE: Duration = Duration::from_millis(20);

/// Puts it into a state folder that no controller has used yet.
pub fn give(state: &Path) {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compiled = COMPILED.get_or_init(compiled);
    let code = state.join(CODE);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&code).unwrap();
    for file in fs::read_dir(compiled).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), code.join(file.file_name())).unwrap();
    }
}

/// The folder of what this binary made of its plugins, which outlives the tests. A controller makes it where it is not there.
fn compiled() -> PathBuf {
    let all = Project::find().unwrap().target.join("compiled");
    let built = fs::metadata(built::binary()).unwrap().modified().unwrap();
    let compiled = all.join(built.duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string());
    if compiled.is_dir() {
        return compiled;
    }
    // That of an earlier binary is of no more use. Nothing depends on its going.
    let _ = fs::remove_dir_all(&all);
    fs::create_dir_all(&all).unwrap();
    let home = tempfile::tempdir_in(&all).unwrap();
    let config = home.path().join("grove.toml");
    fs::write(&config, "listen = \"127.0.0.1:0\"\n[keys]\npool = 0\n").unwrap();
    let mut command = grove_command(home.path());
    command.arg("serve").arg("--config").arg(&config).arg("--state").arg(home.path());
    let (mut controller, _) = ready(&mut command, String::new);
    let code = home.path().join(CODE);
    let is_whole = |file: &fs::DirEntry| file.path().extension().is_some_and(|kind| kind == "code");
    let count = || fs::read_dir(&code).unwrap().map(Result::unwrap).filter(is_whole).count();
    let plugins = built::plugins();
    let mut looks = PATIENCE.as_millis() / PAUSE.as_millis();
    while count() < plugins {
        looks = looks.checked_sub(1).expect("waited too long for compiled plugins");
        sleep(PAUSE);
    }
    controller.kill();
    fs::rename(&code, &compiled).unwrap();
    compiled
}
