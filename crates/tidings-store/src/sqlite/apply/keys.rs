use rusqlite::{OptionalExtension as _, params};
use tidings_core::{KeyId, TenantId, Timestamp};

use crate::{
    CommandError, NewKey, Outcome,
    sqlite::{fault::Stop, tenant::TenantKey, txn::Txn},
};

impl Txn<'_> {
    pub(super) fn put_key(&mut self, tenant: &TenantId, create: bool, key: &NewKey) -> Result<Outcome, Stop> {
        let tenant = self.writable(tenant, create)?;
        self.insert_key(Some(tenant), key)
    }

    pub(super) fn put_operator_key(&mut self, key: &NewKey) -> Result<Outcome, Stop> {
        self.insert_key(None, key)
    }

    /// An operator may revoke a suspended tenant's key as well.
    pub(super) fn revoke_key(&mut self, tenant: &TenantId, id: KeyId) -> Result<Outcome, Stop> {
        match self.memory.tenants.get(self.conn, tenant)?.map(|tenant| tenant.key) {
            Some(tenant) => self.revoke(Some(tenant), id),
            None => Err(CommandError::UnknownTenant.into()),
        }
    }

    pub(super) fn revoke_operator_key(&mut self, id: KeyId) -> Result<Outcome, Stop> {
        self.revoke(None, id)
    }

    /// The id was made at random a moment ago: one that exists is rejected by the database.
    fn insert_key(&mut self, tenant: Option<TenantKey>, key: &NewKey) -> Result<Outcome, Stop> {
        let grant = serde_json::to_string(&key.grant).expect("a grant serialises");
        self.conn.prepare_cached("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)")?.execute(params![
            key.id.as_bytes(),
            tenant,
            key.name,
            key.hash,
            grant,
            self.now.as_micros(),
            key.expires_at.map(Timestamp::as_micros),
        ])?;
        Ok(Outcome::Done)
    }

    /// Once: revoking again changes nothing.
    fn revoke(&mut self, tenant: Option<TenantKey>, id: KeyId) -> Result<Outcome, Stop> {
        let revoked: Option<bool> = self
            .conn
            .prepare_cached("SELECT revoked_at IS NOT NULL FROM keys WHERE id = ? AND tenant_key IS ?")?
            .query_row(params![id.as_bytes(), tenant], |row| row.get(0))
            .optional()?;
        match revoked {
            None => return Err(CommandError::NotFound.into()),
            Some(true) => return Ok(Outcome::Done),
            Some(false) => {}
        }
        self.conn
            .prepare_cached("UPDATE keys SET revoked_at = ? WHERE id = ?")?
            .execute(params![self.now.as_micros(), id.as_bytes()])?;
        self.conn.prepare_cached("INSERT INTO revocations (key_id) VALUES (?)")?.execute([id.as_bytes()])?;
        Ok(Outcome::Done)
    }

    pub(super) fn redeem_ticket(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: [u8; 16],
        expires_at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let tenant = self.writable(tenant, create)?;
        let taken = self
            .conn
            .prepare_cached("INSERT OR IGNORE INTO tickets VALUES (?, ?, ?)")?
            .execute(params![tenant, id, expires_at.as_micros()])?;
        if taken == 1 { Ok(Outcome::Done) } else { Err(CommandError::AlreadyUsed.into()) }
    }
}
