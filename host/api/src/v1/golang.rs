//! JSON as Go's decoder takes it and Go's encoder writes it, since v1 clients were written against those.
//!
//! Taking: anything after the first value is ignored; invalid UTF-8 and lone surrogates become U+FFFD; keys match
//! case-insensitively, unknown ones are ignored, the last duplicate wins; `null` leaves a field as it is, and empties
//! a list, map or optional. Writing: `<`, `>`, `&`, U+2028 and U+2029 are escaped, and there is no white space.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Values within values beyond this are refused.
const DEPTH: usize = 128;

/// A JSON value as it was sent. Numbers stay text: each field has bounds of its own.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Why bytes are not what was expected; follows `invalid request: `.
pub(crate) type Error = Cow<'static, str>;

/// The first value in `bytes`; none when there is nothing but white space.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Value<'_>>, Error> {
    let mut parser = Parser { bytes, at: 0 };
    parser.skip_blanks();
    if parser.at == bytes.len() {
        return Ok(None);
    }
    parser.value(0).map(Some)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> Error {
        match self.peek() {
            None => "unexpected end of JSON input".into(),
            Some(byte) => format!("invalid character '{}' at offset {}", byte.escape_ascii(), self.at).into(),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, Error> {
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        if depth > DEPTH {
            return Err("the JSON is nested too deeply".into());
        }
        match self.peek() {
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'"') => self.string().map(Value::String),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_blanks();
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            self.skip_blanks();
            self.expect(b':')?;
            self.skip_blanks();
            members.push((key, self.value(depth + 1)?));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn digits(&mut self) -> Result<(), Error> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value<'a>, Error> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok());
        Ok(Value::Number(text.unwrap_or_default()))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let raw = self.bytes.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(repaired(raw));
                }
                Some(b'\\') => return self.escaped_string(start),
                Some(0..=0x1f) | None => return Err(self.unexpected()),
                Some(_) => self.at += 1,
            }
        }
    }

    /// The rest of a string that holds escapes.
    fn escaped_string(&mut self, start: usize) -> Result<Cow<'a, str>, Error> {
        let mut text = repaired(self.bytes.get(start..self.at).unwrap_or_default()).into_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut text)?;
                }
                Some(0..=0x1f) | None => return Err(self.unexpected()),
                Some(_) => {
                    let from = self.at;
                    while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
                        self.at += 1;
                    }
                    text.push_str(&repaired(self.bytes.get(from..self.at).unwrap_or_default()));
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Error> {
        let plain = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                let unit = self.unit()?;
                let char = match unit {
                    0xd800..=0xdbff => self.low_half(unit),
                    _ => char::from_u32(unit),
                };
                text.push(char.unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    /// The character of a surrogate pair whose second half may follow; otherwise what follows stands for itself.
    fn low_half(&mut self, high: u32) -> Option<char> {
        let before = self.at;
        if self.bytes.get(self.at..)?.starts_with(b"\\u") {
            self.at += 2;
            if let Ok(low @ 0xdc00..=0xdfff) = self.unit() {
                return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            }
            self.at = before;
        }
        None
    }

    fn unit(&mut self) -> Result<u32, Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.unexpected())?;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// Text with each byte that is not UTF-8 as U+FFFD.
fn repaired(mut bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                repaired.push_str(text);
                return Cow::Owned(repaired);
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                repaired.push_str(std::str::from_utf8(good).unwrap_or_default());
                repaired.push(char::REPLACEMENT_CHARACTER);
                bytes = bad.get(1..).unwrap_or_default();
            }
        }
    }
}

impl Value<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

fn mismatch(value: &Value<'_>, what: &str, field: &str) -> Error {
    let kind = value.kind();
    format!("cannot use {kind} as {what} in field {field}").into()
}

