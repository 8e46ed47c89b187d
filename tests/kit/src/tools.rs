//! Programs of the machine.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a tool that must succeed; returns what it printed.
pub fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{name}: {error}; on Debian: apt-get install openssh-client openssh-server util-linux coreutils"
        )
    });
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Who runs the tests.
pub fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

/// Whether that is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes an ed25519 pair `name`, `name.pub` in the folder; returns the public line.
pub fn make_key(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path));
    std::fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

/// Makes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
