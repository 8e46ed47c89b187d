//! The tables, and how an older store becomes a newer one.
//!
//! Instants are RFC 3339 text in UTC with nine decimals: exact over the whole range of instants, readable in any SQLite
//! shell, and in the order of time for the years 0 to 9999. Identities of workers and tasks are 16 bytes, digests 32.
//!
//! The constraints restate what must never be (named, because their names are what a refusal shows). That a request
//! holds only a worker that holds it, too, and that a plugin uses only what is installed, are foreign keys checked at the
//! end of each transaction.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours (`PRAGMA application_id`): "Grov".
pub(crate) const APPLICATION: i32 = 0x4772_6f76;

/// `MIGRATIONS[n]` leads from schema n to n + 1. Released entries never change.
const MIGRATIONS: &[&str] = &[FIRST, PLUGINS, TASKS, INTROSPECTIONS, HOLDING];

/// The schema that this version writes.
pub(crate) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Brings the database from schema `from` to the newest, or leaves it as it was.
pub(crate) fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    migrate_to(connection, from, newest())
}

/// Brings the database from schema `from` to schema `to`, or leaves it as it was. A table that is made anew is dropped on
/// the way: what refers to it must not be looked at until the other one has its name.
pub(crate) fn migrate_to(connection: &mut Connection, from: u32, to: u32) -> rusqlite::Result<()> {
    let checked: bool = connection.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    let migrated = migrate_unchecked(connection, from, to, checked);
    connection.pragma_update(None, "foreign_keys", checked)?;
    migrated
}

fn migrate_unchecked(connection: &mut Connection, from: u32, to: u32, checked: bool) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let number = |version| usize::try_from(version).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().take(number(to)).skip(number(from)) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", to)?;
    if checked && transaction.prepare("PRAGMA foreign_key_check")?.exists([])? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY);
        let text = "a reference leads nowhere after the migration".to_owned();
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    transaction.commit()
}

const FIRST: &str = "
CREATE TABLE farm (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    epoch        INTEGER NOT NULL, -- counts loads
    clean        INTEGER NOT NULL, -- whether the last process closed the store
    -- the highest ever given among rows that were removed
    last_request INTEGER NOT NULL,
    last_place   INTEGER NOT NULL,
    last_event   INTEGER NOT NULL
) STRICT;
INSERT INTO farm VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE workers (
    state             TEXT NOT NULL,
    since             TEXT NOT NULL,
    reason            TEXT,
    driver            TEXT NOT NULL,
    driver_config     TEXT NOT NULL, -- JSON, as registered
    agent             TEXT NOT NULL, -- JSON: capabilities by source
    introspected      TEXT NOT NULL,
    admin             TEXT NOT NULL,
    groups            TEXT,          -- JSON list
    host              TEXT,
    notes             TEXT,
    health_ok         INTEGER NOT NULL,
    health_checked_at TEXT,
    health_note       TEXT NOT NULL,
    access            TEXT,          -- JSON
    occupied_by       INTEGER,       -- request
    occupation_opened INTEGER,
    task              BLOB,
    task_kind         TEXT,
    relapses          INTEGER NOT NULL,
    attempts          INTEGER NOT NULL,
    recheck_at        TEXT,
    quarantined       INTEGER NOT NULL,
    generation        INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    id                BLOB PRIMARY KEY,

    CONSTRAINT worker_state CHECK
        (state IN ('maintenance', 'prepare', 'idle', 'running', 'busy', 'failed')),
    CONSTRAINT running_worker_has_occupation CHECK ((state = 'running') = (occupied_by IS NOT NULL)),
    CONSTRAINT occupation_is_whole CHECK ((occupied_by IS NULL) = (occupation_opened IS NULL)),
    CONSTRAINT failed_worker_has_reason CHECK (state <> 'failed' OR reason IS NOT NULL),
    CONSTRAINT only_failed_worker_is_rechecked CHECK (state = 'failed' OR recheck_at IS NULL),
    CONSTRAINT live_task_is_whole CHECK ((task IS NULL) = (task_kind IS NULL)),
    CONSTRAINT task_kind CHECK (task_kind IN ('prepare', 'maintain', 'open', 'check', 'recheck')),
    CONSTRAINT worker_id CHECK (length(id) = 16),
    CONSTRAINT worker_counts CHECK (generation >= 1 AND revision >= 1 AND relapses >= 0 AND attempts >= 0)
) STRICT;
CREATE UNIQUE INDEX worker_holds_request ON workers (id, occupied_by);