/// Sets fields from the members of an object, in their order. `set` is told the number of the field in `names`.
/// `null` sets nothing.
pub(crate) fn fields<'v, 'a>(
    value: &'v Value<'a>,
    what: &str,
    names: &[&'static str],
    mut set: impl FnMut(usize, &'v Value<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let members = match value {
        Value::Null => return Ok(()),
        Value::Object(members) => members,
        other => return Err(mismatch(other, "an object", what)),
    };
    for (key, value) in members {
        let exact = names.iter().position(|name| name == key);
        if let Some(field) = exact.or_else(|| names.iter().position(|name| same_key(name, key))) {
            set(field, value)?;
        }
    }
    Ok(())
}

/// Whether a key names a field: letters count alike in either case, and so do their two look-alikes in Unicode.
fn same_key(name: &str, key: &str) -> bool {
    let fold = |char: char| match char {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

/// Sets an unsigned number of at most `max`.
pub(crate) fn number(value: &Value<'_>, field: &str, max: u64, target: &mut u64) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        Value::Number(text) => match text.parse::<u64>() {
            Ok(number) if number <= max && !text.starts_with('+') => {
                *target = number;
                Ok(())
            }
            _ => {
                Err(format!("cannot use number {} in field {field}: it takes 0 to {max}", short(text)).into())
            }
        },
        other => Err(mismatch(other, "a number", field)),
    }
}

/// Sets a text.
pub(crate) fn text(value: &Value<'_>, field: &str, target: &mut String) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) => {
            *target = text.clone().into_owned();
            Ok(())
        }
        other => Err(mismatch(other, "a string", field)),
    }
}

/// Sets a list of texts; `null` is no list.
pub(crate) fn texts(value: &Value<'_>, field: &str, target: &mut Option<Vec<String>>) -> Result<(), Error> {
    match value {
        Value::Null => *target = None,
        Value::Array(items) => {
            let mut list = vec![String::new(); items.len()];
            for (item, target) in items.iter().zip(&mut list) {
                text(item, field, target)?;
            }
            *target = Some(list);
        }
        other => return Err(mismatch(other, "an array", field)),
    }
    Ok(())
}

/// Sets a list of unsigned numbers of at most `max`; `null` is no list. Numbers of a byte may come as base64.
pub(crate) fn numbers(value: &Value<'_>, field: &str, max: u64, target: &mut Vec<u64>) -> Result<(), Error> {
    match value {
        Value::Null => target.clear(),
        Value::Array(items) => {
            let mut list = vec![0; items.len()];
            for (item, target) in items.iter().zip(&mut list) {
                number(item, field, max, target)?;
            }
            *target = list;
        }
        Value::String(text) if max == u64::from(u8::MAX) => {
            use base64::Engine;
            let text: String = text.chars().filter(|char| !matches!(char, '\r' | '\n')).collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| Error::from(format!("illegal base64 in field {field}: {error}")))?;
            *target = bytes.into_iter().map(u64::from).collect();
        }
        other => return Err(mismatch(other, "an array", field)),
    }
    Ok(())
}

/// Sets a map of texts; members are added to those of an earlier duplicate, and `null` is no map.
pub(crate) fn map(
    value: &Value<'_>,
    field: &str,
    target: &mut Option<BTreeMap<String, String>>,
) -> Result<(), Error> {
    match value {
        Value::Null => *target = None,
        Value::Object(members) => {
            let map = target.get_or_insert_default();
            for (key, value) in members {
                let mut item = String::new();
                text(value, field, &mut item)?;
                map.insert(key.clone().into_owned(), item);
            }
        }
        other => return Err(mismatch(other, "an object", field)),
    }
    Ok(())
}

fn short(text: &str) -> &str {
    text.get(..32).unwrap_or(text)
}

