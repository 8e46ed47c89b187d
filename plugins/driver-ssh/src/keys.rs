//! Users' keys, looked at before they reach a board: a line of theirs must stay one line.

use grove_plugin::driver::Failure;

const MAX_KEYS: usize = 100;
const MAX_LINE: usize = 16_384;

/// The lines for the key file.
///
/// # Errors
/// [`Failure::Config`] when a line is not one key.
pub fn lines(keys: &[String]) -> Result<Vec<u8>, Failure> {
    if keys.len() > MAX_KEYS {
        return Err(Failure::config(format!("{} keys are too many: at most {MAX_KEYS}", keys.len())));
    }
    let mut lines = Vec::new();
    for key in keys {
        let key = key.trim();
        if key.is_empty() || key.starts_with('#') || key.len() > MAX_LINE || key.chars().any(char::is_control)
        {
            return Err(Failure::config("a key must be one line of an OpenSSH authorized_keys file"));
        }
        lines.extend_from_slice(key.as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines() {
        let keys = [" ssh-ed25519 AAAA me@home".to_owned(), "ssh-rsa BBBB".to_owned()];
        assert_eq!(lines(&keys).unwrap(), b"ssh-ed25519 AAAA me@home\nssh-rsa BBBB\n");
        assert_eq!(lines(&[]).unwrap(), b"");
    }

    #[test]
    fn what_is_more_or_less_than_a_line_is_refused() {
        for key in ["", "  ", "# nothing", "ssh-rsa AAAA\nssh-rsa BBBB", "ssh-rsa AAAA\rx", "ssh-rsa \0"] {
            assert!(matches!(lines(&[key.to_owned()]), Err(Failure::Config(_))), "{key:?}");
        }
        assert!(lines(&vec!["ssh-rsa AAAA".to_owned(); MAX_KEYS + 1]).is_err());
        assert!(lines(&["x".repeat(MAX_LINE + 1)]).is_err());
    }
}
