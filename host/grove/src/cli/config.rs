//! `--config` and `KEY=VALUE` arguments.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// Longest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One `--config` argument after another into one object; later ones win.
pub(crate) fn merge(arguments: &[String]) -> anyhow::Result<Value> {
    let mut config = Map::new();
    for argument in arguments {
        config.extend(parse(argument)?);
    }
    Ok(Value::Object(config))
}

/// `@file.json`, a JSON object, or `KEY=VALUE`.
fn parse(argument: &str) -> anyhow::Result<Map<String, Value>> {
    if let Some(path) = argument.strip_prefix('@') {
        let text = read(path).with_context(|| format!("cannot read {path}"))?;
        return object(&text).with_context(|| format!("{path} is no configuration"));
    }
    if argument.trim_start().starts_with('{') {
        return object(argument).with_context(|| format!("--config {argument} is no configuration"));
    }
    let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        bail!("--config {argument}: expected KEY=VALUE, @file.json or a JSON object");
    };
    // `port=22` is a number, `host=10.0.0.7` is text, `name="22"` is text too.
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(Map::from_iter([(key.to_owned(), value)]))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    match serde_json::from_str(text)? {
        Value::Object(map) => Ok(map),
        _ => bail!("a configuration is a JSON object"),
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    let size = std::fs::metadata(path)?.len();
    anyhow::ensure!(size <= MAX_FILE, "it has {size} bytes, more than {MAX_FILE}");
    Ok(std::fs::read_to_string(path)?)
}

/// For clap: `KEY=VALUE` of capabilities and hints.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Pairs as a map; later ones win.
pub(crate) fn map(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(arguments: &[&str]) -> anyhow::Result<Value> {
        merge(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_json_where_they_can_be() {
        assert_eq!(
            merged(&["host=10.0.0.7", "port=22", "tls=true", "name=\"22\"", "args=[1]", "eq=a=b", "none="])
                .unwrap(),
            json!({"host":"10.0.0.7","port":22,"tls":true,"name":"22","args":[1],"eq":"a=b","none":""})
        );
    }

    #[test]
    fn later_arguments_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("board.json");
        std::fs::write(&file, r#"{"port":23,"user":"root"}"#).unwrap();
        let file = format!("@{}", file.display());
        assert_eq!(
            merged(&[r#"{"port":1,"host":"a"}"#, &file, "host=b"]).unwrap(),
            json!({"port":23,"user":"root","host":"b"})
        );
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for nonsense in ["port", "=22", "[1]", "{", "@/nowhere/at.all"] {
            let error = format!("{:#}", merged(&[nonsense]).unwrap_err());
            assert!(error.contains(nonsense.trim_start_matches('@')), "{error}");
        }
    }
}
