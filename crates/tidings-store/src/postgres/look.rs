//! What a batch's commands are decided on, read without locks.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use tidings_core::{JobId, JobType, TenantId, Tenants, Timestamp, UniqueKey};
use tokio_postgres::types::Type;

use super::{
    codec::{Columns, Id},
    fault::Fault,
    job_row::{self, Seen, job_columns},
    pool::Pool,
    schedule_row::{self, SeenSchedule, schedule_columns},
};
use crate::TenantState;

/// One job as it was found, or not.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// `None`: there is no such tenant.
    pub(super) tenant: Option<TenantState>,
    pub(super) job: Option<Seen>,
}

/// The live jobs that hold unique keys.
pub(super) type Holders = HashMap<(TenantId, JobType, UniqueKey), Seen, RandomState>;

/// What a claim may take.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Of the one tenant that was asked for.
    pub(super) suspended: bool,
    pub(super) next_due: Option<Timestamp>,
    pub(super) jobs: VecDeque<Seen>,
}

pub(super) async fn jobs(pool: &Pool, wanted: &[(TenantId, JobId)]) -> Result<Vec<Found>, Fault> {
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let ids: Vec<_> = wanted.iter().map(|(_, id)| Id(*id.as_bytes())).collect();
    let rows = pool
        .query(
            concat!("SELECT place, tenant_state, ", job_columns!(), " FROM tidings.look_jobs($1, $2)"),
            &[(&tenants, Type::TEXT_ARRAY), (&ids, Type::UUID_ARRAY)],
        )
        .await?;
    let mut found = vec![Found { tenant: None, job: None }; wanted.len()];
    for row in rows {
        let at = Columns::of(&row);
        let place = at.get::<i64>(0)? as usize - 1;
        let tenant = at.get::<Option<i16>>(1)?.map(state);
        if let Some(entry) = found.get_mut(place) {
            *entry = Found { tenant, job: job_row::from_row(&row, 2)? };
        }
    }
    Ok(found)
}

pub(super) async fn holders(
    pool: &Pool,
    wanted: &[(TenantId, JobType, UniqueKey)],
) -> Result<Holders, Fault> {
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _, _)| tenant.as_str()).collect();
    let types: Vec<_> = wanted.iter().map(|(_, job_type, _)| job_type.as_str()).collect();
    let keys: Vec<_> = wanted.iter().map(|(_, _, key)| key.as_str()).collect();
    let rows = pool
        .query(
            concat!("SELECT place, ", job_columns!(), " FROM tidings.look_unique($1, $2, $3)"),
            &[(&tenants, Type::TEXT_ARRAY), (&types, Type::TEXT_ARRAY), (&keys, Type::TEXT_ARRAY)],
        )
        .await?;
    let mut holders = Holders::default();
    for row in rows {
        let place = Columns::of(&row).get::<i64>(0)? as usize - 1;
        if let (Some(key), Some(seen)) = (wanted.get(place), job_row::from_row(&row, 1)?) {
            holders.insert(key.clone(), seen);
        }
    }
    Ok(holders)
}

/// What a claim asks for.
pub(super) struct Wanted<'a> {
    pub(super) now: Option<i64>,
    pub(super) tenants: &'a Tenants,
    /// Each once, with how many may run in a tenant.
    pub(super) types: Vec<(&'a JobType, Option<u32>)>,
    /// The tenant that was served last.
    pub(super) after: Option<&'a TenantId>,
    pub(super) max: usize,
}

pub(super) async fn candidates(pool: &Pool, wanted: &Wanted<'_>) -> Result<Candidates, Fault> {
    let tenants: Option<Vec<&str>> = match wanted.tenants {
        Tenants::All => None,
        Tenants::One(one) => Some(vec![one.as_str()]),
        Tenants::Set(set) => Some(set.iter().map(TenantId::as_str).collect()),
    };
    let types: Vec<_> = wanted.types.iter().map(|(job_type, _)| job_type.as_str()).collect();
    let limits: Vec<_> = wanted.types.iter().map(|(_, limit)| limit.map(|limit| limit as i32)).collect();
    let after = wanted.after.map_or("", TenantId::as_str);
    let max = i32::try_from(wanted.max).unwrap_or(i32::MAX);
    let rows = pool
        .query(
            concat!(
                "SELECT tenant_state, next_due, ",
                job_columns!(),
                " FROM tidings.look_claim($1, $2, $3, $4, $5, $6)"
            ),
            &[
                (&wanted.now, Type::INT8),
                (&tenants, Type::TEXT_ARRAY),
                (&types, Type::TEXT_ARRAY),
                (&limits, Type::INT4_ARRAY),
                (&after, Type::TEXT),
                (&max, Type::INT4),
            ],
        )
        .await?;
    let mut candidates = Candidates::default();
    for row in rows {
        if let Some(seen) = job_row::from_row(&row, 2)? {
            candidates.jobs.push_back(seen);
        } else {
            let at = Columns::of(&row);
            candidates.suspended = at.get::<Option<i16>>(0)?.map(state) == Some(TenantState::Suspended);
            candidates.next_due = at.time_opt(1)?;
        }
    }
    Ok(candidates)
}

/// Leases whose time has passed, with the time it was then.
pub(super) async fn expired(
    pool: &Pool,
    now: Option<i64>,
    max: usize,
) -> Result<(Timestamp, Vec<Seen>), Fault> {
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    let rows = pool
        .query(
            concat!("SELECT now, ", job_columns!(), " FROM tidings.look_expired($1, $2)"),
            &[(&now, Type::INT8), (&max, Type::INT4)],
        )
        .await?;
    let mut jobs = Vec::new();
    let mut then = Timestamp::default();
    for row in rows {
        then = Columns::of(&row).time(0)?;
        jobs.extend(job_row::from_row(&row, 1)?);
    }
    Ok((then, jobs))
}

/// Schedules that are due, with the time it was then. One that does not read back holds the others not up.
pub(super) async fn due(
    pool: &Pool,
    now: Option<i64>,
    max: usize,
) -> Result<(Timestamp, Vec<SeenSchedule>), Fault> {
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    let rows = pool
        .query(
            concat!("SELECT now, ", schedule_columns!(), " FROM tidings.look_due($1, $2)"),
            &[(&now, Type::INT8), (&max, Type::INT4)],
        )
        .await?;
    let mut due = Vec::new();
    let mut then = Timestamp::default();
    for row in rows {
        then = Columns::of(&row).time(0)?;
        match schedule_row::from_row(&row, 1) {
            Ok(seen) => due.extend(seen),
            Err(error) => tracing::error!(%error, "a schedule does not read back and does not fire"),
        }
    }
    Ok((then, due))
}

pub(super) const fn state(code: i16) -> TenantState {
    if code == 0 { TenantState::Active } else { TenantState::Suspended }
}
