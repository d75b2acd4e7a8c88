//! Deliveries, replays and attempts as rows.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, ToSql, params};
use tidings_core::{
    EndpointId, EventId, EventType, ReplayId, Seq, Timestamp,
    webhook::{Attempt, AttemptFailure, Delivery, Replay},
};

use super::{
    column::{get_parsed, get_time, get_time_opt, get_u64},
    endpoint_row::{EndpointKey, unreadable},
    tenant::TenantKey,
};
use crate::{
    AttemptPlace, AttemptQuery, DeliveryQuery, LoggedAttempt,
    webhooks::{
        AttemptPage,
        stored::{delivery_parts, delivery_state, format_of},
    },
};

/// Whose rows.
pub(super) type Owner = (TenantKey, EndpointKey);

macro_rules! select_deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT seq, event_id, event_type, dead, attempts, at, failure, body, format FROM deliveries
             WHERE tenant_key = ? AND endpoint_key = ? ",
            $rest
        )
    };
}

/// The earliest due first.
pub(super) fn retrying(conn: &Connection, owner: Owner, limit: i64) -> Result<Vec<Delivery>> {
    conn.prepare_cached(select_deliveries!("AND dead = 0 ORDER BY at, seq LIMIT ?"))?
        .query_map(params![owner.0, owner.1, limit], delivery)?
        .collect()
}

pub(super) fn list(conn: &Connection, owner: Owner, query: DeliveryQuery) -> Result<Vec<Delivery>> {
    let (after, limit) = (query.after.get() as i64, i64::try_from(query.limit).unwrap_or(i64::MAX));
    let mut select =
        conn.prepare_cached(select_deliveries!("AND dead = ? AND seq > ? ORDER BY seq LIMIT ?"))?;
    let rows = select.query_map(params![owner.0, owner.1, query.dead, after, limit], delivery)?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        bytes += row.body.as_ref().map_or(0, Bytes::len);
        page.push(row);
        if bytes >= query.bytes {
            break;
        }
    }
    Ok(page)
}

/// Puts one, also over one that is there. A body that is absent leaves the one that is there.
pub(super) fn put(conn: &Connection, owner: Owner, delivery: &Delivery) -> Result<()> {
    let (dead, attempts, at, failure) = delivery_parts(delivery.state);
    conn.prepare_cached(
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET dead = excluded.dead, attempts = excluded.attempts, at = excluded.at,
             failure = excluded.failure, body = coalesce(excluded.body, body),
             format = iif(excluded.body IS NULL, format, excluded.format)",
    )?
    .execute(params![
        owner.0,
        owner.1,
        delivery.seq.get() as i64,
        delivery.event.as_bytes(),
        delivery.event_type.as_str(),
        dead,
        attempts,
        at.as_micros(),
        failure,
        delivery.body.as_deref(),
        delivery.format.code(),
    ])?;
    Ok(())
}

/// Brings one up to date, where it is there.
pub(super) fn refresh(conn: &Connection, owner: Owner, delivery: &Delivery) -> Result<()> {
    let (dead, attempts, at, failure) = delivery_parts(delivery.state);
    conn.prepare_cached(
        "UPDATE deliveries SET dead = ?1, attempts = ?2, at = ?3, failure = ?4, body = coalesce(?5, body),
             format = iif(?5 IS NULL, format, ?6)
         WHERE tenant_key = ?7 AND endpoint_key = ?8 AND seq = ?9",
    )?
    .execute(params![
        dead,
        attempts,
        at.as_micros(),
        failure,
        delivery.body.as_deref(),
        delivery.format.code(),
        owner.0,
        owner.1,
        delivery.seq.get() as i64,
    ])?;
    Ok(())
}

pub(super) fn remove(conn: &Connection, owner: Owner, seq: Seq) -> Result<()> {
    conn.prepare_cached("DELETE FROM deliveries WHERE tenant_key = ? AND endpoint_key = ? AND seq = ?")?
        .execute(params![owner.0, owner.1, seq.get() as i64])?;
    Ok(())
}

