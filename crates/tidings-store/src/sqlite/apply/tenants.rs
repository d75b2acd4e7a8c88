use rusqlite::params;
use tidings_core::{Epoch, Seq, TenantId};

use crate::{
    CommandError, Outcome, TenantState,
    sqlite::{
        endpoint_row,
        fault::Stop,
        schedule_row,
        tenant::{DELETED, Tenant, TenantKey, state_code},
        txn::Txn,
    },
};

impl Txn<'_> {
    pub(super) fn create(&mut self, id: &TenantId) -> Result<Outcome, Stop> {
        if self.memory.tenants.get(self.conn, id)?.is_none() {
            self.create_tenant(id)?;
        }
        Ok(Outcome::Done)
    }

    /// A tenant with an empty log and a history of its own.
    pub(in crate::sqlite) fn create_tenant(&mut self, id: &TenantId) -> rusqlite::Result<TenantKey> {
        let epoch = Epoch::generate(self.entropy);
        // Tombstones keep their rows, so that the largest key was never given to another tenant.
        self.conn
            .prepare_cached(
                "INSERT INTO tenants (id, state, epoch, head, oldest, last_time, created_at)
                 VALUES (?, 0, ?, 0, 1, 0, ?)",
            )?
            .execute(params![id.as_str(), epoch.as_str(), self.now.as_micros()])?;
        let key = self.conn.last_insert_rowid();
        self.memory.tenants.remember(Tenant {
            key,
            id: id.clone(),
            state: TenantState::Active,
            epoch,
            head: Seq::ZERO,
            oldest: Seq::new(1),
            last_time: tidings_core::Timestamp::default(),
            created_at: self.now,
        });
        Ok(key)
    }

    pub(super) fn set_state(&mut self, id: &TenantId, state: TenantState) -> Result<Outcome, Stop> {
        let key = self.known(id)?;
        let tenant = self.memory.tenants.loaded(key);
        if tenant.state == state {
            return Ok(Outcome::Done);
        }
        tenant.state = state;
        self.conn
            .prepare_cached("UPDATE tenants SET state = ? WHERE key = ?")?
            .execute(params![state_code(state), key])?;
        schedule_row::set_firing(self.conn, key, state == TenantState::Active)?;
        endpoint_row::renumber(self.conn, key)?;
        if state == TenantState::Suspended {
            self.revoke_tenant(id)?;
        }
        Ok(Outcome::Done)
    }

    /// From now on nothing of it is seen; retention removes the rows in pieces.
    pub(super) fn delete(&mut self, id: &TenantId) -> Result<Outcome, Stop> {
        let key = self.known(id)?;
        self.memory.tenants.write_counters(self.conn)?;
        self.memory.tenants.forget(key);
        self.conn
            .prepare_cached("UPDATE tenants SET state = ? WHERE key = ?")?
            .execute(params![DELETED, key])?;
        schedule_row::set_firing(self.conn, key, false)?;
        endpoint_row::renumber(self.conn, key)?;
        self.revoke_tenant(id)?;
        Ok(Outcome::Done)
    }

    pub(super) fn renew_epoch(&mut self, id: &TenantId) -> Result<Outcome, Stop> {
        let key = self.known(id)?;
        let epoch = Epoch::generate(self.entropy);
        self.conn
            .prepare_cached("UPDATE tenants SET epoch = ? WHERE key = ?")?
            .execute(params![epoch.as_str(), key])?;
        self.memory.tenants.loaded(key).epoch = epoch;
        Ok(Outcome::Done)
    }

    fn known(&mut self, id: &TenantId) -> Result<TenantKey, Stop> {
        let tenant = self.memory.tenants.get(self.conn, id)?;
        Ok(tenant.ok_or(CommandError::UnknownTenant)?.key)
    }

    fn revoke_tenant(&mut self, id: &TenantId) -> rusqlite::Result<()> {
        self.conn.prepare_cached("INSERT INTO revocations (tenant_id) VALUES (?)")?.execute([id.as_str()])?;
        Ok(())
    }
}
