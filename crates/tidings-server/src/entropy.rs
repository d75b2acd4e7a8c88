//! Randomness for ids and jitter, asked of the operating system a page at a time: thousands of ids a
//! second would else be thousands of system calls. Not for secrets: keys and tickets ask for their own.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::Entropy;

pub(crate) struct Pooled {
    source: Arc<dyn Entropy>,
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: Box<[u8; SIZE]>,
    /// Where what was not handed out yet begins.
    at: usize,
}

const SIZE: usize = 4_096;

impl Pooled {
    pub(crate) fn new(source: Arc<dyn Entropy>) -> Self {
        Self { source, pool: Mutex::new(Pool { bytes: Box::new([0; SIZE]), at: SIZE }) }
    }
}

impl Entropy for Pooled {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SIZE {
            return self.source.fill(bytes);
        }
        let mut pool = self.pool.lock();
        if pool.at + bytes.len() > SIZE {
            self.source.fill(&mut *pool.bytes);
            pool.at = 0;
        }
        let (from, to) = (pool.at, pool.at + bytes.len());
        bytes.copy_from_slice(&pool.bytes[from..to]);
        pool.at = to;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Every byte it gives is part of a counter that no two calls share.
    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for chunk in bytes.chunks_mut(8) {
                let n = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                chunk.copy_from_slice(&n[..chunk.len()]);
            }
        }
    }

    #[test]
    fn nothing_is_handed_out_twice() {
        let pooled = Pooled::new(Arc::new(Counting::default()));
        let mut seen = Vec::new();
        for round in 0..3_000 {
            let mut bytes = vec![0; 8 * (1 + round % 5)];
            pooled.fill(&mut bytes);
            seen.extend(bytes.chunks(8).map(<[u8]>::to_vec));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        let mut large = vec![0; SIZE + 8];
        pooled.fill(&mut large);
        assert_ne!(large[SIZE..], [0; 8]);
    }
}
