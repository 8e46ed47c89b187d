//! The session user is the login user: the key file is shared with an admin, who must never be locked out.

use std::os::unix::fs::symlink;

use driver_ssh::scripts::{AUTHORIZE, REVOKE};

use crate::board::{BOTH, Board};

const KEYS: &str = ".ssh/authorized_keys";
const WORDS: [&str; 3] = ["tester", "tester", ""];
const REVOKE_WORDS: [&str; 4] = ["tester", "tester", "", "/nowhere"];

#[test]
fn a_bare_home_gets_a_private_key_file() {
    for tools in BOTH {
        let board = Board::new(tools);
        board.run(AUTHORIZE, &WORDS, "ssh-ed25519 AAAA me\nssh-rsa BBBB\n").well();
        assert_eq!(
            board.read(KEYS),
            "ssh-ed25519 AAAA me grove-session\nssh-rsa BBBB grove-session\n",
            "{tools:?}"
        );
        assert_eq!((board.mode(".ssh"), board.mode(KEYS)), (0o700, 0o600), "{tools:?}");
        assert_eq!(board.names(".ssh"), ["authorized_keys"], "nothing is left behind, {tools:?}");
    }
}

#[test]
fn exactly_the_newest_keys_are_in_and_doing_it_again_changes_nothing() {
    for tools in BOTH {
        let board = Board::new(tools);
        board.run(AUTHORIZE, &WORDS, "ssh-rsa OLD\n").well();
        for _ in 0..2 {
            board.run(AUTHORIZE, &WORDS, "ssh-rsa NEW\n").well();
            assert_eq!(board.read(KEYS), "ssh-rsa NEW grove-session\n", "{tools:?}");
        }
        for _ in 0..2 {
            board.run(REVOKE, &REVOKE_WORDS, "").well();
            assert_eq!(board.read(KEYS), "", "{tools:?}");
        }
    }
}

#[test]
fn the_admins_lines_stay_as_they_are() {
    for tools in BOTH {
        let board = Board::new(tools);
        let admins =
            "# mine\nfrom=\"10.0.0.1\" ssh-rsa ADMIN admin@grove-session-host\n\nssh-rsa LAST no newline";
        board.write(KEYS, admins);
        board.run(AUTHORIZE, &WORDS, "ssh-rsa USER u\n").well();
        assert_eq!(board.read(KEYS), format!("{admins}\nssh-rsa USER u grove-session\n"), "{tools:?}");
        board.run(REVOKE, &REVOKE_WORDS, "").well();
        assert_eq!(board.read(KEYS), format!("{admins}\n"), "{tools:?}");
    }
}

#[test]
fn hostile_keys_and_names_are_only_text() {
    for tools in BOTH {
        let board = Board::new(tools);
        let key = r#"ssh-rsa A $(touch "$HOME/pwned") `touch $HOME/pwned` '"; touch $HOME/pwned; \n %s -n *"#;
        board.run(AUTHORIZE, &WORDS, &format!("{key}\n")).well();
        assert_eq!(board.read(KEYS), format!("{key} grove-session\n"), "{tools:?}");
        assert_eq!(board.names("."), [".ssh"], "{tools:?}");

        let name = "$(touch $HOME/pwned)";
        board.run(AUTHORIZE, &[name, name, ""], "ssh-rsa B\n").well();
        let nobody = "no-such-user; touch $HOME/pwned";
        assert_eq!(board.run(AUTHORIZE, &[nobody, "tester", ""], "ssh-rsa B\n").status, 78, "{tools:?}");
        assert_eq!(board.names("."), [".ssh"], "{tools:?}");
    }
}

#[test]
fn a_key_file_elsewhere_is_found_and_a_link_to_it_stays_a_link() {
    for tools in BOTH {
        let board = Board::new(tools);
        board.run(AUTHORIZE, &["tester", "tester", "keys of mine/file"], "ssh-rsa A\n").well();
        assert_eq!(board.read("keys of mine/file"), "ssh-rsa A grove-session\n", "{tools:?}");

        board.write("real", "ssh-rsa ADMIN\n");
        symlink(board.file("real"), board.file("link")).expect("a link");
        board.run(AUTHORIZE, &["tester", "tester", "link"], "ssh-rsa A\n").well();
        assert_eq!(board.read("real"), "ssh-rsa ADMIN\nssh-rsa A grove-session\n", "{tools:?}");
        assert!(board.file("link").is_symlink(), "{tools:?}");

        let elsewhere = board.beside("absolute");
        board.run(AUTHORIZE, &["tester", "tester", &elsewhere.to_string_lossy()], "ssh-rsa A\n").well();
        assert_eq!(
            std::fs::read_to_string(elsewhere).expect("a file"),
            "ssh-rsa A grove-session\n",
            "{tools:?}"
        );
    }
}

#[test]
fn a_failed_write_keeps_the_old_keys() {
    for tools in BOTH {
        let board = Board::new(tools);
        board.write(KEYS, "ssh-rsa ADMIN\n");
        board.stand_in("mv", "exit 1");
        let done = board.run(AUTHORIZE, &WORDS, "ssh-rsa A\n");
        assert_ne!(done.status, 0, "{tools:?}");
        assert_eq!(board.read(KEYS), "ssh-rsa ADMIN\n", "{tools:?}");
        assert_eq!(board.names(".ssh"), ["authorized_keys"], "{tools:?}");
    }
}
