//! Holding a board for as long as one command or shell runs: ask, wait, connect, release.
//!
//! ```text
//!   mod        asks, and whatever happens next, releases
//!     identity   which keys the board shall let in
//!     wait       until the board is there, the request is over, or the user has enough
//!     pulse      tells the farm every few seconds that we are still here
//!     ssh        the system's ssh, in the foreground
//!     signals    Ctrl-C and the like, as values
//!     exit       what the process's exit code says
//! ```

mod exit;
mod identity;
mod pulse;
mod signals;
mod ssh;
pub(crate) mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use grove_client::wire::request::{NewRequest, Request};
use grove_client::wire::{Span, Uuid};
use grove_client::{Client, Error};
use tokio::time::{sleep, timeout};

use super::args::Wish;
use super::output::Output;
use super::progress::Progress;
use super::{config, failure};
pub(crate) use exit::CODES;
use exit::Exit;
use identity::Identity;
pub(crate) use identity::first_key;
use pulse::Pulse;
use signals::{Signal, Signals};
pub(crate) use ssh::Session;
pub(crate) use wait::{describe, settled};

/// Longest time that is spent on releasing a board that nobody answers for: the farm does it by itself when no
/// heartbeat comes any more.
const RELEASE: Duration = Duration::from_secs(10);
/// Pause between attempts to reach a farm that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);
/// How long an interrupted user waits for the farm's word on the request that was just sent.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What `run` and `ssh` share.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    wish: Wish,
    /// Private key to get in with, instead of those that are found [the agent's, ~/.ssh/id_*, else a new one]
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Longest time to wait for a board, like 90s, 5m [default: no limit]
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// How often to tell the farm that we are still here; it takes the board back after three silences
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = heartbeat)]
    heartbeat: Span,
}

fn heartbeat(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: grove_client::wire::span::SpanError| error.to_string())?;
    if span.as_secs() == 0 { Err("at least 1s".to_owned()) } else { Ok(span) }
}

/// Gets a board, lets `session` run on it, gives it back; the code is the process's.
pub(crate) async fn hold(
    farm: &Client,
    out: &Output,
    hold: Hold,
    session: Session,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let program = ssh::program()?;
    let folder = tempfile::Builder::new().prefix("grove-").permissions(private()).tempdir()?;
    let identity = identity::choose(hold.identity.as_deref(), folder.path()).await?;
    let wish = wish(&hold, &identity);

    let exit = match ask(farm, &wish, &mut signals).await {
        Ok(Asked::Request(request)) => {
            let id = request.id;
            let stay = Stay { farm, out, program, folder: folder.path(), identity: &identity, session };
            let pulse = Pulse::start(farm.clone(), id, hold.heartbeat);
            let exit = stay.through(*request, hold.wait, pulse, &mut signals).await;
            release(farm, out, id, &exit, &mut signals).await;
            exit
        }
        Ok(Asked::Interrupted(signal)) => Exit::Interrupted(signal),
        Err(error) => Exit::of_error(error),
    };
    exit.tell();
    Ok(exit.code())
}

fn wish(hold: &Hold, identity: &Identity) -> NewRequest {
    NewRequest {
        wants: hold.wish.terms.clone(),
        priority: hold.wish.priority,
        length: hold.wish.length,
        keys: identity.keys.clone(),
        heartbeat: Some(hold.heartbeat),
        hints: config::map(&hold.wish.hints),
        ..NewRequest::default()
    }
}

enum Asked {
    Request(Box<Request>),
    Interrupted(Signal),
}

/// Makes the request. An interrupted user still waits a moment for the answer, so that what was made is known and
/// can be closed.
async fn ask(farm: &Client, wish: &NewRequest, signals: &mut Signals) -> Result<Asked, Error> {
    let key = Uuid::new_v4().to_string();
    let created = async {
        match farm.create_request(wish, Some(&key)).await {
            // Nobody is there: better said at once than waited for.
            Err(error) if error.is_unreachable() => Err(error),
            // It may have been made: the key sees to it that it is made once.
            Err(error) if error.is_transient() => {
                wait::patiently(|| farm.create_request(wish, Some(&key))).await
            }
            result => result,
        }
    };
    tokio::pin!(created);
    tokio::select! {
        created = &mut created => created.map(|request| Asked::Request(Box::new(request))),
        signal = signals.next() => {
            if let Ok(Ok(request)) = timeout(LAST_WORD, created).await {
                // Best effort: without heartbeats the farm closes it by itself.
                let _ = timeout(LAST_WORD, farm.close_request(request.id, Some("interrupted by its user"))).await;
            }
            Ok(Asked::Interrupted(signal))
        }
    }
}

