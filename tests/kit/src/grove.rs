//! A real `grove serve`, as a child process that ends with its test.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use grove_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::PATIENCE;
use crate::{Disk, Farm, V1, built, compiled, wait};

/// The folder of everything durable.
const STATE: &str = "state";
/// What the ready line begins with.
const READY: &str = "grove: listening on ";
/// A port that is free.
const ANY: &str = "127.0.0.1:0";
/// Lines of the log that are shown when a test fails.
const SHOWN: usize = 150;
/// Tunnel ports of one controller.
const PORTS: u16 = 150;
/// Where tunnel ports begin, below those that the system gives to outgoing connections.
const FIRST_PORT: u16 = 12_000;
/// How many controllers have ports of their own before they begin again.
const RANGES: u16 = 130;
/// Between two looks at a process that shall end.
const PAUSE: Duration = Duration::from_millis(20);

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Tables of the configuration file. The tables for tunnels and keys are the kit's.
    pub config: String,
    /// Flags after `grove serve`, beside those of the kit.
    pub flags: Vec<String>,
    /// Its state is on a disk of its own, of this many MiB.
    pub disk: Option<u32>,
    /// Ports for tunnels, where these are few.
    pub ports: Option<u16>,
}

impl Setup {
    /// With these tables of the configuration file.
    pub fn config(text: &str) -> Setup {
        Setup { config: text.to_owned(), ..Setup::default() }
    }

    /// With a folder of plugins.
    #[must_use]
    pub fn plugins(mut self, folder: &Path) -> Setup {
        self.flags.extend(["--plugins".to_owned(), folder.display().to_string()]);
        self
    }
}

/// A running controller. Killed when dropped; its log is shown when the test fails.
#[derive(Debug)]
pub struct Grove {
    setup: Setup,
    process: Option<Process>,
    base: String,
    /// Where its state is, if it is on a disk of its own.
    disk: Option<Disk>,
    folder: TempDir,
}

/// A child process that ends with its test at the latest.
#[derive(Debug)]
pub struct Process(Child);

impl Grove {
    /// Starts one on an empty state, and waits until it serves.
    pub fn start(setup: Setup) -> Grove {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = first_port();
        let last = first + setup.ports.unwrap_or(PORTS) - 1;
        let config = format!(
            "{}\n[tunnels]\nfirst_port = {first}\nlast_port = {last}\n[keys]\npool = 3\n",
            setup.config
        );
        fs::write(folder.path().join("grove.toml"), config).unwrap();
        let disk = setup.disk.map(|mib| {
            let state = folder.path().join(STATE);
            fs::create_dir(&state).unwrap();
            Disk::mount(&state, mib)
        });
        let mut grove = Grove { folder, setup, process: None, base: String::new(), disk };
        compiled::give(&grove.state());
        grove.start_again();
        grove
    }

    /// Starts it on the state that it has, after it ended.
    pub fn start_again(&mut self) {
        let (process, base) = ready(&mut self.logged_command(), || self.log());
        self.base = base;
        self.process = Some(process);
    }

    /// Starts it on the state that it has and where it served before, and waits only until it answers: it may be that it is
    /// not ready.
    pub async fn start_unready(&mut self) {
        let address = self.base.strip_prefix("http://").expect("it served before").to_owned();
        let mut command = self.logged_command_on(&address);
        self.process = Some(Process::start(command.stdout(Stdio::null())));
        let health = format!("{}/healthz", self.base);
        let look = || async { reqwest::get(&health).await.ok().map(drop) };
        wait::until("the controller to answer", look).await;
    }

    /// Starts it on the state that it has, and kills it after this time, wherever it is then.
    pub fn kill_while_starting(&mut self, after: Duration) {
        let mut process = Process::start(self.logged_command().stdout(Stdio::null()));
        sleep(after);
        process.kill();
    }

    /// `grove serve` as it was set up, whose log goes where it belongs.
    fn logged_command(&self) -> Command {
        self.logged_command_on(ANY)
    }

    fn logged_command_on(&self, address: &str) -> Command {
        assert!(self.process.is_none(), "it runs");
        let mut command = self.serve_on(address);
        command.args(&self.setup.flags);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = match &self.disk {
            Some(disk) => disk.seen_by(&command),
            None => command,
        };
        command.stderr(log);
        command
    }

    /// `grove serve` on this controller's configuration and state, for tests of how it starts.
    pub fn serve_command(&self) -> Command {
        self.serve_on(ANY)
    }

    fn serve_on(&self, address: &str) -> Command {
        let mut command = grove_command(self.folder.path());
        command.args(["serve", "--listen", address, "--config"]).arg(self.folder.path().join("grove.toml"));
        command.arg("--state").arg(self.folder.path().join(STATE));
        command
    }

