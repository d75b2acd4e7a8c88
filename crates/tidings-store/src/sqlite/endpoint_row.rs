//! Webhook endpoints as rows.

use rusqlite::{Connection, Error, OptionalExtension as _, Result, Row, params, types::Type};
use tidings_core::{Endpoint, EndpointId, Seq, TenantId, Timestamp, UserId, webhook::Partition};

use super::{
    column::{get_parsed, get_time, get_time_opt, get_u64},
    tenant::TenantKey,
};
use crate::{
    Dispatchable,
    webhooks::stored::{
        DELETED, Unreadable, grant_of, grant_text, secrets_of, secrets_text, spec_of, spec_text, state_code,
        state_of,
    },
};

/// An endpoint's number within this database: never used again.
pub(super) type EndpointKey = i64;

macro_rules! select_endpoints {
    ($rest:literal) => {
        concat!(
            "SELECT e.key, e.id, e.change, e.spec, e.grant_json, e.secrets, e.state, e.since, e.reason, e.cursor,
                    e.generation, e.failing_since, e.created_at, e.quiet_until FROM endpoints e ",
            $rest
        )
    };
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key: EndpointKey,
    pub(super) endpoint: Endpoint,
}

/// One that was not deleted.
pub(super) fn find(
    conn: &Connection,
    tenant: TenantKey,
    name: &TenantId,
    id: EndpointId,
) -> Result<Option<Stored>> {
    conn.prepare_cached(select_endpoints!("WHERE e.tenant_key = ? AND e.id = ? AND e.state < 3"))?
        .query_row(params![tenant, id.as_bytes()], |row| from_row(row, name))
        .optional()
}

pub(super) fn key_of(conn: &Connection, tenant: TenantKey, id: EndpointId) -> Result<Option<EndpointKey>> {
    conn.prepare_cached("SELECT key FROM endpoints WHERE tenant_key = ? AND id = ? AND state < 3")?
        .query_row(params![tenant, id.as_bytes()], |row| row.get(0))
        .optional()
}

/// Sorted by id.
pub(super) fn list(
    conn: &Connection,
    tenant: TenantKey,
    name: &TenantId,
    after: Option<EndpointId>,
    limit: i64,
) -> Result<Vec<Stored>> {
    let after = after.map_or([0; 16], |id| *id.as_bytes());
    conn.prepare_cached(select_endpoints!(
        "WHERE e.tenant_key = ? AND e.id > ? AND e.state < 3 ORDER BY e.id LIMIT ?"
    ))?
    .query_map(params![tenant, after, limit], |row| from_row(row, name))?
    .collect()
}

pub(super) fn count(conn: &Connection, tenant: TenantKey) -> Result<usize> {
    conn.prepare_cached("SELECT count(*) FROM endpoints WHERE tenant_key = ? AND state < 3")?
        .query_row([tenant], |row| get_u64(row, 0))
        .map(|count| count as usize)
}

/// Of all tenants, tombstones included, in order of their changes.
pub(super) fn changed(
    conn: &Connection,
    partition: Option<Partition>,
    after: u64,
    limit: i64,
) -> Result<Vec<Dispatchable>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "SELECT e.key, e.id, e.change, e.spec, e.grant_json, e.secrets, e.state, e.since, e.reason, e.cursor,
                e.generation, e.failing_since, e.created_at, e.quiet_until, t.id, t.state
         FROM endpoints e JOIN tenants t ON t.key = e.tenant_key
         WHERE e.change > ?1 AND (?2 IS NULL OR e.partition = ?2) ORDER BY e.change LIMIT ?3",
    )?
    .query_map(params![after, partition.map(Partition::number), limit], |row| {
        let tenant = get_parsed(row, 14, |text| TenantId::new(text))?;
        let served = row.get::<_, i64>(15)? == 0 && row.get::<_, i16>(6)? != DELETED;
        let endpoint = if served { Some(Box::new(from_row(row, &tenant)?.endpoint)) } else { None };
        Ok(Dispatchable {
            change: get_u64(row, 2)?,
            id: EndpointId::from_bytes(row.get(1)?),
            tenant,
            endpoint,
        })
    })?
    .collect()
}

