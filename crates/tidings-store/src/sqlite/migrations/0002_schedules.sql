CREATE TABLE schedules (
    key           INTEGER PRIMARY KEY,
    tenant_key    INTEGER NOT NULL,
    id            BLOB NOT NULL,
    name          TEXT NOT NULL,
    cron          TEXT NOT NULL,
    zone          TEXT NOT NULL,
    overlap       TEXT NOT NULL,
    paused        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    next_fire     INTEGER,                  -- null while it is paused
    due_at        INTEGER,                  -- next_fire, but null while its tenant may not write
    last_fire     INTEGER,
    last_job      BLOB,
    last_skip     INTEGER,
    job_type      TEXT NOT NULL,
    owner         TEXT,
    subject       TEXT,
    priority      INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    backoff_base  INTEGER NOT NULL,
    backoff_max   INTEGER NOT NULL,
    payload       TEXT NOT NULL
);
CREATE UNIQUE INDEX schedules_by_name ON schedules (tenant_key, name);
CREATE UNIQUE INDEX schedules_by_id ON schedules (tenant_key, id);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;
