//! Text from outside (boards, plugins, users, other programs), made fit for a terminal.
//!
//! What steers a terminal is written out as Rust writes it, like `\u{1b}`: control characters of both sets, and what
//! turns the direction of writing or breaks a line without being a newline.

use std::borrow::Cow;
use std::fmt;

/// `text` as it may be shown; `layout` are the control characters that the place where it is shown has a use for.
pub(crate) fn escape<'a>(text: &'a str, layout: &[char]) -> Cow<'a, str> {
    let steers = |c: char| steers(c) && !layout.contains(&c);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// JSON that means the same. Outside of texts it has none of these but newlines.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    let steers = |c: char| steers(c) && c != '\n';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Escapes what is written through it.
pub(crate) struct Escaping<W>(pub(crate) W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&escape(text, &[]))
    }
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(escape("\u{1b}]0;owned\u{7}\u{1b}[2J", &[]), r"\u{1b}]0;owned\u{7}\u{1b}[2J");
        assert_eq!(escape("\u{9b}2J \u{7f}\u{0}", &[]), r"\u{9b}2J \u{7f}\u{0}");
        assert_eq!(
            escape("a\u{202e}b\u{2066}c\u{200f}d\u{2028}e", &[]),
            r"a\u{202e}b\u{2066}c\u{200f}d\u{2028}e"
        );
        assert_eq!(escape("a\r\nb\tc", &[]), r"a\r\nb\tc");
        assert_eq!(escape("a\r\nb\tc", &['\n', '\t']), "a\\r\nb\tc");
    }

    #[test]
    fn what_does_not_is_left_as_it_is() {
        for text in ["", "plain", "Grüße, 板, 🦀", r"a\u{1b}b"] {
            assert!(matches!(escape(text, &[]), Cow::Borrowed(same) if same == text));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in "(\\PC|[\\x00-\\x1f\\x7f-\\x{9f}\\x{200e}\\x{202a}-\\x{202e}]|\u{1b}\\[)*") {
            let shown = escape(&text, &[]);
            prop_assert!(!shown.contains(steers));
            let kept = escape(&text, &['\n', '\t']);
            prop_assert!(!kept.contains(|c: char| steers(c) && !['\n', '\t'].contains(&c)));
            let mut written = String::new();
            fmt::Write::write_str(&mut Escaping(&mut written), &text).unwrap();
            prop_assert_eq!(written, shown);
        }

        #[test]
        fn json_means_the_same(text in ".*|[\\x00-\\x{9f}\\x{200e}-\\x{202e}]*") {
            let value = serde_json::json!({ text.clone(): [text] });
            let json = serde_json::to_string_pretty(&value).unwrap();
            let shown = escape_json(&json);
            prop_assert!(!shown.contains(|c: char| steers(c) && c != '\n'));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
