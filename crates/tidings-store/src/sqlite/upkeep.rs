//! A thread for what nobody waits for: noting that the store is alive, and moving what was committed from
//! the WAL into the database file.
//!
//! A passive checkpoint never makes the writer wait, but as long as the writer goes on appending it
//! never reaches the end either, and the WAL starts over only from its end. So a large WAL is worked off
//! passively first, and then the little that was added meanwhile while the writer is kept in its seat: its
//! next transaction finds everything moved and starts the WAL over.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

use super::writer::Seat;
use crate::OpenError;

const PAGE: i64 = 4_096;
/// A WAL of this size is made to start over.
const LARGE: i64 = (16 << 20) / PAGE;
/// A WAL of this size is cut off.
const HUGE: i64 = (256 << 20) / PAGE;

const CALM: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(200);

/// The running thread; dropping it stops it and waits for its end.
pub(super) struct Upkeep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// `conn` is for checkpoints alone.
    pub(super) fn start(conn: Connection, seat: Seat) -> Result<Self, OpenError> {
        let (stop, stopped) = channel();
        let keeper = Keeper { conn, seat };
        let thread = std::thread::Builder::new()
            .name("tidings-wal".into())
            .spawn(move || keeper.run(&stopped))
            .map_err(|source| OpenError::Io { path: "the thread tidings-wal".into(), source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's upkeep panicked");
        }
    }
}

struct Keeper {
    conn: Connection,
    seat: Seat,
}

impl Keeper {
    /// Until the sender is dropped.
    fn run(self, stop: &Receiver<()>) {
        let (mut seen, mut pause) = (0, CALM);
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
            let commits = self.seat.with(|writer| {
                writer.idle();
                writer.commits
            });
            // Without a writer nothing is added.
            let commits = commits.unwrap_or(seen);
            if commits == seen {
                pause = CALM;
                continue;
            }
            match self.checkpoint() {
                Ok(frames) => {
                    seen = commits;
                    pause = if frames > LARGE { BUSY } else { CALM };
                }
                // Whatever it did not finish is still in the WAL, and is moved again from there.
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint failed and is tried again; the WAL keeps growing");
                }
            }
        }
    }

    /// Returns how many frames the WAL held.
    fn checkpoint(&self) -> rusqlite::Result<i64> {
        let frames = self.pragma("PRAGMA wal_checkpoint(PASSIVE)")?;
        if frames > LARGE {
            let last = if frames > HUGE {
                "PRAGMA wal_checkpoint(TRUNCATE)"
            } else {
                "PRAGMA wal_checkpoint(PASSIVE)"
            };
            self.seat.with(|_| self.pragma(last)).transpose()?;
        }
        Ok(frames)
    }

    fn pragma(&self, checkpoint: &str) -> rusqlite::Result<i64> {
        let (frames, moved): (i64, i64) =
            self.conn.query_row(checkpoint, [], |row| Ok((row.get(1)?, row.get(2)?)))?;
        tracing::debug!(frames, moved, "checkpoint");
        Ok(frames)
    }
}
