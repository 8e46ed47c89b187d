use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use grove_objects::{Artifacts, Backend, Damage, Error, Expected, Name, Objects, OnDisk, Put, Quotas};
use jiff::{SignedDuration, Timestamp};

const QUOTAS: Quotas =
    Quotas { artifact: 1000, group: 1500, count: 100, unused: SignedDuration::from_hours(24), total: 10_000 };

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn name(group: &str, key: &str) -> Name {
    Name::new(group, key).unwrap()
}

fn body(bytes: impl Into<Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
    stream::iter([Ok(bytes.into())])
}

async fn open(folder: &Path, quotas: Quotas) -> Artifacts {
    let objects = Objects::open(Backend::Folder(folder.to_owned())).unwrap();
    let artifacts = Artifacts::new(objects, quotas);
    artifacts.load().await.unwrap();
    artifacts
}

async fn put(artifacts: &Artifacts, name: &Name, bytes: &[u8], now: Timestamp) -> Result<Put, Error> {
    let put = artifacts.put(name, &Expected::Any, None, None, body(bytes.to_vec()), now).await;
    put.map(|(_, put)| put)
}

async fn get(artifacts: &Artifacts, name: &Name, range: std::ops::Range<u64>) -> Vec<u8> {
    let (_, body) = artifacts.read(name, range, at(0)).await.unwrap();
    body.try_fold(Vec::new(), async |mut all, piece| {
        all.extend_from_slice(&piece);
        Ok(all)
    })
    .await
    .unwrap()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn what_was_put_is_there_also_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    let image = name("../rpi4", "a/b#1");
    assert_eq!(put(&artifacts, &image, b"hello", at(0)).await.unwrap(), Put::Created);
    assert_eq!(put(&artifacts, &image, b"hello", at(1)).await.unwrap(), Put::Same);
    assert_eq!(put(&artifacts, &image, b"hello again", at(2)).await.unwrap(), Put::Replaced);
    assert_eq!(files(folder.path()), 2, "a note, and what it tells of");

    let artifacts = open(folder.path(), QUOTAS).await;
    let found = artifacts.stat(&image, at(3)).unwrap();
    assert_eq!((found.size, found.created), (11, at(2)));
    assert_eq!(found.sha256.len(), 64);
    assert_eq!(get(&artifacts, &image, 0..u64::MAX).await, b"hello again");
    assert_eq!(get(&artifacts, &image, 6..8).await, b"ag");
    assert_eq!(get(&artifacts, &image, 11..20).await, b"");
    artifacts.remove(&image, &Expected::Any).await.unwrap();
    assert!(matches!(artifacts.stat(&image, at(3)), Err(Error::NotFound)));
    assert!(matches!(artifacts.remove(&image, &Expected::Any).await, Err(Error::NotFound)));
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_gone_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    put(&artifacts, &name("g", "kept"), b"kept", at(0)).await.unwrap();
    // Killed while it wrote, and between what it wrote and the note.
    let place = folder.path().join("artifacts/g/new");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("0198c0de000070008000000000000001#1"), b"hal").unwrap();
    std::fs::write(place.join("0198c0de000070008000000000000002"), b"whole").unwrap();
    // Killed while it removed.
    let removed = folder.path().join("artifacts/g/removed");
    std::fs::create_dir_all(&removed).unwrap();
    std::fs::write(removed.join("note"), b"{}").unwrap();

    let artifacts = open(folder.path(), QUOTAS).await;
    assert_eq!(artifacts.usage(), (1, 4));
    assert!(matches!(artifacts.stat(&name("g", "new"), at(0)), Err(Error::NotFound)));
    assert_eq!(put(&artifacts, &name("g", "new"), b"new", at(0)).await.unwrap(), Put::Created);
    assert_eq!(files(folder.path()), 5, "two artifacts, and what is none of ours");
}

