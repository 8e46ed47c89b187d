//! `/api/v2/rules`.

use axum::response::{IntoResponse, Response};
use grove_control::refusal::Refused;
use grove_domain::id::{RuleId, Uuid, WorkerId};
use grove_domain::introspection::{Change, Kind, View};
use grove_domain::inventory::{Path, Value};
use grove_domain::rule::{
    Action, Condition, Invalid, Multiple, Rule, Source, Template, Test, Trial, Verdict, trial,
};
use grove_wire::rule as wire;
use grove_wire::{Code, Page, Problem};
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Named, Query, Served, Whole, invalid, rule_id};
use super::refuse::Refuse;
use super::{introspections, inventory, revision, token};
use crate::app::App;

/// Characters of a value that are told in a trial.
const SHOWN: usize = 200;

/// All of them, in the order in which they act.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let items: Vec<_> = app.controller.farm().rules().map(|rule| show(rule)).collect();
    Ok(revision::json(StatusCode::OK, &Page { items, next: None }))
}

pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = rule_id(&id)?;
    Query::new(&uri).done()?;
    let farm = app.controller.farm();
    let rule = farm.rule(id).ok_or(Refused::NoSuchRule)?;
    Ok(revision::with_etag(StatusCode::OK, rule.revision, &show(rule)))
}

pub(crate) async fn add(Served(app): Served, headers: HeaderMap, body: Whole) -> Result<Response, Refuse> {
    revision::not_taken(&headers)?;
    let rule = taken(&app, "", body.json()?)?;
    let rule = app.controller.add_rule(&app.actor, rule).await?;
    Ok(revision::with_etag(StatusCode::CREATED, rule.revision, &show(&rule)))
}

