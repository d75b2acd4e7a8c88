-- Whether this database is still the one that it was: a cursor must never be taken for one of another history.

-- Where each log ended when the database went over to another timeline: a standby that took over, or a restore to a
-- point in time. What nodes remember beyond that is lost.
CREATE TABLE tidings.forks (
    tenant_id  text COLLATE "C" NOT NULL,
    life       integer NOT NULL,
    epoch      text NOT NULL,
    head       bigint NOT NULL,
    PRIMARY KEY (tenant_id, life)
);
ALTER TABLE tidings.forks ENABLE ROW LEVEL SECURITY;

-- Gives every history a new name.
CREATE FUNCTION tidings.renew_epochs() RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows bigint;
BEGIN
    PERFORM FROM tidings.tenants t WHERE t.state < 2 ORDER BY t.tenant_id FOR NO KEY UPDATE;
    UPDATE tidings.tenants t SET epoch = left(replace(gen_random_uuid()::text, '-', ''), 12) WHERE t.state < 2;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN v_rows;
END $$;

-- Finds out where it is. Another cluster, or another database of one: this is a copy, and every history gets a new
-- name. Another timeline: where the logs end now is noted before anybody writes on it.
CREATE FUNCTION tidings.recognise(OUT timeline integer, OUT renewed bigint) LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_identity text;
    v_known tidings.meta;
BEGIN
    SELECT c.system_identifier || '/' || d.oid INTO v_identity
    FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
    timeline := tidings.timeline();
    renewed := 0;
    SELECT m.* INTO v_known FROM tidings.meta m;
    IF v_known.system_identifier = v_identity AND v_known.timeline = recognise.timeline THEN
        RETURN;
    END IF;
    -- The counter rows in order, as everybody takes them; whoever comes second finds it done.
    PERFORM FROM tidings.tenants t WHERE t.state < 2 ORDER BY t.tenant_id FOR NO KEY UPDATE;
    SELECT m.* INTO v_known FROM tidings.meta m FOR UPDATE;
    IF v_known.system_identifier NOT IN ('', v_identity) THEN
        renewed := tidings.renew_epochs();
    ELSIF v_known.system_identifier = v_identity AND v_known.timeline <> recognise.timeline THEN
        DELETE FROM tidings.forks;
        INSERT INTO tidings.forks
        SELECT t.tenant_id, t.life, t.epoch, t.head FROM tidings.tenants t WHERE t.state < 2;
    END IF;
    UPDATE tidings.meta SET system_identifier = v_identity, timeline = recognise.timeline;
END $$;

-- Renews those histories that a node knows further than they went when the timeline changed. Returns how many.
CREATE FUNCTION tidings.renew_fallen(p_ids text[], p_epochs text[], p_heads bigint[]) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids text[];
    v_rows bigint;
BEGIN
    SELECT array_agg(x.id) INTO v_ids FROM unnest(p_ids, p_epochs, p_heads) AS x(id, epoch, head)
    JOIN tidings.forks f ON f.tenant_id = x.id AND f.epoch = x.epoch AND f.head < x.head;
    PERFORM FROM tidings.tenants t WHERE t.tenant_id = ANY (v_ids) AND t.state < 2
    ORDER BY t.tenant_id FOR NO KEY UPDATE;
    UPDATE tidings.tenants t SET epoch = left(replace(gen_random_uuid()::text, '-', ''), 12)
    FROM tidings.forks f
    WHERE t.tenant_id = ANY (v_ids) AND t.state < 2 AND f.tenant_id = t.tenant_id AND f.life = t.life
      AND f.epoch = t.epoch;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN v_rows;
END $$;
