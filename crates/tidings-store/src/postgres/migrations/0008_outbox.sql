-- What a user's own transaction leaves for the log: rolled back, nothing happened; committed, a node moves it within
-- moments. It takes no lock of the log, so that a transaction held open for long delays nobody.
CREATE TABLE tidings.outbox (
    tenant_id     text COLLATE "C" NOT NULL,
    id            bigint GENERATED ALWAYS AS IDENTITY,
    made_at       bigint NOT NULL,
    made_by       text NOT NULL,
    is_job        boolean NOT NULL,
    item          uuid NOT NULL,            -- the id of the job or the event
    type          text NOT NULL,
    owner         text,
    subject       text,
    data          text NOT NULL,
    priority      smallint NOT NULL DEFAULT 0,
    run_at        bigint,
    max_attempts  integer NOT NULL DEFAULT 5,
    unique_key    text,
    backoff_base  bigint,
    backoff_max   bigint,
    PRIMARY KEY (tenant_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX outbox_in_order ON tidings.outbox (id);

-- What could not be moved, with the reason.
CREATE TABLE tidings.outbox_rejected (
    LIKE tidings.outbox,
    reason       text NOT NULL,
    rejected_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Which roles may act for which tenants; '*' is every tenant.
CREATE TABLE tidings.outbox_grants (
    tenant_id  text COLLATE "C" NOT NULL,
    role       text NOT NULL,
    PRIMARY KEY (tenant_id, role)
);

ALTER TABLE tidings.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.outbox_rejected ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.outbox_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tidings.meta ADD COLUMN event_bytes integer NOT NULL DEFAULT 65536;

-- Lets a role, and whoever is a member of it, publish and enqueue for a tenant.
CREATE FUNCTION tidings.allow(role text, tenant text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF allow.tenant <> '*' AND allow.tenant !~ '^[a-z0-9][a-z0-9._-]{0,62}$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a tenant id matches [a-z0-9][a-z0-9._-]{0,62}; * is every tenant';
    END IF;
    INSERT INTO tidings.outbox_grants (tenant_id, role) VALUES (allow.tenant, allow.role) ON CONFLICT DO NOTHING;
    EXECUTE format('GRANT USAGE ON SCHEMA tidings TO %I', allow.role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION tidings.publish, tidings.enqueue TO %I', allow.role);
END $$;

-- Takes it back.
CREATE FUNCTION tidings.disallow(role text, tenant text) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM tidings.outbox_grants g WHERE g.tenant_id = disallow.tenant AND g.role = disallow.role
$$;

-- A new id (UUID version 7): sorts by the time it was made.
CREATE FUNCTION tidings.new_id() RETURNS uuid LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(set_byte(set_byte(
        overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(tidings.micros() / 1000) FROM 3) FROM 1 FOR 6),
        6, (get_byte(uuid_send(gen_random_uuid()), 0) & 15) | 112), 8, (get_byte(uuid_send(gen_random_uuid()), 1) & 63) | 128),
        'hex')::uuid
$$;

-- Refuses what the HTTP API would refuse.
CREATE FUNCTION tidings.check_item(tenant text, is_job boolean, type text, data jsonb, subject text, owner text,
                                   unique_key text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
    v_label text;
    v_max integer;
BEGIN
    IF tenant IS NULL OR tenant !~ '^[a-z0-9][a-z0-9._-]{0,62}$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a tenant id matches [a-z0-9][a-z0-9._-]{0,62}';
    END IF;
    IF NOT pg_has_role(session_user, current_user, 'MEMBER') AND NOT EXISTS (
        SELECT FROM tidings.outbox_grants g JOIN pg_roles r ON r.rolname = g.role
        WHERE g.tenant_id IN (tenant, '*') AND pg_has_role(session_user, r.oid, 'MEMBER'))
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s may not act for the tenant %s', quote_ident(session_user), tenant),
            HINT = 'An operator allows it: SELECT tidings.allow(role, tenant);';
    END IF;
    IF is_job AND (type IS NULL OR type !~ '^[a-z0-9][a-z0-9._-]{0,62}$') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a job type matches [a-z0-9][a-z0-9._-]{0,62}';
    ELSIF NOT is_job AND (type IS NULL OR length(type) > 100 OR type !~ '^[a-z0-9_-]+(\.[a-z0-9_-]+)*$') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'an event type is 1 to 100 of a-z, 0-9, ''_'' and ''-'' in parts joined by dots, such as note.created';
    ELSIF NOT is_job AND split_part(type, '.', 1) IN ('job', 'webhook', 'stream') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'event types that start with job., webhook. or stream. are made by the server alone';
    END IF;
    FOR v_name, v_label IN VALUES ('subject', subject), ('user', owner), ('unique key', unique_key) LOOP
        IF octet_length(v_label) NOT BETWEEN 1 AND 255
            OR v_label ~ '[\u0001-\u001f\u007f-\u009f,\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'
            OR v_label ~ '(^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000])|([ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$)'
        THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('a %s is 1 to 255 visible characters without commas or spaces at its ends', v_name);
        END IF;
    END LOOP;
    IF data IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'data is JSON, not a null of SQL';
    END IF;
    SELECT m.event_bytes INTO v_max FROM tidings.meta m;
    IF octet_length(data::text) > v_max THEN
        RAISE program_limit_exceeded USING MESSAGE = format('the data is larger than %s bytes', v_max);
    END IF;
    IF jsonb_path_exists(data, 'strict $.**{64 to last} ? (@.type() == "array" || @.type() == "object")') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the JSON is nested deeper than 64 levels';
    END IF;
    IF jsonb_path_exists(data, 'strict $.** ? (@.type() == "number" && (@ >= 1.7976931348623158e308 || @ <= -1.7976931348623158e308))') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the JSON holds a number that no double can hold';
    END IF;
END $$;

-- Publishes an event when the calling transaction commits. Returns the event's id.
CREATE FUNCTION tidings.publish(tenant text, type text, data jsonb DEFAULT '{}', subject text DEFAULT NULL,
                                owner text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id uuid := tidings.new_id();
BEGIN
    PERFORM tidings.check_item(tenant, false, type, data, subject, owner, NULL);
    INSERT INTO tidings.outbox (tenant_id, made_at, made_by, is_job, item, type, owner, subject, data)
    VALUES (tenant, tidings.micros(), session_user, false, v_id, type, owner, subject, data::text);
    RETURN v_id;
END $$;

-- Enqueues a job when the calling transaction commits. Returns the job's id. Where a live job holds the unique key
-- by then, no other is made.
CREATE FUNCTION tidings.enqueue(tenant text, type text, payload jsonb DEFAULT '{}', subject text DEFAULT NULL,
                                owner text DEFAULT NULL, priority integer DEFAULT 0, run_at timestamptz DEFAULT NULL,
                                max_attempts integer DEFAULT 5, unique_key text DEFAULT NULL,
                                backoff_base interval DEFAULT '1 second', backoff_max interval DEFAULT '1 hour')
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
