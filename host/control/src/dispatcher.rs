//! The one place where decisions are made.
//!
//! A turn takes what callers, tasks, timers and the policy have to say, decides on the newest state, and hands rows,
//! events, effects and answers on as one batch. The store group-commits while the next turn is already deciding.

mod events;
mod introspections;
mod jobs;
mod mode;
mod plugins;
mod probes;
mod recovery;
mod requests;
mod rounds;
mod rules;
mod shortages;
mod slots;
mod stop;
mod tasks;
mod turn;
mod why;
mod workers;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use grove_domain::id::{InstanceId, RequestId, TaskId};
use grove_domain::instance::Instance;
use grove_domain::matching::{Matcher, Round};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::{request, worker};
use tokio::sync::{mpsc, oneshot, watch};

use self::jobs::{Heard, Meter};
use self::probes::{Prober, Seen};
use crate::clock::{Clock, Settled};
use crate::command::Command;
use crate::controller::{Controller, Inner};
use crate::farm::Farm;
use crate::feed::Feed;
use crate::live::LiveTasks;
use crate::matching::session::{self, Info, Question};
use crate::matching::told::Told;
use crate::ports::{Drivers, Inspectors, Keys, Policies, Store, StoreError, TaskLogs, Tunnels, Wait};
use crate::processor::{self, Processor};
use crate::publisher::{InFlight, Publisher, Sealed};
use crate::refusal::Refused;
use crate::runner::{Doors, Runner, TaskResult, Tools};
use crate::runs::Runs;
use crate::settings::Settings;
use crate::supervisor::{Part, Running, Supervisor};
use crate::timers::{Due, Now, Timers};
use shortages::Shortages;
use slots::Slots;
use stop::LastWords;
use turn::Turn;

/// Commands that may wait for the dispatcher; callers beyond it wait to hand theirs in.
const COMMANDS: usize = 4096;
/// Turns on their way to disk while the next one is being decided.
const IN_FLIGHT: usize = 2;
/// Commands taken into one turn.
const TURN: usize = 1024;
/// Due times handled in one turn.
const DUE: usize = 1024;
/// Between looks at what retention may take away.
const TICK: SignedDuration = SignedDuration::from_secs(60);
/// Between attempts to reach a store that refuses.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Beyond the longest clean-up, tasks of a controller that broke may take so long to end.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// Makes task ids: the time goes in, randomness is its own.
pub type NewTaskId = Box<dyn FnMut(Timestamp) -> TaskId + Send>;

/// What a controller is put together from.
pub struct Parts {
    /// The durable truth.
    pub store: Arc<dyn Store>,
    /// Drivers.
    pub drivers: Arc<dyn Drivers>,
    /// Inspectors.
    pub inspectors: Arc<dyn Inspectors>,
    /// Session keys.
    pub keys: Arc<dyn Keys>,
    /// Tunnels.
    pub tunnels: Arc<dyn Tunnels>,
    /// Policies.
    pub policies: Arc<dyn Policies>,
    /// Logs of tasks.
    pub logs: Arc<dyn TaskLogs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub new_task_id: NewTaskId,
    /// Identity of this start of the controller: never used before.
    pub instance: InstanceId,
    /// Settings.
    pub settings: Settings,
}

