//! What is said to a user who is busy on a board: lines on stderr that no terminal in raw mode garbles.

use grove_client::wire::request::Warning;

use crate::cli::clock;
use crate::cli::output::Output;

/// So long before its end a job is warned of a second time, in seconds.
const LAST_CALL: i64 = 150;

/// What was said so far.
pub(crate) struct Notices {
    out: Output,
    warned: Vec<(String, grove_client::wire::Timestamp, bool)>,
}

impl Notices {
    pub(crate) fn new(out: &Output) -> Self {
        Self { out: *out, warned: Vec::new() }
    }

    /// How the connection fares.
    pub(crate) fn say(&self, text: &str) {
        if !self.out.quiet {
            self.out.notice(&format!("grove: {text}"));
        }
    }

    /// A line of ssh's.
    pub(crate) fn line(&self, text: &str) {
        self.out.notice(text);
    }

    /// What the farm's answer to a heartbeat says: each warning once, and once more shortly before.
    pub(crate) fn warn(&mut self, warnings: &[Warning]) {
        let now = clock::now();
        for warning in warnings {
            let soon = warning.at.duration_since(now).as_secs() <= LAST_CALL;
            let key = (warning.code.clone(), warning.at, soon);
            if !self.warned.contains(&key) {
                self.out.alert(&format!("grove: {}", warning.text));
                self.warned.push(key);
            }
        }
        // Those that the farm no longer gives are past.
        self.warned.retain(|(code, at, _)| warnings.iter().any(|new| new.code == *code && new.at == *at));
    }
}
