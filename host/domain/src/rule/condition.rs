//! Conditions: what is asked of values in an inventory.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::effort::{Effort, TooMuch};
use super::pattern::{Network, Pattern, shown};
use super::short;
use crate::inventory::{Number, Path, Value};

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Where the values are.
    pub source: Source,
    /// Which values.
    pub path: Path,
    /// What is asked of each.
    pub test: Test,
    /// What of several values makes it hold.
    pub multiple: Multiple,
    /// Whether each answer is turned round.
    pub invert: bool,
}

/// Where values are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Source {
    /// In the inventory.
    #[default]
    Data,
    /// In the worker: `/uuid`, `/driver`, `/host`, `/groups`, `/capabilities/KEY` as they are without introspection, and
    /// `/found/KEY`, which inspectors found.
    Worker,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Data, Self::Worker];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Worker => "worker",
        }
    }

    /// The source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// What of several values makes a condition hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Multiple {
    /// One of them.
    #[default]
    Any,
    /// Each of them.
    All,
    /// The first of them.
    First,
}

impl Multiple {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Any, Self::All, Self::First];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::All => "all",
            Self::First => "first",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|multiple| multiple.name() == name)
    }
}

/// What is asked of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Test {
    /// How it compares to a text, a number or a boolean. For a number (a boolean is 0 or 1), the value is first made a
    /// number of that kind.
    Compare(Comparison, Value),
    /// Whether it is an address in a network.
    InNet(Network),
    /// Whether all of its text matches.
    Matches(Pattern),
    /// Whether a part of its text matches.
    Contains(Pattern),
    /// Whether it is null, or an empty text, list or map. The only one that holds for a value that is not there.
    IsEmpty,
}

/// How two values compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
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
}

impl Comparison {
    const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge];

    fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
        }
    }

    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

/// What a test says of one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Not,
    /// It cannot be told, for this reason: so it does not hold, turned round or not.
    Unfit(&'static str),
}

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Not }
    }

    fn inverted(self) -> Self {
        match self {
            Self::Holds => Self::Not,
            Self::Not => Self::Holds,
            Self::Unfit(reason) => Self::Unfit(reason),
        }
    }
}

impl Test {
    /// The words for every test.
    pub const OPS: [&str; 10] =
        ["eq", "ne", "lt", "le", "gt", "ge", "in-net", "matches", "contains", "is-empty"];

    /// The test of that word with what it asks for.
    ///
    /// # Errors
    /// There is no such test, or it cannot ask for that.
    pub fn parse(op: &str, value: Option<Value>) -> Result<Self, String> {
        if op == "is-empty" {
            return match value {
                None => Ok(Self::IsEmpty),
                Some(_) => Err("is-empty takes no value".to_owned()),
            };
        }
        if let Some(comparison) = Comparison::ALL.into_iter().find(|comparison| comparison.name() == op) {
            let value = value.ok_or_else(|| format!("{op} needs a value to compare with"))?;
            match &value {
                Value::Text(text) => short(text)?,
                Value::Number(_) | Value::Bool(_) => {}
                other => {
                    let kind = other.kind();
                    return Err(format!("{op} compares with text, a number or a boolean, not with {kind}"));
                }
            }
            return Ok(Self::Compare(comparison, value));
        }
        let text = || match value {
            Some(Value::Text(text)) => Ok(text),
            Some(other) => Err(format!("{op} needs a text, not {}", other.kind())),
            None => Err(format!("{op} needs a text as its value")),
        };
        match op {
            "in-net" => Network::parse(&text()?).map(Self::InNet),
            "matches" => Pattern::whole(&text()?).map(Self::Matches),
            "contains" => Pattern::anywhere(&text()?).map(Self::Contains),
            _ => Err(format!("{:?} is none of {}", shown(op), Self::OPS.join(", "))),
        }
    }

