-- More plans that serve an empty table and a full one alike (see 0013), and bounds that were missing.

-- The rows of the outbox that units are made of were joined with its whole index where the table had been analysed while it
-- was nearly empty: twenty thousand rows, two hundred at a time, took a minute under their tenant's lock. There is one look
-- for each row now, and they are deleted where they were found. All else is as 0002 and 0013 left it.
CREATE OR REPLACE FUNCTION tidings.commit(
    p_writer uuid, p_n bigint, p_timeline integer,
    p_now bigint,                           -- instead of the database's clock, where not null
    -- Tenants, each once.
    t_id text[], t_create boolean[], t_epoch text[],
    -- Units: the place of each one's tenant, and whether a suspended tenant is no hindrance.
    u_tenant integer[], u_any_state boolean[],
    -- Events, in order of their units.
    e_unit integer[], e_id uuid[], e_type text[], e_job_id uuid[], e_job_type text[], e_owner text[],
    e_subject text[], e_data text[], e_detail text[], e_debug text[],
    -- Jobs: `before` is the version that a change was decided on, null for a new job. `first` and `last`
    -- are the places of the job's first and last event, null where there is none.
    j_unit integer[], j_id uuid[], j_before bigint[], j_first integer[], j_last integer[], j_limit integer[],
    j_type text[], j_state smallint[], j_run_at bigint[], j_attempt integer[], j_lease_no bigint[],
    j_worker text[], j_lease_expires_at bigint[], j_cancel_requested boolean[], j_reported_lease_no bigint[],
    j_reported smallint[], j_percent smallint[], j_message bytea[], j_failure_category text[],
    j_failure_message bytea[], j_failure_raw bytea[], j_started_at bigint[], j_finished_at bigint[],
    j_result text[],
    -- What a new job adds to it; a changed one leaves these null.
    j_owner text[], j_subject text[], j_priority smallint[], j_created_at bigint[], j_unique_key text[],
    j_max_attempts integer[], j_backoff_base bigint[], j_backoff_max bigint[], j_retry_of uuid[],
    j_payload text[],
    -- Idempotency keys; a null outcome is not kept.
    i_unit integer[], i_route text[], i_key text[], i_hash bytea[], i_outcome text[],
    -- Single-use tickets.
    k_unit integer[], k_id uuid[], k_expires_at bigint[],
    -- Rows of the outbox that these units are made of.
    o_unit integer[], o_id bigint[],
    OUT verdicts smallint[], OUT lives integer[], OUT epochs text[], OUT bases bigint[], OUT times bigint[],
    OUT repeats integer[], OUT outcomes text[], OUT outcome_bases bigint[], OUT outcome_times bigint[],
    OUT now bigint
) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
    -- Plans are made once, perhaps of empty tables, and must serve full ones.
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_states smallint[];
    v_heads bigint[];
    v_there boolean[];
    -- Where the units' rows of the outbox lie.
    v_rows tid[];
    v_seqs bigint[];
    hit record;
