use std::io::Write;

use tidings_core::Timestamp;

use super::{
    ImportError, Seals, digest,
    record::{Line, VERSION},
    walk,
};
use crate::Store;

/// How much an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    pub tenants: u64,
    pub events: u64,
    pub jobs: u64,
    pub schedules: u64,
    pub endpoints: u64,
    pub deliveries: u64,
    pub keys: u64,
}

impl Exported {
    fn count(&mut self, line: &Line) {
        match line {
            Line::Tenant(_) => self.tenants += 1,
            Line::Event(_) => self.events += 1,
            Line::Job(_) => self.jobs += 1,
            Line::Schedule(_) => self.schedules += 1,
            Line::Endpoint(_) => self.endpoints += 1,
            Line::Delivery(_) => self.deliveries += 1,
            Line::Key(_) => self.keys += 1,
            Line::Tidings { .. } | Line::End { .. } => {}
        }
    }
}

/// Writes everything that `store` keeps of its living tenants, as lines of JSON. `tell` hears how many
/// events were written and of how many, now and then. `now` goes along: an import gives running leases the
/// time since. Nothing else should write to the store meanwhile.
/// What the archive holds is as secret as the store: payloads, raw errors, the secrets of webhooks and the hashes of keys.
pub async fn export(
    store: &dyn Store,
    seals: &dyn Seals,
    now: Timestamp,
    out: &mut (dyn Write + Send),
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Exported, ImportError> {
    let tenants = walk::tenants(store).await?;
    let total = walk::events_in(&tenants);
    let mut held = Exported::default();
    let mut take = |line: Line| -> Result<(), ImportError> {
        held.count(&line);
        if matches!(line, Line::Event(_)) && held.events.is_multiple_of(1_000) {
            tell(held.events, total);
        }
        out.write_all(&digest::text(&line))?;
        out.write_all(b"\n")?;
        Ok(())
    };
    take(Line::Tidings { version: VERSION, at: Some(now) })?;
    walk::keys(store, None, &mut take).await?;
    for tenant in &tenants {
        take(Line::Tenant(tenant.into()))?;
        walk::tenant(store, seals, tenant, &mut take).await?;
    }
    let Exported { tenants, events, jobs, schedules, endpoints, deliveries, keys } = held;
    out.write_all(&digest::text(&Line::End {
        tenants,
        events,
        jobs,
        schedules,
        endpoints,
        deliveries,
        keys,
    }))?;
    out.write_all(b"\n")?;
    out.flush()?;
    tell(events, events);
    Ok(held)
}
