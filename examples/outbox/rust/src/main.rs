//! Changes a note and tells of it in the same transaction: `outbox-example ID BODY`. `DATABASE_URL` names the
//! database that your tables share with Tidings.

use anyhow::Context as _;
use sqlx::PgPool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let id: i64 = args.next().context("usage: outbox-example ID BODY")?.parse().context("ID is a number")?;
    let body = args.next().context("usage: outbox-example ID BODY")?;
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL has to name the database")?;
    change(&PgPool::connect(&url).await?, id, &body).await
}

/// An error drops the transaction, which rolls it back: then nothing was published and nothing enqueued.
async fn change(pool: &PgPool, id: i64, body: &str) -> anyhow::Result<()> {
    let words = body.split_whitespace().count();
    let mut tx = pool.begin().await?;
    sqlx::query("UPDATE notes SET body = $1 WHERE id = $2").bind(body).bind(id).execute(&mut *tx).await?;
    sqlx::query("SELECT tidings.publish('acme', 'note.changed', $1, subject => $2)")
        .bind(sqlx::types::Json(serde_json::json!({ "words": words })))
        .bind(format!("note/{id}"))
        .execute(&mut *tx)
        .await?;
    sqlx::query("SELECT tidings.enqueue('acme', 'embedding', $1, unique_key => $2)")
        .bind(sqlx::types::Json(serde_json::json!({ "note": id })))
        .bind(format!("note/{id}"))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
