//! Reading webhooks.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Result, params};
use tidings_core::{
    Endpoint, EndpointId, Seq, TenantId, Timestamp,
    webhook::{Delivery, Partition, Replay},
};

use super::{
    SqliteStore,
    column::{get_time, get_u64},
    delivery_row::{self, Owner},
    endpoint_row,
    reads::sql_limit,
    tenant::Tenant,
};
use crate::{AttemptQuery, DeliveryQuery, Dispatchable, EndpointBacklog, LoggedAttempt, ReadError, Webhooks};

#[async_trait]
impl Webhooks for SqliteStore {
    async fn endpoint(&self, tenant: &TenantId, id: EndpointId) -> Result<Option<Endpoint>, ReadError> {
        let read =
            move |conn: &Connection, tenant: &Tenant| endpoint_row::find(conn, tenant.key, &tenant.id, id);
        let found = self.readers.read_in(tenant, read).await?;
        Ok(found.flatten().map(|stored| stored.endpoint))
    }

    async fn endpoints(
        &self,
        tenant: &TenantId,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<Endpoint>, ReadError> {
        let limit = sql_limit(limit);
        let read = move |conn: &Connection, tenant: &Tenant| {
            endpoint_row::list(conn, tenant.key, &tenant.id, after, limit)
        };
        let found = self.readers.read_in(tenant, read).await?;
        Ok(found.unwrap_or_default().into_iter().map(|stored| stored.endpoint).collect())
    }

    async fn dispatchable(
        &self,
        partition: Option<Partition>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Dispatchable>, ReadError> {
        let limit = sql_limit(limit);
        self.readers.read(move |conn| endpoint_row::changed(conn, partition, after, limit)).await
    }

    async fn retrying(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        limit: usize,
    ) -> Result<Vec<Delivery>, ReadError> {
        let limit = sql_limit(limit);
        self.of_endpoint(tenant, endpoint, move |conn, owner| delivery_row::retrying(conn, owner, limit))
            .await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        query: DeliveryQuery,
    ) -> Result<Vec<Delivery>, ReadError> {
        self.of_endpoint(tenant, endpoint, move |conn, owner| delivery_row::list(conn, owner, query)).await
    }

    async fn replays(&self, tenant: &TenantId, endpoint: EndpointId) -> Result<Vec<Replay>, ReadError> {
        self.of_endpoint(tenant, endpoint, delivery_row::replays).await
    }

    async fn attempts(
        &self,
        tenant: &TenantId,
        query: AttemptQuery,
    ) -> Result<Vec<LoggedAttempt>, ReadError> {
        let found = self.readers.read_in(tenant, move |conn, tenant| attempts(conn, tenant, query)).await?;
        Ok(found.unwrap_or_default())
    }

    async fn backlog(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
    ) -> Result<Option<EndpointBacklog>, ReadError> {
        let found = self.readers.read_in(tenant, move |conn, tenant| backlog(conn, tenant, endpoint)).await?;
        Ok(found.flatten())
    }

    async fn seq_at(&self, tenant: &TenantId, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        self.readers.read_in(tenant, move |conn, tenant| seq_at(conn, tenant, time)).await
    }
}

impl SqliteStore {
    /// What an endpoint has; nothing where there is none.
    async fn of_endpoint<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        read: impl FnOnce(&Connection, Owner) -> Result<Vec<T>> + Send + 'static,
    ) -> Result<Vec<T>, ReadError> {
        let read =
            move |conn: &Connection, tenant: &Tenant| match endpoint_row::key_of(conn, tenant.key, endpoint)?
            {
                Some(key) => read(conn, (tenant.key, key)),
                None => Ok(Vec::new()),
            };
        Ok(self.readers.read_in(tenant, read).await?.unwrap_or_default())
    }
}

fn attempts(conn: &Connection, tenant: &Tenant, query: AttemptQuery) -> Result<Vec<LoggedAttempt>> {
    let (limit, before) = (sql_limit(query.limit), query.before);
    let n = before.map_or(i64::MAX, |before| i64::try_from(before.n).unwrap_or(i64::MAX));
    let seq = query.seq.map(|seq| seq.get() as i64);
    match (query.endpoint, seq) {
        (Some(endpoint), seq) => {
            let Some(key) = endpoint_row::key_of(conn, tenant.key, endpoint)? else { return Ok(Vec::new()) };
            delivery_row::attempts(
                conn,
                query,
                "WHERE a.tenant_key = ? AND a.endpoint_key = ? AND a.n < ? AND (?4 IS NULL OR a.seq = ?4)
                 ORDER BY a.n DESC LIMIT ?5",
                params![tenant.key, key, n, seq, limit],
            )
        }
        (None, Some(seq)) => {
            let endpoint = before.map_or([0xFF; 16], |before| *before.endpoint.as_bytes());
            delivery_row::attempts(
                conn,
                query,
                "WHERE a.tenant_key = ? AND a.seq = ? AND (e.id, a.n) < (?, ?) AND e.state < 3
                 ORDER BY e.id DESC, a.n DESC LIMIT ?",
                params![tenant.key, seq, endpoint, n, limit],
            )
        }
        (None, None) => Ok(Vec::new()),
    }
}

fn backlog(conn: &Connection, tenant: &Tenant, id: EndpointId) -> Result<Option<EndpointBacklog>> {
    let Some(found) = endpoint_row::find(conn, tenant.key, &tenant.id, id)? else { return Ok(None) };
    let owner = (tenant.key, found.key);
    let cursor = found.endpoint.cursor;
    let (retrying, dead) = delivery_row::counts(conn, owner)?;
    let next = (cursor < tenant.head).then(|| cursor.next());
    let oldest = [next, delivery_row::oldest_retried(conn, owner)?].into_iter().flatten().min();
    let oldest = oldest.map(|seq| first_time(conn, tenant, seq)).transpose()?.flatten();
    Ok(Some(EndpointBacklog { cursor, head: tenant.head, oldest, retrying, dead }))
}

/// Of the first event from `seq` on that is kept.
fn first_time(conn: &Connection, tenant: &Tenant, seq: Seq) -> Result<Option<Timestamp>> {
    conn.prepare_cached("SELECT time FROM events WHERE tenant_key = ? AND seq >= ? ORDER BY seq LIMIT 1")?
        .query_row(params![tenant.key, seq.max(tenant.oldest).get() as i64], |row| get_time(row, 0))
        .optional()
}

/// Times never fall within a log, so that halving finds it.
fn seq_at(conn: &Connection, tenant: &Tenant, time: Timestamp) -> Result<Seq> {
    let mut is_older = conn.prepare_cached("SELECT time < ? FROM events WHERE tenant_key = ? AND seq = ?")?;
    let (mut low, mut high) = (tenant.oldest.get(), tenant.head.get() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let older = is_older
            .query_row(params![time.as_micros(), tenant.key, middle as i64], |row| get_u64(row, 0))
            .optional()?;
        if older.is_none_or(|older| older == 1) { low = middle + 1 } else { high = middle }
    }
    Ok(Seq::new(low))
}
