//! Commands that are rare and go alone: what operators do to tenants and keys, and housekeeping.

use tidings_core::{Epoch, KeyId, TenantId, Timestamp};
use tokio_postgres::types::Type;

use super::{Inner, codec::Id};
use crate::{Command, CommandError, CommitError, Maintain, NewKey, Operation, Outcome, TenantState};

/// One call of `tidings.administer`.
#[derive(Default)]
struct Call<'a> {
    act: &'static str,
    tenant: Option<&'a TenantId>,
    create: bool,
    key: Option<&'a NewKey>,
    key_id: Option<KeyId>,
}

impl Inner {
    pub(super) async fn commit_alone(
        &self,
        lane: usize,
        command: &Command,
    ) -> Result<Result<Outcome, CommandError>, CommitError> {
        let call = match command {
            Command::Tenant {
                tenant,
                create,
                operation:
                    operation @ (Operation::PutSchedule { .. }
                    | Operation::PauseSchedule(_)
                    | Operation::ResumeSchedule(_)
                    | Operation::DeleteSchedule(_)),
            } => return self.commit_schedule(lane, tenant, *create, operation).await,
            Command::Tenant {
                tenant,
                create,
                operation:
                    operation @ (Operation::PutEndpoint(_)
                    | Operation::ChangeEndpoint { .. }
                    | Operation::DeleteEndpoint(_)),
            } => return self.commit_endpoint(lane, tenant, *create, operation).await,
            Command::Tenant { tenant, operation: Operation::PauseEndpointsOf(user), .. } => {
                return self.pause_endpoints(lane, tenant, user).await;
            }
            Command::Tenant { tenant, create, operation: Operation::Replay { endpoint, what } } => {
                return self.commit_replay(lane, (tenant, *create), *endpoint, *what).await;
            }
            Command::Tenant { tenant, create, operation } => {
                let Some(call) = Call::of(operation, *create) else { return Ok(Err(goes_along())) };
                Call { tenant: Some(tenant), ..call }
            }
            Command::PutOperatorKey(key) => Call { act: "put_key", key: Some(key), ..Call::default() },
            Command::RevokeOperatorKey(id) => {
                Call { act: "revoke_key", key_id: Some(*id), ..Call::default() }
            }
            Command::Maintain(Maintain::Retain { retention, limit }) => {
                return Ok(Ok(Outcome::Swept(self.retain(lane, *retention, *limit).await?)));
            }
            Command::Claim(_)
            | Command::Maintain(
                Maintain::Rescue { .. } | Maintain::MoveOutbox { .. } | Maintain::Fire { .. },
            ) => {
                return Ok(Err(goes_along()));
            }
        };
        self.administer(lane, &call).await
    }

    async fn administer(
        &self,
        lane: usize,
        call: &Call<'_>,
    ) -> Result<Result<Outcome, CommandError>, CommitError> {
        let injected = self.time.injected();
        let epoch = Epoch::generate(&*self.entropy);
        let tenant = call.tenant.map(TenantId::as_str);
        let key_id = call.key.map(|key| key.id).or(call.key_id).map(|id| Id(*id.as_bytes()));
        let name = call.key.map(|key| key.name.as_bytes());
        let hash = call.key.map(|key| &key.hash[..]);
        let grant = call.key.map(|key| serde_json::to_string(&key.grant).expect("a grant serialises"));
        let expires_at = call.key.and_then(|key| key.expires_at).map(Timestamp::as_micros);
        let row = self
            .lanes
            .call(
                lane,
                "SELECT tidings.administer($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                &[
                    (&injected, Type::INT8),
                    (&call.act, Type::TEXT),
                    (&tenant, Type::TEXT),
                    (&call.create, Type::BOOL),
                    (&epoch.as_str(), Type::TEXT),
                    (&key_id, Type::UUID),
                    (&name, Type::BYTEA),
                    (&hash, Type::BYTEA),
                    (&grant, Type::TEXT),
                    (&expires_at, Type::INT8),
                ],
            )
            .await?;
        Ok(match row.get::<_, Option<i16>>(0) {
            Some(0) => Ok(Outcome::Done),
            Some(2) => Err(CommandError::UnknownTenant),
            Some(3) => Err(CommandError::TenantSuspended),
            Some(8) => Err(CommandError::NotFound),
            other => return Err(CommitError::Unknown(format!("{other:?} is no verdict"))),
        })
    }
}

fn goes_along() -> CommandError {
    CommandError::Rejected("this goes with others".into())
}

impl<'a> Call<'a> {
    /// `None`: it is not what operators do to tenants and keys.
    fn of(operation: &'a Operation, create: bool) -> Option<Self> {
        Some(match operation {
            Operation::SetState(TenantState::Active) => Self { act: "activate", ..Self::default() },
            Operation::SetState(TenantState::Suspended) => Self { act: "suspend", ..Self::default() },
            Operation::Delete => Self { act: "delete", ..Self::default() },
            Operation::RenewEpoch => Self { act: "renew_epoch", ..Self::default() },
            Operation::PutKey(key) => Self { act: "put_key", create, key: Some(key), ..Self::default() },
            Operation::RevokeKey(id) => Self { act: "revoke_key", key_id: Some(*id), ..Self::default() },
            Operation::Create => Self { act: "create", create: true, ..Self::default() },
            Operation::Enqueue { .. }
            | Operation::EnqueueLeased { .. }
            | Operation::Publish { .. }
            | Operation::Heartbeat { .. }
            | Operation::Progress { .. }
            | Operation::Complete { .. }
            | Operation::Fail { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. }
            | Operation::Retry { .. }
            | Operation::PutSchedule { .. }
            | Operation::PauseSchedule(_)
            | Operation::ResumeSchedule(_)
            | Operation::DeleteSchedule(_)
            | Operation::PutEndpoint(_)
            | Operation::ChangeEndpoint { .. }
            | Operation::DeleteEndpoint(_)
            | Operation::PauseEndpointsOf(_)
            | Operation::Replay { .. }
            | Operation::Report(_)
            | Operation::Ensure
            | Operation::RedeemTicket { .. } => return None,
        })
    }
}
