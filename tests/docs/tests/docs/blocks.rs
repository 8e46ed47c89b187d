//! The fenced blocks of a page, each with its marker: an HTML comment `<!-- run: … -->` or `<!-- file: … -->` on the
//! line before it.

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Line of its fence, from 1.
    pub(crate) line: usize,
    /// The word after the fence.
    pub(crate) language: String,
    /// What its marker says: `run: background`, `file: examples/x.rs` …
    pub(crate) marker: Option<String>,
    /// What is in it.
    pub(crate) text: String,
}

/// All blocks of a page, in order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(Block, String)> = None;
    let mut marker = None;
    for (at, line) in page.lines().enumerate() {
        match open.take() {
            Some((block, fence)) if line == fence => blocks.push(block),
            Some((mut block, fence)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some((block, fence));
            }
            None if line.starts_with("```") => {
                let ticks = line.len() - line.trim_start_matches('`').len();
                let (fence, language) = line.split_at(ticks);
                let block = Block {
                    line: at + 1,
                    language: language.trim().to_owned(),
                    marker: marker.take(),
                    text: String::new(),
                };
                open = Some((block, fence.to_owned()));
            }
            None => {
                let comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                let known = |text: &&str| text.starts_with("run: ") || text.starts_with("file: ");
                if let Some(unknown) = comment.filter(|text| !known(text)) {
                    panic!("line {}: unknown marker {unknown:?}", at + 1);
                }
                assert!(marker.is_none(), "line {}: the marker before it belongs to no block", at + 1);
                marker = comment.map(str::to_owned);
            }
        }
    }
    assert!(open.is_none(), "a block has no end");
    assert!(marker.is_none(), "the last marker belongs to no block");
    blocks
}

#[test]
fn blocks_have_language_marker_and_place() {
    let page = "a\n<!-- run: background -->\n```console\n$ x\n```\n\n````text\n```\n````\n";
    let blocks = blocks(page);
    let seen: Vec<_> = blocks
        .iter()
        .map(|block| (block.line, block.language.as_str(), block.marker.as_deref(), block.text.as_str()))
        .collect();
    assert_eq!(seen, [(3, "console", Some("run: background"), "$ x\n"), (7, "text", None, "```\n")]);
}
