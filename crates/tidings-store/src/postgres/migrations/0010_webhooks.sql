-- Webhook endpoints and what was not delivered to them at the first try. Who changes one by hand has the counter row of its
-- tenant to itself; reports lock the endpoints' rows, in order, and counter rows before that only where they
-- publish.

ALTER TABLE tidings.meta ADD COLUMN endpoint_changes bigint NOT NULL DEFAULT 0;

-- A tombstone stays for an hour, so that dispatchers hear of it.
CREATE TABLE tidings.endpoints (
    tenant_id      text COLLATE "C" NOT NULL,
    life           integer NOT NULL,
    id             uuid NOT NULL,
    partition      smallint NOT NULL,
    change         bigint NOT NULL,         -- rises with every change that a dispatcher has to hear of
    spec           text NOT NULL,
    grant_json     text NOT NULL,
    secrets        text NOT NULL,
    grantee        text,                    -- the grant's user
    state          smallint NOT NULL,       -- 0 active, 1 paused, 2 disabled, 3 deleted
    since          bigint,                  -- when it became so, where it is not active
    reason         text,
    cursor         bigint NOT NULL,
    generation     bigint NOT NULL,
    failing_since  bigint,
    created_at     bigint NOT NULL,
    attempts       bigint NOT NULL DEFAULT 0,  -- how many were logged, forgotten ones included
    PRIMARY KEY (tenant_id, life, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX endpoints_by_change ON tidings.endpoints (change);
CREATE INDEX endpoints_by_partition ON tidings.endpoints (partition, change);
CREATE INDEX endpoints_deleted ON tidings.endpoints (since) WHERE state = 3;

-- What was not delivered at the first try, or is being sent again.
CREATE TABLE tidings.deliveries (
    tenant_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    endpoint    uuid NOT NULL,
    seq         bigint NOT NULL,
    event_id    uuid NOT NULL,
    event_type  text NOT NULL,
    dead        boolean NOT NULL,
    attempts    integer NOT NULL,
    at          bigint NOT NULL,            -- of the next attempt, or when it died
    failure     smallint,
    body        bytea,
    PRIMARY KEY (tenant_id, life, endpoint, seq)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX deliveries_due ON tidings.deliveries (tenant_id, life, endpoint, at, seq) WHERE NOT dead;
CREATE INDEX deliveries_dead ON tidings.deliveries (tenant_id, life, endpoint, seq) WHERE dead;
CREATE INDEX deliveries_holding ON tidings.deliveries (tenant_id, life, seq) WHERE NOT dead;

CREATE TABLE tidings.replays (
    tenant_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    endpoint    uuid NOT NULL,
    id          uuid NOT NULL,
    from_seq    bigint NOT NULL,
    to_seq      bigint NOT NULL,
    position    bigint NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, life, endpoint, id)
) WITH (fillfactor = 50);

-- The delivery log; `n` counts an endpoint's attempts.
CREATE TABLE tidings.attempts (
    tenant_id      text COLLATE "C" NOT NULL,
    life           integer NOT NULL,
    endpoint       uuid NOT NULL,
    n              bigint NOT NULL,
    seq            bigint NOT NULL,
    event_id       uuid NOT NULL,
    number         integer NOT NULL,
    at             bigint NOT NULL,
    latency        bigint NOT NULL,
    status         integer,
    request_bytes  integer NOT NULL,
    answer_bytes   integer NOT NULL,
    answer         bytea,
    failure        smallint,
    next_at        bigint,
    PRIMARY KEY (tenant_id, life, endpoint, n)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX attempts_by_event ON tidings.attempts (tenant_id, life, seq);

ALTER TABLE tidings.endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.replays ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON tidings.endpoints FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true) AND state < 3);
CREATE POLICY one_tenant ON tidings.deliveries FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
CREATE POLICY one_tenant ON tidings.replays FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
CREATE POLICY one_tenant ON tidings.attempts FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
GRANT SELECT ON tidings.endpoints, tidings.deliveries, tidings.replays, tidings.attempts TO tidings_reader;

-- Numbers a change. The lock on the number is held until the commit, so that changes are numbered in commit order; with
-- that of revocations, which is the same row, it is the last that anybody takes.
CREATE FUNCTION tidings.next_endpoint_change() RETURNS bigint LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $$ UPDATE tidings.meta SET endpoint_changes = endpoint_changes + 1 RETURNING endpoint_changes $$;

-- A tenant that may not be served, or may again: dispatchers look at its endpoints anew.
CREATE FUNCTION tidings.endpoints_follow() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id uuid;
BEGIN
    -- All of them, before the number's row, which is the last that anybody takes.
    PERFORM FROM tidings.endpoints e WHERE e.tenant_id = NEW.tenant_id AND e.life = NEW.life
    ORDER BY e.id FOR NO KEY UPDATE;
    FOR v_id IN
        SELECT e.id FROM tidings.endpoints e WHERE e.tenant_id = NEW.tenant_id AND e.life = NEW.life ORDER BY e.id
    LOOP
        UPDATE tidings.endpoints e SET change = tidings.next_endpoint_change()
        WHERE e.tenant_id = NEW.tenant_id AND e.life = NEW.life AND e.id = v_id;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER endpoints_follow AFTER UPDATE OF state ON tidings.tenants
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION tidings.endpoints_follow();

-- Begins a batch. False: it was committed before, and its row says what it answered.
CREATE FUNCTION tidings.begin_batch(p_writer uuid, p_n bigint, p_timeline integer, p_now bigint)
RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tidings.expect_timeline(p_timeline);
    INSERT INTO tidings.batches (writer, n, at) VALUES (p_writer, p_n, p_now) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_n = 1 THEN
        INSERT INTO tidings.writers VALUES (p_writer, p_now);
    END IF;
    RETURN true;
END $$;

-- What a change of one is decided on; no tenant_state where there is no such tenant.
CREATE FUNCTION tidings.look_endpoint(p_tenant text, p_id uuid)
RETURNS TABLE (tenant_state smallint, head bigint, endpoint tidings.endpoints) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT t.state, t.head, e FROM (SELECT) one
    LEFT JOIN tidings.tenants t ON t.tenant_id = p_tenant AND t.state < 2
    LEFT JOIN tidings.endpoints e ON e.tenant_id = p_tenant AND e.life = t.life AND e.id = p_id AND e.state < 3;
END $$;

-- One endpoint as it was decided, as a batch of its own: new where `p_before` is null, gone where `p_spec` is; `p_before`
-- is the change that was decided on. A null cursor leaves the one that deliveries have moved; a new endpoint's is then
-- the head. Answers the verdict, and the cursor, the change and `failing_since` as they are now. Verdicts as those of
-- tidings.commit, and 8: there is no such endpoint, 10: there are as many as there may be.
CREATE FUNCTION tidings.write_endpoint(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_tenant text, p_create boolean, p_any_state boolean,
    p_epoch text, p_most bigint, p_id uuid, p_before bigint, p_partition smallint, p_spec text, p_grant text, p_secrets text, p_user text,
    p_state smallint, p_since bigint, p_reason text, p_cursor bigint, p_generation bigint, p_failing_since bigint,
    p_created_at bigint, OUT verdict smallint, OUT numbers bigint[]) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_tenant tidings.tenants;
    v_change bigint;
    v_cursor bigint;
    v_failing_since bigint;
BEGIN
    IF NOT tidings.begin_batch(p_writer, p_n, p_timeline, v_now) THEN
        SELECT b.verdicts[1], b.outcome_bases INTO verdict, numbers
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        RETURN;
    END IF;
    verdict := 0;
    IF p_create THEN
        INSERT INTO tidings.tenants (tenant_id, life, state, epoch, created_at)
        SELECT p_tenant, coalesce(max(o.life), 0) + 1, 0, p_epoch, v_now FROM tidings.tenants o
        WHERE o.tenant_id = p_tenant HAVING count(*) FILTER (WHERE o.state < 2) = 0
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT t.* INTO v_tenant FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        verdict := 2;
    ELSIF v_tenant.state <> 0 AND NOT p_any_state THEN
        verdict := 3;
    ELSIF p_before IS NULL THEN
        IF (SELECT count(*) FROM tidings.endpoints e
            WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.state < 3) >= p_most THEN
            verdict := 10;
        ELSE
            v_cursor := least(coalesce(p_cursor, v_tenant.head), v_tenant.head);
            v_change := tidings.next_endpoint_change();
            INSERT INTO tidings.endpoints (tenant_id, life, id, partition, change, spec, grant_json, secrets, grantee, state,
                since, reason, cursor, generation, failing_since, created_at)
            VALUES (p_tenant, v_tenant.life, p_id, p_partition, v_change, p_spec, p_grant, p_secrets, p_user, p_state,
                p_since, p_reason, v_cursor, p_generation, p_failing_since, p_created_at);
        END IF;
    ELSE
        PERFORM FROM tidings.endpoints e
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = p_id AND e.change = p_before AND e.state < 3
        FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            verdict := 1;
        ELSIF p_spec IS NULL THEN
            v_change := tidings.next_endpoint_change();
            UPDATE tidings.endpoints e
            SET change = v_change, state = 3, since = v_now, reason = NULL, secrets = '[]', spec = '{}',
                generation = e.generation + 1
            WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = p_id;
        ELSE
            v_change := tidings.next_endpoint_change();
            UPDATE tidings.endpoints e
            SET change = v_change, spec = p_spec, secrets = p_secrets, state = p_state, since = p_since, reason = p_reason,
                cursor = coalesce(p_cursor, e.cursor), generation = p_generation,
                failing_since = CASE WHEN e.generation = p_generation THEN e.failing_since ELSE p_failing_since END
            WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = p_id
            RETURNING e.cursor, e.failing_since INTO v_cursor, v_failing_since;
        END IF;
    END IF;
    numbers := ARRAY[v_cursor, v_change, v_failing_since];
    UPDATE tidings.batches b
    SET verdicts = ARRAY[verdict], tenants = ARRAY[p_tenant], epochs = ARRAY[v_tenant.epoch],
        heads = ARRAY[v_tenant.head], bases = ARRAY[v_tenant.head], outcome_bases = numbers
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;

-- Pauses a user's active endpoints, whatever the state of its tenant; answers how many.
CREATE FUNCTION tidings.pause_endpoints(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_tenant text, p_user text,
    OUT verdict smallint, OUT count bigint) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_tenant tidings.tenants;
    v_id uuid;
BEGIN
    IF NOT tidings.begin_batch(p_writer, p_n, p_timeline, v_now) THEN
        SELECT b.verdicts[1], b.outcome_bases[1] INTO verdict, count
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        RETURN;
    END IF;
    verdict := 0;
    count := 0;
    SELECT t.* INTO v_tenant FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        verdict := 2;
    END IF;
    PERFORM FROM tidings.endpoints e
    WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.state = 0 AND e.grantee = p_user
    ORDER BY e.id FOR NO KEY UPDATE;
    FOR v_id IN
        SELECT e.id FROM tidings.endpoints e
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.state = 0 AND e.grantee = p_user ORDER BY e.id
    LOOP
        UPDATE tidings.endpoints e
        SET state = 1, since = v_now, generation = e.generation + 1, change = tidings.next_endpoint_change()
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = v_id;
        count := count + 1;
    END LOOP;
    UPDATE tidings.batches b SET verdicts = ARRAY[verdict], outcome_bases = ARRAY[count]
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;

-- Sends an endpoint something again: a range of the log where `p_from` is not null, one event where both ends are the same
-- and `p_event`, else its dead letters. Answers how many deliveries or events that is.
CREATE FUNCTION tidings.replay(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_tenant text, p_endpoint uuid, p_id uuid, p_from bigint,
    p_to bigint, p_event boolean, p_replays bigint, p_most bigint, OUT verdict smallint, OUT count bigint)
LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
    SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_tenant tidings.tenants;
    v_from bigint;
    v_to bigint;
BEGIN
    IF NOT tidings.begin_batch(p_writer, p_n, p_timeline, v_now) THEN
        SELECT b.verdicts[1], b.outcome_bases[1] INTO verdict, count
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        RETURN;
    END IF;
    verdict := 0;
    count := 0;
    SELECT t.* INTO v_tenant FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        verdict := 2;
    ELSIF v_tenant.state <> 0 THEN
        verdict := 3;
    ELSE
        PERFORM FROM tidings.endpoints e
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = p_endpoint AND e.state < 3 FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            verdict := 8;
        END IF;
    END IF;
    IF verdict = 0 AND (p_event OR p_from IS NULL) THEN
        UPDATE tidings.deliveries d SET dead = false, attempts = 0, at = v_now, failure = NULL
        WHERE d.tenant_id = p_tenant AND d.life = v_tenant.life AND d.endpoint = p_endpoint AND d.seq IN (
            SELECT o.seq FROM tidings.deliveries o
            WHERE o.tenant_id = p_tenant AND o.life = v_tenant.life AND o.endpoint = p_endpoint
              AND (o.dead OR p_event) AND (p_from IS NULL OR o.seq = p_from) ORDER BY o.seq LIMIT p_most);
        GET DIAGNOSTICS count = ROW_COUNT;
    END IF;
    IF verdict = 0 AND p_from IS NOT NULL AND count = 0 THEN
        v_from := greatest(p_from, v_tenant.oldest);
        v_to := least(p_to, v_tenant.head);
        IF v_from > v_to THEN
            verdict := 8;
        ELSIF (SELECT count(*) FROM tidings.replays r
               WHERE r.tenant_id = p_tenant AND r.life = v_tenant.life AND r.endpoint = p_endpoint) >= p_replays THEN
            verdict := 10;
        ELSE
            INSERT INTO tidings.replays
            VALUES (p_tenant, v_tenant.life, p_endpoint, p_id, v_from, v_to, v_from - 1, v_now);
            count := v_to - v_from + 1;
        END IF;
    END IF;
    IF verdict = 0 THEN
        UPDATE tidings.endpoints e SET change = tidings.next_endpoint_change()
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = p_endpoint;
    END IF;
    UPDATE tidings.batches b SET verdicts = ARRAY[verdict], outcome_bases = ARRAY[count]
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;

-- What dispatchers have to say of endpoints, each once, as one batch.
--
-- Verdicts: 0 done, 1 done as of an older generation (no cursor moves, no row is added, nothing is disabled), 2 no such
-- tenant, 3 suspended, 8 no such endpoint. Of a report that disables its endpoint, `seqs`, `times` and `epochs` say
-- where its event went.
CREATE FUNCTION tidings.report(
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
    v_logged bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(r_tenant)]);
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
        PERFORM FROM tidings.tenants t WHERE t.state < 2 AND t.tenant_id = ANY (
            SELECT x.id FROM unnest(r_tenant, r_disable) AS x(id, reason) WHERE x.reason IS NOT NULL)
        ORDER BY t.tenant_id FOR NO KEY UPDATE;
    END IF;
    FOR hit IN
        SELECT r.place, t.state FROM unnest(r_tenant) WITH ORDINALITY AS r(tenant, place)
        LEFT JOIN tidings.tenants t ON t.tenant_id = r.tenant AND t.state < 2
        WHERE t.state IS DISTINCT FROM 0
    LOOP
        verdicts[hit.place] := coalesce(hit.state + 2, 2);
    END LOOP;
    FOR hit IN
        SELECT r.place, e.life, e.attempts, e.generation, e.state FROM unnest(r_tenant, r_endpoint) WITH ORDINALITY AS r(tenant, endpoint, place)
        JOIN tidings.tenants t ON t.tenant_id = r.tenant AND t.state = 0
        JOIN tidings.endpoints e ON e.tenant_id = r.tenant AND e.life = t.life AND e.id = r.endpoint AND e.state < 3
        ORDER BY e.tenant_id, e.id FOR NO KEY UPDATE OF e
    LOOP
        verdicts[hit.place] := (hit.generation <> r_generation[hit.place])::integer;
        v_lives[hit.place] := hit.life;
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
    UPDATE tidings.endpoints e
    SET attempts = e.attempts + (SELECT count(*) FROM unnest(a_report) AS a(report) WHERE a.report = x.place),
        cursor = CASE WHEN verdicts[x.place] = 0 THEN greatest(e.cursor, CASE WHEN x.cursor IS NOT NULL THEN least(x.cursor, t.head) END)
                 ELSE e.cursor END,
        failing_since = CASE WHEN verdicts[x.place] = 0 AND x.failing THEN x.failing_since ELSE e.failing_since END
    FROM unnest(r_tenant, r_endpoint, r_cursor, r_failing, r_failing_since) WITH ORDINALITY
             AS x(tenant, endpoint, cursor, failing, failing_since, place)
    JOIN tidings.tenants t ON t.tenant_id = x.tenant AND t.state < 2
    WHERE verdicts[x.place] < 2 AND e.tenant_id = x.tenant AND e.life = v_lives[x.place] AND e.id = x.endpoint;

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

