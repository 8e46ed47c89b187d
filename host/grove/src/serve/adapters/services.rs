//! The engine's services as the API tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_api::Services;
use grove_engine::{Detail, EngineHandle, Exit, Report, ServiceReport, State};
use grove_wire::service::{Service, ServiceInput, ServiceState};
use tokio::sync::watch;

/// What the engine reports.
pub(crate) struct Reported {
    engine: EngineHandle,
    /// Without details, and at most some milliseconds old.
    latest: watch::Receiver<Arc<Report>>,
}

impl Reported {
    pub(crate) fn of(engine: EngineHandle) -> Self {
        Self { latest: engine.watch_report(), engine }
    }
}

impl Services for Reported {
    fn report(&self) -> Vec<Service> {
        self.latest.borrow().services.iter().map(shown).collect()
    }

    fn detailed(&self) -> BoxFuture<'static, Vec<Service>> {
        let engine = self.engine.clone();
        async move { engine.report().await.services.iter().map(shown).collect() }.boxed()
    }

    fn dot(&self) -> String {
        self.latest.borrow().to_dot()
    }
}

fn shown(service: &ServiceReport) -> Service {
    let input = |input: &grove_engine::InputReport| ServiceInput {
        name: input.name.clone(),
        state: input.state.map(state),
    };
    Service {
        name: service.name.clone(),
        state: state(service.state),
        inputs: service.inputs.iter().map(input).collect(),
        waits_for: service.waits_for.clone(),
        starts: service.starts,
        // The first start is none that was made again.
        restarts: service.starts.saturating_sub(1).saturating_sub(service.bounces),
        bounces: service.bounces,
        last_error: error(service),
        last_start: service.last_start.and_then(time),
        next_start: service.next_start.and_then(time),
        detail: service.detail.clone().map(detail).unwrap_or_default(),
    }
}

/// That it waited for an input is no error: what it waits for now is told by itself.
fn error(service: &ServiceReport) -> Option<String> {
    let waited = |exit: &&Exit| matches!(exit, Exit::Missing(_));
    service.last_error.as_ref().filter(|exit| !waited(exit)).map(ToString::to_string)
}

fn state(state: State) -> ServiceState {
    match state {
        State::Stopped => ServiceState::Stopped,
        State::Waiting => ServiceState::Waiting,
        State::Starting => ServiceState::Starting,
        State::Started => ServiceState::Started,
        State::Stopping => ServiceState::Stopping,
    }
}

fn time(time: SystemTime) -> Option<jiff::Timestamp> {
    time.try_into().ok()
}

fn detail(detail: Detail) -> BTreeMap<String, String> {
    match detail {
        Detail::Pairs(pairs) => pairs.into_iter().collect(),
        Detail::Text(text) => BTreeMap::from([("detail".to_owned(), text)]),
        Detail::Failed(why) => BTreeMap::from([("detail".to_owned(), format!("not to be had: {why}"))]),
    }
}
