-- Changes a note and tells of it in the same transaction:
-- psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -v id=42 -v body='three words here' -f note.sql
BEGIN;
UPDATE notes SET body = :'body' WHERE id = :id;
SELECT tidings.publish('acme', 'note.changed',
                       jsonb_build_object('words', array_length(regexp_split_to_array(:'body', '\s+'), 1)),
                       subject => 'note/' || :id);
SELECT tidings.enqueue('acme', 'embedding', jsonb_build_object('note', :id), unique_key => 'note/' || :id);
COMMIT;
