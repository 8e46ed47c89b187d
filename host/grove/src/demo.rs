//! `grove demo`: a whole farm on this machine. Its boards are small real ssh servers, prepared through the real ssh
//! driver; everything else is what `grove serve` runs.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use grove_access::board::{BOARD_USER, Board, BoardSettings, identity};
use grove_client::Client;
use grove_wire::worker::WorkerState;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::serve::config::Config;
use crate::serve::house::{House, Port};
use crate::serve::{self, log_to_stderr, runtime, stop_on_signal};

/// Run a farm of small boards on this machine, to try Grove on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    serve: serve::Args,
    /// Boards to have
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=200), value_name = "N")]
    boards: u16,
    /// Requests that others seem to have made
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=200), value_name = "N")]
    requests: u16,
}

/// Name of the secret that the controller logs in to the boards with.
const IDENTITY: &str = "demo-boards";
/// What the boards seem to be: (board, cameras, UARTs, voltage).
const MODELS: [(&str, &str, &str, &str); 3] =
    [("rpi4", "1", "2", "5"), ("odroid", "0", "4", "12"), ("phone", "3", "1", "3.7")];
/// Jobs of the others, in turn: (wants, for).
const WISHES: [(&str, &str); 3] = [("board=odroid", "2m"), ("camera=3..", "3m"), ("board=tpu", "1m")];

/// Serves the demo until SIGTERM or SIGINT. Without `--state` nothing of it is left behind.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (boards, requests) = (args.boards, args.requests);
    let mut config = args.serve.config()?;
    let scratch = match &config.state {
        Some(_) => None,
        None => {
            Some(tempfile::Builder::new().prefix("grove-demo-").tempdir().context("no place for the demo")?)
        }
    };
    if let Some(scratch) = &scratch {
        config.state = Some(scratch.path().to_owned());
    }
    if std::env::var_os("GROVE_LOG").is_none() {
        // The terminal belongs to the demo's own words.
        serve::log_only_warnings();
    } else {
        log_to_stderr();
    }
    runtime()?.block_on(async {
        let stop = stop_on_signal()?;
        let farm = Farm::start(&config, boards).await?;
        let house = House::start(config, Port::MustBeFree).await?;
        let address = house.ready().await?;
        let serving = tokio::spawn(house.run(stop.clone()));
        let set_up = farm.set_up(address, requests, &stop).await;
        if set_up.is_err() {
            stop.cancel();
        }
        serving.await.context("serving was interrupted")??;
        farm.stop().await;
        set_up.map(|()| ExitCode::SUCCESS)
    })
}

/// The boards.
struct Farm {
    boards: Vec<Board>,
}

impl Farm {
    async fn start(config: &Config, count: u16) -> anyhow::Result<Self> {
        let state = config.state()?;
        let (secrets, homes) = (state.join("secrets"), state.join("boards"));
        for folder in [&secrets, &homes] {
            private(folder)?;
        }
        let admin_key = identity(&secrets.join(IDENTITY))?;
        let mut boards = Vec::new();
        for number in 1..=count {
            let name = format!("board-{number}");
            let home: PathBuf = homes.join(&name);
            boards.push(Board::start(BoardSettings::new(&name, home, &admin_key)).await?);
        }
        Ok(Self { boards })
    }

    /// Registers the boards and makes the others' requests, over HTTP as anybody would.
    async fn set_up(
        &self,
        address: SocketAddr,
        requests: u16,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let farm = Client::new(&format!("http://{address}"))?;
        for (number, board) in self.boards.iter().enumerate() {
            register(&farm, number, board).await?;
        }
        for number in 0..self.boards.len() {
            until_idle(&farm, number, stop).await?;
        }
        for (wants, length) in WISHES.iter().cycle().take(usize::from(requests)) {
            let wish = serde_json::from_value(serde_json::json!({ "wants": [wants], "for": length }))?;
            farm.create_request(&wish, None).await?;
        }
        say(address, self.boards.len())
    }

    async fn stop(&self) {
        for board in &self.boards {
            board.stop().await;
        }
    }
}

/// The same boards have the same identities in every demo.
fn uuid_of(number: usize) -> Uuid {
    Uuid::from_u64_pair(0x6772_6f76_6500_4000, 0x8000_0000_0000_0001 + number as u64)
}

async fn register(farm: &Client, number: usize, board: &Board) -> anyhow::Result<()> {
    let (model, cameras, uarts, voltage) = MODELS.get(number % MODELS.len()).copied().unwrap_or_default();
    let registration = serde_json::from_value(serde_json::json!({
        "driver": "ssh",
        "driver_config": {
            "host": board.addr().ip().to_string(),
            "port": board.addr().port(),
            "user": BOARD_USER,
            "identity": IDENTITY,
            "host_key": board.host_key_line(),
        },
        "capabilities": { "board": model, "camera": cameras, "uart": uarts, "voltage": voltage },
    }))?;
    farm.put_worker(uuid_of(number), &registration, None).await?;
    let state = serde_json::from_value(serde_json::json!({ "state": "idle" }))?;
    farm.move_worker(uuid_of(number), &state, None).await?;
    Ok(())
}

async fn until_idle(farm: &Client, number: usize, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let worker = farm.worker(uuid_of(number)).await?;
        match worker.state {
            WorkerState::Prepare => {}
            WorkerState::Failed => {
                anyhow::bail!("board {} failed: {}", number + 1, worker.reason.unwrap_or_default())
            }
            _ => return Ok(()),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
    }
}

/// What to do next, with the name by which this very program was called.
fn say(address: SocketAddr, boards: usize) -> anyhow::Result<()> {
    let grove = std::env::args().next().unwrap_or_else(|| "grove".to_owned());
    let server = match address.port() {
        8487 => String::new(),
        _ => format!(" --server http://{address}"),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "grove: listening on http://{address}\n\
         \n\
         {boards} boards are ready. In another terminal:\n\
         \n    {grove}{server} ssh board=rpi4          # be on a board\n    \
         {grove}{server} run camera -- uname -a   # run one command on one\n    \
         {grove}{server} worker list              # see them all\n    \
         {grove}{server} events -f                # see what happens\n\
         \n\
         Ctrl-C ends the demo."
    )
    .and_then(|()| out.flush())
    .context("failed to say where the demo is")
}

fn private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("failed to make {}", folder.display()))
}
