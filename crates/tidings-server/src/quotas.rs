//! What a tenant and a credential may ask for in a time: requests, bytes of bodies, events and jobs.
//!
//! Every request is counted once its credential is known, before anything else of it is looked at, and what its head
//! says is counted with it. How many events or jobs it brings is known when its body was read. All counts are this node's own.

mod account;
mod tally;

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;
use tidings_core::{Clock, CredentialId, Exceeded, KeyId, Meter, Principal, Quota, Rate, TenantId, UserId};

use crate::{
    config::Limits,
    problem::{Kind, Problem},
    rates::{Cost, Rates},
    settings::Settings,
};

pub(crate) use account::Account;
pub(crate) use tally::{RATE_LIMIT, RATE_LIMIT_POLICY, Tally, tell};

/// Tenants, keys and users whose quotas are counted at one time: some 40 MiB.
const HOLDERS_MAX: usize = 65_536;

// A table of so many has twice as many places.
const _: () = assert!(2 * HOLDERS_MAX * size_of::<(Holder, [Meter; 4])>() <= 40 << 20);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metered {
    Requests,
    /// Of bodies, as their heads claim or as they came.
    Bytes,
    /// Events published.
    Publishes,
    /// Jobs enqueued, by schedules' triggers and retries too.
    Enqueues,
}

/// Whose quota it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Tenant(TenantId),
    /// An API key with everything that was minted by it.
    Key(KeyId),
    /// All tokens of a user: each alone would be worth as much as its issuer likes to make.
    User(TenantId, UserId),
}

/// One limit, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    metered: Metered,
    of_tenant: bool,
}

/// Counts for all. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Quotas(Arc<Shared>);

struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    rates: Rates<Holder, 4>,
}

impl Quotas {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { settings, clock, rates: Rates::new(HOLDERS_MAX) }))
    }

    /// Spends all of it or, where there is not enough of one, nothing.
    fn spend(&self, holders: &[Holder], wanted: &[(Metered, u32)], tally: &Tally) -> Result<(), Problem> {
        let (policies, costs) = self.costs(holders, wanted);
        let spent = self.0.rates.spend_all(&costs, self.0.clock.now());
        let left =
            spent.map_err(|(at, exceeded)| exhausted(policies[at], costs[at].quota, exceeded, tally))?;
        for ((policy, cost), left) in policies.iter().zip(&costs).zip(left) {
            tally.note(*policy, cost.quota, left.remaining, left.full_in);
        }
        Ok(())
    }

    /// Whether at least one of it is left.
    fn look(&self, holders: &[Holder], metered: Metered, tally: &Tally) -> Result<(), Problem> {
        let (policies, costs) = self.costs(holders, &[(metered, 1)]);
        let looked = self.0.rates.look(&costs, self.0.clock.now());
        looked.map_err(|(at, exceeded)| exhausted(policies[at], costs[at].quota, exceeded, tally))
    }

    #[allow(clippy::type_complexity, reason = "two lists of one length")]
    fn costs(
        &self,
        holders: &[Holder],
        wanted: &[(Metered, u32)],
    ) -> (SmallVec<[Policy; 4]>, SmallVec<[Cost<Holder>; 4]>) {
        let settings = self.0.settings.get();
        let (mut policies, mut costs) = (SmallVec::new(), SmallVec::new());
        for holder in holders {
            for (metered, amount) in wanted {
                let policy = Policy { metered: *metered, of_tenant: matches!(holder, Holder::Tenant(_)) };
                let Some(rate) = policy.rate(&settings.limits) else { continue };
                let (key, quota) = (holder.clone(), Quota::twice(rate));
                policies.push(policy);
                costs.push(Cost { key, meter: *metered as usize, quota, amount: *amount });
            }
        }
        (policies, costs)
    }
}

impl Policy {
    fn rate(self, limits: &Limits) -> Option<Rate> {
        let limit = match (self.metered, self.of_tenant) {
            (Metered::Requests, true) => limits.requests_per_tenant,
            (Metered::Requests, false) => limits.requests_per_key,
            (Metered::Bytes, true) => limits.bytes_per_tenant,
            (Metered::Bytes, false) => limits.bytes_per_key,
            (Metered::Publishes, true) => limits.publishes_per_tenant,
            (Metered::Publishes, false) => limits.publishes_per_key,
            (Metered::Enqueues, true) => limits.enqueues_per_tenant,
            (Metered::Enqueues, false) => limits.enqueues_per_key,
        };
        limit.0.map(|rate| rate.0)
    }

    /// The key of the configuration.
    const fn key(self) -> &'static str {
        match (self.metered, self.of_tenant) {
            (Metered::Requests, true) => "limits.requests_per_tenant",
            (Metered::Requests, false) => "limits.requests_per_key",
            (Metered::Bytes, true) => "limits.bytes_per_tenant",
            (Metered::Bytes, false) => "limits.bytes_per_key",
            (Metered::Publishes, true) => "limits.publishes_per_tenant",
            (Metered::Publishes, false) => "limits.publishes_per_key",
            (Metered::Enqueues, true) => "limits.enqueues_per_tenant",
            (Metered::Enqueues, false) => "limits.enqueues_per_key",
        }
    }
}

/// Who pays for what `principal` asks for: its tenant and its key, or its user where it has a token. The operator is
/// bound by what the tenants are that it acts for.
fn holders(principal: &Principal, tenant: Option<&TenantId>) -> SmallVec<[Holder; 2]> {
    let credential = match (&principal.credential, &principal.grant.user, tenant) {
        _ if principal.is_operator() => None,
        (CredentialId::Key(key), ..) => Some(Holder::Key(*key)),
        (CredentialId::Token { .. }, Some(user), Some(tenant)) => {
            Some(Holder::User(tenant.clone(), user.clone()))
        }
        (CredentialId::Token { .. }, ..) => None,
    };
    tenant.cloned().map(Holder::Tenant).into_iter().chain(credential).collect()
}

fn exhausted(policy: Policy, quota: Quota, Exceeded(wait): Exceeded, tally: &Tally) -> Problem {
    tally.note(policy, quota, 0, wait);
    let who = if policy.of_tenant { "Your tenant" } else { "Your credential" };
    let what = match policy.metered {
        Metered::Requests => "asks more often",
        Metered::Bytes => "sends more bytes",
        Metered::Publishes => "publishes more events",
        Metered::Enqueues => "enqueues more jobs",
    };
    let (rate, key) = (quota.rate, policy.key());
    let detail = format!("{who} {what} than it may: {rate} ({key}). Nothing was done: wait.");
    Problem::new(Kind::RateLimited, detail).with("limit", key).retry_after(wait.max(Duration::from_millis(1)))
}

impl std::fmt::Debug for Quotas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Quotas")
    }
}
