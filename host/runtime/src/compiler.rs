//! Compiling outside of this process: a component can make a compiler work for hours and take every byte there is, and
//! only a process can be limited and ended whatever it is doing.
//!
//! ```text
//! controller ── component (stdin) ──▶ child: limits itself, compiles ── compiled code (stdout) ──▶ controller
//!            ── stdin closed ───────▶ child: ends
//! ```
//!
//! Compiled code is trusted blindly by the engine, so it is taken from nobody but a child of ours, over a pipe that nobody
//! else has.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, Signal, nice, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use wasmtime::{CodeBuilder, Config, Engine};

use crate::engine::{driver_config, policy_config};
use crate::guest_log::cut;
use crate::limits::MAX_TEXT;

/// Most bytes of compiled code.
pub(crate) const MAX_CODE: u64 = 512 << 20;
/// Most bytes that are read of what a compiler says.
const MAX_SAID: u64 = 64 << 10;
/// Wall time that a compiler gets beyond four times its processor time: everything else on the machine goes first.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much a compiler gives way to the farm.
const NICE: i32 = 10;
/// How a compiler ends that does not like the component.
const UNUSABLE: u8 = 3;

/// How components are compiled in processes of their own.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// Program and first arguments of a command that is [`compile`] with the arguments that follow.
    pub command: Vec<OsString>,
    /// What one component may take.
    pub limits: CompileLimits,
}

/// What compiling one component may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, of all threads together.
    pub processor: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        CompileLimits { processor: Duration::from_secs(60), memory: 1 << 30 }
    }
}

/// Which engine the code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Policies,
    Drivers,
}

impl For {
    fn as_str(self) -> &'static str {
        match self {
            For::Policies => "policies",
            For::Drivers => "drivers",
        }
    }

    fn config(self) -> Config {
        match self {
            For::Policies => policy_config(),
            For::Drivers => driver_config(),
        }
    }
}

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It is no component.
    Unusable(String),
    /// It takes more than the limits, as it will the next time.
    TooMuch(String),
    /// Something else, which may be otherwise the next time.
    Broken(String),
}

impl Compiler {
    /// The compiled code of a component. The process ends when this is dropped.
    pub(crate) async fn compile(&self, engine: For, component: Bytes) -> Result<Vec<u8>, Failed> {
        let broken = |error: io::Error| Failed::Broken(format!("the compiler does not run: {error}"));
        let CompileLimits { processor, memory } = self.limits;
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
        command.args(words).arg(engine.as_str()).arg(memory.to_string());
        command.arg(processor.as_secs().max(1).to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Half of the machine: two compile at a time.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        command.env("RAYON_NUM_THREADS", (cores / 2).max(1).to_string());
        let mut child = command.spawn().map_err(broken)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Failed::Broken("the compiler has no pipes".to_owned()));
        };
        let work = async {
            let (mut code, mut said) = (Vec::new(), Vec::new());
            let (mut stdout, mut stderr) = (stdout.take(MAX_CODE), stderr.take(MAX_SAID));
            // Kept open until the end: a compiler whose stdin closes has nobody to work for.
            let (_stdin, read, heard) = tokio::join!(
                send(stdin, &component),
                stdout.read_to_end(&mut code),
                stderr.read_to_end(&mut said)
            );
            read.and(heard)?;
            Ok((child.wait().await?, code, said))
        };
        let longest = processor.saturating_mul(4).saturating_add(PATIENCE);
        match tokio::time::timeout(longest, work).await {
            Ok(Ok((status, code, said))) => self.outcome(status, code, &String::from_utf8_lossy(&said)),
            Ok(Err(error)) => Err(broken(error)),
            Err(_) => Err(Failed::Broken(format!(
                "it was not compiled within {} s; try again when the machine has less to do",
                longest.as_secs()
            ))),
        }
    }

    fn outcome(&self, status: ExitStatus, code: Vec<u8>, said: &str) -> Result<Vec<u8>, Failed> {
        let CompileLimits { processor, memory } = self.limits;
        let said = cut(said.trim(), MAX_TEXT);
        if status.success() {
            return Ok(code);
        }
        if status.code() == Some(UNUSABLE.into()) {
            return Err(Failed::Unusable(said.to_owned()));
        }
        match status.signal() {
            Some(signal) if signal == Signal::XCPU.as_raw() => Err(Failed::TooMuch(format!(
                "compiling it takes more than {} s of processor time; if it is meant to, raise plugins.compile.processor",
                processor.as_secs()
            ))),
            // What Rust's allocator says when there is no more.
            Some(signal) if signal == Signal::ABORT.as_raw() && said.contains("memory allocation of") => {
                Err(Failed::TooMuch(format!(
                    "compiling it takes more than {} MiB of memory; if it is meant to, raise plugins.compile.memory_mib",
                    memory >> 20
                )))
            }
            _ => Err(Failed::Broken(format!("the compiler ended with {status}: {said}"))),
        }
    }
}

