//! Whether a command printed what its page shows: every shown line, in that order. Uuids, numbers and blanks differ
//! from run to run and count as equal; `…` is anything.

/// The first shown line that was not printed.
pub(crate) fn missing<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let printed: Vec<String> = printed.lines().map(plain).collect();
    let mut rest = printed.iter();
    shown.iter().filter(|line| !line.trim().is_empty()).find_map(|line| {
        let pattern = plain(line);
        let found = rest.by_ref().any(|line| fits(&pattern, line));
        (!found).then_some(line.as_str())
    })
}

/// A line without what is different every time.
fn plain(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(word).collect();
    words.join(" ")
}

/// Every run of digits is one digit, and a uuid is a word of its own.
fn word(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(uuid) = rest.get(..36).filter(|text| is_uuid(text)) {
            out.push_str("UUID");
            uuid.len()
        } else if first.is_ascii_digit() {
            out.push('0');
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len()
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_differs_every_time_is_equal_and_the_rest_is_not() {
    let printed = "STATE  SINCE\nidle   18s ago\n67726f76-6500-4000-8000-000000000001 x\n";
    let line = |text: &str| vec![text.to_owned()];
    for shown in
        ["STATE SINCE", "idle 2s ago", "11111111-2222-4333-8444-555555555555 x", "… ago", "i… ago", "…"]
    {
        assert_eq!(missing(&line(shown), printed), None, "{shown}");
    }
    for shown in ["STATE", "running 18s ago", "idle", "… x y", "18s ago"] {
        assert!(missing(&line(shown), printed).is_some(), "{shown}");
    }
    let swapped = ["idle 1s ago".to_owned(), "STATE SINCE".to_owned()];
    assert!(missing(&swapped, printed).is_some(), "order counts");
}
