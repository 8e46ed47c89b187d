//! From the text of a term to what it means.

use std::sync::Arc;

use super::condition::{Condition, Test, Wanted};
use super::decimal::{Decimal, Range};
use super::{Clause, MAX_KEY, MAX_TERM};

/// Why a text is no term. Positions count characters from 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TermError {
    /// Longer than [`MAX_TERM`].
    #[error("the term has {0} bytes: at most {MAX_TERM} are accepted")]
    TooLong(usize),
    /// The key is longer than [`MAX_KEY`].
    #[error("the key has {0} bytes: at most {MAX_KEY} are accepted")]
    KeyTooLong(usize),
    /// No key where one must be.
    #[error("no key at position {at}: write a capability, e.g. camera, !camera, board=rpi4 or uart=2..")]
    NoKey {
        /// Where.
        at: usize,
    },
    /// Something that is no operator follows the key.
    #[error("unknown operator {operator:?} at position {at}: use =, !=, >= or <=, or quote an unusual key")]
    UnknownOperator {
        /// Where.
        at: usize,
        /// What is there.
        operator: String,
    },
    /// `<` or `>`.
    #[error("unknown operator {operator:?} at position {at}: ranges include their ends, use {operator}=")]
    ExclusiveOperator {
        /// Where.
        at: usize,
        /// What is there.
        operator: char,
    },
    /// `!key` together with a value.
    #[error(
        "unexpected {operator:?} at position {at} after a key with !: to exclude a value write key!=value"
    )]
    NegatedWithValue {
        /// Where.
        at: usize,
        /// What is there.
        operator: String,
    },
    /// No value where one must be.
    #[error("no value at position {at}: write one, or \"\" for the empty text")]
    NoValue {
        /// Where.
        at: usize,
    },
    /// An unquoted value begins with a character of an operator.
    #[error("unexpected {found:?} at position {at}: use one of =, !=, >=, <=, or quote the value")]
    ValueLooksLikeOperator {
        /// Where.
        at: usize,
        /// What is there.
        found: char,
    },
    /// An end of a range, or the operand of `>=` or `<=`, is no number.
    #[error(
        "{text:?} at position {at} is not a number: ranges take numbers like 2, -4 or 3.25 with at most 18 digits on \
         either side of the point; quote the value if it is text"
    )]
    NotANumber {
        /// Where.
        at: usize,
        /// What is there.
        text: String,
    },
    /// A range without ends.
    #[error("the range at position {at} has no end: write the key alone if any value will do")]
    EndlessRange {
        /// Where.
        at: usize,
    },
    /// A range whose lower end lies above its upper end.
    #[error("the range {text:?} at position {at} is empty: write the smaller number first")]
    EmptyRange {
        /// Where.
        at: usize,
        /// What is there.
        text: String,
    },
    /// A quote without its end.
    #[error("the quote at position {at} has no end: close it with \"")]
    OpenQuote {
        /// Where it begins.
        at: usize,
    },
    /// A backslash before something that needs none.
    #[error("unknown escape at position {at}: within quotes write \\\" for a quote and \\\\ for a backslash")]
    UnknownEscape {
        /// Where.
        at: usize,
    },
    /// Something follows a finished value.
    #[error("unexpected {found:?} at position {at}: put a comma between values")]
    NoComma {
        /// Where.
        at: usize,
        /// What is there.
        found: char,
    },
    /// A control character outside quotes.
    #[error("a control character at position {at}: quote the text that holds it")]
    ControlCharacter {
        /// Where.
        at: usize,
    },
}

/// What a term means.
pub(super) fn clause(text: &str) -> Result<Clause, TermError> {
    if text.len() > MAX_TERM {
        return Err(TermError::TooLong(text.len()));
    }
    let mut input = Input { text, at: 0 };
    input.skip_blanks();
    let negated_key = input.eat('!');
    input.skip_blanks();
    let key = key(&mut input)?;
    input.skip_blanks();
    let at = input.position();
    let operator = input.take_while(|c| OPERATOR_CHARACTERS.contains(c));
    let (negated, test) = match operator {
        "" if input.is_empty() => (negated_key, Test::Present),
        "" => {
            let operator = input.take_while(|c| !c.is_whitespace()).to_owned();
            return Err(TermError::UnknownOperator { at, operator });
        }
        _ if negated_key => {
            return Err(TermError::NegatedWithValue { at, operator: operator.to_owned() });
        }
        "=" => (false, Test::Any(values(&mut input)?)),
        "!=" => (true, Test::Any(values(&mut input)?)),
        ">=" => (false, at_least(&mut input)?),
        "<=" => (false, at_most(&mut input)?),
        ">" | "<" => {
            let operator = if operator == ">" { '>' } else { '<' };
            return Err(TermError::ExclusiveOperator { at, operator });
        }
        _ => return Err(TermError::UnknownOperator { at, operator: operator.to_owned() }),
    };
    Ok(Clause { condition: Arc::new(Condition { key: key.into(), test }), negated })
}

