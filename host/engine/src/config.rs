//! What the engine is told when it starts: its rules, and what it has of the world.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backoff::Backoff;
use crate::engine::Fatal;
use crate::exit::Exit;
use crate::observer::Observer;

/// The rules of an engine. [`Config::default`] is fit for a controller; no service is fatal in it.
#[derive(Clone)]
pub struct Config {
    /// The delay before a service that failed is started again.
    pub error_delay: Duration,
    /// The delay before a service that was bounced is started again.
    pub bounce_delay: Duration,
    /// By what each further error, or bounce, in a row multiplies the delay; 0: not at all, else at least 1.
    pub backoff_factor: f64,
    /// No delay is longer than this, jitter included; zero: no limit (but a year).
    pub max_delay: Duration,
    /// A run longer than this makes errors and bounces before it forgotten.
    pub reset_after: Duration,
    /// How long changes of inputs are collected before they bounce a running service, once.
    pub settle: Duration,
    /// How long a service may take to stop before it is aborted, and how long all of them may when the engine stops.
    pub kill_deadline: Duration,
    /// How long a service may take to tell its details for a report.
    pub report_timeout: Duration,
    /// How often at most reports are published to those who watch.
    pub report_interval: Duration,
    /// How many services there may be.
    pub max_services: usize,
    /// Whether this end of a service stops the engine. Asked for every end, even a clean one.
    pub is_fatal: IsFatal,
    /// The worse of a new fatal end and the one remembered so far. Asked for every fatal end.
    pub worst: Worst,
    /// What those who wait for the engine are told of the worst fatal end; `None`: that all is well.
    pub filter: Filter,
}

/// See [`Config::is_fatal`].
pub type IsFatal = Arc<dyn Fn(&str, &Exit) -> bool + Send + Sync>;
/// See [`Config::worst`].
pub type Worst = Arc<dyn Fn(Fatal, Option<Fatal>) -> Fatal + Send + Sync>;
/// See [`Config::filter`].
pub type Filter = Arc<dyn Fn(Fatal) -> Option<Fatal> + Send + Sync>;

impl Default for Config {
    fn default() -> Self {
        Self {
            error_delay: Duration::from_secs(3),
            bounce_delay: Duration::from_millis(10),
            backoff_factor: 1.6,
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
            settle: Duration::from_millis(10),
            kill_deadline: Duration::from_secs(30),
            report_timeout: Duration::from_secs(1),
            report_interval: Duration::from_millis(100),
            max_services: 10_000,
            is_fatal: Arc::new(|_, _| false),
            worst: Arc::new(|new, old| old.unwrap_or(new)),
            filter: Arc::new(Some),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(self.backoff_factor == 0.0 || self.backoff_factor >= 1.0 && self.backoff_factor.is_finite()) {
            return Err(ConfigError::Factor(self.backoff_factor));
        }
        let positive = [
            ("kill deadline", self.kill_deadline.is_zero()),
            ("report timeout", self.report_timeout.is_zero()),
            ("report interval", self.report_interval.is_zero()),
            ("limit on services", self.max_services == 0),
        ];
        if let Some((what, _)) = positive.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Zero(what));
        }
        let times = [
            ("error delay", self.error_delay),
            ("bounce delay", self.bounce_delay),
            ("max delay", self.max_delay),
            ("reset time", self.reset_after),
            ("settle time", self.settle),
            ("kill deadline", self.kill_deadline),
            ("report timeout", self.report_timeout),
            ("report interval", self.report_interval),
        ];
        let long = times.into_iter().find(|(_, time)| *time > MAX_TIME);
        long.map_or(Ok(()), |(what, time)| Err(ConfigError::TooLong(what, time)))
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff { factor: self.backoff_factor, max: self.max_delay }
    }
}

/// No time of a config may be longer, so that adding it to an instant cannot overflow.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why an engine cannot start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The back-off factor would make delays shrink, or is no number.
    #[error("invalid back-off factor {0}: must be 0 or at least 1")]
    Factor(f64),
    /// This must not be zero.
    #[error("invalid {0}: must not be zero")]
    Zero(&'static str),
    /// This is longer than a year.
    #[error("invalid {0} of {1:?}: must be a year at most")]
    TooLong(&'static str, Duration),
    /// There is no tokio runtime to run in.
    #[error("not within a tokio runtime")]
    NoRuntime,
}

/// What the engine has of the world: randomness, the wall clock, and who observes it.
#[derive(Clone)]
pub struct Environment {
    pub(crate) random: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(crate) now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Environment {
    /// `now` tells the wall clock's time, used in reports only; `random` gives numbers from 0 to 1 for jitter. Nobody
    /// observes.
    pub fn new(
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
        random: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { random: Arc::new(random), now: Arc::new(now), observer: Arc::new(()) }
    }

    /// With this observer.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
