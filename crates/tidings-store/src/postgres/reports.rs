//! One call of `tidings.report`: what dispatchers say of many endpoints, as arrays.

use tidings_core::{
    Epoch, EventId, Seq, TenantId, Timestamp,
    webhook::{Attempt, AttemptFailure, Delivery, DisabledReason},
};
use tokio_postgres::{Row, types::Type};

use super::{
    arrays::{self, Arrays},
    codec::{self, Columns, Id},
};
use crate::{Report, webhooks::stored::delivery_parts};

/// What [`Arrays`] and the call's head come to.
const PARAMETERS: usize = 40;

/// A report with its tenant, and the id that its event would get.
pub(super) struct Said<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) report: &'a Report,
    pub(super) event: EventId,
}

/// What became of one report.
pub(super) struct Heard {
    pub(super) verdict: i16,
    /// Of the event that tells of its endpoint being disabled.
    pub(super) published: Option<(Seq, Timestamp, Epoch, String)>,
}

pub(super) fn statement() -> String {
    arrays::statement("verdicts, seqs, times, epochs, data, now", "report", PARAMETERS)
}

impl<'a> Arrays<'a> {
    pub(super) fn said(said: &'a [Said<'a>]) -> Self {
        let mut arrays = Self::with_capacity(PARAMETERS);
        arrays.reports(said);
        arrays.attempts(&flat(said, |report| &report.attempts));
        arrays.deliveries(&flat(said, |report| &report.deliveries));
        let delivered = flat(said, |report| &report.delivered);
        arrays.push(Type::INT4_ARRAY, delivered.iter().map(|(place, _)| *place));
        arrays.push(Type::INT8_ARRAY, delivered.iter().map(|(_, seq)| seq.get() as i64));
        arrays
    }

    fn reports(&mut self, said: &'a [Said<'a>]) {
        let reports = || said.iter().map(|said| said.report);
        self.push(Type::TEXT_ARRAY, said.iter().map(|said| said.tenant.as_str()));
        self.push(Type::UUID_ARRAY, reports().map(|report| Id(*report.endpoint.as_bytes())));
        self.push(Type::INT8_ARRAY, reports().map(|report| report.generation as i64));
        self.push(Type::INT8_ARRAY, reports().map(|report| report.cursor.map(|cursor| cursor.get() as i64)));
        self.push(Type::BOOL_ARRAY, reports().map(|report| report.failing_since.is_some()));
        self.push(
            Type::INT8_ARRAY,
            reports().map(|report| report.failing_since.flatten().map(Timestamp::as_micros)),
        );
        self.push(Type::INT8_ARRAY, reports().map(|report| report.quiet_until.map(Timestamp::as_micros)));
        self.push(Type::TEXT_ARRAY, reports().map(|report| report.disable.map(DisabledReason::as_str)));
        self.push(Type::UUID_ARRAY, said.iter().map(|said| Id(*said.event.as_bytes())));
        let replays = flat(said, |report| &report.replays);
        self.push(Type::INT4_ARRAY, replays.iter().map(|(place, _)| *place));
        self.push(Type::UUID_ARRAY, replays.iter().map(|(_, (id, _))| Id(*id.as_bytes())));
        self.push(Type::INT8_ARRAY, replays.iter().map(|(_, (_, position))| position.get() as i64));
    }

    fn attempts(&mut self, attempts: &[(i32, &'a Attempt)]) {
        let all = || attempts.iter().map(|(_, attempt)| *attempt);
        self.push(Type::INT4_ARRAY, attempts.iter().map(|(place, _)| *place));
        self.push(Type::INT8_ARRAY, all().map(|attempt| attempt.seq.get() as i64));
        self.push(Type::UUID_ARRAY, all().map(|attempt| Id(*attempt.event.as_bytes())));
        self.push(Type::INT4_ARRAY, all().map(|attempt| int(attempt.number)));
        self.push(Type::INT8_ARRAY, all().map(|attempt| attempt.at.as_micros()));
        self.push(
            Type::INT8_ARRAY,
            all().map(|attempt| i64::try_from(attempt.latency.as_micros()).unwrap_or(i64::MAX)),
        );
        self.push(Type::INT4_ARRAY, all().map(|attempt| attempt.status.map(i32::from)));
        self.push(Type::INT4_ARRAY, all().map(|attempt| int(attempt.request_bytes)));
        self.push(Type::INT4_ARRAY, all().map(|attempt| int(attempt.answer_bytes)));
        let answer = |attempt: &'a Attempt| (!attempt.answer.is_empty()).then_some(&attempt.answer[..]);
        self.push(Type::BYTEA_ARRAY, all().map(answer));
        self.push(Type::INT2_ARRAY, all().map(|attempt| attempt.failure.map(AttemptFailure::code)));
        self.push(Type::INT8_ARRAY, all().map(|attempt| attempt.next_at.map(Timestamp::as_micros)));
    }

    fn deliveries(&mut self, deliveries: &[(i32, &'a Delivery)]) {
        let all = || deliveries.iter().map(|(_, delivery)| *delivery);
        let parts = || all().map(|delivery| delivery_parts(delivery.state));
        self.push(Type::INT4_ARRAY, deliveries.iter().map(|(place, _)| *place));
        self.push(Type::INT8_ARRAY, all().map(|delivery| delivery.seq.get() as i64));
        self.push(Type::UUID_ARRAY, all().map(|delivery| Id(*delivery.event.as_bytes())));
        self.push(Type::TEXT_ARRAY, all().map(|delivery| delivery.event_type.as_str()));
        self.push(Type::BOOL_ARRAY, parts().map(|(dead, ..)| dead));
        self.push(Type::INT4_ARRAY, parts().map(|(_, attempts, ..)| int(attempts)));
        self.push(Type::INT8_ARRAY, parts().map(|(_, _, at, _)| at.as_micros()));
        self.push(Type::INT2_ARRAY, parts().map(|(.., failure)| failure));
        self.push(Type::BYTEA_ARRAY, all().map(|delivery| delivery.body.as_deref()));
        self.push(Type::INT2_ARRAY, all().map(|delivery| delivery.format.code()));
    }
}

/// All reports' parts of one kind, each with the place of its report: PostgreSQL counts from 1.
fn flat<'a, T>(said: &'a [Said<'a>], of: impl Fn(&'a Report) -> &'a Vec<T>) -> Vec<(i32, &'a T)> {
    let places = (1..).zip(said);
    places.flat_map(|(place, said)| of(said.report).iter().map(move |part| (place, part))).collect()
}

fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One for each report, in order, and what time it was.
pub(super) fn read(row: &Row) -> codec::Result<(Vec<Heard>, Timestamp)> {
    let verdicts: Vec<i16> = codec::list(row, 0)?;
    let seqs: Vec<Option<i64>> = codec::list(row, 1)?;
    let times: Vec<Option<i64>> = codec::list(row, 2)?;
    let epochs: Vec<Option<String>> = codec::list(row, 3)?;
    let data: Vec<Option<String>> = codec::list(row, 4)?;
    let published = seqs.into_iter().zip(times).zip(epochs.into_iter().zip(data));
    let published = published.map(|((seq, time), (epoch, data))| {
        let epoch = Epoch::parse(epoch.as_deref()?).ok()?;
        Some((Seq::new(seq?.unsigned_abs()), Timestamp::from_micros(time?), epoch, data?))
    });
    let heard = verdicts.into_iter().zip(published);
    let heard = heard.map(|(verdict, published)| Heard { verdict, published }).collect();
    Ok((heard, Columns::of(row).time(5)?))
}