/// Whether a key needs no quotes.
pub(super) fn is_plain_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(is_key_character)
}

const OPERATOR_CHARACTERS: &[char] = &['=', '!', '<', '>', '~', '^', '*', '$', '&', '|', '?', '%'];

fn is_key_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@')
}

fn key(input: &mut Input<'_>) -> Result<String, TermError> {
    let at = input.position();
    let key = match input.peek() {
        Some('"') => quoted(input)?,
        Some(c) if is_key_character(c) => input.take_while(|c| is_key_character(*c)).to_owned(),
        _ => return Err(TermError::NoKey { at }),
    };
    if key.len() > MAX_KEY { Err(TermError::KeyTooLong(key.len())) } else { Ok(key) }
}

fn values(input: &mut Input<'_>) -> Result<Box<[Wanted]>, TermError> {
    let mut values = Vec::new();
    loop {
        values.push(value(input)?);
        if input.is_empty() {
            return Ok(values.into());
        }
        if !input.eat(',') {
            let (at, found) = (input.position(), input.peek().unwrap_or_default());
            return Err(TermError::NoComma { at, found });
        }
    }
}

/// One value, and the blanks on both sides of it.
fn value(input: &mut Input<'_>) -> Result<Wanted, TermError> {
    input.skip_blanks();
    let at = input.position();
    match input.peek() {
        None | Some(',') => Err(TermError::NoValue { at }),
        Some('"') => {
            let text = quoted(input)?;
            input.skip_blanks();
            Ok(Wanted::Whole(text.into()))
        }
        Some(found @ ('=' | '!' | '<' | '>' | '~')) => Err(TermError::ValueLooksLikeOperator { at, found }),
        Some(_) => {
            let text = unquoted(input)?;
            if text.contains("..") {
                return range(text, at).map(Wanted::Range);
            }
            Ok(Wanted::Text(text.into(), Decimal::parse(text)))
        }
    }
}

fn unquoted<'a>(input: &mut Input<'a>) -> Result<&'a str, TermError> {
    let text = input.take_while(|c| !matches!(c, ',' | '"') && !c.is_control());
    match input.peek() {
        Some(c) if c.is_control() => Err(TermError::ControlCharacter { at: input.position() }),
        _ => Ok(text.trim()),
    }
}

/// A wanted range in `text`, which begins at `at`.
fn range(text: &str, at: usize) -> Result<Range, TermError> {
    let (low, high) = text.split_once("..").unwrap_or((text, ""));
    let end = |text: &str| match text.trim() {
        "" => Ok(None),
        number => match Decimal::parse(number) {
            Some(number) => Ok(Some(number)),
            None => Err(TermError::NotANumber { at, text: number.to_owned() }),
        },
    };
    match (Range { low: end(low)?, high: end(high)? }) {
        Range { low: None, high: None } => Err(TermError::EndlessRange { at }),
        Range { low: Some(low), high: Some(high) } if low > high => {
            Err(TermError::EmptyRange { at, text: text.to_owned() })
        }
        range => Ok(range),
    }
}

fn at_least(input: &mut Input<'_>) -> Result<Test, TermError> {
    let low = Some(number(input)?);
    Ok(Test::Any([Wanted::Range(Range { low, high: None })].into()))
}

fn at_most(input: &mut Input<'_>) -> Result<Test, TermError> {
    let high = Some(number(input)?);
    Ok(Test::Any([Wanted::Range(Range { low: None, high })].into()))
}

/// All that is left, as one number.
fn number(input: &mut Input<'_>) -> Result<Decimal, TermError> {
    input.skip_blanks();
    let at = input.position();
    match input.take_while(|_| true).trim() {
        "" => Err(TermError::NoValue { at }),
        text => Decimal::parse(text).ok_or_else(|| TermError::NotANumber { at, text: text.to_owned() }),
    }
}

fn quoted(input: &mut Input<'_>) -> Result<String, TermError> {
    let begin = input.position();
    input.eat('"');
    let mut text = String::new();
    loop {
        text.push_str(input.take_while(|c| !matches!(c, '"' | '\\')));
        if input.eat('"') {
            return Ok(text);
        }
        let at = input.position();
        if !input.eat('\\') {
            return Err(TermError::OpenQuote { at: begin });
        }
        match input.peek() {
            Some(c @ ('"' | '\\')) => {
                input.eat(c);
                text.push(c);
            }
            _ => return Err(TermError::UnknownEscape { at }),
        }
    }
}

/// What is left of the text.
struct Input<'a> {
    text: &'a str,
    /// Bytes read; always on a character boundary.
    at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// In characters, from 1.
    fn position(&self) -> usize {
        self.text.get(..self.at).unwrap_or_default().chars().count() + 1
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(&char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(&c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.take_while(|c| c.is_whitespace());
    }
}