/// Writes a string.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        if plain {
            continue;
        }
        // U+2028 and U+2029 are the only characters beyond ASCII that are escaped.
        let long = byte == 0xe2;
        if long && !matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) {
            continue;
        }
        out.extend_from_slice(bytes.get(written..at).unwrap_or_default());
        written = at + 1;
        match byte {
            0xe2 => {
                let last = if bytes.get(at + 2) == Some(&0xa8) { b"\\u2028" } else { b"\\u2029" };
                out.extend_from_slice(last);
                written = at + 3;
            }
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => {
                out.extend_from_slice(b"\\u00");
                let digits = [usize::from(other >> 4), usize::from(other & 15)];
                out.extend(digits.iter().filter_map(|digit| HEX.get(*digit)));
            }
        }
    }
    out.extend_from_slice(bytes.get(written..).unwrap_or_default());
    out.push(b'"');
}

/// Writes a number.
pub(crate) fn write_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a list of texts.
pub(crate) fn write_texts<'t>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'t String>) {
    out.push(b'[');
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(out, text);
    }
    out.push(b']');
}

/// Writes a map of texts, by key.
pub(crate) fn write_map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    out.push(b'{');
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(out, key);
        out.push(b':');
        write_text(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &[u8]) -> Value<'_> {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn texts_are_repaired() {
        for (sent, meant) in [
            (&b"\"a\xffb\""[..], "a\u{fffd}b"),
            (b"\"\xe2\x80\"", "\u{fffd}\u{fffd}"),
            (br#""\ud83d\ude00""#, "😀"),
            (br#""\ud83dx""#, "\u{fffd}x"),
            (br#""\ud83d\u0041""#, "\u{fffd}A"),
            (br#""\ude00""#, "\u{fffd}"),
            (br#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        ] {
            assert_eq!(one(sent), Value::String(meant.into()), "{sent:?}");
        }
    }

    #[test]
    fn only_the_first_value_counts() {
        assert_eq!(one(b" {} garbage"), Value::Object(vec![]));
        assert_eq!(one(b"null{"), Value::Null);
        assert_eq!(parse(b" \r\n\t"), Ok(None));
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01x",
            "-",
            "1.",
            "1e",
            "\"\n\"",
            "\"\\x\"",
            "tru",
            "+1",
            "\"\\u12g4\"",
        ] {
            // A leading zero is a value by itself; what follows is ignored.
            assert_eq!(parse(text.as_bytes()).is_err(), text != "01x", "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn keys_fold_and_the_last_duplicate_wins() {
        let mut priority = 0;
        let value = one(r#"{"pRIORITY":1,"unknown":[{}],"Priority":2,"PRIORITY":null}"#.as_bytes());
        fields(&value, "request", &["Priority"], |_, value| number(value, "Priority", 255, &mut priority))
            .unwrap();
        assert_eq!(priority, 2);
        assert!(same_key("Caps", "cap\u{17f}"));
        assert!(!same_key("Caps", "Cap"));
    }

    #[test]
    fn numbers_have_bounds() {
        let mut target = 0;
        for bad in ["256", "-1", "1.0", "1e1", "\"1\"", "true", "[]"] {
            assert!(number(&one(bad.as_bytes()), "f", 255, &mut target).is_err(), "{bad}");
        }
        let mut list = Vec::new();
        numbers(&one(b"\"AhA=\""), "f", 255, &mut list).unwrap();
        assert_eq!(list, [2, 16]);
        assert!(numbers(&one(b"\"AhA\""), "f", 255, &mut list).is_err());
        assert!(numbers(&one(b"\"AhA=\""), "f", u64::MAX, &mut list).is_err());
    }

    #[test]
    fn texts_are_escaped_for_html() {
        let mut out = Vec::new();
        write_text(&mut out, "a<b>&\"\\\n\u{1}\u{8}\u{2028}é\u{20ac}\u{7f}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\b\\u2028é\u{20ac}\u{7f}\"");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in ".*") {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            prop_assert_eq!(one(&out), Value::String(text.as_str().into()));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn what_others_take_is_taken(text in "[-+0-9eE.\\[\\]{}\",:ntrufalse \\\\]{0,24}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert!(parse(text.as_bytes()).is_ok(), "{}", value);
            }
        }

        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
