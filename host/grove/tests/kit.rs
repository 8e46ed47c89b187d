//! Runs the command line against a canned farm.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) use crate::canned::Farm;

pub(crate) const BOARD: &str = "01900000-0000-7000-8000-000000000001";
pub(crate) const TASK: &str = "01900000-0000-7000-8000-00000000000a";
/// Longest wait for something that must happen: only a hang takes this long.
const HANG: Duration = Duration::from_secs(60);

/// So long before now (or after, when it begins with a minus), for outputs that tell times from now.
pub(crate) fn ago(length: &str) -> String {
    let (sign, length) = length.strip_prefix('-').map_or((1, length), |length| (-1, length));
    let seconds = length.parse::<grove_wire::Span>().unwrap().as_secs();
    let length = SignedDuration::from_secs(sign * i64::try_from(seconds).unwrap());
    #[expect(clippy::disallowed_methods, reason = "the command line under test takes the same clock")]
    let now = Timestamp::now();
    (now - length).to_string()
}

pub(crate) fn worker(state: &str) -> Value {
    json!({
        "uuid": BOARD, "state": state, "since": ago("3m30s"), "reason": null, "driver": "ssh",
        "driver_version": null, "driver_config": {"host": "10.0.0.7", "port": 22}, "host": "rack2", "introspection": null, "notes": null, "groups": ["lab"],
        "capabilities": {"board": "rpi4", "uart": "2", "UUID": BOARD},
        "sources": {"agent": {"board": "rpi3", "uart": "2"}, "introspected": {}, "admin": {"board": "rpi4"}},
        "health": {"ok": true, "checked_at": ago("90s"), "note": ""}, "job": null, "task": null,
        "recovery": null, "drain": false, "generation": 3, "revision": 7,
    })
}

pub(crate) fn request(state: &str) -> Value {
    json!({
        "id": 42, "state": state, "since": ago("90s"), "reason": null, "owner": "local",
        "wants": ["board=rpi4", "uart=2.."], "priority": 8, "position": null, "created": ago("90s"),
        "valid_after": ago("90s"), "deadline": ago("-30d1h"), "for": "1h", "heartbeat": "10s", "away": null, "idle": null,
        "extend": false, "hints": {}, "reserved": null, "job": null, "ended_by": null, "revision": 1,
    })
}

/// A request in the queue, and why.
pub(crate) fn waiting(position: u64, why: &str) -> Value {
    let mut request = request("waiting");
    request["position"] = position.into();
    request["why"] = match why {
        "" => json!([]),
        why => json!([{"code": "no_idle_worker", "text": why, "worker": null, "until": null}]),
    };
    request
}

/// A request whose job runs.
pub(crate) fn running(host_keys: &[&str]) -> Value {
    let mut request = request("in_progress");
    request["job"] = job("running");
    request["job"]["access"]["host_keys"] = host_keys.into();
    request
}

pub(crate) fn job(state: &str) -> Value {
    let access = json!({"host": "farm.example", "port": 20007, "user": "boruta-user", "host_keys": []});
    json!({
        "id": 42, "worker": BOARD, "state": state, "opened": ago("3m30s"), "timeout": ago("-56m30s"),
        "ended": null, "prolongs": 0, "away_since": null, "unreachable_since": null, "kept": false, "ended_by": null,
        "reason": null, "access": access,
    })
}

/// A request whose job has ended.
pub(crate) fn ended(state: &str, reason: Option<&str>, time_was_up: bool) -> Value {
    let mut request = request(state);
    request["reason"] = reason.into();
    request["job"] = job("ended");
    request["job"]["access"] = Value::Null;
    request["job"]["ended"] = ago("1s").into();
    request["job"]["timeout"] = if time_was_up { ago("2s") } else { ago("-1h") }.into();
    request
}

pub(crate) fn task() -> Value {
    json!({
        "id": TASK, "worker": BOARD, "kind": "prepare", "request": null, "driver": "ssh", "phase": "running",
        "steps": [
            {"kind": "driver", "name": "clean user", "started": ago("200s"), "ended": ago("80s"), "outcome": "success"},
            {"kind": "driver", "name": "reboot", "started": ago("3h30m30s"), "ended": null, "outcome": null},
        ],
        "progress": 40, "note": "waiting for the board", "error": null, "queued": ago("4m30s"),
        "started": ago("3m30s"), "ended": null, "deadline": ago("-5m30s"),
    })
}

pub(crate) const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(crate) const NEWER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// A driver with two versions, of which the newer is on probation.
pub(crate) fn plugin() -> Value {
    let version = |digest: &str, version: &str, active: bool, pinned: u64| {
        json!({
            "digest": digest, "version": version, "world": "0.1.0", "summary": "a driver",
            "origin": if active { "installed" } else { "built_in" }, "installed": ago("3m30s"), "active": active,
            "pinned_workers": pinned, "grants": ["ssh"], "trouble": null, "config_schema": null,
        })
    };
    json!({
        "name": "hello", "kind": "driver", "state": "active", "active": true, "enabled": true,
        "version": "0.2.0", "digest": NEWER, "world": "0.1.0", "summary": "a driver", "since": ago("3m30s"),
        "previous": {"digest": DIGEST, "version": "0.1.0"},
        "probation": {"until": ago("-1m30s"), "outcomes": 12, "failures": 1}, "grants": ["ssh", "memory 64 MiB"],
        "trouble": null, "config_schema": {"type": "object"},
        "versions": [version(NEWER, "0.2.0", true, 0), version(DIGEST, "0.1.0", false, 2)], "revision": 3,
    })
}

