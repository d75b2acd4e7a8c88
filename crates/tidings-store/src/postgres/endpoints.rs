//! Changes of webhook endpoints by hand: rare, one command each, as a batch of its own.

use tidings_core::{
    Endpoint, EndpointId, Epoch, Seq, TenantId, Timestamp, UserId,
    webhook::{DisabledReason, Replay},
};
use tokio_postgres::types::Type;

use super::{
    Inner,
    codec::{Columns, Id},
    endpoint_row::{self, endpoint_columns},
    fault::Fault,
};
use crate::{
    CommandError, CommitError, EndpointChange, Operation, Outcome, ReplayWhat, TenantState,
    webhooks::{
        self,
        stored::{grant_text, secrets_text, spec_text, state_code},
    },
};

/// How often a change that loses races looks again.
const ROUNDS: usize = 8;

type Answered = Result<Result<Outcome, CommandError>, CommitError>;

/// What is to be written.
struct Change {
    id: EndpointId,
    /// The change that was decided on; `None` for a new endpoint.
    before: Option<u64>,
    /// `None`: it goes.
    after: Option<Endpoint>,
    /// `None`: a new one's is the head, another's stays.
    cursor: Option<Seq>,
    most: usize,
    /// A suspended tenant is no hindrance.
    any_state: bool,
}

impl Inner {
    pub(super) async fn commit_endpoint(
        &self,
        lane: usize,
        tenant: &TenantId,
        create: bool,
        operation: &Operation,
    ) -> Answered {
        for _ in 0..ROUNDS {
            let change = match self.decide_endpoint(tenant, create, operation).await? {
                Ok(change) => change,
                Err(refused) => return Ok(Err(refused)),
            };
            let (verdict, numbers) = self.write_endpoint(lane, tenant, create, &change).await?;
            match verdict {
                0 => return Ok(Ok(written(change, &numbers))),
                // It was changed, or its tenant made or deleted, since it was looked at.
                1 => {}
                2 if create => {}
                other => return refused(other),
            }
        }
        Ok(Err(CommandError::Busy))
    }

    async fn decide_endpoint(
        &self,
        tenant: &TenantId,
        create: bool,
        operation: &Operation,
    ) -> Result<Result<Change, CommandError>, CommitError> {
        let now = self.time.now();
        let (id, change) = match operation {
            Operation::PutEndpoint(new) => {
                let what = (new.spec.clone(), new.grant.clone());
                let after = Endpoint::new(new.id, tenant.clone(), what, new.secrets.clone(), Seq::ZERO, now);
                let (cursor, most) = (new.cursor, new.limit);
                return Ok(Ok(Change {
                    id: new.id,
                    before: None,
                    after: Some(after),
                    cursor,
                    most,
                    any_state: false,
                }));
            }
            Operation::ChangeEndpoint { id, change } => (*id, Some(change)),
            Operation::DeleteEndpoint(id) => (*id, None),
            _ => return Ok(Err(CommandError::Rejected("this changes no endpoint".into()))),
        };
        let any_state = change.is_some_and(EndpointChange::any_state);
        let (head, endpoint) = match self.look_endpoint(tenant, id).await? {
            (Some(TenantState::Active), head, Some(endpoint)) => (head, endpoint),
            (Some(TenantState::Suspended), head, Some(endpoint)) if any_state => (head, endpoint),
            (Some(TenantState::Suspended), ..) => return Ok(Err(CommandError::TenantSuspended)),
            (None, ..) if !create => return Ok(Err(CommandError::UnknownTenant)),
            _ => return Ok(Err(CommandError::NotFound)),
        };
        let (before, cursor) = (endpoint.change, endpoint.cursor);
        let after = change.map(|change| webhooks::applied(change, endpoint, head, now)).transpose();
        Ok(after.map(|after| {
            let moved = after.as_ref().map(|after| after.cursor).filter(|moved| *moved != cursor);
            Change { id, before: Some(before), after, cursor: moved, most: 0, any_state }
        }))
    }

    async fn look_endpoint(
        &self,
        tenant: &TenantId,
        id: EndpointId,
    ) -> Result<(Option<TenantState>, Seq, Option<Endpoint>), Fault> {
        let rows = self
            .work
            .query(
                concat!(
                    "SELECT tenant_state, head, ",
                    endpoint_columns!(),
                    " FROM tidings.look_endpoint($1, $2)"
                ),
                &[(&tenant.as_str(), Type::TEXT), (&Id(*id.as_bytes()), Type::UUID)],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok((None, Seq::ZERO, None)) };
        let at = Columns::of(row);
        let state = at.get::<Option<i16>>(0)?.map(super::look::state);
        let head = at.get::<Option<i64>>(1)?.map_or(Seq::ZERO, |head| Seq::new(head.unsigned_abs()));
        Ok((state, head, endpoint_row::from_row(row, 2)?))
    }

