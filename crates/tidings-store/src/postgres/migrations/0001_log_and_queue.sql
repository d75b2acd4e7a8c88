-- Every time is microseconds since 1970, in UTC. A tenant's rows are named by (tenant_id, life):
-- `life` counts how often a tenant of that name was made, so that what a deleted one left is never
-- seen by its successor and can be removed at leisure.

-- One row: what the database knows of itself.
CREATE TABLE tidings.meta (
    one                boolean PRIMARY KEY DEFAULT true CHECK (one),
    system_identifier  text NOT NULL DEFAULT '',   -- of the cluster and the database that hold this row
    timeline           integer NOT NULL DEFAULT 0,
    alive_at           bigint NOT NULL DEFAULT 0,  -- when a node last said that it is alive
    revocations        bigint NOT NULL DEFAULT 0   -- the last number given; its row lock keeps commit order
);
INSERT INTO tidings.meta DEFAULT VALUES;

-- The counter rows: one lock of one of them stands for everything of its tenant.
CREATE TABLE tidings.tenants (
    tenant_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    state       smallint NOT NULL,          -- 0 active, 1 suspended, 2 deleted, 3 deleted and purged
    epoch       text NOT NULL,
    head        bigint NOT NULL DEFAULT 0,  -- the newest seq
    oldest      bigint NOT NULL DEFAULT 1,  -- the logical floor: rows below it are gone, deleted or not
    last_time   bigint NOT NULL DEFAULT 0,  -- of the newest event
    created_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, life)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX tenants_living ON tidings.tenants (tenant_id) WHERE state < 2;
CREATE INDEX tenants_unpurged ON tidings.tenants (tenant_id, life) WHERE state = 2;

-- The log, a partition for each day. There is no default partition, since beside one no other could be
-- detached concurrently: a missing day is made when a row asks for it.
CREATE TABLE tidings.events (
    tenant_id  text COLLATE "C" NOT NULL,
    life       integer NOT NULL,
    seq        bigint NOT NULL,
    time       bigint NOT NULL,
    id         uuid NOT NULL,
    type       text NOT NULL,
    job_id     uuid,
    job_type   text,
    owner      text,
    subject    text,
    data       text NOT NULL,
    detail     text,
    debug      text,
    PRIMARY KEY (tenant_id, life, seq, time)
) PARTITION BY RANGE (time);
CREATE INDEX events_by_job ON tidings.events (tenant_id, life, job_id, seq) WHERE job_id IS NOT NULL;

-- Texts that a worker words freely are bytes: they may hold what text may not.
CREATE TABLE tidings.jobs (
    tenant_id          text COLLATE "C" NOT NULL,
    life               integer NOT NULL,
    id                 uuid NOT NULL,
    version            bigint NOT NULL,         -- rises with every change that a decision may rest on
    first_seq          bigint NOT NULL,         -- of its first event: the order in which jobs came
    job_type           text COLLATE "C" NOT NULL,
    state              smallint NOT NULL,       -- 0 scheduled, 1 queued, 2 running, 3 completed, 4 failed, 5 cancelled
    owner              text,
    subject            text,
    priority           smallint NOT NULL,
    run_at             bigint,
    attempt            integer NOT NULL,
    lease_no           bigint NOT NULL,
    worker             text,
    lease_expires_at   bigint,
    cancel_requested   boolean NOT NULL,
    reported_lease_no  bigint,
    reported           smallint,                -- 0 complete, 1 fail
    percent            smallint,
    message            bytea,
    failure_category   text,
    failure_message    bytea,
    failure_raw        bytea,
    created_at         bigint NOT NULL,
    started_at         bigint,
    finished_at        bigint,
    seq                bigint NOT NULL,
    unique_key         text,
    max_attempts       integer NOT NULL,
    backoff_base       bigint NOT NULL,
    backoff_max        bigint NOT NULL,
    retry_of           uuid,
    payload            text NOT NULL,
    result             text,
    PRIMARY KEY (tenant_id, life, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX jobs_ready ON tidings.jobs (job_type, tenant_id, priority DESC, run_at, first_seq) WHERE state = 1;
CREATE INDEX jobs_scheduled ON tidings.jobs (job_type, run_at, tenant_id) WHERE state = 0;
CREATE INDEX jobs_leased ON tidings.jobs (lease_expires_at) WHERE state = 2;
CREATE INDEX jobs_live ON tidings.jobs (tenant_id, life, state, job_type, run_at) WHERE state < 3;
CREATE INDEX jobs_finished ON tidings.jobs (tenant_id, life, finished_at, job_type) WHERE state >= 3;
CREATE UNIQUE INDEX jobs_unique ON tidings.jobs (tenant_id, life, job_type, unique_key)
    WHERE unique_key IS NOT NULL AND state < 3;

CREATE TABLE tidings.idempotency (
    tenant_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    route       text NOT NULL,
    key         text NOT NULL,
    body_hash   bytea NOT NULL,
    outcome     text NOT NULL,              -- with seqs counted from base_seq
    base_seq    bigint,
    time        bigint NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, life, route, key)
);
CREATE INDEX idempotency_by_age ON tidings.idempotency (created_at);

-- An operator's key has no tenant.
CREATE TABLE tidings.keys (
    id          uuid PRIMARY KEY,
    tenant_id   text COLLATE "C",
    life        integer,
    name        bytea NOT NULL,
    hash        bytea NOT NULL,
    grant_json  text NOT NULL,
    created_at  bigint NOT NULL,
    expires_at  bigint,
    revoked_at  bigint
);
CREATE INDEX keys_by_tenant ON tidings.keys (tenant_id, life, id);

CREATE TABLE tidings.tickets (
    tenant_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    id          uuid NOT NULL,
    expires_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, life, id)
);
CREATE INDEX tickets_by_expiry ON tidings.tickets (expires_at);

