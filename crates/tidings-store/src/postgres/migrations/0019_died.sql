-- Apart from 0018, whose changes of the tables lock everybody out for as long as they take: this reads all that is stored.

UPDATE tidings.deliveries d SET format = tidings.format_of(d.body, d.seq, d.event_id)
WHERE tidings.format_of(d.body, d.seq, d.event_id) <> 0;

-- Oldest first, as they go.
CREATE INDEX deliveries_died ON tidings.deliveries (tenant_id, life, endpoint, at, seq) WHERE dead;
