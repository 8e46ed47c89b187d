use std::time::Duration;

use grove_objects::{Backend, Keeping, Kind, Logs, Objects, Read};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

const TASK: Uuid = Uuid::from_u128(7);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn folder(path: &std::path::Path, keeping: Keeping) -> Logs {
    Logs::new(Objects::open(Backend::Folder(path.to_owned())).unwrap(), keeping)
}

/// Everything there is to read after a line.
async fn all(logs: &Logs, mut after: u64) -> (Vec<(u64, String)>, bool) {
    let mut lines = Vec::new();
    loop {
        let Read { lines: some, more, open } = logs.read(TASK, after).await.unwrap();
        let none = some.is_empty();
        lines.extend(some.into_iter().map(|line| (line.n, line.text.to_string())));
        after = lines.last().map_or(after, |(n, _)| *n);
        if !more || none {
            return (lines, open);
        }
    }
}

#[tokio::test]
async fn a_log_is_read_while_it_is_written_and_afterwards() {
    let place = tempfile::tempdir().unwrap();
    let small = Keeping { memory: 20_000, piece: 2_000, ..Keeping::default() };
    let logs = folder(place.path(), small);
    let log = logs.begin(TASK);
    for n in 1..=500 {
        log.say(NOW, Kind::Log, "info", &format!("line {n}"));
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if n == 250 {
            let (lines, open) = all(&logs, 0).await;
            assert!(open && lines.len() == 250, "{}", lines.len());
        }
    }
    log.close();
    log.say(NOW, Kind::Log, "info", "too late");
    logs.finish(Duration::from_secs(60)).await;
    assert_eq!(logs.live(), 0);

    let logs = folder(place.path(), small);
    let (lines, open) = all(&logs, 0).await;
    assert!(!open);
    let expected: Vec<_> = (1..=500).map(|n| (n, format!("line {n}"))).collect();
    assert_eq!(lines, expected);
    assert_eq!(all(&logs, 498).await.0.len(), 2);
    assert_eq!(all(&logs, 500).await, (Vec::new(), false));
    let pieces = std::fs::read_dir(place.path().join("logs/000000000")).unwrap().count();
    assert!((2..100).contains(&pieces), "{pieces} pieces");
}

