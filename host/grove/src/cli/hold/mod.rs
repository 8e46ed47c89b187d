//! Holding a board for as long as one command or shell runs: ask, wait, connect, release.
//!
//! ```text
//!   mod        asks, and whatever happens next, releases
//!     identity   which keys the board shall let in
//!     wait       until the board is there, the request is over, or the user has enough
//!     pulse      tells the farm every few seconds that we are still here, and hears what it says
//!     session    one connection after another, until the user leaves
//!       visit      what ssh shall do on the board
//!       ssh        the way there, as arguments and files
//!       connect    the system's ssh, in the foreground
//!       log        what ssh says of itself
//!     local      a command on this machine instead
//!     notices    what is said meanwhile
//!     signals    Ctrl-C and the like, as values
//!     exit       what the process's exit code says
//! ```

mod connect;
mod exit;
mod identity;
mod local;
mod log;
mod notices;
mod pulse;
mod session;
mod signals;
mod ssh;
mod visit;
pub(crate) mod wait;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use grove_client::wire::request::{NewRequest, Request, RequestState};
use grove_client::wire::{Span, Uuid};
use grove_client::{Client, Error};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::args::Wish;
use super::output::Output;
use super::progress::Progress;
use super::{config, failure};
pub(crate) use exit::CODES;
use exit::Exit;
use identity::Identity;
pub(crate) use identity::first_key;
use notices::Notices;
use pulse::Pulse;
use signals::{Signal, Signals};
pub(crate) use ssh::alias;
pub(crate) use visit::Visit;
use wait::Place;
pub(crate) use wait::{describe, settled};

/// Longest time that is spent on releasing a board that nobody answers for: the farm does it by itself when no
/// heartbeat comes any more.
const RELEASE: Duration = Duration::from_secs(10);
/// Pause between attempts to reach a farm that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);
/// How long an interrupted user waits for the farm's word on the request that was just sent.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What is done while a board is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Session {
    /// Something on the board.
    Remote(Visit),
    /// A program and its arguments, here.
    Local(Vec<OsString>),
}

/// What `run` and `ssh` share.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    wish: Wish,
    /// Longest time to wait for a board, like 90s, 5m [default: no limit]
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Let the job run longer by itself for as long as it is used, up to the farm's limit
    #[arg(long)]
    extend: bool,
    /// Give the board back when nothing went to or from it for so long, at least 1m [default: never]
    #[arg(long, value_name = "TIME")]
    idle: Option<Span>,
    #[command(flatten)]
    pub(crate) line: Line,
}

/// How a connection is kept.
#[derive(Debug, Args)]
pub(crate) struct Line {
    /// Private key to get in with, instead of those that are found [the agent's, ~/.ssh/id_*, else one of grove's own]
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// How often to tell the farm that we are still here
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = heartbeat)]
    heartbeat: Span,
    /// How long the board is kept, and the way to it looked for, while the farm does not hear from us or the board is
    /// down [default: 15m for ssh, 1m for run]
    #[arg(long, value_name = "TIME")]
    away: Option<Span>,
    /// End when the connection is lost
    #[arg(long)]
    no_reconnect: bool,
    /// Read nothing from stdin, as in loops that read there
    #[arg(short = 'n', long)]
    no_stdin: bool,
}

fn heartbeat(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: grove_client::wire::span::SpanError| error.to_string())?;
    if span.as_secs() == 0 { Err("at least 1s".to_owned()) } else { Ok(span) }
}

/// `--away` where it is not given, in minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// A person's, whose shell is opened again.
    Shell,
    /// A program's, whose command cannot be begun again.
    Command,
}

impl Line {
    fn away(&self, patience: Patience) -> Span {
        let default = match patience {
            Patience::Shell => Span::from_secs(15 * 60),
            Patience::Command => Span::from_secs(60),
        };
        self.away.or(default).unwrap_or(Span::MAX)
    }
}

/// Gets a board, lets `session` run on it, gives it back; the code is the process's.
pub(crate) async fn hold(
    farm: &Client,
    out: &Output,
    hold: Hold,
    session: Session,
    patience: Patience,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let program = session.program()?;
    let folder = private_folder()?;
    let identity = identity::choose(hold.line.identity.as_deref(), folder.path(), out).await?;
    let away = hold.line.away(patience);
    let wish = wish(&hold, &identity, away);

    let exit = match ask(farm, &wish, &mut signals).await {
        Ok(Asked::Request(request)) => {
            let pulse = Pulse::start(farm.clone(), &request, hold.line.heartbeat);
            let mut stay =
                Stay::new(farm, out, request.id, program, folder.path(), &identity, pulse, &hold.line, away);
            let exit = stay.through(*request, hold.wait, &session, &mut signals).await;
            stay.release(&exit, &mut signals).await;
            exit
        }
        Ok(Asked::Interrupted(signal)) => Exit::Interrupted(signal),
        Err(error) => Exit::of_error(error),
    };
    exit.tell();
    Ok(exit.code())
}

/// Another session on a board that is held already; it goes on when this one ends.
pub(crate) async fn join(
    farm: &Client,
    out: &Output,
    id: u64,
    line: Line,
    visit: Visit,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let session = Session::Remote(visit);
    let program = session.program()?;
    let folder = private_folder()?;
    let away = line.away(Patience::Shell);
    let exit = match to_running(farm, id).await {
        Ok(Ok((request, place, key))) => {
            let identity =
                identity::to_join(line.identity.as_deref(), key.as_deref(), folder.path(), out).await?;
            let pulse = Pulse::start(farm.clone(), &request, line.heartbeat);
            let mut stay = Stay::new(farm, out, id, program, folder.path(), &identity, pulse, &line, away);
            stay.on_board(place, &session, &mut signals).await
        }
        Ok(Err(exit)) => exit,
        Err(error) => Exit::of_error(error),
    };
    exit.tell();
    Ok(exit.code())
}

