//! Inventories: how boards send them, and how they are shown.

use std::sync::Arc;

use axum::body::Body;
use grove_control::inventory;
use grove_domain::inventory::{Number, Value};
use grove_wire::{Code, Problem};
use http::HeaderMap;

use super::refuse::Refuse;
use crate::body;
use crate::front::Front;

/// The inventory that a board sends. It is not read further than the admin allows.
pub(crate) async fn receive(front: &Front, headers: &HeaderMap, sent: Body) -> Result<Arc<str>, Refuse> {
    let bytes = body::read(headers, sent, front.limits.body, front.limits.inventory).await?;
    let bad = |detail: String| Refuse::from(Problem::new(Code::BadInventory, detail));
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| bad(format!("the text is not UTF-8: look at byte {}", error.valid_up_to())))?;
    if text.trim().is_empty() {
        return Err(bad("the body is empty".to_owned()));
    }
    read(text).map_err(bad)?;
    Ok(text.into())
}

/// The tree that an inventory is.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    inventory::read(text)
}

/// The same value, as JSON.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_negative()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().into(),
        },
        Value::Text(text) => Json::String(text.clone()),
        Value::List(list) => Json::Array(list.iter().map(to_json).collect()),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
        }
    }
}

/// The same JSON, as a value.
pub(crate) fn from_json(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            let natural = number.as_u64().map(Number::from);
            let whole = natural.or_else(|| number.as_i64().map(Number::from));
            let number = whole.or_else(|| number.as_f64().and_then(Number::real));
            number.map_or(Value::Null, Value::Number)
        }
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(members) => {
            Value::Map(members.iter().map(|(name, value)| (name.clone(), from_json(value))).collect())
        }
    }
}
