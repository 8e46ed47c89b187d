//! Committed events, live; and waiting for something to change.

use std::collections::HashMap;
use std::sync::Arc;

use grove_domain::event::{Event, Subject};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

/// Events that a slow listener may fall behind before it must read from the store instead.
const BACKLOG: usize = 4096;

/// Live events.
#[derive(Debug)]
pub struct Feed {
    events: broadcast::Sender<Arc<Event>>,
    waiting: Arc<Mutex<Waiting>>,
}

type Waiting = HashMap<Subject, Arc<Notify>>;

impl Feed {
    pub(crate) fn new() -> Self {
        Self { events: broadcast::Sender::new(BACKLOG), waiting: Arc::default() }
    }

    /// Every event from now on. A listener that lags more than the backlog learns so and reads from the store.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Begins to wait for an event about `subject`. Look at the farm after this call, then await.
    pub fn watch(&self, subject: Subject) -> Watcher {
        let notify = self.waiting.lock().entry(subject.clone()).or_default().clone();
        let mut notified = Box::pin(notify.notified_owned());
        notified.as_mut().enable();
        Watcher { subject, notified: Some(notified), waiting: self.waiting.clone() }
    }

    pub(crate) fn publish(&self, events: Vec<Event>) {
        {
            let waiting = self.waiting.lock();
            if !waiting.is_empty() {
                for event in &events {
                    if let Some(notify) = waiting.get(&event.subject) {
                        notify.notify_waiters();
                    }
                }
            }
        }
        if self.events.receiver_count() > 0 {
            for event in events {
                // Nobody listening any more is fine.
                let _ = self.events.send(Arc::new(event));
            }
        }
    }
}

/// Waits for one event about one subject.
#[derive(Debug)]
pub struct Watcher {
    subject: Subject,
    /// Taken only by the end of this watcher.
    notified: Option<std::pin::Pin<Box<tokio::sync::futures::OwnedNotified>>>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Watcher {
    /// Resolves once something about the subject was committed after this watcher was made.
    pub async fn changed(mut self) {
        if let Some(notified) = &mut self.notified {
            notified.as_mut().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        self.notified = None;
        // The map's own is the last one: nobody else waits.
        if waiting.get(&self.subject).is_some_and(|notify| Arc::strong_count(notify) == 1) {
            waiting.remove(&self.subject);
        }
    }
}