#[tokio::test]
async fn followers_hear_of_every_line_and_of_the_end() {
    let place = tempfile::tempdir().unwrap();
    let logs = folder(place.path(), Keeping { piece: 1_000, memory: 10_000, ..Keeping::default() });
    let log = logs.begin(TASK);
    let follower = tokio::spawn({
        let logs = logs.clone();
        async move {
            let mut after = 0;
            loop {
                let news = logs.follow(TASK);
                let (lines, open) = all(&logs, after).await;
                after += lines.len() as u64;
                match news {
                    Some(mut news) if open => {
                        news.mark_unchanged();
                        // What came in between.
                        if all(&logs, after).await.0.is_empty() {
                            let _ = tokio::time::timeout(Duration::from_millis(50), news.changed()).await;
                        }
                    }
                    _ => return after,
                }
            }
        }
    });
    for n in 0..100 {
        log.say(NOW, Kind::Log, "info", &format!("line {n}"));
        tokio::task::yield_now().await;
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    log.close();
    let heard = tokio::time::timeout(Duration::from_secs(60), follower).await.unwrap().unwrap();
    assert_eq!(heard, 100);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_hangs_delays_nobody_and_what_is_lost_is_counted() {
    let logs = Logs::new(hanging::objects(), Keeping { memory: 5_000, ..Keeping::default() });
    let log = logs.begin(TASK);
    let before = tokio::time::Instant::now();
    for n in 0..1_000 {
        log.say(NOW, Kind::Log, "info", &format!("line {n}"));
        tokio::task::yield_now().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    log.say(NOW, Kind::End, "error", "failed");
    let read = logs.read(TASK, 0).await.unwrap();
    let [.., marker, end] = read.lines.as_slice() else { panic!("{read:?}") };
    assert_eq!((end.kind, &*end.text), (Kind::End, "failed"));
    assert_eq!(marker.kind, Kind::Lost);
    assert_eq!(*marker.text, format!("… {} lines lost", 1_000 - (read.lines.len() - 2)));
    log.close();
    logs.finish(Duration::from_secs(5)).await;
    assert_eq!(before.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn old_logs_go() {
    let place = tempfile::tempdir().unwrap();
    let keeping = Keeping { age: SignedDuration::from_hours(1), ..Keeping::default() };
    let logs = folder(place.path(), keeping);
    let log = logs.begin(TASK);
    log.say(NOW, Kind::Log, "info", "hello");
    log.close();
    logs.finish(Duration::from_secs(60)).await;
    let logs = folder(place.path(), keeping);
    // What is on disk has the time of this machine, which is long after what the lines tell.
    assert_eq!(logs.retire(NOW).await.unwrap(), 0);
    assert_eq!(logs.retire(Timestamp::MAX).await.unwrap(), 1);
    assert_eq!(all(&logs, 0).await, (Vec::new(), false));
    assert_eq!(logs.retire(Timestamp::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn logs_of_one_moment_share_a_folder_and_are_told_apart() {
    let place = tempfile::tempdir().unwrap();
    let logs = folder(place.path(), Keeping { piece: 1, ..Keeping::default() });
    // The first three are of the same four seconds; the last is not.
    let tasks = [1, 2, 3, 0x1000 << 80].map(Uuid::from_u128);
    let said = tasks.map(|task| {
        let log = logs.begin(task);
        log.say(NOW, Kind::Log, "info", &task.to_string());
        log
    });
    let [running, ended @ ..] = said;
    for log in &ended {
        log.close();
    }
    let folders = || std::fs::read_dir(place.path().join("logs")).map_or(0, Iterator::count);
    let written = async {
        while logs.live() > 1 || folders() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.unwrap();
    assert_eq!(folders(), 2);
    // One that runs keeps what it has said.
    assert_eq!(logs.retire(Timestamp::MAX).await.unwrap(), 3);
    running.say(NOW, Kind::End, "info", "done");
    running.close();
    logs.finish(Duration::from_secs(60)).await;
    let logs = folder(place.path(), Keeping::default());
    for (task, kept) in tasks.into_iter().zip([true, false, false, false]) {
        let read = logs.read(task, 0).await.unwrap();
        assert_eq!(!read.lines.is_empty(), kept, "{task}: {read:?}");
        assert!(read.lines.iter().all(|line| *line.text == task.to_string()), "{read:?}");
    }
}

#[tokio::test]
async fn many_that_end_at_once_are_written_together() {
    const TASKS: u128 = 1_000;
    let place = tempfile::tempdir().unwrap();
    let logs = folder(place.path(), Keeping::default());
    for task in 0..TASKS {
        let log = logs.begin(Uuid::from_u128(task));
        for n in 0..task % 3 {
            log.say(NOW, Kind::Log, "info", &format!("{n} of {task}"));
        }
        log.say(NOW, Kind::End, "info", "done");
        log.close();
    }
    logs.finish(Duration::from_secs(60)).await;
    assert_eq!(logs.live(), 0);
    let files = std::fs::read_dir(place.path().join("logs/000000000")).unwrap().count();
    assert!(files < 100, "{files} files for {TASKS} logs");
    let logs = folder(place.path(), Keeping::default());
    for task in (0..TASKS).step_by(7) {
        let Read { lines, more, open } = logs.read(Uuid::from_u128(task), 0).await.unwrap();
        let mut expected: Vec<_> = (0..task % 3).map(|n| format!("{n} of {task}")).collect();
        expected.push("done".to_owned());
        assert_eq!(lines.iter().map(|line| line.text.to_string()).collect::<Vec<_>>(), expected);
        assert!(!more && !open);
        // From its end on there is nothing.
        let last = lines.last().unwrap().n;
        assert!(logs.read(Uuid::from_u128(task), last).await.unwrap().lines.is_empty());
    }
    assert!(logs.read(Uuid::from_u128(TASKS), 0).await.unwrap().lines.is_empty());
}

#[tokio::test]
async fn a_log_that_goes_on_after_its_end_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let logs = folder(place.path(), Keeping { piece: 200, ..Keeping::default() });
    // Others keep the writer busy, so that this one waits for its turn.
    for task in 100..110 {
        let log = logs.begin(Uuid::from_u128(task));
        log.say(NOW, Kind::End, "info", "done");
        log.close();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = logs.begin(TASK);
    log.say(NOW, Kind::Log, "info", "before");
    log.close();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let log = logs.begin(TASK);
    log.say(NOW, Kind::Log, "info", &"after ".repeat(50));
    log.close();
    logs.finish(Duration::from_secs(60)).await;
    let logs = folder(place.path(), Keeping::default());
    let (lines, open) = all(&logs, 0).await;
    assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2], "{lines:?}");
    assert!(!open);
    assert_eq!(all(&logs, 1).await.0.len(), 1);
}

#[tokio::test]
async fn short_logs_count_as_what_they_take() {
    let place = tempfile::tempdir().unwrap();
    let keeping = Keeping { total: 3 * 4096, ..Keeping::default() };
    let logs = folder(place.path(), keeping);
    for number in 1..=4u128 {
        let log = logs.begin(Uuid::from_u128(number << 96));
        log.say(NOW, Kind::Log, "info", "short");
        log.close();
    }
    logs.finish(Duration::from_secs(60)).await;
    let logs = folder(place.path(), keeping);
    assert_eq!(logs.retire(NOW).await.unwrap(), 1);
    assert_eq!(logs.retire(NOW).await.unwrap(), 0);
}

/// A place for objects that never answers.
mod hanging {
    use std::net::TcpListener;

    use grove_objects::{Backend, Objects, S3};

    pub(super) fn objects() -> Objects {
        // Takes connections, and says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::mem::forget(listener);
        let s3 = S3 {
            bucket: "b".to_owned(),
            prefix: "grove".to_owned(),
            endpoint: Some(endpoint),
            region: "r".to_owned(),
            key: Some(("id".to_owned(), "key".to_owned())),
        };
        Objects::open(Backend::S3(s3)).unwrap()
    }
}
