use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_core::{KeyId, Pattern, ScopeSet, TenantId, UserId};

use crate::{Client, ClientError, request::Call};

/// An API key to be made. It carries at most what its maker's credential does.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KeyRequest {
    pub name: String,
    pub scopes: ScopeSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<Pattern>>,
    /// For keys of no single tenant; an operator's to give, and only without naming a tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<KeyReach>,
    /// A duration such as `90d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// Which tenants a key of no single one reaches.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyReach {
    All,
    #[serde(untagged)]
    Set(Vec<TenantId>),
}

/// A key just made: the only time that its secret is shown.
#[derive(Clone, Deserialize)]
pub struct CreatedKey {
    pub id: KeyId,
    /// The whole credential.
    pub key: String,
}

impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct KeyPage {
    /// As the server shows them.
    pub keys: Vec<Box<RawValue>>,
    #[serde(default)]
    pub next: Option<String>,
}

impl Client {
    pub async fn create_key(&self, request: &KeyRequest) -> Result<CreatedKey, ClientError> {
        self.call(Call::post("api/v1/keys").json(request)).await
    }

    pub async fn keys(&self, cursor: Option<&str>) -> Result<KeyPage, ClientError> {
        self.call(Call::get("api/v1/keys").query("cursor", cursor)).await
    }

    /// Live connections that it opened are closed within seconds.
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), ClientError> {
        self.exchange(Call::delete(format!("api/v1/keys/{id}"))).await.map(drop)
    }
}
