//! Blocks that are not commands: code is quoted from files, to the letter; data can be read.

use std::path::Path;

use crate::blocks::{Block, blocks};
use crate::configuration;

#[test]
fn every_block_is_what_it_seems() {
    let mut wrong = Vec::new();
    for page in crate::pages() {
        for block in blocks(&crate::read(&page)) {
            if let Err(error) = check(&block) {
                wrong.push(format!("{}:{}: {error}", page.display(), block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(block: &Block) -> Result<(), String> {
    let Block { language, marker, text, .. } = block;
    let marker = marker.as_deref();
    if let Some(file) = marker.and_then(|marker| marker.strip_prefix("file: ")) {
        return quoted(file, text);
    }
    match (language.as_str(), marker) {
        // Commands are walked; see `walks`.
        ("console", _) => Ok(()),
        ("json", None) => {
            serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string())
        }
        ("toml", Some("run: configuration")) => configuration::accepted(text),
        // Pictures and grammars. A command must not hide here.
        ("text", None) if !text.lines().any(|line| line.starts_with("$ ")) => Ok(()),
        (language, marker) => {
            Err(format!("a block of {language:?} with marker {marker:?} cannot be checked"))
        }
    }
}

/// A file, or the part of it from one line to another: `FILE`, or `FILE from LINE`: from the line that begins so to
/// the next empty one.
fn quoted(from: &str, text: &str) -> Result<(), String> {
    let (file, part) = from.split_once(" from ").map_or((from, None), |(file, part)| (file, Some(part)));
    let whole = std::fs::read_to_string(crate::root().join(Path::new(file)))
        .map_err(|error| format!("{file}: {error}"))?;
    let is = match part {
        None => whole,
        Some(part) => {
            let lines = whole.lines().skip_while(|line| !line.starts_with(part));
            lines.take_while(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
        }
    };
    if is == text { Ok(()) } else { Err(format!("{file} is\n{is}")) }
}
