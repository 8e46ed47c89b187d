//! Whatever happens, in whatever order.

use std::time::Duration;

use grove_engine::{Config, EngineState, Exit, State};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::kit::{Log, MS, Puppet, after, config, puppet, start};

/// Something that happens to one of the services.
#[derive(Clone, Debug)]
enum Step {
    Install(usize),
    Replace(usize, usize),
    Uninstall(usize),
    Bounce(usize),
    End(usize, u8),
    Start(usize, u16),
    Stop(usize, u16),
    Deaf(usize),
    FailStart(usize, bool),
    Wait(u16),
}

const SERVICES: usize = 7;

fn step() -> impl Strategy<Value = Step> {
    let one = 0..SERVICES;
    prop_oneof![
        4 => one.clone().prop_map(Step::Install),
        1 => (one.clone(), one.clone()).prop_map(|(one, other)| Step::Replace(one, other)),
        2 => one.clone().prop_map(Step::Uninstall),
        3 => one.clone().prop_map(Step::Bounce),
        5 => (one.clone(), 0u8..6).prop_map(|(one, kind)| Step::End(one, kind)),
        1 => (one.clone(), 0u16..300).prop_map(|(one, millis)| Step::Start(one, millis)),
        2 => (one.clone(), 0u16..3000).prop_map(|(one, millis)| Step::Stop(one, millis)),
        1 => one.clone().prop_map(Step::Deaf),
        1 => (one, any::<bool>()).prop_map(|(one, fails)| Step::FailStart(one, fails)),
        6 => prop_oneof![0u16..3, 0u16..50, 0u16..3000].prop_map(Step::Wait),
    ]
}

/// Each service's inputs: any of the ones before it.
fn inputs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let one = |number: usize| prop::collection::vec(0..number.max(1), 0..=number.min(3));
    (0..SERVICES).map(one).collect::<Vec<_>>()
}

fn name(number: usize) -> String {
    format!("s{number}")
}

