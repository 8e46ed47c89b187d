//! A driver's store: its inert WASI, and the controller's side of what it may import.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    self, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, SocketError};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::driver::grove::plugin::{log, secrets, ssh, storage, task, types};
use crate::driver::CallContext;
use crate::engine::Identity;
use crate::error::Cause;
use crate::grants::Effective;
use crate::guest_log::{GuestLog, Lines, cut};
use crate::host::{Level, SshError, SshTarget, StorageError, StorageHost};
use crate::limits::{HANDLES, Meter, Metered, Stop, confine};
use crate::tcp::Resolved;

/// Longest step name or progress note that is passed on, in bytes.
const MAX_NOTE: usize = 200;
/// Most steps in one call: each becomes a durable row.
const MAX_STEPS: u32 = 200;
/// Progress is passed on at most this often, unless the percentage changed.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Longest command or transfer, whatever the driver asks for.
const MAX_SSH: Duration = Duration::from_secs(3600);

/// Most bytes of an artifact in one answer.
const MAX_READ: u32 = 1 << 20;
/// Longest wait for them.
const MAX_STORAGE: Duration = Duration::from_secs(60);

/// Data of a driver's store.
pub(crate) struct DriverStore {
    meter: Meter,
    wasi: WasiCtx,
    table: ResourceTable,
    log: Arc<GuestLog>,
    output: [Lines; 2],
    context: Arc<CallContext>,
    effective: Arc<Effective>,
    plugin: Arc<str>,
    /// What the names stand for that it asked for.
    resolved: Arc<Mutex<Resolved>>,
    /// Names that it is having resolved, by their resources.
    lookups: BTreeMap<u32, String>,
    /// Driver config of the worker that the running call is about.
    config: Option<String>,
    deadline: Instant,
    steps: u32,
    progress: Option<(u8, Instant)>,
}