BEGIN
    PERFORM tidings.expect_timeline(p_timeline);
    INSERT INTO tidings.batches (writer, n, at) VALUES (p_writer, p_n, coalesce(p_now, tidings.micros()))
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT b.verdicts, b.lives, b.epochs, b.bases, b.times, b.repeats, b.outcomes, b.outcome_bases,
               b.outcome_times, b.at
        INTO verdicts, lives, epochs, bases, times, repeats, outcomes, outcome_bases, outcome_times, now
        FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
        RETURN;
    END IF;
    IF p_n = 1 THEN
        INSERT INTO tidings.writers VALUES (p_writer, coalesce(p_now, tidings.micros()));
    END IF;

    IF true = ANY (t_create) THEN
        INSERT INTO tidings.tenants (tenant_id, life, state, epoch, created_at)
        SELECT x.id, coalesce((SELECT max(o.life) FROM tidings.tenants o WHERE o.tenant_id = x.id), 0) + 1,
               0, x.epoch, coalesce(p_now, tidings.micros())
        FROM unnest(t_id, t_create, t_epoch) AS x(id, make, epoch)
        WHERE x.make
          AND NOT EXISTS (SELECT FROM tidings.tenants o WHERE o.tenant_id = x.id AND o.state < 2)
        ORDER BY x.id COLLATE "C"
        ON CONFLICT DO NOTHING;
    END IF;

    -- The counter rows, in one statement, in order: batches of the same tenants wait for one another
    -- and never in a circle.
    lives := array_fill(NULL::integer, ARRAY[cardinality(t_id)]);
    epochs := array_fill(NULL::text, ARRAY[cardinality(t_id)]);
    v_states := array_fill(NULL::smallint, ARRAY[cardinality(t_id)]);
    bases := array_fill(NULL::bigint, ARRAY[cardinality(t_id)]);
    times := array_fill(NULL::bigint, ARRAY[cardinality(t_id)]);
    FOR hit IN
        SELECT x.place, t.life, t.epoch, t.state, t.head, t.last_time
        FROM unnest(t_id) WITH ORDINALITY AS x(id, place)
        JOIN tidings.tenants t ON t.tenant_id = x.id AND t.state < 2
        ORDER BY t.tenant_id FOR NO KEY UPDATE OF t
    LOOP
        lives[hit.place] := hit.life;
        epochs[hit.place] := hit.epoch;
        v_states[hit.place] := hit.state;
        bases[hit.place] := hit.head;
        times[hit.place] := hit.last_time;
    END LOOP;
    now := coalesce(p_now, tidings.micros());
    FOR place IN 1 .. cardinality(t_id) LOOP
        times[place] := greatest(times[place], now);
    END LOOP;
    verdicts := array_fill(0::smallint, ARRAY[cardinality(u_tenant)]);
    FOR place IN 1 .. cardinality(u_tenant) LOOP
        IF lives[u_tenant[place]] IS NULL THEN
            verdicts[place] := 2;
        ELSIF v_states[u_tenant[place]] <> 0 AND NOT u_any_state[place] THEN
            verdicts[place] := 3;
        END IF;
    END LOOP;

    IF cardinality(i_unit) > 0 THEN
        FOR hit IN
            SELECT i.unit, d.body_hash = i.hash AS same, d.outcome, d.base_seq, d.time
            FROM unnest(i_unit, i_route, i_key, i_hash) AS i(unit, route, key, hash)
            JOIN tidings.idempotency d
              ON d.tenant_id = t_id[u_tenant[i.unit]] AND d.life = lives[u_tenant[i.unit]]
             AND d.route = i.route AND d.key = i.key
            WHERE d.created_at > now - 86400000000 AND verdicts[i.unit] = 0
        LOOP
            IF hit.same THEN
                verdicts[hit.unit] := 4;
                repeats := array_append(repeats, hit.unit);
                outcomes := array_append(outcomes, hit.outcome);
                outcome_bases := array_append(outcome_bases, hit.base_seq);
                outcome_times := array_append(outcome_times, hit.time);
            ELSE
                verdicts[hit.unit] := 5;
            END IF;
        END LOOP;
    END IF;
    IF cardinality(k_unit) > 0 THEN
        FOR hit IN
            SELECT k.unit FROM unnest(k_unit, k_id) AS k(unit, id)
            JOIN tidings.tickets d
              ON d.tenant_id = t_id[u_tenant[k.unit]] AND d.life = lives[u_tenant[k.unit]] AND d.id = k.id
            WHERE verdicts[k.unit] = 0
        LOOP
            verdicts[hit.unit] := 6;
        END LOOP;
    END IF;
    IF cardinality(j_unit) > 0 THEN
        -- Jobs that are no longer what the decision saw. Nobody keeps one locked without its counter row
        -- for longer than a statement; one that is locked is passed over.
        v_there := array_fill(false, ARRAY[cardinality(j_unit)]);
        FOR hit IN
            SELECT j.place FROM unnest(j_unit, j_id, j_before) WITH ORDINALITY AS j(unit, id, before, place)
            JOIN tidings.jobs d
              ON d.tenant_id = t_id[u_tenant[j.unit]] AND d.life = lives[u_tenant[j.unit]] AND d.id = j.id
            WHERE d.version = j.before AND verdicts[j.unit] = 0
            FOR NO KEY UPDATE OF d SKIP LOCKED
        LOOP
            v_there[hit.place] := true;
        END LOOP;
        FOR place IN 1 .. cardinality(j_unit) LOOP
            IF j_before[place] IS NOT NULL AND NOT v_there[place] AND verdicts[j_unit[place]] = 0 THEN
                verdicts[j_unit[place]] := 1;
            END IF;
        END LOOP;
        -- New jobs whose unique key is held.
        FOR hit IN
            SELECT x.unit FROM (
                SELECT j.unit, j.type, j.unique_key, row_number() OVER (
                           PARTITION BY u_tenant[j.unit], j.type, j.unique_key ORDER BY j.place) AS nth
                FROM unnest(j_unit, j_type, j_before, j_unique_key) WITH ORDINALITY
                         AS j(unit, type, before, unique_key, place)
                WHERE j.before IS NULL AND j.unique_key IS NOT NULL AND verdicts[j.unit] = 0
            ) x
            WHERE x.nth > 1 OR EXISTS (
                SELECT FROM tidings.jobs d
                WHERE d.tenant_id = t_id[u_tenant[x.unit]] AND d.life = lives[u_tenant[x.unit]]
                  AND d.job_type = x.type AND d.unique_key = x.unique_key AND d.state < 3 OFFSET 0)
        LOOP
            verdicts[hit.unit] := 1;
        END LOOP;
    END IF;
    IF cardinality(o_unit) > 0 THEN
        -- Rows that another node has moved, or is about to.
        v_there := array_fill(false, ARRAY[cardinality(o_unit)]);
        FOR hit IN
            SELECT o.place, d.at FROM unnest(o_id) WITH ORDINALITY AS o(id, place)
            CROSS JOIN LATERAL (
                SELECT x.ctid AS at FROM tidings.outbox x WHERE x.id BETWEEN o.id AND o.id
                ORDER BY x.id LIMIT 1 FOR UPDATE SKIP LOCKED
            ) d
        LOOP
            v_there[hit.place] := true;
            v_rows[hit.place] := hit.at;
        END LOOP;
        FOR place IN 1 .. cardinality(o_unit) LOOP
            IF NOT v_there[place] AND verdicts[o_unit[place]] = 0 THEN
                verdicts[o_unit[place]] := 1;
            END IF;
        END LOOP;
    END IF;
    IF EXISTS (SELECT FROM unnest(j_limit) AS l WHERE l IS NOT NULL) THEN
        -- Leases beyond what may run at once. Under the counter lock the count is exact.
        FOR hit IN
            SELECT x.unit FROM (
                SELECT j.unit, j.type, j.lim, u_tenant[j.unit] AS tenant, row_number() OVER (
                           PARTITION BY u_tenant[j.unit], j.type ORDER BY j.place) AS nth
                FROM unnest(j_unit, j_type, j_limit) WITH ORDINALITY AS j(unit, type, lim, place)
                WHERE j.lim IS NOT NULL AND verdicts[j.unit] = 0
            ) x
            WHERE x.nth > x.lim - (
                SELECT count(*) FROM tidings.jobs d
                WHERE d.tenant_id = t_id[x.tenant] AND d.life = lives[x.tenant] AND d.state = 2
                  AND d.job_type = x.type
            ) - (
                SELECT count(*) FROM unnest(j_unit, j_type, j_state, j_limit, j_before)
                         AS b(unit, type, state, lim, before)
                WHERE b.before IS NULL AND b.state = 2 AND b.lim IS NULL AND b.type = x.type
                  AND u_tenant[b.unit] = x.tenant AND verdicts[b.unit] = 0)
        LOOP
            verdicts[hit.unit] := 7;
        END LOOP;
    END IF;

    -- From here on nothing is refused.
    v_heads := bases;
    IF cardinality(e_unit) > 0 THEN
        SELECT array_agg(CASE WHEN x.done THEN bases[x.tenant] + x.nth END ORDER BY x.place) INTO v_seqs FROM (
            SELECT e.place, u_tenant[e.unit] AS tenant, verdicts[e.unit] = 0 AS done,
                   count(*) FILTER (WHERE verdicts[e.unit] = 0)
                       OVER (PARTITION BY u_tenant[e.unit] ORDER BY e.place) AS nth
            FROM unnest(e_unit) WITH ORDINALITY AS e(unit, place)
        ) x;
        INSERT INTO tidings.events (tenant_id, life, seq, time, id, type, job_id, job_type, owner, subject, data,
                                    detail, debug)
        SELECT t_id[u_tenant[e.unit]], lives[u_tenant[e.unit]], e.seq, times[u_tenant[e.unit]], e.id, e.type, e.job_id,
               e.job_type, e.owner, e.subject, e.data, e.detail, e.debug
        FROM unnest(v_seqs, e_unit, e_id, e_type, e_job_id, e_job_type, e_owner, e_subject, e_data, e_detail, e_debug)
                 AS e(seq, unit, id, type, job_id, job_type, owner, subject, data, detail, debug)
        WHERE e.seq IS NOT NULL;
        FOR hit IN
            SELECT u_tenant[e.unit] AS tenant, max(e.seq) AS head FROM unnest(v_seqs, e_unit) AS e(seq, unit)
            WHERE e.seq IS NOT NULL GROUP BY 1
        LOOP
            v_heads[hit.tenant] := hit.head;
        END LOOP;
        UPDATE tidings.tenants t SET head = x.head, last_time = x.time
        FROM unnest(t_id, lives, bases, v_heads, times) AS x(id, life, base, head, time)
        WHERE t.tenant_id = x.id AND t.life = x.life AND x.head > x.base;
    END IF;

    IF cardinality(j_unit) > 0 THEN
        -- Changes before new jobs: one may free the unique key that another takes.
        UPDATE tidings.jobs d
        SET version = d.version + 1, state = j.state, run_at = j.run_at, attempt = j.attempt,
            lease_no = j.lease_no, worker = j.worker, lease_expires_at = j.lease_expires_at,
            cancel_requested = j.cancel_requested, reported_lease_no = j.reported_lease_no,
            reported = j.reported, percent = j.percent, message = j.message,
            failure_category = j.failure_category, failure_message = j.failure_message,
            failure_raw = j.failure_raw, started_at = j.started_at, finished_at = j.finished_at,
            seq = coalesce(v_seqs[j.last], d.seq), result = j.result
        FROM unnest(j_unit, j_id, j_before, j_last, j_state, j_run_at, j_attempt, j_lease_no, j_worker,
                    j_lease_expires_at, j_cancel_requested, j_reported_lease_no, j_reported, j_percent,
                    j_message, j_failure_category, j_failure_message, j_failure_raw, j_started_at,
                    j_finished_at, j_result)
                 AS j(unit, id, before, last, state, run_at, attempt, lease_no, worker, lease_expires_at,
                      cancel_requested, reported_lease_no, reported, percent, message, failure_category,
                      failure_message, failure_raw, started_at, finished_at, result)
        WHERE j.before IS NOT NULL AND verdicts[j.unit] = 0
          AND d.tenant_id = t_id[u_tenant[j.unit]] AND d.life = lives[u_tenant[j.unit]] AND d.id = j.id;
        INSERT INTO tidings.jobs (tenant_id, life, id, version, first_seq, job_type, state, owner, subject, priority,
            run_at, attempt, lease_no, worker, lease_expires_at, cancel_requested, created_at, started_at,
            seq, unique_key, max_attempts, backoff_base, backoff_max, retry_of, payload)
        SELECT t_id[u_tenant[j.unit]], lives[u_tenant[j.unit]], j.id, 1, v_seqs[j.first], j.type, j.state, j.owner,
               j.subject, j.priority, j.run_at, j.attempt, j.lease_no, j.worker, j.lease_expires_at, false,
               j.created_at, j.started_at, v_seqs[j.last], j.unique_key, j.max_attempts, j.backoff_base,
               j.backoff_max, j.retry_of, j.payload
        FROM unnest(j_unit, j_id, j_before, j_first, j_last, j_type, j_state, j_owner, j_subject, j_priority,
                    j_run_at, j_attempt, j_lease_no, j_worker, j_lease_expires_at, j_created_at,
                    j_started_at, j_unique_key, j_max_attempts, j_backoff_base, j_backoff_max, j_retry_of,
                    j_payload)
                 AS j(unit, id, before, first, last, type, state, owner, subject, priority, run_at, attempt,
                      lease_no, worker, lease_expires_at, created_at, started_at, unique_key, max_attempts,
                      backoff_base, backoff_max, retry_of, payload)
        WHERE j.before IS NULL AND verdicts[j.unit] = 0;
    END IF;
    IF cardinality(i_unit) > 0 THEN
        -- An expired row may still be there.
        INSERT INTO tidings.idempotency AS d
        SELECT t_id[u_tenant[i.unit]], lives[u_tenant[i.unit]], i.route, i.key, i.hash, i.outcome,
               (SELECT min(e.seq) - 1 FROM unnest(v_seqs, e_unit) AS e(seq, unit) WHERE e.unit = i.unit),
               times[u_tenant[i.unit]], now
        FROM unnest(i_unit, i_route, i_key, i_hash, i_outcome) AS i(unit, route, key, hash, outcome)
        WHERE verdicts[i.unit] = 0 AND i.outcome IS NOT NULL
        ON CONFLICT (tenant_id, life, route, key) DO UPDATE
        SET body_hash = excluded.body_hash, outcome = excluded.outcome, base_seq = excluded.base_seq,
            time = excluded.time, created_at = excluded.created_at;
    END IF;
    IF cardinality(k_unit) > 0 THEN
        INSERT INTO tidings.tickets
        SELECT t_id[u_tenant[k.unit]], lives[u_tenant[k.unit]], k.id, k.expires_at
        FROM unnest(k_unit, k_id, k_expires_at) AS k(unit, id, expires_at)
        WHERE verdicts[k.unit] = 0;
    END IF;
    IF cardinality(o_unit) > 0 THEN
        DELETE FROM tidings.outbox d WHERE d.ctid = ANY (ARRAY(
            SELECT o.at FROM unnest(o_unit, v_rows) AS o(unit, at) WHERE verdicts[o.unit] = 0 AND o.at IS NOT NULL));
    END IF;
    UPDATE tidings.batches b
    SET at = commit.now, tenants = commit.t_id, lives = commit.lives, epochs = commit.epochs, bases = commit.bases,
        heads = v_heads, times = commit.times, verdicts = commit.verdicts, repeats = commit.repeats,
        outcomes = commit.outcomes, outcome_bases = commit.outcome_bases, outcome_times = commit.outcome_times
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;

