//! What the engine costs: `cargo run --release --example engine_figures -p grove-engine`.
//!
//! Chains and fan-outs of services that do nothing, without delays, on one thread. Beside each figure that of a twin in
//! the same run that only spawns as many tokio tasks with a token each, in the same order, and stops and awaits them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use grove_engine::{Config, Engine, Environment, Observer, Output, Scope, Service};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

/// How often each is measured; the least counts.
const RUNS: usize = 5;

/// The inputs of the service of that number.
type Shape = fn(usize) -> Option<usize>;

struct Figures {
    install: Duration,
    bounce: Duration,
    kill: Duration,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shapes: [(&str, Shape); 3] = [
        ("chain", |number| number.checked_sub(1)),
        ("fan-out", |number| (number > 0).then_some(0)),
        ("chain, from its end", |number| Some(number + 1)),
    ];
    println!("{:<20} {:>6} {:>28} {:>28} {:>28}", "ns per service", "", "install", "bounce", "kill");
    for (name, shape) in shapes {
        let mut before: Option<Figures> = None;
        for count in [10, 100, 1000, 3000] {
            let ours = least(|| run(engine(count, shape)))?;
            let twin = least(|| run(twin(count)))?;
            print!("{name:<20} {count:>6}");
            for part in [|f: &Figures| f.install, |f: &Figures| f.bounce, |f: &Figures| f.kill] {
                let each = |figures: &Figures| part(figures).as_secs_f64() * 1e9 / count as f64;
                let ratio = each(&ours) / each(&twin);
                let growth =
                    before.as_ref().map(|before| part(&ours).as_secs_f64() / part(before).as_secs_f64());
                let growth = growth.map_or(String::new(), |growth| format!("x{growth:.1}"));
                print!("  {:>7.0} {growth:>6} {:>11}", each(&ours), format!("{ratio:.1} twins"));
            }
            println!();
            before = Some(ours);
        }
    }
    Ok(())
}

/// Installs, bounces from the root, kills.
async fn engine(count: usize, shape: Shape) -> Result<Figures, Box<dyn std::error::Error>> {
    let zero = Duration::ZERO;
    let config = Config { bounce_delay: zero, settle: zero, ..Config::default() };
    let starts = Starts::default();
    let environment = Environment::new(|| SystemTime::UNIX_EPOCH, || 0.5).observer(starts.clone());
    let engine = Engine::start(config, environment)?;
    let begun = spent();
    for number in 0..count {
        let service = Service::new(number.to_string(), move |scope: Scope| async move {
            if let Some(input) = shape(number) {
                // The last of a chain from its end has nobody to need.
                if input < count {
                    scope.exists(&input.to_string())?;
                }
            }
            scope.started(Output::none());
            scope.stop().cancelled().await;
            Ok(())
        });
        let inputs = shape(number).map(|input| input.to_string());
        engine.install(inputs.iter().fold(service, Service::needs_named)).await?;
    }
    starts.reach(count).await;
    let installed = spent();

    let root = if shape(0).is_some() { count - 1 } else { 0 };
    let again = spent();
    engine.bounce(root.to_string()).await?;
    starts.reach(2 * count).await;
    let bounced = spent();

    let killed = spent();
    engine.kill();
    engine.wait().await?;
    Ok(Figures { install: installed - begun, bounce: bounced - again, kill: spent() - killed })
}

/// Counts starts.
#[derive(Clone, Default)]
struct Starts(Arc<AtomicUsize>);

impl Observer for Starts {
    fn started(&self, _: &str, _: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Starts {
    async fn reach(&self, count: usize) {
        while self.0.load(Ordering::Relaxed) < count {
            yield_now().await;
        }
    }
}

async fn twin(count: usize) -> Result<Figures, Box<dyn std::error::Error>> {
    let spawn = || {
        let token = CancellationToken::new();
        let stop = token.clone();
        (token, tokio::spawn(async move { stop.cancelled().await }))
    };
    let begun = spent();
    let tasks: Vec<_> = (0..count).map(|_| spawn()).collect();
    yield_now().await;
    let installed = spent();
    let mut next = Vec::new();
    for (token, task) in tasks {
        token.cancel();
        task.await?;
        next.push(spawn());
    }
    yield_now().await;
    let bounced = spent();
    for (token, task) in next {
        token.cancel();
        task.await?;
    }
    Ok(Figures { install: installed - begun, bounce: bounced - installed, kill: spent() - bounced })
}

fn run<T>(
    work: impl Future<Output = Result<T, Box<dyn std::error::Error>>>,
) -> Result<T, Box<dyn std::error::Error>> {
    Builder::new_current_thread().enable_time().build()?.block_on(work)
}

fn least<E>(mut measure: impl FnMut() -> Result<Figures, E>) -> Result<Figures, E> {
    let mut best = measure()?;
    for _ in 1..RUNS {
        let next = measure()?;
        best.install = best.install.min(next.install);
        best.bounce = best.bounce.min(next.bounce);
        best.kill = best.kill.min(next.kill);
    }
    Ok(best)
}

/// The processor time of this thread, so that a busy machine counts little.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
