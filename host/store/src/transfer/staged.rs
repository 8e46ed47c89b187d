//! An export, read into a store of its own beside the live one, and looked through before anything is replaced.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grove_domain::moment::Timestamp;
use grove_domain::plugin::Digest;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Statement};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::admission::{self, Admission};
use super::cell::shown;
use super::compare::{self, TableChange};
use super::lines::Lines;
use super::settle::{self, Settled};
use super::tables::{Table, quoted, tables};
use super::{Components, Contents, FORMAT, Header, ImportError, MissingComponent, Origin, cell, check};
use crate::error::StoreError;
use crate::open::{DATABASE, private_file};
use crate::schema;

/// What folders beside the store are called in which exports are read.
const FOLDER: &str = "import.";

/// Removes what imports left in this folder that were killed.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// An export that was read to its end, is whole and sound, and can take the place of a farm. Its files go with it.
#[derive(Debug)]
pub struct Staged {
    folder: Folder,
    header: Header,
    contents: Contents,
    settled: Settled,
    components: Vec<Digest>,
    origin: Origin,
}

impl Staged {
    pub(super) fn new(folder: Folder, header: Header, settled: Settled, origin: Origin) -> Self {
        Self { folder, header, contents: Contents::default(), settled, components: Vec::new(), origin }
    }

    /// Reads an export into a folder beside the store that is in this one. With `components` its components are put down
    /// there, too; without, they are only looked at.
    ///
    /// What was going on in it is ended, as of `now`: see [`Settled`]. What `admission` does not admit is refused.
    ///
    /// # Errors
    /// The export is not whole, not sound, or too new; it cannot be put down.
    pub fn read(
        beside: &Path,
        from: &mut dyn Read,
        components: bool,
        admission: &dyn Admission,
        now: Timestamp,
    ) -> Result<Self, ImportError> {
        let folder = Folder::new(beside).map_err(ImportError::Put)?;
        let mut lines = Lines::new(from);
        lines.next()?;
        let header = header(&lines)?;
        let mut connection = database(&folder.0, header.schema).map_err(|error| match error {
            Problem::Io(error) => ImportError::Put(error),
            Problem::Sqlite(error) => error.into(),
        })?;
        let mut reading = Reading::new(&connection, &folder.0, components)?;
        connection.execute_batch("BEGIN")?;
        let contents = loop {
            lines.next()?;
            if let Some(contents) = reading.line(&lines)? {
                break contents;
            }
        };
        lines.done()?;
        let (first_lines, components) = reading.done(&connection)?;
        connection.execute_batch("COMMIT")?;
        schema::migrate(&mut connection, header.schema)?;
        check::sound(&connection, &first_lines, admission)?;
        let settled = settle::settle(&mut connection, Origin::Export, now)?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(Self { contents, components, ..Self::new(folder, header, settled, Origin::Export) })
    }

    /// What it begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What is in it.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// What was going on in it, and was ended.
    pub fn settled(&self) -> Settled {
        self.settled
    }

    /// Puts its components where those of the farm are kept. Those that are there already stay as they are.
    ///
    /// # Errors
    /// One cannot be read or kept.
    pub fn keep_components(&self, shelf: &dyn Components) -> io::Result<()> {
        self.components
            .iter()
            .try_for_each(|digest| shelf.keep(digest, &mut File::open(self.folder.component(digest))?))
    }

    pub(crate) fn compare(&self, database: &Path) -> Result<Vec<TableChange>, StoreError> {
        compare::compare(database, &self.database())
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.database()
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }
}

/// A folder that goes with this.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(beside: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = beside.join(format!("{FOLDER}{}.{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    fn component(&self, digest: &Digest) -> PathBuf {
        component(&self.0, digest)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.0.display(), %error, "what an import left could not be removed");
        }
    }
}

fn component(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{digest}.wasm"))
}

