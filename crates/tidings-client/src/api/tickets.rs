use serde::{Deserialize, Serialize};
use tidings_core::{Pattern, ScopeSet, TenantId, Timestamp, UserId};

use crate::{Client, ClientError, request::Call};

/// A single-use connection ticket, narrower than the credential that asks for it wherever a field is set.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TicketRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<Pattern>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The browser's origin that alone may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Ticket {
    pub ticket: String,
    pub expires_at: Timestamp,
}

impl Client {
    pub async fn mint_ticket(&self, request: &TicketRequest) -> Result<Ticket, ClientError> {
        self.call(Call::post("api/v1/tickets").json(request)).await
    }
}
