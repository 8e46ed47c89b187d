//! Walks through a page as a reader does: every command of every console block, in order.
//!
//! A block that cannot be run as it stands says how it is run, in a comment before it:
//!
//! - `run: background`: it goes on until the next such block, or to the end of the page;
//! - `run: fails 120`: it must end with this exit code;
//! - `run: typed`: on a terminal, where the lines after a prompt are typed;
//! - `run: build`: it is what CI runs, to the letter;
//! - `run: instead: COMMAND`: this is run in its place; which may be so is listed here;
//! - `run: then the board trusts FILE`: as it stands; then the reader's board lets that key in.

use std::io::Write;
use std::path::Path;

use grove_tests_kit::Sshd;

use crate::blocks::{Block, blocks};
use crate::compare;
use crate::console::{Shown, commands, typed, without_prompts};
use crate::shell::Shell;

/// What may be run in the place of something else, since the real thing takes many minutes: (shown, run).
const INSTEAD: [(&str, &str); 1] = [(
    "cargo xtask build --release\ninstall -D target/release/grove ~/.local/bin/grove",
    "cargo xtask build",
)];

/// What is on the way of a page.
pub(crate) struct Walk<'a> {
    page: &'a Path,
    shell: Shell,
    board: Option<&'a Sshd>,
}

impl<'a> Walk<'a> {
    /// Begins at the top of a page, whose board is this one.
    pub(crate) fn new(page: &'a Path, board: Option<&'a Sshd>) -> Self {
        let words: Vec<(&str, String)> = board.map_or_else(Vec::new, |board| {
            vec![
                ("host=board7.lab", "host=127.0.0.1".to_owned()),
                ("port=22", format!("port={}", board.port)),
                ("ssh-ed25519 AAAA…", board.host_key.clone()),
            ]
        });
        Self { page, shell: Shell::open(&words), board }
    }

    /// Runs every console block of the page.
    pub(crate) fn walk_through(mut self) {
        for block in blocks(&crate::read(self.page)).iter().filter(|block| block.language == "console") {
            self.block(block);
        }
    }

    fn block(&mut self, block: &Block) {
        let shown = commands(&block.text);
        let marker = block.marker.as_deref().map(|marker| marker.strip_prefix("run: ").unwrap_or_default());
        match marker {
            None => shown.iter().for_each(|shown| self.run(block, shown, 0)),
            Some("background") => {
                let [shown] = &shown[..] else { panic!("{}: one command only", self.place(block)) };
                self.shell.start(&shown.command, &shown.prints);
            }
            Some("typed") => shown.iter().for_each(|shown| self.type_into(block, shown)),
            Some("build") => shown.iter().for_each(|shown| {
                let of_ci = ci();
                assert!(of_ci.contains(&shown.command), "{}: CI runs only {of_ci:?}", self.place(block));
            }),
            Some(marker) => {
                if let Some(code) = marker.strip_prefix("fails ") {
                    let code = code.parse().unwrap();
                    shown.iter().for_each(|shown| self.run(block, shown, code));
                } else if let Some(file) = marker.strip_prefix("then the board trusts ") {
                    shown.iter().for_each(|shown| self.run(block, shown, 0));
                    self.trust(file);
                } else if let Some(instead) = marker.strip_prefix("instead: ") {
                    let all: Vec<_> = shown.iter().map(|shown| shown.command.as_str()).collect();
                    assert!(
                        INSTEAD.contains(&(&all.join("\n"), instead)),
                        "{}: not listed",
                        self.place(block)
                    );
                    let instead = Shown { command: instead.to_owned(), prints: Vec::new() };
                    self.run(block, &instead, 0);
                } else {
                    panic!("{}: unknown marker {marker:?}", self.place(block));
                }
            }
        }
    }

    fn run(&mut self, block: &Block, shown: &Shown, wanted: i32) {
        let (code, printed) = self.shell.run(&shown.command);
        let command = &shown.command;
        assert_eq!(code, wanted, "{}: exit code of {command}; it printed\n{printed}", self.place(block));
        self.compare(block, command, &shown.prints, &printed);
    }

    fn type_into(&mut self, block: &Block, shown: &Shown) {
        let (keys, prints) = typed(shown);
        let (code, printed) = self.shell.type_into(&shown.command, &keys);
        assert_eq!(code, 0, "{}: {}; it printed\n{printed}", self.place(block), shown.command);
        self.compare(block, &shown.command, &prints, &without_prompts(&printed));
    }

    fn compare(&self, block: &Block, command: &str, shown: &[String], printed: &str) {
        if let Some(line) = compare::missing(shown, printed) {
            panic!("{}: {command} did not print (in this place)\n{line}\nbut\n{printed}", self.place(block));
        }
    }

    fn trust(&mut self, file: &str) {
        let board = self.board.expect("a page with a board");
        let file = self.shell.home().join(file.strip_prefix("~/").expect("a file at home"));
        let key =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut keys = std::fs::OpenOptions::new().append(true).open(board.key_file()).unwrap();
        keys.write_all(key.as_bytes()).unwrap();
    }

    fn place(&self, block: &Block) -> String {
        format!("{}:{}", self.page.display(), block.line)
    }
}

/// Commands that CI runs: what its script ends with, and the script.
fn ci() -> Vec<String> {
    let script = crate::read(Path::new(".ci/run"));
    let commands =
        script.lines().filter_map(|line| line.strip_prefix("exec ")).filter(|line| !line.starts_with('<'));
    commands.map(str::to_owned).chain([".ci/run".to_owned()]).collect()
}
