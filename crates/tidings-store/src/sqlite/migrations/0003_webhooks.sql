-- A tombstone stays for an hour, so that dispatchers hear of it; keys are never used again, since what it
-- leaves goes in pieces.
CREATE TABLE endpoints (
    key            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_key     INTEGER NOT NULL,
    id             BLOB NOT NULL,
    partition      INTEGER NOT NULL,
    change         INTEGER NOT NULL,         -- rises with every change that a dispatcher has to hear of
    spec           TEXT NOT NULL,
    grant_json     TEXT NOT NULL,
    secrets        TEXT NOT NULL,
    user           TEXT,                     -- of the grant
    state          INTEGER NOT NULL,         -- 0 active, 1 paused, 2 disabled, 3 deleted
    since          INTEGER,                  -- when it became so, where it is not active
    reason         TEXT,
    cursor         INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    failing_since  INTEGER,
    created_at     INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0  -- how many were logged, forgotten ones included
);
CREATE UNIQUE INDEX endpoints_by_id ON endpoints (tenant_key, id);
CREATE INDEX endpoints_by_change ON endpoints (change);
CREATE INDEX endpoints_deleted ON endpoints (key) WHERE state = 3;

-- The last change's number.
CREATE TABLE endpoint_changes (n INTEGER NOT NULL);
INSERT INTO endpoint_changes VALUES (0);

-- What was not delivered at the first try, or is being sent again.
CREATE TABLE deliveries (
    tenant_key    INTEGER NOT NULL,
    endpoint_key  INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    event_id      BLOB NOT NULL,
    event_type    TEXT NOT NULL,
    dead          INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    at            INTEGER NOT NULL,          -- of the next attempt, or when it died
    failure       INTEGER,
    body          BLOB,
    PRIMARY KEY (tenant_key, endpoint_key, seq)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (tenant_key, endpoint_key, at) WHERE dead = 0;
CREATE INDEX deliveries_dead ON deliveries (tenant_key, endpoint_key, seq) WHERE dead = 1;
CREATE INDEX deliveries_holding ON deliveries (tenant_key, seq) WHERE dead = 0;

CREATE TABLE replays (
    tenant_key    INTEGER NOT NULL,
    endpoint_key  INTEGER NOT NULL,
    id            BLOB NOT NULL,
    from_seq      INTEGER NOT NULL,
    to_seq        INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_key, endpoint_key, id)
) WITHOUT ROWID;

CREATE TABLE attempts (
    tenant_key     INTEGER NOT NULL,
    endpoint_key   INTEGER NOT NULL,
    n              INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    event_id       BLOB NOT NULL,
    number         INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    latency        INTEGER NOT NULL,
    status         INTEGER,
    request_bytes  INTEGER NOT NULL,
    answer_bytes   INTEGER NOT NULL,
    answer         BLOB,
    failure        INTEGER,
    next_at        INTEGER,
    PRIMARY KEY (tenant_key, endpoint_key, n)
) WITHOUT ROWID;
CREATE INDEX attempts_by_event ON attempts (tenant_key, seq, endpoint_key, n);
