//! Taking in what another store kept. Rows travel as JSON: this is done once in a tenant's life.

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_core::{
    Endpoint, EndpointId, Event, Job, JobId, JobState, RawJson, Schedule, Seq, Subject, TenantId, Timestamp,
    UniqueKey, UserId,
    job::Report,
    webhook::{AttemptFailure, Delivery, DeliveryState, DisabledReason, Replay},
};
use tokio_postgres::types::Type;

use super::{PostgresStore, fault::Fault, job_row::state_code};
use crate::webhooks::stored::{self, grant_text, secrets_text, spec_text};
use crate::{
    CommitError, KeyRecord, TenantRecord, TenantState,
    archive::{Begun, Import, ImportError},
};

/// Makes the tenant, suspended, unless one of that name lives.
const BEGIN: &str = "
    INSERT INTO tidings.tenants (tenant_id, life, state, epoch, head, oldest, created_at)
    SELECT $1, coalesce(max(life), 0) + 1, 1, $2, $3 - 1, $3, $4
    FROM tidings.tenants WHERE tenant_id = $1
    HAVING coalesce(bool_and(state >= 2), true)
    ON CONFLICT DO NOTHING";

/// The log's end moves and the events come in one statement, or neither.
const APPEND: &str = "
    WITH log AS (
        UPDATE tidings.tenants SET head = $3, last_time = $4
        WHERE tenant_id = $1 AND state = 1 AND head = $2
        RETURNING tenant_id, life
    ), added AS (
        INSERT INTO tidings.events
        SELECT (json_populate_record(null::tidings.events,
                    (e.value::jsonb || jsonb_build_object('tenant_id', log.tenant_id, 'life', log.life))::json)).*
        FROM log, json_array_elements($5::text::json) e
        RETURNING 1
    )
    SELECT count(*) FROM added";

/// The order in which jobs came is kept below every number that the log gives from here on.
const PUT_JOBS: &str = "
    INSERT INTO tidings.jobs
    SELECT (json_populate_record(null::tidings.jobs,
                (j.value::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life, 'version', 0,
                    'first_seq', -4611686018427387904 + $2::bigint + j.ordinality))::json)).*
    FROM tidings.tenants t, json_array_elements($3::text::json) WITH ORDINALITY j
    WHERE t.tenant_id = $1 AND t.state = 1
    ON CONFLICT DO NOTHING";

/// A suspended tenant's schedules are due once it is active: a trigger sees to that.
const PUT_SCHEDULES: &str = "
    INSERT INTO tidings.schedules
    SELECT (json_populate_record(null::tidings.schedules,
                (s.value::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life, 'version', 0))::json)).*
    FROM tidings.tenants t, json_array_elements($2::text::json) s
    WHERE t.tenant_id = $1 AND t.state = 1
    ON CONFLICT DO NOTHING";

/// A suspended tenant's endpoints are numbered anew once it is active: a trigger sees to that.
const PUT_ENDPOINT: &str = "
    INSERT INTO tidings.endpoints
    SELECT (json_populate_record(null::tidings.endpoints,
                ($2::text::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life, 'attempts', 0,
                    'change', 0))::json)).*
    FROM tidings.tenants t WHERE t.tenant_id = $1 AND t.state = 1
    ON CONFLICT DO NOTHING";

const PUT_REPLAYS: &str = "
    INSERT INTO tidings.replays
    SELECT (json_populate_record(null::tidings.replays,
                (r.value::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life))::json)).*
    FROM tidings.tenants t, json_array_elements($2::text::json) r
    WHERE t.tenant_id = $1 AND t.state = 1
    ON CONFLICT DO NOTHING";

const PUT_DELIVERIES: &str = "
    INSERT INTO tidings.deliveries
    SELECT (json_populate_record(null::tidings.deliveries,
                (d.value::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life))::json)).*
    FROM tidings.tenants t, json_array_elements($2::text::json) d
    WHERE t.tenant_id = $1 AND t.state = 1
    ON CONFLICT DO NOTHING";

const PUT_KEYS: &str = "
    INSERT INTO tidings.keys
    SELECT (json_populate_record(null::tidings.keys,
                (k.value::jsonb || jsonb_build_object('tenant_id', t.tenant_id, 'life', t.life))::json)).*
    FROM json_array_elements($2::text::json) k
    LEFT JOIN tidings.tenants t ON t.tenant_id = $1 AND t.state < 2
    ON CONFLICT DO NOTHING";

