-- What decisions are made on: reads without locks, in one round trip.

-- The jobs of these ids. A row for each; no tenant_state where there is no such tenant.
CREATE FUNCTION tidings.look_jobs(t_id text[], j_id uuid[])
RETURNS TABLE (place bigint, tenant_state smallint, job tidings.jobs) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT x.place, t.state, j FROM unnest(t_id, j_id) WITH ORDINALITY AS x(tenant, id, place)
    LEFT JOIN tidings.tenants t ON t.tenant_id = x.tenant AND t.state < 2
    LEFT JOIN tidings.jobs j ON j.tenant_id = x.tenant AND j.life = t.life AND j.id = x.id;
END $$;

-- The live jobs that hold these unique keys.
CREATE FUNCTION tidings.look_unique(t_id text[], j_type text[], j_unique_key text[])
RETURNS TABLE (place bigint, job tidings.jobs) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT x.place, j FROM unnest(t_id, j_type, j_unique_key) WITH ORDINALITY AS x(tenant, type, unique_key, place)
    JOIN tidings.tenants t ON t.tenant_id = x.tenant AND t.state < 2
    JOIN tidings.jobs j ON j.tenant_id = x.tenant AND j.life = t.life AND j.job_type = x.type
                       AND j.unique_key = x.unique_key AND j.state < 3;
END $$;

-- One tenant's best ready jobs: of each type no more than its limit leaves room for.
CREATE FUNCTION tidings.ready(p_tenant text, p_life integer, p_types text[], p_limits integer[], p_max integer)
RETURNS SETOF tidings.jobs LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT j.* FROM unnest(p_types, p_limits) AS x(type, lim)
    CROSS JOIN LATERAL (
        SELECT d.* FROM tidings.jobs d
        WHERE d.state = 1 AND d.job_type = x.type AND d.tenant_id = p_tenant AND d.life = p_life
        ORDER BY d.priority DESC, d.run_at, d.first_seq
        LIMIT least(p_max, CASE WHEN x.lim IS NOT NULL THEN greatest(0, x.lim - (
            SELECT count(*) FROM tidings.jobs r
            WHERE r.tenant_id = p_tenant AND r.life = p_life AND r.state = 2 AND r.job_type = x.type)) END)
    ) j
    ORDER BY j.priority DESC, j.run_at, j.first_seq LIMIT p_max;
END $$;

-- Candidates of a claim: one for each tenant and round, the tenants from the one after `p_after` around.
-- The first row has no job: it says when the next job falls due, and the state of a tenant that alone
-- is asked for. Jobs whose time has come are marked as queued first; no event tells of it, and no
-- decision rests on the difference.
CREATE FUNCTION tidings.look_claim(
    p_now bigint, p_tenants text[], p_types text[], p_limits integer[], p_after text, p_max integer)
RETURNS TABLE (tenant_state smallint, next_due bigint, job tidings.jobs) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_lines text[] := '{}';
    v_lives integer[] := '{}';
    v_life integer;
    v_at text := p_after COLLATE "C";
    v_next text;
    v_wrapped boolean := false;
    v_chunk integer;
    v_counts integer[];
    v_due bigint;
    v_type text;
