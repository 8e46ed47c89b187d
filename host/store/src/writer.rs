//! The one writer: groups of batches become transactions.

mod group;
mod history;
mod replace;

pub use history::{Pruned, Retention};

use std::panic::{AssertUnwindSafe, catch_unwind};

use grove_domain::change::{Batch, Loaded};
use grove_domain::instance::Instance;
use rusqlite::Connection;

use crate::damage::Damage;
use crate::error::{CommitError, StoreError};
use crate::queue::{Done, Queue, Work};
use crate::rows::{
    self, Count, INTROSPECTIONS, KEPT, PLUGINS, REQUESTS, SELECT_INSTANCES, SELECT_LIMITS, SELECT_MODE,
    SELECT_RULES, SELECT_VERSIONS, TASKS, WORKERS,
};

/// Instances that are remembered.
const INSTANCES: u64 = 100;

/// Owns the only connection that writes.
pub(crate) struct Writer {
    connection: Connection,
    epoch: u64,
    /// Why batches of this epoch are refused.
    void: Option<String>,
    last: Last,
    damage: Damage,
}

/// The highest numbers ever given.
#[derive(Clone, Copy, Default)]
struct Last {
    request: u64,
    place: u64,
    event: u64,
}

impl Writer {
    pub(crate) fn new(connection: Connection, damage: Damage) -> Self {
        let void = Some("nothing was loaded yet".to_owned());
        Self { connection, epoch: 0, void, last: Last::default(), damage }
    }

    /// Works until the queue is closed and empty, then leaves the store clean.
    pub(crate) fn run(mut self, queue: &Queue) {
        queue.serve();
        while let Some(waiting) = queue.take() {
            let mut group = Vec::new();
            for work in waiting {
                match work {
                    Work::Commit(batch, done) => group.push((batch, done)),
                    Work::Load(instance, done) => {
                        self.commit(std::mem::take(&mut group));
                        let loaded = self.load(instance).inspect_err(|error| self.damage.meet(error));
                        tell(|| done(loaded));
                    }
                    Work::Prune(retention, done) => {
                        self.commit(std::mem::take(&mut group));
                        let pruned = self.prune(&retention).inspect_err(|error| self.damage.meet(error));
                        tell(|| done(pruned));
                    }
                    Work::Replace(replacement, done) => {
                        self.commit(std::mem::take(&mut group));
                        let replaced = self.replace(&replacement);
                        tell(|| done(replaced));
                    }
                }
            }
            self.commit(group);
        }
        self.leave();
    }

