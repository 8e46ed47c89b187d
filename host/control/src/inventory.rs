//! Reading inventories: JSON text, which comes from boards and is not to be trusted.

use std::collections::BTreeMap;
use std::fmt;

use grove_domain::inventory::{MAX_DEPTH, MAX_NAME, Number, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The inventory that `json` is.
///
/// # Errors
/// It is no JSON object, or nests deeper, has longer names, or repeats names; with the line and column.
pub fn read(json: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = Tree { depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value.map_err(|error| error.to_string())? {
        map @ Value::Map(_) => Ok(map),
        other => Err(format!("an inventory is a JSON object, this is {}", other.kind())),
    }
}

/// A value inside so many lists and maps.
struct Tree {
    depth: usize,
}

impl Tree {
    fn below<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(E::custom(format_args!(
                "lists and objects are nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::real(number).map(Value::Number).ok_or_else(|| E::custom("a number is infinite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(self.below()?)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name.len() > MAX_NAME {
                let len = name.len();
                let text = format_args!("a name has {len} bytes: at most {MAX_NAME} are accepted");
                return Err(A::Error::custom(text));
            }
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is there twice in one object")));
            }
            map.insert(name, entries.next_value_seed(self.below()?)?);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        read(json).expect_err("it should be refused")
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let value =
            read(r#"{"a":[null,true,0,-1,18446744073709551615,0.5,"x\u00e9"],"b":{"c":{}}}"#).unwrap();
        insta::assert_debug_snapshot!(value.get("a"), @r#"
        Some(
            List(
                [
                    Null,
                    Bool(
                        true,
                    ),
                    Number(
                        Number(
                            Natural(
                                0,
                            ),
                        ),
                    ),
                    Number(
                        Number(
                            Negative(
                                -1,
                            ),
                        ),
                    ),
                    Number(
                        Number(
                            Natural(
                                18446744073709551615,
                            ),
                        ),
                    ),
                    Number(
                        Number(
                            Real(
                                0.5,
                            ),
                        ),
                    ),
                    Text(
                        "xé",
                    ),
                ],
            ),
        )
        "#);
        assert_eq!(value.get("b").and_then(|b| b.get("c")), Some(&Value::Map(BTreeMap::new())));
    }

    #[test]
    fn a_number_is_not_its_neighbour() {
        let value = read(r#"{"a":7.468162234820074e-44}"#).unwrap();
        assert_eq!(value.get("a"), Number::real(7.468_162_234_820_074e-44).map(Value::Number).as_ref());
    }

    #[test]
    fn what_is_no_inventory_is_refused_with_its_place() {
        let refusals = [
            "",
            "[]",
            "7",
            "\"x\"",
            "null",
            "{} {}",
            "{\"a\":1,\n \"a\":2}",
            "{\"a\":",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            "{a:1}",
        ]
        .map(|json| format!("{json:?}: {}", refused(json)));
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        "": EOF while parsing a value at line 1 column 0
        "[]": an inventory is a JSON object, this is a list
        "7": an inventory is a JSON object, this is a number
        "\"x\"": an inventory is a JSON object, this is text
        "null": an inventory is a JSON object, this is null
        "{} {}": trailing characters at line 1 column 4
        "{\"a\":1,\n \"a\":2}": "a" is there twice in one object at line 2 column 4
        "{\"a\":": EOF while parsing a value at line 1 column 5
        "{\"a\":1e999}": number out of range at line 1 column 10
        "{\"a\":\"\\ud800\"}": unexpected end of hex escape at line 1 column 13
        "{a:1}": key must be a string at line 1 column 2
        "#);
    }

    #[test]
    fn depth_and_names_have_limits() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        insta::assert_snapshot!(refused(&nested(MAX_DEPTH + 1)), @"lists and objects are nested deeper than 64 levels at line 1 column 70");
        insta::assert_snapshot!(refused(&nested(100_000)), @"lists and objects are nested deeper than 64 levels at line 1 column 69");
        insta::assert_snapshot!(refused(&"{\"a\":".repeat(100_000)), @"lists and objects are nested deeper than 64 levels at line 1 column 324");
        let named = |bytes: usize| format!("{{{:?}:1}}", "n".repeat(bytes));
        assert!(read(&named(MAX_NAME)).is_ok());
        insta::assert_snapshot!(refused(&named(MAX_NAME + 1)), @"a name has 257 bytes: at most 256 are accepted at line 1 column 260");
    }
}