-- The data of an event about an endpoint, its keys sorted as the other store sorts them.
CREATE FUNCTION tidings.endpoint_event(p_endpoint uuid, p_key text, p_value text, p_failing_since bigint)
RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{"endpoint_id":"' || p_endpoint || '"'
        || CASE WHEN p_failing_since IS NULL THEN ''
           ELSE ',"failing_since":"' || to_char(
               timestamp '1970-01-01' + make_interval(secs => p_failing_since / 1000000)
                   + make_interval(secs => (p_failing_since % 1000000) / 1000000.0),
               'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"' END
        || ',"' || p_key || '":"' || p_value || '"}'
$$;

-- Appends one event to a log whose counter row the caller has; answers that row as it is then.
CREATE FUNCTION tidings.append_event(p_tenant text, p_id uuid, p_type text, p_data text, p_now bigint)
RETURNS tidings.tenants LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t tidings.tenants;
BEGIN
    UPDATE tidings.tenants o SET head = o.head + 1, last_time = greatest(o.last_time, p_now)
    WHERE o.tenant_id = p_tenant AND o.state < 2 RETURNING o.* INTO t;
    INSERT INTO tidings.events (tenant_id, life, seq, time, id, type, data)
    VALUES (t.tenant_id, t.life, t.head, t.last_time, p_id, p_type, p_data);
    RETURN t;
END $$;

-- How far a floor may go: `wanted` by the log's own retention, `needed` by endpoints, `cut` by how long they may be waited for.
CREATE FUNCTION tidings.wanted_floor(p_tenant text, p_life integer, p_now bigint, p_age bigint, p_count bigint)
RETURNS bigint LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_cutoff bigint := p_now - p_age;
    v_floor bigint;
    v_time bigint;
    t record;
BEGIN
    SELECT o.head, o.oldest INTO t FROM tidings.tenants o WHERE o.tenant_id = p_tenant AND o.life = p_life;
    v_floor := greatest(t.oldest, t.head - p_count + 1);
    IF v_cutoff IS NOT NULL AND v_floor <= t.head THEN
        SELECT e.time INTO v_time FROM tidings.events e
        WHERE e.tenant_id = p_tenant AND e.life = p_life AND e.seq >= v_floor ORDER BY e.seq LIMIT 1;
        IF v_time < v_cutoff THEN
            -- Times never fall within a log: the first that is young enough ends what has expired.
            v_floor := coalesce((
                SELECT e.seq FROM tidings.events e
                WHERE e.tenant_id = p_tenant AND e.life = p_life AND e.seq > v_floor AND e.time >= v_cutoff
                ORDER BY e.seq LIMIT 1), t.head + 1);
        END IF;
    END IF;
    RETURN v_floor;
END $$;

-- The first seq that an endpoint of the tenant still needs; null where none needs any.
CREATE FUNCTION tidings.needed_from(p_tenant text, p_life integer) RETURNS bigint LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(
        (SELECT min(e.cursor) + 1 FROM tidings.endpoints e
         WHERE e.tenant_id = p_tenant AND e.life = p_life AND e.state < 3),
        (SELECT min(d.seq) FROM tidings.deliveries d
         WHERE d.tenant_id = p_tenant AND d.life = p_life AND NOT d.dead),
        (SELECT min(r.position) + 1 FROM tidings.replays r WHERE r.tenant_id = p_tenant AND r.life = p_life))
$$;

-- As before, but no floor passes what an endpoint still needs: what has waited for too long was cut off before.
CREATE OR REPLACE FUNCTION tidings.move_floors(p_now bigint, p_after text, p_age bigint, p_count bigint, p_max integer)
RETURNS TABLE (tenant_id text, life integer) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_ids text[] := '{}';
    v_lives integer[] := '{}';
    v_floors bigint[] := '{}';
    v_floor bigint;
    t record;
BEGIN
    FOR t IN
        SELECT o.tenant_id, o.life, o.oldest FROM tidings.tenants o
        WHERE o.tenant_id > p_after COLLATE "C" AND o.state < 2 ORDER BY o.tenant_id LIMIT p_max
    LOOP
        tenant_id := t.tenant_id;
        life := t.life;
        RETURN NEXT;
        v_floor := tidings.wanted_floor(t.tenant_id, t.life, v_now, p_age, p_count);
        IF v_floor > t.oldest THEN
            v_ids := v_ids || t.tenant_id;
            v_lives := v_lives || t.life;
            v_floors := v_floors || v_floor;
        END IF;
    END LOOP;
    -- The counter rows in order, as everybody takes them. Who has them alone makes or enables endpoints and replays.
    PERFORM FROM tidings.tenants o WHERE o.tenant_id = ANY (v_ids) AND o.state < 2
    ORDER BY o.tenant_id FOR NO KEY UPDATE;
    UPDATE tidings.tenants o
    SET oldest = greatest(o.oldest, least(x.floor, tidings.needed_from(x.id, x.life)))
    FROM unnest(v_ids, v_lives, v_floors) AS x(id, life, floor) WHERE o.tenant_id = x.id AND o.life = x.life;
END $$;

-- What endpoints have waited for longer than `p_backlog` and the log would forget: it is lost to them, and they are told,
-- in a batch of its own. Looks at the tenants after `p_after`, at most so many. Answers how many endpoints lost
-- something.
CREATE FUNCTION tidings.cut_endpoints(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_after text, p_age bigint, p_count bigint,
    p_backlog bigint, p_max integer) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_cut bigint := 0;
    v_lost record;
    v_from bigint;
    v_to bigint;
    v_ids text[] := '{}';
    v_lives integer[] := '{}';
    v_floors bigint[] := '{}';
    v_floor bigint;
    v_tenants text[] := '{}';
    v_epochs text[] := '{}';
    v_bases bigint[] := '{}';
    v_heads bigint[] := '{}';
    t record;
    e record;
    l tidings.tenants;
BEGIN
    IF NOT tidings.begin_batch(p_writer, p_n, p_timeline, v_now) THEN
        RETURN (SELECT b.outcome_bases[1] FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n);
    END IF;
    FOR t IN
        SELECT o.tenant_id, o.life, tidings.needed_from(o.tenant_id, o.life) AS needed FROM tidings.tenants o
        WHERE o.tenant_id > p_after COLLATE "C" AND o.state < 2 ORDER BY o.tenant_id LIMIT p_max
    LOOP
        CONTINUE WHEN t.needed IS NULL;
        v_floor := tidings.wanted_floor(t.tenant_id, t.life, v_now, p_age, p_count);
        CONTINUE WHEN v_floor <= t.needed;
        v_floor := least(v_floor, tidings.wanted_floor(t.tenant_id, t.life, v_now, p_backlog, NULL));
        IF v_floor > t.needed THEN
            v_ids := v_ids || t.tenant_id;
            v_lives := v_lives || t.life;
            v_floors := v_floors || v_floor;
        END IF;
    END LOOP;
    PERFORM FROM tidings.tenants o WHERE o.tenant_id = ANY (v_ids) AND o.state < 2
    ORDER BY o.tenant_id FOR NO KEY UPDATE;
    PERFORM FROM unnest(v_ids, v_lives) AS x(id, life)
    JOIN tidings.endpoints d ON d.tenant_id = x.id AND d.life = x.life AND d.state < 3
    ORDER BY d.tenant_id, d.id FOR NO KEY UPDATE OF d;
    FOR e IN
        SELECT d.tenant_id, d.life, d.id, d.cursor, x.floor FROM unnest(v_ids, v_lives, v_floors) AS x(id, life, floor)
        JOIN tidings.endpoints d ON d.tenant_id = x.id AND d.life = x.life AND d.state < 3
        ORDER BY d.tenant_id, d.id
    LOOP
        SELECT min(d.seq) AS first, max(d.seq) AS last INTO v_lost FROM tidings.deliveries d
        WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND NOT d.dead AND d.seq < e.floor
          AND d.body IS NULL;
        DELETE FROM tidings.deliveries d
        WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.endpoint = e.id AND NOT d.dead AND d.seq < e.floor
          AND d.body IS NULL;
        DELETE FROM tidings.replays r
        WHERE r.tenant_id = e.tenant_id AND r.life = e.life AND r.endpoint = e.id AND r.to_seq < e.floor;
        UPDATE tidings.replays r SET position = e.floor - 1
        WHERE r.tenant_id = e.tenant_id AND r.life = e.life AND r.endpoint = e.id AND r.position < e.floor - 1;
        v_from := CASE WHEN e.cursor + 1 < e.floor THEN least(v_lost.first, e.cursor + 1) ELSE v_lost.first END;
        v_to := CASE WHEN e.cursor + 1 < e.floor THEN e.floor - 1 ELSE v_lost.last END;
        CONTINUE WHEN v_from IS NULL;
        UPDATE tidings.endpoints d
        SET cursor = greatest(d.cursor, e.floor - 1), change = tidings.next_endpoint_change(),
            generation = d.generation + (d.cursor < e.floor - 1)::integer
        WHERE d.tenant_id = e.tenant_id AND d.life = e.life AND d.id = e.id;
        l := tidings.append_event(e.tenant_id, gen_random_uuid(), 'webhook.gap',
            '{"endpoint_id":"' || e.id || '","from":' || v_from || ',"to":' || v_to || '}', v_now);
        v_cut := v_cut + 1;
        v_tenants := v_tenants || l.tenant_id;
        v_epochs := v_epochs || l.epoch;
        v_bases := v_bases || (l.head - 1);
        v_heads := v_heads || l.head;
    END LOOP;
    UPDATE tidings.batches b
    SET tenants = v_tenants, epochs = v_epochs, bases = v_bases, heads = v_heads, outcome_bases = ARRAY[v_cut]
    WHERE b.writer = p_writer AND b.n = p_n;
    RETURN v_cut;
END $$;

-- Whether any endpoint needs events that a floor has to wait for.
CREATE FUNCTION tidings.has_endpoints() RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM tidings.endpoints) $$;

-- Removes what the delivery log of these tenants' endpoints keeps beyond age and count, and what deleted endpoints left; at
-- most so many rows.
CREATE FUNCTION tidings.forget_webhooks(p_now bigint, p_ids text[], p_lives integer[], p_age bigint, p_count bigint,
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
    v_table text;
    e record;
BEGIN
    FOR e IN
        SELECT o.tenant_id, o.life, o.id, o.attempts FROM unnest(p_ids, p_lives) AS x(id, life)
        JOIN tidings.endpoints o ON o.tenant_id = x.id AND o.life = x.life AND o.state < 3
    LOOP
        EXIT WHEN v_left <= 0;
        DELETE FROM tidings.attempts a USING (
            SELECT o.n, o.at FROM tidings.attempts o
            WHERE o.tenant_id = e.tenant_id AND o.life = e.life AND o.endpoint = e.id ORDER BY o.n
            LIMIT least(1000, v_left)
        ) o
        WHERE a.tenant_id = e.tenant_id AND a.life = e.life AND a.endpoint = e.id AND a.n = o.n
          AND (o.n <= e.attempts - p_count OR o.at < v_now - p_age);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
    END LOOP;
    WHILE v_left > 0 LOOP
        SELECT o.tenant_id, o.life, o.id INTO e FROM tidings.endpoints o
        WHERE o.state = 3 AND o.since <= v_now - 3600000000 ORDER BY o.since LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        FOREACH v_table IN ARRAY ARRAY['deliveries', 'replays', 'attempts'] LOOP
            EXECUTE format(
                'DELETE FROM tidings.%I WHERE ctid IN (SELECT ctid FROM tidings.%1$I
                 WHERE tenant_id = $1 AND life = $2 AND endpoint = $3 LIMIT $4)', v_table)
            USING e.tenant_id, e.life, e.id, v_left;
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            v_left := v_left - v_rows;
        END LOOP;
        IF v_left > 0 THEN
            DELETE FROM tidings.endpoints o WHERE o.tenant_id = e.tenant_id AND o.life = e.life AND o.id = e.id;
        END IF;
    END LOOP;
    RETURN p_max - v_left;
END $$;

-- What the webhooks of deleted tenants left; before `purge_deleted`, which marks them as purged.
CREATE FUNCTION tidings.purge_webhooks(p_max integer) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    v_left integer := p_max;
    v_rows integer;
    v_table text;
    gone record;
BEGIN
    FOR gone IN SELECT t.tenant_id, t.life FROM tidings.tenants t WHERE t.state = 2
                ORDER BY t.tenant_id, t.life LOOP
        FOREACH v_table IN ARRAY ARRAY['deliveries', 'replays', 'attempts', 'endpoints'] LOOP
            EXIT WHEN v_left <= 0;
            EXECUTE format(
                'DELETE FROM tidings.%I WHERE ctid IN (SELECT ctid FROM tidings.%1$I
                 WHERE tenant_id = $1 AND life = $2 LIMIT $3)', v_table)
            USING gone.tenant_id, gone.life, v_left;
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            v_left := v_left - v_rows;
        END LOOP;
    END LOOP;
    RETURN p_max - v_left;
END $$;

-- Reading one tenant's. The one of this id or, where it is null, those after `p_after`.
CREATE FUNCTION tidings.read_endpoints(p_tenant text, p_id uuid, p_after uuid, p_max bigint)
RETURNS TABLE (tenant_state smallint, head bigint, endpoint tidings.endpoints)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY
    SELECT t.state, t.head, e FROM tidings.tenants t
    JOIN tidings.endpoints e ON e.tenant_id = t.tenant_id AND e.life = t.life AND e.state < 3
    WHERE t.tenant_id = p_tenant AND t.state < 2 AND (p_id IS NULL OR e.id = p_id)
      AND (p_after IS NULL OR e.id > p_after) ORDER BY e.id LIMIT p_max;
END $$;

-- Dead ones or retried ones by seq, or, where `p_after` is null, retried ones by when they are due.
CREATE FUNCTION tidings.read_deliveries(p_tenant text, p_endpoint uuid, p_dead boolean, p_after bigint, p_max bigint)
RETURNS SETOF tidings.deliveries LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
DECLARE
    v_life integer;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT e.life INTO v_life FROM tidings.tenants t
    JOIN tidings.endpoints e ON e.tenant_id = t.tenant_id AND e.life = t.life AND e.id = p_endpoint AND e.state < 3
    WHERE t.tenant_id = p_tenant AND t.state < 2;
    IF p_after IS NULL THEN
        RETURN QUERY SELECT d.* FROM tidings.deliveries d
        WHERE d.tenant_id = p_tenant AND d.life = v_life AND d.endpoint = p_endpoint AND NOT d.dead
        ORDER BY d.at, d.seq LIMIT p_max;
    ELSIF p_dead THEN
        RETURN QUERY SELECT d.* FROM tidings.deliveries d
        WHERE d.tenant_id = p_tenant AND d.life = v_life AND d.endpoint = p_endpoint AND d.dead AND d.seq > p_after
        ORDER BY d.seq LIMIT p_max;
    ELSE
        RETURN QUERY SELECT d.* FROM tidings.deliveries d
        WHERE d.tenant_id = p_tenant AND d.life = v_life AND d.endpoint = p_endpoint AND NOT d.dead AND d.seq > p_after
        ORDER BY d.seq LIMIT p_max;
    END IF;
END $$;

CREATE FUNCTION tidings.read_replays(p_tenant text, p_endpoint uuid) RETURNS SETOF tidings.replays
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY SELECT r.* FROM tidings.tenants t
    JOIN tidings.endpoints e ON e.tenant_id = t.tenant_id AND e.life = t.life AND e.id = p_endpoint AND e.state < 3
    JOIN tidings.replays r ON r.tenant_id = t.tenant_id AND r.life = t.life AND r.endpoint = p_endpoint
    WHERE t.tenant_id = p_tenant AND t.state < 2 ORDER BY r.created_at, r.id;
END $$;

-- Newest first: of an endpoint, of an event, or of both, below the attempt (`p_below`, `p_n`).
CREATE FUNCTION tidings.read_attempts(p_tenant text, p_endpoint uuid, p_seq bigint, p_below uuid, p_n bigint, p_max bigint)
RETURNS SETOF tidings.attempts LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    v_life integer;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT t.life INTO v_life FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2;
    IF p_endpoint IS NOT NULL THEN
        RETURN QUERY SELECT a.* FROM tidings.attempts a
        WHERE a.tenant_id = p_tenant AND a.life = v_life AND a.endpoint = p_endpoint
          AND a.n < coalesce(p_n, 9223372036854775807) AND (p_seq IS NULL OR a.seq = p_seq)
          AND EXISTS (SELECT FROM tidings.endpoints e
                      WHERE e.tenant_id = p_tenant AND e.life = v_life AND e.id = p_endpoint AND e.state < 3)
        ORDER BY a.n DESC LIMIT p_max;
    ELSIF p_seq IS NOT NULL THEN
        RETURN QUERY SELECT a.* FROM tidings.attempts a
        JOIN tidings.endpoints e ON e.tenant_id = p_tenant AND e.life = v_life AND e.id = a.endpoint AND e.state < 3
        WHERE a.tenant_id = p_tenant AND a.life = v_life AND a.seq = p_seq
          AND (p_below IS NULL OR (a.endpoint, a.n) < (p_below, p_n))
        ORDER BY a.endpoint DESC, a.n DESC LIMIT p_max;
    END IF;
END $$;

-- How far behind an endpoint is; no row where there is none.
CREATE FUNCTION tidings.read_backlog(p_tenant text, p_endpoint uuid)
RETURNS TABLE (cursor bigint, head bigint, oldest bigint, retrying bigint, dead bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_first bigint;
    v_retried bigint;
    e record;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT t.life, t.head, t.oldest, d.cursor INTO e FROM tidings.tenants t
    JOIN tidings.endpoints d ON d.tenant_id = t.tenant_id AND d.life = t.life AND d.id = p_endpoint AND d.state < 3
    WHERE t.tenant_id = p_tenant AND t.state < 2;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    cursor := e.cursor;
    head := e.head;
    SELECT count(*), min(d.seq) INTO retrying, v_retried FROM tidings.deliveries d
    WHERE d.tenant_id = p_tenant AND d.life = e.life AND d.endpoint = p_endpoint AND NOT d.dead;
    SELECT count(*) INTO dead FROM tidings.deliveries d
    WHERE d.tenant_id = p_tenant AND d.life = e.life AND d.endpoint = p_endpoint AND d.dead;
    v_first := greatest(least(v_retried, CASE WHEN e.cursor < e.head THEN e.cursor + 1 END), e.oldest);
    IF v_retried IS NOT NULL OR e.cursor < e.head THEN
        SELECT v.time INTO oldest FROM tidings.events v
        WHERE v.tenant_id = p_tenant AND v.life = e.life AND v.seq >= v_first ORDER BY v.seq LIMIT 1;
    END IF;
    RETURN NEXT;
END $$;

-- The first seq that is kept whose event is not older than `p_time`. Times never fall within a log: halving finds it.
CREATE FUNCTION tidings.read_seq_at(p_tenant text, p_time bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_time bigint;
    v_life integer;
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    SELECT t.life, t.oldest, t.head + 1 INTO v_life, v_low, v_high FROM tidings.tenants t
    WHERE t.tenant_id = p_tenant AND t.state < 2;
    WHILE v_low < v_high LOOP
        v_middle := v_low + (v_high - v_low) / 2;
        SELECT e.time INTO v_time FROM tidings.events e
        WHERE e.tenant_id = p_tenant AND e.life = v_life AND e.seq = v_middle;
        IF NOT FOUND OR v_time < p_time THEN
            v_low := v_middle + 1;
        ELSE
            v_high := v_middle;
        END IF;
    END LOOP;
    RETURN v_low;
END $$;

GRANT CREATE ON SCHEMA tidings TO tidings_reader;
ALTER FUNCTION tidings.read_endpoints OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_deliveries OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_replays OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_attempts OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_backlog OWNER TO tidings_reader;
ALTER FUNCTION tidings.read_seq_at OWNER TO tidings_reader;
REVOKE CREATE ON SCHEMA tidings FROM tidings_reader;

-- All tenants' endpoints, or one partition's, in order of their changes. No endpoint where it is not to be served.
CREATE FUNCTION tidings.look_dispatchable(p_partition smallint, p_after bigint, p_max bigint)
RETURNS TABLE (tenant_id text, id uuid, change bigint, tenant_state smallint, head bigint, endpoint tidings.endpoints)
LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    IF p_partition IS NULL THEN
        RETURN QUERY
        SELECT e.tenant_id::text, e.id, e.change, t.state, t.head,
               CASE WHEN t.state = 0 AND e.state < 3 THEN e END
        FROM tidings.endpoints e JOIN tidings.tenants t ON t.tenant_id = e.tenant_id AND t.life = e.life
        WHERE e.change > p_after ORDER BY e.change LIMIT p_max;
    ELSE
        RETURN QUERY
        SELECT e.tenant_id::text, e.id, e.change, t.state, t.head,
               CASE WHEN t.state = 0 AND e.state < 3 THEN e END
        FROM tidings.endpoints e JOIN tidings.tenants t ON t.tenant_id = e.tenant_id AND t.life = e.life
        WHERE e.partition = p_partition AND e.change > p_after ORDER BY e.change LIMIT p_max;
    END IF;
END $$;
