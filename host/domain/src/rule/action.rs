//! Actions: what a rule does.

use super::{Template, short};
use crate::capability::Map;
use crate::introspection::{Change, capability_key, name};
use crate::inventory::Value;

/// An action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The run fails.
    Fail {
        /// Why.
        message: String,
    },
    /// The board has a capability, or has not.
    SetCapability {
        /// Its key.
        name: String,
        /// Its value; none takes the capability away.
        value: Option<Template>,
    },
    /// A capability is a list, which holds this too. One that inspectors or earlier rules found is extended, else the one
    /// that the worker has without introspection, else an empty one.
    ExtendCapability {
        /// Its key.
        name: String,
        /// What is added, once; several between commas.
        value: Template,
    },
    /// A remark on the board.
    SetLabel {
        /// On what.
        name: String,
        /// The remark.
        value: Template,
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

impl Action {
    /// The words for every action.
    pub const KINDS: [&str; 6] =
        ["fail", "set-capability", "extend-capability", "set-label", "add-trait", "remove-trait"];

    /// Its word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fail { .. } => "fail",
            Self::SetCapability { .. } => "set-capability",
            Self::ExtendCapability { .. } => "extend-capability",
            Self::SetLabel { .. } => "set-label",
            Self::AddTrait { .. } => "add-trait",
            Self::RemoveTrait { .. } => "remove-trait",
        }
    }

    /// Checks it; otherwise which of its fields is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match self {
            Self::Fail { message } if message.is_empty() => {
                Err(("message", "say why the run fails".to_owned()))
            }
            Self::Fail { message } => short(message).map_err(|reason| ("message", reason)),
            Self::SetLabel { name: label, .. } => name(label).map_err(|reason| ("name", reason)),
            Self::SetCapability { name, .. }
            | Self::ExtendCapability { name, .. }
            | Self::AddTrait { name }
            | Self::RemoveTrait { name } => capability_key(name).map_err(|reason| ("name", reason)),
        }
    }

    /// What it changes, where `found` was found before it on a worker that has `own` without introspection; or why not.
    pub(super) fn act(&self, data: &Value, found: &Map, own: &Map) -> Result<Change, String> {
        Ok(match self {
            Self::Fail { message } => return Err(message.clone()),
            Self::SetCapability { name, value: Some(value) } => {
                Change::SetCapability(name.clone(), value.render(data)?)
            }
            Self::ExtendCapability { name, value } => {
                let before = found.get(name).or_else(|| own.get(name)).map_or("", String::as_str);
                Change::SetCapability(name.clone(), extended(before, &value.render(data)?))
            }
            Self::SetLabel { name, value } => Change::Label(name.clone(), value.render(data)?),
            Self::AddTrait { name } => Change::SetCapability(name.clone(), "true".to_owned()),
            Self::SetCapability { name, value: None } | Self::RemoveTrait { name } => {
                Change::UnsetCapability(name.clone())
            }
        })
    }
}

/// A list between commas with these added, none twice.
fn extended(before: &str, added: &str) -> String {
    let mut list: Vec<_> = before.split(',').map(str::trim).filter(|element| !element.is_empty()).collect();
    for element in added.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        if !list.contains(&element) {
            list.push(element);
        }
    }
    list.join(",")
}
