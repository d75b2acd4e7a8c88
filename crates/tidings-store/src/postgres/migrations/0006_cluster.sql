-- What servers on one database share beside the log.

-- Work that one node at a time does for all.
CREATE TABLE tidings.duties (
    duty        text PRIMARY KEY,
    node        uuid,                       -- who leads; null where the last leader gave it back
    term        bigint NOT NULL,            -- rises with every change of leader
    expires_at  bigint NOT NULL
);

CREATE TABLE tidings.nodes (
    node      uuid PRIMARY KEY,
    alive_at  bigint NOT NULL
);

-- Sealed by whoever uses them: the database never sees one open.
CREATE TABLE tidings.secrets (
    name    text PRIMARY KEY,
    sealed  bytea NOT NULL
);

-- Where no node could say for longer than `p_grace` that it is alive, workers could not extend their leases
-- either: every running lease gets the length of the outage, once, before any is judged lost. Returns that
-- length. `p_node` null: only looks.
CREATE FUNCTION tidings.beat(p_node uuid, p_now bigint, p_grace bigint) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '10s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
    v_alive bigint;
    v_outage bigint := 0;
BEGIN
    SELECT m.alive_at INTO v_alive FROM tidings.meta m;
    IF v_alive > 0 AND v_now - v_alive > p_grace THEN
        -- The counter rows first, in order, as everybody takes them; whoever else came here waits, and
        -- then finds that it is done.
        PERFORM FROM tidings.tenants t
        WHERE t.state < 2 AND EXISTS (
            SELECT FROM tidings.jobs j WHERE j.tenant_id = t.tenant_id AND j.life = t.life AND j.state = 2)
        ORDER BY t.tenant_id FOR NO KEY UPDATE;
        SELECT m.alive_at INTO v_alive FROM tidings.meta m FOR UPDATE;
        v_outage := v_now - v_alive;
        IF v_outage > p_grace THEN
            UPDATE tidings.jobs j SET lease_expires_at = j.lease_expires_at + v_outage, version = j.version + 1
            WHERE j.state = 2;
            UPDATE tidings.meta SET alive_at = v_now;
        ELSE
            v_outage := 0;
        END IF;
    END IF;
    IF p_node IS NOT NULL THEN
        UPDATE tidings.meta SET alive_at = v_now WHERE alive_at < v_now;
        INSERT INTO tidings.nodes VALUES (p_node, v_now)
        ON CONFLICT (node) DO UPDATE SET alive_at = excluded.alive_at;
        DELETE FROM tidings.nodes WHERE alive_at < v_now - 3600000000;
    END IF;
    RETURN v_outage;
END $$;

-- Takes a duty that nobody leads, or keeps it. Null: another node leads.
CREATE FUNCTION tidings.lead(p_duty text, p_node uuid, p_now bigint, p_length bigint) RETURNS bigint LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO tidings.duties AS d VALUES (p_duty, p_node, 1, coalesce(p_now, tidings.micros()) + p_length)
    ON CONFLICT (duty) DO UPDATE
    SET node = excluded.node, expires_at = excluded.expires_at,
        term = d.term + (d.node IS DISTINCT FROM excluded.node OR d.expires_at <= excluded.expires_at - p_length)::integer
    WHERE d.node IS NULL OR d.node = excluded.node OR d.expires_at <= excluded.expires_at - p_length
    RETURNING term
$$;

-- What each writer has committed after the batch named for it; nothing of it for a writer not named.
CREATE FUNCTION tidings.moves(p_writers uuid[], p_seen bigint[], p_max integer)
RETURNS TABLE (writer uuid, n bigint, tenants text[], epochs text[], bases bigint[], heads bigint[])
LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT b.writer, b.n, b.tenants, b.epochs, b.bases, b.heads FROM tidings.writers w
    CROSS JOIN LATERAL (
        SELECT o.* FROM tidings.batches o
        WHERE o.writer = w.writer
          AND o.n > coalesce((SELECT x.n FROM unnest(p_writers, p_seen) AS x(writer, n) WHERE x.writer = w.writer), 0)
        ORDER BY o.n LIMIT p_max
    ) b;
END $$;
