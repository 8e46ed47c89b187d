//! The handle.

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::thread::{self, JoinHandle};

use grove_domain::change::{Batch, Loaded};
use grove_domain::event::Event;
use grove_domain::history::{EventQuery, IntrospectionQuery, TaskQuery};
use grove_domain::id::{IntrospectionId, TaskId};
use grove_domain::instance::Instance;
use grove_domain::introspection::{Findings, Introspection, Kind};
use grove_domain::mode::FarmMode;
use grove_domain::moment::Timestamp;
use grove_domain::task::Task;
use tokio::sync::oneshot;

use crate::damage::{Check, Damage};
use crate::error::{CommitError, OpenError, StoreError};
use crate::open::{self, Opened, Settings};
use crate::queue::{Queue, Work};
use crate::reader::Readers;
use crate::transfer::{Export, Replaced, Replacement, Staged, TableChange};
use crate::writer::{Pruned, Retention, Writer};

/// An open store. Cheap to clone; when the last handle is dropped, what waits is written and the store is closed.
///
/// Everything except [`Self::commit`] and [`Self::commit_async`] blocks the calling thread on the disk.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    readers: Readers,
    damage: Damage,
    writer: Option<JoinHandle<()>>,
    left: Left,
}

/// Tells whether a store was left, without keeping it open.
#[derive(Clone, Debug)]
pub struct Left(Weak<()>);

impl Left {
    /// Whether everything is written, the last handle is gone, and another may open the folder.
    pub fn is_so(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Store {
    /// Opens the store in `folder`, for this process alone; makes it when there is none.
    ///
    /// # Errors
    /// The folder is in use, its files cannot be used, or the database is damaged, foreign or too new.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, OpenError> {
        let Opened { lock, writer, database } = open::open(folder, &settings)?;
        let queue = Arc::new(Queue::default());
        let served = Arc::clone(&queue);
        let damage = Damage::default();
        let met = damage.clone();
        let here = Arc::new(());
        let left = Left(Arc::downgrade(&here));
        let write = move || {
            // What is named first ends last.
            let _here = here;
            // Also when the writer dies, nobody waits for ever, and nobody else gets in before it is gone.
            let _lock = lock;
            let _end = CloseOnDrop(&served);
            Writer::new(writer, met).run(&served);
        };
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(write)
            .map_err(|error| OpenError::File { path: database.clone(), error })?;
        let readers = Readers::new(&database, settings.readers, damage.clone());
        Ok(Self(Arc::new(Inner { queue, readers, damage, writer: Some(writer), left })))
    }

    /// Everything that drives a controller, after every batch that waits; begins a new epoch.
    ///
    /// # Errors
    /// The store cannot be read, or not written.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        self.ask(|done| Work::Load(None, done))
    }

    /// [`Self::load`] for an instance of the controller: one that the store does not know becomes the newest, and is
    /// given its incarnation. When a newer one took over from it, the answer says only that: nothing is loaded, no epoch
    /// begins, and the newer one goes on undisturbed.
    ///
    /// # Errors
    /// The store cannot be read, or not written.
    pub fn load_as(&self, instance: Instance) -> Result<Loaded, StoreError> {
        self.ask(|done| Work::Load(Some(instance), done))
    }

    /// Queues a batch; batches are stored in the order of these calls. `done` runs on the writer's thread, after the
    /// fsync, once; it must not block. Waits only while the queue is full, and never when called by a `done`.
    ///
    /// An error means that nothing of the batch is stored, and that only [`Self::load`] goes on from here.
    pub fn commit(&self, batch: Batch, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        self.0.queue.put(Work::Commit(batch, Box::new(done)));
    }

    /// [`Self::commit`] for who awaits it. The batch is queued at once, and stored also when nobody awaits.
    pub fn commit_async(&self, batch: Batch) -> impl Future<Output = Result<(), CommitError>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        self.commit(batch, move |answer| drop(tell.send(answer)));
        async move { told.await.unwrap_or_else(|_| Err(StoreError::Closed.into())) }
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>, StoreError> {
        self.0.readers.tasks(query)
    }

    /// One task.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.0.readers.task(id)
    }

    /// Runs of introspection, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn introspections(&self, query: &IntrospectionQuery) -> Result<Vec<Introspection>, StoreError> {
        self.0.readers.introspections(query)
    }

    /// One run of introspection.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn introspection(&self, id: IntrospectionId) -> Result<Option<Introspection>, StoreError> {
        self.0.readers.introspection(id)
    }

    /// What is kept of the inventory of a run: JSON text.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn inventory(&self, id: IntrospectionId, kind: Kind) -> Result<Option<String>, StoreError> {
        self.0.readers.inventory(id, kind)
    }

    /// What was found in a run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn findings(&self, id: IntrospectionId) -> Result<Option<Findings>, StoreError> {
        self.0.readers.findings(id)
    }

    /// Events, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<Event>, StoreError> {
        self.0.readers.events(query)
    }

    /// Forgets a bounded piece of history. Call again while a count is the limit.
    ///
    /// # Errors
    /// The store cannot be written; nothing is forgotten then.
    pub fn prune(&self, retention: Retention) -> Result<Pruned, StoreError> {
        self.ask(|done| Work::Prune(retention, done))
    }

    /// A look through everything that is stored.
    pub fn check(&self) -> Check {
        Check { database: self.0.readers.database().to_owned(), damage: self.0.damage.clone() }
    }

    /// The first damage that a read, a write or a [`Check`] met. Whoever sees one should close the store: it is looked
    /// through before it is opened again.
    pub fn damage(&self) -> Option<StoreError> {
        self.0.damage.found()
    }

    /// Tells when the store was left.
    pub fn left(&self) -> Left {
        self.0.left.clone()
    }

    /// Begins an export of what is committed now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn export(&self) -> Result<Export, StoreError> {
        Export::open(self.0.readers.database())
    }

    /// What would change if `staged` took the place of what is committed now.
    ///
    /// # Errors
    /// One of the two cannot be read.
    pub fn compare(&self, staged: &Staged) -> Result<Vec<TableChange>, StoreError> {
        staged.compare(self.0.readers.database())
    }

    /// Puts `staged` in the place of everything that is stored, in one transaction, after every batch that waits. Batches
    /// that were decided before are refused from then on: [`Self::load`] begins the next epoch. None = `may`, which is asked
    /// in that transaction and must not block, said no.
    ///
    /// # Errors
    /// The store cannot be written; it is as it was then.
    pub fn replace(
        &self,
        staged: &Staged,
        actor: &str,
        now: Timestamp,
        may: impl Fn(&FarmMode) -> bool + Send + 'static,
    ) -> Result<Option<Replaced>, StoreError> {
        self.ask(|done| Work::Replace(Replacement::new(staged, actor, now, may), done))
    }

    /// Has the writer do something, and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(Box<dyn FnOnce(Result<T, StoreError>) + Send>) -> Work,
    ) -> Result<T, StoreError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.0.queue.put(work(Box::new(move |answer| drop(tell.send(answer)))));
        told.recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let Some(writer) = self.writer.take() else { return };
        // The last handle may have gone with a callback, on the writer's own thread.
        if writer.thread().id() != thread::current().id() && writer.join().is_err() {
            tracing::error!("the store's writer died");
        }
    }
}

/// Refuses what still waits when the writer has ended.
struct CloseOnDrop<'a>(&'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(waiting) = self.0.take() {
            waiting.into_iter().for_each(Work::refuse);
        }
    }
}
