//! Rules: what an admin concludes from inventories.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A rule. It is never changed: remove it and add another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Identity.
    pub id: Uuid,
    /// Its place: rules act in this order.
    pub place: u64,
    /// What it is for.
    pub description: String,
    /// The group whose workers it is for; null = every worker.
    pub scope: Option<String>,
    /// All must hold; without any it always applies.
    pub conditions: Vec<Condition>,
    /// What it does, in order.
    pub actions: Vec<Action>,
    /// When it was made.
    pub created: Timestamp,
    /// Also its ETag.
    pub revision: u64,
}

/// `POST /api/v2/rules`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a rule")]
pub struct AddRule {
    /// Identity; left out = the farm chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The group whose workers it is for; null = every worker.
    #[serde(default)]
    pub scope: Option<String>,
    /// All must hold; without any it always applies.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What it does, in order: at least one.
    pub actions: Vec<Action>,
}

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where the values are.
    #[serde(default)]
    pub source: Source,
    /// Which values: a JSON pointer, in which `*` stands for every value of a list or object.
    pub path: String,
    /// What is asked of each.
    pub op: Op,
    /// What they are compared with; `is-empty` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// What of several values makes it hold.
    #[serde(default)]
    pub multiple: Multiple,
    /// Whether each answer is turned round.
    #[serde(default)]
    pub invert: bool,
}

/// Where values are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// In the inventory.
    #[default]
    Data,
    /// In the worker: `/uuid`, `/driver`, `/host`, `/groups`, `/capabilities/KEY`, and `/found/KEY` of inspectors.
    Worker,
}

/// What is asked of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// An address in this network.
    InNet,
    /// All of it matches this regular expression.
    Matches,
    /// A part of it matches this regular expression.
    Contains,
    /// Null, an empty text, list or object, or not there.
    IsEmpty,
}

/// What of several values makes a condition hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Multiple {
    /// One of them.
    #[default]
    Any,
    /// Each of them.
    All,
    /// The first of them.
    First,
}

/// What a rule does. In values, `{data[key][key]}` stands for a value of the inventory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The run fails.
    Fail {
        /// Why.
        message: String,
    },
    /// The board has a capability.
    SetCapability {
        /// Its key.
        name: String,
        /// Its value; left out = the board has no such capability.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// A capability is a list between commas, which holds this too.
    ExtendCapability {
        /// Its key.
        name: String,
        /// What is added, once.
        value: String,
    },
    /// A remark on the board that nobody is matched by.
    SetLabel {
        /// On what.
        name: String,
        /// The remark.
        value: String,
    },
    /// The board has a capability with the value `true`.
    AddTrait {
        /// Its key.
        name: String,
    },
    /// The board has no capability of this key.
    RemoveTrait {
        /// Its key.
        name: String,
    },
}

/// `POST /api/v2/rules/test`: what a rule would do, on what is stored of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRule {
    /// The rule, which need not be one of the farm's.
    pub rule: AddRule,
    /// The worker whose newest processed inventory it is tried on.
    pub worker: Uuid,
}

/// What a rule would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// The run whose inventory it was tried on.
    pub introspection: Uuid,
    /// Whether it is for that worker at all.
    pub in_scope: bool,
    /// Whether it would act.
    pub applies: bool,
    /// Each of its conditions, in order.
    pub conditions: Vec<Tried>,
    /// What it would change, in order.
    pub changes: Vec<Change>,
    /// Why it would fail the run.
    pub error: Option<String>,
}

/// What became of one condition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Whether it holds.
    pub holds: bool,
    /// How many values are at its path.
    pub count: u64,
    /// The first of them.
    pub values: Vec<TriedValue>,
}

/// What was said of one value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TriedValue {
    /// The value, cut short; of a list or object only what it is.
    pub value: String,
    /// Whether the condition holds for it.
    pub holds: bool,
    /// Why that cannot be told: it then does not hold, turned round or not.
    pub unfit: Option<String>,
}

/// What a rule changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A capability is found.
    SetCapability {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A capability is not found.
    UnsetCapability {
        /// Its key.
        key: String,
    },
    /// A remark.
    SetLabel {
        /// On what.
        key: String,
        /// The remark.
        value: String,
    },
}
