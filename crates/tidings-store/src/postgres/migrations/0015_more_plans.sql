-- More plans that serve an empty table and a full one alike: see 0013.

-- Which new jobs' unique keys are held was asked, for each key, of all that live in its tenant: half a million rows for a batch
-- of a hundred over five thousand. There is one look for each key now, and it asks for an
-- order, though one row has it anyway: of an empty table two indexes cost the same, and only the keys' own has that order.
CREATE OR REPLACE FUNCTION tidings.look_unique(t_id text[], j_type text[], j_unique_key text[])
RETURNS TABLE (place bigint, job tidings.jobs) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT x.place, j.job FROM unnest(t_id, j_type, j_unique_key) WITH ORDINALITY AS x(tenant, type, unique_key, place)
    CROSS JOIN LATERAL (
        SELECT o.life FROM tidings.tenants o WHERE o.tenant_id = x.tenant AND o.state < 2 OFFSET 0
    ) t
    CROSS JOIN LATERAL (
        SELECT d AS job FROM tidings.jobs d
        WHERE d.tenant_id = x.tenant AND d.life = t.life AND d.job_type = x.type
          AND d.unique_key BETWEEN x.unique_key AND x.unique_key AND d.state < 3
        ORDER BY d.unique_key LIMIT 1
    ) j;
END $$;

-- As in 0010, but for this: it compared every report with every living tenant, with every endpoint of its own tenant and with
-- every attempt. A tenant is looked up once for each report, what is needed of it is kept, and endpoints are joined with
-- that alone, so that their whole key is there. Their rows are still locked by one statement, in order: a look for each
-- would lock them as it comes to them.
CREATE OR REPLACE FUNCTION tidings.report(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint,
    r_tenant text[], r_endpoint uuid[], r_generation bigint[], r_cursor bigint[], r_failing boolean[],
    r_failing_since bigint[], r_disable text[], r_event uuid[],
    -- Replays: the report's place, and how far.
    y_report integer[], y_id uuid[], y_position bigint[],
    a_report integer[], a_seq bigint[], a_event uuid[], a_number integer[], a_at bigint[], a_latency bigint[],
    a_status integer[], a_request integer[], a_answered integer[], a_answer bytea[], a_failure smallint[], a_next_at bigint[],
    d_report integer[], d_seq bigint[], d_event uuid[], d_type text[], d_dead boolean[], d_attempts integer[],
    d_at bigint[], d_failure smallint[], d_body bytea[],
    x_report integer[], x_seq bigint[],
    OUT verdicts smallint[], OUT seqs bigint[], OUT times bigint[], OUT epochs text[], OUT data text[], OUT now bigint)
LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_lives integer[] := array_fill(NULL::integer, ARRAY[cardinality(r_tenant)]);
    v_heads_then bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(r_tenant)]);
    v_logged bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(r_tenant)]);
    v_added bigint[] := array_fill(0::bigint, ARRAY[cardinality(r_tenant)]);
    v_failing_since bigint;
    v_tenants text[] := '{}';
    v_epochs text[] := '{}';
    v_bases bigint[] := '{}';
    v_heads bigint[] := '{}';
    hit record;
    t tidings.tenants;
