//! Compiled code on disk: used when whole, thrown away when not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use grove_runtime::{DriverCall, DriverReply, Grants, Runtime, Settings};
use grove_tests_conformance::{Recorder, component, manifest, patient};

/// Loads a guest in a runtime of its own with its cache in `folder`, and sees that it works.
async fn works(folder: &Path, name: &str) {
    let cache = Some(Dir::open_ambient_dir(folder, ambient_authority()).unwrap());
    let runtime = Runtime::new(Settings { slots: 1, cache, ..Settings::default() }).unwrap();
    let loaded =
        runtime.load(manifest(name, "").unwrap(), component(name).unwrap(), &Grants::default()).await;
    let driver = loaded.unwrap().into_driver().unwrap();
    let reply = driver.call(DriverCall::Describe, Recorder::new().context(patient())).await.unwrap();
    assert!(matches!(reply, DriverReply::Described(info) if info.name == name));
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder.join("code")).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "code")).collect();
    entries.sort();
    entries
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn code_is_kept_privately_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path(), "driver-loop").await;
    let kept = entries(folder.path());
    assert_eq!(kept.len(), 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("code")), 0o700);
    assert_eq!(mode(&kept[0]), 0o600);
    assert_eq!(mode(&folder.path().join("code/key")), 0o600);

    let before = inode(&kept[0]);
    works(folder.path(), "driver-loop").await;
    assert_eq!(entries(folder.path()), kept);
    assert_eq!(inode(&kept[0]), before, "what was kept was used: compiling would have replaced it");
}

#[tokio::test]
async fn damaged_code_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path(), "driver-loop").await;
    let entry = entries(folder.path()).remove(0);
    let whole = std::fs::read(&entry).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for damaged in [
        Vec::new(),
        whole[..whole.len() - 1].to_vec(),
        flipped(0),
        flipped(20),
        flipped(whole.len() / 2),
        flipped(whole.len() - 1),
    ] {
        std::fs::write(&entry, &damaged).unwrap();
        let before = inode(&entry);
        works(folder.path(), "driver-loop").await;
        assert_ne!(inode(&entry), before, "it was replaced");
        assert_ne!(std::fs::read(&entry).unwrap(), damaged);
    }
}

#[tokio::test]
async fn code_of_another_component_or_key_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path(), "driver-loop").await;
    let first = entries(folder.path()).remove(0);
    works(folder.path(), "driver-stack-bomb").await;
    let second = entries(folder.path()).into_iter().find(|path| *path != first).unwrap();
    // Whole code with a good MAC, but under the name of another component.
    std::fs::copy(&second, &first).unwrap();
    works(folder.path(), "driver-loop").await;
    assert_ne!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());

    let before = inode(&first);
    std::fs::write(folder.path().join("code/key"), [7; 32]).unwrap();
    works(folder.path(), "driver-loop").await;
    assert_ne!(inode(&first), before, "code under another key was replaced");
    std::fs::write(folder.path().join("code/key"), b"short").unwrap();
    works(folder.path(), "driver-loop").await;
}

#[tokio::test]
async fn an_open_folder_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::set_permissions(&code, PermissionsExt::from_mode(0o777)).unwrap();
    works(folder.path(), "driver-loop").await;
    assert_eq!(std::fs::metadata(&code).unwrap().permissions().mode() & 0o777, 0o700);
}
