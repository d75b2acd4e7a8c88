-- What tidings.commit does, for a batch that does nothing but append events without a job to tenants that are there:
-- most of publishing. A tenant's events are done together or not at all, so that it has one verdict.
--
-- The counter rows are taken and advanced by one statement, in order of tenant_id like everywhere: whether it begins with
-- the array, which is in that order, or with an index, which is too. What could visit them in another order is off.
-- The batch's own row comes after them and whole. A first call that is still running has the counter rows, so that the same
-- batch sent again waits for it there, and then fails on that row and changes nothing.
CREATE FUNCTION tidings.append(
    p_writer uuid, p_n bigint, p_timeline integer,
    p_now bigint,                           -- instead of the database's clock, where not null
    -- Tenants, each once and in order, with how many events each gets: one at least.
    t_id text[], t_events integer[],
    -- Events: the place of each one's tenant, and its number among those of its tenant.
    e_tenant integer[], e_nth integer[], e_id uuid[], e_type text[], e_owner text[], e_subject text[], e_data text[],
    -- All of each tenant, in their order; verdicts null: all is done.
    OUT verdicts smallint[], OUT epochs text[], OUT bases bigint[], OUT times bigint[], OUT now bigint
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
BEGIN
    -- As tidings.expect_timeline does, without a call.
    IF p_timeline <> ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer THEN
        RAISE 'the database is on another timeline' USING ERRCODE = 'TD001';
    END IF;
    SELECT b.verdicts, b.epochs, b.bases, b.times, b.at INTO verdicts, epochs, bases, times, now
    FROM tidings.batches b WHERE b.writer = p_writer AND b.n = p_n;
    IF FOUND THEN
        RETURN;
    END IF;

    WITH moved AS (
        UPDATE tidings.tenants t
        SET head = t.head + x.events, last_time = greatest(t.last_time, coalesce(p_now, tidings.micros()))
        FROM unnest(t_id, t_events) WITH ORDINALITY AS x(id, events, place)
        WHERE t.tenant_id = x.id AND t.state = 0
        RETURNING x.place, t.life, t.epoch, t.head - x.events AS base, t.head, t.last_time
    )
    SELECT array_agg(m.place), array_agg(m.life), array_agg(m.epoch), array_agg(m.base), array_agg(m.head),
           array_agg(m.last_time)
    INTO v_places, v_lives, epochs, bases, v_heads, times
    FROM (SELECT * FROM moved ORDER BY place) m;
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
    IF p_n = 1 THEN
        INSERT INTO tidings.writers VALUES (p_writer, now);
    END IF;
    INSERT INTO tidings.batches (writer, n, at, tenants, lives, epochs, bases, heads, times, verdicts)
    VALUES (p_writer, p_n, now, t_id, v_lives, epochs, bases, v_heads, times, verdicts);
    INSERT INTO tidings.events (tenant_id, life, seq, time, id, type, owner, subject, data)
    SELECT t_id[e_tenant[at]], v_lives[e_tenant[at]], bases[e_tenant[at]] + e_nth[at], times[e_tenant[at]], e_id[at],
           e_type[at], e_owner[at], e_subject[at], e_data[at]
    FROM generate_series(1, cardinality(e_id)) AS at
    WHERE v_lives[e_tenant[at]] IS NOT NULL;
END $$;
