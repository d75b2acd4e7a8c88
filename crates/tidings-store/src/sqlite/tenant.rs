//! Tenants, as the writer remembers them: the folder is this process's alone, so that what was read
//! once stays true until the writer changes it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};
use tidings_core::{Entropy, Epoch, Seq, TenantId, Timestamp};

use super::column::{get_parsed, get_time, get_u64};
use crate::{LogState, TenantRecord, TenantState};

/// A tenant's number within this database: never used again.
pub(super) type TenantKey = i64;

/// How many tenants are remembered before all are forgotten.
const REMEMBERED_MAX: usize = 65_536;

pub(super) const DELETED: i64 = 2;
pub(super) const PURGED: i64 = 3;

macro_rules! select_tenants {
    ($where:literal) => {
        concat!(
            "SELECT key, id, state, epoch, head, oldest, last_time, created_at FROM tenants WHERE ",
            $where
        )
    };
}

#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) key: TenantKey,
    pub(super) id: TenantId,
    pub(super) state: TenantState,
    pub(super) epoch: Epoch,
    pub(super) head: Seq,
    pub(super) oldest: Seq,
    pub(super) last_time: Timestamp,
    pub(super) created_at: Timestamp,
}

impl Tenant {
    pub(super) fn log(&self) -> LogState {
        LogState { epoch: self.epoch.clone(), head: self.head, oldest: self.oldest }
    }

    pub(super) fn record(&self) -> TenantRecord {
        TenantRecord { id: self.id.clone(), state: self.state, log: self.log(), created_at: self.created_at }
    }

    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            id: get_parsed(row, 1, |text| TenantId::new(text))?,
            state: if row.get::<_, i64>(2)? == 0 { TenantState::Active } else { TenantState::Suspended },
            epoch: get_parsed(row, 3, Epoch::parse)?,
            head: Seq::new(get_u64(row, 4)?),
            oldest: Seq::new(get_u64(row, 5)?),
            last_time: get_time(row, 6)?,
            created_at: get_time(row, 7)?,
        })
    }
}

pub(super) const fn state_code(state: TenantState) -> i64 {
    match state {
        TenantState::Active => 0,
        TenantState::Suspended => 1,
    }
}

/// A tenant that is neither deleted nor unknown.
pub(super) fn find(conn: &Connection, id: &TenantId) -> Result<Option<Tenant>> {
    conn.prepare_cached(select_tenants!("id = ? AND state < 2"))?
        .query_row([id.as_str()], Tenant::from_row)
        .optional()
}

fn find_by_key(conn: &Connection, key: TenantKey) -> Result<Option<Tenant>> {
    conn.prepare_cached(select_tenants!("key = ? AND state < 2"))?
        .query_row([key], Tenant::from_row)
        .optional()
}

/// Sorted by id.
pub(super) fn list(conn: &Connection, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantRecord>> {
    conn.prepare_cached(select_tenants!("id > ? AND state < 2 ORDER BY id LIMIT ?"))?
        .query_map(params![after.map_or("", TenantId::as_str), limit as i64], |row| {
            Ok(Tenant::from_row(row)?.record())
        })?
        .collect()
}

/// Gives every living tenant's history a new name.
pub(super) fn renew_epochs(conn: &Connection, entropy: &dyn Entropy) -> Result<usize> {
    let keys: Vec<TenantKey> = conn
        .prepare("SELECT key FROM tenants WHERE state < 2")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut renew = conn.prepare("UPDATE tenants SET epoch = ? WHERE key = ?")?;
    for key in &keys {
        renew.execute(params![Epoch::generate(entropy).as_str(), key])?;
    }
    Ok(keys.len())
}

/// The tenants that the writer has met.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    by_key: HashMap<TenantKey, Tenant, RandomState>,
    by_id: HashMap<TenantId, TenantKey, RandomState>,
    /// Whose counters the running transaction has moved, in order of the first move.
    moved: Vec<TenantKey>,
}

impl Tenants {
    /// Loads it where it is not remembered. `None`: unknown or deleted.
    pub(super) fn get(&mut self, conn: &Connection, id: &TenantId) -> Result<Option<&mut Tenant>> {
        if let Some(key) = self.by_id.get(id) {
            return Ok(self.by_key.get_mut(key));
        }
        Ok(find(conn, id)?.map(|tenant| self.remember(tenant)))
    }

    pub(super) fn get_by_key(&mut self, conn: &Connection, key: TenantKey) -> Result<Option<&mut Tenant>> {
        if !self.by_key.contains_key(&key) {
            return Ok(find_by_key(conn, key)?.map(|tenant| self.remember(tenant)));
        }
        Ok(self.by_key.get_mut(&key))
    }

    /// A tenant that was loaded in this transaction.
    pub(super) fn loaded(&mut self, key: TenantKey) -> &mut Tenant {
        self.by_key.get_mut(&key).expect("a tenant stays remembered until its transaction ends")
    }

    pub(super) fn remember(&mut self, tenant: Tenant) -> &mut Tenant {
        self.by_id.insert(tenant.id.clone(), tenant.key);
        self.by_key.entry(tenant.key).insert_entry(tenant).into_mut()
    }

    pub(super) fn forget(&mut self, key: TenantKey) {
        if let Some(tenant) = self.by_key.remove(&key) {
            self.by_id.remove(&tenant.id);
        }
        self.moved.retain(|moved| *moved != key);
    }

    /// After a rollback nothing that is remembered can be trusted.
    pub(super) fn forget_all(&mut self) {
        self.by_key.clear();
        self.by_id.clear();
        self.moved.clear();
    }

    /// Counts an event into a tenant's log and says its number and its time.
    pub(super) fn advance(&mut self, key: TenantKey, now: Timestamp) -> (Seq, Timestamp) {
        if !self.moved.contains(&key) {
            self.moved.push(key);
        }
        let tenant = self.loaded(key);
        tenant.head = tenant.head.next();
        tenant.last_time = tenant.last_time.max(now);
        (tenant.head, tenant.last_time)
    }

    /// Writes each counter that moved, once for the whole transaction, and says whose they were.
    pub(super) fn write_counters(&mut self, conn: &Connection) -> Result<Vec<(TenantId, Epoch)>> {
        let mut epochs = Vec::with_capacity(self.moved.len());
        if self.moved.is_empty() {
            return Ok(epochs);
        }
        let mut write = conn.prepare_cached("UPDATE tenants SET head = ?, last_time = ? WHERE key = ?")?;
        for key in std::mem::take(&mut self.moved) {
            let tenant = self.loaded(key);
            write.execute(params![tenant.head.get() as i64, tenant.last_time.as_micros(), key])?;
            epochs.push((tenant.id.clone(), tenant.epoch.clone()));
        }
        Ok(epochs)
    }

    /// Keeps memory bounded; called between transactions.
    pub(super) fn trim(&mut self) {
        if self.by_key.len() > REMEMBERED_MAX {
            self.forget_all();
        }
    }
}
