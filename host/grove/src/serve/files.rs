//! File descriptors: as many as the system lets this process have, and what of them HTTP gets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the controller holds for itself: the store, folders, listeners, compilers.
const OWN: u64 = 40;
/// Connections that are served however few files there may be.
const LEAST: usize = 8;

/// Takes as many open files as this process may have; how many that is, none = any number.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            tracing::debug!(?current, ?maximum, "raised the limit of open files");
            maximum
        }
        Err(error) => {
            tracing::warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised");
            current
        }
    }
}

/// Connections that can be served with so many files: half of what is left goes to boards and users' tunnels.
pub(crate) fn connections(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return wanted };
    let share = usize::try_from(files.saturating_sub(OWN) / 2).unwrap_or(usize::MAX).max(LEAST);
    if share < wanted {
        tracing::warn!(
            "limits.connections is {wanted}, and {share} are served at once: this process may have {files} open files. Raise its \
             hard limit (LimitNOFILE= of systemd, ulimit -Hn), or lower limits.connections"
        );
    }
    wanted.min(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(connections(4096, None), 4096);
        assert_eq!(connections(4096, Some(1 << 20)), 4096);
        assert_eq!(connections(4096, Some(1024)), 492);
        assert_eq!(connections(100, Some(1024)), 100);
        assert_eq!(connections(4096, Some(64)), 12);
        assert_eq!(connections(4096, Some(3)), LEAST);
    }
}