async fn play(
    inputs: Vec<Vec<usize>>,
    steps: Vec<Step>,
    modest: u8,
    config: Config,
) -> Result<(), TestCaseError> {
    let (engine, log) = start(config);
    let make = |number: usize, inputs: &[usize]| {
        let inputs: Vec<String> =
            inputs.iter().filter(|input| **input < number).map(|input| name(*input)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        puppet(&name(number), &inputs).with(|puppet| {
            puppet.modest = modest >> number & 1 == 1;
            puppet.strict = true;
        })
    };
    let mut puppets: Vec<Puppet> =
        inputs.iter().enumerate().map(|(number, inputs)| make(number, inputs)).collect();
    for step in steps {
        let handle = engine.handle();
        match step {
            Step::Install(one) => drop(engine.install(puppets[one].service()).await),
            Step::Replace(one, other) => {
                // The same puppet, that must not live twice, with other inputs.
                puppets[one].inputs = make(one, &inputs[other]).inputs;
                let service = puppets[one].service();
                tokio::spawn(async move { handle.replace(service).await });
            }
            Step::Uninstall(one) => drop(tokio::spawn(async move { handle.uninstall(name(one)).await })),
            Step::Bounce(one) => drop(engine.bounce(name(one)).await),
            Step::End(one, kind) => puppets[one].end(match kind {
                0 => Exit::Clean,
                1 => Exit::Bounce,
                2 => Exit::Uninstall,
                3 => Exit::Aborted,
                _ => Exit::failed("broken"),
            }),
            Step::Start(one, millis) => puppets[one].now(|puppet| puppet.start = u32::from(millis) * MS),
            Step::Stop(one, millis) => puppets[one].now(|puppet| puppet.stop = u32::from(millis) * MS),
            Step::Deaf(one) => puppets[one].now(|puppet| puppet.deaf = !puppet.deaf),
            Step::FailStart(one, fails) => {
                puppets[one].now(|puppet| puppet.fail = fails.then(|| Exit::failed("no")));
            }
            Step::Wait(millis) => after(u32::from(millis)).await,
        }
    }

    // When nothing more happens, all that can run runs, and nothing is left stopping.
    for puppet in &puppets {
        puppet.now(|puppet| (puppet.fail, puppet.deaf, puppet.start) = (None, false, Duration::ZERO));
    }
    after(600_000).await;
    let report = engine.report().await;
    for service in &report.services {
        let complete = service.inputs.iter().all(|input| input.state == Some(State::Started));
        let ended_clean = service.state == State::Stopped;
        let needy = service.inputs.is_empty() || complete;
        prop_assert!(service.state == State::Started || ended_clean || !needy, "{service:#?}");
        prop_assert!(
            matches!(service.state, State::Started | State::Stopped | State::Waiting),
            "{service:#?}"
        );
    }

    // A kill gives the order up after a while.
    puppets.iter().for_each(|puppet| puppet.now(|puppet| puppet.strict = false));
    engine.kill();
    let ended = engine.wait().await;
    prop_assert!(ended.is_ok(), "{ended:?}");
    check(&log)?;
    let report = engine.report().await;
    prop_assert_eq!(report.state, EngineState::Stopped);
    prop_assert!(report.services.iter().all(|service| service.state == State::Stopped));
    prop_assert!(puppets.iter().all(|puppet| puppet.lives() == 0));
    Ok(())
}

fn check(log: &Log) -> Result<(), TestCaseError> {
    prop_assert!(log.is_quiet());
    prop_assert_eq!(log.count("starting "), log.count("stopped "));
    Ok(())
}

/// On real threads and real time: whatever a race may bring about.
#[test]
fn threads_change_nothing() {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let zero = Duration::ZERO;
        let (engine, log) = start(Config { error_delay: MS, bounce_delay: zero, settle: zero, ..config() });
        let puppets: Vec<Puppet> = (0..40)
            .map(|number: usize| {
                let inputs: Vec<String> = [number / 2, number / 3]
                    .iter()
                    .filter(|input| **input < number)
                    .map(|input| name(*input))
                    .collect();
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                puppet(&name(number), &inputs).with(|puppet| puppet.strict = true)
            })
            .collect();
        for puppet in &puppets {
            engine.install(puppet.service()).await.unwrap();
        }
        let users: Vec<_> = (0..8)
            .map(|user: u64| {
                let (handle, puppets) = (engine.handle(), puppets.clone());
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(user);
                    for _ in 0..150 {
                        let puppet = &puppets[random.usize(..puppets.len())];
                        match random.u8(..8) {
                            0 => drop(handle.uninstall(&puppet.name).await),
                            1 => drop(handle.install(puppet.service()).await),
                            2 => drop(handle.bounce(&puppet.name).await),
                            3 => drop(handle.replace(puppet.service()).await),
                            4 => puppet.end(Exit::Bounce),
                            5 => drop(handle.report().await),
                            _ => puppet.fail(),
                        }
                    }
                })
            })
            .collect();
        for user in users {
            user.await.unwrap();
        }
        for puppet in &puppets {
            engine.install(puppet.service()).await.ok();
        }
        // Real time: however slow the machine is.
        let mut idle = usize::MAX;
        for _ in 0..2000 {
            let report = engine.report().await;
            idle = report.services.iter().filter(|service| service.state != State::Started).count();
            if idle == 0 {
                break;
            }
            after(10).await;
        }
        assert_eq!(idle, 0, "{:#?}", engine.report().await);
        engine.kill();
        engine.wait().await.unwrap();
        check(&log).unwrap();
    });
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Some; more with PROPTEST_CASES.
fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(asked.unwrap_or(200)) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn ends_well(inputs in inputs(), steps in prop::collection::vec(step(), 0..60), modest: u8) {
        run(async { play(inputs, steps, modest, config()).await })?;
    }

    #[test]
    fn ends_well_without_delays(inputs in inputs(), steps in prop::collection::vec(step(), 0..40), modest: u8) {
        let zero = Duration::ZERO;
        // Errors keep a delay: without any, one that fails for ever leaves paused time no chance to move on.
        let config = Config { bounce_delay: zero, settle: zero, ..config() };
        run(async { play(inputs, steps, modest, config).await })?;
    }

    #[test]
    fn ends_when_killed_at_any_moment(
        inputs in inputs(), steps in prop::collection::vec(step(), 0..40), modest: u8, moment in 0u32..5000
    ) {
        run(async {
            let (engine, log) = start(config());
            let handle = engine.handle();
            let killer = tokio::spawn(async move {
                after(moment).await;
                handle.kill();
                handle.wait().await
            });
            let puppets: Vec<_> = inputs.iter().enumerate().map(|(number, inputs)| {
                let inputs: Vec<_> = inputs.iter().filter(|input| **input < number).map(|input| name(*input)).collect();
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                puppet(&name(number), &inputs).with(|puppet| puppet.modest = modest >> number & 1 == 1)
            }).collect();
            for step in steps {
                match step {
                    Step::Install(one) => drop(engine.install(puppets[one].service()).await),
                    Step::Bounce(one) => drop(engine.bounce(name(one)).await),
                    Step::End(one, 0) => puppets[one].end(Exit::Clean),
                    Step::End(one, _) => puppets[one].fail(),
                    Step::Start(one, millis) => puppets[one].now(|puppet| puppet.start = u32::from(millis) * MS),
                    Step::Stop(one, millis) => puppets[one].now(|puppet| puppet.stop = u32::from(millis) * MS),
                    Step::Deaf(one) => puppets[one].now(|puppet| puppet.deaf = !puppet.deaf),
                    Step::Wait(millis) => after(u32::from(millis)).await,
                    _ => {}
                }
            }
            let ended = killer.await.unwrap();
            prop_assert!(ended.is_ok(), "{:?}", ended);
            check(&log)
        })?;
    }
}
