//! What ssh shall do on the board: one command, or what a user's own words to ssh say.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::bail;

use crate::cli::failure::Hinted;

/// Options of ssh that take a value, see ssh(1).
const VALUED: &[u8] = b"BbcDEeFIiJLlmOopPQRSWw";
/// Login shells replace themselves with their last command, and ssh has no word for the signal that ends that: so a shell
/// stays, which says 128 + N. Ctrl-C is the command's, not this shell's.
const STAY: &str = "trap : INT QUIT TERM HUP";

/// One connection's purpose.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Visit {
    /// Options for ssh, one at a time.
    pub(crate) options: Vec<OsString>,
    /// What the board's login shell shall run; none: a shell.
    pub(crate) command: Option<OsString>,
    /// Whether it must not be begun a second time.
    pub(crate) once: bool,
    /// Whether ssh reads a configuration that the user names.
    pub(crate) configured: bool,
    /// How much of its log ssh was asked to show: the number of `-v`.
    pub(crate) verbosity: u8,
    /// Whether ssh was asked to show none of it.
    pub(crate) quiet: bool,
    /// Where ssh was asked to log to.
    pub(crate) log: Option<PathBuf>,
}

impl Visit {
    /// One command, whose words reach the board as they are.
    pub(crate) fn command(argv: &[OsString], tty: bool) -> Self {
        let mut command = format!("sh -c '{STAY}; \"$@\"; exit $?' sh").into_bytes();
        for word in argv {
            command.push(b' ');
            command.extend(quoted(word.as_bytes()));
        }
        Self {
            options: vec![if tty { "-tt" } else { "-T" }.into()],
            command: Some(OsString::from_vec(command)),
            once: true,
            ..Self::default()
        }
    }

    /// What a user writes after `--`: options for ssh, then perhaps a command for the board's shell.
    pub(crate) fn of_words(words: &[OsString]) -> anyhow::Result<Self> {
        let mut visit = Self::default();
        let mut subsystem = false;
        let mut words = words.iter();
        let mut command: Vec<&OsStr> = Vec::new();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                break;
            }
            let Some(mut letters) = bytes.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else {
                command.push(word);
                break;
            };
            while let Some((&letter, rest)) = letters.split_first() {
                letters = rest;
                if VALUED.contains(&letter) {
                    let value = match rest {
                        [] => words.next().cloned(),
                        rest => Some(OsStr::from_bytes(rest).to_owned()),
                    };
                    let Some(value) = value else { bail!("-{} of ssh needs a value", char::from(letter)) };
                    visit.valued(letter, value)?;
                    break;
                }
                subsystem |= letter == b's';
                visit.flag(letter)?;
            }
        }
        command.extend(words.map(OsString::as_os_str));
        if !command.is_empty() {
            let text = command.join(OsStr::new(" "));
            visit.once = true;
            visit.command = Some(if subsystem { text } else { through_login_shell(&text) });
        }
        Ok(visit)
    }

    /// Whether nothing runs on the board: only ways through it are wanted.
    pub(crate) fn is_silent(&self) -> bool {
        self.command.is_none() && self.options.iter().any(|option| option == "-N")
    }

    fn valued(&mut self, letter: u8, value: OsString) -> anyhow::Result<()> {
        match letter {
            b'E' => self.log = Some(value.into()),
            _ => {
                if letter == b'o' {
                    refuse_background(&value)?;
                }
                self.configured |= letter == b'F';
                // A stream cannot be taken up in its middle.
                self.once |= letter == b'W';
                self.options.extend([format!("-{}", char::from(letter)).into(), value]);
            }
        }
        Ok(())
    }

    fn flag(&mut self, letter: u8) -> anyhow::Result<()> {
        match letter {
            b'v' => self.verbosity = self.verbosity.saturating_add(1),
            b'q' => self.quiet = true,
            b'f' => return Err(background("-f")),
            _ => self.options.push(OsString::from_vec(vec![b'-', letter])),
        }
        Ok(())
    }
}

