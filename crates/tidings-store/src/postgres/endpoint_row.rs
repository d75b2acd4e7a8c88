//! Webhook endpoints as rows.

use tidings_core::{Endpoint, EndpointId, Seq, TenantId};
use tokio_postgres::Row;

use super::codec::{Columns, Id, Result};
use crate::webhooks::stored::{grant_of, secrets_of, spec_of, state_of};

/// A row named `endpoint`, in the order that [`from_row`] reads.
macro_rules! endpoint_columns {
    () => {
        "(endpoint).id, (endpoint).tenant_id, (endpoint).change, (endpoint).spec, (endpoint).grant_json,
         (endpoint).secrets, (endpoint).state, (endpoint).since, (endpoint).reason, (endpoint).cursor,
         (endpoint).generation, (endpoint).failing_since, (endpoint).created_at, (endpoint).quiet_until"
    };
}
pub(super) use endpoint_columns;

/// Reads the columns from `first` on; `None` where there is no endpoint.
pub(super) fn from_row(row: &Row, first: usize) -> Result<Option<Endpoint>> {
    let at = Columns::from(row, first);
    if at.is_null(0)? {
        return Ok(None);
    }
    let state = state_of(at.get(6)?, at.time_opt(7)?, at.get(8)?);
    Ok(Some(Endpoint {
        id: EndpointId::from_bytes(at.get::<Id>(0)?.0),
        tenant: at.parsed(1, |text| TenantId::new(text))?,
        change: at.number(2)?,
        spec: at.parsed(3, spec_of)?,
        grant: at.parsed(4, grant_of)?,
        secrets: at.parsed(5, secrets_of)?,
        state: state.map_err(|error| at.unreadable(6, &error))?,
        cursor: Seq::new(at.number(9)?),
        generation: at.number(10)?,
        failing_since: at.time_opt(11)?,
        created_at: at.time(12)?,
        quiet_until: at.time_opt(13)?,
    }))
}
