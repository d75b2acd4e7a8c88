-- What a stored body is, until when a receiver asked to be left alone, and an end for dead letters.

ALTER TABLE deliveries ADD COLUMN format INTEGER NOT NULL DEFAULT 0;  -- of the body: 0 standard, 1 cloudevents, 2 cloudevents-binary
ALTER TABLE endpoints ADD COLUMN quiet_until INTEGER;

-- Oldest first, as they go; with `dead`, without which counting would fetch each row.
CREATE INDEX deliveries_died ON deliveries (tenant_key, endpoint_key, at, seq, dead) WHERE dead = 1;

-- Bodies that were stored without their format: those that wrap the data begin in one way.
UPDATE deliveries SET format = CASE
    WHEN substr(body, 1, length('{"seq":' || seq || ',"id":"')) = CAST('{"seq":' || seq || ',"id":"' AS BLOB)
        AND substr(body, 1 + length('{"seq":' || seq || ',"id":"'), 36) = CAST(lower(
            substr(hex(event_id), 1, 8) || '-' || substr(hex(event_id), 9, 4) || '-' || substr(hex(event_id), 13, 4) || '-'
            || substr(hex(event_id), 17, 4) || '-' || substr(hex(event_id), 21)) AS BLOB) THEN 0
    WHEN substr(body, 1, 63) = CAST('{"specversion":"1.0","datacontenttype":"application/json","id":' AS BLOB)
        AND substr(body, 65, 36) = CAST(lower(
            substr(hex(event_id), 1, 8) || '-' || substr(hex(event_id), 9, 4) || '-' || substr(hex(event_id), 13, 4) || '-'
            || substr(hex(event_id), 17, 4) || '-' || substr(hex(event_id), 21)) AS BLOB) THEN 1
    ELSE 2 END
WHERE body IS NOT NULL;