/// Where no server has run yet the outage begins here, of which the first one gives every lease the length. Only
/// an active tenant is never finished again.
const FINISH: &str = "
    WITH clock AS (
        SELECT coalesce($4, tidings.micros()) AS now
    ), tenant AS (
        UPDATE tidings.tenants SET state = $2 WHERE tenant_id = $1 AND state = 1 RETURNING tenant_id, life
    ), leases AS (
        UPDATE tidings.jobs j
        SET lease_expires_at = j.lease_expires_at + greatest(c.now - $3, 0), version = j.version + 1
        FROM tenant t, clock c
        WHERE j.tenant_id = t.tenant_id AND j.life = t.life AND j.state = 2 AND $2 = 0
    )
    UPDATE tidings.meta SET alive_at = c.now FROM clock c WHERE alive_at = 0";

#[async_trait]
impl Import for PostgresStore {
    async fn begin(&self, tenant: &TenantRecord) -> Result<Begun, ImportError> {
        let (id, epoch) = (tenant.id.as_str(), tenant.log.epoch.as_str());
        let (oldest, created_at) = (tenant.log.oldest.get() as i64, tenant.created_at.as_micros());
        let parameters: [super::pool::Parameter<'_>; 4] =
            [(&id, Type::TEXT), (&epoch, Type::TEXT), (&oldest, Type::INT8), (&created_at, Type::INT8)];
        self.0.pool.query(BEGIN, &parameters).await.map_err(failed)?;
        let found = "SELECT epoch, head, state FROM tidings.tenants WHERE tenant_id = $1 AND state < 2";
        let rows = self.0.pool.query(found, &[(&id, Type::TEXT)]).await.map_err(failed)?;
        let Some(row) = rows.first() else { return Err(lost(&tenant.id)) };
        if row.get::<_, &str>(0) != epoch {
            return Err(ImportError::OtherHistory(tenant.id.clone()));
        }
        let head = Seq::new(row.get::<_, i64>(1) as u64);
        Ok(if row.get::<_, i16>(2) == 0 { Begun::InUse(head) } else { Begun::Open(head) })
    }

    async fn append(&self, tenant: &TenantId, events: &[Event]) -> Result<(), ImportError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let days: [super::pool::Parameter<'_>; 2] =
            [(&first.time.as_micros(), Type::INT8), (&last.time.as_micros(), Type::INT8)];
        self.0.pool.query("SELECT tidings.make_partitions($1, $2)", &days).await.map_err(failed)?;
        let rows = Value::Array(events.iter().map(event_row).collect()).to_string();
        let (before, head) = (first.seq.prev().get() as i64, last.seq.get() as i64);
        let parameters: [super::pool::Parameter<'_>; 5] = [
            (&tenant.as_str(), Type::TEXT),
            (&before, Type::INT8),
            (&head, Type::INT8),
            (&last.time.as_micros(), Type::INT8),
            (&rows, Type::TEXT),
        ];
        let answer = self.0.pool.query(APPEND, &parameters).await.map_err(failed)?;
        let added: i64 = answer.first().map_or(0, |row| row.get(0));
        if added == events.len() as i64 { Ok(()) } else { Err(lost(tenant)) }
    }

    async fn put_jobs(&self, tenant: &TenantId, before: u64, jobs: &[Job]) -> Result<(), ImportError> {
        let rows = Value::Array(jobs.iter().map(job_row).collect()).to_string();
        let parameters: [super::pool::Parameter<'_>; 3] =
            [(&tenant.as_str(), Type::TEXT), (&(before as i64), Type::INT8), (&rows, Type::TEXT)];
        self.0.pool.query(PUT_JOBS, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn put_schedules(&self, tenant: &TenantId, schedules: &[Schedule]) -> Result<(), ImportError> {
        let rows = Value::Array(schedules.iter().map(schedule_row).collect()).to_string();
        let parameters: [super::pool::Parameter<'_>; 2] =
            [(&tenant.as_str(), Type::TEXT), (&rows, Type::TEXT)];
        self.0.pool.query(PUT_SCHEDULES, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn put_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &Endpoint,
        replays: &[Replay],
    ) -> Result<(), ImportError> {
        let row = endpoint_row(endpoint).to_string();
        let parameters: [super::pool::Parameter<'_>; 2] =
            [(&tenant.as_str(), Type::TEXT), (&row, Type::TEXT)];
        self.0.pool.query(PUT_ENDPOINT, &parameters).await.map_err(failed)?;
        let rows = Value::Array(replays.iter().map(|replay| replay_row(endpoint.id, replay)).collect());
        let rows = rows.to_string();
        let parameters: [super::pool::Parameter<'_>; 2] =
            [(&tenant.as_str(), Type::TEXT), (&rows, Type::TEXT)];
        self.0.pool.query(PUT_REPLAYS, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn put_deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        deliveries: &[Delivery],
    ) -> Result<(), ImportError> {
        let rows = deliveries.iter().map(|delivery| delivery_row(endpoint, delivery)).collect();
        let rows = Value::Array(rows).to_string();
        let parameters: [super::pool::Parameter<'_>; 2] =
            [(&tenant.as_str(), Type::TEXT), (&rows, Type::TEXT)];
        self.0.pool.query(PUT_DELIVERIES, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn put_keys(&self, tenant: Option<&TenantId>, keys: &[KeyRecord]) -> Result<(), ImportError> {
        let rows = Value::Array(keys.iter().map(key_row).collect()).to_string();
        let tenant = tenant.map(TenantId::as_str);
        let parameters: [super::pool::Parameter<'_>; 2] = [(&tenant, Type::TEXT), (&rows, Type::TEXT)];
        self.0.pool.query(PUT_KEYS, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn finish(
        &self,
        tenant: &TenantId,
        state: TenantState,
        left: Option<Timestamp>,
    ) -> Result<(), ImportError> {
        let (now, left) = (self.0.time.injected(), left.map(Timestamp::as_micros));
        let state: i16 = match state {
            TenantState::Active => 0,
            TenantState::Suspended => 1,
        };
        let parameters: [super::pool::Parameter<'_>; 4] =
            [(&tenant.as_str(), Type::TEXT), (&state, Type::INT2), (&left, Type::INT8), (&now, Type::INT8)];
        self.0.pool.query(FINISH, &parameters).await.map_err(failed)?;
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(fault: Fault) -> ImportError {
    ImportError::Commit(CommitError::Unavailable(fault.text().to_owned()))
}

fn lost(tenant: &TenantId) -> ImportError {
    ImportError::Commit(CommitError::Rejected(format!("{tenant} was changed by somebody else meanwhile")))
}

fn event_row(event: &Event) -> Value {
    let fact = &event.fact;
    json!({
        "seq": event.seq,
        "time": event.time.as_micros(),
        "id": fact.id,
        "type": fact.event_type,
        "job_id": fact.job.as_ref().map(|job| job.id),
        "job_type": fact.job.as_ref().map(|job| &job.job_type),
        "owner": fact.owner.as_ref().map(UserId::as_str),
        "subject": fact.subject.as_ref().map(Subject::as_str),
        "data": fact.body.minimal.as_str(),
        "detail": fact.body.detail.as_ref().map(RawJson::as_str),
        "debug": fact.body.debug.as_ref().map(RawJson::as_str),
    })
}

fn job_row(job: &Job) -> Value {
    let spec = &job.spec;
    let mut row = json!({
        "id": job.id,
        "job_type": spec.job_type.as_str(),
        "state": state_code(job.state.name()),
        "owner": spec.owner.as_ref().map(UserId::as_str),
        "subject": spec.subject.as_ref().map(Subject::as_str),
        "priority": spec.priority,
        "attempt": job.attempt,
        "lease_no": job.lease_no,
        "cancel_requested": false,
        "reported_lease_no": job.reported.map(|(lease_no, _)| lease_no),
        "reported": job.reported.map(|(_, report)| i16::from(report == Report::Fail)),
        "percent": job.progress.as_ref().map(|p| p.percent),
        "message": job.progress.as_ref().and_then(|p| p.message.as_deref()).map(bytes),
        "failure_category": job.failure.as_ref().map(|f| f.category.as_str()),
        "failure_message": job.failure.as_ref().map(|f| bytes(&f.message)),
        "failure_raw": job.failure.as_ref().map(|f| bytes(&f.raw)),
        "created_at": job.created_at.as_micros(),
        "started_at": job.started_at.map(Timestamp::as_micros),
        "seq": job.seq,
        "unique_key": spec.unique_key.as_ref().map(UniqueKey::as_str),
        "max_attempts": spec.max_attempts,
        "backoff_base": spec.backoff.base.as_micros() as i64,
        "backoff_max": spec.backoff.max.as_micros() as i64,
        "retry_of": spec.retry_of.as_ref().map(JobId::to_string),
        "payload": spec.payload.as_str(),
    });
    match &job.state {
        JobState::Scheduled { run_at } | JobState::Queued { run_at } => {
            row["run_at"] = json!(run_at.as_micros());
        }
        JobState::Running { lease, cancel_requested } => {
            row["worker"] = json!(lease.worker.as_str());
            row["lease_expires_at"] = json!(lease.expires_at.as_micros());
            row["cancel_requested"] = json!(cancel_requested);
        }
        JobState::Completed { finished_at, result } => {
            row["finished_at"] = json!(finished_at.as_micros());
            row["result"] = json!(result.as_ref().map(RawJson::as_str));
        }
        JobState::Failed { finished_at } | JobState::Cancelled { finished_at } => {
            row["finished_at"] = json!(finished_at.as_micros());
        }
    }
    row
}

fn schedule_row(schedule: &Schedule) -> Value {
    let (spec, job) = (&schedule.spec, &schedule.spec.job);
    json!({
        "id": schedule.id,
        "name": spec.name.as_str(),
        "cron": spec.timing.cron.as_str(),
        "zone": spec.timing.zone.as_str(),
        "overlap": spec.overlap.as_str(),
        "paused": schedule.paused,
        "created_at": schedule.created_at.as_micros(),
        "next_fire": schedule.next_fire.map(Timestamp::as_micros),
        "last_fire": schedule.last_fire.map(|(at, _)| at.as_micros()),
        "last_job": schedule.last_fire.map(|(_, job)| job),
        "last_skip": schedule.last_skip.map(Timestamp::as_micros),
        "job_type": job.job_type.as_str(),
        "owner": job.owner.as_ref().map(UserId::as_str),
        "subject": job.subject.as_ref().map(Subject::as_str),
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "backoff_base": job.backoff.base.as_micros() as i64,
        "backoff_max": job.backoff.max.as_micros() as i64,
        "payload": job.payload.as_str(),
    })
}

fn endpoint_row(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "partition": endpoint.partition().number(),
        "spec": spec_text(&endpoint.spec),
        "grant_json": grant_text(&endpoint.grant),
        "secrets": secrets_text(&endpoint.secrets),
        "grantee": endpoint.grant.user.as_ref().map(UserId::as_str),
        "state": stored::state_code(endpoint.state),
        "since": endpoint.state.since().map(Timestamp::as_micros),
        "reason": endpoint.state.reason().map(DisabledReason::as_str),
        "cursor": endpoint.cursor,
        "generation": endpoint.generation,
        "failing_since": endpoint.failing_since.map(Timestamp::as_micros),
        "quiet_until": endpoint.quiet_until.map(Timestamp::as_micros),
        "created_at": endpoint.created_at.as_micros(),
    })
}

fn replay_row(endpoint: EndpointId, replay: &Replay) -> Value {
    json!({
        "endpoint": endpoint,
        "id": replay.id,
        "from_seq": replay.from,
        "to_seq": replay.to,
        "position": replay.position,
        "created_at": replay.created_at.as_micros(),
    })
}

fn delivery_row(endpoint: EndpointId, delivery: &Delivery) -> Value {
    let (at, failure) = match delivery.state {
        DeliveryState::Retrying { next_at, .. } => (next_at, None),
        DeliveryState::Dead { at, failure, .. } => (at, Some(failure)),
    };
    json!({
        "endpoint": endpoint,
        "seq": delivery.seq,
        "event_id": delivery.event,
        "event_type": delivery.event_type.as_str(),
        "dead": failure.is_some(),
        "attempts": delivery.state.attempts(),
        "at": at.as_micros(),
        "failure": failure.map(AttemptFailure::code),
        "body": delivery.body.as_ref().map(bytes),
        "format": delivery.format.code(),
    })
}

fn key_row(key: &KeyRecord) -> Value {
    json!({
        "id": key.id,
        "name": bytes(&key.name),
        "hash": bytes(key.hash),
        "grant_json": serde_json::to_string(&key.grant).expect("a grant serialises"),
        "created_at": key.created_at.as_micros(),
        "expires_at": key.expires_at.map(Timestamp::as_micros),
        "revoked_at": key.revoked_at.map(Timestamp::as_micros),
    })
}

/// As PostgreSQL writes `bytea`.
fn bytes(of: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    of.as_ref().iter().fold(String::from("\\x"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}
