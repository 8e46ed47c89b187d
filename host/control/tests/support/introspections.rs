//! What tests of introspections look at, and what they do to them.

use grove_control::Settings;
use grove_control::refusal::Refused;
use grove_domain::capability::Map;
use grove_domain::id::{IntrospectionId, RuleId, Uuid};
use grove_domain::introspection::State;
use grove_domain::inventory::Value;
use grove_domain::moment::Timestamp;
use grove_domain::rule::{Action, Condition, Multiple, Rule, Source, Template, Test};

use crate::support::{Farm, token};

/// What introspection found on a worker.
pub(crate) fn found(farm: &Farm, number: u128) -> Map {
    farm.worker(number).capabilities.introspected().as_ref().clone()
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn states(farm: &Farm, run: IntrospectionId) -> Vec<String> {
    let events = farm.fakes.store.all_events();
    let own = events.iter().filter(|event| event.subject.to_string() == format!("introspection/{run}"));
    own.filter(|event| event.kind == "introspection.state").filter_map(|event| event.after.clone()).collect()
}

pub(crate) fn settings(change: impl FnOnce(&mut grove_control::settings::Introspections)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings.introspection);
    settings
}

/// A rule that sets a capability wherever the inventory has such a text or number.
pub(crate) fn rule(number: u128, path: &str, name: &str, value: &str) -> Rule {
    Rule {
        id: RuleId(Uuid::from_u128(number)),
        place: 0,
        description: format!("{name} from {path}"),
        scope: None,
        conditions: vec![Condition {
            source: Source::Data,
            path: grove_domain::inventory::Path::parse(path).unwrap(),
            test: Test::parse("matches", Some(Value::Text(".*".to_owned()))).unwrap(),
            multiple: Multiple::Any,
            invert: false,
        }],
        actions: vec![Action::SetCapability {
            name: name.to_owned(),
            value: Some(Template::parse(value).unwrap()),
        }],
        created: Timestamp::UNIX_EPOCH,
        revision: 0,
    }
}

pub(crate) fn failing(number: u128, message: &str) -> Rule {
    let actions = vec![Action::Fail { message: message.to_owned() }];
    Rule { conditions: vec![], actions, ..rule(number, "/cpus", "x", "y") }
}

pub(crate) async fn send(
    farm: &Farm,
    run: IntrospectionId,
    letter: char,
    inventory: &str,
) -> Result<State, Refused> {
    let sent = farm.controller.introspection_data(run, token(letter), inventory.into()).await;
    sent.map(|run| run.state)
}
