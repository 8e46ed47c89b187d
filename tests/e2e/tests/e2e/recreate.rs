//! Mode `recreate`: between two jobs the session user is removed with everything that is theirs, and made anew. On a
//! machine of its own, as far as users can tell, so that the real one keeps its users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::uuid;
use grove_tests_kit::{Grove, Setup, Ssh, Sshd, wait};
use serde_json::json;

const USER: &str = "grove-e2e-guest";

/// What of the real machine must not change: its users, and who has a home, mail or files to share.
fn machine() -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    for file in ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"] {
        let path = Path::new("/etc").join(file);
        if let Ok(text) = std::fs::read_to_string(&path) {
            seen.insert(path, text);
        }
    }
    for folder in ["/home", "/var/mail", "/var/spool/cron"] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        seen.insert(folder.into(), format!("{names:?}"));
    }
    seen
}

#[tokio::test]
async fn the_session_user_is_another_one_in_every_job() {
    let before = machine();
    assert!(
        !before[Path::new("/etc/passwd")].contains(USER),
        "user {USER} is on this machine; remove it first"
    );
    let shared = tempfile::Builder::new().prefix("grove-e2e-").tempdir_in("/tmp").unwrap();
    std::fs::write(shared.path().join("sentinel"), "mine").unwrap();

    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start_in_cell());
    let config = sshd.driver_config(json!({ "session_user": USER, "mode": "recreate" }));
    sshd.join_as(&grove, uuid(1), &[("board", "rpi4")], config).await;
    let (v1, farm, keys) = (grove.v1(), grove.farm(), tempfile::tempdir().unwrap());
    let admin = sshd.admin();
    assert!(admin.must("ls /tmp").is_empty(), "the board shares the real machine's /tmp");

    let request = v1.ask(json!({ "board": "rpi4" })).await;
    let first = wait::until("the worker", || v1.acquire(request)).await;
    assert_eq!(first.user, USER);
    first.save_key(&keys.path().join("first"));
    let user = Ssh::to_port(first.port, &first.user, &keys.path().join("first"));
    assert_eq!(user.must("id -un"), format!("{USER}\n"));
    user.must("echo secret > left; echo secret > /tmp/left; chmod 600 left; echo 'exit 1' > .profile");
    // A process, and a key, with which they would come back.
    user.must("nohup sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!");
    user.must("cat .ssh/authorized_keys > .ssh/authorized_keys2");
    assert_ne!(admin.must(&format!("find /proc -maxdepth 1 -user {USER}")), "", "the process did not start");
    // If the user were only tidied up, this mark of the admin's would stay.
    admin.must(&format!("usermod --comment marked {USER}; getent passwd {USER} | grep marked"));
    admin.must("echo 'not theirs' > /tmp/other; echo 'not theirs' > /home/other");
    v1.close(request).await;
    farm.until_worker(uuid(1), WorkerState::Idle).await;

    assert!(!admin.must(&format!("getent passwd {USER}")).contains("marked"), "the old user is still there");
    let theirs = admin.must(&format!("find /proc /tmp /var/tmp /dev/shm -maxdepth 1 -user {USER}"));
    assert_eq!(theirs, "", "a process or a file of the last job is left");
    assert_eq!(admin.must("cat /tmp/other /home/other"), "not theirs\nnot theirs\n");
    let direct = Ssh::to_port(sshd.port, USER, &keys.path().join("first"));
    assert!(!direct.is_let_in(), "the key of the last job still opens the board");

    let request = v1.ask(json!({ "board": "rpi4" })).await;
    let second = wait::until("the worker", || v1.acquire(request)).await;
    second.save_key(&keys.path().join("second"));
    let user = Ssh::to_port(second.port, &second.user, &keys.path().join("second"));
    assert_eq!(
        user.must("ls; ls /tmp; ls .ssh"),
        "other\nauthorized_keys\n",
        "something of the last job is left"
    );
    assert!(!user.must("cat .profile 2> /dev/null; true").contains("exit 1"));
    v1.close(request).await;
    farm.until_worker(uuid(1), WorkerState::Idle).await;

    drop((grove, sshd));
    assert_eq!(machine(), before, "the real machine was changed");
    assert_eq!(std::fs::read_to_string(shared.path().join("sentinel")).unwrap(), "mine");
}