/// Where a running job is, and the key that the farm has made for it.
async fn to_running(farm: &Client, id: u64) -> Result<Result<(Request, Place, Option<String>), Exit>, Error> {
    let request = wait::patiently(|| farm.request(id)).await?;
    if request.state.is_terminal() {
        return Ok(Err(Exit::of_request(&request)));
    }
    if request.state == RequestState::Waiting {
        let hint = format!("`grove why {id}` says what it waits for");
        let error = failure::Hinted::new(format!("request {id} has no board yet"), hint);
        return Ok(Err(Exit::Local(error.into())));
    }
    let job = wait::patiently(|| farm.job(id)).await?;
    let key = job.access.as_ref().and_then(|access| access.private_key.clone());
    match Place::of(&job) {
        Some(place) => Ok(Ok((request, place, key))),
        None => Ok(Err(Exit::of_request(&wait::patiently(|| farm.request(id)).await?))),
    }
}

impl Session {
    /// What is run here for it, so that its absence is known before a board is asked for.
    fn program(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Remote(_) => ssh::program(),
            Self::Local(argv) => local::program(argv),
        }
    }
}

fn wish(hold: &Hold, identity: &Identity, away: Span) -> NewRequest {
    NewRequest {
        wants: hold.wish.terms.clone(),
        priority: hold.wish.priority,
        length: hold.wish.length,
        keys: identity.keys.clone(),
        heartbeat: Some(hold.line.heartbeat),
        away: Some(away),
        idle: hold.idle,
        extend: hold.extend,
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
    id: u64,
    program: PathBuf,
    folder: &'a Path,
    identity: &'a Identity,
    pulse: Pulse,
    notices: Notices,
    /// How long the way to the board is looked for.
    away: Span,
    /// How often we and the others ask each other whether they are there.
    alive: Span,
    reconnect: bool,
    stdin: bool,
}

impl<'a> Stay<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is a part of it")]
    fn new(
        farm: &'a Client,
        out: &'a Output,
        id: u64,
        program: PathBuf,
        folder: &'a Path,
        identity: &'a Identity,
        pulse: Pulse,
        line: &Line,
        away: Span,
    ) -> Self {
        Self {
            farm,
            out,
            id,
            program,
            folder,
            identity,
            pulse,
            notices: Notices::new(out),
            away,
            alive: line.heartbeat,
            reconnect: !line.no_reconnect,
            stdin: !line.no_stdin,
        }
    }

    async fn through(
        &mut self,
        request: Request,
        bound: Option<Span>,
        session: &Session,
        signals: &mut Signals,
    ) -> Exit {
        let arrival = {
            let mut progress = Progress::new(self.out);
            tokio::select! {
                arrival = wait::board(self.farm, request, bound, &mut progress) => arrival,
                signal = signals.next() => return Exit::Interrupted(signal),
            }
        };
        match arrival {
            Ok(wait::Arrival::Board(place)) => self.on_board(*place, session, signals).await,
            Ok(wait::Arrival::Over(request)) => Exit::of_request(&request),
            Ok(wait::Arrival::Late(bound)) => Exit::Late { id: self.id, bound },
            Err(error) => Exit::of_error(error),
        }
    }

    async fn on_board(&mut self, place: Place, session: &Session, signals: &mut Signals) -> Exit {
        match session {
            Session::Remote(visit) => self.visit(visit, place, signals).await,
            Session::Local(argv) => self.local(argv, place, signals).await,
        }
    }

    /// Gives the board back, or takes the wish back. A second interruption ends the attempt.
    async fn release(&self, exit: &Exit, signals: &mut Signals) {
        let (farm, id) = (self.farm, self.id);
        if exit.is_over() || exit.may_come_back() {
            return;
        }
        if self.pulse.told().kept {
            self.out.remark(&format!("job {id} goes on: `grove ssh --job {id}`, `grove request close {id}`"));
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
        let later = format!("the farm closes it when it has heard nothing for {}", self.away);
        let result = tokio::select! {
            result = timeout(RELEASE, close) => result,
            _ = signals.next() => {
                self.out.warning(&format!("request {id} may be open for a while: {later}"));
                return;
            }
        };
        match result {
            Ok(Ok(())) => {}
            // Somebody else, or its time, was faster.
            Ok(Err(error)) if error.is_not_found() || error.is_conflict() => {}
            Ok(Err(error)) => {
                self.out.warning(&format!("request {id} could not be closed"));
                failure::say(&error);
            }
            Err(_) => self.out.warning(&format!(
                "request {id} could not be closed: {} does not answer; {later}",
                farm.base_url()
            )),
        }
    }
}

/// A folder for keys and host keys, which are nobody else's to read. Its name goes into options of ssh, where not all
/// versions can quote everything.
fn private_folder() -> anyhow::Result<TempDir> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@,=".contains(byte);
    let usual = std::env::temp_dir();
    let folder = if usual.as_os_str().as_bytes().iter().all(plain) { usual } else { PathBuf::from("/tmp") };
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    Ok(tempfile::Builder::new().prefix("grove-").permissions(private).tempdir_in(folder)?)
}
