-- How many live connections users and tenants have, on all nodes together. Unlogged: each node says again what it has,
-- so that nothing is lost with it for longer than a minute.

CREATE UNLOGGED TABLE tidings.places (
    tenant_id  text NOT NULL,
    user_id    text NOT NULL,               -- empty: the tenant as a whole
    node       uuid NOT NULL REFERENCES tidings.nodes ON DELETE CASCADE,
    taken      integer NOT NULL,
    PRIMARY KEY (tenant_id, user_id, node)
);

ALTER TABLE tidings.places ENABLE ROW LEVEL SECURITY;

-- Says what `p_node` has of each holder (`p_kept`) and gives what it asks for besides, as far as `p_limits` (null: any
-- number) and what the other nodes have let it. Holders come in order, so that two calls never wait for each other; each
-- is locked to the end of the transaction, so that whoever counts after it sees what it has taken.
CREATE FUNCTION tidings.take_places(
    p_node uuid, p_now bigint, p_alive bigint,
    p_tenants text[], p_users text[], p_kept integer[], p_asked integer[], p_limits integer[])
RETURNS TABLE (given integer, elsewhere integer) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tidings.micros());
BEGIN
    -- Who asks is alive, also before its first beat.
    INSERT INTO tidings.nodes AS n VALUES (p_node, v_now)
    ON CONFLICT (node) DO UPDATE SET alive_at = excluded.alive_at WHERE n.alive_at < excluded.alive_at - 1000000;
    FOR i IN 1 .. cardinality(p_tenants) LOOP
        IF p_asked[i] > 0 THEN
            PERFORM pg_advisory_xact_lock(hashtextextended(p_tenants[i] || '/' || p_users[i], 71));
        END IF;
        SELECT least(coalesce(sum(p.taken), 0), 1000000000) INTO elsewhere
        FROM tidings.places p JOIN tidings.nodes n ON n.node = p.node
        WHERE p.tenant_id = p_tenants[i] AND p.user_id = p_users[i] AND p.node <> p_node
          AND n.alive_at > v_now - p_alive;
        given := greatest(0, least(p_asked[i], coalesce(p_limits[i], 2147483647) - elsewhere - p_kept[i]));
        IF p_kept[i] + given = 0 THEN
            DELETE FROM tidings.places p
            WHERE p.tenant_id = p_tenants[i] AND p.user_id = p_users[i] AND p.node = p_node;
        ELSE
            INSERT INTO tidings.places AS p VALUES (p_tenants[i], p_users[i], p_node, p_kept[i] + given)
            ON CONFLICT (tenant_id, user_id, node) DO UPDATE SET taken = excluded.taken
            WHERE p.taken <> excluded.taken;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
