//! The places that users and tenants have among live connections, over all nodes.
//!
//! A node's own [`Table`] counts at once. Where nodes share a store, what it counts is told to a [`Together`],
//! which gives places only as far as all nodes' counts let it: one question at a time, and what comes
//! meanwhile goes into the next, so that a thousand clients that return cost a few round trips. While that is
//! out of reach a node's own count decides alone: nobody is refused for it, and up to the limit may get in at
//! every node.

mod counting;
mod table;
#[cfg(test)]
mod tests;
mod together;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tidings_core::{TenantId, UserId};
use tidings_store::Holder;
use tokio::sync::Notify;

use crate::{metrics::Metrics, settings::Settings};
use table::{Others, Table, Verdict};

pub(crate) use together::{InRedis, InStore, Together};

/// Counts places. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// Something waits to be told or asked.
    wake: Notify,
    /// What all nodes count in; `None`: this node is alone.
    together: Option<Arc<dyn Together>>,
    out_of_reach: AtomicBool,
    settings: Settings,
    metrics: Metrics,
}

/// A place that a holder has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    places: Places,
    holder: Holder,
}

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) of: Whose,
    pub(crate) limit: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    User,
    Tenant,
}

impl Places {
    pub(crate) fn new(together: Option<Arc<dyn Together>>, settings: Settings, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            table: Mutex::default(),
            wake: Notify::new(),
            together,
            out_of_reach: AtomicBool::new(false),
            settings,
            metrics,
        }))
    }

    /// A place of the user's, if there is one, and a place of its tenant's.
    pub(crate) async fn take(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
    ) -> Result<(Option<Held>, Held), Full> {
        let of_user = match user {
            Some(user) => Some(self.take_one(holder(tenant, Some(user))).await?),
            None => None,
        };
        Ok((of_user, self.take_one(holder(tenant, None)).await?))
    }

    /// Whether there is a place now, without taking it.
    pub(crate) async fn look(&self, tenant: &TenantId, user: Option<&UserId>) -> Result<(), Full> {
        if let Some(user) = user {
            self.look_at(holder(tenant, Some(user))).await?;
        }
        self.look_at(holder(tenant, None)).await
    }

    async fn take_one(&self, holder: Holder) -> Result<Held, Full> {
        let limit = self.limit_of(&holder);
        let asked = self.0.table.lock().take(&holder, limit, self.others());
        match asked {
            Verdict::Given => {
                self.changed();
                if self.0.out_of_reach.load(Relaxed) {
                    self.0.metrics.places.alone.inc();
                }
                Ok(Held { places: self.clone(), holder })
            }
            Verdict::Full => Err(full(&holder, limit)),
            Verdict::Asked(answer) => {
                self.0.wake.notify_one();
                answer.await.ok().flatten().ok_or_else(|| full(&holder, limit))
            }
        }
    }

    async fn look_at(&self, holder: Holder) -> Result<(), Full> {
        let limit = self.limit_of(&holder);
        let looked = self.0.table.lock().look(&holder, limit, self.others());
        let free = match looked {
            Verdict::Given => true,
            Verdict::Full => false,
            Verdict::Asked(answer) => {
                self.0.wake.notify_one();
                answer.await.unwrap_or(true)
            }
        };
        if free { Ok(()) } else { Err(full(&holder, limit)) }
    }

    fn others(&self) -> Others {
        match &self.0.together {
            None => Others::None,
            Some(_) if self.0.out_of_reach.load(Relaxed) => Others::Silent,
            Some(_) => Others::Asked,
        }
    }

    fn limit_of(&self, holder: &Holder) -> Option<u32> {
        let limits = &self.0.settings.get().limits;
        if holder.user.is_some() { limits.connections_per_user.0 } else { limits.connections_per_tenant.0 }
    }

    /// What has changed here is to be told.
    fn changed(&self) {
        if self.0.together.is_some() {
            self.0.wake.notify_one();
        }
    }

    /// Places of all holders on this node.
    #[cfg(test)]
    fn held(&self) -> u32 {
        self.0.table.lock().held()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.places.0.table.lock().free(&self.holder);
        self.places.changed();
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("out_of_reach", &self.0.out_of_reach).finish_non_exhaustive()
    }
}

fn holder(tenant: &TenantId, user: Option<&UserId>) -> Holder {
    Holder { tenant: tenant.clone(), user: user.cloned() }
}

/// Only what has a limit can be full.
fn full(holder: &Holder, limit: Option<u32>) -> Full {
    let of = if holder.user.is_some() { Whose::User } else { Whose::Tenant };
    Full { of, limit: limit.unwrap_or_default() }
}
