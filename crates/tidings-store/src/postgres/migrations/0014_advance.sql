-- What tidings.commit does, for a batch that does nothing but publish, make jobs without a unique key and change jobs whose
-- type has no limit, in tenants that are there: nearly all of them. It takes the place of tidings.append, which nodes of
-- the version before still call.
--
-- The counter rows are taken and advanced by one statement, in order of tenant_id like everywhere: whether it begins with
-- the array, which is in that order, or with an index, which is too. What could visit them in another order is off.
-- The batch's own row comes after them and whole. A first call that is still running has the counter rows, so that the same
-- batch sent again waits for it there, and then fails on that row and changes nothing.
--
-- Everything is written as if no ground had moved. Where one has, what was numbered is numbered once more without it.
CREATE FUNCTION tidings.advance(
    p_writer uuid, p_n bigint, p_timeline integer,
    p_again boolean,                        -- whether it may have been made before: only then it is looked for
    p_now bigint,                           -- instead of the database's clock, where not null
    -- Tenants, each once and in order, with how many events each gets where no ground has moved.
    t_id text[], t_events integer[],
    -- Any array below is null where it would hold nothing else.
    -- Events, those of a tenant together: its place, their numbers among its events, and the place of the change that
    -- each tells of.
    e_tenant integer[], e_nth integer[], e_change integer[], e_id uuid[], e_type text[], e_job_id uuid[],
    e_job_type text[], e_owner text[], e_subject text[], e_data text[], e_detail text[], e_debug text[],
    -- New jobs. `first` and `last` are the places of the job's first and last event.
    n_tenant integer[], n_first integer[], n_last integer[], n_id uuid[], n_type text[], n_state smallint[],
    n_run_at bigint[], n_attempt integer[], n_lease_no bigint[], n_worker text[], n_lease_expires_at bigint[],
    n_started_at bigint[], n_owner text[], n_subject text[], n_priority smallint[], n_created_at bigint[],
    n_max_attempts integer[], n_backoff_base bigint[], n_backoff_max bigint[], n_retry_of uuid[], n_payload text[],
    -- Changed jobs, each once: `before` is the version that the change was decided on.
    c_tenant integer[], c_id uuid[], c_before bigint[], c_last integer[], c_state smallint[], c_run_at bigint[],
    c_attempt integer[], c_lease_no bigint[], c_worker text[], c_lease_expires_at bigint[],
    c_cancel_requested boolean[], c_reported_lease_no bigint[], c_reported smallint[], c_percent smallint[],
    c_message bytea[], c_failure_category text[], c_failure_message bytea[], c_failure_raw bytea[],
    c_started_at bigint[], c_finished_at bigint[], c_result text[],
    -- All of each tenant, in their order; verdicts null: all take writes. `moved`: the places of changes whose ground has.
    OUT verdicts smallint[], OUT epochs text[], OUT bases bigint[], OUT times bigint[], OUT moved integer[],
    OUT now bigint
) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_places bigint[];
    v_lives integer[];
    v_heads bigint[];
    v_done integer[];
    v_nth integer[] := e_nth;
