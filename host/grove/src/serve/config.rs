//! What the admin can set, in a file and by flags. Everything has a default: serving needs no configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use grove_access::secrets::Secrets;
use grove_control::Settings;
use grove_control::settings::{Caps, Introspections, Life, Probes, Retention, Timeouts};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::introspection::{self, MAX_INVENTORY};
use grove_domain::moment::SignedDuration;
use grove_domain::plugin;
use grove_domain::request::Bounds;
use grove_domain::worker::Rules;
use grove_objects::{Keeping, Quotas, S3};
use grove_runtime::{CompileLimits, Grants};
use grove_wire::{Span, limits};
use serde::Deserialize;

/// The configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where HTTP is served.
    pub(crate) listen: SocketAddr,
    /// Serve beyond this machine although nobody is authenticated.
    pub(crate) insecure_listen: bool,
    /// Folder of everything durable.
    pub(crate) state: Option<PathBuf>,
    /// What users are told to connect to.
    pub(crate) advertise: String,
    pub(crate) owner: OwnerConfig,
    pub(crate) jobs: Jobs,
    pub(crate) checks: Checks,
    pub(crate) instance: InstanceConfig,
    pub(crate) timeouts: TimeoutConfig,
    pub(crate) limits: Limits,
    pub(crate) retention: RetentionConfig,
    pub(crate) objects: ObjectConfig,
    pub(crate) tunnels: TunnelConfig,
    pub(crate) keys: KeyConfig,
    pub(crate) policy: PolicyConfig,
    pub(crate) plugins: PluginConfig,
    pub(crate) introspection: IntrospectionConfig,
    pub(crate) drain: Span,
    /// Whether a farm may be begun; said where it is started, never in the file.
    #[serde(skip)]
    pub(crate) begin: grove_store::Begin,
}

/// Who everybody is until there is authentication.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OwnerConfig {
    name: String,
    groups: Groups,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Groups {
    All(Star),
    Some(Vec<String>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Star {
    #[serde(rename = "*")]
    Star,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jobs {
    length: Span,
    max: Span,
    prolongs: Option<u32>,
    refuse_unsatisfiable: bool,
    missed_heartbeats: u32,
    away_max: Span,
    probe_every: Span,
    when_unreachable: WhenUnreachable,
    unreachable_for: Span,
}

/// What becomes of a job whose board does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenUnreachable {
    /// It waits for the board until its time is up.
    Wait,
    /// It fails when the board has been unreachable for `unreachable_for`.
    Fail,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Checks {
    interval: Span,
    max_age: Span,
    recheck_first: Span,
    recheck_max: Span,
    relapses: u32,
}

/// How starts of the controller on one store know each other alive.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InstanceConfig {
    heartbeat: Span,
    silence: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TimeoutConfig {
    prepare: Span,
    maintain: Span,
    open: Span,
    check: Span,
    introspect: Span,
    power_off: Span,
    cleanup: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    workers: usize,
    requests: usize,
    demands_per_round: usize,
    pub(crate) connections: usize,
    pub(crate) import_mib: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionConfig {
    requests: Span,
    requests_max: usize,
    history: Span,
    logs: Span,
    logs_mib: u64,
    artifacts: Span,
    artifacts_mib: u64,
}

/// Where files are that are not in the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ObjectConfig {
    kind: Place,
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: String,
    /// Name of the secret with the key: its id, and in the next line the key.
    secret: Option<String>,
    artifact_mib: u64,
    group_mib: u64,
    artifacts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Folder,
    S3,
}

/// Where users' tunnels are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TunnelConfig {
    pub(crate) bind: IpAddr,
    pub(crate) first_port: u16,
    pub(crate) last_port: u16,
    pub(crate) connections_per_job: usize,
    pub(crate) connections: usize,
    pub(crate) idle: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeyConfig {
    /// Generated pairs kept ready.
    pub(crate) pool: usize,
    /// Most of them, when many are taken.
    pub(crate) pool_max: usize,
}

/// Characters that can not be tried out one after the other.
const SHORTEST_SECRET: usize = 16;

/// The policy of a farm that nobody chose one for.
pub(crate) const DEFAULT_POLICY: &str = "least-capable";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyConfig {
    /// Name of the policy that every start uses, whatever was chosen since; empty = the built-in rule. Left out, it is
    /// [`DEFAULT_POLICY`] until another one is enabled.
    pub(crate) name: Option<String>,
    /// Its settings, as its schema says.
    pub(crate) settings: toml::Table,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginConfig {
    /// Folder with one folder per plugin; they take the place of built-in ones of the same name.
    pub(crate) folder: Option<PathBuf>,
    /// What plugins may do, by name.
    pub(crate) grants: BTreeMap<String, Grants>,
    /// Settings of inspectors, by name, as their schemas say.
    pub(crate) settings: BTreeMap<String, toml::Table>,
    /// When a version that replaced another goes back to it.
    pub(crate) probation: ProbationConfig,
    /// What compiling one may take.
    pub(crate) compile: CompileConfig,
}

/// With less memory a compiler does not even begin.
const LEAST_COMPILER_MIB: u32 = 64;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CompileConfig {
    /// Processor time.
    processor: Span,
    memory_mib: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProbationConfig {
    length: Span,
    failures: u32,
    percent: u32,
}

/// How it is found out what boards are made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IntrospectionConfig {
    /// Inspectors that are asked first, in this order; the others follow by name.
    pub(crate) inspectors: Vec<String>,
    /// Introspect workers that never were before they are first prepared.
    first: bool,
    at_once: usize,
    unknown_boards: usize,
    inventory_kib: usize,
    /// Name of the secret that boards show that nobody registered; without it they are not taken in.
    enrolment_secret: Option<String>,
    longest: LongestConfig,
}

/// Longest times of an introspection in its states.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LongestConfig {
    starting: Span,
    waiting: Span,
    processing: Span,
    reapplying: Span,
    enrolling: Span,
    aborting: Span,
}

fn span(seconds: u64) -> Span {
    Span::from_secs(seconds).unwrap_or(Span::MAX)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8487),
            insecure_listen: false,
            state: None,
            advertise: "127.0.0.1".to_owned(),
            owner: OwnerConfig::default(),
            jobs: Jobs::default(),
            checks: Checks::default(),
            instance: InstanceConfig::default(),
            timeouts: TimeoutConfig::default(),
            limits: Limits::default(),
            retention: RetentionConfig::default(),
            objects: ObjectConfig::default(),
            tunnels: TunnelConfig::default(),
            keys: KeyConfig::default(),
            policy: PolicyConfig::default(),
            plugins: PluginConfig::default(),
            introspection: IntrospectionConfig::default(),
            drain: span(10),
            begin: grove_store::Begin::default(),
        }
    }
}

