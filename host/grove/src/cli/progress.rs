//! What a wait is at: a spinner on terminals, a line per change elsewhere.

use std::time::Duration;

use indicatif::ProgressBar;

use super::output::Output;
use crate::escape::escape;

/// Time between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// Tells how a wait goes; gone from the screen when dropped.
pub(crate) struct Progress {
    out: Output,
    spinner: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn new(out: &Output) -> Self {
        let spinner = out.may_animate().then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(TICK);
            spinner
        });
        Self { out: *out, spinner, last: String::new() }
    }

    /// What it is at now.
    pub(crate) fn say(&mut self, text: String) {
        if text == self.last {
            return;
        }
        match &self.spinner {
            Some(spinner) => spinner.set_message(escape(&text, &[]).into_owned()),
            None => self.out.remark(&text),
        }
        self.last = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
