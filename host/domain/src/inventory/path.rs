//! Paths into an inventory: JSON pointers in which `*` stands for every value.

use std::convert::Infallible;
use std::fmt;

use super::Value;

/// Bytes of a path.
pub const MAX_PATH: usize = 1024;

/// A JSON pointer (RFC 6901) such as `/disks/0/size`, in which a part `*` stands for every value of a list or map:
/// `/disks/*/size`. Inside a part `~0` is `~`, `~1` is `/` and `~2` is `*`. The empty path is the whole inventory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Path(Vec<Part>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Part {
    Every,
    Named(String),
}

/// What is wrong with a path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// It does not begin as one.
    #[error("a path begins with /, for example /cpu/count")]
    NoSlash,
    /// An escape that is none.
    #[error("~ is written ~0 in a path (/ is ~1, and * is ~2)")]
    Escape,
    /// Longer than [`MAX_PATH`].
    #[error("the path has {0} bytes: at most {MAX_PATH} are accepted")]
    TooLong(usize),
}

impl Path {
    /// The path that `text` is.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if text.len() > MAX_PATH {
            return Err(BadPath::TooLong(text.len()));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parts = text.strip_prefix('/').ok_or(BadPath::NoSlash)?.split('/');
        parts.map(Part::parse).collect::<Result<_, _>>().map(Self)
    }

    /// The values that it leads to, in the order of the inventory. They are no parts of each other.
    pub fn select<'a>(&self, top: &'a Value) -> Vec<&'a Value> {
        let Ok(found) = self.select_within(top, |_| Ok::<_, Infallible>(()));
        found
    }

    /// The same, as long as `looked` agrees to so many more values being looked at.
    ///
    /// # Errors
    /// What it says otherwise.
    pub fn select_within<'a, E>(
        &self,
        top: &'a Value,
        mut looked: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Vec<&'a Value>, E> {
        let mut found = vec![top];
        looked(1)?;
        for part in &self.0 {
            let next = |value: &'a Value| -> Vec<&'a Value> {
                match (part, value) {
                    (Part::Every, Value::List(list)) => list.iter().collect(),
                    (Part::Every, Value::Map(map)) => map.values().collect(),
                    (Part::Every, _) => Vec::new(),
                    (Part::Named(name), value) => value.get(name).into_iter().collect(),
                }
            };
            found = found.into_iter().flat_map(next).collect();
            looked(found.len())?;
        }
        Ok(found)
    }

    /// The one to the value of that name below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Named(name.to_owned()));
        Self(parts)
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, BadPath> {
        if text == "*" {
            return Ok(Self::Every);
        }
        let mut name = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            name.push(match character {
                '~' => match characters.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    Some('2') => '*',
                    _ => return Err(BadPath::Escape),
                },
                character => character,
            });
        }
        Ok(Self::Named(name))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Every => f.write_str("/*"),
            Part::Named(name) if name == "*" => f.write_str("/~2"),
            Part::Named(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
        })
    }
}