impl Default for OwnerConfig {
    fn default() -> Self {
        Self { name: "local".to_owned(), groups: Groups::All(Star::Star) }
    }
}

impl CompileConfig {
    pub(crate) fn limits(&self) -> CompileLimits {
        let processor = Duration::from_secs(self.processor.as_secs());
        CompileLimits { processor, memory: u64::from(self.memory_mib) << 20 }
    }
}

impl Default for CompileConfig {
    fn default() -> Self {
        Self { processor: span(60), memory_mib: 1024 }
    }
}

impl Default for ProbationConfig {
    fn default() -> Self {
        Self { length: span(300), failures: 3, percent: 50 }
    }
}

impl Default for IntrospectionConfig {
    fn default() -> Self {
        let own = Introspections::default();
        Self {
            inspectors: Vec::new(),
            first: own.first,
            at_once: own.at_once,
            unknown_boards: own.enrolling,
            inventory_kib: limits::INVENTORY >> 10,
            enrolment_secret: None,
            longest: LongestConfig::default(),
        }
    }
}

impl Default for LongestConfig {
    fn default() -> Self {
        Self {
            starting: span(300),
            waiting: span(3600),
            processing: span(300),
            reapplying: span(300),
            enrolling: span(300),
            aborting: span(120),
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            length: span(3600),
            max: span(7 * 86_400),
            prolongs: None,
            refuse_unsatisfiable: false,
            missed_heartbeats: 3,
            away_max: span(3600),
            probe_every: span(30),
            when_unreachable: WhenUnreachable::Wait,
            unreachable_for: span(600),
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            interval: span(300),
            max_age: span(60),
            recheck_first: span(30),
            recheck_max: span(3600),
            relapses: 5,
        }
    }
}