BEGIN
    FOREACH v_type IN ARRAY p_types LOOP
        IF EXISTS (SELECT FROM tidings.jobs d WHERE d.state = 0 AND d.job_type = v_type AND d.run_at <= v_now) THEN
            PERFORM set_config('synchronous_commit', 'off', true);
            UPDATE tidings.jobs d SET state = 1
            FROM (
                SELECT w.tenant_id, w.life, w.id FROM tidings.jobs w
                WHERE w.state = 0 AND w.job_type = v_type AND w.run_at <= v_now
                ORDER BY w.run_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
            ) w
            WHERE d.tenant_id = w.tenant_id AND d.life = w.life AND d.id = w.id AND d.state = 0;
        END IF;
    END LOOP;

    IF cardinality(p_tenants) = 1 THEN
        SELECT t.state INTO tenant_state FROM tidings.tenants t WHERE t.tenant_id = p_tenants[1] AND t.state < 2;
    END IF;
    FOREACH v_type IN ARRAY p_types LOOP
        IF p_tenants IS NULL THEN
            SELECT d.run_at INTO v_due FROM tidings.jobs d WHERE d.state = 0 AND d.job_type = v_type
            ORDER BY d.run_at LIMIT 1;
        ELSE
            -- Perhaps too early, never too late.
            SELECT min(w.run_at) INTO v_due FROM (
                SELECT d.run_at, d.tenant_id, row_number() OVER (ORDER BY d.run_at) AS nth
                FROM (SELECT o.run_at, o.tenant_id FROM tidings.jobs o
                      WHERE o.state = 0 AND o.job_type = v_type ORDER BY o.run_at LIMIT 256) d
            ) w WHERE w.tenant_id = ANY (p_tenants) OR w.nth = 256;
        END IF;
        next_due := least(next_due, v_due);
    END LOOP;
    RETURN NEXT;
    next_due := NULL;
    IF tenant_state = 1 THEN
        RETURN;
    END IF;

    -- The tenants that have a ready job which their limits admit.
    LOOP
        EXIT WHEN cardinality(v_lines) >= p_max;
        SELECT min(w.tenant_id) INTO v_next FROM (
            SELECT d.tenant_id FROM unnest(p_types) AS x(type)
            CROSS JOIN LATERAL (
                SELECT o.tenant_id FROM tidings.jobs o
                WHERE p_tenants IS NULL AND o.state = 1 AND o.job_type = x.type AND o.tenant_id > v_at
                ORDER BY o.tenant_id LIMIT 1
            ) d
            UNION ALL
            SELECT x.id FROM unnest(p_tenants) AS x(id) WHERE x.id COLLATE "C" > v_at
        ) w;
        IF v_next IS NULL OR (v_wrapped AND v_next COLLATE "C" > p_after) THEN
            EXIT WHEN v_wrapped OR p_after = '';
            v_wrapped := true;
            v_at := '';
            CONTINUE;
        END IF;
        v_at := v_next;
        SELECT t.life INTO v_life FROM tidings.tenants t WHERE t.tenant_id = v_next AND t.state = 0;
        IF FOUND AND EXISTS (SELECT FROM tidings.ready(v_next, v_life, p_types, p_limits, 1)) THEN
            v_lines := v_lines || v_next;
            v_lives := v_lives || v_life;
        END IF;
    END LOOP;
    IF cardinality(v_lines) = 0 THEN
        RETURN;
    END IF;

    v_chunk := ceil(p_max::numeric / cardinality(v_lines));
    LOOP
        EXIT WHEN v_chunk >= p_max;
        SELECT array_agg((SELECT count(*)::integer FROM tidings.ready(x.id, x.life, p_types, p_limits, v_chunk)))
        INTO v_counts FROM unnest(v_lines, v_lives) AS x(id, life);
        EXIT WHEN (SELECT sum(c) FROM unnest(v_counts) AS c) >= p_max
               OR v_chunk > ALL (v_counts);
        v_chunk := least(p_max, v_chunk * 4);
    END LOOP;
    RETURN QUERY
    SELECT NULL::smallint, NULL::bigint, w.job
    FROM unnest(v_lines, v_lives) WITH ORDINALITY AS x(id, life, place)
    CROSS JOIN LATERAL (
        SELECT r AS job, row_number() OVER (ORDER BY r.priority DESC, r.run_at, r.first_seq) AS nth
        FROM tidings.ready(x.id, x.life, p_types, p_limits, v_chunk) r
    ) w
    ORDER BY w.nth, x.place LIMIT p_max;
END $$;

-- Leases whose time has passed, the oldest first.
CREATE FUNCTION tidings.look_expired(p_now bigint, p_max integer)
RETURNS TABLE (now bigint, job tidings.jobs) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    now := coalesce(p_now, tidings.micros());
    RETURN NEXT;
    RETURN QUERY
    SELECT now, j FROM tidings.jobs j
    JOIN tidings.tenants t ON t.tenant_id = j.tenant_id AND t.life = j.life AND t.state < 2
    WHERE j.state = 2 AND j.lease_expires_at <= now
    ORDER BY j.lease_expires_at LIMIT p_max;
END $$;
