//! Rules as rows. Conditions and actions are JSON lists.

use std::borrow::Cow;

use grove_domain::id::RuleId;
use grove_domain::inventory::{Number, Path, Value};
use grove_domain::rule::{Action, Condition, Multiple, Rule, Source, Template, Test};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id};
use crate::error::StoreError;

/// Takes what [`put_rule`] binds.
pub(crate) const INSERT_RULE: &str =
    "INSERT INTO rules (id, place, description, scope, conditions, actions, created, revision)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// Every rule.
pub(crate) const SELECT_RULES: &str =
    "SELECT id, place, description, scope, conditions, actions, created, revision FROM rules";

/// Binds [`INSERT_RULE`].
pub(crate) fn put_rule(row: &mut Binder<'_, '_>, rule: &Rule) -> rusqlite::Result<()> {
    row.put(Id::from(rule.id))?;
    row.put(Count(rule.place))?;
    row.put(&rule.description)?;
    row.put(&rule.scope)?;
    row.json(&rule.conditions.iter().map(ConditionRow::from).collect::<Vec<_>>())?;
    row.json(&rule.actions.iter().map(ActionRow::from).collect::<Vec<_>>())?;
    row.put(At(rule.created))?;
    row.put(Count(rule.revision))
}

/// Reads a row of [`SELECT_RULES`].
pub(crate) fn rule(row: &Row<'_>) -> Result<Rule, StoreError> {
    let mut cells = Cells::new(row, "rule");
    Ok(Rule {
        id: RuleId(cells.take::<Id>()?.0),
        place: cells.take::<Count>()?.0,
        description: cells.take()?,
        scope: cells.take()?,
        conditions: conditions(&mut cells)?,
        actions: actions(&mut cells)?,
        created: cells.take::<At>()?.0,
        revision: cells.take::<Count>()?.0,
    })
}

fn conditions(cells: &mut Cells<'_>) -> Result<Vec<Condition>, StoreError> {
    let rows: Vec<ConditionRow<'_>> = cells.json()?;
    rows.into_iter().map(|row| row.condition().map_err(|problem| cells.wrong(problem))).collect()
}

fn actions(cells: &mut Cells<'_>) -> Result<Vec<Action>, StoreError> {
    let rows: Vec<ActionRow<'_>> = cells.json()?;
    rows.into_iter().map(|row| row.action().map_err(|problem| cells.wrong(problem))).collect()
}

#[derive(Serialize, Deserialize)]
struct ConditionRow<'a> {
    source: Cow<'a, str>,
    path: Cow<'a, str>,
    op: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<serde_json::Value>,
    multiple: Cow<'a, str>,
    invert: bool,
}

impl<'a> From<&'a Condition> for ConditionRow<'a> {
    fn from(condition: &'a Condition) -> Self {
        Self {
            source: condition.source.name().into(),
            path: condition.path.to_string().into(),
            op: condition.test.op().into(),
            value: condition.test.value().map(|value| json(&value)),
            multiple: condition.multiple.name().into(),
            invert: condition.invert,
        }
    }
}

impl ConditionRow<'_> {
    fn condition(self) -> Result<Condition, String> {
        let unknown = |what, word: &str| format!("this version knows no {what} {word:?}");
        let value = self.value.map(|value| plain(&value)).transpose()?;
        Ok(Condition {
            source: Source::from_name(&self.source).ok_or_else(|| unknown("source", &self.source))?,
            path: Path::parse(&self.path).map_err(|error| error.to_string())?,
            test: Test::parse(&self.op, value)?,
            multiple: Multiple::from_name(&self.multiple)
                .ok_or_else(|| unknown("multiple", &self.multiple))?,
            invert: self.invert,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct ActionRow<'a> {
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Action> for ActionRow<'a> {
    fn from(action: &'a Action) -> Self {
        let mut row = Self { kind: action.kind().into(), name: None, value: None, message: None };
        match action {
            Action::Fail { message } => row.message = Some(message.into()),
            Action::SetCapability { name, value } => {
                row.name = Some(name.into());
                row.value = value.as_ref().map(|value| value.as_str().into());
            }
            Action::ExtendCapability { name, value } | Action::SetLabel { name, value } => {
                row.name = Some(name.into());
                row.value = Some(value.as_str().into());
            }
            Action::AddTrait { name } | Action::RemoveTrait { name } => row.name = Some(name.into()),
        }
        row
    }
}

impl ActionRow<'_> {
    fn action(self) -> Result<Action, String> {
        let Self { kind, name, value, message } = self;
        let missing = |what: &str| format!("action {kind:?} without its {what}");
        let name = || name.map(Cow::into_owned).ok_or_else(|| missing("name"));
        let value = value.map(|value| Template::parse(&value)).transpose()?;
        Ok(match &*kind {
            "fail" => Action::Fail { message: message.ok_or_else(|| missing("message"))?.into_owned() },
            "set-capability" => Action::SetCapability { name: name()?, value },
            "extend-capability" => {
                Action::ExtendCapability { name: name()?, value: value.ok_or_else(|| missing("value"))? }
            }
            "set-label" => Action::SetLabel { name: name()?, value: value.ok_or_else(|| missing("value"))? },
            "add-trait" => Action::AddTrait { name: name()? },
            "remove-trait" => Action::RemoveTrait { name: name()? },
            _ => return Err(format!("this version knows no action {kind:?}")),
        })
    }
}

/// What a condition compares with, as JSON. It compares with nothing but texts, numbers and booleans.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_u64(), number.as_negative()) {
            (Some(natural), _) => natural.into(),
            (None, Some(negative)) => negative.into(),
            (None, None) => number.as_f64().into(),
        },
        Value::Null | Value::List(_) | Value::Map(_) => serde_json::Value::Null,
    }
}

fn plain(json: &serde_json::Value) -> Result<Value, String> {
    let number = |number: &serde_json::Number| {
        let whole = number.as_u64().map(Number::from).or_else(|| number.as_i64().map(Number::from));
        whole.or_else(|| number.as_f64().and_then(Number::real))
    };
    match json {
        serde_json::Value::Bool(value) => Ok(Value::Bool(*value)),
        serde_json::Value::String(text) => Ok(Value::Text(text.clone())),
        serde_json::Value::Number(json) => {
            number(json).map(Value::Number).ok_or_else(|| format!("{json} is no number"))
        }
        other => Err(format!("nothing is compared with {other}")),
    }
}
