use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tidings_core::JobType;

/// How many jobs of a type one tenant may have running; types that are not named have no limit. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concurrency(Arc<RwLock<Arc<HashMap<JobType, u32>>>>);

impl Concurrency {
    pub(crate) fn new(limits: HashMap<JobType, u32>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(limits))))
    }

    /// As it is now; the same `Arc` until it is set again.
    pub(crate) fn now(&self) -> Arc<HashMap<JobType, u32>> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, limits: HashMap<JobType, u32>) {
        *self.0.write() = Arc::new(limits);
    }
}