-- As in 0008, but for the bounds of run_at: a later time could be stored, and not be read again.
CREATE OR REPLACE FUNCTION tidings.enqueue(tenant text, type text, payload jsonb DEFAULT '{}', subject text DEFAULT NULL,
                                           owner text DEFAULT NULL, priority integer DEFAULT 0,
                                           run_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT 5,
                                           unique_key text DEFAULT NULL, backoff_base interval DEFAULT '1 second',
                                           backoff_max interval DEFAULT '1 hour')
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id uuid := tidings.new_id();
BEGIN
    PERFORM tidings.check_item(tenant, true, type, payload, subject, owner, unique_key);
    IF priority IS NULL OR priority NOT BETWEEN -1000 AND 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'priority is a whole number from -1000 to 1000';
    ELSIF max_attempts IS NULL OR max_attempts NOT BETWEEN 1 AND 100 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'max_attempts is a whole number from 1 to 100';
    ELSIF run_at NOT BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-30T22:00:00Z' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'run_at is a time from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z';
    ELSIF backoff_base IS NULL OR backoff_max IS NULL OR backoff_base < '1 millisecond' OR backoff_base > backoff_max
        OR backoff_max > '30 days'
    THEN
        RAISE invalid_parameter_value USING MESSAGE = 'backoff''s base is from 1ms to its max, and its max at most 30d';
    END IF;
    INSERT INTO tidings.outbox (tenant_id, made_at, made_by, is_job, item, type, owner, subject, data, priority, run_at,
                                max_attempts, unique_key, backoff_base, backoff_max)
    VALUES (tenant, tidings.micros(), session_user, true, v_id, type, owner, subject, payload::text, priority,
            (extract(epoch FROM run_at) * 1000000)::bigint, max_attempts, unique_key,
            (extract(epoch FROM backoff_base) * 1000000)::bigint, (extract(epoch FROM backoff_max) * 1000000)::bigint);
    RETURN v_id;