pub(crate) fn items(items: impl Into<Vec<Value>>) -> Value {
    json!({"items": items.into(), "next": null})
}

pub(crate) fn problem(code: grove_wire::Code, detail: &str, hint: Option<&str>) -> Value {
    let problem = grove_wire::Problem::new(code, detail);
    let problem = match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    };
    serde_json::to_value(problem).unwrap()
}

/// A user's surroundings: a home without keys, a `PATH` with a fake ssh in front.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// The fake ssh tells what it was given, then does what the test says.
const FAKE_SSH: &str = r#"#!/bin/sh
previous=
for word in "$@"; do
    printf '%s\n' "$word" >>"$FAKE/argv"
    case "$word" in
        UserKnownHostsFile=*) eval "cp ${word#UserKnownHostsFile=} \"$FAKE/known_hosts\"" ;;
    esac
    if [ "$previous" = -i ]; then cp "$word" "$FAKE/identity"; fi
    if [ "$previous" = -E ]; then log="$word"; fi
    previous="$word"
done
touch "$FAKE/started"
echo >>"$FAKE/attempts"
says() { printf '%s\n' "$1" >>"$log"; }
eval "$FAKE_DO"
"#;

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "fake", "tmp", ".ssh"] {
            std::fs::create_dir(home.path(folder)).unwrap();
        }
        let ssh = home.path("bin/ssh");
        std::fs::write(&ssh, FAKE_SSH).unwrap();
        std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What the fake ssh was given, with the names of temporary files made plain.
    pub(crate) fn ssh_words(&self) -> String {
        let words = self.plain(&self.read("fake/argv"));
        ["-o", "-i", "-F", "-E", "-p"]
            .iter()
            .fold(words, |words, flag| words.replace(&format!("{flag}\n"), &format!("{flag} ")))
    }

    /// How often ssh was started.
    pub(crate) fn attempts(&self) -> usize {
        self.read("fake/attempts").lines().count()
    }

    /// Makes a key of this kind at home; its public line.
    pub(crate) fn make_key(&self, name: &str, kind: &[&str], passphrase: &str) -> String {
        let file = self.path(name);
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-N", passphrase, "-C", "me", "-t"]).args(kind);
        let made = made.arg("-f").arg(&file).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        self.read(&format!("{name}.pub")).trim().to_owned()
    }

    /// Returns once the file is there.
    pub(crate) fn wait_for(&self, name: &str) {
        let mut waited = Duration::ZERO;
        while !self.path(name).exists() {
            assert!(waited < HANG, "{name} did not appear");
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
    }

    /// Files that the command line left behind.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// `text` with temporary names made plain.
    pub(crate) fn plain(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let text = text.replace(&folder, "HOME");
        // HOME/tmp/grove-XXXXXX/file
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("HOME/tmp/grove-") {
            plain.push_str(before);
            plain.push_str("PRIVATE");
            rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        }
        plain + rest
    }

    /// The binary, with nothing of the tester's own surroundings.
    pub(crate) fn command(&self, farm: &Farm, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grove"));
        command
            .args(args)
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .env("GROVE_SERVER", &farm.url)
            .env("FAKE", self.path("fake"))
            .env("FAKE_DO", "exit 0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// Runs `grove ARGS` to its end.
pub(crate) fn grove(farm: &Farm, args: &[&str]) -> String {
    let home = Home::new();
    let output = home.command(farm, args).output().unwrap();
    home.plain(&told(farm, &output))
}

/// The same with something on its stdin.
pub(crate) fn run_with_input(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command told: stdout, then stderr and the exit code where there is something to tell.
pub(crate) fn told(farm: &Farm, output: &Output) -> String {
    let mut text = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    if !stderr.is_empty() {
        text.push_str("--- stderr\n");
        text.push_str(&stderr);
    }
    if !output.status.success() {
        text.push_str(&format!("--- {}\n", output.status));
    }
    text.replace(&farm.url, "http://FARM")
}

/// The help of a command.
pub(crate) fn help(args: &[&str]) -> String {
    let args: Vec<&str> = args.iter().copied().chain(["--help"]).collect();
    grove(&Farm::new(), &args)
}

/// Method, path and body of every call, one per line.
pub(crate) fn calls(farm: &Farm) -> String {
    let mut lines = String::new();
    for call in farm.calls() {
        lines.push_str(format!("{} {}", call.line, call.body).trim_end());
        lines.push('\n');
    }
    lines
}

/// Signal to everything that the terminal's Ctrl-C would reach.
pub(crate) fn signal_group(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(pid, signal).unwrap();
}

/// Signal to the command line alone.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether the process whose number this file holds is no more.
pub(crate) fn is_gone(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    !Path::new("/proc").join(pid.trim()).exists()
}
