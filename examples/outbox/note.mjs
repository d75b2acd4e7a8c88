// Changes a note and tells of it in the same transaction: node note.mjs ID BODY.
// DATABASE_URL names the database that your tables share with Tidings.
import pg from 'pg'

async function change(client, id, body) {
  const words = body.split(/\s+/).filter(Boolean).length
  await client.query('BEGIN')
  try {
    await client.query('UPDATE notes SET body = $1 WHERE id = $2', [body, id])
    await client.query("SELECT tidings.publish('acme', 'note.changed', $1::jsonb, subject => $2)",
                       [JSON.stringify({ words }), `note/${id}`])
    await client.query("SELECT tidings.enqueue('acme', 'embedding', $1::jsonb, unique_key => $2)",
                       [JSON.stringify({ note: id }), `note/${id}`])
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
}

const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
await client.connect()
try {
  await change(client, Number(process.argv[2]), process.argv[3])
} finally {
  await client.end()
}
