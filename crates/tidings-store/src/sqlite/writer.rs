//! What alone changes the database.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::{Connection, config::DbConfig, params};
use tidings_core::{Clock, Entropy, Event, Timestamp};

use super::{
    fault::{Fault, Stop},
    folder::{Folder, Sidecar},
    open,
    txn::{Memory, Txn},
};
use crate::{Batch, CommandError, CommitError, Committed, Outcome, concurrency::Concurrency};

/// How often the database and its sidecar note that the store is alive.
const TICK: Duration = Duration::from_secs(1);

/// The writer with its lock, which one transaction or one look of the [upkeep](super::upkeep) holds at a
/// time. Empty once the store is closed.
#[derive(Clone)]
pub(super) struct Seat(Arc<Mutex<Option<Box<Writer>>>>);

impl Seat {
    pub(super) fn new(writer: Writer) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(writer)))))
    }

    /// `None`: the store is closed. The writer has left its seat meanwhile: should it panic, its
    /// connection goes down with it as it would in a killed process, and nobody commits after it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        let mut seat = self.0.lock();
        let mut writer = seat.take()?;
        let value = work(&mut writer);
        *seat = Some(writer);
        Some(value)
    }

    /// Closes the seat. Waits for the transaction that is running.
    pub(super) fn vacate(&self) -> Option<Box<Writer>> {
        self.0.lock().take()
    }
}

pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) folder: Folder,
    /// Called when the database can no longer be trusted.
    pub(super) on_fatal: fn(&str),
    pub(super) concurrency: Concurrency,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) memory: Memory,
    /// What the sidecar says.
    pub(super) noted: Sidecar,
    /// Commits since the last tick.
    pub(super) dirty: bool,
    /// Something could not be committed since the last tick: the disk was full, say. Then no worker could
    /// extend its lease either.
    pub(super) outage: bool,
    /// Counts commits, for the checkpoints.
    pub(super) commits: u64,
    pub(super) failed: bool,
}

