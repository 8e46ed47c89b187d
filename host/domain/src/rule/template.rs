//! Templates: text with values of an inventory in it.

use super::short;
use crate::capability::MAX_VALUE;
use crate::inventory::Value;

/// A text in which `{data[disks][0][size]}` stands for a value of the inventory; `{{` and `}}` are braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Data(Vec<String>),
}

impl Template {
    /// The template that `text` is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        short(text)?;
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(place) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(place);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else if let Some(after) = from.strip_prefix('{') {
                let (inside, after) =
                    after.split_once('}').ok_or("a { has no }; write {{ for a brace".to_owned())?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Data(keys(inside)?));
                rest = after;
            } else {
                return Err("a } has no {; write }} for a brace".to_owned());
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text for that inventory.
    ///
    /// # Errors
    /// Something it needs is not there, or is no text, number or boolean; or the text is too long.
    pub(super) fn render(&self, data: &Value) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Data(keys) => text.push_str(&look_up(keys, data)?),
            }
            if text.len() > MAX_VALUE {
                let template = &self.text;
                return Err(format!("{template:?} becomes longer than the {MAX_VALUE} bytes of a value"));
            }
        }
        Ok(text)
    }
}

fn look_up(keys: &[String], data: &Value) -> Result<String, String> {
    let mut value = data;
    for (place, key) in keys.iter().enumerate() {
        value = value.get(key).ok_or_else(|| {
            let path: String = keys.iter().take(place + 1).map(|key| format!("[{key}]")).collect();
            format!("there is no data{path} in the inventory")
        })?;
    }
    value.text().ok_or_else(|| {
        let path: String = keys.iter().map(|key| format!("[{key}]")).collect();
        format!("data{path} in the inventory is {}, no text or number", value.kind())
    })
}

/// The keys in `data[a][b]`.
fn keys(inside: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{{{inside}}} stands for nothing: write {{data[key][key]}}");
    let mut rest = inside.strip_prefix("data").ok_or_else(wrong)?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(wrong)?;
        if key.is_empty() {
            return Err(wrong());
        }
        keys.push(key.to_owned());
        rest = after;
    }
    if keys.is_empty() { Err(wrong()) } else { Ok(keys) }
}
