//! Words for a POSIX shell: ssh carries one line, and a shell on the other side takes it apart.

/// Longest command line, in bytes: below what every kernel takes as one argument.
const MAX_LINE: usize = 100 * 1024;

/// Why words cannot become a command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuoteError {
    /// No words, or an empty first one.
    #[error("the command is empty")]
    Empty,
    /// No shell takes a NUL.
    #[error("the command holds a NUL character")]
    Nul,
    /// Too long.
    #[error("the command is longer than {MAX_LINE} bytes: pass data as its input")]
    TooLong,
}

/// The line from which a POSIX shell gets exactly these words, whatever they hold.
pub(super) fn command_line(argv: &[String]) -> Result<String, QuoteError> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(QuoteError::Empty);
    }
    let mut line = String::new();
    for word in argv {
        if word.contains('\0') {
            return Err(QuoteError::Nul);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        // Within single quotes everything is itself, except their end.
        line.push('\'');
        line.push_str(&word.replace('\'', r"'\''"));
        line.push('\'');
        if line.len() > MAX_LINE {
            return Err(QuoteError::TooLong);
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of the line.
    fn through_a_shell(words: &[String]) -> Vec<String> {
        let mut argv = vec!["printf".to_owned(), r"%s\0".to_owned()];
        argv.extend_from_slice(words);
        let line = command_line(&argv).unwrap();
        let output = Command::new("/bin/sh").arg("-c").arg(line).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn words_survive_a_shell(words in prop::collection::vec(word(), 1..6)) {
            prop_assert_eq!(through_a_shell(&words), words);
        }
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![r#"[ a-c'"\\$`!*?~#;&|<>(){}\[\]\n\t=-]{0,12}"#, "[^\0]{0,8}"]
    }

    #[test]
    fn what_no_shell_takes_is_refused() {
        assert_eq!(command_line(&[]), Err(QuoteError::Empty));
        assert_eq!(command_line(&[String::new()]), Err(QuoteError::Empty));
        assert_eq!(command_line(&["a".into(), "b\0c".into()]), Err(QuoteError::Nul));
        assert_eq!(command_line(&["a".into(), "b".repeat(MAX_LINE)]), Err(QuoteError::TooLong));
    }
}