fn header(lines: &Lines<'_>) -> Result<Header, ImportError> {
    let header: Header = serde_json::from_slice(lines.line())
        .map_err(|error| lines.wrong(format!("this is no export of a farm: {error}")))?;
    if header.grove_export != FORMAT {
        let found = header.grove_export;
        return Err(lines.wrong(format!("its format is {found}, and this version knows {FORMAT}")));
    }
    let known = schema::newest();
    if header.schema > known {
        return Err(ImportError::Newer { version: shown(&header.version), found: header.schema, known });
    }
    if header.schema == 0 {
        return Err(lines.wrong("there is no schema 0"));
    }
    Ok(header)
}

enum Problem {
    Io(io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A new store of this schema, with no rows at all. If it breaks there is nothing to lose.
fn database(folder: &Path, schema: u32) -> Result<Connection, Problem> {
    let path = folder.join(DATABASE);
    private_file(&path).map_err(Problem::Io)?;
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = FILE; PRAGMA cache_size = -32000; PRAGMA foreign_keys = ON;",
    )?;
    schema::migrate_to(&mut connection, 0, schema)?;
    // More tasks may run in it than a limit that was set later would let begin.
    super::quiet(&connection)?;
    Ok(connection)
}

/// What has been read so far.
struct Reading<'c> {
    tables: Vec<Table>,
    inserts: Vec<Statement<'c>>,
    folder: &'c Path,
    /// Whether components are put down.
    keep: bool,
    rows: Rows,
    component: Option<Component>,
    components: Vec<Digest>,
}

/// Where among the rows the reader is.
#[derive(Default)]
struct Rows {
    /// The table.
    at: usize,
    /// Rows of it.
    count: u64,
    /// The primary key of the last one.
    key: Vec<Value>,
    counts: BTreeMap<String, u64>,
    first_lines: BTreeMap<String, u64>,
    done: bool,
}

/// A component that is being read.
struct Component {
    name: String,
    next: u64,
    sha: Sha256,
    file: Option<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    table: Option<Cow<'a, str>>,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
    component: Option<String>,
    piece: Option<u64>,
    last: Option<bool>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    end: Option<bool>,
    rows: Option<BTreeMap<String, u64>>,
    components: Option<u64>,
    missing: Option<Vec<MissingComponent>>,
    sha256: Option<String>,
}

impl<'c> Reading<'c> {
    fn new(connection: &'c Connection, folder: &'c Path, keep: bool) -> Result<Self, ImportError> {
        let tables = tables(connection)?;
        let mut inserts = Vec::new();
        for table in &tables {
            // What a new store begins with.
            connection.execute(&format!("DELETE FROM {}", quoted(&table.name)), [])?;
            inserts.push(connection.prepare(&table.insert())?);
        }
        let (rows, component, components) = (Rows::default(), None, Vec::new());
        Ok(Self { tables, inserts, folder, keep, rows, component, components })
    }

