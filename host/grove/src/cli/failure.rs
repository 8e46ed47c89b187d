//! How a failed command says why, and what to do.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::hints;
use crate::escape::escape;

/// An error of the command line itself that knows a way out.
#[derive(Debug)]
pub(crate) struct Hinted {
    what: String,
    hint: String,
}

impl Hinted {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Hinted {}

/// Tells the user; the code is the process's.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    let closed =
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if closed {
        // Whoever reads the result has enough of it, as `head` has.
        return ExitCode::SUCCESS;
    }
    say(error.as_ref());
    ExitCode::FAILURE
}

/// `error:` and `hint:` lines on stderr.
pub(crate) fn say(error: &(dyn Error + 'static)) {
    let mut texts = Vec::new();
    let mut hint = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        if let Some(error) = error.downcast_ref::<grove_client::Error>() {
            hint = hints::hint(error).map(str::to_owned);
            // Its text tells the cause already.
            break;
        }
        if let Some(error) = error.downcast_ref::<Hinted>() {
            hint = Some(error.hint.clone());
        }
        cause = error.source();
    }
    let mut err = io::stderr().lock();
    // A user who closed stderr does not want it.
    // Errors of files that cannot be read show the place, in several lines.
    let layout = &['\n', '\t'];
    let _ = writeln!(err, "error: {}", escape(&texts.join(": "), layout));
    if let Some(hint) = hint {
        let _ = writeln!(err, "hint: {}", escape(&hint, layout));
    }
}
