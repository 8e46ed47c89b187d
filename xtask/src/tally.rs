//! Counting what `cargo test` says, while it is passed on to the reader.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were not run because they are marked so.
    pub ignored: u64,
}

impl Tally {
    /// Runs `cargo test`, adds what it counts, and says whether it ended well.
    ///
    /// # Errors
    /// When it cannot be started or read.
    pub fn run(&mut self, command: &mut Command) -> Result<bool> {
        let shown = crate::project::shown(command);
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("failed to start {shown}"))?;
        let stdout = child.stdout.take().with_context(|| format!("failed to read {shown}"))?;
        let mut out = std::io::stdout();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            self.read(&String::from_utf8_lossy(&line));
        }
        Ok(child.wait()?.success())
    }

    /// Takes a line in, if it is a sum: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            if let Some((count, what)) = part.split_once(' ')
                && let Ok(count) = count.parse::<u64>()
            {
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn sums_are_added() {
        let mut tally = Tally::default();
        tally.read(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        tally.read("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.read("test a::b ... ok");
        assert_eq!(tally, Tally { passed: 4, failed: 2, ignored: 1 });
    }
}
