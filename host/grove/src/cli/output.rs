//! How results and remarks reach the user: tables or JSON on stdout, everything else on stderr. Nothing that came from
//! outside steers the terminal: all that is printed here is escaped, and this command line's own styling put around it.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Hinted;
use crate::escape::{escape, escape_json};

/// Form of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    // Variants without help keep `--help` to a line per option.
    #[default]
    Human,
    Json,
    // For `grove services` alone.
    #[value(hide = true)]
    Dot,
}

/// When to colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum When {
    // On terminals, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// A list as the farm sends it, in one piece.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

/// Where and how to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    color: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Output {
    pub(crate) fn new(format: Format, quiet: bool, when: When) -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let color = match when {
            When::Auto => stdout_is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            When::Always => true,
            When::Never => false,
        };
        Self { format, quiet, color, stdout_is_terminal, stderr_is_terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn is_dot(&self) -> bool {
        self.format == Format::Dot
    }

    /// Whether something that moves may be drawn on stderr.
    pub(crate) fn may_animate(&self) -> bool {
        self.stderr_is_terminal && !self.quiet
    }

    /// A result for programs.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        print(&escape_json(&text))
    }

    /// A list for programs.
    pub(crate) fn items<T: Serialize>(&self, items: &[T]) -> io::Result<()> {
        self.json(&Items { items })
    }

    /// A result for programs that follow a stream: one line each.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        print(&escape_json(&text))
    }

    /// A line of the result.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        print(&escape(text, &['\t']))
    }

    /// A result that is a text of several lines.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        print(&escape(text, &['\n', '\t']))
    }

    /// Refuses to write on a terminal what is not made to be read there, and cannot be escaped without changing it.
    pub(crate) fn raw(&self, what: &str) -> Result<io::Stdout, Hinted> {
        if self.stdout_is_terminal {
            let hint = "name a file to write it to, or pipe it into a program";
            return Err(Hinted::new(format!("{what} is not shown on a terminal"), hint));
        }
        Ok(io::stdout())
    }

    /// A result with columns; `nothing` is the remark when it has no rows.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: Vec<[String; N]>,
        nothing: &str,
    ) -> io::Result<()> {
        if rows.is_empty() {
            self.remark(nothing);
            return Ok(());
        }
        let mut table = self.bare();
        table.set_header(header);
        for row in rows {
            table.add_row(row.map(|text| self.cell(text)));
        }
        show(&table)
    }

    /// One thing, a field per line; fields without a value are left out.
    pub(crate) fn fields<const N: usize>(&self, fields: [(&str, String); N]) -> io::Result<()> {
        let mut table = self.bare();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty() && value != "-") {
            table.add_row([Cell::new(name), self.cell(value)]);
        }
        show(&table)
    }

    /// A remark that is no result: silenced by `--quiet`.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            // A user who closed stderr does not want it.
            let _ = writeln!(io::stderr().lock(), "{}", escape(text, &['\t']));
        }
    }

    /// Something that went wrong without ending the command; said even with `--quiet`.
    pub(crate) fn warning(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "warning: {}", escape(text, &['\t']));
    }

    /// A line beside a running session, whose terminal may be in raw mode: said even with `--quiet`.
    pub(crate) fn notice(&self, text: &str) {
        let end = if self.stderr_is_terminal { "\r\n" } else { "\n" };
        let _ = write!(io::stderr().lock(), "{}{end}", escape(text, &['\t']));
    }

    /// The same for what must not be missed: on a line of its own, and on terminals with the bell and as their title.
    pub(crate) fn alert(&self, text: &str) {
        let plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term == "linux");
        if self.stderr_is_terminal {
            let title = if plain { String::new() } else { format!("\x1b]0;{}\x07", escape(text, &[])) };
            let _ = write!(io::stderr().lock(), "\r\n{title}\x07");
        }
        self.notice(text);
    }

    fn bare(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        if self.stdout_is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        if self.color {
            table.enforce_styling();
        }
        table
    }

    fn cell(&self, text: String) -> Cell {
        let color = self.color.then(|| state_color(&text)).flatten();
        let cell = Cell::new(escape(&text, &['\n', '\t']));
        match color {
            Some(color) => cell.fg(color),
            None => cell,
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Its cells are escaped already; what else is in it is styling.
fn show(table: &Table) -> io::Result<()> {
    let text = table.to_string();
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    print(&lines.collect::<Vec<_>>().join("\n"))
}

/// Colour of a cell that is a state.
fn state_color(text: &str) -> Option<Color> {
    match text {
        "idle" | "succeeded" | "done" | "active" | "started" | "finished" => Some(Color::Green),
        "running" | "in_progress" | "prepare" | "busy" | "loading" | "waiting" | "starting" | "stopping"
        | "processing" | "reapplying" | "enrolling" | "aborting" => Some(Color::Yellow),
        "failed" | "invalid" | "timeout" | "error" => Some(Color::Red),
        "maintenance" | "cancelled" | "disabled" | "stopped" => Some(Color::DarkGrey),
        _ => None,
    }
}
