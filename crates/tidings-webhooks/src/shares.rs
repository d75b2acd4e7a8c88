//! What several tenants share of a bounded number.

use foldhash::HashMap;
use tidings_core::TenantId;

/// How many of it are taken, and by whom.
///
/// A tenant gets another only while it has fewer than are left: so one that takes all that it can get has half of them, two have a
/// quarter of them left for the others, and it takes several greedy ones (nine, of 256) to leave nothing.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    all: usize,
    by_tenant: HashMap<TenantId, usize>,
}

impl Shares {
    pub(crate) fn admit(&self, tenant: &TenantId, max: usize) -> bool {
        let has = self.by_tenant.get(tenant).copied().unwrap_or_default();
        has < max.saturating_sub(self.all)
    }

    pub(crate) fn enter(&mut self, tenant: &TenantId) {
        self.all += 1;
        match self.by_tenant.get_mut(tenant) {
            Some(has) => *has += 1,
            None => drop(self.by_tenant.insert(tenant.clone(), 1)),
        }
    }

    pub(crate) fn leave(&mut self, tenant: &TenantId) {
        self.all -= 1;
        if let Some(has) = self.by_tenant.get_mut(tenant) {
            *has -= 1;
            if *has == 0 {
                self.by_tenant.remove(tenant);
            }
        }
    }

    /// How many are taken.
    pub(crate) const fn taken(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greedy_tenant_leaves_room_for_the_others() {
        let (mut shares, tenants) =
            (Shares::default(), ["a", "b", "c"].map(|t| TenantId::new(t).expect("valid")));
        let mut take_all = |tenant: &TenantId| {
            let mut count = 0;
            while shares.admit(tenant, 12) {
                shares.enter(tenant);
                count += 1;
            }
            count
        };
        assert_eq!(tenants.each_ref().map(&mut take_all), [6, 3, 2]);
        for (tenant, count) in tenants.iter().zip([6, 3, 2]) {
            (0..count).for_each(|_| shares.leave(tenant));
        }
        assert!(shares.taken() == 0 && shares.by_tenant.is_empty());
    }
}
