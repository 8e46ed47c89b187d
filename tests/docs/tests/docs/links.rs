//! Every relative link leads to a file, and its anchor to a heading there.

use std::path::{Component, Path, PathBuf};

/// Texts after `](`, up to `)`; not those in blocks.
fn links(page: &str) -> Vec<String> {
    let mut in_block = false;
    let mut links = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if !in_block {
            let after = line.split("](").skip(1);
            links.extend(after.map(|rest| rest.split(')').next().unwrap_or_default().to_owned()));
        }
    }
    links
}

/// A heading as GitHub makes an anchor of it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[test]
fn every_link_leads_somewhere() {
    let others = ["ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "plugins/README.md"].map(PathBuf::from);
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in crate::pages().into_iter().chain(others) {
        for link in links(&crate::read(&page)) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => normal(&page.parent().unwrap().join(file)),
            };
            let exists = crate::root().join(&target).exists();
            let found = exists
                && (wanted.is_empty()
                    || anchors(&crate::read(&target)).iter().any(|anchor| anchor == wanted));
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 20, "the links of all pages are looked at: {seen}");
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    assert_eq!(anchor(" When a worker is FAILED, `why`?"), "when-a-worker-is-failed-why");
}