/// Sends dead letters again, the oldest first; how many.
pub(super) fn send_again(
    conn: &Connection,
    owner: Owner,
    only: Option<Seq>,
    now: Timestamp,
    limit: usize,
) -> Result<usize> {
    conn.prepare_cached(
        "UPDATE deliveries SET dead = 0, attempts = 0, at = ?1, failure = NULL
         WHERE tenant_key = ?2 AND endpoint_key = ?3 AND seq IN
             (SELECT seq FROM deliveries WHERE tenant_key = ?2 AND endpoint_key = ?3
              AND (dead = 1 OR ?4 IS NOT NULL) AND (?4 IS NULL OR seq = ?4) ORDER BY seq LIMIT ?5)",
    )?
    .execute(params![now.as_micros(), owner.0, owner.1, only.map(|seq| seq.get() as i64), limit as i64])
}

/// No fewer than there are dead ones: how far their seqs reach.
pub(super) fn dead_span(conn: &Connection, owner: Owner) -> Result<u64> {
    conn.prepare_cached(
        "SELECT coalesce(
             (SELECT max(seq) FROM deliveries WHERE tenant_key = ?1 AND endpoint_key = ?2 AND dead = 1)
             - (SELECT min(seq) FROM deliveries WHERE tenant_key = ?1 AND endpoint_key = ?2 AND dead = 1) + 1, 0)",
    )?
    .query_row(params![owner.0, owner.1], |row| get_u64(row, 0))
}

/// When the newest died that has `most` newer ones, and its seq.
pub(super) fn dead_after_newest(conn: &Connection, owner: Owner, most: u64) -> Result<Option<(i64, i64)>> {
    conn.prepare_cached(
        "SELECT at, seq FROM deliveries WHERE tenant_key = ? AND endpoint_key = ? AND dead = 1
         ORDER BY at DESC, seq DESC LIMIT 1 OFFSET ?",
    )?
    .query_row(params![owner.0, owner.1, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .optional()
}

/// Removes dead ones that died no later than `last`, the oldest first; how many.
pub(super) fn forget_dead(conn: &Connection, owner: Owner, last: (i64, i64), limit: i64) -> Result<usize> {
    conn.prepare_cached(
        "DELETE FROM deliveries WHERE (tenant_key, endpoint_key, seq) IN
             (SELECT tenant_key, endpoint_key, seq FROM deliveries
              WHERE tenant_key = ? AND endpoint_key = ? AND dead = 1 AND (at, seq) <= (?, ?) ORDER BY at, seq LIMIT ?)",
    )?
    .execute(params![owner.0, owner.1, last.0, last.1, limit])
}

/// How many are retried, and how many dead.
pub(super) fn counts(conn: &Connection, owner: Owner) -> Result<(u64, u64)> {
    conn.prepare_cached(
        "SELECT (SELECT count(*) FROM deliveries WHERE tenant_key = ?1 AND endpoint_key = ?2 AND dead = 0),
                (SELECT count(*) FROM deliveries WHERE tenant_key = ?1 AND endpoint_key = ?2 AND dead = 1)",
    )?
    .query_row(params![owner.0, owner.1], |row| Ok((get_u64(row, 0)?, get_u64(row, 1)?)))
}

/// The oldest seq that is retried.
pub(super) fn oldest_retried(conn: &Connection, owner: Owner) -> Result<Option<Seq>> {
    conn.prepare_cached(
        "SELECT min(seq) FROM deliveries WHERE tenant_key = ? AND endpoint_key = ? AND dead = 0",
    )?
    .query_row(params![owner.0, owner.1], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(|seq| Seq::new(seq.unsigned_abs())))
    })
}

pub(super) fn replays(conn: &Connection, owner: Owner) -> Result<Vec<Replay>> {
    conn.prepare_cached(
        "SELECT id, from_seq, to_seq, position, created_at FROM replays
         WHERE tenant_key = ? AND endpoint_key = ? ORDER BY created_at, id",
    )?
    .query_map(params![owner.0, owner.1], |row| {
        Ok(Replay {
            id: ReplayId::from_bytes(row.get(0)?),
            from: Seq::new(get_u64(row, 1)?),
            to: Seq::new(get_u64(row, 2)?),
            position: Seq::new(get_u64(row, 3)?),
            created_at: get_time(row, 4)?,
        })
    })?
    .collect()
}

