-- Pauses a user's endpoints, the disabled ones too, which else might heal by themselves, whatever the state of its tenant; answers how many.
CREATE OR REPLACE FUNCTION tidings.pause_endpoints(
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
    WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.state IN (0, 2) AND e.grantee = p_user
    ORDER BY e.id FOR NO KEY UPDATE;
    FOR v_id IN
        SELECT e.id FROM tidings.endpoints e
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.state IN (0, 2) AND e.grantee = p_user ORDER BY e.id
    LOOP
        UPDATE tidings.endpoints e
        SET state = 1, since = v_now, reason = NULL, generation = e.generation + 1, change = tidings.next_endpoint_change()
        WHERE e.tenant_id = p_tenant AND e.life = v_tenant.life AND e.id = v_id;
        count := count + 1;
    END LOOP;
    UPDATE tidings.batches b SET verdicts = ARRAY[verdict], outcome_bases = ARRAY[count]
    WHERE b.writer = p_writer AND b.n = p_n;
END $$;
