//! What the admin can set.

use std::time::Duration;

use grove_domain::introspection;
use grove_domain::moment::SignedDuration;
use grove_domain::plugin;
use grove_domain::request::Bounds;
use grove_domain::task::TaskKind;
use grove_domain::worker::Rules;

/// Settings of a controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Length of a job that asks for none.
    pub job_length: SignedDuration,
    /// Longest a job may be made to run from now, at opening and at each prolongation.
    pub job_length_max: SignedDuration,
    /// Bounds on jobs.
    pub bounds: Bounds,
    /// Longest time for which a job is kept after the last heartbeat of its client.
    pub away_max: SignedDuration,
    /// How boards are looked after while jobs run on them.
    pub probes: Probes,
    /// Rules on failed workers.
    pub rules: Rules,
    /// Rules on versions of plugins that replace others.
    pub plugin_rules: plugin::Rules,
    /// An idle worker is checked this long after its last check.
    pub check_interval: SignedDuration,
    /// Before a job is opened, the board is checked when its last check is older than this.
    pub check_max_age: SignedDuration,
    /// Longest time of tasks.
    pub timeouts: Timeouts,
    /// Introspection.
    pub introspection: Introspections,
    /// Caps.
    pub caps: Caps,
    /// How instances of the controller know each other alive.
    pub life: Life,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// Whether a request that no registered worker could ever satisfy becomes INVALID at once.
    pub refuse_unsatisfiable: bool,
    /// A request whose client promised heartbeats is closed after this many are missed.
    pub missed_heartbeats: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            job_length: SignedDuration::from_hours(1),
            job_length_max: SignedDuration::from_hours(24 * 7),
            bounds: Bounds::default(),
            away_max: SignedDuration::from_hours(1),
            probes: Probes::default(),
            rules: Rules::default(),
            plugin_rules: plugin::Rules::default(),
            check_interval: SignedDuration::from_mins(5),
            check_max_age: SignedDuration::from_secs(60),
            timeouts: Timeouts::default(),
            introspection: Introspections::default(),
            caps: Caps::default(),
            life: Life::default(),
            retention: Retention::default(),
            refuse_unsatisfiable: false,
            missed_heartbeats: 3,
        }
    }
}

/// How boards are looked after while jobs run on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probes {
    /// Between two looks at the same board; zero = none is looked at.
    pub every: Duration,
    /// A board that did not answer so often in a row is unreachable.
    pub failures: u32,
    /// A job whose board has been unreachable for so long fails; none = it waits for the board.
    pub fail_after: Option<Duration>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), failures: 3, fail_after: None }
    }
}

/// Longest time of tasks, from start to end, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Prepare.
    pub prepare: Duration,
    /// Put in maintenance.
    pub maintain: Duration,
    /// Open a job.
    pub open: Duration,
    /// Check and re-check.
    pub check: Duration,
    /// Introspect: read the inventory, and have it processed; or start the board so that it sends one.
    pub introspect: Duration,
    /// Switch off a board whose introspection was aborted.
    pub power_off: Duration,
    /// Clean up after a cancelled or broken call.
    pub cleanup: Duration,
}

impl Timeouts {
    /// The longest time of a task of this kind.
    pub fn of(&self, kind: TaskKind) -> Duration {
        match kind {
            TaskKind::Prepare => self.prepare,
            TaskKind::Maintain => self.maintain,
            TaskKind::Open => self.open,
            TaskKind::Check | TaskKind::Recheck => self.check,
            TaskKind::Introspect => self.introspect,
            TaskKind::PowerOff => self.power_off,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(600),
            maintain: Duration::from_secs(120),
            open: Duration::from_secs(60),
            check: Duration::from_secs(30),
            introspect: Duration::from_secs(900),
            power_off: Duration::from_secs(60),
            cleanup: Duration::from_secs(5),
        }
    }
}

/// Finding out what boards are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introspections {
    /// Longest times in states.
    pub rules: introspection::Rules,
    /// Inventories that are processed at the same time; the others wait.
    pub at_once: usize,
    /// Unknown boards of which it is not decided whether they become workers; beyond, they are refused.
    pub enrolling: usize,
    /// Whether a worker that was never introspected is, before it is first prepared.
    pub first: bool,
}

impl Default for Introspections {
    fn default() -> Self {
        Self { rules: introspection::Rules::default(), at_once: 4, enrolling: 100, first: false }
    }
}

/// How instances of the controller know each other alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// Between two signs of life.
    pub heartbeat: SignedDuration,
    /// An instance that was silent for longer has died.
    pub silence: SignedDuration,
}

impl Default for Life {
    fn default() -> Self {
        Self { heartbeat: SignedDuration::from_secs(15), silence: SignedDuration::from_secs(60) }
    }
}

/// Caps on what a farm holds; beyond them a clear refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Registered workers.
    pub workers: usize,
    /// Requests that have not ended.
    pub live_requests: usize,
    /// Requests named to the policy in one round.
    pub demands_per_round: usize,
    /// Installed versions of plugins, all together.
    pub plugin_versions: usize,
    /// Limits on running tasks that were ever set.
    pub limits: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            workers: 100_000,
            live_requests: 1_000_000,
            demands_per_round: 4096,
            plugin_versions: 1000,
            limits: 10_000,
        }
    }
}

/// How long what has ended is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Ended requests, by time since their end.
    pub requests: SignedDuration,
    /// Ended requests, by number: the oldest go first.
    pub requests_max: usize,
    /// Ended tasks and events.
    pub history: SignedDuration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            requests: SignedDuration::from_hours(24 * 7),
            requests_max: 100_000,
            history: SignedDuration::from_hours(24 * 30),
        }
    }
}
