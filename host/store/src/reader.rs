//! Reads, on connections of their own: they see what is committed and never wait for writes.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use grove_domain::event::{Event, Subject};
use grove_domain::history::{EventQuery, IntrospectionQuery, TaskQuery};
use grove_domain::id::{IntrospectionId, TaskId};
use grove_domain::introspection::{Findings, Introspection, Kind, State};
use grove_domain::task::{Phase, Task, TaskKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, ToSql, params, params_from_iter};

use crate::damage::Damage;
use crate::error::StoreError;
use crate::rows::{self, Count, FINDINGS, INTROSPECTIONS, Id, SELECT_INVENTORY, TASKS};

/// Most rows of one answer, whatever is asked for.
pub const MAX_PAGE: usize = 10_000;

/// A bounded pool of read-only connections.
pub(crate) struct Readers {
    database: PathBuf,
    most: usize,
    damage: Damage,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
}

impl Readers {
    pub(crate) fn new(database: &Path, most: usize, damage: Damage) -> Self {
        let database = database.to_owned();
        Self { database, most: most.max(1), damage, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// The file that is read.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Tasks, newest first.
    pub(crate) fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>, StoreError> {
        let mut list = List::new(TASKS.select());
        list.only("worker =", query.worker.map(Id::from));
        list.only("request =", query.request.map(|id| Count(id.0)));
        list.only("kind =", query.kind.map(TaskKind::name));
        list.only("phase =", query.phase.map(Phase::name));
        list.only("id <", query.before.map(Id::from));
        self.with(|connection| list.read(connection, "id DESC", query.limit, rows::task))
    }

    pub(crate) fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let mut list = List::new(TASKS.select());
        list.only("id =", Some(Id::from(id)));
        self.with(|connection| list.read(connection, "id", 1, rows::task)).map(|mut tasks| tasks.pop())
    }

    /// Runs of introspection, newest first.
    pub(crate) fn introspections(
        &self,
        query: &IntrospectionQuery,
    ) -> Result<Vec<Introspection>, StoreError> {
        let mut list = List::new(INTROSPECTIONS.select());
        list.only("worker =", query.worker.map(Id::from));
        list.only("state =", query.state.map(State::name));
        list.only("id <", query.before.map(Id::from));
        self.with(|connection| list.read(connection, "id DESC", query.limit, rows::introspection))
    }

    pub(crate) fn introspection(&self, id: IntrospectionId) -> Result<Option<Introspection>, StoreError> {
        let mut list = List::new(INTROSPECTIONS.select());
        list.only("id =", Some(Id::from(id)));
        self.with(|connection| list.read(connection, "id", 1, rows::introspection)).map(|mut runs| runs.pop())
    }

    pub(crate) fn inventory(&self, id: IntrospectionId, kind: Kind) -> Result<Option<String>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(SELECT_INVENTORY)?;
            Ok(select.query_row(params![Id::from(id), kind.name()], |row| row.get(0)).optional()?)
        })
    }

    pub(crate) fn findings(&self, id: IntrospectionId) -> Result<Option<Findings>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(SELECT_INVENTORY)?;
            let mut rows = select.query(params![Id::from(id), FINDINGS])?;
            rows.next()?.map(rows::findings).transpose()
        })
    }

    /// Events, oldest first unless the newest are asked for.
    pub(crate) fn events(&self, query: &EventQuery) -> Result<Vec<Event>, StoreError> {
        let mut list = List::new("SELECT * FROM events");
        list.only("subject =", query.subject.as_ref().map(Subject::to_string));
        list.only("kind =", query.kind.clone());
        list.only("seq >", Some(Count(query.after)));
        list.only("seq <", query.before.map(Count));
        let order = if query.newest_first { "seq DESC" } else { "seq" };
        self.with(|connection| list.read(connection, order, query.limit, rows::event))
    }

    /// Lends a connection; it comes back only when it is sound.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut pool = self.lock();
        while pool.lent >= self.most {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.lent += 1;
        let idle = pool.idle.pop();
        drop(pool);
        let lent = Lent(self);
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.database)?,
        };
        let answer = read(&connection).inspect_err(|error| self.damage.meet(error))?;
        self.lock().idle.push(connection);
        drop(lent);
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads.
pub(crate) fn connect(database: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    // The writer holds locks that readers meet for moments only, when the log starts over.
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A place in the pool; given back also when the read fails or panics.
struct Lent<'a>(&'a Readers);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.lock().lent -= 1;
        self.0.returned.notify_one();
    }
}

/// A select in the making.
struct List {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl List {
    fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    fn only(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.sql += if self.values.is_empty() { " WHERE " } else { " AND " };
            self.sql += condition;
            self.sql += " ?";
            self.values.push(Box::new(value));
        }
    }

    fn read<T>(
        self,
        connection: &Connection,
        order: &str,
        limit: usize,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let sql = format!("{} ORDER BY {order} LIMIT {}", self.sql, limit.min(MAX_PAGE));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&self.values))?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(read(row)?);
        }
        Ok(page)
    }
}