impl Default for InstanceConfig {
    fn default() -> Self {
        Self { heartbeat: span(15), silence: span(60) }
    }
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            prepare: span(600),
            maintain: span(120),
            open: span(60),
            check: span(30),
            introspect: span(900),
            power_off: span(60),
            cleanup: span(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let caps = Caps::default();
        Self {
            workers: caps.workers,
            requests: caps.live_requests,
            demands_per_round: caps.demands_per_round,
            connections: 4096,
            import_mib: 16_384,
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            requests: span(7 * 86_400),
            requests_max: 100_000,
            history: span(30 * 86_400),
            logs: span(30 * 86_400),
            logs_mib: 4096,
            artifacts: span(30 * 86_400),
            artifacts_mib: 102_400,
        }
    }
}

impl Default for ObjectConfig {
    fn default() -> Self {
        Self {
            kind: Place::Folder,
            bucket: String::new(),
            prefix: "grove".to_owned(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            secret: None,
            artifact_mib: 4096,
            group_mib: 16_384,
            artifacts: 10_000,
        }
    }
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            first_port: 20_000,
            last_port: 29_999,
            connections_per_job: 64,
            connections: 10_000,
            idle: None,
        }
    }
}

impl Default for KeyConfig {
    fn default() -> Self {
        Self { pool: 16, pool_max: 256 }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self { name: None, settings: toml::Table::new() }
    }
}

