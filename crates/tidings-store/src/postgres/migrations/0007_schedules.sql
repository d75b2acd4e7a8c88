-- Schedules: what is enqueued again and again, and when next. Whoever writes one has the counter row of its
-- tenant to itself.

CREATE TABLE tidings.schedules (
    tenant_id     text COLLATE "C" NOT NULL,
    life          integer NOT NULL,
    id            uuid NOT NULL,
    version       bigint NOT NULL,          -- rises with every change
    name          text COLLATE "C" NOT NULL,
    cron          text NOT NULL,
    zone          text NOT NULL,
    overlap       text NOT NULL,
    paused        boolean NOT NULL,
    created_at    bigint NOT NULL,
    next_fire     bigint,                   -- null while it is paused
    due_at        bigint,                   -- next_fire, but null while its tenant may not write
    last_fire     bigint,
    last_job      uuid,
    last_skip     bigint,
    job_type      text NOT NULL,
    owner         text,
    subject       text,
    priority      smallint NOT NULL,
    max_attempts  integer NOT NULL,
    backoff_base  bigint NOT NULL,
    backoff_max   bigint NOT NULL,
    payload       text NOT NULL,
    PRIMARY KEY (tenant_id, life, id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX schedules_by_name ON tidings.schedules (tenant_id, life, name);
CREATE INDEX schedules_due ON tidings.schedules (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE tidings.schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON tidings.schedules FOR SELECT TO tidings_reader
    USING (tenant_id = current_setting('tidings.tenant', true));
GRANT SELECT ON tidings.schedules TO tidings_reader;

-- A tenant that may not write fires nothing; what it missed is due when it may again. A deleted one's go at
-- once: they are few.
CREATE FUNCTION tidings.schedules_follow() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.state >= 2 THEN
        DELETE FROM tidings.schedules d WHERE d.tenant_id = NEW.tenant_id AND d.life = NEW.life;
    ELSE
        UPDATE tidings.schedules d SET due_at = CASE NEW.state WHEN 0 THEN d.next_fire END
        WHERE d.tenant_id = NEW.tenant_id AND d.life = NEW.life;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER schedules_follow AFTER UPDATE OF state ON tidings.tenants
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION tidings.schedules_follow();

-- The one of this name or, where it is null, those after `p_after`.
CREATE FUNCTION tidings.read_schedules(p_tenant text, p_name text, p_after text, p_max bigint)
RETURNS SETOF tidings.schedules LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('tidings.tenant', p_tenant, true);
    RETURN QUERY
    SELECT s.* FROM tidings.tenants t JOIN tidings.schedules s ON s.tenant_id = t.tenant_id AND s.life = t.life
    WHERE t.tenant_id = p_tenant AND t.state < 2 AND (p_name IS NULL OR s.name = p_name)
      AND s.name > coalesce(p_after, '') ORDER BY s.name LIMIT p_max;
END $$;

GRANT CREATE ON SCHEMA tidings TO tidings_reader;
ALTER FUNCTION tidings.read_schedules OWNER TO tidings_reader;
REVOKE CREATE ON SCHEMA tidings FROM tidings_reader;

-- What a change of one is decided on; no tenant_state where there is no such tenant.
CREATE FUNCTION tidings.look_schedule(p_tenant text, p_id uuid)
RETURNS TABLE (tenant_state smallint, schedule tidings.schedules) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT t.state, s FROM (SELECT) one
    LEFT JOIN tidings.tenants t ON t.tenant_id = p_tenant AND t.state < 2
    LEFT JOIN tidings.schedules s ON s.tenant_id = p_tenant AND s.life = t.life AND s.id = p_id;
END $$;

-- Those that are due, the longest due first.
CREATE FUNCTION tidings.look_due(p_now bigint, p_max integer)
RETURNS TABLE (now bigint, schedule tidings.schedules) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
BEGIN
    now := coalesce(p_now, tidings.micros());
    RETURN NEXT;
    RETURN QUERY SELECT now, s FROM tidings.schedules s WHERE s.due_at <= now ORDER BY s.due_at LIMIT p_max;
END $$;

-- One schedule as it was decided, as a batch of its own: new where `p_before` is null, gone where `p_name` is.
-- Verdicts as those of tidings.commit, and 8: there is no such schedule, 9: the name is taken, 10: there are
-- as many as there may be.
CREATE FUNCTION tidings.write_schedule(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_tenant text, p_create boolean, p_epoch text, p_most bigint,
    p_id uuid, p_before bigint, p_name text, p_cron text, p_zone text, p_overlap text, p_paused boolean,
    p_created_at bigint, p_next_fire bigint, p_job_type text, p_owner text, p_subject text, p_priority smallint,
    p_max_attempts integer, p_backoff_base bigint, p_backoff_max bigint, p_payload text)
RETURNS smallint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_tenant tidings.tenants;
    v_verdict smallint := 0;
BEGIN
    PERFORM tidings.expect_timeline(p_timeline);
    INSERT INTO tidings.batches (writer, n, at) VALUES (p_writer, p_n, v_now) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN (SELECT b.verdicts[1] FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n);
    END IF;
    IF p_n = 1 THEN
        INSERT INTO tidings.writers VALUES (p_writer, v_now);
    END IF;
    IF p_create THEN
        INSERT INTO tidings.tenants (tenant_id, life, state, epoch, created_at)
        SELECT p_tenant, coalesce(max(o.life), 0) + 1, 0, p_epoch, v_now FROM tidings.tenants o
        WHERE o.tenant_id = p_tenant HAVING count(*) FILTER (WHERE o.state < 2) = 0
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT t.* INTO v_tenant FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        v_verdict := 2;
    ELSIF v_tenant.state <> 0 THEN
        v_verdict := 3;
    ELSIF p_before IS NULL THEN
        IF EXISTS (SELECT FROM tidings.schedules d
                   WHERE d.tenant_id = p_tenant AND d.life = v_tenant.life AND d.name = p_name) THEN
            v_verdict := 9;
        ELSIF (SELECT count(*) FROM tidings.schedules d
               WHERE d.tenant_id = p_tenant AND d.life = v_tenant.life) >= p_most THEN
            v_verdict := 10;
        ELSE
            INSERT INTO tidings.schedules (tenant_id, life, id, version, name, cron, zone, overlap, paused, created_at,
                next_fire, due_at, job_type, owner, subject, priority, max_attempts, backoff_base, backoff_max, payload)
            VALUES (p_tenant, v_tenant.life, p_id, 1, p_name, p_cron, p_zone, p_overlap, p_paused, p_created_at,
                p_next_fire, p_next_fire, p_job_type, p_owner, p_subject, p_priority, p_max_attempts, p_backoff_base,
                p_backoff_max, p_payload);
        END IF;
    ELSIF p_name IS NULL THEN
        DELETE FROM tidings.schedules d
        WHERE d.tenant_id = p_tenant AND d.life = v_tenant.life AND d.id = p_id AND d.version = p_before;
        IF NOT FOUND THEN
            v_verdict := 1;
        END IF;
    ELSE
        UPDATE tidings.schedules d
        SET version = d.version + 1, cron = p_cron, zone = p_zone, overlap = p_overlap, paused = p_paused,
            next_fire = p_next_fire, due_at = p_next_fire, job_type = p_job_type, owner = p_owner, subject = p_subject,
            priority = p_priority, max_attempts = p_max_attempts, backoff_base = p_backoff_base,
            backoff_max = p_backoff_max, payload = p_payload
        WHERE d.tenant_id = p_tenant AND d.life = v_tenant.life AND d.id = p_id AND d.version = p_before;
        IF NOT FOUND THEN
            v_verdict := 1;
        END IF;
    END IF;
    UPDATE tidings.batches b
    SET verdicts = ARRAY[v_verdict], tenants = ARRAY[p_tenant], epochs = ARRAY[v_tenant.epoch],
        heads = ARRAY[v_tenant.head], bases = ARRAY[v_tenant.head]
    WHERE b.writer = p_writer AND b.n = p_n;
    RETURN v_verdict;
END $$;

-- A batch of tidings.commit in which units fire schedules: each unit has its schedule (`before` is the version that
-- was decided on) and, where its fire time has no job yet, that job. Where the schedule has moved, so has the ground
-- of its job. No tenant is made here, so that the counter rows may be taken first.
CREATE FUNCTION tidings.fire(
    p_writer uuid, p_n bigint, p_timeline integer,
    p_now bigint,                           -- instead of the database's clock, where not null
    t_id text[], t_create boolean[], t_epoch text[],
    u_tenant integer[], u_any_state boolean[],
    e_unit integer[], e_id uuid[], e_type text[], e_job_id uuid[], e_job_type text[], e_owner text[],
    e_subject text[], e_data text[], e_detail text[], e_debug text[],
    j_unit integer[], j_id uuid[], j_before bigint[], j_first integer[], j_last integer[], j_limit integer[],
    j_type text[], j_state smallint[], j_run_at bigint[], j_attempt integer[], j_lease_no bigint[],
    j_worker text[], j_lease_expires_at bigint[], j_cancel_requested boolean[], j_reported_lease_no bigint[],
    j_reported smallint[], j_percent smallint[], j_message bytea[], j_failure_category text[],
    j_failure_message bytea[], j_failure_raw bytea[], j_started_at bigint[], j_finished_at bigint[],
    j_result text[],
    j_owner text[], j_subject text[], j_priority smallint[], j_created_at bigint[], j_unique_key text[],
    j_max_attempts integer[], j_backoff_base bigint[], j_backoff_max bigint[], j_retry_of uuid[],
    j_payload text[],
    i_unit integer[], i_route text[], i_key text[], i_hash bytea[], i_outcome text[],
    k_unit integer[], k_id uuid[], k_expires_at bigint[],
    o_unit integer[], o_id bigint[],
    s_unit integer[], s_id uuid[], s_before bigint[], s_next bigint[], s_last_fire bigint[], s_last_job uuid[],
    s_last_skip bigint[],
    OUT verdicts smallint[], OUT lives integer[], OUT epochs text[], OUT bases bigint[], OUT times bigint[],
    OUT repeats integer[], OUT outcomes text[], OUT outcome_bases bigint[], OUT outcome_times bigint[],
    OUT now bigint
) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
#variable_conflict use_column
DECLARE
    v_there boolean[] := array_fill(false, ARRAY[cardinality(s_id)]);
    hit record;
BEGIN
    PERFORM FROM tidings.tenants t WHERE t.tenant_id = ANY (t_id) AND t.state < 2
    ORDER BY t.tenant_id FOR NO KEY UPDATE;
    FOR hit IN
        SELECT s.place FROM unnest(s_unit, s_id, s_before) WITH ORDINALITY AS s(unit, id, before, place)
        JOIN tidings.tenants t ON t.tenant_id = t_id[u_tenant[s.unit]] AND t.state < 2
        JOIN tidings.schedules d ON d.tenant_id = t.tenant_id AND d.life = t.life AND d.id = s.id
        WHERE d.version = s.before
    LOOP
        v_there[hit.place] := true;
    END LOOP;
    FOR at IN 1 .. cardinality(j_unit) LOOP
        IF EXISTS (SELECT FROM unnest(s_unit, v_there) AS s(unit, there) WHERE s.unit = j_unit[at] AND NOT s.there) THEN
            -- No job has this version.
            j_before[at] := -1;
        END IF;
    END LOOP;
    SELECT c.verdicts, c.lives, c.epochs, c.bases, c.times, c.repeats, c.outcomes, c.outcome_bases, c.outcome_times, c.now
    INTO verdicts, lives, epochs, bases, times, repeats, outcomes, outcome_bases, outcome_times, now
    FROM tidings.commit(
        p_writer, p_n, p_timeline, p_now, t_id, t_create, t_epoch, u_tenant, u_any_state, e_unit, e_id, e_type, e_job_id,
        e_job_type, e_owner, e_subject, e_data, e_detail, e_debug, j_unit, j_id, j_before, j_first, j_last,
        j_limit, j_type, j_state, j_run_at, j_attempt, j_lease_no, j_worker, j_lease_expires_at,
        j_cancel_requested, j_reported_lease_no, j_reported, j_percent, j_message, j_failure_category,
        j_failure_message, j_failure_raw, j_started_at, j_finished_at, j_result, j_owner, j_subject,
        j_priority, j_created_at, j_unique_key, j_max_attempts, j_backoff_base, j_backoff_max, j_retry_of,
        j_payload, i_unit, i_route, i_key, i_hash, i_outcome, k_unit, k_id, k_expires_at, o_unit, o_id) c;
    UPDATE tidings.schedules d
    SET version = d.version + 1, next_fire = s.next, due_at = s.next, last_fire = s.last_fire, last_job = s.last_job,
        last_skip = s.last_skip
    FROM unnest(s_unit, s_id, s_before, s_next, s_last_fire, s_last_job, s_last_skip)
             AS s(unit, id, before, next, last_fire, last_job, last_skip)
    WHERE verdicts[s.unit] = 0 AND d.tenant_id = t_id[u_tenant[s.unit]] AND d.life = lives[u_tenant[s.unit]]
      AND d.id = s.id AND d.version = s.before;
END $$;
