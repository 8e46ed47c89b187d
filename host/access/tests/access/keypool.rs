use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use grove_access::keypool::{KeyPool, KeyPoolSettings};
use tempfile::TempDir;

use crate::{open_dir, until, within};

fn pool(folder: &TempDir, size: usize) -> KeyPool {
    KeyPool::open(
        open_dir(folder.path()),
        KeyPoolSettings { size, threads: NonZeroUsize::new(2), ..KeyPoolSettings::default() },
    )
    .unwrap()
}

/// Fills a folder, and stops.
async fn filled(size: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool(&folder, size);
    until("the pool is full", || pool.stock() >= size).await;
    folder
}

fn files(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn pairs_are_what_ssh_takes_and_nobody_else_reads() {
    let folder = filled(1).await;
    let files = files(folder.path());
    let path = folder.path().join(&files[0]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut keygen = std::process::Command::new("ssh-keygen");
    let output = keygen.arg("-y").arg("-f").arg(&path).output().expect("install openssh-client");
    let pool = pool(&folder, 0);
    let pair = within(pool.take()).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), pair.public_line);
    assert!(pair.private_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "PKCS#1");
    assert!(!path.exists(), "a pair that was handed out is on no disk");
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn the_stock_follows_what_is_taken_and_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = KeyPoolSettings { size: 1, most: 5, threads: NonZeroUsize::new(2) };
    let pool = KeyPool::open(open_dir(folder.path()), settings).unwrap();
    until("the least stock", || pool.stock() >= 1).await;
    assert_eq!(pool.wanted(), 1);
    for taken in 1..=8 {
        within(pool.take()).await;
        let wanted = pool.wanted();
        assert!((1..=5).contains(&wanted) && (taken < 3 || wanted > 1), "after {taken}: {wanted}");
    }
    assert_eq!(pool.wanted(), 5);
    until("the greatest stock", || pool.stock() >= 5).await;
    // What is made when it is enough is what was begun before: by each thread one.
    assert!(pool.stock() <= 5 + 2, "{}", pool.stock());
    assert!(files(folder.path()).len() >= 5, "it is on disk");
}

#[tokio::test]
async fn stock_survives_a_restart() {
    let folder = filled(2).await;
    let pool = pool(&folder, 0);
    assert!(pool.stock() >= 2, "{}", pool.stock());
}

#[tokio::test]
async fn no_pair_is_handed_out_twice_even_after_a_crash() {
    let folder = filled(4).await;
    let before = pool(&folder, 0);
    let mut seen = HashSet::new();
    assert!(seen.insert(within(before.take()).await.public_line));
    // The first pool is not told: it still believes it has the other three, as one that was killed did.
    let after = pool(&folder, 0);
    let (mut one, mut two) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    for _ in 0..4 {
        let (before, after) = (before.clone(), after.clone());
        one.spawn(async move { before.take().await });
        two.spawn(async move { after.take().await });
    }
    for pair in within(one.join_all()).await.into_iter().chain(within(two.join_all()).await) {
        assert!(seen.insert(pair.public_line), "handed out twice");
    }
    assert_eq!(seen.len(), 9);
}

#[tokio::test]
async fn an_asker_that_leaves_takes_nothing_along() {
    let folder = filled(1).await;
    let pool = pool(&folder, 0);
    let stock = pool.stock();
    for _ in 0..50 {
        let asking = tokio::time::timeout(Duration::from_micros(fastrand()), pool.take());
        if let Ok(pair) = asking.await {
            // It was quick enough: then it is the last one.
            drop(pair);
            assert_eq!(pool.stock(), stock - 1);
            break;
        }
        until("the pair is back", || pool.stock() == stock).await;
    }
}

/// Some microseconds, different ones each time.
fn fastrand() -> u64 {
    let random = std::collections::hash_map::RandomState::new();
    std::hash::BuildHasher::hash_one(&random, 0) % 300
}

#[tokio::test]
async fn an_empty_pool_makes_pairs_for_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool(&folder, 0);
    let gone = tokio::time::timeout(Duration::from_millis(1), pool.take()).await;
    let (one, two, three) = within(async { tokio::join!(pool.take(), pool.take(), pool.take()) }).await;
    let lines = HashSet::from([one.public_line, two.public_line, three.public_line]);
    assert_eq!(lines.len(), 3);
    drop(gone);
}

#[tokio::test]
async fn what_is_broken_is_thrown_away() {
    let folder = filled(1).await;
    let whole = files(folder.path()).into_iter().find(|name| name.ends_with(".pem")).unwrap();
    let text = std::fs::read_to_string(folder.path().join(&whole)).unwrap();
    std::fs::remove_file(folder.path().join(&whole)).unwrap();
    for (name, text) in [("half.pem", &text[..800]), ("empty.pem", ""), ("started.part", &text)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::write(folder.path().join("README"), "not ours").unwrap();
    let pool = pool(&folder, 0);
    let left = files(folder.path());
    assert!(
        !left.iter().any(|name| ["half.pem", "empty.pem", "started.part"].contains(&&**name)),
        "{left:?}"
    );
    assert!(left.contains(&"README".to_owned()));
    assert_eq!(pool.stock(), left.len() - 1);
}
