//! Reading webhooks.

use async_trait::async_trait;
use bytes::Bytes;
use tidings_core::{
    Endpoint, EndpointId, Seq, TenantId, Timestamp,
    webhook::{Delivery, Partition, Replay},
};
use tokio_postgres::{Row, types::Type};

use super::{
    PostgresStore,
    codec::{self, Columns, Id},
    delivery_row::{self, ATTEMPT, DELIVERY, REPLAY},
    endpoint_row::{self, endpoint_columns},
    fault::Fault,
    reads::sql_limit,
};
use crate::{
    AttemptQuery, DeliveryQuery, Dispatchable, EndpointBacklog, LoggedAttempt, ReadError, Webhooks,
    webhooks::AttemptPage,
};

#[async_trait]
impl Webhooks for PostgresStore {
    async fn endpoint(&self, tenant: &TenantId, id: EndpointId) -> Result<Option<Endpoint>, ReadError> {
        Ok(self.read_endpoints(tenant, Some(id), None, 1).await?.pop())
    }

    async fn endpoints(
        &self,
        tenant: &TenantId,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<Endpoint>, ReadError> {
        Ok(self.read_endpoints(tenant, None, after, limit).await?)
    }

    async fn dispatchable(
        &self,
        partition: Option<Partition>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Dispatchable>, ReadError> {
        let partition = partition.map(|partition| i16::from(partition.number()));
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self
            .read(
                concat!(
                    "SELECT change, tenant_id, id, ",
                    endpoint_columns!(),
                    " FROM tidings.look_dispatchable($1, $2, $3)"
                ),
                &[(&partition, Type::INT2), (&after, Type::INT8), (&sql_limit(limit), Type::INT8)],
            )
            .await?;
        Ok(all(&rows, dispatchable)?)
    }

    async fn retrying(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        limit: usize,
    ) -> Result<Vec<Delivery>, ReadError> {
        Ok(self.read_deliveries(tenant, endpoint, (false, None), limit).await?)
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        query: DeliveryQuery,
    ) -> Result<Vec<Delivery>, ReadError> {
        // A few at a time, so that no answer of the database is much larger than what is asked for.
        const ROWS: usize = 32;
        let (mut page, mut bytes, mut after) = (Vec::new(), 0, query.after);
        while page.len() < query.limit {
            let rows = ROWS.min(query.limit - page.len());
            let found = self.read_deliveries(tenant, endpoint, (query.dead, Some(after)), rows).await?;
            let last = found.len() < rows;
            for row in found {
                after = row.seq;
                bytes += row.body.as_ref().map_or(0, Bytes::len);
                page.push(row);
                if bytes >= query.bytes {
                    return Ok(page);
                }
            }
            if last {
                break;
            }
        }
        Ok(page)
    }

    async fn replays(&self, tenant: &TenantId, endpoint: EndpointId) -> Result<Vec<Replay>, ReadError> {
        let rows = self
            .read_in(
                tenant,
                &format!("SELECT {REPLAY} FROM tidings.read_replays($1, $2)"),
                &[(&tenant.as_str(), Type::TEXT), (&Id(*endpoint.as_bytes()), Type::UUID)],
            )
            .await?;
        Ok(all(&rows, delivery_row::replay)?)
    }

    async fn attempts(
        &self,
        tenant: &TenantId,
        query: AttemptQuery,
    ) -> Result<Vec<LoggedAttempt>, ReadError> {
        // A few at a time, as in `deliveries`.
        const ROWS: usize = 128;
        let (mut page, mut left, mut before) = (AttemptPage::new(query), query.limit, query.before);
        while left > 0 {
            let rows = ROWS.min(left);
            let found = self.read_attempts(tenant, AttemptQuery { before, limit: rows, ..query }).await?;
            let last = found.len() < rows;
            left -= found.len();
            before = found.last().map(|logged| logged.place);
            if found.into_iter().any(|logged| page.push(logged)) || last {
                break;
            }
        }
        Ok(page.into_rows())
    }

    async fn backlog(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
    ) -> Result<Option<EndpointBacklog>, ReadError> {
        let rows = self
            .read_in(
                tenant,
                "SELECT cursor, head, oldest, retrying, dead FROM tidings.read_backlog($1, $2)",
                &[(&tenant.as_str(), Type::TEXT), (&Id(*endpoint.as_bytes()), Type::UUID)],
            )
            .await?;
        Ok(all(&rows, backlog)?.pop())
    }

    async fn seq_at(&self, tenant: &TenantId, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        let rows = self
            .read_in(
                tenant,
                "SELECT tidings.read_seq_at($1, $2)",
                &[(&tenant.as_str(), Type::TEXT), (&time.as_micros(), Type::INT8)],
            )
            .await?;
        let seq = rows.first().map(|row| Columns::of(row).get::<Option<i64>>(0)).transpose();
        Ok(seq.map_err(Fault::from)?.flatten().map(|seq| Seq::new(seq.unsigned_abs())))
    }
}

impl PostgresStore {
    async fn read_endpoints(
        &self,
        tenant: &TenantId,
        id: Option<EndpointId>,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<Endpoint>, Fault> {
        let of = |id: Option<EndpointId>| id.map(|id| Id(*id.as_bytes()));
        let rows = self
            .read_in(
                tenant,
                concat!("SELECT ", endpoint_columns!(), " FROM tidings.read_endpoints($1, $2, $3, $4)"),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&of(id), Type::UUID),
                    (&of(after), Type::UUID),
                    (&sql_limit(limit), Type::INT8),
                ],
            )
            .await?;
        Ok(all(&rows, |row| endpoint_row::from_row(row, 0))?.into_iter().flatten().collect())
    }

    async fn read_attempts(
        &self,
        tenant: &TenantId,
        query: AttemptQuery,
    ) -> Result<Vec<LoggedAttempt>, Fault> {
        let endpoint = query.endpoint.map(|id| Id(*id.as_bytes()));
        let seq = query.seq.map(|seq| seq.get() as i64);
        let below = query.before.map(|before| Id(*before.endpoint.as_bytes()));
        let n = query.before.map(|before| i64::try_from(before.n).unwrap_or(i64::MAX));
        let rows = self
            .read_in(
                tenant,
                &format!("SELECT {ATTEMPT} FROM tidings.read_attempts($1, $2, $3, $4, $5, $6)"),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&endpoint, Type::UUID),
                    (&seq, Type::INT8),
                    (&below, Type::UUID),
                    (&n, Type::INT8),
                    (&sql_limit(query.limit), Type::INT8),
                ],
            )
            .await?;
        all(&rows, delivery_row::logged)
    }

    /// Without a seq to be after: what is retried, by when it is due.
    async fn read_deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        (dead, after): (bool, Option<Seq>),
        limit: usize,
    ) -> Result<Vec<Delivery>, Fault> {
        let rows = self
            .read_in(
                tenant,
                &format!("SELECT {DELIVERY} FROM tidings.read_deliveries($1, $2, $3, $4, $5)"),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&Id(*endpoint.as_bytes()), Type::UUID),
                    (&dead, Type::BOOL),
                    (&after.map(|after| after.get() as i64), Type::INT8),
                    (&sql_limit(limit), Type::INT8),
                ],
            )
            .await?;
        all(&rows, delivery_row::delivery)
    }
}

fn all<T>(rows: &[Row], read: impl Fn(&Row) -> codec::Result<T>) -> Result<Vec<T>, Fault> {
    Ok(rows.iter().map(read).collect::<codec::Result<_>>()?)
}

fn dispatchable(row: &Row) -> codec::Result<Dispatchable> {
    let at = Columns::of(row);
    Ok(Dispatchable {
        change: at.number(0)?,
        tenant: at.parsed(1, |text| TenantId::new(text))?,
        id: EndpointId::from_bytes(at.get::<Id>(2)?.0),
        endpoint: endpoint_row::from_row(row, 3)?.map(Box::new),
    })
}

fn backlog(row: &Row) -> codec::Result<EndpointBacklog> {
    let at = Columns::of(row);
    Ok(EndpointBacklog {
        cursor: Seq::new(at.number(0)?),
        head: Seq::new(at.number(1)?),
        oldest: at.time_opt(2)?,
        retrying: at.number(3)?,
        dead: at.number(4)?,
    })
}
