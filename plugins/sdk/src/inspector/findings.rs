//! What an inspector concludes.

use std::fmt::Display;

use super::Change;
use crate::Pair;

/// Longest text that [`Findings::plain`] takes over, in bytes: more is nothing that anybody asks for.
const MAX_PLAIN: usize = 256;

/// Conclusions, in order: of two about the same key the later one holds.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Change>);

impl Findings {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The board has this capability. Numbers are what `uart>=2` can be asked of; a text with commas offers each of
    /// its parts, see [`plain`](Self::plain).
    pub fn set(&mut self, key: impl Into<String>, value: impl Display) {
        self.0.push(Change::SetCapability(Pair { key: key.into(), value: value.to_string() }));
    }

    /// The board has this capability, if something is known of it.
    pub fn set_some(&mut self, key: impl Into<String>, value: Option<impl Display>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// The board has this capability, with a text of the board's own, if that says anything. Commas, which would make a
    /// list of it, and what cannot be typed become blanks; what is beyond 256 bytes is left out.
    pub fn plain(&mut self, key: impl Into<String>, text: Option<&str>) {
        let Some(text) = text else { return };
        let mut value = String::new();
        for word in text.split(|c: char| c == ',' || c.is_control() || c.is_whitespace()) {
            if value.len() + word.len() >= MAX_PLAIN {
                break;
            }
            if !word.is_empty() {
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(word);
            }
        }
        if !value.is_empty() {
            self.set(key, value);
        }
    }

    /// Whatever was concluded before: the board does not have this capability.
    pub fn unset(&mut self, key: impl Into<String>) {
        self.0.push(Change::UnsetCapability(key.into()));
    }

    /// A remark on the board that nobody is matched by.
    pub fn label(&mut self, key: impl Into<String>, value: impl Display) {
        self.0.push(Change::Label(Pair { key: key.into(), value: value.to_string() }));
    }

    /// The board is not what it should be: the run fails for this reason, and changes nothing.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.0.push(Change::Fail(reason.into()));
    }

    /// The value that a capability has by these conclusions.
    pub fn get(&self, key: &str) -> Option<&str> {
        let about = |change: &&Change| match change {
            Change::SetCapability(pair) => pair.key == key,
            Change::UnsetCapability(unset) => unset == key,
            Change::Label(_) | Change::Fail(_) => false,
        };
        match self.0.iter().rfind(about)? {
            Change::SetCapability(pair) => Some(&pair.value),
            _ => None,
        }
    }

    /// All, in order.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }
}

impl From<Findings> for Vec<Change> {
    fn from(findings: Findings) -> Self {
        findings.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_key_holds() {
        let mut findings = Findings::new();
        findings.set("uart", 4);
        findings.set("uart", 2);
        findings.set("nics", 1);
        findings.unset("nics");
        findings.set_some("disks", None::<u64>);
        assert_eq!(
            (findings.get("uart"), findings.get("nics"), findings.get("disks")),
            (Some("2"), None, None)
        );
    }

    #[test]
    fn a_text_of_the_board_is_one_value() {
        let mut findings = Findings::new();
        findings.plain("vendor", Some("  Micro-Star International\tCo., Ltd.\0"));
        findings.plain("product", Some(" , "));
        findings.plain("model", Some(&"word ".repeat(1000)));
        assert_eq!(findings.get("vendor"), Some("Micro-Star International Co. Ltd."));
        assert_eq!(findings.get("product"), None);
        assert_eq!(findings.get("model").map(str::len), Some(254));
    }
}