END $$;

-- As in 0006, but for how it finds what a writer is named with: each writer read the whole list.
CREATE OR REPLACE FUNCTION tidings.moves(p_writers uuid[], p_seen bigint[], p_max integer)
RETURNS TABLE (writer uuid, n bigint, tenants text[], epochs text[], bases bigint[], heads bigint[])
LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_seen jsonb := jsonb_object(p_writers::text[], p_seen::text[]);
BEGIN
    RETURN QUERY
    SELECT b.writer, b.n, b.tenants, b.epochs, b.bases, b.heads FROM tidings.writers w
    CROSS JOIN LATERAL (
        SELECT o.* FROM tidings.batches o
        WHERE o.writer = w.writer AND o.n > coalesce((v_seen ->> w.writer::text)::bigint, 0)
        ORDER BY o.n LIMIT p_max
    ) b;
END $$;

-- As in 0005, but that batches count: ten thousand at a time, and no more before the next round, are fewer than are committed.
CREATE OR REPLACE FUNCTION tidings.forget_expired(p_now bigint, p_max integer) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_rows integer;
    v_tickets integer;
    v_batches integer;
BEGIN
    DELETE FROM tidings.batches b USING (
        -- The last of a writer says that it is there; a writer that rests for an hour takes another name.
        SELECT o.writer, o.n FROM tidings.batches o
        WHERE o.at < v_now - 600000000 AND (o.at < v_now - 86400000000 OR EXISTS (
            SELECT FROM tidings.batches y WHERE y.writer = o.writer AND y.n > o.n))
        ORDER BY o.at LIMIT 10000 FOR UPDATE SKIP LOCKED
    ) o WHERE b.writer = o.writer AND b.n = o.n;
    GET DIAGNOSTICS v_batches = ROW_COUNT;
    DELETE FROM tidings.writers w
    WHERE w.started_at < v_now - 600000000 AND NOT EXISTS (SELECT FROM tidings.batches b WHERE b.writer = w.writer);
    DELETE FROM tidings.idempotency d USING (
        SELECT o.tenant_id, o.life, o.route, o.key FROM tidings.idempotency o
        WHERE o.created_at <= v_now - 86400000000 ORDER BY o.created_at LIMIT p_max FOR UPDATE SKIP LOCKED
    ) o WHERE d.tenant_id = o.tenant_id AND d.life = o.life AND d.route = o.route AND d.key = o.key;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    DELETE FROM tidings.tickets d USING (
        SELECT o.tenant_id, o.life, o.id FROM tidings.tickets o
        WHERE o.expires_at <= v_now ORDER BY o.expires_at LIMIT p_max - v_rows FOR UPDATE SKIP LOCKED
    ) o WHERE d.tenant_id = o.tenant_id AND d.life = o.life AND d.id = o.id;
    GET DIAGNOSTICS v_tickets = ROW_COUNT;
    RETURN CASE WHEN v_batches < 10000 THEN v_rows + v_tickets ELSE p_max END;
END $$;
