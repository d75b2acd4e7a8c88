use std::sync::{Arc, Weak};

use super::{destination::Key, pool::Pool};

/// One open connection's place among those that there may be. It is never dropped under the pool's lock, which it takes.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Weak<Pool>,
    key: Key,
}

impl Permit {
    pub(super) fn new(pool: &Arc<Pool>, key: Key) -> Self {
        Self { pool: Arc::downgrade(pool), key }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(&self.key);
        }
    }
}
