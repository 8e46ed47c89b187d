//! Carrying out what the config says of a call.

use std::time::Duration;

use grove_plugin::driver::{Board, Failure, task};

use crate::config::{Behaviour, Call, Config, Hang, Kind};

/// How often a delay is interrupted to say how far it is.
const SLICES: u32 = 10;

/// Takes the configured time, then ends as configured.
///
/// # Errors
/// The configured failure; [`Failure::Stopped`] when the task is.
pub(crate) fn act(board: &Board<Config>, call: Call) -> Result<(), Failure> {
    let behaviour = board.config.behaviour(call);
    delay(behaviour.delay_ms)?;
    match behaviour.hang {
        Some(Hang::Wasm) => loop {
            std::hint::spin_loop();
        },
        Some(Hang::Host) => loop {
            task::sleep(Duration::from_millis(u64::from(u32::MAX)))?;
        },
        None => {}
    }
    match behaviour.failure {
        Some(kind) if fails(behaviour, &board.uuid, call) => Err(failure(kind, &behaviour.text, call)),
        _ => Ok(()),
    }
}

fn delay(ms: u32) -> Result<(), Failure> {
    if ms == 0 {
        return Ok(());
    }
    for (slice, percent) in (0..SLICES).zip((0..100_u8).step_by(100 / SLICES as usize)) {
        task::progress(percent, "simulating")?;
        // Slices of equal length that add up to exactly the delay.
        let part = ms / SLICES + u32::from(slice < ms % SLICES);
        task::sleep(Duration::from_millis(u64::from(part)))?;
    }
    task::progress(100, "simulated")
}

fn fails(behaviour: &Behaviour, uuid: &str, call: Call) -> bool {
    // FNV-1a, finished by a multiply-shift so that the high bits depend on all of the input.
    let bytes = behaviour.seed.to_le_bytes().into_iter().chain(uuid.bytes()).chain(call.name().bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let high = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let chance = high as f64 / f64::from(u32::MAX);
    behaviour.probability >= 1.0 || chance < behaviour.probability
}

fn failure(kind: Kind, text: &str, call: Call) -> Failure {
    let text =
        if text.is_empty() { format!("simulated failure of {}", call.name()) } else { text.to_owned() };
    match kind {
        Kind::Device => Failure::Device(text),
        Kind::Config => Failure::Config(text),
        Kind::Environment => Failure::Environment(text),
    }
}

#[cfg(test)]
mod tests {
    use grove_plugin::driver::{Driver, Introspect, Power, PowerAction};
    use grove_plugin::inspector::Inventory;

    use super::*;
    use crate::Simulated;

    fn board(uuid: &str, config: &str) -> Board<Config> {
        let config = serde_json::from_str(config).expect("config");
        Board { uuid: uuid.into(), capabilities: Vec::new(), config }
    }

    #[test]
    fn an_empty_config_does_well() {
        let access = Simulated::prepare(&board("a", "{}")).unwrap();
        assert_eq!(
            (access.ssh.host.as_str(), access.ssh.port, access.user.as_str()),
            ("127.0.0.1", 22, "boruta-user")
        );
        assert!(Simulated::check(&board("a", "{}")).unwrap().ok);
    }

    #[test]
    fn failures_are_of_the_configured_kind() {
        let config = r#"{"prepare": {"failure": "environment", "text": "no power"}}"#;
        assert_eq!(Simulated::prepare(&board("a", config)), Err(Failure::Environment("no power".into())));
        assert_eq!(Simulated::cleanup(&board("a", config)), Ok(()));
    }

    #[test]
    fn an_inventory_is_the_configured_one_or_that_of_a_small_board() {
        let told = |uuid, config| Simulated::inventory(&board(uuid, config)).unwrap();
        assert_eq!(told("a", "{}"), told("b", r#"{"introspect": {"delay_ms": 0}}"#));
        let small = Inventory::parse(told("a", "{}")).unwrap();
        assert_eq!((small.serial().unwrap().len(), small.number("cpu.count")), (4, Some(4)));
        assert_eq!(told("a", r#"{"inventory": {"cpu": "odd"}}"#), r#"{"cpu":"odd"}"#);
        assert_eq!(told("a", r#"{"inventory": "no object"}"#), r#""no object""#);
        let broken = r#"{"introspect": {"failure": "device"}, "power": {"failure": "environment"}}"#;
        assert!(matches!(Simulated::inventory(&board("a", broken)), Err(Failure::Device(_))));
        let power = |config| Simulated::set_power(&board("a", config), PowerAction::Off);
        assert!(matches!(power(broken), Err(Failure::Environment(_))));
        assert_eq!(power("{}"), Ok(()));
    }

    #[test]
    fn a_probability_is_the_share_of_boards_that_fail_and_the_same_ones_each_time() {
        let config = r#"{"check": {"failure": "device", "probability": 0.25, "seed": 7}}"#;
        let failing = || -> Vec<usize> {
            (0..1000).filter(|n| Simulated::check(&board(&format!("board-{n}"), config)).is_err()).collect()
        };
        let first = failing();
        assert!((150..350).contains(&first.len()), "{}", first.len());
        assert_eq!(first, failing());
    }

    #[test]
    fn misspelt_and_impossible_configs_are_refused() {
        assert!(
            serde_json::from_str::<Config>(r#"{"prepair": {}}"#).unwrap_err().to_string().contains("prepair")
        );
        let config = serde_json::from_str::<Config>(r#"{"check": {"probability": 2}}"#).unwrap();
        assert_eq!(config.validate().unwrap_err(), "check.probability is 2: from 0 to 1");
    }
}