CREATE TABLE requests (
    state              TEXT NOT NULL,
    since              TEXT NOT NULL,
    priority           INTEGER NOT NULL,
    place              INTEGER NOT NULL,
    valid_after        TEXT NOT NULL,
    valid_after_offset INTEGER NOT NULL, -- seconds east of UTC, as its author wrote it
    deadline           TEXT NOT NULL,
    deadline_offset    INTEGER NOT NULL,
    reserved           BLOB,             -- worker
    reason             TEXT,
    job_worker         BLOB,
    job_opened         TEXT,
    job_timeout        TEXT,
    job_prolongs       INTEGER,
    job_access         TEXT,             -- JSON
    job_ended          TEXT,
    revision           INTEGER NOT NULL,
    id                 INTEGER PRIMARY KEY,
    created            TEXT NOT NULL,
    spec               TEXT NOT NULL,    -- JSON
    holds              BLOB AS (CASE WHEN job_ended IS NULL THEN coalesce(job_worker, reserved) END) VIRTUAL,

    CONSTRAINT request_state CHECK
        (state IN ('waiting', 'in_progress', 'cancelled', 'timeout', 'invalid', 'done', 'failed')),
    CONSTRAINT request_counts CHECK (id >= 1 AND revision >= 1 AND priority BETWEEN 1 AND 16),
    CONSTRAINT only_waiting_request_is_reserved CHECK (reserved IS NULL OR state = 'waiting'),
    CONSTRAINT request_has_job CHECK ((job_worker IS NOT NULL) = (state IN ('in_progress', 'done', 'failed'))),
    CONSTRAINT job_runs_in_progress CHECK (job_worker IS NULL OR (job_ended IS NULL) = (state = 'in_progress')),
    CONSTRAINT job_is_whole CHECK (CASE WHEN job_worker IS NULL
        THEN coalesce(job_opened, job_timeout, job_prolongs, job_access, job_ended) IS NULL
        ELSE job_opened IS NOT NULL AND job_timeout IS NOT NULL AND job_prolongs >= 0 AND job_access IS NOT NULL END),
    CONSTRAINT ended_job_has_no_key CHECK (job_ended IS NULL OR job_access ->> 'private_key' IS NULL),
    CONSTRAINT failed_request_has_reason CHECK (state NOT IN ('failed', 'invalid') OR reason IS NOT NULL),
    CONSTRAINT held_worker_holds_request FOREIGN KEY (holds, id) REFERENCES workers (id, occupied_by)
        DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX one_request_holds_a_worker ON requests (holds) WHERE holds IS NOT NULL;

CREATE TABLE tasks (
    phase      TEXT NOT NULL,
    steps      TEXT NOT NULL, -- JSON
    progress   INTEGER NOT NULL,
    note       TEXT NOT NULL,
    error      TEXT,
    started    TEXT,
    ended      TEXT,
    deadline   TEXT,
    revision   INTEGER NOT NULL,
    id         BLOB PRIMARY KEY,
    kind       TEXT NOT NULL,
    worker     BLOB NOT NULL, -- may be gone: history outlives it
    generation INTEGER NOT NULL,
    request    INTEGER,
    driver     TEXT NOT NULL,
    timeout    TEXT NOT NULL, -- ISO 8601 span
    queued     TEXT NOT NULL,

    CONSTRAINT task_phase CHECK (phase IN ('waiting', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT task_kind CHECK (kind IN ('prepare', 'maintain', 'open', 'check', 'recheck')),
    CONSTRAINT task_ends_when_terminal CHECK ((ended IS NOT NULL) = (phase IN ('succeeded', 'failed', 'cancelled'))),
    CONSTRAINT running_task_has_start CHECK (phase <> 'running' OR started IS NOT NULL),
    CONSTRAINT failed_task_has_error CHECK (phase <> 'failed' OR error IS NOT NULL),
    CONSTRAINT task_id CHECK (length(id) = 16),
    CONSTRAINT task_counts CHECK (revision >= 1 AND generation >= 1 AND progress BETWEEN 0 AND 100)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_task_runs_on_a_worker ON tasks (worker) WHERE phase = 'running';
CREATE INDEX live_tasks ON tasks (id) WHERE ended IS NULL;
CREATE INDEX tasks_by_end ON tasks (ended) WHERE ended IS NOT NULL;
CREATE INDEX tasks_by_worker ON tasks (worker, id);
CREATE INDEX tasks_by_request ON tasks (request, id) WHERE request IS NOT NULL;
CREATE INDEX tasks_by_phase ON tasks (phase, id);
CREATE INDEX tasks_by_kind ON tasks (kind, id);

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY CHECK (seq >= 1),
    at      TEXT NOT NULL,
    actor   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    before  TEXT,
    after   TEXT,
    note    TEXT
) STRICT;
CREATE INDEX events_by_subject ON events (subject, seq);
CREATE INDEX events_by_kind ON events (kind, seq);
CREATE TRIGGER events_are_written_once BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: events_are_written_once');
END;
";

const PLUGINS: &str = "
ALTER TABLE farm ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0; -- whether the last controller stopped by itself
ALTER TABLE workers ADD COLUMN driver_version BLOB CONSTRAINT pin_is_a_digest CHECK (length(driver_version) = 32);
ALTER TABLE tasks ADD COLUMN driver_version BLOB CONSTRAINT task_has_a_digest CHECK (length(driver_version) = 32);
CREATE INDEX pinned_workers ON workers (driver, driver_version) WHERE driver_version IS NOT NULL;

CREATE TABLE plugins (
    enabled            INTEGER NOT NULL,
    active             BLOB,
    previous           BLOB,
    since              TEXT NOT NULL,
    probation_until    TEXT,
    probation_outcomes INTEGER,
    probation_failures INTEGER,
    trouble            TEXT,
    revision           INTEGER NOT NULL,
    name               TEXT PRIMARY KEY,
    kind               TEXT NOT NULL,

    CONSTRAINT plugin_kind CHECK (kind IN ('policy', 'driver', 'inspector')),
    CONSTRAINT enabled_plugin_has_version CHECK (NOT enabled OR active IS NOT NULL),
    CONSTRAINT previous_version_is_another CHECK (previous IS NULL OR active IS NULL OR previous <> active),
    CONSTRAINT probation_is_whole CHECK ((probation_until IS NULL) = (probation_outcomes IS NULL)
        AND (probation_until IS NULL) = (probation_failures IS NULL)),
    CONSTRAINT probation_has_two_versions CHECK (probation_until IS NULL
        OR active IS NOT NULL AND previous IS NOT NULL),
    CONSTRAINT plugin_counts CHECK (revision >= 1 AND probation_failures BETWEEN 0 AND probation_outcomes),
    CONSTRAINT active_version_is_installed FOREIGN KEY (name, active) REFERENCES plugin_versions (name, digest)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT previous_version_is_installed FOREIGN KEY (name, previous) REFERENCES plugin_versions (name, digest)
        DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX one_policy_is_enabled ON plugins (kind) WHERE kind = 'policy' AND enabled;

CREATE TABLE plugin_versions (
    name      TEXT NOT NULL,
    digest    BLOB NOT NULL,
    kind      TEXT NOT NULL,
    version   TEXT NOT NULL,
    manifest  TEXT NOT NULL, -- TOML, as it was given
    origin    TEXT NOT NULL,
    installed TEXT NOT NULL,

    PRIMARY KEY (name, digest),
    CONSTRAINT version_kind CHECK (kind IN ('policy', 'driver', 'inspector')),
    CONSTRAINT version_origin CHECK (origin IN ('built_in', 'folder', 'installed')),
    CONSTRAINT version_has_a_digest CHECK (length(digest) = 32),
    CONSTRAINT version_has_plugin FOREIGN KEY (name) REFERENCES plugins (name) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE TRIGGER versions_are_written_once BEFORE UPDATE ON plugin_versions
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: versions_are_written_once');
END;
CREATE TRIGGER pinned_version_stays BEFORE DELETE ON plugin_versions
WHEN EXISTS (SELECT 1 FROM workers WHERE driver = OLD.name AND driver_version = OLD.digest)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: pinned_version_stays');
END;
";

const TASKS: &str = "
ALTER TABLE farm ADD COLUMN mode TEXT NOT NULL DEFAULT 'normal'
    CONSTRAINT farm_mode CHECK (mode IN ('normal', 'maintenance'));
ALTER TABLE farm ADD COLUMN mode_since TEXT;
ALTER TABLE farm ADD COLUMN mode_reason TEXT
    CONSTRAINT maintenance_has_reason CHECK ((mode = 'maintenance') = (mode_reason IS NOT NULL));
ALTER TABLE farm ADD COLUMN mode_until TEXT;
ALTER TABLE farm ADD COLUMN mode_revision INTEGER NOT NULL DEFAULT 0;

ALTER TABLE tasks ADD COLUMN host TEXT;
ALTER TABLE tasks ADD COLUMN instance BLOB CONSTRAINT task_instance CHECK (length(instance) = 16);
ALTER TABLE tasks ADD COLUMN log TEXT NOT NULL DEFAULT '[]'; -- JSON
CREATE INDEX running_tasks ON tasks (driver, host) WHERE phase = 'running';

CREATE TABLE limits (
    value    INTEGER, -- null = any number, 0 = nothing starts
    revision INTEGER NOT NULL,
    scope    TEXT NOT NULL,
    name     TEXT NOT NULL,

    PRIMARY KEY (scope, name),
    CONSTRAINT limit_scope CHECK (scope IN ('farm', 'driver', 'host')),
    CONSTRAINT one_limit_of_the_farm CHECK (scope <> 'farm' OR name = ''),
    CONSTRAINT limit_counts CHECK (revision >= 1 AND value BETWEEN 0 AND 4294967295)
) STRICT, WITHOUT ROWID;

-- A task that starts is counted where it is written.
CREATE TRIGGER inserted_task_within_limits BEFORE INSERT ON tasks
WHEN NEW.phase = 'running' AND EXISTS (SELECT 1 FROM limits WHERE value IS NOT NULL AND CASE scope
    WHEN 'farm' THEN (SELECT count(*) FROM tasks WHERE phase = 'running') >= value
    WHEN 'driver' THEN NEW.driver = name
        AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND driver = name) >= value
    ELSE NEW.host = name AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND host = name) >= value END)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: running_tasks_within_limits');
END;
CREATE TRIGGER started_task_within_limits BEFORE UPDATE OF phase ON tasks
WHEN NEW.phase = 'running' AND OLD.phase <> 'running'
    AND EXISTS (SELECT 1 FROM limits WHERE value IS NOT NULL AND CASE scope
    WHEN 'farm' THEN (SELECT count(*) FROM tasks WHERE phase = 'running') >= value
    WHEN 'driver' THEN NEW.driver = name
        AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND driver = name) >= value
    ELSE NEW.host = name AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND host = name) >= value END)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: running_tasks_within_limits');
END;
CREATE TRIGGER ended_task_stays BEFORE UPDATE ON tasks WHEN OLD.ended IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: ended_task_stays');
END;

CREATE TABLE instances (
    id          BLOB PRIMARY KEY,
    incarnation INTEGER NOT NULL UNIQUE,
    started     TEXT NOT NULL,
    heartbeat   TEXT NOT NULL,
    ended       TEXT,

    CONSTRAINT instance_id CHECK (length(id) = 16),
    CONSTRAINT instance_counts CHECK (incarnation >= 1)
) STRICT, WITHOUT ROWID;
";

const INTROSPECTIONS: &str = "
-- More kinds of tasks: SQLite changes a constraint by making the table anew.
DROP TRIGGER pinned_version_stays;
CREATE TABLE new_workers (
    state             TEXT NOT NULL,
    since             TEXT NOT NULL,
    reason            TEXT,
    driver            TEXT NOT NULL,
    driver_config     TEXT NOT NULL, -- JSON, as registered
    agent             TEXT NOT NULL, -- JSON: capabilities by source
    introspected      TEXT NOT NULL,
    admin             TEXT NOT NULL,
    groups            TEXT,          -- JSON list
    host              TEXT,
    notes             TEXT,
    driver_version    BLOB,
    health_ok         INTEGER NOT NULL,
    health_checked_at TEXT,
    health_note       TEXT NOT NULL,
    access            TEXT,          -- JSON
    occupied_by       INTEGER,       -- request
    occupation_opened INTEGER,
    task              BLOB,
    task_kind         TEXT,
    relapses          INTEGER NOT NULL,
    attempts          INTEGER NOT NULL,
    recheck_at        TEXT,
    quarantined       INTEGER NOT NULL,
    generation        INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    id                BLOB PRIMARY KEY,

    CONSTRAINT worker_state CHECK
        (state IN ('maintenance', 'prepare', 'idle', 'running', 'busy', 'failed')),
    CONSTRAINT running_worker_has_occupation CHECK ((state = 'running') = (occupied_by IS NOT NULL)),
    CONSTRAINT occupation_is_whole CHECK ((occupied_by IS NULL) = (occupation_opened IS NULL)),
    CONSTRAINT failed_worker_has_reason CHECK (state <> 'failed' OR reason IS NOT NULL),
    CONSTRAINT only_failed_worker_is_rechecked CHECK (state = 'failed' OR recheck_at IS NULL),
    CONSTRAINT live_task_is_whole CHECK ((task IS NULL) = (task_kind IS NULL)),
    CONSTRAINT task_kind CHECK
        (task_kind IN ('prepare', 'maintain', 'open', 'check', 'recheck', 'introspect', 'power_off')),
    CONSTRAINT pin_is_a_digest CHECK (length(driver_version) = 32),
    CONSTRAINT worker_id CHECK (length(id) = 16),
    CONSTRAINT worker_counts CHECK (generation >= 1 AND revision >= 1 AND relapses >= 0 AND attempts >= 0)
) STRICT;
INSERT INTO new_workers (
    state, since, reason, driver, driver_config, agent, introspected, admin, groups, host, notes, driver_version, health_ok,
    health_checked_at, health_note, access, occupied_by, occupation_opened, task, task_kind, relapses, attempts, recheck_at,
    quarantined, generation, revision, id
) SELECT
    state, since, reason, driver, driver_config, agent, introspected, admin, groups, host, notes, driver_version, health_ok,
    health_checked_at, health_note, access, occupied_by, occupation_opened, task, task_kind, relapses, attempts, recheck_at,
    quarantined, generation, revision, id
FROM workers;
DROP TABLE workers;
ALTER TABLE new_workers RENAME TO workers;
CREATE UNIQUE INDEX worker_holds_request ON workers (id, occupied_by);
CREATE INDEX pinned_workers ON workers (driver, driver_version) WHERE driver_version IS NOT NULL;
CREATE TRIGGER pinned_version_stays BEFORE DELETE ON plugin_versions
WHEN EXISTS (SELECT 1 FROM workers WHERE driver = OLD.name AND driver_version = OLD.digest)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: pinned_version_stays');
END;

CREATE TABLE new_tasks (
    phase         TEXT NOT NULL,
    steps         TEXT NOT NULL, -- JSON
    progress      INTEGER NOT NULL,
    note          TEXT NOT NULL,
    log           TEXT NOT NULL, -- JSON
    error         TEXT,
    instance      BLOB,
    started       TEXT,
    ended         TEXT,
    deadline      TEXT,
    revision      INTEGER NOT NULL,
    id            BLOB PRIMARY KEY,
    kind          TEXT NOT NULL,
    worker        BLOB NOT NULL, -- may be gone: history outlives it
    generation    INTEGER NOT NULL,
    request       INTEGER,
    introspection BLOB, -- may be gone, too
    driver        TEXT NOT NULL,
    host          TEXT,
    driver_version BLOB,
    timeout       TEXT NOT NULL, -- ISO 8601 span
    queued        TEXT NOT NULL,

    CONSTRAINT task_phase CHECK (phase IN ('waiting', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT task_kind CHECK
        (kind IN ('prepare', 'maintain', 'open', 'check', 'recheck', 'introspect', 'power_off')),
    CONSTRAINT task_ends_when_terminal CHECK ((ended IS NOT NULL) = (phase IN ('succeeded', 'failed', 'cancelled'))),
    CONSTRAINT running_task_has_start CHECK (phase <> 'running' OR started IS NOT NULL),
    CONSTRAINT failed_task_has_error CHECK (phase <> 'failed' OR error IS NOT NULL),
    CONSTRAINT task_instance CHECK (length(instance) = 16),
    CONSTRAINT task_introspection CHECK (length(introspection) = 16),
    CONSTRAINT task_has_a_digest CHECK (length(driver_version) = 32),
    CONSTRAINT task_id CHECK (length(id) = 16),
    CONSTRAINT task_counts CHECK (revision >= 1 AND generation >= 1 AND progress BETWEEN 0 AND 100)
) STRICT, WITHOUT ROWID;
INSERT INTO new_tasks (
    phase, steps, progress, note, log, error, instance, started, ended, deadline, revision, id, kind, worker, generation,
    request, driver, host, driver_version, timeout, queued
) SELECT
    phase, steps, progress, note, log, error, instance, started, ended, deadline, revision, id, kind, worker, generation,
    request, driver, host, driver_version, timeout, queued
FROM tasks;
DROP TABLE tasks;
ALTER TABLE new_tasks RENAME TO tasks;
CREATE UNIQUE INDEX one_task_runs_on_a_worker ON tasks (worker) WHERE phase = 'running';
CREATE INDEX live_tasks ON tasks (id) WHERE ended IS NULL;
CREATE INDEX tasks_by_end ON tasks (ended) WHERE ended IS NOT NULL;
CREATE INDEX tasks_by_worker ON tasks (worker, id);
CREATE INDEX tasks_by_request ON tasks (request, id) WHERE request IS NOT NULL;
CREATE INDEX tasks_by_phase ON tasks (phase, id);
CREATE INDEX tasks_by_kind ON tasks (kind, id);
CREATE INDEX running_tasks ON tasks (driver, host) WHERE phase = 'running';
-- A task that starts is counted where it is written.
CREATE TRIGGER inserted_task_within_limits BEFORE INSERT ON tasks
WHEN NEW.phase = 'running' AND EXISTS (SELECT 1 FROM limits WHERE value IS NOT NULL AND CASE scope
    WHEN 'farm' THEN (SELECT count(*) FROM tasks WHERE phase = 'running') >= value
    WHEN 'driver' THEN NEW.driver = name
        AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND driver = name) >= value
    ELSE NEW.host = name AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND host = name) >= value END)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: running_tasks_within_limits');
END;
CREATE TRIGGER started_task_within_limits BEFORE UPDATE OF phase ON tasks
WHEN NEW.phase = 'running' AND OLD.phase <> 'running'
    AND EXISTS (SELECT 1 FROM limits WHERE value IS NOT NULL AND CASE scope
    WHEN 'farm' THEN (SELECT count(*) FROM tasks WHERE phase = 'running') >= value
    WHEN 'driver' THEN NEW.driver = name
        AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND driver = name) >= value
    ELSE NEW.host = name AND (SELECT count(*) FROM tasks WHERE phase = 'running' AND host = name) >= value END)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: running_tasks_within_limits');
