-- What operators do to tenants and keys: rare, one command each, as a batch of its own.
--
-- Verdicts as those of tidings.commit, and 8: there is no such key.
CREATE FUNCTION tidings.administer(
    p_writer uuid, p_n bigint, p_timeline integer, p_now bigint, p_do text, p_tenant text, p_create boolean, p_epoch text,
    p_key uuid, p_name bytea, p_hash bytea, p_grant text, p_expires_at bigint)
RETURNS smallint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '4s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_tenant tidings.tenants;
    v_verdict smallint := 0;
    v_revoked bigint;
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
    IF p_tenant IS NOT NULL THEN
        SELECT t.* INTO v_tenant FROM tidings.tenants t WHERE t.tenant_id = p_tenant AND t.state < 2
        FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            v_verdict := 2;
        ELSIF v_tenant.state <> 0 AND p_do = 'put_key' THEN
            v_verdict := 3;
        END IF;
    END IF;
    IF v_verdict = 0 THEN
        CASE p_do
        WHEN 'create' THEN
            NULL;
        WHEN 'suspend', 'activate', 'delete' THEN
            UPDATE tidings.tenants t
            SET state = CASE p_do WHEN 'suspend' THEN 1 WHEN 'activate' THEN 0 ELSE 2 END
            WHERE t.tenant_id = p_tenant AND t.life = v_tenant.life;
            IF p_do = 'delete' OR (p_do = 'suspend' AND v_tenant.state = 0) THEN
                PERFORM tidings.revoke(NULL, p_tenant);
            END IF;
        WHEN 'renew_epoch' THEN
            UPDATE tidings.tenants t SET epoch = p_epoch WHERE t.tenant_id = p_tenant AND t.life = v_tenant.life;
            v_tenant.epoch := p_epoch;
        WHEN 'put_key' THEN
            INSERT INTO tidings.keys
            VALUES (p_key, p_tenant, v_tenant.life, p_name, p_hash, p_grant, v_now, p_expires_at, NULL);
        WHEN 'revoke_key' THEN
            SELECT coalesce(k.revoked_at, 0) INTO v_revoked FROM tidings.keys k
            WHERE k.id = p_key AND k.tenant_id IS NOT DISTINCT FROM p_tenant
              AND k.life IS NOT DISTINCT FROM v_tenant.life FOR NO KEY UPDATE;
            IF v_revoked IS NULL THEN
                v_verdict := 8;
            ELSIF v_revoked = 0 THEN
                UPDATE tidings.keys k SET revoked_at = v_now WHERE k.id = p_key;
                PERFORM tidings.revoke(p_key, NULL);
            END IF;
        END CASE;
    END IF;
    -- A base below the head: nodes hear of the tenant's new epoch.
    UPDATE tidings.batches b
    SET verdicts = ARRAY[v_verdict],
        tenants = ARRAY[p_tenant], epochs = ARRAY[v_tenant.epoch], heads = ARRAY[v_tenant.head],
        bases = ARRAY[CASE WHEN p_do = 'renew_epoch' AND v_verdict = 0 THEN -1 ELSE v_tenant.head END]
    WHERE b.writer = p_writer AND b.n = p_n;
    RETURN v_verdict;
END $$;