BEGIN
    now := coalesce(p_now, tidings.micros());
    IF NOT tidings.begin_batch(p_writer, p_n, p_timeline, now) THEN
        SELECT b.verdicts, b.outcome_bases, b.outcome_times, b.epochs[1 + cardinality(b.tenants):], b.outcomes, b.at
        INTO verdicts, seqs, times, epochs, data, now
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        RETURN;
    END IF;
    verdicts := array_fill(8::smallint, ARRAY[cardinality(r_tenant)]);
    seqs := array_fill(NULL::bigint, ARRAY[cardinality(r_tenant)]);
    times := array_fill(NULL::bigint, ARRAY[cardinality(r_tenant)]);
    epochs := array_fill(NULL::text, ARRAY[cardinality(r_tenant)]);
    data := array_fill(NULL::text, ARRAY[cardinality(r_tenant)]);

    -- Those that will be published to, as everybody takes them.
    IF EXISTS (SELECT FROM unnest(r_disable) AS x(reason) WHERE x.reason IS NOT NULL) THEN
        PERFORM FROM tidings.tenants t WHERE t.state < 2 AND t.tenant_id = ANY (ARRAY(
            SELECT x.id FROM unnest(r_tenant, r_disable) AS x(id, reason) WHERE x.reason IS NOT NULL))
        ORDER BY t.tenant_id FOR NO KEY UPDATE;
    END IF;
    FOR hit IN
        SELECT r.place, t.state, t.life, t.head FROM unnest(r_tenant) WITH ORDINALITY AS r(tenant, place)
        LEFT JOIN LATERAL (
            SELECT o.state, o.life, o.head FROM tidings.tenants o
            WHERE o.tenant_id = r.tenant AND o.state < 2 OFFSET 0
        ) t ON true
    LOOP
        IF hit.state = 0 THEN
            v_lives[hit.place] := hit.life;
            v_heads_then[hit.place] := hit.head;
        ELSE
            verdicts[hit.place] := coalesce(hit.state + 2, 2);
        END IF;
    END LOOP;
    FOR hit IN
        SELECT r.place, e.attempts, e.generation, e.state
        FROM unnest(r_tenant, v_lives, r_endpoint) WITH ORDINALITY AS r(tenant, life, endpoint, place)
        JOIN tidings.endpoints e ON e.tenant_id = r.tenant AND e.life = r.life AND e.id = r.endpoint AND e.state < 3
        ORDER BY e.tenant_id, e.id FOR NO KEY UPDATE OF e
    LOOP
        verdicts[hit.place] := (hit.generation <> r_generation[hit.place])::integer;
        v_logged[hit.place] := hit.attempts;
        IF verdicts[hit.place] = 1 OR hit.state <> 0 THEN
            r_disable[hit.place] := NULL;
        END IF;
    END LOOP;

    IF cardinality(a_report) > 0 THEN
        INSERT INTO tidings.attempts
        SELECT r_tenant[a.report], v_lives[a.report], r_endpoint[a.report],
               v_logged[a.report] + row_number() OVER (PARTITION BY a.report ORDER BY a.place), a.seq, a.event, a.number,
               a.at, a.latency, a.status, a.request, a.answered, a.answer, a.failure, a.next_at
        FROM unnest(a_report, a_seq, a_event, a_number, a_at, a_latency, a_status, a_request, a_answered, a_answer, a_failure,
                    a_next_at) WITH ORDINALITY
                 AS a(report, seq, event, number, at, latency, status, request, answered, answer, failure, next_at, place)
        WHERE verdicts[a.report] < 2;
    END IF;
    IF cardinality(x_report) > 0 THEN
        DELETE FROM tidings.deliveries d USING unnest(x_report, x_seq) AS x(report, seq)
        WHERE verdicts[x.report] < 2 AND d.tenant_id = r_tenant[x.report] AND d.life = v_lives[x.report]
          AND d.endpoint = r_endpoint[x.report] AND d.seq = x.seq;
    END IF;
    IF cardinality(d_report) > 0 THEN
        INSERT INTO tidings.deliveries AS d
        SELECT r_tenant[x.report], v_lives[x.report], r_endpoint[x.report], x.seq, x.event, x.type, x.dead, x.attempts, x.at,
               x.failure, x.body
        FROM unnest(d_report, d_seq, d_event, d_type, d_dead, d_attempts, d_at, d_failure, d_body)
                 AS x(report, seq, event, type, dead, attempts, at, failure, body)
        WHERE verdicts[x.report] = 0
        ON CONFLICT (tenant_id, life, endpoint, seq) DO UPDATE
        SET dead = excluded.dead, attempts = excluded.attempts, at = excluded.at, failure = excluded.failure,
            body = coalesce(excluded.body, d.body);
        IF 1 = ANY (verdicts) THEN
            UPDATE tidings.deliveries d
            SET dead = x.dead, attempts = x.attempts, at = x.at, failure = x.failure, body = coalesce(x.body, d.body)
            FROM unnest(d_report, d_seq, d_dead, d_attempts, d_at, d_failure, d_body)
                     AS x(report, seq, dead, attempts, at, failure, body)
            WHERE verdicts[x.report] = 1 AND d.tenant_id = r_tenant[x.report] AND d.life = v_lives[x.report]
              AND d.endpoint = r_endpoint[x.report] AND d.seq = x.seq;
        END IF;
    END IF;
    IF cardinality(y_report) > 0 THEN
        UPDATE tidings.replays r SET position = greatest(r.position, y.position)
        FROM unnest(y_report, y_id, y_position) AS y(report, id, position)
        WHERE verdicts[y.report] = 0 AND r.tenant_id = r_tenant[y.report] AND r.life = v_lives[y.report]
          AND r.endpoint = r_endpoint[y.report] AND r.id = y.id;
        DELETE FROM tidings.replays r USING unnest(y_report, y_id) AS y(report, id)
        WHERE verdicts[y.report] = 0 AND r.tenant_id = r_tenant[y.report] AND r.life = v_lives[y.report]
          AND r.endpoint = r_endpoint[y.report] AND r.id = y.id AND r.position >= r.to_seq;
    END IF;
    -- No cursor goes back, or further than the log.
    FOR hit IN SELECT a.report, count(*) AS added FROM unnest(a_report) AS a(report) GROUP BY a.report LOOP
        v_added[hit.report] := hit.added;
    END LOOP;
    UPDATE tidings.endpoints e
    SET attempts = e.attempts + v_added[x.place],
        cursor = CASE WHEN verdicts[x.place] = 0 AND x.cursor IS NOT NULL
                 THEN greatest(e.cursor, least(x.cursor, v_heads_then[x.place])) ELSE e.cursor END,
        failing_since = CASE WHEN verdicts[x.place] = 0 AND x.failing THEN x.failing_since ELSE e.failing_since END
    FROM unnest(r_tenant, v_lives, r_endpoint, r_cursor, r_failing, r_failing_since) WITH ORDINALITY
             AS x(tenant, life, endpoint, cursor, failing, failing_since, place)
    WHERE verdicts[x.place] < 2 AND e.tenant_id = x.tenant AND e.life = x.life AND e.id = x.endpoint;

    FOR hit IN
        SELECT x.place, x.reason FROM unnest(r_disable) WITH ORDINALITY AS x(reason, place)
        WHERE x.reason IS NOT NULL AND verdicts[x.place] = 0 ORDER BY x.place
    LOOP
        UPDATE tidings.endpoints e
        SET state = 2, since = report.now, reason = hit.reason, generation = e.generation + 1,
            change = tidings.next_endpoint_change()
        WHERE e.tenant_id = r_tenant[hit.place] AND e.life = v_lives[hit.place] AND e.id = r_endpoint[hit.place]
        RETURNING e.failing_since INTO v_failing_since;
        data[hit.place] := tidings.endpoint_event(r_endpoint[hit.place], 'reason', hit.reason, v_failing_since);
        t := tidings.append_event(r_tenant[hit.place], r_event[hit.place], 'webhook.disabled', data[hit.place], report.now);
        seqs[hit.place] := t.head;
        times[hit.place] := t.last_time;
        epochs[hit.place] := t.epoch;
        v_tenants := v_tenants || t.tenant_id;
        v_epochs := v_epochs || t.epoch;
        v_bases := v_bases || (t.head - 1);
        v_heads := v_heads || t.head;
    END LOOP;
    -- The events' own epochs lie behind those of the heads that moved.
    UPDATE tidings.batches b
    SET at = report.now, tenants = v_tenants, epochs = v_epochs || report.epochs, bases = v_bases, heads = v_heads,
        verdicts = report.verdicts, outcomes = report.data, outcome_bases = report.seqs, outcome_times = report.times
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;
