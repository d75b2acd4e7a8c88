use tidings_core::{JobType, TenantId, Tenants};

/// What a worker waits for. Workers of one fleet share one, and so take turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    tenants: Tenants,
    /// Sorted, each once.
    types: Vec<JobType>,
}

impl Interest {
    pub(super) fn new(tenants: Tenants, mut types: Vec<JobType>) -> Self {
        types.sort_unstable();
        types.dedup();
        Self { tenants, types }
    }

    pub(super) fn reaches(&self, tenant: &TenantId) -> bool {
        self.tenants.contains(tenant)
    }

    pub(super) fn covers(&self, tenant: &TenantId, job_type: &JobType) -> bool {
        self.types.binary_search(job_type).is_ok() && self.tenants.contains(tenant)
    }

    /// Whether there may be a job that both cover.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.types.iter().any(|t| other.types.binary_search(t).is_ok())
            && self.tenants.overlaps(&other.tenants)
    }
}