CREATE TABLE tidings.revocations (
    n          bigint PRIMARY KEY,
    key_id     uuid,
    tenant_id  text
);

-- A writer is one lane of one node's journal, named anew at each start and after each outcome that
-- stayed unknown. Its batches are numbered 1, 2, 3, … without gaps, in commit order.
CREATE TABLE tidings.writers (
    writer      uuid PRIMARY KEY,
    started_at  bigint NOT NULL
);

-- What each batch answered, so that the same batch sent again is answered the same.
CREATE TABLE tidings.batches (
    writer     uuid NOT NULL,
    n          bigint NOT NULL,
    at         bigint NOT NULL,
    tenants    text[],
    lives      integer[],
    epochs     text[],
    bases      bigint[],                    -- each tenant's head before the batch
    heads      bigint[],                    -- and after it
    times      bigint[],
    verdicts   smallint[],                  -- of each unit
    repeats    integer[],                   -- units that were done before, with what was answered then
    outcomes   text[],
    outcome_bases  bigint[],
    outcome_times  bigint[],
    PRIMARY KEY (writer, n)
) WITH (fillfactor = 60);
CREATE INDEX batches_by_age ON tidings.batches (at);

CREATE FUNCTION tidings.micros() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- The timeline that is written now: another one after each fail-over.
CREATE FUNCTION tidings.timeline() RETURNS integer LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer $$;

-- Refuses a node that does not know where the database is: it has to compare first what it remembers.
CREATE FUNCTION tidings.expect_timeline(known integer) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF known <> tidings.timeline() THEN
        RAISE 'the database is on another timeline' USING ERRCODE = 'TD001';
    END IF;
END $$;

-- Makes the partitions of the days from that of `first` to that of `last`, where they are missing. Attaching
-- keeps neither readers nor writers of the other days waiting.
CREATE FUNCTION tidings.make_partitions(first bigint, last bigint) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '3s'
AS $$
DECLARE
    day constant bigint := 86400000000;
    start bigint := first - mod(mod(first, day) + day, day);
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(1953063023, 2);
    WHILE start <= last LOOP
        name := 'events_' || to_char(to_timestamp(start / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDD');
        IF to_regclass('tidings.' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE tidings.%I (LIKE tidings.events INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE tidings.%I ENABLE ROW LEVEL SECURITY', name);
            EXECUTE format('ALTER TABLE tidings.events ATTACH PARTITION tidings.%I FOR VALUES FROM (%s) TO (%s)',
                           name, start, start + day);
            made := made + 1;
        END IF;
        start := start + day;
    END LOOP;
    RETURN made;
END $$;
