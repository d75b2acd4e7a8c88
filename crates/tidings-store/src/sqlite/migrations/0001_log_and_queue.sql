-- One row: what the database knows of itself.
CREATE TABLE meta (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    ticks     INTEGER NOT NULL,             -- rises about once a second while there are commits
    alive_at  INTEGER NOT NULL,             -- microseconds, as every time
    identity  TEXT NOT NULL                 -- of the file that holds this row
);
INSERT INTO meta VALUES (1, 0, 0, '');

CREATE TABLE tenants (
    key         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL,
    state       INTEGER NOT NULL,           -- 0 active, 1 suspended, 2 deleted, 3 deleted and purged
    epoch       TEXT NOT NULL,
    head        INTEGER NOT NULL,           -- the newest seq
    oldest      INTEGER NOT NULL,           -- the logical floor: rows below it are gone, deleted or not
    last_time   INTEGER NOT NULL,           -- of the newest event
    created_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX tenants_living ON tenants (id) WHERE state < 2;
CREATE INDEX tenants_unpurged ON tenants (key) WHERE state = 2;

-- The log: rows in commit order, so that appending touches the last page alone.
CREATE TABLE events (
    n           INTEGER PRIMARY KEY,
    tenant_key  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    id          BLOB NOT NULL,
    type        TEXT NOT NULL,
    job_key     INTEGER,
    job_id      BLOB,
    job_type    TEXT,
    owner       TEXT,
    subject     TEXT,
    data        TEXT NOT NULL,
    detail      TEXT,
    debug       TEXT
);
CREATE UNIQUE INDEX events_by_seq ON events (tenant_key, seq);
-- Rows of one job in order of n, which is the order of seq.
CREATE INDEX events_by_job ON events (job_key) WHERE job_key IS NOT NULL;

CREATE TABLE jobs (
    key                INTEGER PRIMARY KEY,
    tenant_key         INTEGER NOT NULL,
    id                 BLOB NOT NULL,
    job_type           TEXT NOT NULL,
    state              INTEGER NOT NULL,    -- 0 scheduled, 1 queued, 2 running, 3 completed, 4 failed, 5 cancelled
    owner              TEXT,
    subject            TEXT,
    priority           INTEGER NOT NULL,
    run_at             INTEGER,
    attempt            INTEGER NOT NULL,
    lease_no           INTEGER NOT NULL,
    worker             TEXT,
    lease_expires_at   INTEGER,
    cancel_requested   INTEGER NOT NULL,
    reported_lease_no  INTEGER,
    reported           INTEGER,             -- 0 complete, 1 fail
    percent            INTEGER,
    message            TEXT,
    failure_category   TEXT,
    failure_message    TEXT,
    failure_raw        TEXT,
    created_at         INTEGER NOT NULL,
    started_at         INTEGER,
    finished_at        INTEGER,
    seq                INTEGER NOT NULL,
    unique_key         TEXT,
    max_attempts       INTEGER NOT NULL,
    backoff_base       INTEGER NOT NULL,
    backoff_max        INTEGER NOT NULL,
    retry_of           BLOB,
    payload            TEXT NOT NULL,
    result             TEXT
);
CREATE UNIQUE INDEX jobs_by_id ON jobs (tenant_key, id);
-- Jobs that fell due together are leased in the order they came, which is that of their keys: every
-- index ends with them.
CREATE INDEX jobs_ready ON jobs (job_type, tenant_key, priority DESC, run_at) WHERE state = 1;
CREATE INDEX jobs_scheduled ON jobs (job_type, run_at, tenant_key) WHERE state = 0;
CREATE INDEX jobs_leased ON jobs (lease_expires_at, tenant_key, job_type) WHERE state = 2;
CREATE INDEX jobs_finished ON jobs (tenant_key, finished_at, job_type) WHERE state >= 3;
CREATE UNIQUE INDEX jobs_unique ON jobs (tenant_key, job_type, unique_key)
    WHERE unique_key IS NOT NULL AND state < 3;

CREATE TABLE idempotency (
    tenant_key  INTEGER NOT NULL,
    route       TEXT NOT NULL,
    key         TEXT NOT NULL,
    body_hash   BLOB NOT NULL,
    outcome     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_key, route, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- An operator's key has no tenant.
CREATE TABLE keys (
    id          BLOB PRIMARY KEY,
    tenant_key  INTEGER,
    name        TEXT NOT NULL,
    hash        BLOB NOT NULL,
    grant_json  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER
) WITHOUT ROWID;
CREATE INDEX keys_by_tenant ON keys (tenant_key, id);

CREATE TABLE tickets (
    tenant_key  INTEGER NOT NULL,
    id          BLOB NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_key, id)
) WITHOUT ROWID;
CREATE INDEX tickets_by_expiry ON tickets (expires_at);

CREATE TABLE revocations (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id      BLOB,
    tenant_id   TEXT
);