/// Sends the component; what a compiler that has ended does not read is told by how it ended.
async fn send(mut stdin: ChildStdin, component: &[u8]) -> ChildStdin {
    let length = (component.len() as u64).to_le_bytes();
    if stdin.write_all(&length).await.is_ok() {
        let _ = stdin.write_all(component).await;
    }
    stdin
}

/// The compiler process: compiles what comes on stdin to stdout. `arguments` are those that a [`Compiler`] adds to its
/// command. Ends this process when whoever asked for it is gone.
pub fn compile(arguments: &[String]) -> ExitCode {
    match compile_stdin(arguments) {
        Ok(code) => match io::stdout().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(Failed::Unusable(text)) => {
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(UNUSABLE)
        }
        Err(Failed::TooMuch(text) | Failed::Broken(text)) => {
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn compile_stdin(arguments: &[String]) -> Result<Vec<u8>, Failed> {
    let wrong = |what: &dyn std::fmt::Display| Failed::Broken(format!("the compiler cannot begin: {what}"));
    let [engine, memory, processor] = arguments else {
        return Err(wrong(&"it is called with an engine, bytes of memory and seconds of processor time"));
    };
    let engine = match engine.as_str() {
        "policies" => For::Policies,
        "drivers" => For::Drivers,
        _ => return Err(wrong(&"there is no such engine")),
    };
    let memory = memory.parse().map_err(|error| wrong(&error))?;
    let processor = processor.parse().map_err(|error| wrong(&error))?;
    confine(memory, processor).map_err(|error| wrong(&error))?;
    let component = receive().map_err(|error| wrong(&error))?;
    let engine = Engine::new(&engine.config()).map_err(|error| wrong(&error))?;
    let compiled = CodeBuilder::new(&engine)
        .wasm_binary(&component, None)
        .and_then(|code| code.compile_component_serialized());
    compiled.map_err(|error| Failed::Unusable(format!("{error:#}")))
}

/// Limits this process before it has seen a byte that somebody else wrote.
fn confine(memory: u64, processor: u64) -> io::Result<()> {
    let at_most = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    at_most(Resource::Core, 0)?;
    at_most(Resource::Data, memory)?;
    // At the soft limit a signal ends it that says why; the hard one is for a process that would not mind.
    setrlimit(Resource::Cpu, Rlimit { current: Some(processor), maximum: Some(processor + 1) })?;
    // If the system will not let us be nice, so be it.
    let _ = nice(NICE);
    Ok(())
}

/// Reads the component, and ends this process when nobody holds the other end any more.
fn receive() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let mut component = Vec::new();
    let length = u64::from_le_bytes(length);
    if (&mut stdin).take(length).read_to_end(&mut component)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    drop(stdin);
    std::thread::spawn(|| {
        let mut nothing = [0];
        let _ = io::stdin().read(&mut nothing);
        std::process::exit(1);
    });
    Ok(component)
}