    async fn write_endpoint(
        &self,
        lane: usize,
        tenant: &TenantId,
        create: bool,
        change: &Change,
    ) -> Result<(i16, Vec<Option<i64>>), CommitError> {
        let (injected, epoch) = (self.time.injected(), Epoch::generate(&*self.entropy));
        let after = change.after.as_ref();
        let state = after.map(|after| after.state);
        let row = self
            .lanes
            .call(
                lane,
                "SELECT verdict, numbers FROM tidings.write_endpoint($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                     $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
                &[
                    (&injected, Type::INT8),
                    (&tenant.as_str(), Type::TEXT),
                    // What names an endpoint makes no tenant.
                    (&(create && change.before.is_none()), Type::BOOL),
                    (&change.any_state, Type::BOOL),
                    (&epoch.as_str(), Type::TEXT),
                    (&i64::try_from(change.most).unwrap_or(i64::MAX), Type::INT8),
                    (&Id(*change.id.as_bytes()), Type::UUID),
                    (&change.before.map(|before| before as i64), Type::INT8),
                    (&after.map(|after| i16::from(after.partition().number())), Type::INT2),
                    (&after.map(|after| spec_text(&after.spec)), Type::TEXT),
                    (&after.map(|after| grant_text(&after.grant)), Type::TEXT),
                    (&after.map(|after| secrets_text(&after.secrets)), Type::TEXT),
                    (&after.and_then(|after| after.grant.user.as_ref().map(UserId::as_str)), Type::TEXT),
                    (&state.map(state_code), Type::INT2),
                    (&state.and_then(|state| state.since().map(Timestamp::as_micros)), Type::INT8),
                    (&state.and_then(|state| state.reason().map(DisabledReason::as_str)), Type::TEXT),
                    (&change.cursor.map(|cursor| cursor.get() as i64), Type::INT8),
                    (&after.map(|after| after.generation as i64), Type::INT8),
                    (&after.and_then(|after| after.failing_since.map(Timestamp::as_micros)), Type::INT8),
                    (&after.map(|after| after.created_at.as_micros()), Type::INT8),
                ],
            )
            .await?;
        let at = Columns::of(&row);
        let read = || Ok((at.get::<i16>(0)?, at.get::<Vec<Option<i64>>>(1)?));
        read().map_err(|error: super::codec::Unreadable| CommitError::Unknown(error.to_string()))
    }

    pub(super) async fn pause_endpoints(&self, lane: usize, tenant: &TenantId, user: &UserId) -> Answered {
        let injected = self.time.injected();
        let row = self
            .lanes
            .call(
                lane,
                "SELECT verdict, count FROM tidings.pause_endpoints($1, $2, $3, $4, $5, $6)",
                &[(&injected, Type::INT8), (&tenant.as_str(), Type::TEXT), (&user.as_str(), Type::TEXT)],
            )
            .await?;
        match counted(&row)? {
            (0, count) => Ok(Ok(Outcome::Paused(count))),
            (verdict, _) => refused(verdict),
        }
    }

    pub(super) async fn commit_replay(
        &self,
        lane: usize,
        (tenant, create): (&TenantId, bool),
        endpoint: EndpointId,
        what: ReplayWhat,
    ) -> Answered {
        let injected = self.time.injected();
        let (id, range, event) = match what {
            ReplayWhat::Range { id, from, to } => (Some(id), Some((from, to)), false),
            ReplayWhat::Event { id, seq } => (Some(id), Some((seq, seq)), true),
            ReplayWhat::Failures => (None, None, false),
        };
        let row = self
            .lanes
            .call(
                lane,
                "SELECT verdict, count FROM tidings.replay($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                &[
                    (&injected, Type::INT8),
                    (&tenant.as_str(), Type::TEXT),
                    (&Id(*endpoint.as_bytes()), Type::UUID),
                    (&id.map(|id| Id(*id.as_bytes())), Type::UUID),
                    (&range.map(|(from, _)| from.get() as i64), Type::INT8),
                    (&range.map(|(_, to)| to.get() as i64), Type::INT8),
                    (&event, Type::BOOL),
                    (&(Replay::MAX as i64), Type::INT8),
                    (&(Replay::DEAD_MAX as i64), Type::INT8),
                ],
            )
            .await?;
        match counted(&row)? {
            (0, deliveries) => {
                let more = range.is_none() && deliveries == Replay::DEAD_MAX;
                Ok(Ok(Outcome::Replaying { deliveries, more }))
            }
            // A tenant that could be made has nothing yet.
            (2, _) if create => Ok(Err(CommandError::NotFound)),
            (verdict, _) => refused(verdict),
        }
    }
}

/// The endpoint as it is now: deliveries may have moved its cursor meanwhile.
fn written(change: Change, numbers: &[Option<i64>]) -> Outcome {
    let number = |at: usize| numbers.get(at).copied().flatten();
    let Some(mut endpoint) = change.after else { return Outcome::Done };
    endpoint.cursor = number(0).map_or(endpoint.cursor, |cursor| Seq::new(cursor.unsigned_abs()));
    endpoint.change = number(1).map_or(0, i64::unsigned_abs);
    endpoint.failing_since = number(2).map(Timestamp::from_micros);
    Outcome::Endpoint(Box::new(endpoint))
}

fn counted(row: &tokio_postgres::Row) -> Result<(i16, usize), CommitError> {
    let at = Columns::of(row);
    let read = || Ok((at.get(0)?, at.number(1)? as usize));
    read().map_err(|error: super::codec::Unreadable| CommitError::Unknown(error.to_string()))
}

fn refused(verdict: i16) -> Answered {
    Ok(Err(match verdict {
        2 => CommandError::UnknownTenant,
        3 => CommandError::TenantSuspended,
        8 => CommandError::NotFound,
        10 => CommandError::TooMany,
        other => return Err(CommitError::Unknown(format!("{other} is no verdict"))),
    }))
}
