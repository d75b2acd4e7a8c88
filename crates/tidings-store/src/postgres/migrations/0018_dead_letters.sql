-- What a stored body is, until when a receiver asked to be left alone, and an end for dead letters.

ALTER TABLE tidings.deliveries ADD COLUMN format smallint NOT NULL DEFAULT 0;  -- of the body: 0 standard, 1 cloudevents, 2 cloudevents-binary
ALTER TABLE tidings.endpoints ADD COLUMN quiet_until bigint;

-- What a body is that was stored without its format: those that wrap the data begin in one way.
CREATE FUNCTION tidings.format_of(p_body bytea, p_seq bigint, p_event uuid) RETURNS smallint LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN p_body IS NULL THEN 0
        WHEN position(convert_to(format('{"seq":%s,"id":"%s"', p_seq, p_event), 'UTF8') IN substr(p_body, 1, 120)) = 1 THEN 0
        WHEN position(convert_to(format('{"specversion":"1.0","datacontenttype":"application/json","id":"%s"', p_event),
                                 'UTF8') IN substr(p_body, 1, 120)) = 1 THEN 1
        ELSE 2 END::smallint
$$;

-- What one receiver asked for is nothing to another: a new URL is not left alone.
CREATE FUNCTION tidings.endpoint_moves() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.spec::json ->> 'url' IS DISTINCT FROM OLD.spec::json ->> 'url' THEN
        NEW.quiet_until := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER endpoint_moves BEFORE UPDATE OF spec ON tidings.endpoints
    FOR EACH ROW WHEN (OLD.quiet_until IS NOT NULL AND OLD.spec IS DISTINCT FROM NEW.spec)
    EXECUTE FUNCTION tidings.endpoint_moves();

-- Removes the dead letters of these tenants' endpoints that are too old, and the oldest of those that are too many; at most so
-- many rows. Counting looks at so many index entries in all; the endpoints come in any order, so that each has its turn.
CREATE FUNCTION tidings.forget_dead_letters(p_now bigint, p_ids text[], p_lives integer[], p_age bigint, p_count bigint,
                                            p_max integer) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_left integer := p_max;
    v_rows integer;
    v_looks bigint := 3000000;
    v_at bigint;
    v_seq bigint;
    hit record;
    e record;
BEGIN
    FOR e IN
        SELECT o.tenant_id, o.life, o.id FROM unnest(p_ids, p_lives) AS x(id, life)
        JOIN tidings.endpoints o ON o.tenant_id = x.id AND o.life = x.life AND o.state < 3
        ORDER BY random()
    LOOP
        EXIT WHEN v_left <= 0;
        v_at := v_now - p_age - 1;
        v_seq := 9223372036854775807;
        -- There are no more than their seqs reach.
        IF v_looks > 0 AND p_count <= (
            SELECT d.seq FROM tidings.deliveries d
            WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND d.dead ORDER BY d.seq DESC LIMIT 1
        ) - (
            SELECT d.seq FROM tidings.deliveries d
            WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND d.dead ORDER BY d.seq LIMIT 1
        ) THEN
            v_looks := v_looks - p_count;
            SELECT d.at, d.seq INTO hit FROM tidings.deliveries d
            WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND d.dead
            ORDER BY d.at DESC, d.seq DESC OFFSET p_count LIMIT 1;
            IF FOUND AND (v_at IS NULL OR (hit.at, hit.seq) > (v_at, v_seq)) THEN
                v_at := hit.at;
                v_seq := hit.seq;
            END IF;
        END IF;
        CONTINUE WHEN v_at IS NULL;
        -- One that is sent again meanwhile is dead no more, and stays.
        DELETE FROM tidings.deliveries d USING (
            SELECT o.seq, o.at FROM tidings.deliveries o
            WHERE o.tenant_id = e.tenant_id AND o.life = e.life AND o.endpoint = e.id AND o.dead
              AND (o.at, o.seq) <= (v_at, v_seq)
            ORDER BY o.at, o.seq LIMIT v_left
        ) o
        WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND d.seq = o.seq AND d.at = o.at
          AND d.dead;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
    END LOOP;
    RETURN p_max - v_left;
END $$;

-- As in 0015, but for what an endpoint was asked for and what a body is. The one with fewer parameters is for nodes of the
-- release before, and tells a body by how it begins.
CREATE FUNCTION tidings.report(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint,
    r_tenant text[], r_endpoint uuid[], r_generation bigint[], r_cursor bigint[], r_failing boolean[],
    r_failing_since bigint[], r_quiet_until bigint[], r_disable text[], r_event uuid[],
    -- Replays: the report's place, and how far.
    y_report integer[], y_id uuid[], y_position bigint[],
    a_report integer[], a_seq bigint[], a_event uuid[], a_number integer[], a_at bigint[], a_latency bigint[],
    a_status integer[], a_request integer[], a_answered integer[], a_answer bytea[], a_failure smallint[], a_next_at bigint[],
    d_report integer[], d_seq bigint[], d_event uuid[], d_type text[], d_dead boolean[], d_attempts integer[],
    d_at bigint[], d_failure smallint[], d_body bytea[], d_format smallint[],
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
               x.failure, x.body, coalesce(x.format, tidings.format_of(x.body, x.seq, x.event))
        FROM unnest(d_report, d_seq, d_event, d_type, d_dead, d_attempts, d_at, d_failure, d_body, d_format)
                 AS x(report, seq, event, type, dead, attempts, at, failure, body, format)
        WHERE verdicts[x.report] = 0
        ON CONFLICT (tenant_id, life, endpoint, seq) DO UPDATE
        SET dead = excluded.dead, attempts = excluded.attempts, at = excluded.at, failure = excluded.failure,
            body = coalesce(excluded.body, d.body),
            format = CASE WHEN excluded.body IS NULL THEN d.format ELSE excluded.format END;
        IF 1 = ANY (verdicts) THEN
            UPDATE tidings.deliveries d
            SET dead = x.dead, attempts = x.attempts, at = x.at, failure = x.failure, body = coalesce(x.body, d.body),
                format = CASE WHEN x.body IS NULL THEN d.format
                         ELSE coalesce(x.format, tidings.format_of(x.body, d.seq, d.event_id)) END
            FROM unnest(d_report, d_seq, d_dead, d_attempts, d_at, d_failure, d_body, d_format)
                     AS x(report, seq, dead, attempts, at, failure, body, format)
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
        failing_since = CASE WHEN verdicts[x.place] = 0 AND x.failing THEN x.failing_since ELSE e.failing_since END,
        quiet_until = CASE WHEN verdicts[x.place] = 0 THEN greatest(e.quiet_until, x.quiet_until) ELSE e.quiet_until END
    FROM unnest(r_tenant, v_lives, r_endpoint, r_cursor, r_failing, r_failing_since, r_quiet_until) WITH ORDINALITY
             AS x(tenant, life, endpoint, cursor, failing, failing_since, quiet_until, place)
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
LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM tidings.report(
        p_writer, p_n, p_timeline, p_now,
        r_tenant, r_endpoint, r_generation, r_cursor, r_failing, r_failing_since, NULL::bigint[], r_disable, r_event,
        y_report, y_id, y_position,
        a_report, a_seq, a_event, a_number, a_at, a_latency, a_status, a_request, a_answered, a_answer, a_failure, a_next_at,
        d_report, d_seq, d_event, d_type, d_dead, d_attempts, d_at, d_failure, d_body, NULL::smallint[],
        x_report, x_seq)
$$;
