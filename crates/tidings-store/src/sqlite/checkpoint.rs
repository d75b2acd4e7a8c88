//! Moves what was committed from the WAL into the database file, beside the writer.
//!
//! A passive checkpoint never makes the writer wait, but as long as the writer goes on appending it
//! never reaches the end either, and the WAL starts over only from its end. So a large WAL is worked off
//! passively first, and then the little that was added meanwhile under the gate, which the writer holds
//! during each transaction: the next transaction finds everything moved and starts the WAL over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::Connection;

/// Held by the writer during a transaction.
pub(super) type Gate = Arc<Mutex<()>>;

const PAGE: i64 = 4_096;
/// A WAL of this size is made to start over.
const LARGE: i64 = (16 << 20) / PAGE;
/// A WAL of this size is cut off.
const HUGE: i64 = (256 << 20) / PAGE;

const CALM: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(200);

pub(super) struct Checkpointer {
    pub(super) conn: Connection,
    pub(super) gate: Gate,
    pub(super) commits: Arc<AtomicU64>,
}

impl Checkpointer {
    /// Until the sender is dropped.
    pub(super) fn run(self, stop: &Receiver<()>) {
        let (mut seen, mut pause) = (0, CALM);
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
            let commits = self.commits.load(Ordering::Relaxed);
            if commits == seen {
                pause = CALM;
                continue;
            }
            seen = commits;
            match self.run_once() {
                Ok(frames) => pause = if frames > LARGE { BUSY } else { CALM },
                Err(error) => tracing::warn!(%error, "a checkpoint failed; the WAL keeps growing"),
            }
        }
    }

    /// Returns how many frames the WAL held.
    fn run_once(&self) -> rusqlite::Result<i64> {
        let frames = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        if frames > LARGE {
            let _gate = self.gate.lock();
            self.checkpoint(if frames > HUGE {
                "PRAGMA wal_checkpoint(TRUNCATE)"
            } else {
                "PRAGMA wal_checkpoint(PASSIVE)"
            })?;
        }
        Ok(frames)
    }

    fn checkpoint(&self, pragma: &str) -> rusqlite::Result<i64> {
        let (frames, moved): (i64, i64) =
            self.conn.query_row(pragma, [], |row| Ok((row.get(1)?, row.get(2)?)))?;
        tracing::debug!(frames, moved, "checkpoint");
        Ok(frames)
    }
}
