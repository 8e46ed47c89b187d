//! docs/errors has one page for each problem code, which says what the server's own page says.

use std::collections::BTreeSet;
use std::path::Path;

use grove_wire::Code;

#[test]
fn every_code_has_its_page_and_says_what_the_server_says() {
    let folder = crate::root().join("docs/errors");
    let mut files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(files.remove("README.md"), "a list of all");
    let list = crate::read(Path::new("docs/errors/README.md"));
    for code in Code::ALL {
        let file = format!("{}.md", code.name());
        assert!(files.remove(&file), "docs/errors/{file} is missing");
        let page = crate::read(&Path::new("docs/errors").join(&file));
        let begins = format!(
            "# {}\n\nCode `{}`, status {}.\n\n## What it means\n\n{}\n",
            code.title(),
            code.name(),
            code.status(),
            code.cause()
        );
        assert!(page.starts_with(&begins), "docs/errors/{file} does not begin with\n{begins}");
        let remedy = format!("## What to do\n\n{}\n", code.remedy());
        assert!(page.contains(&remedy), "docs/errors/{file} does not hold\n{remedy}");
        let row = format!("| [`{0}`]({0}.md) | {1} | {2} |", code.name(), code.status(), code.title());
        assert!(list.contains(&row), "docs/errors/README.md lacks\n{row}");
    }
    assert!(files.is_empty(), "there are no such codes: {files:?}");
}
