//! Waiting for what will happen. Deadlines are only there to end a hang: a busy machine never reaches them.

use std::fmt::Debug;
use std::time::Duration;

use grove_client::wire::Timestamp;
use tokio::time::{Instant, sleep};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "a farm tells times of day")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Looks again and again until there is something to see. `what` completes "waited too long for …".
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        sleep(PAUSE).await;
    }
}

/// Looks at something until it is as it should be; when it never is, says how it was last.
pub async fn until_is<T: Debug, F: Future<Output = T>>(
    what: &str,
    mut look: impl FnMut() -> F,
    well: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        if well(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "waited too long for {what}; last it was {seen:#?}");
        sleep(PAUSE).await;
    }
}

/// Something that must end by itself.
pub async fn ends<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited too long for {what}"),
    }
}