impl Controller {
    /// Loads the farm and takes it up where it was: tasks begin again, tunnels of running jobs open on their ports.
    /// Answers when that is done, so that whoever asks next meets a farm at work.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (sealed_in, sealed_out) = mpsc::unbounded_channel();
        let (questions_in, questions_out) = mpsc::channel(1);
        let settings = Arc::new(parts.settings);
        let view = Arc::new(ArcSwap::from_pointee(Farm::default()));
        let trouble = Arc::new(ArcSwap::from_pointee(None));
        let feed = Arc::new(Feed::new());
        let live = LiveTasks::new(parts.clock.clone(), parts.logs);
        let in_flight = Arc::new(InFlight::default());
        let tools = Tools {
            drivers: parts.drivers.clone(),
            keys: parts.keys,
            tunnels: parts.tunnels,
            doors: Doors::new(),
            clock: parts.clock.clone(),
            live: live.clone(),
            runs: Runs { view: view.clone(), feed: feed.clone(), commands: commands.downgrade() },
            settings: settings.clone(),
        };
        let tools_of_processor = processor::Tools {
            store: parts.store.clone(),
            inspectors: parts.inspectors,
            drivers: parts.drivers.clone(),
            view: view.clone(),
            rules: settings.introspection.rules.clone(),
        };
        let processor =
            Processor::new(tools_of_processor, settings.introspection.at_once, commands.downgrade());
        let runner = Runner::new(tools, commands.downgrade());
        let starting = Instance::starting(parts.instance, parts.clock.now());
        let loaded = parts.store.load(starting).await?;
        let known = loaded.instances.iter().find(|known| known.id == parts.instance);
        let instance = match known {
            Some(known) if loaded.superseded_by.is_none() => *known,
            _ => return Err(StoreError("it does not know this instance".to_owned())),
        };
        let mut dispatcher = Dispatcher {
            settings: settings.clone(),
            clock: parts.clock.clone(),
            new_task_id: parts.new_task_id,
            instance,
            instances: Vec::new(),
            superseded: None,
            stopping: false,
            slots: Slots::default(),
            shortages: Shortages::default(),
            store: parts.store.clone(),
            drivers: parts.drivers.clone(),
            live: live.clone(),
            runner: runner.clone(),
            processor: processor.clone(),
            in_flight: in_flight.clone(),
            sealed: sealed_in,
            questions: questions_in,
            has_policy: false,
            policies: parts.policies.clone(),
            trouble: trouble.clone(),
            farm: Farm::default(),
            matcher: Matcher::new(),
            timers: Timers::default(),
            settled: Settled::new(&*parts.clock),
            ended: VecDeque::new(),
            made_once: HashMap::new(),
            heard: HashMap::new(),
            meters: HashMap::new(),
            seen: HashMap::new(),
            prober: Prober::new(commands.downgrade()),
            missed: Vec::new(),
            next_request: 1,
            next_place: 1,
            next_event: 1,
            policy: PolicyState::default(),
            turn: Turn::default(),
        };
        let publisher = Publisher {
            view: view.clone(),
            feed: feed.clone(),
            runner: runner.clone(),
            processor: processor.clone(),
            live: live.clone(),
            in_flight,
            commands: commands.downgrade(),
        };
        let mut running = Running::default();
        let session = session::run(parts.policies, questions_out, commands.downgrade());
        running.add(Part::Publisher, publisher.run(sealed_out).map(Ok));
        running.add(Part::PolicySession, session.map(Ok));
        dispatcher.take_up(loaded).await;
        // Whoever starts a controller finds it on its feet: the first turn is stored and published.
        let (up, is_up) = oneshot::channel();
        dispatcher.turn.answer(Box::new(move |stored| {
            // The caller may have given up.
            let _ = up.send(stored);
        }));
        dispatcher.seal();
        match is_up.await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return Err(StoreError(refused.to_string())),
            Err(_) => return Err(StoreError("the store went away while the farm was loaded".to_owned())),
        }
        running.add(Part::Dispatcher, dispatcher.run(inbox));
        let (tell, ended) = watch::channel(None);
        let patience = settings.timeouts.cleanup.saturating_add(LAST_TASKS);
        tokio::spawn(
            Supervisor { running, runner, processor, patience, trouble: trouble.clone(), tell }.run(),
        );
        let inner = Inner {
            commands,
            view,
            feed,
            store: parts.store,
            drivers: parts.drivers,
            live,
            clock: parts.clock,
            settings,
            trouble,
            ended,
            instance,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// The dispatcher and all that it alone owns.
struct Dispatcher {
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    new_task_id: NewTaskId,
    /// This start of the controller.
    instance: Instance,
    /// Those that were known when the farm was taken up, by incarnation.
    instances: Vec<Instance>,
    /// Why another instance decides now.
    superseded: Option<String>,
    store: Arc<dyn Store>,
    drivers: Arc<dyn Drivers>,
    live: Arc<LiveTasks>,
    runner: Runner,
    processor: Processor,
    in_flight: Arc<InFlight>,
    sealed: mpsc::UnboundedSender<Sealed>,
    questions: mpsc::Sender<Question>,
    policies: Arc<dyn Policies>,
    /// Else the built-in rule decides alone.
    has_policy: bool,
    trouble: Arc<ArcSwap<Option<String>>>,

    /// The newest state: ahead of what is published by what is on its way to disk.
    farm: Farm,
    /// Derived from `farm`.
    matcher: Matcher,
    /// Derived from `farm`.
    timers: Timers,
    /// Whether what is long ago can be told.
    settled: Settled,
    /// Derived from `farm`, and from what the runner is still ending.
    slots: Slots,
    /// What there is too little of.
    shortages: Shortages,
    /// Nothing starts any more.
    stopping: bool,
    /// Derived from `farm`: ended requests, in the order of their end.
    ended: VecDeque<(Timestamp, RequestId)>,
    /// Derived from `farm`: requests by owner and idempotency key, for as long as they are kept.
    made_once: HashMap<(String, String), RequestId>,
    /// Clients that promised heartbeats.
    heard: HashMap<RequestId, Heard>,
    /// Jobs on which it matters whether something moves.
    meters: HashMap<RequestId, Meter>,
    /// Boards of running jobs, as they were last seen.
    seen: HashMap<RequestId, Seen>,
    prober: Prober,
    /// Results of tasks that ended while the store was away: at most one for each task that ran.
    missed: Vec<TaskResult>,
    next_request: u64,
    next_place: u64,
    next_event: u64,
    policy: PolicyState,
    turn: Turn,
}

/// Where the conversation with the policy is.
#[derive(Default)]
struct PolicyState {
    told: Told,
    /// The session knows everything up to the last question.
    open: bool,
    info: Option<Info>,
    /// `info` is the active policy's.
    known: bool,
    /// Being asked about.
    round: Option<Round>,
    /// Questions asked so far: the number of the latest.
    asked: u64,
    /// How often it became another, and which of them the latest question went to.
    changes: u64,
    asked_of: u64,
    /// Policy failures since the last success, and when to try again.
    failures: u32,
    /// By the clock that never steps.
    retry_at: Option<Duration>,
    /// The policy's last word on requests that it left waiting.
    waits: HashMap<RequestId, Wait>,
}

impl Dispatcher {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) -> Result<(), String> {
        let last = self.turns(&mut inbox).await;
        match self.superseded.take() {
            None => self.stop(inbox, last).await,
            Some(reason) => {
                self.trouble.store(Arc::new(Some(reason.clone())));
                self.give_up(inbox, last).await;
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Turn after turn, until somebody says stop or nobody is left who could ask for anything.
    async fn turns(&mut self, inbox: &mut mpsc::Receiver<Command>) -> LastWords {
        let mut taken = Vec::with_capacity(TURN);
        loop {
            let busy = self.in_flight.count() >= IN_FLIGHT;
            if !busy {
                self.seal();
            }
            let full = self.turn.len() >= TURN;
            let until_due = if self.has_more_to_match() { Duration::ZERO } else { self.until_due() };
            let in_flight = self.in_flight.clone();
            tokio::select! {
                biased;
                () = in_flight.changed(), if busy && !self.turn.is_empty() => {}
                count = inbox.recv_many(&mut taken, TURN), if !full => if count == 0 {
                    return LastWords::default();
                },
                () = tokio::time::sleep(until_due), if !full => {}
            }
            self.due();
            let mut commands = taken.drain(..);
            while let Some(command) = commands.next() {
                match command {
                    Command::Stop { .. } => {
                        return std::iter::once(command).chain(commands).collect();
                    }
                    Command::CommitFailed { epoch, error } => {
                        if let ControlFlow::Break(stop) = self.start_over(epoch, error, inbox).await {
                            return stop.into_iter().chain(commands).collect();
                        }
                    }
                    command => self.decide(command),
                }
            }
            self.match_requests();
            self.start_waiting();
            self.prune();
        }
    }

    fn decide(&mut self, command: Command) {
        if command.is_abandoned() {
            return;
        }
        if let Some(refused) = self.refused_by_mode(&command) {
            return self.turn.answer(Box::new(move |stored| {
                command.refuse(&stored.err().unwrap_or(refused));
            }));
        }
        match command {
            Command::Register { actor, worker, registration, edit, expected, reply } => {
                let answer = self.register(&actor, worker, registration, edit, expected);
                self.answer(answer, reply);
            }
            Command::EditWorker { actor, worker, edit, expected, reply } => {
                let answer = self.edit_worker(&actor, worker, edit, expected);
                self.answer(answer, reply);
            }
            Command::MoveWorker { actor, worker, event, expected, reply } => {
                let answer = self.move_worker(&actor, worker, event, expected);
                self.answer(answer, reply);
            }
            Command::CreateRequest { actor, wish, reply } => {
                let answer = self.create_request(&actor, *wish);
                self.answer(answer, reply);
            }
            Command::MoveRequest { actor, request, event, expected, reply } => {
                let answer = self.move_request(&actor, request, event, expected);
                self.answer(answer, reply);
            }
            Command::Prolong { actor, request, length, shorten, expected, reply } => {
                let answer = self.prolong(&actor, request, length, shorten, expected);
                self.answer(answer, reply);
            }
            Command::Heartbeat { request, busy, reply } => {
                let answer = self.heartbeat(request, busy);
                self.answer(answer, reply);
            }
            Command::CancelTask { actor, task, reply } => {
                let answer = self.cancel_task(&actor, task);
                self.answer(answer, reply);
            }
            Command::Why { request, reply } => {
                let answer = self.why(request);
                self.answer(answer, reply);
            }
            Command::MovePlugin { actor, name, event, expected, reply } => {
                let answer = self.move_plugin(&actor, &name, event, expected);
                self.answer(answer, reply);
            }
            Command::PluginRefused { actor, name, reason, reply } => {
                self.plugin_refused(&actor, name, reason);
                self.answer(Ok(()), reply);
            }
            Command::SetLimit { actor, scope, value, expected, reply } => {
                let answer = self.set_limit(&actor, scope, value, expected);
                self.answer(answer, reply);
            }
            Command::SetMode { actor, mode, running, expected, reply } => {
                let answer = self.set_mode(&actor, mode, running, expected);
                self.answer(answer, reply);
            }
            Command::StartIntrospection { actor, worker, begin, expected, reply } => {
                let answer = self.start_introspection(&actor, worker, begin, expected);
                self.answer(answer, reply);
            }
            Command::Pushed { run, token, inventory, reply } => {
                let answer = self.pushed(run, token, inventory);
                self.answer(answer, reply);
            }
            Command::Pulled { run, task, inventory, reply } => {
                let answer = self.pulled(run, task, inventory);
                self.answer(answer, reply);
            }
            Command::Enrol { actor, inventory, reply } => {
                let answer = self.enrol(&actor, inventory);
                self.answer(answer, reply);
            }
            Command::MoveIntrospection { actor, run, event, expected, reply } => {
                let answer = self.move_introspection(&actor, run, event, expected);
                self.answer(answer, reply);
            }
            Command::ReapplyAll { actor, reply } => {
                let answer = self.reapply_all(&actor);
                self.answer(Ok(answer), reply);
            }
            Command::AddRule { actor, rule, reply } => {
                let answer = self.add_rule(&actor, *rule);
                self.answer(answer, reply);
            }
            Command::RemoveRules { actor, rule, expected, reply } => {
                let answer = self.remove_rules(&actor, rule, expected);
                self.answer(answer, reply);
            }
            Command::Processed(processed) => self.processed(*processed),
            Command::TaskGone(worker, task) => self.task_gone(worker, task),
            Command::PolicyChanged => self.policy_changed(),
            Command::TaskEnded(result) => self.task_ended(*result),
            Command::Probed { request, answered } => self.probed(request, answered),
            Command::Planned(planned) => self.planned(*planned),
            Command::Stop { .. } | Command::CommitFailed { .. } => {}
        }
    }

    /// An answer waits for the commit of everything that was decided before it: also a refusal, which was decided on
    /// a state that must be stored to be true.
    fn answer<T: Send + 'static>(&mut self, answer: Result<T, Refused>, reply: crate::command::Reply<T>) {
        self.turn.answer(Box::new(move |stored| {
            // The caller may have left; what was decided stands.
            let _ = reply.send(stored.and(answer));
        }));
    }

    fn due(&mut self) {
        let now = self.times();
        for _ in 0..DUE {
            match self.timers.pop(now) {
                None => return,
                Some(Due::Valid(id)) => {
                    if let Some(request) = self.farm.request(id).cloned() {
                        self.index_due(&request);
                    }
                }
                Some(Due::Deadline(id)) => self.deadline_due(id),
                Some(Due::Timeout(id)) => self.request_due(id, request::Event::TimeoutDue),
                Some(Due::Warning(id)) => self.warning_due(id),
                Some(Due::Heartbeat(id)) => self.heartbeat_due(id),
                Some(Due::Meter(id)) => self.meter_due(id),
                Some(Due::Probe(id)) => self.probe_due(id),
                Some(Due::Check(id)) => self.worker_due(id, worker::Event::CheckDue),
                Some(Due::Introspection(id)) => self.introspection_due(id),
                Some(Due::Shortage(lack)) => self.shortage_due(&lack),
                Some(Due::Probation(name)) => self.probation_due(&name),
                Some(Due::PolicyWake | Due::PolicyRetry) => self.matcher.wake(),
                Some(Due::Alive) => self.alive(),
                Some(Due::Tick) => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        self.timers.after(self.times(), TICK, Due::Tick);
        let keep = self.settings.retention.history;
        if let Some(now) = self.settled.now(&*self.clock, keep) {
            let before = after(now, -keep);
            tokio::spawn(forget_history(self.store.clone(), before));
        }
    }

    fn until_due(&self) -> Duration {
        // Never longer than a tick: a wall clock that jumps is noticed then.
        let longest = Duration::from_secs(60);
        self.timers.next(self.times()).map_or(longest, |left| left.min(longest))
    }

    fn times(&self) -> Now {
        Now::of(&*self.clock)
    }

    /// Hands the turn to the store.
    fn seal(&mut self) {
        if self.turn.is_empty() {
            return;
        }
        let turn = std::mem::take(&mut self.turn);
        let epoch = turn.batch.epoch;
        self.turn.batch.epoch = epoch;
        self.farm.set_last_event(self.next_event - 1);
        let events = turn.batch.events.clone();
        let committed = turn.writes().then(|| {
            let (done, committed) = oneshot::channel();
            self.store.commit(
                turn.batch,
                Box::new(move |result| {
                    // The publisher outlives every turn but the last of a dying process.
                    let _ = done.send(result);
                }),
            );
            committed
        });
        self.in_flight.add();
        let sealed = Sealed {
            epoch,
            committed,
            farm: self.farm.clone(),
            events,
            effects: turn.effects,
            answers: turn.answers,
        };
        if self.sealed.send(sealed).is_err() {
            tracing::error!("the publisher is gone; nothing more can be answered");
        }
    }

    async fn drain(&mut self) {
        self.seal();
        while self.in_flight.count() > 0 {
            self.in_flight.changed().await;
        }
    }
}

/// Piece by piece, so that no commit waits long.
async fn forget_history(store: Arc<dyn Store>, before: Timestamp) {
    loop {
        match store.prune(before).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return tracing::warn!(%error, "history could not be pruned"),
        }
    }
}
