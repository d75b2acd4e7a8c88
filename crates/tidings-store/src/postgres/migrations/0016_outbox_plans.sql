-- More plans that serve an empty table and a full one alike: see 0013.

-- The rows of the outbox that units are made of were joined with its whole index where the table had been analysed while it
-- was nearly empty: twenty thousand rows, two hundred at a time, took a minute under their tenant's lock. There is one look
-- for each row now, and they are deleted where they were found. All else is as in 0002, which is why it is said as a
-- change to it.
DO $$
DECLARE
    v_now text := pg_get_functiondef('tidings.commit'::regproc);
    v_change text[];
BEGIN
    FOREACH v_change SLICE 1 IN ARRAY ARRAY[
        [ 'v_there boolean[];',
          'v_there boolean[];
    -- Where the units'' rows of the outbox lie.
    v_rows tid[];' ],
        [ 'SELECT o.place FROM unnest(o_id) WITH ORDINALITY AS o(id, place)
            JOIN tidings.outbox d ON d.id = o.id FOR UPDATE OF d SKIP LOCKED
        LOOP
            v_there[hit.place] := true;',
          'SELECT o.place, d.at FROM unnest(o_id) WITH ORDINALITY AS o(id, place)
            CROSS JOIN LATERAL (
                SELECT x.ctid AS at FROM tidings.outbox x WHERE x.id BETWEEN o.id AND o.id
                ORDER BY x.id LIMIT 1 FOR UPDATE SKIP LOCKED
            ) d
        LOOP
            v_there[hit.place] := true;
            v_rows[hit.place] := hit.at;' ],
        [ 'DELETE FROM tidings.outbox d USING unnest(o_unit, o_id) AS o(unit, id)
        WHERE d.id = o.id AND verdicts[o.unit] = 0;',
          'DELETE FROM tidings.outbox d WHERE d.ctid = ANY (ARRAY(
            SELECT o.at FROM unnest(o_unit, v_rows) AS o(unit, at) WHERE verdicts[o.unit] = 0 AND o.at IS NOT NULL));' ]
    ] LOOP
        IF array_length(string_to_array(v_now, v_change[1]), 1) <> 2 THEN
            RAISE 'tidings.commit is not as migration 0002 made it: % is not there once', v_change[1];
        END IF;
        v_now := replace(v_now, v_change[1], v_change[2]);
    END LOOP;
    EXECUTE v_now;
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
