//! The session with the policy: one question at a time, away from the dispatcher.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use grove_domain::plugin::Digest;
use tokio::sync::mpsc;

use crate::command::Command;
use crate::ports::{Ask, Plan, Policies, Policy};

/// Opening and one plan together may take this long; after that the built-in rule decides.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question to the policy.
pub(crate) struct Question {
    /// Tells its answer from that of a question that was given up on.
    pub(crate) number: u64,
    /// The changes tell everything from the beginning: open a new session for them.
    pub(crate) fresh: bool,
    pub(crate) ask: Ask,
}

/// The policy's answer.
pub(crate) struct Planned {
    /// Of the question.
    pub(crate) number: u64,
    pub(crate) policy: String,
    pub(crate) version: Option<Digest>,
    pub(crate) plan: Result<Plan, String>,
    /// What a newly opened policy says of itself.
    pub(crate) info: Option<Info>,
}

/// What the core must know of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Info {
    pub(crate) own_keys: Vec<String>,
    pub(crate) max_candidates: usize,
}

/// Answers questions until the dispatcher is gone.
pub(crate) async fn run(
    policies: Arc<dyn Policies>,
    mut questions: mpsc::Receiver<Question>,
    answers: mpsc::WeakSender<Command>,
) {
    let mut session = None;
    let (mut name, mut version) = (String::new(), None);
    while let Some(question) = questions.recv().await {
        let number = question.number;
        if question.fresh {
            (name, version) = (policies.name(), policies.version());
        }
        let answering = AssertUnwindSafe(answer(&policies, &name, &mut session, question)).catch_unwind();
        let (plan, info) = match tokio::time::timeout(PATIENCE, answering).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => {
                (Err("the policy's side of the controller broke; its log says how".to_owned()), None)
            }
            Err(_) => (Err(format!("the policy did not answer within {} s", PATIENCE.as_secs())), None),
        };
        let planned = Planned { number, policy: name.clone(), version, plan, info };
        if planned.plan.is_err() {
            session = None;
        }
        let Some(dispatcher) = answers.upgrade() else { return };
        if dispatcher.send(Command::Planned(Box::new(planned))).await.is_err() {
            return;
        }
    }
}

/// The plan, and what a newly opened policy says of itself.
async fn answer(
    policies: &Arc<dyn Policies>,
    name: &str,
    session: &mut Option<Box<dyn Policy>>,
    question: Question,
) -> (Result<Plan, String>, Option<Info>) {
    let mut info = None;
    if question.fresh {
        *session = None;
        if name.is_empty() {
            return (Err("there is no policy".to_owned()), None);
        }
        match policies.open().await {
            Ok(policy) => {
                info = Some(Info { own_keys: policy.own_keys(), max_candidates: policy.max_candidates() });
                *session = Some(policy);
            }
            Err(reason) => return (Err(reason), None),
        }
    }
    match session {
        Some(_) if question.ask.demands.is_empty() => (Ok(Plan::default()), info),
        Some(policy) => (policy.plan(question.ask).await, info),
        None => (Err("the policy's session is over".to_owned()), None),
    }
}
