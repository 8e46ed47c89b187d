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

-- What a controller of that time left behind.
PRAGMA application_id = 1198681974;
PRAGMA user_version = 1;
UPDATE farm SET epoch = 4, last_request = 7, last_place = 9;
INSERT INTO workers (state, since, driver, driver_config, agent, introspected, admin, groups, health_ok, health_note,
    occupied_by, occupation_opened, task, task_kind, relapses, attempts, quarantined, generation, revision, id)
VALUES
    ('running', '2026-01-01T00:00:00.000000000Z', 'simulated', '{}', '{"board":"rpi4"}', '{}', '{}', '["lab"]', 1, '',
        3, 1, NULL, NULL, 0, 0, 0, 4, 6, x'00000000000000000000000000000001'),
    ('prepare', '2026-01-01T00:00:00.000000000Z', 'simulated', '{}', '{}', '{}', '{}', NULL, 1, '',
        NULL, NULL, x'000000000000000000000000000000aa', 'prepare', 0, 0, 0, 2, 2,
        x'00000000000000000000000000000002');
INSERT INTO requests (state, since, priority, place, valid_after, valid_after_offset, deadline, deadline_offset,
    job_worker, job_opened, job_timeout, job_prolongs, job_access, revision, id, created, spec)
VALUES
    ('in_progress', '2026-01-01T00:00:00.000000000Z', 8, 3, '2026-01-01T00:00:00.000000000Z', 0,
        '2026-02-01T00:00:00.000000000Z', 0, x'00000000000000000000000000000001', '2026-01-01T00:00:00.000000000Z',
        '2026-01-01T01:00:00.000000000Z', 0, '{"port":2222,"target_host":"board","target_port":22,"user":"ann","host_keys":[],"private_key":null,"authorized_keys":[]}', 3, 3, '2026-01-01T00:00:00.000000000Z', '{"owner":"ann","groups":null,"wants":{"terms":["board=rpi4"]},"length":null,"keys":[],"heartbeat":null,"hints":{}}'),
    ('waiting', '2026-01-01T00:00:00.000000000Z', 8, 4, '2026-01-01T00:00:00.000000000Z', 0,
        '2026-02-01T00:00:00.000000000Z', 0, NULL, NULL, NULL, NULL, NULL, 1, 4, '2026-01-01T00:00:00.000000000Z',
        '{"owner":"ann","groups":null,"wants":{"terms":["board=rpi4"]},"length":null,"keys":[],"heartbeat":null,"hints":{}}');
INSERT INTO tasks (phase, steps, progress, note, revision, id, kind, worker, generation, driver, timeout, queued)
VALUES ('waiting', '[]', 0, '', 1, x'000000000000000000000000000000aa', 'prepare',
    x'00000000000000000000000000000002', 2, 'simulated', 'PT60S', '2026-01-01T00:00:00.000000000Z');
INSERT INTO events VALUES
    (1, '2026-01-01T00:00:00.000000000Z', 'core', 'request.created', 'request/3', NULL, 'waiting', NULL),
    (2, '2026-01-01T00:00:00.000000000Z', 'core', 'worker.state', 'farm', 'idle', 'running', NULL);
