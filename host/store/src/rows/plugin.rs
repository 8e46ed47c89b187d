//! Plugins and their versions as rows.

use grove_domain::plugin::{Digest, Origin, Plugin, PluginKind, PluginVersion, Probation};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::{At, Binder, Cells, Count, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] = &[
    "enabled",
    "active",
    "previous",
    "since",
    "probation_until",
    "probation_outcomes",
    "probation_failures",
    "trouble",
    "revision",
];
const FIXED: &[&str] = &["name", "kind"];

/// Columns of a version, in the order of its table.
pub(crate) const INSERT_VERSION: &str = "INSERT INTO plugin_versions VALUES (?, ?, ?, ?, ?, ?, ?)";
/// Every version.
pub(crate) const SELECT_VERSIONS: &str = "SELECT * FROM plugin_versions ORDER BY name, digest";

pub(super) fn table() -> Table {
    Table::new("plugins", WRITTEN, FIXED)
}

/// Binds the insert of a first revision, or the update of a later one.
pub(crate) fn put_plugin(row: &mut Binder<'_, '_>, plugin: &Plugin) -> rusqlite::Result<()> {
    row.put(plugin.enabled)?;
    row.put(plugin.active.map(Sha))?;
    row.put(plugin.previous.map(Sha))?;
    row.put(At(plugin.since))?;
    row.put(plugin.probation.map(|probation| At(probation.until)))?;
    row.put(plugin.probation.map(|probation| probation.outcomes))?;
    row.put(plugin.probation.map(|probation| probation.failures))?;
    row.put(&plugin.trouble)?;
    row.put(Count(plugin.revision))?;
    row.put(&plugin.name)?;
    if plugin.revision > 1 {
        return row.put(Count(plugin.revision - 1));
    }
    row.put(plugin.kind.name())
}

/// Reads a row of the table's select.
pub(crate) fn plugin(row: &Row<'_>) -> Result<Plugin, StoreError> {
    let mut cells = Cells::new(row, "plugin");
    let enabled = cells.take()?;
    let active = cells.take::<Option<Sha>>()?.map(|sha| sha.0);
    let previous = cells.take::<Option<Sha>>()?.map(|sha| sha.0);
    let since = cells.take::<At>()?.0;
    let probation = probation(&mut cells)?;
    Ok(Plugin {
        enabled,
        active,
        previous,
        since,
        probation,
        trouble: cells.take()?,
        revision: cells.take::<Count>()?.0,
        name: cells.take()?,
        kind: cells.word(PluginKind::from_name)?,
    })
}

fn probation(cells: &mut Cells<'_>) -> Result<Option<Probation>, StoreError> {
    let until = cells.take::<Option<At>>()?;
    let (outcomes, failures) = (cells.take::<Option<u32>>()?, cells.take::<Option<u32>>()?);
    let counts = outcomes.zip(failures);
    Ok(until.zip(counts).map(|(until, (outcomes, failures))| Probation {
        until: until.0,
        outcomes,
        failures,
    }))
}

/// Binds [`INSERT_VERSION`].
pub(crate) fn put_version(row: &mut Binder<'_, '_>, version: &PluginVersion) -> rusqlite::Result<()> {
    row.put(&version.name)?;
    row.put(Sha(version.digest))?;
    row.put(version.kind.name())?;
    row.put(&version.version)?;
    row.put(&version.manifest)?;
    row.put(version.origin.name())?;
    row.put(At(version.installed))
}

/// Reads a row of [`SELECT_VERSIONS`].
pub(crate) fn version(row: &Row<'_>) -> Result<PluginVersion, StoreError> {
    let mut cells = Cells::new(row, "plugin version");
    Ok(PluginVersion {
        name: cells.take()?,
        digest: cells.take::<Sha>()?.0,
        kind: cells.word(PluginKind::from_name)?,
        version: cells.take()?,
        manifest: cells.take()?,
        origin: cells.word(Origin::from_name)?,
        installed: cells.take::<At>()?.0,
    })
}

/// A digest as its 32 bytes.
pub(crate) struct Sha(pub(crate) Digest);

impl ToSql for Sha {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Sha {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let digest = bytes.try_into().map_err(|_| FromSqlError::InvalidBlobSize {
            expected_size: Digest::BYTES,
            blob_size: bytes.len(),
        })?;
        Ok(Self(Digest::new(digest)))
    }
}
