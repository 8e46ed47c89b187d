//! One transaction: every row of every batch of a group, or nothing.

use grove_domain::change::{Batch, Change};
use grove_domain::event::Event;
use grove_domain::worker::Worker;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension};

use super::{Last, Writer};
use crate::error::{CommitError, StoreError};
use crate::rows::{
    Binder, Count, INSERT_EVENT, INSERT_RULE, INSERT_VERSION, INTROSPECTIONS, Id, PLUGINS, PUT_INVENTORY,
    REQUESTS, Sha, TASKS, Table, WORKERS, put_event, put_findings, put_instance, put_introspection,
    put_inventory, put_limit, put_mode, put_plugin, put_request, put_rule, put_task, put_version, put_worker,
};

/// Why nothing of a group is stored.
pub(super) struct Failed {
    /// Which batch of the group, when it is known.
    pub(super) nth: Option<usize>,
    pub(super) error: CommitError,
}

impl Failed {
    fn all(error: CommitError) -> Self {
        Self { nth: None, error }
    }
}

impl Writer {
    /// Writes these batches as one, or nothing.
    pub(super) fn write<'b>(&mut self, batches: impl Iterator<Item = &'b Batch>) -> Result<(), Failed> {
        let mut batches = batches.peekable();
        if batches.peek().is_none() {
            return Ok(());
        }
        let written = write(&self.connection, self.last, batches);
        if written.is_err() && !self.connection.is_autocommit() {
            // SQLite rolls back by itself on some errors; then there is no transaction any more.
            if let Err(error) = self.connection.execute_batch("ROLLBACK") {
                tracing::error!(%error, "a failed transaction could not be rolled back");
            }
        }
        self.last = written?;
        Ok(())
    }
}

fn write<'b>(
    connection: &Connection,
    last: Last,
    batches: impl Iterator<Item = &'b Batch>,
) -> Result<Last, Failed> {
    let broken = |error: rusqlite::Error| Failed::all(StoreError::from(error).into());
    let mut group = Group::new(connection, last);
    run(connection, "BEGIN IMMEDIATE").map_err(broken)?;
    for (nth, batch) in batches.enumerate() {
        group.batch(batch).map_err(|error| Failed { nth: Some(nth), error })?;
    }
    group.keep_numbers().map_err(broken)?;
    run(connection, "COMMIT").map_err(|error| Failed::all(not_committed(connection, error)))?;
    Ok(group.last)
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

/// A commit is refused where a request holds a worker that does not hold it, a plugin uses what is not installed, or a run
/// is of a worker that is not there: finds out which.
fn not_committed(connection: &Connection, error: rusqlite::Error) -> CommitError {
    if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
        return StoreError::from(error).into();
    }
    let first =
        |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).optional().ok().flatten();
    for (table, what, name, rule) in [
        ("requests", "request", "rowid", "held_worker_holds_request"),
        ("plugins", "plugin", "name", "used_version_is_installed"),
        ("plugin_versions", "plugin", "name", "version_has_plugin"),
        ("introspections", "introspection", "hex(id)", "introspected_worker_is_there"),
        (
            "inventories",
            "the inventory of introspection",
            "hex(introspection)",
            "inventory_has_introspection",
        ),
    ] {
        let wrong = format!("SELECT rowid FROM pragma_foreign_key_check('{table}') LIMIT 1");
        let named = format!("SELECT CAST({name} AS TEXT) FROM {table} WHERE rowid = ({wrong})");
        if let Some(name) = first(&named) {
            return CommitError::Forbidden { what: format!("{what} {name}"), rule: rule.to_owned() };
        }
    }
    StoreError::from(error).into()
}

/// What a group has at hand, and what it has numbered so far.
struct Group<'c> {
    workers: Rows<'c>,
    requests: Rows<'c>,
    tasks: Rows<'c>,
    plugins: Rows<'c>,
    introspections: Rows<'c>,
    inventories: Ready<'c>,
    rules: Ready<'c>,
    versions: Ready<'c>,
    events: Ready<'c>,
    connection: &'c Connection,
    last: Last,
    /// Whether a row that bore a highest number may be gone.
    removed: bool,
}

