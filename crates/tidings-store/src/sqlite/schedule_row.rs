//! Schedules as rows.

use std::time::Duration;

use rusqlite::{Connection, Error, OptionalExtension as _, Result, Row, params, types::Type};
use tidings_core::{
    JobId, JobType, Schedule, ScheduleId, ScheduleName, ScheduleSpec, Subject, TenantId, Timestamp, UserId,
    job::{Backoff, JobSpec},
    schedule::{Cron, Overlap, Timing, Zone},
};

use super::{
    column::{
        get_json_required, get_parsed, get_parsed_opt, get_time, get_time_opt, get_u64, json, mismatch,
    },
    tenant::TenantKey,
};

/// A schedule's number within this database.
pub(super) type ScheduleKey = i64;

/// In the order that [`from_row`] reads.
macro_rules! select_schedules {
    ($where:literal) => {
        concat!(
            "SELECT id, name, cron, zone, overlap, paused, created_at, next_fire, last_fire, last_job, last_skip,
                 job_type, owner, subject, priority, max_attempts, backoff_base, backoff_max, payload
             FROM schedules WHERE ",
            $where
        )
    };
}

const INSERT: &str = "
    INSERT INTO schedules (tenant_key, id, name, created_at, cron, zone, overlap, paused, next_fire, due_at, last_fire,
        last_job, last_skip, job_type, owner, subject, priority, max_attempts, backoff_base, backoff_max, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

const UPDATE: &str = "
    UPDATE schedules SET cron = ?5, zone = ?6, overlap = ?7, paused = ?8, next_fire = ?9, due_at = ?9, last_fire = ?10,
        last_job = ?11, last_skip = ?12, job_type = ?13, owner = ?14, subject = ?15, priority = ?16, max_attempts = ?17,
        backoff_base = ?18, backoff_max = ?19, payload = ?20
    WHERE tenant_key = ?1 AND id = ?2 AND name = ?3 AND created_at = ?4";

/// What a fire changes: no payload is written again.
const UPDATE_FIRE: &str = "
    UPDATE schedules SET next_fire = ?1, due_at = ?1, last_fire = ?2, last_job = ?3, last_skip = ?4 WHERE key = ?5";

pub(super) fn find(
    conn: &Connection,
    tenant: TenantKey,
    id: &TenantId,
    name: &ScheduleName,
) -> Result<Option<Schedule>> {
    conn.prepare_cached(select_schedules!("tenant_key = ? AND name = ?"))?
        .query_row(params![tenant, name.as_str()], |row| from_row(row, id))
        .optional()
}

pub(super) fn find_by_id(
    conn: &Connection,
    tenant: TenantKey,
    name: &TenantId,
    id: ScheduleId,
) -> Result<Option<Schedule>> {
    conn.prepare_cached(select_schedules!("tenant_key = ? AND id = ?"))?
        .query_row(params![tenant, id.as_bytes()], |row| from_row(row, name))
        .optional()
}

pub(super) fn find_by_key(conn: &Connection, key: ScheduleKey, tenant: &TenantId) -> Result<Schedule> {
    conn.prepare_cached(select_schedules!("key = ?"))?.query_row([key], |row| from_row(row, tenant))
}

/// Sorted by name.
pub(super) fn list(
    conn: &Connection,
    tenant: TenantKey,
    id: &TenantId,
    after: Option<&ScheduleName>,
    limit: i64,
) -> Result<Vec<Schedule>> {
    conn.prepare_cached(select_schedules!("tenant_key = ? AND name > ? ORDER BY name LIMIT ?"))?
        .query_map(params![tenant, after.map_or("", ScheduleName::as_str), limit], |row| from_row(row, id))?
        .collect()
}

pub(super) fn count(conn: &Connection, tenant: TenantKey) -> Result<usize> {
    conn.prepare_cached("SELECT count(*) FROM schedules WHERE tenant_key = ?")?
        .query_row([tenant], |row| get_u64(row, 0))
        .map(|count| count as usize)
}

/// Those that are due, the longest due first.
pub(super) fn due(conn: &Connection, now: Timestamp, limit: usize) -> Result<Vec<(ScheduleKey, TenantKey)>> {
    conn.prepare_cached("SELECT key, tenant_key FROM schedules WHERE due_at <= ? ORDER BY due_at LIMIT ?")?
        .query_map(params![now.as_micros(), limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// When the next of any tenant is due.
pub(super) fn next_due(conn: &Connection) -> Result<Option<Timestamp>> {
    conn.prepare_cached("SELECT due_at FROM schedules WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1")?
        .query_row([], |row| get_time(row, 0))
        .optional()
}

pub(super) fn insert(conn: &Connection, tenant: TenantKey, schedule: &Schedule) -> Result<()> {
    write(conn, INSERT, tenant, schedule)
}

pub(super) fn update(conn: &Connection, tenant: TenantKey, schedule: &Schedule) -> Result<()> {
    write(conn, UPDATE, tenant, schedule)
}

fn write(conn: &Connection, sql: &str, tenant: TenantKey, schedule: &Schedule) -> Result<()> {
    let (spec, job) = (&schedule.spec, &schedule.spec.job);
    let changed = conn.prepare_cached(sql)?.execute(params![
        tenant,
        schedule.id.as_bytes(),
        spec.name.as_str(),
        schedule.created_at.as_micros(),
        spec.timing.cron.as_str(),
        spec.timing.zone.as_str(),
        spec.overlap.as_str(),
        schedule.paused,
        schedule.next_fire.map(Timestamp::as_micros),
        schedule.last_fire.map(|(at, _)| at.as_micros()),
        schedule.last_fire.as_ref().map(|(_, job)| job.as_bytes()),
        schedule.last_skip.map(Timestamp::as_micros),
        job.job_type.as_str(),
        job.owner.as_ref().map(UserId::as_str),
        job.subject.as_ref().map(Subject::as_str),
        job.priority,
        job.max_attempts,
        micros(job.backoff.base),
        micros(job.backoff.max),
        json(&job.payload),
    ])?;
    if changed == 1 { Ok(()) } else { Err(Error::StatementChangedRows(changed)) }
}

/// Where a schedule stands after a fire time.
pub(super) fn update_fire(conn: &Connection, key: ScheduleKey, schedule: &Schedule) -> Result<()> {
    conn.prepare_cached(UPDATE_FIRE)?.execute(params![
        schedule.next_fire.map(Timestamp::as_micros),
        schedule.last_fire.map(|(at, _)| at.as_micros()),
        schedule.last_fire.as_ref().map(|(_, job)| job.as_bytes()),
        schedule.last_skip.map(Timestamp::as_micros),
        key,
    ])?;
    Ok(())
}

/// `false`: it is not there.
pub(super) fn delete(conn: &Connection, tenant: TenantKey, id: ScheduleId) -> Result<bool> {
    let gone = conn
        .prepare_cached("DELETE FROM schedules WHERE tenant_key = ? AND id = ?")?
        .execute(params![tenant, id.as_bytes()])?;
    Ok(gone == 1)
}

/// It is not looked at again before it is changed.
pub(super) fn rest(conn: &Connection, key: ScheduleKey) -> Result<()> {
    conn.prepare_cached("UPDATE schedules SET due_at = NULL WHERE key = ?")?.execute([key])?;
    Ok(())
}

/// Whether a tenant's schedules fire. What was missed meanwhile is due at once.
pub(super) fn set_firing(conn: &Connection, tenant: TenantKey, firing: bool) -> Result<()> {
    let sql = if firing {
        "UPDATE schedules SET due_at = next_fire WHERE tenant_key = ?"
    } else {
        "UPDATE schedules SET due_at = NULL WHERE tenant_key = ?"
    };
    conn.prepare_cached(sql)?.execute([tenant])?;
    Ok(())
}

fn from_row(row: &Row<'_>, tenant: &TenantId) -> Result<Schedule> {
    let last_fire = match (get_time_opt(row, 8)?, row.get::<_, Option<[u8; 16]>>(9)?) {
        (Some(at), Some(job)) => Some((at, JobId::from_bytes(job))),
        _ => None,
    };
    Ok(Schedule {
        id: ScheduleId::from_bytes(row.get(0)?),
        tenant: tenant.clone(),
        spec: spec(row)?,
        paused: row.get(5)?,
        created_at: get_time(row, 6)?,
        next_fire: get_time_opt(row, 7)?,
        last_fire,
        last_skip: get_time_opt(row, 10)?,
    })
}

fn spec(row: &Row<'_>) -> Result<ScheduleSpec> {
    let overlap = row.get_ref(4)?.as_str().ok().and_then(Overlap::parse);
    let mut job = JobSpec::new(get_parsed(row, 11, |text| JobType::new(text))?, get_json_required(row, 18)?);
    job.owner = get_parsed_opt(row, 12, |text| UserId::new(text))?;
    job.subject = get_parsed_opt(row, 13, |text| Subject::new(text))?;
    job.priority = row.get(14)?;
    job.max_attempts = row.get(15)?;
    job.backoff = Backoff {
        base: Duration::from_micros(get_u64(row, 16)?),
        max: Duration::from_micros(get_u64(row, 17)?),
    };
    Ok(ScheduleSpec {
        name: get_parsed(row, 1, |text| ScheduleName::new(text))?,
        timing: Timing {
            cron: get_parsed(row, 2, str::parse::<Cron>)?,
            zone: get_parsed(row, 3, str::parse::<Zone>)?,
        },
        overlap: overlap.ok_or_else(|| mismatch(4, Type::Text))?,
        job,
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