impl Writer {
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        if self.failed {
            return Err(CommitError::Unavailable("the database failed before".into()));
        }
        self.memory.tenants.trim();
        self.memory.limited_by(self.concurrency.now());
        let now = self.clock.now();
        let tick = self.tick_due(now);
        match self.transact(batch, now, tick) {
            Ok(committed) => {
                self.dirty = true;
                self.commits += 1;
                if let Some(tick) = tick {
                    self.ticked(tick);
                }
                Ok(committed)
            }
            Err(error) => Err(self.recover(&error)),
        }
    }

    fn transact(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        tick: Option<Sidecar>,
    ) -> rusqlite::Result<Committed> {
        let outage = self.outage_until(now);
        let conn = &self.conn;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        // Before any command judges a lease.
        if let Some(tick) = tick {
            write_tick(conn, tick, outage)?;
        }
        let (outcomes, events) = Self::execute(conn, &mut self.memory, &*self.entropy, now, batch)?;
        let epochs = self.memory.tenants.write_counters(conn)?;
        conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(Committed { outcomes, events, epochs })
    }

    #[allow(clippy::type_complexity, reason = "two parts of a Committed")]
    fn execute(
        conn: &Connection,
        memory: &mut Memory,
        entropy: &dyn Entropy,
        now: Timestamp,
        batch: &Batch,
    ) -> rusqlite::Result<(Vec<Result<Outcome, CommandError>>, Vec<Arc<Event>>)> {
        let mut txn = Txn::new(conn, memory, entropy, now)?;
        let mut outcomes = Vec::with_capacity(batch.commands.len());
        for command in &batch.commands {
            outcomes.push(match txn.apply(command) {
                Ok(outcome) => Ok(outcome),
                Err(Stop::Command(error)) => Err(error),
                Err(Stop::Database(error)) => return Err(error),
            });
        }
        Ok((outcomes, txn.events))
    }

    /// After a failed transaction: rolls it back where that is safe, and otherwise stops the process,
    /// since what is on the disk can no longer be told.
    fn recover(&mut self, error: &rusqlite::Error) -> CommitError {
        self.memory.forget();
        let fault = Fault::of(error);
        if fault != Fault::Fatal {
            // Some failures have rolled it back already.
            let rolled_back = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
            if rolled_back {
                tracing::warn!(%error, "a transaction was rolled back");
                let text = error.to_string();
                return match fault {
                    Fault::Rejected => CommitError::Rejected(text),
                    Fault::Unavailable | Fault::Fatal => {
                        self.outage = true;
                        CommitError::Unavailable(text)
                    }
                };
            }
        }
        self.failed = true;
        (self.on_fatal)(&format!("the database in {} failed: {error}", self.folder.database().display()));
        CommitError::Unknown(error.to_string())
    }

    /// What is to be noted with this commit, about once a second. A clock that was set back and the end
    /// of an outage are noted at once.
    fn tick_due(&self, now: Timestamp) -> Option<Sidecar> {
        let last = self.noted.alive_at;
        let due = self.outage || now < last || now.since(last) >= TICK;
        due.then_some(Sidecar { ticks: self.noted.ticks + 1, alive_at: now })
    }

    /// How long an outage has lasted that would end `now`.
    fn outage_until(&self, now: Timestamp) -> Option<Duration> {
        self.outage.then(|| now.since(self.noted.alive_at))
    }

    /// With nothing to commit: what was committed since the last tick gets one, and the sidecar says
    /// that the store is alive. In an outage it is so only once a tick is on the disk.
    pub(super) fn idle(&mut self) {
        let Some(tick) = self.tick_due(self.clock.now()) else { return };
        if self.failed {
            return;
        }
        if self.dirty || self.outage {
            self.tick(tick);
        } else {
            self.note(Sidecar { ticks: self.noted.ticks, ..tick });
        }
    }

    fn tick(&mut self, tick: Sidecar) {
        match self.commit_tick(tick) {
            Ok(()) => {
                self.commits += 1;
                self.ticked(tick);
            }
            // Judged here like a batch: a sync that failed may succeed the next time, over pages that were lost.
            Err(error) => {
                self.recover(&error);
                self.outage = true;
            }
        }
    }

    fn commit_tick(&self, tick: Sidecar) -> rusqlite::Result<()> {
        let tx = self.conn.unchecked_transaction()?;
        write_tick(&tx, tick, self.outage_until(tick.alive_at))?;
        tx.commit()
    }

    fn ticked(&mut self, tick: Sidecar) {
        self.dirty = false;
        self.outage = false;
        self.note(tick);
    }

    /// After the commit, so that the sidecar never knows more than the database.
    fn note(&mut self, sidecar: Sidecar) {
        self.noted = sidecar;
        if let Err(error) = self.folder.write_sidecar(sidecar) {
            tracing::warn!(%error, "writing the data folder's sidecar failed");
        }
    }

    /// Notes an orderly end and closes the file.
    pub(super) fn close(mut self) {
        if !self.failed {
            self.tick(Sidecar { ticks: self.noted.ticks + 1, alive_at: self.clock.now() });
        }
        // The last connection moves the WAL into the file and removes it.
        let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        if let Err((_, error)) = self.conn.close() {
            tracing::warn!(%error, "closing the database failed");
        }
    }
}

/// Notes that the store is alive. At the end of an outage every running lease gets the time back that no
/// worker could extend it in.
fn write_tick(conn: &Connection, tick: Sidecar, outage: Option<Duration>) -> rusqlite::Result<()> {
    if let Some(outage) = outage {
        open::extend_leases(conn, outage)?;
        tracing::warn!(?outage, "the database takes writes again; running leases were extended");
    }
    conn.prepare_cached("UPDATE meta SET ticks = ?, alive_at = ?")?
        .execute(params![tick.ticks as i64, tick.alive_at.as_micros()])?;
    Ok(())
}
