//! The session user is somebody else, managed by root: the whole key file is Grove's. Root and the user database are
//! stood in for, so that these tests need neither.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Command;

use driver_ssh::scripts::{AUTHORIZE, RECREATE, REVOKE};

use crate::board::{BOTH, Board, Tools};

const KEYS: &str = ".ssh/authorized_keys";
const SOMEBODY: u32 = 3_999_999_999;

/// A board where we are root, and `guest` has this uid and the home.
fn board(tools: Tools, uid: u32) -> Board {
    let board = Board::new(tools);
    board.stand_in("id", "echo 0");
    let line = format!("guest:x:{uid}:{uid}::{}:/bin/sh", board.home().display());
    board.stand_in("getent", &format!(r#"[ "$2" = guest ] && [ ! -e "$HOME/gone" ] && echo '{line}'"#));
    let calls = board.beside("calls").display().to_string();
    for tool in ["chown", "userdel", "useradd", "deluser", "adduser", "chpasswd"] {
        board.stand_in(tool, &format!(r#"echo "{tool} $*" >>'{calls}'"#));
    }
    board
}

fn empty_proc(board: &Board) -> PathBuf {
    let proc = board.beside("proc");
    fs::create_dir_all(&proc).expect("a folder");
    proc
}

fn calls(board: &Board) -> String {
    fs::read_to_string(board.beside("calls")).unwrap_or_default()
}

#[test]
fn the_whole_file_is_groves_and_belongs_to_the_user() {
    for tools in BOTH {
        let board = board(tools, SOMEBODY);
        board.write(KEYS, "ssh-rsa LEFT-BEHIND-BY-A-USER\n");
        board.write(".ssh/authorized_keys2", "ssh-rsa LEFT-BEHIND-BY-A-USER\n");
        board.write(".ssh/rc", "evil\n");
        board.run(AUTHORIZE, &["guest", "root", ""], "ssh-rsa A\n").well();
        assert_eq!(board.read(KEYS), "ssh-rsa A grove-session\n", "{tools:?}");
        assert_eq!(board.names(".ssh"), ["authorized_keys"], "{tools:?}");
        assert_eq!((board.mode(".ssh"), board.mode(KEYS)), (0o700, 0o600), "{tools:?}");
        let owned =
            calls(&board).lines().filter(|call| call.contains(&format!("{SOMEBODY}:{SOMEBODY}"))).count();
        assert_eq!(owned, 2, "the folder and the file, {tools:?}: {}", calls(&board));
    }
}

#[test]
fn a_link_that_a_user_left_is_not_followed() {
    for tools in BOTH {
        let board = board(tools, SOMEBODY);
        let roots = board.beside("roots");
        fs::create_dir(&roots).expect("a folder");
        symlink(&roots, board.file(".ssh")).expect("a link");
        board.run(AUTHORIZE, &["guest", "root", ""], "ssh-rsa A\n").well();
        assert_eq!(fs::read_dir(&roots).expect("a folder").count(), 0, "{tools:?}");
        assert_eq!(board.read(KEYS), "ssh-rsa A grove-session\n", "{tools:?}");

        let secret = board.beside("secret");
        fs::write(&secret, "root's").expect("a file");
        fs::remove_file(board.file(KEYS)).expect("the keys");
        symlink(&secret, board.file(KEYS)).expect("a link");
        board.run(AUTHORIZE, &["guest", "root", ""], "ssh-rsa B\n").well();
        assert_eq!(fs::read_to_string(&secret).expect("a file"), "root's", "{tools:?}");
        assert_eq!(board.read(KEYS), "ssh-rsa B grove-session\n", "{tools:?}");
    }
}

#[test]
fn revoking_ends_the_users_processes_and_no_others() {
    for tools in BOTH {
        // Root can be anybody; everybody else can only be themselves.
        let own = fs::metadata("/proc/self").expect("/proc").uid();
        let uid = if own == 0 { SOMEBODY } else { own };
        let start = |uid: u32| {
            let mut sleep = Command::new("sleep");
            if own == 0 {
                sleep.uid(uid);
            }
            sleep.arg("600").spawn().expect("sleep")
        };
        let board = board(tools, uid);
        let proc = empty_proc(&board);
        let (mut guest, mut other) = (start(uid), start(SOMEBODY - 1));
        symlink(format!("/proc/{}", guest.id()), proc.join(guest.id().to_string())).expect("a link");
        if own == 0 {
            symlink(format!("/proc/{}", other.id()), proc.join(other.id().to_string())).expect("a link");
        }
        board.write(KEYS, "ssh-rsa A grove-session\n");
        board.run(REVOKE, &["guest", "root", "", &proc.to_string_lossy()], "").well();
        assert_eq!(guest.wait().expect("an end").signal(), Some(9), "{tools:?}");
        assert!(other.try_wait().expect("a state").is_none(), "{tools:?}");
        other.kill().expect("a kill");
        other.wait().expect("an end");
        assert_eq!(board.read(KEYS), "", "{tools:?}");
    }
}

#[test]
fn a_user_that_is_not_there_is_not_in() {
    for tools in BOTH {
        let board = board(tools, SOMEBODY);
        board.write("gone", "");
        board.run(REVOKE, &["guest", "root", "", "/nowhere"], "").well();
        let done = board.run(AUTHORIZE, &["guest", "root", ""], "ssh-rsa A\n");
        assert_eq!(done.status, 78, "{tools:?}");
        assert!(done.stderr.contains("no user guest"), "{tools:?}: {}", done.stderr);
    }
}

#[test]
fn nobody_but_a_user_of_their_own_is_managed() {
    for tools in BOTH {
        let done = board(tools, 0).run(REVOKE, &["guest", "root", "", "/nowhere"], "");
        assert_eq!(done.status, 78, "{tools:?}");
        assert!(done.stderr.contains("root by another name"), "{tools:?}: {}", done.stderr);

        let unprivileged = board(tools, SOMEBODY);
        unprivileged.stand_in("id", "echo 1000");
        let done = unprivileged.run(AUTHORIZE, &["guest", "pi", ""], "ssh-rsa A\n");
        assert_eq!(done.status, 78, "{tools:?}");
        assert!(done.stderr.contains("only root can manage user guest"), "{tools:?}: {}", done.stderr);
    }
}

#[test]
fn recreating_removes_the_user_and_makes_them_anew() {
    for tools in BOTH {
        let board = board(tools, SOMEBODY);
        let gone = board.file("gone").display().to_string();
        let calls_file = board.beside("calls").display().to_string();
        board.stand_in("userdel", &format!(r#"echo "userdel $*" >>'{calls_file}'; : >'{gone}'"#));
        let proc = empty_proc(&board).display().to_string();
        board.run(RECREATE, &["guest", "root", &proc], "").well();
        assert_eq!(calls(&board), "userdel -f -r guest\nuseradd -m -p * guest\n", "{tools:?}");

        // A user that is not there only needs to be made: doing it again is well.
        board.run(RECREATE, &["guest", "root", &proc], "").well();
        assert!(calls(&board).ends_with("useradd -m -p * guest\nuseradd -m -p * guest\n"), "{tools:?}");
    }
}

#[test]
fn a_user_that_cannot_be_removed_is_a_failure() {
    for tools in BOTH {
        let board = board(tools, SOMEBODY);
        let proc = empty_proc(&board).display().to_string();
        let done = board.run(RECREATE, &["guest", "root", &proc], "");
        assert_eq!(done.status, 1, "{tools:?}");
        assert!(done.stderr.contains("still there"), "{tools:?}: {}", done.stderr);
        assert!(!calls(&board).contains("useradd"), "{tools:?}");
    }
}
