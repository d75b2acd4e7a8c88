use std::sync::Arc;

use tidings_core::{
    Epoch, Event, EventBody, EventId, EventType, JobId, JobRef, JobType, NewEvent, RawJson, Seq, Subject,
    TenantId, Timestamp, UserId,
};

use super::{DEBUG, DETAIL, EVENTS_MAX, JOB, MESSAGE_BYTES_MAX, NodeId, OWNER, SUBJECT, VERSION};
use crate::News;

/// Not what a node of this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message does not read")]
pub(in crate::bus) struct Malformed;

/// What a message says, and who published it. `None`: another version's, which says nothing here.
pub(in crate::bus) fn read(payload: &[u8]) -> Result<Option<(NodeId, News)>, Malformed> {
    if payload.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed);
    }
    let mut input = Input(payload);
    if input.byte()? != VERSION {
        return Ok(None);
    }
    let node = input.array()?;
    let tenant = valid(TenantId::new(input.text8()?))?;
    let epoch = valid(Epoch::parse(input.text8()?))?;
    let head = input.seq()?;
    let count = usize::from(u16::from_be_bytes(input.array()?));
    if count > EVENTS_MAX {
        return Err(Malformed);
    }
    let mut events: Vec<Arc<Event>> = Vec::new();
    for _ in 0..count {
        let event = input.event(&tenant)?;
        let last = events.last().map_or(Seq::ZERO, |last| last.seq);
        if event.seq <= last || event.seq > head {
            return Err(Malformed);
        }
        events.push(Arc::new(event));
    }
    if !input.0.is_empty() {
        return Err(Malformed);
    }
    Ok(Some((node, News { tenant, epoch, head, events })))
}

fn valid<T, E>(parsed: Result<T, E>) -> Result<T, Malformed> {
    parsed.map_err(|_| Malformed)
}

/// What is not read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn text(&mut self, len: usize) -> Result<&'a str, Malformed> {
        valid(std::str::from_utf8(self.take(len)?))
    }

    fn text8(&mut self) -> Result<&'a str, Malformed> {
        let len = self.byte()?;
        self.text(len.into())
    }

    fn json(&mut self) -> Result<RawJson, Malformed> {
        let len = u32::from_be_bytes(self.array()?);
        let text = self.text(len as usize)?;
        let json = valid(RawJson::parse(text))?;
        // What was stored is as short as can be: anything else was never an event's.
        if json.len() == text.len() { Ok(json) } else { Err(Malformed) }
    }

    /// As stores number: from 1, within a signed integer.
    fn seq(&mut self) -> Result<Seq, Malformed> {
        let seq = u64::from_be_bytes(self.array()?);
        if seq == 0 || i64::try_from(seq).is_err() { Err(Malformed) } else { Ok(Seq::new(seq)) }
    }

    /// Between 1970 and the year 10000, so that it can be written out.
    fn time(&mut self) -> Result<Timestamp, Malformed> {
        const END: i64 = 253_402_300_800_000_000;
        let micros = i64::from_be_bytes(self.array()?);
        if (0..END).contains(&micros) { Ok(Timestamp::from_micros(micros)) } else { Err(Malformed) }
    }

    fn event(&mut self, tenant: &TenantId) -> Result<Event, Malformed> {
        let (seq, time, id) = (self.seq()?, self.time()?, EventId::from_bytes(self.array()?));
        let event_type = valid(EventType::parse(self.text8()?))?;
        let parts = self.byte()?;
        if parts > JOB | OWNER | SUBJECT | DETAIL | DEBUG {
            return Err(Malformed);
        }
        let has = |part: u8| parts & part != 0;
        let job = has(JOB).then(|| self.job()).transpose()?;
        let owner = has(OWNER).then(|| valid(UserId::new(self.text8()?))).transpose()?;
        let subject = has(SUBJECT).then(|| valid(Subject::new(self.text8()?))).transpose()?;
        let minimal = self.json()?;
        let detail = has(DETAIL).then(|| self.json()).transpose()?;
        let debug = has(DEBUG).then(|| self.json()).transpose()?;
        let body = EventBody { minimal, detail, debug };
        let fact = NewEvent { id, event_type, job, owner, subject, body };
        Ok(Event { seq, time, tenant: tenant.clone(), fact })
    }

    fn job(&mut self) -> Result<JobRef, Malformed> {
        let id = JobId::from_bytes(self.array()?);
        Ok(JobRef { id, job_type: valid(JobType::new(self.text8()?))? })
    }
}
