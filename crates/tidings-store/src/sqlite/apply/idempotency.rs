use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CommandError, Idempotency,
    sqlite::{fault::Stop, tenant::TenantKey, txn::Txn},
};

/// How long a key is remembered.
pub(super) const KEPT: Duration = Duration::from_hours(24);

impl Txn<'_> {
    /// The first outcome under this key, where there was one with the same body.
    pub(super) fn repeated<T: DeserializeOwned>(
        &mut self,
        tenant: TenantKey,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<T>, Stop> {
        let Some(Idempotency { route, key, body_hash }) = idempotency else { return Ok(None) };
        let found: Option<([u8; 32], String)> = self
            .conn
            .prepare_cached(
                "SELECT body_hash, outcome FROM idempotency
                 WHERE tenant_key = ? AND route = ? AND key = ? AND created_at > ?",
            )?
            .query_row(params![tenant, route, key, (self.now - KEPT).as_micros()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match found {
            None => Ok(None),
            Some((hash, outcome)) if hash == *body_hash => match serde_json::from_str(&outcome) {
                Ok(outcome) => Ok(Some(outcome)),
                Err(_) => Err(CommandError::IdempotencyMismatch.into()),
            },
            Some(_) => Err(CommandError::IdempotencyMismatch.into()),
        }
    }

    pub(super) fn remember_outcome(
        &mut self,
        tenant: TenantKey,
        idempotency: Option<&Idempotency>,
        outcome: &impl Serialize,
    ) -> Result<(), Stop> {
        let Some(Idempotency { route, key, body_hash }) = idempotency else { return Ok(()) };
        let outcome = serde_json::to_string(outcome).expect("an outcome serialises");
        // An expired row may still be there.
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![tenant, route, key, body_hash, outcome, self.now.as_micros()])?;
        Ok(())
    }
}
