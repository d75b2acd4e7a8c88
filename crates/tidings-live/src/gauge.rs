//! Bytes that are held, counted where they are held and given back by dropping.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A sum that many holders share.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// One holder's part of a gauge.
#[derive(Debug)]
pub(crate) struct Charge {
    gauge: Arc<Gauge>,
    bytes: AtomicUsize,
}

impl Charge {
    pub(crate) fn new(gauge: Arc<Gauge>, bytes: usize) -> Self {
        gauge.0.fetch_add(bytes, Relaxed);
        Self { gauge, bytes: AtomicUsize::new(bytes) }
    }

    pub(crate) fn get(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.gauge.0.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.0.fetch_sub(*self.bytes.get_mut(), Relaxed);
    }
}
