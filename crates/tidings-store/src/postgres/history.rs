//! Whether the database is still the one that this node knew.
//!
//! A copy of another cluster renews every epoch when it is opened. After a fail-over the database is on a new timeline
//! and may have lost the newest events: `tidings.commit` refuses a node that does not know the timeline, and the node
//! compares the heads that it remembers with those that the logs had at the fork, before it writes.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI32, Ordering},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Epoch, Seq, TenantId};
use tokio_postgres::types::Type;

use super::{codec::Columns, fault::Fault, pool::Pool};

/// How many tenants' heads are remembered before all are forgotten.
const REMEMBERED_MAX: usize = 65_536;

#[derive(Default)]
pub(super) struct History {
    timeline: AtomicI32,
    heads: Mutex<HashMap<TenantId, (Epoch, Seq), RandomState>>,
}

impl History {
    /// The timeline that was recognised last.
    pub(super) fn timeline(&self) -> i32 {
        self.timeline.load(Ordering::Acquire)
    }

    /// As if the database had been recognised on this timeline.
    #[cfg(test)]
    pub(super) fn pretend(&self, timeline: i32) {
        self.timeline.store(timeline, Ordering::Release);
    }

    /// A log was seen to reach so far.
    pub(super) fn reached(&self, tenant: &TenantId, epoch: Epoch, head: Seq) {
        let mut heads = self.heads.lock();
        if let Some(known) = heads.get_mut(tenant) {
            if known.0 != epoch || known.1 < head {
                *known = (epoch, head);
            }
            return;
        }
        if heads.len() >= REMEMBERED_MAX {
            heads.clear();
        }
        heads.insert(tenant.clone(), (epoch, head));
    }

    /// Finds out where the database is, and renews the histories that fell behind what was seen of them.
    pub(super) async fn recognise(&self, pool: &Pool) -> Result<(), Fault> {
        let rows = pool.query("SELECT timeline, renewed FROM tidings.recognise()", &[]).await?;
        let row = rows.first().ok_or_else(|| Fault::Unreadable("an answer without a row".into()))?;
        let at = Columns::of(row);
        let (timeline, renewed): (i32, i64) = (at.get(0)?, at.get(1)?);
        if renewed > 0 {
            tracing::warn!(renewed, "the database is a copy: every history has a new name");
        }
        // What was remembered on this very timeline cannot have fallen.
        let fallen = if timeline == self.timeline() { 0 } else { self.renew_fallen(pool).await? };
        if fallen > 0 {
            tracing::warn!(
                timeline,
                fallen,
                "the database lost what was committed last: those histories have new names"
            );
        }
        self.timeline.store(timeline, Ordering::Release);
        Ok(())
    }

    async fn renew_fallen(&self, pool: &Pool) -> Result<i64, Fault> {
        let known: Vec<(TenantId, (Epoch, Seq))> =
            self.heads.lock().iter().map(|(tenant, head)| (tenant.clone(), head.clone())).collect();
        if known.is_empty() {
            return Ok(0);
        }
        let tenants: Vec<_> = known.iter().map(|(tenant, _)| tenant.as_str()).collect();
        let epochs: Vec<_> = known.iter().map(|(_, (epoch, _))| epoch.as_str()).collect();
        let heads: Vec<_> = known.iter().map(|(_, (_, head))| head.get() as i64).collect();
        let rows = pool
            .query(
                "SELECT tidings.renew_fallen($1, $2, $3)",
                &[(&tenants, Type::TEXT_ARRAY), (&epochs, Type::TEXT_ARRAY), (&heads, Type::INT8_ARRAY)],
            )
            .await?;
        self.heads.lock().clear();
        Ok(rows.first().map_or(Ok(0), |row| Columns::of(row).get(0))?)
    }
}
