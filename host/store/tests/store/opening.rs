//! What is opened, and what is refused.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use grove_store::{Begin, OpenError, RESTORING, Settings, Store, StoreError};

use crate::farm::{self, batch, commit, put_request, request};

fn refusal(folder: &Path) -> OpenError {
    match Store::open(folder, Settings::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn begin(folder: &Path, begin: Begin) -> Result<Store, OpenError> {
    Store::open(folder, Settings { begin, ..Settings::default() })
}

/// What of a farm is left when its store is lost.
fn leave(folder: &Path, what: &str) {
    let path = folder.join(what);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "left").unwrap();
}

#[test]
fn a_farm_is_never_begun_beside_the_rest_of_one_that_was_lost() {
    for (left, told) in [
        ("plugins/aa.wasm", "plugins/"),
        ("objects/artifacts/lab/image/note", "objects/"),
        ("keys/aa.pem", "keys/"),
        ("grove.db-wal", "grove.db-wal"),
        ("grove.db-journal", "grove.db-journal"),
    ] {
        for store in [None, Some("")] {
            let folder = tempfile::tempdir().unwrap();
            leave(folder.path(), left);
            let database = folder.path().join("grove.db");
            if let Some(bytes) = store {
                std::fs::write(&database, bytes).unwrap();
            }
            let error = refusal(folder.path());
            assert!(matches!(error, OpenError::Lost { .. }), "{left}: {error}");
            let said = error.to_string();
            let words = [told, if store.is_some() { "empty" } else { "gone" }, "--restore", "--new"];
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            // It is as it was: nothing is begun, nothing taken away.
            assert_eq!(std::fs::read_to_string(folder.path().join(left)).unwrap(), "left");
            assert_eq!(std::fs::read(&database).ok().map(|bytes| bytes.len()), store.map(str::len));
        }
    }
}

#[test]
fn a_store_without_bytes_beside_its_log_is_refused_and_the_log_stays() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let log = std::fs::read(folder.path().join("grove.db-wal")).unwrap();
    std::fs::write(copy.path().join("grove.db-wal"), &log).unwrap();
    std::fs::write(copy.path().join("grove.db"), "").unwrap();
    assert!(matches!(refusal(copy.path()), OpenError::Lost { empty: true, .. }));
    assert_eq!(std::fs::read(copy.path().join("grove.db-wal")).unwrap(), log);
    // A new one takes nothing for its own.
    let new = begin(copy.path(), Begin::Anew).unwrap();
    assert_eq!(new.load().unwrap().requests.len(), 0);
    assert_eq!(std::fs::read(copy.path().join("grove.db-wal.lost-1")).unwrap(), log);
}

#[test]
fn a_store_that_was_cut_short_is_damaged() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, (1..=500).map(|number| put_request(&request(number))))).unwrap();
    drop(store);
    let file = folder.path().join("grove.db");
    let whole = std::fs::read(&file).unwrap();
    for length in [1, 100, 4096, whole.len() / 2 / 4096 * 4096, whole.len() - 4096] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = refusal(folder.path());
        let damaged = matches!(error, OpenError::Store { error: StoreError::Corrupt(_), .. });
        assert!(damaged, "{length} of {}: {error}", whole.len());
        assert!(matches!(begin(folder.path(), Begin::Anew), Err(OpenError::Begun(_))), "{length}");
    }
}

#[test]
fn a_new_farm_is_begun_where_that_is_said_but_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    leave(folder.path(), "plugins/aa.wasm");
    drop(begin(folder.path(), Begin::Anew).unwrap());
    assert_eq!(std::fs::read_to_string(folder.path().join("plugins/aa.wasm")).unwrap(), "left");
    let error = begin(folder.path(), Begin::Anew).err().unwrap();
    assert!(matches!(error, OpenError::Begun(_)), "{error}");
    farm::open(folder.path());
    // What is made before the first start is no farm.
    let fresh = tempfile::tempdir().unwrap();
    for before in ["secrets/lab", "cache/driver/key"] {
        leave(fresh.path(), before);
    }
    for empty in ["plugins", "objects", "keys"] {
        std::fs::create_dir(fresh.path().join(empty)).unwrap();
    }
    std::fs::write(fresh.path().join("grove.db"), "").unwrap();
    farm::open(fresh.path());
    let gone = tempfile::tempdir().unwrap();
    assert!(matches!(begin(gone.path(), Begin::Never), Err(OpenError::Lost { .. })));
}

