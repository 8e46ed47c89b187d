//! Every page with commands, walked through. Which pages there are is looked up, so that none is forgotten.

use std::path::Path;

use grove_tests_kit::Sshd;

use crate::blocks::blocks;
use crate::page::Walk;

/// Pages with commands that have a test below.
const WALKED: [&str; 9] = [
    "README.md",
    "docs/admin.md",
    "docs/driver-vendors.md",
    "docs/export.md",
    "docs/http.md",
    "docs/inspectors.md",
    "docs/introspection.md",
    "docs/policy-authors.md",
    "docs/user.md",
];

#[test]
fn no_page_with_commands_is_forgotten() {
    for page in crate::pages() {
        let has_commands = blocks(&crate::read(&page)).iter().any(|block| block.language == "console");
        let walked = WALKED.contains(&page.to_str().unwrap());
        assert_eq!(has_commands, walked, "{}", page.display());
    }
}

fn walk(page: &str) {
    assert!(WALKED.contains(&page));
    Walk::new(Path::new(page), None).walk_through();
}

#[test]
fn readme() {
    walk("README.md");
}

/// Its board is a real OpenSSH server on a machine of its own, as far as users can tell.
#[test]
fn admin() {
    let board = Sshd::start_in_cell();
    Walk::new(Path::new("docs/admin.md"), Some(&board)).walk_through();
}

#[test]
fn driver_vendors() {
    let board = Sshd::start_in_cell();
    Walk::new(Path::new("docs/driver-vendors.md"), Some(&board)).walk_through();
}

#[test]
fn export() {
    walk("docs/export.md");
}

#[test]
fn http() {
    walk("docs/http.md");
}

#[test]
fn inspectors() {
    walk("docs/inspectors.md");
}

#[test]
fn introspection() {
    walk("docs/introspection.md");
}

#[test]
fn policy_authors() {
    walk("docs/policy-authors.md");
}

#[test]
fn user() {
    walk("docs/user.md");
}
