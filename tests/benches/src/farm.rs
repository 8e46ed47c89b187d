//! A real `grove serve` in a process of its own, and what is asked of it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use uuid::Uuid;

use crate::events::Events;
use crate::http::{Load, once, request};

/// A user's key.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID9odXiJxx663jTFQLmsYvagIb1lMzD77/wypVMY5rnl bench";

/// What to leave out when keys are not what is measured: generating them would take the cores.
pub(crate) const NO_KEYS: &str = "[keys]\npool = 0\n";

/// A running controller.
pub(crate) struct Farm {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From starting the process to its saying that it listens.
    pub(crate) started_in: Duration,
}

/// Folder of built programs: where this one is.
fn built() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know where it is")?;
    Ok(own.parent().context("this program is nowhere")?.to_owned())
}

/// A folder for a store, on the disk that things are built on.
pub(crate) fn folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("bench-").tempdir_in(built()?).context("no place for a store")
}

impl Farm {
    /// Starts one in a state folder with this configuration.
    pub(crate) fn start(state: &Path, config: &str) -> Result<Self> {
        let program = built()?.join("grove");
        ensure!(program.is_file(), "there is no {}; run `cargo xtask bench`", program.display());
        let file = state.join("bench.toml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--config").arg(&file).arg("--state").arg(state);
        command.args(["--listen", "127.0.0.1:0"]).env("GROVE_LOG", "error");
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().context("failed to start grove")?;
        let mut line = String::new();
        if let Some(out) = child.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let started_in = begin.elapsed();
        let Some(address) = line.trim().rsplit("//").next().and_then(|address| address.parse().ok()) else {
            bail!("grove did not start; it said {line:?}");
        };
        Ok(Self { child, address, started_in })
    }

    /// Ends it as an admin would.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Memory in use, in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kb: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kb * 1024.0 / 1e6)
    }

    /// Sends all of these as quickly as they are taken.
    pub(crate) fn all(&self, requests: &[Vec<u8>]) -> Result<()> {
        Load { to: self.address, connections: 16, depth: 16 }.all(requests)?;
        Ok(())
    }

    /// One request; the answer's JSON.
    pub(crate) fn ask(&self, bytes: &[u8]) -> Result<serde_json::Value> {
        let body = once(self.address, bytes)?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Events of one kind from now on.
    pub(crate) fn events(&self, kind: &str) -> Result<Events> {
        Events::of(self.address, kind)
    }

    /// Registers these workers, each with its number as `slot`, and with this driver configuration.
    pub(crate) fn register(&self, numbers: std::ops::Range<u64>, driver_config: &str) -> Result<()> {
        let requests: Vec<_> = numbers.map(|number| register(number, driver_config)).collect();
        self.all(&requests)
    }

    /// Takes these workers to IDLE, and waits until they are there.
    pub(crate) fn make_idle(&self, numbers: std::ops::Range<u64>) -> Result<()> {
        let events = self.events("worker.state")?;
        let requests: Vec<_> = numbers.map(|number| set_state(number, "IDLE")).collect();
        self.all(&requests)?;
        events.count(requests.len(), |heard| heard.after == "idle")?;
        Ok(())
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        // Gone already after a stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker of that number.
pub(crate) fn worker(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0198_c0de_0000_7000, 0x8000_0000_0000_0000 + number)
}

/// Registers a worker with six capabilities.
pub(crate) fn register(number: u64, driver_config: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"driver":"simulated","driver_config":{driver_config},"capabilities":{{"board":"kind{}","slot":"{number}","uart":"{}","lab":"lab{}","baud":"57600,115200","voltage":"2.9..3.6"}}}}"#,
        number % 200,
        number / 200 % 4 + 1,
        number % 7
    );
    request("PUT", &format!("/api/v2/workers/{}", worker(number)), &body)
}

/// Wants a worker in a state, v1.
pub(crate) fn set_state(number: u64, state: &str) -> Vec<u8> {
    let path = format!("/api/v1/workers/{}/setstate", worker(number));
    request("POST", &path, &format!(r#"{{"WorkerState":"{state}"}}"#))
}

/// A request of v1 for a worker whose `key` is `value`.
pub(crate) fn create(key: &str, value: &str) -> Vec<u8> {
    let body = format!(r#"{{"Priority":8,"Caps":{{"{key}":"{value}"}}}}"#);
    request("POST", "/api/v1/reqs/", &body)
}

/// A request of v2 with the user's own key, for the worker in that slot.
pub(crate) fn create_with_key(slot: u64, more: &str) -> Vec<u8> {
    let body = format!(r#"{{"wants":["slot={slot}"],"keys":["{KEY}"]{more}}}"#);
    request("POST", "/api/v2/requests", &body)
}
