-- Plans that serve an empty table and a full one alike.
--
-- Of a table that is empty any way to look a row up costs the same, and the planner takes the one that needs the
-- fewest of the others' columns: jobs by `life` alone, which is nearly all of them, and the rest by comparing. Such a
-- plan stays until the table is analysed. A look of its own for each row has all that it may need, and uses the whole
-- key.

CREATE OR REPLACE FUNCTION tidings.look_jobs(t_id text[], j_id uuid[])
RETURNS TABLE (place bigint, tenant_state smallint, job tidings.jobs) LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT x.place, t.state, j.job FROM unnest(t_id, j_id) WITH ORDINALITY AS x(tenant, id, place)
    LEFT JOIN tidings.tenants t ON t.tenant_id = x.tenant AND t.state < 2
    LEFT JOIN LATERAL (
        SELECT d AS job FROM tidings.jobs d WHERE d.tenant_id = x.tenant AND d.life = t.life AND d.id = x.id OFFSET 0
    ) j ON true;
END $$;

-- In tidings.commit, whether a new job's unique key is held was answered from a hash of all live jobs of all tenants. An
-- EXISTS with an OFFSET is asked for each key.
DO $$
DECLARE
    v_key constant text := 'AND d.job_type = x.type AND d.unique_key = x.unique_key AND d.state < 3)';
    v_commit text := pg_get_functiondef('tidings.commit'::regproc);
BEGIN
    IF position(v_key IN v_commit) = 0 THEN
        RAISE 'tidings.commit is not what it was';
    END IF;
    EXECUTE replace(v_commit, v_key, replace(v_key, ')', ' OFFSET 0)'));
END $$;
