//! Events as rows.

use rusqlite::{Connection, Result, Row, ToSql, params};
use tidings_core::{
    Event, EventBody, EventId, EventType, JobId, JobRef, JobType, NewEvent, Seq, Subject, TenantId, UserId,
};

use super::{
    column::{get_json, get_json_required, get_parsed, get_parsed_opt, get_time, get_u64, json, json_opt},
    tenant::TenantKey,
};

pub(super) const INSERT: &str = "
    INSERT INTO events (tenant_key, seq, time, id, type, job_key, job_id, job_type, owner, subject, data, detail, debug)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) fn insert(
    statement: &mut rusqlite::CachedStatement<'_>,
    tenant: TenantKey,
    job: Option<i64>,
    event: &Event,
) -> Result<()> {
    let fact = &event.fact;
    let reference = fact.job.as_ref();
    statement.execute(params![
        tenant,
        event.seq.get() as i64,
        event.time.as_micros(),
        fact.id.as_bytes(),
        fact.event_type.as_str(),
        job,
        reference.map(|job| job.id.as_bytes()),
        reference.map(|job| job.job_type.as_str()),
        fact.owner.as_ref().map(UserId::as_str),
        fact.subject.as_ref().map(Subject::as_str),
        json(&fact.body.minimal),
        json_opt(fact.body.detail.as_ref()),
        json_opt(fact.body.debug.as_ref()),
    ])?;
    Ok(())
}

pub(super) fn from_row(row: &Row<'_>, tenant: &TenantId) -> Result<Event> {
    let job = match row.get::<_, Option<[u8; 16]>>(4)? {
        None => None,
        Some(id) => Some(JobRef {
            id: JobId::from_bytes(id),
            job_type: get_parsed(row, 5, |text| JobType::new(text))?,
        }),
    };
    Ok(Event {
        seq: Seq::new(get_u64(row, 0)?),
        time: get_time(row, 1)?,
        tenant: tenant.clone(),
        fact: NewEvent {
            id: EventId::from_bytes(row.get(2)?),
            event_type: get_parsed(row, 3, EventType::parse)?,
            job,
            owner: get_parsed_opt(row, 6, |text| UserId::new(text))?,
            subject: get_parsed_opt(row, 7, |text| Subject::new(text))?,
            body: EventBody {
                minimal: get_json_required(row, 8)?,
                detail: get_json(row, 9)?,
                debug: get_json(row, 10)?,
            },
        },
    })
}

/// Runs a query of [`COLUMNS`] until a bound is reached; at least one event comes where there is one.
pub(super) fn collect(
    conn: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
    tenant: &TenantId,
    bytes_max: usize,
) -> Result<Collected> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event = from_row(row, tenant)?;
        bytes += event.fact.body.len() + ENVELOPE;
        if bytes > bytes_max && !events.is_empty() {
            return Ok(Collected { events, cut: true });
        }
        events.push(event);
    }
    Ok(Collected { events, cut: false })
}

/// What an event takes beside its data, about.
const ENVELOPE: usize = 256;

pub(super) struct Collected {
    pub(super) events: Vec<Event>,
    /// More rows followed than the bytes allowed.
    pub(super) cut: bool,
}
