//! A lab's day, in minutes: thirty boards, ten people, continuous integration; boards are rebooted, drained and broken by
//! people, and the controller is restarted twice, once by `kill -9`. Nobody loses a board: every job that ended did so by
//! its user, by its time, or by something that really happened and was told. What happened is counted from outside, from
//! the events alone, by `lab_day.py`.
//!
//! `GROVE_DAY_SECONDS` says how long the day lasts (60 by default), `GROVE_SEED` makes the same choices again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use grove_access::board::{BOARD_USER, Board, BoardSettings, identity};
use grove_tests_kit::client::Error;
use grove_tests_kit::client::wire::request::{NewRequest, Request, RequestState};
use grove_tests_kit::client::wire::worker::{MoveWorker, WorkerState};
use grove_tests_kit::client::wire::{Span, Uuid};
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::grove::grove_command;
use grove_tests_kit::{Grove, Process, Setup, tools, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::kill9::settle;

const BOARDS: u64 = 30;
/// Of which these are real ssh servers; the others are simulated.
const REAL: u64 = 6;
/// Of which these are held all day, by one user each.
const HELD: u64 = 2;
/// Who works on real boards, with the command line.
const AT_TERMINALS: u64 = 5;
/// Who works on simulated ones, through the API.
const BY_API: u64 = 5;
/// Pipelines of continuous integration.
const PIPELINES: u64 = 4;
/// Name of the controller's key for the real boards.
const IDENTITY: &str = "lab";
/// How long somebody tries to reach a controller that is being restarted.
const AWAY: Duration = Duration::from_secs(60);

/// What everybody in the lab has.
#[derive(Clone)]
struct Lab {
    farm: Farm,
    base: String,
    home: PathBuf,
    key: PathBuf,
    deeds: Arc<Mutex<File>>,
    closed: Arc<AtomicBool>,
    seed: u64,
    made: Arc<AtomicU64>,
}

impl Lab {
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// Writes down what somebody did, for whoever counts.
    fn did(&self, deed: Value) {
        writeln!(self.deeds.lock().unwrap(), "{deed}").unwrap();
    }

    fn random(&self, who: u64) -> Rng {
        Rng::with_seed(self.seed ^ who << 32)
    }

    /// Makes a call until the controller answers it.
    async fn patiently<T, F>(&self, call: impl Fn(Farm) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let until = Instant::now() + AWAY;
        loop {
            match call(self.farm.clone()).await {
                Err(error) if error.is_transient() && Instant::now() < until => {
                    sleep(Duration::from_millis(50)).await
                }
                answer => return answer,
            }
        }
    }

    async fn ask(&self, wish: &NewRequest) -> Request {
        let key = format!("wish-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let key = key.as_str();
        self.patiently(|farm| async move { farm.create_request(wish, Some(key)).await }).await.unwrap()
    }

    /// How the request is once it no longer waits; none when the day is over before.
    async fn served(&self, id: u64) -> Option<Request> {
        while self.is_open() {
            let request = self.patiently(|farm| async move { farm.request(id).await }).await.unwrap();
            if request.state != RequestState::Waiting {
                return Some(request);
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Closes a request, if it is not closed already.
    async fn close(&self, id: u64, reason: &str) {
        let mut lost = false;
        let until = Instant::now() + AWAY;
        let answer = loop {
            match self.farm.close_request(id, Some(reason)).await {
                Ok(_) => break "ok",
                Err(error) if error.is_transient() => {
                    assert!(Instant::now() < until, "{error}");
                    // It may have been done.
                    lost |= !error.is_unreachable();
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) if error.is_conflict() => break if lost { "unsure" } else { "refused" },
                Err(error) => panic!("{error}"),
            }
        };
        self.did(json!({ "deed": "close", "request": id, "reason": reason, "answer": answer }));
    }

    /// Does something to a board.
    async fn treat(&self, deed: &str, board: Uuid, reason: &str) {
        let answer = match deed {
            "broken" => self.farm.report_failure(board, reason, None).await.map(drop),
            "maintenance" => self.farm.move_worker(board, &to("maintenance"), None).await.map(drop),
            _ => self.farm.move_worker(board, &to("idle"), None).await.map(drop),
        };
        let answer = match answer {
            Ok(()) => "ok",
            Err(error) if error.is_transient() && !error.is_unreachable() => "unsure",
            Err(_) => "refused",
        };
        self.did(json!({ "deed": deed, "worker": board, "reason": reason, "answer": answer }));
    }
}

/// Where a board shall go, whatever it is at.
fn to(state: &str) -> MoveWorker {
    serde_json::from_value(json!({ "state": state, "force": true })).unwrap()
}

fn seconds(seconds: u64) -> Option<Span> {
    Some(Span::from_secs(seconds).unwrap())
}

/// Somebody who works on simulated boards, in all the ways in which people do.
async fn person(lab: Lab, who: u64) {
    let mut random = lab.random(who);
    let mut round = 0;
    while lab.is_open() {
        round += 1;
        let way = random.u8(0..8);
        let wish = match way {
            0 => NewRequest { length: seconds(2), ..wish(&["board=sim"]) },
            1 => NewRequest { heartbeat: seconds(1), ..wish(&["board=sim"]) },
            2 => wish(&["board=none"]),
            3 => {
                let soon = wait::now().checked_add(Duration::from_secs(2)).unwrap();
                NewRequest { deadline: Some(soon), ..wish(&["board=none"]) }
            }
            4 => NewRequest { length: seconds(3), ..wish(&["board=sim"]) },
            _ => wish(&["board=sim"]),
        };
        let id = lab.ask(&wish).await.id;
        let done = format!("person {who} finished {round}");
        match way {
            2 => {
                sleep(Duration::from_millis(500)).await;
                lab.close(id, &done).await;
                continue;
            }
            3 => {
                lab.did(json!({ "deed": "deadline", "request": id }));
                lab.served(id).await;
                continue;
            }
            _ => {}
        }
        let Some(request) = lab.served(id).await else {
            lab.close(id, "the day is over").await;
            return;
        };
        if request.state != RequestState::InProgress {
            continue;
        }
        match way {
            // The time runs out.
            0 => sleep(Duration::from_secs(3)).await,
            // A laptop is closed.
            1 => lab.did(json!({ "deed": "silent", "request": id })),
            4 => {
                sleep(Duration::from_millis(500)).await;
                // It may be refused: the job may be over.
                let _ = lab
                    .farm
                    .prolong(id, &serde_json::from_value(json!({ "for": "5s" })).unwrap(), None)
                    .await;
                sleep(Duration::from_secs(3)).await;
                lab.close(id, &done).await;
            }
            _ => {
                sleep(Duration::from_millis(random.u64(200..3000))).await;
                lab.close(id, &done).await;
            }
        }
    }
}

/// Continuous integration: short jobs, one after the other, with heartbeats.
async fn pipeline(lab: Lab, who: u64) {
    let mut random = lab.random(who);
    let mut build = 0;
    while lab.is_open() {
        build += 1;
        let wish = NewRequest { heartbeat: seconds(20), ..wish(&["board=sim"]) };
        let id = lab.ask(&wish).await.id;
        if lab.served(id).await.is_some_and(|request| request.state != RequestState::InProgress) {
            continue;
        }
        sleep(Duration::from_millis(random.u64(300..1500))).await;
        lab.close(id, &format!("pipeline {who}: build {build} passed")).await;
    }
}

/// Somebody at a terminal, who runs commands on real boards.
async fn at_terminal(lab: Lab, who: u64) {
    let mut random = lab.random(who);
    let key = lab.key.display().to_string();
    while lab.is_open() {
        let (own, takes) = (random.u8(0..3), random.u64(200..2500));
        let script = format!("sleep {}.{:03}; exit {own}", takes / 1000, takes % 1000);
        let (length, script, signal) = match random.u8(0..8) {
            // The time runs out.
            0 => ("2s", "sleep 1000", None),
            // Ctrl-C, and a terminal that is killed.
            1 => ("1h", "sleep 1000", Some(Signal::INT)),
            2 => ("1h", "sleep 1000", Some(Signal::KILL)),
            _ => ("1h", script.as_str(), None),
        };
        let words = [
            "run",
            "-i",
            &key,
            "--heartbeat",
            "1s",
            "--away",
            "30s",
            "--for",
            length,
            "board=real",
            "--",
            "sh",
            "-c",
            script,
        ];
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut command = grove_command(&lab.home);
        command.args(["--server", &lab.base]).args(words);
        command.stdout(Stdio::null()).stderr(said.reopen().unwrap());
        let mut process = Process::start(&mut command);
        let until = Instant::now() + Duration::from_millis(1000 + takes);
        let mut signalled = false;
        let exit = loop {
            if let Some(status) = process.try_wait().unwrap() {
                break status.code().unwrap_or(128 + Signal::KILL.as_raw());
            }
            if !signalled
                && let Some(signal) = signal
                && Instant::now() > until
                && std::fs::read_to_string(said.path()).unwrap().contains(" runs on ")
            {
                process.signal(signal);
                signalled = true;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let said = std::fs::read_to_string(said.path()).unwrap();
        // Whoever came when nobody answered has no request.
        let Some(request) = request_of(&said) else {
            assert_eq!(exit, 125, "a command without a request: {said}");
            continue;
        };
        let signal = signal.map(Signal::as_raw);
        lab.did(json!({ "deed": "run", "request": request, "own": own, "exit": exit, "signal": signal, "said": said }));
    }
}

/// The number in `request 7 waits …`.
fn request_of(said: &str) -> Option<u64> {
    let mut words = said.split_whitespace().skip_while(|word| *word != "request").skip(1);
    words.next()?.trim_end_matches(':').parse().ok()
}

/// Somebody who holds one board all day, whatever happens to it and to the controller.
struct Holder {
    /// The board they want.
    wants: &'static str,
    own: i32,
    process: Process,
    said: tempfile::NamedTempFile,
}

impl Holder {
    fn start(lab: &Lab, wants: &'static str, own: i32, words: &[&str], terminal: bool) -> Holder {
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut command = grove_command(&lab.home);
        if terminal {
            // A shell is looked for again where somebody sits in front of it.
            let grove = command.get_program().to_string_lossy().into_owned();
            let typed = [&[grove.as_str(), "--server", &lab.base], words].concat().join(" ");
            let mut script = Command::new("script");
            script.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            script.env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "dumb");
            script.args(["--quiet", "--return", "--flush", "--command", &typed, "/dev/null"]);
            command = script;
        } else {
            command.args(["--server", &lab.base]).args(words);
        }
        command.stdin(Stdio::piped()).stdout(said.reopen().unwrap()).stderr(said.reopen().unwrap());
        Holder { wants, own, process: Process::start(&mut command), said }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.said.path()).unwrap()).into_owned()
    }

    async fn until_said(&self, text: &str) {
        let look = || async { self.said().contains(text).then_some(()) };
        wait::until(&format!("{} to say {text:?}", self.wants), look).await;
    }

    fn types(&mut self, line: &str) {
        let stdin = self.process.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).unwrap();
    }

    /// The one request that was made for it.
    async fn request(&self, lab: &Lab) -> Option<Request> {
        let mut requests = lab.farm.all_requests().await;
        requests.retain(|request| request.wants == [self.wants]);
        assert!(requests.len() <= 1, "{} asked again: {requests:#?}", self.wants);
        requests.pop()
    }

    async fn until_there(&self, lab: &Lab) {
        let look = || self.request(lab);
        let runs = |request: &Option<Request>| {
            request.as_ref().is_some_and(|it| it.state == RequestState::InProgress)
        };
        wait::until_is(self.wants, look, runs).await;
    }

    /// They leave, and had their board until then.
    async fn leaves(mut self, lab: &Lab) {
        let status = tokio::task::block_in_place(|| self.process.wait());
        let (said, request) = (self.said(), self.request(lab).await.unwrap().id);
        let exit = status.code().unwrap();
        lab.did(json!({ "deed": "run", "request": request, "own": self.own, "exit": exit, "signal": null, "said": said }));
        assert_eq!(exit, self.own, "{} was lost: {said}", self.wants);
    }
}

/// The one who looks after the boards: some break, some are taken away, and all come back.
async fn admin(lab: Lab) {
    let mut random = lab.random(99);
    let mut round = 0;
    while lab.is_open() {
        round += 1;
        let board = uuid(random.u64(HELD + 1..=BOARDS));
        let deed = if random.u8(0..3) == 0 { "maintenance" } else { "broken" };
        lab.treat(deed, board, &format!("its fan fell off ({round})")).await;
        sleep(Duration::from_millis(random.u64(1000..2500))).await;
        lab.treat("mended", board, "").await;
        sleep(Duration::from_millis(random.u64(200..1000))).await;
    }
}

/// A board that is a real ssh server of its own.
struct RealBoard {
    number: u64,
    settings: BoardSettings,
    board: Board,
}

impl RealBoard {
    async fn start(number: u64, homes: &Path, admin_key: &str) -> RealBoard {
        let name = format!("board-{number}");
        let mut settings = BoardSettings::new(&name, homes.join(&name), admin_key);
        let board = Board::start(settings.clone()).await.unwrap();
        settings.listen = board.addr();
        RealBoard { number, settings, board }
    }

    fn driver_config(&self) -> Value {
        json!({
            "host": self.board.addr().ip().to_string(),
            "port": self.board.addr().port(),
            "user": BOARD_USER,
            "identity": IDENTITY,
            "host_key": self.board.host_key_line(),
        })
    }

    /// Off, and on again, at the same address.
    async fn reboot(&mut self, off: Duration) {
        self.board.stop().await;
        sleep(off).await;
        let until = Instant::now() + AWAY;
        self.board = loop {
            match Board::start(self.settings.clone()).await {
                Ok(board) => break board,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            sleep(Duration::from_millis(50)).await;
        };
    }
}

/// Boards are rebooted all day, one after the other.
async fn reboots(lab: Lab, mut boards: Vec<RealBoard>) -> Vec<RealBoard> {
    let mut random = lab.random(98);
    while lab.is_open() {
        let board = random.choice(&mut boards).unwrap();
        let from = wait::now();
        board.reboot(Duration::from_millis(random.u64(300..2500))).await;
        let worker = uuid(board.number);
        lab.did(json!({ "deed": "reboot", "worker": worker, "from": from, "until": wait::now() }));
        sleep(Duration::from_secs(random.u64(3..6))).await;
    }
    boards
}

/// Reads the day from outside; the ends of requests by their cause.
fn count(grove: &Grove, deeds: &Path) -> Value {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab_day.py");
    let mut events = Process::start(&mut grove.cli(&["events", "--all", "-o", "json"]));
    let counted =
        Command::new("python3").arg(reader).arg(deeds).stdin(events.stdout.take().unwrap()).output();
    let counted = counted.unwrap();
    assert!(events.wait().success());
    let (told, wrong) = (String::from_utf8_lossy(&counted.stdout), String::from_utf8_lossy(&counted.stderr));
    println!("{told}");
    assert!(counted.status.success(), "the day as the events tell it:\n{wrong}");
    serde_json::from_str(&told).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_loses_a_board_in_a_day() {
    let number = |name: &str| {
        std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let day = Duration::from_secs(number("GROVE_DAY_SECONDS").unwrap_or(60));
    let seed = number("GROVE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("a day of {day:?}, GROVE_SEED={seed}");

    let mut grove = Grove::start(Setup::config("[checks]\nrecheck_first = \"1s\"\nrelapses = 100000\n"));
    let folder = tempfile::tempdir().unwrap();
    let farm = grove.farm();
    let secrets = grove.state().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    let admin_key = identity(&secrets.join(IDENTITY)).unwrap();
    let boards = join_all((1..=REAL).map(|number| RealBoard::start(number, folder.path(), &admin_key))).await;
    for board in &boards {
        let kind = match board.number {
            1 => "local",
            2 => "shell",
            _ => "real",
        };
        farm.register(uuid(board.number), "ssh", board.driver_config(), &[("board", kind)]).await;
    }
    for number in REAL + 1..=BOARDS {
        let slow = json!({ "prepare": { "delay_ms": 100 }, "authorize": { "delay_ms": 20 } });
        farm.register(uuid(number), "simulated", slow, &[("board", "sim")]).await;
    }
    for number in 1..=BOARDS {
        farm.want_idle(uuid(number)).await;
    }
    for number in 1..=BOARDS {
        farm.until_worker(uuid(number), WorkerState::Idle).await;
    }

    tools::make_key(folder.path(), "mine");
    let deeds = folder.path().join("deeds");
    let lab = Lab {
        farm: farm.clone(),
        base: grove.base().to_owned(),
        home: folder.path().to_owned(),
        key: folder.path().join("mine"),
        deeds: Arc::new(Mutex::new(File::create(&deeds).unwrap())),
        closed: Arc::default(),
        seed,
        made: Arc::default(),
    };
    let evening = folder.path().join("evening");
    let waits = format!("until [ -e {} ]; do sleep 0.1; done; exit 4", evening.display());
    let key = lab.key.display().to_string();
    let hold = ["-i", &key, "--heartbeat", "1s", "--away", "10m"];
    let words = [&["run", "--local"], &hold[..], &["board=local", "--", "sh", "-c", &waits]].concat();
    let local = Holder::start(&lab, "board=local", 4, &words, false);
    let words = [&["ssh"], &hold[..], &["board=shell"]].concat();
    let mut shell = Holder::start(&lab, "board=shell", 5, &words, true);
    for holder in [&local, &shell] {
        holder.until_there(&lab).await;
    }
    let mut people = Vec::new();
    people.extend((0..AT_TERMINALS).map(|who| tokio::spawn(at_terminal(lab.clone(), who))));
    people.extend((AT_TERMINALS..AT_TERMINALS + BY_API).map(|who| tokio::spawn(person(lab.clone(), who))));
    people.extend((50..50 + PIPELINES).map(|who| tokio::spawn(pipeline(lab.clone(), who))));
    people.push(tokio::spawn(admin(lab.clone())));
    let reboots = tokio::spawn(reboots(lab.clone(), boards));

    for killed in [true, false] {
        sleep(day / 3).await;
        let from = wait::now();
        if killed {
            tokio::task::block_in_place(|| grove.kill());
        } else {
            let status = tokio::task::block_in_place(|| grove.terminate());
            assert!(status.success(), "a clean stop: {status}");
        }
        grove.start_unready().await;
        lab.patiently(|farm| async move { farm.ready().await }).await.unwrap();
        lab.did(json!({ "deed": "restart", "worker": "controller", "killed": killed, "from": from, "until": wait::now() }));
    }
    sleep(day / 3).await;
    lab.closed.store(true, Ordering::Relaxed);
    for person in people {
        person.await.unwrap();
    }
    let boards = reboots.await.unwrap();
    File::create(&evening).unwrap();
    local.leaves(&lab).await;
    shell.types("echo still $((40 + 2)) here");
    shell.until_said("still 42 here").await;
    shell.types("exit 5");
    shell.leaves(&lab).await;

    // Those whose clients went silent, and whose time runs out, end by themselves.
    let live = || async {
        let requests = farm.all_requests().await;
        requests.iter().filter(|request| !request.state.is_terminal()).count()
    };
    wait::until_is("every request to end by itself", live, |left| *left == 0).await;
    settle(&farm, BOARDS).await;
    let counted = count(&grove, &deeds);
    for cause in [
        "closed by its user",
        "its command ended",
        "its user interrupted it",
        "its time was up",
        "its client went silent",
        "its board was reported broken",
        "its board was taken to maintenance",
        "got no board before its deadline",
    ] {
        let times = counted["ends"][cause].as_u64().unwrap_or(0);
        assert!(times > 0, "a day without a job of which {cause:?} is true shows nothing: {counted}");
    }
    for board in boards {
        board.board.stop().await;
    }
}
