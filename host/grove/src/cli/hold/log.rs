//! What ssh says of itself, in a file: whether a session had begun and how it ended, which its exit code 255 does not
//! tell; and what of it is for the user.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::visit::Visit;

/// Longest piece that is read at once, in bytes.
const PIECE: u64 = 1 << 20;
/// A log that is longer is emptied.
const MAX_LENGTH: u64 = 16 << 20;
/// Longest line that is looked at, in bytes.
const MAX_LINE: usize = 4096;

/// What ssh tells to nobody who has not asked for it.
const CHATTER: [&str; 8] = [
    "debug",
    "Authenticated to ",
    "Transferred: ",
    "Bytes per second: ",
    "OpenSSH_",
    "Warning: Permanently added ",
    "Killed by signal ",
    "Pseudo-terminal will not be allocated",
];
/// What ssh says when there is no connection, or no more: trying again may help.
const UNREACHABLE: [&str; 13] = [
    "onnection refused",
    "onnection closed",
    "onnection reset",
    "imed out",
    "timeout",
    "o route to host",
    "is unreachable",
    "roken pipe",
    "exchange_identification",
    "not responding",
    "closed by remote host",
    "ost is down",
    "ssh_dispatch_run_fatal",
];
/// What ssh says when the board will not do what it was asked for.
const REFUSED: [&str; 2] = ["request failed on channel", "forwarding failed for"];

/// What the log has shown so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    /// The user was let in: from here on, a command may have been sent.
    pub(crate) begun: bool,
    /// What ran on the board ended, with a code.
    pub(crate) ended: bool,
    /// The user left with `~.`.
    pub(crate) left: bool,
    /// Somebody ended ssh on this machine.
    pub(crate) killed: bool,
    /// The board will not do what it was asked for.
    pub(crate) refused: bool,
    /// Nobody reads any more what comes from the board.
    pub(crate) unread: bool,
    /// There is no connection, or no more.
    pub(crate) unreachable: bool,
    /// The last line for people.
    pub(crate) last: Option<String>,
}

impl Facts {
    fn learn(&mut self, line: &str) {
        if line.starts_with("debug") {
            self.begun |= line.contains("Entering interactive session") || line.contains("Sending command: ");
            self.ended |= line.contains(" rtype exit-status ");
            self.left |= line.ends_with(": filter stops");
            self.unread |= line.ends_with("channel 0: write failed");
            return;
        }
        self.killed |= line.starts_with("Killed by signal ");
        self.refused |= REFUSED.iter().any(|text| line.contains(text));
        // 11 is a server that goes, not one that refuses (RFC 4253, 11.1).
        let goes = line.starts_with("Received disconnect from ") && line.contains(":11: ");
        self.unreachable |= goes || UNREACHABLE.iter().any(|text| line.contains(text));
        if is_for_people(line) {
            self.last = Some(line.to_owned());
        }
    }
}

fn is_for_people(line: &str) -> bool {
    !line.trim().is_empty() && !CHATTER.iter().any(|start| line.starts_with(start))
}

/// The log of one connection.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    read: u64,
    rest: Vec<u8>,
    facts: Facts,
    all: bool,
    quiet: bool,
    copy: Option<File>,
}

impl Log {
    /// An empty one in `folder`.
    pub(crate) fn new(folder: &Path, visit: &Visit) -> std::io::Result<Self> {
        let path = folder.join("ssh.log");
        File::create(&path)?;
        let append = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
        let copy = visit.log.as_ref().map(append).transpose()?;
        let (all, quiet) = (visit.verbosity > 0, visit.quiet);
        Ok(Self { path, read: 0, rest: Vec::new(), facts: Facts::default(), all, quiet, copy })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it has shown so far.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads on; returns the new lines for the user.
    pub(crate) fn follow(&mut self) -> Vec<String> {
        // A log that cannot be read tells nothing: what is not known to have begun is not begun again either.
        let piece = self.piece().unwrap_or_default();
        self.rest.extend(piece);
        let mut shown = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).take(MAX_LINE).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.facts.learn(&line);
            if self.quiet || !(self.all || is_for_people(&line)) {
                continue;
            }
            match &mut self.copy {
                // The file is the user's own: as with ssh, nothing stops when it is full.
                Some(copy) => drop(writeln!(copy, "{line}")),
                None => shown.push(line),
            }
        }
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        shown
    }

    fn piece(&mut self) -> std::io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut piece = Vec::new();
        (&mut file).take(PIECE).read_to_end(&mut piece)?;
        self.read += piece.len() as u64;
        // ssh appends, so it goes on at the new end.
        if self.read > MAX_LENGTH && file.metadata()?.len() == self.read {
            file.set_len(0)?;
            self.read = 0;
        }
        Ok(piece)
    }

    /// Whether there is more to read at once.
    pub(crate) fn is_behind(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() > self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &[&str]) -> Facts {
        let mut facts = Facts::default();
        lines.iter().for_each(|line| facts.learn(line));
        facts
    }

    #[test]
    fn ends_are_told_apart() {
        let begun = "debug1: Entering interactive session.";
        let status = "debug1: client_input_channel_req: channel 0 rtype exit-status reply 0";
        let signal = "debug1: client_input_channel_req: channel 0 rtype exit-signal reply 0";
        let told =
            facts(&["debug1: Connecting to 127.0.0.1", begun, status, "Transferred: sent 1, received 2"]);
        assert!(told.begun && told.ended && !told.unreachable && told.last.is_none());
        assert!(!facts(&[begun, signal]).ended);
        assert!(facts(&[begun, "debug2: channel 0: filter stops"]).left);
        assert!(facts(&[begun, "debug2: channel 0: write failed"]).unread);
        assert!(facts(&[begun, "shell request failed on channel 0"]).refused);
        let refused = "ssh: connect to host 127.0.0.1 port 1: Connection refused";
        let told = facts(&["debug1: connect to address 127.0.0.1 port 1: Connection refused", refused]);
        assert!(told.unreachable && !told.begun);
        assert_eq!(told.last.as_deref(), Some(refused));
        let told = facts(&["Received disconnect from 127.0.0.1 port 12159:11: the board is switched off"]);
        assert!(told.unreachable && !told.begun);
        assert!(
            !facts(&["Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures"])
                .unreachable
        );
        let told = facts(&["board@127.0.0.1: Permission denied (publickey)."]);
        assert!(!told.unreachable && told.last.is_some());
        // What a board says must not be taken for ssh's own word.
        assert!(!facts(&["Entering interactive session. rtype exit-status x"]).begun);
    }

    #[test]
    fn a_log_is_followed_and_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), &Visit::default()).unwrap();
        let mut ssh = OpenOptions::new().append(true).open(log.path()).unwrap();
        write!(ssh, "debug1: a\nWarning: some").unwrap();
        assert_eq!(log.follow(), Vec::<String>::new());
        write!(ssh, " thing\r\n").unwrap();
        assert!(log.is_behind());
        assert_eq!(log.follow(), ["Warning: some thing"]);
        assert!(!log.is_behind());
        let copied = folder.path().join("copy");
        let visit = Visit { verbosity: 1, log: Some(copied.clone()), ..Visit::default() };
        let mut log = Log::new(folder.path(), &visit).unwrap();
        std::fs::write(log.path(), "debug1: a\nb\n").unwrap();
        assert_eq!(log.follow(), Vec::<String>::new());
        assert_eq!(std::fs::read_to_string(copied).unwrap(), "debug1: a\nb\n");
    }
}