impl DriverStore {
    pub(crate) fn fresh(
        engine: &Engine,
        identity: &Identity,
        context: &Arc<CallContext>,
    ) -> Store<DriverStore> {
        let task = context.task.clone();
        let log = GuestLog::new(Box::new(move |level, line| task.log(level, line)));
        let output = [Lines::new(log.clone(), Level::Info), Lines::new(log.clone(), Level::Error)];
        let [stdout, stderr] = output.clone();
        let resolved = Arc::new(Mutex::new(Resolved::default()));
        let tcp = Tcp {
            effective: identity.effective.clone(),
            plugin: identity.name.clone(),
            log: log.clone(),
            resolved: resolved.clone(),
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let data = DriverStore {
            meter: Meter::new(identity.effective.memory),
            wasi: inert_wasi(stdout, stderr, tcp),
            table,
            log,
            output,
            context: context.clone(),
            effective: identity.effective.clone(),
            plugin: identity.name.clone(),
            resolved,
            lookups: BTreeMap::new(),
            config: None,
            deadline: Instant::now(),
            steps: 0,
            progress: None,
        };
        let mut store = Store::new(engine, data);
        confine(&mut store);
        store
    }

    pub(crate) fn begin_call(&mut self, config: Option<String>, deadline: Instant, running: Duration) {
        self.meter.begin_call(running);
        self.log.begin_call();
        self.config = config;
        self.deadline = deadline;
        self.steps = 0;
        self.progress = None;
    }

    pub(crate) fn end_call(&self) {
        self.output.iter().for_each(Lines::finish);
        self.log.end_call();
    }

    /// Whether the guest should stop by itself. A cancelled call is usually dropped before it can ask.
    fn stop(&self) -> Option<task::Stop> {
        if self.context.cancel.is_cancelled() {
            Some(task::Stop::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(task::Stop::Deadline)
        } else {
            None
        }
    }

    fn ssh(&self) -> Result<(Arc<dyn crate::host::SshHost>, SshTarget), ssh::SshError> {
        let host = self.context.ssh.clone();
        let host =
            host.ok_or_else(|| ssh::SshError::Denied("this controller offers no ssh here".to_owned()))?;
        let config = self.config.as_deref();
        let config =
            config.ok_or_else(|| ssh::SshError::Denied("this call is not about a worker".to_owned()))?;
        Ok((host, SshTarget::from_config(config).map_err(ssh::SshError::Denied)?))
    }

    fn storage(&self, group: &str) -> Result<Arc<dyn StorageHost>, storage::StorageError> {
        if !self.effective.allows_storage(group) {
            let group = cut(group, MAX_NOTE);
            return Err(storage::StorageError::Denied(format!("the group `{group}` is not granted")));
        }
        let host = self.context.storage.clone();
        host.ok_or_else(|| storage::StorageError::Denied("this controller offers no storage here".to_owned()))
    }
}

impl Metered for DriverStore {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn log(&self) -> &Arc<GuestLog> {
        &self.log
    }
}

impl WasiView for DriverStore {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What decides over TCP peers.
struct Tcp {
    effective: Arc<Effective>,
    plugin: Arc<str>,
    log: Arc<GuestLog>,
    resolved: Arc<Mutex<Resolved>>,
}

impl Tcp {
    /// Whether it may be reached; one that may not is named in the log, with what to write.
    fn may_reach(&self, peer: SocketAddr) -> bool {
        let resolved = self.resolved.lock();
        if self.effective.allows_tcp(peer, &resolved) {
            return true;
        }
        let name = resolved.names(peer.ip()).first();
        let host = name.cloned().unwrap_or_else(|| match peer.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let rule = format!("{host}:{}", peer.port());
        not_granted(&self.log, &self.plugin, &format!("TCP to {peer}"), &rule);
        false
    }
}

fn not_granted(log: &GuestLog, plugin: &str, what: &str, rule: &str) {
    let line = format!(
        "{what} is not granted to {plugin}: write tcp = [\"{rule}\"] in [plugins.grants.{plugin}] of the configuration; \
         its manifest's [wants] must cover it, too"
    );
    tracing::warn!(plugin, "{line}");
    log.line(Level::Warn, &line);
}

/// No environment, arguments, stdin or files; output is the log; TCP only to granted peers.
fn inert_wasi(stdout: Lines, stderr: Lines, tcp: Tcp) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(stdout).stderr(stderr).max_random_size(64 << 10);
    // Names are resolved by our own interface, which lets only those through that are granted.
    wasi.allow_tcp(tcp.effective.has_tcp()).allow_udp(false).allow_ip_name_lookup(tcp.effective.has_tcp());
    wasi.socket_addr_check(move |peer, used| {
        let allowed = match used {
            SocketAddrUse::TcpConnect => tcp.may_reach(peer),
            // The implicit bind that precedes a connect.
            SocketAddrUse::TcpBind => peer.port() == 0 && peer.ip().is_unspecified(),
            _ => false,
        };
        Box::pin(std::future::ready(allowed)) as Pin<Box<dyn Future<Output = bool> + Send + Sync>>
    });
    wasi.build()
}

pub(crate) fn driver_linker(engine: &Engine) -> wasmtime::Result<Linker<DriverStore>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    ip_name_lookup::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    linker.allow_shadowing(false);
    log::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    task::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    ssh::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    secrets::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    storage::add_to_linker::<_, HasSelf<DriverStore>>(&mut linker, |store| store)?;
    Ok(linker)
}

impl types::Host for DriverStore {}

impl network::Host for DriverStore {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime_wasi::p2::bindings::io::error::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for DriverStore {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

/// The lookup of WASI, for names that are granted.
impl ip_name_lookup::Host for DriverStore {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        // A number stands for itself; whether it may be reached is decided when it is.
        if name.parse::<IpAddr>().is_err() && !self.effective.allows_name(&name) {
            let name = cut(&name, MAX_NOTE);
            not_granted(&self.log, &self.plugin, &format!("the name {name}"), &format!("{name}:PORT"));
            return Err(ErrorCode::AccessDenied.into());
        }
        let stream = ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, name.clone())?;
        self.lookups.insert(stream.rep(), name);
        Ok(stream)
    }
}

impl HostResolveAddressStream for DriverStore {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let name = self.lookups.get(&stream.rep()).cloned();
        let address = HostResolveAddressStream::resolve_next_address(&mut self.sockets(), stream)?;
        if let (Some(name), Some(address)) = (name, &address) {
            self.resolved.lock().add(&name, std_address(address));
        }
        Ok(address)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.lookups.remove(&stream.rep());
        HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

fn std_address(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
    }
}

impl log::Host for DriverStore {
    fn log(&mut self, at: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match at {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log.line(level, &message);
        Ok(())
    }
}

impl task::Host for DriverStore {
    async fn progress(&mut self, percent: u8, note: String) -> wasmtime::Result<Result<(), task::Stop>> {
        if let Some(stop) = self.stop() {
            return Ok(Err(stop));
        }
        let percent = percent.min(100);
        let now = Instant::now();
        let news = self.progress.is_none_or(|(last, at)| last != percent || now >= at + PROGRESS_EVERY);
        if news {
            self.progress = Some((percent, now));
            self.context.task.progress(percent, cut(&note, MAX_NOTE)).await;
        }
        Ok(self.stop().map_or(Ok(()), Err))
    }

    async fn step(&mut self, name: String) -> wasmtime::Result<Result<(), task::Stop>> {
        if let Some(stop) = self.stop() {
            return Ok(Err(stop));
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(wasmtime::Error::new(Stop(Cause::Limit(format!(
                "more than {MAX_STEPS} steps in one call"
            )))));
        }
        self.progress = None;
        self.context.task.step(cut(&name, MAX_NOTE)).await;
        Ok(self.stop().map_or(Ok(()), Err))
    }

    async fn sleep_ms(&mut self, ms: u32) -> wasmtime::Result<Result<(), task::Stop>> {
        if let Some(stop) = self.stop() {
            return Ok(Err(stop));
        }
        let until = Instant::now() + Duration::from_millis(ms.into());
        if until >= self.deadline {
            // There is no use in sleeping until we are dropped: now the guest can still stop cleanly.
            return Ok(Err(task::Stop::Deadline));
        }
        tokio::time::sleep_until(until).await;
        Ok(self.stop().map_or(Ok(()), Err))
    }
}

impl ssh::Host for DriverStore {
    async fn run(
        &mut self,
        argv: Vec<String>,
        stdin: Vec<u8>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<ssh::Output, ssh::SshError>> {
        let (host, target) = match self.ssh() {
            Ok(found) => found,
            Err(denied) => return Ok(Err(denied)),
        };
        if argv.is_empty() {
            return Ok(Err(ssh::SshError::Denied("the command is empty".to_owned())));
        }
        let timeout = Duration::from_millis(timeout_ms.into()).min(MAX_SSH);
        // The host has its own timeout; this one holds even if it does not.
        let ran =
            tokio::time::timeout(timeout + Duration::from_secs(1), host.run(&target, argv, stdin, timeout))
                .await;
        Ok(match ran {
            Ok(Ok(output)) => Ok(ssh::Output {
                status: output.status,
                stdout: output.stdout,
                stderr: output.stderr,
                truncated: output.truncated,
            }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ssh::SshError::TimedOut),
        })
    }

    async fn write_file(
        &mut self,
        path: String,
        mode: u32,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), ssh::SshError>> {
        let (host, target) = match self.ssh() {
            Ok(found) => found,
            Err(denied) => return Ok(Err(denied)),
        };
        let written =
            tokio::time::timeout(MAX_SSH, host.write_file(&target, path, mode & 0o7777, data)).await;
        Ok(match written {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(ssh::SshError::TimedOut),
        })
    }
}

impl secrets::Host for DriverStore {
    async fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        let granted: &BTreeSet<String> = &self.effective.secrets;
        if !granted.contains(&name) {
            self.log.line(Level::Warn, &format!("secret `{}` is not granted", cut(&name, MAX_NOTE)));
            return Ok(None);
        }
        Ok(self.context.secrets.get(&name).await)
    }
}

impl storage::Host for DriverStore {
    async fn stat(
        &mut self,
        group: String,
        key: String,
    ) -> wasmtime::Result<Result<storage::Info, storage::StorageError>> {
        let host = match self.storage(&group) {
            Ok(host) => host,
            Err(denied) => return Ok(Err(denied)),
        };
        let found = timely(host.stat(&group, &key)).await;
        Ok(found.map(|info| storage::Info { size: info.size, sha256: info.sha256 }))
    }

    async fn read(
        &mut self,
        group: String,
        key: String,
        sha256: String,
        offset: u64,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, storage::StorageError>> {
        let host = match self.storage(&group) {
            Ok(host) => host,
            Err(denied) => return Ok(Err(denied)),
        };
        let most = max.min(MAX_READ);
        let read = timely(host.read(&group, &key, &sha256, offset..offset.saturating_add(most.into()))).await;
        // Whatever the host says, the guest gets no more than it asked for.
        Ok(read.map(|mut bytes| {
            bytes.truncate(most as usize);
            bytes
        }))
    }
}

/// Also of a host that never answers.
async fn timely<T>(work: impl Future<Output = Result<T, StorageError>>) -> Result<T, storage::StorageError> {
    match tokio::time::timeout(MAX_STORAGE, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(storage::StorageError::Unavailable("the storage did not answer in time".to_owned())),
    }
}

impl From<StorageError> for storage::StorageError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => storage::StorageError::NotFound,
            StorageError::Changed => storage::StorageError::Changed,
            StorageError::Unavailable(text) => storage::StorageError::Unavailable(text),
        }
    }
}

impl From<SshError> for ssh::SshError {
    fn from(error: SshError) -> Self {
        match error {
            SshError::Denied(text) => ssh::SshError::Denied(text),
            SshError::Unreachable(text) => ssh::SshError::Unreachable(text),
            SshError::TimedOut => ssh::SshError::TimedOut,
            SshError::Closed => ssh::SshError::Closed,
            SshError::Short(text) | SshError::Other(text) => ssh::SshError::Other(text),
        }
    }
}
