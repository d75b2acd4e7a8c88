//! One tenant's lines, in the order of an archive: what is exported, and what an import is compared with.

use tidings_core::{EndpointId, JobId, Seq, TenantId};

use super::{
    ImportError, Seals,
    endpoint_line::{DeliveryLine, EndpointLine},
    record::Line,
};
use crate::{DeliveryQuery, JobQuery, KeyRecord, PageLimit, ReadError, Store, TenantRecord, Webhooks};

const PAGE: PageLimit = PageLimit { events: 1_000, bytes: 4 << 20 };
const JOBS_PAGE: usize = 500;
const KEYS_PAGE: usize = 500;
const SCHEDULES_PAGE: usize = 500;
const ENDPOINTS_PAGE: usize = 100;
const DELIVERIES_PAGE: usize = 100;

/// Takes each line; an error ends the walk.
pub(super) type Take<'a, E> = &'a mut (dyn FnMut(Line) -> Result<(), E> + Send);

/// Keys, then schedules, then endpoints with their deliveries, then jobs, then events, which may name jobs; each from the oldest to the newest.
pub(super) async fn tenant(
    store: &dyn Store,
    seals: &dyn Seals,
    tenant: &TenantRecord,
    take: Take<'_, ImportError>,
) -> Result<(), ImportError> {
    keys(store, Some(&tenant.id), take).await?;
    schedules(store, &tenant.id, take).await?;
    if let Some(webhooks) = store.webhooks() {
        endpoints(webhooks, seals, &tenant.id, take).await?;
    }
    jobs(store, &tenant.id, take).await?;
    events(store, tenant, take).await
}

/// A tenant's keys or, of no tenant, the operators'.
pub(super) async fn keys<E: From<ReadError>>(
    store: &dyn Store,
    tenant: Option<&TenantId>,
    take: Take<'_, E>,
) -> Result<(), E> {
    let mut all: Vec<KeyRecord> = Vec::new();
    loop {
        let page = store.keys(tenant, all.last().map(|key| key.id), KEYS_PAGE).await?;
        let more = page.len() == KEYS_PAGE;
        all.extend(page);
        if !more {
            break;
        }
    }
    all.iter().rev().try_for_each(|key| take(Line::Key(key.into())))
}

/// Sorted by name.
async fn schedules<E: From<ReadError>>(
    store: &dyn Store,
    tenant: &TenantId,
    take: Take<'_, E>,
) -> Result<(), E> {
    let mut after = None;
    loop {
        let page = store.schedules(tenant, after.as_ref(), SCHEDULES_PAGE).await?;
        page.iter().try_for_each(|schedule| take(Line::Schedule(Box::new(schedule.into()))))?;
        match page.last() {
            Some(last) if page.len() == SCHEDULES_PAGE => after = Some(last.spec.name.clone()),
            _ => return Ok(()),
        }
    }
}

/// Sorted by id, each followed by its deliveries by seq: those that are retried, then the dead ones.
async fn endpoints(
    webhooks: &dyn Webhooks,
    seals: &dyn Seals,
    tenant: &TenantId,
    take: Take<'_, ImportError>,
) -> Result<(), ImportError> {
    let mut after = None;
    loop {
        let page = webhooks.endpoints(tenant, after, ENDPOINTS_PAGE).await?;
        for endpoint in &page {
            let replays = webhooks.replays(tenant, endpoint.id).await?;
            let line = EndpointLine::new(endpoint, &replays, seals);
            let line = line.map_err(|why| ImportError::Secret { tenant: tenant.clone(), why })?;
            take(Line::Endpoint(Box::new(line)))?;
            for dead in [false, true] {
                deliveries(webhooks, tenant, (endpoint.id, dead), take).await?;
            }
        }
        match page.last() {
            Some(last) if page.len() == ENDPOINTS_PAGE => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

async fn deliveries(
    webhooks: &dyn Webhooks,
    tenant: &TenantId,
    (endpoint, dead): (EndpointId, bool),
    take: Take<'_, ImportError>,
) -> Result<(), ImportError> {
    let mut query = DeliveryQuery { dead, after: Seq::ZERO, limit: DELIVERIES_PAGE, bytes: PAGE.bytes };
    loop {
        let page = webhooks.deliveries(tenant, endpoint, query).await?;
        page.iter()
            .try_for_each(|delivery| take(Line::Delivery(Box::new(DeliveryLine::new(endpoint, delivery)))))?;
        match query.next_after(&page) {
            Some(after) => query.after = after,
            None => return Ok(()),
        }
    }
}

/// Up to the head that `tenant` names; what was appended since is left out.
async fn events<E: From<ReadError>>(
    store: &dyn Store,
    tenant: &TenantRecord,
    take: Take<'_, E>,
) -> Result<(), E> {
    let mut after = tenant.log.oldest.prev();
    while after < tenant.log.head {
        let Some(page) = store.events(&tenant.id, after, PAGE).await? else { break };
        for event in page.events.iter().filter(|event| event.seq <= tenant.log.head) {
            take(Line::Event(Box::new(event.into())))?;
        }
        if page.scanned_to <= after {
            break;
        }
        after = page.scanned_to;
    }
    Ok(())
}

/// Stores list the newest first: the ids are gathered, sixteen bytes each, and gone through backwards.
async fn jobs<E: From<ReadError>>(store: &dyn Store, tenant: &TenantId, take: Take<'_, E>) -> Result<(), E> {
    let mut ids: Vec<JobId> = Vec::new();
    let mut query = JobQuery { limit: JOBS_PAGE, ..JobQuery::default() };
    loop {
        let page = store.jobs(tenant, &query).await?;
        ids.extend(page.jobs.iter().map(|job| job.id));
        query.before = page.next;
        if query.before.is_none() {
            break;
        }
    }
    for id in ids.into_iter().rev() {
        if let Some(job) = store.job(tenant, id).await? {
            take(Line::Job(Box::new((&job).into())))?;
        }
    }
    Ok(())
}

/// Every living tenant, sorted by id.
pub(super) async fn tenants(store: &dyn Store) -> Result<Vec<TenantRecord>, ReadError> {
    const PAGE: usize = 500;
    let mut all: Vec<TenantRecord> = Vec::new();
    loop {
        let after = all.last().map(|tenant| tenant.id.clone());
        let page = store.tenants(after.as_ref(), PAGE).await?;
        let more = page.len() == PAGE;
        all.extend(page);
        if !more {
            return Ok(all);
        }
    }
}

/// How many events an export will write, about.
pub(super) fn events_in(tenants: &[TenantRecord]) -> u64 {
    let count = |t: &TenantRecord| t.log.head.get() + 1 - t.log.oldest.get().min(t.log.head.get() + 1);
    tenants.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogState, TenantState};
    use tidings_core::{Epoch, Seq, Timestamp};

    #[test]
    fn an_empty_and_a_trimmed_log_are_counted_by_what_they_keep() {
        let record = |head, oldest| TenantRecord {
            id: TenantId::new("acme").expect("valid"),
            state: TenantState::Active,
            log: LogState {
                epoch: Epoch::parse("abcd1234").expect("valid"),
                head: Seq::new(head),
                oldest: Seq::new(oldest),
            },
            created_at: Timestamp::default(),
        };
        assert_eq!(events_in(&[record(0, 1), record(10, 1), record(10, 4), record(10, 11)]), 10 + 7);
    }
}