/// `-o Name=value` that would send ssh to the background.
fn refuse_background(option: &OsStr) -> anyhow::Result<()> {
    let option = option.to_string_lossy().to_ascii_lowercase();
    let mut words = option.split(['=', ' ', '\t', '"']).filter(|word| !word.is_empty());
    if words.next() == Some("forkafterauthentication") && words.next() != Some("no") {
        return Err(background("ForkAfterAuthentication"));
    }
    Ok(())
}

fn background(what: &str) -> anyhow::Error {
    let hint = "leave it out, and let your shell put it there: grove ssh … -- -N -L … &";
    Hinted::new(format!("with {what} ssh goes to the background, and the board would be given back"), hint)
        .into()
}

/// The same text for the same shell, below one that stays.
fn through_login_shell(text: &OsStr) -> OsString {
    let mut command = format!("sh -c '{STAY}; \"${{SHELL:-sh}}\" -c \"$1\"; exit $?' sh ").into_bytes();
    command.extend(quoted(text.as_bytes()));
    OsString::from_vec(command)
}

/// A word as a POSIX shell takes it.
fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> anyhow::Result<Visit> {
        Visit::of_words(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn ran(visit: &Visit) -> std::process::Output {
        let mut shell = std::process::Command::new("bash");
        shell.arg("-c").arg(visit.command.as_ref().unwrap()).env("SHELL", "/bin/bash").output().unwrap()
    }

    #[test]
    fn words_survive_the_remote_shell() {
        let mut argv = vec![OsString::from("printf"), "%s\\0".into()];
        let odd = ["a b", "", "it's", "$HOME", "x;y", "-la", "é", "a\nb", "*", "\\"];
        let odd = odd.iter().map(|word| word.as_bytes().to_vec()).chain([b"caf\xe9".to_vec()]);
        argv.extend(odd.clone().map(OsString::from_vec));
        let seen = ran(&Visit::command(&argv, false)).stdout;
        let seen: Vec<Vec<u8>> = seen.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        assert_eq!(seen, odd.chain([Vec::new()]).collect::<Vec<_>>());
    }

    #[test]
    fn a_signal_that_ends_the_command_is_a_code() {
        for (signal, code) in [("SEGV", 139), ("KILL", 137), ("TERM", 143)] {
            let kill = format!("kill -{signal} $$");
            let argv = ["sh".into(), "-c".into(), OsString::from(&kill)];
            assert_eq!(ran(&Visit::command(&argv, false)).status.code(), Some(code), "{signal}");
            assert_eq!(ran(&words(&[&kill]).unwrap()).status.code(), Some(code), "{signal}");
        }
        assert_eq!(ran(&words(&["exit", "7"]).unwrap()).status.code(), Some(7));
        let output = ran(&words(&["[[ a < b ]] && echo", "of $0"]).unwrap());
        assert_eq!(output.stdout, b"of /bin/bash\n", "the login shell's own language");
    }

    #[test]
    fn options_are_told_from_the_command() {
        let visit = words(&["-vNL", "8080:localhost:80", "-p22", "-qvE", "log", "-F", "mine"]).unwrap();
        assert_eq!(visit.options, ["-N", "-L", "8080:localhost:80", "-p", "22", "-F", "mine"]);
        assert_eq!((visit.verbosity, visit.quiet, visit.configured, visit.once), (2, true, true, false));
        assert_eq!((visit.log, visit.command), (Some("log".into()), None));
        let visit = words(&["-t", "--", "-x", "y"]).unwrap();
        assert!(visit.once && visit.command.unwrap().to_string_lossy().ends_with(" sh '-x y'"));
        assert_eq!(words(&["-s", "sftp"]).unwrap().command, Some("sftp".into()));
        assert!(words(&["-W", "a:1"]).unwrap().once);
        assert!(words(&["-L"]).unwrap_err().to_string().contains("-L"));
        for background in
            [&["-Nf"][..], &["-o", "ForkAfterAuthentication=yes"], &["-oforkAfterAuthentication yes"]]
        {
            words(background).unwrap_err();
        }
    }
}
