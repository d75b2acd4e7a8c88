//! Deliveries, replays and attempts as rows.

use std::time::Duration;

use bytes::Bytes;
use tidings_core::{
    EndpointId, EventId, EventType, ReplayId, Seq,
    webhook::{Attempt, AttemptFailure, Delivery, Replay},
};
use tokio_postgres::Row;

use super::codec::{Columns, Id, Result};
use crate::{
    AttemptPlace, LoggedAttempt,
    webhooks::stored::{delivery_state, format_of},
};

/// In the order that [`delivery`] reads.
pub(super) const DELIVERY: &str = "seq, event_id, event_type, dead, attempts, at, failure, body, format";
/// In the order that [`replay`] reads.
pub(super) const REPLAY: &str = "id, from_seq, to_seq, position, created_at";
/// In the order that [`logged`] reads.
pub(super) const ATTEMPT: &str = "endpoint, n, seq, event_id, number, at, latency, status, request_bytes,
    answer_bytes, answer, failure, next_at";

pub(super) fn delivery(row: &Row) -> Result<Delivery> {
    let at = Columns::of(row);
    let state = delivery_state(at.get(3)?, at.get::<i32>(4)?.unsigned_abs(), at.time(5)?, at.get(6)?);
    Ok(Delivery {
        seq: Seq::new(at.number(0)?),
        event: EventId::from_bytes(at.get::<Id>(1)?.0),
        event_type: at.parsed(2, EventType::parse)?,
        state: state.map_err(|error| at.unreadable(3, &error))?,
        body: at.get::<Option<Vec<u8>>>(7)?.map(Bytes::from),
        format: format_of(at.get(8)?).map_err(|error| at.unreadable(8, &error))?,
    })
}

pub(super) fn replay(row: &Row) -> Result<Replay> {
    let at = Columns::of(row);
    Ok(Replay {
        id: ReplayId::from_bytes(at.get::<Id>(0)?.0),
        from: Seq::new(at.number(1)?),
        to: Seq::new(at.number(2)?),
        position: Seq::new(at.number(3)?),
        created_at: at.time(4)?,
    })
}

pub(super) fn logged(row: &Row) -> Result<LoggedAttempt> {
    let at = Columns::of(row);
    let status = at.get::<Option<i32>>(7)?.map(u16::try_from).transpose();
    let attempt = Attempt {
        seq: Seq::new(at.number(2)?),
        event: EventId::from_bytes(at.get::<Id>(3)?.0),
        number: at.get::<i32>(4)?.unsigned_abs(),
        at: at.time(5)?,
        latency: Duration::from_micros(at.number(6)?),
        status: status.map_err(|error| at.unreadable(7, &error))?,
        request_bytes: at.get::<i32>(8)?.unsigned_abs(),
        answer_bytes: at.get::<i32>(9)?.unsigned_abs(),
        answer: at.get::<Option<Vec<u8>>>(10)?.map(Bytes::from).unwrap_or_default(),
        failure: at.get::<Option<i16>>(11)?.and_then(AttemptFailure::from_code),
        next_at: at.time_opt(12)?,
    };
    let place = AttemptPlace { endpoint: EndpointId::from_bytes(at.get::<Id>(0)?.0), n: at.number(1)? };
    Ok(LoggedAttempt { place, attempt })
}
