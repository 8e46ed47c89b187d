//! A farm, written from a snapshot.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grove_domain::plugin::Digest;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::lines::Writer;
use super::tables::{Table, tables};
use super::{About, Components, Contents, ExportError, FORMAT, Header, MissingComponent, PIECE, cell};
use crate::error::StoreError;
use crate::schema;

/// A snapshot of a farm, on a connection of its own: what is committed later is not in it. Nobody waits for it; but while
/// it is held, what is committed later stays in the write-ahead log, which grows by that much.
#[derive(Debug)]
pub struct Export {
    pub(super) connection: Connection,
    pub(super) schema: u32,
    pub(super) epoch: u64,
}

impl Export {
    /// Takes the snapshot of a database of this or an older version, open or not.
    ///
    /// # Errors
    /// It cannot be read, or is none of ours.
    pub fn open(database: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(database, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        connection.execute_batch("BEGIN")?;
        let (application, found) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        let known = u32::try_from(found).ok().filter(|&found| found > 0 && found <= schema::newest());
        let Some(schema) = known.filter(|_| application == i64::from(schema::APPLICATION)) else {
            return Err(StoreError::Other(format!("it is no store of this version (its schema is {found})")));
        };
        // Also what begins the snapshot.
        let epoch = number("SELECT epoch FROM farm")?;
        Ok(Self { connection, schema, epoch: u64::try_from(epoch).unwrap_or(0) })
    }

    /// Writes it to its end. Components that are not there are left out, and told in its last line.
    ///
    /// # Errors
    /// It breaks off; what was written is no export then.
    pub fn write(
        &self,
        about: &About,
        components: &dyn Components,
        out: &mut dyn Write,
    ) -> Result<Contents, ExportError> {
        let mut out = Writer::new(out);
        let header = Header {
            grove_export: FORMAT,
            schema: self.schema,
            created: about.created.to_string(),
            version: about.version.clone(),
            epoch: self.epoch,
        };
        line(&mut out, "header", &header)?;
        let mut contents = Contents::default();
        let tables = tables(&self.connection)?;
        for table in &tables {
            contents.rows.insert(table.name.clone(), self.rows(table, &mut out)?);
        }
        for (digest, versions) in self::components(&self.connection)? {
            match components.open(&digest)? {
                Some(mut component) => {
                    pieces(&digest, &mut *component, &mut out)?;
                    contents.components += 1;
                }
                None => contents.missing.extend(versions),
            }
        }
        let sha256 = out.digest();
        let Contents { rows, components, missing } = &contents;
        line(&mut out, "trailer", &Trailer { end: true, rows, components: *components, missing, sha256 })?;
        out.flush()?;
        Ok(contents)
    }

    /// The versions whose components are not there.
    ///
    /// # Errors
    /// The store or a component cannot be read.
    pub fn missing(&self, components: &dyn Components) -> Result<Vec<MissingComponent>, ExportError> {
        let mut missing = Vec::new();
        for (digest, versions) in self::components(&self.connection)? {
            if components.open(&digest)?.is_none() {
                missing.extend(versions);
            }
        }
        Ok(missing)
    }

    fn rows(&self, table: &Table, out: &mut Writer<'_>) -> Result<u64, ExportError> {
        let mut select = self.connection.prepare(&table.select("main"))?;
        let mut rows = select.query([])?;
        let mut before = Vec::new();
        let wrong = |problem| ExportError::Store(StoreError::row(&table.name, problem));
        before.extend_from_slice(b"{\"table\":");
        cell::quote(&table.name, &mut before).map_err(wrong)?;
        before.extend_from_slice(b",\"row\":{");
        let mut names = Vec::new();
        for column in &table.columns {
            let mut name = Vec::new();
            cell::quote(&column.name, &mut name).map_err(wrong)?;
            name.push(b':');
            names.push(name);
        }
        let mut count = 0;
        while let Some(row) = rows.next()? {
            out.line.extend_from_slice(&before);
            for (nth, name) in names.iter().enumerate() {
                if nth > 0 {
                    out.line.push(b',');
                }
                out.line.extend_from_slice(name);
                cell::write(row.get_ref(nth)?, &mut out.line).map_err(wrong)?;
            }
            out.line.extend_from_slice(b"}}");
            out.end(&table.name)?;
            count += 1;
        }
        Ok(count)
    }
}

/// The components that rows name, each with the versions that it is of.
pub(super) fn components(
    connection: &Connection,
) -> Result<BTreeMap<Digest, Vec<MissingComponent>>, StoreError> {
    let mut components: BTreeMap<Digest, Vec<MissingComponent>> = BTreeMap::new();
    if !tables(connection)?.iter().any(|table| table.name == "plugin_versions") {
        return Ok(components);
    }
    let sql = "SELECT digest, name, version FROM plugin_versions ORDER BY digest, name";
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let digest = Digest::new(row.get(0)?);
        let (plugin, version) = (row.get(1)?, row.get(2)?);
        let version = MissingComponent { plugin, version, digest: digest.to_string() };
        components.entry(digest).or_default().push(version);
    }
    Ok(components)
}

/// Writes a component a piece at a time.
fn pieces(digest: &Digest, component: &mut dyn Read, out: &mut Writer<'_>) -> Result<(), ExportError> {
    let name = digest.to_string();
    let (mut piece, mut ahead) = (read_piece(component)?, read_piece(component)?);
    let mut nth = 0;
    loop {
        let data = STANDARD.encode(&piece);
        let last = ahead.is_empty();
        line(out, "component", &Piece { component: &name, piece: nth, last, data: &data })?;
        if last {
            return Ok(());
        }
        nth += 1;
        piece = std::mem::replace(&mut ahead, read_piece(component)?);
    }
}

fn read_piece(component: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    component.take(u64::try_from(PIECE).unwrap_or(u64::MAX)).read_to_end(&mut piece)?;
    Ok(piece)
}

fn line(out: &mut Writer<'_>, what: &str, value: &impl Serialize) -> Result<(), ExportError> {
    serde_json::to_writer(&mut out.line, value).map_err(std::io::Error::from)?;
    out.end(what)
}

#[derive(Serialize)]
struct Piece<'a> {
    component: &'a str,
    piece: u64,
    last: bool,
    data: &'a str,
}

#[derive(Serialize)]
struct Trailer<'a> {
    end: bool,
    rows: &'a BTreeMap<String, u64>,
    components: u64,
    missing: &'a [MissingComponent],
    sha256: String,
}
