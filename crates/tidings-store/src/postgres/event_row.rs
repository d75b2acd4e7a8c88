//! Events as rows.

use tidings_core::{
    Event, EventBody, EventId, EventType, JobId, JobRef, JobType, NewEvent, Seq, Subject, TenantId, UserId,
};
use tokio_postgres::Row;

use super::codec::{Columns, Id, Result};

/// In the order that [`from_row`] reads.
macro_rules! event_columns {
    () => {
        "seq, time, id, type, job_id, job_type, owner, subject, data, detail, debug"
    };
}
pub(super) use event_columns;

/// Reads the columns from `first` on; `None` where there is no event.
pub(super) fn from_row(row: &Row, first: usize, tenant: &TenantId) -> Result<Option<Event>> {
    let at = Columns::from(row, first);
    if at.is_null(0)? {
        return Ok(None);
    }
    let job = match at.get::<Option<Id>>(4)? {
        None => None,
        Some(id) => {
            Some(JobRef { id: JobId::from_bytes(id.0), job_type: at.parsed(5, |text| JobType::new(text))? })
        }
    };
    Ok(Some(Event {
        seq: Seq::new(at.number(0)?),
        time: at.time(1)?,
        tenant: tenant.clone(),
        fact: NewEvent {
            id: EventId::from_bytes(at.get::<Id>(2)?.0),
            event_type: at.parsed(3, EventType::parse)?,
            job,
            owner: at.parsed_opt(6, |text| UserId::new(text))?,
            subject: at.parsed_opt(7, |text| Subject::new(text))?,
            body: EventBody { minimal: at.json(8)?, detail: at.json_opt(9)?, debug: at.json_opt(10)? },
        },
    }))
}