#[tokio::test]
async fn what_breaks_off_or_is_another_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    let image = name("g", "k");
    let broken = stream::iter([Ok(Bytes::from_static(b"hal")), Err(io::Error::other("gone"))]);
    assert!(matches!(
        artifacts.put(&image, &Expected::Any, None, None, broken, at(0)).await,
        Err(Error::Body(_))
    ));
    let short = artifacts.put(&image, &Expected::Any, Some(9), None, body("hello"), at(0)).await;
    assert!(matches!(short, Err(Error::Body(_))));
    let other = artifacts.put(&image, &Expected::Any, None, Some("abc"), body("hello"), at(0)).await;
    assert!(matches!(other, Err(Error::Digest { .. })));
    assert!(matches!(artifacts.stat(&image, at(0)), Err(Error::NotFound)));
    assert_eq!(artifacts.usage(), (0, 0));
    // Nothing is held for them any more.
    put(&artifacts, &image, &[0; 1000], at(0)).await.unwrap();
}

#[tokio::test]
async fn groups_have_quotas_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    assert!(matches!(
        put(&artifacts, &name("a", "b-c"), &[0; 1001], at(0)).await,
        Err(Error::TooLarge { most: 1000 })
    ));
    let said = artifacts.put(&name("a", "x"), &Expected::Any, Some(1001), None, body(""), at(0)).await;
    assert!(matches!(said, Err(Error::TooLarge { .. })), "not waited for");
    put(&artifacts, &name("a", "b-c"), &[0; 1000], at(0)).await.unwrap();
    let full = put(&artifacts, &name("a", "d"), &[0; 600], at(0)).await;
    assert!(matches!(full, Err(Error::Quota { quota: 1500, used: 1000 })), "{full:?}");
    // Another group, also of a name that looks alike; and another content in the same place.
    put(&artifacts, &name("a-b", "c"), &[1; 1000], at(0)).await.unwrap();
    assert_eq!(put(&artifacts, &name("a", "b-c"), &[2; 900], at(0)).await.unwrap(), Put::Replaced);
    put(&artifacts, &name("a", "d"), &[0; 600], at(0)).await.unwrap();
    assert_eq!(get(&artifacts, &name("a-b", "c"), 0..1).await, [1]);
    let of = |group| artifacts.list(Some(group), |_| true, None, 10).unwrap().len();
    assert_eq!((of("a"), of("a-b"), of("c")), (2, 1, 0));
    let mine = artifacts.list(None, |group| group == "a-b", None, 10).unwrap();
    assert_eq!(mine.len(), 1);
}

#[tokio::test]
async fn one_name_is_changed_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    let image = name("g", "k");
    let waiting = artifacts.put(
        &image,
        &Expected::Any,
        None,
        None,
        stream::pending::<Result<Bytes, Infallible>>(),
        at(0),
    );
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(matches!(put(&artifacts, &image, b"x", at(0)).await, Err(Error::Busy)));
    put(&artifacts, &name("g", "other"), b"x", at(0)).await.unwrap();
}

#[tokio::test]
async fn what_nobody_uses_goes() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), Quotas { total: 900, ..QUOTAS }).await;
    for (key, size, hour) in [("old", 100, 0), ("read", 100, 0), ("new", 100, 30)] {
        put(&artifacts, &name("g", key), &vec![0; size], at(hour)).await.unwrap();
    }
    artifacts.stat(&name("g", "read"), at(20)).unwrap();
    assert_eq!(artifacts.retire(at(31)).await.unwrap(), 1);
    // A use is remembered over a start.
    let artifacts = open(folder.path(), Quotas { total: 900, ..QUOTAS }).await;
    assert_eq!(artifacts.stat(&name("g", "read"), at(20)).unwrap().used, at(20));
    put(&artifacts, &name("g", "big"), &[0; 750], at(31)).await.unwrap();
    assert_eq!(artifacts.retire(at(31)).await.unwrap(), 1, "beyond the total");
    let left = artifacts.list(None, |_| true, None, 10).unwrap();
    assert_eq!(left.iter().map(|left| left.name.key()).collect::<Vec<_>>(), ["big", "new"]);
}

#[tokio::test]
async fn until_it_is_loaded_nothing_is_there() {
    let artifacts = Artifacts::new(Objects::open(Backend::Memory).unwrap(), QUOTAS);
    assert!(matches!(artifacts.stat(&name("g", "k"), at(0)), Err(Error::NotReady)));
    assert!(matches!(put(&artifacts, &name("g", "k"), b"x", at(0)).await, Err(Error::NotReady)));
}

