use serde::{Deserialize, Serialize};
use tidings_core::{Seq, TenantId, Timestamp};

use crate::{Client, ClientError, request::Call};

/// A tenant as the operator sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantView {
    pub id: TenantId,
    pub state: String,
    pub epoch: String,
    pub head: Seq,
    pub oldest: Seq,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
pub struct TenantPage {
    pub tenants: Vec<TenantView>,
    #[serde(default)]
    pub next: Option<String>,
}

/// All of them need the scope `system:admin`.
impl Client {
    pub async fn create_tenant(&self, id: &TenantId) -> Result<TenantView, ClientError> {
        self.call(Call::post("api/v1/tenants").json(&serde_json::json!({ "id": id }))).await
    }

    pub async fn tenants(&self, cursor: Option<&str>) -> Result<TenantPage, ClientError> {
        self.call(Call::get("api/v1/tenants").query("cursor", cursor)).await
    }

    pub async fn tenant_view(&self, id: &TenantId) -> Result<TenantView, ClientError> {
        self.call(Call::get(format!("api/v1/tenants/{id}"))).await
    }

    /// Reads and writes are refused and live connections closed; nothing is deleted.
    pub async fn suspend_tenant(&self, id: &TenantId) -> Result<(), ClientError> {
        self.exchange(Call::post(format!("api/v1/tenants/{id}/suspend"))).await.map(drop)
    }

    pub async fn resume_tenant(&self, id: &TenantId) -> Result<(), ClientError> {
        self.exchange(Call::post(format!("api/v1/tenants/{id}/resume"))).await.map(drop)
    }

    /// Its events, jobs and keys go for good.
    pub async fn delete_tenant(&self, id: &TenantId) -> Result<(), ClientError> {
        self.exchange(Call::delete(format!("api/v1/tenants/{id}"))).await.map(drop)
    }

    /// Gives its history a new name, so that every cursor into the old one is answered with a reset.
    pub async fn renew_epoch(&self, id: &TenantId) -> Result<(), ClientError> {
        self.exchange(Call::post(format!("api/v1/tenants/{id}/renew-epoch"))).await.map(drop)
    }
}
