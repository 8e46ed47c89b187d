//! The SQLite store as the controller's truth.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_control::ports::{Committed, EventQuery, IntrospectionQuery, Store, StoreError, TaskQuery};
use grove_domain::change::{Batch, Loaded};
use grove_domain::event::Event;
use grove_domain::id::{IntrospectionId, TaskId};
use grove_domain::instance::Instance;
use grove_domain::introspection::{Findings, Introspection, Kind};
use grove_domain::moment::Timestamp;
use grove_domain::task::Task;
use grove_store::Retention;

/// Rows of each kind that are forgotten at once; the rest goes with the next call.
const PRUNE: u32 = 10_000;

/// The store; its reads and loads run on blocking threads.
pub(crate) struct SqliteStore(pub(crate) grove_store::Store);

impl SqliteStore {
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&grove_store::Store) -> Result<T, grove_store::StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let store = self.0.clone();
        async move {
            match tokio::task::spawn_blocking(move || work(&store)).await {
                Ok(result) => result.map_err(|error| StoreError(error.to_string())),
                Err(_) => Err(StoreError("reading was interrupted".to_owned())),
            }
        }
        .boxed()
    }
}

impl Store for SqliteStore {
    fn load(&self, instance: Instance) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        self.blocking(move |store| store.load_as(instance))
    }

    fn commit(&self, batch: Batch, committed: Committed) {
        self.0.commit(batch, move |result| {
            committed(result.map_err(|error| StoreError(error.to_string())));
        });
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'static, Result<Vec<Task>, StoreError>> {
        self.blocking(move |store| store.tasks(&query))
    }

    fn task(&self, id: TaskId) -> BoxFuture<'static, Result<Option<Task>, StoreError>> {
        self.blocking(move |store| store.task(id))
    }

    fn introspections(
        &self,
        query: IntrospectionQuery,
    ) -> BoxFuture<'static, Result<Vec<Introspection>, StoreError>> {
        self.blocking(move |store| store.introspections(&query))
    }

    fn introspection(
        &self,
        id: IntrospectionId,
    ) -> BoxFuture<'static, Result<Option<Introspection>, StoreError>> {
        self.blocking(move |store| store.introspection(id))
    }

    fn inventory(
        &self,
        id: IntrospectionId,
        kind: Kind,
    ) -> BoxFuture<'static, Result<Option<Arc<str>>, StoreError>> {
        self.blocking(move |store| Ok(store.inventory(id, kind)?.map(Arc::from)))
    }

    fn findings(&self, id: IntrospectionId) -> BoxFuture<'static, Result<Option<Findings>, StoreError>> {
        self.blocking(move |store| store.findings(id))
    }

    fn events(&self, query: EventQuery) -> BoxFuture<'static, Result<Vec<Event>, StoreError>> {
        self.blocking(move |store| store.events(&query))
    }

    fn prune(&self, before: Timestamp) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.blocking(move |store| {
            let pruned = store.prune(Retention {
                events_before: Some(before),
                tasks_before: Some(before),
                introspections_before: Some(before),
                limit: PRUNE,
            })?;
            Ok(pruned.tasks + pruned.events + pruned.introspections)
        })
    }
}
