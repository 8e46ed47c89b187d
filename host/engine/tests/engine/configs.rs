use std::time::{Duration, SystemTime};

use grove_engine::{Config, Engine, Environment};

use crate::kit::config;

fn environment() -> Environment {
    Environment::new(|| SystemTime::UNIX_EPOCH, || 0.5)
}

#[tokio::test]
async fn bad_ones_are_refused_with_the_reason() {
    let zero = Duration::ZERO;
    let ages = Duration::MAX;
    let bad = [
        (Config { backoff_factor: 0.5, ..config() }, "invalid back-off factor 0.5: must be 0 or at least 1"),
        (Config { backoff_factor: -1.0, ..config() }, "invalid back-off factor -1: must be 0 or at least 1"),
        (
            Config { backoff_factor: f64::NAN, ..config() },
            "invalid back-off factor NaN: must be 0 or at least 1",
        ),
        (
            Config { backoff_factor: f64::INFINITY, ..config() },
            "invalid back-off factor inf: must be 0 or at least 1",
        ),
        (Config { kill_deadline: zero, ..config() }, "invalid kill deadline: must not be zero"),
        (Config { report_timeout: zero, ..config() }, "invalid report timeout: must not be zero"),
        (Config { report_interval: zero, ..config() }, "invalid report interval: must not be zero"),
        (Config { max_services: 0, ..config() }, "invalid limit on services: must not be zero"),
        (Config { error_delay: ages, ..config() }, "invalid error delay of"),
        (Config { bounce_delay: ages, ..config() }, "invalid bounce delay of"),
        (Config { settle: ages, ..config() }, "invalid settle time of"),
        (Config { kill_deadline: ages, ..config() }, "invalid kill deadline of"),
    ];
    for (config, reason) in bad {
        let error = Engine::start(config, environment()).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error} instead of {reason}");
    }
}

#[tokio::test]
async fn the_edges_are_fine() {
    let zero = Duration::ZERO;
    for factor in [0.0, 1.0, 1e300] {
        let config = Config {
            backoff_factor: factor,
            error_delay: zero,
            bounce_delay: zero,
            max_delay: zero,
            reset_after: zero,
            settle: zero,
            ..Config::default()
        };
        Engine::start(config, environment()).unwrap().wait_killed().await;
    }
}

#[test]
fn there_must_be_a_runtime() {
    let error = Engine::start(config(), environment()).unwrap_err();
    assert_eq!(error.to_string(), "not within a tokio runtime");
}

trait WaitKilled {
    async fn wait_killed(&self);
}

impl WaitKilled for Engine {
    async fn wait_killed(&self) {
        self.kill();
        self.wait().await.unwrap();
    }
}