/// A statement that the group looks up once, when it first needs it.
struct Ready<'c> {
    sql: &'static str,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Ready<'c> {
    fn new(sql: &'static str) -> Self {
        Self { sql, statement: None }
    }

    fn write(
        &mut self,
        connection: &'c Connection,
        bind: impl FnOnce(&mut Binder<'_, 'c>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<usize> {
        let statement = match &mut self.statement {
            Some(statement) => statement,
            none => none.insert(connection.prepare_cached(self.sql)?),
        };
        let mut row = Binder::new(statement);
        bind(&mut row)?;
        row.run()
    }
}

/// The statements that write one table.
struct Rows<'c> {
    insert: Ready<'c>,
    update: Ready<'c>,
    connection: &'c Connection,
}

impl<'c> Rows<'c> {
    fn new(connection: &'c Connection, table: &'static Table) -> Self {
        Self { insert: Ready::new(table.insert()), update: Ready::new(table.update()), connection }
    }

    /// Writes one row over the revision before it.
    fn put(
        &mut self,
        revision: u64,
        bind: impl FnOnce(&mut Binder<'_, 'c>) -> rusqlite::Result<()>,
        what: impl Fn() -> String,
    ) -> Result<(), CommitError> {
        let statement = if revision <= 1 { &mut self.insert } else { &mut self.update };
        one_row(statement.write(self.connection, bind), what)
    }
}

impl<'c> Group<'c> {
    fn new(connection: &'c Connection, last: Last) -> Self {
        Self {
            workers: Rows::new(connection, &WORKERS),
            requests: Rows::new(connection, &REQUESTS),
            tasks: Rows::new(connection, &TASKS),
            plugins: Rows::new(connection, &PLUGINS),
            introspections: Rows::new(connection, &INTROSPECTIONS),
            inventories: Ready::new(PUT_INVENTORY),
            rules: Ready::new(INSERT_RULE),
            versions: Ready::new(INSERT_VERSION),
            events: Ready::new(INSERT_EVENT),
            connection,
            last,
            removed: false,
        }
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), CommitError> {
        batch.changes.iter().try_for_each(|change| self.change(change))?;
        batch.events.iter().try_for_each(|event| self.event(event))
    }

    fn change(&mut self, change: &Change) -> Result<(), CommitError> {
        match change {
            Change::PutWorker(worker) => {
                let what = || format!("worker {} at revision {}", worker.id, worker.revision);
                one_agent(worker)?;
                self.workers.put(worker.revision, |row| put_worker(row, worker), what)
            }
            Change::PutRequest(request) => {
                let what = || format!("request {} at revision {}", request.id, request.revision);
                self.requests.put(request.revision, |row| put_request(row, request), what)?;
                self.last.request = self.last.request.max(request.id.0);
                self.last.place = self.last.place.max(request.place);
                Ok(())
            }
            Change::PutTask(task) => {
                let what = || format!("task {} at revision {}", task.id, task.revision);
                self.tasks.put(task.revision, |row| put_task(row, task), what)
            }
            Change::RemoveWorker(id) => {
                let removed = self.remove("DELETE FROM workers WHERE id = ?", Id::from(*id));
                one_row(removed, || format!("the removal of worker {id}"))
            }
            Change::RemoveRequest(id) => {
                let sql = "DELETE FROM requests WHERE id = ? AND state NOT IN ('waiting', 'in_progress')";
                self.removed = true;
                one_row(self.remove(sql, Count(id.0)), || format!("the removal of request {id}"))
            }
            Change::RemoveTask(id) => {
                let removed =
                    self.remove("DELETE FROM tasks WHERE id = ? AND ended IS NOT NULL", Id::from(*id));
                one_row(removed, || format!("the removal of task {id}"))
            }
            Change::PutPlugin(plugin) => {
                let what = || format!("plugin {} at revision {}", plugin.name, plugin.revision);
                self.plugins.put(plugin.revision, |row| put_plugin(row, plugin), what)
            }
            Change::RemovePlugin(name) => {
                let removed = self.remove("DELETE FROM plugins WHERE name = ?", name);
                one_row(removed, || format!("the removal of plugin {name}"))
            }
            Change::PutPluginVersion(version) => {
                let written = self.versions.write(self.connection, |row| put_version(row, version));
                one_row(written, || format!("version {} of plugin {}", version.label(), version.name))
            }
            Change::RemovePluginVersion(name, digest) => {
                let sql = "DELETE FROM plugin_versions WHERE name = ? AND digest = ?";
                let removed = self
                    .connection
                    .prepare_cached(sql)
                    .and_then(|mut delete| delete.execute(rusqlite::params![name, Sha(*digest)]));
                one_row(removed, || format!("the removal of version {} of plugin {name}", digest.short()))
            }
            Change::PutIntrospection(run) => {
                let what = || format!("introspection {} at revision {}", run.id, run.revision);
                self.introspections.put(run.revision, |row| put_introspection(row, run), what)
            }
            Change::PutInventory(run, kind, inventory) => {
                let bind = |row: &mut Binder<'_, 'c>| put_inventory(row, *run, *kind, inventory);
                let written = self.inventories.write(self.connection, bind);
                one_row(written, || format!("the {} inventory of introspection {run}", kind.name()))
            }
            Change::PutFindings(run, findings) => {
                let written =
                    self.inventories.write(self.connection, |row| put_findings(row, *run, findings));
                one_row(written, || format!("the findings of introspection {run}"))
            }
            Change::PutRule(rule) => {
                let written = self.rules.write(self.connection, |row| put_rule(row, rule));
                one_row(written, || format!("rule {}", rule.id))
            }
            Change::RemoveRule(id) => {
                let removed = self.remove("DELETE FROM rules WHERE id = ?", Id::from(*id));
                one_row(removed, || format!("the removal of rule {id}"))
            }
            Change::PutLimit(limit) => {
                let what = || format!("the limit of {} at revision {}", limit.scope, limit.revision);
                one_row(put_limit(self.connection, limit), what)
            }
            Change::PutMode(mode) => {
                let what = || format!("the farm's mode at revision {}", mode.revision);
                one_row(put_mode(self.connection, mode), what)
            }
            Change::PutInstance(instance) => {
                one_row(put_instance(self.connection, instance), || format!("instance {}", instance.id))
            }
            Change::Stopped => {
                let written = run(self.connection, "UPDATE farm SET stopped = 1");
                one_row(written, || "the stop".to_owned())
            }
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), CommitError> {
        let expected = self.last.event + 1;
        if event.seq != expected {
            return Err(CommitError::Gap { expected, found: event.seq });
        }
        let written = self.events.write(self.connection, |row| put_event(row, event));
        one_row(written, || format!("event {}", event.seq))?;
        self.last.event = expected;
        Ok(())
    }

    fn remove(&self, sql: &str, id: impl rusqlite::ToSql) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute([id])
    }

    /// Numbers are never given twice, also when their rows are gone.
    fn keep_numbers(&self) -> rusqlite::Result<()> {
        if self.removed { self.last.keep(self.connection) } else { Ok(()) }
    }
}

impl Last {
    pub(super) fn keep(self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE farm SET last_request = ?, last_place = ?, last_event = ?";
        let numbers = [Count(self.request), Count(self.place), Count(self.event)];
        connection.prepare_cached(sql)?.execute(numbers).map(drop)
    }
}

/// What a registration says and what the agent offers are stored as one.
fn one_agent(worker: &Worker) -> Result<(), CommitError> {
    if worker.registration.capabilities == *worker.capabilities.agent() {
        return Ok(());
    }
    Err(CommitError::Forbidden {
        what: format!("worker {}", worker.id),
        rule: "agent_capabilities_are_the_registered".to_owned(),
    })
}

/// Exactly one row must have been written.
fn one_row(written: rusqlite::Result<usize>, what: impl Fn() -> String) -> Result<(), CommitError> {
    let error = match written {
        Ok(1) => return Ok(()),
        Ok(_) => return Err(CommitError::Conflict { what: what() }),
        Err(error) => error,
    };
    let rusqlite::Error::SqliteFailure(failure, text) = &error else {
        return match error {
            rusqlite::Error::ToSqlConversionFailure(problem) => {
                Err(StoreError::row(what(), format!("it cannot be stored: {problem}")).into())
            }
            error => Err(StoreError::from(error).into()),
        };
    };
    match failure.extended_code {
        rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID => {
            Err(CommitError::Conflict { what: what() })
        }
        _ if failure.code == ErrorCode::ConstraintViolation => {
            let text = text.as_deref().unwrap_or_default();
            Err(CommitError::Forbidden { what: what(), rule: rule(text) })
        }
        _ => Err(StoreError::from(error).into()),
    }
}

/// The rule in SQLite's words: `CHECK constraint failed: name` or `UNIQUE constraint failed: table.column`.
fn rule(text: &str) -> String {
    match text.split_once(" constraint failed: ") {
        Some(("UNIQUE", columns)) => format!("{columns} is unique"),
        Some((_, rule)) => rule.to_owned(),
        None => text.to_owned(),
    }
}