/// The one file in a folder of objects that holds what an artifact holds.
fn data(folder: &Path) -> std::path::PathBuf {
    let note = OnDisk::notes(folder).unwrap().pop().unwrap();
    OnDisk::read(&note).unwrap().unwrap().data
}

async fn damage(artifacts: &Artifacts, name: &Name) -> Option<Damage> {
    match artifacts.read(name, 0..u64::MAX, at(0)).await {
        Ok(_) => None,
        Err(Error::Damaged { damage }) => Some(damage),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_was_changed_on_disk_is_not_served_and_bringing_it_again_mends_it() {
    for restarted in [false, true] {
        for (change, found) in
            [(Some(&b"jello"[..]), Damage::Content), (Some(b"hell"), Damage::Size), (None, Damage::Lost)]
        {
            let folder = tempfile::tempdir().unwrap();
            let mut artifacts = open(folder.path(), QUOTAS).await;
            let image = name("g", "k");
            put(&artifacts, &image, b"hello", at(0)).await.unwrap();
            assert_eq!(get(&artifacts, &image, 0..9).await, b"hello");
            let file = data(folder.path());
            match change {
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            if restarted {
                artifacts = open(folder.path(), QUOTAS).await;
            }
            // Also a part that would have been right.
            assert!(matches!(artifacts.read(&image, 1..2, at(0)).await, Err(Error::Damaged { .. })));
            assert_eq!(damage(&artifacts, &image).await, Some(found));
            assert_eq!(artifacts.verify(&image).await.unwrap(), Some(found));
            assert_eq!(artifacts.stat(&image, at(0)).unwrap().damage, Some(found));
            assert_eq!(artifacts.list(None, |_| true, None, 9).unwrap()[0].damage, Some(found));
            assert_eq!(put(&artifacts, &image, b"hello", at(1)).await.unwrap(), Put::Mended, "{found:?}");
            assert_eq!(get(&artifacts, &image, 0..9).await, b"hello");
            assert_eq!(artifacts.verify(&image).await.unwrap(), None);
            assert_eq!(artifacts.stat(&image, at(0)).unwrap().damage, None);
            assert_eq!(put(&artifacts, &image, b"hello", at(1)).await.unwrap(), Put::Same);
            // What came in vain goes behind the answer.
            let left = async || {
                while files(folder.path()) != 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let left = tokio::time::timeout(Duration::from_secs(10), left()).await;
            assert!(left.is_ok(), "more than a note and what it tells of: {}", files(folder.path()));
        }
    }
}

#[tokio::test]
async fn a_file_that_was_lost_while_nobody_looked_is_still_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let image = name("g", "k");
    put(&open(folder.path(), QUOTAS).await, &image, b"hello", at(0)).await.unwrap();
    std::fs::remove_file(data(folder.path())).unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    assert_eq!(artifacts.stat(&image, at(0)).unwrap().damage, Some(Damage::Lost));
    artifacts.remove(&image, &Expected::Any).await.unwrap();
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn a_change_that_leaves_the_size_and_the_time_is_found_by_verifying() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path(), QUOTAS).await;
    let image = name("g", "k");
    put(&artifacts, &image, b"hello", at(0)).await.unwrap();
    assert_eq!(get(&artifacts, &image, 0..9).await, b"hello");
    let file = std::fs::OpenOptions::new().write(true).open(data(folder.path())).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"jello", 0).unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(artifacts.verify(&image).await.unwrap(), Some(Damage::Content));
    assert_eq!(damage(&artifacts, &image).await, Some(Damage::Content));
}

#[tokio::test]
async fn a_folder_that_is_away_is_not_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("objects"), parent.path().join("away"));
    std::fs::create_dir(&folder).unwrap();
    let artifacts = open(&folder, QUOTAS).await;
    put(&artifacts, &name("g", "k"), b"hello", at(0)).await.unwrap();
    std::fs::rename(&folder, &away).unwrap();
    let refused = put(&artifacts, &name("g", "l"), b"hello", at(0)).await.unwrap_err();
    assert!(matches!(refused, Error::Store(_)) && !folder.exists(), "{refused}");
    std::fs::rename(&away, &folder).unwrap();
    put(&artifacts, &name("g", "l"), b"hello", at(0)).await.unwrap();
    assert_eq!(get(&artifacts, &name("g", "k"), 0..9).await, b"hello");
}