-- Numbers a revocation. The lock on the number is held until the commit, so that they are numbered in commit
-- order; it is the last that anybody takes.
CREATE FUNCTION tidings.revoke(p_key uuid, p_tenant text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_n bigint;
BEGIN
    UPDATE tidings.meta SET revocations = revocations + 1 RETURNING revocations INTO v_n;
    INSERT INTO tidings.revocations VALUES (v_n, p_key, p_tenant);
END $$;

-- Removes what has expired whosesoever it is; at most so many rows of each kind.
CREATE FUNCTION tidings.forget_expired(p_now bigint, p_max integer) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_rows integer;
    v_tickets integer;
BEGIN
    DELETE FROM tidings.batches b USING (
        -- The last of a writer says that it is there; a writer that rests for an hour takes another name.
        SELECT o.writer, o.n FROM tidings.batches o
        WHERE o.at < v_now - 600000000 AND (o.at < v_now - 86400000000 OR EXISTS (
            SELECT FROM tidings.batches y WHERE y.writer = o.writer AND y.n > o.n))
        ORDER BY o.at LIMIT 10000 FOR UPDATE SKIP LOCKED
    ) o WHERE b.writer = o.writer AND b.n = o.n;
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
    RETURN v_rows + v_tickets;
END $$;

-- Removes what deleted tenants left; the tombstone stays.
CREATE FUNCTION tidings.purge_deleted(p_max integer) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    v_left integer := p_max;
    v_rows integer;
    gone record;
BEGIN
    WHILE v_left > 0 LOOP
        SELECT t.tenant_id, t.life INTO gone FROM tidings.tenants t WHERE t.state = 2
        ORDER BY t.tenant_id, t.life LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        DELETE FROM tidings.events d WHERE (d.tenant_id, d.life, d.seq, d.time) IN (
            SELECT o.tenant_id, o.life, o.seq, o.time FROM tidings.events o
            WHERE o.tenant_id = gone.tenant_id AND o.life = gone.life ORDER BY o.seq LIMIT v_left);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        DELETE FROM tidings.jobs d WHERE (d.tenant_id, d.life, d.id) IN (
            SELECT o.tenant_id, o.life, o.id FROM tidings.jobs o
            WHERE o.tenant_id = gone.tenant_id AND o.life = gone.life LIMIT v_left);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        DELETE FROM tidings.idempotency d WHERE (d.tenant_id, d.life, d.route, d.key) IN (
            SELECT o.tenant_id, o.life, o.route, o.key FROM tidings.idempotency o
            WHERE o.tenant_id = gone.tenant_id AND o.life = gone.life LIMIT v_left);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        DELETE FROM tidings.keys d WHERE d.id IN (
            SELECT o.id FROM tidings.keys o WHERE o.tenant_id = gone.tenant_id AND o.life = gone.life LIMIT v_left);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        DELETE FROM tidings.tickets d WHERE (d.tenant_id, d.life, d.id) IN (
            SELECT o.tenant_id, o.life, o.id FROM tidings.tickets o
            WHERE o.tenant_id = gone.tenant_id AND o.life = gone.life LIMIT v_left);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        IF v_left > 0 THEN
            UPDATE tidings.tenants t SET state = 3 WHERE t.tenant_id = gone.tenant_id AND t.life = gone.life;
        END IF;
    END LOOP;
    RETURN p_max - v_left;
END $$;

-- Moves the floors of the tenants after `p_after`, at most so many, by age and count. Names those that it
-- looked at.
CREATE FUNCTION tidings.move_floors(p_now bigint, p_after text, p_age bigint, p_count bigint, p_max integer)
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
    v_cutoff bigint := coalesce(p_now, tidings.micros()) - p_age;
    v_ids text[] := '{}';
    v_lives integer[] := '{}';
    v_floors bigint[] := '{}';
    v_floor bigint;
    v_time bigint;
    t record;
BEGIN
    FOR t IN
        SELECT o.tenant_id, o.life, o.head, o.oldest FROM tidings.tenants o
        WHERE o.tenant_id > p_after COLLATE "C" AND o.state < 2 ORDER BY o.tenant_id LIMIT p_max
    LOOP
        tenant_id := t.tenant_id;
        life := t.life;
        RETURN NEXT;
        v_floor := greatest(t.oldest, t.head - p_count + 1);
        IF v_cutoff IS NOT NULL AND v_floor <= t.head THEN
            SELECT e.time INTO v_time FROM tidings.events e
            WHERE e.tenant_id = t.tenant_id AND e.life = t.life AND e.seq >= v_floor ORDER BY e.seq LIMIT 1;
            IF v_time < v_cutoff THEN
                -- Times never fall within a log: the first that is young enough ends what has expired.
                v_floor := coalesce((
                    SELECT e.seq FROM tidings.events e
                    WHERE e.tenant_id = t.tenant_id AND e.life = t.life AND e.seq > v_floor AND e.time >= v_cutoff
                    ORDER BY e.seq LIMIT 1), t.head + 1);
            END IF;
        END IF;
        IF v_floor > t.oldest THEN
            v_ids := v_ids || t.tenant_id;
            v_lives := v_lives || t.life;
            v_floors := v_floors || v_floor;
        END IF;
    END LOOP;
    -- The counter rows in order, as everybody takes them.
    PERFORM FROM tidings.tenants o WHERE o.tenant_id = ANY (v_ids) AND o.state < 2
    ORDER BY o.tenant_id FOR NO KEY UPDATE;
    UPDATE tidings.tenants o SET oldest = greatest(o.oldest, x.floor)
    FROM unnest(v_ids, v_lives, v_floors) AS x(id, life, floor) WHERE o.tenant_id = x.id AND o.life = x.life;
END $$;

-- Removes rows below these tenants' floors, and their jobs that finished before `p_finished`; at most so many.
-- Events before `p_spare` stay: they go with their partition.
CREATE FUNCTION tidings.trim(p_ids text[], p_lives integer[], p_spare bigint, p_finished bigint, p_max integer)
RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_left integer := p_max;
    v_rows integer;
    t record;
BEGIN
    FOR t IN
        SELECT o.tenant_id, o.life, o.oldest FROM unnest(p_ids, p_lives) AS x(id, life)
        JOIN tidings.tenants o ON o.tenant_id = x.id AND o.life = x.life
    LOOP
        DELETE FROM tidings.events d USING (
            SELECT o.seq, o.time FROM tidings.events o
            WHERE o.tenant_id = t.tenant_id AND o.life = t.life AND o.seq < t.oldest
              AND o.time >= coalesce(p_spare, 0)
            ORDER BY o.seq LIMIT v_left
        ) o
        WHERE d.tenant_id = t.tenant_id AND d.life = t.life AND d.seq = o.seq AND d.time = o.time;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        DELETE FROM tidings.jobs d USING (
            SELECT o.id FROM tidings.jobs o
            WHERE o.tenant_id = t.tenant_id AND o.life = t.life AND o.state >= 3 AND o.finished_at < p_finished
            ORDER BY o.finished_at LIMIT v_left
        ) o
        WHERE d.tenant_id = t.tenant_id AND d.life = t.life AND d.id = o.id;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_left := v_left - v_rows;
        EXIT WHEN v_left = 0;
    END LOOP;
    RETURN p_max - v_left;
END $$;

-- Days of the log that every floor has passed, and tables that an interrupted removal left. Those that end
-- after `p_before` are not looked at.
CREATE FUNCTION tidings.passed_partitions(p_before bigint)
RETURNS TABLE (name text, attached boolean, pending boolean) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_held boolean;
    p record;
BEGIN
    FOR p IN
        SELECT c.relname::text AS name, i.inhrelid IS NOT NULL AS attached, coalesce(i.inhdetachpending, false) AS pending
        FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE s.nspname = 'tidings' AND c.relkind = 'r' AND c.relname ~ '^events_[0-9]{8}$'
          AND (extract(epoch FROM to_date(substr(c.relname, 8), 'YYYYMMDD')) + 86400) * 1000000 <= p_before
        ORDER BY 1
    LOOP
        v_held := false;
        IF p.attached AND NOT p.pending THEN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM tidings.tenants t WHERE t.state < 2 AND EXISTS (
                     SELECT FROM tidings.%I e
                     WHERE e.tenant_id = t.tenant_id AND e.life = t.life AND e.seq >= t.oldest))', p.name)
            INTO v_held;
        END IF;
        IF NOT v_held THEN
            name := p.name;
            attached := p.attached;
            pending := p.pending;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
