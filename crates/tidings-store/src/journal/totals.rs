//! What the lanes have in common: bounds and counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{JournalConfig, JournalStats};

pub(super) struct Totals {
    pub(super) config: JournalConfig,
    queued: AtomicUsize,
    bytes: AtomicUsize,
    batches: AtomicU64,
    commands: AtomicU64,
}

impl Totals {
    pub(super) fn new(config: JournalConfig) -> Self {
        Self {
            config,
            queued: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            commands: AtomicU64::new(0),
        }
    }

    /// Makes room for one more command, or says that there is none. A command that is larger than all
    /// the room is taken where nothing else waits. Of two that come at once for the last place, both may
    /// be refused.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        let queued = self.queued.fetch_add(1, Relaxed);
        let held = self.bytes.fetch_add(bytes, Relaxed);
        let JournalConfig { queue_max, queue_bytes_max, .. } = self.config;
        let fits = queued < queue_max && (queued == 0 || held + bytes <= queue_bytes_max);
        if !fits {
            self.leave(1, bytes);
        }
        fits
    }

    pub(super) fn leave(&self, commands: usize, bytes: usize) {
        self.queued.fetch_sub(commands, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn count(&self, batches: u64, commands: usize) {
        self.batches.fetch_add(batches, Relaxed);
        self.commands.fetch_add(commands as u64, Relaxed);
    }

    pub(super) fn stats(&self) -> JournalStats {
        JournalStats {
            queued: self.queued.load(Relaxed),
            queued_bytes: self.bytes.load(Relaxed),
            batches: self.batches.load(Relaxed),
            commands: self.commands.load(Relaxed),
        }
    }
}