    /// Its word.
    pub fn op(&self) -> &'static str {
        match self {
            Self::Compare(comparison, _) => comparison.name(),
            Self::InNet(_) => "in-net",
            Self::Matches(_) => "matches",
            Self::Contains(_) => "contains",
            Self::IsEmpty => "is-empty",
        }
    }

    /// What it asks for.
    pub fn value(&self) -> Option<Value> {
        match self {
            Self::Compare(_, value) => Some(value.clone()),
            Self::InNet(network) => Some(Value::Text(network.as_str().to_owned())),
            Self::Matches(pattern) | Self::Contains(pattern) => {
                Some(Value::Text(pattern.as_str().to_owned()))
            }
            Self::IsEmpty => None,
        }
    }

    fn judge(&self, value: &Value) -> Verdict {
        match self {
            Self::Compare(comparison, with) => compare(*comparison, value, with),
            Self::InNet(network) => match value {
                Value::Text(text) => text
                    .parse::<IpAddr>()
                    .map_or(Verdict::Unfit("no address"), |address| Verdict::of(network.contains(address))),
                _ => Verdict::Unfit("no address"),
            },
            Self::Matches(pattern) | Self::Contains(pattern) => match value {
                Value::Text(text) => Verdict::of(pattern.matches(text)),
                value => {
                    value.text().map_or(Verdict::Unfit("no text"), |text| Verdict::of(pattern.matches(&text)))
                }
            },
            Self::IsEmpty => Verdict::of(match value {
                Value::Null => true,
                Value::Text(text) => text.is_empty(),
                Value::List(list) => list.is_empty(),
                Value::Map(map) => map.is_empty(),
                Value::Bool(_) | Value::Number(_) => false,
            }),
        }
    }
}

/// How `value` compares to the one that a rule names.
fn compare(comparison: Comparison, value: &Value, with: &Value) -> Verdict {
    let order = match with {
        Value::Number(number) if !number.is_whole() => {
            real(value).and_then(|value| value.partial_cmp(&number.as_f64()))
        }
        Value::Number(number) => whole(value).map(|value| value.cmp(&number.whole())),
        Value::Bool(flag) => whole(value).map(|value| value.cmp(&i128::from(*flag))),
        Value::Text(with) => match (value, comparison) {
            (Value::Text(value), _) => Some(value.cmp(with)),
            // Whatever it is, it is not this text.
            (_, Comparison::Eq | Comparison::Ne) => Some(Ordering::Less),
            _ => return Verdict::Unfit("no text"),
        },
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    order.map_or(Verdict::Unfit("no number"), |order| Verdict::of(comparison.admits(order)))
}

/// A value made a whole number: without what is behind its point.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Bool(flag) => Some((*flag).into()),
        Value::Number(number) => Some(number.whole()),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// A value made a float.
fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => Some(number.as_f64()),
        Value::Text(text) => text.trim().parse().ok().and_then(Number::real).map(Number::as_f64),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

impl Condition {
    /// Whether it holds in that tree.
    pub(super) fn holds(&self, tree: &Value, effort: &mut Effort) -> Result<bool, TooMuch> {
        let judged = self.judge(tree, effort)?;
        Ok(self.decide(judged.map(|(_, verdict)| verdict)))
    }

    /// Each value it is about, with what is said of it. None when nothing is there to be asked about.
    pub(super) fn judge<'a>(
        &self,
        tree: &'a Value,
        effort: &mut Effort,
    ) -> Result<impl Iterator<Item = (&'a Value, Verdict)>, TooMuch> {
        let mut values = self.path.select_within(tree, |values| effort.spend(values))?;
        if let Test::Matches(_) | Test::Contains(_) = self.test {
            let searched = |value: &&Value| if let Value::Text(text) = value { text.len() / 64 } else { 0 };
            effort.spend(values.iter().map(searched).sum())?;
        }
        if values.is_empty() && self.test == Test::IsEmpty {
            values.push(&Value::Null);
        }
        let verdict = move |value| {
            let verdict = self.test.judge(value);
            if self.invert { verdict.inverted() } else { verdict }
        };
        Ok(values.into_iter().map(move |value| (value, verdict(value))))
    }

    /// Whether it holds where that is said of its values. A condition about nothing does not.
    pub(super) fn decide(&self, verdicts: impl IntoIterator<Item = Verdict>) -> bool {
        let mut held = verdicts.into_iter().map(|verdict| verdict == Verdict::Holds).peekable();
        held.peek().is_some()
            && match self.multiple {
                Multiple::Any => held.any(|held| held),
                Multiple::All => held.all(|held| held),
                Multiple::First => held.next().unwrap_or(false),
            }
    }
}
