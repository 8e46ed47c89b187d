//! One value of a row as JSON, and back to the last byte.

use grove_domain::id::Uuid;
use rusqlite::types::{Value, ValueRef};
use serde_json::value::RawValue;

use super::tables::Kind;

/// Writes a value at the end of a line.
pub(super) fn write(value: ValueRef<'_>, line: &mut Vec<u8>) -> Result<(), String> {
    match value {
        ValueRef::Null => line.extend_from_slice(b"null"),
        ValueRef::Integer(number) => line.extend_from_slice(number.to_string().as_bytes()),
        // As text: the shortest that is read as the same number.
        ValueRef::Real(number) => line.extend_from_slice(format!("\"{number:e}\"").as_bytes()),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| "it holds text that is not UTF-8".to_owned())?;
            if is_json(text) {
                line.extend_from_slice(text.as_bytes());
            } else {
                quote(text, line)?;
            }
        }
        ValueRef::Blob(bytes) => match Uuid::from_slice(bytes) {
            Ok(id) => quote(&id.hyphenated().to_string(), line)?,
            Err(_) => quote(&hex(bytes), line)?,
        },
    }
    Ok(())
}

/// Writes a string of JSON.
pub(super) fn quote(text: &str, line: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(line, text).map_err(|error| error.to_string())
}

/// Whether it can stand in a line as the JSON that it is, byte by byte.
fn is_json(text: &str) -> bool {
    let begins = text.starts_with('{') || text.starts_with('[');
    begins
        && !text.contains(['\n', '\r'])
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

/// Reads what [`write`] wrote for a column of this kind.
pub(super) fn read(raw: &RawValue, kind: Kind) -> Result<Value, String> {
    let raw = raw.get();
    if raw == "null" {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Integer => match raw.parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(format!("{} is no whole number of 64 bits", shown(raw))),
        },
        Kind::Text if raw.starts_with(['{', '[']) => Ok(Value::Text(raw.to_owned())),
        Kind::Text => text(raw).map(Value::Text),
        Kind::Real => match text(raw)?.parse() {
            Ok(number) => Ok(Value::Real(number)),
            Err(_) => Err(format!("{} is no number", shown(raw))),
        },
        Kind::Blob => bytes(&text(raw)?).map(Value::Blob),
    }
}

fn text(raw: &str) -> Result<String, String> {
    serde_json::from_str(raw).map_err(|_| format!("{} is no text", shown(raw)))
}

/// 16 bytes are a uuid, others are hexadecimal digits.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{} is neither a uuid nor hexadecimal digits", shown(text));
    if text.contains('-') {
        return Uuid::try_parse(text).map(|id| id.as_bytes().to_vec()).map_err(|_| wrong());
    }
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
        _ => None,
    };
    digits.chunks(2).map(|pair| byte(pair).ok_or_else(wrong)).collect()
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As much of a file's text as is told.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(value: &Value, kind: Kind) -> (String, Value) {
        let mut line = Vec::new();
        write(value.into(), &mut line).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert!(!text.contains('\n'));
        let raw: &RawValue = serde_json::from_str(&text).unwrap();
        let back = read(raw, kind).unwrap();
        (text, back)
    }

    #[test]
    fn values_are_readable_and_come_back() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, kind, shown) in [
            (Value::Null, Kind::Blob, "null"),
            (Value::Integer(i64::MIN), Kind::Integer, "-9223372036854775808"),
            (Value::Real(0.1), Kind::Real, "\"1e-1\""),
            (Value::Blob(vec![1; 16]), Kind::Blob, "\"01010101-0101-0101-0101-010101010101\""),
            (Value::Blob(vec![0xab, 1]), Kind::Blob, "\"ab01\""),
            (Value::Blob(Vec::new()), Kind::Blob, "\"\""),
            (text("null"), Kind::Text, "\"null\""),
            (text(r#"{"b": 1, "a":1.50, "a":"\u0041"}"#), Kind::Text, r#"{"b": 1, "a":1.50, "a":"\u0041"}"#),
            (text("[1]"), Kind::Text, "[1]"),
            (text("[1] "), Kind::Text, "\"[1] \""),
            (text("[1,\n2]"), Kind::Text, "\"[1,\\n2]\""),
            (text("{oops"), Kind::Text, "\"{oops\""),
        ] {
            assert_eq!(there_and_back(&value, kind), (shown.to_owned(), value));
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[\\[{]?\\PC{0,20}[\n\r\"}\\]]?") {
            let value = Value::Text(text);
            prop_assert_eq!(there_and_back(&value, Kind::Text).1, value);
        }

        #[test]
        fn every_blob_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let value = Value::Blob(bytes);
            prop_assert_eq!(there_and_back(&value, Kind::Blob).1, value);
        }
    }
}
