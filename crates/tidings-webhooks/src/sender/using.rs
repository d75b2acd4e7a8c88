use std::sync::Arc;

use tidings_core::TenantId;

use super::{destination::Key, pool::Pool};

/// A request's part in its tenant's share, until it is dropped: never under the pool's lock, which it takes.
#[derive(Debug)]
pub(super) struct Using<'a> {
    pool: &'a Pool,
    key: &'a Key,
    tenant: &'a TenantId,
}

impl<'a> Using<'a> {
    pub(super) fn new(pool: &'a Arc<Pool>, key: &'a Key, tenant: &'a TenantId) -> Self {
        Self { pool, key, tenant }
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        self.pool.leave(self.key, self.tenant);
    }
}
