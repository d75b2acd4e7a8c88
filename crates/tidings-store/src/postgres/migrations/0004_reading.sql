-- Reading a tenant goes through functions that belong to tidings_reader and run as it. Each names its tenant
-- for its transaction, and row-level security shows that role nothing else, whatever the query says.

ALTER TABLE tidings.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.tickets ENABLE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON tidings.tenants FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true) AND state < 2);
CREATE POLICY one_tenant ON tidings.events FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
CREATE POLICY one_tenant ON tidings.jobs FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
CREATE POLICY one_tenant ON tidings.keys FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));

GRANT USAGE ON SCHEMA tidings TO tidings_reader;
GRANT SELECT ON tidings.tenants, tidings.events, tidings.jobs, tidings.keys TO tidings_reader;

CREATE FUNCTION tidings.read_tenant(p_tenant text)
RETURNS TABLE (state smallint, epoch text, head bigint, oldest bigint, created_at bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY SELECT t.state, t.epoch, t.head, t.oldest, t.created_at FROM tidings.tenants t
                 WHERE t.tenant_id = p_tenant AND t.state < 2;
END $$;

-- The first row has no event: it says where the log begins and ends. Nothing where there is no such
-- tenant, or it has no such job.
CREATE FUNCTION tidings.read_events(p_tenant text, p_job uuid, p_after bigint, p_max bigint, p_bytes bigint)
RETURNS TABLE (epoch text, head bigint, oldest bigint, cut boolean, seq bigint, "time" bigint, id uuid, type text,
               job_id uuid, job_type text, owner text, subject text, data text, detail text, debug text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_log record;
    v_start bigint;
    v_bytes bigint := 0;
    v_events bigint := 0;
    e tidings.events;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT t.life, t.epoch, t.head, t.oldest INTO v_log FROM tidings.tenants t
    WHERE t.tenant_id = p_tenant AND t.state < 2;
    IF NOT FOUND OR (p_job IS NOT NULL AND NOT EXISTS (
        SELECT FROM tidings.jobs j WHERE j.tenant_id = p_tenant AND j.life = v_log.life AND j.id = p_job))
    THEN
        RETURN;
    END IF;
    epoch := v_log.epoch;
    head := v_log.head;
    oldest := v_log.oldest;
    cut := false;
    RETURN NEXT;
    v_start := greatest(p_after, v_log.oldest - 1);
    IF p_job IS NULL THEN
        FOR e IN
            SELECT d.* FROM tidings.events d
            WHERE d.tenant_id = p_tenant AND d.life = v_log.life AND d.seq > v_start ORDER BY d.seq LIMIT p_max
        LOOP
            v_bytes := v_bytes + 256 + octet_length(e.data) + coalesce(octet_length(e.detail), 0)
                     + coalesce(octet_length(e.debug), 0);
            cut := v_bytes > p_bytes AND v_events > 0;
            EXIT WHEN cut;
            v_events := v_events + 1;
            seq := e.seq; "time" := e.time; id := e.id; type := e.type; job_id := e.job_id; job_type := e.job_type;
            owner := e.owner; subject := e.subject; data := e.data; detail := e.detail; debug := e.debug;
            RETURN NEXT;
        END LOOP;
    ELSE
        FOR e IN
            SELECT d.* FROM tidings.events d
            WHERE d.tenant_id = p_tenant AND d.life = v_log.life AND d.job_id = p_job AND d.seq > v_start
            ORDER BY d.seq LIMIT p_max
        LOOP
            v_bytes := v_bytes + 256 + octet_length(e.data) + coalesce(octet_length(e.detail), 0)
                     + coalesce(octet_length(e.debug), 0);
            cut := v_bytes > p_bytes AND v_events > 0;
            EXIT WHEN cut;
            v_events := v_events + 1;
            seq := e.seq; "time" := e.time; id := e.id; type := e.type; job_id := e.job_id; job_type := e.job_type;
            owner := e.owner; subject := e.subject; data := e.data; detail := e.detail; debug := e.debug;
            RETURN NEXT;
        END LOOP;
    END IF;
    IF cut THEN
        seq := NULL;
        RETURN NEXT;
    END IF;
END $$;

CREATE FUNCTION tidings.read_job(p_tenant text, p_id uuid) RETURNS SETOF tidings.jobs
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY SELECT j.* FROM tidings.tenants t
                 JOIN tidings.jobs j ON j.tenant_id = t.tenant_id AND j.life = t.life
                 WHERE t.tenant_id = p_tenant AND t.state < 2 AND j.id = p_id;
END $$;

-- Newest first, below `p_before`. Looks at so many rows at most; `next` is where the rest begins, on a row of its
-- own, where there is a rest.
CREATE FUNCTION tidings.read_jobs(p_tenant text, p_before uuid, p_state smallint, p_type text, p_owner text,
                                  p_subject text, p_max integer, p_scan integer)
RETURNS TABLE (next uuid, job tidings.jobs) LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
DECLARE
    v_life integer;
    v_found integer := 0;
    v_scanned integer := 0;
    v_last uuid;
    j tidings.jobs;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT t.life INTO v_life FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2;
    FOR j IN
        SELECT d.* FROM tidings.jobs d
        WHERE d.tenant_id = p_tenant AND d.life = v_life
          AND d.id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY d.id DESC LIMIT p_scan + 1
    LOOP
        IF v_found = p_max OR v_scanned = p_scan THEN
            next := v_last;
            job := NULL;
            RETURN NEXT;
            RETURN;
        END IF;
        v_scanned := v_scanned + 1;
        v_last := j.id;
        IF (p_state IS NULL OR j.state = p_state) AND (p_type IS NULL OR j.job_type = p_type)
            AND (p_owner IS NULL OR j.owner = p_owner) AND (p_subject IS NULL OR j.subject = p_subject)
        THEN
            v_found := v_found + 1;
            job := j;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION tidings.read_queues(p_tenant text, p_now bigint)
RETURNS TABLE (job_type text, scheduled bigint, queued bigint, running bigint, oldest_due bigint,
               finished_last_minute bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY
    SELECT x.job_type, sum((x.state = 0)::integer * x.n)::bigint, sum((x.state = 1)::integer * x.n)::bigint,
           sum((x.state = 2)::integer * x.n)::bigint, min(x.due), sum((x.state = 3)::integer * x.n)::bigint
    FROM (
        SELECT j.job_type, j.state, count(*) AS n, min(j.run_at) FILTER (WHERE j.state = 1) AS due
        FROM tidings.tenants t JOIN tidings.jobs j ON j.tenant_id = t.tenant_id AND j.life = t.life
        WHERE t.tenant_id = p_tenant AND t.state < 2 AND j.state < 3 GROUP BY 1, 2
        UNION ALL
        SELECT j.job_type, 3, count(*), NULL
        FROM tidings.tenants t JOIN tidings.jobs j ON j.tenant_id = t.tenant_id AND j.life = t.life
        WHERE t.tenant_id = p_tenant AND t.state < 2 AND j.state >= 3
          AND j.finished_at > coalesce(p_now, tidings.micros()) - 60000000 GROUP BY 1
    ) x GROUP BY 1 ORDER BY 1;
END $$;

CREATE FUNCTION tidings.read_keys(p_tenant text, p_before uuid, p_max bigint) RETURNS SETOF tidings.keys
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY
    SELECT k.* FROM tidings.tenants t JOIN tidings.keys k ON k.tenant_id = t.tenant_id AND k.life = t.life
    WHERE t.tenant_id = p_tenant AND t.state < 2
      AND (p_before IS NULL OR k.id < p_before) ORDER BY k.id DESC LIMIT p_max;
END $$;

-- A function changes hands only to a role that may make one here.
GRANT CREATE ON SCHEMA tidings TO tidings_reader;
ALTER FUNCTION tidings.read_tenant OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_events OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_job OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_jobs OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_queues OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_keys OWNER TO tidings_reader;
REVOKE CREATE ON SCHEMA tidings FROM tidings_reader;
-- What they call runs as they do.
GRANT EXECUTE ON FUNCTION tidings.micros() TO tidings_reader;
