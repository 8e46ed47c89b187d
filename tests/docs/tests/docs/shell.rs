//! A reader's terminal: one bash that keeps its variables from command to command, in a home of its own, with the
//! root of the project as its folder; and one controller in the background.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use grove_tests_kit::{built, compiled};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use xtask::project::Project;

use crate::compare;

/// Only a hang takes this long: some commands build.
const HANG: Duration = Duration::from_secs(1200);
/// Where a controller listens when nothing else is said. On a page it stands for the one of that page.
const DEFAULT: &str = "127.0.0.1:8487";
/// What a controller says when it serves.
const READY: &str = "grove: listening on http://";
/// Ends the output of a command.
const END: &str = "--- the command ended with";

/// What a controller on this page has beside what the page says: ports that nobody else uses, few keys.
const CONFIG: &str = "listen = \"127.0.0.1:0\"\n[keys]\npool = 2\n";

/// The terminal.
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    home: TempDir,
    controller: Option<Controller>,
    /// Where the controller of this page listens.
    address: String,
    /// Words of the page that stand for something of this machine.
    stands_for: Vec<(String, String)>,
}

impl Shell {
    pub(crate) fn open(stands_for: &[(&str, String)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        programs(home.path());
        compiled::give(&home.path().join(".local/state/grove"));
        std::fs::write(home.path().join("test.toml"), CONFIG).unwrap();
        let mut child = bash(home.path())
            .args(["--noprofile", "--norc", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no bash; on Debian: apt-get install bash");
        let lines = lines(child.stdout.take().unwrap());
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "exec 2>&1").unwrap();
        let stands_for = stands_for.iter().map(|(word, text)| ((*word).to_owned(), text.clone())).collect();
        Self { child, input, lines, home, controller: None, address: DEFAULT.to_owned(), stands_for }
    }

    /// The reader's home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command to its end; its exit code and what it printed.
    pub(crate) fn run(&mut self, command: &str) -> (i32, String) {
        let command = self.translated(command);
        writeln!(self.input, "{{ {command}\n}} </dev/null\nprintf '\\n{END} %s\\n' $?").unwrap();
        let mut printed = String::new();
        loop {
            match self.lines.recv_timeout(HANG) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(code) => return (code.trim().parse().unwrap(), printed),
                    None => printed.push_str(&(line + "\n")),
                },
                Err(RecvTimeoutError::Timeout) => panic!("{command} does not end; it printed\n{printed}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{command} ended the shell; it printed\n{printed}")
                }
            }
        }
    }

    /// Runs a command on a terminal of its own, where these lines are typed.
    pub(crate) fn type_into(&mut self, command: &str, typed: &[String]) -> (i32, String) {
        let keys = self.home().join("keys");
        std::fs::write(&keys, typed.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let command = self.translated(command).replace('\'', "'\\''");
        let keys = keys.display();
        self.run(&format!("cat {keys} | TERM=dumb script -q -e -c '{command}' /dev/null"))
    }

    /// Starts a controller that goes on in the background, in the place of the last one, and waits until it has said
    /// what is shown.
    pub(crate) fn start(&mut self, command: &str, shown: &[String]) {
        self.controller = None;
        let command = self.translated(command);
        let log = self.home().join("log");
        let mut bash = bash(self.home());
        bash.args(["--noprofile", "--norc", "-c", &format!("exec {command}")]).process_group(0);
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut controller = Controller(bash.spawn().unwrap());
        let lines = lines(controller.0.stdout.take().unwrap());
        let mut printed = String::new();
        loop {
            let Ok(line) = lines.recv_timeout(HANG) else {
                let log = std::fs::read_to_string(&log).unwrap();
                panic!("{command} printed\n{printed}{log}\nand not: {:?}", compare::missing(shown, &printed));
            };
            if let Some(address) = line.strip_prefix(READY) {
                self.address = address.trim().to_owned();
            }
            printed.push_str(&(line + "\n"));
            if printed.contains(READY) && compare::missing(shown, &printed).is_none() {
                break;
            }
        }
        self.controller = Some(controller);
        let (code, said) = self.run(&format!("export GROVE_SERVER=http://{DEFAULT}"));
        assert_eq!(code, 0, "{said}");
    }

    /// What the words of the page stand for.
    fn translated(&self, text: &str) -> String {
        let own = [(DEFAULT.to_owned(), self.address.clone())];
        self.stands_for.iter().chain(&own).fold(text.to_owned(), |text, (word, is)| text.replace(word, is))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.home().join("log"))
        {
            eprintln!("--- the controller said:\n{log}");
        }
        self.controller = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A controller; it ends as Ctrl-C would end it.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::INT);
        }
        let _ = self.0.wait();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (say, said) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if say.send(line).is_err() {
                return;
            }
        }
    });
    said
}

/// A bash in that home, with nothing of the environment that a page does not speak of.
fn bash(home: &Path) -> Command {
    let mut bash = Command::new("bash");
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["GROVE_", "XDG_", "SSH_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start))
    });
    for name in own {
        bash.env_remove(name);
    }
    let user = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        bash.env(name, std::env::var_os(name).unwrap_or_else(|| user.join(folder).into()));
    }
    let path = std::env::var("PATH").unwrap();
    bash.env("PATH", format!("{}:{path}", home.join("bin").display()));
    bash.env("HOME", home).env("NO_COLOR", "1").current_dir(crate::root());
    bash
}

/// `grove`, and `cargo` as the reader has it. Controllers get a port of their own, so that pages can be walked side by
/// side; plugins come to be in their own `target`, as they do for a reader, but share what is built on the way. The demo
/// is of the binary that is tested.
fn programs(home: &Path) {
    let bin = home.join("bin");
    std::fs::create_dir(&bin).unwrap();
    // Cargo names itself to the tests that it runs. Only a whole path will do: `cargo` would find this very script.
    let cargo = std::env::var("CARGO").expect("CARGO is not set: run the tests with `cargo test`");
    let (grove, config) = (built::binary(), home.join("test.toml"));
    let (grove, config) = (grove.display(), config.display());
    let target = Project::find().unwrap().target;
    let target = target.display();
    let programs = [
        (
            "grove",
            format!(
                "case \"$1\" in serve | demo) exec '{grove}' \"$@\" --listen 127.0.0.1:0 ;; esac\nexec '{grove}' \"$@\""
            ),
        ),
        (
            "cargo",
            format!(
                "unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR\ncase \"$1\" in\n\
                 xtask) export CARGO_TARGET_DIR='{target}' GROVE_CONFIG='{config}' GROVE_BIN='{grove}' ;;\n\
                 *) export CARGO_BUILD_BUILD_DIR='{target}/examples' ;;\nesac\nexec '{cargo}' \"$@\""
            ),
        ),
    ];
    for (name, text) in programs {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