/// One stay on a board.
struct Stay<'a> {
    farm: &'a Client,
    out: &'a Output,
    program: PathBuf,
    folder: &'a std::path::Path,
    identity: &'a Identity,
    session: Session,
}

impl Stay<'_> {
    async fn through(
        self,
        request: Request,
        bound: Option<Span>,
        pulse: Pulse,
        signals: &mut Signals,
    ) -> Exit {
        let id = request.id;
        let arrival = {
            let mut progress = Progress::new(self.out);
            tokio::select! {
                arrival = wait::board(self.farm, request, bound, &mut progress) => arrival,
                signal = signals.next() => return Exit::Interrupted(signal),
            }
        };
        let access = match arrival {
            Ok(wait::Arrival::Board(access)) => access,
            Ok(wait::Arrival::Over(request)) => return Exit::of_request(&request),
            Ok(wait::Arrival::Late(bound)) => return Exit::Late { id, bound },
            Err(error) => return Exit::of_error(error),
        };
        let way = match ssh::Way::new(id, &access, self.identity, self.folder) {
            Ok(way) => way,
            Err(error) => return Exit::Local(error),
        };
        let parting = match ssh::connect(&self.program, &way.arguments(&self.session), pulse, signals).await {
            Ok(parting) => parting,
            Err(error) => return Exit::Local(error),
        };
        self.say(id, parting).await
    }

    /// What the end of ssh means.
    async fn say(&self, id: u64, parting: ssh::Parting) -> Exit {
        if let Some(code) = parting.remote_code() {
            return Exit::Remote(code);
        }
        let by = parting.interrupted;
        if let Some(signal @ (Signal::Terminate | Signal::HangUp)) = by {
            return Exit::Interrupted(signal);
        }
        // ssh itself failed, or Ctrl-C ended it, now or in its own time: the farm may know of another reason.
        match (timeout(LAST_WORD, wait::patiently(|| self.farm.request(id))).await, by) {
            (Ok(Ok(request)), _) if request.state.is_terminal() => Exit::of_request(&request),
            (_, Some(signal)) => Exit::Interrupted(signal),
            (Ok(Err(error)), None) if error.is_transient() => Exit::of_error(error),
            _ => Exit::Remote(parting.code()),
        }
    }
}

/// Gives the board back, or takes the wish back. A second interruption ends the attempt.
async fn release(farm: &Client, out: &Output, id: u64, exit: &Exit, signals: &mut Signals) {
    if exit.is_over() {
        return;
    }
    let reason = exit.reason();
    let close = async {
        loop {
            match farm.close_request(id, reason.as_deref()).await {
                Err(error) if error.is_transient() => sleep(AWAY_PAUSE).await,
                result => return result.map(drop),
            }
        }
    };
    let result = tokio::select! {
        result = timeout(RELEASE, close) => result,
        _ = signals.next() => {
            out.warning(&format!("request {id} may be open for a moment: the farm closes it when no heartbeat comes"));
            return;
        }
    };
    match result {
        Ok(Ok(())) => {}
        // Somebody else, or its time, was faster.
        Ok(Err(error)) if error.is_not_found() || error.is_conflict() => {}
        Ok(Err(error)) => {
            out.warning(&format!("request {id} could not be closed"));
            failure::say(&error);
        }
        Err(_) => out.warning(&format!(
            "request {id} could not be closed: {} does not answer; the farm closes it when no heartbeat comes",
            farm.base_url()
        )),
    }
}

/// Keys and host keys are nobody else's to read.
fn private() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o700)
}