    /// Writes what may be written as one transaction, then tells everybody, in order.
    fn commit(&mut self, group: Vec<(Batch, Done)>) {
        let (batches, told): (Vec<Batch>, Vec<Done>) = group.into_iter().unzip();
        let mut answers: Vec<Result<(), CommitError>> =
            batches.iter().map(|batch| self.admit(batch)).collect();
        let admitted: Vec<usize> =
            answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).map(|(at, _)| at).collect();
        let chosen = admitted.iter().filter_map(|&at| batches.get(at));
        if let Err(failed) = self.write(chosen) {
            self.damage.meet_commit(&failed.error);
            let because = failed.error.to_string();
            for (nth, &at) in admitted.iter().enumerate() {
                if let Some(answer) = answers.get_mut(at) {
                    *answer = Err(match failed.nth {
                        Some(culprit) if culprit != nth => CommitError::Void { because: because.clone() },
                        _ => failed.error.clone(),
                    });
                }
            }
            tracing::error!(error = %because, batches = admitted.len(), "a group of batches was rolled back");
            self.void = Some(because);
        }
        for (done, answer) in told.into_iter().zip(answers) {
            tell(|| done(answer));
        }
    }

    fn admit(&self, batch: &Batch) -> Result<(), CommitError> {
        if batch.epoch != self.epoch {
            return Err(CommitError::Epoch { batch: batch.epoch, current: self.epoch });
        }
        match &self.void {
            Some(because) => Err(CommitError::Void { because: because.clone() }),
            None => Ok(()),
        }
    }

    /// Begins a new epoch with everything that is stored; not for an instance that a newer one took over from.
    fn load(&mut self, instance: Option<Instance>) -> Result<Loaded, StoreError> {
        if let Some(instance) = instance
            && let Some(newer) = newer(&self.connection, instance)?
        {
            return Ok(Loaded { superseded_by: Some(newer), ..Loaded::default() });
        }
        self.void = Some("the store could not be loaded".to_owned());
        let connection = &self.connection;
        let beginning = connection.unchecked_transaction()?;
        if let Some(instance) = instance {
            remember(connection, instance)?;
        }
        let stopped: bool = connection.query_row("SELECT stopped FROM farm", [], |row| row.get(0))?;
        let numbers = "UPDATE farm SET epoch = epoch + 1, stopped = 0
            RETURNING epoch, last_request, last_place, last_event";
        let (epoch, mut last) = connection.query_row(numbers, [], |row| {
            let number = |column| row.get::<_, Count>(column).map(|count| count.0);
            Ok((number(0)?, Last { request: number(1)?, place: number(2)?, event: number(3)? }))
        })?;
        beginning.commit()?;
        let last_event = "SELECT coalesce(max(seq), 0) FROM events";
        last.event = last.event.max(connection.query_row(last_event, [], |row| row.get::<_, Count>(0))?.0);
        let limits = all(connection, SELECT_LIMITS, rows::limit)?;
        let instances = all(connection, SELECT_INSTANCES, rows::instance)?;
        let mode = all(connection, SELECT_MODE, rows::mode)?.pop().unwrap_or_default();
        let workers = all(connection, &format!("{} ORDER BY id", WORKERS.select()), rows::worker)?;
        let requests = all(connection, &format!("{} ORDER BY id", REQUESTS.select()), rows::request)?;
        let live = format!("{} WHERE ended IS NULL ORDER BY id", TASKS.select());
        let live_tasks = all(connection, &live, rows::task)?;
        let plugins = all(connection, &format!("{} ORDER BY name", PLUGINS.select()), rows::plugin)?;
        let plugin_versions = all(connection, SELECT_VERSIONS, rows::version)?;
        let kept = format!("{} WHERE {KEPT} ORDER BY id", INTROSPECTIONS.select());
        let introspections = all(connection, &kept, rows::introspection)?;
        let rules = all(connection, &format!("{SELECT_RULES} ORDER BY place"), rows::rule)?;
        for request in &requests {
            last.request = last.request.max(request.id.0);
            last.place = last.place.max(request.place);
        }
        self.epoch = epoch;
        self.last = last;
        self.void = None;
        Ok(Loaded {
            epoch,
            workers,
            requests,
            live_tasks,
            plugins,
            plugin_versions,
            introspections,
            rules,
            limits,
            mode,
            instances,
            superseded_by: None,
            stopped,
            last_request: last.request,
            last_place: last.place,
            last_event: last.event,
        })
    }

    fn leave(self) {
        if self.damage.found().is_some() {
            return;
        }
        let clean = "UPDATE farm SET clean = 1; PRAGMA wal_checkpoint(TRUNCATE);";
        if let Err(error) = self.connection.execute_batch(clean) {
            tracing::warn!(%error, "the store was not left clean; it is checked at the next start");
        }
    }
}

/// An instance that started after this one, if there is one.
fn newer(connection: &Connection, instance: Instance) -> Result<Option<Instance>, StoreError> {
    let known = all(connection, SELECT_INSTANCES, rows::instance)?;
    let own = known.iter().find(|known| known.id == instance.id).map(|own| own.incarnation);
    Ok(known.last().filter(|last| own.is_some_and(|own| own < last.incarnation)).copied())
}

/// A new instance is the newest; one that is known already lives on.
fn remember(connection: &Connection, instance: Instance) -> Result<(), StoreError> {
    let known = all(connection, SELECT_INSTANCES, rows::instance)?;
    if let Some(own) = known.iter().find(|known| known.id == instance.id) {
        let own = Instance { heartbeat: instance.heartbeat, ended: None, ..*own };
        rows::put_instance(connection, &own)?;
        return Ok(());
    }
    let incarnation = known.last().map_or(0, |last| last.incarnation) + 1;
    rows::insert_instance(connection, &Instance { incarnation, ..instance })?;
    let oldest = Count(incarnation.saturating_sub(INSTANCES));
    connection.execute("DELETE FROM instances WHERE incarnation <= ?", [oldest])?;
    Ok(())
}

/// Every row of a query as an entity.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut entities = Vec::new();
    while let Some(row) = rows.next()? {
        entities.push(read(row)?);
    }
    Ok(entities)
}

/// Runs a caller's callback: its panic must not end the writer.
fn tell(callback: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a caller panicked when it was told what became of its batch");
    }
}