END;
CREATE TRIGGER ended_task_stays BEFORE UPDATE ON tasks WHEN OLD.ended IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: ended_task_stays');
END;

CREATE TABLE introspections (
    worker        BLOB,
    state         TEXT NOT NULL,
    since         TEXT NOT NULL,
    started       TEXT NOT NULL,
    finished      TEXT,
    error         TEXT,
    ending        TEXT,
    switch_off    INTEGER,
    has_raw       INTEGER NOT NULL,
    has_processed INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    id            BLOB PRIMARY KEY,
    way           TEXT NOT NULL,
    token         BLOB, -- SHA-256 of it

    CONSTRAINT introspection_state CHECK (state IN
        ('starting', 'waiting', 'processing', 'finished', 'error', 'reapplying', 'enrolling', 'aborting')),
    CONSTRAINT introspection_way CHECK (way IN ('pull', 'push', 'enrol')),
    CONSTRAINT introspection_ends_when_terminal CHECK ((finished IS NOT NULL) = (state IN ('finished', 'error'))),
    CONSTRAINT introspection_in_error_says_why CHECK ((error IS NOT NULL) = (state = 'error')),
    CONSTRAINT aborting_introspection_says_why CHECK ((ending IS NOT NULL) = (state = 'aborting')),
    CONSTRAINT ending_is_whole CHECK ((ending IS NULL) = (switch_off IS NULL)),
    CONSTRAINT only_unknown_boards_enrol CHECK (CASE WHEN worker IS NULL
        THEN way = 'enrol' AND state IN ('enrolling', 'aborting', 'error') ELSE state <> 'enrolling' END),
    CONSTRAINT processed_inventory_came CHECK (has_raw OR NOT has_processed),
    CONSTRAINT introspection_id CHECK (length(id) = 16 AND length(token) = 32),
    CONSTRAINT introspection_counts CHECK (revision >= 1),
    CONSTRAINT introspected_worker_is_there FOREIGN KEY (worker) REFERENCES workers (id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX one_introspection_is_under_way ON introspections (worker) WHERE finished IS NULL;
CREATE INDEX introspections_by_worker ON introspections (worker, id);
CREATE INDEX introspections_by_state ON introspections (state, id);
CREATE INDEX introspections_by_end ON introspections (finished) WHERE finished IS NOT NULL;

CREATE TABLE inventories (
    introspection BLOB NOT NULL,
    kind          TEXT NOT NULL,
    data          TEXT NOT NULL, -- JSON

    PRIMARY KEY (introspection, kind),
    CONSTRAINT inventory_kind CHECK (kind IN ('raw', 'processed', 'findings')),
    CONSTRAINT inventory_has_introspection FOREIGN KEY (introspection) REFERENCES introspections (id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE rules (
    id          BLOB PRIMARY KEY,
    place       INTEGER NOT NULL UNIQUE,
    description TEXT NOT NULL,
    scope       TEXT,
    conditions  TEXT NOT NULL, -- JSON
    actions     TEXT NOT NULL, -- JSON
    created     TEXT NOT NULL,
    revision    INTEGER NOT NULL,

    CONSTRAINT rule_id CHECK (length(id) = 16),
    CONSTRAINT rule_counts CHECK (place >= 0 AND revision >= 1)
) STRICT;
CREATE TRIGGER rules_are_written_once BEFORE UPDATE ON rules
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: rules_are_written_once');
END;
";

const HOLDING: &str = "
ALTER TABLE requests ADD COLUMN ended_by TEXT -- null of those that earlier versions ended
    CONSTRAINT ended_request_has_an_ender CHECK
        (ended_by IS NULL OR state IN ('cancelled', 'timeout', 'invalid', 'done', 'failed'));
ALTER TABLE requests ADD COLUMN job_away TEXT
    CONSTRAINT running_job_is_away CHECK (job_away IS NULL OR job_worker IS NOT NULL);
ALTER TABLE requests ADD COLUMN job_unreachable TEXT
    CONSTRAINT running_job_is_unreachable CHECK (job_unreachable IS NULL OR job_worker IS NOT NULL);
ALTER TABLE requests ADD COLUMN job_kept INTEGER NOT NULL DEFAULT 0
    CONSTRAINT job_is_kept CHECK (NOT job_kept OR job_worker IS NOT NULL);
ALTER TABLE requests ADD COLUMN job_warned INTEGER NOT NULL DEFAULT 0 -- warnings given before job_timeout
    CONSTRAINT job_is_warned CHECK (job_warned = 0 OR job_worker IS NOT NULL);
ALTER TABLE workers ADD COLUMN drain INTEGER NOT NULL DEFAULT 0; -- to maintenance as soon as no job holds it
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn list(connection: &Connection) -> BTreeMap<String, (String, Option<String>)> {
        let sql = "SELECT name, tbl_name, sql FROM sqlite_schema";
        let mut list = connection.prepare(sql).unwrap();
        let rows = list.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn tables_that_are_made_anew_lose_no_row_and_nothing_that_hangs_on_them() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        migrate_to(&mut connection, 0, 3).unwrap();
        // A request holds a worker, and a worker is pinned to a version: references lead both ways.
        connection
            .execute_batch(
                "BEGIN;
                INSERT INTO workers (state, since, driver, driver_config, agent, introspected, admin, health_ok, health_note,
                    occupied_by, occupation_opened, relapses, attempts, quarantined, generation, revision, id, driver_version)
                VALUES ('running', '', 'ssh', '{}', '{}', '{}', '{}', 1, '', 5, 0, 0, 0, 0, 1, 1, zeroblob(16), zeroblob(32));
                INSERT INTO requests (state, since, priority, place, valid_after, valid_after_offset, deadline,
                    deadline_offset, reserved, revision, id, created, spec)
                VALUES ('waiting', '', 1, 1, '', 0, '', 0, zeroblob(16), 1, 5, '', '{}');
                INSERT INTO plugins (enabled, active, since, revision, name, kind)
                VALUES (1, zeroblob(32), '', 1, 'ssh', 'driver');
                INSERT INTO plugin_versions VALUES ('ssh', zeroblob(32), 'driver', '1', '', 'installed', '');
                INSERT INTO tasks (phase, steps, progress, note, revision, id, kind, worker, generation, driver, timeout, queued)
                VALUES ('waiting', '[]', 0, '', 1, zeroblob(16), 'open', zeroblob(16), 1, 'ssh', 'PT1S', '');
                COMMIT",
            )
            .unwrap();
        let before = list(&connection);
        migrate_to(&mut connection, 3, 4).unwrap();
        let after = list(&connection);
        for (name, object) in &before {
            let made_anew = ["workers", "tasks"].contains(&name.as_str());
            assert!(
                after.get(name).is_some_and(|now| made_anew || now == object),
                "{name}: {:?}",
                after.get(name)
            );
        }
        let count = |table: &str| -> u32 {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(["workers", "requests", "plugins", "tasks"].map(count), [1; 4]);
        // The rules hold as before.
        for (wrong, rule) in [
            ("DELETE FROM workers", "FOREIGN KEY"),
            ("UPDATE workers SET occupied_by = 6", "FOREIGN KEY"),
            ("DELETE FROM plugin_versions", "pinned_version_stays"),
            ("UPDATE workers SET task = zeroblob(16), task_kind = 'dream'", "task_kind"),
            ("UPDATE tasks SET kind = 'dream'", "task_kind"),
            (
                "INSERT INTO limits VALUES (0, 1, 'farm', ''); UPDATE tasks SET phase = 'running', started = ''",
                "limits",
            ),
        ] {
            let refused = connection.execute_batch(&format!("BEGIN; {wrong}; COMMIT")).unwrap_err();
            assert!(refused.to_string().contains(rule), "{wrong}: {refused}");
            connection.execute_batch("ROLLBACK").unwrap();
        }
    }

    #[test]
    fn what_ended_before_it_was_known_who_ended_it_stays_and_nothing_else_may_have_an_ender() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        migrate_to(&mut connection, 0, 4).unwrap();
        connection
            .execute_batch(
                "INSERT INTO workers (state, since, driver, driver_config, agent, introspected, admin, health_ok, health_note,
                    relapses, attempts, quarantined, generation, revision, id)
                VALUES ('idle', '', 'ssh', '{}', '{}', '{}', '{}', 1, '', 0, 0, 0, 1, 1, zeroblob(16));
                INSERT INTO requests (state, since, priority, place, valid_after, valid_after_offset, deadline,
                    deadline_offset, revision, id, created, spec)
                VALUES ('waiting', '', 1, 1, '', 0, '', 0, 1, 5, '', '{}'), ('cancelled', '', 1, 2, '', 0, '', 0, 1, 6, '', '{}')",
            )
            .unwrap();
        migrate_to(&mut connection, 4, 5).unwrap();
        let kept: (Option<String>, bool, u32, bool) = connection
            .query_row(
                "SELECT ended_by, job_kept, job_warned, drain FROM requests, workers WHERE requests.id = 6",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(kept, (None, false, 0, false));
        connection.execute_batch("UPDATE requests SET ended_by = 'ann' WHERE id = 6").unwrap();
        for (wrong, rule) in [
            ("ended_by = 'ann'", "ended_request_has_an_ender"),
            ("job_away = ''", "running_job_is_away"),
            ("job_unreachable = ''", "running_job_is_unreachable"),
            ("job_kept = 1", "job_is_kept"),
            ("job_warned = 1", "job_is_warned"),
        ] {
            let sql = format!("UPDATE requests SET {wrong} WHERE id = 5");
            let refused = connection.execute_batch(&sql).unwrap_err();
            assert!(refused.to_string().contains(rule), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_migration_that_would_break_a_reference_leaves_the_store_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, 0, 3).unwrap();
        let broken = "PRAGMA foreign_keys = OFF;
            INSERT INTO plugin_versions VALUES ('ssh', zeroblob(32), 'driver', '1', '', 'installed', '');
            PRAGMA foreign_keys = ON";
        connection.execute_batch(broken).unwrap();
        let before = list(&connection);
        assert!(migrate_to(&mut connection, 3, 4).is_err());
        assert_eq!(list(&connection), before);
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let checked: bool = connection.query_row("PRAGMA foreign_keys", [], |row| row.get(0)).unwrap();
        assert_eq!((version, checked), (3, true));
    }
}
