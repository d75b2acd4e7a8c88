use http::{HeaderMap, header, request::Parts};
use smallvec::SmallVec;
use tidings_core::{Principal, TenantId};

use super::{Holder, Metered, Quotas, Tally, holders};
use crate::problem::Problem;

/// Who pays for one request. It goes with the request, to where its body is read.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    quotas: Quotas,
    holders: SmallVec<[Holder; 2]>,
    tally: Tally,
}

impl Account {
    /// Counts the request, with the body that its head announces.
    pub(crate) fn open(
        quotas: &Quotas,
        principal: &Principal,
        tenant: Option<&TenantId>,
        parts: &mut Parts,
        body_max: usize,
    ) -> Result<Self, Problem> {
        let tally = parts.extensions.get::<Tally>().cloned().unwrap_or_default();
        let account = Self { quotas: quotas.clone(), holders: holders(principal, tenant), tally };
        // What is beyond the limit of one body is not read.
        let bytes = length(&parts.headers).unwrap_or_default().min(body_max as u64);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let wanted = [(Metered::Requests, 1), (Metered::Bytes, bytes)];
        account.spend_of(if bytes == 0 { &wanted[..1] } else { &wanted })?;
        parts.extensions.insert(account.clone());
        Ok(account)
    }

    /// Counts a body whose length its head did not say.
    pub(crate) fn read(&self, headers: &HeaderMap, bytes: usize) -> Result<(), Problem> {
        if bytes == 0 || length(headers).is_some() {
            return Ok(());
        }
        self.spend(Metered::Bytes, bytes)
    }

    pub(crate) fn spend(&self, metered: Metered, count: usize) -> Result<(), Problem> {
        self.spend_of(&[(metered, u32::try_from(count).unwrap_or(u32::MAX))])
    }

    /// Refuses where not even one is left.
    pub(crate) fn look(&self, metered: Metered) -> Result<(), Problem> {
        self.quotas.look(&self.holders, metered, &self.tally)
    }

    fn spend_of(&self, wanted: &[(Metered, u32)]) -> Result<(), Problem> {
        self.quotas.spend(&self.holders, wanted, &self.tally)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
