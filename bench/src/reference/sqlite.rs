//! Bare SQLite: the statements that the store runs for a batch of publishes, in the same schema, with the
//! same settings and the same checkpoints, and nothing around them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use rusqlite::{Connection, params};

/// One connection that appends events of one tenant.
#[derive(Debug)]
pub(crate) struct BareSqlite {
    conn: Connection,
    /// The store's gate between a transaction and a checkpoint that is to reach the WAL's end.
    gate: Arc<Mutex<()>>,
    checkpointer: Option<(Sender<()>, JoinHandle<()>)>,
    tenant_key: i64,
    head: i64,
}

/// As the store does: a WAL of more pages is made to start over.
const LARGE_PAGES: i64 = (16 << 20) / 4_096;

const INSERT: &str = "
    INSERT INTO events (tenant_key, seq, time, id, type, job_key, job_id, job_type, owner, subject, data, detail, debug)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

impl BareSqlite {
    /// Opens a database that the store made and closed, with one tenant in it.
    pub(crate) fn open(database: &Path) -> anyhow::Result<Self> {
        let conn = Connection::open(database).context("opening the store's database")?;
        conn.set_prepared_statement_cache_capacity(128);
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "cache_size", -64 * 1024)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.busy_timeout(Duration::from_mins(1))?;
        let (tenant_key, head) =
            conn.query_row("SELECT key, head FROM tenants", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let gate = Arc::new(Mutex::new(()));
        let checkpointer = Some(spawn_checkpointer(database, Arc::clone(&gate))?);
        Ok(Self { conn, gate, checkpointer, tenant_key, head })
    }

    /// Commits `count` events with `data`; they are on stable storage when it returns.
    pub(crate) fn commit(
        &mut self,
        ids: &mut Ids,
        time_us: i64,
        data: &str,
        count: usize,
    ) -> rusqlite::Result<()> {
        let _gate = self.gate.lock().expect("no checkpoint panics");
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = self.conn.prepare_cached(INSERT)?;
        let none: Option<&str> = None;
        for _ in 0..count {
            self.head += 1;
            insert.execute(params![
                self.tenant_key,
                self.head,
                time_us,
                ids.next(),
                "bench.message",
                None::<i64>,
                None::<&[u8]>,
                none,
                none,
                none,
                data,
                none,
                none
            ])?;
        }
        self.conn
            .prepare_cached("UPDATE tenants SET head = ?, last_time = ? WHERE key = ?")?
            .execute(params![self.head, time_us, self.tenant_key])?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

/// Ids that rise, as those of version 7 do.
#[derive(Debug, Default)]
pub(crate) struct Ids(u128);

impl Ids {
    fn next(&mut self) -> [u8; 16] {
        self.0 += 1 << 40;
        self.0.to_be_bytes()
    }
}

fn spawn_checkpointer(database: &Path, gate: Arc<Mutex<()>>) -> anyhow::Result<(Sender<()>, JoinHandle<()>)> {
    let conn = Connection::open(database)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.busy_timeout(Duration::from_millis(500))?;
    let (stop, stopped) = channel();
    let thread = std::thread::spawn(move || {
        let mut pause = Duration::from_secs(1);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            let checkpoint =
                || conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
            let pages = checkpoint().expect("a passive checkpoint of an open database succeeds");
            pause = Duration::from_secs(1);
            if pages > LARGE_PAGES {
                let _gate = gate.lock().expect("no commit panics");
                checkpoint().expect("a passive checkpoint of an open database succeeds");
                pause = Duration::from_millis(200);
            }
        }
    });
    Ok((stop, thread))
}

impl Drop for BareSqlite {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.checkpointer.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