pub(crate) async fn remove(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let id = rule_id(&id)?;
    app.controller.remove_rule(&app.actor, id, revision::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn remove_all(
    Served(app): Served,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    revision::not_taken(&headers)?;
    app.controller.remove_rules(&app.actor).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Tries a rule on the newest processed inventory of a worker; nothing changes.
pub(crate) async fn test(Served(app): Served, headers: HeaderMap, body: Whole) -> Result<Response, Refuse> {
    revision::not_taken(&headers)?;
    let sent: wire::TestRule = body.json()?;
    let rule = taken(&app, "rule.", sent.rule)?;
    let id = WorkerId(sent.worker);
    let view = View::of(app.controller.farm().worker(id).ok_or(Refused::NoSuchWorker)?);
    let run = introspections::newest(&app, id, None, |run| run.has_processed).await?;
    let run = run.ok_or_else(|| {
        let problem = Problem::new(Code::NoInventory, "no processed inventory of this worker is stored");
        Refuse::from(problem.hint("introspect it first: POST /api/v2/introspections").field("worker"))
    })?;
    let text = introspections::stored(&app, run.id, Kind::Processed).await?;
    let mut found = app.controller.findings(run.id).await?.unwrap_or_default();
    // What rules found is not there when they begin.
    found.capabilities.retain(|key, _| {
        found.by.get(key).is_none_or(|by| !by.starts_with("rule/"))
            && !grove_domain::capability::is_reserved(key)
    });
    let tried = tokio::task::spawn_blocking(move || {
        let inventory = inventory::read(&text)?;
        Ok(trial(&rule, &inventory, &view, &found.capabilities))
    });
    let tried = tried.await.map_err(|error| error.to_string()).and_then(|tried| tried);
    let tried = tried.map_err(introspections::unread)?;
    Ok(revision::json(StatusCode::OK, &told(run.id.0, tried)))
}

/// The rule that somebody sent; `at` is where it stands in the body.
fn taken(app: &App, at: &str, sent: wire::AddRule) -> Result<Rule, Refuse> {
    let now = app.controller.clock().now();
    let id = match sent.id {
        Some(id) => id,
        None => uuid::Builder::from_random_bytes(token::random()?).into_uuid(),
    };
    let conditions = sent.conditions.into_iter().enumerate();
    let conditions = conditions.map(|(place, sent)| condition(&format!("{at}conditions[{place}]"), sent));
    let actions = sent.actions.into_iter().enumerate();
    let actions = actions.map(|(place, sent)| action(&format!("{at}actions[{place}]"), sent));
    let rule = Rule {
        id: RuleId(id),
        // The controller gives it one.
        place: 0,
        created: now,
        description: sent.description,
        scope: sent.scope,
        conditions: conditions.collect::<Result<_, _>>()?,
        actions: actions.collect::<Result<_, _>>()?,
        revision: 1,
    };
    match rule.check() {
        Ok(()) => Ok(rule),
        Err(Invalid { field, reason }) => Err(invalid(format!("{at}{field}"), reason)),
    }
}

fn condition(at: &str, sent: wire::Condition) -> Result<Condition, Refuse> {
    let op = match sent.op {
        wire::Op::Eq => "eq",
        wire::Op::Ne => "ne",
        wire::Op::Lt => "lt",
        wire::Op::Le => "le",
        wire::Op::Gt => "gt",
        wire::Op::Ge => "ge",
        wire::Op::InNet => "in-net",
        wire::Op::Matches => "matches",
        wire::Op::Contains => "contains",
        wire::Op::IsEmpty => "is-empty",
    };
    let value = sent.value.as_ref().map(inventory::from_json);
    Ok(Condition {
        source: match sent.source {
            wire::Source::Data => Source::Data,
            wire::Source::Worker => Source::Worker,
        },
        path: Path::parse(&sent.path).map_err(|error| invalid(format!("{at}.path"), error))?,
        test: Test::parse(op, value).map_err(|error| invalid(format!("{at}.value"), error))?,
        multiple: match sent.multiple {
            wire::Multiple::Any => Multiple::Any,
            wire::Multiple::All => Multiple::All,
            wire::Multiple::First => Multiple::First,
        },
        invert: sent.invert,
    })
}

fn action(at: &str, sent: wire::Action) -> Result<Action, Refuse> {
    let template =
        |text: String| Template::parse(&text).map_err(|error| invalid(format!("{at}.value"), error));
    Ok(match sent {
        wire::Action::Fail { message } => Action::Fail { message },
        wire::Action::SetCapability { name, value } => {
            Action::SetCapability { name, value: value.map(template).transpose()? }
        }
        wire::Action::ExtendCapability { name, value } => {
            Action::ExtendCapability { name, value: template(value)? }
        }
        wire::Action::SetLabel { name, value } => Action::SetLabel { name, value: template(value)? },
        wire::Action::AddTrait { name } => Action::AddTrait { name },
        wire::Action::RemoveTrait { name } => Action::RemoveTrait { name },
    })
}

fn show(rule: &Rule) -> wire::Rule {
    wire::Rule {
        id: rule.id.0,
        place: rule.place,
        description: rule.description.clone(),
        scope: rule.scope.clone(),
        conditions: rule.conditions.iter().map(show_condition).collect(),
        actions: rule.actions.iter().map(show_action).collect(),
        created: rule.created,
        revision: rule.revision,
    }
}

fn show_condition(condition: &Condition) -> wire::Condition {
    wire::Condition {
        source: match condition.source {
            Source::Data => wire::Source::Data,
            Source::Worker => wire::Source::Worker,
        },
        path: condition.path.to_string(),
        op: match condition.test.op() {
            "eq" => wire::Op::Eq,
            "ne" => wire::Op::Ne,
            "lt" => wire::Op::Lt,
            "le" => wire::Op::Le,
            "gt" => wire::Op::Gt,
            "ge" => wire::Op::Ge,
            "in-net" => wire::Op::InNet,
            "matches" => wire::Op::Matches,
            "contains" => wire::Op::Contains,
            _ => wire::Op::IsEmpty,
        },
        value: condition.test.value().as_ref().map(inventory::to_json),
        multiple: match condition.multiple {
            Multiple::Any => wire::Multiple::Any,
            Multiple::All => wire::Multiple::All,
            Multiple::First => wire::Multiple::First,
        },
        invert: condition.invert,
    }
}

fn show_action(action: &Action) -> wire::Action {
    match action.clone() {
        Action::Fail { message } => wire::Action::Fail { message },
        Action::SetCapability { name, value } => {
            wire::Action::SetCapability { name, value: value.map(|value| value.as_str().to_owned()) }
        }
        Action::ExtendCapability { name, value } => {
            wire::Action::ExtendCapability { name, value: value.as_str().to_owned() }
        }
        Action::SetLabel { name, value } => wire::Action::SetLabel { name, value: value.as_str().to_owned() },
        Action::AddTrait { name } => wire::Action::AddTrait { name },
        Action::RemoveTrait { name } => wire::Action::RemoveTrait { name },
    }
}

fn told(introspection: Uuid, trial: Trial) -> wire::Trial {
    let (changes, error) = match trial.outcome {
        Ok(changes) => (changes, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    wire::Trial {
        introspection,
        in_scope: trial.in_scope,
        applies: trial.applies,
        conditions: trial.conditions.into_iter().map(tried).collect(),
        changes: changes.into_iter().filter_map(changed).collect(),
        error,
    }
}

fn tried(tried: grove_domain::rule::Tried) -> wire::Tried {
    let value = |(value, verdict): (Value, Verdict)| wire::TriedValue {
        value: match &value {
            Value::List(_) | Value::Map(_) => value.kind().to_owned(),
            value => inventory::to_json(value).to_string().chars().take(SHOWN).collect(),
        },
        holds: verdict == Verdict::Holds,
        unfit: match verdict {
            Verdict::Unfit(why) => Some(why.to_owned()),
            Verdict::Holds | Verdict::Not => None,
        },
    };
    wire::Tried {
        holds: tried.holds,
        count: tried.count as u64,
        values: tried.values.into_iter().map(value).collect(),
    }
}

/// None for a failure, which is told apart.
fn changed(change: Change) -> Option<wire::Change> {
    Some(match change {
        Change::SetCapability(key, value) => wire::Change::SetCapability { key, value },
        Change::UnsetCapability(key) => wire::Change::UnsetCapability { key },
        Change::Label(key, value) => wire::Change::SetLabel { key, value },
        Change::Fail(_) => return None,
    })
}
