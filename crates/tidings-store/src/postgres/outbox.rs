//! What users' own transactions left for the log, read back as what it is to become.

use std::time::Duration;

use tidings_core::{
    EventBody, EventId, EventType, JobId, JobType, NewEvent, NewJob, RawJson, Subject, TenantId, Timestamp,
    UniqueKey, UserId,
    job::{Backoff, JobSpec},
};
use tokio_postgres::{Row, types::Type};

use super::{
    Inner,
    codec::{Columns, Id, Result},
    fault::Fault,
    pool::Pool,
};

/// A row of the outbox.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) id: i64,
    pub(super) tenant: TenantId,
    /// Or why it can be nothing.
    pub(super) item: std::result::Result<Item, String>,
}

#[derive(Debug)]
pub(super) enum Item {
    Event(NewEvent),
    Job(NewJob),
}

/// A row that cannot be moved, and why.
pub(super) type Rejection = (i64, String);

/// What was committed first, at most so much. Transactions that are still open are not waited for.
pub(super) async fn look(pool: &Pool, max: usize) -> std::result::Result<Vec<Left>, Fault> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = pool
        .query(
            "SELECT id, tenant_id, is_job, item, type, owner, subject, data, priority, run_at, max_attempts,
                    unique_key, backoff_base, backoff_max
             FROM tidings.outbox ORDER BY id LIMIT $1",
            &[(&max, Type::INT8)],
        )
        .await?;
    Ok(rows.iter().map(left).collect::<Result<_>>()?)
}

fn left(row: &Row) -> Result<Left> {
    let at = Columns::of(row);
    let item = if at.get(2)? { job(at).map(Item::Job) } else { event(at).map(Item::Event) };
    Ok(Left {
        id: at.get(0)?,
        tenant: at.parsed(1, |text| TenantId::new(text))?,
        item: item.map_err(|error| error.to_string()),
    })
}

fn event(at: Columns<'_>) -> Result<NewEvent> {
    Ok(NewEvent {
        id: EventId::from_bytes(at.get::<Id>(3)?.0),
        event_type: at.parsed(4, EventType::published)?,
        job: None,
        owner: at.parsed_opt(5, |text| UserId::new(text))?,
        subject: at.parsed_opt(6, |text| Subject::new(text))?,
        body: EventBody::same_for_all(at.parsed(7, RawJson::parse)?),
    })
}

fn job(at: Columns<'_>) -> Result<NewJob> {
    let mut spec = JobSpec::new(at.parsed(4, |text| JobType::new(text))?, at.parsed(7, RawJson::parse)?);
    spec.owner = at.parsed_opt(5, |text| UserId::new(text))?;
    spec.subject = at.parsed_opt(6, |text| Subject::new(text))?;
    spec.priority = at.get(8)?;
    spec.max_attempts = at.get::<i32>(10)? as u32;
    spec.unique_key = at.parsed_opt(11, |text| UniqueKey::new(text))?;
    spec.backoff =
        Backoff { base: Duration::from_micros(at.number(12)?), max: Duration::from_micros(at.number(13)?) };
    spec.validate().map_err(|error| at.unreadable(8, &error))?;
    let run_at = at.get::<Option<i64>>(9)?.map(Timestamp::from_micros);
    Ok(NewJob { id: JobId::from_bytes(at.get::<Id>(3)?.0), spec, run_at })
}

impl Inner {
    /// Sets aside what cannot be moved, so that it holds nothing else up.
    pub(super) async fn reject(&self, rejections: &[Rejection]) -> std::result::Result<(), Fault> {
        if rejections.is_empty() {
            return Ok(());
        }
        let (ids, reasons): (Vec<i64>, Vec<&str>) =
            rejections.iter().map(|(id, reason)| (*id, reason.as_str())).unzip();
        for (id, reason) in rejections {
            tracing::warn!(id, reason, "a row of the outbox was rejected");
        }
        let now = self.time.now().as_micros();
        self.work
            .query(
                "WITH gone AS (
                     DELETE FROM tidings.outbox o USING unnest($1, $2) AS r(id, reason)
                     WHERE o.id = r.id RETURNING o.*, r.reason
                 )
                 INSERT INTO tidings.outbox_rejected SELECT gone.*, $3 FROM gone",
                &[(&ids, Type::INT8_ARRAY), (&reasons, Type::TEXT_ARRAY), (&now, Type::INT8)],
            )
            .await?;
        Ok(())
    }
}