#[test]
fn a_restore_that_was_broken_off_is_no_farm() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(RESTORING)).unwrap();
    for how in [Begin::Fresh, Begin::Anew] {
        let error = begin(folder.path(), how).err().unwrap();
        assert!(matches!(error, OpenError::HalfRestored(_)), "{error}");
    }
}

#[test]
fn files_are_private() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let store = farm::open(&folder);
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["grove.db", "grove.db-shm", "grove.db-wal", "grove.lock"]);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let (folder, store) = farm::new();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    let expected = format!(
        "the state folder {} is in use by another process: stop it first, or name another folder",
        folder.path().display()
    );
    assert_eq!(error.to_string(), expected);
    let clone = store.clone();
    drop(store);
    assert!(matches!(refusal(folder.path()), OpenError::InUse(_)));
    drop(clone);
    farm::open(folder.path());
}

#[test]
fn it_is_left_when_the_last_handle_is_gone() {
    let (folder, store) = farm::new();
    let (other, left) = (store.clone(), store.left());
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    drop(store);
    assert!(!left.is_so());
    // As a callback may hold the last one, on the writer's own thread.
    other.commit(batch(epoch, [put_request(&request(2))]), {
        let other = other.clone();
        move |committed: Result<(), grove_store::CommitError>| {
            committed.unwrap();
            drop(other);
        }
    });
    drop(other);
    let mut looks = 0;
    while !left.is_so() {
        looks += 1;
        assert!(looks < 60_000, "nobody leaves it");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // All of it is in the one file.
    let file = std::fs::read(folder.path().join(grove_store::DATABASE)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::write(copy.path().join(grove_store::DATABASE), file).unwrap();
    let again = farm::open(copy.path());
    assert_eq!(again.load().unwrap().requests.len(), 2);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (folder, store) = farm::new();
    drop(store);
    farm::intrude(folder.path()).pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Newer { found: 99, known: 5, .. }), "{error}");
    let version: u32 =
        farm::intrude(folder.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    farm::intrude(folder.path()).execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::Foreign(_)));
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("grove.db"), "all the world's a stage\n".repeat(1000)).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Store { error: StoreError::Corrupt(_), .. }), "{error}");
    assert!(error.to_string().contains("put the last backup in its place"), "{error}");
}

#[test]
fn a_damaged_store_is_found_after_a_crash() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, (1..=2000).map(|number| put_request(&request(number))))).unwrap();
    drop(store);
    let intruder = farm::intrude(folder.path());
    intruder.execute_batch("UPDATE farm SET clean = 0; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(intruder);
    let file = folder.path().join("grove.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Store { error: StoreError::Corrupt(_), .. }), "{error}");
}

#[test]
fn a_store_that_cannot_be_written_is_refused() {
    let (folder, store) = farm::new();
    drop(store);
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    // The superuser may write everything: the child must be somebody else, and be able to reach itself.
    let program = folder.path().join("child");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(&program);
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap()) == 0 {
        const NOBODY: u32 = 65_534;
        for name in ["grove.db", "grove.lock", "child", ""] {
            chown(folder.path().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        child.uid(NOBODY).gid(NOBODY);
    }
    set(&program, 0o700);
    set(&folder.path().join("grove.db"), 0o400);
    let output = child
        .args(["--exact", "opening::open_as_child", "--ignored", "--nocapture"])
        .env("GROVE_STORE_FOLDER", folder.path())
        .output()
        .unwrap();
    set(folder.path(), 0o700);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("the store cannot be written"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "run as a child by a_store_that_cannot_be_written_is_refused"]
fn open_as_child() {
    let folder = std::env::var_os("GROVE_STORE_FOLDER").expect("the parent names a folder");
    println!("{}", refusal(Path::new(&folder)));
}