pub(super) fn put_replay(conn: &Connection, owner: Owner, replay: &Replay) -> Result<()> {
    conn.prepare_cached("INSERT INTO replays VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute(params![
        owner.0,
        owner.1,
        replay.id.as_bytes(),
        replay.from.get() as i64,
        replay.to.get() as i64,
        replay.position.get() as i64,
        replay.created_at.as_micros(),
    ])?;
    Ok(())
}

/// One that has come to its end is over.
pub(super) fn advance_replay(conn: &Connection, owner: Owner, id: ReplayId, position: Seq) -> Result<()> {
    let position = position.get() as i64;
    conn.prepare_cached(
        "UPDATE replays SET position = max(position, ?) WHERE tenant_key = ? AND endpoint_key = ? AND id = ?",
    )?
    .execute(params![position, owner.0, owner.1, id.as_bytes()])?;
    conn.prepare_cached(
        "DELETE FROM replays WHERE tenant_key = ? AND endpoint_key = ? AND id = ? AND position >= to_seq",
    )?
    .execute(params![owner.0, owner.1, id.as_bytes()])?;
    Ok(())
}

/// Logs attempts whose numbers follow `logged`.
pub(super) fn log(conn: &Connection, owner: Owner, logged: u64, attempts: &[Attempt]) -> Result<()> {
    let mut insert =
        conn.prepare_cached("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (n, attempt) in (logged + 1..).zip(attempts) {
        insert.execute(params![
            owner.0,
            owner.1,
            n as i64,
            attempt.seq.get() as i64,
            attempt.event.as_bytes(),
            attempt.number,
            attempt.at.as_micros(),
            i64::try_from(attempt.latency.as_micros()).unwrap_or(i64::MAX),
            attempt.status,
            attempt.request_bytes,
            attempt.answer_bytes,
            (!attempt.answer.is_empty()).then_some(&attempt.answer[..]),
            attempt.failure.map(AttemptFailure::code),
            attempt.next_at.map(Timestamp::as_micros),
        ])?;
    }
    Ok(())
}

/// With `sql`'s condition and order on attempts `a` of endpoints `e`; as many as `query` asks for.
pub(super) fn attempts(
    conn: &Connection,
    query: AttemptQuery,
    sql: &str,
    parameters: &[&dyn ToSql],
) -> Result<Vec<LoggedAttempt>> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT e.id, a.n, a.seq, a.event_id, a.number, a.at, a.latency, a.status, a.request_bytes, a.answer_bytes,
                a.answer, a.failure, a.next_at FROM attempts a JOIN endpoints e ON e.key = a.endpoint_key {sql}"
    ))?;
    let mut page = AttemptPage::new(query);
    for row in select.query_map(parameters, logged)? {
        if page.push(row?) {
            break;
        }
    }
    Ok(page.into_rows())
}

fn logged(row: &Row<'_>) -> Result<LoggedAttempt> {
    let answer: Option<Vec<u8>> = row.get(10)?;
    let attempt = Attempt {
        seq: Seq::new(get_u64(row, 2)?),
        event: EventId::from_bytes(row.get(3)?),
        number: row.get(4)?,
        at: get_time(row, 5)?,
        latency: Duration::from_micros(get_u64(row, 6)?),
        status: row.get(7)?,
        request_bytes: row.get(8)?,
        answer_bytes: row.get(9)?,
        answer: answer.map(Bytes::from).unwrap_or_default(),
        failure: row.get::<_, Option<i16>>(11)?.and_then(AttemptFailure::from_code),
        next_at: get_time_opt(row, 12)?,
    };
    let place = AttemptPlace { endpoint: EndpointId::from_bytes(row.get(0)?), n: get_u64(row, 1)? };
    Ok(LoggedAttempt { place, attempt })
}

fn delivery(row: &Row<'_>) -> Result<Delivery> {
    let state = delivery_state(row.get(3)?, row.get(4)?, get_time(row, 5)?, row.get(6)?);
    Ok(Delivery {
        seq: Seq::new(get_u64(row, 0)?),
        event: EventId::from_bytes(row.get(1)?),
        event_type: get_parsed(row, 2, EventType::parse)?,
        state: state.map_err(|error| unreadable(3, error))?,
        body: row.get::<_, Option<Vec<u8>>>(7)?.map(Bytes::from),
        format: format_of(row.get(8)?).map_err(|error| unreadable(8, error))?,
    })
}