impl Config {
    /// Reads a file; its errors name line and field.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a configuration", path.display()))
    }

    /// Refuses what would put users at risk.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let beyond = [("listen", self.listen.ip()), ("tunnels.bind", self.tunnels.bind)];
        for (what, address) in beyond {
            if !address.is_loopback() && !self.insecure_listen {
                bail!(
                    "{what} = {address} can be reached from other machines, and nobody who comes from there would be \
                     asked who they are; use a loopback address, or say --insecure-listen if you mean it"
                );
            }
        }
        let InstanceConfig { heartbeat, silence } = self.instance;
        if heartbeat.as_secs() == 0 {
            bail!("instance.heartbeat must be 1s or more");
        }
        if silence.as_secs() < 2 * heartbeat.as_secs() {
            bail!(
                "instance.silence = {silence} must be at least twice instance.heartbeat = {heartbeat}: a controller that \
                 is late once would be taken for dead"
            );
        }
        if self.objects.kind == Place::S3 && self.objects.bucket.is_empty() {
            bail!("objects.kind is s3: say objects.bucket, too");
        }
        if let Some(folder) = self.plugins.folder.as_deref().filter(|folder| !folder.is_dir()) {
            bail!("the plugin folder {} is not there; make it, or name another one", folder.display());
        }
        let CompileConfig { processor, memory_mib } = self.plugins.compile;
        if processor.as_secs() == 0 || memory_mib < LEAST_COMPILER_MIB {
            bail!(
                "plugins.compile.processor must be 1s or more, and plugins.compile.memory_mib {LEAST_COMPILER_MIB} or more: \
                 no plugin can be compiled with less"
            );
        }
        let most = MAX_INVENTORY >> 10;
        if self.introspection.inventory_kib > most {
            bail!("introspection.inventory_kib must not be greater than {most}");
        }
        if self.tunnels.first_port > self.tunnels.last_port {
            bail!("tunnels.first_port must not be greater than tunnels.last_port");
        }
        Ok(())
    }

    /// The folder of everything durable.
    pub(crate) fn state(&self) -> anyhow::Result<PathBuf> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let home = |name: &str, below: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(|home| PathBuf::from(home).join(below))
        };
        home("XDG_STATE_HOME", "grove")
            .or_else(|| home("HOME", ".local/state/grove"))
            .context("there is no HOME to keep state in; name a folder with --state")
    }

    /// Who everybody is.
    pub(crate) fn owner(&self) -> Owner {
        let groups = match &self.owner.groups {
            Groups::All(Star::Star) => OwnerGroups::All,
            Groups::Some(groups) => OwnerGroups::Some(groups.clone()),
        };
        Owner { name: self.owner.name.clone(), groups }
    }

    /// What the controller goes by.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            job_length: signed(self.jobs.length),
            job_length_max: signed(self.jobs.max),
            bounds: Bounds { prolongs: self.jobs.prolongs },
            away_max: signed(self.jobs.away_max),
            probes: Probes {
                every: self.jobs.probe_every.duration(),
                fail_after: (self.jobs.when_unreachable == WhenUnreachable::Fail)
                    .then(|| self.jobs.unreachable_for.duration()),
                ..Probes::default()
            },
            rules: Rules {
                recheck_first: signed(self.checks.recheck_first),
                recheck_max: signed(self.checks.recheck_max),
                relapses: self.checks.relapses,
            },
            check_interval: signed(self.checks.interval),
            check_max_age: signed(self.checks.max_age),
            timeouts: Timeouts {
                prepare: self.timeouts.prepare.duration(),
                maintain: self.timeouts.maintain.duration(),
                open: self.timeouts.open.duration(),
                check: self.timeouts.check.duration(),
                introspect: self.timeouts.introspect.duration(),
                power_off: self.timeouts.power_off.duration(),
                cleanup: self.timeouts.cleanup.duration(),
            },
            introspection: Introspections {
                rules: self.introspection.longest.rules(),
                at_once: self.introspection.at_once.max(1),
                enrolling: self.introspection.unknown_boards,
                first: self.introspection.first,
            },
            caps: Caps {
                workers: self.limits.workers,
                live_requests: self.limits.requests,
                demands_per_round: self.limits.demands_per_round.max(1),
                ..Caps::default()
            },
            life: Life { heartbeat: signed(self.instance.heartbeat), silence: signed(self.instance.silence) },
            retention: Retention {
                requests: signed(self.retention.requests),
                requests_max: self.retention.requests_max,
                history: signed(self.retention.history),
            },
            refuse_unsatisfiable: self.jobs.refuse_unsatisfiable,
            missed_heartbeats: self.jobs.missed_heartbeats,
            plugin_rules: plugin::Rules {
                probation: signed(self.plugins.probation.length),
                failures: self.plugins.probation.failures,
                percent: self.plugins.probation.percent.min(100),
            },
        }
    }

    /// Whether files are in a bucket.
    pub(crate) fn is_in_a_bucket(&self) -> bool {
        self.objects.kind == Place::S3
    }

    /// The bucket for files, if they are in one.
    pub(crate) fn bucket(&self, secrets: &Secrets) -> anyhow::Result<Option<S3>> {
        let objects = &self.objects;
        if objects.kind == Place::Folder {
            return Ok(None);
        }
        let key = match &objects.secret {
            None => None,
            Some(name) => {
                let text = secrets.read(name).context("failed to read objects.secret")?;
                let mut words = text.split_whitespace().map(str::to_owned);
                let pair = words.next().zip(words.next());
                Some(pair.with_context(|| {
                    format!("the secret {name} must hold the id of a key, and the key in the next line")
                })?)
            }
        };
        Ok(Some(S3 {
            bucket: objects.bucket.clone(),
            prefix: objects.prefix.clone(),
            endpoint: objects.endpoint.clone(),
            region: objects.region.clone(),
            key,
        }))
    }

    /// Bytes of an inventory that a board sends.
    pub(crate) fn inventory(&self) -> usize {
        self.introspection.inventory_kib << 10
    }

    /// What boards show that nobody registered.
    pub(crate) fn enrolment_secret(&self, secrets: &Secrets) -> anyhow::Result<Option<String>> {
        let Some(name) = &self.introspection.enrolment_secret else { return Ok(None) };
        let text = secrets.read(name).context("failed to read introspection.enrolment_secret")?;
        let secret = text.trim();
        if secret.len() < SHORTEST_SECRET || secret.contains(char::is_whitespace) {
            bail!(
                "the secret {name} must be one word of at least {SHORTEST_SECRET} characters: \
                 openssl rand -hex 32 makes one"
            );
        }
        Ok(Some(secret.to_owned()))
    }

    /// Bounds on artifacts.
    pub(crate) fn quotas(&self) -> Quotas {
        Quotas {
            artifact: mib(self.objects.artifact_mib),
            group: mib(self.objects.group_mib),
            count: self.objects.artifacts,
            unused: signed(self.retention.artifacts),
            total: mib(self.retention.artifacts_mib),
        }
    }

    /// Bounds on the logs of tasks.
    pub(crate) fn keeping(&self) -> Keeping {
        Keeping {
            age: signed(self.retention.logs),
            total: mib(self.retention.logs_mib),
            ..Keeping::default()
        }
    }

    /// Longest time that a clean stop may take.
    pub(crate) fn drain(&self) -> Duration {
        self.drain.duration()
    }
}

impl LongestConfig {
    fn rules(&self) -> introspection::Rules {
        introspection::Rules {
            starting: signed(self.starting),
            waiting: signed(self.waiting),
            processing: signed(self.processing),
            reapplying: signed(self.reapplying),
            enrolling: signed(self.enrolling),
            aborting: signed(self.aborting),
        }
    }
}

fn mib(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

fn signed(span: Span) -> SignedDuration {
    SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX)
}
