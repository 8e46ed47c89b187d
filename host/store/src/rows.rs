//! Entities as rows. Each table has one list of columns; its entity is bound and read in that order.

mod event;
mod farm;
mod introspection;
mod plugin;
mod request;
mod rule;
mod task;
mod worker;

pub(crate) use event::{INSERT_EVENT, event, put_event};
pub(crate) use farm::{
    SELECT_INSTANCES, SELECT_LIMITS, SELECT_MODE, insert_instance, instance, limit, mode, put_instance,
    put_limit, put_mode,
};
pub(crate) use introspection::{
    FINDINGS, KEPT, PUT_INVENTORY, SELECT_INVENTORY, findings, introspection, put_findings,
    put_introspection, put_inventory,
};
pub(crate) use plugin::{INSERT_VERSION, SELECT_VERSIONS, Sha, plugin, put_plugin, put_version, version};
pub(crate) use request::{put_request, request};
pub(crate) use rule::{INSERT_RULE, SELECT_RULES, put_rule, rule};
pub(crate) use task::{put_task, task};
pub(crate) use worker::{put_worker, worker};

use std::sync::LazyLock;

use grove_domain::id::{InstanceId, IntrospectionId, RuleId, TaskId, Uuid, WorkerId};
use grove_domain::moment::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, Statement, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// A table whose rows are entities with a revision.
pub(crate) struct Table {
    insert: String,
    update: String,
    select: String,
}

pub(crate) static WORKERS: LazyLock<Table> = LazyLock::new(worker::table);
pub(crate) static REQUESTS: LazyLock<Table> = LazyLock::new(request::table);
pub(crate) static TASKS: LazyLock<Table> = LazyLock::new(task::table);
pub(crate) static INTROSPECTIONS: LazyLock<Table> = LazyLock::new(introspection::table);
pub(crate) static PLUGINS: LazyLock<Table> = LazyLock::new(plugin::table);

impl Table {
    /// `written` columns are set by every write, the last of them is the revision; `fixed` ones are set by the first
    /// write only, the first of them is the identity.
    fn new(name: &str, written: &[&str], fixed: &[&str]) -> Self {
        let columns = [written, fixed].concat();
        let (list, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
        let sets: Vec<String> = written.iter().map(|column| format!("{column} = ?")).collect();
        let identity = fixed.first().copied().unwrap_or("id");
        Self {
            insert: format!("INSERT INTO {name} ({list}) VALUES ({marks})"),
            update: format!("UPDATE {name} SET {} WHERE {identity} = ? AND revision = ?", sets.join(", ")),
            select: format!("SELECT {list} FROM {name}"),
        }
    }

    pub(crate) fn insert(&self) -> &str {
        &self.insert
    }

    /// Takes what [`Self::insert`] takes up to the identity, then the revision before.
    pub(crate) fn update(&self) -> &str {
        &self.update
    }

    pub(crate) fn select(&self) -> &str {
        &self.select
    }
}

/// Binds the parameters of a statement one after the other.
pub(crate) struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    bound: usize,
}

impl<'a, 'c> Binder<'a, 'c> {
    pub(crate) fn new(statement: &'a mut Statement<'c>) -> Self {
        Self { statement, bound: 0 }
    }

    fn put(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }

    fn null(&mut self, columns: usize) -> rusqlite::Result<()> {
        (0..columns).try_for_each(|_| self.put(rusqlite::types::Null))
    }

    fn json(&mut self, value: &impl Serialize) -> rusqlite::Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        self.put(text)
    }

    fn json_or_null(&mut self, value: Option<&impl Serialize>) -> rusqlite::Result<()> {
        match value {
            Some(value) => self.json(value),
            None => self.null(1),
        }
    }

    /// Runs the statement; how many rows it wrote.
    pub(crate) fn run(self) -> rusqlite::Result<usize> {
        self.statement.raw_execute()
    }
}

/// Reads the columns of a row one after the other.
pub(crate) struct Cells<'a> {
    row: &'a Row<'a>,
    read: usize,
    table: &'static str,
}

impl<'a> Cells<'a> {
    fn new(row: &'a Row<'a>, table: &'static str) -> Self {
        Self { row, read: 0, table }
    }

    fn take<T: FromSql>(&mut self) -> Result<T, StoreError> {
        let cell = self.row.get_ref(self.read)?;
        let value = T::column_result(cell).map_err(|error| self.wrong(error));
        self.read += 1;
        value
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let cell = self.row.get_ref(self.read)?;
        let text = cell.as_str().map_err(|error| self.wrong(error))?;
        let value = serde_json::from_str(text).map_err(|error| self.wrong(error));
        self.read += 1;
        value
    }

    fn json_or_null<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        if self.row.get_ref(self.read)? == ValueRef::Null {
            self.read += 1;
            return Ok(None);
        }
        self.json().map(Some)
    }

    /// A word of a closed vocabulary.
    fn word<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        self.word_or_null(known)?.ok_or_else(|| self.wrong_at(self.read.saturating_sub(1), "it is empty"))
    }

    fn word_or_null<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
        let Some(word) = self.take::<Option<String>>()? else { return Ok(None) };
        let unknown = || {
            let problem = format!("this version knows no {word:?}");
            self.wrong_at(self.read.saturating_sub(1), problem)
        };
        known(&word).ok_or_else(unknown).map(Some)
    }

    fn wrong(&self, problem: impl ToString) -> StoreError {
        self.wrong_at(self.read, problem)
    }

    /// Names the row by its identity, wherever reading stopped.
    fn wrong_at(&self, column: usize, problem: impl ToString) -> StoreError {
        let statement: &Statement<'_> = self.row.as_ref();
        let column = statement.column_name(column).unwrap_or("?").to_owned();
        let identity = ["id", "seq", "name"].into_iter().find_map(|name| self.row.get::<_, Value>(name).ok());
        let identity = match identity {
            Some(Value::Integer(number)) => number.to_string(),
            Some(Value::Text(name)) => name,
            Some(Value::Blob(bytes)) => match Uuid::from_slice(&bytes) {
                Ok(id) => id.hyphenated().to_string(),
                Err(_) => format!("{bytes:02x?}"),
            },
            other => format!("{other:?}"),
        };
        StoreError::row(format!("{} {identity}", self.table), format!("{column}: {}", problem.to_string()))
    }
}

/// An instant as text.
pub(crate) struct At(pub(crate) Timestamp);

impl At {
    pub(crate) fn text(&self) -> String {
        format!("{:.9}", self.0)
    }

    pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
        text.parse().map_err(|error| format!("{text:?} is no instant: {error}"))
    }
}

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.text())))
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A count. SQLite has 63 bits for it.
pub(crate) struct Count(pub(crate) u64);

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match i64::try_from(self.0) {
            Ok(number) => Ok(ToSqlOutput::Owned(Value::Integer(number))),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
        }
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// An identity as its 16 bytes.
pub(crate) struct Id(pub(crate) Uuid);

impl From<WorkerId> for Id {
    fn from(id: WorkerId) -> Self {
        Self(id.0)
    }
}

impl From<InstanceId> for Id {
    fn from(id: InstanceId) -> Self {
        Self(id.0)
    }
}

impl From<IntrospectionId> for Id {
    fn from(id: IntrospectionId) -> Self {
        Self(id.0)
    }
}

impl From<RuleId> for Id {
    fn from(id: RuleId) -> Self {
        Self(id.0)
    }
}

impl From<TaskId> for Id {
    fn from(id: TaskId) -> Self {
        Self(id.0)
    }
}

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        Uuid::from_slice(bytes).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}
