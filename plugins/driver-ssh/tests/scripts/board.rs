//! A board in a folder: a home, the tools, and what stands in for the user database.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Whose tools the scripts meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tools {
    System,
    Busybox,
}

pub(crate) const BOTH: [Tools; 2] = [Tools::System, Tools::Busybox];

pub(crate) struct Board {
    folder: TempDir,
    path: String,
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Board {
    pub(crate) fn new(tools: Tools) -> Self {
        let folder = TempDir::new().expect("a folder");
        for name in ["home", "stand-ins", "busybox"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let stand_ins = folder.path().join("stand-ins");
        let path = match tools {
            Tools::System => format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", stand_ins.display()),
            Tools::Busybox => {
                let applets = folder.path().join("busybox");
                install_busybox(&applets);
                format!("{}:{}", stand_ins.display(), applets.display())
            }
        };
        Self { folder, path }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.home().join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        fs::write(file, text).expect("a file");
    }

    /// Puts a script in front of a tool of that name.
    pub(crate) fn stand_in(&self, name: &str, text: &str) {
        let file = self.folder.path().join("stand-ins").join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a stand-in");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// A place outside of the home.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, script: &str, words: &[&str], stdin: &str) -> Done {
        let mut child = Command::new("sh")
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home())
            .args(["-c", script, "grove"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh");
        // A script that does not read may be gone already.
        let _ = child.stdin.take().expect("stdin").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("an end");
        Done {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The names in a folder of the home, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.file(path)).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.file(path)).expect("a file").permissions().mode() & 0o7777
    }
}

impl Done {
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }
}

fn install_busybox(into: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|file| Path::new(file).is_file());
    let busybox = busybox.expect("these tests need busybox; on Debian: apt-get install busybox");
    let applets = Command::new(busybox).arg("--list").output().expect("busybox").stdout;
    for applet in String::from_utf8_lossy(&applets).lines() {
        symlink(busybox, into.join(applet)).expect("an applet");
    }
}
