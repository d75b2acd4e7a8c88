use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Uri, header};
use tidings_auth::{AuthError, Authenticator, Credential};
use tidings_core::{Principal, TenantId};

use crate::{
    config::Create,
    metrics::Metrics,
    problem::{Kind, Problem},
    settings::Settings,
    tenants::{Directory, Standing},
};

use super::{
    credential::{self, Presented},
    unauthorized,
};

/// What makes a principal of a request, and looks at its tenant.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) authenticator: Authenticator,
    pub(crate) directory: Directory,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
}

impl Gate {
    pub(super) async fn by_header(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        let presented = credential::from_header(headers).inspect_err(|_| self.metrics.auth.missing());
        self.verify(&presented?, headers).await
    }

    pub(super) async fn for_stream(&self, headers: &HeaderMap, uri: &Uri) -> Result<Arc<Principal>, Problem> {
        let presented = credential::from_stream(headers, uri).inspect_err(|_| self.metrics.auth.missing());
        self.verify(&presented?, headers).await
    }

    async fn verify(&self, presented: &Presented, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        let credential = match presented {
            Presented::Bearer(token) => Credential::Bearer(token),
            Presented::Ticket(text) => {
                Credential::Ticket { text, origin: headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) }
            }
        };
        let verdict = self.authenticator.authenticate(credential).await;
        self.metrics.auth.verdict(verdict.as_ref().map(drop));
        verdict.map_err(|e| problem(&e))
    }

    /// Whether the tenant is there, or would be made by its first use; refuses where neither is so.
    pub(super) async fn look_up(&self, principal: &Principal, tenant: &TenantId) -> Result<bool, Problem> {
        match self.directory.standing(tenant).await? {
            Standing::Active => Ok(false),
            Standing::Suspended => Err(suspended()),
            Standing::Unknown if self.may_create(principal) => Ok(true),
            Standing::Unknown => Err(Problem::not_found()),
        }
    }

    /// Tenants come into being by the use of credentials that were made here, not of an issuer's.
    fn may_create(&self, principal: &Principal) -> bool {
        tidings_auth::is_made_here(&principal.credential)
            && self.settings.get().tenants.create == Create::Auto
    }
}

pub(crate) fn suspended() -> Problem {
    Problem::new(Kind::TenantSuspended, "The tenant is suspended: ask the operator.")
}

/// What a failed authentication answers.
fn problem(error: &AuthError) -> Problem {
    match error {
        AuthError::Unavailable(_) => {
            Problem::new(Kind::Unavailable, "The credential cannot be checked just now. Try again.")
                .retry_after(Duration::from_secs(1))
        }
        AuthError::Invalid { .. } => unauthorized(),
    }
}
