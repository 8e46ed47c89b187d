//! What a console block shows: commands after `$ `, their further lines after `> `, and what they print.

/// A command and what the page says that it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The command, perhaps of several lines.
    pub(crate) command: String,
    /// Lines that it prints; `…` stands for anything.
    pub(crate) prints: Vec<String>,
}

/// Reads a console block.
pub(crate) fn commands(text: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown { command: command.to_owned(), prints: Vec::new() });
            continue;
        }
        let last = commands.last_mut().unwrap_or_else(|| panic!("{line:?} comes before any command"));
        match line.strip_prefix("> ").or((line == ">").then_some("")) {
            Some(more) if last.prints.is_empty() => {
                last.command.push('\n');
                last.command.push_str(more);
            }
            _ => last.prints.push(line.to_owned()),
        }
    }
    commands
}

/// Parts what is typed on a board (after its prompt, `…@…$ `) from what is printed there.
pub(crate) fn typed(shown: &Shown) -> (Vec<String>, Vec<String>) {
    let (mut typed, mut prints) = (Vec::new(), Vec::new());
    for line in &shown.prints {
        match after_prompt(line) {
            Some(keys) => typed.push(keys.to_owned()),
            None => prints.push(line.clone()),
        }
    }
    (typed, prints)
}

/// What stands behind a board's prompt (`…@…$ `).
fn after_prompt(line: &str) -> Option<&str> {
    let (prompt, keys) = line.split_once("$ ")?;
    (prompt.contains('@') && !prompt.contains(' ')).then_some(keys)
}

/// What was printed, without prompts: a line that is typed before its prompt came leaves that before its output.
pub(crate) fn without_prompts(printed: &str) -> String {
    printed.lines().map(|line| after_prompt(line).unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn commands_and_what_they_print() {
    let shown = commands("$ a \\\n>   b\nout\n$ c\n");
    assert_eq!(shown[0], Shown { command: "a \\\n  b".into(), prints: vec!["out".into()] });
    assert_eq!(shown[1], Shown { command: "c".into(), prints: Vec::new() });
    let session = &commands("$ ssh\nhello\nme@board:~$ ls\nfile\n")[0];
    assert_eq!(typed(session), (vec!["ls".to_owned()], vec!["hello".to_owned(), "file".to_owned()]));
    assert_eq!(without_prompts("hello\nme@board:~$ file\n"), "hello\nfile\n");
}