    /// Takes in a line; at the last one, what was in the export.
    fn line(&mut self, lines: &Lines<'_>) -> Result<Option<Contents>, ImportError> {
        let line: Line<'_> = serde_json::from_slice(lines.line()).map_err(|error| {
            lines.wrong(format!("this is no line of an export: {}", shown(&error.to_string())))
        })?;
        let wrong = |problem: String| lines.wrong(problem);
        match line {
            Line { table: Some(table), row: Some(row), component: None, data: None, end: None, .. } => {
                self.row(&table, row, lines.number).map(|()| None)
            }
            Line {
                component: Some(name),
                piece: Some(piece),
                last: Some(last),
                data: Some(data),
                table: None,
                row: None,
                end: None,
                ..
            } => {
                self.rows.done = true;
                let data =
                    STANDARD.decode(data.as_bytes()).map_err(|error| wrong(format!("data: {error}")))?;
                self.piece(name, piece, last, &data).map(|()| None).map_err(|problem| match problem {
                    Broken::File(problem) => wrong(problem),
                    Broken::Disk(error) => ImportError::Put(error),
                })
            }
            Line {
                end: Some(true),
                rows: Some(rows),
                components: Some(components),
                missing,
                sha256: Some(sha256),
                table: None,
                row: None,
                component: None,
                ..
            } => {
                let contents = Contents { rows, components, missing: missing.unwrap_or_default() };
                self.trailer(&contents).map_err(wrong)?;
                if sha256 != lines.digest() {
                    return Err(
                        lines.wrong("its digest is not that of the lines before it: the file was changed")
                    );
                }
                Ok(Some(contents))
            }
            _ => Err(lines.wrong("this is neither a row, nor a component, nor the end of an export")),
        }
    }

    fn row(&mut self, name: &str, row: &RawValue, line: u64) -> Result<(), ImportError> {
        let wrong = |problem: String| ImportError::file(line, problem);
        let Some(at) = self.tables.iter().position(|table| table.name == name) else {
            return Err(wrong(format!("there is no table {:?}", shown(name))));
        };
        if self.rows.done || at < self.rows.at {
            return Err(wrong(format!("rows of {name} come too late")));
        }
        let Row(cells) = serde_json::from_str(row.get())
            .map_err(|error| wrong(format!("{name}: {}", shown(&error.to_string()))))?;
        let (Some(table), Some(insert)) = (self.tables.get(at), self.inserts.get_mut(at)) else {
            return Err(wrong(format!("there is no table {:?}", shown(name))));
        };
        let values = values(table, &cells).map_err(|problem| wrong(format!("{name}: {problem}")))?;
        let key: Vec<Value> = table.key.iter().filter_map(|&at| values.get(at).cloned()).collect();
        if at != self.rows.at || !self.rows.first_lines.contains_key(name) {
            self.rows.enter(at, name, line);
        } else if !precedes(&self.rows.key, &key) {
            return Err(wrong(format!("{name}: this row does not follow on the one before it")));
        }
        self.rows.key = key;
        self.rows.count += 1;
        if let Some(count) = self.rows.counts.get_mut(name) {
            *count += 1;
        }
        for (nth, value) in values.into_iter().enumerate() {
            insert.raw_bind_parameter(nth + 1, value)?;
        }
        insert.raw_execute().map(drop).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                wrong(format!("{name}: {error}"))
            }
            _ => error.into(),
        })
    }

    fn piece(&mut self, name: String, piece: u64, last: bool, data: &[u8]) -> Result<(), Broken> {
        let digest: Digest =
            name.parse().map_err(|_| Broken::File(format!("{:?} is no digest", shown(&name))))?;
        let current = match &mut self.component {
            Some(current) if current.name == name && current.next == piece => current,
            None if piece == 0 => {
                if self.components.last().is_some_and(|before| *before >= digest) {
                    return Err(Broken::File(format!("component {} comes too late", digest.short())));
                }
                let file = match self.keep {
                    true => Some(private_file(&component(self.folder, &digest)).map_err(Broken::Disk)?),
                    false => None,
                };
                self.component.insert(Component { name, next: 0, sha: Sha256::new(), file })
            }
            _ => {
                return Err(Broken::File(format!(
                    "piece {piece} of component {} is not the next",
                    digest.short()
                )));
            }
        };
        current.next += 1;
        current.sha.update(data);
        if let Some(file) = &mut current.file {
            file.write_all(data).map_err(Broken::Disk)?;
        }
        if last {
            let found = Digest::new(current.sha.clone().finalize().into());
            self.component = None;
            if found != digest {
                let problem = format!("component {} is not what its digest says", digest.short());
                return Err(Broken::File(problem));
            }
            self.components.push(digest);
        }
        Ok(())
    }

    fn trailer(&self, contents: &Contents) -> Result<(), String> {
        if let Some(component) = &self.component {
            return Err(format!("component {} has no end", shown(&component.name)));
        }
        for table in &self.tables {
            let said = contents.rows.get(&table.name).copied();
            let read = self.rows.counts.get(&table.name).copied().unwrap_or_default();
            if said != Some(read) {
                let said = said.map_or("nothing".to_owned(), |said| said.to_string());
                return Err(format!("{read} rows of {} were read, and it says {said}", table.name));
            }
        }
        if let Some(unknown) =
            contents.rows.keys().find(|name| self.tables.iter().all(|table| table.name != **name))
        {
            return Err(format!("there is no table {:?}", shown(unknown)));
        }
        let read = u64::try_from(self.components.len()).unwrap_or(u64::MAX);
        if contents.components != read {
            return Err(format!("{read} components were read, and it says {}", contents.components));
        }
        if self.rows.counts.get(super::FARM) != Some(&1) {
            return Err("the row of the farm itself is missing".to_owned());
        }
        Ok(())
    }

    /// Every row refers to what is there. Gives the line of each table's first row, and the components.
    fn done(self, connection: &Connection) -> Result<(BTreeMap<String, u64>, Vec<Digest>), ImportError> {
        let Self { tables, rows, components, .. } = self;
        check::references(connection, &tables, &rows.first_lines)?;
        Ok((rows.first_lines, components))
    }
}