    /// Its folder of everything durable, as the test sees it.
    pub fn state(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.folder.path().join(STATE), Disk::path)
    }

    /// The disk that its state is on.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it has a disk of its own")
    }

    /// Its base address, like `http://127.0.0.1:8487`; another one after each start.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A new client.
    pub fn client(&self) -> Client {
        Client::new(&self.base).unwrap()
    }

    /// What tests do to a farm.
    pub fn farm(&self) -> Farm {
        Farm::new(self.client())
    }

    /// A new client of version 1.
    pub fn v1(&self) -> V1 {
        V1::new(&self.base)
    }

    /// `grove --server …` with these words, as its user would call it: with a home of its own and no agent.
    pub fn cli(&self, words: &[&str]) -> Command {
        let mut command = grove_command(self.folder.path());
        command.args(["--server", &self.base]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Puts a secret where the controller finds it.
    pub fn add_secret(&self, name: &str, text: &str) {
        crate::tools::write_private(&self.state().join("secrets").join(name), text);
    }

    /// Everything that it logged so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it does not run");
        process.kill();
    }

    /// Ends it as an init system would; how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it does not run").signal(signal);
    }

    /// How it ended; waits for that.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("it does not run").wait()
    }

    /// Open files and sockets of the process.
    pub fn open_files(&self) -> usize {
        let process = self.process.as_ref().expect("it does not run");
        fs::read_dir(format!("/proc/{}/fd", process.0.id())).unwrap().count()
    }

    /// Memory in use, in MB.
    pub fn resident_mb(&self) -> f64 {
        let process = self.process.as_ref().expect("it does not run");
        let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3
    }

    /// Its children: their numbers, and the memory in use of each in MB.
    pub fn children(&self) -> Vec<(u32, f64)> {
        let process = self.process.as_ref().expect("it does not run");
        let tasks = fs::read_dir(format!("/proc/{}/task", process.0.id())).unwrap();
        let children =
            tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let numbers =
            children.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let child = |number: String| {
            let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
            Some((number.parse().ok()?, kilobytes / 1e3))
        };
        numbers.filter_map(child).collect()
    }

    /// Seconds of processor time that children took which have ended.
    pub fn seconds_of_children(&self) -> f64 {
        let process = self.process.as_ref().expect("it does not run");
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.0.id())).unwrap();
        // After the name, which may hold anything: the state is the first field.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
        // Linux counts in hundredths, whatever its own clock does.
        ticks as f64 / 100.0
    }

    /// How often each thread of the process has waited for something, by its number and name.
    pub fn waits(&self) -> BTreeMap<(String, String), u64> {
        let process = self.process.as_ref().expect("it does not run");
        let threads = fs::read_dir(format!("/proc/{}/task", process.0.id())).unwrap();
        let waits = |thread: PathBuf| {
            // It may have ended meanwhile.
            let status = fs::read_to_string(thread.join("status")).ok()?;
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let waited = field("voluntary_ctxt_switches:")?.parse().ok()?;
            Some(((thread.file_name()?.to_str()?.to_owned(), field("Name:")?.to_owned()), waited))
        };
        threads.flatten().filter_map(|thread| waits(thread.path())).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Grove {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: VecDeque<_> = log.lines().rev().take(SHOWN).collect();
            eprintln!("--- grove on {} said, at last:", self.base);
            for line in lines.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

impl Process {
    /// Starts one.
    pub fn start(command: &mut Command) -> Process {
        let child = command.spawn();
        Process(child.unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program())))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self::signal(&self.0, signal);
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("process {}", self.0.id());
        wait_for(&mut self.0, &what)
    }

    /// Waits for its end, and for all that it says.
    pub async fn output(mut self) -> Output {
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                pipe.map(|mut pipe| pipe.read_to_end(&mut all).unwrap());
                all
            })
        };
        let stdout = read(self.0.stdout.take().map(|pipe| Box::new(pipe) as _));
        let stderr = read(self.0.stderr.take().map(|pipe| Box::new(pipe) as _));
        let status = tokio::task::spawn_blocking(move || self.wait()).await.unwrap();
        Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `grove`, with a home of its own and nothing of the environment that it would listen to.
pub fn grove_command(home: &Path) -> Command {
    let mut command = Command::new(built::binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GROVE_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env_remove("SSH_AUTH_SOCK").env_remove("XDG_STATE_HOME");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Starts a controller and waits for its ready line; returns its base address. What it prints later is dropped.
pub fn ready(command: &mut Command, log: impl Fn() -> String) -> (Process, String) {
    let mut process = Process::start(command.stdout(Stdio::piped()));
    let out = BufReader::new(process.stdout.take().unwrap());
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some(base) = line.strip_prefix(READY) {
                let _ = say.send(base.trim().to_owned());
            }
        }
    });
    match said.recv_timeout(PATIENCE) {
        Ok(base) => (process, base),
        Err(_) => panic!("grove did not say that it is ready: {}", log()),
    }
}

/// Sends a signal to a child that was not waited for yet: until then its number is no other process's.
pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits for the end of a child.
pub fn wait_for(child: &mut Child, what: &str) -> ExitStatus {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        sleep(PAUSE);
    }
    let _ = child.kill();
    panic!("{what} does not end");
}

/// Every controller has tunnel ports of its own, so that none takes another's while that one is started again.
fn first_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = (NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() as u16 % RANGES) % RANGES;
    FIRST_PORT + range * PORTS
}
