//! A session on a board: one connection after another, until its user leaves.

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;

use grove_client::wire::request::Request;
use grove_client::{Client, Error};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{self, Call, Ending, Parting};
use super::exit::Exit;
use super::log::Log;
use super::signals::{Signal, Signals};
use super::ssh::Way;
use super::visit::Visit;
use super::wait::Place;
use super::{LAST_WORD, Stay};

/// Pauses between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// A farm that takes longer to answer is worth a word.
const SLOW: Duration = Duration::from_millis(700);
/// A connection that lasts so long was one.
const WHILE: Duration = Duration::from_secs(10);

/// Why there is no board any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hanging {
    /// The farm says that the job has ended.
    Over,
    /// The farm says nothing.
    Silent,
}

/// A search for the way back.
struct Search {
    until: Instant,
    pause: Duration,
    said: String,
}

impl Stay<'_> {
    /// The way to a board.
    pub(super) fn way(&self, place: &Place) -> anyhow::Result<Way> {
        Way::new(self.id, place.worker, &place.access, self.identity, self.folder, self.alive)
    }

    /// Goes there, again and again where the connection is lost, until the user leaves or the job is over.
    pub(super) async fn visit(&mut self, visit: &Visit, mut place: Place, signals: &mut Signals) -> Exit {
        // Whoever reads the rest of a script in a new shell misses its beginning.
        let scripted =
            visit.command.is_none() && self.stdin && !io::stdin().is_terminal() && !visit.is_silent();
        let once = visit.once || scripted;
        let mut search: Option<Search> = None;
        let mut had_one = false;
        loop {
            let began = Instant::now();
            let again = match (&search, had_one && visit.command.is_none() && !visit.is_silent()) {
                (None, _) => None,
                (Some(_), true) => Some("connected again; this is a new shell"),
                (Some(_), false) => Some("connected"),
            };
            let parting = match self.connect(visit, &place, again, signals).await {
                Ok(parting) => parting,
                Err(error) => return Exit::Local(error),
            };
            if let Ending::Ended(code) = parting.ending {
                return Exit::Remote(code);
            }
            if let Some(signal @ (Signal::Terminate | Signal::HangUp)) = parting.interrupted {
                return Exit::Interrupted(signal);
            }
            had_one |= parting.ending == Ending::Cut;
            if began.elapsed() > WHILE && parting.ending == Ending::Cut {
                search = None;
            }
            let first = search.is_none();
            let lost = search.get_or_insert_with(|| Search {
                until: Instant::now() + self.away.duration(),
                pause: PAUSES.0,
                said: String::new(),
            });
            // ssh itself failed, or Ctrl-C ended it, now or in its own time: the farm may know of another reason.
            let gives_up = once && parting.ending == Ending::Cut
                || !self.reconnect
                || first && matches!(parting.ending, Ending::Failed(_))
                || parting.interrupted.is_some();
            let until = if gives_up { Instant::now() + LAST_WORD } else { lost.until };
            let asked = {
                let mut asked = pin!(standing(self.farm, self.id, until));
                let mut said = gives_up;
                loop {
                    tokio::select! {
                        asked = &mut asked => break asked,
                        signal = signals.next() => return Exit::Interrupted(signal),
                        () = sleep(SLOW), if !said => {
                            said = true;
                            let left = minutes(lost.until);
                            self.notices.say(&format!(
                                "no connection to the board, and none to the farm; trying again for up to {left}"
                            ));
                        }
                    }
                }
            };
            match asked {
                Ok(request) if request.state.is_terminal() => return Exit::of_request(&request),
                Ok(request) => {
                    if let Some(now) = request.job.as_ref().and_then(Place::of) {
                        place = now;
                    }
                }
                Err(_) if gives_up => {}
                Err(error) => return Exit::of_error(error),
            }
            if let Some(signal) = parting.interrupted {
                return Exit::Interrupted(signal);
            }
            if gives_up || Instant::now() >= lost.until {
                return self.lost(&parting, once, first);
            }
            let why = match &parting.ending {
                Ending::Unreachable(why) => format!(": {why}"),
                _ => parting.unsaid.last().map_or_else(String::new, |line| format!(": {line}")),
            };
            if lost.said != why || first {
                let left = minutes(lost.until);
                self.notices.say(&format!(
                    "no connection to the board{why}; trying again for up to {left}, Ctrl-C gives it back"
                ));
                lost.said = why;
            }
            let pause = lost.pause;
            lost.pause = (pause * 2).min(PAUSES.1);
            tokio::select! {
                () = sleep(pause) => {}
                signal = signals.next() => return Exit::Interrupted(signal),
            }
        }
    }

    async fn connect(
        &mut self,
        visit: &Visit,
        place: &Place,
        again: Option<&str>,
        signals: &mut Signals,
    ) -> anyhow::Result<Parting> {
        let way = self.way(place)?;
        let mut log = Log::new(self.folder, visit)?;
        let call = Call {
            program: self.program.clone(),
            args: way.arguments(visit, log.path()),
            env: way.environment().to_vec(),
            stdin: self.stdin,
        };
        self.pulse.busy(visit.command.is_some());
        let parting =
            connect::connect(call, &mut log, &mut self.pulse, signals, &mut self.notices, again).await;
        self.pulse.busy(false);
        parting
    }

    /// There is no more trying.
    fn lost(&self, parting: &Parting, once: bool, first: bool) -> Exit {
        if let Ending::Failed(code) = parting.ending
            && first
        {
            for line in &parting.unsaid {
                self.notices.line(line);
            }
            return Exit::Ssh(code);
        }
        let id = self.id;
        Exit::Lost(match &parting.ending {
            Ending::Unreachable(why) => format!("job {id} has no connection to its board: {why}"),
            _ if once => format!("job {id}: connection lost; whether the command ended is unknown"),
            _ => format!("job {id}: the connection to its board is lost"),
        })
    }

    /// What the farm says of a board that is gone.
    pub(super) async fn why_lost(&self, lost: Hanging) -> Exit {
        match standing(self.farm, self.id, Instant::now() + LAST_WORD).await {
            Ok(request) if request.state.is_terminal() => Exit::of_request(&request),
            Err(error) if lost == Hanging::Silent && error.is_transient() => Exit::of_error(error),
            _ => Exit::Lost(format!("job {} has lost its board", self.id)),
        }
    }
}

/// How long until then, as people say it.
fn minutes(until: Instant) -> String {
    format!("{}m", until.saturating_duration_since(Instant::now()).as_secs().div_ceil(60))
}

/// How a request is, asked for until the farm answers.
async fn standing(farm: &Client, id: u64, until: Instant) -> Result<Request, Error> {
    loop {
        // A farm that takes the question and does not answer must not hold up the rest.
        let answer = match timeout(LAST_WORD, farm.request(id)).await {
            Ok(answer) => answer,
            Err(_) if Instant::now() < until => continue,
            Err(_) => farm.request(id).await,
        };
        match answer {
            Err(error) if error.is_transient() && Instant::now() < until => sleep(PAUSES.0).await,
            answer => return answer,
        }
    }
}