pub(super) fn next_change(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("UPDATE endpoint_changes SET n = n + 1 RETURNING n")?
        .query_row([], |row| get_u64(row, 0))
}

pub(super) fn insert(conn: &Connection, tenant: TenantKey, endpoint: &Endpoint) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO endpoints (tenant_key, id, partition, change, spec, grant_json, secrets, user, state, since,
                                reason, cursor, generation, failing_since, created_at, quiet_until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        tenant,
        endpoint.id.as_bytes(),
        endpoint.partition().number(),
        endpoint.change as i64,
        spec_text(&endpoint.spec),
        grant_text(&endpoint.grant),
        secrets_text(&endpoint.secrets),
        endpoint.grant.user.as_ref().map(UserId::as_str),
        state_code(endpoint.state),
        endpoint.state.since().map(Timestamp::as_micros),
        endpoint.state.reason().map(tidings_core::webhook::DisabledReason::as_str),
        endpoint.cursor.get() as i64,
        endpoint.generation as i64,
        endpoint.failing_since.map(Timestamp::as_micros),
        endpoint.created_at.as_micros(),
        endpoint.quiet_until.map(Timestamp::as_micros),
    ])?;
    Ok(())
}

pub(super) fn update(conn: &Connection, key: EndpointKey, endpoint: &Endpoint) -> Result<()> {
    conn.prepare_cached(
        "UPDATE endpoints SET change = ?, spec = ?, secrets = ?, state = ?, since = ?, reason = ?, cursor = ?,
                              generation = ?, failing_since = ?, quiet_until = ? WHERE key = ?",
    )?
    .execute(params![
        endpoint.change as i64,
        spec_text(&endpoint.spec),
        secrets_text(&endpoint.secrets),
        state_code(endpoint.state),
        endpoint.state.since().map(Timestamp::as_micros),
        endpoint.state.reason().map(tidings_core::webhook::DisabledReason::as_str),
        endpoint.cursor.get() as i64,
        endpoint.generation as i64,
        endpoint.failing_since.map(Timestamp::as_micros),
        endpoint.quiet_until.map(Timestamp::as_micros),
        key,
    ])?;
    Ok(())
}

/// Leaves a tombstone without secrets.
pub(super) fn bury(conn: &Connection, key: EndpointKey, change: u64, now: Timestamp) -> Result<()> {
    conn.prepare_cached(
        "UPDATE endpoints SET state = 3, change = ?, since = ?, reason = NULL, secrets = '[]', spec = '{}',
                              generation = generation + 1 WHERE key = ?",
    )?
    .execute(params![change as i64, now.as_micros(), key])?;
    Ok(())
}

/// Dispatchers look at the tenant's endpoints again.
pub(super) fn renumber(conn: &Connection, tenant: TenantKey) -> Result<()> {
    let keys: Vec<EndpointKey> = conn
        .prepare_cached("SELECT key FROM endpoints WHERE tenant_key = ?")?
        .query_map([tenant], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for key in keys {
        let change = next_change(conn)?;
        conn.prepare_cached("UPDATE endpoints SET change = ? WHERE key = ?")?
            .execute(params![change as i64, key])?;
    }
    Ok(())
}

fn from_row(row: &Row<'_>, tenant: &TenantId) -> Result<Stored> {
    let reason: Option<String> = row.get(8)?;
    let state = state_of(row.get(6)?, get_time_opt(row, 7)?, reason.as_deref());
    let endpoint = Endpoint {
        id: EndpointId::from_bytes(row.get(1)?),
        tenant: tenant.clone(),
        change: get_u64(row, 2)?,
        spec: get_parsed(row, 3, spec_of)?,
        grant: get_parsed(row, 4, grant_of)?,
        secrets: get_parsed(row, 5, secrets_of)?,
        state: state.map_err(|error| unreadable(6, error))?,
        cursor: Seq::new(get_u64(row, 9)?),
        generation: get_u64(row, 10)?,
        failing_since: get_time_opt(row, 11)?,
        created_at: get_time(row, 12)?,
        quiet_until: get_time_opt(row, 13)?,
    };
    Ok(Stored { key: row.get(0)?, endpoint })
}

pub(super) fn unreadable(at: usize, error: Unreadable) -> Error {
    Error::FromSqlConversionFailure(at, Type::Null, Box::new(error))
}