/// What is wrong with a component.
enum Broken {
    File(String),
    Disk(io::Error),
}

impl Rows {
    /// Goes on to another table.
    fn enter(&mut self, at: usize, name: &str, line: u64) {
        self.at = at;
        self.count = 0;
        self.counts.insert(name.to_owned(), 0);
        self.first_lines.insert(name.to_owned(), line);
    }
}

/// The values of a row in the order of its columns: all of them, each once, and no other.
fn values(table: &Table, cells: &[(Cow<'_, str>, &RawValue)]) -> Result<Vec<Value>, String> {
    let column = |name: &str| table.columns.iter().any(|column| column.name == *name);
    if let Some((unknown, _)) = cells.iter().find(|(name, _)| !column(name)) {
        return Err(format!("there is no column {:?}", shown(unknown)));
    }
    let mut values = Vec::new();
    for (nth, column) in table.columns.iter().enumerate() {
        let in_place = cells.get(nth).filter(|(name, _)| *name == column.name);
        let found = in_place.or_else(|| cells.iter().find(|(name, _)| *name == column.name));
        let (_, raw) = found.ok_or_else(|| format!("column {} is missing", column.name))?;
        let value = cell::read(raw, column.kind).and_then(counted);
        values.push(value.map_err(|problem| format!("{}: {problem}", column.name))?);
    }
    if cells.len() > values.len() {
        return Err("a column is given twice".to_owned());
    }
    Ok(values)
}

/// A number from which the farm can go on counting.
fn counted(value: Value) -> Result<Value, String> {
    match value {
        Value::Integer(number) if number.unsigned_abs() > admission::MOST.unsigned_abs() => {
            Err(format!("{number} is too large: a farm counts to {}", admission::MOST))
        }
        value => Ok(value),
    }
}

/// Whether SQLite orders these keys so.
fn precedes(before: &[Value], after: &[Value]) -> bool {
    for (before, after) in before.iter().zip(after) {
        let order = match (before, after) {
            (Value::Integer(before), Value::Integer(after)) => before.cmp(after),
            (Value::Text(before), Value::Text(after)) => before.cmp(after),
            (Value::Blob(before), Value::Blob(after)) => before.cmp(after),
            // Whatever else there may be is its constraint's to refuse.
            _ => return true,
        };
        if order.is_ne() {
            return order.is_lt();
        }
    }
    false
}

/// The cells of a row, in order.
struct Row<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cells;

        impl<'de> Visitor<'de> for Cells {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Row<'de>, M::Error> {
                let mut cells = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    cells.push((name.0, map.next_value()?));
                }
                Ok(Row(cells))
            }
        }

        deserializer.deserialize_map(Cells)
    }
}

/// A name that is borrowed where it can be.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