BEGIN
    -- As tidings.expect_timeline does, without a call.
    IF p_timeline <> ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer THEN
        RAISE 'the database is on another timeline' USING ERRCODE = 'TD001';
    END IF;
    IF p_again THEN
        SELECT b.verdicts, b.epochs, b.bases, b.times, b.repeats, b.at INTO verdicts, epochs, bases, times, moved, now
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    WITH advanced AS (
        UPDATE tidings.tenants t
        SET head = t.head + x.events,
            last_time = CASE WHEN x.events > 0 THEN greatest(t.last_time, coalesce(p_now, tidings.micros()))
                             ELSE t.last_time END
        FROM unnest(t_id, t_events) WITH ORDINALITY AS x(id, events, place)
        WHERE t.tenant_id = x.id AND t.state = 0
        RETURNING x.place, t.life, t.epoch, t.head - x.events AS base, t.head, t.last_time
    )
    SELECT array_agg(a.place), array_agg(a.life), array_agg(a.epoch), array_agg(a.base), array_agg(a.head),
           array_agg(a.last_time)
    INTO v_places, v_lives, epochs, bases, v_heads, times
    FROM (SELECT * FROM advanced ORDER BY place) a;
    now := coalesce(p_now, tidings.micros());
    IF v_places IS NULL OR cardinality(v_places) < cardinality(t_id) THEN
        SELECT array_agg(m.life ORDER BY x.place), array_agg(m.epoch ORDER BY x.place),
               array_agg(m.base ORDER BY x.place), array_agg(m.head ORDER BY x.place),
               array_agg(m.time ORDER BY x.place),
               -- One that takes writes by now did not when it was asked.
               array_agg(CASE WHEN m.place IS NOT NULL THEN 0 WHEN t.state IS NULL THEN 2 WHEN t.state = 0 THEN 1 ELSE 3
                         END::smallint ORDER BY x.place)
        INTO v_lives, epochs, bases, v_heads, times, verdicts
        FROM unnest(t_id) WITH ORDINALITY AS x(id, place)
        LEFT JOIN unnest(v_places, v_lives, epochs, bases, v_heads, times) AS m(place, life, epoch, base, head, time)
               ON m.place = x.place
        LEFT JOIN tidings.tenants t ON t.tenant_id = x.id AND t.state < 2;
    END IF;

    IF c_id IS NOT NULL THEN
        WITH changed AS (
            UPDATE tidings.jobs d
            SET version = d.version + 1, state = c_state[at], run_at = c_run_at[at], attempt = c_attempt[at],
                lease_no = c_lease_no[at], worker = c_worker[at], lease_expires_at = c_lease_expires_at[at],
                cancel_requested = c_cancel_requested[at], reported_lease_no = c_reported_lease_no[at],
                reported = c_reported[at], percent = c_percent[at], message = c_message[at],
                failure_category = c_failure_category[at], failure_message = c_failure_message[at],
                failure_raw = c_failure_raw[at], started_at = c_started_at[at], finished_at = c_finished_at[at],
                seq = coalesce(bases[c_tenant[at]] + e_nth[c_last[at]], d.seq), result = c_result[at]
            FROM generate_series(1, cardinality(c_id)) AS at
            WHERE d.tenant_id = t_id[c_tenant[at]] AND d.life = v_lives[c_tenant[at]] AND d.id = c_id[at]
              AND d.version = c_before[at]
            RETURNING at
        )
        SELECT array_agg(d.at) INTO v_done FROM changed d;
        IF v_done IS NULL OR cardinality(v_done) < cardinality(c_id) THEN
            SELECT array_agg(at) INTO moved FROM generate_series(1, cardinality(c_id)) AS at
            WHERE v_done IS NULL OR at <> ALL (v_done);
            SELECT array_agg(CASE WHEN e.told THEN e.nth END ORDER BY e.at) INTO v_nth FROM (
                SELECT o.*, (count(*) FILTER (WHERE o.told) OVER (PARTITION BY o.tenant ORDER BY o.at))::integer AS nth
                FROM (SELECT at, e_tenant[at] AS tenant, (e_change[at] = ANY (moved)) IS NOT TRUE AS told
                      FROM generate_series(1, cardinality(e_id)) AS at) o
            ) e;
            SELECT array_agg(bases[place] + (
                       SELECT count(*) FROM generate_series(1, cardinality(e_id)) AS at
                       WHERE e_tenant[at] = place AND v_nth[at] IS NOT NULL) ORDER BY place)
            INTO v_heads FROM generate_series(1, cardinality(t_id)) AS place;
            UPDATE tidings.tenants t SET head = v_heads[place]
            FROM generate_series(1, cardinality(t_id)) AS place
            WHERE t.tenant_id = t_id[place] AND t.life = v_lives[place] AND t.head <> v_heads[place];
            UPDATE tidings.jobs d SET seq = bases[c_tenant[at]] + v_nth[c_last[at]]
            FROM unnest(v_done) AS at
            WHERE d.tenant_id = t_id[c_tenant[at]] AND d.life = v_lives[c_tenant[at]] AND d.id = c_id[at]
              AND d.seq <> bases[c_tenant[at]] + v_nth[c_last[at]];
        END IF;
    END IF;
    IF n_id IS NOT NULL THEN
        INSERT INTO tidings.jobs (tenant_id, life, id, version, first_seq, job_type, state, owner, subject, priority,
            run_at, attempt, lease_no, worker, lease_expires_at, cancel_requested, created_at, started_at, seq,
            max_attempts, backoff_base, backoff_max, retry_of, payload)
        SELECT t_id[n_tenant[at]], v_lives[n_tenant[at]], n_id[at], 1, bases[n_tenant[at]] + v_nth[n_first[at]],
               n_type[at], n_state[at], n_owner[at], n_subject[at], n_priority[at], n_run_at[at], n_attempt[at],
               n_lease_no[at], n_worker[at], n_lease_expires_at[at], false, n_created_at[at], n_started_at[at],
               bases[n_tenant[at]] + v_nth[n_last[at]], n_max_attempts[at], n_backoff_base[at], n_backoff_max[at],
               n_retry_of[at], n_payload[at]
        FROM generate_series(1, cardinality(n_id)) AS at
        WHERE v_lives[n_tenant[at]] IS NOT NULL;
    END IF;
    IF p_n = 1 THEN
        INSERT INTO tidings.writers VALUES (p_writer, now);
    END IF;
    INSERT INTO tidings.batches (writer, n, at, tenants, lives, epochs, bases, heads, times, verdicts, repeats)
    VALUES (p_writer, p_n, now, t_id, v_lives, epochs, bases, v_heads, times, verdicts, moved);
    IF e_id IS NOT NULL THEN
        INSERT INTO tidings.events (tenant_id, life, seq, time, id, type, job_id, job_type, owner, subject, data,
                                    detail, debug)
        SELECT t_id[e_tenant[at]], v_lives[e_tenant[at]], bases[e_tenant[at]] + v_nth[at], times[e_tenant[at]], e_id[at],
               e_type[at], e_job_id[at], e_job_type[at], e_owner[at], e_subject[at], e_data[at], e_detail[at], e_debug[at]
        FROM generate_series(1, cardinality(e_id)) AS at
        WHERE v_lives[e_tenant[at]] IS NOT NULL AND v_nth[at] IS NOT NULL;
    END IF;
END $$;
