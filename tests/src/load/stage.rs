//! How far a run is.

use std::sync::atomic::{AtomicU8, Ordering};

const PRODUCING: u8 = 0;
const WORKING: u8 = 1;
const IDLE: u8 = 2;
const READING_TO_HEAD: u8 = 3;
const ABORTED: u8 = 4;

/// Moves forward only.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

impl Stage {
    fn at(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }

    fn reach(&self, stage: u8) {
        self.0.fetch_max(stage, Ordering::AcqRel);
    }

    pub(super) fn produces(&self) -> bool {
        self.at() == PRODUCING
    }

    pub(super) fn works(&self) -> bool {
        self.at() <= WORKING
    }

    /// The head is final and known.
    pub(super) fn reads_to_head(&self) -> bool {
        self.at() >= READING_TO_HEAD
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.at() == ABORTED
    }

    pub(super) fn stop_producing(&self) {
        self.reach(WORKING);
    }

    pub(super) fn stop_working(&self) {
        self.reach(IDLE);
    }

    pub(super) fn read_to_head(&self) {
        self.reach(READING_TO_HEAD);
    }
}

/// Ends everybody when the test fails in between: a scope waits for its threads even then.
#[derive(Debug)]
pub(super) struct Abort<'a>(pub(super) &'a Stage);

impl Abort<'_> {
    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Abort<'_> {
    fn drop(&mut self) {
        self.0.reach(ABORTED);
    }
}
